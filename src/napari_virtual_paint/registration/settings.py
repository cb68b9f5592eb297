"""Settings and result of a registration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.choices import TransformKind, values_of
from napari_virtual_paint.errors import InputError

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RegistrationSettings:
    """What may differ between the two images besides their position."""

    kind: TransformKind = "similarity"  # ``translation``; ``rigid``: rotation too; ``similarity``: one scale for both axes too
    rotation: float = 15.0  # largest rotation either way, degrees; 180 tries all
    scale: float = 1.15  # largest factor either way by which the sizes differ, beyond the ratio of the pixel sizes
    overlap: float = 0.3  # smallest share of the smaller image that must lie in the other

    def __post_init__(self) -> None:
        if self.kind not in values_of(TransformKind):
            raise InputError(f"There is no transform {self.kind!r}; there are {', '.join(values_of(TransformKind))}.")
        if not 0 <= self.rotation <= 180:
            raise InputError(f"The largest rotation must be 0 to 180 degrees, not {self.rotation:g}.")
        if not 1 <= self.scale <= 4:
            raise InputError(f"The largest factor of scale must be 1 to 4, not {self.scale:g}.")
        if not 0.1 <= self.overlap <= 1:
            raise InputError(f"The smallest overlap must be a share from 0.1 to 1, not {self.overlap:g}.")


@dataclass(frozen=True, eq=False)
class Registration:
    """The transform of one image onto another, and how it was accepted.

    Matrices are homogeneous, (3, 3), and act on columns (y, x, 1).
    """

    guess: Matrix
    """From pixels of the moving image to pixels of the fixed one: the best that was found, to be trusted only if `converged`."""
    moving_size: tuple[float, float]
    fixed_size: tuple[float, float]
    """`moving_size` and `fixed_size`: size of a pixel along y and x, micrometres; (1, 1) of both where either is unknown (see `unit`)."""
    unit: Literal["um", "px"]  # ``um`` or ``px``: of the sizes above
    shape: tuple[int, int]  # pixels of the moving image along y and x
    kind: TransformKind  # of the transform
    correlation: float | None
    before: float | None
    """`correlation` and `before`: pearson correlation of the two images where they overlap, registered and as they were laid (both first
    pixels on each other)."""
    residual: float | None
    """Median distance, in fixed pixels, of matched points from the transform fitted to them; None where none was fitted."""
    overlap: float  # share of the smaller image that lies in the other
    distinct: float
    """How far the match stands above all other placements of the image: in standard deviations of their scores above their mean."""
    runner_up: float  # the best other placement's score as a share of this one's
    converged: bool  # whether the images do match there
    reason: str  # one sentence: why it is believed or not

    @property
    def matrix(self) -> Matrix | None:
        """From pixels of the moving image to pixels of the fixed one; None where the registration failed."""
        return self.guess if self.converged else None

    @property
    def physical(self) -> Matrix:
        """The guess in units of `unit` on both sides; an image's first pixel has its centre at 0."""
        to, back = np.diag([*self.fixed_size, 1.0]), np.diag([*(1 / size for size in self.moving_size), 1.0])
        out: Matrix = to @ self.guess @ back
        return out

    @property
    def rotation(self) -> float:
        """Degrees by which the moving image turns; positive is clockwise as images are shown, y downwards."""
        return float(np.degrees(np.arctan2(self.physical[0, 1], self.physical[0, 0])))

    @property
    def scale(self) -> float:
        """Factor by which the moving image grows, beyond the ratio of the pixel sizes."""
        return float(np.sqrt(abs(np.linalg.det(self.physical[:2, :2]))))

    @property
    def shift(self) -> tuple[float, float]:
        """How far the middle of the moving image moves along y and x, in `unit`, from where both first pixels lie on each other."""
        middle = np.array([*((n - 1) / 2 * size for n, size in zip(self.shape, self.moving_size, strict=True)), 1.0])
        y, x, _ = self.physical @ middle - middle
        return float(y), float(x)

    def to_json(self) -> dict[str, Any]:
        """Return plain values; what only a match has is None where the registration failed."""
        matched = self.converged
        um = matched and self.unit == "um"
        return {
            "converged": self.converged,
            "reason": self.reason,
            "model": self.kind,
            "matrix": self.guess.tolist() if matched else None,
            "matrix_um": self.physical.tolist() if um else None,
            "shift_um": list(self.shift) if um else None,
            "shift_px": [v / size for v, size in zip(self.shift, self.fixed_size, strict=True)] if matched else None,
            "rotation_deg": self.rotation if matched else None,
            "scale": self.scale if matched else None,
            "correlation": self.correlation,
            "correlation_before": self.before,
            "residual_px": self.residual,
            "overlap": self.overlap,
            "distinct_sd": self.distinct,
            "runner_up": self.runner_up,
        }
