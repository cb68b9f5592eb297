"""The channels that a plate is painted from: taken by their names, or asked for before the plate is painted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_virtual_paint._napari.plate.session import PlateSession
from napari_virtual_paint._napari.shared import preferences
from napari_virtual_paint._napari.shared.background import LatestJob
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint.models import ModelInfo
from napari_virtual_paint.painting.settings import PaintSettings
from napari_virtual_paint.plates.job.inputs import PlateInputs, find_inputs
from napari_virtual_paint.plates.plate import Plate

if TYPE_CHECKING:
    from napari_virtual_paint._napari.plate.paint_form import PaintForm

CHOOSE = "Choose the channel to paint from"


class ChannelChoice(QObject):  # type: ignore[misc]
    """Shows in the form which channels the model gets, and asks where their names don't tell.

    Attributes
    ----------
    inputs
        The channels of the open plate for the chosen model.
    """

    changed = Signal()
    """Other channels are offered, or the question is answered."""

    def __init__(self, session: PlateSession, form: PaintForm, parent: QObject) -> None:
        super().__init__(parent)
        self.session, self.form = session, form
        self.inputs = PlateInputs()
        self._looked: tuple[Any, ...] = ()
        self._looking = LatestJob(self)
        form.channels.valueChanged.connect(self._chosen)
        session.state_changed.connect(lambda _: self._look())
        session.models_changed.connect(self._look)
        session.painted_changed.connect(self._look)

    @property
    def busy(self) -> bool:
        """Whether a field is being opened to find its channels."""
        return self._looking.running

    @property
    def question(self) -> str:
        """Why the user must choose channels before the plate is painted; empty where there is nothing to ask."""
        return self.inputs.question

    def remember(self) -> None:
        """Keep the channels that the user chose, for other plates with the same ones."""
        model, taken = self.session.model, self.inputs.taken
        if model is not None and self.session.state.painting.channels is not None:
            preferences.remember(model.info.id, self.inputs.offered, [index for index in taken if index is not None])

    def _look(self) -> None:
        """Find the channels anew, on a worker, where the plate, the model or the choice is another one."""
        plate, model, painted = self.session.plate, self.session.model, self.session.painted
        begun = model is not None and painted.model == model.info.id
        chosen = painted.channels if begun else self.session.state.painting.channels
        settings = self.session.state.painting
        looked = (plate, model, begun, (settings.focus, settings.phase), chosen)
        if plate is None or model is None or looked == self._looked:
            return
        self._looked = looked
        info = model.info
        self._looking.start_function(
            lambda: look(plate, info, chosen, begun=begun, settings=settings),
            title="Looking at the channels",
            done=lambda found: self._show(*found, begun=begun),
        )
        self.changed.emit()

    @timed
    def _show(self, inputs: PlateInputs, channels: tuple[str | int, ...] | None, *, begun: bool) -> None:
        self.inputs = inputs
        form, several = self.form, len(inputs.offered) > 1
        form.channels.show_channels(inputs.wanted, tuple(enumerate(inputs.offered)), inputs.taken)
        form.channels.setVisible(bool(inputs.wanted) and (several or bool(inputs.question)))
        form.channels.setEnabled(not begun)
        form.channels.setToolTip("The output was begun with these channels" if begun else "")
        form.ask.setText(f"⚠ {inputs.question} {CHOOSE}; the answer is remembered." if inputs.question else "")
        form.ask.setVisible(bool(inputs.question))
        state = self.session.state
        if channels != state.painting.channels:
            self._looked = (*self._looked[:-1], channels)
            self.session.update(replace(state, painting=replace(state.painting, channels=channels)))
        self.changed.emit()

    def _chosen(self, taken: tuple[int, ...] | None) -> None:
        state = self.session.state
        channels = None if taken is None else named(taken, self.inputs.offered)
        self.session.update(replace(state, painting=replace(state.painting, channels=channels)))


def look(
    plate: Plate, info: ModelInfo, chosen: tuple[str | int, ...] | None, *, begun: bool, settings: PaintSettings | None = None
) -> tuple[PlateInputs, tuple[str | int, ...] | None]:
    """Find the channels that a model gets from a plate (on a worker), by an earlier answer of the user where their names don't tell.

    Parameters
    ----------
    chosen
        The channels that the user chose; None where they are taken by name.
    begun
        Whether the output was begun with these channels, so that there is nothing to ask.
    settings
        How each field is preprocessed.

    Returns
    -------
    inputs
        The channels.
    chosen
        The channels that the user chose, now or earlier.
    """
    inputs = find_inputs(plate, info, chosen, settings)
    if begun:
        return replace(inputs, question=""), chosen
    known = preferences.recall(info.id, inputs.offered) if inputs.question and chosen is None else None
    if known is None:
        return inputs, chosen
    answered = named(known, inputs.offered)
    return find_inputs(plate, info, answered, settings), answered


def named(taken: Sequence[int], offered: Sequence[str]) -> tuple[str | int, ...]:
    """Return channels by their names, which other plates share, or by position where two names are the same or one holds a comma."""
    names = [offered[index] for index in taken]
    if any(offered.count(name) > 1 or "," in name or name.strip().isdecimal() for name in names):
        return tuple(taken)
    return tuple(names)
