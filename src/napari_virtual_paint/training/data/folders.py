"""Pairs in two folders: unstained images in one, the stained ones of the same fields in the other."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.reading.formats import is_image_name

FOLDERS = ("input", "target")  # names of the two folders where one folder holds both
ZARR = ".zarr"


def pair_folders(first: Path, second: Path) -> list[tuple[Path, Path]]:
    """Pair the images of two folders by their names, without what all names of a folder begin or end with.

    Parameters
    ----------
    first, second
        Folders of unstained and of stained images, or two images.

    Raises
    ------
    InputError
        If a folder is absent or holds no image, or an image has no partner.
    """
    if first.is_file() and second.is_file():
        return [(first, second)]
    inputs, targets = _images(first), _images(second)
    for keys_of in (_stems, _distinct_parts):
        ours, theirs = keys_of(inputs), keys_of(targets)
        if set(ours) == set(theirs) and len(set(ours)) == len(ours) == len(theirs):
            partner = dict(zip(theirs, targets, strict=True))
            return [(path, partner[key]) for key, path in zip(ours, inputs, strict=True)]
    ours, theirs = _distinct_parts(inputs), _distinct_parts(targets)
    alone = next((path for key, path in zip(ours, inputs, strict=True) if key not in theirs), None)
    alone = alone or next((path for key, path in zip(theirs, targets, strict=True) if key not in ours), inputs[0])
    other = second if alone.parent == first else first
    raise InputError(f"{alone}: no image in {other} has a name that goes with it; name both alike, or list the pairs in a table (CSV).")


def _images(folder: Path) -> list[Path]:
    """Return the images of a folder by name."""
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder; give a folder of unstained and one of stained images, or a table (CSV).")
    found = sorted(path for path in folder.iterdir() if is_image_name(path.name) or (path.is_dir() and path.name.endswith(ZARR)))
    if not found:
        raise InputError(f"{folder}: it holds no image; give a folder of unstained and one of stained images, or a table (CSV).")
    return found


def _stems(paths: Sequence[Path]) -> list[str]:
    """Return the names without all that follows the first dot."""
    return [path.name.split(".")[0] for path in paths]


def _distinct_parts(paths: Sequence[Path]) -> list[str]:
    """Return what distinguishes the stems; whole numbers stay whole."""
    stems = _stems(paths)
    if len(stems) == 1:
        return [""]
    before = os.path.commonprefix(stems).rstrip("0123456789")  # noqa: RUF071 - letter by letter is meant
    behind = os.path.commonprefix([stem[::-1] for stem in stems])[::-1].lstrip("0123456789")  # noqa: RUF071
    return [stem[len(before) : len(stem) - len(behind)] for stem in stems]


def table_of(pairs: Sequence[tuple[Path, Path]]) -> str:
    """Return pairs as the table that `data.csv` takes, with absolute paths."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("input", "target"))
    table.writerows((os.path.abspath(first), os.path.abspath(second)) for first, second in pairs)  # noqa: PTH100 - links stay as they are
    return text.getvalue()
