"""Folders, globs and lists of files that are one image."""

from __future__ import annotations

import pickle
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.reading import can_read, read, scenes
from napari_virtual_paint.reading.filename_patterns import compile_pattern, guess, match_all, natural
from napari_virtual_paint.stack import PixelSize

# One line a way of naming: two names, what they tell.
NAMES = [
    (("r02c03f01p05-ch1sk1fk1fl1", "r02c03f01p05-ch2sk1fk1fl1"), {"well": "r02c03", "field": "01", "z": "05", "channel": "1", "t": "1"}),
    (
        ("plate_A01_T0001F002L01A01Z03C01", "plate_A01_T0001F002L01A01Z03C02"),
        {"well": "A01", "field": "002", "z": "03", "channel": "01", "t": "0001"},
    ),
    (("exp_B02_s1_w1", "exp_B02_s1_w2"), {"well": "B02", "field": "1", "channel": "1"}),
    (
        ("exp_B02_s1_w1A1B2C3D4-0000-0000-0000-000000000000", "exp_B02_s1_w2A1B2C3D4-0000-0000-0000-000000000001"),
        {"well": "B02", "field": "1", "channel": "1"},
    ),
    (("A - 01(fld 1 wv DAPI - DAPI)", "A - 01(fld 1 wv Cy3 - Cy3)"), {"well": "A - 01", "field": "1", "channel": "DAPI - DAPI"}),
    (("AS_09125_050116030001_D03f00d0", "AS_09125_050116030001_D03f00d1"), {"well": "D03", "field": "00", "channel": "0"}),
    (
        ("img_channel000_position001_time000000002_z003", "img_channel001_position001_time000000002_z003"),
        {"channel": "000", "field": "001", "t": "000000002", "z": "003"},
    ),
    (("img_000000000_DAPI_002", "img_000000000_GFP_002"), {"t": "000000000", "channel": "DAPI", "z": "002"}),
    (("C03_1_DNA_2", "C03_1_ER_2"), {"well": "C03", "field": "1", "channel": "DNA", "z": "2"}),
    (("C03_DNA", "C03_ER"), {"well": "C03", "channel": "DNA"}),
    (("exp_t02_z01_ch00", "exp_t02_z01_ch01"), {"t": "02", "z": "01", "channel": "00"}),
    (("cells-z1", "cells-z2"), {"z": "1"}),
    (("s_C001Z002T003", "s_C002Z002T003"), {"channel": "001", "z": "002", "t": "003"}),
    (("scan_xy1c1", "scan_xy1c2"), {"field": "1", "channel": "1"}),
    (("cell_dna_a", "cell_actin_a"), {"channel": "dna"}),
    (("brightfield", "DNA"), {"channel": "brightfield"}),
]


@pytest.mark.parametrize(("names", "expected"), NAMES, ids=[names[0] for names, _ in NAMES])
def test_ways_of_naming(names: tuple[str, str], expected: dict) -> None:
    places = guess(names)
    assert places is not None
    assert places[0] == expected
    assert places[0] != places[1]


@pytest.mark.parametrize("names", [("img_1", "img_2"), ("001", "002"), ("a_1_x", "b_2_x"), ("run 1 cell", "run 2 cell")], ids=str)
def test_names_that_do_not_tell(names: tuple[str, str]) -> None:
    assert guess(names) is None


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("{well}_{field}_{channel}_{z}", "B02_3_DNA_-4.5", {"well": "B02", "field": "3", "channel": "DNA", "z": "-4.5"}),
        ("{well}{field}", "B02103", {"well": "B021", "field": "03"}),
        ("{}_{channel}", "any_thing_DNA", {"channel": "thing_DNA"}),
        ("{site}-{time}", "3-7", {"field": "3", "t": "7"}),
        ("{well}/{well}_{channel}", "B02/B02_DNA", {"well": "B02", "channel": "DNA"}),
        ("{well}/{well}_{channel}", "B02/B03_DNA", None),
        ("a.b{z}", "axb1", None),
    ],
)
def test_patterns(pattern: str, name: str, expected: dict | None) -> None:
    assert match_all([name], compile_pattern(pattern)) == [expected]


