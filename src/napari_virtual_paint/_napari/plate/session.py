"""The session of a Plate dock: its state, the plate that is open, what is painted of it, and the models."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

from napari.utils.notifications import show_error
from qtpy.QtCore import QObject, Signal

from napari_virtual_paint._napari.plate.paint_queue import PaintQueue, PaintTask
from napari_virtual_paint._napari.plate.state import OpenedPlate, PaintedFields, PlateState, default_output, open_chosen, painted_fields
from napari_virtual_paint._napari.shared.background import LatestJob
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.model_list import ModelList
from napari_virtual_paint.errors import VirtualPaintError
from napari_virtual_paint.models import Model
from napari_virtual_paint.models.catalogue import default_model
from napari_virtual_paint.plates.layouts import SeveralPlatesError
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.plates.view.images import PlateImages
from napari_virtual_paint.runtime.progress import Progress


class PlateSession(QObject):  # type: ignore[misc]
    """Opens plates and keeps track of what is painted of the open one; controllers follow its signals.

    Attributes
    ----------
    state
        The dock's `PlateState`.
    opened
        The open plate; None before the first.
    models
        The models that can paint; None until they are listed.
    model_chosen
        Whether the user chose the model; until then each plate gets the one that suits it.
    queue
        The plates to be painted; what it paints of the open plate is followed.
    """

    state_changed = Signal(object)
    """The `PlateState` from before."""
    models_changed = Signal()
    opening = Signal(str)
    """A plate of this name is being opened."""
    several_plates = Signal(str, tuple)
    """A path holds several plates: the path, and the names to choose from."""
    not_opened = Signal()
    """The plate could not be opened; the one from before stays."""
    plate_opened = Signal(bool)
    """A plate is open; whether it is the one from before, opened again."""
    painted_changed = Signal()
    """Other fields are painted, of the same or another output."""
    field_changed = Signal(str)
    """The key of a field of the open plate whose state of painting changed."""

    def __init__(self, queue: PaintQueue, parent: QObject) -> None:
        super().__init__(parent)
        self.state = PlateState()
        self.opened: OpenedPlate | None = None
        self.models: ModelList | None = None
        self.model_chosen = False
        self.queue = queue
        self._opening, self._loading_painted, self._listing = LatestJob(self), LatestJob(self), LatestJob(self)
        queue.field_changed.connect(self._field_changed)
        queue.ended.connect(self._task_ended)
        self.list_models()

    @property
    def plate(self) -> Plate | None:
        """The open plate."""
        return self.opened.plate if self.opened is not None else None

    @property
    def painted(self) -> PaintedFields:
        """What is painted of the open plate."""
        return self.opened.painted if self.opened is not None else PaintedFields()

    @property
    def model(self) -> Model | None:
        """The chosen model."""
        return None if self.models is None else self.models.models.get(self.state.model)

    @property
    def busy(self) -> bool:
        """Whether a plate, or what is painted of it, is being opened."""
        return self._opening.running or self._loading_painted.running

    # -- the state ----------------------------------------------------------------------------------------------------

    def update(self, state: PlateState) -> None:
        """Apply another state, of which the model counts as the user's choice; another plate or plate map is opened in the background."""
        self.model_chosen = self.model_chosen or state.model != self.state.model
        same = all(getattr(state, name) == getattr(self.state, name) for name in ("path", "plate", "plate_map"))
        if not same and state.path:
            self.open(state)
        else:
            self._apply(state)

    def _apply(self, state: PlateState) -> None:
        before = self.state
        # A default output follows plate and model; one that the user chose stays.
        usual = default_output(before.path, before.model)
        if state.path and state.output in ("", usual) and state.model:
            state = replace(state, output=default_output(state.path, state.model))
        if (state.path, state.plate, state.model) != (before.path, before.plate, before.model):
            state = _without_channels(state, before)
        self.state = state
        self.state_changed.emit(before)
        if (state.output, state.kind) != (before.output, before.kind):
            self.load_painted()

    # -- the plate ----------------------------------------------------------------------------------------------------

    def open(self, state: PlateState) -> None:
        """Open the plate of a state in the background."""
        name = Path(state.path).name
        self.opening.emit(name)
        self._opening.start(
            lambda: _opened_or_several(state),
            title=f"Opening {name}",
            done=lambda found: self._offer(state.path, found) if isinstance(found, SeveralPlatesError) else self._show(found),
            failed=lambda _error: self.not_opened.emit(),
            cancelled=self.not_opened.emit,
        )

    def _offer(self, path: str, found: SeveralPlatesError) -> None:
        self.not_opened.emit()
        self.several_plates.emit(path, found.names)

    @timed
    def _show(self, opened: OpenedPlate) -> None:
        again = self.plate is not None and opened.plate.source == self.plate.source
        before, found = self.state, opened.state
        self.state = replace(before, path=found.path, plate=found.plate, plate_map=found.plate_map, output=found.output, kind=found.kind)
        if not again:
            self.state = _without_channels(self.state, before)
        # The queue's value is the one that its painting updates; what lies on disk may be a field behind.
        self.opened = replace(opened, painted=self._in_queue(opened.plate) or opened.painted)
        self.plate_opened.emit(again)
        self.state_changed.emit(before)
        self._adopt_model()
        self.painted_changed.emit()

    def images(self, plate: Plate) -> PlateImages:
        """Return the images of a plate and of its output."""
        if self.state.kind == "in-place":
            return PlateImages(plate, None, self.painted.model or (self.model.info.id if self.model is not None else ""))
        return PlateImages(plate, self.state.output or None)

    # -- what is painted ----------------------------------------------------------------------------------------------

    def load_painted(self) -> None:
        """Load, in the background, what is painted of the open plate."""
        opened, state = self.opened, self.state
        if opened is None:
            return

        def loaded(painted: PaintedFields) -> None:
            if self.opened is opened:  # else another plate was opened meanwhile
                self.opened = replace(opened, state=self.state, painted=self._in_queue(opened.plate) or painted)
                self.painted_changed.emit()

        self._loading_painted.start_function(
            lambda: painted_fields(opened.plate, state.new_output), title="Looking at what is painted", done=loaded
        )

    def _in_queue(self, plate: Plate) -> PaintedFields | None:
        """Return what the queue has painted of a plate that waits or is painted now into the chosen output."""
        task = self.queue.find(plate.source, self.state.new_output or plate.source)
        return None if task is None else task.painted

    def _field_changed(self, task: PaintTask, key: str) -> None:
        if task.painted is self.painted:
            self.field_changed.emit(key)

    def _task_ended(self, task: PaintTask) -> None:
        if task.painted is self.painted:
            self.load_painted()

    # -- models -------------------------------------------------------------------------------------------------------

    def list_models(self) -> None:
        """List the models, in the background; packages opened from disk stay on the list."""
        self._listing.start_function(ModelList, title="Looking for models", done=self._listed)

    @timed
    def _listed(self, models: ModelList) -> None:
        if self.models is not None:
            models.take_opened(self.models)
        self.models = models
        self.models_changed.emit()
        self._adopt_model()

    def open_package(self, path: str | Path) -> None:
        """Open a model package from disk and choose it."""
        if self.models is None:
            return
        try:
            key = self.models.open(path)
        except VirtualPaintError as error:
            show_error(str(error))
            return
        self.models_changed.emit()
        self.model_chosen = True
        self.take_model(key)

    def take_model(self, key: str) -> None:
        """Paint with another model of the list."""
        self._apply(replace(self.state, model=key))

    def _adopt_model(self) -> None:
        """Choose the model that the output is painted with, else the chosen one, else the usual one."""
        if self.models is None or not self.models.models:
            return
        models, painted, key = self.models.models, self.painted, self.state.model
        if painted.model and (key not in models or models[key].info.id != painted.model):
            key = self._model_of_job(self.models, painted)
        if key not in models:
            key = default_model(models)
        self.take_model(key)

    def _model_of_job(self, models: ModelList, painted: PaintedFields) -> str:
        """Return the key of the model that an output is painted with; its package is opened where it is not listed."""
        if painted.model in models.models:
            return painted.model
        try:
            key = models.open(painted.package)
        except VirtualPaintError:
            return self.state.model
        self.models_changed.emit()
        return key

    def close(self) -> None:
        """Stop all work."""
        for job in (self._opening, self._loading_painted, self._listing):
            job.close()


def _opened_or_several(state: PlateState) -> Generator[Progress, None, OpenedPlate | SeveralPlatesError]:
    """Open the plate of a state, or return which plates its path holds: that is a question for the user and no error."""
    try:
        return (yield from open_chosen(state))
    except SeveralPlatesError as error:
        return error


def _without_channels(state: PlateState, before: PlateState) -> PlateState:
    """Return a state whose channels are taken by name, unless they were chosen anew with it."""
    if state.painting.channels != before.painting.channels:
        return state
    return replace(state, painting=replace(state.painting, channels=None))
