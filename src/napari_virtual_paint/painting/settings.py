"""What the user chose for a painting, and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.device import DeviceChoice, Precision
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.stack import Stack

Blend = Literal["exact", "median", "gaussian"]
Tta = Literal["none", "flips", "full"]
Merge = Literal["mean", "median"]
Over = Literal["frame", "series"]
Span = tuple[int, int]


@dataclass(frozen=True)
class PaintSettings:
    """How to paint.

    Parameters
    ----------
    blend
        ``exact``: pieces equal the field painted whole. ``median``: the paper's patches of 256 px with stride 128 and the median of the
        four predictions (Cross-Zamirski 2022). ``gaussian``: the same patches weighted by a Gaussian.
    tile
        Most pixels a side of a tile, or ``auto``.
    device, precision
        ``auto`` takes the fastest device. bfloat16 is faster and loses about 0.1 SD; only when asked for.
    channels
        Channels of the image in the model's order, by name or position; None matches them by name.
    region
        First and last + 1 pixel along y and along x to paint; None paints everything. Normalisation still sees the whole field.
    resample
        Bring the image to the pixel size the model was trained at, and the stains back.
    steady
        Make a field the same, bit for bit, whatever else the machine does: each operation on a tile of a picture runs on one thread, only
        the field's size tells what is kept, and memory that runs out is an error for the caller instead of a smaller tile. Volumes and
        networks whose inside is unknown still depend on the number of torch's threads.
    tta
        Test-time augmentation (Moshkov et al. 2020): the field is painted as it is and turned, each pass is turned back, and all are
        merged. ``flips`` along y, x and both are 4 passes; ``full`` adds the quarter turns: 8. Volumes are turned in the plane only.
    merge
        What becomes of several passes, or of several models that make one stain: their ``mean`` or their ``median``.
    normalize
        Over what the statistics of the normalisation are taken: each time point by itself (``frame``), or all of them (``series``),
        so that what gets brighter in time does so in the network's eyes too.
    """

    blend: Blend = "exact"
    tile: int | Literal["auto"] = "auto"
    device: DeviceChoice = "auto"
    precision: Precision = "float32"
    channels: tuple[str | int, ...] | None = None
    region: tuple[Span, Span] | None = None
    resample: bool = False
    steady: bool = False
    tta: Tta = "none"
    merge: Merge = "mean"
    normalize: Over = "frame"

    def __post_init__(self) -> None:
        choices = {
            "blend": ("exact", "median", "gaussian"),
            "precision": ("float32", "bfloat16"),
            "device": ("auto", "cpu", "cuda", "mps"),
            "tta": ("none", "flips", "full"),
            "merge": ("mean", "median"),
            "normalize": ("frame", "series"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise InputError(f"The setting {name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}.")
        if self.tile != "auto" and (not isinstance(self.tile, int) or self.tile < 16):
            raise InputError(f"The tile must be 'auto' or 16 pixels or more, not {self.tile!r}.")
        if self.region is not None and any(start < 0 or stop <= start for start, stop in self.region):
            raise InputError(f"The region {self.region} is empty or begins before the image.")

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain values."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Piece:
    """What a painting yields: finished stains, or only how far it is.

    Parameters
    ----------
    done, total
        Work units; their ratio is close to linear in time.
    where
        Slices of T, Z, Y and X of the output that `data` fills; None for progress alone.
    data
        Stains (C, Z, Y, X), float32.
    message
        Something to tell the user (waiting for another painting, a smaller tile after memory ran out), else empty.
    stains
        First and last + 1 of the stains that `data` holds; None for all. Where several passes are merged that is what is merged so far,
        NaN in stains that are still to come.
    """

    done: float
    total: float
    where: tuple[slice, slice, slice, slice] | None = None
    data: npt.NDArray[np.float32] | None = None
    message: str = ""
    stains: Span | None = None


@dataclass(frozen=True)
class Report:
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
    report: Report
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


def span_slices(region: Sequence[Span] | None, height: int, width: int) -> tuple[slice, slice]:
    """Return the slices along y and x that a region asks for, cut at the image's edge."""
    if region is None:
        return slice(0, height), slice(0, width)
    (y0, y1), (x0, x1) = region
    if y0 >= height or x0 >= width:
        raise InputError(f"The region {tuple(region)} lies outside the image of {height} x {width} pixels.")
    return slice(y0, min(y1, height)), slice(x0, min(x1, width))
