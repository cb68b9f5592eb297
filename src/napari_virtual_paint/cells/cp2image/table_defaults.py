"""What a training on a table of cells begins with: the channels that have pictures, the nuclear one, and the size of a crop."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_virtual_paint.cells.tables.channel_files import ChannelFiles
from napari_virtual_paint.cells.tables.table import CellTable
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.stain_names import stains_named, words_of

PERCENTILE, MARGIN = 95, 1.15  # a crop holds this percentile of the cells' largest extents, and so much around it
STEP, LEAST, MOST = 8, 32, 160  # crops are a multiple of so many pixels, and so large at least and at most
ILLUMINATION = "Illum"  # beginning of the usual names of illumination functions, which show no cells
USUAL = 64  # size of a crop where the table measured no extent, px
_EXTENTS = ("AreaShape_MaxFeretDiameter", "AreaShape_MajorAxisLength", "AreaShape_MaximumRadius", "AreaShape_EquivalentDiameter")
_SCALE = {"AreaShape_MaximumRadius": 3.0, "AreaShape_EquivalentDiameter": 1.4}
"""Ratio of a cell's usual extent to a measure of it that is smaller."""


@dataclass(frozen=True)
class TableDefaults:
    """Data of a training on a table."""

    cells: int
    features: int
    offered: tuple[str, ...]  # channels that have pictures
    channels: tuple[str, ...]  # those that were measured, as far as the table says
    nuclei: str  # the nuclear channel
    size: int  # side of a crop, px
    images: str  # folder of the pictures; empty where none of them is found


def table_defaults(table: CellTable, path: str | Path) -> TableDefaults:
    """Return the data of a training on a table, as far as the table says it.

    Parameters
    ----------
    table
        Whose Image table names a file for each channel (``FileName_DNA``).
    path
        Where it was opened from: pictures are looked for beside it.

    Raises
    ------
    InputError
        If the table names no pictures.
    """
    files = ChannelFiles(table)
    if not files.channels:
        raise InputError(
            f"{table.name}: it names no pictures of its cells; open the run's folder or database, whose Image table has a FileName_ "
            "column for each channel."
        )
    channels = _measured(table, files.channels)
    return TableDefaults(
        len(table), len(table.features), files.channels, channels, nuclear(channels), crop_size(table), _folder(files, Path(path))
    )


def nuclear(channels: tuple[str, ...]) -> str:
    """Return the nuclear channel by its name: one of a nuclear stain, else a blue one, else the first."""
    words = {channel: words_of(channel) for channel in channels}
    named = [channel for channel in channels if "DNA" in stains_named(words[channel])]
    blue = [channel for channel in channels if "blue" in words[channel]]
    return (*named, *blue, *channels)[0]


def crop_size(table: CellTable) -> int:
    """Return the side of a crop that holds the cells, px."""
    for compartment, factor in (("Cells", 1.0), ("Cytoplasm", 1.0), ("Nuclei", 2.0)):
        for name in _EXTENTS:
            column = f"{compartment}_{name}"
            if column in set(table.features):
                values = table.frame([column])[column].to_numpy(np.float64)
                values = values[np.isfinite(values)]
                if len(values):
                    wanted = factor * _SCALE.get(name, 1.0) * MARGIN * float(np.percentile(values, PERCENTILE))
                    return int(np.clip(STEP * np.ceil(wanted / STEP), LEAST, MOST))
    return USUAL


def _measured(table: CellTable, named: tuple[str, ...]) -> tuple[str, ...]:
    """Return the channels that were measured: pictures that the pipeline saved have names of files, too, but no size."""
    cells = tuple(name for name in named if not name.startswith(ILLUMINATION)) or named
    with_size = tuple(name for name in cells if f"Image_Height_{name}" in table.metadata or f"Height_{name}" in table.metadata)
    return with_size or tuple(name for name in cells if name in table.channels) or cells


def _folder(files: ChannelFiles, path: Path) -> str:
    """Return the folder of the first picture: where the table says, else beside the table; empty where it is in neither."""
    sets = files.image_sets
    if not sets:
        return ""
    file = next(iter(sets[0].files.values()))
    own = path if path.is_dir() else path.parent
    said = Path(os.sep, *file.folders) if file.folders else own
    for folder in (said, own):
        if (folder / file.name).is_file():
            return str(folder)
    for above in (own, own.parent):  # pictures and tables of a run often lie in neighboring folders
        if next(above.glob(f"*/{file.name}"), None) is not None:
            return str(above)
    return ""
