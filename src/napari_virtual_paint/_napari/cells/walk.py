"""The Walk tab: from A to B through feature space, as layers in the viewer, steps in the dock, and files."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.utils.notifications import show_info
from qtpy.QtCore import QAbstractListModel, QModelIndex, QObject, QSignalBlocker, QSize, Qt, Signal
from qtpy.QtGui import QPainter, QPixmap
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QListView,
    QSlider,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_virtual_paint._napari.cells.feature_vector import VectorEditor
from napari_virtual_paint._napari.cells.layers import InViewer, walk_layers
from napari_virtual_paint._napari.cells.picture import thumbnail
from napari_virtual_paint._napari.cells.state import Opened, provenance_of
from napari_virtual_paint._napari.shared.background import LatestJob
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.saving import saving
from napari_virtual_paint._napari.shared.widgets import combo, form_rows, push_button, row, set_choices

if TYPE_CHECKING:
    from napari_virtual_paint.cells.populations.cohort import LikeCells
    from napari_virtual_paint.cells.populations.walks import Walk

FRAME, BETWEEN = 52, 2  # pixels a side of a step's picture, and between the real cell and the generated one below it
WAYS = (("stepwise", "The features that differ most first"), ("line", "Along the line"))
End = tuple[str, str] | int  # A group (column and value), or the position of a cell


@dataclass(frozen=True)
class WalkPlan:
    """A requested walk."""

    start: End = -1
    end: End = -1  # `start` and `end`: A cell or group each
    way: str = "stepwise"  # ``"stepwise"`` or ``"line"``
    step: int = 50  # features per step
    frames: int = 9  # frames along a line
    follow: bool = True  # whether the features that a step leaves follow those it takes
    seed: int = 0  # seed of all steps: they differ by their features alone


@dataclass(frozen=True, eq=False)
class Walked:
    """A walk with its cells."""

    plan: WalkPlan
    walk: Walk
    frames: npt.NDArray[np.float32]  # (k, C, d, d)
    real: LikeCells | None = None  # the real cell that is most like each step


def make_walk(opened: Opened, plan: WalkPlan) -> Walked:
    """Walk and generate the cell of every step (on a worker)."""
    from napari_virtual_paint.cells.cp2image.model import generate
    from napari_virtual_paint.cells.populations.walks import line, mean_of, representative, stepwise

    population, cohort = opened.population, opened.cohort

    def vector(end: End) -> npt.NDArray[np.float32]:
        if isinstance(end, int):
            return np.asarray(population.values[end])
        rows = cohort.group(*end)
        return mean_of(population, rows) if plan.way == "line" else np.asarray(population.values[representative(population, rows)])

    a, b = vector(plan.start), vector(plan.end)
    walk = line(population, a, b, plan.frames) if plan.way == "line" else stepwise(population, a, b, plan.step, plan.follow)
    walk = walk.named(name_of(opened, plan.start), name_of(opened, plan.end))
    real = None if opened.pictured is None else opened.pictured.like(walk.values)
    return Walked(plan, walk, generate(opened.model, walk.values, seed=plan.seed), real)


def write_walk(opened: Opened, walked: Walked, path: Path) -> Path:
    """Write a walk (on a worker)."""
    from napari_virtual_paint.cells.populations.walk_export import save_walk

    model, walk, real = opened.model, walked.walk, walked.real
    return save_walk(
        path,
        walk,
        walked.frames,
        model.channels,
        opened.limits,
        real=None if real is None else real.crops[:, 0],
        pixel_size=model.pixel_size,
        provenance=provenance_of(opened, walked.plan.seed, walk=list(walk.ends)),
        overwrite=True,
    )


def command_of(opened: Opened, plan: WalkPlan) -> str:
    """Return the command line that makes a walk."""

    def words(end: End) -> str:
        return str(opened.cohort.rows[end]) if isinstance(end, int) else f"{end[0]}={end[1]}"

    parts = ["virtual-paint", "cells", "walk", opened.choice.model, *([opened.choice.table] if opened.choice.table else [])]
    parts += ["--from", words(plan.start), "--to", words(plan.end)]
    if plan.way == "line":
        parts += ["--along", "line", "--frames", str(plan.frames)]
    else:
        parts += ["--step", str(plan.step), *([] if plan.follow else ["--alone"])]
    parts += ["--seed", str(plan.seed)] if opened.model.takes_noise else []
    return shlex.join([*parts, "-o", "walk.gif"])


def name_of(opened: Opened, end: End) -> str:
    """Return the name of an end of a walk."""
    return f"#{opened.cohort.rows[end]}" if isinstance(end, int) else end[1]


class FilmStrip(QAbstractListModel):  # type: ignore[misc]
    """The steps of a walk as small pictures, made as they come into view, with their scores."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._walked: Walked | None = None
        self._opened: Opened | None = None
        self._pictures: dict[int, QPixmap] = {}

    def show_walk(self, walked: Walked | None, opened: Opened | None) -> None:
        """Show another walk, or none."""
        self.beginResetModel()
        self._walked, self._opened, self._pictures = walked, opened, {}
        self.endResetModel()

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008 - Qt's own
        return 0 if parent.isValid() or self._walked is None else len(self._walked.walk)

    def data(self, index: QModelIndex, role: int = int(Qt.ItemDataRole.DisplayRole)) -> Any:
        if self._walked is None or self._opened is None or not index.isValid():
            return None
        step = index.row()
        if role == Qt.ItemDataRole.DisplayRole:
            return f"{self._walked.walk.scores[step]:.2f}"
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._tip(step)
        if role == Qt.ItemDataRole.DecorationRole:
            if step not in self._pictures:
                self._pictures[step] = self._picture(self._walked, self._opened, step)
            return self._pictures[step]
        return None

    def _tip(self, step: int) -> str:
        assert self._walked is not None
        words, real = self._walked.walk.captions[step], self._walked.real
        if real is None:
            return words
        return f"{words}\nAbove: the real cell that is most like it, #{real.rows[step, 0]}, {real.distances[step, 0]:.2f} SD a feature away"

    @staticmethod
    def _picture(walked: Walked, opened: Opened, step: int) -> QPixmap:
        """Return the generated cell of a step, below the real one that is most like it."""
        made = thumbnail(walked.frames[step], opened.limits, opened.model.channels, FRAME)
        if walked.real is None:
            return made
        both = QPixmap(FRAME, 2 * FRAME + BETWEEN)
        both.fill(Qt.GlobalColor.transparent)
        painter = QPainter(both)
        painter.drawPixmap(0, 0, thumbnail(walked.real.crops[step, 0], opened.limits, opened.model.channels, FRAME))
        painter.drawPixmap(0, FRAME + BETWEEN, made)
        painter.end()
        return both


