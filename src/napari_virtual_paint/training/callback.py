"""How far a run has come: values for whoever draws them, and the callback that makes them and obeys what the run is told."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import lightning
import torch

from napari_virtual_paint.errors import Cancelled
from napari_virtual_paint.training.modules.base import Epoch, PaintModule
from napari_virtual_paint.training.preview import Previewer
from napari_virtual_paint.training.run_folder.writer import RunFolderWriter

NOD = 0.1
"""Seconds between two looks whether a pause is over."""
SAMPLE = 0.25
"""Seconds between two looks at the loss: on a GPU each waits for the step to end."""


@dataclass(frozen=True)
class TrainingProgress:
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
    message
        What else there is to say, such as that the run waits.
    """

    phase: str
    step: int
    steps: int
    seconds_left: float | None = None
    epoch: Epoch | None = None
    best: bool = False
    message: str = ""
    loss: float | None = None
    """Mean of the latest steps, where it was looked at."""


Report: TypeAlias = Callable[[TrainingProgress], None]


class Reporter(lightning.Callback):  # type: ignore[misc]
    """Reports each step; `epoch_done` reports each epoch once its scores are known.

    Parameters
    ----------
    phase, steps
        Of the training, and how many steps it has.
    report
        Called with the progress of every step and epoch.
    files
        The run's files, where it keeps any: they tell what it is told.
    save
        Writes a checkpoint, for a stop between two epochs.
    previewer
        Paints the preview.
    """

    def __init__(
        self,
        phase: str,
        steps: int,
        report: Report,
        files: RunFolderWriter | None = None,
        save: Callable[[PaintModule], None] | None = None,
        previewer: Previewer | None = None,
    ) -> None:
        self.phase, self.steps, self.report = phase, steps, report
        self.files, self.save, self.previewer = files, save, previewer
        self.started, self.first = 0.0, 0
        self._sampled, self._seen = 0.0, 0
        self._half: dict[str, list[float]] = {}

    def state_dict(self) -> dict[str, Any]:
        """Keep the losses of a half-done epoch, so that its line of the curve is that of a run that was never stopped."""
        return {"half": self._half}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take them back."""
        self._half = dict(state_dict["half"])

    def on_train_start(self, trainer: Any, pl_module: PaintModule) -> None:
        """Note where this sitting begins; a resumed run has steps behind it that cost it nothing."""
        self.started, self.first = time.monotonic(), pl_module.done
        for name, values in self._half.items():
            losses = pl_module.more.setdefault(name, []) if name else pl_module.losses
            losses[:] = [torch.tensor(value, device=pl_module.device) for value in values]
        self._half = {}
        if self.files is not None:
            self.files.step(self.first, None)

    def on_train_batch_start(self, trainer: Any, pl_module: PaintModule, batch: Any, batch_idx: int) -> None:
        """Obey: wait, stop with a checkpoint, or make this step the last."""
        if self.files is None:
            return
        word = self._word(trainer)
        if word == "pause":
            word = self._wait(trainer, pl_module.done)
        if word == "finish":
            trainer.should_stop = True
        if word == "stop":
            self._half = {name: [float(loss) for loss in losses] for name, losses in {"": pl_module.losses, **pl_module.more}.items()}
            if self.save is not None:
                self.save(pl_module)
            where = f"its state after step {pl_module.done} is kept"
            raise Cancelled(f"{self.files.folder}: training was stopped; {where}, and the same command goes on from there.")

    def on_train_batch_end(self, trainer: Any, pl_module: PaintModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Report a step."""
        step, left = pl_module.done, self._left(pl_module.done)
        loss = self._sample(pl_module)
        if self.files is not None:
            self.files.step(step, left, loss)
        self.report(TrainingProgress(self.phase, step, self.steps, left, loss=loss))

    def epoch_done(self, module: PaintModule) -> None:
        """Report the epoch that the module has just scored (callbacks' own hooks run before the module's), and paint the preview."""
        line = module.curve[-1]
        self._seen = 0
        best = module.best is not None and module.best["epoch"] == line.epoch
        if self.files is not None and self.previewer is not None and module.trainer.is_global_zero:
            self.files.preview(self.previewer.paint(module.kept, line.step, module.device))
        self.report(TrainingProgress(self.phase, line.step, self.steps, self._left(line.step), line, best))

    def _word(self, trainer: Any) -> str | None:
        """Return what the run was told; the first process tells the others, since all must stop at the same step."""
        assert self.files is not None
        word = self.files.word
        return word if trainer.world_size == 1 else trainer.strategy.broadcast(word)

    def _wait(self, trainer: Any, step: int) -> str | None:
        """Wait while the run is told to pause; the time doesn't count."""
        assert self.files is not None
        began = time.monotonic()
        self.files.pause(True)
        self.report(TrainingProgress(self.phase, step, self.steps, message="paused"))
        while (word := self._word(trainer)) == "pause":
            time.sleep(NOD)
        self.files.pause(False)
        self.report(TrainingProgress(self.phase, step, self.steps, message="goes on"))
        self.started += time.monotonic() - began
        return word

    def _sample(self, module: PaintModule) -> float | None:
        """Return the mean loss since the last look; None if that was a moment ago."""
        now = time.monotonic()
        self._seen = min(self._seen, len(module.losses))
        latest = module.losses[self._seen :]
        if now - self._sampled < SAMPLE or not latest:
            return None
        self._sampled, self._seen = now, len(module.losses)
        loss = float(torch.stack(latest).mean())
        return loss if math.isfinite(loss) else None

    def _left(self, step: int) -> float | None:
        done = step - self.first
        return (time.monotonic() - self.started) / done * (self.steps - step) if done else None
