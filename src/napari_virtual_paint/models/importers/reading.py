"""Read foreign files safely: recognize the kind of file, and load only tensors and plain values."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor

from napari_virtual_paint.errors import ModelError
from napari_virtual_paint.models.package.files import FREE_GROWTH, MAX_GROWTH, MAX_WEIGHTS, PackageFiles
from napari_virtual_paint.models.package.weights import unpickle
from napari_virtual_paint.runtime.file_kind import file_kind
from napari_virtual_paint.runtime.safe_zip import UnsafeZipError, entries
from napari_virtual_paint.runtime.text import one_line

Form = Literal["package", "torchscript", "checkpoint", "onnx"]
MODEL_KINDS = "checkpoints of PyTorch, safetensors, TorchScript, ONNX and bioimage.io packages are read"


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


def beside(path: Path, name: str) -> Path:
    """Return a file in the folder of another, or below.

    Raises `ModelError` if a link leads out of that folder.
    """
    found = path.parent / name
    if not found.resolve().is_relative_to(path.parent.resolve()):
        raise ModelError(f"{path}: it keeps weights in {name}, a link out of its folder, which is never read.")
    return found


def form_of(path: Path) -> Form:
    """Return what a file is, by its contents.

    Raises `ModelError` if there is no such file, or it is of a kind that holds no model.
    """
    if path.is_dir() or path.suffix.casefold() in (".yaml", ".yml"):
        return "package"
    if not path.is_file():
        raise ModelError(f"{path}: there is no such file.")
    try:
        kind = file_kind(path)
        with path.open("rb") as file:
            zipped = file.read(2) == b"PK"
        if zipped:
            entries(path, growth=MAX_GROWTH, free=FREE_GROWTH)
    except UnsafeZipError as error:
        raise ModelError(f"{path}: it {error}; this file may be an attack.") from error
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise ModelError(f"{path}: the file is damaged or cut off ({one_line(error)}); download or copy it again.") from error
    except OSError as error:
        raise ModelError(f"{path}: it can't be read ({one_line(error)}).") from error
    if kind is None or kind.key in ("pickle", "checkpoint", "safetensors"):
        return "checkpoint"
    if kind.key == "torchscript" or kind.key == "package" or kind.key == "onnx":
        return cast(Form, kind.key)
    remedy = kind.remedy or MODEL_KINDS
    raise ModelError(f"{path}: it is {kind.words}{'' if kind.key == 'empty' else ', which holds no model that is read here'}; {remedy}.")


def read_checkpoint(path: Path) -> Any:
    """Return what a file of PyTorch or safetensors holds: tensors and plain values in any nesting, nothing else.

    Raises `ModelError` if it holds more, which is named, or is no such file.
    """
    return unpickle(Lone(path), read_bytes(path), path.name)


def refuse_odd(path: Path, state: Mapping[str, Tensor], size: int) -> None:
    """Refuse tensors that are not plain, or that claim to hold more numbers than the file has bytes.

    Raises `ModelError` if there is such a tensor.
    """
    for key, tensor in state.items():
        if tensor.layout != torch.strided or tensor.is_complex() or tensor.is_quantized or tensor.device.type != "cpu":
            raise ModelError(f"{path}: it holds {key} in a form that is no plain tensor.")
    if sum(tensor.numel() for tensor in state.values()) > size + 4096:
        raise ModelError(f"{path}: its tensors claim more numbers than the file has bytes; this file may be an attack.")
