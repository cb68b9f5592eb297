"""`virtual-paint train`: train a model from a configuration file."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.choices import RunCommand, values_of
from napari_virtual_paint.cli import COMMANDS, INTERRUPTED
from napari_virtual_paint.cli._options import add_axes, add_json, axes_of_two
from napari_virtual_paint.cli._output import SPARSE_SECONDS, ProgressBar, print_result
from napari_virtual_paint.errors import Cancelled, InputError
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.runtime.progress import time_left

if TYPE_CHECKING:
    from tqdm import tqdm

    from napari_virtual_paint.training import TrainConfig
    from napari_virtual_paint.training.callback import TrainingProgress


RESUMES = "the last checkpoint is kept, and the same command goes on"


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser of `virtual-paint`."""
    parser = subparsers.add_parser(
        "train",
        help=COMMANDS["train"],
        description="Train a model and write its package. If it is stopped or killed, the same command goes on.",
    )
    parser.add_argument("config", type=Path, nargs="?", metavar="CONFIG.yaml", help="data, model and output; see docs/training.md")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--recipes", action="store_true", help="only list the recipes that a configuration may start from")
    action.add_argument("--schema", action="store_true", help="only print the JSON schema of CONFIG.yaml, for editors")
    action.add_argument("--check", action="store_true", help="only look for pairs that are shifted, saturated, blank or out of focus")
    action.add_argument("--estimate", action="store_true", help="only time a few steps and print how long the training would take here")
    action.add_argument("--watch", action="store_true", help="only print the state of the run of CONFIG.yaml, on whatever machine it is")
    action.add_argument("--tell", choices=values_of(RunCommand), help="only send a command to the run of CONFIG.yaml")
    add_axes(parser, roles="INPUT,TARGET")
    parser.add_argument(
        "--plate",
        dest="plate_names",
        action="append",
        metavar="NAME",
        help="which plate, where data.plate holds several; give it again for further ones",
    )
    add_json(parser)
    # From the Train dock, for layers that are not saved yet: number of channels, stains and pixels.
    parser.add_argument("--shape", metavar="CHANNELS,STAINS,PIXELS", help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Train, and print the package and its scores; or do what another option says instead."""
    if args.recipes or args.schema:
        return _show(args)
    if args.config is None:
        raise InputError("Give the configuration, as in: virtual-paint train CONFIG.yaml; --recipes lists what one can start from.")
    from napari_virtual_paint.training import load_config

    config = with_options(load_config(args.config), args)
    if args.check:
        return _check(config, args)
    if args.estimate:
        return _estimate(config, args)
    if args.watch or args.tell:
        return _watch(config, args)
    return _train(config, args)


def with_options(config: TrainConfig, args: argparse.Namespace) -> TrainConfig:
    """Return a configuration with what ``--axes`` and ``--plate`` say, which go before the file.

    Raises `InputError` if they don't fit its data.
    """
    data = config.data
    if args.axes is not None:
        own, stains = axes_of_two(args)
        data = data.changed(input_axes=own or data.input_axes, target_axes=stains or data.target_axes)
    if args.plate_names:
        if data.plate is None:
            raise InputError("--plate names plates of data.plate, which the configuration does not have; leave it out.")
        data = data.changed(plate=data.plate.changed(plate=args.plate_names))
    return config if data is config.data else config.model_copy(update={"data": data})


def command_of(args: argparse.Namespace) -> str:
    """Return the command that trains, for the package's card."""
    given = [] if args.axes is None else ["--axes", args.axes]
    given += [word for name in args.plate_names or () for word in ("--plate", name)]
    return shlex.join(["virtual-paint", "train", args.config.as_posix(), *given])


def _train(config: TrainConfig, args: argparse.Namespace) -> int:
    """Train, and print the package and its scores."""
    from napari_virtual_paint.models import open_model
    from napari_virtual_paint.training import train

    start = time.perf_counter()
    draw = TrainingBar() if sys.stderr.isatty() else TrainingLines()
    try:
        path = train(config, draw, command_of(args))
    except Cancelled as stopped:
        draw.close()
        print(f"virtual-paint: {stopped}", file=sys.stderr)
        return INTERRUPTED
    finally:
        draw.close()
    scores = {stain: dict(values) for stain, values in open_model(path).info.card.scores.items()}
    report = {"model": config.id, "output": str(path), "scores": scores, "seconds": round(time.perf_counter() - start, 1)}
    lines = [f"{config.id}: {path}"]
    lines += [f"  {stain}: " + ", ".join(f"{name} {value:.3f}" for name, value in values.items()) for stain, values in scores.items()]
    print_result(report, "\n".join(lines), as_json=args.json)
    return 0


def _show(args: argparse.Namespace) -> int:
    """Print the recipes, or the schema of a configuration."""
    if args.schema:
        from napari_virtual_paint.training.config.run import schema

        print_result(schema(), "", as_json=True)
        return 0
    from napari_virtual_paint.training.config.recipes import list_recipes

    found = [
        {"name": recipe.name, "title": recipe.title, "dims": recipe.dims, "description": recipe.description} for recipe in list_recipes()
    ]
    text = "\n\n".join(f"{recipe.name}: {recipe.title} ({recipe.dims}D)\n  {recipe.description}" for recipe in list_recipes())
    print_result({"recipes": found}, text, as_json=args.json)
    return 0


def _check(config: TrainConfig, args: argparse.Namespace) -> int:
    """Check every pair and print the faults; the exit code is 0 whatever they are."""
    from napari_virtual_paint.training.pair_checks.check import check_pairs

    with ProgressBar("checking pairs") as progress:
        report = run_to_end(check_pairs(config), lambda step: progress.update(step.done, step.total))
    print_result(report.to_json(), "\n".join(report.sentences(most=len(report.pairs))), as_json=args.json)
    return 0


def _estimate(config: TrainConfig, args: argparse.Namespace) -> int:
    """Print how long a training would take here."""
    import psutil

    from napari_virtual_paint.training.time_estimate import estimate, shape_in

    found = estimate(config, shape_in(config, args.shape) if args.shape else None, psutil.Process().create_time())
    report = {"seconds": found.seconds, "seconds_a_step": found.step, "steps": found.steps, "device": found.device, "scaled": found.scaled}
    report |= {"shared": found.shared, "pace": asdict(found.pace), "words": found.text()}
    print_result(report, f"{config.id}: {found.text()}", as_json=args.json)
    return 0


def _watch(config: TrainConfig, args: argparse.Namespace) -> int:
    """Print the state of a run, after sending it a command if there is one."""
    from napari_virtual_paint.metrics.metric import metric
    from napari_virtual_paint.training.run_folder.watch import send_command, watch

    assert config.run is not None
    if args.tell:
        state = watch(config.run)
        if not state.alive:
            raise InputError(f"{config.run}: there is no active run that could {args.tell}.")
        send_command(config.run, args.tell)
    state = watch(config.run)
    last = state.curve[-1] if state.curve else None
    report = {
        "model": config.id,
        "run": str(config.run),
        **{name: getattr(state, name) for name in ("state", "phase", "step", "steps", "seconds_left", "message", "pid", "host")},
        "loss": last.loss if last else None,
        "pcc": dict(zip(state.stains, last.scores.get("pcc", ()), strict=False)) if last else {},
    }
    left = time_left(state.seconds_left)
    means = [f"{metric(name).label} {last.mean(name):.4f}" for name, values in last.scores.items() if values] if last else []
    scores = f"{', '.join(means)} after step {last.step}" if last and means else ""
    how = "no run has begun" if state.state == "none" else f"{state.state}, {state.phase}, step {state.step} of {state.steps}"
    print_result(report, ", ".join(part for part in (f"{config.id}: {how}", scores, left, state.message) if part), as_json=args.json)
    return 0


def epoch_line(progress: TrainingProgress) -> str:
    """Return an epoch as a line of text."""
    from napari_virtual_paint.metrics.metric import metric

    line = progress.epoch
    assert line is not None
    scores = "".join(
        f", {metric(name).label} {line.mean(name):.4f} ({' '.join(f'{value:.3f}' for value in values)})"
        for name, values in line.scores.items()
        if values
    )
    best = " best" if progress.best and line.scores else ""
    return f"{progress.phase}: step {line.step}/{progress.steps}, loss {line.loss:.4f}{scores}{best}{left(progress)}"


def left(progress: TrainingProgress) -> str:
    """Return the time left as the end of a line."""
    text = time_left(progress.seconds_left)
    return f", {text}" if text else ""


class TrainingBar:
    """A bar with the time left, for a terminal."""

    def __init__(self) -> None:
        self.bar: tqdm[Any] | None = None
        self.phase = ""

    def __call__(self, progress: TrainingProgress) -> None:
        """Update the bar."""
        from tqdm import tqdm

        if not progress.steps:
            tqdm.write(f"{progress.phase}: {progress.message}", file=sys.stderr)
            return
        if self.bar is None or self.phase != progress.phase:
            self.close()
            self.phase = progress.phase
            self.bar = tqdm(total=progress.steps, initial=max(progress.step - 1, 0), desc=progress.phase, unit="step", file=sys.stderr)
        if progress.loss is not None:
            self.bar.set_postfix_str(f"loss {progress.loss:.4f}", refresh=False)
        self.bar.update(progress.step - self.bar.n)
        if progress.epoch is not None or progress.message:
            self.bar.write(epoch_line(progress) if progress.epoch is not None else f"{progress.phase}: {progress.message}", file=sys.stderr)

    def close(self) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()


class TrainingLines:
    """Lines of text, for a log."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def __call__(self, progress: TrainingProgress) -> None:
        """Print every epoch, and a step now and then."""
        now = time.monotonic()
        if progress.epoch is not None:
            print(epoch_line(progress), file=sys.stderr, flush=True)
        elif progress.message:
            print(f"{progress.phase}: {progress.message}", file=sys.stderr, flush=True)
        elif now - self.last < SPARSE_SECONDS:
            return
        else:
            print(f"{progress.phase}: step {progress.step}/{progress.steps}{left(progress)}", file=sys.stderr, flush=True)
        self.last = now

    def close(self) -> None:
        """Do nothing."""
