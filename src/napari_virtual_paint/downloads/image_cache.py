"""Cache of remote images: fetched when they are read, into a folder of bounded size that all processes of a user share.

Addresses are ``http(s)://``, or ``s3://BUCKET/KEY`` of public buckets, which is fetched as ``https://BUCKET.s3.amazonaws.com/KEY``. One
process fetches an image while others wait for it; the images used longest ago are removed first.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import threading
import time
import urllib.error
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

from napari_virtual_paint.downloads.transfer import (
    INCOMPLETE,
    NETWORK_ERRORS,
    OFFLINE,
    TRIES,
    TooMuchError,
    cache_folder,
    offline,
    transfer,
)
from napari_virtual_paint.errors import InputError, ReadError, WriteError
from napari_virtual_paint.runtime.lock_file import OutputLock

SIZE = "VIRTUAL_PAINT_CACHE_GB"  # environment variable: gigabytes that the cached images may take
USUAL_GB = 10.0
SHARE_OF_DISK = 0.5  # share of the disk space free without them that the images may take
ENDPOINT = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
"""Environment variables that name another server for ``s3://``, as for the tools of AWS."""
SILENCE = 60.0  # seconds for which a server that could not be reached is not tried again
PAUSE = 0.5  # seconds before the second try; twice as long before the third
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)  # HTTP statuses that may pass with another try
STALE = 3600.0  # seconds after which an incomplete file of a killed process may be removed
LOCKS = 256
_SCHEME = re.compile(r"(https?|s3)://[^/\s]", re.IGNORECASE)
_SUFFIX = re.compile(r"\.\w{1,8}")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")

T = TypeVar("T")

_silent: dict[str, tuple[float, str]] = {}  # server -> until when it is not tried again, and why
_state = threading.Lock()
_since = 0  # bytes that this process fetched since it last checked the size of the cache


@dataclass(frozen=True)
class Remote:
    """An image on the network."""

    url: str  # as its table states it

    def __str__(self) -> str:
        """Return the address for messages, without its signature."""
        return self.url.partition("?")[0].partition("#")[0]

    @property
    def address(self) -> str:
        """The address to fetch it from.

        Raises `ReadError` if it names no file.
        """
        parts = urlsplit(self.url)
        if not parts.path.strip("/"):
            raise ReadError(self, "it names a server and no file")
        if parts.scheme.lower() != "s3":
            path, query = (quote(part, safe="/?%:@+,;=!$&'()*~") for part in (parts.path, parts.query))
            return urlunsplit((parts.scheme, parts.netloc, path, query, ""))
        key = quote(self.url[len("s3://") + len(parts.netloc) :], safe="/~")  # ? and # are characters of a key
        other = next((value.rstrip("/") for name in ENDPOINT if (value := os.environ.get(name, "").strip())), "")
        if other or not _BUCKET.fullmatch(parts.netloc):  # certificates of amazonaws.com cover no names with dots
            return f"{other or 'https://s3.amazonaws.com'}/{parts.netloc}{key}"
        return f"https://{parts.netloc}.s3.amazonaws.com{key}"

    @property
    def filename(self) -> str:
        """Name in the cache."""
        suffix = Path(urlsplit(self.url).path).suffix.lower()
        return hashlib.sha256(self.address.encode()).hexdigest() + (suffix if _SUFFIX.fullmatch(suffix) else "")


def is_remote(name: object) -> bool:
    """Return whether a value is the address of a remote image."""
    return isinstance(name, str) and _SCHEME.match(name) is not None


def folder() -> Path:
    """Return the folder of the cache."""
    return cache_folder() / "images"


def limit() -> int:
    """Return the number of bytes that the cached images may take.

    Raises `InputError` if the setting is not a number.
    """
    text = os.environ.get(SIZE, "").strip()
    try:
        size = float(text or USUAL_GB)
    except ValueError:
        size = 0.0
    if not 0 < size < 1e6:
        raise InputError(f"{SIZE} is a number of gigabytes, not {text!r}.")
    return int(size * 1e9)


def with_copy(remote: Remote, use: Callable[[Path], T]) -> T:
    """Call a function with the local copy of an image, fetching it if needed.

    A copy that is removed to make room for others before the function has read it is fetched again.

    Raises `ReadError` if the image can't be fetched, or the function can't read it; it names the address.
    """
    for left in range(TRIES - 1, -1, -1):
        path = fetched(remote)
        try:
            return use(path)
        except ReadError as error:
            if path.exists() or not left:
                raise ReadError(remote, error.reason) from error
    raise AssertionError


