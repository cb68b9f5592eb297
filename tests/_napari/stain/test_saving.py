"""Stains saved from the Stain dock as gray levels."""

from __future__ import annotations

import numpy as np
import pytest

from napari_virtual_paint._napari.stain.saving import GRAY, KINDS, levels_of_stains, save
from napari_virtual_paint.models import open_model
from napari_virtual_paint.painting.gray_levels import model_levels, original_values
from napari_virtual_paint.reading import read
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.stack import Stack


@pytest.fixture
def stains():
    values = np.random.default_rng(0).uniform(-1, 3, (1, 2, 1, 30, 30)).astype(np.float32)
    return Stack(values, ("DAPI", "MAP2"), provenance={"model": "neurons-phase"})


def test_gray_levels_are_those_of_the_model(stains, tmp_path):
    kind = next(each for each in KINDS if GRAY in each)
    path = run_to_end(save(stains, tmp_path / "a.ome.tif", kind)())
    written = read(path).compute()
    own = model_levels(open_model("neurons-phase"))
    levels = dict(written.provenance or {})["gray_levels"]
    assert (written.dtype, levels["range"]) == (np.uint16, "model")
    assert levels["stains"]["DAPI"]["high"] == own.high["DAPI"]
    assert np.allclose(original_values(written).data, stains.data, atol=1e-3)
    plain = read(run_to_end(save(stains, tmp_path / "b.ome.tif")())).compute()
    assert np.array_equal(plain.data, stains.data)


def test_without_the_model_percentiles_are_taken(stains):
    gone = Stack(stains.data, stains.channels, provenance={"model": "no such model"})
    assert levels_of_stains(gone).how == "percentiles"
