"""Commands that are stopped in every way a process can be: one sentence, the exit code of the signal, no process and no file left."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tifffile
import yaml

from napari_virtual_paint.cli import main
from napari_virtual_paint.runtime import stopping
from napari_virtual_paint.runtime.progress import PROGRESS
from small_training import TOY

pytestmark = [pytest.mark.skipif(os.name == "nt", reason="signals are of POSIX"), pytest.mark.timeout(400)]

PATIENCE = 90.0
BEGUN = "import sys; from napari_virtual_paint.cli import main; print('begun', file=sys.stderr, flush=True); sys.exit(main())"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plate, and an image that is large enough to take a while."""
    folder = tmp_path_factory.mktemp("data")
    assert main(["simulate", str(folder / "plate.zarr"), "--plate", "1x4", "--fields", "2", "--size", "128"]) == 0
    assert main(["simulate", str(folder / "fields"), "--fields", "8", "--size", "256"]) == 0
    tifffile.imwrite(folder / "large.tif", np.random.default_rng(0).integers(0, 4000, (3, 2048, 2048), np.uint16))
    (folder / "train.yaml").write_text(yaml.safe_dump({**TOY, "steps": 100_000, "epoch": 5, "output": "trained"}))
    return folder


LONG: dict[str, Sequence[str]] = {
    "simulate": ["simulate", "OUT/fields", "--fields", "1000", "--size", "256"],
    "simulate, workers": ["simulate", "OUT/p.zarr", "--plate", "384", "--size", "256", "--workers", "2"],
    "predict": ["predict", "large.tif", "-m", "cell-painting-brightfield", "--channels", "0", "--tta", "full", "-o", "OUT/o.ome.tif"],
    "plate predict, workers": [
        *("plate", "predict", "plate.zarr", "-m", "simulated-cell-painting", "-o", "OUT/q.zarr"),
        *("--workers", "2", "--tta", "full"),
    ],
    "evaluate, workers": ["evaluate", "plate.zarr", "plate.zarr", "--level", "all", "-o", "OUT/report", "--workers", "2"],
    "cells measure, workers": ["cells", "measure", "fields", "-o", "OUT/t.csv", "--workers", "2", "--costes"],
    "train": ["train", "train.yaml"],
}
CHILDREN = {name: 2 if "workers" in name and "measure" not in name else 0 for name in LONG}


def started(words: Sequence[str], folder: Path, **options: Any) -> subprocess.Popen[bytes]:
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen([sys.executable, "-c", BEGUN, *words], cwd=folder, start_new_session=True, **streams)


PROGRESS_LINES = re.compile(rb'"done": |^field_\d+: |: step \d+/', re.MULTILINE)
"""How the commands report progress: most as JSON if asked, `simulate` each field, and `train` each epoch."""


def living(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [each for each in process.children(recursive=True) if each.status() != psutil.STATUS_ZOMBIE]
    except psutil.Error:
        return []


def until(true: Callable[[], Any], pause: float = 0.02) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "it never became so"
        time.sleep(pause)


def stopped(
    words: Sequence[str], folder: Path, signals: Sequence[int], children: int, *, group: bool = False, **options: Any
) -> tuple[int, str]:
    """Start a command, send it signals once its children run, and return its exit code and its words; all that it started must go.

    A command that starts no process is in the middle of its work once it has printed two lines of progress.
    """
    with tempfile.TemporaryFile() as stderr:
        process = started(words, folder, stderr=stderr, **options)
        code = _stopped(process, signals, children, group, lambda: os.pread(stderr.fileno(), 2**20, 0))
        return code, os.pread(stderr.fileno(), 2**20, 0).decode().removeprefix("begun\n")


def _stopped(process: subprocess.Popen[bytes], signals: Sequence[int], children: int, group: bool, said: Callable[[], bytes]) -> int:
    own = psutil.Process(process.pid)
    seen: set[psutil.Process] = set()

    def running() -> bool:
        seen.update(living(own))
        at_work = len(seen) >= children if children else len(PROGRESS_LINES.findall(said())) >= 2
        return at_work or process.poll() is not None

    until(running, pause=0.1)  # the list of all processes takes a while
    time.sleep(1.0 if children else 0.2)
    seen.update(living(own))
    assert process.poll() is None, said()
    for number in signals:
        (os.killpg if group else os.kill)(process.pid, number)
        time.sleep(0.1)
    process.communicate(timeout=PATIENCE)
    until(lambda: not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in seen))
    return process.returncode


