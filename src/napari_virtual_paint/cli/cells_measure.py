"""`virtual-paint cells measure`: segment the cells of images and measure them as CellProfiler does."""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path
from typing import Any

from napari_virtual_paint.cli import INTERRUPTED
from napari_virtual_paint.cli._options import add_axes, add_json, add_nuclei, add_workers
from napari_virtual_paint.cli._output import ProgressBar, print_note, print_notes, print_result, split_list
from napari_virtual_paint.cli._parser import number, whole_number
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.outputs import check_outputs, output_path

SUFFIXES = (".parquet", ".csv", ".csv.gz")


def add_parser(subparsers: Any) -> None:
    """Add the action to the parser of ``virtual-paint cells``."""
    parser = subparsers.add_parser(
        "measure",
        help="segment the cells of images and measure CellProfiler's features",
        description="Segment nuclei and cells, measure them with cp_measure and write a table with one row per cell and CellProfiler's "
        "names. A folder that `virtual-paint simulate` wrote means all its fields. If it is stopped or killed, the same command goes on "
        "from the last finished image.",
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="images of any readable format, montages of single cells among them")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="TABLE", help="table to write: .parquet, .csv or .csv.gz")
    add_nuclei(parser)
    parser.add_argument(
        "--channels", type=split_list, metavar="A,B", help="names for all channels in their order, or only the channels to measure"
    )
    add_axes(parser)
    parser.add_argument(
        "--tile", type=whole_number(0, 65_536), metavar="PX", help="side of a montage's tiles; 0: no montage (default: look for a grid)"
    )
    parser.add_argument("--labels", metavar="FILE", help="name of the file beside each image with its labels (channels nucleus, cell)")
    parser.add_argument(
        "--scale", type=number(above=0), metavar="N", help="gray level that becomes 1 (default: the first of 255, 4095, 65535 not exceeded)"
    )
    parser.add_argument("--method", choices=("otsu", "cellpose"), default="otsu", help="segmentation (default: %(default)s)")
    parser.add_argument("--keep-border", action="store_true", help="keep cells that are cut by the border of the image or of a tile")
    parser.add_argument("--costes", action="store_true", help="add Costes' colocalization, which is slow")
    parser.add_argument(
        "--textures", type=_distances, default=(3,), metavar="PX,PX", help="distances of the textures (default: 3, CellProfiler's)"
    )
    parser.add_argument(
        "--neighbors", type=whole_number(0, 10_000), metavar="PX", help="measure neighbors within a distance; 0: cells that touch"
    )
    parser.add_argument(
        "--field-granularity",
        action="store_true",
        help="granularity as CellProfiler's, 16 sizes of the whole image (default: 8 of each cell alone, which a crop reproduces)",
    )
    add_workers(parser, "measure")
    add_json(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Measure the images, write the table and print its size."""
    from napari_virtual_paint.cells.measurement.checkpoint import checkpoint_folder
    from napari_virtual_paint.cells.tables.writing import notes, write_table

    start = time.perf_counter()
    args.output = output_path(args.output)
    check_output(args.output)
    parts = checkpoint_folder(args.output)
    check_outputs([args.output, parts], args.images)
    try:
        table = measured(args, parts)
        write_table(table, args.output)
    except KeyboardInterrupt:
        if not parts.is_dir():
            raise
        print_note(f"stopped; the same command goes on from the last finished image ({parts}).")
        return INTERRUPTED
    shutil.rmtree(parts, ignore_errors=True)
    table_notes = notes(table)
    print_notes(table_notes)
    features = table.select_dtypes("float32").shape[1]
    report = {"table": str(args.output), "images": int(table["ImageNumber"].nunique()), "cells": len(table), "features": features}
    report |= {"notes": table_notes, "seconds": round(time.perf_counter() - start, 3)}
    print_result(report, f"{len(table)} cells of {report['images']} images, {features} features, in {args.output}", as_json=args.json)
    return 0


def measured(args: argparse.Namespace, parts: Path) -> Any:
    """Measure with a progress bar, and return the table."""
    from napari_virtual_paint.cells.measurement.images import measure_files
    from napari_virtual_paint.runtime.generators import run_to_end

    options = ("nuclei", "channels", "tile", "labels", "scale", "method", "keep_border", "costes", "workers", "axes")
    field = {"texture_scales": args.textures, "neighbors": args.neighbors, "field_granularity": args.field_granularity}
    steps = measure_files(args.images, **{name: getattr(args, name) for name in options}, **field, parts=parts)
    with ProgressBar("Measuring") as progress:
        return run_to_end(steps, progress.show)


def _distances(text: str) -> tuple[int, ...]:
    """Parse distances in px."""
    return tuple(dict.fromkeys(whole_number(1, 1000)(part.strip()) for part in text.split(",")))


def check_output(path: Path) -> None:
    """Check before hours of measuring that the table can be written.

    Raises `InputError` if its suffix is not that of a table, its folder does not exist, or it is a folder.
    """
    if not path.name.endswith(SUFFIXES):
        raise InputError(f"{path}: a table is written as .parquet, .csv or .csv.gz; choose one of these suffixes (-o).")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: there is no folder {str(path.parent)!r}; create it first.")
    if path.is_dir():
        raise InputError(f"{path}: a folder of this name exists; name a file (-o).")
