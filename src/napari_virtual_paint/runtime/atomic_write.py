"""Whole or not at all: written beside under a hidden name, brought to the disk, then renamed."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import psutil

from napari_virtual_paint.errors import WriteError

_BESIDE, _ASIDE = "partial", "replaced"
_SYNCERS = 8


@contextlib.contextmanager
def replacing(target: Path, *, overwrite: bool, folder: Callable[[Path], bool] | None = None, cached: bool = True) -> Iterator[Path]:
    """Give a name to write to, and rename what was written to ``target`` once it is complete.

    Parameters
    ----------
    target
        The final name.
    overwrite
        Whether what is there may be replaced.
    folder
        Whether a folder that is there is one of those that may be replaced (an empty one always is); None where a file is written.
    cached
        Whether what was written stays in the system's cache. One of many images of a plate had better not: it is not read again soon, and
        memory that is given back at once serves the next one, where fresh memory must be cleared.

    Raises
    ------
    WriteError
        If something is there that may not be replaced.
    """
    if not target.parent.is_dir():
        raise WriteError(target, f"there is no folder {str(target.parent)!r}; make it first")
    _tidy(target)
    _check(target, overwrite, folder)
    beside = _hidden(target, _BESIDE)
    try:
        yield beside
        to_disk(beside, cached=cached)
        _check(target, overwrite, folder)
        _rename(beside, target, overwrite)
    except BaseException:
        (_remove_for_good if folder else _remove)(beside)
        raise
    _remove(beside)  # a second name of the finished file, where it was linked
    _sync(target.parent)


def _check(target: Path, overwrite: bool, folder: Callable[[Path], bool] | None) -> None:
    """Raise a `WriteError` where the target may not be replaced."""
    if not target.exists() and not target.is_symlink():
        return
    if not overwrite:
        raise WriteError(target, "it exists already; choose another name or allow overwriting")
    if target.is_dir() != (folder is not None):
        kind = "folder" if target.is_dir() else "file"
        raise WriteError(target, f"a {kind} of this name is there, which is not replaced by an image of this format; choose another name")
    if folder is not None and not folder(target) and any(target.iterdir()):
        raise WriteError(target, "a folder of this name holds something else than an image; it is left as it is, choose another name")


def _rename(beside: Path, target: Path, overwrite: bool) -> None:
    """Give the finished file or folder its final name."""
    if target.is_symlink():
        target = target.resolve()
    if target.is_dir():
        # Folders can't be exchanged in one step everywhere: the old one goes aside, and comes back if the new one can't take its place.
        aside = _hidden(target, _ASIDE)
        target.rename(aside)
        try:
            beside.rename(target)
        except OSError:
            aside.rename(target)
            raise
        _remove(aside)
    elif overwrite or beside.is_dir():
        beside.replace(target)
    else:
        _link(beside, target)


def _link(beside: Path, target: Path) -> None:
    """Rename without ever replacing a file that appeared meanwhile, where the file system can."""
    try:
        os.link(beside, target)
    except FileExistsError as error:
        raise WriteError(target, "it exists already; choose another name or allow overwriting") from error
    except OSError:
        beside.replace(target)


def _hidden(target: Path, kind: str) -> Path:
    """Return a hidden name beside the target that tells which process it belongs to."""
    return target.with_name(f"{_start(target)}{os.getpid()}-{uuid.uuid4().hex[:8]}.{kind}")


def _start(target: Path) -> str:
    """Return how our hidden names of a target begin: they tell the machine, since the folder may be shared with others."""
    machine = zlib.crc32(platform.node().encode())
    return f".{target.name[:150]}.{machine:08x}-"


def _tidy(target: Path) -> None:
    """Clear away what processes that were killed while writing this target left, and bring back what they had put aside."""
    name = re.compile(re.escape(_start(target)) + rf"(\d+)-[0-9a-f]{{8}}\.({_BESIDE}|{_ASIDE})")
    with contextlib.suppress(OSError):
        for entry in target.parent.iterdir():
            found = name.fullmatch(entry.name)
            if found is None or psutil.pid_exists(int(found[1])):
                continue
            if found[2] == _ASIDE and not target.exists():
                entry.rename(target)
            else:
                _remove(entry)


def _remove(path: Path) -> None:
    """Remove a file or folder of our own, if it is there."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _remove_for_good(path: Path) -> None:
    """Remove a folder in which threads may still be writing: zarr gives up at the first chunk that fails while others are under way."""
    gone = 0
    for _ in range(40):
        _remove(path)
        gone = 0 if path.exists() else gone + 1
        if gone == 3:
            return
        time.sleep(0.05)


def to_disk(path: Path, *, cached: bool = True) -> None:
    """Bring a file, or all files of a folder, from the system's cache to the disk; the cache may forget them then."""
    if not path.is_dir():
        _sync(path, cached=cached)
        return
    # A zarr is many small files and folders, and the disk takes those of several threads in one go.
    with ThreadPoolExecutor(_SYNCERS) as pool:
        every = (Path(folder, name) for folder, _, files in os.walk(path) for name in (*files, "."))
        for _ in pool.map(partial(_sync, cached=cached), every):
            pass


def _sync(path: Path, *, cached: bool = True) -> None:
    """Bring one file or directory to the disk, where the system allows it for directories."""
    flags = os.O_RDONLY if path.is_dir() or os.name != "nt" else os.O_RDWR
    try:
        descriptor = os.open(path, flags)
    except OSError:
        if path.is_dir():
            return
        raise
    try:
        os.fsync(descriptor)
        if not cached and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError:
        if not path.is_dir():
            raise
    finally:
        os.close(descriptor)
