"""Check a package: hashes, the specification, shapes, and whether it reproduces its test output."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.errors import ModelError
from napari_virtual_paint.models.catalogue import locate
from napari_virtual_paint.models.info import ModelInfo
from napari_virtual_paint.models.package.files import MAX_WEIGHTS, PackageFiles, as_file, open_files, sha256
from napari_virtual_paint.models.package.npy import load_tensor
from napari_virtual_paint.models.package.reader import Description, describe, stored_warnings
from napari_virtual_paint.models.package.specification import spec_errors
from napari_virtual_paint.normalize import fit
from napari_virtual_paint.runtime.text import counted, one_line

if TYPE_CHECKING:
    from torch import nn

ALONE = "by the network alone, without the processing steps of the description"
TOLERANCE = 1e-4  # largest difference from the test output that passes, in SD of each stain


@dataclass(frozen=True)
class CheckRow:
    """One thing that was checked."""

    name: str  # what was checked
    ok: bool  # whether it is as it should be
    detail: str  # what was found


@dataclass(frozen=True)
class CheckReport:
    """What `check_model` found."""

    path: Path  # the package
    checks: tuple[CheckRow, ...]
    """One row each, in the order they were made; after a row that fails the later ones that need it are left out."""

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(row.ok for row in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Return ``{"ok": bool, "checks": [{"name", "ok", "detail"}, ...]}``."""
        return {"ok": self.ok, "checks": [{"name": row.name, "ok": row.ok, "detail": row.detail} for row in self.checks]}


def check_model(path: str | Path) -> CheckReport:
    """Check a package: its files and their SHA-256, the specification, the weights, the shapes, the test tensors reproduced.

    Parameters
    ----------
    path
        A folder, a .zip, the description inside a folder, or the id of a model in `list_models`.

    Returns
    -------
    CheckReport
        A row for each check; failures are reported in the row, not raised.
    """
    found = locate(path)
    try:
        files = open_files(found)
    except ModelError as error:
        return CheckReport(found, (CheckRow("package", False, str(error)),))
    return check_files(files)


def check_files(files: PackageFiles) -> CheckReport:
    """Check the files of a package, opened or not yet written; see `check_model`."""
    rows: list[CheckRow] = []
    try:
        rows.extend(_checks(files))
    except ModelError as error:
        rows.append(CheckRow("package", False, str(error)))
    return CheckReport(files.path, tuple(rows))


def _checks(files: PackageFiles) -> Iterator[CheckRow]:
    """Yield one row after another; raise where the rest makes no sense."""
    description = describe(files)
    yield CheckRow("description", True, f"{description.info.name}, version {description.info.version}")
    errors = spec_errors(dict(description.content))
    yield CheckRow("specification", not errors, "; ".join(errors[:3]) or f"valid, format {description.content.get('format_version')}")
    yield from (CheckRow("import", False, warning) for warning in stored_warnings(description.content))
    yield from _hashes(files, description)
    yield from _domain(files, description)
    from napari_virtual_paint.models.package.weights import load_network

    try:
        network = load_network(files, description.info, description.weights)
        count = sum(tensor.numel() for tensor in network.parameters())
    except ModelError as error:
        yield CheckRow("weights", False, str(error))
        return
    kind = {"torchscript": "TorchScript", "onnx": "ONNX"}.get(description.info.weights)
    note = "" if kind is None else f" in {kind}, which carries a program of its own"
    yield CheckRow("weights", True, f"{count:,} parameters{note}")
    yield from _reproduce(files, description, network)


def _hashes(files: PackageFiles, description: Description) -> Iterator[CheckRow]:
    """Yield a row for each file of the description: there, and of the SHA-256 that is stated."""
    for what, entry in (("weights", description.weights), ("test input", description.test_input), ("test output", description.test_output)):
        if entry is None:
            continue
        try:
            name = files.local(entry)
            data = files.read(entry, MAX_WEIGHTS)
            found = sha256(data)
        except ModelError as error:
            yield CheckRow(f"sha256 of the {what}", False, str(error))
            continue
        stated = entry.get("sha256") if isinstance(entry, dict) else None
        detail = f"{name}: {found[:12]}…" if stated else f"{name}: none is stated"
        if stated and found != str(stated).casefold():
            detail = f"{name}: it is {found[:12]}…, the description says {str(stated)[:12]}…; download the package again"
        yield CheckRow(f"sha256 of the {what}", not stated or found == str(stated).casefold(), detail)
        if what == "weights":
            yield from _checksums(data, name)


def _checksums(data: bytes, name: str) -> Iterator[CheckRow]:
    """Yield a row where a part of the weights has not the CRC-32 that it states."""
    from napari_virtual_paint.models.package.weights import checksum_fault

    if (fault := checksum_fault(as_file(data), name)) is not None:
        yield CheckRow("checksums of the weights", False, fault)


def _domain(files: PackageFiles, description: Description) -> Iterator[CheckRow]:
    """Yield the row on the summary of the training inputs, where there is one."""
    from napari_virtual_paint.models.package.domain import load_domain

    if (entry := description.info.domain) is None:
        return
    try:
        found = load_domain(files, entry)
    except ModelError as error:
        yield CheckRow("training inputs", False, str(error))
        return
    yield CheckRow("training inputs", True, f"summary of {found.patches} patches of {counted(found.images, 'image')}")