@pytest.mark.parametrize("pattern", ["{row}_{z}", "nothing", "{}"])
def test_patterns_that_name_nothing_known(pattern: str) -> None:
    with pytest.raises(ReadError, match=r"\{well\}"):
        compile_pattern(pattern)


def test_natural_order() -> None:
    assert sorted(["z10", "z2", "Z1"], key=natural) == ["Z1", "z2", "z10"]
    assert sorted(["4", "-4", "0", "10"], key=natural) == ["-4", "0", "4", "10"]


def plane(value: int) -> np.ndarray:
    return np.full((8, 10), value, np.uint16)


def fill(folder: Path, names: list[str], suffix: str = ".tif") -> None:
    """Write a plane a name; the value of its pixels is its place in the list."""
    for value, name in enumerate(names):
        file = folder / f"{name}{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        iio.imwrite(file, plane(value)) if suffix == ".png" else tifffile.imwrite(file, plane(value))


def values(stack) -> list:
    return np.asarray(stack.data)[..., 0, 0].tolist()


def test_channels_and_planes_of_a_folder(tmp_path: Path) -> None:
    fill(tmp_path, [f"C03_1_{channel}_{z}" for channel in ("ER", "DNA") for z in (1, 2, 10)])
    stack = read(tmp_path)
    assert stack.channels == ("DNA", "ER")
    assert values(stack) == [[[3, 4, 5], [0, 1, 2]]]
    assert stack.source == str(tmp_path)
    assert can_read(tmp_path)


def test_time_points_of_pngs(tmp_path: Path) -> None:
    fill(tmp_path, [f"exp_t{t}_c{c}" for t in (0, 1, 2) for c in (1, 2)], ".png")
    stack = read(tmp_path)
    assert values(stack) == [[[0], [1]], [[2], [3]], [[4], [5]]]
    assert stack.channels is None


def test_glob_and_list(tmp_path: Path) -> None:
    fill(tmp_path, ["a_dna", "a_er", "b_dna", "b_er"])
    assert values(read(str(tmp_path / "a_*.tif"))) == [[[0], [1]]]
    assert values(read([tmp_path / "b_er.tif", str(tmp_path / "a_dna.tif")], pattern="{}_{channel}")) == [[[1 - 1], [3]]]
    assert values(read([tmp_path / "b_er.tif"])) == [[[3]]]
    with pytest.raises(ReadError, match=r"matches no image"):
        read(str(tmp_path / "c_*.tif"))
    with pytest.raises(ReadError, match=r"absent\.tif: there is no such file"):
        read([tmp_path / "a_er.tif", tmp_path / "absent.tif"])


def test_wells_and_fields_are_chosen(tmp_path: Path) -> None:
    fill(tmp_path, [f"{well}_{field}_{channel}" for well in ("A01", "B02") for field in (1, 2) for channel in ("DNA", "ER")])
    assert scenes(tmp_path) == ["A01/1", "A01/2", "B02/1", "B02/2"]
    with pytest.raises(ReadError, match=r"4 wells or fields \(A01/1, A01/2, B02/1, B02/2\); choose one with scene='A01/1'"):
        read(tmp_path)
    assert values(read(tmp_path, scene="B02/1")) == [[[4], [5]]]
    assert values(read(tmp_path, scene=1)) == [[[2], [3]]]
    assert values(read(str(tmp_path / "B02_2_*"))) == [[[6], [7]]]
    for wrong in ("C01/1", 4, "9"):
        with pytest.raises(ReadError, match="no scene"):
            read(tmp_path, scene=wrong)


def test_a_pattern_across_folders(tmp_path: Path) -> None:
    fill(tmp_path, [f"{well}/z{z}_{channel}" for well in ("A01", "A02") for z in (1, 2) for channel in ("DNA", "ER")])
    pattern = "{well}/z{z}_{channel}"
    assert scenes(tmp_path, pattern=pattern) == ["A01", "A02"]
    assert values(read(tmp_path, pattern=pattern, scene="A02")) == [[[4, 6], [5, 7]]]


def test_a_pattern_passes_over_what_does_not_follow_it(tmp_path: Path) -> None:
    fill(tmp_path, ["DNA_1", "DNA_2", "overview"])
    assert values(read(tmp_path, pattern="{channel}_{z}")) == [[[0, 1]]]
    with pytest.raises(ReadError, match="none of its 3 images"):
        read(tmp_path, pattern="{well}-{z}")


