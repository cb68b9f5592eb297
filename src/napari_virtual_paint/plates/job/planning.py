"""From what was asked to a job: what "auto" means here, and how much memory a painter needs."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, cast

import psutil

from napari_virtual_paint._version import __version__
from napari_virtual_paint.errors import InputError, ReadError
from napari_virtual_paint.models import Model, match, open_model
from napari_virtual_paint.painting.settings import PaintSettings
from napari_virtual_paint.plates.job.job import PlateJob
from napari_virtual_paint.plates.plate import Field, FieldReader
from napari_virtual_paint.runtime.processes import openmp_threads
from napari_virtual_paint.runtime.text import byte_size
from napari_virtual_paint.stack import Stack

if TYPE_CHECKING:
    from napari_virtual_paint.choices import DeviceChoice
    from napari_virtual_paint.models import Match


LOOKED_AT = 24
"""Fields of which one must be readable for the job to begin."""
SHARE_OF_MEMORY = 0.7
"""Share of the free memory that a job may take where nothing is said."""
PROCESS = 450 << 20
"""Bytes of a process with torch in it, before it paints."""
SMALLEST_TILE = 64
"""A tile is not made smaller than this to fit a limit of memory that was asked for."""
TILE_OF_PIECES = 256
"""Tile of networks that normalise over the whole field: which pixels are summed up together is part of the job."""
LONG = 20.0
"""Seconds of painting from which on it pays to start several processes, each of which takes a few to import torch."""


@dataclass(frozen=True)
class Need:
    """Bytes that one painter holds.

    Parameters
    ----------
    painting
        While it paints one field, its inputs and stains and the field that is written included.
    ahead
        More where it reads the next field meanwhile.
    """

    painting: int
    ahead: int


def first_field(reader: FieldReader, fields: Iterable[Field]) -> Stack | None:
    """Return the first field that can be read, its pixels still in their files; None where the first ones are all damaged."""
    for field, _ in zip(fields, range(LOOKED_AT), strict=False):
        try:
            return reader.read(field)
        except (ReadError, OSError):
            continue
    return None


def resolve(job: PlateJob, stack: Stack | None, model: Model | None = None, *, workers: int = 1, memory: int | None = None) -> PlateJob:
    """Return a job with what "auto" means on this machine.

    Parameters
    ----------
    job
        As it was asked for.
    stack
        A field.
    model
        The job's model where it is open already.
    workers
        Processes that share the machine's threads.
    memory
        Bytes that the job may take; the tile becomes small enough for it.

    Raises
    ------
    InputError
        If the device is not there.
    ModelError
        If the plate's channels are not the model's.
    """
    from napari_virtual_paint import device
    from napari_virtual_paint.networks.encoder_decoder import EncoderDecoder
    from napari_virtual_paint.networks.staged import StagedNetwork

    model = model or open_model(job.package)
    if stack is not None:
        match(model.info, stack, job.settings.channels)
    kind = cast("DeviceChoice", device.resolve(job.settings.device).kind)
    levelled = isinstance(model.network, EncoderDecoder) and job.settings.blend == "exact"
    free_of_threads = kind != "cpu" or (levelled and model.info.dims == 2)
    pieced = isinstance(model.network, StagedNetwork) and job.settings.blend == "exact"
    tile = (
        TILE_OF_PIECES if pieced and job.settings.tile == "auto" else _tile(job.settings, kind, model.info.dims, stack, levelled=levelled)
    )
    settings = replace(job.settings, device=kind, tile=tile)
    threads = None if free_of_threads else max(openmp_threads() // workers, 1)
    found = replace(job, settings=settings, threads=threads, made_with=_software())
    return found if memory is None or stack is None else _fitted(found, model, stack, memory)


def _software() -> dict[str, str]:
    """Return the versions that bits depend on."""
    import torch

    return {"napari-virtual-paint": __version__, "torch": str(torch.__version__), "machine": platform.machine()}


def changed_software(job: PlateJob) -> str:
    """Return what to tell where a job goes on with other software than it was begun with; empty where it does not."""
    changed = [f"{name} {then}, now {now}" for name, now in _software().items() if (then := job.made_with.get(name, now)) != now]
    return f"The job was begun with {', '.join(changed)}: pixels may differ in the last digit." if changed else ""


def _tile(settings: PaintSettings, kind: str, dims: int, stack: Stack | None, *, levelled: bool) -> int | Literal["auto"]:
    """Return the tile that "auto" means; it stays "auto" for a network that is painted whole where that is possible."""
    if settings.tile != "auto" or (settings.blend == "exact" and not levelled):
        return settings.tile
    if dims == 3:
        return 64 if kind == "cpu" and settings.blend == "exact" else 128
    if kind != "cpu" and settings.blend == "exact":
        return 512
    # A small field is cut in four, so that several cores have a tile each.
    small = settings.blend == "exact" and stack is not None and max(stack.shape[-2:]) <= 256
    return 128 if small else 256


def _fitted(job: PlateJob, model: Model, stack: Stack, memory: int) -> PlateJob:
    """Return the job with a tile that is small enough for a limit of memory, if any is."""
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
    """Return the bytes that one painter holds, by painting's own forecast and the size of a field."""
    from napari_virtual_paint.painting.estimation import memory_needed

    found = match(model.info, stack, job.settings.channels)
    painting = memory_needed(model, stack, job.settings) if job.settings.device == "cpu" else 0
    inputs = _inputs(stack, found, len(job.stains))
    times, _, planes, height, width = stack.shape
    stains = 4 * len(job.stains) * times * (1 if found.mode == "window" else planes) * height * width
    scoring = 8 * 8 * height * width
    return Need(painting + inputs + 2 * stains + scoring, inputs)


