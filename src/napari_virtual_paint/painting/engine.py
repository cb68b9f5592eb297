"""paint(): the one way from an image to its stains."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint import device as devices
from napari_virtual_paint._version import __version__
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.models import Match, Model
from napari_virtual_paint.painting import network_input
from napari_virtual_paint.painting.estimation import shares
from napari_virtual_paint.painting.field_painter import SHRUNK, FieldPainter, Raws, Stroke
from napari_virtual_paint.painting.model_set import ModelSet, many_of, matches
from napari_virtual_paint.painting.network_input import WorkUnit, units
from napari_virtual_paint.painting.pass_merging import Box, PassMerger
from napari_virtual_paint.painting.results import Painting, PaintReport, PaintUpdate
from napari_virtual_paint.painting.settings import PaintSettings, span_slices
from napari_virtual_paint.painting.tiles import within
from napari_virtual_paint.painting.tta import TTA, DihedralTransform
from napari_virtual_paint.runtime.scratch import zeros
from napari_virtual_paint.stack import PixelSize, Stack

Floats = npt.NDArray[np.float32]
View = tuple[int, int, float, float]


def paint(
    model: Model | ModelSet,
    stack: Stack,
    settings: PaintSettings | None = None,
    *,
    out: Any = None,
    view: View | None = None,
    scratch: Path | None = None,
    series: Stack | None = None,
) -> Generator[PaintUpdate, None, Painting]:
    """Paint the stains of a stack.

    A plain generator: each ``yield`` is a place to cancel (``close()`` it), and what it returns is the painting. It paints on the thread
    that iterates it; a second painting on the same device waits for the first, and says so.

    Parameters
    ----------
    model
        An opened model, or several (`ModelSet`): stains of each side by side, or an ensemble.
    stack
        The image, axes TCZYX. A model of planes paints a z-stack plane by plane, one whose channels are z-planes takes its window, a
        model of volumes paints volume by volume; every time point by itself.
    settings
        How to paint; the defaults are right for most.
    out
        Something that takes float32 by slices, shape (T, stains, Z, Y, X) (an array, a memory map, a zarr array); by default an array.
        Where several passes are merged it is written once a pass, first with what the first pass gives.
    view
        Time point, z-plane, y and x (in pixels) that the user looks at: painted first.
    scratch
        Folder for temporary files, should the SDs or the passes of a median be large for this machine's memory; by default the system's.
    series
        Where `stack` is cut out of a time series and ``normalize`` is ``series``: the same planes of all its time points.

    Yields
    ------
    Piece
        Progress, and the stains as they are finished. `out` holds them already.

    Returns
    -------
    Painting
        The stains and how they were made; where several passes were merged, also their SD.

    Raises
    ------
    ModelError
        If the image does not fit a model.
    InputError
        If a setting can't be met.
    """
    settings = settings or PaintSettings()
    many = many_of(model)
    found = matches(many, stack, settings)
    chosen = devices.resolve(settings.device)
    lock = devices.LOCKS[chosen.kind]
    while not lock.acquire(timeout=0.1):
        yield PaintUpdate(0.0, 1.0, message="Waiting for another painting to end.")
    try:
        return (yield from _Engine(many, stack, settings, found, chosen.kind, scratch, series).run(out, view))
    finally:
        lock.release()


@dataclass(frozen=True)
class _Pass:
    """One of the passes over a field: which hand, in which turn, and its share of the field's work."""

    hand: int
    turn: DihedralTransform
    weight: float


