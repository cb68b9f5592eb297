"""The dialog *Train on my table*: a cell model from a CellProfiler run, trained in the background."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QDialog, QFileDialog, QLineEdit, QListWidget, QMenu, QProgressBar, QSpinBox, QVBoxLayout, QWidget

from napari_virtual_paint._napari.cells.train_state import (
    CellTrainState,
    begin,
    go_on,
    missing,
    unfinished,
    with_defaults,
)
from napari_virtual_paint._napari.shared.background import LatestJob
from napari_virtual_paint._napari.shared.form_binding import BoundForm, sentence
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.jobs import failure_sentence
from napari_virtual_paint._napari.shared.new_model import LICENSE_TIP, LICENSES, MINUTES
from napari_virtual_paint._napari.shared.progress import JobProgress, set_bar
from napari_virtual_paint._napari.shared.widgets import button_grid, combo, form_rows, push_button, row, set_choices, set_names, words
from napari_virtual_paint.runtime.text import rough_duration

if TYPE_CHECKING:
    from napari_virtual_paint.cells.cp2image.table_defaults import TableDefaults

TITLE = "The training"
WIDTH = 440
FILES = "Tables of cells (*.sqlite *.db *.parquet *.csv *.csv.gz);;All files (*)"
STOPPED = "Stopped. What was trained up to the last checkpoint is kept: Resume goes on from there."


class CellTrainForm(BoundForm[CellTrainState]):
    """Edits a `CellTrainState`."""

    browse = Signal(str)
    """A ``folder`` or ``file`` of the table, or the ``images``, is to be chosen."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.images, self.name, self.author, self.not_for = (QLineEdit() for _ in range(5))
        self.choose, self.choose_images = push_button("…", "Choose the table"), push_button("…", "Choose the folder of the pictures")
        self.channels = QListWidget()
        self.nuclei = combo("The channel that shows the nuclei: each crop is centered on one")
        self.size = QSpinBox()
        self.length = combo(
            "How long to train: a few steps are timed on this machine, and as many are made as fit",
            [(length, f"About {length}") for length in MINUTES],
        )
        self.license = combo(LICENSE_TIP, LICENSES)
        self.found = words()
        self._menu = QMenu(self.choose)
        self._lay_out()
        bound = ("table", "images", "channels", "nuclei", "size", "length", "name", "author", "license")
        self.bind(CellTrainState(), {name: getattr(self, name) for name in bound} | {"not_for": sentence(self.not_for)})

    def set_channels(self, offered: Sequence[str], ticked: Sequence[str], nuclei: str) -> None:
        """Offer the channels of a table."""
        with self.silenced():
            set_names(self.channels, offered, ticked)
            set_choices(self.nuclei, [(name, name) for name in offered], nuclei)

    def _lay_out(self) -> None:
        for text, what in (("Folder of tables…", "folder"), ("File or database…", "file")):
            self._menu.addAction(text, partial(self.browse.emit, what))
        self.choose.setMenu(self._menu)
        self.choose_images.clicked.connect(lambda _checked: self.browse.emit("images"))
        self.size.setRange(16, 256)
        self.size.setSuffix(" px")
        for widget, tip, name in (
            (self.table, "CellProfiler's output: the folder of its CSV files, its database (SQLite), or a Parquet file", "Table"),
            (self.images, "The folder below which the pictures lie that the table names", "Folder of the pictures"),
            (self.channels, "The channels that the model generates; only features measured in them are used", "Channels"),
            (self.size, "Side of the crop around each nucleus; the cells should fit into it", "Size of a crop"),
            (self.name, "Name of the model; its id is made from it", "Name of the model"),
            (self.author, "Who made the model, for its card; several with commas between, empty for nobody", "Author"),
            (self.not_for, "What the model must not be used for; its card says so", "What the model is not for"),
        ):
            widget.setToolTip(tip)
            widget.setAccessibleName(name)
        self.author.setPlaceholderText("nobody is named")
        set_names(self.channels, (), ())
        top = QVBoxLayout(self)
        top.setContentsMargins(0, 0, 0, 0)
        rows = (
            ("Table", row(self.table, self.choose)),
            (" ", self.found),
            ("Pictures", row(self.images, self.choose_images)),
            ("Channels", self.channels),
            ("Nuclei", self.nuclei),
            ("Crop", self.size),
            ("Train for", self.length),
            ("Name", self.name),
            ("Author", self.author),
            ("License", self.license),
            ("Not for", self.not_for),
        )
        top.addLayout(form_rows(rows))


