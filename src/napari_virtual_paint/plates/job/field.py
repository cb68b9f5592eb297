"""One field of a plate: read, painted, scored, written, and its row. The same in this process, in a worker and on a cluster."""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from napari_virtual_paint.downloads.image_cache import is_remote
from napari_virtual_paint.errors import DISK_FULL, InputError, ReadError, VirtualPaintError, WriteError
from napari_virtual_paint.models import Match, Model, ModelInfo, match, open_model
from napari_virtual_paint.models.applicability.check import DomainVerdict
from napari_virtual_paint.painting.results import Painting, PaintUpdate
from napari_virtual_paint.painting.settings import PaintSettings
from napari_virtual_paint.plates.job.job import PlateJob, load_job, model_digest, save_job
from napari_virtual_paint.plates.job.output import write_stains
from napari_virtual_paint.plates.job.rows import save_row
from napari_virtual_paint.plates.plate import Field, FieldReader
from napari_virtual_paint.runtime.text import one_line
from napari_virtual_paint.stack import Stack

FETCHING = 8
"""Images of a field on the network that are fetched at once."""


@dataclass(frozen=True, eq=False)
class Loaded:
    """A field whose pixels are in memory.

    Parameters
    ----------
    field
        Which.
    stack
        The channels that are painted from, in the model's order.
    channels
        How `stack` gives them to the model.
    truth
        The stains of the field itself; None where it has none.
    notes
        What a user should know of how the channels were found.
    seconds
        Time of reading.
    verdict
        How far the field is from what the model learned from; None where its package doesn't tell.
    """

    field: Field
    stack: Stack
    channels: tuple[str | int, ...] | None
    truth: Stack | None
    notes: tuple[str, ...]
    seconds: float
    verdict: DomainVerdict | None = None


def read_field(reader: FieldReader, field: Field, info: ModelInfo, channels: tuple[str | int, ...] | None, *, truth: bool) -> Loaded:
    """Read what a field's painting and scores need.

    Parameters
    ----------
    reader
        Reads the plate's fields.
    field
        Which.
    info
        The model's.
    channels
        Those of the image in the model's order; None matches them by name.
    truth
        Whether to read the true stains, too.

    Raises
    ------
    ReadError, ModelError
        If the field is damaged, or its channels are not the model's.
    """
    started = time.perf_counter()
    stack = reader.read(field)
    found = match(info, stack, channels)
    stains = true_stains(stack, found, info.stains) if truth else []
    if found.luminance or stack.rgb:
        return Loaded(field, in_memory(stack, field), channels, None, (), time.perf_counter() - started)
    taken = list(dict.fromkeys(found.channels))
    both = in_memory(stack.select([*taken, *stains]), field)
    positions = tuple(taken.index(channel) for channel in found.channels)
    true = both.select(range(len(taken), len(taken) + len(stains))) if stains else None
    return Loaded(field, both.select(range(len(taken))), positions, true, found.notes, time.perf_counter() - started)


def true_stains(stack: Stack, found: Match, stains: Sequence[str]) -> list[int]:
    """Return the channels of the field that are stains of the model, in the model's order."""
    labels = [label.strip().casefold() for label in stack.channel_labels]
    indices = [labels.index(stain.casefold()) for stain in stains if labels.count(stain.casefold()) == 1]
    return [index for index in indices if index not in found.channels]


def in_memory(stack: Stack, field: Field) -> Stack:
    """Return a field with its pixels read.

    Raises
    ------
    ReadError
        If some can't be; it names the field and the channel.
    """
    from dask import config, local, threaded

    # A field is a few chunks, and the cores are the painter's; what is fetched waits for the network, not for a core. Where the scheduler
    # is told by its name dask imports distributed, which takes a third of a second.
    how = {"scheduler": threaded.get, "num_workers": FETCHING} if is_remote(stack.source) else {"scheduler": local.get_sync}
    with config.set(how):
        try:
            return stack.compute()
        except ReadError:
            _read_one_by_one(stack, field)
            raise


def _read_one_by_one(stack: Stack, field: Field) -> None:
    """Raise an error that tells which channel of a field can't be read."""
    for index, label in enumerate(stack.channel_labels):
        try:
            stack.select([index]).compute()
        except ReadError as error:
            what_to_do = "" if ";" in error.reason else f"; copy the field {field} again, or leave it out"
            raise ReadError(error.path, f"the channel {label}: {error.reason}{what_to_do}") from error


