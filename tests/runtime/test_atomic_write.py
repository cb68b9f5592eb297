"""Whole or not at all: when something is there already, when killed, and when the disk is full."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dask.array as da
import numpy as np
import pytest

from napari_virtual_paint.errors import WriteError
from napari_virtual_paint.reading import read
from napari_virtual_paint.runtime import atomic_write
from napari_virtual_paint.runtime.atomic_write import is_leftover, remove_leftovers, updating, write_text
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.writing import write

HAS_ZARR = importlib.util.find_spec("zarr") is not None
SUFFIXES = [".ome.tif", pytest.param(".ome.zarr", marks=pytest.mark.skipif(not HAS_ZARR, reason="zarr is not installed"))]
OLD = Stack(np.full((1, 1, 1, 30, 40), 1, np.uint8))
NEW = Stack(np.full((1, 1, 2, 30, 40), 2, np.uint8))


def value(path: Path) -> int:
    return int(read(path).data.max().compute())


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def failing(after: int) -> Stack:
    """A stack whose planes can't be computed from one on."""

    def compute(block: np.ndarray, block_info: dict) -> np.ndarray:
        if block_info[0]["chunk-location"][2] >= after:
            raise RuntimeError("out of luck")
        return block

    zeros = da.zeros((1, 1, 6, 30, 40), chunks=(1, 1, 1, 30, 40), dtype=np.uint8)
    return Stack(zeros.map_blocks(compute, dtype=np.uint8, meta=np.empty((0,) * 5, np.uint8)))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_there_stays_unless_overwriting_is_allowed(tmp_path: Path, suffix: str) -> None:
    path = write(OLD, tmp_path / f"a{suffix}")
    with pytest.raises(WriteError, match="exists already"):
        write(NEW, path)
    assert value(path) == 1
    write(NEW, path, overwrite=True)
    assert value(path) == 2
    assert names(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failure_leaves_nothing_and_touches_nothing(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    with pytest.raises(WriteError, match="out of luck"):
        write(failing(3), path)
    assert names(tmp_path) == []
    write(OLD, path)
    with pytest.raises(WriteError, match="out of luck"):
        write(failing(3), path, overwrite=True)
    assert value(path) == 1
    assert names(tmp_path) == [path.name]


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(block: np.ndarray) -> np.ndarray:
        raise KeyboardInterrupt

    lazy = da.zeros((1, 1, 1, 30, 40), dtype=np.uint8).map_blocks(interrupt, dtype=np.uint8, meta=np.empty((0,) * 5, np.uint8))
    with pytest.raises(KeyboardInterrupt):
        write(Stack(lazy), tmp_path / "a.ome.tif")
    assert names(tmp_path) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_stack_replaces_the_file_it_comes_from(tmp_path: Path, suffix: str) -> None:
    data = (np.random.default_rng(0).random((1, 2, 2, 30, 40)) * 200).astype(np.uint8)
    path = write(Stack(data), tmp_path / f"a{suffix}")
    write(read(path), path, overwrite=True)
    assert np.array_equal(read(path).data.compute(), data)


def test_folders_that_are_no_zarr_are_not_replaced(tmp_path: Path) -> None:
    pytest.importorskip("zarr", reason="zarr is not installed")
    for name in ("a.zarr", "b.ome.tif"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").write_text("three years of work")
        with pytest.raises(WriteError, match="choose another name"):
            write(NEW, tmp_path / name, overwrite=True)
        assert (tmp_path / name / "thesis.txt").read_text() == "three years of work"
    (tmp_path / "c.zarr").write_text("a file")
    with pytest.raises(WriteError, match="a file of this name"):
        write(NEW, tmp_path / "c.zarr", overwrite=True)
    (tmp_path / "d.zarr").mkdir()
    assert value(write(NEW, tmp_path / "d.zarr", overwrite=True)) == 2


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="there is no folder"):
        write(NEW, tmp_path / "absent" / "a.ome.tif")


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"

    def appear(block: np.ndarray) -> np.ndarray:
        path.write_text("mine")
        return block

    lazy = da.zeros((1, 1, 1, 30, 40), dtype=np.uint8).map_blocks(appear, dtype=np.uint8, meta=np.empty((0,) * 5, np.uint8))
    with pytest.raises(WriteError, match="exists already"):
        write(Stack(lazy), path)
    assert path.read_text() == "mine"
    assert names(tmp_path) == [path.name]


def test_the_old_folder_comes_back_if_the_new_one_can_not_take_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("zarr", reason="zarr is not installed")
    path = write(OLD, tmp_path / "a.zarr")
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self.name.endswith(".partial"):
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(WriteError, match="Input/output error"):
        write(NEW, path, overwrite=True)
    assert value(path) == 1
    assert names(tmp_path) == [path.name]


SLOW = """
import sys, time, numpy as np, dask.array as da
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.writing import write
def slow(block):
    time.sleep(0.2)
    return block
planes = da.zeros((1, 1, 500, 30, 40), chunks=(1, 1, 1, 30, 40), dtype=np.uint8)
print("ready", flush=True)
write(Stack(planes.map_blocks(slow, dtype=np.uint8, meta=np.empty((0,) * 5, np.uint8))), sys.argv[1], overwrite=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("before", [False, True], ids=["new", "replacing"])
def test_killed_in_the_middle(tmp_path: Path, suffix: str, before: bool) -> None:
    path = tmp_path / f"a{suffix}"
    if before:
        write(OLD, path)
    with subprocess.Popen([sys.executable, "-c", SLOW, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        while not [name for name in names(tmp_path) if name.endswith(".partial")]:
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
    assert path.exists() == before
    assert all(name == path.name or name.startswith(".") for name in names(tmp_path))
    if before:
        assert value(path) == 1
    write(NEW, path, overwrite=True)
    assert value(path) == 2
    assert names(tmp_path) == [path.name]


def test_a_folder_put_aside_by_a_killed_process_comes_back(tmp_path: Path) -> None:
    pytest.importorskip("zarr", reason="zarr is not installed")
    path = write(OLD, tmp_path / "a.zarr")
    with subprocess.Popen([sys.executable, "-c", "pass"]) as process:
        process.wait()
    aside = atomic_write.hidden_name(path, atomic_write.ASIDE)
    path.rename(aside.with_name(aside.name.replace(f"-{os.getpid()}-", f"-{process.pid}-")))
    with pytest.raises(WriteError, match="exists already"):
        write(NEW, path)
    assert value(path) == 1
    assert names(tmp_path) == [path.name]


def test_what_another_running_process_writes_is_left_alone(tmp_path: Path) -> None:
    other = atomic_write.hidden_name(tmp_path / "a.ome.tif")
    other.write_text("in work")
    write(NEW, tmp_path / "a.ome.tif")
    assert other.read_text() == "in work"


FULL = """
import resource, sys, numpy as np
from napari_virtual_paint.errors import WriteError
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.writing import write
stack = Stack(np.random.default_rng(0).integers(0, 255, (1, 1, 4, 400, 400), np.uint8))
sys.dont_write_bytecode = True  # else what is imported from here on may leave half of it behind
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    write(stack, sys.argv[1], overwrite=True)
except WriteError as error:
    print(error)
"""


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_room_left(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("resource", reason="the limit is set by setrlimit, which this system has not")
    path = write(OLD, tmp_path / f"a{suffix}")
    done = subprocess.run([sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{path}: it can't be written (File too large)")
    assert value(path) == 1
    assert names(tmp_path) == [path.name]


def test_updating_replaces_files_and_folders(tmp_path: Path) -> None:
    for text in ("one", "two"):
        with updating(tmp_path / "state.json") as beside:
            beside.write_text(text)
        with updating(tmp_path / "pairs") as beside:
            beside.mkdir()
            (beside / text).write_text(text)
    assert (tmp_path / "state.json").read_text() == "two"
    assert names(tmp_path / "pairs") == ["two"]
    with pytest.raises(WriteError, match="No such file"), updating(tmp_path / "state.json") as beside:
        (beside / "absent").write_text("half")
    assert (tmp_path / "state.json").read_text() == "two"
    assert names(tmp_path) == ["pairs", "state.json"]


@pytest.mark.parametrize("durable", [True, False])
def test_text_is_written_as_it_is(tmp_path: Path, durable: bool) -> None:
    for text in ("a\r\nb\n", "µm"):
        write_text(tmp_path / "a.csv", text, durable=durable)
        assert (tmp_path / "a.csv").read_bytes() == text.encode()
    assert names(tmp_path) == ["a.csv"]


def test_leftovers_are_recognized_and_removed_unless_their_process_lives(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as process:
        process.wait()
    target, ours = tmp_path / "a.parquet", f"-{os.getpid()}-"
    dead, living = (atomic_write.hidden_name(target).name.replace(ours, f"-{pid}-") for pid in (process.pid, os.getppid()))
    machine = atomic_write._machine()
    elsewhere, abandoned = (dead.replace(machine, name) for name in ("00000000", "00000001"))
    former = [".checkpoint.ckpt.part", f".0a1b.{process.pid}.part", ".0123456789abcdef.partial", f".0a1b.{os.getppid()}.part"]
    aside = atomic_write.hidden_name(target, atomic_write.ASIDE).name
    for name in (dead, living, elsewhere, abandoned, *former, aside, ".hidden", "b.partial", "a.parquet"):
        (tmp_path / name).mkdir() if name == dead else (tmp_path / name).write_text("half")
    os.utime(tmp_path / abandoned, (0, 0))
    assert [name for name in (dead, *former, aside) if not is_leftover(name)] == []
    assert [name for name in (".hidden", "b.partial", "a.parquet", "a.part") if is_leftover(name)] == []
    remove_leftovers(tmp_path)
    assert names(tmp_path) == sorted([living, elsewhere, former[-1], aside, ".hidden", "b.partial", "a.parquet"])
    remove_leftovers(tmp_path / "absent")
