"""How real generated crops look, each measure beside what real crops reach: Fréchet distance, a classifier, the power spectrum."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.cells.cp2image.classifier_test import MOST, classifier_auc, folds_of
from napari_virtual_paint.cells.cp2image.frechet import FeatureNetwork, HalvedDistance, halved_frechet
from napari_virtual_paint.cells.cp2image.spectrum import SpectrumRatio, power_ratio
from napari_virtual_paint.runtime.progress import Progress

Floats = npt.NDArray[np.float32]
SHARES = {"frechet": 0.1, "auc": 0.85, "spectrum": 0.05}  # of the time


@dataclass(frozen=True, eq=False)
class Realism:
    """How real generated crops look; None for what was left out."""

    frechet: HalvedDistance | None = None
    auc: float | None = None
    """Of a classifier of generated against real crops of the same cells; see `classifier_test.classifier_auc`."""
    auc_control: float | None = None
    """The same between two halves of the real crops: what the recipe gives where there is nothing to tell."""
    spectrum: SpectrumRatio | None = None


def judge(
    real: Floats,
    drawn: Floats,
    channels: tuple[str, ...],
    network: FeatureNetwork,
    measures: Collection[str] = ("frechet", "auc", "spectrum"),
    seed: int = 0,
) -> Iterator[Progress | Realism]:
    """Compare generated with real crops of the same cells.

    Parameters
    ----------
    real, drawn
        (n, C, d, d) in gray levels, crop i of both of the same cell.
    channels
        Names of the channels.
    network
        Network of the Fréchet distance.
    measures
        Which of ``frechet``, ``auc`` and ``spectrum`` to take.
    seed
        Seed of the halvings, folds and the classifier.

    Yields
    ------
    Progress
        On the way.
    Realism
        Last.
    """
    total = sum(SHARES[name] for name in measures if name in SHARES)
    done, distance, scores, spectrum = 0.0, None, [], None
    if "frechet" in measures and len(real) >= 4:
        for item in halved_frechet(network, real, drawn, seed):
            if isinstance(item, HalvedDistance):
                distance = item
            else:
                yield Progress(SHARES["frechet"] * item.fraction, total)
        done += SHARES["frechet"]
    if "spectrum" in measures:
        spectrum = power_ratio(real, drawn, channels)
        done += SHARES["spectrum"]
        yield Progress(done, total)
    if "auc" in measures:
        rows = np.random.default_rng([seed, 0xA0C]).permutation(len(real))[:MOST]
        half = len(rows) // 2
        pairs = ((real[rows], drawn[rows]), (real[rows[:half]], real[rows[half : 2 * half]]))
        for part, (negative, positive) in enumerate(pairs):
            for step in classifier_auc(negative, positive, folds_of(len(negative), seed), seed):
                if isinstance(step, Progress):
                    yield Progress(done + SHARES["auc"] * (part + step.fraction) / len(pairs), total)
                else:
                    scores.append(step)
    auc, control = scores or (None, None)
    yield Realism(distance, auc, control, spectrum)
