"""Layouts in which simulated plates are written: OME-Zarr here, those of microscopes in `simulate_vendors`, tables in `simulate_files`."""

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
    """Writes a plate in one layout. It travels to other processes, so it holds names and no open file."""

    path: Path

    def prepare(self) -> None:
        """Make what fields are written into; what is there stays."""

    def done(self) -> set[Field]:
        """Return the fields that are complete."""

    def write(self, field: Field, stack: Stack, labels: Mapping[str, Stack]) -> None:
        """Write one field, whole or not at all; other processes may write others."""

    def settle(self, done: Collection[Field]) -> None:
        """Bring the plate's metadata up to date: exactly these fields are there."""


class OmeZarrLayout:
    """An OME-Zarr plate, with labels."""

    def __init__(self, path: Path, design: PlateDesign, version: Literal["0.4", "0.5"] | None = None) -> None:
        self.path, self.design, self.version = path, design, version

    def prepare(self) -> None:
        """Make the plate without fields, unless it is there."""
        if not self.path.exists():
            design = self.design
            writer.create(self.path, plate_name(self.path), design.shape, design.all_fields, metadata=design.metadata, version=self.version)

    def done(self) -> set[Field]:
        """Return the fields that are complete."""
        return set(writer.done_fields(self.path)) & set(self.design.all_fields)

    def write(self, field: Field, stack: Stack, labels: Mapping[str, Stack]) -> None:
        """Write one field."""
        writer.write_field(self.path, field, stack, labels=labels)

    def settle(self, done: Collection[Field]) -> None:
        """List what is there."""
        writer.list_fields(self.path, done)


Maker = Callable[[Path, PlateDesign], PlateWriter]

LAYOUTS: Mapping[str, Maker] = MappingProxyType(
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
"""Name of a layout -> its writer, made from a path and a design."""
