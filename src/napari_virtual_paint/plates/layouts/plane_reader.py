"""Read fields whose planes are in files of their own (or whose z-planes are, with all channels in one file)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TypeAlias

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.plates.plate import Field
from napari_virtual_paint.reading.file_parts import Place
from napari_virtual_paint.reading.file_series import join_files
from napari_virtual_paint.reading.filename_patterns import natural
from napari_virtual_paint.stack import UNKNOWN, PixelSize, Stack

PlaneFile: TypeAlias = tuple[str, int, str, str]  # time point, channel number, z-plane and file of a plane


@dataclass(frozen=True)
class FileFields:
    """Reads fields whose planes are in files."""

    source: str  # the plate's path
    folder: str  # the folder that file names are relative to
    files: Mapping[Field, tuple[PlaneFile, ...]]  # field -> its planes
    channels: Mapping[str, tuple[str, ...]]
    """Acquisition -> names of its channels; empty if each file holds all channels and the user names none."""
    expected: Mapping[tuple[str, str], tuple[int, ...]]
    """Well and acquisition -> numbers of the channels that its fields must have; empty if each file holds all channels."""
    pixel_size: PixelSize = UNKNOWN  # micrometres; None keeps that of the files
    locate: Callable[[str, str], Place] = Path
    """Returns the path or URL of a file, or of a part of one, from folder and name, where joining them is not enough."""
    calibration: Callable[[Path], PixelSize] | None = None  # returns the pixel size of a file where `reading` does not find it
    axes: str | None = None  # what the user says the axes of each file's array are

    def read(self, field: Field) -> Stack:
        """Return a field's image, its pixels still in their files.

        Raises `ReadError` if one of its files is missing or damaged.
        """
        if field not in self.files:
            raise ReadError(self.source, f"it has no field {field}")
        planes, names = self.files[field], self.channels[field.acquisition]
        expected = self.expected[field.well, field.acquisition]
        missing = missing_plane(planes, expected, names)
        if missing:
            raise ReadError(self.source, f"the field {field} has no file for {missing}; copy the missing file, or leave the field out")
        files: dict[tuple[str, ...], Place] = {
            (t, str(c) if expected else "", z): self.locate(self.folder, file) for t, c, z, file in planes
        }
        first = files[min(files, key=lambda position: tuple(map(natural, position)))]
        stack = join_files(files, first, self.axes)
        size = self.pixel_size if stack.shape[2] > 1 else self.pixel_size._replace(z=None)
        own = stack.pixel_size
        if self.calibration is not None and isinstance(first, Path):
            own = PixelSize(*map(_first_known, self.calibration(first), own))
        channels = tuple(names[c] for c in expected) or names
        if channels and len(channels) != stack.shape[1]:
            raise ReadError(first, f"it holds {stack.shape[1]} channels where the plate has {len(channels)} ({', '.join(channels)})")
        size = PixelSize(*map(_first_known, size, own))
        return replace(stack, channels=channels or stack.channels, pixel_size=size, source=str(first))

    def paths(self, field: Field) -> list[Path]:
        """Return the files of a field that lie on this machine."""
        places = (self.locate(self.folder, file) for *_, file in self.files[field])
        return [place for place in places if isinstance(place, Path)]


def _first_known(one: float | None, other: float | None) -> float | None:
    return other if one is None else one


def missing_plane(planes: Sequence[PlaneFile], expected: Sequence[int], names: Sequence[str]) -> str:
    """Return the first plane that a field lacks, in words; empty if it has every channel at each of its time points and z-planes."""
    present = {(t, c, z) for t, c, z, _ in planes}
    times, depths = {t for t, _, _ in present}, {z for _, _, z in present}
    numbers = expected or (0,)
    if len(present) == len(times) * len(depths) * len(numbers):
        return ""
    for c, t, z in product(numbers, sorted(times, key=natural), sorted(depths, key=natural)):
        if (t, c, z) not in present:
            channel = [f"the channel {names[c]}"] if expected else []
            return ", ".join([*channel, *[f"z {z}"] * (len(depths) > 1), *[f"time {t}"] * (len(times) > 1)])
    return ""
