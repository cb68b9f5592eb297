"""paint(): the stains of an image, field by field and pass by pass."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint import device as devices
from napari_virtual_paint._version import __version__
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.models import Match, Model
from napari_virtual_paint.painting import network_input
from napari_virtual_paint.painting.blocks import WHOLE, Block, Limits, block_side, blocks_of, limits_of
from napari_virtual_paint.painting.cancellation import waited
from napari_virtual_paint.painting.estimation import check_fits, shares
from napari_virtual_paint.painting.field_painter import SHRUNK, FieldPainter, FieldUpdate, Raws
from napari_virtual_paint.painting.image_preparation import inherited, preprocess, wants_preprocessing
from napari_virtual_paint.painting.model_set import ModelSet, as_model_set, matches
from napari_virtual_paint.painting.network_input import WorkUnit, units
from napari_virtual_paint.painting.pass_merging import Box, PassMerger
from napari_virtual_paint.painting.results import Painting, PaintReport, PaintUpdate
from napari_virtual_paint.painting.settings import PaintSettings, span_slices
from napari_virtual_paint.painting.tiles import within
from napari_virtual_paint.painting.tta import TTA, DihedralTransform
from napari_virtual_paint.runtime.generators import relay
from napari_virtual_paint.runtime.scratch import file_backed_zeros, release, zeros
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
    matched: Sequence[Match] | None = None,
    memory: int | None = None,
) -> Generator[PaintUpdate, None, Painting]:
    """Paint the stains of a stack.

    A plain generator: it can be cancelled at each ``yield`` (``close()``), and it returns the painting. It runs on the thread that
    iterates it; a second painting on the same device waits for the first and says so in an update.

    Parameters
    ----------
    model
        An opened model, or several (`ModelSet`): stains of each side by side, or an ensemble.
    stack
        The image, axes TCZYX. Time points are painted one by one: plane by plane, as volumes, or from a window of z-planes, as the model
        needs.
    out
        Output of shape (T, stains, Z, Y, X) that takes float32 by slices: an array, a memory map, a zarr array; by default an array.
        Where several passes are merged, it is written once a pass. One with a true attribute `takes_blocks` is written block by block
        instead (see `blocks`), each finished and with all stains; one with a method `release` has it called after each block.
    view
        Time point, z-plane, y and x (in pixels) at the center of the user's view: painted first.
    scratch
        Folder for temporary files, needed where the SDs or the passes of a median exceed the memory; by default the system's.
    series
        All time points of the same planes, where `stack` is cut out of a time series and ``normalize`` is ``series``.
    matched
        The channels and planes that each model gets, if they are known already (see `model_set.matches`); of an image that the settings
        do not ask to preprocess, or that is preprocessed (see `image_preparation.preprocess`).
    memory
        Bytes that one field may take to be painted whole, and a block of a larger one; by default a fixed size, or less where less is
        free (see `blocks.limits_of`).

    Yields
    ------
    PaintUpdate
        Progress, and the stains as they are finished; `out` holds them already.

    Returns
    -------
    Painting
        The stains, the report and, where several passes were merged, their SD.

    Raises
    ------
    ModelError
        If the image does not fit a model.
    InputError
        If a setting can't be met.
    """
    settings = settings or PaintSettings()
    models = as_model_set(model)
    if wants_preprocessing(settings, stack):
        ready = yield from relay(preprocess(models, stack, settings), lambda step: PaintUpdate(0.0, 1.0, message=step.message))
        models, stack, settings, matched = ready.models, ready.stack, ready.settings, None
    found = matches(models, stack, settings) if matched is None else matched
    chosen = devices.resolve(settings.device)
    lock = devices.LOCKS[chosen.kind]
    while not lock.acquire(timeout=0.1):
        yield PaintUpdate(0.0, 1.0, message="Waiting for another painting to end.")
    try:
        limits = limits_of(memory, chosen.free_memory, chosen.kind, steady=settings.steady)
        make = partial(_Engine, models, stack, settings, found, chosen.kind, scratch, series, limits)
        engine = yield from waited(make, PaintUpdate(0.0, 1.0))  # it loads the networks
        return (yield from engine.run(out, view))
    finally:
        lock.release()


@dataclass(frozen=True)
class _Pass:
    """One pass over a field: the index of its painter, its transform, and its share of the field's work."""

    painter: int
    transform: DihedralTransform
    weight: float


