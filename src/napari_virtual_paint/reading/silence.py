"""Libraries that decode files log and warn by the hundred over a damaged one; here they are heard by nobody.

What went wrong reaches the user once, as a `ReadError`.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_READERS = ("PIL", "aicsimageio", "bioio", "bioio_base", "bioio_czi", "bioio_lif", "bioio_nd2", "imageio", "liffile", "nd2", "readlif")
_LIBRARIES = frozenset((*_READERS, "fsspec", "ome_types", "tifffile", "zarr"))
_local = threading.local()


class _Hush(logging.Filter):
    """Drops the records of threads that are reading; those of other threads pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to keep the record."""
        return not getattr(_local, "depth", 0)


_HUSH = _Hush()
for _name in (*_LIBRARIES, "tifffile.tifffile"):  # the latter is what tifffile called its logger up to 2023
    # Some libraries make their logger only when they first have something to say.
    logging.getLogger(_name).addFilter(_HUSH)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the decoding libraries from logging in this thread."""
    # A filter does not reach the loggers below its own, so each of the libraries' has one; adding it again changes nothing.
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and name.partition(".")[0] in _LIBRARIES:
            logger.addFilter(_HUSH)
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
