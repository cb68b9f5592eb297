"""Crops of CellProfiler runs: the file of each channel, crops and colors of the pipeline, and what is wrong with a run."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml

from cellprofiler_run import FIRST, SIDE, pictures, write_run
from napari_virtual_paint.cells.cp2image.evaluate import evaluate
from napari_virtual_paint.cells.cp2image.frechet import train_reader
from napari_virtual_paint.cells.cp2image.model import open_cell_model
from napari_virtual_paint.cells.cp2image.run_crops import RunCrops, cut_run
from napari_virtual_paint.cells.tables.table import open_table
from napari_virtual_paint.cli import main
from napari_virtual_paint.errors import InputError

SHARED = Path(__file__).parents[4] / "shared" / "data"
CHANNELS = ("OrigBlue", "OrigGreen")


def cut(folder: Path, channels: Any = CHANNELS, images: Any = None, **options: Any) -> RunCrops:
    *_, found = cut_run(open_table(folder / "tables"), images or [folder / "pictures"], channels, 21, **options)
    assert isinstance(found, RunCrops)
    return found


def edited(folder: Path, table: str = "Image", **columns: Any) -> Path:
    """Replace columns of a table; None drops one."""
    path = folder / "tables" / f"{table}.csv"
    frame = pd.read_csv(path)
    frame = frame.drop(columns=[name for name, value in columns.items() if value is None])
    frame.assign(**{name: value for name, value in columns.items() if value is not None}).to_csv(path, index=False)
    return folder


def test_crops_lie_where_the_cells_are_although_positions_refer_to_a_crop(tmp_path: Path) -> None:
    found = cut(write_run(tmp_path), nuclei="OrigBlue")
    assert found.crops.shape == (24, 2, 21, 21)
    assert found.scale == (255.0, 255.0)
    assert dict(found.names.images) == {"CropBlue": "OrigBlue"}
    assert any(f"row {FIRST[0]}, column {FIRST[1]}" in note for note in found.notes)
    assert found.masks is not None
    for row in (0, 5, 12, 23):
        planes, nuclei, cells = pictures(1 + row // 12)
        y, x = (round(float(each.mean())) for each in np.nonzero(nuclei == row % 12 + 1))
        np.testing.assert_array_equal(found.crops[row], planes[:, y - 10 : y + 11, x - 10 : x + 11])
        own = cells[y - 10 : y + 11, x - 10 : x + 11] == row % 12 + 1
        assert (own & found.masks[1][row]).sum() > 0.7 * (own | found.masks[1][row]).sum()


def test_a_run_without_a_crop_is_as_it_is(tmp_path: Path) -> None:
    found = cut(write_run(tmp_path, first=(0, 0), measured="OrigBlue"))
    assert not found.names
    assert not any("crop" in note for note in found.notes)
    np.testing.assert_array_equal(found.crops, cut(write_run(tmp_path / "cropped")).crops)


def test_other_names_of_objects_and_other_forms_of_positions(tmp_path: Path) -> None:
    folder = write_run(tmp_path, nuclei="FilteredNuclei")
    plain = cut(folder)
    assert dict(plain.names.compartments) == {"FilteredNuclei": "Nuclei"}
    assert plain.names.of("FilteredNuclei_Intensity_MeanIntensity_CropBlue") == "Nuclei_Intensity_MeanIntensity_OrigBlue"
    table = pd.read_csv(folder / "tables" / "FilteredNuclei.csv")
    boxes = {
        f"AreaShape_BoundingBox{end}_{axis}": np.floor(table[f"Location_Center_{axis}"]) + (6 if end == "Maximum" else -5)
        for end in ("Minimum", "Maximum")
        for axis in "XY"
    }
    edited(folder, "FilteredNuclei", Location_Center_X=None, Location_Center_Y=None, **boxes)
    boxed = cut(folder)
    assert (np.abs(boxed.crops - plain.crops).mean(axis=(1, 2, 3)) < 12).all()


def test_a_channel_of_a_color_picture_is_the_color_it_was_split_from(tmp_path: Path) -> None:
    folder = write_run(tmp_path, images=1, measured="OrigBlue")
    planes, *_ = pictures(1)
    tifffile.imwrite(tmp_path / "pictures" / "rgb.tif", np.stack([planes[1], planes[1] // 2, planes[0]], axis=-1), photometric="rgb")
    pd.DataFrame({"ImageNumber": [1], "FileName_OrigColor": ["rgb.tif"], "FileName_Other": ["1_F.TIF"]}).to_csv(
        folder / "tables" / "Image.csv", index=False
    )
    found = cut(folder, ("OrigBlue", "OrigRed"))
    assert any("color pictures" in note for note in found.notes)
    assert (found.crops[:, 0].max(axis=(1, 2)) > 60).all()
    np.testing.assert_array_equal(found.crops[:, 1], cut(write_run(tmp_path / "plain", images=1)).crops[:, 1])


@pytest.mark.parametrize(
    ("columns", "channels", "words"),
    [
        ({}, ("OrigBlue", "DAPI"), "no file is named for the channel 'DAPI'; the Image table names files for OrigBlue, OrigGreen"),
        ({"FileName_OrigBlue": "../../../etc/passwd", "PathName_OrigBlue": "/"}, CHANNELS, "none of its"),
        ({"FileName_OrigBlue": "https://example.com/1_X.TIF"}, CHANNELS, "an address in a network, which is never fetched"),
        ({"FileName_OrigBlue": np.nan, "URL_OrigBlue": np.nan}, ("OrigBlue",), "none of its"),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, columns: dict[str, Any], channels: tuple[str, ...], words: str) -> None:
    folder = edited(write_run(tmp_path, images=1), **columns)
    with pytest.raises(InputError, match="(?s)" + words) as caught:
        cut(folder, channels)
    assert "\n" not in str(caught.value)


def test_two_pictures_of_one_name_are_told_apart_by_their_folders_or_named(tmp_path: Path) -> None:
    folder = write_run(tmp_path, images=1)
    shutil.copytree(folder / "pictures" / "deep", folder / "pictures" / "other")
    tifffile.imwrite(folder / "pictures" / "other" / "1_D.TIF", np.zeros((SIDE, SIDE), np.uint8))
    assert cut(folder).crops[:, 0].max() > 60
    edited(folder, PathName_OrigBlue="/elsewhere")
    with pytest.raises(InputError, match=r"deep.1_D.TIF, .*other.1_D.TIF: both may be"):
        cut(folder)


def test_cells_of_missing_pictures_and_without_positions_are_left_out_and_counted(tmp_path: Path) -> None:
    folder = write_run(tmp_path)
    (folder / "pictures" / "deep" / "2_F.TIF").unlink()
    nuclei = pd.read_csv(folder / "tables" / "Nuclei.csv")
    edited(
        folder,
        "Nuclei",
        Location_Center_X=nuclei["Location_Center_X"].where(nuclei["ObjectNumber"] > 1),
        ImageNumber=nuclei["ImageNumber"] * 5,
    )
    for name in ("Cells", "Image"):
        edited(folder, name, ImageNumber=pd.read_csv(folder / "tables" / f"{name}.csv")["ImageNumber"] * 5)
    found = cut(folder)
    assert len(found.rows) == 11
    assert any(note.startswith("11 cells are left out") and "2_F.TIF" in note for note in found.notes)
    assert any(note.startswith("2 cells have no position") for note in found.notes)


def test_train_generate_and_evaluate_on_a_run_of_one_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_run(tmp_path, images=1)
    config = {
        "id": "run-cells",
        "name": "Cells of a run",
        "description": "For tests.",
        "trained_on": "Discs.",
        "not_for": "Anything.",
        "output": "out/run.zip",
        "data": {"table": "tables", "images": "pictures", "nuclei": "OrigBlue", "channels": list(CHANNELS), "size": 32},
        "held_out": 0.3,
        "steps": 2,
        "epoch": 1,
        "batch": 4,
        "threads": 1,
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari_virtual_paint.cells.cp2image.train.train_reader", partial(train_reader, steps=5))
        assert main(["cells", "train", str(tmp_path / "run.yaml")]) == 0
    package = tmp_path / "out" / "run.zip"
    model = open_cell_model(package)
    assert model.nuclei == "OrigBlue"
    assert model.alone
    assert "split by cell" in model.card["held_out_on"]
    assert "Nuclei_Intensity_MeanIntensity_OrigBlue" in model.features
    *_, found = evaluate(model, open_table(folder / "tables"), [folder / "pictures"])
    assert len(found.requested) == 12
    assert "Nuclei_AreaShape_Area" in found.per_feature
    capsys.readouterr()
    assert main(["cells", "generate", str(package), str(folder / "tables"), "-o", str(tmp_path / "cells.png")]) == 0
    assert "set to the median" not in capsys.readouterr().err


def test_generate_refuses_a_foreign_table_and_a_wrong_ending(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_run(tmp_path, images=1)
    call = ["cells", "generate", "simulated-cells", str(folder / "tables"), "-o"]
    assert main([*call, str(tmp_path / "o.png")]) == 2
    assert "--allow-missing" in capsys.readouterr().err
    assert main(["cells", "generate", "absent-model", "absent-table", "-o", str(tmp_path / "o.csv")]) == 2
    assert "cells are written as .ome.tif" in capsys.readouterr().err
    assert main([*call, str(tmp_path / "o.png"), "--allow-missing", "--rows", "0:2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cells"] == 2


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the folder ../shared/data")
@pytest.mark.parametrize(
    ("table", "channels", "cells", "shift"),
    [
        ("example_human", ("DNA", "cellbody"), 289, None),
        ("example_human/ExampleHuman.sqlite", ("DNA", "PH3"), 289, None),
        ("fly_tables", ("OrigBlue", "OrigGreen", "OrigRed"), 62, "row 251, column 501"),
    ],
)
def test_the_examples_of_cellprofiler(table: str, channels: tuple[str, ...], cells: int, shift: str | None) -> None:
    opened = open_table(SHARED / table)
    *_, found = cut_run(opened, [SHARED / table.split("/")[0]], channels, 31)
    assert isinstance(found, RunCrops)
    assert len(found.rows) == cells
    assert found.scale == (255.0,) * len(channels)
    assert any(shift in note for note in found.notes) if shift else not found.notes
    # The brightest pixel of a nucleus lies within its crop, with the value that the table gives.
    name = f"Nuclei_Intensity_MaxIntensity_{opened.channels[0]}"
    values = opened.values([name], found.rows)[:, 0] * 255
    assert np.mean([np.isclose(crop[0], value, atol=0.01).any() for crop, value in zip(found.crops, values, strict=True)]) > 0.98
