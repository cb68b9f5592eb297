"""Painted plates are recognized by the job beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_virtual_paint.plates.job.job import find_job, is_painted, job_folder
from napari_virtual_paint.plates.ome_zarr import writer
from napari_virtual_paint.plates.opening import is_plate, open_plate
from napari_virtual_paint.plates.paint import paint_plate
from small_plates import make_plate, to_end, toy_model


def test_an_output_and_its_job_lead_to_each_other(tmp_path: Path) -> None:
    toy = make_plate(tmp_path / "toy", 1)
    pytest.importorskip("zarr")
    source = tmp_path / "plate.zarr"
    writer.create(source, "plate", (1, 2), toy.fields)
    writer.write_field(source, toy.fields[0], toy.read(toy.fields[0]))
    writer.list_fields(source, toy.fields)
    plate, model = open_plate(source), toy_model(tmp_path)
    for output in (tmp_path / "out.zarr", tmp_path / "out"):
        to_end(paint_plate(plate, model, output))
        for path in (output, job_folder(output)):
            found = find_job(path)
            assert found is not None
            assert (found[0], found[1].plate, is_painted(path)) == (output, str(source), True)
    assert not is_plate(tmp_path / "out"), "one well is recognized by the job alone"
    to_end(paint_plate(plate, model, kind="in-place"))
    found = find_job(tmp_path / "plate.zarr.toy-planes.job")
    assert found is not None
    assert (found[0], found[1].kind) == (source, "in-place")
    assert find_job(source) is None
    assert not is_painted(source)


def test_a_job_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    (tmp_path / "out.job").mkdir()
    (tmp_path / "out.job" / "job.json").write_text("{")
    assert find_job(tmp_path / "out") is None
    assert find_job(tmp_path / "nothing") is None
