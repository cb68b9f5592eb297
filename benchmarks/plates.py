"""What a plate costs beyond the painting of its fields, on a simulated plate: time, memory, workers, and what a kill leaves behind.

``python benchmarks/plates.py`` prints, from one run on this machine:

- the time of the whole command over the sum of its fields' bare painting (`paint` by one process with all threads, on pixels in memory,
  nothing written), with no option chosen and without scores; what its start takes is told apart, since it is the same for any plate;
- the same for a plate painted in one process (`--workers 1`), without its start, in turns of a few wells each so that a busy machine
  slows both alike; and what its parts take;
- the memory of the process at the first, the middle and the last field;
- the throughput of N workers with one thread each over that of one with N threads, counted between the first and the last field;
- whether a plate that was killed (kill -9) and gone on with equals one that was not;
- what 100 plates of 384 wells and 9 fields take, from the figures above.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import torch

from napari_virtual_paint.models import Model, open_model
from napari_virtual_paint.painting import PaintSettings, paint, run_to_end
from napari_virtual_paint.plates.job.field import Painter, PaintFieldRequest
from napari_virtual_paint.plates.job.forkserver import keep_freed_memory, start_process
from napari_virtual_paint.plates.job.job import job_folder, load_job
from napari_virtual_paint.plates.opening import open_plate
from napari_virtual_paint.plates.paint import PlateSummary, paint_plate
from napari_virtual_paint.plates.plate import Plate

FIELDS, PLATES = 384 * 9, 100
"""Fields of a plate, and plates, that the cost is worked out for."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--wells", default="96", help="of the plate: 6, 24, 96, 384 or ROWSxCOLS")
    parser.add_argument("--size", type=int, default=1000, help="pixels a side of a field")
    parser.add_argument("--model", default="simulated-cell-painting")
    parser.add_argument("--turns", type=int, default=6, help="parts of the plate that are painted in turns, bare and as a plate")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    parser.add_argument("--keep", type=Path, help="folder to work in, kept; a plate in it is not simulated again")
    args = parser.parse_args()
    folder = args.keep or Path(tempfile.mkdtemp(prefix="plates-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        report(args, folder)
    finally:
        if args.keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def report(args: argparse.Namespace, folder: Path) -> None:
    plate = simulated(folder / f"plate-{args.wells}-{args.size}.zarr", args.wells, args.size)
    model = open_model(args.model)
    print(f"{len(plate.fields)} fields of {args.size} px, {model.info.id}, {torch.get_num_threads()} threads, load {load()}")
    pace, size = by_default(plate, model, folder)
    process = start_process(parts, plate, str(model.info.id), folder, name="parts")  # a process like a worker's
    process.join()
    bare = in_turns(plate, model, folder, args.turns)
    memory(plate, model, folder)
    workers(plate, model, folder, args.workers, bare)
    killed(plate, model, folder)
    cost(pace, size)


def load() -> str:
    return " ".join(f"{value:.1f}" for value in os.getloadavg())


def simulated(path: Path, wells: str, size: int) -> Plate:
    command = [sys.executable, "-c", "import sys; from napari_virtual_paint.cli import main; sys.exit(main())", "simulate", str(path)]
    began = time.perf_counter()
    subprocess.run([*command, "--plate", wells, "--size", str(size), "--seed", "3"], check=True, capture_output=True)
    print(f"simulated in {time.perf_counter() - began:.0f} s")
    return open_plate(path)


def to_end(plate: Plate, model: Model, output: Path, **options: int) -> tuple[PlateSummary, list[tuple[float, int]]]:
    """Paint a plate; return the summary, and time and memory at the end of each field."""
    for path in (output, output.with_name(f"{output.name}.job")):
        shutil.rmtree(path, ignore_errors=True)
    steps, ends = paint_plate(plate, model, output, **options), []
    process = psutil.Process()
    while True:
        try:
            step = next(steps)
        except StopIteration as stop:
            return stop.value, ends
        if step.state == "done":
            ends.append((time.perf_counter(), process.memory_info().rss))


def in_turns(plate: Plate, model: Model, folder: Path, turns: int) -> float:
    """Compare one process that paints a plate with bare painting with the job's own settings; return the latter's seconds per field.

    The job's settings split no operation over the threads; those of `virtual-paint predict` do, and lose time by it on a busy machine.
    """
    wells = np.array_split(np.array(plate.wells), turns)
    parts = [plate.select(",".join(part)) for part in wells if len(part)]
    run_to_end(paint(model, plate.read(plate.fields[0]).compute(), PaintSettings()))
    steady = replace(load_settings(parts[0], model, folder), channels=None)
    ways: list[Callable[[Plate], tuple[float, float]]] = [
        lambda part: whole_seconds(part, model, folder / "part.zarr", score=False),
        lambda part: bare_seconds(part, model, steady),
        lambda part: bare_seconds(part, model, PaintSettings()),
        lambda part: whole_seconds(part, model, folder / "part.zarr", score=True),
    ]
    times, busy = np.zeros((2, len(parts), len(ways)))
    for number, part in enumerate(parts):
        for which in np.roll(np.arange(len(ways)), number):
            times[number, which], busy[number, which] = ways[which](part)
        whole, bare, predict, scored = times[number]
        print(
            f"  one process, turn {number + 1}: as a plate {whole:.1f} s, bare {bare:.1f} s, ratio {whole / bare:.2f}; "
            f"bare with the settings of `predict` {predict:.1f} s, ratio {whole / predict:.2f}; "
            f"with scores {scored:.1f} s, ratio {scored / bare:.2f}; load {load()}"
        )
    whole, bare, predict, scored = times.sum(0)
    ratios = times[:, 0] / times[:, 1]
    spread = f"turns {ratios.min():.2f} to {ratios.max():.2f}, median {np.median(ratios):.2f}"
    print(
        f"one process, plate / bare painting: {whole / bare:.2f} ({spread}); / bare with the settings of `predict`: {whole / predict:.2f}"
    )
    print(f"one process, each field scored against the true stains in it / bare painting: {scored / bare:.2f}")
    print(f"processor time of a plate / of bare painting: {busy[:, 0].sum() / busy[:, 1].sum():.2f}, which other programs disturb less")
    return bare / len(plate.fields)


def load_settings(plate: Plate, model: Model, folder: Path) -> PaintSettings:
    """Return the settings that a job of this plate has."""
    summary, _ = to_end(plate.select(plate.wells[0]), model, folder / "part.zarr")
    job = load_job(job_folder(summary.output))
    assert job is not None
    return job.settings


def bare_seconds(plate: Plate, model: Model, settings: PaintSettings) -> tuple[float, float]:
    """Return seconds on the wall and of the processor for painting fields that are in memory."""
    wall = busy = 0.0
    for each in plate.fields:
        stack = plate.read(each).compute()
        began, used = time.perf_counter(), time.process_time()
        run_to_end(paint(model, stack, settings))
        wall += time.perf_counter() - began
        busy += time.process_time() - used
    return wall, busy


def whole_seconds(plate: Plate, model: Model, output: Path, *, score: bool) -> tuple[float, float]:
    """Return seconds on the wall and of the processor for a plate."""
    began = time.process_time()
    return to_end(plate, model, output, score=score)[0].seconds, time.process_time() - began


def parts(plate: Plate, name: str, folder: Path) -> None:
    """Tell what each part of a field takes, one after the other on one thread."""
    keep_freed_memory()
    model = open_model(name)
    to_end(plate.select(plate.wells[0]), model, folder / "part.zarr")
    job = load_job(job_folder(folder / "part.zarr"))
    assert job is not None
    torch.set_num_threads(1)
    times: dict[str, list[float]] = {}
    for score in (False, True):
        painter = Painter(PaintFieldRequest(job, plate.reader, job_folder(folder / "part.zarr"), folder / "part.zarr", score), model)
        for each in plate.fields[: 2 + 8]:
            marks = [time.process_time()]
            loaded = painter.read(each)
            marks.append(time.process_time())
            painting = run_to_end(painter.paint(loaded))
            marks.append(time.process_time())
            painter.finish(loaded, painting)
            marks.append(time.process_time())
            for name, seconds in zip(("read", "paint", "write"), np.diff(marks), strict=True):
                times.setdefault(f"{name}{' scored' if score else ''}", []).append(float(seconds))
    took = {name: statistics.median(values[2:]) for name, values in times.items()}
    print(
        f"seconds of a processor a field, each part alone on one thread: painting {took['paint']:.2f}, reading and domain check "
        f"{took['read']:.2f}, writing {took['write']:.2f}; with scores reading {took['read scored']:.2f}, scores and writing "
        f"{took['write scored']:.2f}"
    )


def memory(plate: Plate, model: Model, folder: Path) -> None:
    _, ends = to_end(plate, model, folder / "whole.zarr")
    held = [rss / 2**20 for _, rss in ends]
    print(
        f"memory at the first, middle and last field: {held[0]:.0f}, {held[len(held) // 2]:.0f}, {held[-1]:.0f} MiB; most {max(held):.0f}"
    )


def workers(plate: Plate, model: Model, folder: Path, count: int, bare: float) -> None:
    """Compare the throughput of `count` workers with that of one process with as many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    half = plate.select(",".join(plate.wells[: max(len(plate.wells) // 3, 4 * count)]))
    rates: dict[int, list[float]] = {1: [], count: []}
    for number in (1, count, count, 1):
        _, ends = to_end(half, model, folder / "part.zarr", workers=number)
        inner = ends[count : -count or None]  # the start and the end of processes are no part of the throughput of a large plate
        rates[number].append((len(inner) - 1) / (inner[-1][0] - inner[0][0]))
    torch.set_num_threads(before)
    one, many = (statistics.mean(rates[number]) for number in (1, count))
    print(f"fields per second: one process {one:.2f}, {count} workers {many:.2f}, ratio {many / one:.2f}; load {load()}")
    print(f"a field by {count} workers, scores included, / bare painting of it by one process with all threads: {1 / many / bare:.2f}")


def by_default(plate: Plate, model: Model, folder: Path) -> tuple[float, float]:
    """Time the command as it is on the whole plate, its start included, with and without scores, with bare painting in between.

    Returns seconds per field with nothing chosen, and bytes per field.
    """
    run_to_end(paint(model, plate.read(plate.fields[0]).compute(), PaintSettings()))
    wells = np.array_split(np.array(plate.wells), 3)
    parts = [plate.select(",".join(part)) for part in wells if len(part)]
    bare = bare_seconds(parts[0], model, PaintSettings())[0]
    found = {"with nothing chosen, scores included": command_seconds(plate, model, folder)}
    bare += bare_seconds(parts[1], model, PaintSettings())[0]
    found["with --no-scores"] = command_seconds(plate, model, folder, "--no-scores")
    bare += bare_seconds(parts[2], model, PaintSettings())[0]
    count = len(plate.fields)
    print(f"bare painting of all fields by one process: {bare:.1f} s, {bare / count:.3f} s per field; load {load()}")
    for way, (whole, pace) in found.items():
        print(
            f"`plate predict` {way}: {whole:.1f} s from start to end, plate / bare {whole / bare:.2f}; "
            f"{pace:.3f} s per field, ratio {pace * count / bare:.2f}, and {whole - count * pace:.1f} s for its start and end"
        )
    size = sum(path.stat().st_size for path in (folder / "default.zarr").rglob("*") if path.is_file()) / count
    return found["with nothing chosen, scores included"][1], size


def command_seconds(plate: Plate, model: Model, folder: Path, *options: str) -> tuple[float, float]:
    """Return the seconds of the whole command, and those between the ends of two fields of it."""
    output = folder / "default.zarr"
    job = output.with_name(f"{output.name}.job")
    for path in (output, job):
        shutil.rmtree(path, ignore_errors=True)
    code = "import sys; from napari_virtual_paint.cli import main; sys.exit(main())"
    asked = ["plate", "predict", plate.source, "-m", str(model.info.id), "-o", str(output), "--json", *options]
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, *asked], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    whole = time.perf_counter() - began
    ends = sorted(path.stat().st_mtime for path in (job / "rows").glob("[A-Z]*.json"))
    inner = ends[4:-4] if len(ends) > 20 else ends
    return whole, (inner[-1] - inner[0]) / max(len(inner) - 1, 1)


def killed(plate: Plate, model: Model, folder: Path) -> None:
    """Kill a run of the command in the middle, go on, and compare with the plate that `memory` painted."""
    output = folder / "killed.zarr"
    for path in (output, output.with_name(f"{output.name}.job")):
        shutil.rmtree(path, ignore_errors=True)
    code = "import sys; from napari_virtual_paint.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "plate", "predict", plate.source, "-m", str(model.info.id), "-o", str(output), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    rows = output.with_name(f"{output.name}.job") / "rows"
    while process.poll() is None and len(list(rows.glob("[A-Z]*.json"))) < len(plate.fields) // 3:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = json.loads(subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout)
    equal = all(np.array_equal(*pair) for pair in pixels(output, folder / "whole.zarr"))
    print(f"killed after {done['skipped']} fields and gone on with: {'equal, bit for bit' if equal else 'DIFFERENT'}")
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    print(f"run again on the finished plate: {time.perf_counter() - began:.1f} s")


def pixels(*paths: Path) -> Iterator[list[np.ndarray]]:
    plates = [open_plate(path) for path in paths]
    for each in plates[0].fields:
        yield [np.asarray(plate.read(each).data) for plate in plates]


def cost(seconds: float, size: float) -> None:
    """Tell what many plates take."""
    total = FIELDS * PLATES
    print(f"a field: {seconds:.2f} s with nothing chosen, {size / 1e6:.1f} MB written")
    print(f"{PLATES} plates of {FIELDS} fields: {total * seconds / 3600:.0f} h on this machine, {total * size / 1e12:.1f} TB")


if __name__ == "__main__":
    main()
