"""Run one model over the fields of one image, in any flip or rotation, with smaller tiles when memory runs out."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil, lcm, prod
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_virtual_paint import device as devices
from napari_virtual_paint.errors import InputError, VirtualPaintError, WriteError
from napari_virtual_paint.models import Match
from napari_virtual_paint.normalize import Normalization, fit
from napari_virtual_paint.painting import network_input
from napari_virtual_paint.painting.blocks import Block, BlockNeeds, must_be_whole, part_bytes
from napari_virtual_paint.painting.cancellation import waited
from napari_virtual_paint.painting.model_set import Member
from napari_virtual_paint.painting.network_input import Finished, transform_point, transformed, transformed_back
from napari_virtual_paint.painting.predictor import Predictor
from napari_virtual_paint.painting.settings import PaintSettings, span_slices
from napari_virtual_paint.painting.streamed_normalization import fit_streamed
from napari_virtual_paint.painting.timelapse_normalization import fit_series
from napari_virtual_paint.painting.tta import TTA, DihedralTransform
from napari_virtual_paint.runtime.generators import relay
from napari_virtual_paint.runtime.scratch import file_backed_zeros, release
from napari_virtual_paint.stack import Stack

Floats = npt.NDArray[np.float32]
Raws = dict[tuple[object, ...], npt.NDArray[np.generic]]  # pixels of the fields in memory, shared by all painters
SMALLEST_TILE = 32
WHOLE_FIT = 1 << 27  # most numbers of a field that are in memory at once to fit its normalization; larger fields are read part by part
OFTEN = 4.0  # times that the pixels of a field may be decoded; beyond, they are first copied into a file
REMEMBERED = 16  # normalizations of large fields that are remembered: previews of a mosaic, region by region, need the same one
READING = "Reading the whole image once for its normalization."
_streamed: dict[tuple[object, ...], Normalization] = {}
SHRUNK = -1.0  # marks an update after which the pass starts again because memory ran out


@dataclass(frozen=True)
class FieldUpdate:
    """Progress of a pass over a field, and stains where some are finished."""

    share: float  # finished share of the pass; `SHRUNK` where it starts again
    where: tuple[slice, slice, slice] | None = None  # Z, Y and X of the image; None for progress only
    stains: Floats | None = None  # the member's stains, (stains, Z, Y, X)
    message: str = ""  # sentence for the user


@dataclass(frozen=True, eq=False)
class _Ready:
    """A field prepared for the network."""

    place: network_input.FieldIndex  # its index
    block: Block | None  # the part of it; None for the whole or the region of the settings
    field: network_input.NetworkInput  # normalized, resampled, padded
    raw: npt.NDArray[np.generic] | None  # the unprocessed input, where a postprocessing step needs it
    offset: tuple[int, int]  # where the field begins in the image, y and x


class FieldPainter:
    """Paints the fields of one image with one model.

    Parameters
    ----------
    member
        The model and which of its stains are wanted.
    stack
        The image; its luminance where the model takes that.
    found
        Which channels and planes the model takes.
    raws
        Pixels shared with other painters; None for a single painter.
    scratch
        Folder for temporary files.
    series
        Time points for the statistics of a series; by default those of the image.

    Attributes
    ----------
    notes
        What the user should know.
    """

    def __init__(
        self,
        member: Member,
        stack: Stack,
        settings: PaintSettings,
        found: Match,
        kind: str,
        raws: Raws | None,
        series: Stack | None = None,
        scratch: Path | None = None,
    ) -> None:
        self.member, self.stack, self.settings, self.match, self.kind, self.raws = member, stack, settings, found, kind, raws
        self.series = stack if series is None else series.luminance() if found.luminance else series
        self.info, self.picks = member.model.info, list(member.picks)
        self.all = self.picks == list(range(len(self.info.stains)))
        self.notes: list[str] = [*found.notes, *_uneven(stack, settings)]
        self.factors = self._factors()
        self.predictor = Predictor(member.model, settings, kind, None if settings.tile == "auto" else settings.tile)
        referred = any(step.needs_reference for step in self.info.postprocessing)
        self.streams = not referred and network_input.numbers(stack, found, *self.sides()) > WHOLE_FIT
        self._ready: _Ready | None = None
        self.scratch = scratch
        self._copy: tuple[network_input.FieldIndex, npt.NDArray[np.generic]] | None = None
        self._fitted: dict[tuple[object, ...], Normalization] = {}

    def split(self) -> BlockNeeds | None:
        """Return how a field may be split into blocks that are painted one by one; None where it must be painted whole."""
        if must_be_whole(self.info, self.settings):
            return None
        halo = self.predictor.halo(self._padded())
        return None if halo is None else BlockNeeds(*halo, self._memory)

    def _memory(self, height: int, width: int) -> int:
        """Return the bytes that a part of a field takes while it is painted."""
        return part_bytes(self.info, self.stack, self.match, self.settings, self.predictor.probe, height, width)

    def _padded(self) -> tuple[int, ...]:
        """Return the sides of a whole padded field, without resampling."""
        sides = self.sides() if self.info.dims == 2 else (self.stack.shape[2], *self.sides())
        return tuple(ceil(side / multiple) * multiple for side, multiple in zip(sides, self._multiples(), strict=True))

    def paint(
        self,
        place: network_input.FieldIndex,
        transform: DihedralTransform,
        center: tuple[float, float] | None,
        block: Block | None = None,
    ) -> Iterator[FieldUpdate]:
        """Paint a field, or a block of it, under a transform, nearest to `center` (y, x) first.

        Where memory runs out, it goes on with smaller tiles or on the CPU.
        """
        ready = yield from self._open(place, block)
        keep = self._keep() if block is None else block
        near = None if center is None else (center[0] - ready.offset[0], center[1] - ready.offset[1])
        while True:
            done = 0.0
            try:
                field = ready.field
                updates = transformed_back(
                    self.predictor.paint(transformed(field, transform), transform_point(near, transform, field)), transform, field
                )
                for share, where, stains in self._finish(field, ready.raw, updates):
                    done = min(done + share, 1.0)
                    moved = None if where is None or stains is None else _shift(where, stains, ready.offset, keep)
                    yield FieldUpdate(done) if moved is None else self._update(done, place, *moved)
                return
            except Exception as error:
                if self.settings.steady or not devices.is_out_of_memory(error):
                    raise
            yield FieldUpdate(SHRUNK, message=self._shrink())

    def release(self) -> None:
        """Free the field that was prepared last."""
        self._ready = None

    def sides(self) -> tuple[int, int]:
        """Return height and width of the image."""
        return self.stack.shape[3], self.stack.shape[4]

    def _update(self, done: float, place: network_input.FieldIndex, where: tuple[slice, ...], stains: Floats) -> FieldUpdate:
        """Return stains with the axes Z, Y and X, without those that are not wanted."""
        stains = stains if self.all else stains[self.picks]
        if len(where) == 2:
            return FieldUpdate(done, (place.z, where[0], where[1]), stains[:, None])
        return FieldUpdate(done, (where[0], where[1], where[2]), stains)

    def _open(self, place: network_input.FieldIndex, block: Block | None) -> Generator[FieldUpdate, None, _Ready]:
        """Load, normalize and pad a field or a block of it; the last one is kept."""
        if self._ready is not None and self._ready.place == place and self._ready.block == block:
            return self._ready
        self._ready = None
        window = self._window(block)
        if self.streams or block is not None:
            yield from self._copied(place, block)
            normalization = yield from self._normalization(place, None)
            pixels = raw = self._raw(place, window)
        else:
            raw = self._raw(place)
            normalization = yield from self._normalization(place, raw)
            pixels = raw[(..., *window)]
        field = network_input.prepare(pixels, normalization, self.factors, self._multiples())
        if block is not None or self.settings.region is not None:
            field = replace(field, wanted=self._wanted(field, window, block), whole=None if block is None else self._padded())
        reference = raw if any(step.needs_reference for step in self.info.postprocessing) else None
        self._ready = _Ready(place, block, field, reference, (window[0].start, window[1].start))
        return self._ready

    def _copied(self, place: network_input.FieldIndex, block: Block | None) -> Generator[FieldUpdate, None, None]:
        """Copy a field into a file where its chunks would be decoded for many blocks each, as those of a TIFF of strips."""
        split = self.split()
        if block is None or split is None or (self._copy is not None and self._copy[0] == place):
            return
        self._copy = None
        side = max(part.stop - part.start for part in block)
        if network_input.reread(self.stack, side, split.reach) <= OFTEN:
            return
        count = network_input.numbers(self.stack, self.match, 1, 1)
        planes = (self.stack.shape[2],) if self.match.mode == "volume" else ()
        try:
            copy = file_backed_zeros((count // prod(planes), *planes, *self.sides()), self.scratch, self.stack.dtype)
        except WriteError:  # without room for it, it is read again and again
            return
        for window in network_input.windows(self.stack, self.match):
            copy[(..., *window)] = network_input.load(self.stack, self.match, place, window)
            release(copy)
            yield FieldUpdate(0.0)
        self._copy = place, copy

    def _parts(self, place: network_input.FieldIndex) -> Iterator[npt.NDArray[np.generic]]:
        """Yield a field's pixels (C, ...) part by part."""
        if self._copy is None or self._copy[0] != place:
            yield from network_input.parts(self.stack, self.match, place)
            return
        for window in network_input.windows(self.stack, self.match):
            yield self._copy[1][(..., *window)]
            release(self._copy[1])

    def _wanted(self, field: network_input.NetworkInput, window: Block, block: Block | None) -> Block | None:
        """Return the part of what was read whose stains are wanted, in pixels of the padded field."""
        if field.resampled:
            return None
        y, x = (slice(side.start - read.start, side.stop - read.start) for side, read in zip(block or self._keep(), window, strict=True))
        return y, x

    def _raw(self, place: network_input.FieldIndex, window: Block = network_input.EVERYTHING) -> npt.NDArray[np.generic]:
        """Return a field's pixels (C, [Z,] Y, X) in a window, shared between painters that take the same channels."""
        if self._copy is not None and self._copy[0] == place:
            pixels = np.array(self._copy[1][(..., *window)])
            release(self._copy[1])
            return pixels
        if self.raws is None:
            return network_input.load(self.stack, self.match, place, window)
        found = self.match
        where = tuple((side.start, side.stop) for side in (place.z, *window))
        key = (place.t, where, found.mode, found.channels, found.z, found.luminance)
        if key not in self.raws:
            self.raws[key] = network_input.load(self.stack, found, place, window)
        return self.raws[key]

    def _normalization(
        self, place: network_input.FieldIndex, raw: npt.NDArray[np.generic] | None
    ) -> Generator[FieldUpdate, None, Normalization]:
        """Fit the model's preprocessing once: to the untransformed field, or to all time points; without pixels the field is streamed."""
        series = self.settings.normalize == "series" and self.series.shape[0] > 1
        key: tuple[object, ...] = (place.z.start, place.z.stop) if series else (place.t, place.z.start, place.z.stop)
        if key in self._fitted:
            return self._fitted[key]
        labels = [self.stack.channel_labels[i] for i in self.match.channels]
        if self.match.mode == "window":
            labels = [f"{labels[0]} z {z}" for z in self.match.z or ()]
        if series:
            steps = fit_series(self.info.preprocessing, self.series, self.match, place.z, labels)
            found = yield from relay(steps, lambda _: FieldUpdate(0.0))
        elif raw is None:
            found = yield from self._streamed(place, labels)
        else:
            found = yield from waited(partial(fit, raw, self.info.preprocessing, labels), FieldUpdate(0.0))
        where = f": {self.stack.source}." if self.stack.source else "."
        self.notes += [problem.rstrip(".") + where for problem in found.problems]
        self._fitted[key] = found
        return found

    def _streamed(self, place: network_input.FieldIndex, labels: Sequence[str]) -> Generator[FieldUpdate, None, Normalization]:
        """Fit the preprocessing to a field that is read part by part; that of the last fields of lazy images is known."""
        name = getattr(self.stack.data, "name", None)  # dask gives the same pixels the same name
        key = (name, place.t, str(place.z), self.match.channels, self.match.z, repr(self.info.preprocessing), tuple(labels))
        if name is not None and key in _streamed:
            return _streamed[key]
        streamed = fit_streamed(partial(self._parts, place), self.info.preprocessing, labels)
        if not self._fitted:
            yield FieldUpdate(0.0, message=READING)
        found = yield from relay(streamed, lambda _: FieldUpdate(0.0))
        if name is not None:
            while len(_streamed) >= REMEMBERED:
                _streamed.pop(next(iter(_streamed)))
            _streamed[key] = found
        return found

    def _factors(self) -> tuple[float, ...] | None:
        """Return the zoom to the model's pixel size, if resampling is requested and both sizes are known; None without."""
        if not self.settings.resample:
            return None
        factors = network_input.zoom(self.info, self.stack.pixel_size)
        if factors is None:
            unknown = network_input.unknown_sizes(self.info, self.stack.pixel_size)
            raise InputError(
                f"{self.stack.source or 'The image'} can't be resampled for model {self.info.id}: the pixel size of {unknown} is not known."
            )
        return factors

    def _multiples(self) -> tuple[int, ...]:
        """Return what each side is padded to a multiple of; the same for y and x where quarter turns exchange them."""
        *depth, y, x = self.predictor.multiples()
        both = lcm(y, x)
        return (*depth, both, both) if TTA[self.settings.tta].swaps else (*depth, y, x)

    def _keep(self) -> tuple[slice, slice]:
        return span_slices(self.settings.region, *self.sides())

    def _shrink(self) -> str:
        """Halve the tile, or else move to the CPU; return the message. Called when memory ran out."""
        devices.free_cache(self.kind)
        if self.predictor.used_tile > SMALLEST_TILE:
            self.predictor.tile = max(self.predictor.used_tile // 2, SMALLEST_TILE)
            message = f"Memory ran out on {self.kind}; the tile is now {self.predictor.tile} px."
        elif self.kind != "cpu":
            message = f"Memory ran out on {self.kind}; the rest is painted on the CPU, which is slower."
            self.kind = "cpu"
            self.notes += self.predictor.notes
            self.predictor = Predictor(self.member.model, self.settings, self.kind, self.predictor.tile)
        else:
            raise VirtualPaintError(
                f"{self.stack.source or 'The image'}: memory ran out even with tiles of {self.predictor.used_tile} px; "
                "close other programs, or paint a smaller region."
            )
        self.notes.append(message)
        return message

    def _window(self, block: Block | None) -> Block:
        """Return the part to read for a block or a region: widened by the receptive field, on the grid of the deepest level."""
        if block is not None and (split := self.split()) is not None:
            return split.window(block, *self.sides())
        if self.settings.region is None:
            return self._keep()
        return BlockNeeds(self.predictor.reach(), self._multiples()[-1], self._memory).window(self._keep(), *self.sides())

    def _finish(
        self, field: network_input.NetworkInput, raw: npt.NDArray[np.generic] | None, updates: Iterator[Finished]
    ) -> Iterator[Finished]:
        """Postprocess and resample back: update by update where that is possible, else once the field is whole."""
        steps = self.info.postprocessing
        whole = field.resampled or any(step.needs_field for step in steps)
        canvas: Floats | None = None
        for share, where, stains in updates:
            if where is None or stains is None:
                yield share, None, None
            elif not whole:
                yield share, where, fit(stains, steps, reference=raw).apply(stains) if steps else stains
            else:
                if canvas is None:
                    canvas = np.empty((len(stains), *field.shape), np.float32)
                canvas[(slice(None), *where)] = stains
                yield share, None, None
        if canvas is not None:
            canvas = fit(canvas, steps, reference=raw).apply(canvas) if steps else canvas
            restored = field.restore(canvas)
            yield 0.0, tuple(slice(0, side) for side in restored.shape[1:]), restored


def _uneven(stack: Stack, settings: PaintSettings) -> tuple[str, ...]:
    """Return a note where quarter turns of pixels that are not square stretch the image."""
    y, x = stack.pixel_size.y, stack.pixel_size.x
    if not TTA[settings.tta].swaps or settings.resample or not y or not x or abs(y / x - 1) < 0.01:
        return ()
    return (f"Pixels are {y:g} um high and {x:g} um wide, so quarter turns stretch the image; flips do not, nor does resampling.",)


def _shift(
    where: tuple[slice, ...], stains: Floats, offset: tuple[int, int], keep: tuple[slice, slice]
) -> tuple[tuple[slice, ...], Floats] | None:
    """Move a box from the read window to the image and crop it to the region; None where nothing is left."""
    out, inner = list(where[:-2]), [slice(None)] * (stains.ndim - 2)
    for part, start, kept in zip(where[-2:], offset, keep, strict=True):
        first, last = max(part.start + start, kept.start), min(part.stop + start, kept.stop)
        if last <= first:
            return None
        out.append(slice(first, last))
        inner.append(slice(first - part.start - start, last - part.start - start))
    return tuple(out), np.ascontiguousarray(stains[tuple(inner)])
