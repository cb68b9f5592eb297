"""Measure images into a table of cells: read fields, collect metadata, measure file by file."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.cells.measurement.checkpoint import MeasurementCheckpoint
from napari_virtual_paint.cells.measurement.cp_measure import GROUPS, TEXTURE_SCALE
from napari_virtual_paint.cells.measurement.crops import find_tile, segment_places
from napari_virtual_paint.cells.measurement.field_features import measure_field
from napari_virtual_paint.cells.measurement.measure import measuring
from napari_virtual_paint.counting.segmentation import Labels, nuclei_channel, segment
from napari_virtual_paint.errors import InputError, ReadError
from napari_virtual_paint.reading import read
from napari_virtual_paint.runtime.delimited_text import read_rows
from napari_virtual_paint.runtime.generators import relay
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.stack import Stack

if TYPE_CHECKING:
    import pandas as pd

FULL_SCALES = (1.0, 255.0, 4095.0, 65535.0)  # candidate full scales: normalized, 8-bit, 12-bit and 16-bit cameras

ONE_IMAGE = "; files that are the channels of one image are given as their folder, or as a pattern in quotes"

FIELDS = "fields.csv"  # name of the table that the simulator writes beside its fields

_JURKAT = re.compile(r"(?P<experiment>experiment_\d+)_(?P<phase>.+)_(?P<montage>\d{4})(?:\.ome)?$")


@dataclass(frozen=True)
class Image:
    """An image to measure."""

    path: Path  # file, folder or glob, as `reading.read` takes it.
    name: str  # name in the table: the shortest end of the path that distinguishes it from the other images
    metadata: dict[str, Any]  # metadata from the source, by column


def find_images(paths: Sequence[str | Path]) -> list[Image]:
    """List the images; a folder written by the simulator stands for the stains of all its fields.

    Raises `InputError` if a path is given twice, or there is none.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if (path / FIELDS).is_file():
            files += [path / row["stains"] for row in _fields(path / FIELDS)]
        else:
            files.append(path)
    if not files:
        raise InputError("No image is given; name one or more to measure.")
    if len(set(files)) < len(files):
        raise InputError(f"{next(file for file in files if files.count(file) > 1)}: this image is given twice; name it once.")
    depth = 1
    while len({file.parts[-depth:] for file in files}) < len(files):
        depth += 1
    return [Image(file, "/".join(file.parts[-depth:]), _metadata(file)) for file in files]


def _fields(table: Path) -> list[dict[str, str]]:
    """Return the rows of a simulator's table."""
    header, *rows = read_rows(table)
    if missing := [name for name in ("stains", "treatment", "dose", "seed") if name not in header.cells]:
        raise ReadError(table, f"it has no column {missing[0]!r}, so it is no table of the simulator; give the images themselves")
    if short := [row.line for row in rows if len(row.cells) < len(header.cells)]:
        raise ReadError(table, f"line {short[0]} has fewer cells than the header; simulate the fields again")
    return [dict(zip(header.cells, row.cells, strict=False)) for row in rows]


def _metadata(path: Path) -> dict[str, Any]:
    """Return metadata of a path: from the simulator's table beside it, or from the name of a Jurkat montage."""
    if known := _simulated(path, path.parent.parent / FIELDS):
        return known
    if found := _JURKAT.match(path.stem):
        return {
            "Metadata_Well": f"{found['experiment']}_{found['phase']}_{found['montage']}",
            "Metadata_Experiment": found["experiment"],
            "Metadata_Phase": found["phase"],
        }
    return {"Metadata_Well": path.stem.removesuffix(".ome")}


def _simulated(path: Path, table: Path) -> dict[str, Any]:
    """Return metadata of a path in a simulator's table; nothing where the table is absent or another program's."""
    try:
        for row in _fields(table) if table.is_file() else ():
            if (table.parent / row["stains"]).resolve() == path.resolve():
                dose, seed = float(row["dose"]), int(row["seed"])
                well = f"{row['treatment']}-{dose:g}-{row['seed']}"
                return {"Metadata_Well": well, "Metadata_Treatment": row["treatment"], "Metadata_Dose": dose, "Metadata_Seed": seed}
    except ValueError:  # a ReadError is one, too
        return {}
    return {}


def full_scale(stacks: Sequence[Stack]) -> float:
    """Return the full scale for a set of images: that of the smallest camera (8, 12 or 16 bit) that holds them all."""
    highest = max(float(np.max(stack.data)) for stack in stacks)
    floating = all(stack.dtype.kind == "f" for stack in stacks)
    fitting = [scale for scale in FULL_SCALES if scale >= highest and (floating or scale > 1)]
    if all(stack.dtype == np.uint8 for stack in stacks):
        return 255.0
    wider = [scale for scale in fitting if floating or scale > 255]
    return wider[0] if wider else highest


