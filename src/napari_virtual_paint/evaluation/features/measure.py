"""Measure the cells of fields, in the truth and in each prediction: in the truth's masks, and in the prediction's own."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.cells.cellprofiler_names import is_morphological_feature
from napari_virtual_paint.cells.measurement.measure import CHUNK, measure_images
from napari_virtual_paint.counting.segmentation import Labels
from napari_virtual_paint.evaluation.context import TRUTH, Context, FieldImages
from napari_virtual_paint.evaluation.objects import FULL, objects_of, without_border

if TYPE_CHECKING:
    import pandas as pd

CELLS, IMAGES = "features_cells", "features_images"  # names of the tables: one row per cell, and medians over a field's cells

OWN = "own"  # value of the column ``masks`` for a prediction's own masks; the truth's are ``truth``

KEYS = ("field", "well", "source", "masks")
"""Columns before the features; then ``object`` in the table of cells, ``cells`` in that of images."""

CAMERAS = (255.0, 1023.0, 4095.0, 16383.0, FULL)  # full scales of cameras of 8, 10, 12, 14 and 16 bits


def measured(images: FieldImages, context: Context) -> dict[str, pd.DataFrame]:
    """Measure a field; see `measured_together`."""
    return measured_together([images], context)[0]


def measured_together(fields: Sequence[FieldImages], context: Context) -> list[dict[str, pd.DataFrame]]:
    """Measure the cells of several fields.

    Cells at the border are left out, as are features that describe a cell's position or orientation rather than the cell
    (`is_morphological_feature`). Intensities are relative to `full_scale`.

    Returns
    -------
    list of dict
        ``features_cells`` and ``features_images``, float32, of each field; both empty where no stain shows nuclei and cells.
    """
    found: list[list[_Measured]] = [[] for _ in fields]
    for part in _parts([request for number, images in enumerate(fields) for request in _requests(number, images, context)]):
        for each in _measured(part, context):
            found[each.request.field].append(each)
    return [_tables(images, each) for images, each in zip(fields, found, strict=True)]


@dataclass(frozen=True, eq=False)
class _Request:
    """What to measure: a source in some masks."""

    field: int  # number of the field
    images: FieldImages
    source: str
    masks: str
    labels: Labels
    count: int  # number of cells


@dataclass(frozen=True, eq=False)
class _Measured:
    """The cells of a request."""

    request: _Request
    numbers: npt.NDArray[np.int32]  # of the cells
    names: tuple[str, ...]
    values: npt.NDArray[np.float32]  # axes cell, feature


def _requests(number: int, images: FieldImages, context: Context) -> Iterator[_Request]:
    truth = _labels(images, TRUTH, context)
    each = [(source, TRUTH, truth) for source in images.sources]
    each += [(source, OWN, _labels(images, source, context)) for source in images.predictions]
    for source, masks, labels in each:
        if labels is not None:
            yield _Request(number, images, source, masks, labels, len(np.unique(labels.cells)))


def _parts(requests: Sequence[_Request]) -> Iterator[list[_Request]]:
    """Yield requests that are measured together: up to `CHUNK` cells, or a single request."""
    part: list[_Request] = []
    for each in requests:
        if part and (sum(one.count for one in part) + each.count > CHUNK or each.images.stains != part[0].images.stains):
            yield part
            part = []
        part.append(each)
    if part:
        yield part


def _measured(part: Sequence[_Request], context: Context) -> Iterator[_Measured]:
    few = sum(each.count for each in part) <= CHUNK  # of more, processes would share the work, and fields have theirs already
    table = measure_images(
        [(each.images.scaled[each.source], each.labels) for each in part],
        part[0].images.stains,
        scale=[full_scale(each.images).tolist() for each in part],
        workers=max(1, context.settings.workers) if few else 1,
    )
    names = _morphological(tuple(table.columns))
    values = table[list(names)].to_numpy(np.float32)
    place, numbers = table["ImageNumber"].to_numpy(), table["ObjectNumber"].to_numpy()
    for number, each in enumerate(part):
        rows = slice(*np.searchsorted(place, (number, number + 1)))
        yield _Measured(each, numbers[rows], names, values[rows])


@lru_cache(maxsize=8)
def _morphological(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if is_morphological_feature(name))


def _tables(images: FieldImages, measured: Sequence[_Measured]) -> dict[str, pd.DataFrame]:
    """Return the tables of a field."""
    import pandas as pd

    if not measured:
        return {CELLS: pd.DataFrame(columns=[*KEYS, "object"]), IMAGES: pd.DataFrame(columns=[*KEYS, "cells"])}
    counts = [len(each.numbers) for each in measured]
    names = list(measured[0].names)
    cells = pd.DataFrame(np.concatenate([each.values for each in measured]), columns=names)
    rows = pd.DataFrame(np.stack([_medians(each.values) for each in measured]), columns=names)
    numbers = np.concatenate([each.numbers for each in measured])
    for table, repeats, last, values in ((cells, counts, "object", numbers), (rows, 1, "cells", np.array(counts))):
        keys = [(images.key, images.well, each.request.source, each.request.masks) for each in measured]
        columns = [np.repeat(np.array(column, object), repeats) for column in zip(*keys, strict=True)]
        for place, (name, column) in enumerate(zip((*KEYS, last), (*columns, values), strict=True)):
            table.insert(place, name, column)
    return {CELLS: cells, IMAGES: rows}


def _medians(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the median of each feature over the cells that have it; NaN where none has."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmedian(values, axis=0), np.float32)


def full_scale(images: FieldImages) -> npt.NDArray[np.float64]:
    """Return the full scale of each stain: that of the smallest camera that holds the truth's brightest pixel in the plate's controls.

    CellProfiler takes intensities relative to the data type's full scale, and textures in 256 steps of it, which leaves few steps
    for a dim 16-bit image. Without controls, where other fields are unknown, it is 8 bits or 16.
    """
    stains = len(images.stains)
    if TRUTH not in images.scale.moments:
        return np.full(stains, CAMERAS[0] if images.scaled[TRUTH].max(initial=0) <= CAMERAS[0] else FULL)
    high = images.scale.moments[TRUTH].high
    if images.scale.gain is not None and images.scale.offset is not None:
        high = images.scale.gain * high + images.scale.offset
    return np.array([next((camera for camera in CAMERAS if value <= camera), FULL) for value in high])


def _labels(images: FieldImages, source: str, context: Context) -> Labels | None:
    objects = objects_of(images, source, context.settings)
    return None if objects is None or objects.labels is None else without_border(objects.labels)
