"""Exact order statistics and percentiles of numbers that are given in parts, however many there are.

The numbers are read in a few passes. Each pass counts them by the next 16 bits of an integer key that sorts as they do, within the ranges
that hold a wanted number, which is thus known after one pass for numbers of 16 bits, two for 32 and four for 64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import floor
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

DIGIT = 16  # bits of a key that one pass counts
AT_ONCE = 1 << 20  # numbers that are counted at once

Method = Literal["linear", "inverted_cdf"]
"""How a percentile that lies between two numbers is taken, as numpy names it."""


@dataclass
class OrderStatistics:
    """Finds the numbers at some ranks.

    In each pass all numbers are given to `add`, part by part, and then `advance` is called, until it returns True.
    """

    dtype: np.dtype[Any]
    """Type of the numbers: integers or floating-point numbers of at most 64 bits, none of them NaN."""
    _counts: dict[int, npt.NDArray[np.int64]] = field(default_factory=dict)
    _prefixes: dict[int, tuple[int, int]] = field(default_factory=dict)  # rank -> leading digits, and its rank among those that share them
    _digits: int = 0

    def __post_init__(self) -> None:
        self.dtype = np.dtype(np.float32) if self.dtype == np.float16 else np.dtype(self.dtype)
        self._bits = max(8 * self.dtype.itemsize, DIGIT)
        self._counts = {0: np.zeros(1 << DIGIT, np.int64)}

    def add(self, numbers: npt.NDArray[Any]) -> None:
        """Count some numbers; of any shape."""
        flat = np.asarray(numbers, self.dtype).ravel()
        shift = self._bits - DIGIT * (self._digits + 1)
        for start in range(0, flat.size, AT_ONCE):
            keys = _keys(flat[start : start + AT_ONCE])
            for prefix, counts in self._counts.items():
                own = keys if not self._digits else keys[keys >> np.asarray(shift + DIGIT, keys.dtype) == prefix]
                digits = (own >> np.asarray(shift, own.dtype)) & np.asarray((1 << DIGIT) - 1, own.dtype)
                counts += np.bincount(digits, minlength=1 << DIGIT)

    @property
    def total(self) -> int:
        """How many numbers the first pass has counted."""
        return int(self._counts[0].sum()) if not self._digits else 0

    @property
    def histogram(self) -> npt.NDArray[np.int64] | None:
        """How often each integer occurs, in rising order, if they have at most 16 bits; see `smallest`."""
        return self._counts[0] if self._bits == DIGIT and self.dtype.kind in "iu" and not self._digits else None

    @property
    def smallest(self) -> int:
        """The integer that the histogram begins with."""
        return -(1 << (DIGIT - 1)) if self.dtype.kind == "i" else 0

    def advance(self, ranks: Sequence[int]) -> bool:
        """End a pass; return whether the numbers at the ranks (0 is the smallest) are known. The ranks must be the same each time."""
        if not self._digits:
            self._prefixes = {rank: (0, rank) for rank in ranks}
        found: dict[int, tuple[int, int]] = {}
        for rank, (prefix, left) in self._prefixes.items():
            upto = np.cumsum(self._counts[prefix])
            digit = int(np.searchsorted(upto, left, side="right"))
            found[rank] = (prefix << DIGIT | digit, left - (int(upto[digit - 1]) if digit else 0))
        self._prefixes = found
        self._digits += 1
        done = self._digits * DIGIT >= self._bits
        self._counts = {} if done else {prefix: np.zeros(1 << DIGIT, np.int64) for prefix, _ in found.values()}
        return done

    def value(self, rank: int) -> Any:
        """Return the number at a rank, of the numbers' type."""
        return _value(self._prefixes[rank][0], self.dtype)


def ranks_of(total: int, share: float, method: Method = "linear") -> tuple[int, int, float]:
    """Return the ranks of the two numbers that a percentile lies between, and how far between them, as `numpy.percentile` has it."""
    quantile = share / 100
    if method == "inverted_cdf":
        index = total * quantile - 1
        rank = min(max(floor(index) + (index > floor(index)), 0), total - 1)
        return rank, rank, 0.0
    index = (total - 1) * quantile
    lower = floor(index)
    return lower, min(lower + 1, total - 1), index - lower


def between(lower: Any, upper: Any, part: float) -> float:
    """Return the number at a part of the way between two numbers of one type, rounded as `numpy.percentile` rounds."""
    step = np.subtract(upper, lower)
    return float(upper - step * np.float64(1 - part)) if part >= 0.5 else float(lower + step * np.float64(part))


def _unsigned(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(f"u{max(dtype.itemsize, DIGIT // 8)}")


def _keys(numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return unsigned integers that sort as the numbers do."""
    dtype = numbers.dtype
    if dtype.kind == "u":
        return numbers.astype(_unsigned(dtype), copy=False)
    if dtype.kind == "i":
        shifted: npt.NDArray[Any] = numbers.astype(f"i{max(dtype.itemsize, 2)}").view(_unsigned(dtype)) ^ _top(dtype)
        return shifted
    bits = np.where(numbers == 0, dtype.type(0), numbers).view(_unsigned(dtype))  # -0 and 0 are one number
    negative = bits >> np.asarray(8 * dtype.itemsize - 1, bits.dtype) == 1
    keys: npt.NDArray[Any] = np.where(negative, ~bits, bits | _top(dtype))
    return keys


def _top(dtype: np.dtype[Any]) -> Any:
    """Return the highest bit of a key."""
    kind = _unsigned(dtype)
    return kind.type(1 << (8 * kind.itemsize - 1))


def _value(key: int, dtype: np.dtype[Any]) -> Any:
    """Return the number of a key."""
    kind = _unsigned(dtype)
    if dtype.kind == "u":
        return dtype.type(key)
    top = int(_top(dtype))
    if dtype.kind == "i":
        return dtype.type(key - top)
    bits = key ^ top if key & top else ~key & (2 * top - 1)
    return np.array([bits], kind).view(dtype)[0]
