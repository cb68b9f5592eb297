"""Putting the summary of the training inputs into a package."""

from __future__ import annotations

from pathlib import Path

from napari_virtual_paint.models.package.copying import copy_package
from napari_virtual_paint.models.package.domain import FILE, Domain
from napari_virtual_paint.models.package.files import open_files, sha256
from napari_virtual_paint.models.package.reader import OUR_PART
from napari_virtual_paint.models.package.safe_yaml import read_description


def add_domain(package: str | Path, domain: Domain, output: str | Path | None = None, *, overwrite: bool = False) -> Path:
    """Put a summary into a package: a file of its own, listed with its SHA-256. Every other file stays as it is, byte for byte.

    Parameters
    ----------
    package
        A folder or a .zip.
    domain
        The summary; it replaces one that is there.
    output
        The new package; by default it takes the old one's place.
    overwrite
        Replace what is at `output`.

    Raises
    ------
    ModelError
        If the package can't be used.
    WriteError
        If it can't be written; the old one is then untouched.
    """
    package = Path(package)
    target = package if output is None else Path(output)
    data = domain.to_bytes()
    content = read_description(open_files(package))
    entry = {"source": FILE, "sha256": sha256(data)}
    config = content.get("config")
    plain = dict(config) if isinstance(config, dict) else {}
    ours = plain.get(OUR_PART)
    plain[OUR_PART] = {**(ours if isinstance(ours, dict) else {}), "domain": dict(entry)}
    there = content.get("attachments")
    others = [item for item in there if not (isinstance(item, dict) and item.get("source") == FILE)] if isinstance(there, list) else []
    copy_package(package, target, {"attachments": [*others, entry], "config": plain}, None, overwrite or output is None, {FILE: data})
    return target
