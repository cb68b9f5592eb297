"""The Stain dock: choose an image and a model, paint, preview, cancel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QFileDialog, QVBoxLayout, QWidget

from napari_virtual_paint._napari import commands
from napari_virtual_paint._napari.shared import model_card, preferences
from napari_virtual_paint._napari.shared.background import Debounced, LatestJob
from napari_virtual_paint._napari.shared.closing import delete_when_removed
from napari_virtual_paint._napari.shared.dock_area import join_tabs
from napari_virtual_paint._napari.shared.event_loop import StepQueue
from napari_virtual_paint._napari.shared.form_binding import field, replaced
from napari_virtual_paint._napari.shared.jobs import failure_sentence
from napari_virtual_paint._napari.shared.model_list import ModelList, is_package, model_rows
from napari_virtual_paint._napari.shared.progress import JobProgress, set_bar
from napari_virtual_paint._napari.shared.viewer.layer_list import BURST, MANY, follow_layers, guard_removals
from napari_virtual_paint._napari.shared.viewer.layers import stack_from_layers
from napari_virtual_paint._napari.shared.viewer.stain_view import StainButtons
from napari_virtual_paint._napari.shared.widgets import fill_height
from napari_virtual_paint._napari.stain import saving
from napari_virtual_paint._napari.stain.domain_checks import DomainChecks, Question, QuestionKey, question_key
from napari_virtual_paint._napari.stain.form import StainForm
from napari_virtual_paint._napari.stain.matching import (
    LUMINANCE,
    Forecast,
    ModelFit,
    SelectedModels,
    fit_layers,
    fitting_names,
    fluorescence_doubt,
    forecast,
    likely,
    paintable,
    phase_doubt,
    rank_for,
    select_models,
    unstained,
)
from napari_virtual_paint._napari.stain.painting import PaintJob, PaintOutcome, PaintRequest
from napari_virtual_paint._napari.stain.panel import NO_PREVIEW, StainPanel
from napari_virtual_paint._napari.stain.preprocessing import PreprocessedImage, Preprocessor
from napari_virtual_paint._napari.stain.state import PREFERENCES, StainState, command
from napari_virtual_paint.errors import VirtualPaintError
from napari_virtual_paint.models import Model
from napari_virtual_paint.models.catalogue import DEFAULT
from napari_virtual_paint.models.ranking import RankedModel
from napari_virtual_paint.painting.image_preparation import wants_preprocessing
from napari_virtual_paint.painting.model_set import Member, ModelSet
from napari_virtual_paint.runtime.text import counted

if TYPE_CHECKING:
    import napari.viewer

    from napari_virtual_paint._napari.shared.viewer.layers import LayerSource

FOLLOWED = ("name", "data", "scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")  # events of layers
PAUSE = 300  # milliseconds after the last change before memory and run time are estimated


class StainDock(QWidget):  # type: ignore[misc]
    """The Stain dock.

    Attributes
    ----------
    form
        Edits the state; `value` and `setValue` are the form's.
    panel
        The form with all that lies below it: buttons, progress and sentences.
    painting
        The painting or preview that runs; None when there is none.
    ranked
        All models, the best for the chosen layers first.
    doubt
        The question that has to be answered before a channel that seems to be fluorescence is painted; empty where there is none.
    fit
        How the chosen layers fit the chosen model.
    selected
        All chosen models, with their channels.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        guard_removals(viewer)
        join_tabs(self, "Stain")
        self.viewer = viewer
        self.model_list = ModelList()
        self.painting: PaintJob | None = None
        self.fit = ModelFit()
        self.selected = SelectedModels()
        self.form = StainForm()
        self.panel = StainPanel(self.form, StainButtons(viewer))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.panel)
        fill_height(self)
        self._listing = LatestJob(self)
        self._forecast = LatestJob(self, one_at_a_time=True)
        self._saving = LatestJob(self, one_at_a_time=True)
        self._preprocessor = Preprocessor(viewer, self)
        self._shown: dict[bool, PaintJob] = {}  # the last preview (True) and painting: they show what they hid once their layers are gone
        self._added = False  # whether a layer came since the layers were last listed
        self._altered = False  # whether something else happened than that layers came or were moved
        self._layers_chosen = self._model_chosen = False  # whether the user chose them, and not the dock
        self._painted: tuple[str, ...] = ()  # layers of the image that was painted last
        self.ranked: list[RankedModel] = []
        self.doubt = ""
        self._checks = DomainChecks(self)
        self._checks.checked.connect(self._show_verdict)
        self.panel.domain.teach.connect(self._teach)
        self._checks.finished.connect(self._choose_again)
        self._checks.ended.connect(self._show_verdict)
        self._last = StainState()  # what was chosen when the layers were last fitted ...
        self._fitted: list[Any] = []  # ... and the layers
        self._relist = Debounced(BURST, self._list_layers, self)
        self._pause = Debounced(PAUSE, self._start_forecast, self)
        delete_when_removed(self, busy=lambda: self._busy)
        self._connect()
        preferred = preferences.preferences(PREFERENCES)
        self.form.setValue(replaced(self.value(), {PREFERENCES[name]: value for name, value in preferred.items()}))
        self._layers_changed()

    def value(self) -> StainState:
        """Return what is chosen."""
        return self.form.value()

    def setValue(self, state: StainState) -> None:  # noqa: N802 - Qt's own way of naming
        """Choose; what depends on it follows."""
        self._note_choices(state)
        self.form.setValue(state)
        self._refit()

    def choose(self, **changes: Any) -> None:
        """Change some fields of the state or of its `painting`, as in ``choose(model="jurkat-brightfield", tta="flips")``."""
        self._model_chosen = self._model_chosen or "model" in changes
        own = {each.name for each in fields(StainState)}
        self.setValue(replaced(self.value(), {name if name in own else f"painting.{name}": new for name, new in changes.items()}))

    @property
    def model(self) -> Model | None:
        """The chosen model, the first of several, opened; its weights are loaded when it first paints."""
        return self.model_list.models.get(self.value().model)

    @property
    def models(self) -> list[Model]:
        """All chosen models, opened."""
        return [self.model_list.models[key] for key in self.value().keys if key in self.model_list.models]

    def paint(self) -> None:
        """Paint the whole image."""
        if self.panel.button_paint.isEnabled():
            self._start(preview=False)

    def preview(self) -> None:
        """Paint what is in view into temporary layers."""
        if self.panel.button_preview.isEnabled():
            self._start(preview=True)

    def cancel(self) -> None:
        """Stop the painting, the preprocessing or the saving that runs."""
        if self.painting is not None:
            self.panel.status.setText("Cancelling…")
            self.painting.cancel()
        elif self._preprocessor.running:
            self._preprocessor.cancel()
        elif self._saving.running:
            self._saving.cancel()

    def save_stains(self, path: str | Path | None = None) -> None:
        """Save the stains of the chosen image as one OME-TIFF or OME-Zarr, on a worker; asks for the name where there is none."""
        layers, kind = self._stain_layers(), ""
        if not layers or self.painting is not None:
            return
        if not path:
            path, kind = QFileDialog.getSaveFileName(self, "Save the stains", "stains.ome.tif", ";;".join(saving.KINDS))
        if not path:
            return
        target = saving.with_suffix(str(path), kind)
        try:
            stack = saving.stack_to_save(layers)
        except VirtualPaintError as error:
            self.panel.status.setText(str(error))
            return
        title = f"Saving {target.name}"
        self._saving.start(
            saving.save(stack, target, kind),
            title=title,
            tick=self._show_progress,
            done=lambda saved: self._say_end(f"Saved {counted(len(layers), 'stain')} to {saved}."),
            failed=lambda error: self._say_end(failure_sentence(title, error)),
            cancelled=lambda: self._say_end("Cancelled; nothing was saved."),
            quiet=False,
        )
        self._say_begin(f"{title}…")

    def make_phase(self) -> None:
        """Reconstruct the phase of the chosen image into a layer, on a worker; asks for the microscope where none is chosen."""
        source, phase = self.fit.source, self.value().painting.phase
        if source is None or self._busy:
            return
        if phase is None:
            self.form.phase.ask()
            return
        self._say_begin(self._preprocessor.make_phase(source, self._chosen_layers(), phase))

    @property
    def _busy(self) -> bool:
        return self.painting is not None or self._saving.running or self._preprocessor.running

    def _show_progress(self, progress: JobProgress) -> None:
        if self._busy:
            self.panel.show_progress(progress)

    def _say_begin(self, sentence: str) -> None:
        """Say what runs now, of which nothing is known yet."""
        set_bar(self.panel.bar, 0, 0)
        self.panel.status.setText(sentence)
        self._enable()

    def _say_end(self, sentence: str) -> None:
        self.panel.status.setText(sentence)
        self._enable()

    def _stain_layers(self) -> list[Any]:
        """Return the stains of the chosen image."""
        models = self.selected.models
        return saving.stain_layers(self.viewer, self.value().layers, () if models is None else {each.model for each in models.painted})

    def copy_command(self) -> str:
        """Copy the command line that does the same to the clipboard, and return it."""
        source, models = self.fit.source, self.selected.models
        if source is None or models is None:
            show_warning("Choose an image and a model that fits it first; there is nothing to copy yet.")
            return ""
        state = self.value()
        line = command(state, source, models, [self.model_list.by_id(key) for key in state.keys])
        QApplication.clipboard().setText(line)
        show_info(f"Copied: {line}" + ("" if source.path else " (put your file's path in place of INPUT)"))
        return line

    def open_package(self, path: str | Path) -> None:
        """Open a model package from disk and choose it."""
        try:
            key = self.model_list.open(path)
        except VirtualPaintError as error:
            show_error(str(error))
            return
        for warning in self.model_list.models[key].info.warnings:
            show_warning(warning)
        self.choose(model=key, channels=None)

    def reload_models(self, model: str = "", package: str = "") -> None:
        """List the models again in the background, since one was added, and choose one.

        Parameters
        ----------
        model
            Id of the model to choose; empty leaves the choice.
        package
            Where its package lies, for a model that is not among those listed.
        """

        def ready(found: ModelList) -> None:
            found.take_opened(self.model_list)
            self.model_list = found
            steps.add(self._refit)
            if model in found.models:
                steps.add(lambda: self.choose(model=model, channels=None))
            elif package:
                steps.add(lambda: self.open_package(package))
            elif self.value().model not in found.models:
                steps.add(self._refit)

        steps = StepQueue()
        self._listing.start_function(ModelList, title="Looking for models", done=ready)

    def dragEnterEvent(self, event: Any) -> None:  # noqa: N802
        """Accept images and model packages."""
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: Any) -> None:  # noqa: N802
        """Open the images and packages that were dropped."""
        paths = [url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile()]
        event.acceptProposedAction()
        for path in filter(is_package, paths):
            self.open_package(path)
        images = [path for path in paths if not is_package(path)]
        QTimer.singleShot(0, lambda: commands.open_files(self.viewer, images))  # once the drop is over: reading may take a while

    def paint_sample(self) -> None:
        """Open the simulated field and paint it with the default model."""
        commands.open_sample(self.viewer)
        if DEFAULT in self.model_list.models:
            self.setValue(replace(self.value(), model=DEFAULT))
        self.paint()

    def _connect(self) -> None:
        self.form.valueChanged.connect(self._edited)
        self.form.modelPicked.connect(self._model_picked)
        self.form.openFile.connect(self._open_file)
        self.form.openFolder.connect(self._open_folder)
        self.form.make_phase.clicked.connect(self.make_phase)
        self._preprocessor.progressed.connect(self._show_progress)
        self._preprocessor.ended.connect(self._say_end)
        self._preprocessor.focused.connect(self.form.focus.show_focus)
        self.panel.button_paint.clicked.connect(self.paint)
        self.panel.button_preview.clicked.connect(self.preview)
        self.panel.button_cancel.clicked.connect(self.cancel)
        self.panel.button_save.clicked.connect(self.save_stains)
        self.panel.button_copy.clicked.connect(self.copy_command)
        self.panel.button_compare.clicked.connect(lambda _checked: commands.compare())
        self.panel.welcome.add_actions(
            (
                "Open a sample and paint it",
                "Add a simulated field of cells with its true stains, and paint its brightfield",
                self.paint_sample,
            )
        )
        self.setAcceptDrops(True)
        follow_layers(self.viewer, self._layers_changed)
        self.viewer.dims.events.ndisplay.connect(self._view_turned)

    def _open_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open a model package", "", "Model packages (*.zip *.yaml)")
        if path:
            self.open_package(path)

    def _open_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Open a model package")
        if path:
            self.open_package(path)

    # -- image and model ----------------------------------------------------------------------------------------------

    def _layers_changed(self, event: Any = None) -> None:
        """Follow the layers: at once, or where there are many, once the last of a burst of changes is over."""
        if not isalive(self):
            return
        added = getattr(event, "value", None) if getattr(event, "type", "") == "inserted" else None
        for layer in [added] if added is not None else list(self.viewer.layers) if event is None else []:
            for name in FOLLOWED:
                getattr(layer.events, name).connect(self._layers_changed)
            layer.events.data.connect(self._pixels_changed)
        self._added = self._added or added is not None
        self._altered = self._altered or getattr(event, "type", "") not in ("inserted", "reordered")
        if len(self.viewer.layers) > MANY and event is not None:
            self._relist.start()
        else:
            self._list_layers()

    def _list_layers(self) -> None:
        """Offer the layers that are there now; keep the choice as far as it still is."""
        added, self._added = self._added, False
        if self.painting is not None:
            return
        altered, self._altered = self._altered, False
        names = [layer.name for layer in paintable(self.viewer)]
        state = self.value()
        known = set(names)
        kept = tuple(name for name in state.layers if name in known)
        if not kept:  # another image, be its layers named like the last one's
            self._layers_chosen, self._painted = False, ()
        better = likely(self.viewer) if not kept or added else kept
        # The other channels of the same image arrive one by one; until the user has chosen, the transmitted light among them is taken.
        if not kept or set(kept) < set(better) or (not self._layers_chosen and not unstained(kept) and unstained(better)):
            kept = better
        if kept != state.layers:
            state = replace(state, layers=kept, channels=None)
            if added:
                self.panel.status.clear()  # it was about another image
        self.form.setValue(state)
        self.form.setLayers(names)
        self.panel.welcome.setVisible(not names)
        if altered or state.layers != self._last.layers or self._chosen_layers() != self._fitted:
            self._refit()
        else:  # other layers came, as the stains of an image after its brightfield
            self._enable()

    def _edited(self, state: StainState) -> None:
        if (state.layers, state.keys) != (self._last.layers, self._last.keys):
            self.panel.status.clear()  # it was about another image or model
        self._note_choices(state)
        preferences.prefer(**{name: field(state, path) for name, path in PREFERENCES.items()})
        self._refit()

    def _note_choices(self, state: StainState) -> None:
        """Remember what was chosen by the user: the dock does not choose it any more."""
        self._layers_chosen = self._layers_chosen or state.layers != self._last.layers
        self._model_chosen = self._model_chosen or state.model != self._last.model or state.channels not in (None, self._last.channels)

    def _model_picked(self) -> None:
        self._model_chosen = True

    def _pixels_changed(self, event: Any) -> None:
        """Check an image anew whose pixels were replaced."""
        if isalive(self) and event.source in paintable(self.viewer):
            self._checks.forget(event.source)
            self._preprocessor.forget()
            self._relist.start()

    def _refit(self) -> None:
        """Show how the layers fit the models, and have memory, run time and applicability worked out."""
        self._fit_layers()
        self._show_fit()
        self._forecast.drop()
        self._pause.start()
        self._checks.ask(self._domain_questions)
        self._show_verdict()

    def _fit_layers(self) -> None:
        """Take the layers' pixels and places as they are now, and match them to the models."""
        state, layers = self.value(), self._chosen_layers()
        self._fitted = layers
        self.ranked = self._rank(layers, state)
        listed = state.model in self.model_list.models
        self._model_chosen = self._model_chosen and listed
        if self.ranked and (self._free_to_choose() or not listed) and state.model != self.ranked[0].key:
            state = replace(state, model=self.ranked[0].key, channels=None)
        state = replace(state, more=tuple(key for key in state.more if key in self.model_list.models))
        if (state.layers, state.model) != (self._last.layers, self._last.model) and self._last.confirmed:
            state = replace(state, confirmed=False)  # it was the answer for another image or model
        if state != self.value():
            self.form.setValue(state)
        self._last = state
        self.form.setModels(model_rows(self.ranked))
        self.fit = fit_layers(layers, None if self.model is None else self.model.info, state)
        self.selected = select_models(self.models, self.fit, self._channels(), state.ensemble, state.painting)
        if self.selected.problem and not self.fit.problem:
            self.fit = replace(self.fit, match=None, problem=self.selected.problem)
        if self.fit.source is not None and self.fit.match is None and any(one.key == state.model and one.shortfall for one in self.ranked):
            self.fit = replace(self.fit, problem=f"{self.fit.problem} {fitting_names(self.ranked)}")

    def _rank(self, layers: list[Any], state: StainState) -> list[RankedModel]:
        """Rank the models for the chosen layers, by the domain checks once all that fit are known; without an image they stay in order."""
        models = self.model_list.models
        try:
            source = stack_from_layers(layers, state.axes)
        except VirtualPaintError:
            return [RankedModel(key, model.info) for key, model in models.items()]
        ranked = rank_for(source, models, {})
        keys = {one.key: self._question_key(layers, source, self._alone(one.key, source)) for one in ranked if one.comparable}
        if not all(self._checks.knows(key) for key in keys.values()):
            return ranked
        return rank_for(source, models, {name: self._checks.answer(key).verdict for name, key in keys.items()})

    def _alone(self, key: str, source: LayerSource) -> ModelSet:
        """Return a model of the list as it would paint an image alone; its weights are not kept after the check."""
        listed = self.model_list.models[key]
        model = Model(listed.files, listed.description)
        return ModelSet((Member(model, channels=preferences.recall(model.info.id, source.stack.channel_labels)),))

    def _question_key(self, layers: Sequence[Any], source: LayerSource, models: ModelSet) -> QuestionKey:
        """Return what the verdict on an image by some models is remembered by."""
        state = self.value()
        members = tuple((str(each.model.info.source), each.model.info.version, each.channels) for each in models.members)
        members = (*members, ("focus", str(state.painting.focus), None)) if state.painting.focus != "none" else members
        return question_key(layers, state.axes, source.stack.pixel_size, state.painting.resample, members)

    def _choose_again(self) -> None:
        """Show the ranking by the domain checks, now that all are known, and take the best model unless the user chose one."""
        if self.painting is not None:
            return
        self.ranked = self._rank(self._chosen_layers(), self.value())
        if self._free_to_choose() and self.ranked and self.ranked[0].key != self.value().model:
            self._refit()
        else:
            self.form.setModels(model_rows(self.ranked))

    def _free_to_choose(self) -> bool:
        """Return whether the dock chooses the model: the user did not, nor painted this image with the one that the dock chose."""
        return not self._model_chosen and self.value().layers != self._painted

    def _chosen_layers(self) -> list[Any]:
        chosen = set(self.value().layers)
        return [layer for layer in self.viewer.layers if layer.name in chosen]

    def _show_fit(self) -> None:
        form, fit, model = self.form, self.fit, self.model
        infos = [each.info for each in self.models]
        form.summary.setText("<br>".join(model_card.summary(info) for info in infos))
        form.card.setText(model_card.cards(infos))
        form.setTogether(self.selected.shared, fit.source is not None and fit.source.stack.shape[0] > 1)
        fixed = ""
        if model is not None and fit.source is not None and fit.match is not None and len(fit.offered) == 1:
            stack, taken = fit.as_taken()
            fixed = model_card.matched(model.info, taken, stack)
        form.setChannels(fit.wanted, fit.offered, fit.taken, fixed)
        form.ask.setText("The channels' names don't tell which is which: please check them. The answer is remembered.")
        form.ask.setVisible(fit.ask and fit.source is not None)
        offer = model_card.worth_resampling(model.info, fit.source.stack) if model is not None and fit.source is not None else ""
        form.offer.setText(offer)
        form.offer.setVisible(bool(offer))
        self.panel.check.setText(f"⚠ {fit.problem}" if fit.problem else "Working out what it needs…")
        self._enable()

    def _domain_questions(self) -> list[Question]:
        """Return what to check against training images: the image with the chosen models, then with each other that fits."""
        source, settings, layers = self.fit.source, self.value().painting, self._chosen_layers()
        if self.painting is not None or source is None:
            return []
        ready = self.fit.ready_stack or source.stack
        models, match = self.selected.models, self.fit.match
        without_pixels = settings.phase is not None and ready is not source.stack
        sets = [] if models is None or match is None or without_pixels else [(models, match, ready)]
        sets += [(self._alone(one.key, source), one.match, source.stack) for one in self.ranked if one.match is not None and one.comparable]
        return [Question(self._question_key(layers, source, models), models, match, stack, settings) for models, match, stack in sets]

    def _show_verdict(self, _: object = None) -> None:
        """Show what is known of the image and the chosen models; not while something is painted, which notes what was shown."""
        source, models = self.fit.source, self.selected.models
        if self.painting is not None:
            return
        if source is None or models is None or self.fit.match is None:
            self.panel.domain.show_verdict(None)
            self.doubt = ""
            self.form.setDoubt("")
            return
        unchecked = [member.model.info.name for member in models.members if member.model.info.domain is None]
        key = self._question_key(self._chosen_layers(), source, models)
        answer = self._checks.answer(key)
        comparing = self._checks.running and not self._checks.knows(key) and len(unchecked) < len(models.members)
        teachable = len(models.members) == 1 and bool(models.members[0].model.info.architecture)
        self.panel.domain.show_verdict(answer.verdict, unchecked, comparing=comparing, teachable=teachable)
        self.doubt = fluorescence_doubt(models.members[0].model.info, *self.fit.as_taken(), answer.light)
        if not self.doubt and self.value().painting.phase is None:
            self.doubt = phase_doubt(models.members[0].model.info, source.stack)
            if self.doubt and not self.form.advanced.isExpanded():
                self.form.advanced.expand(animate=False)
        self.form.setDoubt(self.doubt)
        self._enable()

    def _teach(self) -> None:
        """Open the Train dock with the chosen model to start from."""
        models = self.selected.models
        dock = commands.open_dock("Train") if models is not None else None
        if models is not None and dock is not None:
            info, (key, *_) = models.members[0].model.info, self.value().keys
            dock.choose(start=info.id if self.model_list.by_id(key) else str(info.source), source="layers")

    def _start_forecast(self) -> None:
        """Work out, on a worker, on which device and how long it will paint."""
        if self.model is None or self.painting is not None:
            return
        key = (tuple(self._chosen_layers()), self._channels())
        self._preprocessor.find_focus(self.fit.source, self.selected.models, self.value().painting, key)
        models, fit, settings = self.selected.models, self.fit, self.value().painting
        self._forecast.start_function(
            lambda: forecast(models, fit, settings), title=f"Loading {self.model.info.name}", done=self._show_forecast
        )

    def _show_forecast(self, found: Forecast) -> None:
        if self.painting is not None:
            return
        self.form.device_line.setText(found.device)
        if self.fit.problem:
            return
        if found.problem:
            self.panel.check.setText(f"⚠ {found.problem}")
            self.fit = replace(self.fit, match=None, problem=found.problem)
        elif found.estimate is not None:
            offered = self.form.offer.isVisible() and self.value().painting.resample
            lines = [model_card.preflight(found.estimate, offered)]
            if self.model is not None and self.fit.source is not None:
                lines.append(model_card.missing_sizes(self.model.info, self.fit.source.stack))
            self.panel.check.setText("<br>".join(line for line in lines if line))
        self._enable()

    def _channels(self) -> tuple[int, ...] | None:
        """Return the channels to paint from, once they are settled; None where names are enough or colours become luminance."""
        fit = self.fit
        if fit.match is None or fit.match.luminance or (self.value().channels is None and not fit.ask and self._by_name()):
            return None
        return fit.channels or None

    def _by_name(self) -> bool:
        """Return whether the names alone give what is taken."""
        source, model = self.fit.source, self.model
        return source is not None and model is not None and preferences.recall(model.info.id, source.stack.channel_labels) is None

    # -- painting -----------------------------------------------------------------------------------------------------

    def _start(self, preview: bool) -> None:
        self._painted = self.value().layers
        self._fit_layers()
        fit, model, models = self.fit, self.model, self.selected.models
        if model is None or models is None or fit.source is None or fit.match is None:
            return
        resample = self.value().painting.resample and self.form.offer.isVisible()
        state = replaced(self.value(), {"channels": self._channels(), "painting.resample": resample})
        if state.channels is not None and LUMINANCE not in state.channels:
            preferences.remember(model.info.id, fit.source.stack.channel_labels, state.channels)
        request = PaintRequest(state, models, fit.source, fit.match, self.panel.domain.verdict)
        if not wants_preprocessing(state.painting, fit.source.stack):
            self._run(request, preview)
            return

        def ready(made: PaintRequest, image: PreprocessedImage) -> None:
            self.panel.domain.show_verdict(image.verdict)
            self._run(made, preview)

        if begun := self._preprocessor.prepare(request, self._chosen_layers(), ready):
            self._say_begin(begun)

    def _run(self, request: PaintRequest, preview: bool) -> None:
        """Paint or preview."""
        painting = PaintJob(self.viewer, request)
        painting.progressed.connect(self.panel.show_progress)
        painting.ending.connect(self._ending)
        painting.finished.connect(self._finished)
        self.painting = painting
        self.panel.status.setText("Starting…")
        try:
            painting.preview() if preview else painting.start()
        except VirtualPaintError as error:
            show_error(str(error))
            self.panel.status.setText(str(error))
            self.painting = None
        else:
            self._shown[preview] = painting
        set_bar(self.panel.bar, 0, 0)
        self._enable()

    def _ending(self, sentence: str) -> None:
        """Say how the painting ended; the buttons wait until its layers are up to date."""
        self.panel.status.setText(sentence)
        self.panel.bar.hide()
        self.panel.button_cancel.setEnabled(False)

    def _finished(self, outcome: PaintOutcome) -> None:
        doubts = self.fit.source.stack.notes if self.fit.source is not None else ()
        notes = (*doubts, *(self.fit.match.notes if self.fit.match is not None else ()))
        self.painting = None
        if outcome.painting is not None:
            new = [note for note in outcome.painting.report.notes if note not in notes]
            if new:
                show_warning("\n".join(new))
        self._enable()
        QTimer.singleShot(0, self._layers_changed)

    def _view_turned(self, _event: Any = None) -> None:
        """Say that there is no preview in 3D."""
        if not isalive(self):
            return
        self._enable()
        if self.painting is None and self.viewer.dims.ndisplay == 3:
            self.panel.status.setText(NO_PREVIEW)
        elif self.panel.status.text() == NO_PREVIEW:
            self.panel.status.clear()

    def _enable(self) -> None:
        """Enable what can be done now."""
        busy = self._busy
        flat = self.viewer.dims.ndisplay == 2
        ready = self.fit.ready and not busy and (not self.doubt or self.value().confirmed)
        self.panel.set_busy(busy, ready=ready, flat=flat, stains=bool(self._stain_layers()))
        self.form.setBusy(busy)
