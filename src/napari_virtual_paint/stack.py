"""Stack: the one value for an image. Everything that reads gives one, everything that writes takes one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.stain_names import numbered

if TYPE_CHECKING:  # dask takes half a second to import; listing models and widgets must not wait for it
    import dask.array as da

AXES = "TCZYX"
"""Order of the axes of every `Stack.data`."""

LUMINANCE = (0.2126, 0.7152, 0.0722)
"""Weights of red, green and blue in the relative luminance (ITU-R BT.709)."""

RGBA = ("Red", "Green", "Blue", "Alpha")
"""Names of the channels of a colour picture."""

Array: TypeAlias = "npt.NDArray[Any] | da.Array"


class PixelSize(NamedTuple):
    """Size of a voxel in micrometres; None where unknown."""

    z: float | None = None
    y: float | None = None
    x: float | None = None


UNKNOWN = PixelSize()


@dataclass(frozen=True, eq=False)
class Stack:
    """An image with its metadata."""

    data: Array
    """The pixels, axes TCZYX, a numpy array or a (lazy) dask array."""
    channels: tuple[str, ...] | None = None
    """Names in the order of axis C; None where the file names none."""
    pixel_size: PixelSize = UNKNOWN
    """Micrometres along z, y and x; each None where unknown."""
    time_interval: float | None = None
    """Seconds from one time point to the next; None where unknown."""
    source: str | None = None
    """The path or layer that the image came from; None for one made in memory."""
    rgb: bool = False
    """Whether the three (or four) channels are the colours of one picture."""
    provenance: Mapping[str, Any] | None = field(default=None)
    """How a predicted image was made (model, version, settings, device, input); None for an image as taken."""
    notes: tuple[str, ...] = ()
    """What its reader wants the user to know, a sentence each: what was assumed, what is missing."""

    def __post_init__(self) -> None:
        if self.data.ndim != len(AXES):
            raise ValueError(f"Stack data has {self.data.ndim} axes; {len(AXES)} are needed ({AXES}).")
        if self.channels is not None:
            names = tuple(str(name) for name in self.channels)
            if len(names) != self.data.shape[1]:
                raise ValueError(f"{len(names)} channel names for {self.data.shape[1]} channels.")
            object.__setattr__(self, "channels", names)
        object.__setattr__(self, "pixel_size", PixelSize(*self.pixel_size))
        object.__setattr__(self, "notes", tuple(dict.fromkeys(map(str, self.notes))))
        if self.provenance is not None:
            object.__setattr__(self, "provenance", MappingProxyType(dict(self.provenance)))

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """Length of each axis, in the order TCZYX."""
        t, c, z, y, x = self.data.shape
        return int(t), int(c), int(z), int(y), int(x)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a pixel."""
        return np.dtype(self.data.dtype)

    @property
    def channel_labels(self) -> tuple[str, ...]:
        """The channels' names, each once (repeated ones are numbered), or ``channel 0``, ``channel 1`` ... where the file names none."""
        return numbered(self.channels) if self.channels else tuple(f"channel {i}" for i in range(self.shape[1]))

    def select(self, channels: Sequence[int | str]) -> Stack:
        """Return a stack of these channels, in this order (indices or names; names match in any case).

        Raises
        ------
        KeyError
            If there is no such channel; the message lists the ones there are.
        """
        indices = [self.channel_index(channel) for channel in channels]
        names = None if self.channels is None else tuple(self.channels[i] for i in indices)
        return replace(self, data=self.data[:, indices], channels=names, rgb=False)

    def channel_index(self, channel: int | str) -> int:
        """Return the position of a channel given by position or by name (in any case).

        Raises
        ------
        KeyError
            If there is no such channel; the message lists the ones there are.
        """
        labels = self.channel_labels
        if isinstance(channel, str):
            folded = [label.casefold() for label in labels]
            if channel in labels:
                return labels.index(channel)
            if channel.casefold() in folded:
                return folded.index(channel.casefold())
            if not channel.isdigit():
                if channel.strip().casefold() in [name.strip().casefold() for name in self.channels or ()]:
                    raise KeyError(f"no single channel {channel!r}; there are {', '.join(labels)}, to be named so or by position")
                raise KeyError(f"no channel {channel!r}; there are {', '.join(labels)}")
        index = int(channel)
        if not -len(labels) <= index < len(labels):
            raise KeyError(f"no channel {index}; there are {len(labels)} ({', '.join(labels)})")
        return index % len(labels)

    def luminance(self) -> Stack:
        """Return the one-channel luminance of a colour picture (ITU-R BT.709), float32."""
        weights = np.asarray(LUMINANCE, np.float32)[:, None, None, None]
        grey = (self.data[:, :3].astype(np.float32) * weights).sum(axis=1, keepdims=True)
        return replace(self, data=grey, channels=("Luminance",), rgb=False)

    def compute(self) -> Stack:
        """Return the stack with its pixels in memory."""
        return replace(self, data=np.asarray(self.data))
