"""Predict and score the held-out part during training."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from napari_virtual_paint.networks.sizes import multiples
from napari_virtual_paint.networks.staged import StagedNetwork
from napari_virtual_paint.runtime.running_stats import pearson
from napari_virtual_paint.training.config.data import Tiles
from napari_virtual_paint.training.data.pairs import DataSet, Pair
from napari_virtual_paint.training.data.source import Subset
from napari_virtual_paint.training.data.split import Mask
from napari_virtual_paint.training.data.store import Floats
from napari_virtual_paint.training.network_sizes import run_whole

CONTEXT = 96  # margin in pixels around the held-out part that the network also sees: the input is not secret, only targets are held out


def scored_part(data: DataSet) -> Subset | None:
    """Return the part that a package's scores come from: test, else validation; None where nothing is held out."""
    parts: tuple[Subset, ...] = ("test", "validation")
    return next((part for part in parts if data.holding(part)), None)


def bounds(mask: Mask) -> tuple[slice, slice]:
    """Return the smallest rectangle (rows, columns) that holds a mask (Y, X)."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def paint_part(network: nn.Module, pair: Pair, part: Subset, device: torch.device | str = "cpu") -> tuple[Floats, Floats, Mask]:
    """Predict the rectangle that holds a part of a pair.

    Parameters
    ----------
    network
        In eval mode; takes (N, C, [Z,] Y, X). One with whole-field normalization gets the whole field.

    Returns
    -------
    prediction, truth, mask
        (stains, [Z,] Y, X) twice, and the pixels (Y, X) that belong to the part.
    """
    at = bounds(pair.parts[part])
    shape = pair.x.shape[-2:]
    if isinstance(network, StagedNetwork):
        starts, stops = [0, 0], list(shape)
    else:
        # The crop starts on the network's grid, so that pooling windows align with those of the whole field.
        step = multiples(network)[-1]
        starts = [max(0, (s.start - CONTEXT) // step * step) for s in at]
        stops = [min(side, s.stop + CONTEXT) for s, side in zip(at, shape, strict=True)]
    painted = run_whole(network, pair.x[..., starts[0] : stops[0], starts[1] : stops[1]], device)
    inside = tuple(slice(s.start - start, s.stop - start) for s, start in zip(at, starts, strict=True))
    depth = (slice(None), slice(0, pair.x.shape[1])) if pair.x.ndim == 4 else (slice(None),)
    return painted[(*depth, *inside)], pair.y[(..., *at)], pair.parts[part][at]


def correlations(
    network: nn.Module, pairs: Sequence[Pair], part: Subset, tiles: Tiles | None, device: torch.device | str = "cpu"
) -> list[float]:
    """Return the PCC of each stain: mean over images or, for montages, median over cells.

    An image of which a stain is painted as one value counts as 0, no relation, beside others where it is defined: left out, it would
    raise the mean.
    """
    found: list[Any] = []
    flats: list[list[bool]] = []
    for pair in pairs:
        prediction, truth, mask = paint_part(network, pair, part, device)
        if tiles is None:
            values = [pearson(p[..., mask], t[..., mask]) for p, t in zip(prediction, truth, strict=True)]
            flats.append(
                [bool(np.isnan(value) and t[..., mask].min() < t[..., mask].max()) for value, t in zip(values, truth, strict=True)]
            )
            found.append(values)
        else:
            found += list(per_tile(prediction, truth, mask, bounds(pair.parts[part]), tiles.size))
    if tiles is None:
        found = np.where(np.array(flats) & ~np.isnan(found).all(axis=0), 0.0, found).tolist()
    with warnings.catch_warnings():  # a stain painted as one value has no correlation: NaN says it
        warnings.filterwarnings("ignore", "Mean of empty slice|All-NaN slice", RuntimeWarning)
        return [float(v) for v in (np.nanmean(found, 0) if tiles is None else np.nanmedian(found, 0))]


def per_tile(prediction: Floats, truth: Floats, mask: Mask, at: tuple[slice, slice], size: int) -> npt.NDArray[np.float64]:
    """Return the PCC of each stain in each whole place of a montage, (places, stains)."""
    found = []
    for top in range(-at[0].start % size, mask.shape[0] - size + 1, size):
        for left in range(-at[1].start % size, mask.shape[1] - size + 1, size):
            place = (slice(top, top + size), slice(left, left + size))
            if mask[place].all():
                found.append([pearson(p[(..., *place)], t[(..., *place)]) for p, t in zip(prediction, truth, strict=True)])
    return np.array(found, np.float64).reshape(len(found), len(prediction))


def similarities(network: nn.Module, pairs: Sequence[Pair], part: Subset, device: torch.device | str = "cpu") -> list[float]:
    """Return the SSIM of each stain over the rectangles that hold the part, averaged over images."""
    from napari_virtual_paint.metrics import score

    found = []
    for pair in pairs:
        prediction, truth, _ = paint_part(network, pair, part, device)
        found.append([score(p, t).ssim or 0.0 for p, t in zip(prediction, truth, strict=True)])
    return [float(value) for value in np.mean(found, 0)]


SCORES: dict[str, Callable[[nn.Module, Sequence[Pair], Subset, Tiles | None, torch.device | str], list[float]]] = {
    "pcc": correlations,
    "ssim": lambda network, pairs, part, _tiles, device: similarities(network, pairs, part, device),
}
"""Metric -> its values, one per stain: the choices of `TrainConfig.monitor`, the columns of a run's curve, and the scores of the card.
The best epoch is that of the highest value, so each is a metric of which high values are good."""


def scores(
    network: nn.Module, pairs: Sequence[Pair], part: Subset, stains: Sequence[str], tiles: Tiles | None, device: torch.device | str = "cpu"
) -> Mapping[str, Mapping[str, float]]:
    """Return every score of each stain for the card: means over images (medians over cells for a montage's PCC)."""
    found = {name: compute(network, pairs, part, tiles, device) for name, compute in SCORES.items()}
    return {stain: {name: round(values[i], 4) for name, values in found.items()} for i, stain in enumerate(stains)}
