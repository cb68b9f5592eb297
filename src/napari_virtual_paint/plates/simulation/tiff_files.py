"""Write simulated plates with one TIFF per plane: the base of these layouts, and those without a microscope's index."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from napari_virtual_paint.plates import wells
from napari_virtual_paint.plates.plate import Field
from napari_virtual_paint.plates.simulation.design import CHANNELS, PlateDesign, plate_name
from napari_virtual_paint.runtime.atomic_write import remove_leftovers, to_disk, work_folder, write_text
from napari_virtual_paint.runtime.text import csv_text
from napari_virtual_paint.samples.settings import PLANES
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.writing.api import as_write_errors

HEIGHTS = (*PLANES, *[0.0] * (len(CHANNELS) - len(PLANES)))  # micrometres from focus of each channel


class TiffFiles(ABC):
    """Base of the layouts with one TIFF per plane."""

    folder: ClassVar[str] = ""
    """Folder of the images, below the plate."""

    def __init__(self, path: Path, design: PlateDesign) -> None:
        self.path, self.design = path, design
        self.name = plate_name(path)

    @abstractmethod
    def file(self, field: Field, channel: int) -> str:
        """Return the name of a plane's file."""

    @abstractmethod
    def index(self, fields: Sequence[Field]) -> Mapping[str, str]:
        """Return the index files for these fields: path below the plate -> text."""

    def tags(self, channel: int) -> dict[str, Any]:
        """Return the metadata of a TIFF, as arguments of ``tifffile.imwrite``; none if the index has all."""
        return {"metadata": None}

    def prepare(self) -> None:
        """Make the folder, and clear away what a killed process left."""
        images = self.path / self.folder
        images.mkdir(parents=True, exist_ok=True)
        remove_leftovers(images)

    def done(self) -> set[Field]:
        """Return the fields of which all planes exist."""
        names = set(os.listdir(self.path / self.folder))  # noqa: PTH208 - only the names of 30,000 files are needed
        return {field for field in self.design.all_fields if all(self.file(field, c) in names for c in range(len(CHANNELS)))}

    def write(self, field: Field, stack: Stack, labels: Mapping[str, Stack]) -> None:
        """Write a field's planes beside, and give each its name when all are complete; the labels have no place in these layouts."""
        import tifffile

        images = self.path / self.folder
        with as_write_errors(images / self.file(field, 0)), work_folder(images / f"{field.well}-{field.name}") as beside:
            for c, plane in enumerate(stack.data[0, :, 0]):
                tifffile.imwrite(beside / self.file(field, c), plane, photometric="minisblack", **self.tags(c))
            to_disk(beside)
            for file in sorted(beside.iterdir()):
                file.replace(images / file.name)

    def list_fields(self, done: Collection[Field]) -> None:
        """Write the index of what is there."""
        fields = [field for field in self.design.all_fields if field in done]
        for name, text in self.index(fields).items():
            with as_write_errors(self.path / name):
                write_text(self.path / name, text)

    def place(self, field: Field) -> tuple[float, float]:
        """Return the position (x, y) of a field in micrometres from the middle of its well: fields side by side, row by row."""
        columns, rows = grid(self.design.fields)
        row, column = divmod(int(field.name), columns)
        edge = self.design.size * self.design.pixel_size
        return (column - (columns - 1) / 2) * edge, ((rows - 1) / 2 - row) * edge


def grid(count: int) -> tuple[int, int]:
    """Return columns and rows of an almost square grid with so many fields."""
    columns = math.ceil(math.sqrt(count))
    return columns, math.ceil(count / columns)


def number(field: Field) -> int:
    """Return the number of a field, from 1."""
    return int(field.name) + 1


def at(field: Field) -> tuple[int, int]:
    """Return row and column of a field's well, from 1."""
    row, column = wells.position(field.well)
    return row + 1, column + 1


def planes(fields: Iterable[Field]) -> Iterator[tuple[Field, int]]:
    """Yield each field with each channel."""
    return ((field, c) for field in fields for c in range(len(CHANNELS)))


class Pattern(TiffFiles):
    """Files with well, field and channel in their names, and the pixel size in ImageJ's tags."""

    def tags(self, channel: int) -> dict[str, Any]:
        """Return the pixel size."""
        return {"imagej": True, "resolution": (1 / self.design.pixel_size,) * 2, "metadata": {"unit": "um", "axes": "YX"}}

    def file(self, field: Field, channel: int) -> str:
        """Return the name of a plane's file."""
        return f"{field.well}_{number(field)}_{CHANNELS[channel]}.tif"

    def index(self, fields: Sequence[Field]) -> Mapping[str, str]:
        """Return nothing: there is no index."""
        return {}


class ImageTable(Pattern):
    """A table with one row per image."""

    folder = "images"

    def index(self, fields: Sequence[Field]) -> Mapping[str, str]:
        """Return the table."""
        rows = []
        for field, c in planes(fields):
            row = {"plate": self.name, "well": field.well, "field": number(field), "channel": CHANNELS[c]}
            rows.append({**row, "path": f"{self.folder}/{self.file(field, c)}", **self.design.metadata_of(field.well)})
        return {"images.csv": csv_text(rows, tuple(rows[0]) if rows else ())}