def planes_of(stack: Stack, label: str, channels: Sequence[str] | None = None) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """Return the pixels (CYX) and channel names of one field.

    Parameters
    ----------
    stack
        The image; a z-stack is projected by its maximum.
    channels
        As many names as there are channels, to rename them; or some of its own names, to select these.

    Raises
    ------
    InputError
        If it has several time points, or no such channel.
    """
    if stack.shape[0] > 1:
        raise InputError(f"{label}: it has {stack.shape[0]} time points; cells are measured on one, save it by itself.")
    names = stack.channel_labels
    if channels is not None:
        known = {name.casefold() for name in names}
        if len(channels) == len(names) and not all(name.casefold() in known for name in channels):
            names = tuple(channels)
        else:
            try:
                stack = stack.select(list(channels))
            except KeyError as error:
                raise InputError(f"{label}: {error.args[0]}{ONE_IMAGE if len(names) == 1 else ''}.") from None
            names = stack.channel_labels
    data = np.asarray(stack.data[0])
    return (data[:, 0] if data.shape[1] == 1 else data.max(axis=1)), tuple(names)


def measure_files(
    paths: Sequence[str | Path],
    *,
    nuclei: str | None = None,
    channels: Sequence[str] | None = None,
    tile: int | None = None,
    labels: str | None = None,
    scale: float | None = None,
    method: str = "auto",
    keep_border: bool = False,
    groups: Sequence[str] = GROUPS,
    costes: bool = False,
    texture_scales: Sequence[int] = (TEXTURE_SCALE,),
    neighbors: int | None = None,
    field_granularity: bool = False,
    workers: int = 1,
    parts: Path | None = None,
    axes: str | None = None,
) -> Generator[Progress, None, pd.DataFrame]:
    """Segment and measure the cells of images; each yield is a place to cancel.

    Parameters
    ----------
    paths
        Images, or folders that ``virtual-paint simulate`` wrote.
    nuclei
        The nuclei's channel; by default the one called DNA, DAPI or Hoechst.
    channels
        See `planes_of`.
    tile
        Side of a montage's places in pixels; 0 for an image that is not a montage; None to detect a regular grid.
    labels
        Name of a label file beside each image (channels nucleus and cell), used instead of segmentation.
    scale
        Full scale; by default the first of 255, 4095 and 65535 that holds all images.
    method, keep_border
        See `segment`.
    groups, costes, texture_scales, workers
        See `measure`.
    neighbors
        Distance within which cells are neighbors, in px, 0 for cells that touch; None to measure none. See `measure_field`.
    field_granularity
        Whether granularity is CellProfiler's, which is that of the whole image, instead of that of the cell alone.
    parts
        Folder that stores the rows of each finished image: a repeated call resumes from there. The caller removes it once
        the table is written (`MeasurementCheckpoint.remove`).
    axes
        What the axes of the images' arrays are (see `reading.read`).

    Returns
    -------
    pandas.DataFrame
        One row per cell. Metadata: ``ImageNumber``, ``ObjectNumber``, ``Metadata_FileName``, ``Metadata_Well``, further metadata
        of the source (``Metadata_Treatment``, ``_Dose``, ``_Seed``, ``_Experiment``, ``_Phase``), ``Metadata_PixelSize`` in
        micrometers, ``Metadata_Scale``, ``Metadata_ThresholdNuclei`` and ``_ThresholdCells``, and for a montage ``Metadata_Tile``
        (side of a place) and ``Metadata_Place`` (its number, row by row from 0). Then the features.

    Raises
    ------
    InputError
        If an image can't be used; the message names it.
    ReadError
        If one can't be read.
    """
    import pandas as pd

    images = find_images(paths)
    yield Progress(0, len(images), f"Reading {len(images)} image{'s' * (len(images) > 1)}.")
    if scale is None:
        scale = full_scale([read(image.path, axes=axes) for image in images])
    settings = {"nuclei": nuclei, "channels": channels, "tile": tile, "labels": labels, "scale": scale, "groups": groups, "costes": costes}
    settings |= {"axes": axes} if axes is not None else {}
    more_settings: dict[str, Any] = {"texture_scales": list(texture_scales), "neighbors": neighbors, "field_granularity": field_granularity}
    own = tuple(name for name in groups if not (field_granularity and name == "Granularity"))
    more_settings |= {"method": method, "keep_border": keep_border}
    checkpoint = None if parts is None else MeasurementCheckpoint(parts, {**settings, **more_settings})
    if checkpoint is not None and (note := checkpoint.note or _resume_note(checkpoint, images, labels)):
        yield Progress(0, len(images), note)
    options = {"method": method, "scale": scale, "keep_border": keep_border}
    tables = []
    said: set[str] = set()  # each note of a reader is said once, with the first image that has it
    for number, image in enumerate(images, start=1):
        label_file = _label_file(image, labels)
        table = None if checkpoint is None else checkpoint.read(image.path, label_file)
        new = table is None
        notes: tuple[str, ...] = ()
        if table is None:
            stack = read(image.path, axes=axes).compute()
            planes, names = planes_of(stack, str(image.path), channels)
            notes = tuple(f"{image.path}: {note}" for note in stack.notes if note not in said)
            said.update(stack.notes)
            side = find_tile(planes) if tile is None else tile
            found = _labels(image, planes, names, side, labels, nuclei, {"pixel_size": stack.pixel_size.x, **options})
            how: dict[str, Any] = {"groups": own, "costes": costes, "texture_scales": texture_scales, "workers": workers}
            steps = measuring(planes, names, found, scale=scale, **how)
            table = yield from relay(steps, partial(_of_all, number - 1, len(images)))
            if neighbors is not None or field_granularity:
                if side:
                    raise InputError(
                        f"{image.path}: cells of a montage have no neighbors and no field; measure them without these features."
                    )
                more = measure_field(planes, names, found, scale=scale, neighbors=neighbors, granularity=field_granularity)
                table = pd.concat([table, more.drop(columns="ObjectNumber")], axis=1)
            table = _with_metadata(table, found, stack.pixel_size.x, scale, side)
            if checkpoint is not None:
                checkpoint.keep(table, image.path, label_file)
        if len(table):
            tables.append(_named(table, image, number))
        yield Progress(number, len(images), " ".join((*notes, f"{image.name}: {len(table)} cells.")) if new else "")
    if not tables:
        if checkpoint is not None:
            checkpoint.remove()  # there is nothing to go on from
        raise InputError(f"No cell was found in {', '.join(image.name for image in images[:4])}; check the channel of the nuclei.")
    return pd.concat(tables, ignore_index=True)


