"""The options of `virtual-paint evaluate` beyond pixels: levels, controls, the report; and the run itself."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.choices import LEVELS
from napari_virtual_paint.cli._output import ProgressBar, emit, say, split_list, table
from napari_virtual_paint.cli.plate_predict import INTERRUPTED, count, terminated_as_interrupted
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.generators import run_to_end

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_virtual_paint.evaluation import Evaluation
    from napari_virtual_paint.evaluation.evaluate import EvaluationProgress

COLUMNS = {
    "treatment": "column of what was added",
    "dose": "column of how much",
    "moa": "column of the mechanism of action",
    "batch": "column of what was done together",
}
FAILED_FIELDS = 3
"""Exit code of an evaluation of which some fields failed."""
TOLD = 5
"""Fields that failed and are told on stderr; the table has them all."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    report = parser.add_argument_group("report", "judged by what is done with the stains, on a field, a folder of fields or a plate")
    report.add_argument("--level", type=levels, metavar="A,B|all", help=f"of {', '.join(LEVELS)}; 'all' for each of them")
    report.add_argument("-o", "--output", type=Path, metavar="REPORT", help="folder of the report; the same command goes on with it")
    report.add_argument("--also", type=named, action="append", metavar="NAME=PREDICTION", help="another prediction, to be compared")
    report.add_argument("--name", default="", help="what the first prediction is called (default: its file's name)")
    report.add_argument("--wells", metavar="A1:B12,C3", help="wells and rectangles of wells (default: all)")
    report.add_argument("--fields", type=split_list, metavar="0,1", help="fields of each well, or of the folder (default: all)")
    report.add_argument("--workers", type=count, metavar="N", help="processes (default: as many as there are cores)")
    report.add_argument("--seed", type=int, default=0, metavar="S", help="of all that is drawn by chance (default: %(default)s)")
    cells = parser.add_argument_group("cells in the images")
    cells.add_argument("--nuclei", metavar="STAIN", help="stain that shows nuclei (default: by its name)")
    cells.add_argument("--cells", metavar="STAIN", help="stain that shows cells (default: all but the nuclei's)")
    cells.add_argument("--segmenter", choices=("auto", "skimage", "cellpose"), default="auto", help="auto: Cellpose where it is installed")
    cells.add_argument("--gamma", type=float, default=0.3, help="exponent before cells are found (default: %(default)s, Tonks 2024)")
    wells = parser.add_argument_group("what is in the wells")
    wells.add_argument("--plate-map", type=Path, metavar="CSV", help="a table of the wells (well, treatment, dose, control, moa ...)")
    wells.add_argument("--controls", metavar="COLUMN=VALUE", help="negative controls (default: by the column 'control')")
    wells.add_argument("--positive", metavar="COLUMN=VALUE", help="positive controls (default: mitoxantrone at its highest doses)")
    for name, words in COLUMNS.items():
        wells.add_argument(f"--{name}", metavar="COLUMN", help=f"{words} (default: by its name)")


def levels(text: str) -> tuple[str, ...]:
    """Return the levels that a text names."""
    chosen = LEVELS if text.strip().casefold() == "all" else split_list(text.casefold())
    unknown = next((name for name in chosen if name not in LEVELS), None)
    if unknown is not None or not chosen:
        raise argparse.ArgumentTypeError(f"there is no level {unknown or ''!r}; there are {', '.join(LEVELS)}, and all")
    return tuple(name for name in LEVELS if name in chosen)


def named(text: str) -> tuple[str, str]:
    """Return name and path of ``NAME=PREDICTION``; a path alone has its file's name."""
    name, equals, path = text.partition("=")
    return (name.strip(), path) if equals else ("", text)


def run(args: argparse.Namespace, noise: Any) -> int:
    """Judge, write the report, print."""
    if args.output is None and not args.json:
        raise InputError("A report needs a folder to be written to: -o REPORT (or --json for the numbers alone).")
    with terminated_as_interrupted():
        report = follow(_steps(args, noise), f"Evaluating {', '.join(args.level)}")
    if report is None:
        return INTERRUPTED
    for note in report.notes:
        say(note)
    from napari_virtual_paint.evaluation.report_files import PAGE

    told = report.to_json() | ({} if report.output is None else {"report": str(report.output / PAGE)})
    emit(told, as_text(report), as_json=args.json)
    return FAILED_FIELDS if len(report.failed) else 0


def _steps(args: argparse.Namespace, noise: Any) -> Generator[EvaluationProgress, None, Evaluation]:
    from napari_virtual_paint.evaluation import EvaluationSettings
    from napari_virtual_paint.evaluation.evaluate import ControlSelection, evaluate

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
    return evaluate(
        _predictions(args),
        args.truth,
        args.level,
        output=args.output,
        plate_map=args.plate_map,
        wells=args.wells,
        fields=args.fields,
        choice=choice,
        settings=settings,
    )


def _predictions(args: argparse.Namespace) -> list[tuple[str, str]]:
    """Return name and path of each prediction, the main one first."""
    return [(args.name, args.prediction), *(args.also or ())]


def follow(steps: Generator[EvaluationProgress, None, Evaluation], words: str) -> Evaluation | None:
    """Evaluate under a progress bar on stderr; None if the user stopped it."""
    told = kept = 0
    progress = ProgressBar(words)

    def show(step: EvaluationProgress) -> None:
        nonlocal told, kept
        message = "" if step.stage == "findings" else step.message
        kept += bool(step.field and not step.failed)
        if step.failed:
            told += 1
            message = f"{step.field} failed: {step.failed}" if told <= TOLD else ""
        if step.done or message:  # the pace is that of fields, without the start of processes
            progress.update(step.done, step.total, message)

    with progress, contextlib.suppress(KeyboardInterrupt):
        return run_to_end(steps, show)
    say(f"stopped; {kept} fields were judged in this run and are kept where there is a report; the same command goes on with the rest.")
    return None


def as_text(report: Evaluation) -> str:
    """Return the headlines as a table for a terminal."""
    from napari_virtual_paint.evaluation.context import counted

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
    judged = counted(report.fields, "field")
    return "\n\n".join([*parts, f"{judged} judged in {report.seconds:.1f} s{failed}{where}."])


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def only_with_level(args: argparse.Namespace) -> None:
    """Raise an `InputError` where an option of the report is given without a level."""
    given = {"-o": args.output, "--also": args.also, "--name": args.name or None, "--plate-map": args.plate_map, "--wells": args.wells}
    for option, value in given.items():
        if value is not None:
            raise InputError(f"{option} belongs to a report: add --level pixels, instances, features, profiles or all.")
