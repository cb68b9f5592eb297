"""C_max: the highest Pearson correlation that a perfect prediction could have with a noisy image (Ounkomol 2018, Methods).

A measured image is ``T = S + N``: what can be predicted, S, and what can't, N (shot noise, electronics), with ``cov(S, N) = 0``. Then
``var(T) = var(S) + var(N)`` and ``cov(S, T) = var(S)``, so that a prediction equal to S, in any unit, has the correlation

    C_max = cov(S, T) / sqrt(var(S) var(T)) = sqrt(var(S) / var(T)) = sqrt(1 - var(N) / var(T)),

which is the paper's ``sqrt(SNR / (1 + SNR))`` with ``SNR = var(S) / var(N)``. Only var(N) has to be found: `metrics.noise` does that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.metrics.noise import Noise, planes_of
from napari_virtual_paint.metrics.pixels import Moments
from napari_virtual_paint.stack import Array

ABOVE = 0.01  # A PCC higher than its ceiling by more than this shows that the noise was overestimated

SURE = 0.01  # how far apart the lowest and the highest ceiling may lie that an estimate of the noise allows


@dataclass(frozen=True)
class Ceiling:
    """C_max of one channel."""

    value: float | None  # C_max, 0 to 1; None where it is not known, and then `notes` says why
    noise_sd: float | None  # standard deviation of the random fluctuations, in the image's unit
    how: str  # where the noise is known from: "control", "sd", "camera", "repeat" or "estimate"
    reliable: bool = True  # whether there is no doubt about it
    notes: tuple[str, ...] = ()  # one sentence for each doubt

    def to_json(self) -> dict[str, Any]:
        """Return where it is known from, as plain values."""
        return {"noise_sd": self.noise_sd, "how": self.how, "reliable": self.reliable, "notes": list(self.notes)}


def ceiling(truth: npt.ArrayLike, noise: float) -> float:
    """Return C_max of an image.

    Parameters
    ----------
    truth
        The measured image, any shape.
    noise
        Standard deviation of its random fluctuations, in its unit; of noise that depends on the signal the root of the mean variance.

    Returns
    -------
    float
        0 to 1; 0 where the noise is as strong as the image or stronger.

    Raises
    ------
    InputError
        If the image is constant or has values that are no numbers, or the noise is no number from 0 up.
    """
    array = np.asarray(truth)
    moments = _moments(array.reshape(1, 1, 1, -1))
    if not np.isfinite(moments.sd[1]) or moments.sd[1] == 0 or any(moments.invalid):
        raise InputError("The image has one value everywhere, or values that are no numbers, so there is nothing to predict.")
    if not (np.isfinite(noise) and noise >= 0):
        raise InputError(f"The noise must be a standard deviation from 0 up, not {noise}.")
    return float(np.sqrt(max(0.0, 1.0 - (noise / float(moments.sd[1])) ** 2)))


def ceiling_of(truth: Array, noise: Noise, pcc: float | None = None) -> Ceiling:
    """Return C_max of a channel of a stack, with doubts about it.

    Parameters
    ----------
    truth
        The measured channel, axes TZYX, numpy or dask; C_max is over all its pixels, as PCC is.
    pcc
        The score of a prediction; one above C_max is reported in a note.
    """
    notes = list(noise.notes)
    moments = _moments(truth)
    if noise.variance is None:
        return Ceiling(None, None, noise.how, False, tuple(notes))
    sd = float(np.sqrt(noise.variance))
    if any(moments.invalid) or not moments.sd[1] > 0:
        return Ceiling(None, sd, noise.how, False, (*notes, "The true image has one value everywhere, or values that are no numbers."))
    share = noise.variance / float(moments.sd[1]) ** 2
    value = float(np.sqrt(max(0.0, 1.0 - share)))
    reliable = noise.reliable
    lowest = value if noise.most is None else float(np.sqrt(max(0.0, 1.0 - noise.most / float(moments.sd[1]) ** 2)))
    if value - lowest > SURE:
        reliable = False
        notes.append(
            f"The ceiling may be anything from {lowest:.3f} to {value:.3f}: the noise is not independent from pixel to pixel (it was "
            "smoothed, compressed or resampled), or the image has structure as fine as it; use controls or a repeat."
        )
    if share >= 1:
        reliable = False
        notes.append(f"The noise (SD {sd:.4g}) is as strong as the whole image (SD {float(moments.sd[1]):.4g}), so it is not this image's.")
    elif pcc is not None and pcc > value + ABOVE:
        reliable = False
        notes.append(f"The PCC of {pcc:.3f} is above the ceiling of {value:.3f}: the noise is overestimated, or the prediction knows it.")
    return Ceiling(value, sd, noise.how, reliable, tuple(notes))


def mean_ceiling(ceilings: Iterable[Ceiling]) -> float | None:
    """Return the mean C_max over the channels where it is known, as the paper reports it; None where there is none."""
    known = [each.value for each in ceilings if each.value is not None]
    return float(np.mean(known)) if known else None


def _moments(truth: Array) -> Moments:
    """Return mean and spread of all pixels (`Moments` takes pairs, so each plane goes with itself)."""
    moments = Moments()
    for plane in planes_of(truth):
        moments.update(plane, plane)
    return moments
