"""paint_plate(): a whole plate painted, stopped, gone on with; the one way for the command line, the dock and scripts."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from napari_virtual_paint.errors import InputError, VirtualPaintError, WriteError
from napari_virtual_paint.models import Model
from napari_virtual_paint.painting.settings import PaintSettings
from napari_virtual_paint.plates.job.field import Painter
from napari_virtual_paint.plates.job.job import KINDS, NAME, Kind, job_folder
from napari_virtual_paint.plates.job.pipeline import Events, FieldEvent, run_pipeline
from napari_virtual_paint.plates.job.rows import ROWS, is_done, read_failures, read_scores
from napari_virtual_paint.plates.job.run import PlateRun, PlateStep, PlateSummary
from napari_virtual_paint.plates.plate import Field, Plate
from napari_virtual_paint.runtime.lock_file import LOCK, OutputLock

__all__ = ["PlateStep", "PlateSummary", "job_folder", "paint_plate", "plate_state", "read_failures", "read_scores"]


def paint_plate(
    plate: Plate,
    model: Model,
    output: Path | str | None = None,
    settings: PaintSettings | None = None,
    *,
    kind: Kind | None = None,
    workers: int | None = 1,
    scheduler: str | None = None,
    memory: int | None = None,
    score: bool = True,
) -> Generator[PlateStep, None, PlateSummary]:
    """Paint the fields of a plate; those that an earlier run finished are skipped.

    A plain generator: each ``yield`` is a place to cancel (``close()`` it). However it ends, the next call goes on with the rest, and the
    pixels are those of a run that was never stopped.

    Parameters
    ----------
    plate
        The plate, or a part of it (`Plate.select`).
    model
        An opened model.
    output
        A ``.zarr`` to write, or a folder for OME-TIFFs; not needed for ``in-place``.
    settings
        How to paint; "auto" is resolved once and kept in the job.
    kind
        What is written; by the output's suffix where it is not given.
    workers
        1 paints in this process with all threads, more in as many processes; None takes as many as are best on this machine.
    scheduler
        Address of a Dask scheduler, whose workers paint instead.
    memory
        Bytes that the job may take on this machine; by default 0.7 of what is free.
    score
        Whether to score fields that have the true stains among their channels.

    Yields
    ------
    PlateStep
        What happens to each field.

    Returns
    -------
    PlateSummary
        What was done, and where the tables are.

    Raises
    ------
    InputError
        If the output is another job's or none of ours, a setting has changed, or another run paints it now.
    ModelError
        If the plate's channels are not the model's.
    WriteError
        If the disk is full; what is finished is kept.
    VirtualPaintError
        If the scheduler is lost, or no worker can start.
    """
    target, kind = target_of(plate, output, kind)
    run = PlateRun(plate, model, target, kind, settings or PaintSettings(), score)
    if workers is not None and workers < 1:
        raise InputError(f"{workers} workers can't paint; ask for 1 or more.")
    if run.finished():
        yield from run.skip()
        return run.summary()
    _make_folder(run.folder, target)
    try:
        with OutputLock(run.folder / LOCK, target, "painted"):
            run.begin()
            yield from run.skip()
            yield from _followed(run, _painters(run, workers, scheduler, memory))
    finally:
        _drop_empty(run.folder)
    return run.summary()


def _followed(run: PlateRun, events: Events) -> Generator[PlateStep, None, None]:
    """Paint, and bring metadata and tables up to date however it ends."""
    try:
        yield from run.follow(events)
    except BaseException:
        events.close()
        if run.job is not None:  # else it ended before anything was begun
            with contextlib.suppress(VirtualPaintError, OSError):
                run.look_again()
                run.settle()
        raise
    run.settle()


def _drop_empty(folder: Path) -> None:
    """Take away a job's folder in which nothing was begun."""
    with contextlib.suppress(OSError):
        if not (folder / NAME).exists():
            (folder / ROWS).rmdir()
            folder.rmdir()


