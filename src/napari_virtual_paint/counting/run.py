"""count_stack(): the nuclei and cells of one image, with their table; used by the command line, plates and the dock."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.counting.finding import CountedPlane, count_plane, stain_positions
from napari_virtual_paint.counting.measurement import FLAGS, Column, measure_objects
from napari_virtual_paint.counting.segmentation import LabelImage, stained
from napari_virtual_paint.counting.settings import KINDS, LABELS, CountSettings, is_constant, looks_like_labels
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.generators import waited
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.stack import Stack

Rows = list[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class StackCount:
    """The objects of one image."""

    objects: dict[str, Column]
    """Columns of the table, a row per object: ``time``, ``object`` (nucleus or cell), and those of `measure_objects`."""
    summary: Rows
    """A row per time point: ``time``, ``nuclei``, ``cells``, their mean areas, intensities and number of flagged objects."""
    labels: Stack
    """Label images, one channel for each kind that a stain shows; the time points of the image, one plane."""
    source: str  # ``painted`` or ``real``
    segmenter: str
    version: str
    """`segmenter` and `version`: what found them."""
    notes: tuple[str, ...] = ()

    @property
    def totals(self) -> dict[str, int]:
        """``nuclei`` and ``cells`` -> number of objects over all time points."""
        return {kind: sum(row[kind] for row in self.summary) for kind in KINDS}


def count_stack(stack: Stack, settings: CountSettings) -> Generator[Progress, None, StackCount]:
    """Find, measure and count the nuclei and cells of an image.

    Parameters
    ----------
    stack
        Painted or real stains. Every time point is counted by itself.
    settings
        How.

    Yields
    ------
    Progress
        In time points; each is a place to cancel.

    Raises
    ------
    InputError
        If the image can't be counted; the message names it.
    """
    name = stack.source or "The image"
    stack = _checked(stack, settings, name)
    times, channels = stack.shape[0], stack.channel_labels
    tables: list[dict[str, Column]] = []
    summary: Rows = []
    planes: list[CountedPlane] = []
    for time in range(times):
        step = Progress(time, times)
        yield step
        pixels = yield from waited(partial(pixels_of, stack, time, settings.z), step)
        _check_pixels(pixels, channels, settings, name, alone=times == 1)
        plane = yield from waited(partial(count_plane, pixels, channels, stack.pixel_size.x, settings), step)
        table, row = yield from waited(partial(_measured, plane, pixels, channels, stack.pixel_size.x, settings, time), step)
        tables.append(table)
        summary.append(row)
        planes.append(plane)
    objects = {key: np.concatenate([table[key] for table in tables]) for key in tables[0]}
    first = planes[0]
    notes = tuple(dict.fromkeys(note for plane in planes for note in plane.notes))
    if not len(objects["label"]):
        notes = (*notes, f"{name}: no nucleus or cell stands out from its background.")
    return StackCount(objects, summary, label_stack(planes, stack, settings), source_of(stack), first.segmenter, first.version, notes)


def source_of(stack: Stack) -> str:
    """Return ``painted`` for an image that a model made, else ``real``."""
    return "painted" if (stack.provenance or {}).get("model") else "real"


def label_stack(planes: list[CountedPlane], stack: Stack, settings: CountSettings) -> Stack:
    """Return the label images of all time points as an image, 16 bits where the numbers fit."""
    kinds = tuple(kind for kind in KINDS if kind in planes[0].found)
    data = np.stack([np.stack([plane.found[kind] for kind in kinds]) for plane in planes])[:, :, None]
    kind = np.uint16 if data.max(initial=0) <= np.iinfo(np.uint16).max else np.uint32
    known: dict[str, Any] = {"kind": LABELS, "of": stack.source or "", "segmenter": f"{planes[0].segmenter} {planes[0].version}"}
    known |= {"stains": {kind: name for kind, name in (("nuclei", settings.nuclei), ("cells", settings.cells)) if name is not None}}
    size = stack.pixel_size
    return Stack(data.astype(kind), kinds, _without_step(size, stack.shape[2]), stack.time_interval, stack.source, provenance=known)


def by_kind(labels: Stack) -> dict[str, Stack]:
    """Return the label images by their names, one channel each, as OME-Zarr has them."""
    return {name: labels.select([index]) for index, name in enumerate(labels.channel_labels)}


def _without_step(size: Any, planes: int) -> Any:
    """Return the pixel size of one plane out of several, whose step in z is no longer that of the stack."""
    return size if planes == 1 else size._replace(z=None)


def recount(labels: Mapping[str, LabelImage], pixels: npt.NDArray[Any], channels: tuple[str, ...], pixel_size: float | None,
            settings: CountSettings, time: int = 0) -> tuple[dict[str, Column], dict[str, Any]]:  # fmt: skip
    """Measure and count labels that were corrected by hand.

    Parameters
    ----------
    labels
        ``nuclei`` and ``cells`` -> labels, axes YX; a kind may be missing.
    pixels
        The image, axes CYX.
    channels, pixel_size, settings
        As in `count_stack`.
    time
        The time point.

    Returns
    -------
    tuple
        The table and the row of the summary.
    """
    return _measured(CountedPlane(dict(labels), "", ""), pixels, channels, pixel_size, settings, time)


def _checked(stack: Stack, settings: CountSettings, name: str) -> Stack:
    """Return the image if its axes and channels can be counted."""
    if stack.rgb:
        raise InputError(f"{name}: it is a color picture, and cells are counted in stains; give an image with one channel per stain.")
    if (stack.provenance or {}).get("kind") == LABELS:
        raise InputError(f"{name}: it holds labels of objects that were counted already; give the image of the stains.")
    planes = stack.shape[2]
    if planes > 1 and settings.z is None:
        raise InputError(f"{name}: it has {planes} planes; choose one from 0 to {planes - 1}, or max for their maximum projection (--z).")
    if settings.z not in (None, "max") and int(settings.z or 0) >= planes:
        raise InputError(f"{name}: it has no plane {settings.z}; its planes are 0 to {planes - 1}.")
    try:
        stain_positions(stack.channel_labels, settings.nuclei, settings.cells)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    if stack.shape[3] < 3 or stack.shape[4] < 3:
        raise InputError(f"{name}: an image of {stack.shape[3]} x {stack.shape[4]} pixels is too small to find cells in it.")
    return stack


def pixels_of(stack: Stack, time: int, z: str | None) -> npt.NDArray[Any]:
    """Return the plane, or the projection, of one time point, axes CYX."""
    data = np.asarray(stack.data[time])
    return data.max(axis=1) if z == "max" else data[:, int(z or 0)]


def _check_pixels(pixels: npt.NDArray[Any], channels: tuple[str, ...], settings: CountSettings, name: str, *, alone: bool) -> None:
    """Raise an `InputError` where the stain that objects are found in holds labels, or nothing."""
    nuclei, cells = stain_positions(channels, settings.nuclei, settings.cells)
    first = cells[0] if nuclei is None else nuclei
    if looks_like_labels(pixels[first]):
        raise InputError(f"{name}: its channel {channels[first]} holds labels or a mask, not a stain; give the image of the stains.")
    if alone and is_constant(pixels[first]):
        raise InputError(f"{name}: its channel {channels[first]} is empty, every pixel has the same value; check the image.")


def _measured(
    plane: CountedPlane,
    pixels: npt.NDArray[Any],
    channels: tuple[str, ...],
    pixel_size: float | None,
    settings: CountSettings,
    time: int,
) -> tuple[dict[str, Column], dict[str, Any]]:
    """Return the table and the summary of one time point."""
    nuclei, _ = stain_positions(channels, settings.nuclei, settings.cells)
    tables = []
    row: dict[str, Any] = {"time": time, **dict.fromkeys(KINDS, 0)}
    blurred: Column = np.zeros(0, np.int64)
    for kind, title in zip(KINDS, ("nucleus", "cell"), strict=True):
        if kind not in plane.found:
            continue
        sharp = pixels[nuclei] if kind == "nuclei" and nuclei is not None else None
        table = measure_objects(plane.found[kind], pixels, channels, pixel_size, sharp)
        if kind == "nuclei":
            blurred = table["label"][table["blurred"]]
        else:
            table["blurred"] = np.isin(table["label"], blurred)
        count = len(table["label"])
        tables.append({"time": np.full(count, time), "object": np.full(count, title), **table})
        row |= _row(kind, title, table, channels, pixel_size)
    columns = {key: np.concatenate([table[key] for table in tables]) for key in tables[0]}
    return columns, row


def _row(kind: str, title: str, table: Mapping[str, Column], channels: tuple[str, ...], pixel_size: float | None) -> dict[str, Any]:
    """Return what the summary has of one kind of object."""
    count = len(table["label"])
    means = {f"{title}_mean_{name}": _mean(table[f"mean_{name}"]) for name in channels if stained(name)}
    flagged = {f"{kind}_{flag}": int(table[flag].sum()) for flag in FLAGS}
    area = {f"{title}_area_px": _mean(table["area_px"]), f"{title}_area_um2": None if pixel_size is None else _mean(table["area_um2"])}
    return {kind: count, **area, **means, **flagged}


def _mean(values: Column) -> float | None:
    return float(values.mean()) if len(values) else None
