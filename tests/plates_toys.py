"""Small plates on disk and a reader that travels to other processes, for the tests of painting plates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.models import Model, open_model
from napari_virtual_paint.plates.plate import Field, Plate
from napari_virtual_paint.plates.wells import well_name
from napari_virtual_paint.stack import PixelSize, Stack
from toy_models import write_toy

CHANNELS = ("Brightfield -4um", "Brightfield 0um", "Brightfield +4um", "er", "DNA")


@dataclass(frozen=True)
class NumpyFields:
    """Reads ``A01_0.npy`` from a folder."""

    folder: str

    def read(self, field: Field) -> Stack:
        path = Path(self.folder, f"{field.well}_{field.name}.npy")
        if not path.exists():
            raise ReadError(path, "the file is missing")
        data = da.from_array(np.load(path, mmap_mode="r"))
        return Stack(data, CHANNELS, PixelSize(None, 0.325, 0.325), source=str(path))


def make_plate(folder: Path, wells: int = 4, fields: int = 1, size: int = 64) -> Plate:
    """Write a plate's fields, noise of their own, and return the plate."""
    folder.mkdir(parents=True, exist_ok=True)
    places = []
    for number in range(wells * fields):
        place = Field(well_name(number // fields // 3, number // fields % 3), str(number % fields))
        data = np.random.default_rng(number).integers(100, 4000, (1, len(CHANNELS), 1, size, size)).astype(np.uint16)
        np.save(folder / f"{place.well}_{place.name}.npy", data)
        places.append(place)
    return open_toy(folder, tuple(places))


def open_toy(folder: Path, places: tuple[Field, ...]) -> Plate:
    metadata = {place.well: {"treatment": f"drug {place.well}", "dose": 0.5 * i} for i, place in enumerate(places)}
    return Plate("toy", str(folder), "toy", places, NumpyFields(str(folder)), metadata=metadata)


def toy_model(folder: Path, **changes: Any) -> Model:
    """Write a toy's package once and open it."""
    package = folder / f"toy{len(changes)}"
    if not package.exists():
        write_toy(package, **changes)
    return open_model(package)
