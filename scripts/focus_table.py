"""Print how well the plane in focus is found on simulated brightfield stacks, and what the difference costs; and on the neurons' 13 planes.

python scripts/focus_table.py [--fields N] [--size PX] [--data FOLDER]

Stacks of 9, 13 and 21 planes are cut out of longer ones, so that each of their planes is in focus once. The true plane is the one nearest
to the mean height of what delays the light. PCC is that of `simulated-cell-painting`, which takes planes around the focus; the truth is the
sum of the stains.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_virtual_paint.models import Model, open_model
from napari_virtual_paint.models.matching import around_focus
from napari_virtual_paint.painting import PaintSettings, paint, run_to_end
from napari_virtual_paint.preprocessing import find_focus
from napari_virtual_paint.reading import read
from napari_virtual_paint.samples import SimulationSettings, simulate_field
from napari_virtual_paint.samples.settings import CELL_TYPES
from napari_virtual_paint.samples.simulator import plane_in_focus
from napari_virtual_paint.stack import PixelSize, Stack

PLANES = (9, 13, 21)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fields", type=int, default=3)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    args = parser.parse_args()
    model = open_model("simulated-cell-painting")
    print("| planes, step | stacks | within one plane | largest error | PCC, found plane | PCC, true plane |\n|---|---|---|---|---|---|")
    for step in (0.5, 1.0, 2.0):
        _simulated(model, step, args.fields, args.size)
    _neurons(args.data / "neurons")


def _simulated(model: Model, step: float, fields: int, size: int) -> None:
    """Print the rows of one distance between the planes."""
    errors: dict[int, list[int]] = {count: [] for count in PLANES}
    scores: dict[int, list[tuple[float, float]]] = {count: [] for count in PLANES}
    for seed, kind in zip(range(fields), list(CELL_TYPES) * fields, strict=False):
        settings = SimulationSettings(size=size, z=2 * max(PLANES) + 5, z_step=step, seed=seed, cell_type=kind)
        field, true = simulate_field(settings), round(plane_in_focus(settings))
        known: dict[tuple[int, ...], float] = {}
        for count in PLANES:
            for position in range(count):
                first = true - position
                if first < 0 or first + count > settings.z:
                    continue
                stack = replace(field.brightfield, data=field.brightfield.data[:, :, first : first + count])
                found = run_to_end(find_focus(stack.data[0, 0], brightfield=True, pixel_size=stack.pixel_size)).plane
                errors[count].append(found - position)
                windows = [tuple(first + z for z in around_focus(model.info, stack, plane)[0]) for plane in (found, position)]
                pair = [known.setdefault(window, -1.0) for window in windows]
                for place, window in enumerate(windows):
                    if known[window] == -1.0:
                        known[window] = _pcc(model, field.brightfield, window, field.stains)
                    pair[place] = known[window]
                scores[count].append((pair[0], pair[1]))
    for count in PLANES:
        wrong = np.abs(errors[count])
        found_pcc, true_pcc = np.mean(scores[count], axis=0)
        print(
            f"| {count}, {step:g} um | {len(wrong)} | {np.mean(wrong <= 1):.1%} | {wrong.max()} | {found_pcc:.3f} | {true_pcc:.3f} |",
            flush=True,
        )


def _pcc(model: Model, stack: Stack, window: tuple[int, ...], stains: Stack) -> float:
    """Return the mean PCC over the stains of what is painted from some planes."""
    image = Stack(stack.data[:, 0, list(window)][:, :, None], model.info.channels, PixelSize(None, *stack.pixel_size[1:]))
    painted = run_to_end(paint(model, image, PaintSettings(device="cpu"))).stack
    truth = np.asarray(stains.data[0]).astype(np.float32).sum(axis=1)
    pairs = [(painted.data[0, at, 0], truth[stains.channel_index(name)]) for at, name in enumerate(painted.channel_labels)]
    return float(np.mean([np.corrcoef(one.ravel(), other.ravel())[0, 1] for one, other in pairs]))


def _neurons(folder: Path) -> None:
    """Print which of the neurons' planes is found, and what painting around it gives."""
    if not folder.exists():
        return
    stack, truth, model = read(folder / "phase.ome.tif").compute(), read(folder / "fluorescence.ome.tif"), open_model("neurons-phase")
    found = run_to_end(find_focus(stack.data[0, 0], brightfield=False, pixel_size=stack.pixel_size))
    print(f"\nNeurons: plane {found.plane} of {len(found.curve)}; curve {', '.join(f'{value:.2f}' for value in found.curve)}")
    for focus in ("none", "auto"):
        painted = run_to_end(paint(model, stack, PaintSettings(device="cpu", focus=focus))).stack  # type: ignore[arg-type]
        names = painted.channel_labels
        pairs = [(painted.data[0, at, 0], np.asarray(truth.data[0, truth.channel_index(name), 0])) for at, name in enumerate(names)]
        values = [float(np.corrcoef(one.ravel(), other.ravel())[0, 1]) for one, other in pairs]
        print(f"focus {focus}: " + ", ".join(f"{name} {value:.3f}" for name, value in zip(names, values, strict=True)))


if __name__ == "__main__":
    main()
