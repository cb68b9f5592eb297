"""`virtual-paint train`: a model from a configuration file."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from napari_virtual_paint.cli._common import emit
from napari_virtual_paint.errors import Cancelled
from napari_virtual_paint.pace import time_left

if TYPE_CHECKING:
    from napari_virtual_paint.training.progress import Progress

STOPPED = 128 + signal.SIGINT
EVERY = 10.0
"""Seconds between two lines of progress where stderr is no terminal."""


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser of `virtual-paint`."""
    parser = subparsers.add_parser(
        "train",
        help="train a model from a configuration file",
        description="Train a model and write its package. A run that was stopped or killed goes on when the same command is given again.",
    )
    parser.add_argument("config", type=Path, metavar="CONFIG.yaml", help="what to train, on what, and where to; see docs/training.md")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Train and print where the package lies and what it scored."""
    from napari_virtual_paint.models import open_model
    from napari_virtual_paint.training import load_config, train

    start = time.perf_counter()
    config = load_config(args.config)
    draw = Bar() if sys.stderr.isatty() else Lines()
    try:
        path = train(config, draw, shlex.join(["virtual-paint", "train", args.config.as_posix()]))
    except Cancelled as stopped:
        draw.close()
        print(f"virtual-paint: {stopped}", file=sys.stderr)
        return STOPPED
    finally:
        draw.close()
    scores = {stain: dict(values) for stain, values in open_model(path).info.card.scores.items()}
    report = {"model": config.id, "output": str(path), "scores": scores, "seconds": round(time.perf_counter() - start, 1)}
    if args.json:
        emit(report, "", as_json=True)
    else:
        print(f"{config.id}: {path}")
        for stain, values in scores.items():
            print(f"  {stain}: " + ", ".join(f"{name} {value:.3f}" for name, value in values.items()))
    return 0


def epoch_line(progress: Progress) -> str:
    """Return an epoch in words."""
    line = progress.epoch
    assert line is not None
    pcc = f", PCC {line.mean_pcc:.4f} ({' '.join(f'{value:.3f}' for value in line.pcc)})" if line.pcc else ""
    best = " best" if progress.best and line.pcc else ""
    return f"{progress.phase}: step {line.step}/{progress.steps}, loss {line.loss:.4f}{pcc}{best}{left(progress)}"


def left(progress: Progress) -> str:
    """Return the time left in words."""
    words = time_left(progress.seconds_left)
    return f", {words}" if words else ""


class Bar:
    """A bar with the time left, for a terminal."""

    def __init__(self) -> None:
        self.bar: tqdm | None = None
        self.phase = ""

    def __call__(self, progress: Progress) -> None:
        """Draw a report."""
        if self.bar is None or self.phase != progress.phase:
            self.close()
            self.phase = progress.phase
            self.bar = tqdm(total=progress.steps, initial=max(progress.step - 1, 0), desc=progress.phase, unit="step", file=sys.stderr)
        self.bar.update(progress.step - self.bar.n)
        if progress.epoch is not None:
            self.bar.write(epoch_line(progress), file=sys.stderr)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self.bar is not None:
            self.bar.close()


class Lines:
    """Lines of text, for a log."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        """Print every epoch, and now and then a step."""
        now = time.monotonic()
        if progress.epoch is not None:
            print(epoch_line(progress), file=sys.stderr, flush=True)
        elif now - self.last < EVERY:
            return
        else:
            print(f"{progress.phase}: step {progress.step}/{progress.steps}{left(progress)}", file=sys.stderr, flush=True)
        self.last = now

    def close(self) -> None:
        """Leave the lines as they are."""
