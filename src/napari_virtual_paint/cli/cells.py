"""``virtual-paint cells ...``: single cells and their CellProfiler features."""

from __future__ import annotations

import argparse
import importlib
from types import ModuleType
from typing import Any

PARTS = {
    "measure": ("cells_measure", "add_measure"),
    "train": ("cells_model", "add_train"),
    "generate": ("cells_model", "add_generate"),
    "evaluate": ("cells_model", "add_evaluate"),
    "walk": ("cells_walk", "add_parser"),
}
"""Name of an action -> its module, and the function there that adds it."""


def add_parser(subparsers: Any) -> None:
    """Add the command and its actions to the parser of ``virtual-paint``."""
    parser = subparsers.add_parser(
        "cells",
        help="single cells: measure them, train models of them, draw them",
        description="Single cells and their CellProfiler features (CP2Image, Ji 2024). "
        'It needs the extra cells: pip install "napari-virtual-paint[cells]".',
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="|".join(PARTS))
    for module, adder in PARTS.values():
        getattr(_module(module), adder)(actions)


def run(args: argparse.Namespace) -> int:
    """Run an action and return the exit code."""
    own = getattr(args, "func", None)
    return int(own(args) if own is not None else _module(PARTS[args.action][0]).run(args))


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"napari_virtual_paint.cli.{name}")