class _Engine:
    """One run of `paint`."""

    def __init__(
        self,
        models: ModelSet,
        stack: Stack,
        settings: PaintSettings,
        found: Sequence[Match],
        kind: str,
        scratch: Path | None,
        series: Stack | None,
        limits: Limits,
    ) -> None:
        self.models, self.stack, self.settings, self.kind, self.scratch = models, stack, settings, kind, scratch
        grey = stack.luminance() if any(each.luminance for each in found) else stack
        self.raws: Raws = {}
        shared = self.raws if len(models.members) > 1 else None
        self.painters = [
            FieldPainter(member, grey if each.luminance else stack, settings, each, kind, shared, series, scratch)
            for member, each in zip(models.members, found, strict=True)
        ]
        self.rows = [models.rows(member) for member in models.members]
        transforms = TTA[settings.tta].transforms
        self.counts = [makers * len(transforms) for makers in models.makers()]
        self.spread_of = tuple(row for row, count in enumerate(self.counts) if count > 1)
        self.passes = self._order(transforms)
        self.sums = np.zeros(len(self.spread_of))
        self.pixels = 0
        self.side = self._block_side(limits)

    def _block_side(self, limits: Limits) -> int | None:
        """Return the side of the blocks that fields are split into; None where they are painted whole."""
        for painter in self.painters:
            check_fits(painter.member.model, painter.match, self.stack, self.settings)
        splits = [split for painter in self.painters if (split := painter.split()) is not None]
        return block_side(*self.painters[0].sides(), splits, limits) if len(splits) == len(self.painters) else None

    def _order(self, transforms: Sequence[DihedralTransform]) -> tuple[_Pass, ...]:
        """Return the passes: each member once, so that every stain appears early, then the other transforms."""
        weights = shares([(painter.member.model, painter.match) for painter in self.painters], self.stack, self.settings)
        everyone = range(len(self.painters))
        order = [(painter, transforms[0]) for painter in everyone] + [
            (painter, transform) for painter in everyone for transform in transforms[1:]
        ]
        return tuple(_Pass(painter, transform, weights[painter] / len(transforms)) for painter, transform in order)

    def run(self, out: Any, view: View | None) -> Generator[PaintUpdate, None, Painting]:
        """Paint field by field."""
        started = time.perf_counter()
        devices.reset_peak(self.kind)
        shape = network_input.output_shape(self.stack, self.painters[0].match, len(self.models.stains))
        if out is None:
            out = np.zeros(shape, np.float32)
        elif tuple(out.shape) != shape:
            raise InputError(f"The output has the shape {tuple(out.shape)}; these stains need {shape} (TCZYX).")
        spread = self._spread((shape[0], len(self.spread_of), *shape[2:])) if self.spread_of else None
        found = units([painter.match for painter in self.painters], self.stack, None if view is None else view[:2])
        center = None if view is None else view[2:]
        blocks = blocks_of(span_slices(self.settings.region, *self.painters[0].sides()), self.side, center)
        # Models that make one stain are brought to one scale, which is known once each has painted the whole field.
        together = [tuple(blocks)] if any(count > 1 for count in self.models.makers()) else [(block,) for block in blocks]
        todo = [(unit, part) for unit in found for part in together]
        total = float(len(todo))
        for number, (unit, part) in enumerate(todo):
            updates = self._direct(unit, out, center, part) if spread is None else self._merged(unit, out, spread, center, part)
            for update in updates:
                yield replace(update, done=number + update.done, total=total)
            self.raws.clear()
            release(out)
            release(spread)
        yield PaintUpdate(total, total)
        report = self._report(time.perf_counter() - started)
        stack = self._stack(out, self.models.stains, report)
        return Painting(stack, report, self._spread_stack(spread, report))

    def _spread(self, shape: tuple[int, ...]) -> Floats:
        """Return an array for the SDs; in a file where fields are too large for memory."""
        return zeros(shape, self.scratch) if self.side is None else file_backed_zeros(shape, self.scratch)

    def _updates(self, unit: WorkUnit, step: _Pass, center: tuple[float, float] | None, blocks: Sequence[Block]) -> Iterator[FieldUpdate]:
        """Paint one pass over blocks of a unit; `share` of the updates is that of the pass."""
        for painter in self.painters:
            if painter is not self.painters[step.painter]:
                painter.release()
        parts = [(place, None if self.side is None else block) for place in unit.parts[step.painter] for block in blocks]
        for number, (place, block) in enumerate(parts):
            for update in self.painters[step.painter].paint(place, step.transform, center, block):
                yield update if update.share == SHRUNK else replace(update, share=(number + update.share) / len(parts))

    def _direct(self, unit: WorkUnit, out: Any, center: tuple[float, float] | None, blocks: Sequence[Block]) -> Iterator[PaintUpdate]:
        """Paint blocks of a unit whose stains one pass makes, straight into the output, or into one block of it after the other."""
        before, alone = 0.0, len(self.painters) == 1
        corner = self._corner(unit, blocks)
        gathered = self._empty(corner) if takes_blocks(out) else None
        for step in self.passes:
            rows = self.rows[step.painter]
            span = (rows[0], rows[0] + len(rows))  # the stains of a single maker are contiguous
            for update in self._updates(unit, step, center, blocks):
                done = before + step.weight * max(update.share, 0.0)
                if update.where is None or update.stains is None:
                    yield PaintUpdate(done, 1.0, message=update.message)
                    continue
                where = (slice(unit.t, unit.t + 1), *update.where)
                if gathered is None:
                    out[(where[0], slice(*span), *update.where)] = update.stains[None]
                else:
                    gathered[(slice(*span), *within(update.where, corner))] = update.stains
                yield PaintUpdate(done, 1.0, update.message, where, update.stains, None if alone else span)
            before += step.weight
        if gathered is not None:
            out[(slice(unit.t, unit.t + 1), slice(None), *corner)] = gathered[None]

    def _merged(
        self, unit: WorkUnit, out: Any, spread: Floats, center: tuple[float, float] | None, blocks: Sequence[Block]
    ) -> Iterator[PaintUpdate]:
        """Paint all passes over blocks of a unit and yield what is merged so far at every step."""
        corner = self._corner(unit, blocks)
        merged, direct = self._begin(unit, corner, out, spread)

        def show(done: float, box: Box, message: str = "") -> PaintUpdate:
            """Write and return what is merged so far."""
            z, y, x = (slice(a.start + c.start, a.stop + c.start) for a, c in zip(box, corner, strict=True))
            data = np.ascontiguousarray(merged.mean[(slice(None), *box)])
            if not direct and not takes_blocks(out):
                out[(slice(unit.t, unit.t + 1), slice(None), z, y, x)] = data[None]
            return PaintUpdate(done, 1.0, message, (slice(unit.t, unit.t + 1), z, y, x), data)

        before = 0.0
        for step in self.passes:
            merged.begin(step.painter, self.rows[step.painter])
            for update in self._updates(unit, step, center, blocks):
                done = before + step.weight * max(update.share, 0.0)
                if update.share == SHRUNK:
                    merged.restart()
                box = None if update.where is None else within(update.where, corner)
                if box is not None and update.stains is not None and merged.add((box[0], box[1], box[2]), update.stains):
                    yield show(done, (box[0], box[1], box[2]), update.message)
                else:
                    yield PaintUpdate(done, 1.0, message=update.message)
            before += step.weight
            for band in merged.end():
                yield show(before, band)
        for band, changed in merged.finish():
            self.sums += merged.spread[(slice(None), *band)].sum(axis=(1, 2, 3), dtype=np.float64)
            yield show(1.0, band) if changed else PaintUpdate(1.0, 1.0)
        if not direct and takes_blocks(out):
            for block in blocks:
                place = (unit.z, *block)
                out[(slice(unit.t, unit.t + 1), slice(None), *place)] = merged.mean[(slice(None), *within(place, corner))][None]
        self.pixels += merged.mean[0].size

    def _begin(self, unit: WorkUnit, corner: Box, out: Any, spread: Floats) -> tuple[PassMerger, bool]:
        """Return the merger of the passes over a unit, and whether it works in the output itself."""
        frame = (unit.t, slice(None), *corner)
        direct = isinstance(out, np.ndarray) and out.dtype == np.float32
        mean = out[frame] if direct else self._empty(corner)
        shared = [count > 1 for count in self.models.makers()]
        median = self.settings.merge == "median"
        return PassMerger(mean, spread[frame], self.spread_of, self.counts, shared, median=median, folder=self.scratch), direct

    def _empty(self, corner: Box) -> Floats:
        """Return an array for all stains of a part of a field."""
        shape = (len(self.models.stains), *(side.stop - side.start for side in corner))
        size = 4 * int(np.prod(shape, dtype=np.int64))
        return file_backed_zeros(shape, self.scratch) if size > WHOLE else np.empty(shape, np.float32)

    def _corner(self, unit: WorkUnit, blocks: Sequence[Block]) -> Box:
        """Return the Z, Y and X of the blocks of a unit together."""
        y, x = (slice(min(block[axis].start for block in blocks), max(block[axis].stop for block in blocks)) for axis in (0, 1))
        return unit.z, y, x

    def _report(self, seconds: float) -> PaintReport:
        """Return the report."""
        names = self.models.stains
        alone = len(self.painters) == 1
        members = () if alone else tuple(_member_report(painter, row, names) for painter, row in zip(self.painters, self.rows, strict=True))
        uncertainty = {names[row]: float(total / max(self.pixels, 1)) for row, total in zip(self.spread_of, self.sums, strict=True)}
        notes = [note for painter in self.painters for note in (*painter.notes, *painter.predictor.notes)]
        return PaintReport(
            model=self.models.id,
            version=self.models.version,
            device=" + ".join(dict.fromkeys(painter.kind for painter in self.painters)),
            precision=self.settings.precision,
            blend=self.settings.blend,
            exact=all(painter.predictor.exact for painter in self.painters),
            tile=max(painter.predictor.used_tile for painter in self.painters),
            block=self.side or 0,
            seconds=seconds,
            peak_memory_mb=devices.peak_memory_mb(self.kind),
            notes=tuple(dict.fromkeys(notes)),
            passes=max(self.counts),
            merge=self.settings.merge if self.spread_of else "",
            uncertainty=uncertainty,
            members=members,
        )

    def _stack(self, out: Any, names: tuple[str, ...], report: PaintReport, **more: Any) -> Stack:
        """Return pixels as a stack with the metadata of the input and the provenance."""
        size = self.stack.pixel_size
        provenance = {
            **report.to_json(),
            "software": f"napari-virtual-paint {__version__}",
            "settings": self.settings.to_json(),
            "input": self.stack.source,
            **inherited(self.stack),
            **more,
        }
        return replace(
            self.stack,
            data=out,
            channels=names,
            pixel_size=PixelSize(None, size.y, size.x) if self.painters[0].match.mode == "window" else size,
            rgb=False,
            provenance=provenance,
        )

    def _spread_stack(self, spread: Floats | None, report: PaintReport) -> Stack | None:
        """Return the SDs as a stack; None without."""
        if spread is None:
            return None
        names = tuple(self.models.painted[row].sd_name for row in self.spread_of)
        return self._stack(spread, names, report, shows=f"sample SD over {report.passes} passes")


def takes_blocks(out: Any) -> bool:
    """Return whether an output is written one finished block after the other."""
    return bool(getattr(out, "takes_blocks", False))


def _member_report(painter: FieldPainter, rows: Sequence[int], names: Sequence[str]) -> dict[str, Any]:
    """Return the entry of one of several models in the report."""
    return {"model": painter.info.id, "version": painter.info.version, "stains": [names[row] for row in rows]}
