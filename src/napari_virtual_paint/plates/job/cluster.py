"""Paint a plate on many machines with Dask distributed: each field is a task, which returns its row.

The workers read the plate and write the stains themselves, so all of them must see the same files under the same paths.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import uuid
from collections.abc import Iterable
from typing import Any

from napari_virtual_paint.errors import VirtualPaintError
from napari_virtual_paint.plates.job.field import DiskFullError, Painter, PaintFieldRequest
from napari_virtual_paint.plates.job.inputs import first_field
from napari_virtual_paint.plates.job.job import PlateJob
from napari_virtual_paint.plates.job.pipeline import Events, FieldEvent
from napari_virtual_paint.plates.job.planning import resolve
from napari_virtual_paint.plates.job.rows import file_stem, is_done, load_row
from napari_virtual_paint.plates.plate import Field, FieldReader
from napari_virtual_paint.runtime.extras import require
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.runtime.processes import POLL
from napari_virtual_paint.runtime.text import one_line

RETRIES = 2  # times that Dask runs a field again after its worker died
TIMEOUT = "10s"  # time limit for connecting to a scheduler
OPEN_RUNS = 4  # runs whose painter, with its open model, a worker process keeps

_painters: dict[str, Painter] = {}
_painters_lock = threading.Lock()


def connect(address: str) -> Any:
    """Return a client of a scheduler.

    Parameters
    ----------
    address
        ``tcp://HOST:PORT``, or the ``.json`` file that ``dask scheduler --scheduler-file`` wrote.

    Raises
    ------
    InputError
        If Dask distributed is not installed.
    VirtualPaintError
        If there is no scheduler at the address.
    """
    distributed = require("distributed", extra="plates", purpose="A scheduler")
    try:
        where = {"scheduler_file": address} if address.endswith(".json") else {"address": address}
        return distributed.Client(**where, timeout=TIMEOUT, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise VirtualPaintError(f"{address}: no Dask scheduler answers there ({one_line(error, 80)}); check that it runs.") from error


def resolve_on_cluster(client: Any, job: PlateJob, reader: FieldReader, fields: Iterable[Field]) -> PlateJob:
    """Return a job with "auto" resolved on one of the cluster's workers."""
    return client.submit(_resolve, job, reader, tuple(fields), pure=False, retries=RETRIES).result()  # type: ignore[no-any-return]


def _resolve(job: PlateJob, reader: FieldReader, fields: tuple[Field, ...]) -> PlateJob:
    return resolve(job, first_field(reader, fields))


def run_cluster(client: Any, request: PaintFieldRequest, fields: Iterable[Field]) -> Events:
    """Paint fields on the workers of a cluster.

    Parameters
    ----------
    client
        See `connect`.
    request
        What is painted, and where it goes.

    Yields
    ------
    FieldEvent
        Each is an opportunity to cancel: fields that are being painted then are finished, and no other is begun.

    Raises
    ------
    VirtualPaintError
        If the scheduler is lost.
    DiskFullError
        If a worker's disk is full.
    """
    run = uuid.uuid4().hex[:8]
    finished: queue.SimpleQueue[Any] = queue.SimpleQueue()
    # As a task of its own, each worker fetches the request once, and Dask computes it again if the worker that holds it dies.
    shared = client.submit(_same, request, key=f"request-{run}", retries=RETRIES)
    waiting: dict[Any, Field] = {}
    for priority, each in enumerate(fields):
        key = f"paint-{run}-{file_stem(each)}"
        future = client.submit(paint_one, shared, each, run, key=key, retries=RETRIES, pure=False, priority=-priority)
        future.add_done_callback(finished.put)
        waiting[future] = each
    try:
        while waiting:
            try:
                future = finished.get(timeout=POLL)
            except queue.Empty:
                _check_scheduler(client)
                yield FieldEvent(None)
                continue
            yield _event_of(client, request, future, waiting.pop(future))
    finally:
        with contextlib.suppress(Exception):
            client.cancel(list(waiting), force=True)


def _same(request: PaintFieldRequest) -> PaintFieldRequest:
    return request


def _check_scheduler(client: Any) -> None:
    """Raise an error if the scheduler was lost."""
    if client.status != "running":
        raise VirtualPaintError(
            f"The Dask scheduler {_address(client)} was lost; what is painted is kept, and the same command goes on once it runs again."
        )


def _address(client: Any) -> str:
    return str(getattr(client.scheduler, "address", "")) or "of this run"


def _event_of(client: Any, request: PaintFieldRequest, future: Any, field: Field) -> FieldEvent:
    """Return the event of a field whose task has ended."""
    if future.status == "finished":
        row = future.result()
        if row.get("state") == "full":
            raise DiskFullError(request.output, row["reason"])
        return FieldEvent(field, row["state"], 1.0, row=row)
    if future.status in ("cancelled", "lost"):
        _check_scheduler(client)
    row = load_row(request.folder, field)
    if is_done(row):  # its worker died after it had saved the row
        return FieldEvent(field, "done", 1.0, row=row or {})
    error = future.exception() if future.status == "error" else None
    reason = f"no worker of the cluster could paint it ({one_line(error, 160) if error else future.status})"
    return FieldEvent(field, "failed", row=Painter(request).failed(field, VirtualPaintError(reason)))


def paint_one(request: PaintFieldRequest, field: Field, run: str) -> dict[str, Any]:
    """Paint one field on a worker and return its row."""
    painter = _painter(request, run)
    try:
        loaded = painter.read(field)
        return painter.finish(loaded, run_to_end(painter.paint(loaded)))
    except DiskFullError as error:
        return {"state": "full", "reason": error.reason}
    except Exception as error:  # noqa: BLE001 - a damaged field does not stop the others
        try:
            return painter.failed(field, error)
        except DiskFullError as full:
            return {"state": "full", "reason": full.reason}


def _painter(request: PaintFieldRequest, run: str) -> Painter:
    """Return this process's painter of a run, which opens the model once."""
    with _painters_lock:
        if run not in _painters:
            while len(_painters) >= OPEN_RUNS:
                _painters.pop(next(iter(_painters)))
            painter = Painter(request)
            painter.open()
            _painters[run] = painter
        return _painters[run]
