"""Test-time augmentation: the eight flips and quarter turns of the plane, their inverses, and the kinds that a user can choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class DihedralTransform:
    """One element of the square's group: first a flip along x, then quarter turns from x towards y."""

    quarters: int = 0  # quarter turns, 0 to 3
    flip: bool = False  # whether the image is flipped first

    @property
    def swaps(self) -> bool:
        """Whether height and width change places."""
        return self.quarters % 2 == 1

    def apply(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return transformed pixels (..., Y, X), a view."""
        return np.rot90(pixels[..., ::-1] if self.flip else pixels, self.quarters, axes=(-2, -1))

    def undo(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return pixels (..., Y, X) transformed back, a view."""
        back = np.rot90(pixels, -self.quarters, axes=(-2, -1))
        return back[..., ::-1] if self.flip else back

    def apply_box(self, box: Sequence[slice], sides: Sequence[int]) -> tuple[slice, slice]:
        """Return the box of the transformed image that shows a box (Y, X) of an image of these sides."""
        (rows, columns), (height, width) = box, sides
        columns = slice(width - columns.stop, width - columns.start) if self.flip else columns
        for _ in range(self.quarters):
            rows, columns = slice(width - columns.stop, width - columns.start), rows
            height, width = width, height
        return rows, columns

    def undo_box(self, box: Sequence[slice], sides: Sequence[int]) -> tuple[slice, slice]:
        """Return the box of an image of these sides that a box (Y, X) of the transformed image shows."""
        rows, columns = box
        for quarter in reversed(range(self.quarters)):
            width = sides[1] if quarter % 2 == 0 else sides[0]  # before this quarter turn
            rows, columns = columns, slice(width - rows.stop, width - rows.start)
        return (rows, slice(sides[1] - columns.stop, sides[1] - columns.start)) if self.flip else (rows, columns)

    def point(self, y: float, x: float, sides: Sequence[int]) -> tuple[float, float]:
        """Return the place of a point of an image of these sides in the transformed image."""
        height, width = sides
        x = width - x if self.flip else x
        for _ in range(self.quarters):
            y, x = width - x, y
            height, width = width, height
        return y, x


PLAIN = DihedralTransform()
FLIPS = (PLAIN, DihedralTransform(0, True), DihedralTransform(2, True), DihedralTransform(2, False))
QUARTER_TURNS = (DihedralTransform(1, False), DihedralTransform(3, False), DihedralTransform(1, True), DihedralTransform(3, True))


@dataclass(frozen=True)
class Augmentation:
    """A kind of test-time augmentation (Moshkov et al. 2020)."""

    transforms: tuple[DihedralTransform, ...]  # the passes over a field; the first is the identity

    @property
    def swaps(self) -> bool:
        """Whether some pass exchanges height and width."""
        return any(transform.swaps for transform in self.transforms)


TTA: dict[str, Augmentation] = {
    "none": Augmentation((PLAIN,)),
    "flips": Augmentation(FLIPS),
    "full": Augmentation((*FLIPS, *QUARTER_TURNS)),
}
"""The passes of each `choices.TtaKind`."""
