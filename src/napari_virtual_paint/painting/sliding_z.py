"""Slide a network along z and average the planes that overlap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from napari_virtual_paint.painting.exact.global_norm import Floats
from napari_virtual_paint.painting.network_input import NetworkInput
from napari_virtual_paint.painting.tiles import Box, clip


def slide(field: NetworkInput, depth: int) -> Iterator[tuple[int, NetworkInput]]:
    """Yield the windows of a z-stack, each one plane further: the first plane, and the window as a field of its own.

    A stack thinner than the window is made as thick by repeating its outermost planes.
    """
    pixels, planes = field.pixels, field.shape[0]
    before = max(depth - planes, 0) // 2
    if planes < depth:
        pixels = np.pad(pixels, [(0, 0), (before, depth - planes - before), (0, 0), (0, 0)], mode="edge")
    for first in range(pixels.shape[1] - depth + 1):
        shape, original = (depth, *field.shape[1:]), (depth, *field.original[1:])
        yield first - before, replace(field, pixels=pixels[:, first : first + depth], shape=shape, original=original)


def average(
    windows: Sequence[tuple[int, NetworkInput]], planes: int, painted: Iterator[tuple[int, float, Box | None, Floats | None]]
) -> Iterator[tuple[float, Box | None, Floats | None]]:
    """Average what windows predict of each plane, and yield each plane once its last window is done.

    Parameters
    ----------
    windows
        First plane and field of each window.
    planes
        Of the stack.
    painted
        Position of a window, share of it done, and where in it and what stains were finished, if any.
    """
    total: Floats | None = None
    counts = np.zeros(planes, np.float32)
    depth = windows[0][1].shape[0]
    for position, share, box, stains in painted:
        first, field = windows[position]
        if box is not None and stains is not None:
            if total is None:
                total = np.zeros((len(stains), planes, *field.shape[1:]), np.float32)
            low, high = max(first + box[0].start, 0), min(first + box[0].stop, planes)
            total[(slice(None), slice(low, high), *box[1:])] += stains[:, low - first - box[0].start : high - first - box[0].start]
        yield share / len(windows), None, None
    for first, _ in windows:
        counts[max(first, 0) : min(first + depth, planes)] += 1
    assert total is not None
    total /= counts[:, None, None]
    for plane in range(planes):
        yield (
            0.0,
            clip((slice(plane, plane + 1), *(slice(0, side) for side in total.shape[2:])), total.shape[1:]),
            total[:, plane : plane + 1],
        )
