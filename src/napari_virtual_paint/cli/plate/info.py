"""``virtual-paint plate info``: describe a plate by its metadata."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.cli._options import add_json, add_plate, open_plate
from napari_virtual_paint.cli._output import print_notes, print_result
from napari_virtual_paint.runtime.text import counted

if TYPE_CHECKING:
    from napari_virtual_paint.plates.plate import Plate

_SHOWN = 12  # names in a list of the text
_TRIED = 8  # fields of which one must be readable for the size of the images


def add_parser(subparsers: Any) -> None:
    """Add the action to the parser of ``virtual-paint plate``."""
    parser = subparsers.add_parser(
        "info",
        help="describe a plate",
        description="Describe a plate: layout, wells, fields, channels, pixel size, acquisitions, metadata of the wells. No pixel is read.",
    )
    add_plate(parser)
    add_json(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Open the plate and print its description."""
    plate = open_plate(args)
    report = summary(plate)
    print_notes(report["notes"])
    print_result(report, _text(report), as_json=args.json)
    return 0


def summary(plate: Plate) -> dict[str, Any]:
    """Return the description of a plate; shape, type and pixel size are those of the first field whose headers can be read."""
    from napari_virtual_paint.errors import ReadError

    notes = list(plate.notes)
    image: dict[str, Any] = {"shape": None, "dtype": None, "pixel_size": None}
    channels = plate.channels
    faults = []
    for field in plate.fields[:_TRIED]:
        try:
            stack = plate.read(field)
        except ReadError as error:
            faults.append(f"{field} can't be read ({str(error).rstrip('.')}).")
            continue
        image = {"shape": stack.shape, "dtype": str(stack.dtype), "pixel_size": stack.pixel_size}
        channels = channels or stack.channels
        notes += [note for note in stack.notes if note not in notes]
        break
    if faults:
        unknown = "" if len(faults) < min(len(plate.fields), _TRIED) else " The size of its images is not known."
        notes.append(f"{faults[0]}{unknown}")
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
        "shape": image["shape"],
        "pixel_size": image["pixel_size"],
        "painted": len(plate.painted),
        "metadata": list(plate.columns),
        "notes": notes,
    }


def _text(report: dict[str, Any]) -> str:
    """Return a description as text."""
    image, wells = report["image"], report["wells"]
    fewest, most = report["fields_per_well"]
    size = image["pixel_size"]
    lines = {
        "plate": f"{report['name']} ({report['layout']}, {report['rows']} x {report['columns']} wells)",
        "wells": f"{len(wells)}: {_first(wells)}",
        "fields": f"{report['fields']} ({fewest if fewest == most else f'{fewest} to {most}'} a well)",
        "acquisitions": ", ".join(report["acquisitions"]) or "one",
        "channels": ", ".join(report["channels"] or ()) or "not named",
        "image": "not known" if image["shape"] is None else f"{' x '.join(map(str, image['shape']))} (TCZYX), {image['dtype']}",
        "pixel size": "not known" if size is None or size.x is None else _size(size),
        "painted": f"{report['painted']} of {counted(report['fields'], 'field')}" if report["painted"] else "",
        "metadata": _first(report["metadata"]) or "none",
    }
    return "\n".join(f"{name + ':':<13} {text}" for name, text in lines.items() if text)


def _first(names: list[str]) -> str:
    """Return the first few names, joined by commas."""
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _size(size: Any) -> str:
    """Return a voxel size in words."""
    depth = "" if size.z is None else f", {size.z:g} um in z"
    return f"{size.x:g} um{depth}"