def test_names_and_sizes_inside_the_files_survive(tmp_path: Path) -> None:
    for c, name in ((1, "DNA"), (2, "ER")):
        metadata = {"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2, "Channel": {"Name": name}}
        tifffile.imwrite(tmp_path / f"exp_ch{c}.ome.tif", np.stack([plane(c), plane(c + 10)]), metadata=metadata)
    stack = read(tmp_path)
    assert stack.channels == ("DNA", "ER")
    assert stack.pixel_size == PixelSize(2, 0.5, 0.5)
    assert values(stack) == [[[1, 11], [2, 12]]]
    assert values(stack)[0] == np.asarray(pickle.loads(pickle.dumps(stack.data)))[0, ..., 0, 0].tolist()


def test_one_image_in_a_folder_is_that_image(tmp_path: Path) -> None:
    fill(tmp_path, ["only"])
    (tmp_path / "notes.txt").write_text("kept beside")
    assert values(read(tmp_path)) == [[[0]]]
    assert scenes(tmp_path) == scenes(tmp_path / "only.tif")


def test_a_missing_plane_is_named(tmp_path: Path) -> None:
    fill(tmp_path, ["a_c1_z1", "a_c1_z2", "a_c2_z1"])
    with pytest.raises(ReadError, match="no file for channel 2, z 2"):
        read(tmp_path)


def test_files_that_are_no_one_image(tmp_path: Path) -> None:
    fill(tmp_path, ["DNA"])
    tifffile.imwrite(tmp_path / "ER.tif", plane(1)[:5])
    with pytest.raises(ReadError, match="not one image"):
        read(tmp_path)


def test_the_same_plane_twice(tmp_path: Path) -> None:
    fill(tmp_path, ["a_c1", "b_c1"])
    with pytest.raises(ReadError, match=r"'a_c1\.tif' and 'b_c1\.tif' are the same plane"):
        read(tmp_path, pattern="{}_c{channel}")


def test_colour_pictures_are_no_channels(tmp_path: Path) -> None:
    for name in ("DNA", "ER"):
        iio.imwrite(tmp_path / f"{name}.png", np.zeros((8, 10, 3), np.uint8))
    with pytest.raises(ReadError, match="color picture"):
        read(tmp_path)


def test_names_that_tell_nothing_ask_for_a_pattern(tmp_path: Path) -> None:
    fill(tmp_path, ["img_1", "img_2"])
    with pytest.raises(ReadError, match=r"give a pattern such as '\{well\}_\{field\}_\{channel\}_\{z\}'"):
        read(tmp_path)
    assert values(read(tmp_path, pattern="img_{z}")) == [[[0, 1]]]


def test_a_folder_without_images(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing to see")
    assert not can_read(tmp_path)
    with pytest.raises(ReadError, match="has no image in it"):
        read(tmp_path)
    with pytest.raises(ReadError, match="has no image in it"):
        scenes(tmp_path)


def test_a_damaged_file_among_many_shows_when_its_plane_is_asked_for(tmp_path: Path) -> None:
    fill(tmp_path, [f"a_z{z:03}" for z in range(70)])
    (tmp_path / "a_z069.tif").write_bytes(b"not an image")
    stack = read(tmp_path)
    assert stack.data[0, 0, 68, 0, 0].compute() == 68
    with pytest.raises(ReadError, match=r"a_z069\.tif"):
        stack.data[0, 0, 69].compute()


def test_example_human(shared_data: Path) -> None:
    stack = read(shared_data / "example_human")
    assert stack.shape == (1, 3, 1, 512, 512)
    for i in range(3):
        expected = tifffile.imread(shared_data / "example_human" / f"AS_09125_050116030001_D03f00d{i}.tif")
        assert np.array_equal(np.asarray(stack.data[0, i, 0]), expected)


@pytest.mark.parametrize(
    ("name", "expected"), [("a.tif", True), ("a.OME.TIFF", True), ("a.nd2", True), ("a.png", True), ("a.txt", False), ("a.h5", False)]
)
def test_can_read_judges_by_the_name(name: str, expected: bool) -> None:
    assert can_read(name) is expected
    assert can_read([name, "b.tif"]) is expected
