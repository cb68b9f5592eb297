"""Libraries that decode files log and warn by the hundred over a damaged one; here they are heard by nobody.

What went wrong reaches the user once, as a `ReadError`.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LOGGERS = ("tifffile", "nd2", "ome_types", "bioio", "bioio_base", "aicsimageio", "PIL", "imageio", "readlif", "zarr", "fsspec")
_local = threading.local()


class _Hush(logging.Filter):
    """Drops the records of threads that are reading; those of other threads pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to keep the record."""
        return not getattr(_local, "depth", 0)


_HUSH = _Hush()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the decoding libraries from logging in this thread."""
    for name in _LOGGERS:
        # addFilter keeps one copy of a filter, so this is set up once.
        logging.getLogger(name).addFilter(_HUSH)
    _local.depth = getattr(_local, "depth", 0) + 1
    try:
        yield
    finally:
        _local.depth -= 1


@contextmanager
def silent() -> Iterator[None]:
    """Like `quiet`, and no Python warnings either.

    The warning filters belong to the whole process, so this is for opening a file, not for the threads that decode it.
    """
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
