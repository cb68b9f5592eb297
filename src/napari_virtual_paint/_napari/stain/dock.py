"""The Stain dock: choose an image and a model, paint, preview, cancel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_virtual_paint._napari.shared import jobs, model_card, preferences
from napari_virtual_paint._napari.shared.event_loop import StepQueue
from napari_virtual_paint._napari.shared.model_list import ModelList, is_package
from napari_virtual_paint._napari.shared.progress import JobProgress, set_bar
from napari_virtual_paint._napari.stain.domain_label import question_of
from napari_virtual_paint._napari.stain.matching import (
    LUMINANCE,
    Forecast,
    ModelFit,
    SelectedModels,
    fit_layers,
    forecast,
    likely,
    paintable,
    select_models,
)
from napari_virtual_paint._napari.stain.painting import PaintJob, PaintRequest
from napari_virtual_paint._napari.stain.panel import StainPanel
from napari_virtual_paint._napari.stain.state import StainState, command
from napari_virtual_paint.errors import VirtualPaintError
from napari_virtual_paint.models import Model
from napari_virtual_paint.runtime.progress import time_left

if TYPE_CHECKING:
    import napari.viewer

    from napari_virtual_paint.painting import PaintReport

PAUSE = 300
"""Milliseconds after the last change before the painting's needs are worked out."""


