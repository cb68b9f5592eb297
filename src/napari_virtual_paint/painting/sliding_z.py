"""Slide a network along z and average the planes that overlap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.painting.tiles import Box

Floats = npt.NDArray[np.float32]


def slide(pixels: Floats, depth: int) -> Iterator[tuple[int, Floats]]:
    """Yield the first plane and the pixels of each window of a z-stack (C, Z, Y, X), each one plane further.

    A stack thinner than the window is made as thick by repeating its outermost planes.
    """
    short = max(depth - pixels.shape[1], 0)
    if short:
        pixels = np.pad(pixels, [(0, 0), (short // 2, short - short // 2), (0, 0), (0, 0)], mode="edge")
    for first in range(pixels.shape[1] - depth + 1):
        yield first - short // 2, pixels[:, first : first + depth]


def average(
    firsts: Sequence[int],
    depth: int,
    planes: int,
    painted: Iterator[tuple[int, float, Box | None, Floats | None]],
    sides: Sequence[int] | None = None,
) -> Iterator[tuple[float, Box | None, Floats | None]]:
    """Average what windows predict of each plane, and yield each plane once its last window is done.

    Parameters
    ----------
    firsts
        First plane of each window.
    depth
        Planes of a window.
    planes
        Planes of the stack.
    painted
        Position of a window, share of it done, and where in it and what stains were finished, if any; without a box the whole window.
    sides
        Y and X of the stains; None where a window is always finished as a whole.
    """
    total: Floats | None = None
    for position, share, box, stains in painted:
        first = firsts[position]
        if stains is not None:
            if total is None:
                total = np.zeros((len(stains), planes, *(sides or stains.shape[2:])), np.float32)
            start, stop = (first + box[0].start, first + box[0].stop) if box else (first, first + depth)
            low, high = max(start, 0), min(stop, planes)
            total[(slice(None), slice(low, high), *(box or ())[1:])] += stains[:, low - start : high - start]
        yield share / len(firsts), None, None
    assert total is not None
    counts = np.zeros(planes, np.float32)
    for first in firsts:
        counts[max(first, 0) : min(first + depth, planes)] += 1
    total /= counts[:, None, None]
    for plane in range(planes):
        yield 0.0, (slice(plane, plane + 1), *(slice(0, side) for side in total.shape[2:])), total[:, plane : plane + 1]
