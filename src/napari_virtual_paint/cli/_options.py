"""Options that several commands share, each defined once, and what they mean."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.choices import (
    BLENDS,
    TTA_LABELS,
    Blend,
    DeviceChoice,
    Merge,
    NormalizeOver,
    PixelType,
    Precision,
    Segmenter,
    TtaKind,
    values_of,
)
from napari_virtual_paint.cli._output import print_note, print_notes, split_list
from napari_virtual_paint.cli._parser import whole_number
from napari_virtual_paint.errors import InputError

if TYPE_CHECKING:
    from napari_virtual_paint.counting.settings import CountSettings
    from napari_virtual_paint.models import Model
    from napari_virtual_paint.painting import ModelSet, PaintSettings
    from napari_virtual_paint.plates.plate import Plate
    from napari_virtual_paint.preprocessing import PhaseSettings
    from napari_virtual_paint.stack import Stack
    from napari_virtual_paint.stain_names import Synonyms

Parser = Any  # A parser, or a group of its options, which share only private base classes
Subparsers = Any  # what ``add_subparsers`` returns

MODEL = "id of a model (see `virtual-paint models list`), or path of a package"
CELL_MODEL = "id of a cell model, or path of its package"


def add_json(parser: Parser) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def add_overwrite(parser: Parser, text: str = "replace an existing output") -> None:
    """Add ``--overwrite``."""
    parser.add_argument("--overwrite", action="store_true", help=text)


def add_channels(parser: Parser, **options: Any) -> None:
    """Add ``--channels``, the channels that a model gets."""
    text = "channels of the image, by name or position, in the model's order (default: matched by name)"
    parser.add_argument("--channels", type=channel_list, metavar="A,B", **{"help": text, **options})


def add_axes(parser: Parser, *, roles: str = "") -> None:
    """Add ``--axes``, what the axes of arrays mean that state none.

    Parameters
    ----------
    roles
        The two arguments whose axes may differ, such as ``IMAGE,STAIN``; empty where one value is for all images.
    """
    text = "what the axes of the image's array are, in its order, where the file states none: letters of TCZYX, S for colors; such as YXC"
    each = f"; two with a comma for {roles}, either of which may be empty" if roles else ""
    parser.add_argument("--axes", metavar="YXC", help=text + each)


def axes_of_two(args: argparse.Namespace) -> tuple[str | None, str | None]:
    """Return the axes of the two images that ``--axes A,B`` gives; one value is for both.

    Raises `InputError` if there are more than two.
    """
    if args.axes is None:
        return None, None
    first, *others = (part.strip() or None for part in args.axes.split(","))
    if len(others) > 1:
        raise InputError(f"--axes {args.axes!r} names the axes of {len(others) + 1} images; give one for both, or two with a comma.")
    return first, others[0] if others else first


def read_image(path: str, axes: str | None = None) -> Stack:
    """Read an image, and print what its reader wants the user to know."""
    from napari_virtual_paint.reading import read

    stack = read(path, axes=axes)
    print_notes(stack.notes)
    return stack


def add_device(parser: Parser) -> None:
    """Add ``--device``."""
    parser.add_argument(
        "--device", choices=values_of(DeviceChoice), default="auto", help="auto takes the fastest one (default: %(default)s)"
    )


def add_nuclei(parser: Parser) -> None:
    """Add ``--nuclei``, a channel of an image of cells."""
    parser.add_argument("--nuclei", metavar="CHANNEL", help="channel of the nuclei (default: the one called DNA, DAPI or Hoechst)")


def add_synonyms(parser: Parser) -> None:
    """Add ``--synonyms``, the user's own names of stains."""
    parser.add_argument(
        "--synonyms",
        type=Path,
        metavar="FILE.yaml",
        help="further names of stains, by which channels pair: lines like 'DNA: [NucBlue]' (DAPI, Hoechst and other common ones are known)",
    )


def synonyms_of(args: argparse.Namespace) -> Synonyms | None:
    """Return the names of stains that ``--synonyms`` gives; None where it is left out."""
    from napari_virtual_paint.stain_names import read_synonyms

    return None if args.synonyms is None else read_synonyms(args.synonyms)


def add_workers(parser: Parser, verb: str) -> None:
    """Add ``--workers``, 1 by default."""
    parser.add_argument(
        "--workers", type=whole_number(0, 9_999), default=1, metavar="N", help=f"number of processes that {verb} (default: %(default)s)"
    )


def add_scheduler(parser: Parser, verb: str) -> None:
    """Add ``--scheduler``."""
    parser.add_argument("--scheduler", metavar="tcp://HOST:PORT|FILE.json", help=f"{verb} on the workers of this Dask scheduler")


