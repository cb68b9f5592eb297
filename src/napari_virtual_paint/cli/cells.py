"""``virtual-paint cells ...``: single cells and their CellProfiler features."""

from __future__ import annotations

import argparse
from typing import Any

from napari_virtual_paint.cli import COMMANDS, cells_evaluate, cells_generate, cells_measure, cells_table, cells_train, cells_walk


def add_parser(subparsers: Any) -> None:
    """Add the command and its actions to the parser of ``virtual-paint``."""
    parser = subparsers.add_parser(
        "cells",
        help=COMMANDS["cells"],
        description="Single cells and their CellProfiler features (CP2Image, Ji 2024). "
        'Requires the extra cells: pip install "napari-virtual-paint[cells]".',
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="table|measure|train|generate|evaluate|walk")
    for action in (cells_table, cells_measure, cells_train, cells_generate, cells_evaluate, cells_walk):
        action.add_parser(actions)


def run(args: argparse.Namespace) -> int:
    """Run an action and return the exit code."""
    return int(args.func(args))
