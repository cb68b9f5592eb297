"""What the user chose for a painting, and what comes out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.device import DeviceChoice, Precision
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.stack import Stack

Blend = Literal["exact", "median", "gaussian"]
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
    """

    blend: Blend = "exact"
    tile: int | Literal["auto"] = "auto"
    device: DeviceChoice = "auto"
    precision: Precision = "float32"
    channels: tuple[str | int, ...] | None = None
    region: tuple[Span, Span] | None = None
    resample: bool = False
    steady: bool = False

    def __post_init__(self) -> None:
        choices = {"blend": ("exact", "median", "gaussian"), "precision": ("float32", "bfloat16"), "device": ("auto", "cpu", "cuda", "mps")}
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
    """

    done: float
    total: float
    where: tuple[slice, slice, slice, slice] | None = None
    data: npt.NDArray[np.float32] | None = None
    message: str = ""


@dataclass(frozen=True)
class Report:
    """How a painting was made.

    Parameters
    ----------
    exact
        Whether the pieces equal the field painted whole, to float rounding.
    seconds
        Wall-clock time, waiting for other paintings left out.
    peak_memory_mb
        See `device.peak_memory_mb`.
    notes
        What the user should know: channels matched by order, pixels repaired, a device changed.
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

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Painting:
    """The stains of an image and how they were made."""

    stack: Stack
    report: Report


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
    """

    memory: int
    free: int
    seconds: float
    device: str
    warnings: tuple[str, ...] = ()


def span_slices(region: Sequence[Span] | None, height: int, width: int) -> tuple[slice, slice]:
    """Return the slices along y and x that a region asks for, cut at the image's edge."""
    if region is None:
        return slice(0, height), slice(0, width)
    (y0, y1), (x0, x1) = region
    if y0 >= height or x0 >= width:
        raise InputError(f"The region {tuple(region)} lies outside the image of {height} x {width} pixels.")
    return slice(y0, min(y1, height)), slice(x0, min(x1, width))
