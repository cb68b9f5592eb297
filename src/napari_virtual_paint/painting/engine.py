"""paint(): the one way from an image to its stains."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint import device as devices
from napari_virtual_paint._version import __version__
from napari_virtual_paint.errors import InputError, VirtualPaintError
from napari_virtual_paint.models import Match, Model, match
from napari_virtual_paint.normalize import fit
from napari_virtual_paint.painting import fields
from napari_virtual_paint.painting.brush import Brush, Finished
from napari_virtual_paint.painting.settings import Painting, PaintSettings, Piece, Report, span_slices
from napari_virtual_paint.stack import PixelSize, Stack

Floats = npt.NDArray[np.float32]
SMALLEST_TILE = 32


def paint(
    model: Model,
    stack: Stack,
    settings: PaintSettings | None = None,
    *,
    out: Any = None,
    view: tuple[int, int, float, float] | None = None,
) -> Generator[Piece, None, Painting]:
    """Paint the stains of a stack.

    A plain generator: each ``yield`` is a place to cancel (``close()`` it), and what it returns is the painting. It paints on the thread
    that iterates it; a second painting on the same device waits for the first, and says so.

    Parameters
    ----------
    model
        An opened model.
    stack
        The image, axes TCZYX. A model of planes paints a z-stack plane by plane, one whose channels are z-planes takes its window, a
        model of volumes paints volume by volume; every time point by itself.
    settings
        How to paint; the defaults are right for most.
    out
        Something that takes float32 by slices, shape (T, stains, Z, Y, X) (an array, a memory map, a zarr array); by default an array.
    view
        Time point, z-plane, y and x (in pixels) that the user looks at: painted first.

    Yields
    ------
    Piece
        Progress, and the stains as they are finished. `out` holds them already.

    Returns
    -------
    Painting
        The stains and how they were made.

    Raises
    ------
    ModelError
        If the image does not fit the model.
    InputError
        If a setting can't be met.
    """
    settings = settings or PaintSettings()
    found = match(model.info, stack, settings.channels)
    if found.luminance:
        stack = stack.luminance()
    chosen = devices.resolve(settings.device)
    lock = devices.LOCKS[chosen.kind]
    while not lock.acquire(timeout=0.1):
        yield Piece(0.0, 1.0, message="Waiting for another painting to end.")
    try:
        return (yield from _Engine(model, stack, settings, found, chosen.kind).run(out, view))
    finally:
        lock.release()


def run_to_end(painting: Generator[Piece, None, Painting], progress: Callable[[Piece], None] | None = None) -> Painting:
    """Paint to the end, giving every piece to `progress`."""
    while True:
        try:
            piece = next(painting)
        except StopIteration as stop:
            result: Painting = stop.value
            return result
        if progress is not None:
            progress(piece)


@dataclass
class _Engine:
    """One painting under way."""

    model: Model
    stack: Stack
    settings: PaintSettings
    match: Match
    kind: str

    def __post_init__(self) -> None:
        self.info = self.model.info
        self.notes: list[str] = list(self.match.notes)
        self.factors = self._factors()
        self.brush = Brush(self.model, self.settings, self.kind, None if self.settings.tile == "auto" else self.settings.tile)

    def _factors(self) -> tuple[float, ...] | None:
        """Return the zoom to the model's pixel size, if it was asked for and both sizes are known."""
        if not self.settings.resample:
            return None
        factors = fields.zoom(self.info, self.stack.pixel_size)
        if factors is None:
            raise InputError(
                f"{self.stack.source or 'The image'} can't be resampled for model {self.info.id}: the pixel size of one of them is unknown."
            )
        return factors

    def run(self, out: Any, view: tuple[int, int, float, float] | None) -> Generator[Piece, None, Painting]:
        """Paint field by field."""
        started = time.perf_counter()
        devices.reset_peak(self.kind)
        shape = fields.output_shape(self.stack, self.match, len(self.info.stains))
        if out is None:
            out = np.zeros(shape, np.float32)
        elif tuple(out.shape) != shape:
            raise InputError(f"The output has the shape {tuple(out.shape)}; these stains need {shape} (TCZYX).")
        todo = fields.places(self.stack, self.match, None if view is None else view[:2])
        total = float(len(todo))
        for number, place in enumerate(todo):
            done = 0.0
            for share, where, stains, message in self._field(place, None if view is None else view[2:]):
                done = share
                if where is None or stains is None:
                    yield Piece(number + done, total, message=message)
                    continue
                full = (slice(place.t, place.t + 1), place.z if len(where) == 2 else where[0], *where[-2:])
                data = stains[:, None] if len(where) == 2 else stains
                out[(full[0], slice(None), *full[1:])] = data[None]
                yield Piece(number + done, total, full, data, message)
        yield Piece(total, total)
        report = Report(
            model=self.info.id,
            version=self.info.version,
            device=self.kind,
            precision=self.settings.precision,
            blend=self.settings.blend,
            exact=self.brush.exact,
            tile=self.brush.used_tile,
            seconds=time.perf_counter() - started,
            peak_memory_mb=devices.peak_memory_mb(self.kind),
            notes=tuple(dict.fromkeys(self.notes + self.brush.notes)),
        )
        return Painting(self._stack(out, report), report)

    def _stack(self, out: Any, report: Report) -> Stack:
        """Wrap the stains with what is known of them."""
        size = self.stack.pixel_size
        provenance = {
            **report.to_json(),
            "software": f"napari-virtual-paint {__version__}",
            "settings": self.settings.to_json(),
            "input": self.stack.source,
        }
        return replace(
            self.stack,
            data=out,
            channels=self.info.stains,
            pixel_size=PixelSize(None, size.y, size.x) if self.match.mode == "window" else size,
            rgb=False,
            provenance=provenance,
        )

    def _field(self, place: fields.Place, centre: tuple[float, float] | None) -> Iterator[tuple[float, Any, Floats | None, str]]:
        """Paint one field, with a smaller tile or on the CPU where memory runs out."""
        raw = fields.load(self.stack, self.match, place)
        labels = [self.stack.channel_labels[i] for i in self.match.channels]
        if len(labels) != len(raw):
            labels = [f"{labels[0]} z {z}" for z in self.match.z or ()]
        normalization = fields.normalise(self.info, raw, labels)
        self.notes += normalization.problems
        keep = span_slices(self.settings.region, raw.shape[-2], raw.shape[-1])
        window = self._window(keep, raw.shape[-2:])
        field = fields.prepare(raw[(..., *window)], normalization, self.factors, self.brush.multiples())
        reference = raw if any(step.needs_reference for step in self.info.postprocessing) else None
        del raw
        offset = (window[0].start, window[1].start)
        look = None if centre is None else (centre[0] - offset[0], centre[1] - offset[1])
        while True:
            done = 0.0
            try:
                for share, where, stains in self._finish(field, reference, self.brush.paint(field, look)):
                    done = min(done + share, 1.0)
                    if where is None or stains is None:
                        yield done, None, None, ""
                        continue
                    moved = _shift(where, stains, offset, keep)
                    yield (done, *moved, "") if moved is not None else (done, None, None, "")
                return
            except Exception as error:
                if self.settings.steady or not devices.is_out_of_memory(error):
                    raise
            yield 0.0, None, None, self._shrink()

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
            self.brush = Brush(self.model, self.settings, self.kind, self.brush.tile)
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
        reach, grid = self.brush.reach(), self.brush.multiples()[-1]
        starts = [max(s.start - reach, 0) // grid * grid for s in keep]
        stops = [min(ceil((s.stop + reach) / grid) * grid, side) for s, side in zip(keep, shape, strict=True)]
        return slice(starts[0], stops[0]), slice(starts[1], stops[1])

    def _finish(self, field: fields.Field, raw: npt.NDArray[np.generic] | None, pieces: Iterator[Finished]) -> Iterator[Finished]:
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
