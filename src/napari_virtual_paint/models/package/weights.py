"""Load the network of a package; only tensors are unpickled. Importing this imports torch."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from napari_virtual_paint.models.info import ModelInfo
from napari_virtual_paint.models.package.files import MAX_WEIGHTS, PackageFiles, as_file, sha256
from napari_virtual_paint.networks import build
from napari_virtual_paint.runtime.text import one_line

MAX_SETTING = 65_536
LIMITS = {"depth": 12, "members": 64, "downs": 12, "blocks": 64, "enhancers": 6, "local_blocks": 64, "decoder_blocks": 64}
"""Settings that cost time before the sizes of the weights are compared."""
MAX_GROWTH = 64  # A weights file is an uncompressed .zip; one that unpacks to more than this many times its size is a bomb.


def load_network(files: PackageFiles, info: ModelInfo, entry: Mapping[str, Any]) -> nn.Module:
    """Load the network of a package: SHA-256 checked, float32, on the CPU, eval mode, gradients off.

    Raises `ModelError` if the weights are missing, damaged, ask for more than tensors, or don't fit the network.
    """
    data = read_weights(files, entry)
    if info.weights == "onnx":
        from napari_virtual_paint.models.package.onnx import OnnxNetwork

        return OnnxNetwork(data, f"{files.path}: {files.local(entry)}").eval()
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


def load_script(files: PackageFiles, data: bytes, name: str) -> nn.Module:
    """Load a TorchScript program; `ModelInfo.warnings` warns the user of it."""
    _refuse_bomb(files, data, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            network: nn.Module = torch.jit.load(as_file(data), map_location="cpu")  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, OSError, MemoryError) as error:
        raise files.fail(f"{name} is no TorchScript file that this version of torch reads ({one_line(error)})") from error
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
        with torch.device("meta"):
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
    """Return what a PyTorch file holds: tensors and plain values, in any nesting.

    Raises `ModelError` if it asks for more, which is named, or is damaged.
    """
    _refuse_bomb(files, data, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(as_file(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if (asked := _asked(error)) is None:
            raise files.fail(f"{name} is no PyTorch weights file or is damaged") from error
        raise files.fail(f"{name} asks for more than tensors ({asked}) and was not loaded, since it could run code") from error
    except Exception as error:  # whatever torch raises on damaged bytes: the reader gets one sentence
        text = one_line(error)
        detail = f" ({text})" if any(letter.isalpha() for letter in text) else ""
        raise files.fail(f"{name} is no PyTorch weights file or is damaged{detail}") from error


def _asked(error: BaseException) -> str | None:
    """Return the name that a refused pickle wanted to import, from torch's message; None if it is no pickle at all."""
    text = " ".join(str(error).split())
    found = re.search(r"GLOBAL `?([\w.]+)|(?:class|function|type) `?([\w.]*\.[\w.]+)", text)
    if found is not None:
        return found.group(1) or found.group(2)
    return None if "operand" in text or "Unsupported" not in text else one_line(error, 80)


def _refuse_bomb(files: PackageFiles, data: bytes, name: str) -> None:
    """Refuse a weights file (a .zip inside) that unpacks to far more than its size."""
    if not data.startswith(b"PK"):
        return
    try:
        with zipfile.ZipFile(as_file(data)) as archive:
            total = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise files.fail(f"{name} is no PyTorch weights file or is damaged ({one_line(error)})") from error
    if total > min(MAX_WEIGHTS, MAX_GROWTH * len(data)):
        raise files.fail(f"{name} unpacks to {total // 2**20} MB from {len(data) // 2**20} MB; this file may be an attack")
