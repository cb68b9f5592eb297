"""The values that painting gives: updates while it runs, the estimate before, stains and report after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.painting.settings import Span
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.stack import Stack


@dataclass(frozen=True, eq=False)
class PaintUpdate(Progress):
    """Progress of a painting, close to linear in time, with the stains that were finished."""

    where: tuple[slice, slice, slice, slice] | None = None
    """Slices of T, Z, Y and X of the output that `data` fills; None for progress only."""
    data: npt.NDArray[np.float32] | None = None  # stains (C, Z, Y, X), float32
    stains: Span | None = None
    """First and last + 1 of the stains in `data`; None for all. Of several passes `data` is what is merged so far, NaN in stains that no
    pass has made yet."""


@dataclass(frozen=True)
class PaintReport:
    """How a painting was made."""

    model: str
    version: str  # `model` and `version`: id and version of the model; of several, joined by ``+``
    device: str
    precision: str
    blend: str
    exact: bool  # whether the stains equal those of the field painted whole, to float rounding
    tile: int
    block: int
    """Most pixels a side of the blocks that a field too large for memory is painted in; 0 where it is painted whole."""
    seconds: float  # wall-clock time without waiting for other paintings
    peak_memory_mb: float  # see `device.peak_memory_mb`.
    notes: tuple[str, ...]  # what the user should know: channels matched by order, pixels repaired, a device changed
    passes: int = 1  # passes behind a stain: transforms times models that make it (the most, where stains differ)
    merge: str = ""  # how passes were merged; empty for a single pass
    uncertainty: Mapping[str, float] = field(default_factory=dict)
    """Stain -> mean over the painted pixels of the SD over its passes, for stains of two passes and more."""
    members: tuple[Mapping[str, Any], ...] = ()  # ``model``, ``version`` and ``stains`` of each of several models

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Painting:
    """The stains of an image and how they were made."""

    stack: Stack  # the stains
    report: PaintReport  # how they were made
    uncertainty: Stack | None = None
    """Sample SD over the passes (models and transforms), in the stain's unit, of each stain with two or more, in channels named ``DNA
    SD``; None where no stain has."""


@dataclass(frozen=True)
class Estimate:
    """What a painting is expected to need."""

    memory: int  # bytes on the device
    free: int  # bytes free there now
    seconds: float  # expected time, from the network's multiply-accumulates and the device's measured speed
    device: str
    warnings: tuple[str, ...] = ()  # one sentence each: pixel size or z-count far from the model's, too little memory
    passes: int = 1  # passes over each field; time and memory include all
    disk: int = 0  # bytes of temporary files for a median of passes that exceed the memory