SMALLEST_TILE = 32


class DiskFullError(WriteError):
    """The disk is full: the job ends, and what is finished stays."""


@dataclass(frozen=True)
class PaintFieldRequest:
    """All that a painter needs; small, since it travels to other processes.

    Parameters
    ----------
    job
        What is painted with what.
    reader
        Reads the plate's fields.
    folder
        The job's folder.
    output
        What is written.
    score
        Whether to score where there is truth.
    """

    job: PlateJob
    reader: FieldReader
    folder: Path
    output: Path
    score: bool = True


class Painter:
    """Paints the fields of one request; the model is opened once.

    Parameters
    ----------
    request
        What is painted, and where it goes.
    model
        The job's model where it is open already.
    """

    def __init__(self, request: PaintFieldRequest, model: Model | None = None) -> None:
        self.request = request
        self._model = model

    def open(self) -> None:
        """Open the model and find the device, since without them no field can be painted.

        Raises
        ------
        InputError
            If one of them is not there.
        """
        from napari_virtual_paint import device

        device.resolve(self.request.job.settings.device)
        self.model.network  # noqa: B018 - loaded here, once, whatever thread would come first

    @cached_property
    def model(self) -> Model:
        """The job's model.

        Raises
        ------
        InputError
            If its package is another one by now.
        """
        model = self._model or open_model(self.request.job.package)
        if model_digest(model) != self.request.job.digest:
            package = self.request.job.package
            raise InputError(f"{package}: the model's package was changed since this plate was begun; put the old one back.")
        return model

    def read(self, field: Field) -> Loaded:
        """Read what a field's painting and scores need, and no other channel.

        Raises
        ------
        ReadError, ModelError
            If the field is damaged, or its channels are not the model's.
        """
        from napari_virtual_paint.painting.domain_check import domain_of

        settings = self.request.job.settings
        loaded = read_field(self.request.reader, field, self.model.info, settings.channels, truth=self.request.score)
        verdict = domain_of(self.model, loaded.stack, replace(settings, channels=loaded.channels), quick=True)
        return replace(loaded, verdict=verdict)

    def paint(self, loaded: Loaded) -> Generator[PaintUpdate, None, Painting]:
        """Paint a field, with the job's tile; where memory runs out the job's tile becomes half as large, for good."""
        from napari_virtual_paint.device import free_cache, is_out_of_memory
        from napari_virtual_paint.painting import paint

        while True:
            settings = replace(self._settings(), channels=loaded.channels)
            try:
                with _threads(self.request.job.threads):
                    return (yield from paint(self.model, loaded.stack, settings))
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
            free_cache(str(settings.device))
            yield PaintUpdate(0.0, 1.0, message=self._shrink(loaded.stack, settings))

    def _settings(self) -> PaintSettings:
        """Return the job's settings as they are now: another process may have made the tile smaller."""
        job = load_job(self.request.folder)
        return self.request.job.settings if job is None else job.settings

    def _shrink(self, stack: Stack, settings: PaintSettings) -> str:
        """Halve the job's tile and write that down; return what to tell."""
        largest = 1 << (max(stack.shape[-2:]) - 1).bit_length()
        tile = min(largest if settings.tile == "auto" else settings.tile, largest) // 2
        if tile < SMALLEST_TILE:
            raise VirtualPaintError("memory ran out even with the smallest tiles; close other programs, or ask for fewer workers.")
        job = load_job(self.request.folder) or self.request.job
        kept = tile if job.settings.tile == "auto" else min(tile, job.settings.tile)
        save_job(self.request.folder, replace(job, settings=replace(job.settings, tile=kept)))
        return f"Memory ran out on {settings.device}; from this field on the tile is {kept} px."

    def finish(self, loaded: Loaded, painting: Painting) -> dict[str, Any]:
        """Score and write a field; return its row, which is on the disk already.

        Raises
        ------
        DiskFullError
            If the disk takes no more.
        """
        scores, notes = _scores(painting.stack, loaded.truth)
        started = time.perf_counter()
        try:
            job, report = self.request.job, painting.report
            image = write_stains(job.kind, self.request.output, loaded.field, _lasting(painting.stack), job.model)
            row = {
                **place(loaded.field),
                "state": "done",
                "reason": "",
                "image": image.relative_to(self.request.output).as_posix(),
                **scores,
                **{f"sd_{stain}": value for stain, value in report.uncertainty.items()},
                **domain_columns(loaded.verdict),
                "seconds": report.seconds,
                "read_seconds": loaded.seconds,
                "write_seconds": time.perf_counter() - started,
                "device": report.device,
                "precision": report.precision,
                "tile": report.tile,
                "model": report.model,
                "version": report.version,
                "finished": datetime.now(UTC).isoformat(timespec="seconds"),
                "notes": list(dict.fromkeys((*loaded.notes, *report.notes, *notes))),
            }
            save_row(self.request.folder, row)
        except Exception as error:
            _stop_if_full(error, self.request.output)
            raise
        return row

    def failed(self, field: Field, error: BaseException) -> dict[str, Any]:
        """Return the row of a field that failed, which is on the disk already.

        Raises
        ------
        DiskFullError
            If the disk takes no more.
        """
        _stop_if_full(error, self.request.output)
        known = isinstance(error, (VirtualPaintError, OSError))
        reason = one_line(error, 400) if known else f"{type(error).__name__}: {one_line(error, 300)}"
        row = {**place(field), "state": "failed", "reason": reason, "where": platform.node()}
        try:
            save_row(self.request.folder, row)
        except Exception as worse:
            _stop_if_full(worse, self.request.output)
            raise
        return row


