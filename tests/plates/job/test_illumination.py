"""Plates under uneven light: the functions are the plate's own, a folder's or an estimate, are kept with the job, and even the fields."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.models import Model
from napari_virtual_paint.painting import PaintSettings
from napari_virtual_paint.plates import open_plate
from napari_virtual_paint.plates.job.illumination import RECORD, load_functions, settle_functions
from napari_virtual_paint.plates.job.job import job_folder, load_job
from napari_virtual_paint.plates.paint import paint_plate, read_failures, read_scores
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.reading import read
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.samples.camera import illumination
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.writing import write
from small_plates import checksums, counts, make_plate, to_end, toy_model

LIGHT = illumination((64, 64), 0.5, (0.3, 0.6))
AUTO = PaintSettings(illumination="auto", device="cpu")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return toy_model(tmp_path_factory.mktemp("model"))


def lit_plate(folder: Path, wells: int = 12) -> Plate:
    """A plate whose fields are noise under uneven light."""
    plate = make_plate(folder, wells)
    for file in folder.glob("*.npy"):
        noise = np.random.default_rng(len(file.name)).normal(1000, 60, (1, 5, 1, 64, 64))
        np.save(file, np.clip(noise * LIGHT, 0, None).astype(np.uint16))
    return plate


def test_the_light_of_the_plate_is_estimated_kept_and_corrected(model: Model, tmp_path: Path) -> None:
    """A job that was begun goes on with the functions of its first run, whatever the fields of the next."""
    plate, output = lit_plate(tmp_path / "plate"), tmp_path / "out"
    to_end(paint_plate(plate.select("A1:A3"), model, output, AUTO))
    folder = job_folder(output)
    functions, source = load_functions(folder)
    assert source["from"] == "an estimate from 3 fields"
    assert {"Brightfield -4um", "Brightfield 0um", "Brightfield +4um", "DNA", "er"} == set(functions)
    for function in functions.values():
        assert np.abs(function / (LIGHT / LIGHT.mean()) - 1).max() < 0.06
    before = {file.name: file.read_bytes() for file in (folder / "illumination").iterdir()}
    assert counts(to_end(paint_plate(plate, model, output, AUTO))) == (12, 9, 3, 0)
    assert before == {file.name: file.read_bytes() for file in (folder / "illumination").iterdir()}
    painted = read(next(output.glob("A01*")))
    assert (painted.provenance or {})["illumination"]["from"] == "an estimate from 3 fields"
    job = load_job(folder)
    assert job is not None
    assert job.settings.illumination == "auto"
    with pytest.raises(InputError, match="illumination was auto and is now none"):
        to_end(paint_plate(plate, model, output, PaintSettings(device="cpu")))
    again = tmp_path / "again"
    by_folder = replace(AUTO, illumination=str(folder / "illumination"))
    to_end(paint_plate(plate, model, again, by_folder))
    assert checksums(again) == checksums(output)


def test_without_the_setting_nothing_is_corrected(model: Model, tmp_path: Path) -> None:
    plate, output = lit_plate(tmp_path / "plate", 1), tmp_path / "out"
    to_end(paint_plate(plate, model, output, PaintSettings(device="cpu")))
    assert not (job_folder(output) / "illumination").exists()
    assert "illumination" not in (read(next(output.glob("A01*"))).provenance or {})


def test_a_run_that_was_stopped_before_its_job_was_saved_goes_on(model: Model, tmp_path: Path) -> None:
    plate, output = lit_plate(tmp_path / "plate", 2), tmp_path / "out"
    run_to_end(settle_functions(job_folder(output), plate, model.info, AUTO, truth=True))
    assert load_job(job_folder(output)) is None
    (job_folder(output) / "illumination" / RECORD).unlink()
    assert counts(to_end(paint_plate(plate, model, output, AUTO))) == (2, 2, 0, 0)


def test_functions_that_are_gone_or_of_another_size_fail_in_a_sentence(model: Model, tmp_path: Path) -> None:
    plate, output = lit_plate(tmp_path / "plate", 2), tmp_path / "out"
    functions = tmp_path / "functions"
    functions.mkdir()
    chosen = replace(AUTO, illumination=str(functions))
    with pytest.raises(InputError, match="holds no illumination function"):
        to_end(paint_plate(plate, model, output, chosen))
    for name in ("-4um", "0um", "+4um"):
        np.save(functions / f"IllumBrightfield {name}.npy", np.ones((64, 60)))
    with pytest.raises(InputError, match="64 x 60 pixels and the images 64 x 64"):
        to_end(paint_plate(plate, model, output, chosen))
    assert not output.exists()
    for file in functions.iterdir():
        np.save(file, LIGHT)
    to_end(paint_plate(plate.select("A1"), model, output, chosen))
    record = job_folder(output) / "illumination" / RECORD
    record.write_text(json.dumps({"shape": [64, 64], "files": {"DNA": "gone.npy"}}))
    to_end(paint_plate(plate, model, output, chosen))
    assert "gone.npy" in read_failures(output)["reason"][0]


def test_the_files_that_a_table_names_are_taken(model: Model, tmp_path: Path) -> None:
    """LoadData's ``Illum`` columns, as JUMP has them, beside the images where the folder that they name is gone."""
    plate = tmp_path / "plate"
    plate.mkdir()
    names = ("Brightfield_L", "Brightfield", "Brightfield_H")
    header = [f"{kind}_{what}{name}" for what in ("Orig", "Illum") for name in names for kind in ("FileName", "PathName")]
    row = []
    for what in ("Orig", "Illum"):
        for name in names:
            file = f"{what}{name}.tiff" if what == "Orig" else f"P1_Illum{name}.npy"
            row += [file, "/gone"]
            if what == "Orig":
                write(Stack(np.full((1, 1, 1, 64, 64), 1000, np.uint16) * LIGHT.astype(np.float32)), plate / f"{file[:-5]}.ome.tif")
                (plate / f"{file[:-5]}.ome.tif").rename(plate / file)
            else:
                np.save(plate / file, 3 * LIGHT)
    (plate / "load_data.csv").write_text(",".join([*header, "Metadata_Well"]) + "\n" + ",".join([*row, "A01"]) + "\n")
    folder = tmp_path / "job"
    opened = open_plate(plate)
    run_to_end(settle_functions(folder, opened, model.info, AUTO, truth=False))
    functions, source = load_functions(folder)
    assert source["from"] == "the files that its table names"
    assert len(functions) == 3
    for function in functions.values():
        assert np.allclose(function, LIGHT / LIGHT.mean(), rtol=1e-5)
    away = tmp_path / "functions"
    away.mkdir()
    for file in plate.glob("*.npy"):
        shutil.move(file, away / file.name)
    run_to_end(settle_functions(tmp_path / "job2", opened, model.info, replace(AUTO, illumination=str(away)), truth=False))
    assert len(load_functions(tmp_path / "job2")[0]) == 3


