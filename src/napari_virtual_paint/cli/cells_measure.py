"""`virtual-paint cells measure`: segment the cells of images and measure them as CellProfiler does."""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path
from typing import Any

from napari_virtual_paint.cli import INTERRUPTED
from napari_virtual_paint.cli._output import ProgressBar, emit, say, split_list
from napari_virtual_paint.errors import InputError

ENDINGS = (".parquet", ".csv", ".csv.gz")


def add_measure(subparsers: Any) -> None:
    """Add the command to the parser of `virtual-paint cells`."""
    parser = subparsers.add_parser(
        "measure",
        help="segment the cells of images and measure them: a table with CellProfiler's features",
        description="Segments nuclei and cells, measures them with cp_measure and writes a table, one row a cell, with "
        "CellProfiler's names. A folder that `virtual-paint simulate` wrote stands for all its fields. A run that was stopped or killed "
        "goes on from its last finished image when the same command is given again.",
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="images of any readable format, montages of single cells among them")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="TABLE", help="table to write: .parquet, .csv or .csv.gz")
    parser.add_argument("--nuclei", metavar="CHANNEL", help="channel of the nuclei (default: the one called DNA, DAPI or Hoechst)")
    parser.add_argument(
        "--channels", type=split_list, metavar="A,B", help="names for all channels in their order, or the channels to measure alone"
    )
    parser.add_argument("--tile", type=int, metavar="PX", help="side of a montage's places; 0: no montage (default: look for a grid)")
    parser.add_argument("--labels", metavar="FILE", help="file beside each image with labels (channels nucleus, cell) to measure")
    parser.add_argument("--scale", type=float, metavar="N", help="grey levels that are 1 (default: 255, 4095 or 65535, which holds all)")
    parser.add_argument("--method", choices=("otsu", "cellpose"), default="otsu", help="segmentation (default: %(default)s)")
    parser.add_argument("--keep-border", action="store_true", help="keep cells that the border of the image, or of a place, cuts")
    parser.add_argument("--costes", action="store_true", help="add Costes' colocalization, which is slow")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes that share the work (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Measure, write, print what was measured."""
    from napari_virtual_paint.cells.measurement.checkpoint import beside
    from napari_virtual_paint.cells.tables.writing import notes, write_table

    start = time.perf_counter()
    check_output(args.output)
    parts = beside(args.output)
    try:
        table = measured(args, parts)
        write_table(table, args.output)
    except KeyboardInterrupt:
        if not parts.is_dir():
            raise
        say(f"stopped; the same command goes on from the last finished image ({parts}).")
        return INTERRUPTED
    shutil.rmtree(parts, ignore_errors=True)
    told = notes(table)
    for note in told:
        say(note)
    features = table.select_dtypes("float32").shape[1]
    report = {"table": str(args.output), "images": int(table["ImageNumber"].nunique()), "cells": len(table), "features": features}
    report |= {"notes": told, "seconds": round(time.perf_counter() - start, 3)}
    emit(report, f"{len(table)} cells of {report['images']} images, {features} features, in {args.output}", as_json=args.json)
    return 0


def measured(args: argparse.Namespace, parts: Path) -> Any:
    """Measure with progress; return the table."""
    from napari_virtual_paint.cells.measurement.images import measure_files
    from napari_virtual_paint.runtime.generators import run_to_end

    named = ("nuclei", "channels", "tile", "labels", "scale", "method", "keep_border", "costes", "workers")
    steps = measure_files(args.images, **{name: getattr(args, name) for name in named}, parts=parts)
    with ProgressBar("Measuring") as progress:
        return run_to_end(steps, progress.show)


def check_output(path: Path) -> None:
    """Refuse a table that could not be written, before hours of measuring and not after them.

    Raises
    ------
    InputError
        If its ending is none of a table's, its folder is not there, or it is a folder.
    """
    if not path.name.endswith(ENDINGS):
        raise InputError(f"{path}: a table is written as .parquet, .csv or .csv.gz; choose one of these endings (-o).")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: there is no folder {str(path.parent)!r}; make it first.")
    if path.is_dir():
        raise InputError(f"{path}: a folder of this name is there; name a file (-o).")
