"""Read arrays (.npy) of packages, with their headers checked before memory is taken."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.models.package.files import MAX_TENSOR, PackageFiles
from napari_virtual_paint.runtime.text import one_line


def read_npy(data: bytes, kinds: str = "biuf") -> npt.NDArray[Any]:
    """Return the array of an .npy file of unknown origin.

    Parameters
    ----------
    kinds
        Allowed kinds of numpy types.

    Raises
    ------
    ValueError
        If it is damaged, or holds something else; the message completes a sentence that begins with its name.
    """
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    except (ValueError, EOFError, TypeError, SyntaxError, RecursionError) as error:
        raise ValueError(f"is no .npy file or is damaged ({one_line(error)})") from error
    if dtype.kind not in kinds:
        raise ValueError(f"holds {dtype}, not numbers")
    wanted, there = math.prod(int(side) for side in shape) * dtype.itemsize, len(data) - file.tell()
    if wanted != there:
        raise ValueError(f"is damaged: its header asks for {wanted} bytes and {there} follow")
    file.seek(0)
    out: npt.NDArray[Any] = np.load(file, allow_pickle=False)
    return out


def load_tensor(files: PackageFiles, entry: Any) -> npt.NDArray[Any]:
    """Return a test tensor of a package.

    Raises `ModelError` if it is no .npy of numbers.
    """
    name, data = files.local(entry), files.read(entry, MAX_TENSOR)
    try:
        return read_npy(data)
    except ValueError as error:
        raise files.fail(f"{name} {error}") from error
