"""ONNX graphs as networks: a small adapter around onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_virtual_paint.errors import ModelError
from napari_virtual_paint.runtime.extras import require
from napari_virtual_paint.runtime.text import one_line


class OnnxNetwork(nn.Module):
    """An ONNX graph of one input and one output, run on the CPU in float32.

    Parameters
    ----------
    data
        The bytes of the file. Weights in other files beside it are never read.
    what
        Its name, for errors.

    Raises
    ------
    ModelError
        If it is no such graph.
    InputError
        If onnxruntime is not installed.
    """

    def __init__(self, data: bytes, what: str) -> None:
        super().__init__()
        runtime = _runtime()
        options = runtime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self.session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the library's own classes, one for each fault
            raise ModelError(f"{what}: this is no ONNX file that onnxruntime reads ({one_line(error)}).") from error
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise ModelError(f"{what}: it has {len(inputs)} inputs and {len(outputs)} outputs; one image in and one image out are needed.")
        self.input: str = inputs[0].name
        self.shape: list[Any] = list(inputs[0].shape)
        if inputs[0].type != "tensor(float)":
            raise ModelError(f"{what}: it takes {inputs[0].type}; float32 images are given to a network here.")

    def __deepcopy__(self, memo: dict[int, Any]) -> OnnxNetwork:
        """Return the network itself: a session holds no state that painting changes."""
        return self

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, [Z,] Y, X) -> (N, stains, [Z,] Y, X)."""
        ready = np.ascontiguousarray(x.detach().float().cpu().numpy())
        try:
            found = self.session.run(None, {self.input: ready})[0]
        except Exception as error:
            raise RuntimeError(f"the ONNX graph can't run on an image of the shape {tuple(x.shape)} ({one_line(error)})") from error
        return torch.from_numpy(np.asarray(found, np.float32)).to(x.device, x.dtype)


def _runtime() -> Any:
    return require("onnxruntime", extra="onnx", purpose="ONNX")
