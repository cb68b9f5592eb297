"""One model at work on one image: it opens a field, paints it in any turn, and gives memory back where it runs out."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from math import ceil, lcm

import numpy as np
import numpy.typing as npt

from napari_virtual_paint import device as devices
from napari_virtual_paint.errors import InputError, VirtualPaintError
from napari_virtual_paint.models import Match
from napari_virtual_paint.normalize import Normalization, fit
from napari_virtual_paint.painting import network_input
from napari_virtual_paint.painting.model_set import Member
from napari_virtual_paint.painting.network_input import Finished, look_at, turned, turned_back
from napari_virtual_paint.painting.predictor import Predictor
from napari_virtual_paint.painting.settings import PaintSettings, span_slices
from napari_virtual_paint.painting.timelapse_normalization import fit_series
from napari_virtual_paint.painting.tta import TTA, DihedralTransform
from napari_virtual_paint.runtime.generators import relay
from napari_virtual_paint.stack import Stack

Floats = npt.NDArray[np.float32]
Raws = dict[tuple[object, ...], npt.NDArray[np.generic]]
"""Pixels of fields that are in memory, for all hands."""
SMALLEST_TILE = 32
SHRUNK = -1.0
"""Share of a pass that begins anew because memory ran out."""


@dataclass(frozen=True)
class Stroke:
    """What a pass yields.

    Parameters
    ----------
    share
        Share of the pass that is done; `SHRUNK` where it begins anew.
    where
        Z, Y and X of the image; None for progress alone.
    stains
        The member's stains, (stains, Z, Y, X).
    message
        Something to tell the user.
    """

    share: float
    where: tuple[slice, slice, slice] | None = None
    stains: Floats | None = None
    message: str = ""


@dataclass(frozen=True, eq=False)
class _Ready:
    """A field that is ready for the network.

    Parameters
    ----------
    place
        Which.
    field
        Normalised, resampled, padded.
    raw
        The model's unprocessed input, where a step behind the network wants it.
    offset
        Where the field begins in the image, y and x.
    """

    place: network_input.FieldIndex
    field: network_input.NetworkInput
    raw: npt.NDArray[np.generic] | None
    offset: tuple[int, int]


class FieldPainter:
    """One member at work.

    Parameters
    ----------
    member
        The model and which of its stains are wanted.
    stack
        The image; its luminance where the model takes that.
    settings
        How to paint.
    found
        Which channels and planes the model takes.
    kind
        Kind of device.
    raws
        Pixels that hands share; None for a hand that works alone.
    series
        Whose time points give the statistics of a series; by default those of the image.

    Attributes
    ----------
    notes
        What the user should know.
    """

    def __init__(
        self, member: Member, stack: Stack, settings: PaintSettings, found: Match, kind: str, raws: Raws | None, series: Stack | None = None
    ) -> None:
        self.member, self.stack, self.settings, self.match, self.kind, self.raws = member, stack, settings, found, kind, raws
        self.series = stack if series is None else series.luminance() if found.luminance else series
        self.info, self.picks = member.model.info, list(member.picks)
        self.all = self.picks == list(range(len(self.info.stains)))
        self.notes: list[str] = [*found.notes, *_uneven(stack, settings)]
        self.factors = self._factors()
        self.brush = Predictor(member.model, settings, kind, None if settings.tile == "auto" else settings.tile)
        self._ready: _Ready | None = None
        self._fitted: dict[tuple[object, ...], Normalization] = {}

    def paint(self, place: network_input.FieldIndex, turn: DihedralTransform, look: tuple[float, float] | None) -> Iterator[Stroke]:
        """Paint one field in one turn, with a smaller tile or on the CPU where memory runs out; `look` (y, x) is painted first."""
        ready = yield from self._open(place)
        keep = self._keep()
        near = None if look is None else (look[0] - ready.offset[0], look[1] - ready.offset[1])
        while True:
            done = 0.0
            try:
                field = ready.field
                pieces = turned_back(self.brush.paint(turned(field, turn), look_at(near, turn, field)), turn, field)
                for share, where, stains in self._finish(field, ready.raw, pieces):
                    done = min(done + share, 1.0)
                    moved = None if where is None or stains is None else _shift(where, stains, ready.offset, keep)
                    yield Stroke(done) if moved is None else self._stroke(done, place, *moved)
                return
            except Exception as error:
                if self.settings.steady or not devices.is_out_of_memory(error):
                    raise
            yield Stroke(SHRUNK, message=self._shrink())

    def rest(self) -> None:
        """Forget the field that was opened last: another hand's turn."""
        self._ready = None

    def sides(self) -> tuple[int, int]:
        """Return height and width of the image."""
        return self.stack.shape[3], self.stack.shape[4]

    def _stroke(self, done: float, place: network_input.FieldIndex, where: tuple[slice, ...], stains: Floats) -> Stroke:
        """Bring what was painted to Z, Y and X, and leave the stains out that are not wanted."""
        stains = stains if self.all else stains[self.picks]
        if len(where) == 2:
            return Stroke(done, (place.z, where[0], where[1]), stains[:, None])
        return Stroke(done, (where[0], where[1], where[2]), stains)

    def _open(self, place: network_input.FieldIndex) -> Generator[Stroke, None, _Ready]:
        """Load, normalise and prepare a field; the one that was opened last is kept."""
        if self._ready is not None and self._ready.place == place:
            return self._ready
        self._ready = None
        raw = self._raw(place)
        normalization = yield from self._normalization(place, raw)
        window = self._window(self._keep(), raw.shape[-2:])
        field = network_input.prepare(raw[(..., *window)], normalization, self.factors, self._multiples())
        reference = raw if any(step.needs_reference for step in self.info.postprocessing) else None
        self._ready = _Ready(place, field, reference, (window[0].start, window[1].start))
        return self._ready

    def _raw(self, place: network_input.FieldIndex) -> npt.NDArray[np.generic]:
        """Return a field's pixels (C, [Z,] Y, X); hands that take the same channels share them."""
        if self.raws is None:
            return network_input.load(self.stack, self.match, place)
        found = self.match
        key = (place.t, place.z.start, place.z.stop, found.mode, found.channels, found.z, found.luminance)
        if key not in self.raws:
            self.raws[key] = network_input.load(self.stack, found, place)
        return self.raws[key]

    def _normalization(self, place: network_input.FieldIndex, raw: npt.NDArray[np.generic]) -> Generator[Stroke, None, Normalization]:
        """Fit the model's pre-processing once: to the field, however it is turned, or to all time points."""
        series = self.settings.normalize == "series" and self.series.shape[0] > 1
        key: tuple[object, ...] = (place.z.start, place.z.stop) if series else (place.t, place.z.start, place.z.stop)
        if key in self._fitted:
            return self._fitted[key]
        labels = [self.stack.channel_labels[i] for i in self.match.channels]
        if len(labels) != len(raw):
            labels = [f"{labels[0]} z {z}" for z in self.match.z or ()]
        if series:
            steps = fit_series(self.info.preprocessing, self.series, self.match, place.z, labels)
            found = yield from relay(steps, lambda _: Stroke(0.0))
        else:
            found = network_input.normalise(self.info, raw, labels)
        self.notes += found.problems
        self._fitted[key] = found
        return found

    def _factors(self) -> tuple[float, ...] | None:
        """Return the zoom to the model's pixel size, if it was asked for and both sizes are known."""
        if not self.settings.resample:
            return None
        factors = network_input.zoom(self.info, self.stack.pixel_size)
        if factors is None:
            raise InputError(
                f"{self.stack.source or 'The image'} can't be resampled for model {self.info.id}: the pixel size of one of them is unknown."
            )
        return factors

    def _multiples(self) -> tuple[int, ...]:
        """Return what sides are padded to multiples of: one number for y and x where quarter turns let them change places."""
        *depth, y, x = self.brush.multiples()
        both = lcm(y, x)
        return (*depth, both, both) if TTA[self.settings.tta].swaps else (*depth, y, x)

    def _keep(self) -> tuple[slice, slice]:
        return span_slices(self.settings.region, *self.sides())

    def _shrink(self) -> str:
        """After memory ran out: halve the tile, then move to the CPU; say so."""
        devices.free_cache(self.kind)
        if self.brush.used_tile > SMALLEST_TILE:
            self.brush.tile = max(self.brush.used_tile // 2, SMALLEST_TILE)
            message = f"Memory ran out on {self.kind}; the tile is now {self.brush.tile} px."
        elif self.kind != "cpu":
            message = f"Memory ran out on {self.kind}; the rest is painted on the CPU, which is slower."
            self.kind = "cpu"
            self.notes += self.brush.notes
            self.brush = Predictor(self.member.model, self.settings, self.kind, self.brush.tile)
        else:
            raise VirtualPaintError(
                f"{self.stack.source or 'The image'}: memory ran out even with tiles of {self.brush.used_tile} px; "
                "close other programs, or paint a smaller region."
            )
        self.notes.append(message)
        return message

    def _window(self, keep: tuple[slice, slice], shape: tuple[int, ...]) -> tuple[slice, slice]:
        """Return what to read for a region: it and its surroundings, as far as the network sees, on the grid of the deepest level."""
        if self.settings.region is None:
            return keep
        reach, grid = self.brush.reach(), self._multiples()[-1]
        starts = [max(s.start - reach, 0) // grid * grid for s in keep]
        stops = [min(ceil((s.stop + reach) / grid) * grid, side) for s, side in zip(keep, shape, strict=True)]
        return slice(starts[0], stops[0]), slice(starts[1], stops[1])

    def _finish(
        self, field: network_input.NetworkInput, raw: npt.NDArray[np.generic] | None, pieces: Iterator[Finished]
    ) -> Iterator[Finished]:
        """Post-process, and bring back to the image's pixels: piece by piece where a piece is enough, else once the field is whole."""
        steps = self.info.postprocessing
        whole = field.resampled or any(step.needs_field for step in steps)
        canvas: Floats | None = None
        for share, where, stains in pieces:
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
    """Return what to tell where a quarter turn stretches what the network sees."""
    y, x = stack.pixel_size.y, stack.pixel_size.x
    if not TTA[settings.tta].swaps or settings.resample or not y or not x or abs(y / x - 1) < 0.01:
        return ()
    return (f"Pixels are {y:g} um high and {x:g} um wide, so quarter turns stretch the image; flips do not, nor does resampling.",)


def _shift(
    where: tuple[slice, ...], stains: Floats, offset: tuple[int, int], keep: tuple[slice, slice]
) -> tuple[tuple[slice, ...], Floats] | None:
    """Move a box from the read window to the image and cut it to what was asked for; None where nothing is left."""
    out, inner = list(where[:-2]), [slice(None)] * (stains.ndim - 2)
    for part, start, kept in zip(where[-2:], offset, keep, strict=True):
        first, last = max(part.start + start, kept.start), min(part.stop + start, kept.stop)
        if last <= first:
            return None
        out.append(slice(first, last))
        inner.append(slice(first - part.start - start, last - part.start - start))
    return tuple(out), np.ascontiguousarray(stains[tuple(inner)])
