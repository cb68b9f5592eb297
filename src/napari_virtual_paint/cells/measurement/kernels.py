"""Pixel loops of the measurements, compiled by numba.

Import this module inside functions only: numba takes a second. Machine code is cached beside this file (or in the user's cache, where
that is read-only), so that only the first call on a machine compiles, for about ten seconds. No kernel holds the GIL.

Objects are given by a label image and by `boxes` (see `CellMosaic.boxes`), number k in row k - 1. No box overlaps another's object,
and each has a rim of one background pixel, as laid out by `mosaic.lay_out`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_compiled = njit(cache=True, nogil=True, error_model="numpy")
RINGS, WEDGES = 4, 8
ROOT = float(np.sqrt(2.0))


@_compiled
def _to_edge(mask: Any) -> Any:
    """Return the exact Euclidean distance of each pixel to the nearest one outside the mask, which has a rim of such pixels."""
    height, width = mask.shape
    down = np.zeros((height, width), np.int64)
    for y in range(1, height):
        for x in range(width):
            if mask[y, x]:
                down[y, x] = down[y - 1, x] + 1
    for y in range(height - 2, -1, -1):
        for x in range(width):
            down[y, x] = min(down[y, x], down[y + 1, x] + 1)
    distance = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            best = down[y, x] ** 2
            step = 1
            while step * step < best:  # the rim ends this before the border
                best = min(best, step * step + down[y, x - step] ** 2, step * step + down[y, x + step] ** 2)
                step += 1
            distance[y, x] = np.sqrt(float(best))
    return distance


@_compiled
def _from_middle(mask: Any, middle_y: int, middle_x: int) -> Any:
    """Return the length of the shortest 8-connected path from the center inside the mask; infinite where there is none."""
    height, width = mask.shape
    distance = np.full((height, width), np.inf)
    distance[middle_y, middle_x] = 0
    changed = True
    while changed:
        changed = False
        for y in range(1, height - 1):
            for x in range(1, width - 1):
                if mask[y, x]:
                    straight = min(distance[y - 1, x], distance[y, x - 1])
                    best = min(straight + 1, min(distance[y - 1, x - 1], distance[y - 1, x + 1]) + ROOT)
                    if best < distance[y, x]:
                        distance[y, x] = best
                        changed = True
        for y in range(height - 2, 0, -1):
            for x in range(width - 2, 0, -1):
                if mask[y, x]:
                    straight = min(distance[y + 1, x], distance[y, x + 1])
                    best = min(straight + 1, min(distance[y + 1, x - 1], distance[y + 1, x + 1]) + ROOT)
                    if best < distance[y, x]:
                        distance[y, x] = best
                        changed = True
    return distance


@_compiled
def rings(labels: Any, planes: Any, boxes: Any) -> Any:
    """Return pixel counts and intensities of each object's rings, and of their wedges.

    Returns
    -------
    tuple
        Pixels (n, rings + 1), the last for pixels beyond through rounding; pixels of the wedges (n, rings, wedges); the sums of intensity
        of both (C, ...).
    """
    count, channels = len(boxes), len(planes)
    pixels, sizes = np.zeros((count, RINGS + 1)), np.zeros((count, RINGS, WEDGES))
    sums, parts = np.zeros((channels, count, RINGS + 1)), np.zeros((channels, count, RINGS, WEDGES))
    for k in range(count):
        top, left = boxes[k, 0] - 1, boxes[k, 2] - 1
        mask = labels[top : boxes[k, 1] + 1, left : boxes[k, 3] + 1] == k + 1
        edge = _to_edge(mask)
        first = np.argmax(edge)
        my, mx = first // mask.shape[1], first % mask.shape[1]
        path = _from_middle(mask, my, mx)
        for y in range(mask.shape[0]):
            for x in range(mask.shape[1]):
                if path[y, x] < np.inf:
                    ring = min(int(path[y, x] / (path[y, x] + edge[y, x] + 0.001) * RINGS), RINGS)
                    pixels[k, ring] += 1
                    for c in range(channels):
                        sums[c, k, ring] += planes[c, top + y, left + x]
                    if ring < RINGS:
                        wedge = int(y > my) + 2 * int(x > mx) + 4 * int(abs(y - my) > abs(x - mx))
                        sizes[k, ring, wedge] += 1
                        for c in range(channels):
                            parts[c, k, ring, wedge] += planes[c, top + y, left + x]
    return pixels, sizes, sums, parts


@_compiled
def disk_moments(labels: Any, planes: Any, boxes: Any, centres: Any, radii: Any, degree: int, margin: float) -> Any:
    """Return the sums of w r^2k (y + ix)^m over the pixels in each object's disk, for w = 1 and each plane.

    Returns
    -------
    array
        Axes w, object, k, m, (real, imaginary); k up to degree / 2, m up to degree - 2 k.
    """
    count, channels, orders = len(boxes), len(planes), degree // 2 + 1
    found = np.zeros((channels + 1, count, orders, degree + 1, 2))
    powers = np.zeros((orders, degree + 1, 2))
    flat, one = found.reshape(channels + 1, count, -1), powers.reshape(-1)
    for k in range(count):
        for y in range(boxes[k, 0], boxes[k, 1]):
            for x in range(boxes[k, 2], boxes[k, 3]):
                v, u = (y - centres[k, 0]) / radii[k], (x - centres[k, 1]) / radii[k]
                square = v * v + u * u
                if labels[y, x] == k + 1 and square <= 1 + margin:
                    real, imaginary = 1.0, 0.0
                    for m in range(degree + 1):
                        shrunk = 1.0
                        for order in range((degree - m) // 2 + 1):
                            powers[order, m, 0], powers[order, m, 1] = shrunk * real, shrunk * imaginary
                            shrunk *= square
                        real, imaginary = real * v - imaginary * u, real * u + imaginary * v
                    for i in range(len(one)):
                        flat[0, k, i] += one[i]
                    for c in range(channels):
                        weight = planes[c, y, x]
                        for i in range(len(one)):
                            flat[c + 1, k, i] += weight * one[i]
    return found


@_compiled
def reconstruct(seed: Any, mask: Any) -> Any:
    """Reconstruct the mask by dilation of a seed below it with a cross: two sweeps, then a queue (Vincent 1993)."""
    height, width = mask.shape
    out = np.minimum(seed, mask)
    queue, waits = np.empty(height * width, np.int64), np.zeros((height, width), np.bool_)
    first, length, capacity = 0, 0, height * width
    for y in range(height):
        for x in range(width):
            best = out[y, x]
            if y > 0:
                best = max(best, out[y - 1, x])
            if x > 0:
                best = max(best, out[y, x - 1])
            out[y, x] = min(best, mask[y, x])
    for y in range(height - 1, -1, -1):
        for x in range(width - 1, -1, -1):
            best = out[y, x]
            if y < height - 1:
                best = max(best, out[y + 1, x])
            if x < width - 1:
                best = max(best, out[y, x + 1])
            best = min(best, mask[y, x])
            out[y, x] = best
            below = y < height - 1 and out[y + 1, x] < best and out[y + 1, x] < mask[y + 1, x]
            if below or (x < width - 1 and out[y, x + 1] < best and out[y, x + 1] < mask[y, x + 1]):
                queue[length] = y * width + x
                waits[y, x] = True
                length += 1
    while length:
        y, x = queue[first] // width, queue[first] % width
        first, length = (first + 1) % capacity, length - 1
        waits[y, x] = False
        for side in range(4):
            v, u = y + (side == 0) - (side == 1), x + (side == 2) - (side == 3)
            if 0 <= v < height and 0 <= u < width and out[v, u] < out[y, x] and out[v, u] < mask[v, u]:
                out[v, u] = min(out[y, x], mask[v, u])
                if not waits[v, u]:
                    queue[(first + length) % capacity] = v * width + u
                    waits[v, u] = True
                    length += 1
    return out


@_compiled
def _eroded(plane: Any) -> Any:
    """Return the minimum of each pixel and its four neighbors; outside counts as 0."""
    height, width = plane.shape
    out = np.zeros((height, width))
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            out[y, x] = min(min(plane[y, x], min(plane[y - 1, x], plane[y + 1, x])), min(plane[y, x - 1], plane[y, x + 1]))
    return out


@_compiled
def granules(compartments: Any, plane: Any, boxes: Any, spectrum: int) -> Any:
    """Return the sums of intensity left by openings by reconstruction of radius 0 .. spectrum, axes compartment, object, radius.

    `compartments` are label images, axes KYX; the boxes are those of the whole cells, outside of which the plane is 0.
    """
    found = np.zeros((len(compartments), len(boxes), spectrum + 1))
    for k in range(len(boxes)):
        top, bottom, left, right = boxes[k, 0] - 1, boxes[k, 1] + 1, boxes[k, 2] - 1, boxes[k, 3] + 1
        opened = plane[top:bottom, left:right].copy()
        eroded, left_over = opened, opened
        for radius in range(spectrum + 1):
            if radius:
                eroded = _eroded(eroded)
                left_over = reconstruct(eroded, opened)
            for which in range(len(compartments)):
                labels = compartments[which]
                for y in range(opened.shape[0]):
                    for x in range(opened.shape[1]):
                        if labels[top + y, left + x] == k + 1:
                            found[which, k, radius] += left_over[y, x]
    return found


@_compiled
def _ranked(values: Any, order: Any) -> Any:
    """Return the dense rank of each value: 0 for the smallest, ties equal."""
    ranks = np.zeros(len(values), np.int64)
    rank = 0
    for i in range(1, len(values)):
        if values[order[i]] != values[order[i - 1]]:
            rank += 1
        ranks[order[i]] = rank
    return ranks


@_compiled
def _pearson(a: Any, b: Any) -> Any:
    """Return Pearson's correlation; NaN where one of them is constant."""
    if a.min() == a.max() or b.min() == b.max():
        return np.nan
    mean_a, mean_b = a.mean(), b.mean()
    both = square_a = square_b = 0.0
    for i in range(len(a)):
        both += (a[i] - mean_a) * (b[i] - mean_b)
        square_a += (a[i] - mean_a) ** 2
        square_b += (b[i] - mean_b) ** 2
    return min(max(both / np.sqrt(square_a) / np.sqrt(square_b), -1.0), 1.0)