def only_finished(folder: Path) -> bool:
    return not [each for each in folder.rglob(".*") if each.name.endswith((".partial", ".replaced"))]


ENDS = {
    "Ctrl-C": ([signal.SIGINT], True, 130),
    "two Ctrl-C": ([signal.SIGINT, signal.SIGINT], True, 130),
    "SIGTERM": ([signal.SIGTERM], False, 143),
    "SIGHUP": ([signal.SIGHUP], True, 143),
}


@pytest.mark.parametrize(
    ("command", "end"),
    [
        *((command, "two Ctrl-C") for command in LONG),
        *((command, "SIGTERM") for command in ("simulate, workers", "plate predict, workers", "train")),
        *(("simulate, workers", end) for end in ("Ctrl-C", "SIGHUP")),
    ],
)
def test_a_command_that_is_stopped(command: str, end: str, data: Path, tmp_path: Path) -> None:
    signals, group, code = ENDS[end]
    words = [word.replace("OUT", str(tmp_path)) for word in LONG[command]]
    temporary = tmp_path / "t"
    temporary.mkdir()
    short = Path(os.environ.get("TMPDIR", "/tmp")) / f"vp{os.getpid()}"
    short.symlink_to(temporary)
    try:
        found, err = stopped(
            words,
            data,
            signals,
            CHILDREN[command],
            group=group,
            env={**os.environ, "TMPDIR": str(short), PROGRESS: "json"},
        )
    finally:
        short.unlink()
    lines = [line for line in err.splitlines() if "stopped" in line]
    assert found == code, err
    assert len(lines) == 1, err
    assert "Traceback" not in err
    assert "Exception" not in err
    assert "leaked" not in err
    assert only_finished(tmp_path)
    assert not list(temporary.iterdir())


def test_every_command_is_stopped_in_one_sentence_even_while_it_imports(data: Path, tmp_path: Path) -> None:
    for words in (["models", "list"], ["models", "show", "neurons-phase"], ["plate", "info", "plate.zarr"]):
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            process = started(words, data)
            assert process.stderr is not None
            assert process.stderr.readline() == b"begun\n"
            time.sleep(0.05)  # the handlers are set within microseconds
            process.send_signal(number)
            _, err = process.communicate(timeout=PATIENCE)
            # A command this short may be done before the signal comes.
            assert (process.returncode, err) in ((code, b"virtual-paint: stopped; nothing half-written is left.\n"), (0, err)), err
            assert b"Traceback" not in err


def test_workers_go_with_a_command_that_is_killed(data: Path, tmp_path: Path) -> None:
    code, _ = stopped([word.replace("OUT", str(tmp_path)) for word in LONG["simulate, workers"]], data, [signal.SIGKILL], 2)
    assert code == -signal.SIGKILL


def test_what_a_killed_command_left_goes_with_the_next_one(data: Path, tmp_path: Path) -> None:
    place = Path(f"/tmp/vpk{os.getpid()}")
    place.mkdir()
    environment = {**os.environ, "TMPDIR": str(place)}
    words = [word.replace("OUT", str(tmp_path)) for word in LONG["simulate, workers"]]
    try:
        stopped(words, data, [signal.SIGKILL], 2, env=environment)
        assert [each.name.startswith("virtual-paint-") for each in place.iterdir()] == [True]
        done = subprocess.run([sys.executable, "-c", BEGUN, "models", "list"], env=environment, capture_output=True, check=True)
        assert done.returncode == 0
        assert not list(place.iterdir())
    finally:
        for each in place.iterdir():
            each.rmdir()
        place.rmdir()


