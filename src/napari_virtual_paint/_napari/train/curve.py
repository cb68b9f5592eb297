"""The curves of a training: the loss above, the monitored score of each stain below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.train.watcher import colours
from napari_virtual_paint.metrics.metric import METRICS
from napari_virtual_paint.training.run_folder.watch import EpochRecord, RunState

LEFT, RIGHT, TOP, GAP, FOOT = 38, 6, 14, 20, 16  # margins of the two plots in pixels: numbers at the left, titles above, steps below
HEIGHT = 190
MOST = 300  # most points of a curve that are drawn; more can't be distinguished in a dock
FAINT = 110  # opacity of the loss of single steps, 0 to 255


class CurveView(QWidget):  # type: ignore[misc]
    """Draws the curves of a `RunState`; a tooltip shows the numbers of an epoch."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.state: RunState | None = None
        self._lines: tuple[EpochRecord, ...] = ()
        self._recent: tuple[tuple[int, float], ...] = ()
        self.setFixedHeight(HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)
        self.setAccessibleName("Loss and score by step")

    def set_state(self, state: RunState | None) -> None:
        """Show another state or run."""
        self.state = state
        self._lines = thinned(state.curve) if state is not None else ()
        self._recent = tuple(state.recent) if state is not None else ()
        self.update()

    @timed
    def paintEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Draw."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = painter.font()
        font.setPointSizeF(max(7.0, font.pointSizeF() - 1))
        painter.setFont(font)
        upper, lower = self._areas()
        self._draw_loss(painter, upper)
        self._draw_scores(painter, lower)
        painter.end()

    def _areas(self) -> tuple[QRectF, QRectF]:
        """Return the plots of the loss and of the scores."""
        inner = self.height() - TOP - GAP - FOOT
        width = self.width() - LEFT - RIGHT
        upper = QRectF(LEFT, TOP, width, inner * 0.45)
        return upper, QRectF(LEFT, upper.bottom() + GAP, width, inner * 0.55)

    def _draw_loss(self, painter: QPainter, area: QRectF) -> None:
        values = [loss for _, loss in self._recent] + [line.loss for line in self._lines if math.isfinite(line.loss)]
        low, high = span(values)
        self._frame(painter, area, "Loss", f"{low:.3g}", f"{high:.3g}")
        if not values:
            return
        ink = self._ink()
        faint = QColor(ink)
        faint.setAlpha(FAINT)
        self._curve(painter, area, [(step, loss) for step, loss in self._recent], (low, high), QPen(faint, 1.0))
        self._curve(painter, area, [(line.step, line.loss) for line in self._lines], (low, high), QPen(ink, 1.6), dots=True)

    def _draw_scores(self, painter: QPainter, area: QRectF) -> None:
        names, scores = self._names(), [(line.step, self._scores(line)) for line in self._lines]
        low, high = score_span([value for _, values in scores for value in values if math.isfinite(value)])
        metric = METRICS[self._metric()]
        self._frame(painter, area, f"{metric.label} of the held-out part", f"{low:g}", f"{high:g}")
        for index, colour in enumerate(colours(names)):
            points = [(step, values[index]) for step, values in scores if index < len(values)]
            self._curve(painter, area, points, (low, high), QPen(QColor(*colour), 1.8), dots=True)
        painter.setPen(self._ink())
        steps = self._steps()
        foot = QRectF(area.left(), area.bottom() + 1, area.width(), FOOT)
        painter.drawText(foot, Qt.AlignmentFlag.AlignRight, f"step {steps}" if steps else "")
        painter.drawText(foot, Qt.AlignmentFlag.AlignLeft, "0")

    def _frame(self, painter: QPainter, area: QRectF, title: str, low: str, high: str) -> None:
        """Draw the frame of a plot, its title and its limits."""
        ink = self._ink()
        painter.setPen(ink)
        painter.drawText(QRectF(area.left(), area.top() - 15, area.width(), 14), Qt.AlignmentFlag.AlignLeft, title)
        side = Qt.AlignmentFlag.AlignRight
        painter.drawText(QRectF(0, area.top() - 3, LEFT - 4, 14), side, high)
        painter.drawText(QRectF(0, area.bottom() - 11, LEFT - 4, 14), side, low)
        faint = QColor(ink)
        faint.setAlpha(70)
        painter.setPen(QPen(faint, 1.0))
        painter.drawRect(area)

    def _curve(
        self,
        painter: QPainter,
        area: QRectF,
        points: Sequence[tuple[int, float]],
        limits: tuple[float, float],
        pen: QPen,
        dots: bool = False,
    ) -> None:
        """Draw one curve; points that are no numbers are left out."""
        low, high = limits
        steps = max(self._steps(), 1)
        painter.setPen(pen)
        line: list[QPointF] = []
        for step, value in points:
            if not math.isfinite(value):
                continue
            share = min(1.0, max(0.0, (value - low) / (high - low)))
            line.append(QPointF(area.left() + area.width() * min(1.0, step / steps), area.bottom() - area.height() * share))
        painter.drawPolyline(QPolygonF(line))
        if dots and line:
            painter.setBrush(pen.color())
            painter.drawEllipse(line[-1], 2.2, 2.2)
            painter.setBrush(Qt.BrushStyle.NoBrush)

    def mouseMoveEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Show the numbers of the epoch nearest to the mouse."""
        upper, _ = self._areas()
        steps = max(self._steps(), 1)
        at = (event.position().x() - upper.left()) / max(upper.width(), 1) * steps
        line = min(self._lines, key=lambda each: abs(each.step - at), default=None)
        if line is None:
            return
        numbers = [f"step {line.step}", f"loss {line.loss:.4g}"]
        numbers += [f"{name} {value:.3f}" for name, value in zip(self._names(), self._scores(line), strict=False)]
        QToolTip.showText(event.globalPosition().toPoint(), "\n".join(numbers), self)

    def _names(self) -> list[str]:
        count = len(self._scores(self._lines[-1])) if self._lines else 0
        names = list(self.state.stains) if self.state is not None else []
        return [*names, *(f"stain {i + 1}" for i in range(len(names), count))][: max(count, len(names))]

    def _metric(self) -> str:
        """Return the monitored metric, or PCC where the curve lacks it, as those of earlier versions may."""
        monitor = self.state.monitor if self.state is not None else "pcc"
        return monitor if any(monitor in line.scores for line in self._lines) else "pcc"

    def _scores(self, line: EpochRecord) -> tuple[float, ...]:
        return line.scores.get(self._metric(), ())

    def _steps(self) -> int:
        state = self.state
        if state is None:
            return 0
        return max(state.steps, state.step, self._lines[-1].step if self._lines else 0)

    def _ink(self) -> QColor:
        return self.palette().color(QPalette.ColorRole.WindowText)


def thinned(lines: Sequence[EpochRecord]) -> tuple[EpochRecord, ...]:
    """Return at most `MOST` of the lines, evenly spaced, the first and the last among them."""
    if len(lines) <= MOST:
        return tuple(lines)
    return tuple(lines[round(i * (len(lines) - 1) / (MOST - 1))] for i in range(MOST))


def span(values: Sequence[float]) -> tuple[float, float]:
    """Return the limits of the loss axis: without the highest 2 %, which the first steps give."""
    if not values:
        return 0.0, 1.0
    order = sorted(values)
    # The loss of the first steps is so high that the rest would be a flat line.
    low, high = order[0], order[min(len(order) - 1, int(0.98 * len(order)))]
    room = 0.05 * (high - low) or max(abs(high) * 0.05, 1e-6)
    return low - room, high + room


def score_span(values: Sequence[float]) -> tuple[float, float]:
    """Return the limits of the axis of scores: from the tenth below the lowest value to 1, or beyond the highest value."""
    return (min(0.0 if not values else math.floor(min(values) * 10) / 10, 0.9), float(max(1, math.ceil(max(values, default=1)))))
