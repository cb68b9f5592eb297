"""`virtual-paint cells train|generate|evaluate`: models that draw the cell which would have some features."""

from __future__ import annotations

import argparse
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.cli import INTERRUPTED
from napari_virtual_paint.cli._output import ProgressBar, emit, say, table
from napari_virtual_paint.errors import InputError

if TYPE_CHECKING:
    from napari_virtual_paint.cells.cp2image.evaluate import CellEvaluation

MOSAIC = (".png", ".jpg", ".jpeg")
SHOWN = 20


def add_train(subparsers: Any) -> None:
    """Add ``train`` to the commands of ``virtual-paint cells``."""
    parser = subparsers.add_parser(
        "train",
        help="train a model of cells from a configuration file",
        description="Measure cells, train a generator and write its package, with its scores on the wells or montages held out. A run that "
        "was stopped or killed goes on when the same command is given again.",
    )
    parser.add_argument("config", type=Path, metavar="CONFIG.yaml", help="what to train, on what, and where to; see docs/cells-models.md")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(func=run_train)


def add_generate(subparsers: Any) -> None:
    """Add ``generate`` to the commands of ``virtual-paint cells``."""
    parser = subparsers.add_parser(
        "generate",
        help="draw the cells of a table",
        description="Draw the cell that would have the features of each row of a table; features that the table lacks stand at the median "
        "of the cells trained on.",
    )
    parser.add_argument("model", metavar="MODEL", help="the id of a cell model, or the path of its package")
    parser.add_argument("table", metavar="TABLE", nargs="+", help="a table of cells, or its parts: .csv, .csv.gz, .sqlite, .parquet")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help="OUT.ome.tif, one cell a time point; OUT.png, all in one picture"
    )
    parser.add_argument("--rows", metavar="A:B", help="rows of the table to draw, counted from 0 (default: all)")
    parser.add_argument("--overwrite", action="store_true", help="replace a file of this name")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(func=run_generate)


