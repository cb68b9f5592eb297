"""The Cells dock in the viewer: clicks that pick cells, layers that are added, and the score of a walk's step on the canvas."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_virtual_paint._napari.shared.event_loop import Turns
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.layers import LayerData

if TYPE_CHECKING:
    import napari.viewer

STILL = 4.0
"""Screen pixels that a click may move before it is a drag."""


class InViewer(QObject):  # type: ignore[misc]
    """What the dock has in the viewer; `close` leaves nothing of it but layers.

    Signals
    -------
    clicked
        The world coordinates of a click, while clicks pick cells.
    stepped
        The step of the walk that the viewer's slider shows.
    """

    clicked = Signal(object)
    stepped = Signal(int)

    def __init__(self, viewer: napari.viewer.Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._turns = Turns()
        self._captions: tuple[str, ...] = ()
        self._walk: list[Any] = []
        viewer.dims.events.current_step.connect(self._dims_changed)
        viewer.layers.events.removed.connect(self._removed)

    def set_picking(self, on: bool) -> None:
        """Have clicks pick cells, or not."""
        callbacks = self._viewer.mouse_drag_callbacks
        if on and self._click not in callbacks:
            callbacks.append(self._click)
        elif not on and self._click in callbacks:
            callbacks.remove(self._click)

    def add(self, layers: Sequence[LayerData]) -> None:
        """Add layers, one a turn of the event loop."""
        for data, arguments, _kind in layers:
            self._turns.add(partial(self._viewer.add_image, data, **arguments))

    def show_walk(self, layers: Sequence[LayerData], captions: Sequence[str]) -> None:
        """Add the frames of a walk in place of the last walk's, and write each step's caption on the canvas."""
        self.end_walk()
        for layer in [layer for layer in self._walk if layer in self._viewer.layers]:
            self._turns.add(partial(self._remove, layer))
        self._walk = []
        for data, arguments, _kind in layers:
            self._turns.add(partial(self._add_frames, data, arguments))
        self._turns.add(lambda: self._begin_walk(tuple(captions)), self._look)

    def end_walk(self) -> None:
        """Take the caption away."""
        if self._captions:
            self._captions = ()
            self._text.visible = False

    def show_step(self, step: int) -> None:
        """Turn the viewer's slider to a step."""
        if self._captions and self._walk:
            axis = self._viewer.dims.ndim - self._walk[0].ndim
            if self._viewer.dims.current_step[axis] != step:
                self._viewer.dims.set_current_step(axis, step)

    def close(self) -> None:
        """Leave the viewer alone."""
        self.set_picking(False)
        self._turns.clear()
        self.end_walk()
        self._viewer.dims.events.current_step.disconnect(self._dims_changed)
        self._viewer.layers.events.removed.disconnect(self._removed)

    @property
    def _text(self) -> Any:
        return self._viewer.canvas.overlays["text"]

    def _add_frames(self, data: Any, arguments: Any) -> None:
        self._walk.append(self._viewer.add_image(data, **arguments))

    def _remove(self, layer: Any) -> None:
        if layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def _begin_walk(self, captions: tuple[str, ...]) -> None:
        self._captions = captions
        self._text.position = "bottom_center"
        self._text.font_size = 14
        self._text.visible = True
        self.show_step(0)
        self._dims_changed()

    def _look(self) -> None:
        if self._walk:
            self._viewer.fit_to_view(layers=self._walk, margin=0.2)

    @timed
    def _dims_changed(self, event: Any = None) -> None:
        if not self._captions or not self._walk:
            return
        axis = self._viewer.dims.ndim - self._walk[0].ndim
        step = int(self._viewer.dims.current_step[axis])
        if 0 <= step < len(self._captions):
            self._text.text = self._captions[step]
            self.stepped.emit(step)

    def _removed(self, event: Any) -> None:
        if event.value in self._walk:
            self._walk.remove(event.value)
            if not self._walk:
                self.end_walk()

    def _click(self, viewer: Any, event: Any) -> Iterator[None]:
        """Tell a click, once the button is up again without a drag; napari drives this generator."""
        if event.button != 1 or event.modifiers:
            return
        began = event.pos
        position = tuple(event.position)
        yield
        while event.type == "mouse_move":
            yield
        if sum((a - b) ** 2 for a, b in zip(began, event.pos, strict=True)) <= STILL**2:
            self.clicked.emit(position)
