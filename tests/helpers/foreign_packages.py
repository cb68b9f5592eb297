"""Small bioimage.io packages as other programs write them: TorchScript, versions 0.4 and 0.5 of the specification."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

Content = dict[str, Any]
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360f8cfc0000000030001a7c8b9f50000000049454e44ae426082"
)


class Gain(torch.nn.Module):
    """Each stain is a multiple of the sum of the channels."""

    def __init__(self, channels: int, stains: int, scale: float = 1.0) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(channels, stains, 1)
        with torch.no_grad():
            self.conv.weight.copy_(torch.arange(1.0, stains + 1).reshape(stains, 1, 1, 1).expand_as(self.conv.weight))
            self.conv.bias.fill_(0.5)
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        if self.scale != 1.0:
            x = torch.nn.functional.interpolate(x, scale_factor=self.scale, mode="nearest")
        return x


def script(network: torch.nn.Module) -> bytes:
    """Return a network as TorchScript."""
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(network.eval()), file)
    return file.getvalue()


@cache
def scripted_gain(channels: int, stains: int, scale: float = 1.0) -> bytes:
    """Return a `Gain` as TorchScript, compiled once."""
    return script(Gain(channels, stains, scale))


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _files(folder: Path, channels: int, stains: int, scale: float, expected: Callable[[np.ndarray], np.ndarray] | None) -> bytes:
    """Write weights, test tensors and papers; return the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = scripted_gain(channels, stains, scale)
    raw = np.random.default_rng(0).normal(100, 20, (1, channels, 32, 48)).astype(np.float32)
    with torch.inference_mode():
        ready = raw if expected is None else expected(raw).astype(np.float32)
        out = Gain(channels, stains, scale)(torch.from_numpy(ready)).numpy()
    parts = {"w.pt": weights, "in.npy": npy(raw), "out.npy": npy(out), "doc.md": b"# doc\n", "cover.png": PNG}
    for name, data in parts.items():
        (folder / name).write_bytes(data)
    return weights


def toy_04(
    folder: Path,
    change: Callable[[Content], Any] | None = None,
    *,
    channels: int = 1,
    stains: int = 1,
    expected: Callable[[np.ndarray], np.ndarray] | None = None,
    steps: list[Content] | None = None,
) -> Path:
    """Write a package of version 0.4; `expected` prepares the raw image for the test output as its steps should."""
    weights = _files(folder, channels, stains, 1.0, expected)
    content: Content = {
        "type": "model", "format_version": "0.4.10", "name": "Toy of version four", "description": "a toy", "authors": [{"name": "Ada"}],
        "cite": [{"text": "x", "doi": "10.1234/abc"}], "documentation": "doc.md", "license": "MIT", "covers": ["cover.png"], "tags": ["a"],
        "timestamp": "2022-01-01T00:00:00", "git_repo": "https://github.com/a/b",
        "weights": {"torchscript": {"source": "w.pt", "sha256": hashlib.sha256(weights).hexdigest(), "pytorch_version": "2.0.0"}},
        "test_inputs": ["in.npy"], "test_outputs": ["out.npy"],
        "inputs": [
            {"name": "raw", "axes": "bcyx", "data_type": "float32", "data_range": ["-inf", "inf"],
             "shape": {"min": [1, channels, 16, 16], "step": [0, 0, 16, 16]}, **({"preprocessing": steps} if steps else {})}
        ],
        "outputs": [
            {"name": "out", "axes": "bcyx", "data_type": "float32",
             "shape": {"reference_tensor": "raw", "scale": [1, 0, 1, 1], "offset": [0, stains / 2, 0, 0]}}
        ],
    }  # fmt: skip
    return _described(folder, content, change)


def toy_05(folder: Path, change: Callable[[Content], Any] | None = None, *, scale: float = 1.0) -> Path:
    """Write a package of version 0.5, whose output is `scale` times as large as its input."""
    weights = _files(folder, 1, 1, scale, None)
    size = {axis: {"tensor_id": "raw", "axis_id": axis} for axis in "yx"}
    content: Content = {
        "type": "model", "format_version": "0.5.3", "name": "Toy of version five", "description": "a toy", "authors": [{"name": "Ada"}],
        "cite": [{"text": "x", "doi": "10.1234/abc"}], "documentation": "doc.md", "license": "MIT", "covers": ["cover.png"], "tags": ["a"],
        "timestamp": "2022-01-01T00:00:00",
        "weights": {"torchscript": {"source": "w.pt", "sha256": hashlib.sha256(weights).hexdigest(), "pytorch_version": "2.0.0"}},
        "inputs": [
            {"id": "raw", "axes": [
                {"type": "batch"}, {"type": "channel", "channel_names": ["bf"]},
                *({"type": "space", "id": axis, "size": {"min": 16, "step": 16}} for axis in "yx")],
             "test_tensor": {"source": "in.npy"}}
        ],
        "outputs": [
            {"id": "out", "axes": [
                {"type": "batch"}, {"type": "channel", "channel_names": ["s1"]},
                *({"type": "space", "id": axis, "size": size[axis], **({"scale": 1 / scale} if scale != 1 else {})} for axis in "yx")],
             "test_tensor": {"source": "out.npy"}}
        ],
    }  # fmt: skip
    return _described(folder, content, change)


def _described(folder: Path, content: Content, change: Callable[[Content], Any] | None) -> Path:
    if change is not None:
        change(content)
    (folder / "rdf.yaml").write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
    return folder


def flip(data: bytes, part: str) -> bytes:
    """Return a .zip with one byte of an uncompressed entry changed, so that its CRC-32 is wrong."""
    import zipfile

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entry = next(entry for entry in archive.infolist() if entry.filename.endswith(part) and entry.file_size)
        content = archive.read(entry)
    out = bytearray(data)
    at = out.index(content, entry.header_offset)
    out[at + len(content) // 2] ^= 0x01
    return bytes(out)
