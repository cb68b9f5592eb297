"""Several fields side by side in one layer per channel, so that all have the same contrast."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from qtpy.compat import isalive
from qtpy.QtCore import QObject, Signal

from napari_virtual_paint._napari.plate.field_loader import Channel, ChannelSlot, PictureCache, opened, pictures, wanted_at_first
from napari_virtual_paint._napari.shared.background import LatestJob
from napari_virtual_paint._napari.shared.event_loop import StepQueue
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.jobs import show_failure
from napari_virtual_paint._napari.shared.viewer.appearance import contrast_limits
from napari_virtual_paint._napari.shared.viewer.layer_list import remove_layers
from napari_virtual_paint._napari.shared.viewer.layers import KEY, our_metadata
from napari_virtual_paint.channel_colors import is_transmitted
from napari_virtual_paint.errors import InputError, VirtualPaintError
from napari_virtual_paint.plates.plate import Field
from napari_virtual_paint.plates.view.mosaic import MOST_PIXELS, MosaicPlan, fill, plan_mosaic
from napari_virtual_paint.runtime.progress import Progress

ROLE = "mosaic"  # role of its layers in their metadata
NAMES = "Wells (mosaic)"  # name of the layer with the names of the wells


@dataclass(frozen=True, eq=False)
class EmptyMosaic:
    """The empty mosaic, sent first so that layers can be made: its plan, and canvas and layer arguments of each channel shown.

    `slots` are all channels that the fields have.
    """

    plan: MosaicPlan
    canvases: dict[ChannelSlot, Any]
    arguments: dict[ChannelSlot, dict[str, Any]]
    slots: tuple[ChannelSlot, ...]


@dataclass(frozen=True, eq=False)
class MosaicResult:
    """What is known once all fields are read."""

    limits: dict[ChannelSlot, tuple[float, float]]  # contrast limits by slot, over all fields
    missing: dict[str, str]  # why fields could not be read, by key


def make_mosaic(
    store: PictureCache,
    fields: Sequence[Field],
    shown: set[ChannelSlot] | None,
    limits: dict[ChannelSlot, tuple[float, float]],
    most: int = MOST_PIXELS,
) -> Generator[EmptyMosaic | Progress, None, MosaicResult]:
    """Read several fields into one image per channel (on a worker).

    Parameters
    ----------
    store, fields
        What is read, and from where.
    shown
        The channels; None takes those that are shown by default.
    limits
        Contrast limits of the channels that have some already; others get theirs from all fields together.
    most
        Largest number of pixels of a channel.

    Raises
    ------
    InputError
        If none of the fields can be read.
    """
    missing: dict[str, str] = {}
    begun: EmptyMosaic | None = None
    for index, field in enumerate(fields):
        yield Progress(index, len(fields), f"Reading {field}")
        try:
            found, _ = opened(store, field)
            if begun is None:
                begun = _begin(store, fields, field, found, shown, limits, most)
                yield begun
            for slot, stack, channel in found:
                if slot in begun.canvases:
                    fill(begun.canvases[slot], begun.plan, index, stack, channel)
                    yield Progress(index + 0.5, len(fields), f"Reading {field}")
        except VirtualPaintError as error:  # one damaged field must not cost the others
            missing[field.key] = str(error)
    if begun is None:
        raise InputError(next(iter(missing.values()), "No field was chosen."))
    return MosaicResult({slot: limits.get(slot) or _limits(slot, canvas) for slot, canvas in begun.canvases.items()}, missing)


def _begin(
    store: PictureCache,
    fields: Sequence[Field],
    field: Field,
    channels: Sequence[Channel],
    shown: set[ChannelSlot] | None,
    limits: dict[ChannelSlot, tuple[float, float]],
    most: int,
) -> EmptyMosaic:
    """Return the empty mosaic, the layers' appearance taken from the first field that can be read."""
    slots = tuple(slot for slot, _, _ in channels)
    visible = shown or wanted_at_first(slots)
    chosen = [each for each in channels if each[0] in visible] or channels[:1]
    plan = plan_mosaic(fields, chosen[0][1].shape[-2:], most)
    canvases, arguments = {}, {}
    for made in pictures(store, field, chosen, limits, visible=True):
        slot, single = made.slot, made.arguments
        low, high = limits.get(slot) or single.get("contrast_limits") or (0.0, 1.0)
        canvases[slot] = _empty(plan.shape, np.dtype(made.data.dtype), low)
        scale = single["scale"][-2:]
        arguments[slot] = {name: single[name] for name in ("colormap", "blending", "opacity", "gamma")} | {
            "name": f"{slot.channel} (predicted, mosaic)" if slot.painted else f"{slot.channel} (mosaic)",
            "scale": tuple(step * plan.step for step in scale),
            "translate": tuple(step * (plan.step - 1) / 2 for step in scale),
            "units": single["units"][-2:],
            "axis_labels": ("y", "x"),
            "contrast_limits": (low, high),
            "metadata": {KEY: {"role": ROLE, "plate": store.images.plate.source, "channel": slot.channel}},
        }
    return EmptyMosaic(plan, canvases, arguments, slots)