class StainWidget(StainPanel):
    """The Stain dock.

    Attributes
    ----------
    form
        Edits the choice; `value` and `setValue` are the form's.
    painting
        The painting or preview that runs; None when there is none.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.viewer = viewer
        self.shelf = ModelList()
        self.painting: PaintJob | None = None
        self.meeting = ModelFit()
        self.team = SelectedModels()
        self._job: jobs.Job | None = None
        self._again = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(PAUSE)
        self._timer.timeout.connect(self._ask_forecast)
        self._connect()
        self.form.setModels(self.shelf.rows())
        self._prefer()
        self._layers_changed()

    def value(self) -> StainState:
        """Return what is chosen."""
        return self.form.value()

    def setValue(self, choice: StainState) -> None:  # noqa: N802 - Qt's own way of naming
        """Choose; what depends on it follows."""
        self.form.setValue(choice)
        self._meet()

    def choose(self, **changes: Any) -> None:
        """Change some of the choice, as in ``choose(model="jurkat-brightfield", device="cpu")``."""
        self.setValue(replace(self.value(), **changes))

    @property
    def model(self) -> Model | None:
        """The chosen model, the first of several, opened; its weights are loaded when it first paints."""
        return self.shelf.models.get(self.value().model)

    @property
    def models(self) -> list[Model]:
        """All chosen models, opened."""
        return [self.shelf.models[key] for key in self.value().keys if key in self.shelf.models]

    def paint(self) -> None:
        """Paint the whole image."""
        if self.button_paint.isEnabled():
            self._start(preview=False)

    def preview(self) -> None:
        """Paint what is in view into temporary layers."""
        if self.button_preview.isEnabled():
            self._start(preview=True)

    def cancel(self) -> None:
        """Stop the painting that runs."""
        if self.painting is not None:
            self.status.setText("Cancelling…")
            self.painting.cancel()

    def copy_command(self) -> str:
        """Copy the command line that does the same to the clipboard, and return it."""
        if self.meeting.source is None or self.team.many is None:
            show_warning("Choose an image and a model that fits it first; there is nothing to copy yet.")
            return ""
        choice = self.value()
        line = command(choice, self.meeting.source, self.team.many, [self.shelf.by_id(key) for key in choice.keys])
        QApplication.clipboard().setText(line)
        show_info(f"Copied: {line}" + ("" if self.meeting.source.path else " (put your file's path in place of INPUT)"))
        return line

    def open_package(self, path: str | Path) -> None:
        """Open a model package from disk and choose it."""
        try:
            key = self.shelf.open(path)
        except VirtualPaintError as error:
            show_error(str(error))
            return
        for warning in self.shelf.models[key].info.warnings:
            show_warning(warning)
        self.form.setModels(self.shelf.rows())
        self.setValue(replace(self.value(), model=key, channels=None))

    def reload_models(self, model: str = "", package: str = "") -> None:
        """List the models again in the background, since one was added, and choose one.

        Parameters
        ----------
        model
            Id of the model to choose; empty leaves the choice.
        package
            Where its package lies, for a model that is not among those listed.
        """

        def ready(shelf: ModelList) -> None:
            if not isalive(self):
                return
            opened = {key: each for key, each in self.shelf.models.items() if not self.shelf.by_id(key)}
            shelf.models |= {key: each for key, each in opened.items() if key not in shelf.models}
            self.shelf = shelf
            steps.add(lambda: self.form.setModels(shelf.rows()))
            if model in shelf.models:
                steps.add(lambda: self.choose(model=model, channels=None))
            elif package:
                steps.add(lambda: self.open_package(package))

        steps = StepQueue()
        jobs.start_function(ModelList, title="Looking for models", done=ready, quiet=True)

    def dragEnterEvent(self, event: Any) -> None:  # noqa: N802
        """Take model packages."""
        if any(is_package(url.toLocalFile()) for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: Any) -> None:  # noqa: N802
        """Open the packages that were dropped."""
        for url in event.mimeData().urls():
            if is_package(url.toLocalFile()):
                self.open_package(url.toLocalFile())
        event.acceptProposedAction()

    def _connect(self) -> None:
        self.form.valueChanged.connect(self._changed)
        self.form.openFile.connect(self._open_file)
        self.form.openFolder.connect(self._open_folder)
        self.button_paint.clicked.connect(self.paint)
        self.button_preview.clicked.connect(self.preview)
        self.button_cancel.clicked.connect(self.cancel)
        self.button_copy.clicked.connect(self.copy_command)
        self.button_compare.clicked.connect(self._compare)
        self.setAcceptDrops(True)
        events = self.viewer.layers.events
        for emitter in (events.inserted, events.removed, events.reordered):
            emitter.connect(self._layers_changed)

    def _open_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open a model package", "", "Model packages (*.zip *.yaml)")
        if path:
            self.open_package(path)

    def _open_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Open a model package")
        if path:
            self.open_package(path)

    def _compare(self) -> None:
        from napari_virtual_paint._napari import commands

        commands.compare()

    def _prefer(self) -> None:
        """Begin with the user's preferences."""
        found = preferences.preferences()
        names = {"keep_on_cancel": "keep"}
        fitting = {names.get(name, name): value for name, value in found.items()}
        self.form.setValue(replace(self.value(), **fitting))

    def _layers_changed(self, event: Any = None) -> None:
        """Offer the layers that are there now; keep the choice as far as it still is."""
        if not isalive(self):
            return
        added = getattr(event, "value", None) if getattr(event, "type", "") == "inserted" else None
        for layer in [added] if added is not None else list(self.viewer.layers) if event is None else []:
            for emitter in (layer.events.name, layer.events.scale, layer.events.units, layer.events.axis_labels):
                emitter.connect(self._layers_changed)
        if self.painting is not None:
            return
        names = [layer.name for layer in paintable(self.viewer)]
        choice = self.value()
        kept = tuple(name for name in choice.layers if name in names)
        if not kept:
            kept = likely(self.viewer)
        elif added is not None and set(kept) < set(likely(self.viewer)):
            kept = likely(self.viewer)  # the other channels of the same image, which arrive one by one
        if kept != choice.layers:
            choice = replace(choice, layers=kept, channels=None)
        self.form.setValue(choice)
        self.form.setLayers(names)
        self._meet()

    def _changed(self, choice: StainState) -> None:
        preferences.prefer(
            device=choice.device, precision=choice.precision, keep_on_cancel=choice.keep, again=choice.again, hide_input=choice.hide_input
        )
        self._meet()

    def _meet(self) -> None:
        """Show how the layers meet the model, and have the painting's needs worked out."""
        choice = self.value()
        layers = [layer for layer in self.viewer.layers if layer.name in choice.layers]
        if choice.model not in self.shelf.models and self.shelf.models:
            choice = replace(choice, model=self._fitting(layers))
            self.form.setValue(choice)
        model = self.model
        info = None if model is None else model.info
        if any(key not in self.shelf.models for key in choice.more):
            choice = replace(choice, more=tuple(key for key in choice.more if key in self.shelf.models))
            self.form.setValue(choice)
        self.meeting = fit_layers(layers, info, choice)
        self.team = select_models(self.models, self.meeting, self._channels(), choice)
        if self.team.problem and not self.meeting.problem:
            self.meeting = replace(self.meeting, match=None, problem=self.team.problem)
        self._show_meeting()
        self._timer.start()
        self.domain.ask(lambda: question_of(self.team.many, self.meeting, self.value().settings) if self.painting is None else None)

    def _fitting(self, layers: list[Any]) -> str:
        """Return the model that the layers fit without a question and that uses most of them, else the first."""
        used = {key: fit_layers(layers, model.info, self.value()).used for key, model in self.shelf.models.items()}
        return max(used, key=lambda key: used[key])

    def _show_meeting(self) -> None:
        form, meeting, model = self.form, self.meeting, self.model
        infos = [each.info for each in self.models]
        form.summary.setText("<br>".join(model_card.summary(info) for info in infos))
        form.card.setText(model_card.cards(infos))
        form.setTogether(self.team.shared, meeting.source is not None and meeting.source.stack.shape[0] > 1)
        fixed = ""
        if model is not None and meeting.source is not None and meeting.match is not None and len(meeting.offered) == 1:
            fixed = model_card.matched(model.info, meeting.match, meeting.source.stack)
        form.setChannels(meeting.wanted, meeting.offered, meeting.taken, fixed)
        form.ask.setText("The channels' names don't tell which is which: please check them. The answer is remembered.")
        form.ask.setVisible(meeting.ask and meeting.source is not None)
        offer = model_card.worth_resampling(model.info, meeting.source.stack) if model is not None and meeting.source is not None else ""
        form.offer.setText(offer)
        form.offer.setVisible(bool(offer))
        self.check.setText(f"⚠ {meeting.problem}" if meeting.problem else "Working out what it needs…")
        self._enable()

    def _ask_forecast(self) -> None:
        """Work out, on a worker, where and how long it will paint; one such job at a time."""
        model, many, meeting, choice = self.model, self.team.many, self.meeting, self.value()
        if model is None or self.painting is not None:
            return
        if self._job is not None:
            self._again = True
            return
        title = f"Loading {model.info.name}"
        self._job = jobs.start_function(
            lambda: forecast(many, meeting, choice),
            title=title,
            done=self._show_forecast,
            failed=lambda _error: self._show_forecast(None),
            quiet=True,
        )

    def _show_forecast(self, found: Forecast | None) -> None:
        if not isalive(self):
            return
        self._job = None
        if self._again:
            self._again = False
            self._timer.start()
            return
        if found is None or self.painting is not None:
            return
        self.form.device_line.setText(found.device)
        if self.meeting.problem:
            return
        if found.problem:
            self.check.setText(f"⚠ {found.problem}")
            self.meeting = replace(self.meeting, match=None, problem=found.problem)
        elif found.estimate is not None:
            offered = self.form.offer.isVisible() and self.value().resample
            self.check.setText(model_card.preflight(found.estimate, offered))
        self._enable()

    def _channels(self) -> tuple[int, ...] | None:
        """Return the channels to paint from, once they are settled; None where names tell or colours become luminance."""
        meeting = self.meeting
        if meeting.match is None or meeting.match.luminance or (self.value().channels is None and not meeting.ask and self._by_name()):
            return None
        return meeting.match.channels

    def _by_name(self) -> bool:
        """Whether the names alone give what is taken."""
        source, model = self.meeting.source, self.model
        return source is not None and model is not None and preferences.recall(model.info.id, source.stack.channel_labels) is None

    def _start(self, preview: bool) -> None:
        meeting, model, many = self.meeting, self.model, self.team.many
        if model is None or many is None or meeting.source is None or meeting.match is None:
            return
        choice = replace(self.value(), channels=self._channels(), resample=self.value().resample and self.form.offer.isVisible())
        if choice.channels is not None and LUMINANCE not in choice.channels:
            preferences.remember(model.info.id, meeting.source.stack.channel_labels, choice.channels)
        painting = PaintJob(self.viewer, PaintRequest(choice, many, meeting.source, meeting.match, self.domain.verdict))
        painting.progressed.connect(self._progressed)
        painting.finished.connect(self._finished)
        self.painting = painting
        try:
            painting.preview() if preview else painting.start()
        except VirtualPaintError as error:
            show_error(str(error))
            self.painting = None
        self.bar.setRange(0, 0)
        self._enable()

    def _progressed(self, progress: JobProgress) -> None:
        if progress.total:
            set_bar(self.bar, round(1000 * progress.fraction))
        left = time_left(progress.seconds_left)
        self.status.setText(progress.message or left or "Painting…")

    def _finished(self, how: str, painting: Any) -> None:
        notes = self.meeting.match.notes if self.meeting.match is not None else ()
        self.painting = None
        self.status.setText({"cancelled": "Cancelled.", "failed": "Stopped by an error."}.get(how, ""))
        if painting is not None:
            report = painting.report
            self.status.setText(
                f"Painted in {report.seconds:.1f} s on {report.device}{', exact' if report.exact else ''}{passes_of(report)}."
            )
            said = [note for note in report.notes if note not in notes]
            if said:
                show_warning("\n".join(said))
        self._enable()
        QTimer.singleShot(0, self._layers_changed)

    def _enable(self) -> None:
        """Enable what can be done now."""
        busy = self.painting is not None
        ready = self.meeting.ready and not busy
        self.button_paint.setEnabled(ready)
        self.button_preview.setEnabled(ready)
        self.button_cancel.setEnabled(busy)
        self.bar.setVisible(busy)
        self.check.setVisible(not busy)
        self.form.setBusy(busy)


def passes_of(report: PaintReport) -> str:
    """Return how many passes were merged and how far they differ, as words behind a sentence."""
    if not report.uncertainty:
        return ""
    return (
        f"; {report.merge} of {report.passes} passes, mean SD {', '.join(f'{stain} {sd:.2g}' for stain, sd in report.uncertainty.items())}"
    )