@_compiled
def colocalized(values: Any, order: Any, pairs: Any, share: float) -> Any:
    """Return the colocalization measures of one object for pairs of channels.

    Parameters
    ----------
    values
        Its pixels, axes C, n.
    order
        Sort order of each channel.
    pairs
        Positions of the two channels, (pairs, 2).
    share
        Threshold as a share of a channel's maximum.

    Returns
    -------
    array
        Per pair: Pearson, overlap, K 1 and 2, Manders 1 and 2, RWC 1 and 2.
    """
    channels, count = values.shape
    ranks = np.empty((channels, count), np.int64)
    limits, totals = np.empty(channels), np.zeros(channels)
    for c in range(channels):
        ranks[c] = _ranked(values[c], order[c])
        limits[c] = share * values[c, order[c, -1]]  # a NaN is sorted last, and nothing reaches it
        for i in range(count):
            if values[c, i] >= limits[c]:
                totals[c] += values[c, i]
    found = np.zeros((len(pairs), 8))
    for p in range(len(pairs)):
        first, second = pairs[p]
        a, b, ranks_a, ranks_b = values[first], values[second], ranks[first], ranks[second]
        found[p, 0] = _pearson(a, b)
        most = max(ranks_a[order[first, -1]], ranks_b[order[second, -1]]) + 1
        both, products = 0, np.zeros(7)
        for i in range(count):
            if a[i] >= limits[first] and b[i] >= limits[second]:
                both += 1
                weight = (most - abs(ranks_a[i] - ranks_b[i])) / most
                products[0] += a[i] * b[i]
                products[1] += a[i] * a[i]
                products[2] += b[i] * b[i]
                products[3] += a[i]
                products[4] += b[i]
                products[5] += a[i] * weight
                products[6] += b[i] * weight
        if both:
            found[p, 1] = products[0] / np.sqrt(products[1] * products[2])
            found[p, 2], found[p, 3] = products[0] / products[1], products[0] / products[2]
            for i in range(2):
                found[p, 4 + 2 * i] = products[3 + 2 * i] / totals[first]
                found[p, 5 + 2 * i] = products[4 + 2 * i] / totals[second]
    return found
