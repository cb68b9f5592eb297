"""Cells and layers: crops out of the viewer's images, the cell under a click, and generated cells and walks as layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, Signal
from qtpy.QtGui import QUndoCommand, QUndoStack

from napari_virtual_paint._napari.cells.state import Opened, provenance_of
from napari_virtual_paint._napari.shared.event_loop import StepQueue
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.viewer.layers import (
    KEY,
    LayerData,
    LayerSource,
    image_layers,
    is_stain,
    layer_data_from_stack,
    our_metadata,
    stack_from_layers,
)
from napari_virtual_paint.cells.measurement.crops import crop
from napari_virtual_paint.errors import InputError, VirtualPaintError
from napari_virtual_paint.stack import PixelSize, Stack

if TYPE_CHECKING:
    import napari.viewer


Crop = npt.NDArray[np.float32]
ALIKE = 0.05  # pixel sizes that differ by a smaller share count as equal
FILES = ("Metadata_FileName", "Image_FileName", "FileName")  # prefixes of columns that name the image file of a cell
X, Y = "Nuclei_Location_Center_X", "Nuclei_Location_Center_Y"


@dataclass(frozen=True, eq=False)
class Spot:
    """A position in an image of the viewer: time point, plane, y and x in its pixels."""

    source: LayerSource
    t: int
    z: int
    y: float
    x: float


def image_for(viewer: Any, channels: Sequence[str]) -> LayerSource:
    """Return the image with the channels of a model, from the viewer's layers.

    Raises `InputError` if a channel is missing; the sentence names it.
    """
    layers = [layer for layer in image_layers(viewer) if not layer.rgb and not _ours(layer)]
    found, missing = [], []
    for channel in channels:
        fitting = [layer for layer in layers if _named(layer, channel)]
        (found.append(fitting[-1]) if fitting else missing.append(channel))
    if missing:
        raise InputError(
            f"The model needs a layer for each of its channels; none is called {', '.join(missing)}. Open the image, or rename its layers."
        )
    return stack_from_layers(found)


def spot_of(viewer: Any, channels: Sequence[str], position: Sequence[float]) -> Spot:
    """Return the position of a click (world coordinates) in the image with the channels of a model.

    Raises `InputError` if there is no such image, or the click is beside it.
    """
    source = image_for(viewer, channels)
    layer = viewer.layers[source.layers[0]]
    place = np.asarray(layer.world_to_data(position), float)[-len(source.geometry.axes) :]
    at = dict(zip(source.geometry.axes, place, strict=True))
    t, z = (int(max(0, round(at.get(axis, 0.0)))) for axis in "TZ")
    y, x = at["Y"], at["X"]
    height, width = source.stack.shape[3:]
    if not (-0.5 <= y < height and -0.5 <= x < width):
        raise InputError("There is no image where you clicked; click a cell.")
    return Spot(source, min(t, source.stack.shape[0] - 1), min(z, source.stack.shape[2] - 1), float(y), float(x))


def crop_at(spot: Spot, opened: Opened) -> Crop:
    """Cut a model's crop out of an image of the viewer (on a worker: it reads)."""
    stack = spot.source.stack
    return cut(lambda rows, columns: stack.data[spot.t, :, spot.z, rows, columns], spot.y, spot.x, stack.pixel_size.x, opened)


