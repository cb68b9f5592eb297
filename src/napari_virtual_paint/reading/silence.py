"""Mute the logs and warnings of decoding libraries, which may be hundreds for one damaged file.

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


class _ThreadFilter(logging.Filter):
    """Drops the records of threads that are in `mute_logs`."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to keep the record."""
        return not getattr(_local, "depth", 0)


_FILTER = _ThreadFilter()
for _name in (*_LIBRARIES, "tifffile.tifffile"):  # the latter is the name of tifffile's logger up to 2023
    # Made here, since some libraries make their logger only with their first record.
    logging.getLogger(_name).addFilter(_FILTER)


@contextmanager
def mute_logs() -> Iterator[None]:
    """Keep the decoding libraries from logging in this thread."""
    # A filter does not reach child loggers, so each gets one; adding it again changes nothing.
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and name.partition(".")[0] in _LIBRARIES:
            logger.addFilter(_FILTER)
    _local.depth = getattr(_local, "depth", 0) + 1
    try:
        yield
    finally:
        _local.depth -= 1


@contextmanager
def mute_warnings() -> Iterator[None]:
    """Ignore Python warnings; the filters belong to the whole process, so never use it in threads that decode pixels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
