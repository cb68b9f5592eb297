"""paint_plate(): paint a whole plate, or go on with one that was stopped; used by the command line, the dock and scripts."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.errors import InputError, VirtualPaintError, WriteError
from napari_virtual_paint.models import Model
from napari_virtual_paint.painting.settings import PaintSettings
from napari_virtual_paint.plates.job.field import Painter
from napari_virtual_paint.plates.job.gray import find_levels
from napari_virtual_paint.plates.job.illumination import settle_functions
from napari_virtual_paint.plates.job.job import KINDS, NAME, Kind, job_folder
from napari_virtual_paint.plates.job.pipeline import Events, FieldEvent, run_pipeline
from napari_virtual_paint.plates.job.rows import ROWS, is_done, read_failures, read_scores
from napari_virtual_paint.plates.job.run import PlateProgress, PlateRun, PlateSummary
from napari_virtual_paint.plates.plate import Field, Plate
from napari_virtual_paint.runtime.generators import relay
from napari_virtual_paint.runtime.lock_file import LOCK, OutputLock
from napari_virtual_paint.runtime.outputs import check_outputs, output_path

if TYPE_CHECKING:
    from napari_virtual_paint.choices import GrayRange
    from napari_virtual_paint.counting.settings import CountSettings

__all__ = ["PlateProgress", "PlateSummary", "job_folder", "paint_plate", "plate_state", "read_failures", "read_scores"]


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
    count: CountSettings | None = None,
    gray_range: GrayRange | None = None,
) -> Generator[PlateProgress, None, PlateSummary]:
    """Paint the fields of a plate, except for those that an earlier run finished.

    A plain generator, which can be closed at each ``yield`` to cancel. However it ends, the next call goes on with the rest, and the pixels
    are those of a run that was never stopped.

    Parameters
    ----------
    plate
        The plate, or a part of it (`Plate.select`).
    output
        A ``.zarr`` to write, or a folder for OME-TIFFs; None for ``in-place``.
    settings
        How to paint; "auto" is resolved once and kept in the job.
    kind
        What is written; None decides by the output's suffix.
    workers
        1 paints in this process with all threads, more in as many processes; None takes the best number for this machine.
    scheduler
        Address of a Dask scheduler, whose workers paint instead.
    memory
        Bytes that the job may use on this machine; by default 0.7 of the free memory.
    score
        Whether to score fields that have the true stains among their channels.
    count
        How nuclei and cells of the painted fields (and of the true stains, where they are scored) are counted; None counts none. Fields
        that an earlier run painted are counted, too.
    gray_range
        What the gray levels span that the stains are written as, one mapping for the whole plate; None writes them as float32.

    Yields
    ------
    PlateProgress
        Progress, and the state of each field.

    Returns
    -------
    PlateSummary
        Number of fields, and the tables.

    Raises
    ------
    InputError
        If the output belongs to another job or to none, a setting has changed, or another run is painting it.
    ModelError
        If the plate's channels don't fit the model.
    WriteError
        If the disk is full; finished fields are kept.
    VirtualPaintError
        If the scheduler is lost, or no worker can start.
    """
    target, kind = target_of(plate, output, kind)
    run = PlateRun(plate, model, target, kind, settings or PaintSettings(), score, count, gray_range or "")
    if workers is not None and workers < 1:
        raise InputError(f"{workers} workers can't paint; use 1 or more.")
    if run.finished():
        yield from run.skip()
        return run.summary()
    _make_folder(run.folder, target)
    try:
        with OutputLock(run.folder / LOCK, target, "painted"):
            run.begin()
            if run.todo:
                steps = settle_functions(run.folder, plate, model.info, run.settings, truth=score)
                yield from relay(steps, lambda step: PlateProgress(0, len(plate.fields), message=step.message))
            yield from run.skip()
            yield from _paint_and_update(run, _events(run, workers, scheduler, memory))
            if run.to_count:
                yield from _count_and_update(run)
    finally:
        _remove_empty(run.folder)
    return run.summary()


def _paint_and_update(run: PlateRun, events: Events) -> Generator[PlateProgress, None, None]:
    """Paint, and update metadata and tables however it ends."""
    try:
        yield from run.follow(events)
    except BaseException:
        events.close()
        if run.job is not None:  # else it ended before the job began
            with contextlib.suppress(VirtualPaintError, OSError):
                run.load_rows()
                run.update()
        raise
    run.update()


def _count_and_update(run: PlateRun) -> Generator[PlateProgress, None, None]:
    """Count what earlier runs painted, and update the tables however it ends."""
    try:
        yield from run.count_rest()
    finally:
        run.update()


def _remove_empty(folder: Path) -> None:
    """Remove the folder of a job that has not begun."""
    with contextlib.suppress(OSError):
        if not (folder / NAME).exists():
            (folder / ROWS).rmdir()
            folder.rmdir()


def plate_state(
    plate: Plate, model: Model, output: Path | str | None = None, settings: PaintSettings | None = None, *, kind: Kind | None = None
) -> dict[Field, Mapping[str, Any]]:
    """Return the rows of fields that earlier runs painted or failed to paint (see their ``state``), without painting.

    Raises `InputError` if the output belongs to another job or to none, or a setting has changed.
    """
    target, kind = target_of(plate, output, kind)
    run = PlateRun(plate, model, target, kind, settings or PaintSettings(), True)
    return {each: row for each, row in run.rows.items() if each in run.done or not is_done(row)}


def target_of(plate: Plate, output: Path | str | None, kind: Kind | None) -> tuple[Path, Kind]:
    """Return the path that is written, and the kind of output.

    Raises `InputError` if the two don't fit together, or the plate would be overwritten.
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
        raise InputError("Give an output for the painted plate: a .zarr, or a folder for OME-TIFFs.")
    target = output_path(output).absolute()
    zarr = target.suffix.casefold() == ".zarr"
    if kind is not None and (kind == "ome-zarr") != zarr:
        raise InputError(f"{target}: an output that ends in .zarr is an OME-Zarr plate, another one a folder of OME-TIFFs.")
    if not zarr and target.suffix.casefold() in (".tif", ".tiff", ".zip", ".csv", ".parquet", ".h5"):
        raise InputError(f"{target}: a painted plate is a .zarr or a folder; choose such a name.")
    if target.resolve() == source.resolve() or source.resolve() in target.resolve().parents:
        raise InputError(f"{target}: the output would be inside the plate itself; choose another name, or paint in place.")
    check_outputs([target, job_folder(target)], [plate.source])
    return target, "ome-zarr" if zarr else "ome-tiff"