def plate_state(
    plate: Plate, model: Model, output: Path | str | None = None, settings: PaintSettings | None = None, *, kind: Kind | None = None
) -> dict[Field, Mapping[str, Any]]:
    """Return the rows of fields that earlier runs painted or failed at, without painting; ``state`` tells which.

    Raises
    ------
    InputError
        If the output is another job's or none of ours, or a setting has changed.
    """
    target, kind = target_of(plate, output, kind)
    run = PlateRun(plate, model, target, kind, settings or PaintSettings(), True)
    return {each: row for each, row in run.rows.items() if each in run.done or not is_done(row)}


def target_of(plate: Plate, output: Path | str | None, kind: Kind | None) -> tuple[Path, Kind]:
    """Return what is written, and how.

    Raises
    ------
    InputError
        If the two don't go together, or the plate would be painted over.
    """
    if kind is not None and kind not in KINDS:
        raise InputError(f"A plate's stains can be written as {', '.join(KINDS)}, not as {kind!r}.")
    source = Path(plate.source)
    if kind == "in-place":
        if output is not None and Path(output).expanduser().resolve() != source.resolve():
            raise InputError(f"{output}: stains painted in place go into the plate {source}; leave the output out.")
        if plate.layout != "ome-zarr":
            raise InputError(f"{source}: only an OME-Zarr plate can take its stains in place, and this is {plate.layout}; give an output.")
        return source, kind
    if output is None:
        raise InputError("Say where the painted plate goes: a .zarr, or a folder for OME-TIFFs.")
    target = Path(output).expanduser().absolute()
    zarr = target.suffix.casefold() == ".zarr"
    if kind is not None and (kind == "ome-zarr") != zarr:
        raise InputError(f"{target}: an output that ends in .zarr is an OME-Zarr plate, another one a folder of OME-TIFFs.")
    if not zarr and target.suffix.casefold() in (".tif", ".tiff", ".zip", ".csv", ".parquet", ".h5"):
        raise InputError(f"{target}: a painted plate is a .zarr or a folder; choose such a name.")
    if target.resolve() == source.resolve() or source.resolve() in target.resolve().parents:
        raise InputError(f"{target}: the output would lie in the plate itself; choose another name, or paint in place.")
    return target, "ome-zarr" if zarr else "ome-tiff"


def _make_folder(folder: Path, target: Path) -> None:
    try:
        (folder / ROWS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(target, f"nothing can be written there ({error.strerror or error}); choose another folder") from error


def _painters(run: PlateRun, workers: int | None, scheduler: str | None, memory: int | None) -> Events:
    """Plan and paint what is left."""
    if not run.todo:
        if run.job is None:
            raise InputError(f"{run.plate.source}: there is nothing to paint.")
        run.output.prepare()
    elif scheduler is not None:
        from napari_virtual_paint.plates.job.cluster import connect, resolve_on_cluster, run_cluster

        with connect(scheduler) as client:
            request = run.request(lambda: resolve_on_cluster(client, run.wanted, run.plate.reader, run.todo[:24]))
            yield from run_cluster(client, request, run.todo)
    else:
        yield from _here(run, workers, memory)


def _here(run: PlateRun, asked: int | None, memory: int | None) -> Events:
    """Plan and paint on this machine."""
    from napari_virtual_paint.plates.job.planning import LOOKED_AT, PlanRequest
    from napari_virtual_paint.plates.job.workers import make_pool, plan_in, run_workers

    with make_pool(asked, run.wanted.settings.device) as pool:
        at_once = pool.count > 0
        plan_request = PlanRequest(
            job=run.job or run.wanted,
            new=run.job is None,
            reader=run.plate.reader,
            fields=tuple(run.todo[:LOOKED_AT]),
            count=len(run.todo),
            asked=asked,
            memory=memory,
            at_once=at_once,
        )
        plan = (yield from plan_in(pool, plan_request)) if at_once else None
        plan = plan or plan_request.answer(run.model)
        request = run.request(lambda: plan.job)
        if plan.note:
            yield FieldEvent(None, message=plan.note)
        if at_once or plan.workers > 1:
            pool.count = plan.workers
            yield from run_workers(pool, request, run.todo, ahead=plan.ahead)
        else:
            yield from run_pipeline(Painter(request, run.model), run.todo, ahead=plan.ahead)
