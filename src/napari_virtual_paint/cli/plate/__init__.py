"""``virtual-paint plate ...``: whole plates."""

from __future__ import annotations

import argparse
from typing import Any

from napari_virtual_paint.cli import COMMANDS
from napari_virtual_paint.cli.plate import info, predict

RESUMES = "the finished fields are kept, and the same command goes on with the rest"


def add_parser(subparsers: Any) -> None:
    """Add the command and its actions to the parser of ``virtual-paint``."""
    parser = subparsers.add_parser(
        "plate",
        help=COMMANDS["plate"],
        description="Whole plates of wells and fields, in any layout that can be opened. "
        'Requires the extra plates: pip install "napari-virtual-paint[plates]".',
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="info|predict")
    info.add_parser(actions)
    predict.add_parser(actions)


def run(args: argparse.Namespace) -> int:
    """Run an action and return the exit code."""
    return int(args.func(args))
