"""File > Save Selected Layers, through `writing.write`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari.layers import Image

from napari_virtual_paint._napari.shared.jobs import show_failure
from napari_virtual_paint._napari.shared.saving import check_saving
from napari_virtual_paint._napari.shared.viewer.layers import LayerData, stack_from_layers
from napari_virtual_paint.errors import VirtualPaintError
from napari_virtual_paint.writing import write


def write_ome_tiff(path: str, layers: Sequence[LayerData]) -> list[str]:
    """Write image layers of one size as the channels of an OME-TIFF; return the path written."""
    return _write(path, layers, (".tif", ".tiff"), ".ome.tif")


def write_ome_zarr(path: str, layers: Sequence[LayerData]) -> list[str]:
    """Write image layers of one size as the channels of an OME-Zarr image; return the path written."""
    return _write(path, layers, (".zarr",), ".ome.zarr")


def _write(path: str, layers: Sequence[LayerData], suffixes: tuple[str, ...], suffix: str) -> list[str]:
    try:
        saved = [_layer(*layer) for layer in layers]
        stack = stack_from_layers(saved).stack
        target = path if path.casefold().endswith(suffixes) else path + suffix
        check_saving(target, layers=saved)
        # napari's save dialog has asked already whether to replace a file that is there.
        return [str(write(stack, target, overwrite=True))]
    except VirtualPaintError as error:
        show_failure("Saving", error)
        return []


def _layer(data: Any, attributes: dict[str, Any], kind: str) -> Image:
    """Return a layer, in no viewer, with the attributes that `stack_from_layers` reads."""
    wanted = ("name", "metadata", "scale", "translate", "rotate", "shear", "affine", "units", "axis_labels", "rgb", "multiscale")
    kept = {key: attributes[key] for key in wanted if attributes.get(key) is not None}
    return Image(data, contrast_limits=(0, 1), **kept)
