"""List and download the models that others published, from their own homes or a mirror."""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from napari_virtual_paint.downloads.transfer import cache_folder
from napari_virtual_paint.downloads.verified import fetch
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.runtime.yaml_text import load_yaml

MIRROR = "VIRTUAL_PAINT_MIRROR"
"""Environment variable: an address that replaces all homes, with the files by id and suffix, such as ``https://mirror.lab/models``."""


@dataclass(frozen=True)
class Published:
    """A model that others published."""

    id: str
    title: str
    """`id` and `title`: of the model."""
    url: str | None
    """Of its file; None where its home packs it anew for each download, so that it has no SHA-256: it is fetched and imported by hand."""
    sha256: str | None
    """Of its file, as its home says; None where it states none: it is then fetched only against one that the caller has from elsewhere."""
    megabytes: float | None
    """Size of its file, as its home says; None where it does not."""
    licence: str
    """SPDX id, as its home says."""
    home: str
    """A page for people."""
    outputs: tuple[str, ...] = ()
    """Names of its stains; none where the importer knows them."""

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
    rows = load_yaml(resources.files(__package__).joinpath("online.yaml").read_text("utf-8"))
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
        If the file's SHA-256 is unknown.
    """
    if entry.url is None:
        raise InputError(
            f"{entry.id}: its home packs the file anew for each download, so that nothing can be checked; download the package from "
            f"{entry.home} and import it: virtual-paint models import FILE --name {entry.id}."
        )
    if entry.sha256 is None:
        raise InputError(
            f"{entry.id}: its home states no SHA-256 to check the file by; give the one that you have from its authors (--sha256), "
            f"or fetch the file yourself ({entry.url}) and import it: virtual-paint models import FILE --name {entry.id}."
        )
    target = (folder or cache_folder() / "models") / entry.filename
    size = int((entry.megabytes or 0) * 1e6)
    return (yield from fetch(_address(entry), entry.sha256, target, name=entry.id, size=size, check=f"a proxy (HTTPS_PROXY) or {MIRROR}"))


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
