"""CP2Image from beginning to end: train on simulated wells, print the scores, sweep features, write a gallery and a walk.

    python scripts/cells_example.py [-o OUT] [--model ID | --config CONFIG.yaml] [--cells 50]

Without --model a small model is trained on eight simulated wells in some minutes (or as CONFIG.yaml says), two of which are held out; the
table is of the held-out cells. With --model a model that is there already is swept, drawn and walked with.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from napari_virtual_paint.cells.cp2image.config import load_config
from napari_virtual_paint.cells.cp2image.evaluate import CellEvaluation
from napari_virtual_paint.cells.cp2image.feature_response import responses, swept_features
from napari_virtual_paint.cells.cp2image.model import CellModel, cohort_of, generate, open_cell_model
from napari_virtual_paint.cells.cp2image.train import train
from napari_virtual_paint.cells.populations.gallery import gallery, save_gallery
from napari_virtual_paint.cells.populations.walk_export import save_walk
from napari_virtual_paint.cells.populations.walks import representative, stepwise

SMALL = """\
id: small-cells
name: Cells of eight simulated wells
description: Draws a simulated cell from its features; made by scripts/cells_example.py.
trained_on: Eight wells of the simulator.
not_for: Anything but this example.
output: {out}/small-cells.zip
run: {out}/run
data:
  simulate: {{doses: [1.0], seeds: 2, size: 512, seed: 7}}
  channels: [DNA, ER, RNA, AGP, Mito]
  size: 80
features: {{polar: true, frame: Nuclei_AreaShape_Orientation, drop: 0.3}}
alone: true
turns: true
scale: fixed
held_out: 0.25
generator: {{architecture: CellPainter, config: {{width: 12, max_width: 64, style: 128, turn: 1}}}}
critic: {{architecture: ReadingCritic, config: {{width: 16}}}}
loss: {{pixel: mse, pixel_weight: 10, hidden: 1, ramp: 0, reading: 0.2}}
optimizer: {{lr: 2.0e-3, critic_lr: 1.0e-3, betas: [0.9, 0.99], weight_decay: 0.01, schedule: one_cycle, clip: 1.0}}
batch: 32
steps: 400
epoch: 100
ema: 0.98
population: 100
"""


def drive(work: Any) -> Any:
    """Run a generator of steps to its end and return what it ended with."""
    last = None
    for item in work:
        if hasattr(item, "total"):
            if item.message:
                print(f"{100 * item.done / max(item.total, 1e-9):3.0f} %  {item.message}", file=sys.stderr)
        else:
            last = item
    return last


def trained(config: Path) -> tuple[CellModel, CellEvaluation]:
    """Train as a configuration says and open the package."""
    path, found = drive(train(load_config(config), f"python scripts/cells_example.py --config {config}"))
    return open_cell_model(path), found


def show_scores(found: CellEvaluation) -> None:
    """Print the evaluation, whole and by parts of the features' names."""
    print(f"{len(found.requested)} held-out cells, {len(found.per_feature)} features")
    print(f"correlation of asked and measured: {found.share_above:.0%} above 0.5, median {found.median:.2f}")
    print(f"Fréchet distance {found.fid:.2f} ({found.network})")
    for part in ("compartment", "channel", "group"):
        print(f"\n{part:22s} features  above 0.5  median")
        for name, count, share, median in found.by(part):
            print(f"{name:22s} {count:8d} {share:9.0%} {median:8.2f}")
    ranked = found.ranked()
    print("\nbest:  ", ", ".join(f"{name} {value or 0:.2f}" for name, value in ranked[:5]))
    print("worst: ", ", ".join(f"{name} {value or 0:.2f}" for name, value in ranked[-5:]))


def show_sweeps(model: CellModel, cells: int) -> None:
    """Print how the measured feature follows the one asked for."""
    print("\nSlope of the measured against the requested feature along a sweep, and Spearman's correlation, medians over cells")
    names, _ = swept_features(model)
    for follow, words in ((True, "the correlated ones follow"), (False, "all others fixed")):
        for found in drive(responses(model, names, cells=cells, follow=follow)):
            print(f"  {found.feature:38s} {found.gain:5.2f} {found.median:5.2f}  ({words}, {len(found.measured)} cells)")


def draw(model: CellModel, out: Path) -> None:
    """Write the gallery and a walk from control cells to the first treatment."""
    cohort = cohort_of(model)
    limits = [(float(low), float(high)) for low, high in model.scale]
    base = cohort.values[representative(cohort.population)]
    rows, _ = swept_features(model)
    figure = gallery(
        lambda values: generate(model, values), cohort.population, rows, model.channels, limits, base=base, follow=True, title=model.name
    )
    print(f"\ngallery: {save_gallery(figure, out / 'gallery.png', overwrite=True)}")
    column = next(name for name in ("Metadata_Treatment", "Metadata_Phase", *cohort.groupings) if name in cohort.groupings)
    groups = cohort.groupings[column]
    first = next((name for name in groups if name.casefold() in ("control", "dmso", "g1")), groups[0])
    last = next(name for name in groups if name != first)
    a, b = (cohort.values[representative(cohort.population, cohort.group(column, name))] for name in (first, last))
    walk = stepwise(cohort.population, a, b).named(first, last)
    path = save_walk(out / "walk.gif", walk, generate(model, walk.values), model.channels, limits, overwrite=True)
    print(f"walk from {first} to {last}, {len(walk)} frames, cosine {walk.scores[0]:.2f} to {walk.scores[-1]:.2f}: {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("build/cells-example"), metavar="OUT")
    parser.add_argument("--model", metavar="ID", help="a model that is there already, by id or path")
    parser.add_argument("--config", type=Path, metavar="CONFIG.yaml")
    parser.add_argument("--cells", type=int, default=50, help="cells that are swept")
    arguments = parser.parse_args()
    out = arguments.output.resolve()
    out.mkdir(parents=True, exist_ok=True)
    if arguments.model:
        model = open_cell_model(arguments.model)
        scores = ", ".join(f"{name} {value:.3g}" for name, value in dict(model.card["scores"]).items())
        print(f"{model.id}, on cells held out while it was trained: {scores}")
    else:
        config = arguments.config
        if config is None:
            config = out / "small-cells.yaml"
            config.write_text(SMALL.format(out=out.as_posix()))
        model, found = trained(config)
        show_scores(found)
    show_sweeps(model, arguments.cells)
    draw(model, out)


if __name__ == "__main__":
    main()
