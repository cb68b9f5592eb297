"""Read, paint, score and write one field of a plate: the same in this process, in a worker and on a cluster."""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.device import torch_threads
from napari_virtual_paint.downloads.image_cache import is_remote
from napari_virtual_paint.errors import DISK_FULL, InputError, ReadError, VirtualPaintError, WriteError
from napari_virtual_paint.models import Match, Model, match, open_model
from napari_virtual_paint.models.applicability.check import DomainVerdict
from napari_virtual_paint.painting.gray_levels import GrayLevels, as_gray
from napari_virtual_paint.painting.image_preparation import (
    channels_of_model,
    cut_to,
    planes_in_focus,
    preprocess,
    wants_preprocessing,
)
from napari_virtual_paint.painting.model_set import matches
from napari_virtual_paint.painting.results import Painting, PaintUpdate
from napari_virtual_paint.painting.settings import PaintSettings
from napari_virtual_paint.plates.job.illumination import functions_for
from napari_virtual_paint.plates.job.inputs import true_stain_places
from napari_virtual_paint.plates.job.job import NAME, PlateJob, load_job, model_digest, save_job
from napari_virtual_paint.plates.job.output import write_stains
from napari_virtual_paint.plates.job.rows import save_row
from napari_virtual_paint.plates.plate import Field, FieldReader
from napari_virtual_paint.preprocessing.illumination import Floats, correct_illumination
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.runtime.scratch import file_backed_zeros
from napari_virtual_paint.runtime.text import one_line
from napari_virtual_paint.stack import Stack

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from napari_virtual_paint.counting.settings import CountSettings
    from napari_virtual_paint.plates.job.counts import PlateFieldCount

LARGE = 512 << 20  # bytes of pixels or stains of a field that are not kept in memory: pixels are read, and stains lie in a file
FETCHING = 8  # remote images of a field that are fetched at once


@dataclass(frozen=True, eq=False)
class Loaded:
    """A field whose pixels are in memory, unless it is large."""

    field: Field  # the field
    stack: Stack  # the channels that are painted from
    match: Match  # how the model gets them from `stack`
    truth: Stack | None  # the true stains of the field; None if it has none
    seconds: float  # time of reading
    verdict: DomainVerdict | None = None
    """How far the field is from the model's training images; None if its package has no summary of them."""


def read_field(
    reader: FieldReader,
    field: Field,
    model: Model,
    settings: PaintSettings,
    *,
    truth: bool,
    functions: tuple[Mapping[str, Floats], Mapping[str, Any]] | None = None,
) -> Loaded:
    """Read the channels of a field that are painted from, preprocessed as the settings say, and its true stains.

    Parameters
    ----------
    reader
        Reads the plate's fields.
    truth
        Whether to read the true stains, too.
    functions
        The plate's illumination functions by channel, and where they come from; None where the light is not corrected.

    Raises
    ------
    ReadError, ModelError, InputError
        If the field is damaged, its channels are not the model's, or it can't be preprocessed.
    """
    started = time.perf_counter()
    stack = reader.read(field)
    if functions is not None:
        stack = correct_illumination(stack, *functions)
    if wants_preprocessing(settings, stack):
        return _read_and_prepare(stack, field, model, settings, truth, started)
    info, channels = model.info, settings.channels
    found = match(info, stack, channels)
    stains = true_stains(stack, found, info.stains) if truth else []
    if found.luminance or stack.rgb:
        return Loaded(field, in_memory(stack, field) if stack.data.nbytes <= LARGE else stack, found, None, time.perf_counter() - started)
    inputs = list(dict.fromkeys(found.channels))
    both = stack.select([*inputs, *stains])
    if both.data.nbytes <= LARGE:
        both = in_memory(both, field)
    found = replace(found, channels=tuple(inputs.index(channel) for channel in found.channels))
    true = both.select(range(len(inputs), len(inputs) + len(stains))) if stains else None
    return Loaded(field, both.select(range(len(inputs))), found, true, time.perf_counter() - started)


