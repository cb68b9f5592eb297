"""Locks of outputs: one run at a time; stale ones and those of earlier versions are no obstacle."""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from napari_virtual_paint.errors import InputError, WriteError
from napari_virtual_paint.runtime import lock_file
from napari_virtual_paint.runtime.lock_file import SILENT, OutputLock


def lock_of(path: Path, **changes: Any) -> None:
    """Write a lock as another run of this process would."""
    process = psutil.Process()
    owner = {"pid": process.pid, "host": platform.node(), "started": process.create_time(), "token": "x", **changes}
    path.write_text(json.dumps(owner), "utf-8")


def test_one_run_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    with OutputLock(path, tmp_path / "out", "painted"):
        assert json.loads(path.read_text("utf-8"))["pid"] == os.getpid()
        words = rf"out: it is being painted by another run \(process {os.getpid()} on {platform.node()}\); wait for it"
        with pytest.raises(InputError, match=words), OutputLock(path, tmp_path / "out", "painted"):
            pass
        assert [each.name for each in tmp_path.iterdir()] == ["lock.json"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("changes", [{"pid": 2**22 + 7}, {"started": 1.0}, {"host": "elsewhere"}, {"pid": "none"}], ids=str)
def test_stale_locks_are_replaced(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = tmp_path / "lock.json"
    lock_of(path, **changes)
    os.utime(path, (1e9, time.time() - 2 * SILENT))
    with OutputLock(path, tmp_path, "painted"):
        assert json.loads(path.read_text("utf-8"))["token"] != "x"
    assert not list(tmp_path.iterdir())


def test_a_lock_of_another_machine_that_is_touched_is_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock.json"
    lock_of(path, host="elsewhere")
    with pytest.raises(InputError, match="on elsewhere"), OutputLock(path, tmp_path, "painted"):
        pass
    monkeypatch.setattr(lock_file, "BEAT", 0.01)
    path.unlink()
    with OutputLock(path, tmp_path, "painted"):
        os.utime(path, (1e9, 1e9))
        end = time.monotonic() + 30
        while path.stat().st_mtime < 1e9 + 1:
            assert time.monotonic() < end
            time.sleep(0.01)


@pytest.mark.parametrize("text", ["", "half a lo", "[1]"])
def test_files_of_earlier_versions_and_damaged_ones_do_not_block(tmp_path: Path, text: str) -> None:
    path = tmp_path / ".lock"
    path.write_text(text)  # filelock, of earlier versions, left an empty file
    with OutputLock(path, tmp_path, "written"):
        assert json.loads(path.read_text("utf-8"))["pid"] == os.getpid()


def test_a_lock_that_another_run_has_taken_over_is_left_to_it(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    with OutputLock(path, tmp_path, "painted"):
        lock_of(path)
    assert json.loads(path.read_text("utf-8"))["token"] == "x"


def test_runs_that_wait_follow_one_another(tmp_path: Path) -> None:
    path, inside, most = tmp_path / "ab.lock", [0], [0]

    def work() -> None:
        for _ in range(5):
            with OutputLock(path, tmp_path, "fetched", wait=True):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.002)
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == [1]
    assert not list(tmp_path.iterdir())


def test_without_links_it_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", none)
    path = tmp_path / "lock.json"
    with OutputLock(path, tmp_path, "painted"), pytest.raises(InputError, match="by another run"), OutputLock(path, tmp_path, "painted"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="the lock can't be written"), OutputLock(tmp_path / "none" / "lock.json", tmp_path, "painted"):
        pass
