"""`virtual-paint teach`: teach a model on a few stained fields."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from napari_virtual_paint.cli import COMMANDS, INTERRUPTED
from napari_virtual_paint.cli._options import MODEL, add_axes, add_channels, add_json, axes_of_two
from napari_virtual_paint.cli._output import print_note, print_result, split_list
from napari_virtual_paint.cli._parser import LARGEST_SEED, number, whole_number
from napari_virtual_paint.cli.train import RESUMES, TrainingBar, TrainingLines
from napari_virtual_paint.errors import Cancelled

__all__ = ["RESUMES", "add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser of `virtual-paint`."""
    parser = subparsers.add_parser(
        "teach",
        help=COMMANDS["teach"],
        description="Train a model further on a few fields with their true stains, and write it as a new model, with its scores before and "
        "after on fields that it did not learn from. If it is stopped or killed, the same command goes on.",
    )
    parser.add_argument("model", metavar="MODEL", help=f"{MODEL}; its weights must be those of a network listed in docs/training.md")
    parser.add_argument(
        "pairs",
        nargs="+",
        metavar="PAIRS",
        help="a table (CSV) with the columns input and target, a folder that holds the folders input and target, or two folders: of the "
        "unstained and of the stained images",
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="NEW", help="package to write: a folder, or a file ending in .zip"
    )
    parser.add_argument("--name", default="", help="name of the new model (default: from the package's)")
    parser.add_argument(
        "--stains", type=split_list, default=(), metavar="A,B", help="names of the stains, in the images' order (default: the images' own)"
    )
    add_channels(parser)
    parser.add_argument(
        "--minutes", type=number(above=0, most=100_000), default=8.0, help="how long it may take, about (default: %(default)g)"
    )
    parser.add_argument("--steps", type=whole_number(1), metavar="N", help="train for N steps instead, however long that takes")
    parser.add_argument(
        "--seed", type=whole_number(0, LARGEST_SEED), default=0, help="of what is held out and drawn (default: %(default)s)"
    )
    add_axes(parser, roles="INPUT,TARGET")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Teach, and print the scores before and after."""
    from napari_virtual_paint.training import TeachRequest
    from napari_virtual_paint.training.fine_tuning import read_report
    from napari_virtual_paint.training.teach import teach

    start = time.perf_counter()
    request = TeachRequest(
        model=args.model,
        pairs=tuple(args.pairs),
        output=args.output,
        name=args.name,
        stains=args.stains,
        channels=args.channels or (),
        axes=axes_of_two(args),
        minutes=args.minutes,
        steps=args.steps,
        seed=args.seed,
    )
    draw = TrainingBar() if sys.stderr.isatty() else TrainingLines()
    try:
        path = teach(request, draw, command_of(args))
    except Cancelled as stopped:
        draw.close()
        print_note(str(stopped))
        return INTERRUPTED
    finally:
        draw.close()
    report = read_report(request.run)
    before, after = ({stain: row and row["pcc"] for stain, row in report[name].items()} for name in ("before", "after"))
    worse = [stain for stain, value in before.items() if value is not None and (after[stain] is None or after[stain] < value)]
    if worse:
        print_note(f"{', '.join(worse)}: the held-out PCC is lower than before; paint these by the old model, or teach on more fields.")
    seconds = round(time.perf_counter() - start, 1)
    found = {"model": report["id"], "output": str(path), "before": before, "after": after, "seconds": seconds, "advice": report["advice"]}
    print_result(found, _text(found), as_json=args.json)
    return 0


def command_of(args: argparse.Namespace) -> str:
    """Return the command, for the package's card."""
    words = ["virtual-paint", "teach", args.model, *args.pairs, "-o", args.output.as_posix()]
    words += ["--stains", ",".join(args.stains)] if args.stains else []
    words += ["--channels", ",".join(map(str, args.channels))] if args.channels else []
    words += ["--minutes", f"{args.minutes:g}"] if args.minutes != 8 else []
    words += ["--steps", str(args.steps)] if args.steps else []
    words += ["--seed", str(args.seed)] if args.seed else []
    words += ["--axes", args.axes] if args.axes is not None else []
    return shlex.join(words)


def _text(found: dict[str, Any]) -> str:
    """Return the result in words."""
    lines = [f"{found['model']}: {found['output']}"]
    for stain, value in found["after"].items():
        earlier = found["before"].get(stain)
        after = "undefined" if value is None else f"{value:.3f}"
        lines.append(f"  {stain}: PCC {after} ({'not painted' if earlier is None else f'{earlier:.3f}'} before)")
    return "\n".join(lines + ([found["advice"]["sentence"]] if found["advice"] else []))
