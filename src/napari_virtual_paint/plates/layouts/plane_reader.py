"""Reads fields whose planes lie in files, one a plane (or one a z-plane with all its channels)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TypeAlias

from napari_virtual_paint.downloads.image_cache import Remote
from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.plates.plate import Field
from napari_virtual_paint.reading.file_series import join_files
from napari_virtual_paint.reading.filename_patterns import natural
from napari_virtual_paint.stack import UNKNOWN, PixelSize, Stack

Located: TypeAlias = tuple[str, int, str, str]
"""Time point, number of the channel, z-plane and file of a plane."""


@dataclass(frozen=True)
class FileFields:
    """Reads fields whose planes lie in files.

    Parameters
    ----------
    source
        The plate's path.
    folder
        What the files' paths are relative to.
    files
        Field -> (time point, number of the channel, z-plane, file) of each of its planes.
    channels
        Acquisition -> names of its channels; none where each file holds all channels and the user names none.
    wanted
        Well and acquisition -> numbers of the channels that it has; none where each file holds all channels.
    pixel_size
        Micrometres; None leaves what the files tell.
    locate
        Path of a file, or its place on the network, by folder and name, where there is more to it than joining both.
    calibration
        Pixel size that a file tells in a way of its own.
    """

    source: str
    folder: str
    files: Mapping[Field, tuple[Located, ...]]
    channels: Mapping[str, tuple[str, ...]]
    wanted: Mapping[tuple[str, str], tuple[int, ...]]
    pixel_size: PixelSize = UNKNOWN
    locate: Callable[[str, str], Path | Remote] = Path
    calibration: Callable[[Path], PixelSize] | None = None

    def read(self, field: Field) -> Stack:
        """Return a field's image, its pixels still in their files.

        Raises
        ------
        ReadError
            If one of its files is missing or damaged.
        """
        if field not in self.files:
            raise ReadError(self.source, f"it has no field {field}")
        planes, names = self.files[field], self.channels[field.acquisition]
        wanted = self.wanted[field.well, field.acquisition]
        absent = missing_plane(planes, wanted, names)
        if absent:
            raise ReadError(self.source, f"the field {field} has no file for {absent}; copy the missing file, or leave the field out")
        files: dict[tuple[str, ...], Path | Remote] = {
            (t, str(c) if wanted else "", z): self.locate(self.folder, file) for t, c, z, file in planes
        }
        first = files[min(files, key=lambda place: tuple(natural(part) for part in place))]
        stack = join_files(files, first)
        size = self.pixel_size if stack.shape[2] > 1 else self.pixel_size._replace(z=None)
        own = stack.pixel_size
        if self.calibration is not None and isinstance(first, Path):
            own = PixelSize(*map(_either, self.calibration(first), own))
        told = tuple(names[c] for c in wanted) or names
        if told and len(told) != stack.shape[1]:
            raise ReadError(first, f"it holds {stack.shape[1]} channels where the plate has {len(told)} ({', '.join(told)})")
        return replace(stack, channels=told or stack.channels, pixel_size=PixelSize(*map(_either, size, own)), source=str(first))


def _either(one: float | None, other: float | None) -> float | None:
    return other if one is None else one


def missing_plane(planes: Sequence[Located], wanted: Sequence[int], names: Sequence[str]) -> str:
    """Return in words the first plane that a field lacks; nothing where it has all: each channel at each of its times and z-planes."""
    there = {(t, c, z) for t, c, z, _ in planes}
    times, depths = {t for t, _, _ in there}, {z for _, _, z in there}
    numbers = wanted or (0,)
    if len(there) == len(times) * len(depths) * len(numbers):
        return ""
    for c, t, z in product(numbers, sorted(times, key=natural), sorted(depths, key=natural)):
        if (t, c, z) not in there:
            named = [f"the channel {names[c]}"] if wanted else []
            return ", ".join([*named, *[f"z {z}"] * (len(depths) > 1), *[f"time {t}"] * (len(times) > 1)])
    return ""
