"""Numbers and arrays of NumPy in a PyTorch file, read as data: stand-ins for NumPy's own functions, which are never called.

Training programs keep an epoch or a loss as a number of NumPy, whose pickle names functions of NumPy. `torch.load(weights_only=True)`
refuses these; with the stand-ins here it makes plain numbers of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any

import numpy as np
import numpy.typing as npt

KINDS = "biufcSU"  # kinds of numbers and text; objects, records and times are refused


class NumpyType:
    """The type of a number or an array, as its pickle describes it."""

    def __init__(self, name: Any = "", *_: Any) -> None:
        text = name.decode("ascii", "replace") if isinstance(name, bytes) else name
        try:
            self.dtype = np.dtype(text if isinstance(text, str) else "O")
        except TypeError:
            self.dtype = np.dtype("O")
        if self.dtype.kind not in KINDS or self.dtype.itemsize > 4096:
            raise UnpicklingError(f"Unsupported type numpy.{text}")

    def __setstate__(self, state: Any) -> None:
        """Take the byte order."""
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else "|"
        order = order.decode("ascii", "replace") if isinstance(order, bytes) else order
        if order == ">":
            self.dtype = self.dtype.newbyteorder(">")


class NumpyArray:
    """An array, as its pickle describes it."""

    def __init__(self) -> None:
        self.values: npt.NDArray[Any] = np.zeros(0)

    def __setstate__(self, state: Any) -> None:
        """Take shape, type and bytes."""
        _, shape, kind, fortran, data = state
        self.values = _array(kind, shape, data, bool(fortran))


def _array(kind: Any, shape: Any, data: Any, fortran: bool) -> npt.NDArray[Any]:
    """Return an array of a type, a shape and bytes that fit each other."""
    if isinstance(data, str):  # as Python 2 wrote bytes
        data = data.encode("latin1")
    if not isinstance(kind, NumpyType) or not isinstance(shape, tuple) or not isinstance(data, (bytes, bytearray)):
        raise UnpicklingError("Unsupported type numpy.object")
    if not all(type(side) is int and side >= 0 for side in shape) or math.prod(shape) * kind.dtype.itemsize != len(data):
        raise ValueError("an array of NumPy has another size than its shape")
    return np.frombuffer(bytes(data), kind.dtype).reshape(shape, order="F" if fortran else "C")


def _scalar(kind: Any, data: Any = b"") -> Any:
    """Return a number as one of Python's."""
    return _array(kind, (), data, False).item()


def _no_bytes() -> bytes:
    """Return no bytes, which protocol 2 writes as a call."""
    return b""


def _reconstruct(*_: Any) -> NumpyArray:
    """Return an array that gets its contents by `NumpyArray.__setstate__`."""
    return NumpyArray()


STAND_INS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (NumpyType, "numpy.dtype"),
    (NumpyArray, "numpy.ndarray"),
    (_no_bytes, "builtins.bytes"),
    *((_scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *((_reconstruct, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
]
"""Stand-in and the name of what it stands for, for `torch.serialization.safe_globals`."""
