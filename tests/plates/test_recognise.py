"""Which paths are plates, by a look at names and small files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

import vendor_plates as written
from count_entries import CountedEntries
from napari_virtual_paint.plates.ome_zarr import writer
from napari_virtual_paint.plates.opening import is_plate, open_plate
from napari_virtual_paint.plates.plate import Field
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.writing import write

LAYOUTS = {
    name: getattr(written, name) for name in ("phenix", "yokogawa", "imagexpress", "incarta", "jdce", "loaddata", "table", "pattern")
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_recognised_and_opens(tmp_path: Path, layout: str) -> None:
    path = LAYOUTS[layout](tmp_path / "plate")
    folder = path if path.is_dir() else path.parent
    assert is_plate(folder)
    assert len(open_plate(folder).fields) == 4
    for file in folder.glob("*"):
        if file.suffix.lower() in (".xml", ".htd", ".mlf", ".xdce"):
            assert is_plate(file)


def test_an_ome_zarr_plate_is_one_and_its_wells_and_images_are_none(tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    field = Field("A01", "0")
    writer.create(tmp_path / "plate.zarr", "plate", (1, 1), [field])
    writer.write_field(tmp_path / "plate.zarr", field, Stack(np.zeros((1, 1, 1, 8, 8), np.uint16)))
    writer.list_fields(tmp_path / "plate.zarr", [field])
    assert is_plate(tmp_path / "plate.zarr")
    assert not is_plate(tmp_path / "plate.zarr" / "A" / "1")
    assert not is_plate(tmp_path / "plate.zarr" / "A" / "1" / "0")


def test_images_are_no_plates(tmp_path: Path) -> None:
    image = write(Stack(np.zeros((1, 2, 1, 8, 8), np.uint16)), tmp_path / "A01_1_DNA.ome.tif")
    assert not is_plate(image)
    assert not is_plate(tmp_path), "one image"
    for z in range(3):
        tifffile.imwrite(tmp_path / f"stack_z{z}.tif", np.zeros((8, 8), np.uint16))
    assert not is_plate(tmp_path), "names that tell no well"
    one = tmp_path / "well"
    for channel in ("DNA", "ER"):
        written.write(one, f"A01_1_{channel}.tif", "A01", 1, 0)
    assert not is_plate(one), "one well"
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "settings.xml").write_text("<a/>")
    assert not is_plate(tmp_path / "notes" / "settings.xml")
    assert not is_plate(tmp_path / "notes")
    assert not is_plate(tmp_path / "absent")
    (tmp_path / "broken.zarr").mkdir()
    (tmp_path / "broken.zarr" / "zarr.json").write_text("{")
    assert not is_plate(tmp_path / "broken.zarr")


MANY = 5000  # files in a folder


@pytest.mark.parametrize(
    ("name", "index", "plate"),
    [
        ("A{0:02d}_s{1}_w1.tif", "", True),  # wells in the names of the images
        ("{0}-{1}.tiff", "", False),
        ("{0}-{1}.tiff", "Index.idx.xml", True),
        ("{0}-{1}.tiff", "MeasurementData.mlf", True),
        ("{0}-{1}.png", "load_data.csv", True),
    ],
)
def test_a_large_folder_is_recognised_by_its_first_entries(
    tmp_path: Path, name: str, index: str, plate: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    for number in range(MANY):
        (folder / name.format(number % 12 + 1, number // 12)).touch()
    if index:
        (folder / index).write_text("FileName_OrigDNA,Metadata_Well\na.tif,A01\n")
    looked = CountedEntries(monkeypatch)
    assert is_plate(folder, quick=True) is plate
    assert looked.count < 500


def test_a_screen_of_large_plates_is_recognised_by_its_first_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for plate in range(6):
        folder = tmp_path / f"P{plate}" / "images"
        folder.mkdir(parents=True)
        for number in range(600):
            (folder / f"{number}.tif").touch()
    looked = CountedEntries(monkeypatch)
    assert not is_plate(tmp_path, quick=True)
    assert looked.count < 2000
    (folder / "Index.xml").touch()
    assert is_plate(tmp_path, quick=True), "an index of the usual name is found beyond them"
