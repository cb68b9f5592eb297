"""The sample plate: simulated and half painted, one field damaged; made once, and gone on with where it was stopped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_virtual_paint.models import Model
from napari_virtual_paint.plates.opening import open_plate
from napari_virtual_paint.plates.paint import paint_plate, read_failures, read_scores
from napari_virtual_paint.plates.simulation.design import PlateDesign
from napari_virtual_paint.plates.simulation.sample import make_sample_plate
from napari_virtual_paint.runtime.generators import run_to_end
from small_plates import toy_model

pytest.importorskip("zarr")
SMALL = PlateDesign(shape=(4, 6), size=32, seed=24)
ROW_A = [f"A0{column}" for column in range(1, 7)]
ROW_B = [f"B0{column}" for column in range(1, 7)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return toy_model(tmp_path_factory.mktemp("model"))


def make(folder: Path, model: Model, steps: list[object] | None = None) -> Path:
    return run_to_end(make_sample_plate(folder, SMALL, model.info.source), None if steps is None else steps.append)


def test_it_is_made_once_and_gone_on_with(tmp_path: Path, model: Model) -> None:
    stopped = make_sample_plate(tmp_path / "one", SMALL, model.info.source)
    for step in stopped:
        if step.message.startswith("Painting") and step.done > 26:  # the 24 simulated, and the first that are painted
            break
    stopped.close()
    output = make(tmp_path / "one", model)
    assert output == tmp_path / "one" / "sample-plate_toy-planes.zarr"
    plate = open_plate(tmp_path / "one" / "sample-plate.zarr")
    assert (plate.shape, len(plate.fields)) == ((4, 6), 24)
    assert sorted(read_scores(output)["well"]) == sorted({*ROW_A, *ROW_B} - {"B04"})
    failures = read_failures(output)
    assert list(failures["well"]) == ["B04"]
    assert "copy the field B04/0 again" in failures["reason"][0]
    again: list[object] = []
    make(tmp_path / "one", model, again)
    assert {step.message for step in again} == {"Simulating a plate"}, "nothing is painted again"  # type: ignore[attr-defined]
    other = make(tmp_path / "two", model)
    for name, first, second in (
        ("plate", plate, open_plate(tmp_path / "two" / "sample-plate.zarr")),
        ("stains", *map(open_plate, (output, other))),
    ):
        assert first.fields == second.fields
        for field in first.fields:
            if field.well != "B04":
                np.testing.assert_array_equal(np.asarray(first.read(field).data), np.asarray(second.read(field).data), err_msg=name)
    rest = run_to_end(paint_plate(plate, model, output))
    assert (rest.painted, rest.skipped, rest.failed) == (12, 11, 1), "the Plate dock goes on with it, whose device is Auto"
