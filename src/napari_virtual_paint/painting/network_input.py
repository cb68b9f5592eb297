"""The fields of a stack as the network gets them: normalized, resampled, padded, flipped or rotated; and where their stains belong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.models import Match, ModelInfo
from napari_virtual_paint.models.resampling import resize
from napari_virtual_paint.normalize import Normalization
from napari_virtual_paint.painting.sliding_window import reflect
from napari_virtual_paint.painting.tiles import clip
from napari_virtual_paint.painting.tta import PLAIN, DihedralTransform
from napari_virtual_paint.stack import PixelSize, Stack

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FieldIndex:
    """Position of a field's stains in the output: a time point and z-planes."""

    t: int
    z: slice


def places(stack: Stack, match: Match, view: tuple[int, int] | None = None) -> list[FieldIndex]:
    """Return the fields of a stack, those nearest to the time point and z-plane in view first."""
    times, _, planes, _, _ = stack.shape
    if match.mode == "planes":
        out = [FieldIndex(t, slice(z, z + 1)) for t in range(times) for z in range(planes)]
    else:
        out = [FieldIndex(t, slice(0, planes if match.mode == "volume" else 1)) for t in range(times)]
    if view is not None:
        t0, z0 = view
        out.sort(key=lambda place: (abs(place.t - t0), abs(place.z.start - z0) if match.mode == "planes" else 0))
    return out


@dataclass(frozen=True)
class WorkUnit:
    """A field that several models paint, or a time point where their fields differ."""

    t: int
    z: slice  # `t` and `z`: position of its stains
    parts: tuple[tuple[FieldIndex, ...], ...]  # the fields of each model


def units(found: Sequence[Match], stack: Stack, view: tuple[int, int] | None = None) -> list[WorkUnit]:
    """Return the work units of a stack, those nearest to the time point and z-plane in view first."""
    each = [places(stack, match, view) for match in found]
    if len({match.mode for match in found}) == 1:
        return [WorkUnit(place.t, place.z, ((place,),) * len(found)) for place in each[0]]
    times = dict.fromkeys(place.t for place in each[0])
    planes = slice(0, output_shape(stack, found[0], 1)[2])
    return [WorkUnit(t, planes, tuple(tuple(place for place in there if place.t == t) for there in each)) for t in times]


def output_shape(stack: Stack, match: Match, stains: int) -> tuple[int, int, int, int, int]:
    """Return the shape of the stains, TCZYX."""
    times, _, planes, height, width = stack.shape
    return times, stains, 1 if match.mode == "window" else planes, height, width


EVERYTHING = (slice(None), slice(None))
PART = 1 << 25  # numbers of a part of a field that is read part by part


def load(stack: Stack, match: Match, place: FieldIndex, window: tuple[slice, slice] = EVERYTHING) -> npt.NDArray[np.generic]:
    """Return a field's pixels in a window (Y, X), axes (C, Y, X) for a model of planes and (C, Z, Y, X) for one of volumes."""
    frame = stack.data[(place.t, slice(None), slice(None), *window)]
    if match.mode == "window":
        return np.asarray(frame[match.channels[0]][list(match.z or ())])
    channels = frame[list(match.channels)]
    return np.asarray(channels[:, place.z.start] if match.mode == "planes" else channels)


def numbers(stack: Stack, match: Match, height: int, width: int) -> int:
    """Return how many numbers a model gets of a field, or of a part of this height and width."""
    planes = stack.shape[2] if match.mode == "volume" else 1
    return len(match.z or match.channels) * planes * height * width


def parts(stack: Stack, match: Match, place: FieldIndex) -> Iterator[npt.NDArray[np.generic]]:
    """Yield a field's pixels (C, ...) part by part, along the chunks of a lazy stack."""
    for window in windows(stack, match):
        yield load(stack, match, place, window)


