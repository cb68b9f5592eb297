"""Simulated plates: every field with its true stains, in any layout, by several processes, stopped and gone on with at will."""

from __future__ import annotations

import contextlib
import csv
import io
import json
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
from napari_virtual_paint.runtime.atomic_write import write_text
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.runtime.worker_pool import WorkerDied, WorkerPool
from napari_virtual_paint.samples.simulator import SimulatedField, simulate_field
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.writing.api import as_write_errors

LISTED = 5.0
"""Seconds between two listings of what is there."""


@dataclass(frozen=True)
class SimulationSummary:
    """What was made.

    Parameters
    ----------
    path
        The plate.
    plate_map
        CSV of treatment, dose, control, batch and seed of each well.
    simulated, skipped
        Fields made now, and there already.
    seconds
        Taken.
    """

    path: Path
    plate_map: Path
    simulated: int
    skipped: int
    seconds: float


def simulate_plate(
    design: PlateDesign, path: Path | str, layout: str = "ome-zarr", workers: int = 1
) -> Generator[Progress, None, SimulationSummary]:
    """Simulate a plate; fields that are there already are left as they are, so that a stopped run is gone on with.

    Beside the plate are its map, ``PLATE.csv``, and its design, ``PLATE.design.json``.

    Parameters
    ----------
    design
        What to simulate.
    path
        Where to: a folder, ``.zarr`` for OME-Zarr.
    layout
        One of `LAYOUTS`.
    workers
        Processes that simulate and write.

    Yields
    ------
    Progress
        After each field; each is a place to cancel.

    Raises
    ------
    InputError
        If there is no such layout, or the plate that is there is another one.
    WriteError
        If it can't be written.
    """
    began, path = time.monotonic(), Path(path).expanduser()
    if layout not in LAYOUTS:
        raise InputError(f"There is no layout {layout!r}; choose one of {', '.join(LAYOUTS)}.")
    if workers < 1:
        raise InputError(f"{workers} processes can't simulate; ask for 1 or more.")
    writer = LAYOUTS[layout](path, design)
    plate_map = _begin(design, path, layout, writer)
    there = writer.done()
    missing = [field for field in design.all_fields if field not in there]
    done, total, skipped = set(there), len(design.all_fields), len(there)
    yield Progress(skipped, total, f"{skipped} of {total} fields are there already" if skipped else "")
    listed = began
    try:
        with contextlib.closing(_made(writer, design, missing, workers)) as made:
            for field in made:
                done.add(field)
                yield Progress(len(done), total)
                if time.monotonic() - listed > LISTED:
                    writer.settle(done)
                    listed = time.monotonic()
    finally:
        writer.settle(writer.done())  # those too that other processes were at when this one was stopped
    return SimulationSummary(path, plate_map, len(done) - skipped, skipped, time.monotonic() - began)


def plate_stack(field: SimulatedField) -> Stack:
    """Return a field's image as plates have it: the brightfield planes and the stains as channels `CHANNELS`, z = 1."""
    return replace(field.brightfield, data=np.concatenate([field.brightfield.data, field.stains.data], axis=1), channels=CHANNELS)


def label_stacks(field: SimulatedField) -> dict[str, Stack]:
    """Return a field's labels as images of one channel."""
    size = field.stains.pixel_size
    return {name: Stack(labels[None, None, None], (name,), size) for name, labels in field.labels.items()}


def _begin(design: PlateDesign, path: Path, layout: str, writer: PlateWriter) -> Path:
    """Make the plate with its map and design, or see that what is there is the same; return the map."""
    stem = plate_name(path)
    plate_map, told = path.with_name(f"{stem}.csv"), path.with_name(f"{stem}.design.json")
    text = json.dumps({"layout": layout, **design.asked}, indent=2)
    if path.exists():
        if not told.is_file():
            raise WriteError(path, f"it is there already and there is no {told.name} to go on with; choose another name")
        if told.read_text("utf-8") != text:
            raise InputError(f"{path}: it is there already, of another design ({told.name}); choose another name, or remove it first.")
    elif plate_map.exists() and not told.is_file():
        raise WriteError(plate_map, "it is there already and is no map of a simulated plate; choose another name for the plate")
    with as_write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for file, content in ((told, text), (plate_map, _map(design))):
            if file.is_file() and file.read_text("utf-8") == content:
                continue
            write_text(file, content)
        writer.prepare()
    return plate_map


def _map(design: PlateDesign) -> str:
    """Return the plate map as CSV."""
    text = io.StringIO()
    table = csv.DictWriter(text, design.columns, restval="", lineterminator="\n")
    table.writeheader()
    table.writerows({"well": well, **row} for well, row in design.metadata.items())
    return text.getvalue()


def _make(writer: PlateWriter, design: PlateDesign, field: Field) -> Field:
    """Simulate and write one field."""
    writer.write(field, plate_stack(found := simulate_field(design.settings(field))), label_stacks(found))
    return field


def _made(writer: PlateWriter, design: PlateDesign, fields: list[Field], workers: int) -> Generator[Field, None, None]:
    """Yield fields as they are written, by this process or several."""
    if workers < 2 or len(fields) < 2:
        for field in fields:
            yield _make(writer, design, field)
        return
    pool = WorkerPool(min(workers, len(fields)), retries=0, name="simulation worker")
    try:
        yield from pool.map(partial(_make, writer, design), fields)
    except WorkerDied:
        raise WriteError(writer.path, "a process that simulated fields ended; run the same again with fewer processes") from None
    finally:
        pool.close(finish=True)  # the fields that are being written are kept
