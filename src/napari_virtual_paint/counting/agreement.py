"""Agreement of two counts of the same fields, painted and real: bias and limits of agreement (Bland & Altman 1986)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_virtual_paint.runtime.running_stats import pearson

WIDTH = 1.96  # limits of agreement in SDs of the differences, between which 95 % of them are expected


@dataclass(frozen=True)
class Agreement:
    """How far painted counts are from real ones, per field."""

    n: int  # number of fields
    painted: int
    real: int
    """`painted` and `real`: objects over all fields."""
    bias: float  # mean of painted - real
    bias_percent: float | None  # painted over real of all fields, minus 1, in percent; None without a real object
    sd: float | None  # SD of the differences
    limits: tuple[float, float] | None  # bias -/+ 1.96 SD; `sd` and `limits` are None for a single field
    pearson: float | None  # correlation of the counts; None for fewer than three fields or equal counts

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        limits = None if self.limits is None else list(self.limits)
        return {**{name: getattr(self, name) for name in self.__dataclass_fields__}, "limits": limits}

    def words(self, kind: str) -> str:
        """Return it in a sentence."""
        spread = "" if self.limits is None else f", limits of agreement {self.limits[0]:+.1f} to {self.limits[1]:+.1f}"
        share = "" if self.bias_percent is None else f" ({self.bias_percent:+.1f} %)"
        return f"{kind}: {self.painted} painted and {self.real} real{share}; bias {self.bias:+.2f} a field{spread}"


def agreement_of(painted: Sequence[float], real: Sequence[float]) -> Agreement:
    """Return the agreement of two counts.

    Parameters
    ----------
    painted, real
        Counts of the same fields in the same order, at least one.
    """
    first, second = np.asarray(painted, np.float64), np.asarray(real, np.float64)
    differences = first - second
    n, bias = len(differences), float(differences.mean())
    sd = float(differences.std(ddof=1)) if n > 1 else None
    total = float(second.sum())
    r = pearson(first, second) if n > 2 else float("nan")
    return Agreement(
        n=n,
        painted=int(first.sum()),
        real=int(total),
        bias=bias,
        bias_percent=100 * (float(first.sum()) / total - 1) if total else None,
        sd=sd,
        limits=None if sd is None else (bias - WIDTH * sd, bias + WIDTH * sd),
        pearson=None if np.isnan(r) else float(r),
    )
