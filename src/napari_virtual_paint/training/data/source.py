"""One pair before it is read: where its input and its target lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from napari_virtual_paint.plates.layouts.ome_zarr import ZarrFields
from napari_virtual_paint.plates.layouts.plane_reader import FileFields
from napari_virtual_paint.samples import SimulationSettings, simulate_field
from napari_virtual_paint.stack import Stack

if TYPE_CHECKING:
    from napari_virtual_paint.plates.plate import Field, FieldReader


Subset = Literal["train", "validation", "test"]


SUBSETS: tuple[Subset, ...] = get_args(Subset)


@dataclass(frozen=True)
class PairSource:
    """A pair that has not been read yet."""

    name: str  # unique name within a run
    input: str
    target: str
    """`input` and `target`: names of the two images in errors: their files (the same one where a file holds both), or the simulated
    field."""
    split: Subset | None = None  # the part assigned by a table
    settings: SimulationSettings | None = None  # settings of a simulated field; None for files
    place: tuple[FieldReader, Field] | None = None  # reader and field of a plate; None for others
    axes: tuple[str | None, str | None] = (None, None)  # of the arrays of input and target, where the files state none
    metadata: Mapping[str, str] = field(default_factory=dict)  # metadata: plate, well, batch, treatment and other columns, in lower case

    @property
    def together(self) -> bool:
        """Whether one image holds both input and target."""
        return self.settings is None and self.input == self.target

    @property
    def well(self) -> str | None:
        """The well with its plate; None where it is unknown."""
        well = self.metadata.get("well")
        return "/".join(part for part in (self.metadata.get("plate"), well) if part) if well else None

    def files(self) -> list[Path]:
        """Return the files that hold the pair; none for simulated fields, and for those of a plate that can't be named."""
        if self.settings is not None:
            return []
        if self.place is not None:
            reader, where = self.place
            return list(reader.paths(where)) if isinstance(reader, FileFields | ZarrFields) else []
        return [Path(self.input)] if self.together else [Path(self.input), Path(self.target)]

    def open(self) -> tuple[Stack, Stack]:
        """Return input and target (the same image twice where it holds both); files are read lazily.

        Raises `ReadError` if a file can't be read.
        """
        if self.settings is not None:
            simulated = simulate_field(self.settings)
            return simulated.brightfield, simulated.stains
        if self.place is not None:
            reader, where = self.place
            image = reader.read(where)
            return image, image
        from napari_virtual_paint.reading import read

        first = read(self.input, axes=self.axes[0])
        return first, first if self.together else read(self.target, axes=self.axes[1])
