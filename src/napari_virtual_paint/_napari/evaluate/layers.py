"""Layers of the viewer as files that can be evaluated: predicted stains and the true stains of the same names."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_virtual_paint._napari.evaluate.state import EvaluateState
from napari_virtual_paint._napari.shared.viewer.layer_pairs import comparable, facts_of, key_of, pair_by_name
from napari_virtual_paint._napari.shared.viewer.layers import our_metadata, stack_from_layers
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.stack import Stack

TRUTH = "truth"
IMAGES = "-images"


@dataclass(frozen=True, eq=False)
class LayerImages:
    """The stains of layers, not read yet."""

    truth: Stack  # the true stains
    predictions: dict[str, Stack]  # name of the model -> predicted stains, whose channels have the names of the true ones

    @property
    def nbytes(self) -> int:
        """Bytes of all images in float32."""
        return 4 * sum(math.prod(each.shape) for each in (self.truth, *self.predictions.values()))


def paired_stains(viewer: Any) -> tuple[str, ...]:
    """Return the stains of which both a predicted and a true layer are open."""
    return tuple(dict.fromkeys(stain for stain, _, _ in _pairs(viewer)))


def images_of(viewer: Any) -> LayerImages:
    """Take the layers that can be compared, without reading them.

    Raises `InputError` if there is no pair, or the layers of one image differ in size.
    """
    pairs = _pairs(viewer)
    if not pairs:
        raise InputError("No predicted stain is open beside a true one of its name; the Compare dock shows which layers belong together.")
    truths = {truth.name: truth for _, _, truth in pairs}
    truth = _named(list(truths.values()), list(truths))
    models: dict[str, dict[str, Any]] = {}
    for _, predicted, true in pairs:
        name = _model(predicted)
        while true.name in models.get(name, {}):  # the same model predicted a stain twice
            name += "'"
        models.setdefault(name, {})[true.name] = predicted
    return LayerImages(truth, {name: _named(list(layers.values()), list(layers)) for name, layers in models.items()})


def write_images(images: LayerImages, choice: EvaluateState) -> Generator[Progress, None, EvaluateState]:
    """Write layers as OME-TIFF beside the report (on a worker), and return the choice that compares these files.

    Raises `WriteError` if they can't be written.
    """
    from napari_virtual_paint.writing import write
    from napari_virtual_paint.writing.api import as_write_errors

    output = Path(choice.output).expanduser()
    folder = output.with_name(f"{output.name}{IMAGES}")
    with as_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    stacks = {TRUTH: images.truth, **images.predictions}
    paths = {}
    for number, (name, stack) in enumerate(stacks.items()):
        yield Progress(number, len(stacks), "Writing the layers")
        safe = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)
        path = folder / f"{f'{number}_' if number else ''}{safe}.ome.tif"
        # A file that is written again would count as another image, and the evaluation would start over.
        if not _same(path, stack):
            write(stack, path, overwrite=True)
        paths[name] = str(path)
    predictions = tuple((name, path) for name, path in paths.items() if name != TRUTH)
    return replace(choice, source="paths", predictions=predictions, truth=paths[TRUTH])


def _same(path: Path, stack: Stack) -> bool:
    """Return whether a file has these pixels already: a report identifies its images by their modification time."""
    import numpy as np

    from napari_virtual_paint.errors import VirtualPaintError
    from napari_virtual_paint.reading import read

    if not path.is_file():
        return False
    try:
        before = read(path)
    except VirtualPaintError:
        return False
    alike = (before.shape, before.dtype, before.channels) == (stack.shape, stack.dtype, stack.channels)
    return alike and bool(np.array_equal(np.asarray(before.data), np.asarray(stack.data), equal_nan=stack.dtype.kind == "f"))


def _pairs(viewer: Any) -> list[tuple[str, Any, Any]]:
    """Return stain, predicted layer and true layer of each pair."""
    layers = {key_of(layer): layer for layer in comparable(viewer)}
    found = pair_by_name([facts_of(layer) for layer in layers.values()])
    return [(pair.stain, layers[pair.predicted], layers[pair.truth]) for pair in found if pair.complete and pair.predicted and pair.truth]


def _model(layer: Any) -> str:
    """Return the name of the model that painted a layer."""
    provenance = our_metadata(layer).get("provenance")
    model = provenance.get("model") if isinstance(provenance, Mapping) else None
    return str(model or "prediction")


def _named(layers: Sequence[Any], names: Sequence[str]) -> Stack:
    """Return layers as one image whose channels have these names."""
    return replace(stack_from_layers(layers).stack, channels=tuple(names))
