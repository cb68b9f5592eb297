"""Paint into layers of the viewer that appear at once and fill while a worker paints; preview what is in view."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_virtual_paint._napari.shared import jobs
from napari_virtual_paint._napari.shared.event_loop import StepQueue
from napari_virtual_paint._napari.shared.jobs import failure_sentence
from napari_virtual_paint._napari.shared.progress import JobProgress
from napari_virtual_paint._napari.shared.viewer.appearance import PIXELS
from napari_virtual_paint._napari.shared.viewer.geometry import Geometry
from napari_virtual_paint._napari.shared.viewer.layer_list import remove_layers
from napari_virtual_paint._napari.shared.viewer.layers import (
    KEY,
    LARGE,
    LayerData,
    LayerSource,
    layer_data_from_stack,
    our_metadata,
    view_point,
    visible_region,
)
from napari_virtual_paint._napari.shared.viewer.redraw import redraw_pace
from napari_virtual_paint._napari.stain.canvas import SMALLEST, STEPS, Canvas
from napari_virtual_paint._napari.stain.covering import HiddenLayers
from napari_virtual_paint._napari.stain.state import StainState
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.models import Match
from napari_virtual_paint.models.applicability.check import DomainVerdict
from napari_virtual_paint.painting import domain_check
from napari_virtual_paint.painting.model_set import ModelSet, PaintedStain
from napari_virtual_paint.painting.network_input import output_shape
from napari_virtual_paint.runtime.text import elapsed
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.stain_names import painted_name

if TYPE_CHECKING:
    from napari_virtual_paint.painting import Painting, PaintReport

ROLE = "uncertainty"  # role of a layer of SDs in its metadata
COLORMAP = "inferno"
CLIP = 99.5  # percentile of the SD that is shown brightest


def spread_limits(stack: Stack) -> list[tuple[float, float]]:
    """Return contrast limits from 0, of each channel from about a million pixels (on the worker)."""
    out = []
    for channel in range(stack.shape[1]):
        flat = np.asarray(stack.data[:, channel]).reshape(-1)
        high = float(np.percentile(flat[:: max(1, flat.size // PIXELS)], CLIP)) if flat.size else 0.0
        out.append((0.0, high if high > 0 else 1.0))
    return out


def spread_layers(stack: Stack, geometry: Geometry, limits: list[tuple[float, float]], metadata: dict[str, Any]) -> list[LayerData]:
    """Return the layers ``DNA SD`` ... of a painting, hidden."""
    steps = [step for step in STEPS if max(stack.shape[3:]) > LARGE and max(stack.shape[3:]) // step >= SMALLEST]
    coarser = [stack.data[..., ::step, ::step] for step in steps]
    made = layer_data_from_stack(stack, geometry, metadata={**metadata, "role": ROLE}, limits=limits, visible=False, coarser=coarser)
    return [(data, {**arguments, "colormap": COLORMAP, "blending": "translucent_no_depth"}, kind) for data, arguments, kind in made]


@dataclass(frozen=True, eq=False)
class PaintRequest:
    """What is to be painted."""

    state: StainState  # what the user chose
    models: ModelSet  # the opened models (their networks may not be loaded yet)
    source: LayerSource  # the image and where it lies
    match: Match  # which channels and planes the first model gets
    verdict: DomainVerdict | None = None  # whether the image is in the models' domain of applicability, where that is known by now

    @property
    def flat(self) -> bool:
        """Whether a plane alone is enough to paint it."""
        return self.match.mode == "planes" and all(member.model.info.dims == 2 for member in self.models.members)

    def inputs(self, viewer: Any) -> list[Any]:
        """Return the layers that are painted from, as far as they are still there."""
        names = set(self.source.layers)
        return [layer for layer in viewer.layers if layer.name in names]

    @property
    def metadata(self) -> dict[str, Any]:
        """Our metadata of all stain layers, beside channel, model and provenance."""
        return {"inputs": list(self.source.layers)}

    @property
    def makers(self) -> frozenset[str]:
        """What stands for the model in the metadata of stain layers: an id, or the ids of those that are merged."""
        return frozenset(each.model for each in self.models.painted)

    def provenance(self, stain: PaintedStain, whole: Mapping[str, Any]) -> dict[str, Any]:
        """Return how one stain was made, of the provenance of the painting."""
        return {**whole, "model": stain.model, "version": stain.version}


@dataclass(frozen=True)
class _Started:
    """What a preview's worker yields first: the canvas, so that layers can be made."""

    canvas: Canvas
    stack: Stack
    geometry: Any
    done: float = 0.0
    total: float = 0.0
    message: str = ""