class WalkPanel(QWidget):  # type: ignore[misc]
    """Edits a `WalkPlan`, and steps through the walk that was made."""

    walks = Signal(object)
    """The user requested a walk, a `WalkPlan`."""
    exports = Signal()
    """The user wants to export the walk."""
    steps = Signal(int)
    """The user turned the slider to this step."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.start, self.end = (
            combo(f"Where the walk goes {text}: a group stands for the real cell nearest its mean (along the line: for its mean)")
            for text in ("from", "to")
        )
        self.way = combo("Take over the features that differ most, some at each step (Ji 2024); or go straight", WAYS)
        self.step, self.frames = _spin_box(1, 5000, 50, " features"), _spin_box(2, 200, 9, " frames")
        self.pin_start, self.pin_end = (push_button("This cell", "Take the picked cell") for _ in range(2))
        self.go = push_button("Walk", "Make the walk: its steps become layers with a slider in the viewer, its path is drawn on the map")
        self.export = push_button("Export…", "Write the walk as GIF, MP4 or TIFF")
        self.copy = push_button("Copy command", "Copy the command line that makes this walk")
        self.slider, self.caption = QSlider(Qt.Orientation.Horizontal), QLabel()
        self.strip, self.film = FilmStrip(self), QListView()
        self.walked: Walked | None = None
        self.follow, self.seed = True, 0  # of the dock's state
        self.current: Callable[[], tuple[int, str] | None] = lambda: None
        self._build()
        self.way.currentIndexChanged.connect(self._way_changed)
        self.pin_start.clicked.connect(lambda: self._pin(self.start))
        self.pin_end.clicked.connect(lambda: self._pin(self.end))
        self.go.clicked.connect(lambda: self.walks.emit(self.value()))
        self.export.clicked.connect(self.exports)
        self.slider.valueChanged.connect(self._stepped)
        self.film.clicked.connect(lambda index: self.slider.setValue(index.row()))
        self._way_changed()

    def value(self) -> WalkPlan:
        """Return the requested walk."""
        start, end = self.start.currentData(), self.end.currentData()
        return WalkPlan(start, end, self.way.currentData(), self.step.value(), self.frames.value(), self.follow, self.seed)

    def setValue(self, plan: WalkPlan) -> None:  # noqa: N802 - Qt's own way of naming
        """Show another plan."""
        for box, end in ((self.start, plan.start), (self.end, plan.end)):
            if (found := _find(box, end)) >= 0:
                box.setCurrentIndex(found)
        self.way.setCurrentIndex(max(0, self.way.findData(plan.way)))
        self.step.setValue(plan.step)
        self.frames.setValue(plan.frames)

    def open(self, opened: Opened) -> None:
        """Offer the groups of other cells."""
        groups = [(column, value) for column, values in opened.cohort.groupings.items() for value in values]
        for box in (self.start, self.end):
            set_choices(box, [((column, value), f"{column.removeprefix('Metadata_')} = {value}") for column, value in groups])
        self.end.setCurrentIndex(min(1, len(groups) - 1))
        self.go.setEnabled(bool(groups))
        self.show_walk(None)

    def show_walk(self, walked: Walked | None, opened: Opened | None = None) -> None:
        """Show a finished walk at its first step, or none."""
        self.walked = walked
        self.strip.show_walk(walked, opened)
        blocker = QSignalBlocker(self.slider)
        self.slider.setRange(0, len(walked.walk) - 1 if walked is not None else 0)
        self.slider.setValue(0)
        del blocker
        for widget in (self.slider, self.export, self.copy):
            widget.setEnabled(walked is not None)
        height = (2 * FRAME + BETWEEN) if walked is not None and walked.real is not None else FRAME
        self.film.setIconSize(QSize(FRAME, height))
        self.film.setGridSize(QSize(FRAME + 8, height + 22))
        self.film.setMinimumHeight(height + 24)
        self.caption.setText("" if walked is None else self._caption(0))

    def show_step(self, step: int) -> None:
        """Show another step, without a signal."""
        if self.walked is not None:
            blocker = QSignalBlocker(self.slider)
            self.slider.setValue(step)
            del blocker
            self._mark(self.slider.value())

    def _stepped(self, step: int) -> None:
        self._mark(step)
        self.steps.emit(step)

    def _mark(self, step: int) -> None:
        self.caption.setText(self._caption(step))
        self.film.setCurrentIndex(self.strip.index(step, 0))

    def _caption(self, step: int) -> str:
        if self.walked is None:
            return ""
        walk = self.walked.walk
        taken = f", {walk.taken[step]} of {len(walk.features)} features of {walk.ends[1]}" if self.walked.plan.way == "stepwise" else ""
        return f"{walk.captions[step]}{taken}"

    def _pin(self, box: QComboBox) -> None:
        """Offer the picked cell as an end, and choose it."""
        found = self.current()
        if found is None:
            return
        position, name = found
        if _find(box, position) < 0:
            box.addItem(f"Cell {name}", position)
        box.setCurrentIndex(_find(box, position))
        self.go.setEnabled(self.start.count() > 0 and self.end.count() > 0)

    def _way_changed(self, _index: int = 0) -> None:
        stepwise = self.way.currentData() == "stepwise"
        self.step.setVisible(stepwise)
        self.frames.setVisible(not stepwise)

    def _build(self) -> None:
        self.slider.setToolTip("Step through the walk here")
        self.slider.setAccessibleName("Step of the walk")
        self.caption.setWordWrap(True)
        self.film.setModel(self.strip)
        self.film.setViewMode(QListView.ViewMode.IconMode)
        self.film.setMovement(QListView.Movement.Static)
        self.film.setResizeMode(QListView.ResizeMode.Adjust)
        self.film.setUniformItemSizes(True)
        self.film.setToolTip(
            "The steps of the walk, with the cosine similarity to its end under each, and the real cell that is most like it above; "
            "click one to see it"
        )
        self.film.setAccessibleName("Steps of the walk")
        ends = (("From", row(self.start, self.pin_start)), ("To", row(self.end, self.pin_end)))
        form = form_rows((*ends, ("Way", row(self.way, self.step, self.frames))))
        top = QVBoxLayout(self)
        top.setContentsMargins(2, 6, 2, 2)
        top.addLayout(form)
        line = QHBoxLayout()
        line.setSpacing(4)
        for button in (self.go, self.export, self.copy):
            line.addWidget(button, 1)
        top.addLayout(line)
        top.addWidget(self.slider)
        top.addWidget(self.caption)
        top.addWidget(self.film, 1)


class WalkController(QObject):  # type: ignore[misc]
    """Makes walks, and keeps the dock's slider, the viewer's slider and the edited cell at the same step."""

    made = Signal(object)
    """The vectors (k, p) of a finished walk."""

    def __init__(self, view: WalkPanel, editor: VectorEditor, in_viewer: InViewer, parent: QObject) -> None:
        super().__init__(parent)
        self.view, self.editor, self.in_viewer = view, editor, in_viewer
        self._opened: Opened | None = None
        self._walking, self._writing = LatestJob(self), LatestJob(self)
        view.current = self._current
        view.walks.connect(self.make)
        view.exports.connect(self._choose_file)
        view.copy.clicked.connect(lambda _: self.copy_command())
        view.steps.connect(self._step_in_dock)
        in_viewer.stepped.connect(self._step_in_viewer)

    @property
    def busy(self) -> bool:
        """Whether a walk is being made or written."""
        return self._walking.running or self._writing.running

    def open(self, opened: Opened) -> None:
        """Walk between other cells."""
        self._opened = opened
        self.view.open(opened)

    def make(self, plan: WalkPlan) -> None:
        """Make a walk; its steps become layers of the viewer."""
        opened = self._opened
        if opened is not None:
            self.view.setValue(plan)
            self._walking.start_function(
                lambda: make_walk(opened, plan), title="Walking", done=lambda walked: self._show(opened, walked), quiet=False
            )

    def save(self, path: str | Path) -> None:
        """Write the walk as GIF, MP4 or TIFF."""
        opened, walked = self._opened, self.view.walked
        if opened is not None and walked is not None:
            self._writing.start_function(
                saving(path, lambda: write_walk(opened, walked, Path(path)), opened.choice.table or None),
                title="Writing the walk",
                done=lambda found: show_info(f"The walk is in {found}"),
                quiet=False,
            )

    def copy_command(self) -> str:
        """Copy the command line that makes the walk, and return it."""
        if self._opened is None or self.view.walked is None:
            return ""
        line = command_of(self._opened, self.view.walked.plan)
        QApplication.clipboard().setText(line)
        show_info(f"Copied: {line}")
        return line

    def close(self) -> None:
        """Stop all work."""
        self._walking.close()
        self._writing.close()

    @timed
    def _show(self, opened: Opened, walked: Walked) -> None:
        if self._opened is opened:
            self.view.show_walk(walked, opened)
            real = None if walked.real is None else walked.real.crops[:, 0]
            layers = walk_layers(opened, walked.frames, walked.walk.ends, real, walked.plan.seed)
            self.in_viewer.show_walk(layers, walked.walk.captions)
            self._step_in_dock(0)
            self.made.emit(walked.walk.values)

    def _step_in_dock(self, step: int) -> None:
        if self.view.walked is not None:
            self.editor.put(self.view.walked.walk.values[step], "step of the walk")
            self.in_viewer.show_step(step)

    def _step_in_viewer(self, step: int) -> None:
        if self.view.walked is not None and self.view.slider.value() != step:
            self.view.show_step(step)
            self.editor.put(self.view.walked.walk.values[step], "step of the walk")

    def _current(self) -> tuple[int, str] | None:
        """Return position and name of the picked cell, if it is one of the cohort."""
        vector = self.editor.vector
        if self._opened is None or vector is None or vector.row < 0:
            return None
        return vector.row, f"#{self._opened.cohort.rows[vector.row]}"

    def _choose_file(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self.view, "Export the walk", "walk.gif", "Walks (*.gif *.mp4 *.ome.tif *.tif)")
        if path:
            self.save(path)


def _find(box: QComboBox, data: Any) -> int:
    """Return the index of some data, which `QComboBox.findData` does not find in tuples: Qt compares them by identity."""
    return next((index for index in range(box.count()) if box.itemData(index) == data), -1)


def _spin_box(low: int, high: int, value: int, suffix: str) -> QSpinBox:
    box = QSpinBox()
    box.setRange(low, high)
    box.setValue(value)
    box.setSuffix(suffix)
    return box
