"""The Lightning callback that reports progress and carries out commands such as pause and stop."""

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

NOD = 0.1  # seconds between two checks whether a pause is over
SAMPLE = 0.25  # seconds between two reads of the loss: on a GPU each read waits for the step to end


@dataclass(frozen=True)
class TrainingProgress:
    """Progress of a run."""

    phase: str  # "training", or "refit" for the second training on everything
    step: int
    steps: int  # `step` and `steps`: steps done, and steps in the phase
    seconds_left: float | None = None  # for this phase; None before the first step
    epoch: Epoch | None = None  # the record of the epoch, at its end
    best: bool = False  # whether that epoch is the best so far
    message: str = ""  # other information, such as that the run is paused
    loss: float | None = None  # mean over the latest steps, where it was read


Report: TypeAlias = Callable[[TrainingProgress], None]


class Reporter(lightning.Callback):  # type: ignore[misc]
    """Report each step; `epoch_done` reports each epoch once its scores are known.

    Parameters
    ----------
    phase, steps
        Name and number of steps of the phase.
    report
        Called with the progress of each step and epoch.
    files
        Writer of the run folder, if there is one; commands such as pause or stop are read from it.
    save
        Write a checkpoint, for a stop within an epoch.
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
        """Save the losses of an unfinished epoch, so that its record equals that of an uninterrupted run."""
        return {"half": self._half}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the losses of an unfinished epoch."""
        self._half = dict(state_dict["half"])

    def on_train_start(self, trainer: Any, pl_module: PaintModule) -> None:
        """Record where this session starts; the steps before a resume took none of its time."""
        self.started, self.first = time.monotonic(), pl_module.done
        for name, values in self._half.items():
            losses = pl_module.more.setdefault(name, []) if name else pl_module.losses
            losses[:] = [torch.tensor(value, device=pl_module.device) for value in values]
        self._half = {}
        if self.files is not None:
            self.files.step(self.first, None)

    def on_train_batch_start(self, trainer: Any, pl_module: PaintModule, batch: Any, batch_idx: int) -> None:
        """Carry out a command: wait, stop with a checkpoint, or make this step the last."""
        if self.files is None:
            return
        command = self._command(trainer)
        if command == "pause":
            command = self._wait(trainer, pl_module.done)
        if command == "finish":
            trainer.should_stop = True
        if command == "stop":
            self._half = {name: [float(loss) for loss in losses] for name, losses in {"": pl_module.losses, **pl_module.more}.items()}
            if self.save is not None:
                self.save(pl_module)
            where = f"its state after step {pl_module.done} is kept"
            raise Cancelled(f"{self.files.folder}: training was stopped; {where}, and the same command resumes it.")

    def on_train_batch_end(self, trainer: Any, pl_module: PaintModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Report a step."""
        step, left = pl_module.done, self._left(pl_module.done)
        loss = self._sample(pl_module)
        if self.files is not None:
            self.files.step(step, left, loss)
        self.report(TrainingProgress(self.phase, step, self.steps, left, loss=loss))

    def epoch_done(self, module: PaintModule) -> None:
        """Report the epoch just scored (callbacks' own hooks run before the module's), and predict the preview."""
        line = module.curve[-1]
        self._seen = 0
        best = module.best is not None and module.best["epoch"] == line.epoch
        if self.files is not None and self.previewer is not None and module.trainer.is_global_zero:
            self.files.preview(self.previewer.paint(module.final_network, line.step, module.device))
        self.report(TrainingProgress(self.phase, line.step, self.steps, self._left(line.step), line, best))

    def _command(self, trainer: Any) -> str | None:
        """Return the latest command; the first process broadcasts it, since all must stop at the same step."""
        assert self.files is not None
        command = self.files.command
        return command if trainer.world_size == 1 else trainer.strategy.broadcast(command)

    def _wait(self, trainer: Any, step: int) -> str | None:
        """Wait while the run is paused, without counting the time."""
        assert self.files is not None
        began = time.monotonic()
        self.files.pause(True)
        self.report(TrainingProgress(self.phase, step, self.steps, message="paused"))
        while (command := self._command(trainer)) == "pause":
            time.sleep(NOD)
        self.files.pause(False)
        self.report(TrainingProgress(self.phase, step, self.steps, message="resumed"))
        self.started += time.monotonic() - began
        return command

    def _sample(self, module: PaintModule) -> float | None:
        """Return the mean loss since the last read; None if that was less than `SAMPLE` ago."""
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