def _read_and_prepare(stack: Stack, field: Field, model: Model, settings: PaintSettings, truth: bool, started: float) -> Loaded:
    """Read a field and make phase of it or take its planes in focus; of the true stains the same planes, where one is painted."""
    info = model.info
    labels = stack.channel_labels
    taken = channels_of_model(info, stack, settings)
    inputs, chosen = stack, settings
    if not stack.rgb:
        inputs = stack.select([labels.index(name) for name in taken])
        positions = None if settings.phase is not None else tuple(range(len(taken)))
        chosen = replace(settings, channels=positions)
    if inputs.data.nbytes <= LARGE:
        inputs = in_memory(inputs, field)
    made = run_to_end(preprocess(model, inputs, chosen))
    matched = matches(made.models, made.stack, made.settings)[0]
    places = true_stain_places(stack, info.stains, [labels.index(name) for name in taken]) if truth and not stack.rgb else []
    true = stack.select(places) if places else None
    planes = planes_in_focus(made.stack)
    if true is not None and planes is not None and true.shape[2] > 1 == made.stack.shape[2] and max(planes) < true.shape[2]:
        true = cut_to(true, planes)
    if true is not None and true.data.nbytes <= LARGE:
        true = in_memory(true, field)
    noted = replace(made.stack, notes=tuple(dict.fromkeys((*made.stack.notes, *made.notes))))
    return Loaded(field, noted, matched, true, time.perf_counter() - started)


def true_stains(stack: Stack, found: Match, stains: Sequence[str]) -> list[int]:
    """Return the channels of a field that are stains of the model by their names (or other names of them), in the model's order."""
    return true_stain_places(stack, stains, found.channels)


def in_memory(stack: Stack, field: Field) -> Stack:
    """Return a field with its pixels in memory.

    Raises `ReadError` if some can't be read; it names the field and the channel.
    """
    from dask import config, local, threaded

    # Local files are read on this thread, since the cores are painting; remote ones wait for the network, not for a core. The schedulers
    # are given as functions, since dask imports distributed for their names, which takes a third of a second.
    options = {"scheduler": threaded.get, "num_workers": FETCHING} if is_remote(stack.source) else {"scheduler": local.get_sync}
    with config.set(options):
        try:
            return stack.compute()
        except ReadError:
            _read_channel_by_channel(stack, field)
            raise


def _read_channel_by_channel(stack: Stack, field: Field) -> None:
    """Raise an error that names the channel of a field that can't be read."""
    for index, label in enumerate(stack.channel_labels):
        try:
            stack.select([index]).compute()
        except ReadError as error:
            remedy = "" if ";" in error.reason else f"; copy the field {field} again, or leave it out"
            raise ReadError(error.path, f"the channel {label}: {error.reason}{remedy}") from error


SMALLEST_TILE = 32  # pixels; a tile is not halved below this when memory runs out


class DiskFullError(WriteError):
    """The disk is full: the job ends, and what is finished stays."""


@dataclass(frozen=True)
class PaintFieldRequest:
    """All that a painter needs; small, since it is sent to other processes."""

    job: PlateJob  # the job
    reader: FieldReader  # reads the plate's fields
    folder: Path  # folder of the job
    output: Path  # the file or folder that is written
    score: bool = True  # whether to score fields that have true stains
    count: CountSettings | None = None  # how the objects of the painted fields are counted; None counts none


