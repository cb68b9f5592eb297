"""The Plate dock's part that paints: model, output, queue, and what is told of them."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.compat import isalive
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_virtual_paint._napari.plate.paint_queue import Entry, PlateOrder, PlateQueue
from napari_virtual_paint._napari.plate.panel import PlatePanel
from napari_virtual_paint._napari.plate.state import OpenedPlate, PaintedFields, PlateState, command, default_output, look_at
from napari_virtual_paint._napari.shared import jobs, model_card
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.model_list import ModelList
from napari_virtual_paint._napari.shared.progress import set_bar
from napari_virtual_paint.errors import VirtualPaintError
from napari_virtual_paint.models import Model, open_model

USUAL = "simulated-cell-painting"


class PlatePainting(PlatePanel):
    """What paints; `plate.PlateDock` adds what is looked at.

    Attributes
    ----------
    queue
        The plates that are painted.
    opened
        The plate that is shown; None before one is opened.
    """

    def __init__(self) -> None:
        super().__init__()
        self._choice = PlateState()
        self.opened: OpenedPlate | None = None
        self.shelf: ModelList | None = None
        self.queue = PlateQueue()
        self._looking: jobs.Job | None = None
        self.form.valueChanged.connect(self._form_changed)
        self.form.start.clicked.connect(self.start_painting)
        self.form.add.clicked.connect(self.add_to_queue)
        self.form.pause.clicked.connect(self._pause)
        self.form.cancel.clicked.connect(self.cancel_painting)
        self.form.copy.clicked.connect(self.copy_command)
        self.form.browse.connect(self._browse)
        self.form.openPackage.connect(self._open_package)
        self.form.dropped.connect(self._drop_entry)
        self.queue.changed.connect(self._show_queue)
        self.queue.ended.connect(self._ended)
        jobs.start_function(ModelList, title="Looking for models", done=self._models_there, quiet=True)
        self._enable()

    # -- models and output --------------------------------------------------------------------------------------------

    @property
    def model(self) -> Model | None:
        """The chosen model."""
        return None if self.shelf is None else self.shelf.models.get(self._choice.model)

    @property
    def painted(self) -> PaintedFields:
        """What is painted of the plate that is shown."""
        return self.opened.painted if self.opened is not None else PaintedFields()

    @timed
    def _models_there(self, shelf: ModelList) -> None:
        if not isalive(self):
            return
        self.shelf = shelf
        self.form.setModels(shelf.rows())
        self._adopt_model()

    def _adopt_model(self) -> None:
        """Choose the model that the output is painted with, else what was chosen, else the usual one."""
        shelf, painted = self.shelf, self.painted
        if shelf is None or not shelf.models:
            return
        key = self._choice.model
        if painted.model and (key not in shelf.models or shelf.models[key].info.id != painted.model):
            key = self._of_job(shelf, painted)
        if key not in shelf.models:
            key = USUAL if USUAL in shelf.models else next(iter(shelf.models))
        self._take(replace(self._choice, model=key))

    def _of_job(self, shelf: ModelList, painted: PaintedFields) -> str:
        """Return the key of the model that an output is painted with; its package is opened where it is not listed."""
        if painted.model in shelf.models:
            return painted.model
        try:
            key = shelf.open(painted.package)
        except VirtualPaintError:
            return self._choice.model
        self.form.setModels(shelf.rows())
        return key

    def _form_changed(self, choice: PlateState) -> None:
        own = {name: getattr(choice, name) for name in ("model", "output", "kind", "scope", "workers", "device")}
        self._take(replace(self._choice, **own))

    def _take(self, choice: PlateState) -> None:
        """Take up another choice of model, output or how to paint; what is painted of another output is looked at."""
        before, self._choice = self._choice, choice
        usual = default_output(before.path, before.model)
        if choice.path and choice.output in ("", usual) and choice.model:
            self._choice = replace(choice, output=default_output(choice.path, choice.model))
        self.form.setValue(self._choice)
        if (self._choice.output, self._choice.kind) != (before.output, before.kind) and self.opened is not None:
            self.look()
        self._tell()

    def look(self) -> None:
        """Look, on a worker, at what is painted of the plate that is shown."""
        opened, choice = self.opened, self._choice
        if opened is None:
            return
        if self._looking is not None:
            self._looking.cancel()
        output = "" if choice.kind == "in-place" else choice.output
        self._looking = jobs.start_function(
            lambda: look_at(opened.plate, output),
            title="Looking at what is painted",
            done=lambda painted: self._looked(opened, output, painted),
            quiet=True,
        )

    def _looked(self, opened: OpenedPlate, output: str, painted: PaintedFields) -> None:
        if isalive(self) and self.opened is opened:
            live = self._live(opened.plate.source, output)
            self.opened = OpenedPlate(self._choice, opened.plate, live or painted)
            self.painted_changed()

    def _live(self, source: str, output: str) -> PaintedFields | None:
        """Return what the queue knows of a plate that waits or is painted now."""
        for entry in self.queue.entries:
            if entry.how in ("waiting", "painting", "paused") and entry.order.plate.source == source and entry.order.output == output:
                return entry.painted
        return None

    def painted_changed(self) -> None:
        """Follow what is painted; the dock shows it on the map."""
        self._tell()

    # -- painting -----------------------------------------------------------------------------------------------------

    def start_painting(self) -> Entry | None:
        """Paint the plate that is shown, or go on with it."""
        return self.add_to_queue()

    def add_to_queue(self) -> Entry | None:
        """Have the plate that is shown painted after those that wait; None where something is missing, which a notification tells."""
        opened, model, choice = self.opened, self.model, self._choice
        if opened is None or model is None:
            show_warning("Open a plate and choose a model first.")
            return None
        plate = opened.plate
        wells = self.map.selection if choice.scope == "selected" else ()
        if choice.scope == "selected" and not wells:
            show_warning("No well is selected; draw a box on the map, or paint all wells.")
            return None
        if self._live(plate.source, plate.source if choice.kind == "in-place" else choice.output) is not None:
            show_warning("This plate is in the queue already, with the same output.")
            return None
        part = plate.select(",".join(wells)) if wells else plate
        entry = self.queue.add(PlateOrder(choice, part, open_model(model.info.source)), opened.painted)
        self.painted_changed()
        return entry

    def cancel_painting(self) -> None:
        """Stop the painting that runs, within a second."""
        if self.queue.busy:
            self.form.setStatus("Cancelling…")
            self.queue.cancel()

    def _pause(self) -> None:
        current = self.queue.current
        if current is not None:
            self.queue.pause(current.how != "paused")

    def _drop_entry(self, row: int) -> None:
        if 0 <= row < len(self.queue.entries):
            self.queue.remove(self.queue.entries[row])

    @timed
    def _show_queue(self) -> None:
        if not isalive(self):
            return
        self.form.setQueue([entry.line() for entry in self.queue.entries] if len(self.queue.entries) > 1 else [])
        current = self.queue.current
        if current is not None:
            set_bar(self.form.bar, round(1000 * current.progress.fraction))
            self.form.setStatus(current.progress.message or current.line())
        self._enable()

    @timed
    def _ended(self, entry: Entry) -> None:
        if not isalive(self):
            return
        self.form.setStatus(entry.line())
        if entry.how == "done":
            show_info(f"{entry.line()}.")
        if self.opened is not None and entry.painted is self.opened.painted:
            self.look()
        self._tell()

    # -- what is said -------------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        """Say how far the plate is painted, and what a start would do."""
        painted, opened, model = self.painted, self.opened, self.model
        self.form.summary.setText("" if model is None else f"paints <b>{escape(', '.join(model.info.stains))}</b>")
        self.form.summary.setToolTip("" if model is None else model_card.summary(model.info))
        text, title = "", "Paint"
        if opened is not None:
            total = len(opened.plate.fields)
            if painted.model and painted.done:
                text = f"{painted.done} of {total} fields are painted with {painted.model}."
                if model is not None and model.info.id != painted.model:
                    text += " Choose that model to go on, or another output."
                elif painted.done < total:
                    title = "Go on"
                    text = f"{painted.done} of {total} fields are painted with {painted.model}; go on paints the rest."
            elif painted.failures:
                title = "Go on"
        self.form.note.setText(text)
        self.form.note.setVisible(bool(text))
        self.form.start.setText(title)
        source = opened.plate.source if opened is not None else ""
        self.form.setFailures([(key, _bare(reason, source)) for key, reason in sorted(painted.failures.items())])
        self._enable()

    def _enable(self) -> None:
        """Enable what can be done now."""
        ready = self.opened is not None and self.model is not None
        current = self.queue.current
        self.form.setBusy(current is not None, current is not None and current.how == "paused")
        self.form.start.setEnabled(ready and current is None)
        self.form.add.setEnabled(ready)
        self.form.copy.setEnabled(ready)

    def copy_command(self) -> str:
        """Copy the command line that paints the same to the clipboard, and return it."""
        model, shelf = self.model, self.shelf
        if model is None or shelf is None or self.opened is None:
            show_warning("Open a plate and choose a model first; there is nothing to copy yet.")
            return ""
        named = model.info.id if shelf.by_id(self._choice.model) else str(model.info.source)
        wells = self.map.selection if self._choice.scope == "selected" else ()
        line = command(self._choice, named, wells)
        QApplication.clipboard().setText(line)
        show_info(f"Copied: {line}")
        return line

    def _browse(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self,
            "The painted plate",
            self._choice.output,
            "OME-Zarr plate (*.zarr);;Folder of OME-TIFFs (*)",
            options=QFileDialog.Option.DontConfirmOverwrite,
        )
        if path:
            kind = "ome-zarr" if path.endswith(".zarr") else "ome-tiff"
            self._take(replace(self._choice, output=path, kind=kind))  # type: ignore[arg-type]

    def _open_package(self, what: str) -> None:
        if what == "file":
            path, _ = QFileDialog.getOpenFileName(self, "Open a model package", "", "Model packages (*.zip *.yaml)")
        else:
            path = QFileDialog.getExistingDirectory(self, "Open a model package")
        if path:
            self.open_package(path)

    def open_package(self, path: str | Path) -> None:
        """Open a model package from disk and choose it."""
        shelf = self.shelf
        if shelf is None:
            return
        try:
            key = shelf.open(path)
        except VirtualPaintError as error:
            show_error(str(error))
            return
        self.form.setModels(shelf.rows())
        self._take(replace(self._choice, model=key))

    def shut(self, *_: Any) -> None:
        """Stop what runs."""
        self.queue.close()
        if self._looking is not None:
            self._looking.cancel()


def _bare(reason: str, source: str) -> str:
    """Return why a field failed without the path that every reason begins with."""
    return reason.partition(": ")[2] if source and reason.startswith(source) and ": " in reason else reason
