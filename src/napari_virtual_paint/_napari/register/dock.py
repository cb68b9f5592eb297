"""The Register dock: lay an image onto a stain of another modality, by the stain that a model paints of it."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from typing import Any

import napari.viewer
from napari.utils.notifications import show_info, show_warning
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_virtual_paint._napari.register.layers import move, moved, painted_from, take_back
from napari_virtual_paint._napari.register.panel import RegisterPanel, RegisterState, missing
from napari_virtual_paint._napari.shared import jobs
from napari_virtual_paint._napari.shared.background import Debounced, LatestJob
from napari_virtual_paint._napari.shared.dock_area import join_tabs
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.model_list import ModelList
from napari_virtual_paint._napari.shared.viewer.layer_list import follow_layers, guard_removals
from napari_virtual_paint._napari.shared.viewer.layers import LayerSource, image_layers, stack_from_layers
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.models import match
from napari_virtual_paint.registration import Registered, describe, register_images

TITLE = "Registering"  # what the work is called in napari's activity dialog and in messages


@dataclass(frozen=True, eq=False)
class _RegisterRequest:
    """The layers to register, and their images."""

    layers: tuple[Any, ...]
    fixed: Any
    source: LayerSource
    target: LayerSource


class RegisterDock(QWidget):  # type: ignore[misc]
    """Chooses layers and a model, registers in the background, and sets the layers' affine.

    Parameters
    ----------
    viewer
        The viewer whose layers are registered.

    Attributes
    ----------
    result
        The last registration; None before the first.
    """

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        guard_removals(viewer)
        join_tabs(self, "Register")
        self.viewer: Any = viewer
        self.setWindowTitle("Register")
        self.model_list = ModelList()
        self.result: Registered | None = None
        self._job = LatestJob(self)
        self.panel = RegisterPanel()
        self.panel.setModels(self.model_list.rows())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addWidget(self.panel)
        self._listing = Debounced(0, self._changed, self)
        self.panel.valueChanged.connect(lambda _value: self._changed())
        self.panel.register.clicked.connect(lambda _checked: self.register())
        self.panel.cancel.clicked.connect(lambda _checked: self.cancel())
        self.panel.undo.clicked.connect(lambda _checked: self.undo())
        follow_layers(viewer, self._layers_changed)
        self._changed()

    @property
    def running(self) -> bool:
        """Whether a registration runs."""
        return self._job.running

    def value(self) -> RegisterState:
        """Return what is chosen."""
        return self.panel.value()

    def setValue(self, value: RegisterState) -> None:  # noqa: N802 - as Qt's own
        """Choose something else."""
        self.panel.setValue(value)
        self._changed()

    def _layers_changed(self, event: Any = None) -> None:
        self._listing.start()

    def _changed(self) -> None:
        """Follow another choice: the sentence on the last registration gives way to what is still to be chosen."""
        self._list()
        if not self.running:
            self.panel.say(missing(self.value(), len(image_layers(self.viewer))))

    def _images(self) -> list[Any]:
        """Return all images: error maps and SDs move with what they lie on, but are not offered."""
        return [layer for layer in self.viewer.layers if type(layer).__name__ == "Image"]

    @timed
    def _list(self) -> None:
        """List the layers and the stains of the chosen model."""
        images = self._images()
        self.panel.setLayers([layer.name for layer in image_layers(self.viewer)])
        state = self.value()
        model = self.model_list.models.get(state.model)
        self.panel.setStains(() if model is None else model.info.stains, state.onto)
        chosen = [layer for layer in images if layer.name in state.layers]
        self.panel.setState(running=self.running, undo=any(moved(layer) for layer in chosen))

    # -- work ---------------------------------------------------------------------------------------------------------

    def register(self) -> None:
        """Register what is chosen, in the background; an error is shown in the dock."""
        if self.running:
            return
        state = self.value()
        try:
            request = self._request(state)
        except InputError as error:
            self.panel.say(str(error))
            return
        model = self.model_list.models.get(state.model)
        stain = state.stain if model is not None else 0

        def make() -> Generator[Any, None, Registered]:
            image = request.source.stack
            return register_images(image, request.target.stack, model, channel=0, stain=stain or None, settings=state.settings)

        self.panel.say("Reading the images…")
        self._job.start(
            make,
            title=TITLE,
            tick=self.panel.show_progress,
            done=partial(self._done, request),
            failed=lambda error: self._ended(jobs.failure_sentence(TITLE, error)),
            cancelled=lambda: self._ended("Cancelled; nothing was moved."),
            quiet=False,
        )
        self._list()

    def cancel(self) -> None:
        """Stop; nothing is moved."""
        self._job.cancel()

    def undo(self) -> None:
        """Bring the chosen layers, and what was painted from them, back to where they were."""
        chosen = [layer for layer in self._images() if layer.name in self.value().layers]
        count = take_back([*chosen, *painted_from(chosen, self._images())])
        self._ended(f"{count} layers are back where they were." if count != 1 else "The layer is back where it was.")

    def _request(self, state: RegisterState) -> _RegisterRequest:
        """Read the images of the layers and check them.

        Raises `InputError` if something is missing or does not fit; the sentence says what to do.
        """
        named = {layer.name: layer for layer in self._images()}
        sentence = missing(state, len(named))
        if sentence:
            raise InputError(sentence)
        layers, fixed = tuple(named[name] for name in state.layers if name in named), named[state.onto]
        model = self.model_list.models.get(state.model)
        if model is None and len(layers) > 1:
            raise InputError("Tick one layer under 'Move', or choose the model that paints from all of them.")
        source, target = stack_from_layers(layers), stack_from_layers([fixed])
        if model is not None:
            match(model.info, source.stack)
        return _RegisterRequest(layers, fixed, source, target)

    def _done(self, request: _RegisterRequest, found: Registered) -> None:
        """Move the layers, or say why not."""
        self.result = found
        registration = found.registration
        if not registration.converged:
            sentence = f"Nothing was moved. {registration.reason}"
            show_warning(sentence)
            self._ended(sentence)
            return
        there = self._images()
        layers = [layer for layer in request.layers if layer in there]
        if not layers or request.fixed not in there:
            self._ended("Nothing was moved: the layers were removed in the meantime.")
            return
        move([*layers, *painted_from(layers, there)], request.fixed, registration)
        words = describe(registration)
        show_info(f"Registered onto {request.fixed.name}. {words}")
        self._ended(" ".join([words, registration.reason, *found.notes]))

    def _ended(self, words: str) -> None:
        self.panel.say(words)
        self._list()
