"""`virtual-paint cells evaluate`: score a model of cells on a table and its images."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.choices import CellMeasure, values_of
from napari_virtual_paint.cli._options import CELL_MODEL, add_axes, add_json, add_nuclei, add_workers
from napari_virtual_paint.cli._output import ProgressBar, print_note, print_notes, print_result, split_list, table
from napari_virtual_paint.cli._parser import whole_number
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.outputs import check_outputs, output_path

if TYPE_CHECKING:
    from napari_virtual_paint.cells.cp2image.evaluate import CellEvaluation

MEASURES: tuple[str, ...] = values_of(CellMeasure)
SHOWN = 20  # best and worst features that are listed


def add_parser(subparsers: Any) -> None:
    """Add the action to the parser of ``virtual-paint cells``."""
    parser = subparsers.add_parser(
        "evaluate",
        help="score a model on a table and the images it was measured on",
        description="Generate each cell of a table, measure it and correlate it with the table. Sweep some features of 50 of the cells: "
        "the gain is the slope of the measured against the requested values. Compare generated with real crops: Fréchet distance beside "
        "that of real from real ones, a classifier of real against drawn crops, the power spectrum. Features of position and of phase in a "
        "window (locations, bounding boxes, moments, phases) don't count.",
    )
    parser.add_argument("model", metavar="MODEL", help=CELL_MODEL)
    parser.add_argument("table", metavar="TABLE", help="table of cells, as `virtual-paint cells measure` writes it")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="the images it was measured on, found by the table's Metadata_FileName")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="REPORT.html", help="write a report, with its figures as .csv and .png beside it"
    )
    parser.add_argument(
        "--network",
        metavar="auto|inception|cells|MODEL",
        default="auto",
        help="network of the Fréchet distance: Inception, the small one in the model's package (cells), or that of another model of the "
        "same channels (default: Inception if its weights are on disk, else cells)",
    )
    parser.add_argument(
        "--measures",
        metavar="A,B",
        default=",".join(MEASURES),
        help="what to measure beside the correlations, which takes some minutes (default: %(default)s; none: the correlations alone)",
    )
    parser.add_argument(
        "--seed",
        type=whole_number(0, 2**32 - 1),
        default=0,
        metavar="N",
        help="of the generated cells where the model takes noise, and of what is sampled (default: %(default)s)",
    )
    add_nuclei(parser)
    add_axes(parser)
    parser.add_argument("--most", type=whole_number(1, 10**9), metavar="N", help="evaluate N random cells (default: all)")
    add_workers(parser, "measure")
    add_json(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Score a model, print its scores and write the report."""
    measures = _measures(args.measures)
    if args.output is not None:
        from napari_virtual_paint.cells.cp2image.report import check_report, report_files

        args.output = output_path(args.output)
        check_outputs(report_files(args.output), [args.model, args.table, *args.images])
        check_report(args.output)
    from napari_virtual_paint.cells.cp2image.evaluate import CellEvaluation, evaluate
    from napari_virtual_paint.cells.cp2image.model import open_cell_model
    from napari_virtual_paint.cells.tables.table import open_table

    model = open_cell_model(args.model)
    found = None
    options = {name: getattr(args, name) for name in ("network", "nuclei", "most", "workers", "axes", "seed")}
    options["measures"] = measures
    with ProgressBar("Evaluating") as progress:
        for item in evaluate(model, open_table(args.table), args.images, **options):
            if isinstance(item, CellEvaluation):
                found = item
            else:
                progress.update(item.done, item.total, item.message)
    assert found is not None
    print_notes(found.notes)
    print_note(f"network of the Fréchet distance: {found.network}.")
    if args.output is not None:
        from napari_virtual_paint.cells.cp2image.report import write_report

        print_note(f"report: {write_report(found, args.output)}.")
    print_result(found.to_dict(), summary(found), as_json=args.json)
    return 0


def _measures(text: str) -> tuple[str, ...]:
    """Return the measures of a list such as ``gain,auc``."""
    names = () if text.strip() == "none" else split_list(text)
    for name in names:
        if name not in MEASURES:
            raise InputError(f"--measures {text}: there is no measure {name!r}; there are {', '.join(MEASURES)}, or none.")
    return names


def summary(found: CellEvaluation) -> str:
    """Return an evaluation as text: the scores, their split, the best and worst features."""
    lines = [
        f"{len(found.requested)} cells, {len(found.per_feature)} features: {found.share_above:.1%} correlate above 0.5, median "
        f"{found.median:.3f}; Fréchet distance {found.fid:.4g} ({found.network})"
    ]
    from napari_virtual_paint.cells.cp2image.report import gain_rows, realism_words

    lines += realism_words(found.realism)
    if found.sweeps:
        lines += ["", table(("feature", "gain, others follow", "Spearman", "gain, alone", "Spearman"), gain_rows(found))]
    for part in ("compartment", "channel", "group"):
        parts = [(key, str(count), f"{share:.0%}", f"{median:.2f}") for key, count, share, median in found.by(part)]
        lines += ["", table((part, "features", "above 0.5", "median"), parts)]
    ranked = found.ranked()
    for heading, some in (("best", ranked[:SHOWN]), ("worst", ranked[-SHOWN:])):
        rows = [(name, "none" if value is None else f"{value:.2f}") for name, value in some]
        lines += ["", table((heading, "r"), rows)]
    return "\n".join(lines)