def test_each_field_has_its_own_focus(tmp_path: Path) -> None:
    """The plane is a column of the table, and the true stains of that plane are compared."""
    plate = make_plate(tmp_path / "plate", 2, planes=5, channels=("DIC", "DNA"))
    for number, place in enumerate(plate.fields):
        rng = np.random.default_rng(number)
        data = np.full((1, 2, 5, 64, 64), 1000, np.float32) + rng.normal(0, 2, (1, 2, 5, 64, 64))
        data[0, 0, 1 + 2 * number] += 400 * (rng.random((64, 64)) > 0.9)
        data[0, 1] += np.arange(5)[:, None, None] * 100 + rng.normal(0, 50, (5, 64, 64))
        np.save(tmp_path / "plate" / f"{place.well}_{place.name}.npy", data.astype(np.uint16))
    config = {"in_channels": 1, "out_channels": 2, "depth": 2, "width": 4}
    model = toy_model(tmp_path, channels=("DIC",), config=config, planes_as_channels=False, z_offsets=None)
    to_end(paint_plate(plate, model, tmp_path / "out", PaintSettings(focus="auto", device="cpu")))
    scores = read_scores(tmp_path / "out")
    assert list(scores["focus"]) == [1, 3]
    assert scores["pcc_DNA"].notna().all()
    for image in sorted((tmp_path / "out").glob("A0*")):
        assert read(image).shape[2] == 1
