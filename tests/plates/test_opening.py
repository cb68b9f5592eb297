"""The same plate in every layout is the same plate: wells, fields, channels, pixels, pixel size."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

import vendor_plates as written
from napari_virtual_paint.plates.opening import LAYOUTS, open_plate

LAID_OUT: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "Harmony 5": ("opera-phenix", written.phenix),
    "Harmony 7": ("opera-phenix", lambda folder: written.phenix(folder, 7)),
    "ImageXpress": ("imagexpress", written.imagexpress),
    "CV8000": ("yokogawa", written.yokogawa),
    "IN Cell": ("incarta", written.incarta),
    "In Carta": ("incarta", written.jdce),
    "CellProfiler": ("loaddata", written.loaddata),
    "JUMP": ("loaddata", lambda folder: written.loaddata(folder, urls=True)),
    "table": ("table", written.table),
    "pattern": ("pattern", written.pattern),
}


@pytest.mark.parametrize(("layout", "write"), LAID_OUT.values(), ids=LAID_OUT)
def test_the_same_plate_in_every_layout(tmp_path: Path, layout: str, write: Callable[[Path], Path]) -> None:
    plate = open_plate(write(tmp_path / "plate"))
    assert plate.layout == layout
    assert plate.notes == ()
    assert [field.key for field in plate.fields] == ["A01/1", "A01/2", "B03/1", "B03/2"]
    assert plate.channels == written.CHANNELS
    assert plate.acquisitions == ()
    assert plate.shape == (written.SHAPE if layout in ("opera-phenix", "imagexpress", "yokogawa", "incarta") else (2, 3))
    for field in pickle.loads(pickle.dumps(plate.fields)):
        stack = plate.read(field)
        np.testing.assert_array_equal(np.asarray(stack.data), written.truth(field.well, int(field.name)))
        assert stack.channels == written.CHANNELS
        size = None if layout in ("loaddata", "table", "pattern") else written.PIXEL
        assert stack.pixel_size[1:] == (pytest.approx(size), pytest.approx(size))


@pytest.mark.parametrize(("layout", "write"), LAID_OUT.values(), ids=LAID_OUT)
def test_a_plate_travels_to_other_processes(tmp_path: Path, layout: str, write: Callable[[Path], Path]) -> None:
    plate = open_plate(write(tmp_path / "plate"), layout=layout)
    assert plate.by_well["A01"] == plate.fields[:2]
    there = pickle.loads(pickle.dumps(replace(plate, painted=MappingProxyType({plate.fields[0]: plate.fields[1:2]}))))
    assert (there.fields, there.metadata, there.by_well) == (plate.fields, plate.metadata, plate.by_well)
    assert there.painted == {plate.fields[0]: plate.fields[1:2]}
    stack = pickle.loads(pickle.dumps(there.read(there.fields[3])))
    np.testing.assert_array_equal(np.asarray(stack.data), written.truth("B03", 2))


def test_every_layout_is_tested() -> None:
    assert {layout for layout, _ in LAID_OUT.values()} | {"ome-zarr"} == set(LAYOUTS)
