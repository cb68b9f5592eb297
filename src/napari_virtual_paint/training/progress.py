"""How far a run has come: values for whoever draws them, and the callback that makes them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import lightning

from napari_virtual_paint.training.module import Epoch, PaintModule


@dataclass(frozen=True)
class Progress:
    """One report of a run.

    Parameters
    ----------
    phase
        "training", or "refit" for the second training on everything.
    step, steps
        Steps done, and steps of the phase.
    seconds_left
        Of this phase; None before the first step.
    epoch
        The line of the curve, at the end of an epoch.
    best
        Whether that epoch is the best so far.
    """

    phase: str
    step: int
    steps: int
    seconds_left: float | None = None
    epoch: Epoch | None = None
    best: bool = False


Report: TypeAlias = Callable[[Progress], None]


class Reporter(lightning.Callback):  # type: ignore[misc]
    """Reports each step; `epoch_done` reports each epoch once its scores are known."""

    def __init__(self, phase: str, steps: int, report: Report) -> None:
        self.phase, self.steps, self.report = phase, steps, report
        self.started, self.first = 0.0, 0

    def on_train_start(self, trainer: Any, pl_module: PaintModule) -> None:
        """Note where this sitting begins; a resumed run has steps behind it that cost it nothing."""
        self.started, self.first = time.monotonic(), pl_module.global_step

    def on_train_batch_end(self, trainer: Any, pl_module: PaintModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Report a step."""
        self.report(Progress(self.phase, pl_module.global_step, self.steps, self._left(pl_module.global_step)))

    def epoch_done(self, module: PaintModule) -> None:
        """Report the epoch that the module has just scored (callbacks' own hooks run before the module's)."""
        line = module.curve[-1]
        best = module.best is not None and module.best["epoch"] == line.epoch
        self.report(Progress(self.phase, line.step, self.steps, self._left(line.step), line, best))

    def _left(self, step: int) -> float | None:
        done = step - self.first
        return (time.monotonic() - self.started) / done * (self.steps - step) if done else None
