"""`virtual-paint cells evaluate`: score a model of cells on a table and its images."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.choices import FeatureNetworkName, values_of
from napari_virtual_paint.cli._options import CELL_MODEL, add_axes, add_json, add_nuclei, add_workers
from napari_virtual_paint.cli._output import ProgressBar, print_note, print_notes, print_result, table
from napari_virtual_paint.cli._parser import whole_number
from napari_virtual_paint.runtime.outputs import check_outputs, output_path

if TYPE_CHECKING:
    from napari_virtual_paint.cells.cp2image.evaluate import CellEvaluation

SHOWN = 20  # best and worst features that are listed


def add_parser(subparsers: Any) -> None:
    """Add the action to the parser of ``virtual-paint cells``."""
    parser = subparsers.add_parser(
        "evaluate",
        help="score a model on a table and the images it was measured on",
        description="Draw each cell of a table, measure the drawing and correlate it with the table; compute the Fréchet distance to the "
        "real crops. Features of position and of phase in a window (locations, bounding boxes, moments, phases) don't count.",
    )
    parser.add_argument("model", metavar="MODEL", help=CELL_MODEL)
    parser.add_argument("table", metavar="TABLE", help="table of cells, as `virtual-paint cells measure` writes it")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="the images it was measured on, found by the table's Metadata_FileName")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="REPORT.html", help="write a report, with its figures as .csv and .png beside it"
    )
    parser.add_argument(
        "--network",
        choices=values_of(FeatureNetworkName),
        default="auto",
        help="network of the Fréchet distance: Inception, or the model's own small one (default: Inception if its weights are on disk)",
    )
    add_nuclei(parser)
    add_axes(parser)
    parser.add_argument("--most", type=whole_number(1, 10**9), metavar="N", help="evaluate N random cells (default: all)")
    add_workers(parser, "measure")
    add_json(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Score a model, print its scores and write the report."""
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
    options = {"network": args.network, "nuclei": args.nuclei, "most": args.most, "workers": args.workers, "axes": args.axes}
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


def summary(found: CellEvaluation) -> str:
    """Return an evaluation as text: the scores, their split, the best and worst features."""
    lines = [
        f"{len(found.requested)} cells, {len(found.per_feature)} features: {found.share_above:.1%} correlate above 0.5, median "
        f"{found.median:.3f}; Fréchet distance {found.fid:.4g} ({found.network})"
    ]
    for part in ("compartment", "channel", "group"):
        parts = [(key, str(count), f"{share:.0%}", f"{median:.2f}") for key, count, share, median in found.by(part)]
        lines += ["", table((part, "features", "above 0.5", "median"), parts)]
    ranked = found.ranked()
    for heading, some in (("best", ranked[:SHOWN]), ("worst", ranked[-SHOWN:])):
        rows = [(name, "none" if value is None else f"{value:.2f}") for name, value in some]
        lines += ["", table((heading, "r"), rows)]
    return "\n".join(lines)
