"""The dialog of all models: their cards and sizes; rename, duplicate, delete and export them, and add others."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, QUrl, Signal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QDialog,
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QHeaderView,
    QInputDialog,
    QLineEdit,
    QMenu,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QSplitter,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_virtual_paint._napari.shared import jobs, model_card
from napari_virtual_paint._napari.shared.background import LatestJob
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.progress import JobProgress, set_bar
from napari_virtual_paint._napari.shared.widgets import push_button, words
from napari_virtual_paint.models import open_model, own_models, user_folder
from napari_virtual_paint.models.own_models import ListedModel
from napari_virtual_paint.runtime.progress import time_left
from napari_virtual_paint.runtime.text import byte_size, counted

if TYPE_CHECKING:
    from napari_virtual_paint.models.published import Published

OWN, BUNDLED = "Your own", "Bundled with the program"
FIXED = "This model comes with the program and can't be {}; duplicate it to get a copy of your own."
EXPORTS = {
    "bioimage.io package with TorchScript for other programs (*.zip)": ".zip",
    "The package as it is (*.zip)": ".zip",
    "TorchScript (*.pt)": ".pt",
    "ONNX (*.onnx)": ".onnx",
}
"""Filters of the export dialog -> the suffix of each."""
AS_IT_IS = "The package as it is (*.zip)"
FILES = "Models (*.zip *.yaml *.pth *.pt *.p *.ckpt *.safetensors *.onnx);;All files (*)"


class ModelManager(QDialog):  # type: ignore[misc]
    """Lists the models; whatever changes or writes packages runs on a worker.

    Attributes
    ----------
    models
        The listed models by id.
    """

    changed = Signal()
    """The list of models is another one."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Models")
        self.models: dict[str, ListedModel] = {}
        self.tree = QTreeWidget()
        self.card = words()
        self.rename = push_button("Rename…", "")
        self.duplicate = push_button("Duplicate…", "Copy the model into your own models under another name")
        self.delete = push_button("Delete…", "")
        self.export = push_button("Export…", "Write the model for other programs: a bioimage.io package, TorchScript or ONNX")
        self.add = push_button("Add from file…", "Add a model package, or a model of another system, to your own models")
        self.published = push_button("Add published", "Download a model that others published")
        self.folder = push_button("Open folder", "Show the folder of your own models")
        self.bar, self.status, self.disk = QProgressBar(), words(), words()
        self.cancel = push_button("Cancel", "Stop what is under way")
        self._listing, self._working = LatestJob(self), LatestJob(self)
        self._lay_out()
        self._connect()
        self._enable()
        self.reload()

    @property
    def busy(self) -> bool:
        """Whether models are listed, changed or written."""
        return self._listing.running or self._working.running

    @property
    def chosen(self) -> ListedModel | None:
        """The selected model."""
        item = self.tree.currentItem()
        return None if item is None else self.models.get(str(item.data(0, Qt.ItemDataRole.UserRole)))

    def reload(self, choose: str = "") -> None:
        """List the models anew, and select one by its id."""
        self._list(lambda _: choose)

    def closeEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Stop all work; a download goes on from there the next time."""
        self._listing.drop()
        self._working.cancel()
        super().closeEvent(event)

    # -- what is shown ------------------------------------------------------------------------------------------------

    def _list(self, choose: Callable[[list[ListedModel]], str]) -> None:
        """List the models anew; `choose` returns the id of the one to select."""

        def done(found: tuple[list[ListedModel], list[str]]) -> None:
            self._show(*found, choose(found[0]))

        self._listing.start_function(own_models.listed_models, title="Looking for models", done=done)

    @timed
    def _show(self, models: list[ListedModel], problems: list[str], choose: str) -> None:
        before = self.chosen
        choose = choose or ("" if before is None else before.info.id)
        self.models = {}
        self.tree.clear()
        for title, own in ((OWN, True), (BUNDLED, False)):
            head = QTreeWidgetItem(self.tree, [title])
            head.setFlags(Qt.ItemFlag.ItemIsEnabled)
            head.setFirstColumnSpanned(True)
            bold = head.font(0)
            bold.setBold(True)
            head.setFont(0, bold)
            for model in models:
                if model.own == own and model.info.id not in self.models:
                    self.models[model.info.id] = model
                    self._add_item(head, model)
            if own and head.childCount() == 0:
                QTreeWidgetItem(head, ["none yet"]).setFlags(Qt.ItemFlag.NoItemFlags)
            head.setExpanded(True)
        self._choose(choose if choose in self.models else next(iter(self.models), ""))
        mine = [model for model in models if model.own]
        size = byte_size(sum(model.size for model in mine))
        lost = "".join(f"<br>⚠ {escape(problem)}" for problem in problems)
        self.disk.setText(f"{counted(len(mine), 'model')} of your own, {size} on disk, in {escape(str(user_folder()))}{lost}")
        self._show_chosen()

    def _add_item(self, head: QTreeWidgetItem, model: ListedModel) -> None:
        item = QTreeWidgetItem(head, [model.info.name, ", ".join(model.info.stains), byte_size(model.size)])
        item.setData(0, Qt.ItemDataRole.UserRole, model.info.id)
        item.setToolTip(0, f"{model.info.name}\n{model.info.id} {model.info.version}")
        item.setToolTip(1, f"from {', '.join(model.info.channels)}")
        item.setTextAlignment(2, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)

    def _choose(self, model_id: str) -> None:
        for head in (self.tree.topLevelItem(row) for row in range(self.tree.topLevelItemCount())):
            for item in (head.child(row) for row in range(head.childCount())):
                if item.data(0, Qt.ItemDataRole.UserRole) == model_id:
                    self.tree.setCurrentItem(item)

    def _show_chosen(self) -> None:
        model = self.chosen
        self.card.setText("" if model is None else f"<h3>{escape(model.info.name)}</h3>{model_card.card(model.info)}")
        self._enable()

    def _enable(self) -> None:
        model, busy = self.chosen, self._working.running
        for button, verb in ((self.rename, "renamed"), (self.delete, "deleted")):
            button.setEnabled(model is not None and model.own and not busy)
            about = "Give the model another name; its id stays" if button is self.rename else "Delete the model's package"
            button.setToolTip(FIXED.format(verb) if model is not None and not model.own else about)
        for button in (self.duplicate, self.export):
            button.setEnabled(model is not None and not busy)
        for button in (self.add, self.published):
            button.setEnabled(not busy)
        self.bar.setVisible(busy)
        self.cancel.setVisible(busy)

    # -- what is done -------------------------------------------------------------------------------------------------

    def _rename(self) -> None:
        model = self.chosen
        name = self._ask_name("Rename the model", model.info.name) if model is not None else ""
        if model is not None and name:
            info = model.info
            self._work(lambda: own_models.rename_model(info, name), f"Renaming {info.name}", f"{info.name} is now called {name}.", info.id)

    def _duplicate(self) -> None:
        model = self.chosen
        name = self._ask_name("Duplicate the model", f"{model.info.name[:120]} (copy)") if model is not None else ""
        if model is not None and name:
            info = model.info
            self._work(lambda: own_models.duplicate_model(info, name), f"Copying {info.name}", f"{info.name} was duplicated.")

    def _delete(self) -> None:
        model = self.chosen
        if model is None:
            return
        info, size = model.info, byte_size(model.size)
        text = f"Delete {info.name} ({size})? It can't be undone, and plates that it has begun to paint can't be continued without it."
        if QMessageBox.question(self, "Delete the model", text) == QMessageBox.StandardButton.Yes:
            self._work(lambda: own_models.delete_model(info), f"Deleting {info.name}", f"{info.name} was deleted; {size} are free.")

    def _export(self) -> None:
        model = self.chosen
        if model is None:
            return
        path, kind = QFileDialog.getSaveFileName(self, "Export the model", f"{model.info.id}.zip", ";;".join(EXPORTS))
        if path:
            target = Path(path) if Path(path).suffix else Path(path + EXPORTS.get(kind, ".zip"))
            source = model.info.source
            write = partial(export, source, target, as_it_is=kind == AS_IT_IS)
            self._work(write, f"Exporting {model.info.name}", f"{target} was written.")

    def _add(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Add a model", "", FILES)
        if path:
            self._work(lambda: own_models.add_model(path), f"Importing {Path(path).name}", f"{Path(path).name} was added.")

    def add_published(self, entry: Published) -> None:
        """Download and add a published model."""
        self._start(lambda: own_models.add_published(entry), f"Downloading {entry.id}", f"{entry.id} was added.")

    def _fill_published(self) -> None:
        from napari_virtual_paint.models.published import published

        menu = self.published.menu()
        menu.clear()
        for entry in published():
            size = f"{entry.megabytes:g} MB" if entry.megabytes is not None else "size not stated"
            action = menu.addAction(f"{entry.title} · {size} · {entry.licence}", partial(self.add_published, entry))
            checked = entry.url is not None and entry.sha256 is not None
            action.setEnabled(checked)
            by_hand = "Its home states no SHA-256 to check the file by: download it there yourself, and add it from file."
            action.setToolTip(entry.home if checked else f"{by_hand} {entry.home}")

    def _ask_name(self, title: str, name: str) -> str:
        found, given = QInputDialog.getText(self, title, "Name", QLineEdit.EchoMode.Normal, name)
        return found.strip() if given else ""

    def _work(self, function: Callable[[], Any], title: str, ended: str, choose: str = "") -> None:
        self._start(lambda: jobs.as_generator(function), title, ended, choose)

    def _start(self, make: Callable[[], Generator[Any, None, Any]], title: str, ended: str, choose: str = "") -> None:
        """Run something on a worker; a model that it adds is selected at its end."""
        known = set(self.models)
        self.status.setText(f"{title}…")
        self._working.start(
            make,
            title=title,
            tick=lambda progress: self._tick(title, progress),
            done=lambda _: self._ended(ended, choose, known),
            failed=lambda error: self._ended(str(error), choose, known),
            cancelled=lambda: self._ended(f"{title}: cancelled.", choose, known),
            quiet=False,
        )
        self.bar.setRange(0, 0)
        self._enable()

    def _tick(self, title: str, progress: JobProgress) -> None:
        if progress.total:
            self.bar.setRange(0, 1000)
            set_bar(self.bar, round(1000 * progress.fraction))
        parts = (progress.message or title, time_left(progress.seconds_left))
        self.status.setText(", ".join(part for part in parts if part))

    @timed
    def _ended(self, text: str, choose: str, known: set[str]) -> None:
        self.status.setText(text)
        self._enable()
        self._list(lambda models: choose or _new(models, known))
        self.changed.emit()

    # -- layout -------------------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        self.tree.currentItemChanged.connect(lambda *_: self._show_chosen())
        for button, call in (
            (self.rename, self._rename),
            (self.duplicate, self._duplicate),
            (self.delete, self._delete),
            (self.export, self._export),
            (self.add, self._add),
            (self.cancel, self._working.cancel),
            (self.folder, lambda: QDesktopServices.openUrl(QUrl.fromLocalFile(str(user_folder())))),
        ):
            button.clicked.connect(lambda _checked=False, call=call: call())
        menu = QMenu(self.published)
        menu.setToolTipsVisible(True)
        menu.aboutToShow.connect(self._fill_published)
        self.published.setMenu(menu)

    def _lay_out(self) -> None:
        self.tree.setColumnCount(3)
        self.tree.setHeaderLabels(["Model", "Stains", "Disk"])
        self.tree.setRootIsDecorated(False)
        self.tree.setAccessibleName("Models")
        self.tree.setIndentation(10)
        self.tree.setTextElideMode(Qt.TextElideMode.ElideRight)
        header = self.tree.header()
        header.setStretchLastSection(False)
        for column, mode in enumerate((QHeaderView.ResizeMode.Stretch, *[QHeaderView.ResizeMode.ResizeToContents] * 2)):
            header.setSectionResizeMode(column, mode)
        self.status.setTextFormat(Qt.TextFormat.PlainText)
        for text in (self.card, self.disk):
            text.setTextFormat(Qt.TextFormat.RichText)
        self.card.setAlignment(Qt.AlignmentFlag.AlignTop)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(self.card)
        halves = QSplitter()
        halves.addWidget(self.tree)
        halves.addWidget(scroll)
        halves.setSizes([560, 360])
        top = QVBoxLayout(self)
        top.addWidget(halves, 1)
        top.addLayout(_line(self.rename, self.duplicate, self.delete, self.export))
        top.addLayout(_line(self.add, self.published, self.folder))
        top.addWidget(self.disk)
        below = QHBoxLayout()
        self.status.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        below.addWidget(self.status, 1)
        below.addWidget(self.bar)
        below.addWidget(self.cancel)
        top.addLayout(below)
        self.resize(940, 560)


def export(source: Path, target: Path, *, as_it_is: bool) -> None:
    """Write a model to a file, in place of what is there (on a worker).

    Parameters
    ----------
    as_it_is
        Whether the package is copied; else it is made for other programs, by the suffix of the target.
    """
    from napari_virtual_paint.models.export import export_model
    from napari_virtual_paint.models.package.copying import copy_package
    from napari_virtual_paint.runtime.outputs import check_outputs

    check_outputs([target], [source])
    if as_it_is:
        copy_package(source, target, {}, overwrite=True)
    else:
        export_model(open_model(source), target, overwrite=True)


def _new(models: list[ListedModel], known: set[str]) -> str:
    """Return the id of a model that was not known before; empty if there is none."""
    return next((model.info.id for model in models if model.info.id not in known), "")


def _line(*buttons: QPushButton) -> QHBoxLayout:
    line = QHBoxLayout()
    line.setSpacing(4)
    for button in buttons:
        line.addWidget(button, 1)
    return line