def add_painting(parser: Parser) -> None:
    """Add the options of `PaintSettings`, except for the channels."""
    parser.add_argument(
        "--blend",
        choices=values_of(Blend),
        default="exact",
        help=f"{'; '.join(f'{name}: {meaning}' for name, (_, meaning) in BLENDS.items())} (default: %(default)s)",
    )
    parser.add_argument(
        "--tile", type=tile_size, default="auto", metavar="auto|PX", help="longest side of a tile in pixels (default: %(default)s)"
    )
    add_device(parser)
    parser.add_argument("--precision", choices=values_of(Precision), default="float32", help="default: %(default)s")
    parser.add_argument("--resample", action="store_true", help="resample the image to the model's pixel size first, and the stains back")
    parser.add_argument(
        "--tta",
        choices=values_of(TtaKind),
        default="none",
        help="test-time augmentation: also paint every field in other orientations, and merge the passes; "
        f"{', '.join(f'{name}: {label}' for name, label in TTA_LABELS.items())} (default: %(default)s)",
    )
    parser.add_argument("--merge", choices=values_of(Merge), default="mean", help="how to merge passes or models (default: %(default)s)")
    parser.add_argument(
        "--normalize",
        choices=values_of(NormalizeOver),
        default="frame",
        help="take the statistics of each time point, or of all time points together (default: %(default)s)",
    )
    parser.add_argument(
        "--focus",
        type=focus_choice,
        default="none",
        metavar="auto|PLANE|middle",
        help="plane of a z-stack that is in focus: found, given (from 0) or the middle one; a model of single planes paints that one, "
        "a model of several takes those around it (default: none: every plane is painted, or those around the middle are taken)",
    )
    parser.add_argument(
        "--illumination",
        type=illumination_choice,
        default="none",
        metavar="none|auto|FOLDER",
        help="correct uneven light first: by what the plate's files say or an estimate from its fields, or by a folder of CellProfiler's "
        "illumination functions, one a channel (default: %(default)s)",
    )
    parser.add_argument(
        "--phase",
        type=phase_optics,
        metavar="NAME|OPTICS",
        help="for models that paint from phase: make it from the brightfield planes, with the optics of a microscope that `phase "
        "--microscope` kept, or NA,CONDENSER_NA,WAVELENGTH,INDEX, and ',invert' if the planes were taken in the opposite direction",
    )


def focus_choice(text: str) -> str | int:
    """Return ``none``, ``auto``, ``middle`` or the number of a plane."""
    if text in ("none", "auto", "middle"):
        return text
    if not text.isdecimal() or len(text) > 6:
        raise argparse.ArgumentTypeError(f"the focus is auto, middle, none or the number of a plane from 0, not {text[:40]!r}")
    return int(text)


def illumination_choice(text: str) -> str:
    """Return ``none``, ``auto`` or the absolute path of a folder."""
    return text if text in ("none", "auto") else str(Path(text).expanduser().absolute())


