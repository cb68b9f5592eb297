"""ONNX graphs as networks: a small adapter around onnxruntime."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_virtual_paint.errors import ModelError
from napari_virtual_paint.models.package.onnx_external import external_files
from napari_virtual_paint.runtime.extras import require
from napari_virtual_paint.runtime.text import one_line


class OnnxNetwork(nn.Module):
    """An ONNX graph of one input and one output, run on the CPU in float32.

    Parameters
    ----------
    data
        The bytes of the file, all its weights in it (see `onnx_external.embedded`).
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
        try:
            outside = external_files(data)
        except ValueError as error:
            raise ModelError(f"{what}: it {error}.") from error
        if outside:  # onnxruntime would look for them in the folder that this program runs in
            raise ModelError(f"{what}: it keeps weights in {outside[0]}, which is not read here.")
        runtime = load_runtime()
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


def load_runtime() -> Any:
    """Import onnxruntime with its telemetry off.

    From version 1.31 on, its import makes an identifier of the machine and a database in the user's cache, and starts a thread that
    uploads from it (``telemetry_1ds.cc``; only on Windows before). With this variable it does neither; the call is for a process that
    has imported it before.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    runtime = require("onnxruntime", extra="onnx", purpose="ONNX")
    runtime.disable_telemetry_events()
    return runtime
