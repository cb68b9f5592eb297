"""``virtual-paint study``: train on each domain, test on each; the same command goes on with a study that was stopped."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.cli import COMMANDS, INTERRUPTED
from napari_virtual_paint.cli._options import add_axes, add_json, add_scheduler, add_workers, axes_of_two
from napari_virtual_paint.cli._output import ProgressBar, print_note, print_result, table
from napari_virtual_paint.runtime.generators import run_to_end

if TYPE_CHECKING:
    from napari_virtual_paint.study.run import StudyResult


RESUMES = "finished trainings and tests are kept, and the same command goes on"


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser of `virtual-paint`."""
    parser = subparsers.add_parser(
        "study",
        help=COMMANDS["study"],
        description="Train a model on each domain of CONFIG.yaml (cell types, phenotypes, plates ...) from several seeds, test each on the "
        "held-out images of every domain, and write tables, figures and a report of the differences from the in-domain model. If it is "
        "stopped at any moment, the same command goes on.",
    )
    parser.add_argument("config", type=Path, nargs="?", metavar="CONFIG.yaml", help="domains and training settings; see docs/study.md")
    workers = parser.add_mutually_exclusive_group()
    add_workers(workers, "train and test")
    add_scheduler(workers, "train and test")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--check", action="store_true", help="only print what would be trained and tested, on how many images")
    action.add_argument("--schema", action="store_true", help="only print the JSON schema of CONFIG.yaml, for editors")
    add_axes(parser, roles="INPUT,TARGET")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the study and print its headline matrices."""
    from napari_virtual_paint.errors import InputError
    from napari_virtual_paint.study.config import load_study, schema

    if args.schema:
        print_result(schema(), "", as_json=True)
        return 0
    if args.config is None:
        raise InputError("Give the configuration, as in: virtual-paint study CONFIG.yaml; docs/study.md has two to start from.")
    if args.workers < 1:
        raise InputError(f"{args.workers} processes can't work; give 1 or more.")
    config = load_study(args.config)
    if args.axes is not None:
        config = config.with_axes(*axes_of_two(args))
    if args.check:
        return _check(config, args)
    from napari_virtual_paint.study.run import study

    steps = study(config, workers=args.workers, scheduler=args.scheduler)
    try:
        with ProgressBar("study") as progress:
            result = run_to_end(steps, progress.show)
    except KeyboardInterrupt:
        print_note(f"stopped; what is done is kept in {config.output}, and the same command goes on.")
        return INTERRUPTED
    print_result(result.to_json(), _text(result), as_json=args.json)
    return 0


def _check(config: Any, args: argparse.Namespace) -> int:
    """Print what a study would do."""
    from napari_virtual_paint.study.run import check_output
    from napari_virtual_paint.study.units import TrainingUnit, all_units, check_apart

    check_output(config)
    counts, units = check_apart(config), all_units(config)
    left = [unit for unit in units if not unit.is_done(config)]
    trainings = sum(isinstance(unit, TrainingUnit) for unit in units)
    report = {"output": str(config.output), "domains": counts, "trainings": trainings, "tests": len(units) - trainings, "left": len(left)}
    rows = [(name, *(str(count[part]) for part in ("train", "validation", "test"))) for name, count in counts.items()]
    text = table(("domain", "to train on", "validation", "test"), rows)
    print_result(
        report, f"{text}\n{trainings} trainings and {len(units) - trainings} tests, {len(left)} of them left to do", as_json=args.json
    )
    return 0


def _text(result: StudyResult) -> str:
    """Return the headline matrices as text: differences from the baseline, training domains in rows, test domains in columns."""
    from napari_virtual_paint.study.tables import as_matrix, headline

    parts = []
    for score in headline(result.config, result.matrices):
        mean, sd = (as_matrix(result.config, result.matrices, score, value) for value in ("difference", "difference_sd"))
        title = " ".join(part for part in (score["level"], score["stain"], score["metric"]) if part)
        rows = [(name, *(_cell(mean.loc[name, test], sd.loc[name, test]) for test in mean.columns)) for name in mean.index]
        parts.append(f"{title}, difference from the baseline ({score['good']} is good); rows train, columns test\n")
        parts[-1] += table(("", *mean.columns), rows)
    files = ", ".join(str(path) for path in result.files.values())
    return "\n\n".join([*parts, f"{result.finished} trainings and tests now, {result.existing} before; {files}"])


def _cell(mean: float, sd: float) -> str:
    """Return a difference with its SD over seeds."""
    if mean != mean:
        return "-"
    return f"{mean:+.3f}" + (f" ± {sd:.3f}" if sd == sd else "")