def _empty(shape: tuple[int, int], dtype: np.dtype[Any], low: float) -> Any:
    """Return a mosaic without fields: filled with the value that is shown black."""
    if dtype.kind in "iu":
        low = float(np.clip(low, np.iinfo(dtype).min, np.iinfo(dtype).max))
    return np.full(shape, low if dtype.kind != "b" else 0, dtype)


def _limits(slot: ChannelSlot, canvas: Any) -> tuple[float, float]:
    return contrast_limits(canvas, is_transmitted(slot.channel)) or (0.0, 1.0)


class MosaicView(QObject):  # type: ignore[misc]
    """Shows a mosaic, and restores the layers shown before it.

    Attributes
    ----------
    plan
        Its plan; None where no mosaic is shown.
    offered
        All channels of its fields.
    most
        Largest number of pixels of a channel.
    """

    message = Signal(str)
    """What it is doing, for the user."""
    begun = Signal()
    """The channels that it shows are known."""

    def __init__(self, viewer: Any, parent: QObject) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.plan: MosaicPlan | None = None
        self.layers: dict[ChannelSlot, Any] = {}
        self.offered: tuple[ChannelSlot, ...] = ()
        self.most = MOST_PIXELS
        self._canvases: dict[ChannelSlot, Any] = {}
        self._names: Any = None
        self._hidden: list[Any] = []
        self._camera: tuple[Any, float] | None = None
        self._steps = StepQueue()
        self._pending = 0
        self._reading = LatestJob(self)

    @property
    def busy(self) -> bool:
        """Whether fields are being read, or layers wait to be filled."""
        return self._reading.running or self._pending > 0

    @property
    def open(self) -> bool:
        """Whether a mosaic is shown, or will be."""
        return self._reading.running or bool(self.layers)

    def slots(self) -> set[ChannelSlot]:
        """Return the channels that it shows."""
        return set(self._canvases)

    def groups(self) -> dict[str, bool]:
        """Return the groups of channels that the fields have, and whether any of each is shown."""
        found: dict[str, bool] = {}
        for slot in self.offered:
            found[slot.group] = found.get(slot.group, False) or slot in self._canvases
        return found

    def show(self, store: PictureCache, fields: Sequence[Field], layers: dict[ChannelSlot, Any], shown: set[ChannelSlot] | None) -> None:
        """Show fields side by side.

        Parameters
        ----------
        store, fields
            What is read, and from where.
        layers
            Those of single fields, which are hidden meanwhile; the contrast that the user gave them is kept.
        shown
            The channels; None takes those that are shown by default.
        """
        self.stop()
        single = [layer for layer in layers.values() if layer.visible]
        known = (layers | self.layers).items()
        limits = {slot: (float(layer.contrast_limits[0]), float(layer.contrast_limits[1])) for slot, layer in known}
        later = [layer for slot, layer in layers.items() if slot in (shown or ())]
        self._reading.start(
            lambda: make_mosaic(store, fields, shown, limits, self.most),
            title=f"{len(fields)} fields side by side",
            piece=lambda piece: self._begin(piece, single, later),
            tick=lambda progress: self._tick(progress.done),
            done=lambda finished: self._finish(finished, len(fields)),
            failed=lambda _error: self.close(),
        )

    def stop(self) -> None:
        """Stop reading."""
        self._reading.drop()
        self._steps.clear()
        self._pending = 0

    def close(self, restore: bool = True) -> None:
        """Remove the mosaic and restore the layers and camera from before, one step per turn of the event loop."""
        self.stop()
        gone = [layer for layer in self.viewer.layers if our_metadata(layer).get("role") == ROLE]
        self.layers, self._canvases, self._names, self.plan = {}, {}, None, None
        hidden, self._hidden = self._hidden, []
        camera, self._camera = self._camera, None
        if restore:
            self._later(*(partial(_show, self.viewer, layer) for layer in hidden))
        if gone:
            self._later(partial(remove_layers, self.viewer, gone))
        if restore and camera is not None:
            self._later(partial(_move_camera, self.viewer, *camera))

    def _later(self, *steps: Callable[[], Any]) -> None:
        """Run steps, one per turn of the event loop."""
        if steps:
            self._pending += 1
            self._steps.add(*(partial(self._attempt, step) for step in steps), self._done)

    def _attempt(self, step: Callable[[], Any]) -> None:
        """Run a step; where it fails, show why, and bring back all that was shown before."""
        try:
            step()
        except Exception as error:
            if not isalive(self) or (isinstance(error, RuntimeError) and "deleted" in str(error)):
                raise  # the viewer was closed, so there is nothing to bring back
            if self.plan is not None:  # else it is being closed already
                self.close()
            show_failure("Showing fields side by side", error)

    def _done(self) -> None:
        self._pending -= 1

    @timed
    def _begin(self, piece: Any, single: list[Any], later: list[Any]) -> None:
        if not isinstance(piece, EmptyMosaic):
            return
        if not self.layers:
            camera = self.viewer.scene.camera
            self._camera = (tuple(camera.center), float(camera.zoom))
        self._hidden = later
        # Layers of an earlier mosaic are reused: adding one costs napari far more than giving it other pixels.
        self.plan, self._canvases, self.offered = piece.plan, piece.canvases, piece.slots
        self._later(*(partial(_hide, layer) for layer in single))
        stale = [layer for slot, layer in self.layers.items() if slot not in piece.canvases]
        if stale or self._names is not None:
            self._later(partial(remove_layers, self.viewer, [*stale, *([self._names] if self._names is not None else [])]))
            self._names = None
        before, self.layers = self.layers, {}
        for slot, canvas in piece.canvases.items():
            self._later(partial(self._show_one, slot, canvas, piece.arguments[slot], before.get(slot)))
        self._later(partial(self._write_names, piece), self.viewer.fit_to_view)
        self.begun.emit()

    def _show_one(self, slot: ChannelSlot, canvas: Any, arguments: dict[str, Any], layer: Any) -> None:
        if layer is None or layer not in self.viewer.layers:
            self.layers[slot] = self.viewer.add_image(canvas, **arguments)
            return
        layer.data = canvas
        layer.scale, layer.translate = arguments["scale"], arguments["translate"]
        self.layers[slot] = layer

    def _write_names(self, piece: EmptyMosaic) -> None:
        """Write the name of each field into its corner."""
        shown = next(iter(piece.arguments.values()))
        several = len({field.well for field in piece.plan.fields}) < len(piece.plan.fields)
        names = [field.key if several else field.well for field in piece.plan.fields]
        corners = np.array([piece.plan.corner(index) for index in range(len(names))], float)
        self._names = self.viewer.add_points(
            corners,
            name=NAMES,
            size=1,
            face_color="transparent",
            border_color="transparent",
            text={"string": names, "color": "white", "size": 10, "anchor": "lower_left"},
            scale=shown["scale"],
            translate=shown["translate"],
            units=shown["units"],
            axis_labels=("y", "x"),
            metadata={KEY: {"role": ROLE}},
        )
        self._names.editable = False

    @timed
    def _tick(self, done: float) -> None:
        """Show the fields read since the last tick, all layers together."""
        if self.plan is not None:
            self.message.emit(f"Reading {len(self.plan.fields)} fields side by side: {int(done)} are there…")
        self._later(self._refresh)

    def _refresh(self) -> None:
        for layer in self.layers.values():
            if layer in self.viewer.layers and layer.visible:
                layer.refresh(thumbnail=False, highlight=False, extent=False)

    @timed
    def _finish(self, finished: MosaicResult, count: int) -> None:
        for slot, limits in finished.limits.items():
            self._later(partial(self._end_one, slot, limits))
        text = f"{count} fields side by side"
        if self.plan is not None and self.plan.step > 1:
            text += f", each shown at 1/{self.plan.step} of its size so that they fit"
        if finished.missing:
            text += f"; {len(finished.missing)} can't be read ({next(iter(finished.missing.values()))})"
        self.message.emit(text if text.endswith(")") else text + ".")

    def _end_one(self, slot: ChannelSlot, limits: tuple[float, float]) -> None:
        layer = self.layers.get(slot)
        if layer is None or layer not in self.viewer.layers:
            return
        if limits[1] > limits[0] and tuple(layer.contrast_limits) != limits:
            # The range of the slider must hold the limits first, else napari clips them.
            low, high = layer.contrast_limits_range
            layer.contrast_limits_range = (min(low, limits[0]), max(high, limits[1]))
            layer.contrast_limits = limits
        layer.refresh(extent=False)


def _hide(layer: Any) -> None:
    if layer.visible:
        layer.visible = False


def _show(viewer: Any, layer: Any) -> None:
    if layer in viewer.layers and not layer.visible:
        layer.visible = True


def _move_camera(viewer: Any, center: Any, zoom: float) -> None:
    viewer.scene.camera.center = center
    viewer.scene.camera.zoom = zoom
