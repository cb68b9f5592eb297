"""The layout of the Train dock: the form, remarks on it, and the run that is watched."""

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

from napari_virtual_paint._napari.shared.welcome import Welcome
from napari_virtual_paint._napari.shared.widgets import LINES, footer, push_button, words
from napari_virtual_paint._napari.train.curve import CurveView
from napari_virtual_paint._napari.train.form import TrainForm, heading
from napari_virtual_paint._napari.train.preview import PreviewView

START = "Ctrl+Alt+B"


class TrainPanel(QWidget):  # type: ignore[misc]
    """The widgets of the Train dock, without their behaviour; `footer` stays below it where it scrolls.

    Signals
    -------
    run_chosen
        Folder of the run that was clicked.
    """

    run_chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.form = TrainForm()
        self.problem, self.report = words(), words()
        self.time = self.form.time
        self.check = push_button("Check pairs", "Look for pairs that are shifted, saturated, blank or out of focus, without training")
        keys = QKeySequence(START)
        shown = keys.toString(QKeySequence.SequenceFormat.NativeText)
        self.start = push_button("Start", f"Write the images and the configuration, check the pairs, and train in the background ({shown})")
        QShortcut(keys, self, activated=self.start.click, context=Qt.ShortcutContext.WindowShortcut)
        self.preparing = words()  # how far the writing of the images and the checks of the pairs are
        self.asking, self.question = QWidget(), words("The pairs may not be fit to learn from; the reasons are above. Train all the same?")
        self.leave_out = push_button("Leave them out", "Train without the pairs that look wrong")
        self.go_on = push_button("Train on all", "Train on these pairs as they are")
        self.give_up = push_button("Don't train", "Back to the form")
        self.runs = QListWidget()
        self.open_run = push_button("Open run…", "Watch a run that was started elsewhere: choose its run folder")
        self.watching, self.controls = QWidget(), QWidget()  # shown once a run is watched
        self.status, self.bar = words(), QProgressBar()
        self.curve, self.preview = CurveView(), PreviewView()
        self.pause = push_button("Pause", "Hold the training after the step under way, or go on")
        self.stop = push_button("Stop", "Stop; nothing is lost, the training can be resumed. Again: end it at once")
        self.finish = push_button("Finish now", "End the training and make the model of its best epoch")
        self.resume = push_button("Resume", "Go on where the training stopped")
        self.paint = push_button("Paint with it", "Open the Stain dock with this model")
        self.welcome = Welcome("Open images and their true stains, or a sample that has both.")
        self._lay_out()
        self.runs.itemClicked.connect(self._clicked)
        self.runs.itemActivated.connect(self._clicked)

    def set_runs(self, runs: Sequence[tuple[str, str]], chosen: str) -> None:
        """Show these runs: folder and text of each."""
        blocker = QSignalBlocker(self.runs)
        while self.runs.count() > len(runs):
            self.runs.takeItem(self.runs.count() - 1)
        while self.runs.count() < len(runs):
            self.runs.addItem(QListWidgetItem())
        self.runs.setCurrentRow(-1)
        for index, (folder, text) in enumerate(runs):
            item = self.runs.item(index)
            item.setText(text)
            item.setToolTip(folder)
            item.setData(Qt.ItemDataRole.UserRole, folder)
            if folder == chosen:
                self.runs.setCurrentRow(index)
        height = max(self.runs.sizeHintForRow(0), 18) * min(max(len(runs), 1), LINES) + 2 * self.runs.frameWidth() + 4
        self.runs.setFixedHeight(height)
        self.runs.setVisible(bool(runs))
        del blocker

    def say(self, label: QLabel, text: str) -> None:
        """Show a line of HTML, or hide it where empty."""
        label.setText(text)
        label.setVisible(bool(text))

    def _lay_out(self) -> None:
        top = QVBoxLayout(self)
        top.setContentsMargins(0, 0, 4, 0)
        top.setSpacing(5)
        top.addWidget(self.welcome)
        top.addWidget(self.form)
        for label in (self.problem, self.time, self.report, self.preparing):
            label.hide()
        top.addWidget(self.report)
        asking = QVBoxLayout(self.asking)
        asking.setContentsMargins(0, 0, 0, 0)
        asking.setSpacing(4)
        asking.addWidget(self.question)
        asking.addLayout(_row(self.leave_out, self.go_on, self.give_up))
        self.asking.hide()
        head = QHBoxLayout()
        head.addWidget(heading("Runs"), 1)
        head.addWidget(self.open_run)
        top.addLayout(head)
        self.runs.setToolTip("Trainings of now and before: click one to see it; those that stopped can be resumed")
        self.runs.setAccessibleName("Runs")
        top.addWidget(self.runs)
        self._lay_out_run()
        top.addWidget(self.watching)
        top.addStretch(1)
        self.footer = footer(self.problem, self.preparing, self.asking, self.controls, _row(self.check, self.start))
        for part in (self.watching, self.controls):
            part.hide()

    def _lay_out_run(self) -> None:
        self.bar.setToolTip("How far the training is")
        self.bar.setRange(0, 1000)
        line = QVBoxLayout(self.watching)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(4)
        for widget in (self.curve, self.preview):
            line.addWidget(widget)
        below = QVBoxLayout(self.controls)
        below.setContentsMargins(0, 0, 0, 0)
        below.setSpacing(4)
        below.addWidget(self.status)
        below.addWidget(self.bar)
        grid = QGridLayout()
        grid.setSpacing(4)
        for place, each in enumerate((self.pause, self.stop, self.finish, self.resume, self.paint)):
            grid.addWidget(each, place // 3, place % 3)
        below.addLayout(grid)

    def _clicked(self, item: QListWidgetItem) -> None:
        self.run_chosen.emit(item.data(Qt.ItemDataRole.UserRole))


def _row(*buttons: QPushButton) -> QHBoxLayout:
    """Return buttons of one width beside each other."""
    line = QHBoxLayout()
    line.setContentsMargins(0, 0, 0, 0)
    line.setSpacing(4)
    for each in buttons:
        line.addWidget(each, 1)
    return line