def place(field: Field) -> dict[str, str]:
    """Return the columns that tell a field."""
    return {"well": field.well, "field": field.name, "acquisition": field.acquisition}


def domain_columns(verdict: DomainVerdict | None) -> dict[str, Any]:
    """Return the columns on how far a field is from what the model learned from; none where that is not known."""
    if verdict is None:
        return {}
    return {"domain_distance": round(verdict.distance, 3), "domain": verdict.verdict, "domain_reason": " ".join(verdict.reasons[:1])}


def _lasting(stack: Stack) -> Stack:
    """Return stains without what differs from run to run, which is in the row: the files of two runs are the same."""
    kept = {name: value for name, value in (stack.provenance or {}).items() if name not in ("seconds", "peak_memory_mb")}
    return replace(stack, provenance=kept)


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Give torch as many threads as the job says, where its bits depend on them."""
    import torch

    before = torch.get_num_threads()
    if count is None or count == before:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _scores(stains: Stack, truth: Stack | None) -> tuple[dict[str, float | None], tuple[str, ...]]:
    """Return ``pcc_DNA`` ... for each stain with truth, as `virtual-paint evaluate` has them, and why some are missing."""
    if truth is None:
        return {}, ()
    if truth.shape[0] != stains.shape[0] or truth.shape[2:] != stains.shape[2:]:
        return {}, (f"No scores: the stains have the shape {stains.shape} and the truth {truth.shape} (TCZYX).",)
    from napari_virtual_paint.metrics.report import compare
    from napari_virtual_paint.metrics.ssim import on_this_thread

    with on_this_thread():  # the other cores paint
        found = compare(stains, truth)
    scores = {f"{metric}_{stain}": value for stain, row in found.channels.items() for metric, value in row.to_json().items()}
    return scores, tuple(note for note in found.notes if not note.startswith("Without a partner"))


def _stop_if_full(error: BaseException, output: Path) -> None:
    """Raise a `DiskFullError` if that is what an error, or one that led to it, means."""
    seen: BaseException | None = error
    known: set[int] = set()  # errors of several threads may lead to one another
    while seen is not None and id(seen) not in known:
        known.add(id(seen))
        if isinstance(seen, DiskFullError):
            raise seen
        if isinstance(seen, OSError) and seen.errno in DISK_FULL:
            if isinstance(error, ReadError):  # the cache of fetched images is full, which is another disk
                raise DiskFullError(error.path, error.reason) from error
            reason = f"the disk takes no more ({seen.strerror}); make room and run the same command again, which goes on with the rest"
            raise DiskFullError(output, reason) from error
        seen = seen.__cause__ or seen.__context__
