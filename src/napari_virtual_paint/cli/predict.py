"""`virtual-paint predict`: paint the stains of an image and write them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.cli._common import Progress, emit, say, split_list
from napari_virtual_paint.errors import InputError

if TYPE_CHECKING:
    from napari_virtual_paint.models import Model
    from napari_virtual_paint.painting import Painting, PaintSettings
    from napari_virtual_paint.stack import Stack

SUFFIXES = (".tif", ".tiff", ".zarr")
"""What a painting can be written as; the writer tells OME-TIFF from OME-Zarr by them."""


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser of `virtual-paint`."""
    parser = subparsers.add_parser(
        "predict",
        help="paint the stains of an image",
        description="Paint the stains of an image and write them with their names, the pixel size and how they were made. "
        "An output that is there already is replaced once the new one is complete.",
    )
    parser.add_argument("input", metavar="INPUT", help="an image of any readable format: a file, a folder, or a glob of files")
    parser.add_argument(
        "-m", "--model", required=True, metavar="MODEL", help="the id of a model (`virtual-paint models list`), or a package"
    )
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="OUTPUT", help="file to write: .ome.tif or .ome.zarr")
    parser.add_argument(
        "--channels", type=channel_list, metavar="A,B", help="the image's channels, by name or position, in the model's order"
    )
    parser.add_argument(
        "--blend",
        choices=("exact", "median", "gaussian"),
        default="exact",
        help="exact: as if painted whole; median: the paper's patches; gaussian: weighted patches (default: %(default)s)",
    )
    parser.add_argument(
        "--tile", type=tile_size, default="auto", metavar="auto|PX", help="most pixels a side of a tile (default: %(default)s)"
    )
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="default: %(default)s, the fastest there is"
    )
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="default: %(default)s")
    parser.add_argument("--resample", action="store_true", help="bring the image to the model's pixel size first, and the stains back")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def tile_size(text: str) -> int | str:
    """Return ``auto`` or a number of pixels."""
    if text == "auto":
        return text
    if not text.isdecimal() or int(text) < 16:
        raise argparse.ArgumentTypeError(f"a tile is 'auto' or 16 pixels or more, not {text!r}")
    return int(text)


def channel_list(text: str) -> tuple[str, ...]:
    """Return the channels named in ``A,B``."""
    names = split_list(text)
    if not names:
        raise argparse.ArgumentTypeError("no channel is named")
    return names


def run(args: argparse.Namespace) -> int:
    """Read, paint, write, report."""
    check_output(args.output, args.input)
    from napari_virtual_paint.models import open_model
    from napari_virtual_paint.reading import read

    model = open_model(args.model)
    for warning in model.info.warnings:
        say(f"warning: {warning}")
    stack = read(args.input)
    painting = paint_with_progress(model, stack, settings_of(args))
    for note in painting.report.notes:
        say(note)
    written = write_whole(painting.stack, args.output)
    report = report_of(painting, written)
    emit(report, as_text(report), as_json=args.json)
    return 0


def settings_of(args: argparse.Namespace) -> PaintSettings:
    """Return the options as one value."""
    from napari_virtual_paint.painting import PaintSettings

    return PaintSettings(
        blend=args.blend, tile=args.tile, device=args.device, precision=args.precision, channels=args.channels, resample=args.resample
    )


def paint_with_progress(model: Model, stack: Stack, settings: PaintSettings) -> Painting:
    """Paint under a progress bar on stderr."""
    from napari_virtual_paint.painting import paint, run_to_end

    with Progress(f"Painting {', '.join(model.info.stains)}") as progress:
        return run_to_end(paint(model, stack, settings), lambda piece: progress.update(piece.done, piece.total, piece.message))


def check_output(output: Path, source: str) -> None:
    """Find out before the long work whether its result can be written.

    Raises
    ------
    InputError
        If the format is unknown, the folder can't be written to, or the output would replace the input.
    """
    if output.suffix.casefold() not in SUFFIXES:
        raise InputError(f"{output}: the output is written as OME-TIFF or OME-Zarr, so its name must end in .ome.tif or .ome.zarr.")
    folder = next(parent for parent in output.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(f"{output}: nothing can be written to {folder}; choose another folder.")
    if output.exists() and Path(source).exists() and output.samefile(source):
        raise InputError(f"{output}: the output would replace the input; choose another name.")


def write_whole(stack: Stack, output: Path) -> Path:
    """Write the painting, replacing what is there only once it is complete."""
    from napari_virtual_paint.errors import WriteError
    from napari_virtual_paint.writing import write

    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(output, f"its folder can't be made ({error.strerror}); choose another") from None
    return write(stack, output, overwrite=True)


def report_of(painting: Painting, output: Path) -> dict[str, Any]:
    """Return what ``--json`` gives."""
    report = painting.report
    names: Sequence[str] = painting.stack.channel_labels
    keys = ("model", "version", "device", "precision", "blend", "exact", "seconds", "peak_memory_mb")
    return {**{key: getattr(report, key) for key in keys}, "channels": list(names), "output": str(output)}


def as_text(report: dict[str, Any]) -> str:
    """Return the report in one sentence for a person."""
    how = "exact" if report["exact"] else f"blended ({report['blend']}), so not exact"
    return (
        f"{report['output']}: {', '.join(report['channels'])} by {report['model']} {report['version']} "
        f"in {report['seconds']:.1f} s on {report['device']} ({report['precision']}, {how}; {report['peak_memory_mb']:.0f} MB at most)."
    )
