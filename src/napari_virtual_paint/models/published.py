"""Published models fetched from their own homes: resumed where they broke off, checked by SHA-256, then imported.

Proxies are those of the environment (``HTTPS_PROXY`` and the like). `OFFLINE` forbids the network, `MIRROR` puts another server in place of
all homes.
"""

from __future__ import annotations

import hashlib
import os
import re
import urllib.error
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from http.client import HTTPException
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from napari_virtual_paint.downloads.transfer import CACHE, CHUNK, OFFLINE, TRIES, TooMuchError, cache_folder, offline, transfer
from napari_virtual_paint.errors import InputError, VirtualPaintError
from napari_virtual_paint.models.package.files import one_line
from napari_virtual_paint.runtime.progress import Progress

__all__ = [
    "CACHE",
    "MIRROR",
    "OFFLINE",
    "DownloadError",
    "Published",
    "cache_folder",
    "download",
    "find",
    "published",
    "with_digest",
]

MIRROR = "VIRTUAL_PAINT_MIRROR"
"""Environment variable: an address under which the files lie by id and suffix, such as ``https://mirror.lab/models``."""
SLACK = 1.25
"""A file may be so many times as large as its home says (megabytes are rounded); more is not read."""
LARGEST = 4e9
"""Bytes that are read where the home states no size."""


class DownloadError(VirtualPaintError):
    """A model could not be downloaded; what came is kept and taken up again, unless it is wrong."""


@dataclass(frozen=True)
class Published:
    """A model that others published.

    Parameters
    ----------
    id, title
        Of the model.
    url
        Of its file; None where its home packs it anew for each download, so that it has no SHA-256: it is fetched and imported by hand.
    sha256
        Of its file, as its home says; None where it states none: it is then fetched only against one that the caller has from elsewhere.
    megabytes
        Size of its file, as its home says; None where it does not.
    licence
        SPDX id, as its home says.
    home
        A page for people.
    outputs
        Names of its stains; none where the importer knows them.
    """

    id: str
    title: str
    url: str | None
    sha256: str | None
    megabytes: float | None
    licence: str
    home: str
    outputs: tuple[str, ...] = ()

    @property
    def filename(self) -> str:
        """Name in the cache and on a mirror."""
        return self.id + (Path(urlsplit(self.url).path).suffix if self.url else ".zip")

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        names = ("id", "title", "url", "sha256", "megabytes", "licence", "home")
        return {**{name: getattr(self, name) for name in names}, "outputs": list(self.outputs)}


def published() -> tuple[Published, ...]:
    """Return the published models that are known; nothing is fetched."""
    rows = yaml.safe_load(resources.files(__package__).joinpath("online.yaml").read_text("utf-8"))
    return tuple(Published(**{**row, "outputs": tuple(row.get("outputs", ()))}) for row in rows)


def with_digest(entry: Published, sha256: str) -> Published:
    """Return a published model with the SHA-256 of its file, where its home states none.

    Raises
    ------
    InputError
        If it is no SHA-256, or not the one that the home states.
    """
    digest = sha256.strip().lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise InputError(f"--sha256 is 64 hexadecimal digits, not {sha256!r}.")
    if entry.sha256 not in (None, digest):
        raise InputError(f"{entry.id}: its home states another SHA-256 ({entry.sha256}); leave out --sha256.")
    return replace(entry, sha256=digest)


def find(model_id: str, among: Sequence[Published] | None = None) -> Published:
    """Return the published model of an id.

    Raises
    ------
    InputError
        If there is none.
    """
    known = published() if among is None else among
    for entry in known:
        if entry.id == model_id:
            return entry
    raise InputError(f"There is no published model {model_id!r}; there are {', '.join(entry.id for entry in known) or 'none'}.")


