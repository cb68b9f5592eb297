"""The pace of a training: how long a number of steps takes, and how many steps fit into a time. Imports neither torch nor numpy."""

from __future__ import annotations

import math
from dataclasses import dataclass

EPOCHS = 10  # fewest epochs of a training whose number of steps is not its recipe's
FINER = 100  # a number of steps that fits into a time is found to one part in so many


@dataclass(frozen=True)
class TrainingPace:
    """Pace of a training on one machine."""

    step: float  # seconds of a step
    validation: float = 0.0  # seconds of the scores after an epoch
    passes: float = 0.0  # passes over the training images that a step makes: pixels of its patches, relative to all; 0 if unknown
    rounds: int = 1  # how often the steps are made: once more where the network is trained again on all images, or on half of them
    fixed: float = 0.0  # seconds that it takes with any number of steps: to start, and to write the package

    def seconds(self, steps: int, epoch: int) -> float:
        """Return how long a training takes.

        Parameters
        ----------
        steps, epoch
            Number of steps, and of steps between two validations.
        """
        return self.fixed + self.rounds * steps * self.step + math.ceil(steps / epoch) * self.validation

    def steps_within(self, seconds: float, longest: int) -> int:
        """Return how many steps fit into a time; `EPOCHS` where not even these do.

        Parameters
        ----------
        longest
            Most steps between two validations (see `epoch_of`).
        """
        steps = max(EPOCHS, int(seconds / max(self.rounds * self.step, 1e-9)))
        while steps > EPOCHS and self.seconds(steps, epoch_of(steps, longest)) > seconds:
            steps = max(EPOCHS, steps - max(1, steps // FINER))
        return steps


def epoch_of(steps: int, longest: int) -> int:
    """Return the steps between two validations: the recipe's, or fewer, so that a short training has `EPOCHS` epochs."""
    return max(1, min(longest, steps // EPOCHS))
