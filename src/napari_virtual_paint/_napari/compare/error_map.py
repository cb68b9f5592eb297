"""Error maps: predicted minus true after z-scoring, as layers with colours that are symmetric about 0."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
from napari.utils.notifications import show_error
from qtpy.QtCore import QObject, Signal

from napari_virtual_paint._napari.compare.regions import Crop
from napari_virtual_paint._napari.compare.scores import ScoreTask
from napari_virtual_paint._napari.compare.side_by_side import LayerPair
from napari_virtual_paint._napari.shared.background import LatestJob
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.jobs import show_failure
from napari_virtual_paint._napari.shared.viewer.geometry import Geometry
from napari_virtual_paint._napari.shared.viewer.layer_list import remove_layers
from napari_virtual_paint._napari.shared.viewer.layer_pairs import comparable, is_error_map
from napari_virtual_paint._napari.shared.viewer.layers import ERROR_MAP, KEY, our_metadata
from napari_virtual_paint._napari.shared.viewer.view_state import one_redraw
from napari_virtual_paint.errors import Cancelled, InputError
from napari_virtual_paint.runtime.text import byte_size

COLOURS = ((0.35, 0.78, 1.0), (0.06, 0.30, 0.62), (0.0, 0.0, 0.0), (0.62, 0.26, 0.0), (1.0, 0.72, 0.28))
"""Blue where too little is predicted, black where it is right, orange where too much; distinguishable for the colour-blind."""
OPACITIES = (0.7, 0.1, 0.0, 0.1, 0.7)  # of the same colors in 3D: where the prediction is right, one looks through to the errors behind
CLIP = 99.5  # percentile of the absolute error that gets the strongest colour
SAMPLE = 1_000_000
MEMORY_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class ErrorMap:
    """The error of one pair."""

    position: int  # which of the pairs it is of
    stain: str  # name of the stain
    data: npt.NDArray[np.float32]
    """Predicted minus true, each first brought to mean 0 and SD 1 over the crop; float32, the axes of the true layer."""
    limit: float  # error, in SDs, that gets the strongest colour
    crop: Crop  # the pixels compared


def error_maps(tasks: Sequence[ScoreTask], stopped: Callable[[], bool] = lambda: False) -> Generator[ErrorMap, None, list[str]]:
    """Compute error maps, one a yield; returns sentences on the pairs that have none.

    Parameters
    ----------
    stopped
        Asked between two pairs; where it says yes the work ends with `Cancelled`.
    """
    problems = []
    for position, task in enumerate(tasks):
        if stopped():
            raise Cancelled("The error maps were stopped.")
        try:
            yield error_map(task, position)
        except InputError as error:
            problems.append(str(error))
    return problems


def error_map(task: ScoreTask, position: int = 0) -> ErrorMap:
    """Compute the error map of one pair.

    Raises `InputError` if the two can't be compared, one of them is constant or not finite, or the map doesn't fit into memory.
    """
    if task.crop is None:
        raise InputError(task.reason or f"'{task.stain}' has no true layer; choose one.")
    pixels = int(np.prod(task.crop.shape))
    free = psutil.virtual_memory().available
    if pixels * 12 > MEMORY_SHARE * free:
        raise InputError(
            f"The error map of '{task.stain}' needs {byte_size(pixels * 12)} and {byte_size(free)} are free; choose this plane."
        )
    error = _zscored(task.predicted[task.crop.predicted], "predicted", task.stain).reshape(task.crop.shape)
    error -= _zscored(task.truth[task.crop.truth], "true", task.stain)
    flat = np.abs(error.reshape(-1)[:: max(1, error.size // SAMPLE)])
    return ErrorMap(position, task.stain, error, max(float(np.percentile(flat, CLIP)), 1e-6), task.crop)


def _zscored(pixels: Any, which: str, stain: str) -> npt.NDArray[np.float32]:
    """Return an image brought to mean 0 and SD 1, in memory."""
    image = np.array(pixels, np.float32)
    mean, sd = float(image.mean(dtype=np.float64)), float(image.std(dtype=np.float64))
    if not np.isfinite([mean, sd]).all():
        raise InputError(f"The {which} image of '{stain}' has pixels that are not finite numbers, so there is no error map.")
    if sd == 0:
        raise InputError(f"The {which} image of '{stain}' has the same value everywhere, so there is no error map.")
    image -= np.float32(mean)
    image /= np.float32(sd)
    return image


def colormap(volume: bool = False) -> Any:
    """Return napari's colormap for error maps.

    Parameters
    ----------
    volume
        Whether it is for a 3D view: translucent then, and clear at 0.
    """
    from napari.utils.colormaps import Colormap

    opacities = OPACITIES if volume else (1.0,) * len(COLOURS)
    colours = [(*colour, opacity) for colour, opacity in zip(COLOURS, opacities, strict=True)]
    return Colormap(colours, name="blue-clear-orange" if volume else "blue-black-orange", display_name="error")


def add_error_map(viewer: Any, found: ErrorMap, predicted: Any, truth: Any, visible: bool = True) -> Any:
    """Show an error map, in the place of an earlier one of the same pair.

    Parameters
    ----------
    predicted, truth
        The layers it was made from; it lies where they do.
    visible
        Whether it is shown.

    Returns
    -------
    The layer.
    """
    place = _geometry(truth, found)
    noted = {"role": ERROR_MAP, "channel": found.stain, "predicted": predicted.name, "truth": truth.name, "scale": "zscore"}
    earlier = _earlier(viewer, predicted, truth)
    limits = (-found.limit, found.limit)
    if earlier is not None and earlier.data.shape == found.data.shape:
        for name in ("scale", "translate"):
            setattr(earlier, name, place[name])
        earlier.data, earlier.contrast_limits, earlier.visible = found.data, limits, visible
        return earlier
    if earlier is not None:
        viewer.layers.remove(earlier)
    # A maximum projection would hide where too little is predicted behind where too much is; voxels blended along the ray show both.
    layer = viewer.add_image(
        found.data, name=f"{found.stain} (error)", colormap=colormap(viewer.dims.ndisplay == 3), contrast_limits=limits, visible=visible,
        blending="translucent_no_depth", rendering="translucent", metadata={KEY: noted}, **place,
    )  # fmt: skip
    layer.colorbar.visible = visible  # drawing one takes napari as long as the rest of a layer, so that hidden maps get theirs later
    layer.events.visible.connect(_show_colorbar)
    return layer


def _show_colorbar(event: Any) -> None:
    event.source.colorbar.visible = event.source.visible


def _earlier(viewer: Any, predicted: Any, truth: Any) -> Any | None:
    names = (predicted.name, truth.name)
    for layer in viewer.layers:
        if is_error_map(layer) and (our_metadata(layer).get("predicted"), our_metadata(layer).get("truth")) == names:
            return layer
    return None


def _geometry(truth: Any, found: ErrorMap) -> dict[str, Any]:
    """Return the layer arguments that put the map on the pixels of the true layer that it was made from."""
    letters = "ABTZYX"[-truth.ndim :]
    offset = {letter: float(part.start) for letter, part in zip(letters, found.crop.truth, strict=True)}
    lengths = dict(zip(letters, found.data.shape, strict=True))
    return Geometry.of_layer(truth, letters).shifted(offset, lengths).layer_arguments()


class ErrorMaps(QObject):  # type: ignore[misc]
    """Makes error-map layers in the background, and removes them again.

    Signals
    -------
    changed
        Whether there are error maps, or will be.
    adding
        A layer is about to be added.
    """

    changed = Signal(bool)
    adding = Signal()

    def __init__(self, viewer: Any, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._layers: list[Any] = []
        self._selected: frozenset[Any] = frozenset()  # what was selected before napari selected the first map
        self._hidden: list[Any] = []  # the images that would shine through the maps in 3D
        self._job = LatestJob(self)
        self._job.ended.connect(self._report)
        self._stop = threading.Event()
        viewer.dims.events.ndisplay.connect(self._follow_view)
        viewer.layers.events.removed.connect(self._report)

    @property
    def busy(self) -> bool:
        """Whether work goes on."""
        return self._job.running

    @property
    def on(self) -> bool:
        """Whether there are error maps, or will be."""
        return self.busy or any(layer in self._viewer.layers for layer in self._layers)

    def start(self, work: Sequence[tuple[ScoreTask, LayerPair]]) -> None:
        """Make the error maps of these pairs; the first is shown, the others wait hidden below their eye."""
        tasks = [task for task, _pair in work]
        pairs = [pair for _task, pair in work]
        stop = self._stop = threading.Event()
        if not self.on:
            self._selected = frozenset(self._viewer.layers.selection)
        first = True

        def piece(found: ErrorMap) -> None:
            nonlocal first
            pair = pairs[found.position]
            if all(layer in self._viewer.layers for layer in (pair.predicted, pair.truth)):
                self._add(found, pair, visible=first)
                first = False

        self._job.start(
            lambda: error_maps(tasks, stop.is_set),
            title="Error maps",
            piece=piece,
            done=self._done,
            failed=lambda _error: self.remove(),
            cancelled=self.remove,
            quiet=False,
        )
        self._report()

    def remove(self) -> None:
        """Stop, and remove the error maps; the layers selected before are selected again."""
        self._stop.set()
        self._job.drop()
        layers, self._layers = self._layers, []
        if there := [layer for layer in layers if layer in self._viewer.layers]:
            remove_layers(self._viewer, there)
            self._viewer.layers.selection = {layer for layer in self._selected if layer in self._viewer.layers}
        self._uncover()
        self._report()

    def close(self) -> None:
        """Remove the error maps, and listen to the viewer no more."""
        self.remove()
        self._viewer.dims.events.ndisplay.disconnect(self._follow_view)
        self._viewer.layers.events.removed.disconnect(self._report)

    @timed
    def _add(self, found: ErrorMap, pair: LayerPair, visible: bool) -> None:
        self.adding.emit()
        before = set(self._viewer.layers)
        try:
            with one_redraw(self._viewer):
                layer = add_error_map(self._viewer, found, pair.predicted, pair.truth, visible)
        except Exception as error:  # noqa: BLE001 - shown, with its traceback in the log
            self._layers += set(self._viewer.layers) - before  # what napari could not show is in its list all the same
            self.remove()
            show_failure("Error maps", error)
            return
        if layer not in self._layers:  # else an earlier map has new pixels
            self._layers.append(layer)
        self._viewer.layers.selection = {self._layers[0]}  # the one that is shown: its controls are seen
        self._uncover()

    @timed
    def _follow_view(self, event: Any = None) -> None:
        """Make the maps translucent in 3D, and solid in 2D."""
        for layer in self._layers:
            layer.colormap = colormap(self._viewer.dims.ndisplay == 3)
        self._uncover()

    def _uncover(self) -> None:
        """Hide all other images while there are maps in 3D, where they would shine through; else show them again."""
        layers = self._viewer.layers
        maps = [layer for layer in self._layers if layer in layers] if self._viewer.dims.ndisplay == 3 else []
        if maps:
            found = [layer for layer in comparable(self._viewer) if layer.visible]
        else:
            found, self._hidden = [layer for layer in self._hidden if layer in layers], []
        if found:
            with one_redraw(self._viewer):
                for layer in found:
                    layer.visible = not maps
        if maps:
            self._hidden += found

    def _report(self, event: Any = None) -> None:
        self.changed.emit(self.on)

    def _done(self, problems: Sequence[str]) -> None:
        for problem in problems:
            show_error(problem)
