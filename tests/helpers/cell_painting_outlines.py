"""Labels of the nuclei that CellProfiler outlined in the public Cell Painting field."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile
from skimage import measure, segmentation


def nuclei_outlines(shared_data: Path, kind: str = "Nuclei") -> npt.NDArray[np.int32]:
    """Return labels, axes YX: each closed outline with its inside; the largest area is the background."""
    lines = tifffile.imread(shared_data / "cell_painting_table" / f"{kind}Outlines_BR00143976_C03_3.tiff").any(axis=-1)
    inside = measure.label(~lines, connectivity=1)
    inside[inside == np.bincount(inside.ravel())[1:].argmax() + 1] = 0
    filled: npt.NDArray[np.int32] = segmentation.watershed(np.zeros(lines.shape), inside, mask=lines | (inside > 0)).astype(np.int32)
    return filled