def add_evaluate(subparsers: Any) -> None:
    """Add ``evaluate`` to the commands of ``virtual-paint cells``."""
    parser = subparsers.add_parser(
        "evaluate",
        help="score a model on a table and the images it was measured on",
        description="Draw each cell of a table, measure what was drawn and correlate it with the table; take the Fréchet distance to the "
        "real crops. Features of place and of phase in a window (locations, bounding boxes, moments, phases) don't count.",
    )
    parser.add_argument("model", metavar="MODEL", help="the id of a cell model, or the path of its package")
    parser.add_argument("table", metavar="TABLE", help="a table of cells, as `virtual-paint cells measure` writes it")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="the images it was measured on, found by the table's Metadata_FileName")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="REPORT.html", help="write a report, with its figures as .csv and .png beside it"
    )
    parser.add_argument(
        "--network",
        choices=("auto", "inception", "cells"),
        default="auto",
        help="network of the Fréchet distance: Inception, or the model's own small one (default: Inception where its weights are on disk)",
    )
    parser.add_argument("--nuclei", metavar="CHANNEL", help="channel of the nuclei (default: the one called DNA, DAPI or Hoechst)")
    parser.add_argument("--most", type=int, metavar="N", help="take N cells at random (default: all)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes that measure (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(func=run_evaluate)


def run_train(args: argparse.Namespace) -> int:
    """Train, write the package, print its scores."""
    from napari_virtual_paint.cells.cp2image.config import load_config
    from napari_virtual_paint.cells.cp2image.train import train

    start = time.perf_counter()
    config = load_config(args.config)
    command = shlex.join(["virtual-paint", "cells", "train", args.config.as_posix()])
    path = found = None
    try:
        with ProgressBar("Training") as progress:
            for item in train(config, command):
                if isinstance(item, tuple):
                    path, found = item
                else:
                    progress.update(item.done, item.total, item.message)
    except KeyboardInterrupt:
        say(f"{config.run}: training was stopped; the same command goes on from its last epoch.")
        return INTERRUPTED
    assert found is not None
    scores = {name: value for name, value in found.to_dict().items() if name != "per_feature"}
    report = {"model": config.id, "output": str(path), "scores": scores, "seconds": round(time.perf_counter() - start, 1)}
    emit(report, f"{config.id}: {path}\n{summary(found)}", as_json=args.json)
    return 0


def run_generate(args: argparse.Namespace) -> int:
    """Draw the rows of a table and write them."""
    import numpy as np

    from napari_virtual_paint.cells.cp2image.evaluate import values_of
    from napari_virtual_paint.cells.cp2image.model import generate, open_cell_model
    from napari_virtual_paint.cells.tables.table import open_table

    model = open_cell_model(args.model)
    cells = open_table(args.table)
    rows = np.arange(len(cells))[_slice(args.rows)]
    if not len(cells):
        raise InputError(f"{cells.name}: it has no cells, only names of columns; export it again.")
    if not len(rows):
        raise InputError(f"--rows {args.rows}: {cells.name} has {len(cells)} cells, none of them there.")
    known = set(cells.features) & set(model.features)
    if not known:
        raise InputError(
            f"{cells.name}: it has none of the {len(model.features)} features that {model.id} takes ({model.features[0]} ...)."
        )
    if len(known) < len(model.features):
        say(f"{len(model.features) - len(known)} of {len(model.features)} features are not in {cells.name} and stand at the median.")
    with ProgressBar("Drawing") as progress:
        parts = []
        for start in range(0, len(rows), 256):
            parts.append(generate(model, values_of(cells, model.features, rows[start : start + 256])))
            progress.update(min(start + 256, len(rows)), len(rows))
    path = write_cells(args.output, np.concatenate(parts), model, overwrite=args.overwrite)
    report = {"model": model.id, "output": str(path), "cells": len(rows), "channels": list(model.channels), "size": model.size}
    emit(report, f"{path}: {len(rows)} cells, {', '.join(model.channels)}", as_json=args.json)
    return 0


def write_cells(path: Path, crops: Any, model: Any, *, overwrite: bool) -> Path:
    """Write drawn crops (n, C, d, d): a stack with one cell a time point, or one picture of them all."""
    import numpy as np

    from napari_virtual_paint.stack import PixelSize, Stack
    from napari_virtual_paint.writing import write

    if path.suffix.casefold() in MOSAIC:
        from PIL import Image

        from napari_virtual_paint.cells.populations.composite import colours_of, composite
        from napari_virtual_paint.runtime.atomic_write import replacing

        limits = [(float(low), float(high)) for low, high in model.scale]
        pictures = [composite(crop, limits, colours_of(model.channels)) for crop in crops]
        across = int(np.ceil(np.sqrt(len(pictures))))
        pictures += [np.zeros_like(pictures[0])] * (-len(pictures) % across)
        rows = [np.concatenate(pictures[start : start + across], axis=1) for start in range(0, len(pictures), across)]
        with replacing(path, overwrite=overwrite) as beside:
            Image.fromarray(np.concatenate(rows, axis=0)).save(beside, "PNG" if path.suffix.casefold() == ".png" else "JPEG")
        return path
    size = PixelSize(None, model.pixel_size, model.pixel_size)
    provenance = {"model": model.id, "version": model.version}
    stack = Stack(np.asarray(crops, np.float32)[:, :, None], model.channels, size, provenance=provenance)
    return Path(write(stack, path, overwrite=overwrite))


def run_evaluate(args: argparse.Namespace) -> int:
    """Score a model, print the figures, write the report."""
    from napari_virtual_paint.cells.cp2image.evaluate import CellEvaluation, evaluate
    from napari_virtual_paint.cells.cp2image.model import open_cell_model
    from napari_virtual_paint.cells.tables.table import open_table

    model = open_cell_model(args.model)
    found = None
    options = {"judge": args.network, "nuclei": args.nuclei, "most": args.most, "workers": args.workers}
    with ProgressBar("Evaluating") as progress:
        for item in evaluate(model, open_table(args.table), args.images, **options):
            if isinstance(item, CellEvaluation):
                found = item
            else:
                progress.update(item.done, item.total, item.message)
    assert found is not None
    for note in found.notes:
        say(note)
    say(f"network of the Fréchet distance: {found.judge}.")
    if args.output is not None:
        from napari_virtual_paint.cells.cp2image.report import write_report

        say(f"report: {write_report(found, args.output)}.")
    emit(found.to_dict(), summary(found), as_json=args.json)
    return 0


def summary(found: CellEvaluation) -> str:
    """Return an evaluation in words: the figures, the split, the best and worst features."""
    lines = [
        f"{len(found.asked)} cells, {len(found.per_feature)} features: {found.share_above:.1%} correlate above 0.5, median "
        f"{found.median:.3f}; Fréchet distance {found.fid:.4g} ({found.judge})"
    ]
    for part in ("compartment", "channel", "group"):
        parts = [(key, str(count), f"{share:.0%}", f"{median:.2f}") for key, count, share, median in found.by(part)]
        lines += ["", table((part, "features", "above 0.5", "median"), parts)]
    ranked = found.ranked()
    for heading, some in (("best", ranked[:SHOWN]), ("worst", ranked[-SHOWN:])):
        rows = [(name, "none" if value is None else f"{value:.2f}") for name, value in some]
        lines += ["", table((heading, "r"), rows)]
    return "\n".join(lines)


def _slice(text: str | None) -> slice:
    """Return the rows that ``A:B``, ``:B``, ``A:`` or ``A`` stand for."""
    if text is None:
        return slice(None)
    try:
        ends = [int(end) if end.strip() else None for end in text.split(":")]
    except ValueError:
        ends = []
    if len(ends) == 1 and ends[0] is not None:
        return slice(ends[0], ends[0] + 1)
    if len(ends) != 2:
        raise InputError(f"--rows {text!r} is no range of rows; write it as 0:100.")
    return slice(ends[0], ends[1])
