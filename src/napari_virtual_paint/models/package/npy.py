"""Arrays of packages (.npy), their headers checked before memory is taken."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.models.package.files import MAX_TENSOR, PackageFiles
from napari_virtual_paint.runtime.text import one_line


def load_tensor(files: PackageFiles, entry: Any) -> npt.NDArray[Any]:
    """Return a test tensor, its header checked before memory is taken.

    Raises
    ------
    ModelError
        If it is no .npy of numbers.
    """
    name, data = files.local(entry), files.read(entry, MAX_TENSOR)
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    except (ValueError, EOFError, TypeError, SyntaxError, RecursionError) as error:
        raise files.fail(f"{name} is no .npy file or is damaged ({one_line(error)})") from error
    if dtype.kind not in "biuf":
        raise files.fail(f"{name} holds {dtype}, not numbers")
    count = int(np.prod([int(side) for side in shape], dtype=object)) if shape else 1
    if count * dtype.itemsize != len(data) - file.tell():
        raise files.fail(f"{name} is damaged: its header asks for {count * dtype.itemsize} bytes and {len(data) - file.tell()} follow")
    file.seek(0)
    out: npt.NDArray[Any] = np.load(file, allow_pickle=False)
    return out