def _label_file(image: Image, labels: str | None) -> tuple[Path, ...]:
    """Return the files besides the image that its rows depend on."""
    return () if labels is None else (image.path.parent / labels,)


def _resume_note(checkpoint: MeasurementCheckpoint, images: Sequence[Image], labels: str | None) -> str:
    """Return a note on the number of images already measured; empty where there is none."""
    known = sum(checkpoint.known(image.path, _label_file(image, labels)) for image in images)
    return f"Going on: {known} of {len(images)} images {'was' if known == 1 else 'were'} measured before." if known else ""


def _of_all(before: int, total: int, share: float) -> Progress:
    """Return the overall progress from that of one image."""
    return Progress(before + share, total)


def _labels(
    image: Image,
    planes: npt.NDArray[Any],
    channels: Sequence[str],
    tile: int | None,
    labels: str | None,
    nuclei: str | None,
    options: dict[str, Any],
) -> Labels:
    """Return the given labels, or segment."""
    if labels:
        return _read_labels(image.path.parent / labels, planes.shape[1:])
    try:
        nuclei_channel(channels, nuclei)
    except InputError as error:
        raise InputError(f"{image.path}: {str(error).rstrip('.')}{ONE_IMAGE if len(channels) == 1 else ''}.") from None
    if tile:
        return segment_places(planes, channels, tile, nuclei, **options)
    return segment(planes, channels, nuclei, **options)


def _read_labels(path: Path, shape: tuple[int, ...]) -> Labels:
    """Read labels of nuclei and cells."""
    stack = read(path).compute()
    names = [name.casefold() for name in stack.channel_labels]
    found = [next((i for i, name in enumerate(names) if name.startswith(kind)), None) for kind in ("nucle", "cell")]
    if None in found or stack.shape[3:] != shape:
        raise InputError(f"{path}: labels need the channels nucleus and cell and the image's {shape[0]} x {shape[1]} px.")
    nuclei, cells = (np.asarray(stack.data[0, i or 0, 0]) for i in found)
    return Labels.of(nuclei, cells)


def _with_metadata(table: pd.DataFrame, labels: Labels, pixel_size: float | None, scale: float, tile: int | None) -> pd.DataFrame:
    """Prepend how the cells were measured."""
    import pandas as pd

    each = labels.thresholds if len(labels.thresholds) == len(table) else labels.thresholds[:1] * len(table)
    known: dict[str, Any] = {"ObjectNumber": table.pop("ObjectNumber").to_numpy()}
    known |= {"Metadata_PixelSize": float("nan") if pixel_size is None else pixel_size, "Metadata_Scale": scale}
    if each:
        known |= {"Metadata_ThresholdNuclei": [one.nuclei for one in each], "Metadata_ThresholdCells": [one.cells for one in each]}
    if tile:
        across = labels.cells.shape[1] // tile
        y, x = (table[f"Nuclei_Location_Center_{axis}"].to_numpy() // tile for axis in "YX")
        known |= {"Metadata_Tile": tile, "Metadata_Place": (y * across + x).astype(int)}
    return pd.concat([pd.DataFrame(known, index=table.index), table.astype(np.float32)], axis=1)


def _named(table: pd.DataFrame, image: Image, number: int) -> pd.DataFrame:
    """Prepend the image's number and name, which depend on the other images, and its metadata."""
    import pandas as pd

    known = {"ImageNumber": number, "ObjectNumber": table["ObjectNumber"].to_numpy(), "Metadata_FileName": image.name, **image.metadata}
    return pd.concat([pd.DataFrame(known, index=table.index), table.drop(columns="ObjectNumber")], axis=1)
