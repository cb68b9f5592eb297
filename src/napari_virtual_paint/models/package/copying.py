"""Copy a bioimage.io package with changes: version 0.5 as it is, version 0.4 converted offline; and add a domain summary."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_virtual_paint.models.package.domain import DOMAIN_FILE, Domain
from napari_virtual_paint.models.package.files import MAX_TENSOR, MAX_WEIGHTS, InMemory, PackageFiles, is_local, open_files, sha256
from napari_virtual_paint.models.package.rdf import describe_domain, dump_yaml
from napari_virtual_paint.models.package.reader import describe
from napari_virtual_paint.models.package.safe_yaml import read_description
from napari_virtual_paint.models.package.specification import converted
from napari_virtual_paint.models.package.writer import write_package


def copy_package(
    path: Path,
    target: Path,
    head: Mapping[str, Any],
    outputs: tuple[str, ...] | None,
    overwrite: bool,
    extra: Mapping[str, bytes] | None = None,
) -> str:
    """Copy a package, converted to version 0.5 of the specification where it is 0.4, and return its kind and version.

    Parameters
    ----------
    path
        A folder or a .zip.
    target
        The new package.
    head
        Parts of the description that are replaced.
    outputs
        New names of its stains; None keeps them.
    overwrite
        Replace a package that is there.
    extra
        More files.

    Raises
    ------
    ModelError
        If it is no model that can be used here; nothing of it is fetched or run.
    WriteError
        If the copy can't be written.
    """
    files = open_files(path)
    content = read_description(files)
    version = str(content.get("format_version"))
    contents = {name: files.read(name, MAX_WEIGHTS) for name in sorted(_sources(files, content))}
    if version.startswith("0.4."):
        content = converted(files, content, contents)
    if not str(content.get("format_version")).startswith("0.5."):
        raise files.fail(f"it follows version {version} of the bioimage.io specification; versions 0.4 and 0.5 are read")
    content = {**content, **head}
    if outputs is not None:
        _rename(files, content, outputs)
    contents |= extra or {}
    describe(InMemory(path, files.description, {**contents, files.description: dump_yaml(content)}))
    contents["rdf.yaml"] = dump_yaml(content)
    write_package(target, contents, overwrite)
    return f"bioimage.io package {version}"


def _sources(files: PackageFiles, content: Any) -> set[str]:
    """Return the files that a description points to, each inside the package and there."""
    found: set[str] = set()
    waiting = [content]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Mapping):
            waiting += [value for key, value in item.items() if key != "config"]
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, str) and 0 < len(item) < 200 and "\n" not in item and "://" not in item:
            name = item[2:] if item.startswith("./") else item
            if name != files.description and _is_there(files, name) and files.size(name) <= max(MAX_TENSOR, MAX_WEIGHTS):
                found.add(name)
    return found


def _is_there(files: PackageFiles, name: str) -> bool:
    return is_local(name) and files.exists(name)


def _rename(files: PackageFiles, content: dict[str, Any], outputs: tuple[str, ...]) -> None:
    """Give the stains other names."""
    for tensor in content.get("outputs") or ():
        for axis in tensor.get("axes", ()):
            if isinstance(axis, dict) and axis.get("type") == "channel":
                if len(axis.get("channel_names", ())) != len(outputs):
                    raise files.fail(f"it paints {len(axis.get('channel_names', ()))} stains; --outputs names {len(outputs)}")
                axis["channel_names"] = list(outputs)


def add_domain(package: str | Path, domain: Domain, output: str | Path | None = None, *, overwrite: bool = False) -> Path:
    """Add a summary of the training inputs to a package, as a file listed with its SHA-256. Other files stay as they are, byte for byte.

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
    head = describe_domain(read_description(open_files(package)), DOMAIN_FILE, sha256(data))
    copy_package(package, target, head, None, overwrite or output is None, {DOMAIN_FILE: data})
    return target
