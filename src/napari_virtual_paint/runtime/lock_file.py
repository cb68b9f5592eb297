"""One run at a time on an output: a lock file that tells whose it is, and is known to be stale when that process has gone."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from napari_virtual_paint.errors import InputError, WriteError

NAME = "lock.json"
THREAD = "plate lock"
"""Name of the thread that touches the lock."""
BEAT = 10.0
"""Seconds between two touches of the lock, by which other machines see that its owner lives."""
SILENT = 90.0
"""Seconds without a touch after which the lock of another machine is stale."""


@contextlib.contextmanager
def locked(folder: Path, output: Path, doing: str = "painted") -> Iterator[None]:
    """Hold the lock of a job's folder.

    Parameters
    ----------
    folder
        Where the lock lies.
    output, doing
        For the sentence that another run gets: what is done to what.

    Raises
    ------
    InputError
        If another run holds it.
    """
    path = folder / NAME
    token = uuid.uuid4().hex
    _take(path, token, output, doing)
    stop = threading.Event()
    beat = threading.Thread(target=_beat, args=(path, stop), daemon=True, name=THREAD)
    beat.start()
    try:
        yield
    finally:
        stop.set()
        with contextlib.suppress(OSError, ValueError):
            if _read(path).get("token") == token:
                path.unlink()


def _take(path: Path, token: str, output: Path, doing: str) -> None:
    """Make the lock file, in the place of a stale one if there is one."""
    process = psutil.Process()
    owner = {"pid": process.pid, "host": platform.node(), "started": process.create_time(), "token": token}
    for _ in range(3):
        # Made beside and linked, since a lock that is seen must tell at once whose it is.
        beside = path.with_name(f".{path.name}.{token}")
        try:
            beside.write_text(json.dumps(owner), "utf-8")
            _link(beside, path)
            return
        except FileExistsError:
            other = _read(path)
            if other and _lives(path, other):
                raise InputError(
                    f"{output}: it is being {doing} by another run (process {other.get('pid')} on {other.get('host')}); "
                    "wait for it to end, or stop it."
                ) from None
            _clear(path, other)
        except OSError as error:
            raise WriteError(path, f"the job can't be locked ({error.strerror or error})") from error
        finally:
            beside.unlink(missing_ok=True)
    raise InputError(f"{output}: it is being {doing} by another run, which has just begun; wait for it to end.")


def _link(beside: Path, path: Path) -> None:
    """Give the lock its name, and fail where the name is taken; some file systems have no links."""
    try:
        os.link(beside, path)
    except FileExistsError:
        raise
    except OSError:
        with path.open("x", encoding="utf-8") as file:
            file.write(beside.read_text("utf-8"))


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _lives(path: Path, owner: dict[str, Any]) -> bool:
    """Tell whether the owner of a lock is still at work."""
    if owner.get("host") != platform.node():
        with contextlib.suppress(OSError):
            return bool(time.time() - path.stat().st_mtime < SILENT)
        return False
    try:
        began = psutil.Process(int(owner["pid"])).create_time()
        return bool(abs(began - float(owner["started"])) < 2.0)  # else the number was given to another process since
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False


def _clear(path: Path, stale: dict[str, Any]) -> None:
    """Take a stale lock away; one that another run put in its place meanwhile goes back."""
    aside = path.with_name(f".{path.name}.stale-{uuid.uuid4().hex}")
    with contextlib.suppress(OSError):
        path.rename(aside)
        if _read(aside).get("token") != stale.get("token"):
            _link(aside, path)
        aside.unlink(missing_ok=True)


def _beat(path: Path, stop: threading.Event) -> None:
    while not stop.wait(BEAT):
        with contextlib.suppress(OSError):
            os.utime(path)
