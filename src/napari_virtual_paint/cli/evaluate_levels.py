"""`virtual-paint evaluate --level`: evaluate fields or a plate on several levels, and write a report."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.choices import LEVELS, Segmenter, values_of
from napari_virtual_paint.cli import FAILED_FIELDS, INTERRUPTED
from napari_virtual_paint.cli._options import add_selection, axes_of_two, synonyms_of, worker_count
from napari_virtual_paint.cli._output import (
    MOST_FAILURES,
    ProgressBar,
    print_note,
    print_notes,
    print_result,
    split_list,
    table,
)
from napari_virtual_paint.cli._parser import LARGEST_SEED, number, whole_number
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.runtime.outputs import output_path
from napari_virtual_paint.runtime.text import counted, elapsed

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_virtual_paint.evaluation import Evaluation
    from napari_virtual_paint.evaluation.engine import EvaluationProgress

STARTING = "Starting"
COLUMNS = {
    "treatment": "column of the compound",
    "dose": "column of its dose",
    "moa": "column of its mechanism of action",
    "batch": "column of the batch",
}
"""Option that names a column of the plate map -> its help."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to the parser of ``virtual-paint evaluate``."""
    report = parser.add_argument_group("report", "evaluate a field, a folder of fields or a plate")
    report.add_argument("--level", type=levels, metavar="A,B|all", help=f"of {', '.join(LEVELS)}; 'all' for all of them")
    report.add_argument("-o", "--output", type=Path, metavar="REPORT", help="folder of the report, in which a stopped evaluation continues")
    report.add_argument("--also", type=named, action="append", metavar="NAME=PREDICTION", help="another prediction to compare")
    report.add_argument("--name", default="", help="name of the first prediction (default: that of its file)")
    add_selection(report)
    report.add_argument("--workers", type=worker_count, metavar="N", help="number of processes (default: one per core)")
    report.add_argument(
        "--seed", type=whole_number(0, LARGEST_SEED), default=0, metavar="S", help="seed of all random choices (default: %(default)s)"
    )
    cells = parser.add_argument_group("cells in the images")
    cells.add_argument("--nuclei", metavar="STAIN", help="stain that shows nuclei (default: by its name)")
    cells.add_argument("--cells", metavar="STAIN", help="stain that shows cells (default: all but that of the nuclei)")
    cells.add_argument("--segmenter", choices=values_of(Segmenter), default="auto", help="auto: Cellpose if it is installed")
    cells.add_argument(
        "--gamma",
        type=number(most=10, above=0),
        default=0.3,
        help="exponent applied before segmentation (default: %(default)s, Tonks 2024)",
    )
    wells = parser.add_argument_group("wells")
    wells.add_argument("--plate", dest="plate_name", metavar="NAME", help="which plate, where a folder or table holds several")
    wells.add_argument(
        "--plate-map", type=Path, metavar="CSV", help="table of the wells' contents (well, treatment, dose, control, moa ...)"
    )
    wells.add_argument("--controls", metavar="COLUMN=VALUE", help="negative controls (default: by the column 'control')")
    wells.add_argument("--positive", metavar="COLUMN=VALUE", help="positive controls (default: mitoxantrone at its highest doses)")
    for name, text in COLUMNS.items():
        wells.add_argument(f"--{name}", metavar="COLUMN", help=f"{text} (default: by its name)")


def levels(text: str) -> tuple[str, ...]:
    """Return the levels named in ``A,B``, in their usual order."""
    chosen = LEVELS if text.strip().casefold() == "all" else split_list(text.casefold())
    unknown = next((name for name in chosen if name not in LEVELS), None)
    if unknown is not None or not chosen:
        raise argparse.ArgumentTypeError(f"there is no level {unknown or ''!r}; there are {', '.join(LEVELS)}, and all")
    return tuple(name for name in LEVELS if name in chosen)


def named(text: str) -> tuple[str, str]:
    """Return name and path of ``NAME=PREDICTION``; the name is empty if only a path is given."""
    name, equals, path = text.partition("=")
    return (name.strip(), path) if equals else ("", text)