def test_a_background_command_keeps_ignoring_what_its_shell_ignores(data: Path, tmp_path: Path) -> None:
    words = ["simulate", str(tmp_path / "fields"), "--fields", "2", "--size", "64"]
    code = "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); " + BEGUN.removeprefix("import sys; ")
    process = subprocess.Popen([sys.executable, "-c", code, *words], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stderr is not None
    assert process.stderr.readline() == b"begun\n"
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 0


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_a_command_whose_descriptors_are_closed(closed: tuple[int, ...], tmp_path: Path) -> None:
    shell = " ".join(f"{number}{'<' if number == 0 else '>'}&-" for number in closed)
    words = f"simulate {tmp_path}/p.zarr --plate 1x2 --size 64 --workers 2"
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$PYTHON" -m napari_virtual_paint.cli {words} {shell}'],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(each.name for each in (tmp_path / "p.zarr" / "A").iterdir() if each.is_dir()) == ["1", "2"]


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is of Linux")
def test_a_stream_on_a_full_disk(stream: str, tmp_path: Path) -> None:
    words = ["simulate", str(tmp_path / "fields"), "--size", "64", "--json"]
    with Path("/dev/full").open("wb") as full:
        streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: full}
        done = subprocess.run([sys.executable, "-m", "napari_virtual_paint.cli", *words], timeout=PATIENCE, check=False, **streams)
    assert done.returncode == (1 if stream == "stdout" else 0)
    if stream == "stdout":
        lines = [line for line in done.stderr.decode().splitlines() if "cells" not in line]
        assert lines == ["virtual-paint: the result can't be printed (No space left on device)."]
    assert (tmp_path / "fields" / "fields.csv").is_file()


def test_a_reader_that_goes_away(data: Path) -> None:
    for words in ("models list --json", "plate info plate.zarr"):
        done = subprocess.run(
            ["/bin/bash", "-c", f'"$PYTHON" -m napari_virtual_paint.cli {words} 2>&1 | head -c 1; exit ${{PIPESTATUS[0]}}'],
            env={**os.environ, "PYTHON": sys.executable},
            cwd=data,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode in (0, 1)
        assert done.stderr == ""


STUCK = """
import multiprocessing, sys, time
from pathlib import Path
from napari_virtual_paint.runtime import stopping
from napari_virtual_paint.runtime.progress import PROGRESS
from napari_virtual_paint.runtime.atomic_write import replacing

stopping.CHILDREN, stopping.PATIENCE = 0.2, 0.6
if __name__ == "__main__":
    with stopping.StopSignals(to_the_end=True), replacing(Path(sys.argv[1]), overwrite=False) as partial:
        partial.write_text("half")
        child = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,))
        child.start()
        print(child.pid, flush=True)
        while True:
            try:
                time.sleep(600)
            except BaseException:
                pass
"""


def test_a_command_that_does_not_react_is_ended_with_its_children(tmp_path: Path) -> None:
    (tmp_path / "stuck.py").write_text(STUCK)
    command = [sys.executable, str(tmp_path / "stuck.py"), str(tmp_path / "out.txt")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    child = psutil.Process(int(process.stdout.readline()))
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (143, "virtual-paint: stopped; what was finished is kept.\n")
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    assert [each.name for each in tmp_path.iterdir()] == ["stuck.py"]


def test_the_handlers_of_the_caller_come_back() -> None:
    before = [signal.getsignal(number) for number in stopping.SIGNALS]
    with pytest.raises(KeyboardInterrupt), stopping.StopSignals() as stop:
        signal.raise_signal(signal.SIGTERM)
    assert (stop.received, stop.exit_code) == (signal.SIGTERM, 143)
    assert [signal.getsignal(number) for number in stopping.SIGNALS] == before
    with stopping.StopSignals() as stop:
        assert stop.exit_code == 130
