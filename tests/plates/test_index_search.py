"""The index of a plate wherever it lies and however it is written, and the images that it names wherever they are now."""

from __future__ import annotations

import json
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

import vendor_plates as written
from napari_virtual_paint.cli import main
from napari_virtual_paint.errors import InputError, ReadError
from napari_virtual_paint.plates.layouts import SeveralPlatesError
from napari_virtual_paint.plates.ome_zarr import writer
from napari_virtual_paint.plates.opening import is_plate, open_plate
from napari_virtual_paint.plates.plate import Field
from napari_virtual_paint.stack import Stack

WRITERS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "opera-phenix": (written.phenix, "Images/Index.xml"),
    "yokogawa": (written.yokogawa, "MeasurementData.mlf"),
    "imagexpress": (written.imagexpress, "P1.HTD"),
    "incarta": (written.incarta, "P1.xdce"),
    "jdce": (written.jdce, "experiment/P1.jdce"),
}


def check(path: Path, **options: str) -> None:
    """Check that a path opens as the plate that was written, with its names, pixel size and pixels."""
    plate = open_plate(path, **options)
    assert [field.key for field in plate.fields] == ["A01/1", "A01/2", "B03/1", "B03/2"]
    assert plate.channels == written.CHANNELS
    for field in plate.fields:
        stack = plate.read(field)
        np.testing.assert_array_equal(np.asarray(stack.data), written.truth(field.well, int(field.name)))
        assert stack.pixel_size[1:] == (pytest.approx(written.PIXEL), pytest.approx(written.PIXEL))


def test_a_painted_plate_beside_its_source_is_no_question(tmp_path: Path) -> None:
    outer, fields, names = tmp_path / "screen", [Field("A01", "0")], ("plate_model.zarr", "plate_other.zarr")
    written.phenix(outer / "a" / "plate")
    for name in names:
        writer.create(outer / "a" / name, name, (1, 1), fields)
        writer.write_field(outer / "a" / name, fields[0], Stack(np.zeros((1, 1, 1, 8, 8), np.uint8), ("DNA",)))
        writer.list_fields(outer / "a" / name, fields)
        (outer / "a" / f"{name}.job").mkdir()
    check(outer)
    assert open_plate(outer, plate=names[0]).source == str(outer / "a" / names[0]), "by its name it opens"
    written.phenix(outer / "a" / "plate 2")
    with pytest.raises(SeveralPlatesError) as several:
        open_plate(outer)
    assert several.value.names == ("a/plate", "a/plate 2")
    shutil.rmtree(outer / "a" / "plate")
    shutil.rmtree(outer / "a" / "plate 2")
    with pytest.raises(SeveralPlatesError) as several:
        open_plate(outer)
    assert several.value.names == tuple(f"a/{name}" for name in names), "where there are no others"


@pytest.mark.parametrize("layout", WRITERS)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_up_to_three_levels_below(tmp_path: Path, layout: str, depth: int) -> None:
    write, index = WRITERS[layout]
    inner = depth - index.count("/")
    outer = tmp_path / "screen"
    write(outer.joinpath(*"abc"[: max(inner, 0)]) if inner > 0 else outer)
    (outer / "LICENSE").write_text("text")
    assert is_plate(outer)
    check(outer)


@pytest.mark.parametrize("images", ["Images", "images"])
def test_the_folder_of_the_images_is_no_level(tmp_path: Path, images: str) -> None:
    folder = written.phenix(tmp_path / "screen/a/b/c")
    (folder / "Images").rename(folder / images)
    check(tmp_path / "screen")
    (folder / images).rename(folder / "other")
    with pytest.raises(ReadError, match="no image in it"):
        open_plate(tmp_path / "screen")


