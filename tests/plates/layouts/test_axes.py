"""Planes in z, time points, acquisitions, uneven channels, folders and names of files: what becomes of them."""

from __future__ import annotations

import pickle
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

import vendor_plates as written
from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.plates import wells
from napari_virtual_paint.plates.opening import open_plate
from napari_virtual_paint.stack import PixelSize


def put(folder: Path, name: str, value: int) -> None:
    """Write a file of one value."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(file, np.full((4, 5), value, np.uint16))


def values(stack: object) -> list:
    """Return the one value of each plane, (T, C, Z)."""
    return np.asarray(stack.data)[..., 0, 0].tolist()


def harmony(folder: Path, images: list[dict[str, object]]) -> Path:
    """Write an index of images, each of one value, that of its place in the list."""
    entries = []
    for i, image in enumerate(images):
        put(folder, f"{i}.tiff", i)
        place = {"URL": f"{i}.tiff", "Row": 1, "Col": 1, "FieldID": 1, **image}
        entries.append("<Image>" + "".join(f"<{key}>{value}</{key}>" for key, value in place.items()) + "</Image>")
    (folder / "Index.idx.xml").write_text(f"<EvaluationInputData><Images>{''.join(entries)}</Images></EvaluationInputData>")
    return folder


def test_stacks_and_time_series(tmp_path: Path) -> None:
    images = [
        {"TimepointID": t, "ChannelID": c, "PlaneID": z, "PositionZ": f"{(z - 6) * 2e-6}"} for t in (0, 1) for c in (1, 2) for z in (9, 10)
    ]
    plate = open_plate(harmony(tmp_path / "p", images))
    stack = plate.read(plate.fields[0])
    assert values(stack) == [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]
    assert stack.pixel_size == PixelSize(2.0, None, None)


def test_planes_of_brightfield_alone_become_channels_with_their_heights(tmp_path: Path) -> None:
    images = [{"ChannelID": 2, "ChannelName": "Brightfield", "PlaneID": z, "PositionZ": f"{(z - 2) * 4e-6}"} for z in (1, 2, 3)]
    images.append({"ChannelID": 1, "ChannelName": "DNA", "PlaneID": 2, "PositionZ": "0"})
    plate = open_plate(harmony(tmp_path / "p", images))
    assert plate.channels == ("DNA", "Brightfield -4 um", "Brightfield 0 um", "Brightfield +4 um")
    stack = plate.read(plate.fields[0])
    assert values(stack) == [[[3], [0], [1], [2]]]
    assert stack.pixel_size.z is None
    unknown = [{key: value for key, value in image.items() if key != "PositionZ"} for image in images]
    assert open_plate(harmony(tmp_path / "q", unknown)).channels == ("DNA", "Brightfield z1", "Brightfield z2", "Brightfield z3")


def test_acquisitions_of_a_phenix(tmp_path: Path) -> None:
    images = [{"ChannelID": c, "ChannelName": name, "AcquisitionID": a} for c, name, a in ((1, "DNA", 1), (2, "Brightfield", 2))]
    plate = open_plate(harmony(tmp_path / "p", images))
    assert plate.acquisitions == ("1", "2")
    assert [(field.key, plate.read(field).channels) for field in plate.fields] == [("A01/1/1", ("DNA",)), ("A01/1/2", ("Brightfield",))]
    assert plate.notes == ("Its acquisitions have different channels (1: DNA; 2: Brightfield).",)


def test_time_points_and_steps_of_metaxpress(tmp_path: Path) -> None:
    for t in (1, 2):
        for z in (1, 2, 10):
            put(tmp_path / "p", f"TimePoint_{t}/ZStep_{z}/x_C05_w1.TIF", 100 * t + z)
    plate = open_plate(tmp_path / "p")
    assert [field.key for field in plate.fields] == ["C05/1"]
    assert values(plate.read(plate.fields[0])) == [[[101, 102, 110]], [[201, 202, 210]]]
    assert "no description" in plate.notes[0]


def test_folders_a_well_and_globs(tmp_path: Path) -> None:
    for well in ("A01", "B02"):
        for name in ("bf", "dna"):
            put(tmp_path / "p", f"{well}/img_{name}.tif", 1)
    plate = open_plate(tmp_path / "p", pattern="{well}/img_{channel}")
    assert (plate.wells, plate.channels) == (("A01", "B02"), ("bf", "dna"))
    put(tmp_path / "q", "2024/x_A01_s1_w1.tif", 1)
    put(tmp_path / "q", "2024/x_B01_s1_w1.tif", 1)
    assert open_plate(tmp_path / "q").wells == ("A01", "B01")
    assert open_plate(tmp_path / "q" / "*" / "x_A*").wells == ("A01",)
    assert open_plate(tmp_path / "p" / "*" / "*_dna.tif", pattern="{well}/img_{channel}").channels == ("dna",)


def test_files_that_hold_all_channels(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    data = np.arange(2 * 4 * 5, dtype=np.uint16).reshape(2, 4, 5)
    for well in ("A01", "A02"):
        names = {"axes": "CYX", "Channel": {"Name": ["DNA", "ER"]}}
        tifffile.imwrite(folder / f"{well}_1.ome.tif", data, metadata=names)
    plate = open_plate(folder, pattern="{well}_{field}")
    assert plate.channels is None
    stack = plate.read(plate.fields[0])
    assert stack.channels == ("DNA", "ER")
    np.testing.assert_array_equal(np.asarray(stack.data)[0, :, 0], data)
    assert open_plate(folder, pattern="{well}_{field}", channels=["a", "b"]).read(plate.fields[0]).channels == ("a", "b")


def test_a_table_that_was_made_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    put(folder, "Images/a.tif", 1)
    put(folder, "Images/b.tif", 2)
    rows = [
        {"FileName_OrigDNA": name, "PathName_OrigDNA": "/home/someone/plate/Images", "Metadata_Well": well}
        for name, well in (("a.tif", "A1"), ("b.tif", "A2"))
    ]
    written.table_file(folder / "load_data.csv", rows)
    plate = open_plate(folder)
    assert plate.notes == ("Its images are not in /home/someone/plate, as it says; those beside the table are taken.",)
    assert [values(plate.read(field)) for field in plate.fields] == [[[[1]]], [[[2]]]]


def test_metadata_of_a_table(tmp_path: Path) -> None:
    rows = [
        {"path": f"{well}{site}.tif", "well": well, "site": site, "dose": dose, "batch": "b1", "seconds": site}
        for well, dose in (("A1", 0), ("A2", 2.5))
        for site in (1, 2)
    ]
    plate = open_plate(written.table_file(tmp_path / "t.csv", rows))
    assert plate.metadata == {"A01": {"dose": 0.0, "batch": "b1"}, "A02": {"dose": 2.5, "batch": "b1"}}


def test_brightfield_of_jump(tmp_path: Path) -> None:
    """Columns as in cpg0016: three planes of brightfield, stains, illumination functions."""
    channels = ("Brightfield_H", "Brightfield_L", "Brightfield", "DNA")
    rows = [{f"URL_Orig{name}": f"{name}.tif" for name in channels} | {f"URL_Illum{name}": f"{name}.npy" for name in channels}]
    rows[0] |= {"Metadata_ImageResolutionX": "5.98e-07", "Metadata_ImageResolutionY": "5.98e-07", "Count_Cells": "12"}
    rows[0] |= {"Metadata_Source": "source_4", "Metadata_Plate": "BR1", "Metadata_Well": "A01", "Metadata_Site": "1"}
    for i, name in enumerate(channels):
        put(tmp_path, f"{name}.tif", i)
    plate = open_plate(written.table_file(tmp_path / "load_data_with_illum.csv", rows))
    assert (plate.name, plate.layout, plate.channels) == ("BR1", "loaddata", channels)
    assert values(plate.read(plate.fields[0])) == [[[0], [1], [2], [3]]]
    assert plate.read(plate.fields[0]).pixel_size == pytest.approx((None, 0.598, 0.598))
    assert {"Source": "source_4", "Plate": "BR1"}.items() <= plate.metadata["A01"].items()
    assert "Count_Cells" not in plate.columns


places = st.tuples(
    st.integers(0, 31), st.integers(0, 47), st.integers(0, 99), st.sampled_from(["DNA", "ER", "Brightfield -4 um"]), st.integers(0, 12)
)


@given(st.sets(places, min_size=1, max_size=8), st.sampled_from(["{well}_{field}_{channel}_{z}", "{well}/f{field}-{channel}-z{z}"]))
@settings(max_examples=40, deadline=None)
def test_any_place_is_found_by_its_pattern(planes: set[tuple[int, int, int, str, int]], pattern: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for row, column, field, channel, z in planes:
            name = pattern.format(well=wells.well_name(row, column), field=field, channel=channel, z=z)
            file = Path(folder, f"{name}.tif")
            file.parent.mkdir(exist_ok=True)
            file.touch()
        plate = open_plate(folder, pattern=pattern)
    assert {field.key for field in plate.fields} == {f"{wells.well_name(row, column)}/{field}" for row, column, field, _, _ in planes}
    assert {row for row, _ in map(wells.position, plate.wells)} == {row for row, *_ in planes}


@given(st.integers(0, 31), st.integers(0, 47), st.sampled_from(["{r}{c}", "{r}{c:02d}", "{l}-{c}", "r{n:02d}c{c:02d}", " {l}{c} "]))
@settings(max_examples=60, deadline=None)
def test_any_way_of_writing_a_well_in_a_table(row: int, column: int, form: str) -> None:
    letters = wells.row_name(row)
    name = form.format(r=letters, l=letters.lower(), c=column + 1, n=row + 1)
    with tempfile.TemporaryDirectory() as folder:
        plate = open_plate(written.table_file(Path(folder, "t.csv"), [{"Well": name, "Image": "a.tif"}]))
    assert plate.wells == (wells.well_name(row, column),)


def test_the_pixel_size_of_a_file_is_kept_where_the_layout_has_none(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "A01_1_DNA.ome.tif",
        np.zeros((4, 5), np.uint16),
        metadata={"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "µm"},
    )
    plate = open_plate(tmp_path, pattern="{well}_{field}_{channel}")
    assert plate.read(plate.fields[0]).pixel_size == pytest.approx((None, 0.5, 0.5))


def test_the_table_of_a_folder(tmp_path: Path) -> None:
    put(tmp_path, "A01_1_ER.tif", 1)
    rows = [{"file": "A01_1_ER.tif", "Well": "B02", "stain": "DNA"}]
    written.table_file(tmp_path / "images.csv", rows)
    written.table_file(tmp_path / "map.csv", [{"well": "B02", "dose": 1}])
    plate = open_plate(tmp_path)
    assert (plate.layout, plate.wells, plate.channels) == ("table", ("B02",), ("DNA",))
    written.table_file(tmp_path / "other.csv", rows)
    assert open_plate(tmp_path).layout == "pattern"
    with pytest.raises(ReadError, match=r"no table of images .* or several"):
        open_plate(tmp_path, layout="table")


def test_a_table_of_cellprofiler_as_it_is(shared_data: Path) -> None:
    """Image.csv of a JUMP plate: hundreds of columns of measurements, images that are elsewhere."""
    plate = open_plate(shared_data / "wide_profiles" / "Image.csv")
    assert (plate.name, plate.layout, plate.wells) == ("BR00116991", "loaddata", ("A01",))
    assert plate.channels is not None
    assert {"DNA", "ER", "RNA", "AGP", "Mito", "Brightfield", "HighZBF", "LowZBF"} == set(plate.channels)
    assert not any(name.startswith(("Texture", "Granularity", "Count")) for name in plate.columns)
    with pytest.raises(ReadError, match=r"r01c01f01p01-ch\dsk1fk1fl1.tiff: there is no such file"):
        plate.read(plate.fields[0])


def test_real_files_of_an_arrayscan(shared_data: Path) -> None:
    plate = open_plate(shared_data / "example_human")
    assert [field.key for field in plate.fields] == ["D03/0"]
    assert plate.channels == ("0", "1", "2")
    assert plate.read(plate.fields[0]).shape == (1, 3, 1, 512, 512)


def test_frames_and_series_of_a_loaddata_table(tmp_path: Path) -> None:
    """CellProfiler counts the pages of a file: in an ImageJ hyperstack channels change first, then planes, then time points."""
    put(tmp_path, "other.tif", 7)
    pages = np.arange(2 * 2 * 3).reshape(2, 2, 3)[..., None, None] * np.ones((4, 5))  # T, Z, C
    tifffile.imwrite(tmp_path / "hyper.tif", pages.astype(np.uint16), imagej=True, metadata={"axes": "TZCYX"})
    tifffile.imwrite(tmp_path / "pages.tif", np.stack([np.full((4, 5), i, np.uint16) for i in range(6)]), metadata=None)
    ome = np.arange(2 * 3).reshape(2, 3)[..., None, None] * np.ones((4, 5))  # C, Z
    with tifffile.TiffWriter(tmp_path / "series.ome.tif") as tif:
        for offset in (0, 100):
            tif.write((ome + offset).astype(np.uint16), metadata={"axes": "CZYX"})
    for name, frames, series, expected in (
        ("hyper.tif", (0, 4, 11), (0, 0, 0), [0, 4, 11]),
        ("pages.tif", (5, 0, 3), ("", "", ""), [5, 0, 3]),
        ("series.ome.tif", (0, 4, 2), (0, 0, 1), [0, 4, 102]),
    ):
        row: dict[str, object] = {"Metadata_Well": "A01"}
        for channel, frame, own in zip(("BF", "DNA", "ER"), frames, series, strict=True):
            row |= {f"FileName_Orig{channel}": name, f"Frame_Orig{channel}": frame, f"Series_Orig{channel}": own}
        row["FileName_OrigRNA"] = "other.tif"
        plate = open_plate(written.table_file(tmp_path / f"{name}.csv", [row]))
        stack = plate.read(plate.fields[0])
        assert stack.channels == ("BF", "DNA", "ER", "RNA")
        assert values(stack) == [[[value] for value in (*expected, 7)]]
        again = pickle.loads(pickle.dumps(plate)).read(plate.fields[0])
        assert values(again) == values(stack)
    wrong = {"Metadata_Well": "A01", "FileName_OrigDNA": "pages.tif", "Frame_OrigDNA": "6"}
    plate = open_plate(written.table_file(tmp_path / "wrong.csv", [wrong]))
    with pytest.raises(ReadError, match=r"pages\.tif: it has no frame 6: its 6 planes count from 0"):
        plate.read(plate.fields[0])
    with pytest.raises(ReadError, match="line 2 has the frame or series '-1'"):
        open_plate(written.table_file(tmp_path / "wrong.csv", [{**wrong, "Frame_OrigDNA": "-1"}]))


def test_projections_of_metaxpress_are_no_planes(tmp_path: Path) -> None:
    """As transferred, projections lie above the folders of z-steps; as exported, in ZStep_0. A channel may be a projection alone."""
    for z in (1, 2):
        put(tmp_path / "p", f"ZStep_{z}/x_A01_w1.tif", z)
    for name, value in (("x_A01_w1", 9), ("x_A01_w2", 8)):
        put(tmp_path / "p", f"{name}.tif", value)
        put(tmp_path / "q", f"TimePoint_1/ZStep_0/{name}.tif", value)
    for z in (1, 2):
        put(tmp_path / "q", f"TimePoint_1/ZStep_{z}/x_A01_w1.tif", z)
    for folder in ("p", "q"):
        (tmp_path / folder / "x.HTD").write_text(
            '"HTSInfoFile", Version 1.0\n"XWells", 12\n"YWells", 8\n"WaveName1", "DAPI"\n"WaveName2", "FITC"\n'
        )
        plate = open_plate(tmp_path / folder)
        assert plate.channels == ("DAPI z1", "DAPI z2", "FITC")
        assert values(plate.read(plate.fields[0])) == [[[1], [2], [8]]]
        assert "1 of its images are projections of z-planes and are left out." in plate.notes


def test_projections_in_a_table_are_no_planes(tmp_path: Path) -> None:
    rows = [{"path": f"{z}.tif", "well": "A1", "channel": "DNA", "z": z} for z in ("1", "2", "MIP")]
    for i, row in enumerate(rows):
        put(tmp_path, row["path"], i)
    plate = open_plate(written.table_file(tmp_path / "t.csv", rows))
    assert values(plate.read(plate.fields[0])) == [[[0, 1]]]


def test_the_case_of_frames(shared_data: Path) -> None:
    case = shared_data.parent / "cases" / "loaddata_frames"
    if not case.is_dir():
        pytest.skip("needs ../shared/cases")
    plate = open_plate(case)
    for field in plate.fields:
        stack = plate.read(field)
        pages = tifffile.imread(case / f"{field.well}_s1.tif")
        assert (stack.channels, stack.shape) == (("BF", "DNA"), (1, 2, 1, 8, 9))
        np.testing.assert_array_equal(np.asarray(stack.data)[0, :, 0], pages)
