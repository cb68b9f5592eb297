"""A lock file that lets one run at a time write an output, and that is recognised as stale once its owner has ended."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from napari_virtual_paint.errors import InputError, WriteError
from napari_virtual_paint.runtime.processes import is_running

LOCK = "lock.json"  # usual name of a lock file
BEAT = 10.0  # seconds between two touches of the file, which show other machines that its owner is alive
SILENT = 90.0  # seconds without a touch after which the lock of another machine is stale
RETRY = 0.05  # seconds between two attempts to take a lock that another run holds


class OutputLock:
    """Context in which no other run, of this process or another one, writes an output.

    Parameters
    ----------
    path
        The lock file, in a folder that exists; one that can't be read is stale.
    output, doing
        For the error message of a second run: what the first one is doing to what.
    wait
        Whether a second run waits for the first one to end.
    """

    def __init__(self, path: Path, output: Path, doing: str, *, wait: bool = False) -> None:
        self.path, self.output, self.doing, self.wait = path, output, doing, wait
        self._token = uuid.uuid4().hex
        self._released = threading.Event()

    def __enter__(self) -> None:
        """Take the lock.

        Raises
        ------
        InputError
            If another run holds it.
        WriteError
            If it can't be written.
        """
        attempts = 0
        while not self._create():
            owner = _read(self.path)
            if owner is None:  # released just now
                pass
            elif _is_alive(self.path, owner):
                if not self.wait:
                    raise InputError(
                        f"{self.output}: it is being {self.doing} by another run (process {owner.get('pid')} on {owner.get('host')}); "
                        "wait for it to end, or stop it."
                    )
                time.sleep(RETRY)
                continue
            else:
                _remove_stale(self.path, owner)
            attempts += 1
            if attempts == 3 and not self.wait:
                raise InputError(f"{self.output}: it is being {self.doing} by another run, which has just begun; wait for it to end.")
        threading.Thread(target=self._beat, daemon=True, name="output lock").start()

    def __exit__(self, *_: object) -> None:
        """Release the lock."""
        self._released.set()
        with contextlib.suppress(OSError):
            if (_read(self.path) or {}).get("token") == self._token:
                self.path.unlink()

    def _create(self) -> bool:
        """Create the lock file with its content; return False if it exists."""
        process = psutil.Process()
        owner = {"pid": process.pid, "host": platform.node(), "started": process.create_time(), "token": self._token}
        # Written under another name and linked, so that nobody sees a lock without its owner.
        beside = self.path.with_name(f".{self.path.name}.{self._token}")
        try:
            beside.write_text(json.dumps(owner), "utf-8")
            _link(beside, self.path)
        except FileExistsError:
            return False
        except OSError as error:
            raise WriteError(self.path, f"the lock can't be written ({error.strerror or error})") from error
        finally:
            beside.unlink(missing_ok=True)
        return True

    def _beat(self) -> None:
        while not self._released.wait(BEAT):
            with contextlib.suppress(OSError):
                os.utime(self.path)


def _link(source: Path, path: Path) -> None:
    """Give a file a second name, which must be free; copy it on file systems without links."""
    try:
        os.link(source, path)
    except FileExistsError:
        raise
    except OSError:
        with path.open("x", encoding="utf-8") as file:
            file.write(source.read_text("utf-8"))


def _read(path: Path) -> dict[str, Any] | None:
    """Return the owner of a lock, empty if the file can't be read; None if there is no lock."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_alive(path: Path, owner: Mapping[str, Any]) -> bool:
    """Return whether the owner of a lock still runs."""
    if owner and owner.get("host") != platform.node():
        with contextlib.suppress(OSError):
            return bool(time.time() - path.stat().st_mtime < SILENT)
        return False
    try:
        return is_running(int(owner["pid"]), float(owner["started"]))
    except (KeyError, TypeError, ValueError):
        return False


def _remove_stale(path: Path, owner: Mapping[str, Any]) -> None:
    """Remove a stale lock; if another run has replaced it meanwhile, put that one back."""
    aside = path.with_name(f".{path.name}.stale-{uuid.uuid4().hex}")
    with contextlib.suppress(OSError):
        path.rename(aside)
        if (_read(aside) or {}).get("token") != owner.get("token"):
            _link(aside, path)
        aside.unlink(missing_ok=True)
