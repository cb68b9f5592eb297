"""Write files and folders atomically: under a hidden name beside the target, which is then renamed.

`replacing` is for outputs of the user: it checks what is there and syncs to the disk. `updating` is for the program's own files, which
a power cut may spoil. Hidden names end in ``.partial`` or ``.replaced`` and name machine and process, so that what a killed process left
can be recognized (`is_leftover`) and removed.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import re
import shutil
import time
import uuid
import zlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from napari_virtual_paint.errors import WriteError
from napari_virtual_paint.runtime.write_errors import disk_errors

PARTIAL, ASIDE = "partial", "replaced"
LONGEST = 150  # letters of the target's name in its hidden names, which would be too long for the file system otherwise
HIDDEN = re.compile(rf"\.(?P<target>.*)\.(?P<machine>[0-9a-f]{{8}})-(?P<process>\d+)-[0-9a-f]{{8}}\.(?P<kind>{PARTIAL}|{ASIDE})", re.DOTALL)
"""The names that `hidden_name` gives; machines may share a folder."""
FORMER = "part"  # suffix that earlier versions gave some of their half-written files
STALE = 3600.0  # seconds without a change after which what a process of another machine was writing is left over
SYNC_THREADS = 8

_unfinished: set[Path] = set()  # what this process is writing now, for `remove_unfinished`


@contextlib.contextmanager
def replacing(target: Path, *, overwrite: bool, folder: Callable[[Path], bool] | None = None, cached: bool = True) -> Iterator[Path]:
    """Yield a path to write to; what was written there becomes ``target``, synced to the disk, once it is complete.

    Parameters
    ----------
    overwrite
        Whether what is there may be replaced.
    folder
        Whether a folder that is there is one of those that may be replaced (an empty one always is); None where a file is written.
    cached
        Whether what was written stays in the system's cache. The images of a plate don't: they are not read again soon, and memory that
        is given back at once serves the next image, where fresh memory must be cleared.

    Raises
    ------
    WriteError
        If something is there that may not be replaced, or it can't be written; what was there before is unchanged then.
    """
    with disk_errors(target):
        if not target.parent.is_dir():
            raise WriteError(target, f"there is no folder {str(target.parent)!r}; make it first")
        _tidy(target)
        _check(target, overwrite, folder)
    with disk_errors(target, _kept(target)), _unfinished_name(target) as partial:
        try:
            yield partial
            to_disk(partial, cached=cached)
            _check(target, overwrite, folder)
            _rename(partial, target, overwrite)
        except BaseException:
            (_remove_for_good if folder else _remove)(partial)
            raise
        _remove(partial)  # a second name of the finished file, where it was linked
    with contextlib.suppress(OSError):  # it is there already
        _sync(target.parent)


@contextlib.contextmanager
def updating(target: Path) -> Iterator[Path]:
    """Yield a path to write to; the file or folder written there replaces ``target`` once it is complete, without a sync to the disk.

    Raises `WriteError` if it can't be written; what was there before is unchanged then.
    """
    with disk_errors(target, _kept(target)), _unfinished_name(target) as partial:
        try:
            yield partial
            if target.is_dir():
                _remove(target)
            partial.replace(target)
        finally:
            _remove(partial)


@contextlib.contextmanager
def work_folder(target: Path) -> Iterator[Path]:
    """Yield a hidden folder beside a target, on the same disk, that is removed at the end."""
    with disk_errors(target, _kept(target)), _unfinished_name(target) as folder:
        folder.mkdir()
        try:
            yield folder
        finally:
            _remove(folder)


def _kept(target: Path) -> str:
    """Return what there is of a target if it can't be written."""
    with contextlib.suppress(OSError):
        if target.exists():
            return "what was there before is unchanged"
    return "nothing half-written is left"


@contextlib.contextmanager
def parent_folder(target: Path) -> Iterator[None]:
    """Create the folder that a target will lie in; folders that were made for it go again if it fails.

    Raises `WriteError` if it can't be created.
    """
    made: list[Path] = []
    try:
        with disk_errors(target):
            missing = [parent for parent in target.parents if not parent.exists()]
            for parent in reversed(missing):
                parent.mkdir(exist_ok=True)
                made.insert(0, parent)
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # something else was put there
            for parent in made:
                parent.rmdir()
        raise


def make_folder(folder: Path) -> None:
    """Create a folder and those above it, unless it exists.

    Raises `WriteError` if it can't be created.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def _unfinished_name(target: Path) -> Iterator[Path]:
    """Yield a hidden name, which `remove_unfinished` knows meanwhile."""
    partial = hidden_name(target)
    _unfinished.add(partial)
    try:
        yield partial
    finally:
        _unfinished.discard(partial)


def remove_unfinished() -> None:
    """Remove all that this process is writing now: it ends at once, without the clean-up of whoever writes."""
    for partial in list(_unfinished):
        _remove(partial)


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Write a text file atomically, as UTF-8 with its line ends as they are; synced to the disk if it is to be `durable`."""
    with replacing(path, overwrite=True) if durable else updating(path) as partial:
        # A path that is no UTF-8 has letters that can't be encoded; as \\udcff they are what JSON itself has for them.
        partial.write_text(text, "utf-8", "backslashreplace", newline="")


