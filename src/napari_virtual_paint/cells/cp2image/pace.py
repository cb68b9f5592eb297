"""The pace of a cell training on this machine: its first steps, timed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from napari_virtual_paint.cells.cp2image.config import CellTrainConfig
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.training.pace import TrainingPace

WARM, TIMED = 2, 8  # steps that are not timed, since torch plans its convolutions, and steps that are
LONG = 30.0  # seconds after which no further step is timed


@dataclass(frozen=True)
class CellPace:
    """How long a cell training takes."""

    pace: TrainingPace
    steps: int
    epoch: int  # `steps` and `epoch`: those of the configuration

    @property
    def seconds(self) -> float:
        """How long the steps of the configuration take."""
        return self.pace.seconds(self.steps, self.epoch)


def measure_pace(config: CellTrainConfig) -> Iterator[Progress | CellPace]:
    """Time the first steps of a training, on its own cells; nothing of it is kept but the cells that were read.

    Yields
    ------
    Progress
        On the way.
    CellPace
        Last.

    Raises
    ------
    InputError
        If data or settings don't fit.
    """
    from napari_virtual_paint.cells.cp2image.train import train

    steps = WARM + TIMED + 1
    times: list[float] = []
    # An epoch that never ends writes no checkpoint.
    training = train(config.model_copy(update={"steps": max(config.steps, 2 * steps), "epoch": 10**9}))
    try:
        for item in training:
            if not isinstance(item, Progress):
                break
            if item.done and item.total == max(config.steps, 2 * steps):
                times.append(time.monotonic())
                if len(times) >= steps or (len(times) > WARM + 1 and times[-1] - times[WARM] > LONG):
                    break
                yield Progress(len(times), steps, "Timing the first steps.")
            else:
                yield item
    finally:
        training.close()  # type: ignore[attr-defined]  # a generator
    timed = times[WARM:]
    pace = (timed[-1] - timed[0]) / max(1, len(timed) - 1)
    yield CellPace(TrainingPace(pace, rounds=2 if config.refit else 1), config.steps, config.epoch)
