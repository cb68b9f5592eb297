"""Import TorchScript and ONNX: weights with their own program, whose inputs are found by running it on empty images."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import nn

from napari_virtual_paint.errors import ModelError
from napari_virtual_paint.models.importers.reading import Lone, beside, read_bytes
from napari_virtual_paint.models.importers.recipe import ImportQuestion, ImportRecipe, named, numbered
from napari_virtual_paint.models.package.onnx import OnnxNetwork
from napari_virtual_paint.models.package.onnx_external import embedded
from napari_virtual_paint.models.package.weights import load_script
from napari_virtual_paint.models.package.writer import Program
from napari_virtual_paint.normalize import ZSCORE
from napari_virtual_paint.runtime.text import one_line

SIDE, DEPTH = 64, 16
STEPS = (1, 2, 4, 8, 16, 32, 64)
OTHER = "output: "  # marks what a program gives that is no image of the same sides, among the faults found
GUESSES = ((2, 1), (2, 3), (3, 1))  # dimensions and input channels that are tried where a program does not show them
QUESTION = ImportQuestion("--normalise", "How were its images prepared? (zscore, range for [-1, 1], median, none)", "zscore")


def from_script(path: Path, inputs: int | None) -> ImportRecipe:
    """Return the recipe of a TorchScript file.

    Raises `ModelError` if it is none, or takes no images that are known here.
    """
    data = read_bytes(path)
    network = load_script(Lone(path), data, path.name).eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    shown = next(((tensor.ndim - 2, tensor.shape[1]) for tensor in network.parameters() if tensor.ndim in (4, 5)), None)
    faults: list[str] = []
    tries = (shown,) if shown and inputs in (None, shown[1]) else tuple((dims, inputs or guess) for dims, guess in GUESSES)
    for dims, channels in tries:
        sides: tuple[int, ...] = (SIDE,) * 2 if dims == 2 else (DEPTH, SIDE, SIDE)
        stains = _stains(network, channels, sides, faults)
        if stains is None:
            stains = _stains(network, channels, sides := (SIDE,) * dims, faults)
        if stains is not None:
            steps = tuple(_step(network, channels, sides, axis) for axis in range(dims))
            extra = {"pytorch_version": torch.__version__.split("+")[0]}
            program = Program("torchscript", "weights.pt", data, extra, _sizes(sides, steps))
            return _recipe("TorchScript", network, dims, channels, stains, program)
    raise ModelError(f"{path}: {_refusal(faults)}.")


def from_onnx(path: Path, inputs: int | None) -> ImportRecipe:
    """Return the recipe of an ONNX file.

    Raises `ModelError` if it is none, or takes no images that are known here.
    """
    try:
        data = embedded(read_bytes(path), lambda name: read_bytes(beside(path, name)))
    except ValueError as error:
        raise error if isinstance(error, ModelError) else ModelError(f"{path}: it {error}.") from error
    network = OnnxNetwork(data, str(path)).eval()
    dims = len(network.shape) - 2
    if dims not in (2, 3):
        raise ModelError(f"{path}: its input has {len(network.shape)} axes; batch, channel, (z,) y, x are supported.")
    fixed = [side if isinstance(side, int) and side > 0 else None for side in network.shape[1:]]
    channels = fixed[0] or inputs or 1
    free = (SIDE,) * 2 if dims == 2 else (DEPTH, SIDE, SIDE)
    sides = tuple(side or other for side, other in zip(fixed[1:], free, strict=True))
    faults: list[str] = []
    stains = _stains(network, channels, sides, faults)
    if stains is None:
        raise ModelError(f"{path}: {_refusal(faults)}.")
    steps = tuple(0 if fixed[axis + 1] else _step(network, channels, sides, axis) for axis in range(dims))
    program = Program("onnx", "weights.onnx", data, {"opset_version": opset(data)}, _sizes(sides, steps))
    return _recipe("ONNX", network, dims, channels, stains, program)


def _recipe(kind: str, network: nn.Module, dims: int, channels: int, stains: int, program: Program) -> ImportRecipe:
    """Return the recipe of a program."""
    return ImportRecipe(
        kind=kind,
        network=network,
        dims=2 if dims == 2 else 3,
        channels=named(channels, "Transmitted light", "channel"),
        stains=numbered(stains),
        program=program,
        preprocessing=ZSCORE,
        facts=("The program itself runs; how its images were prepared is not in the file.",),
        question=QUESTION,
    )


@torch.inference_mode()
def _stains(network: nn.Module, channels: int, sides: Sequence[int], faults: list[str] | None = None) -> int | None:
    """Return how many stains a program gives of the same sides; None if it does not run or gives other sides, and why in `faults`."""
    faults = [] if faults is None else faults
    try:
        out = network(torch.zeros((1, channels, *sides)))
    except Exception as error:  # noqa: BLE001 - a foreign program may raise anything on a shape it does not take
        faults.append(_reason(error))
        return None
    out = out[0] if isinstance(out, (tuple, list)) and len(out) == 1 else out
    if not isinstance(out, torch.Tensor):
        faults.append(f"{OTHER}its program gives {type(out).__name__} instead of one image")
        return None
    if out.ndim != len(sides) + 2 or tuple(out.shape[2:]) != tuple(sides):
        given, found = (" x ".join(map(str, shape)) for shape in (sides, out.shape[2:]))
        what = f"an image of {found}" if out.ndim == len(sides) + 2 else f"numbers of the shape {tuple(out.shape)}"
        faults.append(f"{OTHER}its program gives {what} for one of {given}; only outputs of the input's own sides are painted")
        return None
    return int(out.shape[1])


def _reason(error: Exception) -> str:
    """Return what a program says that does not run: the last line of TorchScript's traceback."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    last = next((line for line in reversed(lines) if re.match(r"[\w.]*(Error|Exception)\b", line)), lines[0])
    return one_line(ValueError(last))


