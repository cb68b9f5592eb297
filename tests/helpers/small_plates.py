"""Small plates on disk and a reader that travels to other processes, for the tests of painting plates."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import torch

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.models import Model, open_model
from napari_virtual_paint.plates.paint import PlateProgress, PlateSummary, paint_plate
from napari_virtual_paint.plates.plate import Field, Plate
from napari_virtual_paint.plates.wells import well_name
from napari_virtual_paint.reading import read
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.stack import PixelSize, Stack
from small_models import write_toy

CHANNELS = ("Brightfield -4um", "Brightfield 0um", "Brightfield +4um", "er", "DNA")


@dataclass(frozen=True)
class NumpyFields:
    """Reads ``A01_0.npy`` from a folder."""

    folder: str
    channels: tuple[str, ...] = CHANNELS

    def read(self, field: Field) -> Stack:
        path = Path(self.folder, f"{field.well}_{field.name}.npy")
        if not path.exists():
            raise ReadError(path, "the file is missing")
        data = da.from_array(np.load(path, mmap_mode="r"))
        return Stack(data, self.channels, PixelSize(None, 0.325, 0.325), source=str(path))


def make_plate(
    folder: Path, wells: int = 4, fields: int = 1, size: int = 64, planes: int = 1, channels: tuple[str, ...] = CHANNELS
) -> Plate:
    """Write a plate's fields, noise of their own, and return the plate."""
    folder.mkdir(parents=True, exist_ok=True)
    places = []
    for number in range(wells * fields):
        place = Field(well_name(number // fields // 3, number // fields % 3), str(number % fields))
        data = np.random.default_rng(number).integers(100, 4000, (1, len(channels), planes, size, size)).astype(np.uint16)
        np.save(folder / f"{place.well}_{place.name}.npy", data)
        places.append(place)
    return open_toy(folder, tuple(places), channels)


def open_toy(folder: Path, places: tuple[Field, ...], channels: tuple[str, ...] = CHANNELS) -> Plate:
    metadata = {place.well: {"treatment": f"drug {place.well}", "dose": 0.5 * i} for i, place in enumerate(places)}
    return Plate("toy", str(folder), "toy", places, NumpyFields(str(folder), channels), metadata=metadata)


def to_end(steps: Generator[PlateProgress, None, PlateSummary], seen: list[PlateProgress] | None = None) -> PlateSummary:
    """Paint to the end; the steps are put into `seen`."""
    return run_to_end(steps, None if seen is None else seen.append)


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of the pixels of a folder of images; what is half-written has a hidden name."""
    images = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    return {path.name: hashlib.sha256(np.asarray(read(path).data).tobytes()).hexdigest() for path in images}


def counts(summary: PlateSummary) -> tuple[int, int, int, int]:
    """Return how many fields there are, and were painted, skipped and failed."""
    return summary.fields, summary.painted, summary.skipped, summary.failed


def paint_and_die(plate: Plate, package: Path, output: Path, death: int, cores: int = 1) -> None:
    """Paint in a process of its own with some cores, which is killed at its `death`-th renaming or linking of a file."""
    left = [death]

    def deadly(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **options)

        return call

    os.link, os.rename, os.replace = deadly(os.link), deadly(os.rename), deadly(os.replace)
    os.environ["OMP_NUM_THREADS"] = str(cores)
    torch.set_num_threads(1)
    to_end(paint_plate(plate, open_model(package), output))


def coordinate(plate: Plate, package: Path, output: Path) -> None:
    """Paint by two workers, in a process of its own."""
    to_end(paint_plate(plate, open_model(package), output, workers=2))


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
    ours = ("painting.engine", "painting.estimation", "plates.paint", "plates.job.planning", "plates.job.workers", "metrics.report")
    ours += ("writing.tiff", "reading.tiff.reader")
    context.set_forkserver_preload(["torch", "pyarrow.parquet", "small_plates", *(f"napari_virtual_paint.{name}" for name in ours)])
    return context


def paint_and_die_after(plate: Plate, package: Path, output: Path | None, fields: int) -> None:
    """Paint in a process of its own, which is killed once some fields are reported as done."""
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    done = 0
    for step in paint_plate(plate, open_model(package), output, kind="in-place" if output is None else None):
        done += step.state == "done"
        if done == fields:
            os.kill(os.getpid(), signal.SIGKILL)
