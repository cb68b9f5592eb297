"""Read safetensors: a JSON header and the numbers of tensors, nothing that could run."""

from __future__ import annotations

import json
import math
from typing import Any

import torch
from torch import Tensor

from napari_virtual_paint.runtime.text import one_line

MAX_HEADER = 100_000_000  # largest header that the format allows, bytes
DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U64": torch.uint64,
    "U32": torch.uint32,
    "U16": torch.uint16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "C64": torch.complex64,
}
"""Name in the format -> torch's type."""


def read_safetensors(data: bytes) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, checked as strictly as its own library does.

    The format: 8 bytes with the length of the header (little-endian), the header (JSON: name -> dtype, shape and offsets), the numbers.

    Raises `ValueError` if it is damaged; the message completes a sentence that begins with its name.
    """
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not 2 <= length <= min(MAX_HEADER, len(data) - 8):
        raise ValueError("is damaged or cut off: its header is not as long as it says")
    try:
        header = json.loads(data[8 : 8 + length].decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is damaged: its header is no JSON ({one_line(error)})") from error
    if not isinstance(header, dict):
        raise ValueError("is damaged: its header names no tensors")
    header.pop("__metadata__", None)
    body = memoryview(data)[8 + length :]
    entries = {name: _entry(name, value) for name, value in header.items()}
    end = 0
    for name, (_, _, start, stop) in sorted(entries.items(), key=lambda item: item[1][2:]):
        if start != end:
            raise ValueError(f"is damaged: the numbers of {name} don't follow those before them")
        end = stop
    if end != len(body):
        raise ValueError(f"is damaged or cut off: its header describes {end} bytes and {len(body)} follow")
    return {name: _tensor(body[start:stop], dtype, shape) for name, (dtype, shape, start, stop) in entries.items()}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return pairs as a mapping; a name that comes twice is damage."""
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("a name comes twice")
    return out


def _entry(name: str, value: Any) -> tuple[torch.dtype, tuple[int, ...], int, int]:
    """Return dtype, shape and offsets of a tensor."""
    if not isinstance(value, dict) or not all(key in value for key in ("dtype", "shape", "data_offsets")):
        raise ValueError(f"is damaged: {name} lacks its type, shape or place")
    dtype = DTYPES.get(str(value["dtype"]))
    if dtype is None:
        raise ValueError(f"holds {name} as {value['dtype']}, which is not read; save it as F32 or F16")
    shape, place = value["shape"], value["data_offsets"]
    if not all(isinstance(numbers, list) and all(type(n) is int and n >= 0 for n in numbers) for numbers in (shape, place)):
        raise ValueError(f"is damaged: shape or place of {name} are no whole numbers")
    if len(place) != 2 or place[1] - place[0] != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"is damaged: {name} has not the size of its shape")
    return dtype, tuple(shape), place[0], place[1]


def _tensor(part: memoryview, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """Return a tensor of its own memory."""
    if not part:
        return torch.zeros(shape, dtype=dtype)
    return torch.frombuffer(bytearray(part), dtype=dtype).reshape(shape)
