"""HTTP transfers that resume where they broke off, the offline switch and the cache folder.

Proxies are those of the environment, such as ``HTTPS_PROXY``.
"""

from __future__ import annotations

import contextlib
import math
import os
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Generator, Iterator
from http.client import HTTPException
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import platformdirs

OFFLINE = "VIRTUAL_PAINT_OFFLINE"  # environment variable that forbids the network, unless it is empty, ``0``, ``no`` or ``false``
CACHE = "VIRTUAL_PAINT_CACHE"  # environment variable that names the folder for downloads; by default the user's cache
TIMEOUT = 30.0  # seconds without a byte after which a server counts as gone
CHUNK = 1 << 18  # bytes between two steps, at most
TICK = 0.25  # seconds without a byte after which the caller gets a chance to cancel
AHEAD = 4  # chunks that are read before they are written
INCOMPLETE = ".part"
"""Suffix of a file that is not complete yet; unlike the hidden names of `runtime.atomic_write` it is kept for the next try."""
TRIES = 3  # number of times that callers try a transfer that breaks off
NETWORK_ERRORS = (urllib.error.URLError, ConnectionError, TimeoutError, ssl.SSLError, HTTPException)
"""What `transfer` raises for the network; another `OSError` is about the file that is written."""


class TooMuchError(Exception):
    """A server sends more bytes than the file may have."""


def offline() -> bool:
    """Return whether the user forbids the network."""
    return os.environ.get(OFFLINE, "").strip().casefold() not in ("", "0", "no", "false")


def cache_folder() -> Path:
    """Return the folder for downloads: that of the variable `CACHE`, else the user's cache."""
    named = os.environ.get(CACHE)
    return Path(named).expanduser() if named else platformdirs.user_cache_path("napari-virtual-paint", appauthor=False)


def transfer(address: str, part: Path, *, most: float = math.inf) -> Iterator[tuple[int, int]]:
    """Fetch what is missing of a file.

    Parameters
    ----------
    address
        Where it lies; ``http`` or ``https``.
    part
        The file that is written; what it holds already is not fetched again, if the server supports ranges.
    most
        Bytes that the whole file may have.

    Yields
    ------
    tuple
        Bytes that are there and bytes in all (0 if unknown); each step is a place to stop, and what came is kept.

    Raises
    ------
    OSError, http.client.HTTPException
        If the server can't be reached or breaks off (see `NETWORK_ERRORS`); `urllib.error.HTTPError` if it refuses, with code 416 if
        the file ends where `part` does.
    TooMuchError
        If the file is larger than `most`.
    """
    start = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(address, headers={"User-Agent": "napari-virtual-paint"})  # noqa: S310 - http(s) alone
    if start:
        request.add_header("Range", f"bytes={start}-")
    done, whole = start, 0
    with contextlib.closing(_received(request)) as received, contextlib.ExitStack() as files:
        file = None
        for item in received:
            if file is None and item is not None:
                goes_on = item.status == 206 and item.headers.get("Content-Range", "").startswith(f"bytes {start}-")
                length = item.headers.get("Content-Length")
                done = start if goes_on else 0
                whole = done + int(length) if length and length.isdecimal() else 0
                file = files.enter_context(part.open("ab" if goes_on else "wb"))
            elif file is not None and item is not None:
                done += len(item)
                if done > most:
                    raise TooMuchError
                file.write(item)
            yield done, whole
    if done < whole:
        raise ConnectionError(f"{done} of {whole} bytes came")


def _received(request: urllib.request.Request) -> Generator[Any, None, None]:
    """Yield the answer of a server and then its bytes, read by a thread; None at each `TICK` in which nothing came.

    A read that waits for a silent server can't be interrupted, and a cancel must not wait for it.
    """
    queue: SimpleQueue[Any] = SimpleQueue()
    room, stop = threading.Semaphore(AHEAD), threading.Event()

    def read() -> None:
        try:
            # Not urlopen: that keeps the proxies of the first call.
            with urllib.request.build_opener().open(request, timeout=TIMEOUT) as answer:
                queue.put(answer)
                piece = b"-"
                while piece and not stop.is_set():
                    room.acquire()
                    piece = answer.read1(CHUNK)
                    queue.put(piece)
        except Exception as error:  # noqa: BLE001 - raised by the generator
            queue.put(error)

    # A daemon: after a cancel it may still wait for a silent server, until TIMEOUT.
    threading.Thread(target=read, name="virtual-paint download", daemon=True).start()
    try:
        while True:
            try:
                item = queue.get(timeout=TICK)
            except Empty:
                item = None
            if isinstance(item, Exception):
                raise item
            if item == b"":
                return
            yield item
            if isinstance(item, bytes):
                room.release()
    finally:
        stop.set()
        room.release()
