"""TODO."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from napari_virtual_paint.cells.cp2image.transform import Floats
from napari_virtual_paint.models.package.files import PackageFiles, sha256

OUR_FILE = "cell-model.json"
"""What the specification has no place for, and the lists of features in a form that is read at once."""


MAX_PART = 256 * 2**20
"""Largest file of a cell package, bytes."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Real cells of the training set that a package carries.

    Parameters
    ----------
    values
        (n, p) in the features' own units; NaN where missing.
    crops
        (n, C, d, d) in the images' own grey levels, as near as 8 bits hold them.
    metadata
        Column -> n values, such as ``Metadata_Well``.
    """

    values: Floats
    crops: Floats
    metadata: Mapping[str, tuple[Any, ...]]


def read_part(files: PackageFiles, part: Mapping[str, Any]) -> bytes:
    """Return a file of the package, its SHA-256 checked."""
    data = files.read(part, MAX_PART)
    if sha256(data) != str(part.get("sha256")).casefold():
        raise files.fail(f"{part.get('source')} is damaged or was changed: its SHA-256 is not the one in its description")
    return data
