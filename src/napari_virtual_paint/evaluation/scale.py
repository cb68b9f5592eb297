"""Predictions, which have no unit, brought onto the truth's scale: mean and SD of the plate's controls, else of the field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.runtime.running_stats import merge

Floats = npt.NDArray[np.floating]
TRUTH = "truth"
"""Name of the truth among the sources; no prediction may be called so."""
TOP = int(np.iinfo(np.uint16).max)
HEADROOM = 0.5
"""Share of the 16 bits that the range of a truth in fractions is brought to, where other fields may be brighter."""
GREYS = 64.0
"""Range from which a truth in numbers with a fraction counts as grey levels."""
FLAT = 1e-12
"""SD, as a share of the mean, up to which a stain counts as constant."""


@dataclass(frozen=True, eq=False)
class SourceMoments:
    """Mean, SD, lowest and highest value of each stain of one source, float64, over as many pixels as `count` tells."""

    count: int
    mean: npt.NDArray[np.float64]
    sd: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]

    @classmethod
    def of(cls, planes: Floats) -> SourceMoments:
        """Return those of some planes, axes C...; values that are no numbers count as 0."""
        flat = np.nan_to_num(planes.reshape(len(planes), -1).astype(np.float64), posinf=0.0, neginf=0.0)
        return cls(flat.shape[1], flat.mean(axis=1), flat.std(axis=1), flat.min(axis=1), flat.max(axis=1))

    def __add__(self, other: SourceMoments) -> SourceMoments:
        """Pool with those of other pixels."""
        count = self.count + other.count
        mean, squares = merge(self.count, self.mean, self.count * self.sd**2, other.count, other.mean, other.count * other.sd**2)
        return SourceMoments(count, mean, np.sqrt(squares / count), np.minimum(self.low, other.low), np.maximum(self.high, other.high))


@dataclass(frozen=True, eq=False)
class IntensityScale:
    """How each source is brought to grey levels of 16 bits.

    A prediction becomes ``(p - mean_p) / sd_p * sd_t + mean_t`` stain by stain. A truth in grey levels stays as it is; one in fractions,
    below 0 or above 16 bits is brought there by `gain` and `offset`, the same for all fields.
    """

    moments: Mapping[str, SourceMoments] = field(default_factory=dict)
    """Source -> the moments that map it; empty where those of each field by itself do."""
    gain: npt.NDArray[np.float64] | None = None
    offset: npt.NDArray[np.float64] | None = None
    """`gain` and `offset`: grey level = gain * truth + offset, one a stain."""

    def fitted(self, sources: Mapping[str, Floats]) -> IntensityScale:
        """Return the scale with all that it needs: the moments of these images, where it has none of its own."""
        return self if self.moments else replace(self, moments={name: SourceMoments.of(planes) for name, planes in sources.items()})

    def apply(self, source: str, planes: Floats) -> npt.NDArray[np.uint16]:
        """Return a source's stains on the truth's scale, rounded, clipped to 0 .. 65535; axes C..., any further axes.

        A prediction of one value everywhere becomes the truth's mean. One whose moments are the truth's is left as it is.
        """
        shape = (len(planes),) + (1,) * (planes.ndim - 1)
        values = np.nan_to_num(planes.astype(np.float64), posinf=0.0, neginf=0.0)
        truth, own = self.moments[TRUTH], self.moments[source]
        if source != TRUTH:
            for i in range(len(values)):
                if (own.mean[i], own.sd[i]) != (truth.mean[i], truth.sd[i]):
                    flat = own.sd[i] <= FLAT * max(abs(own.mean[i]), 1.0)
                    factor = 0.0 if flat else truth.sd[i] / own.sd[i]
                    values[i] = (values[i] - own.mean[i]) * factor + truth.mean[i]
        if self.gain is not None and self.offset is not None:
            values = values * self.gain.reshape(shape) + self.offset.reshape(shape)
        return np.clip(np.rint(values), 0, TOP).astype(np.uint16)


def scale_for(moments: Mapping[str, SourceMoments] | None, lowest: SourceMoments | None) -> IntensityScale:
    """Return the scale of an evaluation.

    Parameters
    ----------
    moments
        Source -> its moments in the plate's controls; None where each field is mapped by its own.
    lowest
        Moments of the truth over as many fields as are known, to tell whether it is in grey levels; None where its type tells that.
    """
    if lowest is None:
        return IntensityScale(moments or {})
    below = np.minimum(lowest.low, 0.0)
    span = lowest.high - below
    grey = (span >= GREYS) & (lowest.high - below <= TOP)
    gain = np.where(grey, 1.0, HEADROOM * TOP / np.where(span > 0, span, 1.0))
    if np.all(grey) and not below.any():
        return IntensityScale(moments or {})
    return IntensityScale(moments or {}, gain, -below * gain)