@dataclass(frozen=True, eq=False)
class PaintOutcome:
    """How a painting ended."""

    how: Literal["done", "cancelled", "failed"]
    sentence: str  # for the user
    painting: Painting | None = None  # if it is done


class PaintJob(QObject):  # type: ignore[misc]
    """A painting or preview under way.

    Attributes
    ----------
    layers
        The layers that it fills, in the order of the stains.
    """

    progressed = Signal(object)
    """A `JobProgress`, at most twice a second."""
    ending = Signal(str)
    """The worker's part is over; the sentence says how. The layers are brought up to date until `finished`."""
    finished = Signal(object)
    """The `PaintOutcome`."""

    def __init__(self, viewer: Any, request: PaintRequest) -> None:
        super().__init__()
        self.viewer = viewer
        self.request = request
        self.canvas: Canvas | None = None
        self.layers: list[Any] = []
        self._before: dict[Any, tuple[Any, dict[str, Any], Any]] = {}
        self._inputs = request.inputs(viewer)
        self._hidden = HiddenLayers()
        self._why = ""  # why it was cancelled, where the user did not press Cancel
        self._left: list[Any] = []
        self._seen = 0
        self._spread_limits: list[tuple[float, float]] = []
        self._steps = StepQueue()
        self._pace = redraw_pace(viewer)
        self.job: jobs.Job | None = None
        viewer.layers.events.removed.connect(self._layer_removed)

    def start(self) -> None:
        """Add the layers and paint, on a worker, what is in view first."""
        request = self.request
        shape = output_shape(request.source.stack, request.match, len(request.models.stains))
        canvas = self.canvas = Canvas(shape)
        self._show(canvas, request.source.stack, request.source.geometry, "stain", "predicted")
        view = view_point(self.viewer, request.source.geometry)

        def make() -> Generator[Any, None, Any]:
            from napari_virtual_paint.painting import paint

            canvas.clear()
            painting = yield from paint(request.models, request.source.stack, request.state.painting, out=canvas, view=view)
            canvas.update_limits()
            if painting.uncertainty is not None:
                self._spread_limits = spread_limits(painting.uncertainty)
            return replace(painting, stack=replace(painting.stack, data=canvas.array))

        self.job = self._begin(make, f"Painting with {request.models.name}")

    def preview(self) -> None:
        """Paint all that is in view into temporary layers, the middle of the view first.

        Raises `InputError` if nothing of the image is in view.
        """
        request, geometry = self.request, self.request.source.geometry
        region = visible_region(self.viewer, geometry)
        if region is None:
            raise InputError("Nothing of the image is in view (or the view is 3D or shows other axes); show it in 2D and preview again.")
        point = view_point(self.viewer, geometry)
        spans = ((region[0].start, region[0].stop), (region[1].start, region[1].stop))

        def make() -> Generator[Any, None, Any]:
            from napari_virtual_paint.painting import paint

            stack, place = one_field(request, point[0], point[1])
            canvas = Canvas(output_shape(stack, request.match, len(request.models.stains)), spans)
            canvas.clear()
            yield _Started(canvas, stack, place)
            settings = replace(request.state.painting, region=spans)
            painting = yield from paint(
                request.models, stack, settings, out=canvas, view=(0, 0, *point[2:]), series=all_times(request, point[1])
            )
            canvas.update_limits()
            return replace(painting, stack=replace(painting.stack, data=canvas.array))

        self.job = self._begin(make, f"Preview of {request.models.name}", piece=self._preview_started)

    def cancel(self) -> None:
        """Stop; `finished` follows within a second."""
        if self.job is not None:
            self.job.cancel()

    def remove(self) -> None:
        """Take the layers out of the viewer, and put back what they had replaced, in turns."""
        layers, self.layers = self.layers, []
        self._steps.clear()
        self._steps.add(*(partial(self._put_back, layer) for layer in layers if layer in self._before))
        self._steps.add(partial(remove_layers, self.viewer, [layer for layer in layers if layer not in self._before]))
        self._steps.add(partial(self._hidden.show, self.viewer))

    def _put_back(self, layer: Any) -> None:
        """Restore what a layer showed before it was painted again."""
        layer.data, layer.metadata, layer.contrast_limits = self._before[layer]

    def _begin(self, make: Any, title: str, piece: Any = None) -> jobs.Job:
        return jobs.start(
            make,
            title=title,
            piece=piece,
            tick=self._tick,
            done=self._done,
            failed=self._failed,
            cancelled=self._cancelled,
            closed=self._steps.clear,
            sentence=lambda painting: done_sentence(painting.report),
        )

    def _preview_started(self, piece: Any) -> None:
        if isinstance(piece, _Started):
            self.canvas = piece.canvas
            self._show(piece.canvas, piece.stack, piece.geometry, "preview", "preview")

    def _show(self, canvas: Canvas, stack: Stack, geometry: Any, role: str, word: str) -> None:
        """Make one layer per stain over the canvas, or take those of the last painting; in turns, since napari takes its time for each."""
        models, region = self.request.models, canvas.region
        corner = {"Y": float(region[0][0]), "X": float(region[1][0])}
        sides = {"Y": canvas.array.shape[3], "X": canvas.array.shape[4]}
        painted = replace(stack, data=canvas.array, channels=models.stains, rgb=False, provenance={})
        place = geometry.fitted(replace(painted, data=np.broadcast_to(np.float32(0), canvas.shape))).shifted(corner, sides)
        made = layer_data_from_stack(
            painted,
            place,
            names=[self._name(each.stain, word, each) for each in models.painted],
            metadata={**self.request.metadata, "role": role},
            limits=[(0.0, 1.0)] * len(models.stains),
            coarser=list(canvas.coarser.values()),
        )
        again = role == "stain" and self.request.state.again == "replace"
        replaced = previous(self.viewer, self.request, role) if again else {}
        ours = {(each.model, each.stain) for each in models.painted}
        self._left = [layer for key, layer in replaced.items() if key not in ours]
        self._left += previous(self.viewer, self.request, ROLE).values() if again else []
        self._steps.add(partial(remove_previews, self.viewer))
        shown: list[Callable[[], Any]] = []
        for (data, arguments, _kind), each in zip(made, models.painted, strict=True):
            note = arguments["metadata"][KEY]
            note |= {"channel": each.stain, "model": each.model, "version": each.version}
            note["provenance"] = self.request.provenance(each, note["provenance"])
            # Of several models that make one stain, the first one's is shown: their sum would be nobody's.
            arguments["visible"] = each is next(other for other in models.painted if other.stain.casefold() == each.stain.casefold())
            layer = replaced.get((each.model, each.stain))
            if layer is not None and not lies_alike(layer, data, arguments):
                self._left.append(layer)
                layer = None
            shown.append(partial(self._show_one, layer, data, arguments))
        self._add_steps(shown)

    def _add_steps(self, steps: Sequence[Callable[[], Any]]) -> None:
        """Queue what changes one layer each: in turns, or in one where the canvas is slow to draw, which it is after each turn."""
        if self._pace.slow:
            self._steps.add(lambda: [step() for step in steps])
        else:
            self._steps.add(*steps)

    def _show_one(self, layer: Any, data: Any, arguments: dict[str, Any]) -> None:
        """Add one layer to the viewer, or give that of the last painting the new pixels."""
        if layer is None or layer not in self.viewer.layers:
            self.layers.append(self.viewer.add_image(data, **arguments))
            return
        self._before[layer] = (layer.data, dict(layer.metadata), layer.contrast_limits)  # napari empties the dict that it holds
        layer.data, layer.metadata = data, arguments["metadata"]
        if layer.visible != arguments["visible"]:
            layer.visible = arguments["visible"]
        self.layers.append(layer)

    def _name(self, stain: str, word: str, painted: PaintedStain) -> str:
        """Return the name of a layer: with the model where several painted the image."""
        return painted_name(stain, word, painted.model if painted.apart or self._others() else "")

    def _others(self) -> list[Any]:
        """Return the layers that other models painted from the same image."""
        painted = [layer for layer in self.viewer.layers if our_metadata(layer).get("role") in ("stain", ROLE)]
        return [layer for layer in painted if is_of(layer, self.request) and our_metadata(layer).get("model") not in self.request.makers]

    def _hide(self) -> None:
        """Hide the input and other stains of the image, once there is something to see instead."""
        if self.request.state.hide_input and self.canvas is not None and self.canvas.painted:
            self._hidden.hide(self.viewer, self._inputs, self.layers)

    @property
    def _running(self) -> bool:
        """Whether the worker still paints for us."""
        return self.job is not None and self.job.running

    def _missing(self) -> list[Any]:
        """Return the inputs that the user has removed."""
        return [layer for layer in self._inputs if layer not in self.viewer.layers]

    def _layer_removed(self, _event: Any = None) -> None:
        """Add nothing more once an input is gone; cancel in a turn of its own, which a closing viewer does not come to."""
        if self._running and self._missing():
            self._steps.clear()
        self._steps.add(self._check_layers)

    def _check_layers(self) -> None:
        """Cancel where the user removed an input or all stains; show what a preview hid once the preview is gone."""
        if not self._running:
            if self.layers and not self._there():
                self._hidden.show(self.viewer)
                self.layers.clear()  # with their pixels
        elif self._missing():
            self._why = f"The input {self._missing()[0].name!r} was removed."
            self.cancel()
        elif self.layers and not self._there():
            self._why = "The stain layers were removed."
            self.cancel()

    def _tick(self, progress: JobProgress) -> None:
        """Show what was painted since the last tick, all layers together."""
        if self.canvas is not None and self.canvas.pieces != self._seen and self._pace.ready():
            self._seen = self.canvas.pieces
            self._steps.add(self._hide, self._contrast, self._refresh)
        self.progressed.emit(progress)

    def _there(self) -> list[Any]:
        """Return those of our layers that the user has not removed."""
        return [layer for layer in self.layers if layer in self.viewer.layers]

    def _refresh(self) -> None:
        """Show the pixels as they are now, all layers together so that the canvas is drawn once."""
        for layer in self._there():
            if layer.visible:
                layer.refresh(thumbnail=False, highlight=False, extent=False)

    def _contrast(self, seconds: float = 0.005) -> None:
        """Follow the contrast of what is painted so far where that can be seen, layer by layer as long as the time lasts."""
        if self.canvas is None:
            return
        until = time.perf_counter() + seconds
        for layer, limits in zip(self.layers, self.canvas.limits, strict=False):  # some layers may still be on their way
            if limits is None or layer in self._before:
                continue  # a layer painted again keeps the contrast that the user gave it
            low, high = layer.contrast_limits
            if max(abs(low - limits[0]), abs(high - limits[1])) > 0.05 * (limits[1] - limits[0]):
                layer.contrast_limits = limits
                if time.perf_counter() > until:
                    return

    def _done(self, painting: Painting) -> None:
        outcome = PaintOutcome("done", done_sentence(painting.report), painting)
        self.ending.emit(outcome.sentence)
        domain = domain_check.noted(self.request.verdict)
        self._steps.add(self._hide, lambda: remove_layers(self.viewer, self._left))
        if painting.uncertainty is not None and self._spread_limits:
            metadata = {**self.request.metadata, "provenance": {**(painting.uncertainty.provenance or {}), **domain}}
            made = spread_layers(painting.uncertainty, self.request.source.geometry, self._spread_limits, metadata)
            by_name = {each.sd_name: each for each in self.request.models.painted}
            for (data, arguments, _), name in zip(made, painting.uncertainty.channels or (), strict=True):
                each, note = by_name[name], arguments["metadata"][KEY]
                note |= {"channel": f"{each.stain} SD", "model": each.model, "version": each.version}
                note["provenance"] = self.request.provenance(each, note["provenance"])
                arguments["name"] = self._name(f"{each.stain} SD", "", each)
                self._steps.add(partial(self._add_if_there, data, arguments))
        self._steps.add(partial(self._end, outcome, provenance={**(painting.stack.provenance or {}), **domain}))

    def _add_if_there(self, data: Any, arguments: dict[str, Any]) -> None:
        """Add a layer unless the user has removed the stains meanwhile."""
        if self._there():
            self.viewer.add_image(data, **arguments)

    def _failed(self, error: BaseException) -> None:
        sentence = failure_sentence(self.job.title if self.job is not None else "Painting", error)
        self.ending.emit(sentence)
        self.remove()
        self._steps.add(partial(self._finish, PaintOutcome("failed", sentence)))

    def _cancelled(self) -> None:
        """Keep or remove the layers, as chosen; layers without any painted pixel are always removed."""
        keep = self.request.state.keep and self.canvas is not None and self.canvas.painted
        kept = "What is painted stays." if keep and self._there() else ""
        outcome = PaintOutcome("cancelled", " ".join(part for part in (self._why, "Cancelled.", kept) if part))
        self.ending.emit(outcome.sentence)
        if keep:
            self._steps.add(partial(self._end, outcome, cancelled=True))
        else:
            self.remove()
            self._steps.add(partial(self._finish, outcome))

    def _end(self, outcome: PaintOutcome, *, provenance: Mapping[str, Any] | None = None, cancelled: bool = False) -> None:
        """Write the outcome to the layers' metadata and show their final contrast and thumbnails."""
        limits = self.canvas.limits if self.canvas is not None else []
        mean = {} if outcome.painting is None else outcome.painting.report.uncertainty
        shown: list[Callable[[], Any]] = []
        for layer, ends, each in zip(self.layers, limits, self.request.models.painted, strict=False):  # some may not have been added
            noted: dict[str, Any] = {"cancelled": True} if cancelled else {}
            if provenance is not None:
                noted["provenance"] = self.request.provenance(each, provenance)
            if each.name in mean:
                noted["uncertainty"] = mean[each.name]
            layer.metadata = {**layer.metadata, KEY: {**our_metadata(layer), **noted}}
            shown.append(partial(show_finished, self.viewer, layer, None if layer in self._before else ends))
        self._add_steps(shown)
        self._steps.add(partial(self._finish, outcome))

    def _finish(self, outcome: PaintOutcome) -> None:
        for layer in self._others() if self._there() else ():
            name_model(layer)
        # Each is as large as the stains of a mosaic: they do not wait for a collection of garbage, nor for the next painting.
        self.canvas = None
        self._before.clear()
        self._left.clear()
        self.finished.emit(outcome)


