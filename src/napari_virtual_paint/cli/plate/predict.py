"""``virtual-paint plate predict``: paint a whole plate; the same command goes on with one that was stopped."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.choices import GrayRange, values_of
from napari_virtual_paint.cli import FAILED_FIELDS, INTERRUPTED
from napari_virtual_paint.cli._options import (
    MODEL,
    add_channels,
    add_counting,
    add_gray_levels,
    add_json,
    add_painting,
    add_plate,
    add_scheduler,
    add_selection,
    count_settings,
    gigabytes,
    open_plate,
    paint_settings,
    worker_count,
)
from napari_virtual_paint.cli._output import MOST_FAILURES, ProgressBar, print_note, print_notes, print_result
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.runtime.outputs import check_outputs, output_path
from napari_virtual_paint.runtime.text import counted

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_virtual_paint.plates.paint import PlateProgress, PlateSummary


def add_parser(subparsers: Any) -> None:
    """Add the action to the parser of ``virtual-paint plate``."""
    parser = subparsers.add_parser(
        "predict",
        help="paint the stains of a plate",
        description="Paint the stains of every field of a plate. If it is stopped at any moment (Ctrl-C, a crash, a full disk), the same "
        "command goes on with the rest, and the pixels are those of a run that was never stopped. Beside the output is OUTPUT.job with the "
        "job, scores.parquet and failed.csv. Exit code 3: some fields failed; the next run tries them again.",
    )
    parser.add_argument("-m", "--model", required=True, metavar="MODEL", help=MODEL)
    output = parser.add_mutually_exclusive_group(required=True)
    output.add_argument("-o", "--output", type=Path, metavar="OUTPUT", help="a .zarr (OME-Zarr HCS), or a folder for OME-TIFFs")
    output.add_argument(
        "--in-place", action="store_true", help="add the stains to the OME-Zarr plate itself, as a second image of each field"
    )
    plate = parser.add_argument_group("the plate")
    add_plate(plate)
    add_selection(plate)
    machines = parser.add_argument_group("machines")
    workers = machines.add_mutually_exclusive_group()
    workers.add_argument(
        "--workers", type=worker_count, metavar="N", help="number of processes that paint (default: the best for this machine)"
    )
    add_scheduler(workers, "paint")
    machines.add_argument("--memory", type=gigabytes, metavar="GB", help="memory that the job may use (default: 0.7 of the free memory)")
    painting = parser.add_argument_group("painting")
    add_channels(painting)
    add_painting(painting)
    add_gray_levels(painting, values_of(GrayRange))
    counting = parser.add_argument_group("counting")
    counting.add_argument(
        "--count", action="store_true", help="count nuclei and cells of the painted stains, and of the true ones where they are scored"
    )
    add_counting(counting)
    painting.add_argument("--no-scores", action="store_true", help="don't score fields that have the true stains among their channels")
    add_json(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Open the plate and the model, paint, and print the report."""
    from napari_virtual_paint.plates.job.forkserver import import_lean, keep_freed_memory, may_need_workers, start_server

    keep_freed_memory()
    if args.scheduler is None and may_need_workers(args.workers, args.device):
        start_server()  # it imports what workers need while this process opens the plate
    import_lean(["napari_virtual_paint.plates.paint"])  # in half the time of the imports below

    from napari_virtual_paint.models import open_model
    from napari_virtual_paint.plates.paint import job_folder, paint_plate

    if args.output is not None:
        args.output = output_path(args.output)
        check_outputs([args.output, job_folder(args.output)], [args.plate, args.plate_map])
    plate = open_plate(args)
    if args.wells is not None or args.fields is not None:
        plate = plate.select(args.wells, args.fields)
    model = open_model(args.model)
    print_notes((*plate.notes, *(f"warning: {warning}" for warning in model.info.warnings)))
    steps = paint_plate(
        plate,
        model,
        args.output,
        paint_settings(args, args.channels),
        kind="in-place" if args.in_place else None,
        workers=args.workers,
        scheduler=args.scheduler,
        memory=args.memory,
        score=not args.no_scores,
        count=count_settings(args) if args.count else None,
        gray_range=args.gray_range if args.dtype == "uint16" else None,
    )
    summary = follow(steps, f"Painting {', '.join(model.info.stains)}")
    if summary is None:
        return INTERRUPTED
    print_result(report_of(summary), as_text(summary), as_json=args.json)
    return FAILED_FIELDS if summary.failed else 0


def follow(steps: Generator[PlateProgress, None, PlateSummary], words: str) -> PlateSummary | None:
    """Paint with a progress bar on stderr; return None if the user stopped it."""
    failures = kept = 0
    total: float = 0
    begun = False
    said: set[str] = set()
    progress = ProgressBar(words)

    def show(step: PlateProgress) -> None:
        nonlocal failures, kept, total, begun
        message, total = step.message, step.total
        kept += step.state in ("done", "skipped")
        if step.state == "failed":
            failures += 1
            message = f"{step.field} failed: {step.row.get('reason', '')}" if failures <= MOST_FAILURES else ""
        new = [note for note in step.row.get("file_notes", ()) if note not in said and len(said) < MOST_FAILURES]
        said.update(new)
        message = " ".join(filter(None, (message, *(f"{step.row.get('file')}: {note}" for note in new))))
        begun = begun or step.state in ("done", "failed")
        if begun or message:  # the time left is that of whole fields, without the start of processes
            progress.update(step.done, step.total, message)

    with progress, contextlib.suppress(KeyboardInterrupt):
        return run_to_end(steps, show)
    done = f" {kept} of {counted(int(total), 'field')} {'is' if total == 1 else 'are'} finished and kept;" if total else ""
    print_note(f"stopped;{done} the same command goes on with the rest.")
    return None


def report_of(summary: PlateSummary) -> dict[str, Any]:
    """Return the object that ``--json`` prints."""
    return {
        "fields": summary.fields,
        "painted": summary.painted,
        "skipped": summary.skipped,
        "failed": summary.failed,
        "seconds": round(summary.seconds, 3),
        "output": str(summary.output),
        "scores": str(summary.scores),
        "failures": None if summary.failures is None else str(summary.failures),
        **({"objects": dict(summary.objects), "table": None if summary.table is None else str(summary.table)} if summary.objects else {}),
    }


def as_text(summary: PlateSummary) -> str:
    """Return the report in a sentence."""
    see = f" (see {summary.failures})" if summary.failed else ""
    return f"{summary.output}: {summary.words()}{see}. Scores in {summary.scores}."
