"""``virtual-paint plate predict``: paint a whole plate; run it again and it goes on where it was stopped."""

from __future__ import annotations

import argparse
import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.cli._options import add_merging, channel_list
from napari_virtual_paint.cli._output import ProgressBar, emit, say, split_list
from napari_virtual_paint.cli.predict import settings_of, tile_size
from napari_virtual_paint.runtime.generators import run_to_end

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_virtual_paint.plates.paint import PlateStep, PlateSummary
    from napari_virtual_paint.plates.plate import Plate

FAILED_FIELDS = 3
"""Exit code of a plate of which some fields failed."""
INTERRUPTED = 128 + signal.SIGINT
TOLD = 5
"""Fields that failed and are told on stderr; the table has them all."""


def add_parser(subparsers: Any) -> None:
    """Add the action to the parser of ``virtual-paint plate``."""
    parser = subparsers.add_parser(
        "predict",
        help="paint the stains of a plate",
        description="Paint the stains of every field of a plate. Stopped at any moment (Ctrl-C, a crash, a full disk) and run again, it "
        "goes on with the rest, and the pixels are those of a run that was never stopped. Beside the output lies OUTPUT.job with the job, "
        "scores.parquet and failed.csv. Exit code 3: some fields failed; the next run tries them again.",
    )
    parser.add_argument("plate", metavar="PLATE", help="a plate of any layout that can be opened: a folder, a file, or a glob of files")
    parser.add_argument(
        "-m", "--model", required=True, metavar="MODEL", help="the id of a model (`virtual-paint models list`), or a package"
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("-o", "--output", type=Path, metavar="OUTPUT", help="a .zarr (OME-Zarr HCS), or a folder for OME-TIFFs")
    where.add_argument(
        "--in-place", action="store_true", help="add the stains to the OME-Zarr plate itself, as a second image of each field"
    )
    _add_choice(parser)
    _add_machines(parser)
    _add_painting(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _add_choice(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the plate")
    group.add_argument("--wells", metavar="A1:B12,C3", help="wells and rectangles of wells (default: all)")
    group.add_argument("--fields", type=split_list, metavar="0,1", help="fields of each well, by name or number (default: all)")
    group.add_argument("--plate-map", type=Path, metavar="CSV", help="a table of what is in the wells (well, treatment, dose ...)")
    group.add_argument("--pattern", help="how the files' names tell their place, such as {well}_{field}_{channel}")
    group.add_argument("--layout", help="how the plate is stored (default: found out)")
    group.add_argument("--names", type=split_list, metavar="A,B", help="what the plate's channels are called, in its order")


def _add_machines(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("machines")
    many = group.add_mutually_exclusive_group()
    many.add_argument("--workers", type=count, metavar="N", help="processes that paint (default: as many as are best on this machine)")
    many.add_argument("--scheduler", metavar="tcp://HOST:PORT|FILE.json", help="paint on the workers of this Dask scheduler")
    group.add_argument("--memory", type=gigabytes, metavar="GB", help="memory that the job may take (default: 0.7 of what is free)")


def _add_painting(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("painting (see virtual-paint predict)")
    group.add_argument("--channels", type=channel_list, metavar="A,B", help="the channels to paint from, in the model's order")
    group.add_argument("--blend", choices=("exact", "median", "gaussian"), default="exact", help="default: %(default)s")
    group.add_argument("--tile", type=tile_size, default="auto", metavar="auto|PX", help="default: %(default)s")
    group.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="default: %(default)s")
    group.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="default: %(default)s")
    group.add_argument("--resample", action="store_true", help="bring the images to the model's pixel size first, and the stains back")
    add_merging(group)
    group.add_argument("--no-scores", action="store_true", help="don't score fields that have the true stains among their channels")


def count(text: str) -> int:
    """Return a number of workers."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"the number of workers is 1 or more, not {text!r}")
    return int(text)


def gigabytes(text: str) -> int:
    """Return bytes."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"the memory is a number of GB, not {text!r}")
    return int(value * 1e9)


def run(args: argparse.Namespace) -> int:
    """Open, paint, report."""
    from napari_virtual_paint.plates.job.forkserver import import_lean, keep_freed_memory, may_need_workers, start_server

    keep_freed_memory()
    if args.scheduler is None and may_need_workers(args.workers, args.device):
        start_server()  # imports what workers need while this process opens the plate
    import_lean(["napari_virtual_paint.plates.paint"])  # what the next lines import, in half the time

    from napari_virtual_paint.models import open_model
    from napari_virtual_paint.plates.paint import paint_plate

    plate = open_chosen(args)
    model = open_model(args.model)
    for words in (*plate.notes, *(f"warning: {warning}" for warning in model.info.warnings)):
        say(words)
    steps = paint_plate(
        plate,
        model,
        args.output,
        settings_of(args, args.channels),
        kind="in-place" if args.in_place else None,
        workers=args.workers,
        scheduler=args.scheduler,
        memory=args.memory,
        score=not args.no_scores,
    )
    with terminated_as_interrupted():
        summary = follow(steps, f"Painting {', '.join(model.info.stains)}")
    if summary is None:
        return INTERRUPTED
    emit(report_of(summary), as_text(summary), as_json=args.json)
    return FAILED_FIELDS if summary.failed else 0


def open_chosen(args: argparse.Namespace) -> Plate:
    """Open the plate and take the wells and fields that were asked for."""
    from napari_virtual_paint.plates.opening import open_plate

    plate = open_plate(args.plate, pattern=args.pattern, layout=args.layout, plate_map=args.plate_map, channels=args.names)
    return plate if args.wells is None and args.fields is None else plate.select(args.wells, args.fields)


def follow(steps: Generator[PlateStep, None, PlateSummary], words: str) -> PlateSummary | None:
    """Paint under a progress bar on stderr; None if the user stopped it."""
    told = kept = 0
    total: float = 0
    begun = False
    progress = ProgressBar(words)

    def show(step: PlateStep) -> None:
        nonlocal told, kept, total, begun
        message, total = step.message, step.total
        kept += step.state in ("done", "skipped")
        if step.state == "failed":
            told += 1
            message = f"{step.field} failed: {step.row.get('reason', '')}" if told <= TOLD else ""
        begun = begun or step.state in ("done", "failed")
        if begun or message:  # the pace is that of whole fields, without the start of processes
            progress.update(step.done, step.total, message)

    with progress, contextlib.suppress(KeyboardInterrupt):
        return run_to_end(steps, show)
    done = f" {kept} of {total} fields are finished and kept;" if total else ""
    say(f"stopped;{done} the same command goes on with the rest.")
    return None


@contextlib.contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Take a SIGTERM as a Ctrl-C: what is finished is kept, and no worker is left behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def report_of(summary: PlateSummary) -> dict[str, Any]:
    """Return what ``--json`` gives."""
    return {
        "fields": summary.fields,
        "painted": summary.painted,
        "skipped": summary.skipped,
        "failed": summary.failed,
        "seconds": round(summary.seconds, 3),
        "output": str(summary.output),
        "scores": str(summary.scores),
        "failures": None if summary.failures is None else str(summary.failures),
    }


def as_text(summary: PlateSummary) -> str:
    """Return the report for a person."""
    before = f", {summary.skipped} were painted before" if summary.skipped else ""
    failed = f", {summary.failed} failed (see {summary.failures})" if summary.failed else ""
    return (
        f"{summary.output}: {summary.painted} of {summary.fields} fields painted in {summary.seconds:.1f} s{before}{failed}; "
        f"scores in {summary.scores}."
    )
