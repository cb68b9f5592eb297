"""Statistics of data that are read in parts, and Pearson's correlation."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def merge(count: Any, mean: Any, squares: Any, more: Any, more_mean: Any, more_squares: Any) -> tuple[Any, Any]:
    """Return mean and sum of squared deviations of two parts together (Chan, Golub and LeVeque 1983), which loses nothing to large means.

    Parameters
    ----------
    count, mean, squares
        Number of values of the first part, their mean, and the sum of the squared deviations from it. Numbers, arrays or tensors; counts in
        arrays may be 0 in both parts.
    more, more_mean, more_squares
        The same of the second part.
    """
    total = count + more
    if isinstance(total, np.ndarray):
        total = np.maximum(total, 1)
    away = more_mean - mean
    return mean + away * (more / total), squares + more_squares + away**2 * (count * more / total)


def pearson(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    """Return Pearson's correlation of two arrays; NaN for fewer than two values, or where one of them is constant."""
    if a.size < 2 or not (np.ptp(a) > 0 and np.ptp(b) > 0):
        return float("nan")
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])
