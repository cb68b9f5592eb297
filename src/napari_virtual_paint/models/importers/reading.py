"""Read foreign files safely: recognize the kind of file, and load only tensors and plain values."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from napari_virtual_paint.errors import ModelError
from napari_virtual_paint.models.package.files import DESCRIPTION_NAMES, MAX_WEIGHTS, PackageFiles
from napari_virtual_paint.models.package.weights import unpickle
from napari_virtual_paint.runtime.text import one_line

Form = Literal["package", "torchscript", "checkpoint", "onnx"]
DEEPEST = 4  # deepest nesting that is searched for states
LEAST = 3  # fewest tensors of a state


class Lone(PackageFiles):
    """A single file, for the readers and errors of packages."""

    def exists(self, name: str) -> bool:
        """Return whether it is the file itself."""
        return name == self.path.name

    def size(self, name: str) -> int:
        """Return its size in bytes."""
        return self.path.stat().st_size

    def _read(self, name: str, limit: int) -> bytes:
        with self.path.open("rb") as file:
            return file.read(limit + 1)


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes.

    Raises `ModelError` if there is no such file, or it is empty or too large.
    """
    if not path.is_file():
        raise ModelError(f"{path}: there is no such file.")
    if path.stat().st_size == 0:
        raise ModelError(f"{path}: the file is empty; download or copy it again.")
    try:
        return Lone(path).read(path.name, MAX_WEIGHTS)
    except OSError as error:
        raise ModelError(f"{path}: it can't be read ({one_line(error)}).") from error


def form_of(path: Path) -> Form:
    """Return what a file is, by its contents.

    Raises `ModelError` if there is no such file.
    """
    if path.is_dir() or path.suffix.casefold() in (".yaml", ".yml"):
        return "package"
    if not path.is_file():
        raise ModelError(f"{path}: there is no such file.")
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(b"PK"):
        return _archive(path)
    # An ONNX file is a protocol buffer whose first field is its version, or the name of the program that wrote it.
    if len(start) > 4 and start[0] == 0x08 and start[1] < 0x20 and start[2] in (0x12, 0x3A, 0x42):
        return "onnx"
    return "checkpoint"


def _archive(path: Path) -> Form:
    """Tell packages, TorchScript and checkpoints apart by the names in the archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ModelError(f"{path}: the file is damaged or cut off ({one_line(error)}); download or copy it again.") from error
    ends = [name.rsplit("/", 1)[-1] for name in names]
    if any(end == wanted or end.endswith("." + wanted) for end in ends for wanted in DESCRIPTION_NAMES):
        return "package"
    if any("/code/" in name for name in names) and "constants.pkl" in ends:
        return "torchscript"
    return "checkpoint"


def read_checkpoint(path: Path) -> Any:
    """Return what a PyTorch file holds: tensors and plain values in any nesting, nothing else.

    Raises `ModelError` if it holds more, which is named, or is no such file.
    """
    return unpickle(Lone(path), read_bytes(path), path.name)


def states(content: Any, depth: int = 0) -> Iterator[tuple[Mapping[str, Any], dict[str, Tensor]]]:
    """Yield every mapping of names to tensors in a file, with the mapping that contains it, the outermost first."""
    if not isinstance(content, Mapping) or depth > DEEPEST:
        return
    if depth == 0 and len(tensors := _tensors(content)) >= LEAST:
        yield content, tensors
    for value in content.values():
        if isinstance(value, Mapping) and len(tensors := _tensors(value)) >= LEAST:
            yield content, tensors
    for value in content.values():
        yield from states(value, depth + 1)


def _tensors(mapping: Mapping[Any, Any]) -> dict[str, Tensor]:
    """Return the tensors of a mapping under their names."""
    return {key: value for key, value in mapping.items() if isinstance(key, str) and isinstance(value, Tensor)}


def refuse_odd(path: Path, state: Mapping[str, Tensor], size: int) -> None:
    """Refuse tensors that are not plain, or that claim to hold more numbers than the file has bytes.

    Raises `ModelError` if there is such a tensor.
    """
    for key, tensor in state.items():
        if tensor.layout != torch.strided or tensor.is_complex() or tensor.is_quantized or tensor.device.type != "cpu":
            raise ModelError(f"{path}: it holds {key} in a form that is no plain tensor.")
    if sum(tensor.numel() for tensor in state.values()) > size + 4096:
        raise ModelError(f"{path}: its tensors claim more numbers than the file has bytes; this file may be an attack.")