def is_leftover(name: str) -> bool:
    """Return whether a file name is that of a half-written or replaced output."""
    return name.startswith(".") and name.endswith((f".{PARTIAL}", f".{ASIDE}", f".{FORMER}"))


def remove_leftovers(folder: Path) -> None:
    """Remove the half-written outputs in a folder of which no living process is known; replaced ones stay for `replacing` to bring back."""
    with contextlib.suppress(OSError):
        for entry in folder.iterdir():
            if is_leftover(entry.name) and not entry.name.endswith(ASIDE) and not _is_owned(entry):
                _remove(entry)


def remove_left_by(folder: Path, processes: Collection[int], depth: int = 3) -> None:
    """Remove what processes of this machine that were killed had half written in a folder, and in folders below it down to some depth."""
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(folder)):
            found = HIDDEN.fullmatch(entry.name)
            if found is not None and found["kind"] == PARTIAL and found["machine"] == _machine() and int(found["process"]) in processes:
                _remove(Path(entry.path))
            elif depth and not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                remove_left_by(Path(entry.path), processes, depth - 1)


def _is_owned(entry: Path) -> bool:
    """Return whether another process may still be writing a half-written output."""
    if former := re.fullmatch(rf"\..*\.(\d+)\.{FORMER}", entry.name):
        return _is_other(int(former[1]))
    if (name := HIDDEN.fullmatch(entry.name)) is None or name["kind"] != PARTIAL:
        return False
    return _is_other(int(name["process"])) if name["machine"] == _machine() else time.time() - entry.stat().st_mtime < STALE


def _is_other(process: int) -> bool:
    return process != os.getpid() and _runs(process)


def _runs(process: int) -> bool:
    import psutil  # slow to import, and seldom needed

    return bool(psutil.pid_exists(process))


def _check(target: Path, overwrite: bool, folder: Callable[[Path], bool] | None) -> None:
    """Raise a `WriteError` if the target may not be replaced."""
    if not target.exists() and not target.is_symlink():
        return
    if not overwrite:
        raise WriteError(target, "it exists already; choose another name or allow overwriting")
    if target.is_dir() != (folder is not None):
        kind = "folder" if target.is_dir() else "file"
        raise WriteError(target, f"a {kind} of this name is there; it is left as it is, choose another name")
    if folder is not None and not folder(target) and any(target.iterdir()):
        raise WriteError(target, "a folder of this name holds something else than an image; it is left as it is, choose another name")


def _rename(partial: Path, target: Path, overwrite: bool) -> None:
    """Give the finished file or folder its final name."""
    if target.is_symlink():
        target = target.resolve()
    if target.is_dir():
        # Folders can't be exchanged in one step everywhere: the old one goes aside, and comes back if the new one can't take its place.
        aside = hidden_name(target, ASIDE)
        target.rename(aside)
        try:
            partial.rename(target)
        except OSError:
            aside.rename(target)
            raise
        _remove(aside)
    elif overwrite or partial.is_dir():
        partial.replace(target)
    else:
        _link(partial, target)


def _link(partial: Path, target: Path) -> None:
    """Rename without ever replacing a file that appeared meanwhile, where the file system can."""
    try:
        os.link(partial, target)
    except FileExistsError as error:
        raise WriteError(target, "it exists already; choose another name or allow overwriting") from error
    except OSError:
        partial.replace(target)


def hidden_name(target: Path, kind: str = PARTIAL) -> Path:
    """Return an unused hidden name beside a target that names the machine and the process."""
    return target.with_name(f".{target.name[:LONGEST]}.{_machine()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.{kind}")


def _machine() -> str:
    return f"{zlib.crc32(platform.node().encode()):08x}"


def _tidy(target: Path) -> None:
    """Remove what killed processes left of this target, and bring back what they had put aside."""
    with contextlib.suppress(OSError):
        for entry in target.parent.iterdir():
            found = HIDDEN.fullmatch(entry.name)
            if found is None or (found["target"], found["machine"]) != (target.name[:LONGEST], _machine()) or _runs(int(found["process"])):
                continue
            if found["kind"] == ASIDE and not target.exists():
                entry.rename(target)
            else:
                _remove(entry)


def _remove(path: Path) -> None:
    """Remove a file or folder, if it is there."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _remove_for_good(path: Path) -> None:
    """Remove a folder in which threads may still be writing, as zarr's are after a chunk that failed."""
    gone = 0
    for _ in range(40):
        _remove(path)
        gone = 0 if path.exists() else gone + 1
        if gone == 3:
            return
        time.sleep(0.05)


def to_disk(path: Path, *, cached: bool = True) -> None:
    """Sync a file, or all files of a folder, to the disk; then drop them from the system's cache unless they are `cached`."""
    if not path.is_dir():
        _sync(path, cached=cached)
        return
    from concurrent.futures import ThreadPoolExecutor

    # A zarr is many small files and folders, whose syncs the disk combines when they come from several threads.
    with ThreadPoolExecutor(SYNC_THREADS) as pool:
        every = (Path(folder, name) for folder, _, files in os.walk(path) for name in (*files, "."))
        for _ in pool.map(functools.partial(_sync, cached=cached), every):
            pass


def _sync(path: Path, *, cached: bool = True) -> None:
    """Sync one file or directory to the disk; not all systems allow it for directories."""
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
