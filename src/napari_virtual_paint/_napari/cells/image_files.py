"""The image files that a table names: the picture of a cell is cut out of them where its image is not open in the viewer."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from napari_virtual_paint._napari.cells.layers import FILES, Crop, X, Y, cut, is_called
from napari_virtual_paint._napari.cells.state import Opened

KEPT = 4  # images kept in memory: adjacent rows of a table are mostly from one image
MOST = 200_000  # largest number of files of a chosen folder that are listed
Planes = tuple[npt.NDArray[np.float32], float | None]
"""Pixels (CYX) in the order of the model's channels, and the pixel size in micrometres."""


class ImageFiles:
    """Finds and reads the images of a table's cells; call all but `named` on a worker.

    Parameters
    ----------
    opened
        The model gives the channels, the table's metadata the names of the files.
    folder
        Another folder to search, with its subfolders; empty for none.

    Notes
    -----
    A file is searched where the table says it was (``PathName``), in the table's folder, and in `folder`.
    """

    def __init__(self, opened: Opened, folder: str = "") -> None:
        self._opened, self._folder = opened, Path(folder) if folder else None
        columns = [str(column) for column in opened.cohort.metadata.columns]
        self._whole = [column for column in columns if column in FILES]
        self._each = _per_channel(columns, opened.model.channels)
        self._images: OrderedDict[tuple[Path, ...], Planes] = OrderedDict()
        self._index: dict[str, Path] | None = None

    @property
    def named(self) -> bool:
        """Whether the table names files and positions, and has no crops."""
        cohort = self._opened.cohort
        return cohort.crops is None and {X, Y} <= set(cohort.metadata) and bool(self._whole or self._each)

    def crop(self, position: int) -> Crop | None:
        """Return the picture of a cell of the cohort, float32 (C, d, d); None where its files are not found.

        Raises `ReadError` if a file is found but can't be read.
        """
        y, x = self._opened.cohort.metadata[[Y, X]].to_numpy(np.float64)[position]
        found = self._planes(position) if self.named and np.isfinite([y, x]).all() else None
        if found is None:
            return None
        planes, pixel_size = found
        return cut(lambda rows, columns: planes[:, rows, columns], float(y), float(x), pixel_size, self._opened)

    def _planes(self, position: int) -> Planes | None:
        for column in self._whole:
            path = self._find(column, position)
            if path is not None and (planes := self._read((path,))) is not None:
                return planes
        paths = [self._find(column, position) for column in self._each]
        there = tuple(path for path in paths if path is not None)
        return self._read(there) if there and len(there) == len(paths) else None

    def _find(self, column: str, position: int) -> Path | None:
        """Return the file that a column names for a cell; None where it is not found."""
        text = self._opened.cohort.texts(column)[position].replace("\\", "/")
        if not text:
            return None
        name = PurePosixPath(text)
        for folder in self._folders(column.replace("FileName", "PathName"), position):
            for path in (folder / name, folder / name.name):
                if path.exists():
                    return path
        return self._listed().get(name.name.casefold())

    def _folders(self, column: str, position: int) -> Iterator[Path]:
        cohort, table = self._opened.cohort, self._opened.choice.table
        # First where the table says, which is right on the machine that wrote it, then where copies usually lie.
        if column in cohort.metadata and (text := cohort.texts(column)[position]):
            yield Path(text)
        if table:
            yield Path(table) if Path(table).is_dir() else Path(table).parent
        if self._folder is not None:
            yield self._folder

    def _listed(self) -> dict[str, Path]:
        """Return the files in the chosen folder and all folders in it, by name."""
        if self._index is None:
            self._index = {}
            for folder, folders, files in os.walk(self._folder) if self._folder is not None else ():
                for name in (*files, *(one for one in folders if one.endswith(".zarr"))):
                    self._index.setdefault(name.casefold(), Path(folder, name))
                folders[:] = sorted(one for one in folders if not one.endswith(".zarr"))
                if len(self._index) > MOST:
                    break
        return self._index

    def _read(self, paths: tuple[Path, ...]) -> Planes | None:
        """Read one image, or one file per channel; None where it lacks the model's channels."""
        from napari_virtual_paint.reading import read

        if paths in self._images:
            self._images.move_to_end(paths)
            return self._images[paths]
        stacks = [read(path).compute() for path in paths]
        if len(stacks) == 1:
            names, wanted = stacks[0].channel_labels, self._opened.model.channels
            at = [next((i for i, name in enumerate(names) if is_called(name, channel)), -1) for channel in wanted]
            if min(at) < 0:
                return None
            planes = np.asarray(stacks[0].data[0], np.float32)[at].max(axis=1)
        else:
            planes = np.stack([np.asarray(stack.data[0, 0], np.float32).max(axis=0) for stack in stacks])
        # Whole images are kept, not crops: the next cell is mostly cut out of the same image.
        self._images[paths] = planes, stacks[0].pixel_size.x
        if len(self._images) > KEPT:
            self._images.popitem(last=False)
        return self._images[paths]


def _per_channel(columns: Sequence[str], channels: Sequence[str]) -> list[str]:
    """Return the column that names the file of each channel (``Image_FileName_OrigDNA``), or none where one is missing."""
    ends = {column: column.partition("FileName_")[2].casefold() for column in columns if column.startswith(FILES) and "FileName_" in column}
    found = []
    for channel in channels:
        for wanted in (channel.casefold(), f"orig{channel.casefold()}"):
            if fitting := [column for column, end in ends.items() if end == wanted]:
                found.append(fitting[0])
                break
        else:
            return []
    return found