def done_sentence(report: PaintReport) -> str:
    """Return that a painting is done, in which time and where, and how far the passes differ if there were several."""
    kinds = " + ".join(kind.upper() for kind in report.device.split(" + "))
    done = f"Done in {elapsed(report.seconds)} ({kinds})."
    if not report.uncertainty:
        return done
    spread = ", ".join(f"{stain} {sd:.2g}" for stain, sd in report.uncertainty.items())
    return f"{done} {report.merge.capitalize()} of {report.passes} passes; mean SD {spread}."


def name_model(layer: Any) -> None:
    """Put its model into a layer's name, unless the user has given it another name."""
    noted = our_metadata(layer)
    word = "predicted" if noted.get("role") == "stain" else ""
    channel, model = str(noted.get("channel")), str(noted.get("model"))
    if re.sub(r" \[\d+\]$", "", layer.name) == painted_name(channel, word):
        layer.name = painted_name(channel, word, model)


def show_finished(viewer: Any, layer: Any, limits: tuple[float, float] | None) -> None:
    """Refresh a layer with its thumbnail, if it is still there, under its last contrast limits."""
    if layer in viewer.layers:
        if limits is not None and tuple(layer.contrast_limits) != limits:
            layer.contrast_limits_range = limits
            layer.contrast_limits = limits
        layer.refresh(extent=False)


