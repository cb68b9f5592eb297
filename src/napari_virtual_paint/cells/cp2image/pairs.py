"""Match the rows of a table with the crops they were measured on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.cells.cp2image.run_crops import RunCrops, cut_run, names_channel_files
from napari_virtual_paint.cells.measurement.crops import crop
from napari_virtual_paint.cells.measurement.images import Image, find_images, planes_of
from napari_virtual_paint.counting.segmentation import Thresholds
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.reading import read
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.runtime.text import notes_of_files

if TYPE_CHECKING:
    import pandas as pd

    from napari_virtual_paint.cells.tables.table import CellTable

FILE_COLUMNS = ("Metadata_FileName", "Image_FileName_DNA", "FileName_DNA", "Image_FileName_OrigDNA")
"""Columns that may name a cell's image, in order of preference."""
CHANNEL_SCALE = "Metadata_Scale_"  # beginning of the columns with the full scale of each channel, in the channels' order
Scale: TypeAlias = float | tuple[float, ...]
PLACES = ("Nuclei_Location_Center", "Nuclei_AreaShape_Center", "Nuclei_Location_CenterMassIntensity", "Location_Center")
"""Prefixes of the columns (``_Y`` and ``_X``) that may hold a nucleus's center."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Cells of a table with their crops."""

    rows: npt.NDArray[np.int64]  # row numbers in the table, (n,), ascending
    crops: npt.NDArray[np.float32]  # (n, C, d, d), in the images' gray levels
    files: npt.NDArray[np.object_]  # name of each cell's image, as in the table
    notes: tuple[str, ...] = ()
    run: RunCrops | None = None  # what else is known of the cells of a CellProfiler run


def cut_crops(
    table: CellTable,
    images: Sequence[str | Path],
    channels: Sequence[str],
    size: int,
    most: int | None = None,
    seed: int = 0,
    *,
    nuclei: str | None = None,
    axes: str | None = None,
) -> Iterator[Progress | Pairs]:
    """Cut the crops of a table's cells from their images.

    Parameters
    ----------
    table
        With the image's name (`FILE_COLUMNS`) and the nucleus's position (`PLACES`) of each cell, or of a CellProfiler run, with the
        files of its channels (see `run_crops`).
    images
        Files, or folders that ``virtual-paint simulate`` wrote; of a run the folder with its files, anywhere below it.
    channels
        Channels wanted, in order; others are ignored.
    size
        Side of a crop, px.
    most, seed
        Sample this many cells if there are more.
    nuclei
        The nuclear channel of a run, from which each cell's own pixels are found.
    axes
        What the axes of the images' arrays are (see `reading.read`).

    Yields
    ------
    Progress
        After each image.
    Pairs
        Last.

    Raises
    ------
    InputError
        If the table lacks a column, or no image is in the table.
    """
    if names_channel_files(table, channels):
        for item in cut_run(table, images, channels, size, most, seed, nuclei=nuclei, axes=axes):
            yield Pairs(item.rows, item.crops, item.files, item.notes, item) if isinstance(item, RunCrops) else item
        return
    frame = locations(table)
    notes: list[str] = []
    file_notes: list[tuple[str, str]] = []
    placed = np.isfinite(frame[["y", "x"]].to_numpy()).all(axis=1)
    if not placed.all():
        notes.append(f"{int((~placed).sum())} cells have no nucleus and are left out.")
    frame = frame[placed]
    found = {name: _image_of(name, find_images(images)) for name in frame["file"].unique()}
    absent = [name for name, image in found.items() if image is None]
    if len(absent) == len(found):
        raise InputError(f"{table.name}: none of its images ({', '.join(map(str, absent[:3]))}) is among the images given.")
    if absent:
        notes.append(f"Cells of {len(absent)} images that were not given are left out ({', '.join(map(str, absent[:3]))}).")
        frame = frame[~frame["file"].isin(absent)]
    if most is not None and len(frame) > most:
        frame = frame.iloc[np.sort(np.random.default_rng(seed).permutation(len(frame))[:most])]
    crops = np.empty((len(frame), len(channels), size, size), np.float32)
    files = list(frame["file"].unique())
    for number, name in enumerate(files, start=1):
        image = found[name]
        assert image is not None
        own = (frame["file"] == name).to_numpy()
        rows = frame[own]
        stack = read(image.path, axes=axes)
        file_notes += [(str(image.path), note) for note in stack.notes]
        planes, _ = planes_of(stack.compute(), str(image.path), list(channels))
        tile = int(rows["tile"].iloc[0]) if np.isfinite(rows["tile"].iloc[0]) else None
        crops[own] = crop(planes, rows[["y", "x"]].to_numpy(), size, tile)
        yield Progress(number, len(files))
    notes += notes_of_files(file_notes)
    yield Pairs(frame.index.to_numpy(np.int64), crops, frame["file"].to_numpy(object), tuple(notes))


