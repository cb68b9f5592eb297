"""From choices to a training that can begin: pairs, recipe, configuration, its time, and the checks of the pairs."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from dataclasses import replace
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QFileDialog

from napari_virtual_paint._napari.commands import find_dock
from napari_virtual_paint._napari.shared import jobs
from napari_virtual_paint._napari.shared.background import Debounced, LatestJob
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.new_model import checked_name, runs_folder, slug
from napari_virtual_paint._napari.shared.saving import check_saving
from napari_virtual_paint._napari.shared.viewer.layer_list import BURST, MANY, follow_layers
from napari_virtual_paint._napari.shared.viewer.layer_pairs import is_predicted
from napari_virtual_paint._napari.shared.viewer.layers import image_layers, our_metadata, stack_from_layers
from napari_virtual_paint._napari.train.panel import TrainPanel
from napari_virtual_paint._napari.train.prepare import PairVerdict, PreparedRun, TrainRequest, prepare, verdict, write_pair, write_text
from napari_virtual_paint._napari.train.run_list import has_begun
from napari_virtual_paint._napari.train.run_monitor import RunMonitor
from napari_virtual_paint._napari.train.state import (
    IMAGES,
    ImageFacts,
    TrainState,
    as_text,
    configuration,
    facts_of,
    length_of,
    pairs_section,
    portable_text,
    with_checks,
)
from napari_virtual_paint._napari.train.time_estimate import TimeEstimator, TrainingTime
from napari_virtual_paint.channel_colors import is_transmitted
from napari_virtual_paint.choices import PairChecks
from napari_virtual_paint.errors import VirtualPaintError
from napari_virtual_paint.runtime.text import rough_duration

if TYPE_CHECKING:
    from napari_virtual_paint.stack import Stack
    from napari_virtual_paint.training.config.recipes import Recipe


class ConfigController(QObject):  # type: ignore[misc]
    """Keeps the configuration in step with the form, and prepares the training.

    Signals
    -------
    ready
        A `PreparedRun` to begin.
    reported
        The panel shows what the checks of the pairs found.

    Attributes
    ----------
    recipes
        The recipes by name; empty until they are read.
    estimator
        Knows how long the training takes.
    """

    ready = Signal(object)
    reported = Signal()

    def __init__(self, viewer: Any, panel: TrainPanel, monitor: RunMonitor) -> None:
        super().__init__(panel)
        self._viewer, self._panel, self._form, self._monitor = viewer, panel, panel.form, monitor
        self.recipes: dict[str, Recipe] = {}
        self._pair: tuple[Stack, Stack] | None = None
        self._facts: ImageFacts | None = None
        self._text, self._fault = "", ""
        self._suggested: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        self._to_decide: PreparedRun | None = None
        self._preparation = LatestJob(self)
        self._reading_recipes = LatestJob(self)
        self.estimator = TimeEstimator(self, self._may_time)
        self._connect()
        self._relist = Debounced(BURST, self._list_layers, self)
        self._layers_changed()
        self._reading_recipes.start_function(_list_recipes, title="Reading the recipes", done=self._show_recipes)
        self._listing_models = LatestJob(self)
        self.list_models()

    @property
    def preparing(self) -> bool:
        """Whether a training is prepared or its pairs are checked."""
        return self._preparation.running

    def _connect(self) -> None:
        panel = self._panel
        self._form.valueChanged.connect(lambda _choice: self.follow())
        self._form.browse.connect(self._browse)
        self._form.adopt.connect(self._adopt_plate)
        self._form.save.connect(self._ask_save)
        panel.start.clicked.connect(lambda _checked: self.start())
        panel.check.clicked.connect(lambda _checked: self.check_pairs())
        panel.leave_out.clicked.connect(lambda _checked: self._decide("leave_out"))
        panel.go_on.clicked.connect(lambda _checked: self._decide("off"))
        panel.give_up.clicked.connect(lambda _checked: self._decide(None))
        self._preparation.ended.connect(self._preparation_ended)
        self._monitor.changed.connect(self.show_time)
        self.estimator.changed.connect(self._write_configuration)
        self.estimator.failed.connect(lambda message: panel.say(panel.time, f"⚠ {escape(message)}"))
        follow_layers(self._viewer, self._layers_changed)

    # -- the configuration --------------------------------------------------------------------------------------------

    @timed
    def _show_recipes(self, recipes: tuple[Recipe, ...]) -> None:
        self.recipes = {recipe.name: recipe for recipe in recipes}
        self._form.setRecipes([(recipe.name, recipe.title, recipe.description) for recipe in recipes])
        self.follow()

    def list_models(self) -> None:
        """Offer the models that can be taught, in the background."""
        self._listing_models.start_function(_trainable_models, title="Looking for models", done=self._form.setModels)

    def _layers_changed(self, event: Any = None) -> None:
        """Follow the layers: at once, or where there are many, once the last of a burst of changes is over."""
        if len(self._viewer.layers) > MANY and event is not None:
            self._relist.start()
        else:
            self._list_layers()

    def _list_layers(self) -> None:
        """Offer the layers that are there now; keep the choice as far as it still is."""
        images = image_layers(self._viewer)
        names = [layer.name for layer in images]
        choice = self._form.value()
        known = set(names)
        inputs, stains = (tuple(name for name in chosen if name in known) for chosen in (choice.inputs, choice.stains))
        if (choice.inputs, choice.stains) == self._suggested or not (inputs or stains):
            # The user's choice stays; while it is still our suggestion, the other channels of an image may be arriving.
            own = [layer for layer in images if not is_predicted(layer)]
            own = own if len(own) <= MANY else []  # so many layers are not the channels of one image
            inputs = tuple(layer.name for layer in own if _shows_transmitted_light(layer))
            stains = tuple(layer.name for layer in own if not _shows_transmitted_light(layer))
            self._suggested = inputs, stains
        self._form.setValue(replace(choice, inputs=inputs, stains=stains))
        self._form.setLayers(names)
        self._panel.welcome.setVisible(not names)
        self.follow()

    @timed
    def follow(self) -> None:
        """Follow another choice: the configuration, what is missing, and how long the training takes."""
        self._dismiss()
        self._write_configuration()

    @timed
    def _write_configuration(self) -> None:
        choice, recipe = self._form.value(), self.recipes.get(self._form.value().recipe)
        self._pair, self._facts, self._fault = None, None, ""
        if recipe is not None:
            self._form.about.setText(escape(_first_sentence(recipe.description)))
            self._form.about.setToolTip(recipe.description)
            try:
                if choice.source == "layers":
                    self._pair = self._pair_of_layers(choice)
                    self._facts = facts_of(*self._pair)
                elif choice.start:
                    pairs_section(choice)
                self._form.setStainsHint(self._facts.stains if self._facts is not None else ())
                self._text = "" if choice.start else self._configuration_text(choice)
                if choice.start:
                    checked_name(choice.name)
            except VirtualPaintError as error:
                self._fault = str(error)
            self._fault = self._fault or name_taken(choice.name)
            self._form.setText(self._text)
            if choice.start:
                self._form.about.setText(TEACHING)
                self._form.about.setToolTip("")
            else:
                self.estimator.request(choice.text or self._text, self._facts)
            self.show_time()
        self._enable()

    def _configuration_text(self, choice: TrainState) -> str:
        recipe, package = self.recipes[choice.recipe], _package(choice)
        text = as_text(configuration(choice, recipe, self._facts, package))
        time = self.estimator.time_of(choice.text or text, self._facts) if choice.minutes is not None else None
        return text if time is None else as_text(configuration(choice, recipe, self._facts, package, time.pace))

    def _pair_of_layers(self, choice: TrainState) -> tuple[Stack, Stack]:
        """Return input and stains of the chosen layers, lazy."""
        layers = {layer.name: layer for layer in self._viewer.layers}
        both = [[layers[name] for name in names if name in layers] for names in (choice.inputs, choice.stains)]
        for chosen, what in zip(both, ("an input layer", "a layer of true stains"), strict=True):
            if not chosen:
                raise VirtualPaintError(f"Choose {what}.")
        source, target = (stack_from_layers(chosen).stack for chosen in both)
        return source, target

    def _browse(self, what: str) -> None:
        if what in ("folder", "plate"):
            path = QFileDialog.getExistingDirectory(self._panel, "A folder of pairs" if what == "folder" else "A plate")
        else:
            path, _ = QFileDialog.getOpenFileName(self._panel, "A table of pairs", "", "Tables (*.csv);;All files (*)")
        if path:
            self.choose(path=path)

    def choose(self, **changes: Any) -> None:
        """Change some of the choice; the configuration follows."""
        self._form.setValue(replace(self._form.value(), **changes))
        self.follow()

    def _adopt_plate(self) -> None:
        """Take the plate that the Plate dock shows."""
        dock = find_dock(self._viewer, "Plate")
        if dock is None or dock.plate is None:
            show_warning("No plate is open in the Plate dock.")
            return
        self.choose(path=dock.value().path, wells=",".join(dock.map.selection))

    def _ask_save(self) -> None:
        """Save the configuration, and the layers' images beside it, for training in another place."""
        name = slug(self._form.value().name) or "train"
        path, _ = QFileDialog.getSaveFileName(self._panel, "Save the configuration", f"{name}.yaml", "Configurations (*.yaml *.yml)")
        if path:
            self.save_to(path)

    def save_to(self, path: str | Path) -> None:
        """Save the configuration, and the layers' images beside it."""
        path, pair, choice = Path(path), self._pair, self._form.value()
        try:
            check_saving(path)
            text = portable_text(choice.text or self._text, slug(choice.name), path.stem)
        except VirtualPaintError as error:
            show_error(str(error))
            return

        def work() -> Generator[Any, None, Path]:
            yield None
            if pair is not None:
                yield from write_pair(*pair, path.parent / f"{path.stem}-{IMAGES}")
            return write_text(path, text)

        jobs.start(work, title=f"Saving {path.name}", done=lambda saved: show_info(f"Saved; train it with: virtual-paint train {saved}"))

    # -- its time -----------------------------------------------------------------------------------------------------

    def _may_time(self) -> bool:
        """Return whether steps can be timed; a training that runs would slow them down."""
        return bool(self.recipes) and not (self._fault or self._monitor.alive or self.preparing)

    def show_time(self) -> None:
        """Show how long the training takes, as far as it is known."""
        found, choice = self.estimator.found, self._form.value()
        if self._monitor.alive or choice.start:
            text = ""  # the training that runs would slow this one down
        elif found is None:
            text = "Timing a few steps on this machine…" if self.estimator.running else ""
        else:
            text = self._time_text(found, choice)
        self._panel.say(self._panel.time, text)

    def _time_text(self, found: TrainingTime, choice: TrainState) -> str:
        """Return how long the training takes, and where a time is chosen, how long the recipe's own steps would."""
        own = self.recipes[choice.recipe]
        lengths = _edited_length(choice.text) or length_of(choice, own, found.pace)
        text = f"{escape(found.words(*lengths))}."
        if choice.text is None and choice.minutes is not None:
            usual, epoch = length_of(replace(choice, length="recipe"), own, None)
            text += f" The recipe has {usual:,} steps: about {rough_duration(found.pace.seconds(usual, epoch))}."
        return text

    # -- preparation --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Write what the training needs, check its pairs, and begin; again meanwhile, cancel that."""
        self._form.finish()
        if self.preparing:
            self._preparation.cancel()
        elif self._panel.start.isEnabled():
            self._prepare(self._request(), self._begin_or_ask)

    def check_pairs(self) -> None:
        """Check the pairs without training."""
        if not self.preparing and self._panel.check.isEnabled():
            self._prepare(self._request(), self._show_verdict)

    def _request(self) -> TrainRequest:
        choice, folder = self._form.value(), runs_folder() / slug(self._form.value().name)
        if choice.start:
            return TrainRequest(folder, "", self._pair, teach=choice, package=_package(choice))
        return TrainRequest(folder, choice.text or self._text, self._pair)

    def _prepare(self, request: TrainRequest, done: Callable[[PreparedRun], Any]) -> None:
        self.estimator.stop()
        self._dismiss()
        self._preparation.start(
            lambda: prepare(request),
            title=f"Preparing {request.folder.name}",
            tick=lambda progress: self._panel.say(self._panel.preparing, escape(progress.message)),
            done=done,
            quiet=False,
        )
        self._enable()

    def _preparation_ended(self) -> None:
        self._panel.say(self._panel.preparing, "")
        self.estimator.retry()
        self._enable()

    @timed
    def _begin_or_ask(self, prepared: PreparedRun) -> None:
        """Begin, or ask what to do with pairs that look wrong."""
        found = verdict(prepared.report)
        if found.fine:
            self.ready.emit(prepared)
            return
        self._to_decide = prepared
        QTimer.singleShot(0, partial(self._ask, found))  # the dock lays itself out anew, which takes a while

    def _ask(self, found: PairVerdict) -> None:
        """Ask what to do with pairs that look wrong."""
        self._report(found)
        self._panel.leave_out.setEnabled(found.some_are_fine)
        self._panel.asking.show()
        self._enable()

    @timed
    def _show_verdict(self, prepared: PreparedRun) -> None:
        QTimer.singleShot(0, partial(self._report, verdict(prepared.report)))

    def _report(self, found: PairVerdict) -> None:
        """Show what the checks found, and bring it into view; the form is long."""
        self._panel.say(self._panel.report, found.words)
        self.reported.emit()

    def _decide(self, checks: PairChecks | None) -> None:
        """Leave bad pairs out (``leave_out``), train on all (``off``), or not at all (None)."""
        prepared = self._to_decide
        self._dismiss()
        self._enable()
        if prepared is not None and checks is not None:
            # What was checked is what is trained: its number of steps must not be worked out anew.
            text = with_checks(prepared.request.text, checks)
            self._prepare(replace(prepared.request, text=text, pair=None, check=False), self._begin_or_ask)

    def _dismiss(self) -> None:
        """Take back the question what to do with bad pairs."""
        self._to_decide = None
        self._panel.asking.hide()
        self._panel.say(self._panel.report, "")

    def _enable(self) -> None:
        """Enable what can be done now."""
        panel, preparing = self._panel, self.preparing
        ready = bool(self.recipes) and not self._fault and self._to_decide is None
        choice = self._form.value()
        needs_time = not choice.start and choice.minutes is not None and self.estimator.found is None
        panel.start.setEnabled(preparing or (ready and not needs_time))
        panel.start.setText("Cancel" if preparing else "Start")
        panel.check.setEnabled(ready and not preparing)
        self._form.setEnabled(not preparing)
        panel.say(panel.problem, f"⚠ {escape(self._fault)}" if self._fault else "")