class _Engine:
    """One painting under way."""

    def __init__(
        self,
        many: ModelSet,
        stack: Stack,
        settings: PaintSettings,
        found: Sequence[Match],
        kind: str,
        scratch: Path | None,
        series: Stack | None,
    ) -> None:
        self.many, self.stack, self.settings, self.kind, self.scratch = many, stack, settings, kind, scratch
        grey = stack.luminance() if any(each.luminance for each in found) else stack
        self.raws: Raws = {}
        shared = self.raws if len(many.members) > 1 else None
        self.hands = [
            FieldPainter(member, grey if each.luminance else stack, settings, each, kind, shared, series)
            for member, each in zip(many.members, found, strict=True)
        ]
        self.rows = [many.rows(member) for member in many.members]
        turns = TTA[settings.tta].transforms
        self.counts = [makers * len(turns) for makers in many.makers()]
        self.spread_of = tuple(row for row, count in enumerate(self.counts) if count > 1)
        self.passes = self._order(turns)
        self.sums = np.zeros(len(self.spread_of))
        self.pixels = 0

    def _order(self, turns: Sequence[DihedralTransform]) -> tuple[_Pass, ...]:
        """Return the passes: every member once, so that there is something of each stain to see, then the other turns."""
        weights = shares([(hand.member.model, hand.match) for hand in self.hands], self.stack, self.settings)
        everyone = range(len(self.hands))
        order = [(hand, turns[0]) for hand in everyone] + [(hand, turn) for hand in everyone for turn in turns[1:]]
        return tuple(_Pass(hand, turn, weights[hand] / len(turns)) for hand, turn in order)

    def run(self, out: Any, view: View | None) -> Generator[PaintUpdate, None, Painting]:
        """Paint field by field."""
        started = time.perf_counter()
        devices.reset_peak(self.kind)
        shape = network_input.output_shape(self.stack, self.hands[0].match, len(self.many.stains))
        if out is None:
            out = np.zeros(shape, np.float32)
        elif tuple(out.shape) != shape:
            raise InputError(f"The output has the shape {tuple(out.shape)}; these stains need {shape} (TCZYX).")
        spread = zeros((shape[0], len(self.spread_of), *shape[2:]), self.scratch) if self.spread_of else None
        todo = units([hand.match for hand in self.hands], self.stack, None if view is None else view[:2])
        look, total = None if view is None else view[2:], float(len(todo))
        for number, unit in enumerate(todo):
            pieces = self._direct(unit, out, look) if spread is None else self._merged(unit, out, spread, look)
            for piece in pieces:
                yield replace(piece, done=number + piece.done, total=total)
            self.raws.clear()
        yield PaintUpdate(total, total)
        report = self._report(time.perf_counter() - started)
        stack = self._stack(out, self.many.stains, report)
        return Painting(stack, report, self._spread_stack(spread, report))

    def _strokes(self, unit: WorkUnit, step: _Pass, look: tuple[float, float] | None) -> Iterator[Stroke]:
        """Paint one pass over a unit; shares are of the pass."""
        for hand in self.hands:
            if hand is not self.hands[step.hand]:
                hand.rest()
        parts = unit.parts[step.hand]
        for number, place in enumerate(parts):
            for stroke in self.hands[step.hand].paint(place, step.turn, look):
                yield stroke if stroke.share == SHRUNK else replace(stroke, share=(number + stroke.share) / len(parts))

    def _direct(self, unit: WorkUnit, out: Any, look: tuple[float, float] | None) -> Iterator[PaintUpdate]:
        """Paint stains that one pass makes, each straight to its place."""
        before, alone = 0.0, len(self.hands) == 1
        for step in self.passes:
            rows = self.rows[step.hand]
            span = (rows[0], rows[0] + len(rows))  # what one member alone makes lies together
            for stroke in self._strokes(unit, step, look):
                done = before + step.weight * max(stroke.share, 0.0)
                if stroke.where is None or stroke.stains is None:
                    yield PaintUpdate(done, 1.0, message=stroke.message)
                    continue
                where = (slice(unit.t, unit.t + 1), *stroke.where)
                out[(where[0], slice(*span), *stroke.where)] = stroke.stains[None]
                yield PaintUpdate(done, 1.0, stroke.message, where, stroke.stains, None if alone else span)
            before += step.weight

    def _merged(self, unit: WorkUnit, out: Any, spread: Floats, look: tuple[float, float] | None) -> Iterator[PaintUpdate]:
        """Paint all passes over a unit; what is merged so far is shown at every step."""
        corner = self._corner(unit)
        merged, direct = self._begin(unit, corner, out, spread)

        def show(done: float, box: Box, message: str = "") -> PaintUpdate:
            """Give what is merged so far."""
            z, y, x = (slice(a.start + c.start, a.stop + c.start) for a, c in zip(box, corner, strict=True))
            data = np.ascontiguousarray(merged.mean[(slice(None), *box)])
            if not direct:
                out[(slice(unit.t, unit.t + 1), slice(None), z, y, x)] = data[None]
            return PaintUpdate(done, 1.0, message, (slice(unit.t, unit.t + 1), z, y, x), data)

        before = 0.0
        for step in self.passes:
            merged.begin(step.hand, self.rows[step.hand])
            for stroke in self._strokes(unit, step, look):
                done = before + step.weight * max(stroke.share, 0.0)
                if stroke.share == SHRUNK:
                    merged.restart()
                box = None if stroke.where is None else within(stroke.where, corner)
                if box is not None and stroke.stains is not None and merged.add((box[0], box[1], box[2]), stroke.stains):
                    yield show(done, (box[0], box[1], box[2]), stroke.message)
                else:
                    yield PaintUpdate(done, 1.0, message=stroke.message)
            before += step.weight
            for band in merged.end():
                yield show(before, band)
        for band, changed in merged.finish():
            self.sums += merged.spread[(slice(None), *band)].sum(axis=(1, 2, 3), dtype=np.float64)
            yield show(1.0, band) if changed else PaintUpdate(1.0, 1.0)
        self.pixels += merged.mean[0].size

    def _begin(self, unit: WorkUnit, corner: Box, out: Any, spread: Floats) -> tuple[PassMerger, bool]:
        """Return what merges the passes over a unit, and whether it does so in the output itself."""
        frame = (unit.t, slice(None), *corner)
        direct = isinstance(out, np.ndarray) and out.dtype == np.float32
        mean = out[frame] if direct else np.empty((len(self.many.stains), *(side.stop - side.start for side in corner)), np.float32)
        shared = [count > 1 for count in self.many.makers()]
        median = self.settings.merge == "median"
        return PassMerger(mean, spread[frame], self.spread_of, self.counts, shared, median=median, folder=self.scratch), direct

    def _corner(self, unit: WorkUnit) -> Box:
        """Return the Z, Y and X of a unit that are painted."""
        y, x = span_slices(self.settings.region, *self.hands[0].sides())
        return unit.z, y, x

    def _report(self, seconds: float) -> PaintReport:
        """Say how it was made."""
        names = self.many.stains
        alone = len(self.hands) == 1
        members = () if alone else tuple(_told(hand, row, names) for hand, row in zip(self.hands, self.rows, strict=True))
        uncertainty = {names[row]: float(total / max(self.pixels, 1)) for row, total in zip(self.spread_of, self.sums, strict=True)}
        notes = [note for hand in self.hands for note in (*hand.notes, *hand.brush.notes)]
        return PaintReport(
            model=self.many.id,
            version=self.many.version,
            device=" + ".join(dict.fromkeys(hand.kind for hand in self.hands)),
            precision=self.settings.precision,
            blend=self.settings.blend,
            exact=all(hand.brush.exact for hand in self.hands),
            tile=max(hand.brush.used_tile for hand in self.hands),
            seconds=seconds,
            peak_memory_mb=devices.peak_memory_mb(self.kind),
            notes=tuple(dict.fromkeys(notes)),
            passes=max(self.counts),
            merge=self.settings.merge if self.spread_of else "",
            uncertainty=uncertainty,
            members=members,
        )

    def _stack(self, out: Any, names: tuple[str, ...], report: PaintReport, **more: Any) -> Stack:
        """Wrap pixels with what is known of them."""
        size = self.stack.pixel_size
        provenance = {
            **report.to_json(),
            "software": f"napari-virtual-paint {__version__}",
            "settings": self.settings.to_json(),
            "input": self.stack.source,
            **more,
        }
        return replace(
            self.stack,
            data=out,
            channels=names,
            pixel_size=PixelSize(None, size.y, size.x) if self.hands[0].match.mode == "window" else size,
            rgb=False,
            provenance=provenance,
        )

    def _spread_stack(self, spread: Floats | None, report: PaintReport) -> Stack | None:
        """Wrap the SDs."""
        if spread is None:
            return None
        names = tuple(f"{self.many.stains[row]} SD" for row in self.spread_of)
        return self._stack(spread, names, report, shows=f"sample SD over {report.passes} passes")


def _told(hand: FieldPainter, rows: Sequence[int], names: Sequence[str]) -> dict[str, Any]:
    """Return what one of several models made."""
    return {"model": hand.info.id, "version": hand.info.version, "stains": [names[row] for row in rows]}