def run(args: argparse.Namespace, noise: Any) -> int:
    """Evaluate, write the report, and print the headline scores."""
    args.output = None if args.output is None else output_path(args.output)
    if args.output is None and not args.json:
        raise InputError("A report needs a folder: -o REPORT (or --json for only the numbers).")
    report = follow(_steps(args, noise), f"Evaluating {', '.join(args.level)}")
    if report is None:
        return INTERRUPTED
    print_notes(report.notes)
    from napari_virtual_paint.evaluation.report_files import PAGE

    page = {} if report.output is None else {"report": str(report.output / PAGE)}
    print_result(report.to_json() | page, as_text(report), as_json=args.json)
    return FAILED_FIELDS if len(report.failed) else 0


def _steps(args: argparse.Namespace, noise: Any) -> Generator[EvaluationProgress, None, Evaluation]:
    """Evaluate; importing the engine, which takes seconds, is the first step."""
    from napari_virtual_paint.evaluation import EvaluationSettings
    from napari_virtual_paint.evaluation.engine import ControlSelection, evaluate

    settings = EvaluationSettings(
        segmenter=args.segmenter,
        nuclei=args.nuclei,
        cells=args.cells,
        gamma=args.gamma,
        seed=args.seed,
        workers=args.workers or 0,
        scale=args.scale,
        noise=noise,
    )
    choice = ControlSelection(args.treatment, args.dose, args.moa, args.batch, negative=args.controls, positive=args.positive)
    steps = evaluate(
        [(args.name, args.prediction), *(args.also or ())],
        args.truth,
        args.level,
        output=args.output,
        plate_map=args.plate_map,
        wells=args.wells,
        fields=args.fields,
        choice=choice,
        settings=settings,
        synonyms=synonyms_of(args),
        plate=args.plate_name,
        axes=axes_of_two(args),
    )
    return (yield from steps)


def follow(steps: Generator[EvaluationProgress, None, Evaluation], title: str) -> Evaluation | None:
    """Evaluate with a progress bar on stderr; return None if the user stopped it."""
    failures = kept = 0
    progress = ProgressBar(title)

    def show(step: EvaluationProgress) -> None:
        nonlocal failures, kept
        message = "" if step.stage == "findings" else step.message
        kept += bool(step.field and not step.failed)
        if step.failed:
            failures += 1
            message = f"{step.field} failed: {step.failed}" if failures <= MOST_FAILURES else ""
        if progress.as_json:
            progress.update(step.done, step.total, message or step.phase, step.seconds_left)
        elif step.done or message:  # a bar that stands at 0 says less than none
            progress.update(step.done, step.total, message, step.seconds_left)

    with progress, contextlib.suppress(KeyboardInterrupt):
        if progress.as_json:
            progress.update(0, 0, STARTING)
        return run_to_end(steps, show)
    print_note(
        f"stopped; {kept} fields were evaluated in this run and are kept if there is a report; the same command goes on with the rest."
    )
    return None


def as_text(report: Evaluation) -> str:
    """Return the headline scores as a table for a terminal."""
    names = list(report.predictions)
    parts = []
    for level, found in report.findings.items():
        rows = [
            [each.label + (f" ({each.unit})" if each.unit else ""), _cell(each.truth), *(_cell(each.values.get(name)) for name in names)]
            for each in found.headline
        ]
        if rows:
            parts.append(table([level, "truth", *names], rows))
    failed = f", {len(report.failed)} failed (see {report.output and report.output / 'failed.csv'})" if len(report.failed) else ""
    where = f"; the report is {report.output / 'report.html'}" if report.output else ""
    return "\n\n".join([*parts, f"{counted(report.fields, 'field')} evaluated in {elapsed(report.seconds)}{failed}{where}."])


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def only_with_level(args: argparse.Namespace) -> None:
    """Raise an `InputError` if an option of the report is given without a level."""
    given = {
        "-o": args.output,
        "--also": args.also,
        "--name": args.name or None,
        "--plate": args.plate_name,
        "--plate-map": args.plate_map,
        "--wells": args.wells,
    }
    for option, value in given.items():
        if value is not None:
            raise InputError(f"{option} belongs to a report: add --level {', '.join(LEVELS)} or all.")