class CellTrainDialog(QDialog):  # type: ignore[misc]
    """Asks what to train on, trains in a process, and reports the model.

    A training that is stopped, by its button or because the dialog is closed, keeps its folder and can be resumed.

    Attributes
    ----------
    form
        Edits the choices.
    """

    trained = Signal(str)
    """The package of a model that is trained."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Train on my table")
        self.form = CellTrainForm()
        self.status, self.bar = words(), QProgressBar()
        self.train = push_button("Train", "Read the cells, time a few steps, and train in the background")
        self.cancel = push_button("Stop", "Stop the training; it can be resumed from its last checkpoint")
        self.run = combo("Trainings that were stopped", letters=10)
        self.resume = push_button("Resume", "Go on where the training stopped")
        self.close_button = push_button("Close", "Close this window; a training that runs is stopped and can be resumed")
        # The process of a training that was stopped may still write its checkpoint: the next one waits for its end.
        self._training = LatestJob(self, one_at_a_time=True)
        self._describing, self._listing = LatestJob(self), LatestJob(self)
        self._described = ""
        self._lay_out()
        self.form.browse.connect(self._browse)
        self.form.valueChanged.connect(self._changed)
        self.train.clicked.connect(lambda _checked: self.start())
        self.cancel.clicked.connect(lambda _checked: self.stop())
        self.resume.clicked.connect(lambda _checked: self.go_on())
        self.close_button.clicked.connect(self.close)
        self.finished.connect(lambda _result: self.shut())
        self.list_runs()
        self._enable()

    def value(self) -> CellTrainState:
        """Return the choices."""
        return self.form.value()

    def setValue(self, state: CellTrainState) -> None:  # noqa: N802 - Qt's own way of naming
        """Choose; another table is described in the background."""
        self.form.setValue(state)
        self._changed(state)

    @property
    def running(self) -> bool:
        """Whether a training is under way."""
        return self._training.running

    @property
    def busy(self) -> bool:
        """Whether a table is read, or a training is under way."""
        return self.running or self._describing.running or self._listing.running

    def open_table(self, path: str) -> None:
        """Choose a table, and what it says about the rest."""
        if path:
            self.setValue(CellTrainState(table=path, author=self.value().author, license=self.value().license, length=self.value().length))

    def start(self) -> None:
        """Begin a training."""
        self.form.finish()
        state = self.value()
        if not (self.running or missing(state)):
            self._run(partial(begin, state), f"Training {state.name}")

    def go_on(self) -> None:
        """Go on with the chosen training that was stopped."""
        folder = self.run.currentData()
        if folder and not self.running:
            self._run(partial(go_on, Path(folder)), f"Training {Path(folder).name}")

    def stop(self) -> None:
        """Stop the training within a second."""
        self._training.cancel()
        if not self.running:
            self._ended(STOPPED)

    def list_runs(self) -> None:
        """List the trainings that can go on, in the background."""
        self._listing.start_function(unfinished, title="Looking for trainings", done=self._show_runs)

    def shut(self) -> None:
        """Stop all work; a training can be resumed."""
        for job in (self._training, self._describing, self._listing):
            job.drop()

    def _run(self, make: Any, title: str) -> None:
        set_bar(self.bar, 0)
        self.bar.show()
        self.status.setText("Starting…")
        self._training.start(
            make,
            title=title,
            tick=self._show_progress,
            done=self._trained,
            failed=lambda error: self._ended(failure_sentence(TITLE, error)),
            cancelled=lambda: self._ended(STOPPED),
            quiet=False,
        )
        self._enable()

    @timed
    def _show_progress(self, progress: JobProgress) -> None:
        set_bar(self.bar, round(1000 * progress.fraction))
        left = "" if progress.seconds_left is None else f"about {rough_duration(progress.seconds_left)} left"
        self.status.setText(" · ".join(part for part in (progress.message.rstrip(".") or "Training", left) if part))

    @timed
    def _trained(self, package: Path) -> None:
        self._ended(f"{package.stem} is trained, and opened in the Cells dock.")
        self.trained.emit(str(package))

    @timed
    def _ended(self, message: str) -> None:
        self.bar.hide()
        self.status.setText(message)
        self.list_runs()
        self._enable()

    @timed
    def _show_runs(self, found: list[Path]) -> None:
        set_choices(self.run, [(str(folder), folder.name, str(folder)) for folder in found])
        for widget in (self.run, self.resume):
            widget.setVisible(bool(found))

    def _changed(self, state: CellTrainState) -> None:
        if state.table != self._described:
            self._described = state.table
            if state.table:
                self._describe(state.table)
        self._enable()

    def _describe(self, path: str) -> None:
        self.form.found.setText("Reading the table…")

        def describe() -> TableDefaults:
            from napari_virtual_paint.cells.cp2image.table_defaults import table_defaults
            from napari_virtual_paint.cells.tables.table import open_table

            return table_defaults(open_table(path), path)

        self._describing.start_function(describe, title="Reading the table", done=self._show_defaults, failed=self._not_read)

    @timed
    def _show_defaults(self, found: TableDefaults) -> None:
        self.form.set_channels(found.offered, found.channels, found.nuclei)
        self.form.setValue(with_defaults(self.value(), found))
        self.form.found.setText(f"{found.cells:,} cells, {found.features:,} features; channels with pictures: {', '.join(found.offered)}.")
        self._enable()

    def _not_read(self, error: BaseException) -> None:
        self.form.found.setText(failure_sentence("Reading the table", error))
        self.form.set_channels((), (), "")
        self._enable()

    def _enable(self) -> None:
        problem, running = missing(self.value()), self.running
        self.form.setEnabled(not running)
        self.train.setEnabled(not (running or problem))
        self.train.setToolTip(problem or "Read the cells, time a few steps, and train in the background")
        self.cancel.setEnabled(running)
        for widget in (self.run, self.resume):
            widget.setEnabled(not running)
        if not running and not self.status.text():
            self.status.setText("")

    def _browse(self, what: str) -> None:
        if what == "file":
            path, _ = QFileDialog.getOpenFileName(self, "The table of the cells", "", FILES)
        else:
            title = "The folder of the pictures" if what == "images" else "The folder of CellProfiler's tables"
            path = QFileDialog.getExistingDirectory(self, title)
        if path and what == "images":
            self.form.change(images=path)
        elif path:
            self.form.change(table=path)

    def _lay_out(self) -> None:
        for part in (self.bar, self.run, self.resume):
            part.hide()
        self.bar.setRange(0, 1000)
        self.train.setDefault(True)
        column = QVBoxLayout(self)
        column.addWidget(self.form)
        column.addStretch(1)
        column.addWidget(self.status)
        column.addWidget(self.bar)
        column.addLayout(row(self.run, self.resume))
        column.addLayout(button_grid((self.train, self.cancel, self.close_button), 3))
        self.setWindowFlag(Qt.WindowType.WindowStaysOnTopHint, False)
        self.resize(WIDTH, self.sizeHint().height())
