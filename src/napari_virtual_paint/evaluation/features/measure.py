"""Measure the cells of one field, in the truth and in each prediction: in the truth's masks, and in the prediction's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.cells.cellprofiler_names import is_morphological_feature
from napari_virtual_paint.cells.measurement.measure import CHUNK, measure
from napari_virtual_paint.cells.measurement.segment import Labels
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
    """Measure a field.

    Cells at the border are left out, as are features that describe a cell's position or orientation rather than the cell
    (`is_morphological_feature`). Intensities are relative to `full_scale`.

    Returns
    -------
    dict
        ``features_cells`` and ``features_images``, float32; both empty where no stain shows nuclei and cells.
    """
    import pandas as pd

    scale = full_scale(images)
    truth = _labels(images, TRUTH, context)
    requests = [(source, TRUTH, truth) for source in images.sources]
    requests += [(source, OWN, _labels(images, source, context)) for source in images.predictions]
    cells, rows = [], []
    for source, masks, labels in requests:
        if labels is not None:
            keys = {"field": images.key, "well": images.well, "source": source, "masks": masks}
            table = _measured(images, source, labels, scale, context)
            cells.append(pd.concat([pd.DataFrame(keys, index=table.index), table], axis=1))
            middle = table.drop(columns="object").median().to_frame().T.astype(np.float32)
            rows.append(pd.concat([pd.DataFrame({**keys, "cells": len(table)}, index=middle.index), middle], axis=1))
    if not cells:
        return {CELLS: pd.DataFrame(columns=[*KEYS, "object"]), IMAGES: pd.DataFrame(columns=[*KEYS, "cells"])}
    return {CELLS: pd.concat(cells, ignore_index=True), IMAGES: pd.concat(rows, ignore_index=True)}


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


def _measured(images: FieldImages, source: str, labels: Labels, scale: npt.NDArray[np.float64], context: Context) -> pd.DataFrame:
    """Return one row per cell: its number and its features."""
    import pandas as pd

    few = len(np.unique(labels.cells)) <= CHUNK  # of more, processes would share the work, and fields have theirs already
    workers = max(1, context.settings.workers) if few else 1
    table = measure(images.scaled[source], images.stains, labels, scale=scale.tolist(), workers=workers)
    features = table[[name for name in table if is_morphological_feature(name)]].astype(np.float32)
    return pd.concat([table["ObjectNumber"].rename("object"), features], axis=1)