class Painter:
    """Paints the fields of one job; the model is opened once.

    Parameters
    ----------
    request
        The job, and where its fields are read from and written to.
    model
        The job's model if it is open already.
    """

    def __init__(self, request: PaintFieldRequest, model: Model | None = None) -> None:
        self.request = request
        self._model = model
        self._job, self._job_version = request.job, (0, 0)

    def open(self) -> None:
        """Open the model and find the device, without which no field can be painted.

        Raises `InputError` if one of them does not exist.
        """
        from napari_virtual_paint import device

        device.resolve(self.request.job.settings.device)
        self.model.network  # noqa: B018 - loaded here, so that it is not loaded by two threads at once

    @cached_property
    def model(self) -> Model:
        """The job's model.

        Raises `InputError` if its package has changed.
        """
        model = self._model or open_model(self.request.job.package)
        if model_digest(model) != self.request.job.digest:
            raise InputError(
                f"{self.request.job.package}: the model's package was changed since this plate was begun; restore the old one."
            )
        return model

    @cached_property
    def functions(self) -> tuple[dict[str, Floats], dict[str, Any]] | None:
        """The plate's illumination functions, and where they come from (see `illumination.settle_functions`); None without correction.

        Raises `InputError` if they are gone or damaged.
        """
        return functions_for(self.request.folder, self.request.job.settings)

    def read(self, field: Field) -> Loaded:
        """Read the channels of a field that are needed, and check how far it is from the model's training images.

        Raises
        ------
        ReadError, ModelError
            If the field is damaged, or its channels are not the model's.
        """
        from napari_virtual_paint.painting.domain_check import domain_of

        settings = self.request.job.settings
        loaded = read_field(self.request.reader, field, self.model, settings, truth=self.request.score, functions=self.functions)
        return replace(loaded, verdict=domain_of(self.model, loaded.stack, settings, matched=(loaded.match,), quick=True))

    def paint(self, loaded: Loaded) -> Generator[PaintUpdate, None, Painting]:
        """Paint a field with the job's tile; if memory runs out, halve the tile for the rest of the job."""
        from napari_virtual_paint.device import free_cache, is_out_of_memory
        from napari_virtual_paint.painting import paint

        while True:
            settings = self._current_job().settings
            try:
                with torch_threads(self.request.job.threads):
                    out = self._stains_on_disk(loaded)
                    painting = yield from paint(
                        self.model, loaded.stack, settings, out=out, scratch=self.request.folder, matched=(loaded.match,)
                    )
                    return painting
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
            free_cache(str(settings.device))
            yield PaintUpdate(0.0, 1.0, message=self._shrink(loaded.stack, settings))

    def _stains_on_disk(self, loaded: Loaded) -> npt.NDArray[np.float32] | None:
        """Return an array in a file for the stains of a large field; None where they may be in memory."""
        from napari_virtual_paint.painting.network_input import output_shape

        shape = output_shape(loaded.stack, loaded.match, len(self.model.info.stains))
        return file_backed_zeros(shape, self.request.folder) if 4 * prod(shape) > LARGE else None

    def _current_job(self) -> PlateJob:
        """Return the job, read again if its file was replaced: another process may have made the tile smaller."""
        with contextlib.suppress(FileNotFoundError):
            status = (self.request.folder / NAME).stat()
            version = (status.st_mtime_ns, status.st_ino)
            if version != self._job_version:
                self._job, self._job_version = load_job(self.request.folder) or self._job, version
        return self._job

    def _shrink(self, stack: Stack, settings: PaintSettings) -> str:
        """Halve the job's tile and save that; return the message for the user."""
        largest = 1 << (max(stack.shape[-2:]) - 1).bit_length()
        tile = min(largest if settings.tile == "auto" else settings.tile, largest) // 2
        if tile < SMALLEST_TILE:
            raise VirtualPaintError("memory ran out even with the smallest tiles; close other programs, or use fewer workers.")
        job = self._current_job()
        kept = tile if job.settings.tile == "auto" else min(tile, job.settings.tile)
        save_job(self.request.folder, replace(job, settings=replace(job.settings, tile=kept)))
        return f"Memory ran out on {settings.device}; from this field on the tile is {kept} px."

    def finish(self, loaded: Loaded, painting: Painting) -> dict[str, Any]:
        """Score and write a field, and save and return its row.

        Raises `DiskFullError` if the disk is full.
        """
        scores, notes = _scores(painting.stack, loaded.truth)
        started = time.perf_counter()
        try:
            job, report = self.request.job, painting.report
            stains = _reproducible(painting.stack)
            stains = as_gray(stains, GrayLevels.from_json(job.gray)) if job.gray else stains
            counted = self._counted(loaded, painting)
            labels = None if counted is None else counted.labels
            image = write_stains(job.kind, self.request.output, loaded.field, stains, job.model, labels)
            row = {
                **field_columns(loaded.field),
                "state": "done",
                "reason": "",
                "image": image.relative_to(self.request.output).as_posix(),
                **scores,
                **({} if counted is None else counted.columns),
                **{f"sd_{stain}": value for stain, value in report.uncertainty.items()},
                **domain_columns(loaded.verdict),
                **focus_column(loaded.stack),
                "seconds": report.seconds,
                "read_seconds": loaded.seconds,
                "write_seconds": time.perf_counter() - started,
                "device": report.device,
                "precision": report.precision,
                "tile": report.tile,
                "model": report.model,
                "version": report.version,
                "finished": datetime.now(UTC).isoformat(timespec="seconds"),
                "notes": list(dict.fromkeys((*loaded.stack.notes, *report.notes, *notes))),
                "file": loaded.stack.source or "",
                "file_notes": list(loaded.stack.notes),
            }
            save_row(self.request.folder, row)
        except Exception as error:
            _stop_if_full(error, self.request.output)
            raise
        return row

    def _counted(self, loaded: Loaded, painting: Painting) -> PlateFieldCount | None:
        """Return the objects of a painted field, whose table is saved; None where none are counted."""
        if self.request.count is None:
            return None
        from napari_virtual_paint.plates.job.counts import count_field, save_objects

        found = run_to_end(count_field(loaded.field, painting.stack, loaded.truth, self.request.count))
        save_objects(self.request.folder, loaded.field, found.objects)
        return found

    def failed(self, field: Field, error: BaseException) -> dict[str, Any]:
        """Save and return the row of a field that failed.

        Raises `DiskFullError` if the disk is full.
        """
        _stop_if_full(error, self.request.output)
        known = isinstance(error, (VirtualPaintError, OSError))
        reason = one_line(error, 400) if known else f"{type(error).__name__}: {one_line(error, 300)}"
        row = {**field_columns(field), "state": "failed", "reason": reason, "where": platform.node()}
        try:
            save_row(self.request.folder, row)
        except Exception as worse:
            _stop_if_full(worse, self.request.output)
            raise
        return row


