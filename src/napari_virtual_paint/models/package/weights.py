"""Load the network of a package; only tensors are unpickled. Importing this imports torch."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any

import torch
from torch import Tensor, nn

from napari_virtual_paint.errors import ModelError
from napari_virtual_paint.models.info import ModelInfo
from napari_virtual_paint.models.package.files import MAX_GROWTH, MAX_WEIGHTS, PackageFiles, as_file, sha256
from napari_virtual_paint.models.package.numpy_values import STAND_INS
from napari_virtual_paint.models.package.onnx_external import embedded
from napari_virtual_paint.models.package.safetensors import read_safetensors
from napari_virtual_paint.networks import build
from napari_virtual_paint.networks.empty import empty_weights
from napari_virtual_paint.runtime.file_kind import HEAD, FileKind, kind_of_bytes, kind_of_names
from napari_virtual_paint.runtime.safe_zip import UnsafeZipError, entries, wrong_checksum
from napari_virtual_paint.runtime.text import one_line

MAX_SETTING = 65_536
LIMITS = {"depth": 12, "members": 64, "downs": 12, "blocks": 64, "enhancers": 6, "local_blocks": 64, "decoder_blocks": 64}
"""Settings that cost time before the sizes of the weights are compared."""


def load_network(files: PackageFiles, info: ModelInfo, entry: Mapping[str, Any]) -> nn.Module:
    """Load the network of a package: SHA-256 checked, float32, on the CPU, eval mode, gradients off.

    Raises `ModelError` if the weights are missing, damaged, ask for more than tensors, or don't fit the network.
    """
    if info.weights == "onnx":
        from napari_virtual_paint.models.package.onnx import OnnxNetwork

        return OnnxNetwork(read_graph(files, entry), f"{files.path}: {files.local(entry)}").eval()
    data = read_weights(files, entry)
    if info.weights == "torchscript":
        network = load_script(files, data, files.local(entry))
    else:
        network = _load_state(files, data, files.local(entry), info)
    for parameter in network.parameters():  # a ScriptModule has no requires_grad_ of its own
        parameter.requires_grad_(False)
    return network.eval()


def read_weights(files: PackageFiles, entry: Mapping[str, Any]) -> bytes:
    """Return the bytes of the weights, their SHA-256 checked where the package states one."""
    name = files.local(entry)
    data = files.read(name, MAX_WEIGHTS)
    expected = entry.get("sha256")
    if expected and sha256(data) != str(expected).casefold():
        raise files.fail(f"{name} is damaged or was changed: its SHA-256 is not the one in {files.description}; download the package again")
    return data


def read_graph(files: PackageFiles, entry: Mapping[str, Any]) -> bytes:
    """Return the bytes of an ONNX graph, with the weights that it keeps in other files of the package."""
    name = files.local(entry)
    external = entry.get("external_data")
    stated = external.get("sha256") if isinstance(external, Mapping) else None

    def read(other: str) -> bytes:
        data = files.read(str(PurePosixPath(name).parent / other), MAX_WEIGHTS)
        if stated and sha256(data) != str(stated).casefold():
            raise files.fail(f"{other} is damaged or was changed: its SHA-256 is not the one in {files.description}")
        return data

    try:
        return embedded(read_weights(files, entry), read)
    except ValueError as error:
        raise error if isinstance(error, ModelError) else files.fail(f"{name} {error}") from error


def load_script(files: PackageFiles, data: bytes, name: str) -> nn.Module:
    """Load a TorchScript program; `ModelInfo.warnings` warns the user of it."""
    _refuse_bomb(files, data, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            network: nn.Module = torch.jit.load(as_file(data), map_location="cpu")  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, OSError, MemoryError) as error:
        kind = kind_of_data(data)
        what = "" if kind is None or kind.key == "torchscript" else f": it is {kind.words}"
        raise files.fail(f"{name} is no TorchScript file that this version of torch reads{what} ({one_line(error)})") from error
    return network.float()


def _load_state(files: PackageFiles, data: bytes, name: str, info: ModelInfo) -> nn.Module:
    """Build the network on the allow-list and fill in the weights, every key and shape compared before memory is taken."""
    network = _skeleton(files, info)
    wanted = network.state_dict()
    if sum(tensor.numel() for tensor in wanted.values()) > len(data) + 4096:
        raise files.fail(f"{name} is too small for the network that {files.description} describes")
    state = _unpickle(files, data, name)
    missing, extra = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    if missing or extra:
        what = f"lacks {missing[0]}" if missing else f"has {extra[0]}, which the network doesn't"
        more = len(missing) + len(extra) - 1
        raise files.fail(f"{name} doesn't fit the network {info.architecture}: it {what}" + (f" (and {more} more)" if more else ""))
    for key, tensor in state.items():
        if tensor.layout != torch.strided or tensor.is_complex() or tensor.is_quantized or tensor.device.type != "cpu":
            raise files.fail(f"{name} holds {key} in a form that is no plain tensor")
        if tensor.shape != wanted[key].shape:
            shapes = f"{tuple(tensor.shape)}, not {tuple(wanted[key].shape)}"
            raise files.fail(f"{name} doesn't fit the network {info.architecture}: {key} is {shapes}")
    filled = {key: tensor.to(wanted[key].dtype).contiguous() for key, tensor in state.items()}
    network.load_state_dict(filled, strict=True, assign=True)
    return network


def _skeleton(files: PackageFiles, info: ModelInfo) -> nn.Module:
    """Build the network without memory for its weights."""
    for name, value in info.config.items():
        limit = LIMITS.get(name, MAX_SETTING)
        if not isinstance(value, (bool, int, float, str)) or (isinstance(value, (int, float)) and not abs(value) <= limit):
            raise files.fail(f"the setting {name} = {value!r} of its network {info.architecture} is out of range")
    try:
        with empty_weights():
            return build(info.architecture, dict(info.config))
    except (TypeError, ValueError, RuntimeError) as error:
        raise files.fail(f"its settings don't make a network {info.architecture} ({one_line(error)})") from error


def _unpickle(files: PackageFiles, data: bytes, name: str) -> dict[str, Tensor]:
    """Return the tensors of a weights file."""
    state = unpickle(files, data, name)
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise files.fail(f"{name} holds something else than named tensors; save the network's state_dict() alone")
    return state


def unpickle(files: PackageFiles, data: bytes, name: str) -> Any:
    """Return what a file of weights (PyTorch or safetensors) holds: tensors and plain values, in any nesting.

    Raises `ModelError` if it asks for more, which is named, is another kind of file, or is damaged.
    """
    _refuse_bomb(files, data, name)
    kind = kind_of_data(data)
    if kind is not None and kind.key == "safetensors":
        try:
            return read_safetensors(data)
        except ValueError as error:
            raise files.fail(f"{name} {error}") from error
    if kind is not None and kind.key not in ("checkpoint", "pickle"):
        remedy = f"; {kind.remedy}" if kind.remedy else ""
        raise files.fail(f"{name} is {kind.words}, and no weights of PyTorch{remedy}")
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(STAND_INS):
            warnings.simplefilter("ignore")
            return torch.load(as_file(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported operand" in str(error) and data[:2] > b"\x80\x02" and data[0] == 0x80:
            saved = f"was saved with pickle protocol {data[1]}, of which only protocol 2 can be read without running code"
            raise files.fail(f"{name} {saved}; save it again by torch.save") from error
        if (asked := _asked(error)) is None:
            raise files.fail(f"{name} is no PyTorch weights file or is damaged") from error
        raise files.fail(f"{name} asks for more than tensors ({asked}) and was not loaded, since it could run code") from error
    except Exception as error:  # whatever torch raises on damaged bytes: the reader gets one sentence
        if kind is not None and kind.key == "pickle" and "magic number" in str(error):
            raise files.fail(
                f"{name} is a pickle of Python that torch.save did not write; save the network's state_dict() by it"
            ) from error
        text = one_line(error)
        detail = f" ({text})" if any(letter.isalpha() for letter in text) else ""
        raise files.fail(f"{name} is no PyTorch weights file or is damaged{detail}") from error


def kind_of_data(data: bytes) -> FileKind | None:
    """Return what the bytes of a whole file are; None for what is of no kind known."""
    if data.startswith(b"PK"):
        try:
            return kind_of_names([entry.filename for entry in entries(as_file(data)) if not entry.is_dir()])
        except (UnsafeZipError, zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
            return None
    return kind_of_bytes(data[:HEAD], len(data))


def checksum_fault(source: Path | IO[bytes], name: str) -> str | None:
    """Return a sentence on the first part of a weights file whose CRC-32 is wrong; None if all are right, or the file has none.

    PyTorch doesn't look at them, so that a flipped bit would pass for a weight.
    """
    if isinstance(source, Path):
        with source.open("rb") as file:
            return checksum_fault(file, name)
    source.seek(0)
    if source.read(2) != b"PK":
        return None
    try:
        entry = wrong_checksum(source)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, OSError, ValueError, EOFError) as error:
        return f"{name} is damaged ({one_line(error)}); download or copy it again"
    if entry is None:
        return None
    return f"{name} is damaged: its part {entry} has not the CRC-32 that it states; download or copy it again"


def _asked(error: BaseException) -> str | None:
    """Return the name that a refused pickle wanted to import, from torch's message; None if it is no pickle at all."""
    text = " ".join(str(error).split())
    found = re.search(r"GLOBAL `?([\w.]+)|(?:class|function|type) `?([\w.]*\.[\w.]+)", text)
    if found is not None:
        return found.group(1) or found.group(2)
    return None if "operand" in text or "Unsupported" not in text else one_line(error, 80)


def _refuse_bomb(files: PackageFiles, data: bytes, name: str) -> None:
    """Refuse a weights file (a .zip inside) that declares to unpack to far more than its size, or can be read in two ways."""
    if not data.startswith(b"PK"):
        return
    try:
        entries(as_file(data), growth=MAX_GROWTH)
    except UnsafeZipError as error:
        raise files.fail(f"{name} {error}; this file may be an attack") from error
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise files.fail(f"{name} is damaged or cut off ({one_line(error)}); download or copy it again") from error