def cut(planes: Callable[[slice, slice], Any], y: float, x: float, own: float | None, opened: Opened) -> Crop:
    """Cut a model's crop out of an image, resampled to the model's pixel size where both are known.

    Parameters
    ----------
    planes
        Returns the pixels (C, rows, columns) of a part of the image.
    y, x
        The middle of the crop, in the image's pixels.
    own
        The image's pixel size in micrometres.
    opened
        Gives size and pixel size of the crop, and the side of a montage's tiles.
    """
    size, ratio = opened.model.size, 1.0
    wanted = opened.model.pixel_size
    # Resampling blurs: pixel sizes within a few percent are left alone.
    if own and wanted and abs(own / wanted - 1) > ALIKE:
        ratio = wanted / own
    side, tile = max(4, round(size * ratio)), _tile(opened)
    top, left = (max(0, int(at) - side) // (tile or 1) * (tile or 1) for at in (y, x))
    part = planes(slice(top, int(y) + side), slice(left, int(x) + side))
    found = crop(np.asarray(part, np.float32), np.array([[y - top, x - left]]), side, tile)[0]
    if side != size:
        from skimage.transform import resize

        found = resize(found, (len(found), size, size), order=1, anti_aliasing=side > size, preserve_range=True)
    return np.asarray(found, np.float32)


def _tile(opened: Opened) -> int | None:
    """Return the side of a montage's tiles, if the metadata has one: a crop must not show adjacent tiles."""
    column = opened.cohort.metadata.get("Metadata_Tile")
    sides = set() if column is None or opened.cohort.crops is not None else set(column.dropna())
    return int(sides.pop()) if len(sides) == 1 else None


def row_at(spot: Spot, opened: Opened) -> int | None:
    """Return the row of the table's cell under a click, by file and position; None where there is none."""
    rows = _rows_of(spot.source, opened)
    if rows is None or not len(rows):
        return None
    places = opened.cohort.metadata[[Y, X]].to_numpy(np.float64)[rows]
    away = np.hypot(*(places - [spot.y, spot.x]).T)
    away[~np.isfinite(away)] = np.inf  # cells without a position
    nearest = int(away.argmin())
    return int(rows[nearest]) if away[nearest] <= opened.model.size / 2 else None


def crop_of(viewer: Any, opened: Opened, position: int) -> Spot | None:
    """Return the position of a table's cell in the viewer's layers; None where its image is not open."""
    try:
        source = image_for(viewer, opened.model.channels)
    except VirtualPaintError:
        return None
    rows = _rows_of(source, opened)
    if rows is None or position not in rows:
        return None
    y, x = opened.cohort.metadata[[Y, X]].to_numpy(np.float64)[position]
    return Spot(source, 0, 0, float(y), float(x)) if np.isfinite([y, x]).all() else None


def _rows_of(source: LayerSource, opened: Opened) -> npt.NDArray[np.intp] | None:
    """Return the rows of the cells in an image: those of its file; all where the table names no file."""
    metadata = opened.cohort.metadata
    if X not in metadata or Y not in metadata or opened.cohort.crops is not None:
        return None
    columns = [column for column in metadata.columns if str(column).startswith(FILES)]
    if not columns:
        return np.arange(len(metadata))
    name = Path(source.path or source.stack.source or "").name.casefold()
    fitting = np.zeros(len(metadata), bool)
    for column in columns:
        fitting |= np.array([Path(text).name.casefold() == name for text in opened.cohort.texts(str(column))])
    return np.flatnonzero(fitting)


def cell_layers(opened: Opened, scaled: Crop, moved: Mapping[int, float], row: int = 0, seed: int = 0) -> list[LayerData]:
    """Return a generated cell (C, d, d), on the display scale, as one layer per channel; each further one (row) lies below the last.

    The layers are in grey levels and have the model's pixel size; their provenance names the features that were moved, and the seed.
    """
    from napari_virtual_paint.cells.cp2image.model import to_grey_levels

    model = opened.model
    provenance = provenance_of(opened, seed, moved={model.features[index]: value for index, value in moved.items()})
    made = _layers(opened, to_grey_levels(model, scaled)[None, :, None], "generated", "cell", provenance)
    return _beside(made, opened, row)


def walk_layers(opened: Opened, frames: Crop, ends: tuple[str, str], real: Crop | None = None, seed: int = 0) -> list[LayerData]:
    """Return the frames of a walk (k, C, d, d) as one layer per channel, with an axis of steps, and the real cells like them above."""
    provenance = provenance_of(opened, seed, walk=list(ends))
    made = _beside(_layers(opened, frames[:, :, None], "walk", "walk", provenance), opened, 0)
    if real is not None:
        made += _beside(_layers(opened, np.asarray(real, np.float32)[:, :, None], "walk, real", "walk", provenance), opened, -1)
    for _, arguments, _kind in made:
        if len(arguments["axis_labels"]) == 3:
            arguments["axis_labels"] = ("step", "y", "x")
    return made


def grid_layers(
    opened: Opened, cells: Crop, name: str, provenance: Mapping[str, Any], rows: Sequence[str], labels: Sequence[Sequence[str]]
) -> list[LayerData]:
    """Return cells in a grid: a layer of images per channel, and one of points that name each row and cell.

    Parameters
    ----------
    cells
        (rows, columns, C, d, d), in grey levels.
    name
        What they are, in brackets behind each layer's name.
    provenance
        How they were made.
    rows, labels
        The name of each row, and the label of each cell.
    """
    height, width, channels, side = cells.shape[:4]
    down, right = side + side // 5, side + max(1, side // 16)  # above each row is room for its name
    mosaic = np.zeros((channels, (height - 1) * down + side, (width - 1) * right + side), np.float32)
    for row in range(height):
        for column in range(width):
            mosaic[:, row * down : row * down + side, column * right : column * right + side] = cells[row, column]
    made = _layers(opened, mosaic[None, :, None], name, "cells", provenance)
    size = opened.model.pixel_size or 1.0
    across = size * (mosaic.shape[2] + 0.1 * side)
    for _, arguments, _kind in made:
        arguments["translate"] = [0.0, -across]
    places = [(row * down - 1, 0) for row in range(height)]
    places += [(row * down + side - 1, column * right) for row in range(height) for column in range(width)]
    texts = [*rows, *(label for line in labels for label in line)]
    points = {
        "name": f"Labels ({name})",
        "features": {"label": texts},
        "text": {"string": "{label}", "color": "white", "size": 7, "anchor": "upper_left"},
        "size": 0.1,
        "opacity": 0.9,
        "face_color": "transparent",
        "border_color": "transparent",
        "scale": made[0][1]["scale"][-2:],
        "translate": [0.0, -across],
        "units": made[0][1]["units"][-2:],
        "axis_labels": made[0][1]["axis_labels"][-2:],
        "metadata": {KEY: {"role": "cells"}},
    }
    return [*made, (np.array(places, np.float32), points, "points")]


def _layers(opened: Opened, pixels: Crop, name: str, role: str, provenance: Mapping[str, Any]) -> list[LayerData]:
    """Return pixels (T, C, Z, Y, X) in grey levels as one layer per channel."""
    channels = tuple(opened.model.channels)
    stack = Stack(pixels, channels, _size(opened), provenance=provenance)
    names = [f"{channel} ({name})" for channel in channels]
    return layer_data_from_stack(stack, names=names, metadata={"role": role}, limits=_distinct(opened))


def _beside(layers: list[LayerData], opened: Opened, row: int) -> list[LayerData]:
    """Place layers to the left of the images, and below the earlier ones."""
    across = 1.1 * opened.model.size * (opened.model.pixel_size or 1.0)
    for _, arguments, _kind in layers:
        ndim = len(arguments["axis_labels"])
        arguments["translate"] = [0.0] * (ndim - 2) + [row * across, -across]
    return layers


def cells_in(viewer: Any) -> int:
    """Return the number of generated cells in the viewer."""
    layers = [layer for layer in viewer.layers if our_metadata(layer).get("role") == "cell"]
    return max([round(layer.translate[-2] / max(1e-9, 1.1 * layer.data.shape[-1] * layer.scale[-1])) + 1 for layer in layers], default=0)


def _size(opened: Opened) -> PixelSize:
    return PixelSize(None, opened.model.pixel_size, opened.model.pixel_size)


def _distinct(opened: Opened) -> list[tuple[float, float]]:
    return [(low, high if high > low else low + 1) for low, high in opened.limits]


def _ours(layer: Any) -> bool:
    return is_stain(layer) or our_metadata(layer).get("role") in ("cell", "walk", "cells")


def _named(layer: Any, channel: str) -> bool:
    """Return whether a layer is a channel of a model, by its name or its channel's name in the file."""
    return any(is_called(name, channel) for name in (layer.name, str(our_metadata(layer).get("channel") or "")))


def is_called(name: str, channel: str) -> bool:
    """Return whether a name contains the words of a channel's name, as "stains DNA" and "DNA (1)" contain DNA."""
    wanted, words = _words(channel), _words(name)
    return any(words[at : at + len(wanted)] == wanted for at in range(len(words) - len(wanted) + 1))


def _words(text: str) -> list[str]:
    return "".join(char if char.isalnum() else " " for char in text.casefold()).split()


class _Addition(QUndoCommand):  # type: ignore[misc]
    """Layers that come and go together."""

    def __init__(self, in_viewer: InViewer, layers: Sequence[LayerData], text: str) -> None:
        super().__init__(text)
        self._in_viewer, self._data = in_viewer, list(layers)
        self._there: list[Any] = []

    def redo(self) -> None:
        viewer, there = self._in_viewer.viewer, self._there
        for data, arguments, kind in self._data:
            self._in_viewer.later(partial(_add, getattr(viewer, f"add_{kind}"), data, arguments, there))
        self._in_viewer.later(lambda: viewer.fit_to_view(layers=there, margin=0.1) if there else None)

    def undo(self) -> None:
        self._in_viewer.later(self._remove_all)  # after those that are still to be added

    def _remove_all(self) -> None:
        self._in_viewer.later(*(partial(self._in_viewer.remove, layer) for layer in self._there))
        self._there.clear()


def _add(add: Callable[..., Any], data: Any, arguments: Mapping[str, Any], there: list[Any]) -> None:
    there.append(add(data, **arguments))


STILL = 4.0  # screen pixels that the mouse may move during a click


class InViewer(QObject):  # type: ignore[misc]
    """The dock's clicks, layers and captions in the viewer; `close` leaves only the layers."""

    clicked = Signal(object)
    """The world coordinates of a click, while clicks pick cells."""
    stepped = Signal(int)
    """The step of the walk that the viewer's slider shows."""

    def __init__(self, viewer: napari.viewer.Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.viewer = self._viewer = viewer
        self._steps = StepQueue()
        self._captions: tuple[str, ...] = ()
        self._walk: list[Any] = []
        viewer.dims.events.current_step.connect(self._dims_changed)
        viewer.layers.events.removed.connect(self._removed)

    def set_picking(self, on: bool) -> None:
        """Let clicks pick cells, or not."""
        callbacks = self._viewer.mouse_drag_callbacks
        if on and self._click not in callbacks:
            callbacks.append(self._click)
        elif not on and self._click in callbacks:
            callbacks.remove(self._click)

    def add(self, layers: Sequence[LayerData]) -> None:
        """Add layers, one per turn of the event loop."""
        for data, arguments, _kind in layers:
            self._steps.add(partial(self._viewer.add_image, data, **arguments))

    def add_whole(self, layers: Sequence[LayerData], stack: QUndoStack, text: str) -> None:
        """Add layers that an undo removes, all of them, and a redo adds again; the view shows them."""
        stack.push(_Addition(self, layers, text))

    def show_walk(self, layers: Sequence[LayerData], captions: Sequence[str]) -> None:
        """Replace the layers of the last walk by those of another, and show the caption of each step on the canvas."""
        self.end_walk()
        for layer in [layer for layer in self._walk if layer in self._viewer.layers]:
            self._steps.add(partial(self.remove, layer))
        self._walk = []
        for data, arguments, _kind in layers:
            self._steps.add(partial(self._add_frames, data, arguments))
        self._steps.add(lambda: self._begin_walk(tuple(captions)), self._fit_view)

    def end_walk(self) -> None:
        """Hide the caption."""
        if self._captions:
            self._captions = ()
            self._text.visible = False

    def show_step(self, step: int) -> None:
        """Move the viewer's slider to a step."""
        if self._captions and self._walk:
            axis = self._viewer.dims.ndim - self._walk[0].ndim
            if self._viewer.dims.current_step[axis] != step:
                self._viewer.dims.set_current_step(axis, step)

    def close(self) -> None:
        """Leave the viewer alone."""
        self.set_picking(False)
        self._steps.clear()
        self.end_walk()
        self._viewer.dims.events.current_step.disconnect(self._dims_changed)
        self._viewer.layers.events.removed.disconnect(self._removed)

    @property
    def _text(self) -> Any:
        return self._viewer.canvas.overlays["text"]

    def _add_frames(self, data: Any, arguments: Any) -> None:
        self._walk.append(self._viewer.add_image(data, **arguments))

    def later(self, *steps: Callable[[], Any]) -> None:
        """Change layers, a step in each turn of the event loop."""
        self._steps.add(*steps)

    def remove(self, layer: Any) -> None:
        """Remove a layer, if it is still there."""
        if layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def _begin_walk(self, captions: tuple[str, ...]) -> None:
        self._captions = captions
        self._text.position = "bottom_center"
        self._text.font_size = 14
        self._text.visible = True
        self.show_step(0)
        self._dims_changed()

    def _fit_view(self) -> None:
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
        """Report a click once the button is released without a drag; napari drives this generator."""
        if event.button != 1 or event.modifiers:
            return
        began = event.pos
        position = tuple(event.position)
        yield
        while event.type == "mouse_move":
            yield
        if sum((a - b) ** 2 for a, b in zip(began, event.pos, strict=True)) <= STILL**2:
            self.clicked.emit(position)
