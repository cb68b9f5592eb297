"""Layouts of simulated plates: OME-Zarr is written here, those of microscopes in `vendor_indexes`, tables in `tiff_files`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Protocol

from napari_virtual_paint.plates.ome_zarr import writer
from napari_virtual_paint.plates.plate import Field
from napari_virtual_paint.plates.simulation.design import PlateDesign, plate_name
from napari_virtual_paint.plates.simulation.tiff_files import ImageTable, Pattern
from napari_virtual_paint.plates.simulation.vendor_indexes import ImageXpress, InCarta, LoadData, OperaPhenix, Yokogawa
from napari_virtual_paint.stack import Stack


class PlateWriter(Protocol):
    """Writes a plate in one layout. It is pickled for other processes, so it holds names and no open file."""

    path: Path

    def prepare(self) -> None:
        """Create the plate or folder that fields are written into, unless it exists."""

    def done(self) -> set[Field]:
        """Return the fields that are complete."""

    def write(self, field: Field, stack: Stack, labels: Mapping[str, Stack]) -> None:
        """Write one field atomically; other processes may write others."""

    def list_fields(self, done: Collection[Field]) -> None:
        """Update the plate's metadata: exactly these fields are complete."""


class OmeZarrLayout:
    """An OME-Zarr plate, with labels."""

    def __init__(self, path: Path, design: PlateDesign, version: Literal["0.4", "0.5"] | None = None) -> None:
        self.path, self.design, self.version = path, design, version

    def prepare(self) -> None:
        """Create the plate without fields, unless it exists."""
        if not self.path.exists():
            design = self.design
            writer.create(self.path, plate_name(self.path), design.shape, design.all_fields, metadata=design.metadata, version=self.version)

    def done(self) -> set[Field]:
        """Return the fields that are complete."""
        return set(writer.done_fields(self.path)) & set(self.design.all_fields)

    def write(self, field: Field, stack: Stack, labels: Mapping[str, Stack]) -> None:
        """Write one field."""
        writer.write_field(self.path, field, stack, labels=labels)

    def list_fields(self, done: Collection[Field]) -> None:
        """List the complete fields."""
        writer.list_fields(self.path, done)


LAYOUTS: Mapping[str, Callable[[Path, PlateDesign], PlateWriter]] = MappingProxyType(
    {
        "ome-zarr": OmeZarrLayout,
        "ome-zarr-0.4": partial(OmeZarrLayout, version="0.4"),
        "opera-phenix": OperaPhenix,
        "imagexpress": ImageXpress,
        "yokogawa": Yokogawa,
        "incarta": InCarta,
        "loaddata": LoadData,
        "table": ImageTable,
        "pattern": Pattern,
    }
)
"""Name of a layout -> the function that makes its writer from a path and a design."""