def locations(table: CellTable) -> pd.DataFrame:
    """Return each cell's image and position: columns ``file``, ``y``, ``x`` and ``tile`` (NaN where the image is not a montage).

    Raises `InputError` if the table lacks one.
    """
    known = {*table.features, *table.metadata}
    file = next((name for name in FILE_COLUMNS if name in known), None)
    if file is None:
        raise InputError(f"{table.name}: no column gives a cell's image; it needs {FILE_COLUMNS[0]}.")
    place = next((name for name in PLACES if {f"{name}_Y", f"{name}_X"} <= known), None)
    if place is None:
        raise InputError(f"{table.name}: no column gives a cell's position; it needs {PLACES[0]}_Y and {PLACES[0]}_X.")
    columns = [file, f"{place}_Y", f"{place}_X", *(["Metadata_Tile"] if "Metadata_Tile" in known else [])]
    frame = table.frame(columns).set_axis(["file", "y", "x", "tile"][: len(columns)], axis=1).reset_index(drop=True)
    if "tile" not in frame:
        frame["tile"] = np.nan
    return frame.astype({"y": float, "x": float, "tile": float})


def _image_of(name: object, images: Sequence[Image]) -> Image | None:
    """Return the image that a table's name refers to: the one whose path shares the longest end with it."""
    parts = PurePosixPath(str(name).replace("\\", "/")).parts
    fitting = [image for image in images if image.path.name == parts[-1]]

    def shared(image: Image) -> int:
        own = image.path.parts[::-1]
        return next((i for i, (a, b) in enumerate(zip(own, parts[::-1], strict=False)) if a != b), min(len(own), len(parts)))

    return max(fitting, key=shared) if fitting else None


def scale_columns(channels: Sequence[str], scale: Sequence[float]) -> dict[str, float]:
    """Return the metadata of a run's cells from which `how_measured` knows the full scale of each channel."""
    return {f"{CHANNEL_SCALE}{name}": float(value) for name, value in zip(channels, scale, strict=True)}


def measuring(table: CellTable, rows: npt.NDArray[np.int64]) -> tuple[Scale, float | None, list[Thresholds] | None]:
    """Return how cells of a table were measured; see `how_measured`."""
    columns = ("Metadata_Scale", "Metadata_PixelSize", "Metadata_Tile", "Metadata_ThresholdNuclei", "Metadata_ThresholdCells")
    known = {*table.features, *table.metadata}
    return how_measured(table.frame([name for name in columns if name in known], rows))


def how_measured(frame: pd.DataFrame) -> tuple[Scale, float | None, list[Thresholds] | None]:
    """Return how cells were measured, from their metadata: full scale, pixel size in micrometers, and each cell's thresholds.

    The full scale is that of all channels, or of a run that of each.
    A place of a montage was segmented by its own thresholds, which a generated cell must find for itself; a cell of a field shared
    the field's, which are passed on. What the table lacks is 1, None and None.
    """
    each = tuple(float(frame[name].median()) for name in frame.columns if name.startswith(CHANNEL_SCALE))
    scale: Scale = each or (float(frame["Metadata_Scale"].median()) if "Metadata_Scale" in frame else 1.0)
    pixel = float(frame["Metadata_PixelSize"].median()) if "Metadata_PixelSize" in frame else float("nan")
    thresholds = None
    if {"Metadata_ThresholdNuclei", "Metadata_ThresholdCells"} <= set(frame):
        alone = frame["Metadata_Tile"].notna() if "Metadata_Tile" in frame else np.zeros(len(frame), bool)
        both = zip(frame["Metadata_ThresholdNuclei"], frame["Metadata_ThresholdCells"], alone, strict=True)
        thresholds = [Thresholds() if own else Thresholds(float(nuclei), float(cells)) for nuclei, cells, own in both]
    return scale, pixel if np.isfinite(pixel) else None, thresholds
