"""Two ways of looking at pairs of layers, each left by one click that brings the former view back exactly."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from napari.experimental import link_layers, unlink_layers
from qtpy.QtCore import QObject, QTimer, Signal

from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.viewer.view_state import Snapshot, displayed_box, fit_to_layers, one_redraw, order_layers, set_grid

Layout: TypeAlias = Literal["each", "overlaid"]
Limits: TypeAlias = tuple[float, float]

LINKED = ("visible", "opacity", "gamma", "colormap", "interpolation2d")
"""What a predicted and a true layer share side by side. Contrast limits follow in proportion, since the two may differ in unit."""
SHORTEST, USUAL, LONGEST = 350, 700, 5000
"""Milliseconds that each of two images is shown: never more than three flashes per second (WCAG 2.2, 2.3.1)."""


@dataclass(frozen=True, eq=False)
class LayerPair:
    """A predicted and a true layer of one stain, both in the viewer."""

    predicted: Any
    truth: Any


def arrange(pairs: Sequence[LayerPair], layout: Layout, across: int) -> tuple[list[Any], int, tuple[int, int]]:
    """Return the order of layers, the stride and the shape (rows, columns) of a grid that puts predicted beside true.

    Parameters
    ----------
    pairs
        The pairs; several may have the same true layer (two models painted it): then each true layer ends a row of its predictions.
    layout
        As in `PairView.side_by_side`.
    across
        How many pairs stand beside each other in a row, as from `pairs_across`; 0: all, the true layers below the predicted.
    """
    n = len(pairs)
    by_truth: dict[Any, list[Any]] = {}
    for pair in pairs:
        by_truth.setdefault(pair.truth, []).append(pair.predicted)
    if len(by_truth) < n:
        rows = [[*predicted, truth] for truth, predicted in by_truth.items()]
        same = len({len(row) for row in rows}) == 1
        return [layer for row in rows for layer in row], 1, (-1, len(rows[0]) if same else -1)
    if layout == "overlaid":
        return [pair.predicted for pair in pairs] + [pair.truth for pair in pairs], n, (1, 2)
    if across == 0:
        return [pair.predicted for pair in pairs] + [pair.truth for pair in pairs], 1, (2, -1)
    return [layer for pair in pairs for layer in (pair.predicted, pair.truth)], 1, (-1, 2 * across)


def pairs_across(n: int, canvas: tuple[float, float], image: tuple[float, float]) -> int:
    """Return how `arrange` shows n pairs largest.

    Parameters
    ----------
    canvas, image
        Height and width of each.
    """

    def size(rows: int, columns: int) -> float:
        return min(canvas[0] / rows / image[0], canvas[1] / columns / image[1])

    sizes = {0: size(2, n)} if n > 1 else {}  # of one pair, the two are beside each other
    sizes |= {across: size(math.ceil(n / across), 2 * across) for across in range(1, n + 1)}
    return max(sizes, key=lambda across: sizes[across])


class LimitsLink:
    """Lets the contrast limits of two layers move together, in proportion to what they are when it begins."""

    def __init__(self, pair: LayerPair) -> None:
        self._layers = (pair.predicted, pair.truth)
        self._base = tuple(tuple(layer.contrast_limits) for layer in self._layers)
        self._busy = False
        pair.predicted.events.contrast_limits.connect(self._from_predicted)
        pair.truth.events.contrast_limits.connect(self._from_truth)

    def close(self) -> None:
        """End the link."""
        self._layers[0].events.contrast_limits.disconnect(self._from_predicted)
        self._layers[1].events.contrast_limits.disconnect(self._from_truth)

    def _from_predicted(self) -> None:
        self._follow(0, 1)

    def _from_truth(self) -> None:
        self._follow(1, 0)

    def _follow(self, leader: int, follower: int) -> None:
        if self._busy:
            return
        (low, high), (own_low, own_high) = self._base[leader], self._base[follower]
        gain = (own_high - own_low) / (high - low)
        limits = tuple(own_low + (value - low) * gain for value in self._layers[leader].contrast_limits)
        self._busy = True
        try:
            self._layers[follower].contrast_limits = limits
        finally:
            self._busy = False


class PairView(QObject):  # type: ignore[misc]
    """Shows pairs side by side or in turn; one of them at a time.

    Signals
    -------
    changed
        The mode that is on now: ``""``, ``"side by side"`` or ``"flicker"``.
    """

    changed = Signal(str)

    def __init__(self, viewer: Any, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.mode = ""
        self._viewer = viewer
        self._pairs: tuple[LayerPair, ...] = ()
        self._undo: ExitStack | None = None  # brings back the view from before; None where nothing is changed
        self._predicted_shown = True
        self._opacities: list[tuple[float, float]] = []
        self._timer = QTimer(self)
        self._timer.setInterval(USUAL)
        self._timer.timeout.connect(self._tick)
        viewer.layers.events.inserted.connect(self._layers_changed)
        viewer.layers.events.removed.connect(self._layers_changed)

    def close(self) -> None:
        """Bring the view back, and listen to the viewer no more."""
        self.back()
        self._viewer.layers.events.inserted.disconnect(self._layers_changed)
        self._viewer.layers.events.removed.disconnect(self._layers_changed)

    def set_period(self, milliseconds: int) -> None:
        """Set how long flicker shows each of the two images."""
        self._timer.setInterval(min(max(milliseconds, SHORTEST), LONGEST))

    def side_by_side(
        self, pairs: Sequence[LayerPair], layout: Layout = "each", limits: Sequence[tuple[Limits, Limits] | None] = ()
    ) -> None:
        """Show predicted beside true in a grid, the two layers of a pair linked.

        Parameters
        ----------
        pairs
            At least one.
        layout
            ``each``: a box for each layer, true ones below (or right of) the predicted; ``overlaid``: two boxes, all stains in each.
        limits
            Contrast limits for each pair's predicted and true layer (as `matched_limits` gives them); None leaves them.
        """
        with self._showing(pairs, "side by side"):
            whole = self._shows_everything()
            set_grid(self._viewer, enabled=False)
            arranged, stride, shape = arrange(pairs, layout, pairs_across(len(pairs), self._viewer.canvas.size, self._image_size()))
            self._show_alone(arranged)
            self._match(limits)
            order_layers(self._viewer, arranged)
            for layer in arranged:
                layer.name_overlay.visible = True
                if stride == 1:
                    layer.opacity = layer.gamma = 1.0  # alone in its box, it need not make room for other stains
            set_grid(self._viewer, stride=stride, shape=shape, spacing=2, enabled=True)
            for pair in pairs:
                self._link(pair)
            self._zoom_into_box(whole)

    def flicker(self, pairs: Sequence[LayerPair], limits: Sequence[tuple[Limits, Limits] | None] = ()) -> None:
        """Show predicted and true in turn at the same place, with a word on the canvas that says which.

        The one that is not shown is made transparent, not hidden: that costs a fifth, and leaves the eyes in the layer list still.
        """
        shown = [layer for pair in pairs for layer in (pair.predicted, pair.truth)]
        with self._showing(pairs, "flicker"):
            self._show_alone(shown)
            self._match(limits)
            for layer in shown:
                layer.blending = "additive"
            self._opacities = [(float(pair.predicted.opacity) or 1.0, float(pair.truth.opacity) or 1.0) for pair in pairs]
            set_grid(self._viewer, enabled=False)
            text = self._viewer.canvas.overlays["text"]
            text.position, text.font_size, text.visible = "top_left", 16, True
            self._predicted_shown = False
            self._alternate()
            self._timer.start()

    def back(self) -> None:
        """Bring back the view from before, exactly; nothing happens if there is none."""
        with one_redraw(self._viewer) if self._undo is not None else nullcontext():
            self._leave()
        self._switch("")

    @contextmanager
    def _showing(self, pairs: Sequence[LayerPair], mode: str) -> Iterator[None]:
        """Change the view within the block; where anything raises, all of it is brought back."""
        try:
            with one_redraw(self._viewer):
                self._leave()
                self._undo = ExitStack()
                self._on_leaving(Snapshot.take(self._viewer).restore, self._viewer)
                self._pairs = tuple(pairs)
                yield
        except BaseException:
            self.back()
            raise
        self._switch(mode)

    def _leave(self) -> None:
        """Undo everything since the view from before, the last first; one step that fails keeps none of the others from being undone."""
        self._timer.stop()
        undo, self._undo, self._pairs = self._undo, None, ()
        if undo is not None:
            undo.close()

    def _switch(self, mode: str) -> None:
        if mode != self.mode:
            self.mode = mode
            self.changed.emit(mode)

    def _layers_changed(self, event: Any = None) -> None:
        """Leave the mode when a layer comes or goes: the boxes of a grid would no longer hold what they should."""
        if self.mode:
            self.back()

    def _show_alone(self, shown: Sequence[Any]) -> None:
        for layer in self._viewer.layers:
            visible = layer in shown
            if layer.visible != visible:
                layer.visible = visible

    def _match(self, limits: Sequence[tuple[Limits, Limits] | None]) -> None:
        """Give the two layers of a pair the same colours, opacity and gamma, and the limits that go with each other."""
        for index, pair in enumerate(self._pairs):
            if pair.truth.colormap.name != pair.predicted.colormap.name:
                pair.truth.colormap = pair.predicted.colormap
            if pair.truth.blending != pair.predicted.blending:
                pair.truth.blending = pair.predicted.blending
            if pair.truth.opacity != pair.predicted.opacity:
                pair.truth.opacity = pair.predicted.opacity
            if pair.truth.gamma != pair.predicted.gamma:
                pair.truth.gamma = pair.predicted.gamma
            found = limits[index] if index < len(limits) else None
            if found is not None:
                pair.predicted.contrast_limits, pair.truth.contrast_limits = found

    def _image_size(self) -> tuple[float, float]:
        low, high = displayed_box(self._viewer, self._layers())[:, -2:]
        height, width = np.maximum(high - low, 1e-12)
        return float(height), float(width)

    def _layers(self) -> list[Any]:
        return [layer for pair in self._pairs for layer in (pair.predicted, pair.truth)]

    def _link(self, pair: LayerPair) -> None:
        both = [pair.predicted, pair.truth]
        made = {key[2] for key in link_layers(both, LINKED)}
        if made:
            self._on_leaving(unlink_layers, both, made)
        self._on_leaving(LimitsLink(pair).close)

    def _on_leaving(self, call: Callable[..., Any], *args: Any) -> None:
        if self._undo is not None:
            self._undo.callback(call, *args)

    def _shows_everything(self) -> bool:
        """Return whether the canvas shows the whole image now."""
        camera, canvas = self._viewer.scene.camera, self._viewer.canvas
        half = np.asarray(canvas.viewbox_size(self._viewer.layers), float) / 2 / max(camera.zoom, 1e-12)
        low, high = displayed_box(self._viewer, self._layers())[:, -2:]
        center = np.asarray(camera.center[-2:])
        return bool(np.all(center - half <= low + 0.5) and np.all(center + half >= high - 0.5))

    def _zoom_into_box(self, whole: bool) -> None:
        """Fit the image into a box of the grid, or keep the current position."""
        viewer = self._viewer
        if whole or viewer.dims.ndisplay == 3:
            fit_to_layers(viewer, self._layers())
            return
        box = np.asarray(viewer.canvas.viewbox_size(viewer.layers), float) / np.asarray(viewer.canvas.size, float)
        viewer.scene.camera.zoom *= float(box.min())

    @timed
    def _tick(self) -> None:
        try:
            self._alternate()
        except BaseException:  # or it would be raised again at every tick
            self.back()
            raise

    def _alternate(self) -> None:
        self._predicted_shown = not self._predicted_shown
        for pair, (predicted, truth) in zip(self._pairs, self._opacities, strict=True):
            pair.predicted.opacity = predicted if self._predicted_shown else 0.0
            pair.truth.opacity = 0.0 if self._predicted_shown else truth
        self._viewer.canvas.overlays["text"].text = "Predicted" if self._predicted_shown else "True"


def matched_limits(truth: Limits, predicted_moments: Limits, truth_moments: Limits) -> tuple[Limits, Limits] | None:
    """Return contrast limits that show a predicted and a true image on one scale: the truth's limits, in the truth's SDs.

    Parameters
    ----------
    truth
        The true layer's contrast limits.
    predicted_moments, truth_moments
        Mean and SD of each image.

    Returns
    -------
    Limits of the predicted and of the true layer; None where an SD is 0.
    """
    (mean, sd), (true_mean, true_sd) = predicted_moments, truth_moments
    if not (sd > 0 and true_sd > 0):
        return None
    low, high = (mean + (value - true_mean) / true_sd * sd for value in truth)
    return (low, high), truth
