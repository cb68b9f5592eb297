"""Download files that are checked by their SHA-256."""

from __future__ import annotations

import hashlib
import urllib.error
from collections.abc import Generator
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from napari_virtual_paint.downloads.transfer import (
    CACHE,
    CHUNK,
    INCOMPLETE,
    NETWORK_ERRORS,
    OFFLINE,
    TRIES,
    TooMuchError,
    offline,
    transfer,
)
from napari_virtual_paint.errors import VirtualPaintError
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.runtime.text import byte_size, one_line

SLACK = 1.25  # A file may have this many times its expected size, since the sizes that homes state are rounded
LARGEST = 4e9  # bytes that a file of unknown size may have


class DownloadError(VirtualPaintError):
    """A file could not be downloaded; what came is kept and resumed, unless it is wrong."""


def fetch(
    url: str, sha256: str, target: Path, *, name: str, size: int = 0, check: str = "the proxy (HTTPS_PROXY)"
) -> Generator[Progress, None, Path]:
    """Download a file where it is not there yet, resuming what an earlier call left.

    Each `yield` is a place to cancel; closing the generator keeps what came.

    Parameters
    ----------
    url
        Its address, ``http`` or ``https``.
    sha256
        Of the file, in hexadecimal.
    target
        Where it is kept; while it is incomplete it has the suffix ``.part``.
    name
        What the file is, for messages.
    size
        Bytes that are expected; 0 if not known.
    check
        The setting to check if the network fails, for messages.

    Yields
    ------
    Progress
        Bytes that are there and in all; nothing where the file is there already.

    Returns
    -------
    Path
        `target`.

    Raises
    ------
    DownloadError
        If the network is forbidden or fails, the file is not the one of this SHA-256, or it can't be kept.
    """
    try:
        if target.is_file() and digest(target) == sha256:
            return target
        if offline():
            raise DownloadError(f"{name}: it is not in {target.parent}, and {OFFLINE} forbids the network.")
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + INCOMPLETE)
        yield from _complete(url, sha256, part, name, size, check)
        if (found := digest(part)) != sha256:
            part.unlink()
            wrong = f"SHA-256 {found[:12]}…, not {sha256[:12]}…"
            raise DownloadError(f"{name}: {url} is not the file that was published ({wrong}); it was thrown away.")
        part.replace(target)
    except OSError as error:
        reason = error.strerror or error
        raise DownloadError(
            f"{name}: it can't be kept in {target.parent} ({reason}); set {CACHE} to a writable folder with room."
        ) from error
    return target


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _complete(url: str, sha256: str, part: Path, name: str, size: int, check: str) -> Generator[Progress, None, None]:
    """Fetch what is missing of a file, in several tries."""
    host, most = urlsplit(url).netloc, (SLACK * size if size else LARGEST) + CHUNK
    for attempt in range(1, TRIES + 1):
        before = _size(part)
        try:
            for done, whole in transfer(url, part, most=most):
                yield Progress(done, whole or size)
            return
        except TooMuchError:
            raise DownloadError(f"{name}: {url} sends more than the {byte_size(most)} that are expected.") from None
        except NETWORK_ERRORS as error:
            code = error.code if isinstance(error, urllib.error.HTTPError) else None
            if code == 416:  # nothing lies behind what is here: it is whole, or of another file
                if part.is_file() and digest(part) == sha256:
                    return
                part.unlink(missing_ok=True)
            came = _size(part)
            no_progress = came == before and not isinstance(error, HTTPException)
            if code not in (None, 416) or no_progress or attempt == TRIES:
                reason = getattr(error, "reason", None)
                what = one_line(reason if isinstance(reason, BaseException) else error)
                kept = f"; {came / 1e6:.1f} MB came and are kept, the next try goes on from there" if came else ""
                raise DownloadError(f"{name}: {host} could not be read ({what}){kept}; check the network and {check}.") from error
            yield Progress(came, size, f"{host} broke off; going on at {came / 1e6:.0f} MB.")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
