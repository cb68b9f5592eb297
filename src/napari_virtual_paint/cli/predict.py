"""`virtual-paint predict`: paint the stains of an image and write them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from functools import partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.cli._options import (
    MODEL,
    add_axes,
    add_channels,
    add_gray_levels,
    add_json,
    add_overwrite,
    add_painting,
    add_synonyms,
    gigabytes,
    open_models,
    paint_settings,
    read_image,
    synonyms_of,
)
from napari_virtual_paint.cli._output import ProgressBar, print_note, print_notes, print_result
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.outputs import check_outputs, output_path, shown_path
from napari_virtual_paint.runtime.text import elapsed

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from napari_virtual_paint.models import Match
    from napari_virtual_paint.painting import ModelSet, Painting, PaintSettings
    from napari_virtual_paint.painting.image_preparation import Preprocessed
    from napari_virtual_paint.stack import Stack
    from napari_virtual_paint.stain_names import Synonyms


IN_MEMORY = 512 << 20  # bytes of stains that are kept in memory until they are written


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser of `virtual-paint`."""
    parser = subparsers.add_parser(
        "predict",
        help="paint the stains of an image",
        description="Paint the stains of an image and write them with their names, the pixel size and how they were made. "
        "An existing file, or OME-Zarr that this program wrote, is replaced once the new one is complete.",
    )
    parser.add_argument("input", metavar="INPUT", help="an image of any readable format: a file, a folder, or a glob of files")
    parser.add_argument(
        "-m",
        "--model",
        required=True,
        action="append",
        metavar="MODEL[:STAIN,STAIN]",
        help=f"{MODEL}, and which of its stains (default: all); give it again for further models, whose stains go into the same output; "
        "equal stains are named for their models",
    )
    parser.add_argument("--ensemble", action="store_true", help="merge the stains that several of the models make into one")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="OUTPUT", help="file to write: .ome.tif or .ome.zarr")
    add_channels(
        parser,
        action="append",
        help="channels of the image, by name or position, in the model's order (default: matched by name); "
        "give it once for all models, or once for each",
    )
    add_axes(parser)
    add_synonyms(parser)
    add_painting(parser)
    parser.add_argument(
        "--memory",
        type=gigabytes,
        metavar="GB",
        help="memory that a field may take to be painted whole, and a block of a larger one (default: 2 and 1, or less where less is free)",
    )
    add_gray_levels(parser, ("model", "percentiles"))
    add_overwrite(parser, "replace an OME-Zarr image that another program wrote")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Read an image, paint it, write the stains and print the report."""
    output = output_path(args.output)
    check_output(output, args.input, overwrite=args.overwrite)
    from napari_virtual_paint.painting.domain_check import domain_of, with_domain
    from napari_virtual_paint.painting.gray_levels import GrayBlocks, as_gray, levels_of, noted, percentile_levels
    from napari_virtual_paint.painting.image_preparation import summary
    from napari_virtual_paint.painting.model_set import matches
    from napari_virtual_paint.painting.network_input import output_shape
    from napari_virtual_paint.runtime.atomic_write import parent_folder
    from napari_virtual_paint.writing.api import blockwise

    synonyms = synonyms_of(args)
    many = open_models(args.model, args.channels, ensemble=args.ensemble)
    if args.ensemble and max(many.makers()) == 1:
        print_note("the models have no stain in common, so there is nothing to merge.")
    if many.apart:
        print_note(f"several of the models make {', '.join(many.apart)}; the channels are named for them (--ensemble merges them).")
    settings = paint_settings(args)
    uncertainty_output = uncertainty_path(output) if has_uncertainty(many, settings) else None
    if uncertainty_output is not None:
        check_output(uncertainty_output, args.input, overwrite=args.overwrite)
    stack = read_image(args.input, args.axes)
    ready = _preprocessed(many, stack, settings, synonyms)
    many, stack, settings = ready.models, ready.stack, ready.settings
    matched = matches(many, stack, settings, synonyms)
    verdict = domain_of(many, stack, settings, matched=matched)
    paint_it = partial(paint_with_progress, many, stack, settings, matched, existing_folder(output), memory=args.memory)
    shape = output_shape(stack, matched[0], len(many.stains))
    levels = levels_of(many) if args.dtype == "uint16" and args.gray_range == "model" else None
    if streams(output, shape) and (levels is not None or args.dtype == "float32"):
        with parent_folder(output), blockwise(output, shape, args.dtype, overwrite=True) as image:
            painting = with_domain(paint_it(image if levels is None else GrayBlocks(image, levels, many.stains)), verdict)
            image.finish(noted(painting.stack, levels))
    else:
        painting = with_domain(paint_it(stains_on_disk(shape, existing_folder(output))), verdict)
        levels = percentile_levels([painting.stack]) if args.dtype == "uint16" and levels is None else levels
        write_image(painting.stack if levels is None else as_gray(painting.stack, levels), output)
    if verdict is not None and verdict.verdict != "inside":
        where = "at the edge of" if verdict.verdict == "edge" else "outside"
        print_note(f"The image is {where} what the model learned from (distance {verdict.distance:.1f}): {' '.join(verdict.reasons)}")
    print_notes(painting.report.notes)
    if painting.uncertainty is not None and uncertainty_output is not None:
        write_image(painting.uncertainty, uncertainty_output)
    report = report_of(painting, output, uncertainty_output) | summary(ready)
    report |= {} if levels is None else {"gray_levels": levels.to_json()}
    report |= {"notes": list(stack.notes)} if stack.notes else {}
    print_result(report, as_text(report), as_json=args.json)
    return 0


def _preprocessed(many: ModelSet, stack: Stack, settings: PaintSettings, synonyms: Synonyms | None) -> Preprocessed:
    """Correct the light, make phase and find the focus, as far as the settings ask for it, with a progress bar on stderr."""
    from napari_virtual_paint.painting import run_to_end
    from napari_virtual_paint.painting.image_preparation import phase_is_missing, preprocess, wants_preprocessing

    missing = next((member.model.info for member in many.members if phase_is_missing(member.model.info, stack)), None)
    if settings.phase is None and missing is not None:
        print_note(f"warning: {missing.id} paints from phase, and the image is brightfield; --phase makes phase from its planes.")
    if not wants_preprocessing(settings, stack):
        return run_to_end(preprocess(many, stack, settings, synonyms=synonyms))
    with ProgressBar("Preparing the image") as progress:
        ready = run_to_end(preprocess(many, stack, settings, synonyms=synonyms), progress.show)
    print_notes(ready.notes)
    if ready.focus is not None and stack.shape[2] > 1:
        print_note(f"the plane in focus is {ready.focus}.")
    return ready


def has_uncertainty(many: ModelSet, settings: PaintSettings) -> bool:
    """Return whether a stain is painted more than once, so that it has an SD."""
    from napari_virtual_paint.painting.tta import TTA

    return len(TTA[settings.tta].transforms) * max(many.makers()) > 1


def uncertainty_path(output: Path) -> Path:
    """Return the path of the SDs, beside the stains: ``NAME.sd.ome.tif``."""
    suffixes = "".join(output.suffixes[-2:]) if output.suffixes[-2:-1] == [".ome"] else output.suffix
    return output.with_name(f"{output.name.removesuffix(suffixes)}.sd{suffixes}")


def paint_with_progress(
    many: ModelSet, stack: Stack, settings: PaintSettings, matched: Sequence[Match], folder: Path, out: Any, *, memory: int | None = None
) -> Painting:
    """Paint into `out` with a progress bar on stderr; what is too large for memory is kept in files in `folder`."""
    from napari_virtual_paint.painting import paint, run_to_end

    with ProgressBar(f"Painting {', '.join(many.stains)}") as progress:
        return run_to_end(paint(many, stack, settings, out=out, scratch=folder, matched=matched, memory=memory), progress.show)


def streams(output: Path, shape: Sequence[int]) -> bool:
    """Return whether stains of this shape (TCZYX) are written while they are painted, since they would take much memory."""
    from napari_virtual_paint.writing.api import can_write_blockwise

    return 4 * prod(shape) > IN_MEMORY and can_write_blockwise(output)


def stains_on_disk(shape: Sequence[int], folder: Path) -> npt.NDArray[np.float32] | None:
    """Return an array (TCZYX) in an unnamed file, which vanishes with this process however it ends; None if it may be in memory.

    Raises `WriteError` if the disk is too full for it.
    """
    from napari_virtual_paint.runtime.scratch import file_backed_zeros, in_memory

    size = 4 * prod(shape)
    return None if size <= IN_MEMORY and in_memory(size) else file_backed_zeros(tuple(shape), folder)


def existing_folder(path: Path) -> Path:
    """Return the nearest folder above a path that exists."""
    return next(parent for parent in path.absolute().parents if parent.exists())


def check_output(output: Path, *sources: str, overwrite: bool = False) -> None:
    """Check before the long work that its result can be written.

    Raises `InputError` if the format is unknown, the folder can't be written to, the output would replace an input, or there is something
    that this program did not write and that may not be replaced.
    """
    from napari_virtual_paint.reading.file_sets import files_of_set
    from napari_virtual_paint.writing import can_write
    from napari_virtual_paint.writing.api import is_own_zarr

    if not can_write(output):
        raise InputError(
            f"{shown_path(output)}: the output is written as OME-TIFF or OME-Zarr, so its name must end in .ome.tif or .ome.zarr."
        )
    check_outputs([output], [*sources, *(files_of_set(source) for source in sources)])
    folder = existing_folder(output)
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(f"{shown_path(output)}: nothing can be written to {shown_path(folder)}; choose another folder.")
    if output.is_dir() and not overwrite and any(output.iterdir()) and not is_own_zarr(output):
        raise InputError(
            f"{shown_path(output)}: this folder was not written by this program as an image; choose another name, or replace an image with "
            "--overwrite."
        )


def write_image(stack: Stack, output: Path) -> Path:
    """Write an image, replacing an existing one only once it is complete."""
    from napari_virtual_paint.runtime.atomic_write import parent_folder
    from napari_virtual_paint.writing import write

    with parent_folder(output):
        return write(stack, output, overwrite=True)


def report_of(painting: Painting, output: Path, uncertainty_output: Path | None = None) -> dict[str, Any]:
    """Return the object that ``--json`` prints."""
    report = painting.report
    names: Sequence[str] = painting.stack.channel_labels
    keys = ("model", "version", "device", "precision", "blend", "exact", "seconds", "peak_memory_mb")
    found = {**{key: getattr(report, key) for key in keys}, "channels": list(names), "output": str(output)}
    if "domain" in (painting.stack.provenance or {}):
        found["domain"] = dict(painting.stack.provenance or {})["domain"]
    if report.members:
        found["members"] = list(report.members)
    if uncertainty_output is not None:
        found |= {"passes": report.passes, "merge": report.merge, "uncertainty": report.uncertainty}
        found["uncertainty_output"] = str(uncertainty_output)
    return found


def as_text(report: dict[str, Any]) -> str:
    """Return the report in a sentence or two."""
    how = "exact" if report["exact"] else f"blended ({report['blend']}), so not exact"
    text = (
        f"{report['output']}: {', '.join(report['channels'])} by {report['model']} {report['version']} "
        f"in {elapsed(report['seconds'])} on {report['device']} ({report['precision']}, {how}; {report['peak_memory_mb']:.0f} MB at most)."
    )
    if "uncertainty" in report:
        spreads = ", ".join(f"{stain} {value:.3g}" for stain, value in report["uncertainty"].items())
        text += f"\n{report['uncertainty_output']}: SD over {report['passes']} passes, on average {spreads}."
    return text
