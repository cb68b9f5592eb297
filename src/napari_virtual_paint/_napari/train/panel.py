"""The Train dock as it looks: the form, what is said of it, and the run that is watched."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_virtual_paint._napari.shared.widgets import fill_scrolled, words
from napari_virtual_paint._napari.train.curve import CurveView
from napari_virtual_paint._napari.train.form import TrainForm, heading
from napari_virtual_paint._napari.train.preview import PreviewView

LINES = 4
"""Runs that the list shows before it scrolls."""
START = "Ctrl+Alt+B"


class TrainPanel(QWidget):  # type: ignore[misc]
    """Widgets alone; `train.TrainDock` gives them their work."""

    run_chosen = Signal(str)
    """Folder of the run that was clicked."""

    def __init__(self) -> None:
        super().__init__()
        self.form = TrainForm()
        self.problem, self.time, self.report = words(), words(), words()
        self.check = self._button("Check pairs", "Look for pairs that are shifted, saturated, blank or out of focus, without training")
        self.start = self._button("Start", "Write the images and the configuration, look at the pairs, and train in the background", START)
        self.leave_out = self._button("Leave them out", "Train without the pairs that look wrong")
        self.go_on = self._button("Train on all", "Train on these pairs as they are")
        self.give_up = self._button("Don't train", "Back to the form")
        self.runs = QListWidget()
        self.open_run = self._button("Open run…", "Watch a run that was started elsewhere: choose its run folder")
        self.status = words()
        self.bar = QProgressBar()
        self.curve, self.preview = CurveView(), PreviewView()
        self.pause = self._button("Pause", "Hold the training after the step under way, or go on")
        self.stop = self._button("Stop", "Stop; nothing is lost, the training can be resumed. Again: end it at once")
        self.finish = self._button("Finish now", "End the training and make the model of its best epoch")
        self.resume = self._button("Resume", "Go on where the training stopped")
        self.paint = self._button("Paint with it", "Open the Stain dock with this model")
        self.asking, self.watching = QWidget(), QWidget()
        self._lay_out()

    def set_runs(self, runs: Sequence[tuple[str, str]], chosen: str) -> None:
        """Show the runs there are: folder and line of each."""
        blocker = QSignalBlocker(self.runs)
        for index, (folder, line) in enumerate(runs):
            item = self.runs.item(index)
            if item is None:
                item = QListWidgetItem()
                self.runs.addItem(item)
            if (item.text(), item.data(Qt.ItemDataRole.UserRole)) != (line, folder):
                item.setText(line)
                item.setToolTip(folder)
                item.setData(Qt.ItemDataRole.UserRole, folder)
            item.setSelected(folder == chosen)
            if folder == chosen:
                self.runs.setCurrentRow(index)
        while self.runs.count() > len(runs):
            self.runs.takeItem(self.runs.count() - 1)
        if not chosen:
            self.runs.setCurrentRow(-1)
        height = max(self.runs.sizeHintForRow(0), 18) * min(max(len(runs), 1), LINES) + 2 * self.runs.frameWidth() + 4
        self.runs.setFixedHeight(height)
        self.runs.setVisible(bool(runs))
        del blocker

    def say(self, label: QLabel, text: str) -> None:
        """Show a line, or hide it where there is nothing to say."""
        label.setText(text)
        label.setVisible(bool(text))

    def _lay_out(self) -> None:
        inner = QWidget()
        top = QVBoxLayout(inner)
        top.setContentsMargins(0, 0, 4, 0)
        top.setSpacing(5)
        top.addWidget(self.form)
        for label in (self.problem, self.time, self.report):
            top.addWidget(label)
            label.hide()
        _row(self.asking, self.leave_out, self.go_on, self.give_up)
        top.addWidget(self.asking)
        self.asking.hide()
        buttons = QHBoxLayout()
        buttons.setSpacing(4)
        buttons.addWidget(self.check, 1)
        buttons.addWidget(self.start, 1)
        top.addLayout(buttons)
        head = QHBoxLayout()
        head.addWidget(heading("Runs"), 1)
        head.addWidget(self.open_run)
        top.addLayout(head)
        top.addWidget(self.runs)
        top.addWidget(self.watching)
        top.addStretch(1)
        self._lay_out_run()
        self.scroll = fill_scrolled(self, inner)
        self.runs.setToolTip("Trainings of now and before: click one to see it; those that stopped can be resumed")
        self.runs.setAccessibleName("Runs")
        self.runs.itemClicked.connect(self._clicked)
        self.runs.itemActivated.connect(self._clicked)

    def _lay_out_run(self) -> None:
        self.bar.setToolTip("How far the training is")
        self.bar.setRange(0, 1000)
        line = QVBoxLayout(self.watching)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(4)
        for widget in (self.status, self.bar, self.curve, self.preview):
            line.addWidget(widget)
        grid = QGridLayout()
        grid.setSpacing(4)
        for place, button in enumerate((self.pause, self.stop, self.finish)):
            grid.addWidget(button, 0, place)
        for place, button in enumerate((self.resume, self.paint)):
            grid.addWidget(button, 1, place)
        line.addLayout(grid)
        self.watching.hide()

    def _clicked(self, item: QListWidgetItem) -> None:
        self.run_chosen.emit(item.data(Qt.ItemDataRole.UserRole))

    def _button(self, text: str, tip: str, keys: str = "") -> QPushButton:
        """Return a button; with keys, a shortcut of the whole window clicks it."""
        button = QPushButton(text)
        if keys:
            sequence = QKeySequence(keys)
            tip = f"{tip} ({sequence.toString(QKeySequence.SequenceFormat.NativeText)})"
            QShortcut(sequence, self, activated=button.click, context=Qt.ShortcutContext.WindowShortcut)
        button.setToolTip(tip)
        return button


def _row(widget: QWidget, *buttons: QPushButton) -> None:
    line = QHBoxLayout(widget)
    line.setContentsMargins(0, 0, 0, 0)
    line.setSpacing(4)
    for button in buttons:
        line.addWidget(button, 1)
