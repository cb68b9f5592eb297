"""A simulated plate is the same plate in each layout that the simulator writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_virtual_paint.plates.opening import open_plate
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.plates.simulation.design import PlateDesign
from napari_virtual_paint.plates.simulation.layouts import LAYOUTS
from napari_virtual_paint.plates.simulation.simulate import simulate_plate

pytest.importorskip("zarr", minversion="3.0", reason="the plate that the others are compared with is an OME-Zarr (extra formats)")

DESIGN = PlateDesign(shape=(2, 3), fields=1, size=64, seed=5)
WELLS = ("A01", "B03")
JUMP = {"Brightfield_L": "Brightfield -4 um", "Brightfield": "Brightfield 0 um", "Brightfield_H": "Brightfield +4 um"}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Plate:
    path = tmp_path_factory.mktemp("reference") / "plate.zarr"
    for _ in simulate_plate(DESIGN, path):
        pass
    return open_plate(path)


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "ome-zarr"])
def test_the_simulated_plate_in_every_layout(tmp_path: Path, reference: Plate, layout: str) -> None:
    path = tmp_path / ("plate.zarr" if layout.startswith("ome-zarr") else "plate")
    for _ in simulate_plate(DESIGN, path, layout):
        pass
    plate = open_plate(path, plate_map=tmp_path / "plate.csv", channels=JUMP if layout == "loaddata" else None)
    assert plate.layout == layout.removesuffix("-0.4")
    assert plate.notes == ()
    assert (plate.wells, plate.shape, plate.channels) == (reference.wells, reference.shape, reference.channels)
    for well in WELLS:
        stack, true = (each.read(each.by_well[well][0]) for each in (plate, reference))
        np.testing.assert_array_equal(np.asarray(stack.data), np.asarray(true.data))
        assert stack.channels == true.channels
        assert plate.metadata[well]["treatment"] == reference.metadata[well]["treatment"]
        if layout != "loaddata":
            assert stack.pixel_size == pytest.approx(true.pixel_size)