def suggested(job: PlateJob, model: Model, stack: Stack, fields: int, *, at_once: bool = False) -> int:
    """Return how many processes are best: one a core on a CPU where the plate takes longer than they take to start, else one.

    A process alone shares its interpreter among the threads that paint, read and write, which costs a third and more. A job whose bits
    depend on the number of threads stays in one. `at_once` tells that processes start in no time.
    """
    from napari_virtual_paint.painting import estimate

    if job.settings.device != "cpu" or job.threads is not None:
        return 1
    return openmp_threads() if at_once or fields * estimate(model, stack, job.settings).seconds >= LONG else 1


def _inputs(stack: Stack, found: Match, stains: int) -> int:
    """Return the bytes of what is read of a field: the model's channels and the truth."""
    count = stack.shape[1] if stack.rgb else min(len(set(found.channels)) + stains, stack.shape[1])
    return int(stack.data.nbytes) // stack.shape[1] * count


def fitting(need: Need, memory: int, workers: int) -> tuple[int, bool]:
    """Return how many painters memory is enough for, and whether they may read one field ahead."""
    for ahead in (True, False):
        each = need.painting + PROCESS + ahead * need.ahead
        if each * workers <= memory:
            return workers, ahead
    each = need.painting + PROCESS + need.ahead
    return (max(memory // each, 1), True) if memory >= each else (1, False)


def allowed(memory: int | None) -> int:
    """Return the bytes that a job may take."""
    return int(memory if memory is not None else psutil.virtual_memory().available * SHARE_OF_MEMORY)


@dataclass(frozen=True)
class Plan:
    """How a plate is painted.

    Parameters
    ----------
    job
        With what "auto" means.
    workers
        How many paint at once.
    ahead
        Whether each reads its next field meanwhile.
    note
        Something to tell the user, else empty.
    """

    job: PlateJob
    workers: int
    ahead: bool = True
    note: str = ""


@dataclass(frozen=True)
class PlanRequest:
    """What a plan is made from; small, since it travels to a worker, which has imported torch before this process has.

    Parameters
    ----------
    job
        As it was asked for, or as an earlier run resolved it.
    new
        Whether it has still to be resolved.
    reader, fields
        The fields of which the first that can be read is looked at.
    count
        How many there are to paint.
    asked
        Workers; None for as many as are best.
    memory
        Bytes that the job may take; None for a share of what is free.
    at_once
        Whether workers start in no time.
    """

    job: PlateJob
    new: bool
    reader: FieldReader
    fields: tuple[Field, ...]
    count: int
    asked: int | None
    memory: int | None
    at_once: bool = False

    def answer(self, model: Model | None = None) -> Plan:
        """Return the plan.

        Parameters
        ----------
        model
            The job's model where it is open already.

        Raises
        ------
        InputError
            If the device is not there, or the memory too little for one field.
        ModelError
            If the plate's channels are not the model's.
        """
        model = model or open_model(self.job.package)
        stack = first_field(self.reader, self.fields)
        job = resolve(self.job, stack, model, workers=self.asked or 1, memory=self.memory) if self.new else self.job
        changed = changed_software(job)
        if stack is None:
            return Plan(job, min(self.asked or 1, self.count), note=changed)
        workers = min(self.asked or suggested(job, model, stack, self.count, at_once=self.at_once), self.count)
        fit, ahead = fitting(need(job, model, stack), allowed(self.memory), workers)
        short = f"Memory is enough for {fit} of {workers} workers." if fit < workers and self.asked else ""
        return Plan(job, fit, ahead, " ".join(filter(None, (short, changed))))
