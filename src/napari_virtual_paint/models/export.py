"""Export a model for other programs: a bioimage.io package with TorchScript added, TorchScript, or ONNX; checked against the original."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.errors import ModelError
from napari_virtual_paint.models.model import Model
from napari_virtual_paint.models.package.files import sha256
from napari_virtual_paint.models.package.npy import load_tensor
from napari_virtual_paint.normalize import fit
from napari_virtual_paint.runtime.atomic_write import replacing
from napari_virtual_paint.runtime.extras import require
from napari_virtual_paint.runtime.text import one_line

if TYPE_CHECKING:
    from torch import Tensor, nn

TOLERANCE = 1e-4  # largest difference from the original that is written, in SD of the output
FORMATS = {".pt": "torchscript", ".ts": "torchscript", ".onnx": "onnx"}
OPSET = 18


@dataclass(frozen=True)
class Exported:
    """A model that was exported."""

    path: Path
    """The file or package."""
    format: str
    """``bioimage.io``, ``torchscript`` or ``onnx``."""
    error: float | None
    """Largest difference from the original, max abs, on two sizes; None where nothing was converted."""
    deviation: float
    """SD of the original's output."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {"path": str(self.path), "format": self.format, "max_abs_error": self.error, "output_sd": self.deviation}


def export_model(model: Model, path: str | Path, *, overwrite: bool = False) -> Exported:
    """Write a model for other programs.

    Parameters
    ----------
    model
        An opened model.
    path
        ``.pt`` for TorchScript, ``.onnx`` for ONNX, ``.zip`` or a folder for a bioimage.io package. TorchScript and ONNX hold the network
        alone, without its pre-processing; its sides are free where the model's are.
    overwrite
        Replace what is there.

    Raises
    ------
    ModelError
        If the model can't be converted, or does not give the original's output afterwards.
    InputError
        If a package is not installed.
    WriteError
        If it can't be written; nothing half-written is left.
    """
    path = Path(path)
    form = FORMATS.get(path.suffix.casefold(), "bioimage.io")
    if form == "bioimage.io":
        return _package(model, path, overwrite)
    data, error, deviation = _script(model) if form == "torchscript" else _graph(model)
    with replacing(path, overwrite=overwrite) as beside:
        beside.write_bytes(data)
    return Exported(path, form, error, deviation)


def _package(model: Model, path: Path, overwrite: bool) -> Exported:
    """Copy a package; where its weights need this program, TorchScript is put beside them for programs that don't have it."""
    from napari_virtual_paint.models.package.copying import copy_package

    extra: dict[str, bytes] = {}
    error, deviation = None, 0.0
    weights: Mapping[str, Any] = model.description.content.get("weights") or {}
    head: dict[str, Any] = {}
    if model.info.weights == "pytorch_state_dict" and "torchscript" not in weights:
        import torch

        data, error, deviation = _script(model)
        extra["weights_torchscript.pt"] = data
        entry = {
            "source": "weights_torchscript.pt",
            "sha256": sha256(data),
            "parent": "pytorch_state_dict",
            "pytorch_version": torch.__version__.split("+")[0],
        }
        head["weights"] = {**weights, "torchscript": entry}
    copy_package(model.files.path, path, head, overwrite, extra)
    return Exported(path, "bioimage.io", error, deviation)


def _script(model: Model) -> tuple[bytes, float, float]:
    """Return a model's network as TorchScript, and how far its output is from the original's."""
    import torch

    network = model.network
    if model.info.weights == "onnx":
        raise ModelError(f"{model.info.id}: a model that is an ONNX graph can't be made TorchScript.")
    examples = [torch.from_numpy(example) for example in _examples(model)]
    if model.info.weights == "torchscript":
        data = _bytes(network)
    else:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            try:
                traced = torch.jit.trace(network, (examples[0],), check_trace=False)  # type: ignore[no-untyped-call]
            except Exception as error:
                raise ModelError(f"{model.info.id}: its network can't be made TorchScript ({one_line(error)}).") from error
        data = _bytes(traced)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = torch.jit.load(io.BytesIO(data), map_location="cpu")  # type: ignore[no-untyped-call]
    return data, *_compare(model, network, again, examples)


def _bytes(network: nn.Module) -> bytes:
    import torch

    file = io.BytesIO()
    torch.jit.save(network, file)
    return file.getvalue()


def _graph(model: Model) -> tuple[bytes, float, float]:
    """Return a model's network as ONNX, and how far its output is from the original's."""
    import torch

    onnx = require("onnx", extra="onnx", purpose="Exporting to ONNX")
    from napari_virtual_paint.models.package.onnx import OnnxNetwork, load_runtime

    load_runtime()  # which checks what is exported

    network = model.network
    if model.info.weights == "onnx":
        from napari_virtual_paint.models.package.weights import read_graph

        data = read_graph(model.files, model.description.weights)
        return data, *_compare(model, network, OnnxNetwork(data, model.info.id), [torch.from_numpy(x) for x in _examples(model)])
    examples = [torch.from_numpy(example) for example in _examples(model)]
    free = ["z", "y", "x"][-model.info.dims :]
    axes = {position + 2: name for position, name in enumerate(free) if model.info.step_size[position] > 0}
    file: Any = io.BytesIO()
    # The exporter prints the whole graph where it fails.
    with warnings.catch_warnings(), torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                network,
                (examples[0],),
                file,
                input_names=["input"],
                output_names=["stains"],
                dynamic_axes={"input": {0: "batch", **axes}, "stains": {0: "batch", **axes}},
                opset_version=OPSET,
                dynamo=False,
            )
        except Exception as error:
            raise ModelError(f"{model.info.id}: its network can't be made ONNX ({one_line(error)}).") from error
    data = file.getvalue()
    onnx.checker.check_model(data)
    return data, *_compare(model, network, OnnxNetwork(data, model.info.id), examples)


def _examples(model: Model) -> list[npt.NDArray[np.float32]]:
    """Return prepared images (1, C, [Z,] Y, X) of two sizes: the package's own test image, and one that is longer by a step."""
    info = model.info
    sides = [max(least, step * -(-64 // step)) if step else least for least, step in zip(info.min_size, info.step_size, strict=True)]
    raw = np.random.default_rng(1).normal(1000.0, 90.0, (len(info.channels), *sides)).astype(np.float32)
    if model.description.test_input is not None:
        raw = np.asarray(load_tensor(model.files, model.description.test_input)[0], np.float32)
    longer = np.pad(raw, [(0, 0), *((0, step) for step in info.step_size)], mode="wrap")
    return [fit(image, info.preprocessing, info.channels).apply(image)[None] for image in (raw, longer)]


def _compare(model: Model, network: nn.Module, other: nn.Module, examples: Sequence[Tensor]) -> tuple[float, float]:
    """Return max abs error and SD of the output.

    Raises
    ------
    ModelError
        If the exported network gives another output.
    """
    import torch

    error = deviation = 0.0
    with torch.inference_mode():
        for example in examples:
            try:
                expected, found = network(example), other(example)
            except RuntimeError as problem:
                raise ModelError(f"{model.info.id}: what was exported does not run ({one_line(problem)}).") from problem
            error = max(error, float((expected - found).abs().max()))
            deviation = float(expected.std())
    if network.training:
        raise ModelError(f"{model.info.id}: the network was left in training mode by the export; open the model anew.")
    if not error <= TOLERANCE * max(deviation, 1e-6):
        difference = f"differs from the original by {error:.2g} (SD {deviation:.2g})"
        raise ModelError(f"{model.info.id}: what was exported {difference}; it was not written.")
    return error, deviation
