"""safetensors: files laid out as the format's specification says, byte by byte, and everything that breaks it."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_virtual_paint.errors import ModelError
from napari_virtual_paint.models import open_model
from napari_virtual_paint.models.importers.import_model import recipe_of
from napari_virtual_paint.models.package.safetensors import read_safetensors
from small_models import lively, with_weights, write_toy

NAMES = {torch.float32: "F32", torch.float64: "F64", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64", torch.uint8: "U8"}


def laid_out(header: Any, body: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def written(state: dict[str, torch.Tensor], **metadata: str) -> bytes:
    """Return a file of tensors."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    body = b""
    for name, tensor in state.items():
        data = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    return laid_out(header, body)


def test_values_of_each_type() -> None:
    # 1.5 in each type by hand: sign, exponent, fraction.
    body = struct.pack("<d", 1.5) + struct.pack("<f", 1.5) + b"\x00\x3e" + b"\xc0\x3f" + b"\x3c" + b"\x3e" + b"\x01" + struct.pack("<h", -2)
    types = [("F64", 8), ("F32", 4), ("F16", 2), ("BF16", 2), ("F8_E4M3", 1), ("F8_E5M2", 1), ("BOOL", 1), ("I16", 2)]
    header, at = {}, 0
    for name, size in types:
        header[name] = {"dtype": name, "shape": [1], "data_offsets": [at, at + size]}
        at += size
    found = read_safetensors(laid_out(header, body))
    assert {name: float(tensor.float()) for name, tensor in found.items()} == {
        "F64": 1.5, "F32": 1.5, "F16": 1.5, "BF16": 1.5, "F8_E4M3": 1.5, "F8_E5M2": 1.5, "BOOL": 1.0, "I16": -2.0,
    }  # fmt: skip


def test_shapes_and_order() -> None:
    state = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.zeros(0, 4), "c": torch.tensor(7)}
    found = read_safetensors(written(state, format="pt"))
    assert list(found) == ["b", "a", "c"]
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())


ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
BROKEN = {
    "too short": (b"\x01\x02", "header is not as long"),
    "a length beyond the end": (laid_out({"a": ONE}, bytes(8), 10**6), "header is not as long"),
    "a length without end": (laid_out({"a": ONE}, bytes(8), 2**63), "header is not as long"),
    "no JSON": (laid_out(b"{'a': 1}", bytes(8)), "header is no JSON"),
    "no text": (laid_out(b"{\xff\xff}"), "header is no JSON"),
    "a list": (laid_out([ONE], bytes(8)), "names no tensors"),
    "a name twice": (laid_out(b'{"a": %s, "a": %s}' % ((json.dumps(ONE).encode(),) * 2), bytes(8)), "comes twice"),
    "nested without end": (laid_out(b"[" * 100_000), "header is no JSON"),
    "no shape": (laid_out({"a": {"dtype": "F32", "data_offsets": [0, 8]}}, bytes(8)), "lacks its type"),
    "negative sides": (laid_out({"a": {**ONE, "shape": [-2]}}, bytes(8)), "no whole numbers"),
    "sides that are no numbers": (laid_out({"a": {**ONE, "shape": [True, 2]}}, bytes(8)), "no whole numbers"),
    "another size than its shape": (laid_out({"a": {**ONE, "shape": [3]}}, bytes(8)), "size of its shape"),
    "a shape without end": (laid_out({"a": {**ONE, "shape": [2**40, 2**40]}}, bytes(8)), "size of its shape"),
    "a hole": (laid_out({"a": {**ONE, "data_offsets": [4, 12]}}, bytes(12)), "don't follow"),
    "tensors that overlap": (laid_out({"a": ONE, "b": {**ONE, "data_offsets": [4, 12]}}, bytes(12)), "don't follow"),
    "offsets turned round": (laid_out({"a": {**ONE, "data_offsets": [8, 0]}}, bytes(8)), "size of its shape"),
    "bytes at the end": (laid_out({"a": ONE}, bytes(9)), "describes 8 bytes and 9 follow"),
    "cut off": (laid_out({"a": ONE}, bytes(7)), "describes 8 bytes and 7 follow"),
    "a type of later versions": (laid_out({"a": {"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}}, bytes(1)), "as F4, which is not"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_files_that_break_the_format_are_refused(kind: str) -> None:
    data, words = BROKEN[kind]
    with pytest.raises(ValueError, match=words):
        read_safetensors(data)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_weights_open_by_import_in_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    state = lively("UNet", {"in_channels": 1, "out_channels": 2, "depth": 2, "width": 4, "max_width": 8}).state_dict()
    path = tmp_path / "weights.safetensors"
    path.write_bytes(written({f"net.{key}": tensor.to(dtype) for key, tensor in state.items()}))
    found = recipe_of(path).network.state_dict()
    for key, tensor in state.items():
        assert found[key].dtype == tensor.dtype
        assert torch.equal(found[key], tensor.to(dtype).to(tensor.dtype))


def test_weights_of_another_kind_are_not_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "llm.safetensors"
    path.write_bytes(written({f"layers.{number}.q_proj.weight": torch.zeros(2, 2) for number in range(4)}))
    with pytest.raises(ModelError, match=r"layers\.0\.q_proj\.weight, .* are of no kind known here") as caught:
        recipe_of(path)
    assert "damaged" not in str(caught.value)


def test_weights_of_a_package_may_be_safetensors(tmp_path: Path) -> None:
    good = write_toy(tmp_path / "good")
    state = open_model(good).network.state_dict()
    model = open_model(with_weights(good, tmp_path / "toy", written(dict(state))))
    assert all(np.array_equal(state[key], tensor) for key, tensor in model.network.state_dict().items())
