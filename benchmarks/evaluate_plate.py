"""What the evaluation of a plate of many small fields takes: time, processor time by part, memory of each process, and a kill on the way.

``python benchmarks/evaluate_plate.py`` makes a plate and a prediction of it, evaluates it by ``virtual-paint evaluate``, and prints:

- seconds of the whole command at the level pixels and at all levels, and seconds per field between the first and the last stored part;
- the highest resident memory of each process;
- processor seconds per field of reading, of each level and of storing, in one process;
- whether a run that was killed (kill -9) and gone on with equals the one that was not;
- what 384 wells of 9 fields take, from the figures above.

``--wells 384 --fields 9 --size 128`` is such a plate. A few fields of each condition are simulated; the others are these, turned and with
noise of their own, since the simulation would take longer than the evaluation.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from scipy import ndimage

from napari_virtual_paint.evaluation.context import EvaluationSettings
from napari_virtual_paint.evaluation.run.prepare import EvaluationRequest, prepare
from napari_virtual_paint.evaluation.run.store import FieldResult, FieldStore
from napari_virtual_paint.evaluation.run.tasks import AT_ONCE, MODULES, level_at
from napari_virtual_paint.evaluation.scale import IntensityScale, SourceMoments
from napari_virtual_paint.plates.ome_zarr import writer
from napari_virtual_paint.plates.plate import Field
from napari_virtual_paint.plates.simulation.design import PlateDesign, parse_shape
from napari_virtual_paint.samples import simulate_field
from napari_virtual_paint.stack import Stack

COMMAND = [sys.executable, "-c", "import sys; from napari_virtual_paint.cli import main; sys.exit(main())", "evaluate"]
FIELDS = 384 * 9  # fields of the plate that the time is worked out for
ALIKE = 4  # fields of each condition that are simulated
SAMPLE = 64  # most fields whose parts are timed
UNLIKE = ("report",)  # keys of the JSON that differ between two runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--wells", default="24", help="of the plate: 6, 24, 96, 384 or ROWSxCOLS")
    parser.add_argument("--fields", type=int, default=4, help="fields of a well")
    parser.add_argument("--size", type=int, default=128, help="pixels a side of a field")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--no-kill", action="store_true", help="leave out the run that is killed")
    parser.add_argument("--keep", type=Path, help="folder to work in, kept; a plate in it is not made again")
    args = parser.parse_args()
    folder = args.keep or Path(tempfile.mkdtemp(prefix="evaluate-plate-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        report(args, folder)
    finally:
        if args.keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def report(args: argparse.Namespace, folder: Path) -> None:
    design = PlateDesign(parse_shape(args.wells), args.fields, size=args.size, seed=3)
    truth, painted = plates(design, folder / f"{args.wells}-{args.fields}-{args.size}")
    fields = len(design.all_fields)
    print(f"{fields} fields of {args.size} px, {args.workers} workers, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    whole = [str(painted), str(truth), "--workers", str(args.workers), "--json"]
    for level in ("pixels", "all"):
        output = fresh(folder / f"report-{level}")
        found = run([*whole, "--level", level, "-o", str(output)])
        first, last = span(output)
        each = (last - first) / max(fields - AT_ONCE, 1)
        apart = found["seconds"] - each * fields
        print(f"{level}: {found['seconds']:.0f} s, of processor time {found['processor']:.0f} s; {1000 * each:.0f} ms a field")
        print(f"  a plate of {FIELDS} fields: {(apart + each * FIELDS) / 60:.1f} min (start and summaries as here)")
        for name, peak in found["peaks"].items():
            print(f"  {name}: {peak / 2**20:.0f} MB at most")
    parts(truth, painted)
    if not args.no_kill:
        killed(whole, folder, fields)


def fresh(path: Path) -> Path:
    shutil.rmtree(path, ignore_errors=True)
    return path


def plates(design: PlateDesign, folder: Path) -> tuple[Path, Path]:
    """Write the truth and a prediction as OME-Zarr plates, once."""
    truth, painted = folder / "truth.zarr", folder / "painted.zarr"
    if (folder / "done").exists():
        return truth, painted
    fresh(folder).mkdir()
    rng, known = np.random.default_rng(0), dict[Any, list[Stack]]()
    for path in (truth, painted):
        writer.create(path, path.stem, design.shape, design.all_fields, metadata=design.metadata)
    began = time.perf_counter()
    for number, field in enumerate(design.all_fields):
        stack = stains(design, field, number, known)
        data = rng.poisson(np.asarray(stack.data, np.float32)).astype(np.uint16)
        writer.write_field(truth, field, replace(stack, data=data))
        blurred = ndimage.gaussian_filter(data.astype(np.float32), (0, 0, 0, 1.0, 1.0))
        made = (blurred - blurred.mean()) / blurred.std() + rng.normal(0, 0.05, data.shape)
        writer.write_field(painted, field, replace(stack, data=made.astype(np.float32)))
    for path in (truth, painted):
        writer.list_fields(path, design.all_fields)
    (folder / "done").touch()
    print(f"made in {time.perf_counter() - began:.0f} s")
    return truth, painted


def stains(design: PlateDesign, field: Field, number: int, known: dict[Any, list[Stack]]) -> Stack:
    """Return the stains of a field: simulated, or turned from one of its condition."""
    alike = known.setdefault(design.treated[field.well], [])
    if len(alike) < ALIKE:
        alike.append(simulate_field(design.settings(field)).stains)
        return alike[-1]
    stack = alike[number % ALIKE]
    return replace(stack, data=np.ascontiguousarray(np.rot90(np.asarray(stack.data), number // ALIKE % 4, axes=(3, 4))))


def run(arguments: list[str], until: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """Run the command and watch its processes; kill it once `until` is true."""
    began, peaks, used = time.perf_counter(), dict[int, tuple[str, int]](), dict[int, float]()
    with subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    ) as command:
        for process in watched(command):
            try:
                name, peak = peaks.get(process.pid, ("the command" if process.pid == command.pid else f"worker {len(peaks)}", 0))
                peaks[process.pid] = name, max(peak, peak_of(process))
                times = process.cpu_times()
                used[process.pid] = times.user + times.system
            except psutil.Error:
                continue
            if until():
                os.killpg(command.pid, signal.SIGKILL)
                return {}
        assert command.stdout is not None
        out = command.stdout.read()
    found = {key: value for key, value in json.loads(out).items() if key not in UNLIKE}
    return {"seconds": time.perf_counter() - began, "processor": sum(used.values()), "peaks": dict(peaks.values()), "found": found}


def watched(command: subprocess.Popen[str]) -> Iterator[psutil.Process]:
    """Yield the command's processes again and again until it ends."""
    main_process = psutil.Process(command.pid)
    while command.poll() is None:
        yield main_process
        for child in main_process.children(recursive=True) if command.poll() is None else ():
            if "resource_tracker" not in " ".join(cmdline(child)):
                yield child
        time.sleep(0.2)


def cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return ["resource_tracker"]


def peak_of(process: psutil.Process) -> int:
    """Return the highest resident memory of a process so far; on systems other than Linux the current one."""
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
    except (OSError, StopIteration):
        return int(process.memory_info().rss)


def span(output: Path) -> tuple[float, float]:
    """Return when the first and the last part of the fields' results were stored."""
    times = [file.stat().st_mtime for file in (output / ".fields").glob("part.*.json")]
    return min(times), max(times)


def parts(truth: Path, painted: Path) -> None:
    """Print the processor time of each part of a field, in this process."""
    prepared = prepare(EvaluationRequest((("painted", str(painted)),), str(truth), settings=EvaluationSettings(workers=1)))
    keys = prepared.keys[:SAMPLE]
    scale = pooled([prepared.reader.survey(key) for key in keys])
    used: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        began = time.process_time()
        found = work()
        used[name] = used.get(name, 0.0) + time.process_time() - began
        return found

    with tempfile.TemporaryDirectory() as folder:
        store = FieldStore(Path(folder))
        for repeat in range(2):  # the first loads libraries and compiled code
            used.clear()
            for start in range(0, len(keys), AT_ONCE):
                some = keys[start : start + AT_ONCE]
                images = timed("reading", lambda some=some: [each for key in some for each in prepared.reader.read(key, scale)])
                results = []
                for name, place in MODULES.items():
                    level = level_at(place)
                    each = getattr(level, "fields", lambda images, context, level=level: [level.field(one, context) for one in images])
                    tables = timed(name, lambda images=images, each=each: each(images, prepared.context))
                    results += [FieldResult(image.key, name, table) for image, table in zip(images, tables, strict=True)]
                timed("storing", lambda results=results: store.save_fields(results))
            if not repeat:
                print(f"first {len(keys)} fields, with the loading of libraries: {sum(used.values()):.1f} s of processor time")
    print(f"each field, ms of processor time: {', '.join(f'{name} {1000 * value / len(keys):.1f}' for name, value in used.items())}")


def pooled(found: list[dict[str, SourceMoments]]) -> IntensityScale:
    total = dict(found[0])
    for each in found[1:]:
        total = {name: total[name] + each[name] for name in total}
    return IntensityScale(total)


def killed(whole: list[str], folder: Path, fields: int) -> None:
    """Print whether a killed run that was gone on with equals the one that was not."""
    output = fresh(folder / "report-killed")
    asked = [*whole, "--level", "all", "-o", str(output)]

    def stored() -> int:
        return sum(len(each) for each in FieldStore(output / ".fields").records().values()) if (output / ".fields").is_dir() else 0

    run(asked, until=lambda: stored() >= 4 * fields / 3)
    kept = stored() // 4
    again = run(asked)["found"]
    before = {key: value for key, value in json.loads((folder / "report-all" / "report.json").read_text()).items() if key not in UNLIKE}
    print(f"killed after {kept} of {fields} fields and gone on with: {'equal' if again == before else 'NOT EQUAL'} to a run that was not")


if __name__ == "__main__":
    main()
