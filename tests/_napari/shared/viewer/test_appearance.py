"""Stains shown together, as napari adds their colors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.utils.colormaps import ensure_colormap
from skimage.filters import threshold_otsu

from napari_virtual_paint._napari.shared.viewer.layers import layer_data_from_stack
from napari_virtual_paint.reading import read
from napari_virtual_paint.samples import SimulationSettings, simulate_field
from napari_virtual_paint.stack import Stack


def shown(stack: Stack) -> np.ndarray:
    """Return the sum of the layers' colors (Y, X, 3), by napari's documented formula of additive blending."""
    out = np.zeros((*stack.shape[-2:], 3))
    for data, arguments, _ in layer_data_from_stack(stack):
        low, high = arguments["contrast_limits"]
        share = np.clip((np.asarray(data, float).reshape(stack.shape[-2:]) - low) / (high - low), 0, 1) ** arguments["gamma"]
        out += arguments["opacity"] * ensure_colormap(arguments["colormap"]).map(share.ravel())[:, :3].reshape(out.shape)
        assert arguments["blending"] == "additive"
    return np.clip(out, 0, 1)


def simulated(density: float) -> Stack:
    return simulate_field(SimulationSettings(size=400, seed=5, density=density)).stains


@pytest.mark.parametrize("field", ["sparse", "dense", "real"])
def test_five_stains_together_can_be_read(field: str, shared_data: Path) -> None:
    if field == "real":
        stack = read(shared_data / "cell_painting" / "stains.ome.tif")
    else:
        stack = simulated({"sparse": 330.0, "dense": 1200.0}[field])
    picture = shown(stack)
    planes = np.asarray(stack.data[0, :, 0], float)
    foreground = np.any([plane > threshold_otsu(plane) for plane in planes], axis=0)
    assert (picture.min(axis=-1) > 0.8)[foreground].mean() <= 0.02, "hardly a pixel is white"
    nuclei = planes[0] > np.percentile(planes[0][foreground], 90)
    assert (picture.argmax(axis=-1) == 2)[nuclei].mean() > 0.85, "nuclei are blue (3 to 20 % of them at equal strength)"
