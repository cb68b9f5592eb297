"""Turn what fails while something is written into one sentence: the path, what is wrong with its disk, and what was kept."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from napari_virtual_paint.errors import VirtualPaintError, WriteError


def _numbers(*names: str) -> frozenset[int]:
    return frozenset(getattr(errno, name) for name in names if hasattr(errno, name))


FULL = _numbers("ENOSPC", "EDQUOT", "EFBIG")  # nothing more fits on the disk, into the user's quota or into a file
REFUSED = _numbers("EACCES", "EPERM", "EROFS")  # it may not be written
GONE = _numbers(
    *("ESTALE", "EIO", "ENOTCONN", "ENOENT", "ENOTDIR", "ENXIO", "ENODEV", "EREMOTEIO", "ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH"),
    *("ECONNABORTED", "ECONNRESET", "ENETDOWN", "ENETUNREACH", "ESHUTDOWN", "EBADF"),
)
"""The folder, its disk or its server is no longer there; the first three come from network folders."""

FAILED_WRITE = re.compile(
    r"file write failed|PytorchStreamWriter|unexpected pos|requested and \d+ written|no space left|disk quota|disk is full", re.IGNORECASE
)
"""How libraries that write by themselves say that a file could not be written: torch, NumPy, SQLite, DuckDB."""


def os_error_of(error: BaseException | None) -> OSError | None:
    """Return the `OSError` that an error is or was caused by; None if there is none."""
    visited: set[int] = set()  # the causes of errors in several threads may form a circle
    while error is not None and id(error) not in visited:
        visited.add(id(error))
        if isinstance(error, OSError):
            return error
        error = error.__cause__ or error.__context__
    return None


def write_reason(error: BaseException) -> str:
    """Return what is wrong with a disk, and what to do."""
    cause = os_error_of(error)
    text = " ".join(str(getattr(cause, "strerror", None) or cause or error).split())[:200].rstrip(".") or type(error).__name__
    number = None if cause is None else cause.errno
    if number in FULL or (number is None and FAILED_WRITE.search(text)):
        return f"it can't be written ({text}); make room on the disk, or choose another"
    if number in REFUSED:
        return f"it can't be written ({text}); choose a folder in which you may write"
    if number in GONE:
        return f"it can't be written ({text}); its folder is gone or its disk does not answer, so check that it is there"
    if number == errno.ENAMETOOLONG:
        return f"its name is too long for the disk ({text}); choose a shorter one"
    return f"it can't be written ({text}); check that the folder is there and the disk has room"


def is_write_failure(error: BaseException) -> bool:
    """Return whether an error says that a file could not be written, rather than that the program is wrong."""
    if os_error_of(error) is not None:
        return True
    return isinstance(error, Exception) and FAILED_WRITE.search(str(error)) is not None


@contextlib.contextmanager
def disk_errors(target: Path, kept: str = "") -> Iterator[None]:
    """Turn the failures of a disk into a `WriteError` of a target; other errors pass.

    Parameters
    ----------
    target
        What is written.
    kept
        What is left of it and of what was there before, as the end of the sentence.
    """
    try:
        yield
    except VirtualPaintError:
        raise
    except Exception as error:
        if not is_write_failure(error):
            raise
        raise WriteError(target, "; ".join(filter(None, (_read_elsewhere(error, target) or write_reason(error), kept)))) from error


def _read_elsewhere(error: BaseException, target: Path) -> str:
    """Return the words for a file in another folder that could not be read meanwhile; empty if it was the target itself."""
    cause = os_error_of(error)
    name = None if cause is None else cause.filename
    if cause is None or not isinstance(name, str) or cause.filename2 is not None or not Path(name).is_absolute():
        return ""
    folder = os.path.realpath(target.parent)
    if os.path.realpath(name).startswith(folder.rstrip(os.sep) + os.sep) or os.path.realpath(name) == folder:
        return ""
    return f"it can't be written, since {name} can't be opened ({cause.strerror or cause})"
