"""Print what uneven light costs a painting, and what its correction gives back, on simulated plates.

python scripts/illumination_table.py [--plates N] [--fields N] [--size PX]

Each plate has its own illumination field, gain and offset (`simulate --batch`). Its light is estimated from all its fields.
Some are painted from the even plate, the uneven one and the corrected one. PCC is the mean over the stains, with those under even light.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from napari_virtual_paint.models import Model, open_model
from napari_virtual_paint.painting import PaintSettings, paint, run_to_end
from napari_virtual_paint.preprocessing import IlluminationEstimate, correct_illumination
from napari_virtual_paint.samples import SimulationSettings, simulate_field
from napari_virtual_paint.samples.camera import illumination
from napari_virtual_paint.samples.settings import Batch
from napari_virtual_paint.samples.simulator import SimulatedField
from napari_virtual_paint.stack import Stack


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="simulated-cell-painting")
    parser.add_argument("--plates", type=int, default=4)
    parser.add_argument("--fields", type=int, default=12, help="fields that the light is estimated from")
    parser.add_argument("--painted", type=int, default=2)
    parser.add_argument("--size", type=int, default=384)
    args = parser.parse_args()
    model = open_model(args.model)
    print("| plate | light falls by | PCC, even | uneven | corrected, estimate | corrected, true function | error of the estimate |")
    print("|---|---|---|---|---|---|---|")
    rows = []
    for plate in range(1, args.plates + 1):
        batch = Batch.drawn(plate)
        seeds = range(1000 * plate, 1000 * plate + args.fields)
        fields = [simulate_field(SimulationSettings(size=args.size, seed=seed, batch=batch)) for seed in seeds]
        functions = estimated(fields)
        true = illumination((args.size, args.size), batch.illumination, batch.centre)
        true_functions = {name: (true / true.mean()).astype(np.float32) for name in functions}
        error = max(float(np.abs(one / true_functions[name] - 1).max()) for name, one in functions.items())
        found = []
        for seed, field in zip(seeds, fields[: args.painted], strict=False):
            even = simulate_field(SimulationSettings(size=args.size, seed=seed, batch=replace(batch, illumination=0.0)))
            images = (even.brightfield, field.brightfield)
            corrected = (correct_illumination(field.brightfield, each) for each in (functions, true_functions))
            found.append([pcc(model, image, even.stains) for image in (*images, *corrected)])
        means = np.mean(found, axis=0)
        rows.append(means)
        print(f"| {plate} | {batch.illumination:.0%} | " + " | ".join(f"{value:.3f}" for value in means) + f" | {error:.1%} |", flush=True)
    print("| mean | | " + " | ".join(f"{value:.3f}" for value in np.mean(rows, axis=0)) + " | |")


def estimated(fields: list[SimulatedField]) -> dict[str, np.ndarray]:
    """Estimate the functions of the brightfield channels."""
    found = {}
    for channel, name in enumerate(fields[0].brightfield.channel_labels):
        estimate = IlluminationEstimate((fields[0].brightfield.shape[3], fields[0].brightfield.shape[4]))
        for field in fields:
            estimate.add(np.asarray(field.brightfield.data[0, channel, 0]))
        found[name] = estimate.function()
    return found


def pcc(model: Model, image: Stack, truth: Stack) -> float:
    """Return the mean PCC over the stains."""
    painted = run_to_end(paint(model, image, PaintSettings(device="cpu"))).stack.data[0, :, 0]
    pairs = zip(painted, np.asarray(truth.data[0, :, 0]), strict=True)
    return float(np.mean([np.corrcoef(one.ravel(), other.ravel())[0, 1] for one, other in pairs]))


if __name__ == "__main__":
    main()
