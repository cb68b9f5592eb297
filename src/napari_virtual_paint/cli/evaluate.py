"""`virtual-paint evaluate`: PCC, SSIM, PSNR, MSE and MAE of a prediction, channel by channel; with a level, a whole report."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.choices import ScoreScale, values_of
from napari_virtual_paint.cli import evaluate_levels, evaluate_noise
from napari_virtual_paint.cli._options import add_axes, add_json, add_synonyms, axes_of_two, read_image, synonyms_of
from napari_virtual_paint.cli._output import print_notes, print_result, table

if TYPE_CHECKING:
    from napari_virtual_paint.metrics import Comparison


RESUMES = "what was evaluated is kept if there is a report, and the same command goes on with the rest"


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser of `virtual-paint`."""
    parser = subparsers.add_parser(
        "evaluate",
        help="score a prediction against the true stains",
        description="Score a prediction against the true stains, each channel over the whole stack. "
        "Channels are paired by name or by names of one stain, else by order. "
        "With --level: a field, a folder of fields or a plate, judged by how well the stains "
        "serve their purpose, in a report. If it is stopped, the same command goes on with the rest. Exit code 3: some fields failed.",
    )
    parser.add_argument("prediction", metavar="PREDICTION", help="predicted stains: a file or folder of any readable format")
    parser.add_argument("truth", metavar="TRUTH", help="true stains")
    parser.add_argument(
        "--scale",
        choices=values_of(ScoreScale),
        default="zscore",
        help="zscore: scale each channel to mean 0 and SD 1 first, since predicted intensities have no unit; raw: don't scale "
        "(default: %(default)s)",
    )
    add_axes(parser, roles="PREDICTION,TRUTH")
    add_synonyms(parser)
    evaluate_noise.add_options(parser)
    evaluate_levels.add_options(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Read both images and print their scores; with a level, write a report."""
    if args.level is not None:
        return evaluate_levels.run(args, evaluate_noise.source_of(args))
    evaluate_levels.only_with_level(args)
    from napari_virtual_paint.metrics import compare

    prediction, truth = map(read_image, (args.prediction, args.truth), axes_of_two(args))
    comparison = compare(prediction, truth, args.scale, evaluate_noise.source_of(args), synonyms_of(args))
    print_notes(comparison.notes)
    notes = [*prediction.notes, *truth.notes]
    print_result(comparison.to_json() | ({"notes": notes} if notes else {}), as_text(comparison), as_json=args.json)
    return 0


def as_text(comparison: Comparison) -> str:
    """Return the scores as a table for a terminal."""
    from napari_virtual_paint.metrics import metric

    report = comparison.to_json()
    rows = [(name, values) for name, values in report["channels"].items()] + [("mean", report["mean"])]
    first, *others = report["mean"]
    names = [first, *(["c_max"] if comparison.ceilings is not None else []), *(name for name in others if name != "c_max")]
    unreliable = {name for name, each in (comparison.ceilings or {}).items() if not each.reliable}

    def cell(row: str, name: str, value: float | None) -> str:
        if value is None:
            return "undefined"
        left = comparison.undefined.get(name, 0) if row == "mean" else 0
        count = f" ({len(comparison.channels) - left} of {len(comparison.channels)})" if left else ""
        return f"{value:.4f}" + ("?" if name == "c_max" and row in unreliable else "") + count

    cells = [[row, *(cell(row, name, values[name]) for name in names)] for row, values in rows]
    return table(["channel", *(metric(name).label for name in names)], cells)
