"""From a CellProfiler run to a dragged cell: train a small model, sweep one feature of a cell, save the picture.

    python examples/cells_from_cellprofiler.py [RUN] [--images FOLDER] [--nuclei DNA] [--channels DNA,cellbody] [--feature NAME] [-o OUT]

RUN is what the pipeline wrote: a folder of CSV or Parquet tables, or an SQLite database; by default the ExampleHuman that lies beside the
repository. Pictures lie anywhere below --images, by default where the tables are. Channels have the names of the Image table's FileName_
columns.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from napari_virtual_paint.cells import cohort_of, gallery, generate, open_cell_model, save_gallery
from napari_virtual_paint.cells.cp2image.config import load_config
from napari_virtual_paint.cells.cp2image.train import train
from napari_virtual_paint.errors import VirtualPaintError

EXAMPLE = Path(__file__).resolve().parents[2] / "shared" / "data" / "example_human"


def written(args: argparse.Namespace) -> Path:
    """Write the configuration of the training beside its package."""
    run, out = args.run.resolve(), args.output.resolve()
    config: dict[str, Any] = {
        "id": "my-cells",
        "name": f"Cells of {run.stem}",
        "description": "Draws a cell from its features; made by examples/cells_from_cellprofiler.py.",
        "trained_on": f"The run {run.name}.",
        "not_for": "Other cells, stains or pipelines.",
        "output": str(out / "my-cells.zip"),
        "data": {
            "table": str(run),
            "images": str((args.images or (run if run.is_dir() else run.parent)).resolve()),
            "nuclei": args.nuclei,
            "channels": args.channels.split(","),
            "size": args.size,
        },
        "held_out": 0.2,
        "batch": 24,
        "steps": args.steps,
        "epoch": max(args.steps // 4, 1),
    }
    out.mkdir(parents=True, exist_ok=True)
    path = out / "my-cells.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path


def main() -> int:
    """Train, sweep and draw; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path, default=EXAMPLE, metavar="RUN")
    parser.add_argument("--images", type=Path, metavar="FOLDER")
    parser.add_argument("--nuclei", default="DNA")
    parser.add_argument("--channels", default="DNA,cellbody")
    parser.add_argument("--size", type=int, default=48, help="side of a cell's picture, px (default: %(default)s)")
    parser.add_argument("--feature", default="Nuclei_AreaShape_Area", help="the feature to drag (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=200, help="steps of the training (default: %(default)s)")
    parser.add_argument("-o", "--output", type=Path, default=Path("my-cells"), metavar="OUT", help="folder to write (default: %(default)s)")
    args = parser.parse_args()
    try:
        package = None
        for item in train(load_config(written(args)), "python examples/cells_from_cellprofiler.py"):
            if isinstance(item, tuple):
                package, scores = item
                print(
                    f"{package}: {scores.share_above:.0%} of {len(scores.per_feature)} features above 0.5 on {len(scores.requested)} cells"
                )
            elif item.message:
                print(item.message, file=sys.stderr)
        model = open_cell_model(str(package))
        if args.feature not in model.features:
            print(f"{args.feature} is none of the model's {len(model.features)} features ({model.features[0]} ...)", file=sys.stderr)
            return 2
        figure = gallery(
            lambda values: generate(model, values),
            cohort_of(model).population,
            [args.feature],
            model.channels,
            [(float(low), float(high)) for low, high in model.scale],
        )
        picture = save_gallery(figure, args.output / "dragged.png", overwrite=True)
    except VirtualPaintError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{picture}: one cell, {args.feature} at five percentiles, the other features following")
    return 0


if __name__ == "__main__":
    sys.exit(main())
