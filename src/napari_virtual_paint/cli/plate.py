"""``virtual-paint plate ...``: whole plates."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from types import ModuleType
from typing import Any

PARTS = {
    "info": ("plate_info", "say what is on a plate"),
    "predict": ("plate_predict", "paint the stains of a plate"),
}
"""Name of an action -> its module, and one line of help."""


def add_parser(subparsers: Any) -> None:
    """Add the command and its actions to the parser of ``virtual-paint``."""
    parser = subparsers.add_parser(
        "plate",
        help="plates: say what is on one, paint it all",
        description="Whole plates of wells and fields, in any layout that can be opened. "
        'It needs the extra plates: pip install "napari-virtual-paint[plates]".',
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="|".join(PARTS))
    for module in map(_module, PARTS):
        if module is not None:
            module.add_parser(actions)


def run(args: argparse.Namespace) -> int:
    """Run an action and return the exit code."""
    module = _module(args.action)
    assert module is not None
    return int(module.run(args))


def _module(action: str) -> ModuleType | None:
    """Return an action's module, if it is there."""
    name = f"napari_virtual_paint.cli.{PARTS[action][0]}"
    return importlib.import_module(name) if importlib.util.find_spec(name) else None
