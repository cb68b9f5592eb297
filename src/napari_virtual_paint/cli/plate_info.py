"""``virtual-paint plate info``: what is on a plate, by its metadata alone."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.cli._output import emit, say, split_list

if TYPE_CHECKING:
    from napari_virtual_paint.plates.plate import Plate

_SHOWN = 12


def add_parser(subparsers: Any) -> None:
    """Add the action to the parser of ``virtual-paint plate``."""
    parser = subparsers.add_parser(
        "info",
        help="say what is on a plate",
        description="Say what is on a plate: layout, wells, fields, channels, pixel size, acquisitions, metadata of the wells. "
        "No pixel is read.",
    )
    add_opening(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def add_opening(parser: argparse.ArgumentParser) -> None:
    """Add the argument PLATE and the options that say how it is opened."""
    parser.add_argument(
        "plate", metavar="PLATE", help="an OME-Zarr plate, a microscope's folder, a table of images, or a folder or glob of images"
    )
    parser.add_argument("--layout", metavar="NAME", help="how the plate is stored, such as opera-phenix; found out where it is not said")
    parser.add_argument("--pattern", help="how the images' names tell their place, such as '{well}_{field}_{channel}_{z}'")
    parser.add_argument("--plate-map", metavar="CSV", help="a table of what is in the wells (CSV, TSV, Parquet), joined by their names")
    parser.add_argument(
        "--names",
        type=split_list,
        metavar="NAMES",
        help="what the channels are called, in the source's order, such as 'Brightfield,DNA'",
    )


def open_by(args: argparse.Namespace) -> Plate:
    """Return the plate that the options of `add_opening` mean."""
    from napari_virtual_paint.plates.opening import open_plate

    return open_plate(args.plate, pattern=args.pattern, layout=args.layout, plate_map=args.plate_map, channels=args.names)


def run(args: argparse.Namespace) -> int:
    """Open the plate and print what is on it."""
    plate = open_by(args)
    report = summary(plate)
    for note in report["notes"]:
        say(note)
    emit(report, _text(report), as_json=args.json)
    return 0


def summary(plate: Plate) -> dict[str, Any]:
    """Return what is on a plate; the pixel size is that of the first field, whose files' headers are read for it."""
    from napari_virtual_paint.errors import ReadError

    notes = list(plate.notes)
    image: dict[str, Any] = {"shape": None, "dtype": None, "pixel_size": None}
    channels = plate.channels
    try:
        stack = plate.read(plate.fields[0])
    except ReadError as error:
        notes.append(f"The first field can't be read, so the size of its image is not known ({str(error).rstrip('.')}).")
    else:
        image = {"shape": stack.shape, "dtype": str(stack.dtype), "pixel_size": stack.pixel_size}
        channels = channels or stack.channels
    counts = [len(fields) for fields in plate.by_well.values()]
    return {
        "name": plate.name,
        "source": plate.source,
        "layout": plate.layout,
        "rows": plate.shape[0],
        "columns": plate.shape[1],
        "wells": list(plate.wells),
        "fields": len(plate.fields),
        "fields_per_well": [min(counts), max(counts)],
        "acquisitions": list(plate.acquisitions),
        "channels": channels,
        "image": image,
        "painted": len(plate.painted),
        "metadata": list(plate.columns),
        "notes": notes,
    }


def _text(report: dict[str, Any]) -> str:
    """Return what is on a plate for a terminal."""
    image, wells = report["image"], report["wells"]
    few, many = report["fields_per_well"]
    size = image["pixel_size"]
    lines = {
        "plate": f"{report['name']} ({report['layout']}, {report['rows']} x {report['columns']} wells)",
        "wells": f"{len(wells)}: {_some(wells)}",
        "fields": f"{report['fields']} ({few if few == many else f'{few} to {many}'} a well)",
        "acquisitions": ", ".join(report["acquisitions"]) or "one",
        "channels": ", ".join(report["channels"] or ()) or "not named",
        "image": "not known" if image["shape"] is None else f"{' x '.join(map(str, image['shape']))} (TCZYX), {image['dtype']}",
        "pixel size": "not known" if size is None or size.x is None else _size(size),
        "painted": f"{report['painted']} of {report['fields']} fields" if report["painted"] else "",
        "metadata": _some(report["metadata"]) or "none",
    }
    return "\n".join(f"{name + ':':<13} {text}" for name, text in lines.items() if text)


def _some(names: list[str]) -> str:
    """Return the first of some names."""
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _size(size: Any) -> str:
    """Return a voxel size in words."""
    depth = "" if size.z is None else f", {size.z:g} um in z"
    return f"{size.x:g} um{depth}"