def phase_optics(text: str) -> PhaseSettings:
    """Return how phase is made with a microscope that was kept under a name, or with optics given as numbers."""
    from napari_virtual_paint.preprocessing import PhaseSettings, saved_microscopes

    name, comma, last = text.rpartition(",")
    inverted = bool(comma) and last.strip() == "invert"
    kept = saved_microscopes().get(name if inverted else text)
    if kept is not None:
        return PhaseSettings(kept, invert=inverted)
    try:
        return PhaseSettings.from_text(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def add_counting(parser: Parser) -> None:
    """Add the options of `CountSettings` that an image and a plate share."""
    parser.add_argument("--segmenter", choices=values_of(Segmenter), default="skimage", help="auto: Cellpose if it is installed")
    add_nuclei(parser)
    parser.add_argument("--cells", metavar="CHANNEL", help="channel that shows the cells (default: all other stains together)")
    parser.add_argument("--z", metavar="PLANE|max", help="plane of a stack, from 0, or its maximum projection")


def count_settings(args: argparse.Namespace) -> CountSettings:
    """Return the options of `add_counting` as one value, with ``--tracks`` where the command has it."""
    from napari_virtual_paint.counting.settings import CountSettings

    return CountSettings(args.segmenter, args.nuclei, args.cells, args.z, getattr(args, "tracks", False))


def add_gray_levels(parser: Parser, ranges: Sequence[str]) -> None:
    """Add ``--dtype`` and ``--range``."""
    parser.add_argument(
        "--dtype",
        choices=values_of(PixelType),
        default="float32",
        help="type of the pixels; uint16: gray levels from 0 to 65535, whose mapping is kept in the metadata (default: %(default)s)",
    )
    parser.add_argument(
        "--range",
        dest="gray_range",
        choices=ranges,
        default="model",
        help="what the gray levels of uint16 span: the model's own range, the same for all its images, or percentiles of what is painted "
        "(default: %(default)s)",
    )


def paint_settings(args: argparse.Namespace, channels: tuple[str, ...] | None = None) -> PaintSettings:
    """Return the options of `add_painting` as one value."""
    from napari_virtual_paint.painting import PaintSettings

    given = {each.name: getattr(args, each.name) for each in fields(PaintSettings) if hasattr(args, each.name)}
    return PaintSettings(**{**given, "channels": channels})


def add_plate(parser: Parser) -> None:
    """Add the argument PLATE and the options of `open_plate`."""
    parser.add_argument(
        "plate",
        metavar="PLATE",
        help="an OME-Zarr plate, a microscope's folder or one above it, a table of images, or a folder or glob of images",
    )
    parser.add_argument("--plate", dest="plate_name", metavar="NAME", help="which plate, where PLATE holds several")
    parser.add_argument("--layout", metavar="NAME", help="how the plate is stored, such as opera-phenix (default: recognized)")
    parser.add_argument("--pattern", help="what the images' names mean, such as '{well}_{field}_{channel}_{z}'")
    add_axes(parser)
    parser.add_argument("--plate-map", type=Path, metavar="CSV", help="table of the wells' contents (well, treatment, dose ...)")
    parser.add_argument(
        "--names", type=split_list, metavar="A,B", help="names of the plate's channels, in its order, such as 'Brightfield,DNA'"
    )


def open_plate(args: argparse.Namespace) -> Plate:
    """Return the plate that the options of `add_plate` name."""
    from napari_virtual_paint.plates import opening

    return opening.open_plate(
        args.plate,
        pattern=args.pattern,
        layout=args.layout,
        plate_map=args.plate_map,
        channels=args.names,
        plate=args.plate_name,
        axes=args.axes,
    )


def add_selection(parser: Parser) -> None:
    """Add ``--wells`` and ``--fields``."""
    parser.add_argument("--wells", metavar="A1:B12,C3", help="wells and rectangles of wells (default: all)")
    parser.add_argument("--fields", type=split_list, metavar="0,1", help="fields of each well, by name or number (default: all)")


def tile_size(text: str) -> int | str:
    """Return ``auto`` or a number of pixels."""
    if text == "auto":
        return text
    if not text.isdecimal() or len(text) > 6 or int(text) < 16:
        raise argparse.ArgumentTypeError(f"a tile is 'auto' or 16 pixels or more, not {text[:40]!r}")
    return int(text)


def gigabytes(text: str) -> int:
    """Return a number of gigabytes in bytes."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"the memory is a number of GB, not {text!r}")
    return int(value * 1e9)


def worker_count(text: str) -> int:
    """Return a number of workers."""
    if not text.isdecimal() or len(text) > 4 or int(text) < 1:
        raise argparse.ArgumentTypeError(f"the number of workers is 1 or more, not {text[:40]!r}")
    return int(text)


def channel_list(text: str) -> tuple[str, ...]:
    """Return the channels named in ``A,B``."""
    names = split_list(text)
    if not names:
        raise argparse.ArgumentTypeError("no channel is named")
    return names


def open_models(names: Sequence[str], channels: Sequence[tuple[str, ...]] | None, *, ensemble: bool) -> ModelSet:
    """Open the models of several ``-m``.

    Parameters
    ----------
    names
        Ids or packages, each followed by ``:STAIN,STAIN`` if only some of its stains are wanted.
    channels
        The values of ``--channels``: none, one for all models, or one for each.
    ensemble
        Whether stains of the same name are merged.

    Raises
    ------
    InputError
        If they don't fit together.
    """
    from napari_virtual_paint.painting import Member, ModelSet

    if channels is not None and len(channels) not in (1, len(names)):
        raise InputError(
            f"{len(channels)} times --channels for {len(names)} models; give it once for all, or once for each, in their order."
        )
    each = [None] * len(names) if channels is None else list(channels) * (len(names) // len(channels))
    opened = [_open_named(name) for name in names]
    for model, _ in opened:
        for warning in model.info.warnings:
            print_note(f"warning: {warning}")
    return ModelSet(tuple(Member(model, stains, own) for (model, stains), own in zip(opened, each, strict=True)), ensemble)


def _open_named(name: str) -> tuple[Model, tuple[str, ...] | None]:
    """Open ``MODEL`` or ``MODEL:STAIN,STAIN``; a colon in a path is part of the path."""
    from napari_virtual_paint.models import open_model
    from napari_virtual_paint.models.catalogue import locate

    head, colon, tail = name.rpartition(":")
    if not colon or locate(name).exists() or len(head) < 2:  # C:\model is a path
        return open_model(name), None
    stains = split_list(tail)
    if not stains:
        raise InputError(f"{name}: no stain is named after the colon; write {head}:STAIN,STAIN or only {head}.")
    return open_model(head), stains
