"""Map predictions, which have no unit, to the truth's scale: by mean and SD of the plate's controls, else of the field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.runtime.running_stats import merge

Floats = npt.NDArray[np.floating]
TRUTH = "truth"  # name of the truth among the sources; no prediction may have it
TOP = int(np.iinfo(np.uint16).max)
HEADROOM = 0.5  # share of the 16 bits that the range of a truth in fractions is mapped to, since other fields may be brighter
GREYS = 64.0  # range in which a truth with fractional values counts as gray levels
FAINT = 0.5  # SD, as a share of that over all fields, below which a truth may show no cell
FLAT = 1e-12  # SD, as a share of the mean, up to which a stain counts as constant


@dataclass(frozen=True, eq=False)
class SourceMoments:
    """Mean, SD, lowest and highest value of each stain of one source, float64, over `count` pixels."""

    count: int
    mean: npt.NDArray[np.float64]
    sd: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]

    @classmethod
    def of(cls, planes: Floats) -> SourceMoments:
        """Return the moments of some planes, axes C...; values that are not numbers count as 0."""
        flat = np.nan_to_num(planes.reshape(len(planes), -1).astype(np.float64), posinf=0.0, neginf=0.0)
        return cls(flat.shape[1], flat.mean(axis=1), flat.std(axis=1), flat.min(axis=1), flat.max(axis=1))

    def __add__(self, other: SourceMoments) -> SourceMoments:
        """Pool with the moments of other pixels."""
        count = self.count + other.count
        mean, squares = merge(self.count, self.mean, self.count * self.sd**2, other.count, other.mean, other.count * other.sd**2)
        return SourceMoments(count, mean, np.sqrt(squares / count), np.minimum(self.low, other.low), np.maximum(self.high, other.high))


@dataclass(frozen=True, eq=False)
class IntensityScale:
    """Mapping of each source to gray levels of 16 bits.

    A prediction becomes ``(p - mean_p) / sd_p * sd_t + mean_t``, stain by stain. A truth in gray levels stays as it is; one in fractions,
    below 0 or above 16 bits is mapped there by `gain` and `offset`, the same for all fields.
    """

    moments: Mapping[str, SourceMoments] = field(default_factory=dict)
    """Source -> the moments that map it; empty where each field has its own."""
    gain: npt.NDArray[np.float64] | None = None
    offset: npt.NDArray[np.float64] | None = None  # `gain` and `offset`: gray level = gain * truth + offset, one per stain
    pooled: Mapping[str, SourceMoments] = field(default_factory=dict)
    """Source -> its moments over all fields, for a field that may show no cell, since its SD is far below theirs; else empty."""
    alone: bool = True  # whether no other field is known

    def fitted(self, sources: Mapping[str, Floats]) -> IntensityScale:
        """Return a complete scale: with the moments of these images where it has none."""
        return self if self.moments else replace(self, moments={name: SourceMoments.of(planes) for name, planes in sources.items()})

    def for_empty(self, sources: Mapping[str, Floats]) -> IntensityScale | None:
        """Return the complete scale of a field whose truth shows no cell: its SD is noise, which would hide whatever is predicted there.

        Predictions are mapped by the moments over all fields; where there is one field, those in gray levels stay as they are. None if
        there is nothing better than the field's own.
        """
        if self.moments:
            return self
        if self.pooled:
            return replace(self, moments=self.pooled)
        if not self.alone:
            return None
        moments = {name: SourceMoments.of(planes) for name, planes in sources.items()}
        if self.gain is not None or not all(_in_gray_levels(each) for name, each in moments.items() if name != TRUTH):
            return None
        return replace(self, moments=dict.fromkeys(moments, moments[TRUTH]))  # equal moments map nothing

    def apply(self, source: str, planes: Floats) -> npt.NDArray[np.uint16]:
        """Return a source's stains on the truth's scale, rounded and clipped to 0 .. 65535; axes C..., any further axes.

        A constant prediction becomes the truth's mean. One whose moments equal the truth's stays as it is.
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


def _in_gray_levels(moments: SourceMoments) -> bool:
    """Return whether a prediction's range is that of gray levels of at most 16 bits."""
    return bool(np.all((moments.low >= 0) & (moments.high <= TOP) & (moments.high - moments.low >= GREYS)))


def scale_for(moments: Mapping[str, SourceMoments] | None, lowest: SourceMoments | None, *, alone: bool = True) -> IntensityScale:
    """Return the scale of an evaluation.

    Parameters
    ----------
    moments
        Source -> its moments in the plate's controls; None where each field is mapped by its own.
    lowest
        Moments of the truth over as many fields as are known, to decide whether it is in gray levels; None where its data type shows that.
    alone
        Whether no other field is known.
    """
    known = IntensityScale(moments or {}, alone=alone)
    if lowest is None:
        return known
    below = np.minimum(lowest.low, 0.0)
    span = lowest.high - below
    grey = (span >= GREYS) & (lowest.high - below <= TOP)
    gain = np.where(grey, 1.0, HEADROOM * TOP / np.where(span > 0, span, 1.0))
    if np.all(grey) and not below.any():
        return known
    return replace(known, gain=gain, offset=-below * gain)
