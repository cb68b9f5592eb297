"""What painting returns: updates while it runs, the estimate before, the stains and the report after."""

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
    """Progress of a painting, close to linear in time, with the stains that were finished.

    Parameters
    ----------
    where
        Slices of T, Z, Y and X of the output that `data` fills; None for progress alone.
    data
        Stains (C, Z, Y, X), float32.
    stains
        First and last + 1 of the stains that `data` holds; None for all. Where several passes are merged that is what is merged so far,
        NaN in stains that are still to come.
    """

    where: tuple[slice, slice, slice, slice] | None = None
    data: npt.NDArray[np.float32] | None = None
    stains: Span | None = None


@dataclass(frozen=True)
class PaintReport:
    """How a painting was made.

    Parameters
    ----------
    model, version
        Id and version of the model; of several, joined by ``+``.
    exact
        Whether the pieces equal the field painted whole, to float rounding.
    seconds
        Wall-clock time, waiting for other paintings left out.
    peak_memory_mb
        See `device.peak_memory_mb`.
    notes
        What the user should know: channels matched by order, pixels repaired, a device changed.
    passes
        How many passes a stain is made of: turns, times the models that make it (the most, where stains differ).
    merge
        How passes were merged; empty where nothing was.
    uncertainty
        Stain -> mean over the painted pixels of the SD over its passes, for stains of two passes and more.
    members
        Of several models, what each made: ``model``, ``version``, ``stains``.
    """

    model: str
    version: str
    device: str
    precision: str
    blend: str
    exact: bool
    tile: int
    seconds: float
    peak_memory_mb: float
    notes: tuple[str, ...]
    passes: int = 1
    merge: str = ""
    uncertainty: Mapping[str, float] = field(default_factory=dict)
    members: tuple[Mapping[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Painting:
    """The stains of an image and how they were made.

    Parameters
    ----------
    stack
        The stains.
    report
        How they were made.
    uncertainty
        SD over the passes (members and turns; sample SD, in the stain's own unit) of each stain that has two and more, in channels
        named ``DNA SD``; None where none has.
    """

    stack: Stack
    report: PaintReport
    uncertainty: Stack | None = None


@dataclass(frozen=True)
class Estimate:
    """What a painting will need.

    Parameters
    ----------
    memory
        Bytes on the device, beside what is there already.
    free
        Bytes free there now.
    seconds
        Expected time, from the network's multiply-accumulates and the device's measured speed.
    warnings
        One sentence each: pixel size or z-count far from the model's, too little memory.
    passes
        How often each field is painted; time and memory are of all.
    disk
        Bytes of temporary files, where a median is taken of more than memory should hold.
    """

    memory: int
    free: int
    seconds: float
    device: str
    warnings: tuple[str, ...] = ()
    passes: int = 1
    disk: int = 0
