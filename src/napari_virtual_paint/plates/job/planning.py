"""Plan a job: resolve "auto" for this machine, and choose the number of workers by the memory that each needs."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, cast

import psutil

from napari_virtual_paint._version import __version__
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.models import Model, match, open_model
from napari_virtual_paint.painting.image_preparation import expected, wants_preprocessing
from napari_virtual_paint.painting.settings import PaintSettings
from napari_virtual_paint.plates.job.field import LARGE
from napari_virtual_paint.plates.job.inputs import check_inputs, first_field
from napari_virtual_paint.plates.job.job import PlateJob
from napari_virtual_paint.plates.plate import Field, FieldReader
from napari_virtual_paint.runtime.processes import openmp_threads
from napari_virtual_paint.runtime.text import byte_size
from napari_virtual_paint.stack import Stack

if TYPE_CHECKING:
    from napari_virtual_paint.choices import DeviceChoice
    from napari_virtual_paint.models import Match


SHARE_OF_MEMORY = 0.7  # share of the free memory that a job may use by default
PROCESS = 450 << 20  # bytes of a process with torch in it, before it paints
SMALLEST_TILE = 64  # pixels; a tile is not halved below this to fit a memory limit
STAGED_TILE = 256
"""Tile of networks that normalize over the whole field; it is part of the job, since it determines which pixels are summed together."""
SCORED_AT_ONCE = 1 << 24  # pixels of a plane beyond which scores are taken band by band
LONG = 20.0  # seconds of painting above which several processes are worthwhile, each of which takes some seconds to import torch


@dataclass(frozen=True)
class Need:
    """Bytes that one painter needs."""

    painting: int  # while it paints one field, including its inputs and stains and the field that is being written
    ahead: int  # in addition, if it reads the next field meanwhile


def resolve(job: PlateJob, stack: Stack | None, model: Model | None = None, *, workers: int = 1, memory: int | None = None) -> PlateJob:
    """Return a job with "auto" resolved for this machine.

    Parameters
    ----------
    job
        The job as requested.
    model
        The job's model if it is open already.
    workers
        Processes that share the machine's threads.
    memory
        Bytes that the job may use; the tile is halved until it fits.

    Raises
    ------
    InputError
        If the device does not exist, or the memory is too small.
    ModelError
        If the plate's channels don't fit the model (see `check_inputs`).
    """
    from napari_virtual_paint import device
    from napari_virtual_paint.networks.encoder_decoder import EncoderDecoder
    from napari_virtual_paint.networks.staged import StagedNetwork

    model = model or open_model(job.package)
    if stack is not None:
        check_inputs(job.plate, model.info, stack, job.settings)
    kind = cast("DeviceChoice", device.resolve(job.settings.device).kind)
    exact = job.settings.blend == "exact"
    by_level = isinstance(model.network, EncoderDecoder) and exact
    if isinstance(model.network, StagedNetwork) and exact and job.settings.tile == "auto":
        tile: int | Literal["auto"] = STAGED_TILE
    else:
        tile = _tile(job.settings, kind, model.info.dims, stack, by_level=by_level)
    settings = replace(job.settings, device=kind, tile=tile)
    thread_independent = kind != "cpu" or (by_level and model.info.dims == 2)
    threads = None if thread_independent else max(openmp_threads() // workers, 1)
    resolved = replace(job, settings=settings, threads=threads, made_with=_software())
    return resolved if memory is None or stack is None else _fit_tile(resolved, model, stack, memory)


def _software() -> dict[str, str]:
    """Return the versions that the last bits of a result depend on."""
    import torch

    return {"napari-virtual-paint": __version__, "torch": str(torch.__version__), "machine": platform.machine()}


def changed_software(job: PlateJob) -> str:
    """Return a note if a job goes on with other software than it was begun with, else ""."""
    changed = [f"{name} {before}, now {now}" for name, now in _software().items() if (before := job.made_with.get(name, now)) != now]
    return f"The job was begun with {', '.join(changed)}: pixels may differ in the last digit." if changed else ""


def _tile(settings: PaintSettings, kind: str, dims: int, stack: Stack | None, *, by_level: bool) -> int | Literal["auto"]:
    """Return the tile for "auto"; it stays "auto" for a network that is painted whole if possible."""
    if settings.tile != "auto" or (settings.blend == "exact" and not by_level):
        return settings.tile
    if dims == 3:
        return 64 if kind == "cpu" and settings.blend == "exact" else 128
    if kind != "cpu" and settings.blend == "exact":
        return 512
    # A small field is divided into four, so that several cores have a tile each.
    small = settings.blend == "exact" and stack is not None and max(stack.shape[-2:]) <= 256
    return 128 if small else 256


def _fit_tile(job: PlateJob, model: Model, stack: Stack, memory: int) -> PlateJob:
    """Return the job with its tile halved until it fits a memory limit."""
    while need(job, model, stack).painting + PROCESS > memory:
        tile = job.settings.tile
        if tile == "auto" or tile // 2 < SMALLEST_TILE:
            wanted = byte_size(need(job, model, stack).painting + PROCESS)
            raise InputError(
                f"{byte_size(memory)} are too little memory for a field of {stack.shape[-2]} x {stack.shape[-1]} pixels, "
                f"which takes about {wanted}; allow more."
            )
        job = replace(job, settings=replace(job.settings, tile=tile // 2))
    return job


def need(job: PlateJob, model: Model, stack: Stack) -> Need:
    """Return the bytes that one painter needs, by the estimate of painting and the size of a field."""
    from napari_virtual_paint.painting.estimation import memory_needed

    whole = stack
    if wants_preprocessing(replace(job.settings, illumination="none"), stack):
        made = expected(model, stack, job.settings)
        stack, job = made.stack, replace(job, settings=made.settings)
    found = match(model.info, stack, job.settings.channels)
    painting = memory_needed(model, stack, job.settings) if job.settings.device == "cpu" else 0
    painting += 0 if stack is whole else int(whole.data.nbytes)
    inputs = _inputs(stack, found, len(job.stains))
    inputs = inputs if inputs <= LARGE else 0  # else read as they are painted
    times, _, planes, height, width = stack.shape
    stains = 4 * len(job.stains) * times * (1 if found.mode == "window" else planes) * height * width
    stains = stains if stains <= LARGE else 0  # else in a file
    scoring = 8 * 8 * min(height * width, SCORED_AT_ONCE)
    return Need(painting + inputs + 2 * stains + scoring, inputs)


def best_workers(job: PlateJob, model: Model, stack: Stack, fields: int, *, instant: bool = False) -> int:
    """Return the best number of processes: one per core on a CPU if the plate takes longer than their start, else one.

    In one process the threads that paint, read and write share an interpreter, which makes them slower by a third or more. A job whose
    result depends on the number of threads stays in one process. `instant` means that processes start at once.
    """
    from napari_virtual_paint.painting import estimate

    made = expected(model, stack, job.settings)
    stack, job = made.stack, replace(job, settings=made.settings)
    if job.settings.device != "cpu" or job.threads is not None:
        return 1
    return openmp_threads() if instant or fields * estimate(model, stack, job.settings).seconds >= LONG else 1


def _inputs(stack: Stack, found: Match, stains: int) -> int:
    """Return the bytes of the channels that are read of a field: the model's inputs and the true stains."""
    count = stack.shape[1] if stack.rgb else min(len(set(found.channels)) + stains, stack.shape[1])
    return int(stack.data.nbytes) // stack.shape[1] * count


