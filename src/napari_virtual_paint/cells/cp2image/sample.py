"""The sample of real cells that a package carries."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_virtual_paint.cells.transform import Floats
from napari_virtual_paint.errors import ModelError
from napari_virtual_paint.models.package.files import PackageFiles, sha256
from napari_virtual_paint.runtime.extras import require
from napari_virtual_paint.runtime.text import one_line

OUR_FILE = "cell-model.json"  # file with what the specification has no place for, and the feature lists in a form that is fast to read


MAX_PART = 256 * 2**20  # largest file of a cell package, bytes


@dataclass(frozen=True, eq=False)
class Sample:
    """Real cells of the training set that a package carries."""

    values: Floats  # (n, p) in the features' own units; NaN where missing
    crops: Floats  # (n, C, d, d) in the images' gray levels, to 8 bits
    metadata: Mapping[str, tuple[Any, ...]]  # column -> n values, such as ``Metadata_Well``


def read_part(files: PackageFiles, part: Mapping[str, Any]) -> bytes:
    """Return a file of the package after checking its SHA-256."""
    data = files.read(part, MAX_PART)
    if sha256(data) != str(part.get("sha256")).casefold():
        raise files.fail(f"{part.get('source')} is damaged or was changed: its SHA-256 is not the one in its description")
    return data


COLUMNS = 20  # crops per row of a mosaic


MAX_SIDE = 20_000


def read_sample(files: PackageFiles, parts: Mapping[str, Any], features: Sequence[str], size: int) -> Sample:
    """Read a package's sample of real cells.

    Raises
    ------
    ModelError
        If it is damaged, or doesn't fit the model.
    InputError
        If pyarrow is missing.
    """
    pq = require("pyarrow.parquet", extra="cells", purpose="A cell model")
    data = read_part(files, parts["population"])
    try:
        table = pq.read_table(io.BytesIO(data))
        names = table.column_names
        values = np.stack([table.column(name).to_numpy() for name in features], axis=1).astype(np.float32)
        metadata = {name: tuple(table.column(name).to_pylist()) for name in names if name not in set(features)}
        planes = []
        for part in parts["crops"]:
            planes.append(_from_mosaic(read_part(files, part), len(values), size, float(part["low"]), float(part["high"])))
    except ModelError:
        raise
    except Exception as error:  # pyarrow and pillow raise many kinds on damaged bytes
        raise files.fail(f"its sample of cells can't be read ({one_line(error)})") from error
    return Sample(values, np.stack(planes, axis=1), metadata)


def _from_mosaic(data: bytes, count: int, side: int, low: float, high: float) -> Floats:
    """Return the crops of a mosaic."""
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        if max(image.size) > MAX_SIDE or image.size[0] != COLUMNS * side or image.size[1] != -(-count // COLUMNS) * side:
            raise ValueError("its mosaic has another size")
        picture = np.asarray(image.convert("L"), np.float32)
    tiles = picture.reshape(-1, side, COLUMNS, side).swapaxes(1, 2).reshape(-1, side, side)[:count]
    out: Floats = ((tiles / 255) ** 2 * (high - low) + low).astype(np.float32)
    return out
