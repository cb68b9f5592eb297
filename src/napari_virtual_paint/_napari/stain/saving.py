"""Save the stains of an image as one file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_virtual_paint._napari.shared.saving import saving
from napari_virtual_paint._napari.shared.viewer.layers import our_metadata, stack_from_layers
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.models import open_model
from napari_virtual_paint.painting.gray_levels import GrayLevels, as_gray, model_levels, percentile_levels
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.stain_names import split_painted
from napari_virtual_paint.writing import can_write
from napari_virtual_paint.writing.steps import write_steps

GRAY = "16-bit gray levels"  # in the name of a kind whose stains are mapped to 0 to 65535

KINDS = {
    "OME-TIFF (*.ome.tif)": ".ome.tif",
    "OME-Zarr (*.ome.zarr)": ".ome.zarr",
    f"OME-TIFF, {GRAY} (*.ome.tif)": ".ome.tif",
    f"OME-Zarr, {GRAY} (*.ome.zarr)": ".ome.zarr",
}
"""Filter of the file dialog -> suffix of a name that has none."""


def stain_layers(viewer: Any, inputs: Sequence[str], models: Collection[str]) -> list[Any]:
    """Return the stain layers that were painted from these input layers: those of the models, or all where they have painted none."""
    painted = [layer for layer in viewer.layers if our_metadata(layer).get("role") == "stain" and _inputs(layer) == list(inputs)]
    return [layer for layer in painted if our_metadata(layer).get("model") in models] or painted


def _inputs(layer: Any) -> list[str]:
    return list(our_metadata(layer).get("inputs") or ())


def stack_to_save(layers: Sequence[Any]) -> Stack:
    """Return stain layers as one image with pixel size and provenance.

    Raises `InputError` if their sizes differ. Stains of one name (of several models) have the layers' names.
    """
    stack = stack_from_layers(layers).stack
    if len(set(stack.channels or ())) < len(layers):
        stack = replace(stack, channels=tuple(layer.name for layer in layers))
    makers: dict[tuple[str, str], list[str]] = {}
    for layer, stain in zip(layers, stack.channel_labels, strict=True):
        noted = our_metadata(layer)
        makers.setdefault((str(noted.get("model")), str(noted.get("version"))), []).append(stain)
    if len(makers) > 1:  # the provenance is that of the first layer
        names, versions = (" + ".join(each) for each in zip(*makers, strict=True))
        members = [{"model": name, "version": version, "stains": stains} for (name, version), stains in makers.items()]
        stack = replace(stack, provenance={**(stack.provenance or {}), "model": names, "version": versions, "members": members})
    return stack


def with_suffix(path: str, kind: str) -> Path:
    """Return a path with the suffix of the chosen kind of file, unless it has one of a format that can be written."""
    return Path(path) if can_write(path) else Path(path + KINDS.get(kind, ".ome.tif"))


def levels_of_stains(stack: Stack) -> GrayLevels:
    """Return the gray levels of painted stains: the range of the models that made them, or percentiles where one is not there any more."""
    noted = stack.provenance or {}
    members = noted.get("members") or [{"model": noted.get("model", "")}]
    low: dict[str, float] = {}
    high: dict[str, float] = {}
    try:
        for member in members:
            own = model_levels(open_model(str(member["model"])))
            for name in stack.channel_labels:
                stain = split_painted(name)[0]
                if stain in own.low:
                    low[name] = min(low.get(name, own.low[stain]), own.low[stain])
                    high[name] = max(high.get(name, own.high[stain]), own.high[stain])
    except InputError:
        return percentile_levels([stack])
    return GrayLevels("model", low, high) if len(low) == len(stack.channel_labels) else percentile_levels([stack])


def save(stack: Stack, path: Path, kind: str = "") -> Callable[[], Generator[Progress, None, Path]]:
    """Return what a worker runs to write an image; it replaces no file that is open in the viewer.

    Parameters
    ----------
    kind
        The filter that was chosen in the file dialog.
    """
    check = saving(path, lambda: None)

    def work() -> Generator[Progress, None, Path]:
        check()
        found = as_gray(stack, levels_of_stains(stack)) if GRAY in kind else stack
        return (yield from write_steps(found, path, overwrite=True))

    return work
