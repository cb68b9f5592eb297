"""The Train dock's part that chooses: pairs, recipe and settings, the configuration that follows, and how long it takes."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_warning
from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QFileDialog

from napari_virtual_paint._napari.commands import find_dock
from napari_virtual_paint._napari.shared import jobs
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.layers import known, stack_from_layers
from napari_virtual_paint._napari.train import process
from napari_virtual_paint._napari.train.prepare import PreparedRun
from napari_virtual_paint._napari.train.run_list import has_begun
from napari_virtual_paint._napari.train.run_monitor import TrainRuns
from napari_virtual_paint._napari.train.state import ImageFacts, TrainState, as_text, configuration, facts, runs_folder, slug
from napari_virtual_paint._napari.train.time_estimate import Timed, ask
from napari_virtual_paint.channel_colors import is_transmitted
from napari_virtual_paint.errors import VirtualPaintError

if TYPE_CHECKING:
    import napari.viewer

    from napari_virtual_paint.stack import Stack
    from napari_virtual_paint.training.config.recipes import Recipe

PAUSE = 1000
"""Milliseconds after the last change before the steps are timed."""


class TrainForming(TrainRuns):
    """What chooses; `train.TrainDock` adds what begins.

    Attributes
    ----------
    form
        Edits the choice; `value` and `setValue` are the form's.
    time_found
        How long a training would take, once it is known.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self.recipes: dict[str, Recipe] = {}
        self.time_found: Timed | None = None
        self._pair: tuple[Stack, Stack] | None = None
        self._facts: ImageFacts | None = None
        self._text, self._fault = "", ""
        self._likely: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        self._preparing: jobs.Job | None = None
        self._timing: jobs.Job | None = None
        self._asked: tuple[str, ImageFacts | None] | None = None
        self._times: dict[tuple[str, ImageFacts | None], Timed] = {}
        self._waiting: PreparedRun | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(PAUSE)
        self._timer.timeout.connect(self._ask_time)
        self._connect_form()
        self._layers_changed()
        jobs.start_function(_recipes, title="Reading the recipes", done=self._recipes_there, quiet=True)

    def value(self) -> TrainState:
        """Return what is chosen."""
        return self.form.value()

    def setValue(self, choice: TrainState) -> None:  # noqa: N802 - Qt's own way of naming
        """Choose; what depends on it follows."""
        self.form.setValue(choice)
        self._follow()

    def choose(self, **changes: Any) -> None:
        """Change some of the choice, as in ``choose(recipe="unet", device="cuda")``."""
        self.setValue(replace(self.value(), **changes))

    # -- the form -----------------------------------------------------------------------------------------------------

    def _connect_form(self) -> None:
        self.form.valueChanged.connect(self._form_changed)
        self.form.browse.connect(self._browse)
        self.form.adopt.connect(self._adopt_plate)
        events = self.viewer.layers.events
        for emitter in (events.inserted, events.removed, events.reordered):
            emitter.connect(self._layers_changed)

    @timed
    def _recipes_there(self, recipes: tuple[Recipe, ...]) -> None:
        if not isalive(self):
            return
        self.recipes = {recipe.name: recipe for recipe in recipes}
        self.form.setRecipes([(recipe.name, recipe.title, recipe.description) for recipe in recipes])
        self._follow()

    def _layers_changed(self, event: Any = None) -> None:
        """Offer the layers that are there now; keep the choice as far as it still is."""
        if not isalive(self):
            return
        images = [layer for layer in self.viewer.layers if type(layer).__name__ == "Image"]
        names = [layer.name for layer in images]
        choice = self.value()
        inputs, stains = (tuple(name for name in chosen if name in names) for chosen in (choice.inputs, choice.stains))
        if (choice.inputs, choice.stains) == self._likely or not (inputs or stains):
            # What the user chose stays; as long as nothing was chosen, the other channels of an image may still be arriving.
            own = [layer for layer in images if known(layer).get("role") not in ("stain", "preview")]
            inputs = tuple(layer.name for layer in own if _transmitted(layer))
            stains = tuple(layer.name for layer in own if not _transmitted(layer))
            self._likely = inputs, stains
        self.form.setValue(replace(choice, inputs=inputs, stains=stains))
        self.form.setLayers(names)
        self._follow()

    def _form_changed(self, choice: TrainState) -> None:
        training = process.STARTED.get(self.place.folder) if self.place is not None else None
        if training is not None:
            training.keep = choice.keep_running
        self._follow()

    @timed
    def _follow(self) -> None:
        """Show what follows from the choice: the recipe's words, the configuration, what is missing; have the steps timed."""
        choice, recipe = self.value(), self.recipes.get(self.value().recipe)
        self._pair, self._facts, self._fault = None, None, ""
        self._dismiss()
        if recipe is None:
            self._enable()
            return
        self.form.about.setText(escape(_first_sentence(recipe.description)))
        self.form.about.setToolTip(recipe.description)
        try:
            if choice.source == "layers":
                self._pair, self._facts = self._from_layers(choice)
            self.form.setStainsHint(self._facts.stains if self._facts is not None else ())
            self._text = as_text(configuration(choice, recipe, self._facts, self._package(choice), self._step()))
        except VirtualPaintError as error:
            self._fault = str(error)
        self._fault = self._fault or taken(choice.name)
        self.form.setText(self._text)
        self._timer.start()
        self._show_time()
        self._enable()

    def _from_layers(self, choice: TrainState) -> tuple[tuple[Stack, Stack], ImageFacts]:
        """Return input and stains of the layers, lazy, and what they are."""
        layers = {layer.name: layer for layer in self.viewer.layers}
        both = [[layers[name] for name in names if name in layers] for names in (choice.inputs, choice.stains)]
        for chosen, what in zip(both, ("an input layer", "a layer of true stains"), strict=True):
            if not chosen:
                raise VirtualPaintError(f"Choose {what}.")
        source, target = (stack_from_layers(chosen).stack for chosen in both)
        return (source, target), facts(source, target)

    @staticmethod
    def _package(choice: TrainState) -> Path:
        from napari_virtual_paint.models.catalogue import user_folder

        return user_folder().absolute() / slug(choice.name)

    def _browse(self, what: str) -> None:
        if what in ("folder", "plate"):
            path = QFileDialog.getExistingDirectory(self, "A folder of pairs" if what == "folder" else "A plate")
        else:
            path, _ = QFileDialog.getOpenFileName(self, "A table of pairs", "", "Tables (*.csv);;All files (*)")
        if path:
            self.choose(path=path)

    def _adopt_plate(self) -> None:
        """Take the plate that the Plate dock shows."""
        dock = find_dock(self.viewer, "Plate")
        if dock is None or dock.plate is None:
            show_warning("No plate is open in the Plate dock.")
            return
        wells = ",".join(dock.map.selection)
        self.choose(path=dock.value().path, wells=wells)

    # -- how long it takes --------------------------------------------------------------------------------------------

    def _step(self) -> float | None:
        return self.time_found.step if self.time_found is not None else None

    def _key(self) -> tuple[str, ImageFacts | None]:
        """Return all that the time of a step depends on."""
        lines = (self.value().text or self._text).splitlines()
        told = ("id:", "name:", "description:", "trained_on:", "output:", "steps:", "epoch:")
        return "\n".join(line for line in lines if not line.startswith(told)), self._facts

    @timed
    def _ask_time(self) -> None:
        """Have the first steps timed, unless that is known, or a training runs that would slow them down."""
        busy = self.state is not None and self.state.alive
        if self._fault or not self.recipes or busy or self._preparing is not None:
            return
        key = self._key()
        if key in self._times or (key == self._asked and self._timing is not None):
            self._show_time()
            return
        if self._timing is not None:
            self._timing.cancel()
        self._asked, text, shape = key, self.value().text or self._text, self._facts
        self.say(self.time, "Timing a few steps…")
        self._timing = jobs.start(
            lambda: _or_words(ask(text, shape)),
            title="Timing a few steps",
            done=lambda found: self._time_there(key, found),
            failed=lambda _error: self._time_there(key, "How long it takes can't be told."),
            quiet=True,
        )

    @timed
    def _time_there(self, key: tuple[str, ImageFacts | None], found: Timed | str) -> None:
        if not isalive(self) or key != self._asked:
            return
        self._timing = None
        if isinstance(found, Timed):
            self._times[key] = found
            self._follow()
        else:
            self.say(self.time, f"⚠ {escape(found)}")

    def _show_time(self) -> None:
        """Tell how long the training takes, as far as it is known."""
        found = self._times.get(self._key())
        before, self.time_found = self.time_found, found
        choice = self.value()
        if self.state is not None and self.state.alive:
            self.say(self.time, "")  # the one that runs would slow the other down, and so the time
        elif found is None:
            self.say(self.time, "" if self._timing is None else "Timing a few steps…")
        elif choice.length == "minutes":
            self.say(self.time, f"{max(1, int(60 * choice.amount / found.step))} steps in {choice.amount} min")
            if before != found:
                self._follow()
        else:
            self.say(self.time, f"It takes {escape(found.words)}.")

    # -- what is said -------------------------------------------------------------------------------------------------

    def _dismiss(self) -> None:
        self._waiting = None
        self.asking.hide()
        self.say(self.report, "")

    def _enable(self) -> None:
        """Enable what can be done now."""
        preparing = self._preparing is not None
        ready = bool(self.recipes) and not self._fault and self._waiting is None
        waits = self.value().length == "minutes" and self.time_found is None
        self.start.setEnabled(preparing or (ready and not waits))
        self.start.setText("Cancel" if preparing else "Start")
        self.check.setEnabled(ready and not preparing)
        self.form.setEnabled(not preparing)
        self.say(self.problem, f"⚠ {escape(self._fault)}" if self._fault else "")


def _recipes() -> tuple[Recipe, ...]:
    from napari_virtual_paint.training.config.recipes import list_recipes

    return list_recipes()


def _or_words(work: Generator[None, None, Timed]) -> Generator[None, None, Timed | str]:
    """Return what is wrong with a configuration as words: whoever is still choosing needs no notification."""
    try:
        return (yield from work)
    except VirtualPaintError as error:
        return str(error)


def taken(name: str) -> str:
    """Say that a run or a model has this name already; nothing where it is free."""
    from napari_virtual_paint.models.catalogue import bundled_folder, user_folder

    own = slug(name)
    if has_begun(runs_folder() / own):
        return f"There is a run named {own} already; choose it below, or give another name."
    if any((folder / f"{own}{end}").exists() for folder in (bundled_folder(), user_folder()) for end in ("", ".zip")):
        return f"There is a model named {own} already; give another name."
    return ""


def _transmitted(layer: Any) -> bool:
    noted = known(layer)
    return is_transmitted(str(noted.get("channel") or layer.name))


def _first_sentence(text: str) -> str:
    """Return the first sentence of a description; the rest is in the tooltip."""
    head, dot, _ = text.partition(". ")
    return f"{head}." if dot else text