def _refusal(faults: Sequence[str]) -> str:
    """Return why no image that was tried is taken: that it runs and gives something else says most."""
    other = next((fault for fault in faults if fault.startswith(OTHER)), None)
    if other is not None:
        return other.removeprefix(OTHER)
    if any("quantized" in fault or "QuantizedCPU" in fault for fault in faults):
        return f"its program computes with quantized numbers and takes no image of float32 ({faults[0]}); export it before it is quantized"
    said = f" (it says: {faults[0]})" if faults else ""
    return f"its program takes no image that was tried{said}; name its channels in order by --inputs"


def _step(network: nn.Module, channels: int, sides: Sequence[int], axis: int) -> int:
    """Return the smallest step of an axis that a program takes; 0 for none."""
    for step in STEPS:
        longer = [side + step * (position == axis) for position, side in enumerate(sides)]
        if _stains(network, channels, longer) is not None:
            return step
    return 0


def _sizes(sides: Sequence[int], steps: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Return the smallest size and the step of each axis; the size that was tried is the only one where no step works."""
    return tuple((side if step == 0 else step, step) for side, step in zip(sides, steps, strict=True))


def opset(data: bytes) -> int:
    """Return the version of the operators that an ONNX file uses: field 8 of the model, whose own field 2 is the version."""
    for number, value in _fields(data):
        if number == 8 and isinstance(value, bytes):
            parts = dict(_fields(value))
            version = parts.get(2)
            if parts.get(1, b"") in (b"", b"ai.onnx") and isinstance(version, int):
                return version
    return 17


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field of a protocol buffer; stop where it is none."""
    file = io.BytesIO(data)
    while (tag := _varint(file)) is not None:
        number, wire = tag >> 3, tag & 7
        if wire == 0 and (value := _varint(file)) is not None:
            yield number, value
        elif wire == 2 and (length := _varint(file)) is not None:
            yield number, file.read(length)
        elif wire in (1, 5):
            file.read(8 if wire == 1 else 4)
        else:
            return


def _varint(file: io.BytesIO) -> int | None:
    """Return a number of seven bits a byte; None at the end."""
    out = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            return None
        out |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return out
    return None
