"""`virtual-paint suggest`: which wells of a plate to stain."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.cli import COMMANDS
from napari_virtual_paint.cli._options import MODEL, add_channels, add_json, add_plate, open_plate
from napari_virtual_paint.cli._output import ProgressBar, print_notes, print_result, table
from napari_virtual_paint.cli._parser import whole_number
from napari_virtual_paint.runtime.generators import run_to_end

if TYPE_CHECKING:
    from napari_virtual_paint.plates.suggestion import Suggestion


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser of `virtual-paint`."""
    parser = subparsers.add_parser(
        "suggest",
        help=COMMANDS["suggest"],
        description="Name the wells of a plate whose staining would teach a model most: far from its training images and from each other, "
        "controls and treatments among them where there is a plate map. `virtual-paint teach` then teaches the model on them.",
    )
    add_plate(parser)
    parser.add_argument("-m", "--model", required=True, metavar="MODEL", help=MODEL)
    parser.add_argument("--wells", type=whole_number(1, 1536), default=3, metavar="N", help="number of wells (default: %(default)s)")
    add_channels(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Look at the wells, and print those to stain."""
    from napari_virtual_paint.models import open_model
    from napari_virtual_paint.plates.suggestion import suggesting

    plate, model = open_plate(args), open_model(args.model)
    print_notes(plate.notes)
    with ProgressBar("Looking at the wells") as progress:
        found = run_to_end(suggesting(plate, model, args.wells, channels=args.channels), progress.show)
    print_notes(found.notes)
    report = {
        "model": model.info.id,
        "wells": [one.well for one in found.wells],
        "details": [one.to_dict() for one in found.wells],
        "notes": found.notes,
    }
    print_result(report, _text(found), as_json=args.json)
    return 0


def _text(found: Suggestion) -> str:
    """Return a line for each well."""
    rows = [(one.well, f"{one.distance:.2f}", one.verdict, one.treatment or "-") for one in found.wells]
    return table(("well", "distance", "verdict", "treatment"), rows)
