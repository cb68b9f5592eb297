"""HTTP transfers that resume where they broke off, the offline switch and the cache folder.

Proxies are those of the environment, such as ``HTTPS_PROXY``.
"""

from __future__ import annotations

import math
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path

import platformdirs

OFFLINE = "VIRTUAL_PAINT_OFFLINE"
"""Environment variable that forbids the network, unless it is empty, ``0``, ``no`` or ``false``."""
CACHE = "VIRTUAL_PAINT_CACHE"
"""Environment variable that names the folder for downloads; by default the user's cache."""
TIMEOUT = 30.0
"""Seconds without a byte after which a server counts as gone."""
CHUNK = 1 << 18
"""Bytes between two steps, at most."""
INCOMPLETE = ".part"
"""Suffix of a file that is not complete yet; unlike the hidden names of `runtime.atomic_write` it is kept for the next try."""
TRIES = 3
"""Number of times that callers try a transfer that breaks off."""
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
    # Not urlopen: that keeps the proxies of the first call.
    with urllib.request.build_opener().open(request, timeout=TIMEOUT) as answer:
        goes_on = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        length = answer.headers.get("Content-Length")
        done = start if goes_on else 0
        whole = done + int(length) if length and length.isdecimal() else 0
        with part.open("ab" if goes_on else "wb") as file:
            yield done, whole
            while piece := answer.read1(CHUNK):
                done += len(piece)
                if done > most:
                    raise TooMuchError
                file.write(piece)
                yield done, whole
        if done < whole:
            raise ConnectionError(f"{done} of {whole} bytes came")
