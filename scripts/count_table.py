"""Print the figures of docs/count.md: nuclei of a real field against CellProfiler's outlines, and of a simulated plate from painted DNA.

    python scripts/count_table.py [--size 512] [--wells 12] [--seed 1]

The first table needs ``../shared/data``; without it only the second is printed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

from cell_painting_outlines import nuclei_outlines
from napari_virtual_paint.counting import CountSettings, agreement_of, count_stack
from napari_virtual_paint.evaluation.instances.matching import Counts, counts, overlaps
from napari_virtual_paint.models import open_model
from napari_virtual_paint.painting import PaintSettings, paint
from napari_virtual_paint.plates.simulation.design import PlateDesign
from napari_virtual_paint.reading import read
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.samples.simulator import simulate_field
from napari_virtual_paint.stack import Stack

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
MODEL = "simulated-cell-painting"
IOU = (0.5, 0.7)


def nuclei_of(stack: Stack) -> np.ndarray:
    """Return the labels of the nuclei that `virtual-paint count` finds."""
    return np.asarray(run_to_end(count_stack(stack, CountSettings())).labels.data[0, 0, 0])


def real_field(data: Path) -> None:
    stack = read(data / "cell_painting" / "stains.ome.tif").compute()
    truth, found = nuclei_outlines(data)[:, : stack.shape[4]], nuclei_of(stack)
    between = overlaps(truth, found)
    scores = " ".join(f"{counts(between, iou).f1:.3f}" for iou in IOU)
    print(f"real Cell Painting field: {len(between.true_areas)} outlines, {len(between.predicted_areas)} found, F1 at {IOU}: {scores}")


def simulated_plate(size: int, wells: int, seed: int) -> None:
    design, model = PlateDesign((4, wells // 4), size=size, seed=seed), open_model(MODEL)
    found: dict[str, list[tuple[str, Counts, Counts, int, int]]] = {"painted": [], "real": []}
    for place in design.all_fields:
        field = simulate_field(design.settings(place))
        painted = run_to_end(paint(model, field.brightfield, PaintSettings(device="cpu"))).stack
        for source, stack in (("painted", painted), ("real", field.stains)):
            between = overlaps(field.labels["nucleus"], nuclei_of(stack))
            pair = [counts(between, iou) for iou in IOU]
            numbers = (len(between.predicted_areas), len(between.true_areas))
            found[source].append((design.treated[place.well][0], *pair, *numbers))
    print("| stains | wells | F1 at IoU 0.5 | F1 at IoU 0.7 | true nuclei | counted | difference | limits of agreement |")
    print("|---|---|---|---|---|---|---|---|")
    for source, rows in found.items():
        groups = {"all": rows, **{name: [row for row in rows if row[0] == name] for name in dict.fromkeys(row[0] for row in rows)}}
        for name, part in groups.items():
            both = agreement_of([row[3] for row in part], [row[4] for row in part])
            scores = [sum((row[i] for row in part), Counts(0, 0, 0)).f1 or 0.0 for i in (1, 2)]
            limits = "" if both.limits is None else f"{both.limits[0]:+.1f} to {both.limits[1]:+.1f}"
            figures = f"{scores[0]:.3f} | {scores[1]:.3f} | {both.real} | {both.painted} | {both.bias_percent:+.1f} %"
            print(f"| {source}, {name} | {len(part)} | {figures} | {limits} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--wells", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if (args.data / "cell_painting_table").is_dir():
        real_field(args.data)
    else:
        print(f"{args.data} is not there, so the real field is left out.")
    simulated_plate(args.size, args.wells, args.seed)


if __name__ == "__main__":
    main()