def field_columns(field: Field) -> dict[str, str]:
    """Return the columns that identify a field."""
    return {"well": field.well, "field": field.name, "acquisition": field.acquisition}


def domain_columns(verdict: DomainVerdict | None) -> dict[str, Any]:
    """Return the columns on how far a field is from the model's training images; none if that is unknown."""
    if verdict is None:
        return {}
    return {"domain_distance": round(verdict.distance, 3), "domain": verdict.verdict, "domain_reason": " ".join(verdict.reasons[:1])}


def focus_column(stack: Stack) -> dict[str, int]:
    """Return the column of the plane in focus at the first time point; none where it was not looked for."""
    planes = planes_in_focus(stack)
    return {} if planes is None else {"focus": planes[0]}


def _reproducible(stack: Stack) -> Stack:
    """Return stains without the provenance that differs between runs (it is in the row), so that two runs write the same files."""
    kept = {name: value for name, value in (stack.provenance or {}).items() if name not in ("seconds", "peak_memory_mb")}
    return replace(stack, provenance=kept)


def _scores(stains: Stack, truth: Stack | None) -> tuple[dict[str, float | None], tuple[str, ...]]:
    """Return the scores ``pcc_DNA`` ... of each stain with truth, as `virtual-paint evaluate` computes them, and why some are missing."""
    if truth is None:
        return {}, ()
    if truth.shape[0] != stains.shape[0] or truth.shape[2:] != stains.shape[2:]:
        return {}, (f"No scores: the stains have the shape {stains.shape} and the truth {truth.shape} (TCZYX).",)
    from napari_virtual_paint.metrics.report import compare
    from napari_virtual_paint.metrics.ssim import on_this_thread

    with on_this_thread():  # since the other cores are painting
        found = compare(stains, truth)
    scores = {f"{metric}_{stain}": value for stain, row in found.channels.items() for metric, value in row.to_json().items()}
    said = ("Without a partner", "The mean ")
    return scores, tuple(note for note in found.notes if not note.startswith(said))


def _stop_if_full(error: BaseException, output: Path) -> None:
    """Raise a `DiskFullError` if an error, or one that caused it, means that the disk is full."""
    cause: BaseException | None = error
    visited: set[int] = set()  # the causes of errors in several threads may form a circle
    while cause is not None and id(cause) not in visited:
        visited.add(id(cause))
        if isinstance(cause, DiskFullError):
            raise cause
        if isinstance(cause, OSError) and cause.errno in DISK_FULL:
            if isinstance(error, ReadError):  # the cache of fetched images is full, which may be on another disk
                raise DiskFullError(error.path, error.reason) from error
            reason = f"the disk takes no more ({cause.strerror}); make room and run the same command again, which goes on with the rest"
            raise DiskFullError(output, reason) from error
        cause = cause.__cause__ or cause.__context__