def windows(stack: Stack, match: Match) -> Iterator[tuple[slice, slice]]:
    """Yield the parts (Y, X) of a field, along the chunks of a lazy stack."""
    height, width = stack.shape[3:]
    chunks = getattr(stack.data, "chunks", None)
    rows, columns = (max(chunks[3]), max(chunks[4])) if chunks is not None else (1, width)
    if numbers(stack, match, rows, width) <= PART:
        rows, columns = rows * max(PART // numbers(stack, match, rows, width), 1), width
    else:
        columns *= max(PART // numbers(stack, match, rows, columns), 1)
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            yield slice(top, min(top + rows, height)), slice(left, min(left + columns, width))


def reread(stack: Stack, side: int, reach: int) -> float:
    """Return about how often the pixels of a lazy stack are decoded where blocks of this side are read with so much around them."""
    chunks = getattr(stack.data, "chunks", None)
    if chunks is None:
        return 1.0
    times = 1.0
    for sizes, whole in zip(chunks[3:], stack.shape[3:], strict=True):
        times *= float(min(side + 2 * reach + max(sizes), whole)) / min(side, whole)
    return times


@dataclass(frozen=True, eq=False)
class NetworkInput:
    """A field prepared for the network."""

    pixels: Floats  # normalized, resampled on request, padded by reflection; axes (C, [Z,] Y, X)
    shape: tuple[int, ...]  # sides before padding
    original: tuple[int, ...]  # sides in the image, before resampling
    problems: tuple[str, ...]  # faults of the image that were repaired
    wanted: tuple[slice, slice] | None = None  # Y and X, in padded pixels, whose stains are wanted; None for all
    whole: tuple[int, ...] | None = None  # padded sides of the field that this is a part of; None if it is the field itself

    @property
    def resampled(self) -> bool:
        """Whether the field was brought to another pixel size."""
        return self.shape != self.original

    def restore(self, stains: Floats) -> Floats:
        """Resample stains (S, ...) of the field's shape to the image's pixels."""
        return resize(stains, self.original) if self.resampled else stains


def unknown_sizes(info: ModelInfo, pixel_size: PixelSize) -> str:
    """Return whose pixel size is not known along which axes, as in ``the image along z and of the model along y, x``; empty if all are."""
    axes = "zyx"[-info.dims :]
    found = []
    for whose, sizes in (("the image", pixel_size), ("the model", info.pixel_size)):
        missing = [axis for axis, size in zip(axes, sizes[-info.dims :], strict=True) if size is None]
        found += [f"{whose} along {', '.join(missing)}"] if missing else []
    return " and of ".join(found)


def zoom(info: ModelInfo, pixel_size: PixelSize) -> tuple[float, ...] | None:
    """Return the factors ([z,] y, x) that bring an image to the model's pixel size; None where either is unknown."""
    ours, theirs = pixel_size[-info.dims :], info.pixel_size[-info.dims :]
    if any(a is None for a in ours[-2:]) or any(b is None for b in theirs[-2:]):
        return None
    return tuple(1.0 if a is None or b is None else a / b for a, b in zip(ours, theirs, strict=True))


def prepare(
    raw: npt.NDArray[np.generic], normalization: Normalization, factors: Sequence[float] | None, multiples: Sequence[int]
) -> NetworkInput:
    """Return raw pixels (C, [Z,] Y, X) as a network input: normalized, resampled by `factors`, each side padded to a multiple."""
    original = raw.shape[1:]
    pixels = normalization.apply(raw)
    if factors is not None:
        pixels = resize(pixels, [max(round(side * factor), 1) for side, factor in zip(original, factors, strict=True)])
    shape = pixels.shape[1:]
    widths = [(0, 0), *((0, (-side) % multiple) for side, multiple in zip(shape, multiples, strict=True))]
    return NetworkInput(reflect(pixels, widths), tuple(shape), tuple(original), normalization.problems)


Finished = tuple[float, tuple[slice, ...] | None, Floats | None]
"""Share of the field's work in this step, and box and stains that it finished, if any."""


def transformed(field: NetworkInput, transform: DihedralTransform) -> NetworkInput:
    """Transform a field together with its padding, so that an equivariant network gives exactly the transformed stains."""
    if transform == PLAIN:
        return field
    pixels = transform.apply(field.pixels)
    wanted = None if field.wanted is None else transform.apply_box(field.wanted, field.pixels.shape[-2:])
    return replace(field, pixels=pixels, shape=tuple(pixels.shape[1:]), original=tuple(pixels.shape[1:]), wanted=wanted)


def transformed_back(updates: Iterator[Finished], transform: DihedralTransform, field: NetworkInput) -> Iterator[Finished]:
    """Undo the transform on stains of a transformed field, and cut the padding off."""
    if transform == PLAIN:
        yield from updates
        return
    for share, where, stains in updates:
        if where is None or stains is None:
            yield share, None, None
            continue
        box = clip((*where[:-2], *transform.undo_box(where[-2:], field.pixels.shape[-2:])), field.shape)
        if any(side.stop <= side.start for side in box):
            yield share, None, None
            continue
        yield share, box, np.ascontiguousarray(transform.undo(stains)[(slice(None), *(slice(0, s.stop - s.start) for s in box))])


def transform_point(center: tuple[float, float] | None, transform: DihedralTransform, field: NetworkInput) -> tuple[float, float] | None:
    """Return where a point (y, x) of the image lies in the transformed field."""
    if center is None or transform == PLAIN:
        return center
    y, x = (at * new / old for at, new, old in zip(center, field.shape[-2:], field.original[-2:], strict=True))
    return transform.point(y, x, field.pixels.shape[-2:])
