"""Simulate plates: every field with its true stains, in any layout, with several processes; a stopped run can go on."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from napari_virtual_paint.errors import InputError, WriteError
from napari_virtual_paint.plates.plate import Field
from napari_virtual_paint.plates.simulation.design import CHANNELS, PlateDesign, plate_name
from napari_virtual_paint.plates.simulation.layouts import LAYOUTS, PlateWriter
from napari_virtual_paint.reading.ome_zarr import is_zarr
from napari_virtual_paint.runtime.atomic_write import make_folder, write_text
from napari_virtual_paint.runtime.json_file import read_object
from napari_virtual_paint.runtime.outputs import check_own_folder, output_path
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.runtime.text import csv_text
from napari_virtual_paint.runtime.worker_pool import WorkerDied, WorkerPool
from napari_virtual_paint.samples.simulator import SimulatedField, simulate_field
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.writing.api import as_write_errors

LISTING_INTERVAL = 5.0  # least seconds between two updates of the plate's metadata


@dataclass(frozen=True)
class SimulationSummary:
    """Result of a simulation."""

    path: Path  # the plate
    plate_map: Path  # CSV of treatment, dose, control, batch and seed of each well
    simulated: int
    skipped: int  # `simulated` and `skipped`: number of fields that were simulated now, and that existed before
    seconds: float  # duration


def simulate_plate(
    design: PlateDesign, path: Path | str, layout: str = "ome-zarr", workers: int = 1, *, overwrite: bool = False
) -> Generator[Progress, None, SimulationSummary]:
    """Simulate a plate; existing fields are kept, so that the same call goes on with a stopped run.

    Its map, ``PLATE.csv``, and its design, ``PLATE.design.json``, are written beside the plate.

    Parameters
    ----------
    design
        The plate to simulate.
    path
        Folder of the plate, ``.zarr`` for OME-Zarr.
    layout
        One of `LAYOUTS`.
    workers
        Number of processes that simulate and write.
    overwrite
        Whether a simulated plate of another design is replaced, and a folder that something else made is written into.

    Yields
    ------
    Progress
        After each field; the generator can be closed there to cancel.

    Raises
    ------
    InputError
        If there is no such layout, or the existing plate has another design.
    WriteError
        If it can't be written.
    """
    began, path = time.monotonic(), output_path(path)
    if layout not in LAYOUTS:
        raise InputError(f"There is no layout {layout!r}; choose one of {', '.join(LAYOUTS)}.")
    if workers < 1:
        raise InputError(f"{workers} processes can't simulate; use 1 or more.")
    writer = LAYOUTS[layout](path, design)
    plate_map = _begin(design, path, layout, writer, overwrite)
    done = set(writer.done())
    missing = [field for field in design.all_fields if field not in done]
    total, skipped = len(design.all_fields), len(done)
    yield Progress(skipped, total, f"{skipped} of {total} fields exist already" if skipped else "")
    listed = began
    try:
        with contextlib.closing(_simulate_fields(writer, design, missing, workers)) as finished:
            for field in finished:
                done.add(field)
                yield Progress(len(done), total)
                if time.monotonic() - listed > LISTING_INTERVAL:
                    writer.list_fields(done)
                    listed = time.monotonic()
    finally:
        writer.list_fields(writer.done())  # including those that other processes finished after this one was stopped
    return SimulationSummary(path, plate_map, len(done) - skipped, skipped, time.monotonic() - began)


def plate_stack(field: SimulatedField) -> Stack:
    """Return the image of a field in a plate: brightfield planes and stains as channels `CHANNELS`, z = 1."""
    return replace(field.brightfield, data=np.concatenate([field.brightfield.data, field.stains.data], axis=1), channels=CHANNELS)


def label_stacks(field: SimulatedField) -> dict[str, Stack]:
    """Return the labels of a field as images of one channel."""
    size = field.stains.pixel_size
    return {name: Stack(labels[None, None, None], (name,), size) for name, labels in field.labels.items()}


def _begin(design: PlateDesign, path: Path, layout: str, writer: PlateWriter, overwrite: bool) -> Path:
    """Create the plate with its map and design, or check that the existing one has the same design; return the map."""
    stem = plate_name(path)
    plate_map, design_file = path.with_name(f"{stem}.csv"), path.with_name(f"{stem}.design.json")
    text = json.dumps({"layout": layout, **design.parameters}, indent=2)
    known = read_object(design_file) or {}
    ours = "layout" in known
    check_own_folder(path, lambda _: ours, overwrite=overwrite, what="`simulate`")
    if not overwrite and not ours and (beside := next((each for each in (plate_map, design_file) if each.exists()), None)) is not None:
        raise InputError(f"{beside}: it exists already and belongs to no simulated plate; choose another name for the plate.")
    if path.is_dir():
        _make_way(path, layout, ours=ours, same=known == json.loads(text), overwrite=overwrite)
    with as_write_errors(path):
        make_folder(path.parent)
        for file, content in (
            (design_file, text),
            (plate_map, csv_text(({"well": well, **row} for well, row in design.metadata.items()), design.columns)),
        ):
            if file.is_file() and file.read_text("utf-8") == content:
                continue
            write_text(file, content)
        writer.prepare()
    return plate_map


def _make_way(path: Path, layout: str, *, ours: bool, same: bool, overwrite: bool) -> None:
    """Remove a plate of another design, or an empty folder, where the plate is to be; raise an `InputError` if it may not be removed."""
    if not any(path.iterdir()):
        path.rmdir()
    elif ours and not same:
        if not overwrite:
            raise InputError(f"{path}: it exists already with another design; choose another name, or replace it with --overwrite.")
        shutil.rmtree(path)
    elif not ours and layout.startswith("ome-zarr"):
        if not is_zarr(path):
            raise InputError(f"{path}: this folder is no OME-Zarr, so it is not replaced by one; choose another name.")
        shutil.rmtree(path)


def _simulate_field(writer: PlateWriter, design: PlateDesign, field: Field) -> Field:
    """Simulate and write one field."""
    simulated = simulate_field(design.settings(field))
    writer.write(field, plate_stack(simulated), label_stacks(simulated))
    return field


def _simulate_fields(writer: PlateWriter, design: PlateDesign, fields: list[Field], workers: int) -> Generator[Field, None, None]:
    """Yield fields as they are written, by this process or several."""
    if workers < 2 or len(fields) < 2:
        yield from (_simulate_field(writer, design, field) for field in fields)
        return
    pool = WorkerPool(min(workers, len(fields)), retries=0, name="simulation worker", output=writer.path)
    try:
        yield from pool.map(partial(_simulate_field, writer, design), fields)
    except WorkerDied:
        raise WriteError(writer.path, "a process that simulated fields ended; run the same again with fewer processes") from None
    finally:
        pool.close()  # at once: a field is written whole or not at all
