"""Memory of a process that paints field after field: what is freed is kept for the next field.

glibc gives every large block back to the system when it is freed, and the system clears each page anew for the next one: 35,000 for a
field of 1000 px, an eighth of the processor time of painting it with a small network. A painter needs the same blocks for every field.
"""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8
"""Parameters of mallopt(3)."""
KEPT = 2**31 - 1
"""Bytes that may be free at the end of the heap before they are given back: as many as mallopt takes."""
LARGE = 2**30
"""Bytes from which on a block is mapped by itself, and given back when it is freed."""
STEP = 2**26
"""Bytes by which the heap grows."""


def keep_freed_memory() -> bool:
    """Tell the allocator of this process to keep what is freed, in one heap for all threads.

    For processes that paint plates and nothing else, as early as possible; those started from it as copies are told, too.

    Returns
    -------
    bool
        Whether there was someone to tell: glibc, so Linux alone.
    """
    if not sys.platform.startswith("linux"):
        return False
    wishes = ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, LARGE), (_TRIM_THRESHOLD, KEPT), (_TOP_PAD, STEP))
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return all([mallopt(what, size) for what, size in wishes])
