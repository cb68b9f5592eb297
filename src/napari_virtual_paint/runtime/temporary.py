"""Temporary folders, of which a killed process leaves none for long.

One is called ``virtual-paint-MACHINE-PROCESS-...``. Whoever makes the next one removes those whose process has ended.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import platform
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from napari_virtual_paint.errors import WriteError

PREFIX = "virtual-paint"
LONGEST_PLACE = 40  # letters of the system's folder for temporary files; the name of a socket below it has some 60, and 107 are allowed

_own: list[Path] = []  # the folder of this process, if it has one


def make_temporary_folder() -> Path:
    """Create a folder for temporary files, which the caller removes; those that killed processes left go now.

    Raises `WriteError` if it can't be created.
    """
    try:
        place = Path(tempfile.gettempdir())
        remove_stale(place)
        return Path(tempfile.mkdtemp(prefix=f"{PREFIX}-{_machine()}-{os.getpid()}-", dir=place))
    except OSError as error:
        reason = f"no temporary folder can be made ({error.strerror or error}); make room there, or set TMPDIR to another folder"
        raise WriteError(error.filename or "the system's folder for temporary files", reason) from error


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a folder for temporary files that is removed at the end."""
    folder = make_temporary_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def use_own_folder() -> None:
    """Let this process, its children and all libraries put their temporary files into one folder, which is removed when it ends.

    For processes that are this program alone. A folder that can't be made, or whose name would be too long for the sockets through which
    processes speak, is done without.
    """
    with contextlib.suppress(WriteError, OSError):
        if len(tempfile.gettempdir()) > LONGEST_PLACE:
            return
        before, folder = os.environ.get("TMPDIR"), make_temporary_folder()
        tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
        atexit.register(_leave, folder, before)
        _own.append(folder)


def _leave(folder: Path, before: str | None) -> None:
    tempfile.tempdir = None
    os.environ.pop("TMPDIR", None)
    if before is not None:
        os.environ["TMPDIR"] = before
    shutil.rmtree(folder, ignore_errors=True)


def remove_own_folder() -> None:
    """Remove the temporary folder of this process, which ends at once, without its clean-up."""
    for folder in _own:
        shutil.rmtree(folder, ignore_errors=True)


def remove_stale(place: Path) -> None:
    """Remove the temporary folders of processes of this user on this machine that have ended."""
    name = re.compile(rf"{PREFIX}-{_machine()}-(\d+)-\w+")
    with contextlib.suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            found = name.fullmatch(entry.name)
            if found is None or not entry.is_dir(follow_symlinks=False) or _runs(int(found[1])):
                continue
            if not hasattr(os, "getuid") or entry.stat(follow_symlinks=False).st_uid == os.getuid():
                shutil.rmtree(entry.path, ignore_errors=True)


def _runs(process: int) -> bool:
    import psutil  # slow to import, and seldom needed

    return bool(psutil.pid_exists(process))


def _machine() -> str:
    return f"{zlib.crc32(platform.node().encode()):08x}"
