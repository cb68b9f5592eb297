"""File > Open Sample: simulated fields with their true stains, a simulated plate, and real fields from their own homes."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import numpy as np

from napari_virtual_paint._napari.commands import open_dock
from napari_virtual_paint._napari.shared import jobs
from napari_virtual_paint._napari.shared.viewer.layers import LayerData, layer_data_from_stack
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.samples import SimulatedField, SimulationSettings, simulate_field, simulate_timelapse
from napari_virtual_paint.stack import Stack

FRAMES = 8  # time points of the simulated stack in time


def simulated_field(size: int = 1000, seed: int = 0) -> list[LayerData]:
    """Return a field of cells: three brightfield planes and its true stains."""

    def make() -> Generator[Progress, None, SimulatedField]:
        yield Progress(0, 1, "Simulating")
        return simulate_field(SimulationSettings(size=size, seed=seed))

    field = jobs.wait_for(make, title="Simulating a field")
    return no_layers() if field is None else layers_of(field.brightfield, field.stains)


def simulated_time(size: int = 512, frames: int = FRAMES, seed: int = 0) -> list[LayerData]:
    """Return a field of wandering cells over time: three brightfield planes and its true stains."""

    def make() -> Generator[Progress, None, tuple[Stack, Stack]]:
        fields: list[SimulatedField] = []
        for field in simulate_timelapse(SimulationSettings(size=size, seed=seed), frames):
            fields.append(field)
            yield Progress(len(fields), frames, "Simulating")
        return over_time([field.brightfield for field in fields]), over_time([field.stains for field in fields])

    made = jobs.wait_for(make, title="Simulating a stack in time")
    return no_layers() if made is None else layers_of(*made)


def simulated_plate() -> list[LayerData]:
    """Open a small simulated plate in the Plate dock; it is made in the background, once, and kept in the cache."""
    dock = open_dock("Plate")
    if dock is not None:
        dock.open_sample()
    return no_layers()


def no_layers() -> list[LayerData]:
    """Return data from which napari adds no layer: an image of no channels.

    napari reports a sample without layers as an error, also where it opens in a dock, or a sentence has already said why there is none.
    """
    return [(np.zeros((0, 1, 1)), {"channel_axis": 0}, "image")]


def over_time(frames: list[Stack]) -> Stack:
    """Join stacks of one time point each; ten minutes apart."""
    return replace(frames[0], data=np.concatenate([np.asarray(frame.data) for frame in frames]), time_interval=600.0)


def layers_of(transmitted: Stack, stains: Stack) -> list[LayerData]:
    """Return the layers of a sample: the transmitted-light image in focus is shown, the true stains are there to be switched on."""
    below = layer_data_from_stack(transmitted, metadata={"role": "input"})
    above = layer_data_from_stack(stains, metadata={"role": "truth"}, visible=False)
    shown = len(below) // 2
    for index, (_, arguments, _kind) in enumerate(below):
        arguments["visible"] = index == shown
    return [*below, *above]


def cell_painting() -> list[LayerData]:
    """Return a real Cell Painting field with its brightfield plane (downloaded once)."""
    return _public("cell_painting")


def neurons() -> list[LayerData]:
    """Return real neurons: 13 phase-contrast planes and their true stains (downloaded once)."""
    return _public("neurons")


def _public(name: str) -> list[LayerData]:
    def make() -> Generator[Any, None, Any]:
        from napari_virtual_paint.samples.public import load_public

        return (yield from load_public(name))

    made = jobs.wait_for(make, title="Downloading a sample")
    return no_layers() if made is None else layers_of(*made)