def fitting(need: Need, memory: int, workers: int) -> tuple[int, bool]:
    """Return how many painters fit into memory, and whether they may read one field ahead."""
    for ahead in (True, False):
        each = need.painting + PROCESS + ahead * need.ahead
        if each * workers <= memory:
            return workers, ahead
    each = need.painting + PROCESS + need.ahead
    return (max(memory // each, 1), True) if memory >= each else (1, False)


def allowed(memory: int | None) -> int:
    """Return the bytes that a job may use."""
    return int(memory if memory is not None else psutil.virtual_memory().available * SHARE_OF_MEMORY)


@dataclass(frozen=True)
class Plan:
    """How a plate is painted."""

    job: PlateJob  # the job with "auto" resolved
    workers: int  # number of painters
    ahead: bool = True  # whether each reads its next field while it paints one
    note: str = ""  # note for the user, often empty


@dataclass(frozen=True)
class PlanRequest:
    """What a plan is made from; small, since it is sent to a worker, which has imported torch sooner than this process."""

    job: PlateJob  # the job as requested, or as an earlier run resolved it
    new: bool  # whether it must still be resolved
    reader: FieldReader
    fields: tuple[Field, ...]  # `reader` and `fields`: fields of which the first that can be read is examined
    count: int  # number of fields to paint
    workers: int | None  # requested workers; None for the best number
    memory: int | None  # bytes that the job may use; None for a share of the free memory
    instant: bool = False  # whether workers start at once

    def make_plan(self, model: Model | None = None) -> Plan:
        """Return the plan.

        Parameters
        ----------
        model
            The job's model if it is open already.

        Raises
        ------
        InputError
            If the device does not exist, or the memory is too small for one field.
        ModelError
            If the plate's channels don't fit the model.
        """
        model = model or open_model(self.job.package)
        stack = first_field(self.reader, self.fields)
        job = resolve(self.job, stack, model, workers=self.workers or 1, memory=self.memory) if self.new else self.job
        changed = changed_software(job)
        if stack is None:
            return Plan(job, min(self.workers or 1, self.count), note=changed)
        workers = min(self.workers or best_workers(job, model, stack, self.count, instant=self.instant), self.count)
        fit, ahead = fitting(need(job, model, stack), allowed(self.memory), workers)
        short = f"Memory is enough for {fit} of {workers} workers." if fit < workers and self.workers else ""
        return Plan(job, fit, ahead, " ".join(filter(None, (short, changed))))