def fetched(remote: Remote) -> Path:
    """Return the local copy of an image, which may be removed when others are fetched; see `with_copy`.

    Raises
    ------
    ReadError
        If it can't be fetched.
    InputError
        If the setting of the cache's size is not a number.
    """
    name = remote.filename
    target = folder() / name[:2] / name
    if _is_there(target):
        return target
    if offline():
        raise ReadError(remote, f"it is not among the images fetched before, and {OFFLINE} forbids the network")
    _check_server(remote)
    most = limit()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        locks = folder() / "locks"
        locks.mkdir(exist_ok=True)
        with OutputLock(locks / f"{int(name[:8], 16) % LOCKS:02x}.lock", target, "fetched", wait=True):
            if not _is_there(target):  # else another process fetched it meanwhile
                _fetch(remote, target, most)
    except (OSError, WriteError) as error:
        reason = error.reason if isinstance(error, WriteError) else error.strerror or error
        raise ReadError(remote, f"its copy can't be written to {folder()} ({reason}); make room there") from error
    _make_room(target, most)
    return target


def _is_there(target: Path) -> bool:
    """Return whether a copy is there, and record its use; the modification time stays, since readers detect changed files by it."""
    try:
        os.utime(target, ns=(time.time_ns(), target.stat().st_mtime_ns))
    except FileNotFoundError:
        return False
    except OSError:
        return target.is_file()
    return True


def _host(remote: Remote) -> str:
    return urlsplit(remote.address).netloc.rpartition("@")[2]


def _check_server(remote: Remote) -> None:
    """Raise a `ReadError` at once if the server could not be reached a moment ago, since a plate has thousands of images."""
    until, reason = _silent.get(_host(remote), (0.0, ""))
    if time.monotonic() < until:
        raise ReadError(remote, reason)


def _fetch(remote: Remote, target: Path, most: int) -> None:
    """Fetch a file in several tries, and give it its name once it is complete."""
    part = target.with_name(target.name + INCOMPLETE)
    part.unlink(missing_ok=True)  # a killed process left it, perhaps of another version of the file
    for attempt in range(1, TRIES + 1):
        try:
            for _ in transfer(remote.address, part, most=most):
                pass
            break
        except TooMuchError:
            part.unlink(missing_ok=True)
            raise ReadError(remote, f"it is larger than all the images that may be kept ({most / 1e9:g} GB); raise {SIZE}") from None
        except NETWORK_ERRORS as error:
            _again(remote, part, error, last=attempt == TRIES)
            time.sleep(PAUSE * attempt)
    with part.open("rb+") as file:  # else a power cut may leave an empty file of this name
        os.fsync(file.fileno())
    part.replace(target)
    global _since
    with _state:
        _since += target.stat().st_size
        _silent.pop(_host(remote), None)


def _again(remote: Remote, part: Path, error: Exception, *, last: bool) -> None:
    """Return if another try may help; else raise a `ReadError`."""
    host = _host(remote)
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        if error.code == 416:
            part.unlink(missing_ok=True)
        if not last and error.code in (416, *TRANSIENT):
            return
        part.unlink(missing_ok=True)
        raise ReadError(remote, _refusal(host, error)) from None
    came = part.stat().st_size if part.is_file() else 0
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    gone = isinstance(reason, TimeoutError) and not came  # it had its timeout already
    if not last and not gone:
        return
    part.unlink(missing_ok=True)
    words = " ".join(str(reason).split())[:120] or type(reason).__name__
    said = f"{host} {'broke off' if came else 'could not be reached'} ({words}); check the network and the proxy (HTTPS_PROXY)"
    said += ", or put copies of the images beside their table, and try again"
    if not came:
        _silent[host] = (time.monotonic() + SILENCE, said)
    raise ReadError(remote, said) from None


def _refusal(host: str, error: urllib.error.HTTPError) -> str:
    """Return why a server refuses a file."""
    if error.code in (404, 410):
        return f"{host} has no such file ({error.code}); correct the address"
    if error.code in (401, 403):
        return f"{host} does not give it to everyone ({error.code}), or has no such file; copy the images to a disk with your own account"
    return f"{host} did not give it ({error.code} {error.reason}); try again later"


def _make_room(kept: Path, most: int) -> None:
    """Remove the copies used longest ago, now and then, to keep within the limit."""
    global _since
    with _state:
        if _since < most // 32:
            return
        _since = 0
    files = sorted(_copies())
    held = sum(size for _, size, _ in files)
    free = shutil.disk_usage(folder()).free
    most = min(most, int((held + free) * SHARE_OF_DISK))
    for _, size, path in files:
        if held <= most - most // 16:
            return
        if path != kept:
            held -= size
            _remove(path)


def _copies() -> Iterator[tuple[int, int, Path]]:
    """Yield the time of last use in nanoseconds, size and path of each copy."""
    for within in folder().iterdir():
        if len(within.name) != 2:
            continue
        for path in within.iterdir():
            try:
                status = path.stat()
            except OSError:
                continue
            if path.suffix != INCOMPLETE or time.time() - status.st_mtime > STALE:
                yield status.st_atime_ns, status.st_size, path


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # Windows: another process is reading it
        return