def test_the_size_is_that_of_the_first_field_that_can_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = written.incarta(tmp_path / "plate")
    for file in folder.glob("A - 01(fld 1 *.tif"):
        file.unlink()
    assert main(["plate", "info", str(folder), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["shape"] == [1, 3, 1, 6, 7]
    assert report["pixel_size"] == [None, pytest.approx(written.PIXEL), pytest.approx(written.PIXEL)]
    assert any(note.startswith("A01/1 can't be read") and "not known" not in note for note in report["notes"])
    for file in folder.glob("*.tif"):
        file.unlink()
    assert main(["plate", "info", str(folder), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["shape"] is None
    assert any(note.startswith("A01/1 can't be read") and note.endswith("not known.") for note in report["notes"])


@pytest.mark.parametrize("layout", WRITERS)
@pytest.mark.parametrize("case", [str.lower, str.upper])
def test_any_case_of_letters(tmp_path: Path, layout: str, case: Callable[[str], str]) -> None:
    write, index = WRITERS[layout]
    folder = write(tmp_path / "plate")
    file = folder / index
    file.rename(file.with_name(case(file.name)))
    check(folder)
    check(file.with_name(case(file.name)))


@pytest.mark.parametrize("layout", ["opera-phenix", "yokogawa", "incarta"])
def test_images_are_found_where_they_are_now(tmp_path: Path, layout: str) -> None:
    write, index = WRITERS[layout]
    file = write(tmp_path / "screen" / "plate") / index
    images = sorted(path for path in file.parent.iterdir() if path.suffix.lower().startswith(".tif"))
    for other in ("sub", "sub/deeper"):  # below the index
        place = file.parent / other
        place.mkdir()
        for path in images:
            shutil.move(path, place / path.name)
        images = [place / path.name for path in images]
        check(file)
    for path in images:  # above it; the folder with the images opens by itself
        shutil.move(path, file.parent.parent / path.name)
    images = [file.parent.parent / path.name for path in images]
    assert "those near it are taken" in open_plate(file).notes[-1]
    check(file)
    for path in images:  # in other letters
        path.rename(path.with_name(path.name.upper()))
    check(file)


@pytest.mark.parametrize("layout", ["opera-phenix", "yokogawa", "incarta"])
def test_images_that_are_missing_are_counted(tmp_path: Path, layout: str) -> None:
    write, index = WRITERS[layout]
    file = write(tmp_path / "plate") / index
    images = sorted(path for path in file.parent.iterdir() if path.suffix.lower().startswith(".tif"))
    for path in images[:3]:
        path.unlink()
    (note,) = open_plate(file).notes
    assert note.startswith(f"{file.name} lists {len(images)} images, of which 3 are not there (")
    assert any(path.name in note for path in images[:3])


@pytest.mark.parametrize("layout", ["opera-phenix", "yokogawa", "incarta"])
@pytest.mark.parametrize(
    "prefix", ["D:\\Data\\run 1\\", "\\\\server\\share\\plate\\", "/mnt/microscope/plate/", "..\\Images\\", "Images\\"]
)
def test_paths_of_the_instrument(tmp_path: Path, layout: str, prefix: str) -> None:
    write, index = WRITERS[layout]
    file = write(tmp_path / "plate") / index
    text = file.read_text(encoding="latin-1")
    names = [path.name for path in file.parent.iterdir() if path.suffix.lower().startswith(".tif")]
    for name in names:
        text = text.replace(f'"{name}"', f'"{prefix}{name}"').replace(f">{name}<", f">{prefix}{name}<")
    assert prefix in text
    file.write_text(text, encoding="latin-1")
    check(file)


def test_the_index_is_one_level_above(tmp_path: Path) -> None:
    folder = written.phenix(tmp_path / "plate", 7)
    shutil.move(folder / "Images" / "Index.xml", folder / "Index.xml")
    for path in (folder, folder / "Images", folder / "Index.xml"):
        check(path)
    folder = written.yokogawa(tmp_path / "cv")
    (folder / "img").mkdir()
    for path in folder.glob("*.tif"):
        shutil.move(path, folder / "img" / path.name)
    check(folder)
    check(folder / "img")
    # A folder of other images beside an index is no part of its plate.
    other = written.pattern(folder / "other")
    assert open_plate(other).layout == "pattern"
    time = written.imagexpress(tmp_path / "ix") / "TimePoint_1"
    check(time)


def test_an_image_in_two_folders_is_not_guessed(tmp_path: Path) -> None:
    folder = written.phenix(tmp_path / "plate", 7)
    shutil.move(folder / "Images" / "Index.xml", folder / "Index.xml")
    shutil.copytree(folder / "Images", folder / "Copy")
    with pytest.raises(ReadError, match=r"is in .*(Copy|Images).* open the one to take alone"):
        open_plate(folder)


def test_two_plates_below_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outer = tmp_path / "screen"
    written.phenix(outer / "first")
    written.yokogawa(outer / "second" / "run")
    assert is_plate(outer)
    with pytest.raises(
        SeveralPlatesError, match=r"holds 2 plates \(first, second/run\); choose one by its name \(--plate NAME\)"
    ) as caught:
        open_plate(outer)
    assert caught.value.names == ("first", "second/run")
    check(outer, plate="first")
    check(outer, plate="SECOND/run")
    check(outer, plate="run")
    assert open_plate(outer, plate="first").source == str(outer / "first")
    with pytest.raises(InputError, match="none called 'third'"):
        open_plate(outer, plate="third")
    assert main(["plate", "info", str(outer)]) == 2
    assert "first, second/run" in capsys.readouterr().err
    assert main(["plate", "info", str(outer), "--plate", "first", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["layout"] == "opera-phenix"


@pytest.mark.parametrize("layout", WRITERS)
def test_two_indexes_in_one_folder(tmp_path: Path, layout: str) -> None:
    write, index = WRITERS[layout]
    folder = write(tmp_path / "plate")
    first = folder / index
    text = first.read_text(encoding="latin-1")
    second = first.with_name({"opera-phenix": "Index.idx.xml"}.get(layout, f"P2{first.suffix}"))
    second.write_text(re.sub(r"(<Name>|name=\"|\"PlateId\": \")P1", r"\1P2", text), encoding="latin-1")
    if layout in ("imagexpress", "jdce"):  # these say by the names of images which plate they are of
        for path in folder.rglob("P1_*"):
            shutil.copy(path, path.with_name(path.name.replace("P1_", "P2_")))
    with pytest.raises(SeveralPlatesError, match="holds 2 plates") as caught:
        open_plate(folder)
    assert set(caught.value.names) == ({"MeasurementData", "P2"} if layout == "yokogawa" else {"P1", "P2"})
    check(folder, plate=caught.value.names[0])
    check(folder, plate="p2")
    check(second)


def test_two_forms_of_one_index_are_one_plate(tmp_path: Path) -> None:
    folder = written.phenix(tmp_path / "plate")
    shutil.copy(folder / "Images" / "Index.xml", folder / "Images" / "Index.ref.xml")
    check(folder)


def test_files_of_a_file_manager_are_no_images_and_no_indexes(tmp_path: Path) -> None:
    for layout, (write, index) in WRITERS.items():
        folder = write(tmp_path / layout)
        places = {path.parent for path in folder.rglob("*") if path.is_file()}
        names = [path for path in folder.rglob("*") if path.is_file()]
        for path in names:
            (path.parent / f"._{path.name}").write_bytes(b"\0\5\x16\7")
        for place in places:
            for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
                (place / name).write_bytes(b"\0")
        check(folder)
        check(folder / index)
    folder = written.pattern(tmp_path / "pattern")
    for path in list(folder.iterdir()):
        (folder / f"._{path.name}").write_bytes(b"\0\5\x16\7")
    assert len(open_plate(folder).fields) == 4


def test_plates_of_names_alone(tmp_path: Path) -> None:
    outer = tmp_path / "screen"
    for name in ("one", "two"):
        written.pattern(outer / name)
    with pytest.raises(SeveralPlatesError, match=r"2 plates \(one, two\)"):
        open_plate(outer)
    plate = open_plate(outer, plate="two")
    assert (plate.name, plate.source, len(plate.fields)) == ("two", str(outer / "two"), 4)
    np.testing.assert_array_equal(np.asarray(plate.read(plate.fields[0]).data), written.truth("A01", 1))


def test_a_table_of_several_plates(tmp_path: Path) -> None:
    rows = [
        {"path": f"{plate}_{well}.tif", "well": well, "Metadata_Plate": plate, "Channel": "DNA"}
        for plate in ("P1", "P2")
        for well in ("A1", "A2")
    ]
    table = written.table_file(tmp_path / "images.csv", rows)
    with pytest.raises(SeveralPlatesError, match=r"2 plates \(P1, P2\)"):
        open_plate(table)
    plate = open_plate(table, plate="p2")
    assert (plate.name, plate.wells, plate.part) == ("P2", ("A01", "A02"), "P2")
    assert (plate.select("A1").part, open_plate(table, plate="P1").part) == ("P2", "P1"), "by which a job tells them apart"


# plates as instruments wrote them


def text_of(path: Path, tag: str) -> list[str]:
    """Return the texts of elements of a name, whatever their namespace."""
    return [element.text or "" for element in ET.parse(path).iter() if element.tag.rpartition("}")[2] == tag]


def test_a_phenix_from_its_outermost_folder(shared_data: Path) -> None:
    outer = shared_data / "plates" / "phenix_version5"
    index = outer / "images" / "Index.idx.xml"
    plate = open_plate(outer)
    names, files = text_of(index, "ChannelName"), text_of(index, "URL")
    assert (plate.layout, plate.wells, plate.channels) == ("opera-phenix", ("A01",), tuple(names))
    stack = plate.read(plate.fields[0])
    assert stack.pixel_size.x == pytest.approx(1e6 * float(text_of(index, "ImageResolutionX")[0]))
    for i, file in enumerate(files):
        np.testing.assert_array_equal(np.asarray(stack.data[0, i, 0]), tifffile.imread(index.parent / file))


def test_the_table_of_a_phenix(shared_data: Path) -> None:
    outer = shared_data / "plates" / "phenix_version5"
    plate = open_plate(outer / "load_data_version5.csv")
    stack = plate.read(plate.fields[0])
    header, row = ((outer / "load_data_version5.csv").read_text().splitlines()[i].split(",") for i in (0, 1))
    for i, name in enumerate(stack.channels or ()):
        file = row[header.index(f"FileName_Orig{name}")]
        np.testing.assert_array_equal(np.asarray(stack.data[0, i, 0]), tifffile.imread(outer / "images" / file))
    assert stack.channels == ("RNA", "ER", "AGP", "Mito", "Brightfield", "DPC")


def test_a_cellvoyager_from_its_outermost_folder(shared_data: Path) -> None:
    outer = shared_data / "plates" / "cv8000"
    (mlf,) = outer.rglob("*.mlf")
    records = re.findall(
        r'bts:Column="(\d+)" bts:Row="(\d+)".*?bts:FieldIndex="(\d+)" bts:ZIndex="(\d+)".*?bts:Ch="(\d+)"', mlf.read_text()
    )
    plate = open_plate(outer)
    assert {(field.well, field.name) for field in plate.fields} == {
        (f"{chr(64 + int(row))}{int(column):02d}", f) for column, row, f, _, _ in records
    }
    assert (plate.channels, plate.shape) == (("405", "488"), (8, 12))
    stack = plate.read(plate.fields[0])
    assert stack.shape[1:3] == (len({c for *_, c in records}), len({z for *_, z, _ in records}))
    assert stack.pixel_size == pytest.approx((3.0, 0.325, 0.325))


def test_imagexpress_plates_from_their_outermost_folder(shared_data: Path) -> None:
    outer = shared_data / "plates" / "imagexpress_exported"
    with pytest.raises(SeveralPlatesError, match="9987_Plate_3420, 9987_Plate_3434, 9987_Plate_3435"):
        open_plate(outer)
    plate = open_plate(outer, plate="9987_Plate_3434")
    folder = outer / "9987_Plate_3434" / "TimePoint_1"
    assert (plate.wells, plate.channels) == (("B02", "B03"), ("DAPI", "FITC", "Texas Red"))
    stack = plate.read(plate.by_key["B03/2"])
    assert stack.pixel_size == pytest.approx((3.0, 1.3672, 1.3672))
    for z in (1, 2):  # ZStep_0 holds projections
        for c in (1, 2, 3):
            np.testing.assert_array_equal(
                np.asarray(stack.data[0, c - 1, z - 1]), tifffile.imread(folder / f"ZStep_{z}" / f"9987_B03_s2_w{c}.TIF")
            )
    assert stack.shape[2] == 2
    assert any("projections" in note for note in plate.notes)
    assert any("FITC are copies of a projection" in note for note in plate.notes)
    times = open_plate(outer, plate="9987_Plate_3435")
    assert times.read(times.fields[0]).shape[0] == 2