def download(entry: Published, folder: Path | None = None) -> Generator[Progress, None, Path]:
    """Fetch a model's file.

    A plain generator; closing it keeps what came, and the next call goes on behind it.

    Parameters
    ----------
    entry
        What to fetch.
    folder
        Where it goes; by default the user's cache.

    Returns
    -------
    Path
        The file, its SHA-256 checked.

    Raises
    ------
    DownloadError
        If the network is forbidden or fails, or the file is not the one that was published.
    InputError
        If nothing tells the file's SHA-256.
    """
    if entry.url is None:
        raise InputError(
            f"{entry.id}: its home packs the file anew for each download, so that nothing can be checked; download the package from "
            f"{entry.home} and import it: virtual-paint models import FILE --name {entry.id}."
        )
    if entry.sha256 is None:
        raise InputError(
            f"{entry.id}: its home states no SHA-256 to check the file by; give the one that its authors told you (--sha256), "
            f"or fetch the file yourself ({entry.url}) and import it: virtual-paint models import FILE --name {entry.id}."
        )
    folder = folder or cache_folder() / "models"
    target = folder / entry.filename
    if target.is_file() and _digest(target) == entry.sha256:
        return target
    if offline():
        raise DownloadError(f"{entry.id}: it is not in {folder}, and {OFFLINE} forbids the network.")
    address = _address(entry)
    part = target.with_name(target.name + ".part")
    folder.mkdir(parents=True, exist_ok=True)
    for attempt in range(1, TRIES + 1):
        before = part.stat().st_size if part.is_file() else 0
        try:
            yield from _transfer(entry, address, part)
            break
        except (OSError, HTTPException) as error:
            came = part.stat().st_size if part.is_file() else 0
            final = isinstance(error, urllib.error.HTTPError) and error.code != 416
            if final or attempt == TRIES or (came == before and not isinstance(error, HTTPException)):
                raise DownloadError(_broken(entry, address, came, error)) from error
            yield Progress(came, _expected(entry), f"{urlsplit(address).netloc} broke off; going on at {came / 1e6:.0f} MB.")
    if (found := _digest(part)) != entry.sha256:
        part.unlink()
        wrong = f"SHA-256 {found[:12]}…, not {entry.sha256[:12]}…"
        raise DownloadError(f"{entry.id}: {address} is not the file that was published ({wrong}); it was thrown away.")
    part.replace(target)
    return target


def _address(entry: Published) -> str:
    """Return where a file is fetched from.

    Raises
    ------
    InputError
        If the mirror is no address.
    """
    mirror = os.environ.get(MIRROR, "").strip()
    address = f"{mirror.rstrip('/')}/{entry.filename}" if mirror else str(entry.url)
    if urlsplit(address).scheme not in ("http", "https"):
        raise InputError(f"{MIRROR} must be an address that begins with https:// or http://, not {mirror!r}.")
    return address


def _transfer(entry: Published, address: str, part: Path) -> Generator[Progress, None, None]:
    """Fetch what is missing of a file."""
    try:
        for done, whole in transfer(address, part, most=_most(entry), chunk=CHUNK):
            yield Progress(done, whole or _expected(entry))
    except TooMuchError:
        raise DownloadError(f"{entry.id}: {address} sends more than the {_most(entry) / 1e6:.0f} MB that are looked for.") from None
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing lies behind what is here: it is whole, or of another file
            if part.is_file() and _digest(part) == entry.sha256:
                return
            part.unlink(missing_ok=True)
        raise


def _most(entry: Published) -> float:
    """Return the bytes that are read at most."""
    return (SLACK * entry.megabytes * 1e6 if entry.megabytes else LARGEST) + CHUNK


def _expected(entry: Published) -> int:
    return int((entry.megabytes or 0) * 1e6)


def _broken(entry: Published, address: str, came: int, error: BaseException) -> str:
    """Return the sentence on a download that failed."""
    reason = getattr(error, "reason", None)
    what = one_line(reason if isinstance(reason, BaseException) else error)
    rest = f"; {came / 1e6:.1f} MB came and are kept, the next try goes on from there" if came else ""
    return f"{entry.id}: {urlsplit(address).netloc} could not be read ({what}){rest}; check the network, a proxy (HTTPS_PROXY) or {MIRROR}."


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
