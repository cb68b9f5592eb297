"""Small plates on disk and a reader that travels to other processes, for the tests of painting plates."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
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


@dataclass(frozen=True)
class DeadlyFields(NumpyFields):
    """Kills the process that reads some fields: `once` the first time alone, `always` each time."""

    once: str = ""
    always: str = ""

    def read(self, field: Field) -> Stack:
        marker = Path(self.folder, f"{field.well}.killed")
        first = field.well == self.once and not marker.exists()
        if (first or field.well == self.always) and multiprocessing.parent_process() is not None:
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(field)


@dataclass(frozen=True)
class SlowFields(NumpyFields):
    """Takes its time, and writes down which process read what."""

    seconds: float = 0.2

    def read(self, field: Field) -> Stack:
        with Path(self.folder, "read.log").open("a") as file:
            file.write(f"{field.well} {os.getpid()}\n")
        time.sleep(self.seconds)
        return super().read(field)


def readings(folder: Path) -> list[tuple[str, int]]:
    """What `SlowFields` wrote down."""
    log = folder / "read.log"
    lines = log.read_text().split("\n")[:-1] if log.exists() else []
    return [(line.split()[0], int(line.split()[1])) for line in lines]


def preload() -> Any:
    """Return a way to start processes that have torch and ours loaded already."""
    context = multiprocessing.get_context("forkserver")
    ours = ("painting.engine", "painting.forecast", "plates.paint", "plates.paint_resolve", "plates.paint_workers", "metrics.report")
    ours += ("writing.tiff", "reading.tiff")
    context.set_forkserver_preload(["torch", "pyarrow.parquet", "toy_models", *(f"napari_virtual_paint.{name}" for name in ours)])
    return context
