"""Classifier two-sample test (Lopez-Paz and Oquab, 2017): how well a small network distinguishes generated from real crops."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.runtime.progress import Progress

if TYPE_CHECKING:
    from torch import nn

FOLDS = 4
STEPS = 120  # of training, in each fold
BATCH = 16  # crops of each kind in a step
WIDTHS = (16, 32, 48, 48)  # channels of the four convolutions, each of which halves the side
RATE = 4e-3  # highest learning rate
MOST = 300  # cells that are judged: the recipe, and so the value, is to depend on the model alone
FEWEST = 12  # cells below which nothing is judged

Floats = npt.NDArray[np.float32]


def folds_of(count: int, seed: int = 0) -> npt.NDArray[np.intp]:
    """Return the fold of each of some cells, 0 to `FOLDS` - 1: folds of equal size, at random."""
    return np.random.default_rng([seed, 0xF01D]).permutation(np.arange(count) % FOLDS)


def classifier_auc(real: Floats, drawn: Floats, folds: npt.NDArray[np.intp], seed: int = 0) -> Iterator[Progress | float]:
    """Train a small network to tell generated crops from real ones, and return its area under the ROC curve on cells it never saw.

    A network of four convolutions is trained from scratch in each fold, for `STEPS` steps of `BATCH` crops of each kind, turned and
    mirrored at random; the value is the mean over the folds. 0.5 is chance. More cells or longer training would tell more apart, so
    values compare at this recipe alone.

    Parameters
    ----------
    real, drawn
        (n, C, d, d) in gray levels, crop i of both in the same fold: those of one cell, so that no cell is both trained and tested on.
    folds
        (n,), from `folds_of`.
    seed
        Seed of weights and batches.

    Yields
    ------
    Progress
        After each step.
    float
        Last; NaN for fewer than `FEWEST` cells.
    """
    if len(real) < FEWEST:
        yield float("nan")
        return
    import torch

    from napari_virtual_paint.device import torch_threads

    total = FOLDS * STEPS
    found = []
    for fold in range(FOLDS):
        inside, outside = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        train = np.concatenate([real[inside], drawn[inside]])
        mean, spread = (part.astype(np.float32) for part in (train.mean((0, 2, 3)), train.std((0, 2, 3)) + 1e-6))
        kinds = [torch.from_numpy((crops - mean[:, None, None]) / spread[:, None, None]) for crops in (real, drawn)]
        torch.manual_seed(seed * FOLDS + fold)
        network = _network(real.shape[1])
        optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
        rng = np.random.default_rng([seed, fold])
        truth = torch.cat([torch.zeros(BATCH), torch.ones(BATCH)])
        for step in range(STEPS):
            with torch_threads(1):
                crops = torch.cat([kind[torch.from_numpy(rng.choice(inside, BATCH))] for kind in kinds])
                turn = int(rng.integers(8))
                crops = torch.rot90(crops.flip(3) if turn >= 4 else crops, turn % 4, (2, 3)).contiguous()
                loss = torch.nn.functional.binary_cross_entropy_with_logits(network(crops)[:, 0], truth)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
            yield Progress(fold * STEPS + step + 1, total)
        network.eval()
        with torch.inference_mode():
            scores = [network(kind[torch.from_numpy(outside)])[:, 0].numpy() for kind in kinds]
        found.append(auc(scores[1], scores[0]))
    yield float(np.mean(found))


def auc(positive: npt.ArrayLike, negative: npt.ArrayLike) -> float:
    """Return the area under the ROC curve: the chance that a positive's score is above a negative's, ties counted half."""
    from scipy.stats import rankdata

    above, below = np.asarray(positive, np.float64), np.asarray(negative, np.float64)
    ranks = rankdata(np.concatenate([above, below]))[: len(above)]
    return float((ranks.sum() - len(above) * (len(above) + 1) / 2) / (len(above) * len(below)))


def _network(channels: int) -> nn.Module:
    """Return the classifier, crops (N, C, d, d) -> logits (N, 1)."""
    from torch import nn

    layers: list[nn.Module] = []
    for index, width in enumerate(WIDTHS):
        into = channels if index == 0 else WIDTHS[index - 1]
        layers += [nn.Conv2d(into, width, 4, 2, 1), nn.BatchNorm2d(width), nn.LeakyReLU(0.1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTHS[-1], 1))