def remove_previews(viewer: Any) -> None:
    """Remove the temporary layers of previews."""
    remove_layers(viewer, [layer for layer in viewer.layers if our_metadata(layer).get("role") == "preview"])


def is_of(layer: Any, request: PaintRequest) -> bool:
    """Return whether a layer was painted from the image that is painted now."""
    return bool(our_metadata(layer).get("inputs") == request.metadata["inputs"])


def previous(viewer: Any, request: PaintRequest, role: str) -> dict[tuple[str, str], Any]:
    """Return the layers of the last painting of this image with these models, by model and stain."""
    found = {}
    for layer in viewer.layers:
        noted = our_metadata(layer)
        if noted.get("role") == role and is_of(layer, request) and noted.get("model") in request.makers:
            found[(str(noted["model"]), str(noted.get("channel")))] = layer
    return found


def lies_alike(layer: Any, data: Any, arguments: dict[str, Any]) -> bool:
    """Return whether a layer has the place and the number of axes of a new one, so that only its pixels need to change."""
    several = isinstance(data, list)
    return (
        layer.multiscale == several
        and layer.data.shape == (data[0] if several else data).shape
        and np.allclose(layer.scale, arguments["scale"])
        and np.allclose(layer.translate, arguments["translate"])
        and np.allclose(layer.rotate, arguments.get("rotate", np.eye(layer.ndim)))
        and np.allclose(layer.shear, arguments.get("shear", 0.0))
        and np.allclose(layer.affine.affine_matrix, arguments.get("affine", np.eye(layer.ndim + 1)))
    )


def one_field(request: PaintRequest, t: int, z: int) -> tuple[Stack, Any]:
    """Return the current field of an image (a plane, or all planes for a model that takes them) and its geometry."""
    stack, geometry = request.source.stack, request.source.geometry
    t, z = min(t, stack.shape[0] - 1), min(z, stack.shape[2] - 1)
    data, axes = stack.data[t : t + 1], [("T", t)]
    if request.flat:
        data, axes = data[:, :, z : z + 1], [("T", t), ("Z", z)]
    offset = {axis: float(at) for axis, at in axes}
    return replace(stack, data=data), geometry.shifted(offset, dict.fromkeys(offset, 1))


def all_times(request: PaintRequest, z: int) -> Stack:
    """Return the current field at all time points."""
    stack = request.source.stack
    z = min(z, stack.shape[2] - 1)
    return replace(stack, data=stack.data[:, :, z : z + 1]) if request.flat else stack