def _reproduce(files: PackageFiles, description: Description, network: nn.Module) -> Iterator[CheckRow]:
    """Yield the rows on shapes and on the test output."""
    info = description.info
    if description.test_input is None or description.test_output is None:
        yield CheckRow("test tensors", False, "the package has none, so nothing shows that it still works")
        return
    try:
        raw, expected = load_tensor(files, description.test_input), load_tensor(files, description.test_output)
    except ModelError as error:
        yield CheckRow("test tensors", False, str(error))
        return
    problem = _shape_problem(info, raw, expected)
    yield CheckRow("shapes", problem is None, problem or f"{_text(raw.shape)} -> {_text(expected.shape)}")
    if problem is not None:
        return
    try:
        found = predict_whole(network, info, raw)
    except (RuntimeError, ValueError, MemoryError) as error:
        yield CheckRow("test output reproduced", False, f"the network can't run on the test input ({one_line(error)})")
        return
    if found.shape[2:] != raw.shape[2:]:
        sides = f"the network gives {_text(found.shape)} for {_text(raw.shape)}"
        yield CheckRow("size of the output", False, f"{sides}; only outputs of the input's own sides are painted")
        return
    row = _compare(found, expected)
    yield row if row.ok else _alone(network, info, raw, expected) or row


def _alone(network: nn.Module, info: ModelInfo, raw: npt.NDArray[Any], expected: npt.NDArray[Any]) -> CheckRow | None:
    """Return the row on a test output that the network alone gives, as some authors made theirs; None if it does not, either."""
    bare = replace(info, preprocessing=(), postprocessing=())
    if (bare.preprocessing, bare.postprocessing) == (info.preprocessing, info.postprocessing):
        return None
    row = _compare(predict_whole(network, bare, raw), expected)
    return CheckRow(row.name, True, f"{ALONE}: {row.detail}") if row.ok else None


def _compare(found: npt.NDArray[np.float32], expected: npt.NDArray[Any]) -> CheckRow:
    """Return the row on the difference between the output found and the output expected."""
    name = "test output reproduced"
    if found.shape != expected.shape:
        found = _crop(found, expected.shape)
        if found.shape != expected.shape:
            return CheckRow(name, False, f"the network gives {_text(found.shape)}, the test output is {_text(expected.shape)}")
    flat, truth = (array.reshape(array.shape[0] * array.shape[1], -1).astype(np.float64) for array in (found, expected))
    absolute = np.abs(flat - truth).max(axis=1)
    deviation = truth.std(axis=1)
    error = float((absolute / np.where(deviation > 0, deviation, 1.0)).max())
    ok = bool(np.isfinite(error)) and error <= TOLERANCE
    return CheckRow(name, ok, f"max abs error {float(absolute.max()):.2g}, {error:.2g} SD (tolerance {TOLERANCE:.0e} SD)")


def _crop(found: npt.NDArray[np.float32], shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return the middle of an output: packages may crop their halo from the test output."""
    cuts = [(have - want) // 2 for have, want in zip(found.shape, shape, strict=False)]
    if found.ndim != len(shape) or any(cut < 0 for cut in cuts):
        return found
    return found[tuple(slice(cut, cut + want) for cut, want in zip(cuts, shape, strict=True))]


def predict_whole(network: nn.Module, info: ModelInfo, raw: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return the stains of raw images in one pass, with pre- and postprocessing.

    Parameters
    ----------
    raw
        (N, channels, [Z,] Y, X), sides that suit the network.

    Returns
    -------
    ndarray
        (N, stains, [Z,] Y, X), float32.
    """
    import torch

    out = []
    for image in raw:
        ready = torch.from_numpy(fit(image, info.preprocessing, info.channels).apply(image))[None]
        with torch.inference_mode():
            given = network(ready)
        given = given[0] if isinstance(given, (tuple, list)) else given
        stains = given[0].float().numpy()
        out.append(fit(stains, info.postprocessing, info.stains, reference=image).apply(stains))
    return np.stack(out)


def _shape_problem(info: ModelInfo, raw: npt.NDArray[Any], expected: npt.NDArray[Any]) -> str | None:
    """Return what is wrong with the test tensors' shapes, or None."""
    for array, names, what in ((raw, info.channels, "input"), (expected, info.stains, "output")):
        if array.ndim != info.dims + 2:
            return f"the test {what} has {array.ndim} axes; {info.dims + 2} are described"
        if array.shape[1] != len(names):
            return f"the test {what} has {array.shape[1]} channels; {len(names)} are described ({', '.join(names)})"
        if not np.isfinite(array).all():
            return f"the test {what} holds values that are not numbers"
    if len(raw) != len(expected) or len(raw) == 0:
        return f"the test input holds {len(raw)} images, the test output {len(expected)}"
    for side, least, step in zip(raw.shape[2:], info.min_size, info.step_size, strict=True):
        if side < least or (side - least) % step if step else side != least:
            return f"a side of the test input is {side}; {f'{least} + n * {step}' if step else least} is described"
    return None


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(str(side) for side in shape)
