"""Find the mapping of a plate's gray levels once, before its first field is painted, so that all its fields have the same."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_virtual_paint.errors import InputError, VirtualPaintError
from napari_virtual_paint.models import Model
from napari_virtual_paint.painting.gray_levels import model_levels, percentile_levels
from napari_virtual_paint.plates.controls import treatments
from napari_virtual_paint.plates.job.field import read_field
from napari_virtual_paint.plates.job.illumination import functions_for
from napari_virtual_paint.plates.job.job import PlateJob
from napari_virtual_paint.plates.job.pipeline import FieldEvent
from napari_virtual_paint.plates.plate import Field, Plate
from napari_virtual_paint.preprocessing.illumination import Floats
from napari_virtual_paint.stack import Stack

SAMPLE = 6  # fields that are painted to find percentiles


def find_levels(job: PlateJob, plate: Plate, model: Model, folder: Path) -> Generator[FieldEvent, None, Mapping[str, Any]]:
    """Return the mapping of a job's gray levels as plain values; the job's own where it has one, empty where it has none.

    Parameters
    ----------
    job
        The job, as requested or as it was begun.
    folder
        Folder of the job, where its illumination functions are.

    Yields
    ------
    FieldEvent
        Without content; each is an opportunity to cancel.

    Raises
    ------
    InputError
        If the plate has no controls that are known, none of the fields can be painted, or the model's range is unknown.
    """
    how = job.gray.get("range")
    if how is None or "stains" in job.gray:
        return job.gray
    if how == "model":
        return model_levels(model).to_json()
    fields = [each for each in plate.fields if each.well in controls_of(plate)] if how == "controls" else list(plate.fields)
    stacks = yield from _painted(job, plate, model, fields, functions_for(folder, job.settings))
    return percentile_levels(stacks, how).to_json()


def controls_of(plate: Plate) -> frozenset[str]:
    """Return the wells of the negative controls.

    Raises `InputError` if none is known.
    """
    _, controls = treatments(plate)
    if not controls:
        raise InputError(f"{plate.source}: no well is known as a control; give a plate map (--plate-map), or choose another --range.")
    return controls


def _painted(
    job: PlateJob, plate: Plate, model: Model, fields: Sequence[Field], functions: tuple[Mapping[str, Floats], Mapping[str, Any]] | None
) -> Generator[FieldEvent, None, list[Stack]]:
    """Return the stains of some of the fields, spread evenly over them; those that can't be painted are left out."""
    from napari_virtual_paint.painting import paint

    step = max(len(fields) // SAMPLE, 1)
    stacks: list[Stack] = []
    last: VirtualPaintError | None = None
    for each in fields[::step][:SAMPLE]:
        try:
            loaded = read_field(plate.reader, each, model, job.settings, truth=False, functions=functions)
            steps = paint(model, loaded.stack, replace(job.settings, steady=True), matched=(loaded.match,))
            while True:
                try:
                    next(steps)
                except StopIteration as stop:
                    stacks.append(stop.value.stack)
                    break
                yield FieldEvent(None)
        except VirtualPaintError as error:
            last = error
    if not stacks:
        raise last or InputError(f"{plate.source}: no field could be painted to find the range of its stains.")
    return stacks