def _make_folder(folder: Path, target: Path) -> None:
    try:
        (folder / ROWS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(target, f"nothing can be written there ({error.strerror or error}); choose another folder") from error


def _events(run: PlateRun, workers: int | None, scheduler: str | None, memory: int | None) -> Events:
    """Plan and paint the fields that are left."""
    if not run.todo:
        if run.job is None:
            raise InputError(f"{run.plate.source}: there is nothing to paint.")
        run.output.prepare()
    elif scheduler is not None:
        from napari_virtual_paint.plates.job.cluster import connect, resolve_on_cluster, run_cluster
        from napari_virtual_paint.plates.job.inputs import TRIED_FIELDS

        with connect(scheduler) as client:
            gray = yield from find_levels(run.job or run.requested, run.plate, run.model, run.folder)
            request = run.request(lambda: resolve_on_cluster(client, run.requested, run.plate.reader, run.todo[:TRIED_FIELDS]), gray)
            yield from run_cluster(client, request, run.todo)
    else:
        yield from _local_events(run, workers, memory)


def _local_events(run: PlateRun, workers: int | None, memory: int | None) -> Events:
    """Plan and paint on this machine."""
    from napari_virtual_paint.plates.job.inputs import TRIED_FIELDS
    from napari_virtual_paint.plates.job.planning import PlanRequest
    from napari_virtual_paint.plates.job.workers import make_pool, plan_in, run_workers

    with make_pool(workers, run.requested.settings.device, run.output.path) as pool:
        instant = pool.count > 0
        plan_request = PlanRequest(
            job=run.job or run.requested,
            new=run.job is None,
            reader=run.plate.reader,
            fields=tuple(run.todo[:TRIED_FIELDS]),
            count=len(run.todo),
            workers=workers,
            memory=memory,
            instant=instant,
        )
        plan = (yield from plan_in(pool, plan_request)) if instant else None
        plan = plan or plan_request.make_plan(run.model)
        gray = yield from find_levels(plan.job, run.plate, run.model, run.folder)
        request = run.request(lambda: plan.job, gray)
        if plan.note:
            yield FieldEvent(None, message=plan.note)
        if instant or plan.workers > 1:
            pool.count = plan.workers
            yield from run_workers(pool, request, run.todo, ahead=plan.ahead)
        else:
            yield from run_pipeline(Painter(request, run.model), run.todo, ahead=plan.ahead)
