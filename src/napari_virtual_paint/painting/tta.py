"""The eight ways to lay a picture: flips and quarter turns in the plane, how to undo them, and where pixels go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.painting.network_input import NetworkInput
from napari_virtual_paint.painting.settings import Tta
from napari_virtual_paint.painting.tiles import clip

Floats = npt.NDArray[np.float32]
Finished = tuple[float, tuple[slice, ...] | None, Floats | None]


@dataclass(frozen=True)
class DihedralTransform:
    """One element of the square's group: first a flip along x, then quarter turns from x towards y.

    Parameters
    ----------
    quarters
        Quarter turns, 0 to 3.
    flip
        Whether the picture is flipped first.
    """

    quarters: int = 0
    flip: bool = False

    @property
    def swaps(self) -> bool:
        """Whether height and width change places."""
        return self.quarters % 2 == 1

    def apply(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Turn pixels (..., Y, X); a view."""
        return np.rot90(pixels[..., ::-1] if self.flip else pixels, self.quarters, axes=(-2, -1))

    def undo(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Turn pixels (..., Y, X) back; a view."""
        back = np.rot90(pixels, -self.quarters, axes=(-2, -1))
        return back[..., ::-1] if self.flip else back

    def undo_box(self, box: Sequence[slice], sides: Sequence[int]) -> tuple[slice, slice]:
        """Return where a box (Y, X) of the turned picture lies in the picture of these sides."""
        rows, columns = box
        for quarter in reversed(range(self.quarters)):
            width = sides[1] if quarter % 2 == 0 else sides[0]  # of the picture before this quarter turn
            rows, columns = columns, slice(width - rows.stop, width - rows.start)
        return (rows, slice(sides[1] - columns.stop, sides[1] - columns.start)) if self.flip else (rows, columns)

    def point(self, y: float, x: float, sides: Sequence[int]) -> tuple[float, float]:
        """Return where a point of a picture of these sides lies in the turned one."""
        height, width = sides
        x = width - x if self.flip else x
        for _ in range(self.quarters):
            y, x = width - x, y
            height, width = width, height
        return y, x


PLAIN = DihedralTransform()
FLIPS = (PLAIN, DihedralTransform(0, True), DihedralTransform(2, True), DihedralTransform(2, False))
FULL = (*FLIPS, DihedralTransform(1, False), DihedralTransform(3, False), DihedralTransform(1, True), DihedralTransform(3, True))
TURNS: dict[Tta, tuple[DihedralTransform, ...]] = {"none": (PLAIN,), "flips": FLIPS, "full": FULL}


def turned(field: NetworkInput, turn: DihedralTransform) -> NetworkInput:
    """Turn a field with its padding, so that an equivariant network gives the turned stains exactly; nothing of it is padding then."""
    if turn == PLAIN:
        return field
    pixels = turn.apply(field.pixels)
    return replace(field, pixels=pixels, shape=tuple(pixels.shape[1:]), original=tuple(pixels.shape[1:]))


def turned_back(pieces: Iterator[Finished], turn: DihedralTransform, field: NetworkInput) -> Iterator[Finished]:
    """Turn what was painted of a turned field back, and cut the padding off."""
    if turn == PLAIN:
        yield from pieces
        return
    for share, where, stains in pieces:
        if where is None or stains is None:
            yield share, None, None
            continue
        box = clip((*where[:-2], *turn.undo_box(where[-2:], field.pixels.shape[-2:])), field.shape)
        if any(side.stop <= side.start for side in box):
            yield share, None, None
            continue
        yield share, box, np.ascontiguousarray(turn.undo(stains)[(slice(None), *(slice(0, s.stop - s.start) for s in box))])


def look_at(look: tuple[float, float] | None, turn: DihedralTransform, field: NetworkInput) -> tuple[float, float] | None:
    """Return the point of a turned field that shows the point (y, x) of the image, both in their own pixels."""
    if look is None or turn == PLAIN:
        return look
    y, x = (at * new / old for at, new, old in zip(look, field.shape[-2:], field.original[-2:], strict=True))
    return turn.point(y, x, field.pixels.shape[-2:])
