"""``virtual-paint cells table``: say what tables of CellProfiler hold."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.cli._options import add_json
from napari_virtual_paint.cli._output import print_notes, print_result

if TYPE_CHECKING:
    from napari_virtual_paint.cells.tables.table import CellTable

_SHOWN = 12  # names in a list of the text


def add_parser(subparsers: Any) -> None:
    """Add the action to the parser of ``virtual-paint cells``."""
    parser = subparsers.add_parser(
        "table",
        help="describe a table of cells",
        description="Say what tables of CellProfiler hold, as the Cells dock opens them: cells, features, compartments, wells. "
        "Compartments are joined; notes name what is left out.",
    )
    parser.add_argument(
        "table",
        metavar="TABLE",
        nargs="+",
        help="folder of tables (CSV, Parquet), database (SQLite), or table; of one run also its parts: Image.csv Nuclei.csv ...",
    )
    add_json(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Open the tables and print what they hold."""
    from napari_virtual_paint.cells.tables.table import open_table

    table = open_table(args.table[0] if len(args.table) == 1 else args.table)
    report = table.describe()
    print_notes(report["notes"])
    print_result(report, _text(table, report), as_json=args.json)
    return 0


def _text(table: CellTable, report: dict[str, Any]) -> str:
    """Return a description as text."""
    from collections import Counter

    from napari_virtual_paint.cells.cellprofiler_names import parse

    counts = Counter(parse(name).compartment for name in table.features)
    lines = {
        "table": table.name,
        "cells": f"{report['objects']:,}",
        "features": f"{report['features']:,}",
        "compartments": ", ".join(f"{name} ({counts[name]:,} features)" for name in report["compartments"]) or "not named",
        "channels": _first(table.channels) or "not named",
        "wells": f"{report['wells']:,}" if report["wells"] else "not named",
        "metadata": _first(table.metadata) or "none",
    }
    return "\n".join(f"{name + ':':<14} {text}" for name, text in lines.items())


def _first(names: tuple[str, ...]) -> str:
    """Return the first few names, joined by commas."""
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
