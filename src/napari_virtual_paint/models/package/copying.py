"""Copy a bioimage.io package with changes: version 0.5 as it is, version 0.4 converted offline; and add a domain summary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from napari_virtual_paint.errors import ModelError
from napari_virtual_paint.models.package.domain import DOMAIN_FILE, Domain
from napari_virtual_paint.models.package.files import MAX_TENSOR, MAX_WEIGHTS, InMemory, PackageFiles, is_local, open_files, sha256
from napari_virtual_paint.models.package.onnx_external import external_files
from napari_virtual_paint.models.package.rdf import describe_domain
from napari_virtual_paint.models.package.reader import describe
from napari_virtual_paint.models.package.safe_yaml import read_description
from napari_virtual_paint.models.package.specification import converted
from napari_virtual_paint.models.package.writer import write_package
from napari_virtual_paint.runtime.yaml_text import dump_yaml

LINKS = ("url", "doi", "git_repo", "links", "cite", "text", "description", "name", "comment", "config", "run_mode", "download_url")
"""Parts of a description that name no file of the package."""


@dataclass(frozen=True)
class PackageCopy:
    """A package in memory, ready to be written."""

    kind: str  # what it was, with its version
    contents: Mapping[str, bytes]  # name of each file -> its bytes, ``rdf.yaml`` among them
    notes: tuple[str, ...]  # what the user should know

    def files(self, path: Path) -> PackageFiles:
        """Return its files for the readers of packages, under the path of the original."""
        return InMemory(path, "rdf.yaml", self.contents)


def copied(
    path: Path,
    head: Mapping[str, Any],
    outputs: tuple[str, ...] | None = None,
    extra: Mapping[str, bytes] | None = None,
    inputs: tuple[str, ...] | None = None,
) -> PackageCopy:
    """Read a package into memory, converted to version 0.5 of the specification where it is 0.4.

    Nothing of it is fetched or run. What it names on the network stays a name; weights that lie there are left out.

    Parameters
    ----------
    path
        A folder or a .zip.
    head
        Parts of the description that are replaced.
    outputs
        New names of its stains; None keeps them.
    extra
        More files.
    inputs
        New names of its input channels; None keeps them.

    Raises
    ------
    ModelError
        If it is no model that can be used here, has another number of channels than there are names, or one of its files has not the
        SHA-256 that is stated.
    """
    files = open_files(path)
    content = read_description(files)
    version = str(content.get("format_version"))
    notes: list[str] = []
    contents = {name: files.read(name, MAX_WEIGHTS) for name in sorted(_sources(files, content))}
    _add_external(files, content, contents)
    _refuse_changed(files, content, contents)
    content = _without_absent_weights(files, content, notes)
    if version.startswith("0.4."):
        content = converted(files, content, notes)
        _add_hashes(content, contents)
    if not str(content.get("format_version")).startswith("0.5."):
        raise files.fail(f"it follows version {version} of the bioimage.io specification; versions 0.4 and 0.5 are read")
    content = {**content, **head}
    if outputs is not None:
        _rename(files, content, "outputs", outputs)
    if inputs is not None:
        _rename(files, content, "inputs", inputs)
    if remote := sorted(set(_addresses(content))):
        more = f" and {len(remote) - 3} more" if len(remote) > 3 else ""
        notes.append(f"It names files on the network, which are never fetched: {', '.join(remote[:3])}{more}.")
    contents |= extra or {}
    describe(InMemory(path, files.description, {**contents, files.description: dump_yaml(content).encode()}))
    contents["rdf.yaml"] = dump_yaml(content).encode()
    return PackageCopy(f"bioimage.io package {version}", contents, tuple(notes))


def copy_package(
    path: Path,
    target: Path,
    head: Mapping[str, Any],
    overwrite: bool,
    extra: Mapping[str, bytes] | None = None,
) -> None:
    """Copy a package with changes; see `copied`.

    Raises
    ------
    ModelError
        If it is no model that can be used here.
    WriteError
        If the copy can't be written.
    """
    write_package(target, copied(path, head, None, extra).contents, overwrite)


def _sources(files: PackageFiles, content: Any) -> set[str]:
    """Return the files that a description points to, each inside the package and there."""
    found: set[str] = set()
    for item in _texts(content):
        for name in _names(item):
            if name != files.description and _is_there(files, name) and files.size(name) <= max(MAX_TENSOR, MAX_WEIGHTS):
                found.add(name)
    return found


def _texts(content: Any, skip: tuple[str, ...] = ("config",)) -> Iterator[str]:
    """Yield every text of a description."""
    waiting = [content]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Mapping):
            waiting += [value for key, value in item.items() if key not in skip]
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, str):
            yield item


def _names(text: str) -> Iterator[str]:
    """Yield the names of files that a text may be: as it is, or as 0.4 writes an environment or a class of a file."""
    if not 0 < len(text) < 200 or "\n" in text or "://" in text:
        return
    yield text.removeprefix("./")
    if ":" in text:
        yield text.partition(":")[2].removeprefix("./")
        yield text.rpartition(":")[0].removeprefix("./")


def _is_there(files: PackageFiles, name: str) -> bool:
    return bool(name) and is_local(name) and files.exists(name)


def _add_external(files: PackageFiles, content: Mapping[str, Any], contents: dict[str, bytes]) -> None:
    """Add the files that an ONNX graph keeps weights in, where the description does not name them."""
    weights = content.get("weights")
    entry = weights.get("onnx") if isinstance(weights, Mapping) else None
    source = entry.get("source") if isinstance(entry, Mapping) else None
    name = next((name for name in _names(source) if name in contents), None) if isinstance(source, str) else None
    if name is None:
        return
    try:
        others = [str(PurePosixPath(name).parent / other) for other in external_files(contents[name])]
    except ValueError as error:
        raise files.fail(f"{name} {error}") from error
    contents.update({other: files.read(other, MAX_WEIGHTS) for other in others if _is_there(files, other)})


def _refuse_changed(files: PackageFiles, content: Any, contents: Mapping[str, bytes]) -> None:
    """Refuse a package one of whose files has not the SHA-256 that the description states."""
    waiting = [content]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting += item
        elif isinstance(item, Mapping):
            waiting += [value for key, value in item.items() if key != "config"]
            for key, stated in (("source", "sha256"), ("architecture", "architecture_sha256")):
                name = next((n for n in _names(item[key]) if n in contents), None) if isinstance(item.get(key), str) else None
                if name is not None and item.get(stated) and sha256(contents[name]) != str(item[stated]).casefold():
                    raise files.fail(
                        f"{name} is damaged or was changed: its SHA-256 is not the one in {files.description}; download the package again"
                    )


def _without_absent_weights(files: PackageFiles, content: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    """Return a description without the weights whose file is not in the package, as long as others are."""
    weights = content.get("weights")
    if not isinstance(weights, Mapping):
        return dict(content)
    kept, reasons = {}, {}
    for name, entry in weights.items():
        try:
            source = files.local(entry)
            if not files.exists(source):
                raise files.fail(f"the file {source} that its description names is missing; download the package again")
            kept[name] = entry
        except ModelError as error:
            reasons[name] = error
    if not kept and reasons:
        raise next(iter(reasons.values()))
    notes += [f"The weights {name} were left out: their file is not in the package." for name in reasons]
    for name, entry in kept.items():
        if isinstance(entry, Mapping) and entry.get("parent") in reasons:
            kept[name] = {key: value for key, value in entry.items() if key != "parent"}
    return {**content, "weights": kept}


def _add_hashes(content: Mapping[str, Any], contents: Mapping[str, bytes]) -> None:
    """State the SHA-256 of weights and test tensors, which the converter drops."""
    tensors = [tensor for which in ("inputs", "outputs") for tensor in content.get(which, ())]
    for entry in (*content.get("weights", {}).values(), *(tensor.get("test_tensor") for tensor in tensors)):
        if isinstance(entry, dict) and isinstance(entry.get("source"), str):
            name = next((name for name in _names(entry["source"]) if name in contents), None)
            if name is not None:
                entry["sha256"] = sha256(contents[name])


def _addresses(content: Any) -> Iterator[str]:
    """Yield what a description names as files that lie elsewhere."""
    for text in _texts(content, LINKS):
        if "://" in text and not any(letter.isspace() for letter in text):
            yield text


def _rename(files: PackageFiles, content: dict[str, Any], part: str, names: tuple[str, ...]) -> None:
    """Give the stains (``outputs``) or the input channels (``inputs``) other names."""
    for tensor in content.get(part) or ():
        for axis in tensor.get("axes", ()):
            if isinstance(axis, dict) and axis.get("type") == "channel":
                count = len(axis.get("channel_names", ()))
                if count != len(names):
                    noun = "stains" if part == "outputs" else "input channels"
                    raise files.fail(f"this model has {count} {noun}; --{part} names {len(names)} ({', '.join(names)})")
                axis["channel_names"] = list(names)


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
    copy_package(package, target, head, overwrite or output is None, {DOMAIN_FILE: data})
    return target
