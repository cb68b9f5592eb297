"""Preprocess the chosen image on workers: the curve of its focus, the image of the next painting, a layer of its phase."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from napari.utils.notifications import show_warning
from qtpy.compat import isalive
from qtpy.QtCore import QObject, Signal

from napari_virtual_paint._napari.shared.background import LatestJob
from napari_virtual_paint._napari.shared.event_loop import StepQueue
from napari_virtual_paint._napari.shared.jobs import failure_sentence
from napari_virtual_paint._napari.shared.viewer.layers import LayerSource
from napari_virtual_paint._napari.stain.matching import phase_layers
from napari_virtual_paint._napari.stain.painting import PaintRequest
from napari_virtual_paint.models.applicability.check import DomainVerdict
from napari_virtual_paint.models.matching import Match
from napari_virtual_paint.painting import domain_check
from napari_virtual_paint.painting.image_preparation import Preprocessed, preprocess
from napari_virtual_paint.painting.model_set import ModelSet, matches
from napari_virtual_paint.painting.settings import PaintSettings
from napari_virtual_paint.preprocessing.phase_settings import PhaseSettings
from napari_virtual_paint.runtime.progress import Progress


@dataclass(frozen=True, eq=False)
class PreprocessedImage:
    """A preprocessed image, how it fits the models, and whether it is in their domain."""

    made: Preprocessed
    match: Match
    verdict: DomainVerdict | None

    def request(self, request: PaintRequest) -> PaintRequest:
        """Return a request for this image in place of its own, which lies where the layers are now."""
        before, after, geometry = request.source.stack, self.made.stack, request.source.geometry
        if after.shape[2] == 1 < before.shape[2]:
            plane = before.shape[2] // 2 if self.made.focus is None else self.made.focus
            geometry = geometry.shifted({"Z": float(plane)}, {"Z": 1})
        source = replace(request.source, stack=after, geometry=geometry)
        return replace(request, models=self.made.models, source=source, match=self.match, verdict=self.verdict)


def preprocess_request(request: PaintRequest) -> Generator[Progress, None, PreprocessedImage]:
    """Preprocess the image of a request, as its settings say (on a worker).

    Raises `VirtualPaintError` if that can't be done.
    """
    made = yield from preprocess(request.models, request.source.stack, request.state.painting)
    matched = matches(made.models, made.stack, made.settings)
    return PreprocessedImage(made, matched[0], domain_check.domain_of(made.models, made.stack, made.settings, matched=matched))


class Preprocessor(QObject):  # type: ignore[misc]
    """Runs the preprocessing of a dock's image; of two paintings of the same pixels the second takes the image of the first.

    Parameters
    ----------
    viewer
        Whose layers the image is.
    parent
        The dock.
    """

    progressed = Signal(object)
    """`JobProgress` of what `running` stands for."""
    ended = Signal(str)
    """A sentence: the preprocessing was cancelled or has failed, or the phase is a layer."""
    focused = Signal(object)
    """The curve over the planes, `preprocessing.focus.Focus`; None where there is none to show."""

    def __init__(self, viewer: Any, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._job, self._search = (LatestJob(self, one_at_a_time=True) for _ in range(2))
        self._searched: Any = None  # what the curve of focus was last worked out for
        self._last: tuple[Any, PreprocessedImage] | None = None  # what was preprocessed last, and from what
        self._inputs: list[Any] = []
        self._removed = ""  # why it was cancelled, where the user did not press Cancel
        self._steps = StepQueue()
        viewer.layers.events.removed.connect(self._layer_removed)

    @property
    def running(self) -> bool:
        """Whether an image is preprocessed; the curve of focus is worked out beside everything else."""
        return bool(self._job.running)

    def cancel(self) -> None:
        """Stop; `ended` follows within a second."""
        self._job.cancel()

    def forget(self) -> None:
        """Start anew with the next image: pixels have changed."""
        self._last = self._searched = None

    def find_focus(self, source: LayerSource | None, models: ModelSet | None, settings: PaintSettings, key: Any) -> None:
        """Work out the curve of focus, unless it is not asked for or was worked out for the same `key`; `focused` follows."""
        wanted = source is not None and models is not None and settings.focus == "auto" and source.stack.shape[2] > 1
        key = key if wanted else None
        if key == self._searched:
            return
        self._searched = key
        self.focused.emit(None)
        if key is None or source is None or models is None:
            self._search.drop()
            return
        alone = replace(settings, illumination="none", phase=None)
        make = partial(preprocess, models, source.stack, alone)
        self._search.start(make, title="Finding the focus", done=partial(self._show_focus, key))

    def prepare(self, request: PaintRequest, layers: Sequence[Any], ready: Callable[[PaintRequest, PreprocessedImage], Any]) -> str:
        """Preprocess the image of a request, and call `ready` with the request for it; return what runs, empty where nothing has to."""
        settings, source = request.state.painting, request.source
        members = tuple((str(each.model.info.source), each.channels) for each in request.models.members)
        how = (settings.focus, settings.illumination, settings.phase, settings.resample, request.state.channels)
        # The layers themselves, since an id may be given to another one. Where they lie in the viewer changes no pixel.
        axes = (request.state.axes, *(tuple(layer.axis_labels) for layer in layers))
        key = (tuple(layers), axes, source.stack.shape, source.stack.pixel_size, source.stack.channels, how, members)
        if self._last is not None and self._last[0] == key:
            ready(self._last[1].request(request), self._last[1])
            return ""

        def done(image: PreprocessedImage) -> None:
            self._last = key, image
            if image.made.notes:
                show_warning("\n".join(image.made.notes))
            if image.made.curve is not None:
                self.focused.emit(image.made.curve)
            ready(image.request(request), image)

        return self._start("Preprocessing", layers, partial(preprocess_request, request), done)

    def make_phase(self, source: LayerSource, layers: Sequence[Any], settings: PhaseSettings) -> str:
        """Reconstruct the phase of an image into a layer; return what runs."""
        return self._start("Reconstructing the phase", layers, partial(phase_layers, source, settings), self._add_phase)

    def _start(self, title: str, inputs: Sequence[Any], make: Callable[[], Any], done: Callable[[Any], Any]) -> str:
        self._inputs, self._removed = list(inputs), ""
        self._job.start(
            make,
            title=title,
            tick=self.progressed.emit,
            done=done,
            failed=lambda error: self.ended.emit(failure_sentence(title, error)),
            cancelled=lambda: self.ended.emit(self._removed or "Cancelled."),
        )
        return f"{title}…"

    def _layer_removed(self, _event: Any = None) -> None:
        """Cancel once an input is gone, in a turn of its own, which a closing viewer does not come to."""
        if self._last is not None and any(layer not in self._viewer.layers for layer in self._last[0][0]):
            self._last = None  # with its pixels
        if isalive(self) and self.running:
            self._steps.add(self._check_inputs)

    def _check_inputs(self) -> None:
        missing = [layer for layer in self._inputs if layer not in self._viewer.layers]
        if isalive(self) and self.running and missing:
            self._removed = f"The input {missing[0].name!r} was removed."
            self.cancel()

    def _show_focus(self, key: Any, made: Preprocessed) -> None:
        if made.curve is not None and self._searched == key:
            self.focused.emit(made.curve)

    def _add_phase(self, layers: list[Any]) -> None:
        for data, arguments, _ in layers:
            self._viewer.add_image(data, **arguments)
        self.ended.emit("The phase is a layer now.")
