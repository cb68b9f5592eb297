"""Give nuclei and cells that were segmented apart common numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.counting.segmentation import LabelImage, Labels


def cells_of_nuclei(nuclei: LabelImage, cells: LabelImage) -> npt.NDArray[np.int32]:
    """Return the number of the cell of each nucleus, by the nucleus's number; 0 where it has none.

    A nucleus belongs to the cell that contains most of it; of several in one cell the largest counts.

    Parameters
    ----------
    nuclei, cells
        Label images, axes YX.
    """
    top = int(cells.max(initial=0)) + 1
    both = np.bincount((nuclei.astype(np.int64) * top + cells).ravel(), minlength=top * (int(nuclei.max(initial=0)) + 1)).reshape(-1, top)
    sizes = both.sum(axis=1)
    home = np.zeros(len(both), np.int32)
    taken = set()
    for number in sorted(range(1, len(both)), key=lambda i: -sizes[i]):
        if not sizes[number]:
            continue
        best = int(both[number].argmax())
        if best and best not in taken:
            taken.add(best)
            home[number] = best
    return home


def paired_labels(nuclei: LabelImage, cells: LabelImage) -> Labels:
    """Return nuclei with the numbers of their cells; nuclei without a cell and cells without a nucleus are left out.

    Parameters
    ----------
    nuclei, cells
        Label images, axes YX.
    """
    return Labels.of(cells_of_nuclei(nuclei, cells)[nuclei], cells)


def numbered_alike(nuclei: LabelImage, cells: LabelImage) -> tuple[LabelImage, LabelImage]:
    """Return both label images with all objects; a cell has its nucleus's number, and one without a nucleus a number above all nuclei.

    Parameters
    ----------
    nuclei, cells
        Label images, axes YX.
    """
    nuclei, numbers = _dense(nuclei)
    cells, cell_numbers = _dense(cells)
    home = cells_of_nuclei(nuclei, cells)
    new = np.zeros(len(cell_numbers) + 1, np.int32)
    new[home[home > 0]] = np.flatnonzero(home > 0)
    lone = np.flatnonzero(new[1:] == 0) + 1
    new[lone] = np.arange(len(numbers) + 1, len(numbers) + 1 + len(lone))
    return nuclei, new[cells]


def _dense(labels: npt.NDArray[Any]) -> tuple[LabelImage, npt.NDArray[np.int64]]:
    """Return labels numbered from 1 without gaps, and their old numbers."""
    there = np.unique(labels)
    there = there[there > 0]
    new = np.zeros(int(labels.max(initial=0)) + 1, np.int32)
    new[there] = np.arange(1, len(there) + 1)
    return new[labels], there