TEACHING = (
    "All layers are trained further at a low rate, for about 8 minutes unless a time is chosen. What is held out, the scale and the number "
    "of steps follow from the pairs."
)


def _package(choice: TrainState) -> Path:
    """Return where the model is written."""
    from napari_virtual_paint.models.catalogue import user_folder

    return user_folder().absolute() / slug(choice.name)


def _trainable_models() -> list[tuple[str, str, str]]:
    """Return key, name and tooltip of the models that can be taught."""
    from napari_virtual_paint.models.catalogue import list_models

    found = [info for info in list_models() if info.architecture]
    return [(info.id, f"Teach {info.name}", f"{info.id}: {info.description}") for info in found]


def _list_recipes() -> tuple[Recipe, ...]:
    from napari_virtual_paint.training.config.recipes import list_recipes

    return list_recipes()


def name_taken(name: str) -> str:
    """Return a sentence where a training or a model has this name already; empty where it is free."""
    from napari_virtual_paint.models.catalogue import bundled_folder, user_folder

    own = slug(name)
    if has_begun(runs_folder() / own):
        return f"There is a run named {own} already; choose it below, or give another name."
    if any((folder / f"{own}{end}").exists() for folder in (bundled_folder(), user_folder()) for end in ("", ".zip")):
        return f"There is a model named {own} already; give another name."
    return ""


def _edited_length(text: str | None) -> tuple[int, int] | None:
    """Return the steps, and the steps per epoch, that the user wrote into the configuration; None where both are not in it."""
    if text is None:
        return None
    numbers = [re.search(rf"^{name}:\s*(\d+)\s*$", text, re.MULTILINE) for name in ("steps", "epoch")]
    steps, epoch = (int(number[1]) if number else 0 for number in numbers)
    return (steps, epoch) if steps and epoch else None


def _shows_transmitted_light(layer: Any) -> bool:
    return is_transmitted(str(our_metadata(layer).get("channel") or layer.name))


def _first_sentence(text: str) -> str:
    """Return the first sentence of a description; the rest is in the tooltip."""
    head, dot, _ = text.partition(". ")
    return f"{head}." if dot else text
