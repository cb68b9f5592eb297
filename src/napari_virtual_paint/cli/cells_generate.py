"""`virtual-paint cells generate`: draw the cells that have the features of a table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from napari_virtual_paint.cli._options import CELL_MODEL, add_json, add_overwrite
from napari_virtual_paint.cli._output import ProgressBar, print_note, print_result
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.outputs import check_outputs, output_path

PICTURES = (".png", ".jpg", ".jpeg")  # suffixes of outputs that are one picture of all cells
BATCH = 256  # cells drawn at once


def add_parser(subparsers: Any) -> None:
    """Add the action to the parser of ``virtual-paint cells``."""
    parser = subparsers.add_parser(
        "generate",
        help="draw the cells of a table",
        description="Draw the cell that has the features of each row of a table; features that the table lacks are set to the median of "
        "the training cells.",
    )
    parser.add_argument("model", metavar="MODEL", help=CELL_MODEL)
    parser.add_argument("table", metavar="TABLE", nargs="+", help="table of cells, or its parts: .csv, .csv.gz, .sqlite, .parquet")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help="OUT.ome.tif: one cell per time point; OUT.png: all in one picture"
    )
    parser.add_argument("--rows", metavar="A:B", help="rows of the table to draw, counted from 0 (default: all)")
    parser.add_argument(
        "--allow-missing", action="store_true", help="draw even if the table has less than half of the model's features (default: refuse)"
    )
    add_overwrite(parser)
    add_json(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Draw the cells of a table and write them."""
    args.output = output_path(args.output)
    check_outputs([args.output], [args.model, args.table])
    from napari_virtual_paint.writing import can_write

    if args.output.suffix.casefold() not in PICTURES and not can_write(args.output):
        raise InputError(f"{args.output}: cells are written as .ome.tif, .ome.zarr or .png; choose one of these suffixes (-o).")
    import numpy as np

    from napari_virtual_paint.cells.cp2image.evaluate import values_of
    from napari_virtual_paint.cells.cp2image.model import generate, open_cell_model
    from napari_virtual_paint.cells.populations.cohort import check_features
    from napari_virtual_paint.cells.tables.table import open_table

    model = open_cell_model(args.model)
    cells = open_table(args.table)
    rows = np.arange(len(cells))[_slice(args.rows)]
    if not len(cells):
        raise InputError(f"{cells.name}: it has no cells, only names of columns; export it again.")
    if not len(rows):
        raise InputError(f"--rows {args.rows}: {cells.name} has {len(cells)} cells, none of them in these rows.")
    cells = cells.renamed(model.names)
    if args.allow_missing:
        missing = len(set(model.features) - set(cells.features))
    else:
        missing = len(check_features(cells, model.features, cells.name, ", or give --allow-missing, which sets them to the median"))
    if missing:
        print_note(f"{missing} of {len(model.features)} features are not in {cells.name} and are set to the median.")
    with ProgressBar("Drawing") as progress:
        batches = []
        for start in range(0, len(rows), BATCH):
            batches.append(generate(model, values_of(cells, model.features, rows[start : start + BATCH])))
            progress.update(min(start + BATCH, len(rows)), len(rows))
    path = write_cells(args.output, np.concatenate(batches), model, overwrite=args.overwrite)
    report = {"model": model.id, "output": str(path), "cells": len(rows), "channels": list(model.channels), "size": model.size}
    print_result(report, f"{path}: {len(rows)} cells, {', '.join(model.channels)}", as_json=args.json)
    return 0


def write_cells(path: Path, crops: Any, model: Any, *, overwrite: bool) -> Path:
    """Write drawn crops (n, C, d, d): a stack with one cell per time point, or one picture of all."""
    import numpy as np

    from napari_virtual_paint.stack import PixelSize, Stack
    from napari_virtual_paint.writing import write

    if path.suffix.casefold() in PICTURES:
        from PIL import Image

        from napari_virtual_paint.cells.populations.composite import colours_of, composite
        from napari_virtual_paint.runtime.atomic_write import replacing

        limits = [(float(low), float(high)) for low, high in model.scale]
        pictures = [composite(crop, limits, colours_of(model.channels)) for crop in crops]
        columns = int(np.ceil(np.sqrt(len(pictures))))
        pictures += [np.zeros_like(pictures[0])] * (-len(pictures) % columns)
        rows = [np.concatenate(pictures[start : start + columns], axis=1) for start in range(0, len(pictures), columns)]
        with replacing(path, overwrite=overwrite) as beside:
            Image.fromarray(np.concatenate(rows, axis=0)).save(beside, "PNG" if path.suffix.casefold() == ".png" else "JPEG")
        return path
    size = PixelSize(None, model.pixel_size, model.pixel_size)
    provenance = {"model": model.id, "version": model.version}
    stack = Stack(np.asarray(crops, np.float32)[:, :, None], model.channels, size, provenance=provenance)
    return Path(write(stack, path, overwrite=overwrite))


def _slice(text: str | None) -> slice:
    """Return the rows ``A:B``, ``:B``, ``A:`` or ``A`` as a slice."""
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
