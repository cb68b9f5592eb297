"""Painting from the Plate dock: fills the queue and shows its progress, the notes and the failures."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from napari.utils.notifications import show_info, show_warning
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_virtual_paint._napari.plate.channel_choice import CHOOSE, ChannelChoice
from napari_virtual_paint._napari.plate.model_choice import ModelChoice
from napari_virtual_paint._napari.plate.paint_queue import PaintTask
from napari_virtual_paint._napari.plate.session import PlateSession
from napari_virtual_paint._napari.plate.state import PlateState, command
from napari_virtual_paint._napari.shared import model_card
from napari_virtual_paint._napari.shared.background import Debounced
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.progress import set_bar
from napari_virtual_paint.runtime.text import counted

if TYPE_CHECKING:
    from napari_virtual_paint._napari.plate.panel import PlatePanel

PACE = 250  # milliseconds between two updates of the counts while a plate is painted, at least


class PaintController(QObject):  # type: ignore[misc]
    """Starts, pauses and cancels paintings, and keeps the form up to date."""

    def __init__(self, session: PlateSession, view: PlatePanel, parent: QObject) -> None:
        super().__init__(parent)
        self.session, self.view, self.form, self.queue = session, view, view.form, session.queue
        self.channels = ChannelChoice(session, view.form, self)
        self.channels.changed.connect(self._show_painted)
        self.choice = ModelChoice(session, view.form, self)
        self._show_soon = Debounced(PACE, self._show_painted, self)
        form = self.form
        form.valueChanged.connect(session.update)
        form.start.clicked.connect(self.start)
        form.add.clicked.connect(self.start)
        form.pause.clicked.connect(self._pause)
        form.cancel.clicked.connect(self.cancel)
        form.copy.clicked.connect(self.copy_command)
        form.outputRequested.connect(self._choose_output)
        form.packageRequested.connect(self._choose_package)
        form.taskRemoved.connect(self._remove)
        self.queue.changed.connect(self._show_queue)
        self.queue.ended.connect(self._ended)
        session.models_changed.connect(self._show_models)
        session.state_changed.connect(self._show_state)
        session.painted_changed.connect(self._show_painted)
        session.field_changed.connect(lambda _key: self._show_soon.start_unless_active())
        self._enable()

    def start(self) -> PaintTask | None:
        """Paint the open plate, or continue it, after those in the queue; None where something is missing, with a notification."""
        opened, model, state = self.session.opened, self.session.model, self.session.state
        if opened is None or model is None:
            show_warning("Open a plate and choose a model first.")
            return None
        plate, wells = opened.plate, self._wells()
        if state.scope == "selected" and not wells:
            show_warning("No well is selected; draw a box on the map, or paint all wells.")
            return None
        if self.queue.find(plate.source, state.new_output or plate.source) is not None:
            show_warning("This plate is in the queue already, with the same output.")
            return None
        if self.channels.question:
            self.view.paint_section.expand(animate=False)
            self.form.channels.setFocus()
            show_warning(f"{self.channels.question} {CHOOSE}.")
            return None
        self.channels.remember()
        task = PaintTask(state, plate.select(",".join(wells)) if wells else plate, model, opened.painted)
        self.queue.add(task)
        self.session.painted_changed.emit()
        return task

    def cancel(self) -> None:
        """Stop the running painting within a second."""
        if self.queue.busy:
            self.form.setStatus("Cancelling…")
            self.queue.cancel()

    def copy_command(self) -> str:
        """Copy the command line that paints the same to the clipboard, and return it."""
        model, models, state = self.session.model, self.session.models, self.session.state
        if model is None or models is None or self.session.opened is None:
            show_warning("Open a plate and choose a model first; there is nothing to copy yet.")
            return ""
        line = command(state, model.info.id if models.by_id(state.model) else str(model.info.source), self._wells())
        QApplication.clipboard().setText(line)
        show_info(f"Copied: {line}")
        return line

    def _wells(self) -> tuple[str, ...]:
        """Return the wells to paint; empty for all, or where none is selected."""
        return self.view.map.selection if self.session.state.scope == "selected" else ()

    def _pause(self) -> None:
        if self.queue.current is not None:
            self.queue.pause(self.queue.current.status != "paused")

    def _remove(self, row: int) -> None:
        if 0 <= row < len(self.queue.tasks):
            self.queue.remove(self.queue.tasks[row])

    # -- the form -----------------------------------------------------------------------------------------------------

    def _show_state(self, _before: PlateState) -> None:
        self.form.setValue(self.session.state)
        self._show_painted()

    @timed
    def _show_models(self) -> None:
        if self.session.models is not None:
            self.form.setModels(self.session.models.rows())

    @timed
    def _show_queue(self) -> None:
        self.form.setQueue([task.line() for task in self.queue.tasks] if len(self.queue.tasks) > 1 else [])
        current = self.queue.current
        if current is not None:
            set_bar(self.form.bar, round(1000 * current.progress.fraction))
            self.form.setStatus(current.progress.message or self._line(current))
        self._enable()

    @timed
    def _ended(self, task: PaintTask) -> None:
        self.form.setStatus(self._line(task))
        if task.status == "done":
            show_info(f"{task.line()}.")
        self._show_painted()

    def _line(self, task: PaintTask) -> str:
        """Return how far a task is: without its plate where that is the open one, whose name and output are shown above."""
        words, plate = task.words(), self.session.plate
        return f"{words[:1].upper()}{words[1:]}" if plate is not None and plate.source == task.plate.source else task.line()

    def _show_painted(self) -> None:
        """Show how much of the plate is painted, and what a start would do."""
        painted, opened, model = self.session.painted, self.session.opened, self.session.model
        self.form.summary.setText("" if model is None else f"paints <b>{escape(', '.join(model.info.stains))}</b>")
        self.form.summary.setToolTip("" if model is None else model_card.summary(model.info))
        text, title = "", "Paint"
        if opened is not None:
            total = len(opened.plate.fields)
            if painted.model and painted.done:
                is_are = "is" if total == 1 else "are"
                text = f"{painted.done} of {counted(total, 'field')} {is_are} painted with {painted.model}."
                if model is not None and model.info.id != painted.model:
                    text += " Choose that model to go on, or another output."
                elif painted.done < total and "queued" not in painted.states.values():
                    title = "Go on"
                    text = f"{text.removesuffix('.')}; Go on paints the rest."
            elif painted.failures:
                title = "Go on"
            if self.channels.inputs.unreadable:
                text = f"⚠ {self.channels.inputs.unreadable}"
        self.form.note.setText(text)
        self.form.note.setVisible(bool(text))
        self.form.start.setText(title)
        source = opened.plate.source if opened is not None else ""
        self.form.setFailures([(key, _without_path(reason, source)) for key, reason in sorted(painted.failures.items())])
        self._enable()

    def _enable(self) -> None:
        """Enable what can be done now."""
        ready = self.session.opened is not None and self.session.model is not None and not self.channels.busy
        ready = ready and not self.channels.inputs.unreadable
        current = self.queue.current
        self.form.setBusy(current is not None, current is not None and current.status == "paused")
        self.form.start.setEnabled(ready and current is None)
        self.form.add.setEnabled(ready)
        self.form.copy.setEnabled(ready)

    # -- dialogs ------------------------------------------------------------------------------------------------------

    def _choose_output(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self.view,
            "The painted plate",
            self.session.state.output,
            "OME-Zarr plate (*.zarr);;Folder of OME-TIFFs (*)",
            options=QFileDialog.Option.DontConfirmOverwrite,
        )
        if path:
            self.form.change(output=path, kind="ome-zarr" if path.endswith(".zarr") else "ome-tiff")

    def _choose_package(self, what: str) -> None:
        if what == "file":
            path, _ = QFileDialog.getOpenFileName(self.view, "Open a model package", "", "Model packages (*.zip *.yaml)")
        else:
            path = QFileDialog.getExistingDirectory(self.view, "Open a model package")
        if path:
            self.session.open_package(path)


def _without_path(reason: str, source: str) -> str:
    """Return why a field failed without the path that every reason begins with."""
    return reason.partition(": ")[2] if source and reason.startswith(source) and ": " in reason else reason
