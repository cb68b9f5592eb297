"""Names that instruments give: each written out in full for two wells, and what must be found in them."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_virtual_paint.plates.opening import open_plate
from napari_virtual_paint.plates.wells import canonical
from napari_virtual_paint.reading import read
from napari_virtual_paint.reading.filename_patterns import guess

GUID = "5b71ae91-75e6-426c-8b41-71a5693784e3"

# Template; the words of wells, fields and channels in the names; the plate's wells, fields a well, and channels.
SETS: dict[str, tuple[str, list[str], list[str], list[str], list[str], list[str]]] = {
    "ImageXpress": (f"p_{{w}}_s{{f}}_w{{c}}{GUID}", ["A01", "B12"], ["1", "2"], ["1", "2"], ["A01", "B12"], ["1", "2"]),
    "ImageXpress, one channel": (f"ABCD_{{w}}_s{{f}}{GUID}", ["A01", "B12"], ["1", "2"], [""], ["A01", "B12"], []),
    "ImageXpress, one site": (f"ABCD_{{w}}_w{{c}}{GUID}", ["A01", "B12"], ["0"], ["1", "2"], ["A01", "B12"], ["1", "2"]),
    "Opera Phenix, capitals": ("{w}F{f}P01-CH{c}SK1FK1FL1", ["R01C01", "R02C03"], ["01", "02"], ["1", "2"], ["A01", "B03"], ["1", "2"]),
    "quadrants": ("p_{w}_{f}_w{c}", ["A01", "B02"], ["Q1_s1", "Q2_s1"], ["1", "2"], ["A01", "B02"], ["1", "2"]),
    "quadrants alone": ("p_{w}_{f}_{c}", ["A01", "B02"], ["Q1", "Q4"], ["DAPI", "GFP"], ["A01", "B02"], ["DAPI", "GFP"]),
    "rows beyond P": ("{w}_s{f}_w{c}", ["AA02", "AF48"], ["1", "2"], ["1", "2"], ["AA02", "AF48"], ["1", "2"]),
    "small letters": ("{w}_s{f}_w{c}", ["a01", "h12"], ["1", "2"], ["1", "2"], ["A01", "H12"], ["1", "2"]),
    "IN Cell": (
        "{w}(fld {f} wv {c})",
        ["A - 01", "AA - 02"],
        ["1", "2"],
        ["UV - DAPI", "Blue - FITC"],
        ["A01", "AA02"],
        ["Blue - FITC", "UV - DAPI"],
    ),
    "IN Cell 7.2": (
        "{w}_f{f}_{c}_z0_t0",
        ["A_01", "B_02"],
        ["1", "2"],
        ["c1_xUV_mDAPI", "c2_xBlue_mFITC"],
        ["A01", "B02"],
        ["DAPI", "FITC"],
    ),
    "CV8000": ("p_{w}_T0001F{f}L01A01Z01C{c}", ["A01", "P24"], ["001", "002"], ["01", "02"], ["A01", "P24"], ["01", "02"]),
    "CV8000, 1536": ("p_{w}_T0001F{f}L01A01Z01C{c}", ["A01.a1", "B03.d4"], ["001", "002"], ["01", "02"], ["A01", "H12"], ["01", "02"]),
    "CQ1": ("W{w}F{f}T0001Z001C{c}", ["0001", "0097"], ["0001", "0002"], ["1", "2"], ["A01", "E01"], ["1", "2"]),
    "Cellomics": ("AS_09_{w}f{f}d{c}", ["D03", "E04"], ["00", "01"], ["0", "1"], ["D03", "E04"], ["0", "1"]),
    "EVOS": ("scan_R_p1_z1_0_{w}f{f}d{c}", ["E01", "F02"], ["01", "02"], ["0", "1"], ["E01", "F02"], ["0", "1"]),
    "ScanR": ("{w}--W00097--P{f}--Z00000--T00000--{c}", ["E1", "F1"], ["00001", "00002"], ["DAPI", "GFP"], ["E01", "F01"], ["DAPI", "GFP"]),
    "Cytation": ("{w}_01_{c}_001", ["A1", "H12"], ["1", "2"], ["1_{f}_DAPI", "2_{f}_Texas Red"], ["A01", "H12"], ["DAPI", "Texas Red"]),
    "Matrix Screener": (
        "image--L00--S00--{w}--J20--E00--O00--X{f}--Y00--T00--Z00--C{c}",
        ["U00--V00", "U02--V01"],
        ["00", "01"],
        ["00", "01"],
        ["A01", "B03"],
        ["00", "01"],
    ),
    "Nikon JOBS": (
        "Well{w}_Point{w}_{f}_Channel{c}_Seq0000",
        ["A01", "B02"],
        ["0000", "0001"],
        ["DAPI", "GFP"],
        ["A01", "B02"],
        ["DAPI", "GFP"],
    ),
    "Nikon": ("{w}xy{f}c{c}", ["E01", "E02"], ["01", "02"], ["1", "2"], ["E01", "E02"], ["1", "2"]),
    "Incucyte": ("{c}_{w}_{f}_2023y01m31d_10h00m", ["A1", "B12"], ["1", "2"], ["Phase", "Green"], ["A01", "B12"], ["Phase", "Green"]),
    "BD Pathway": ("Well {w}/{c} - n{f}", ["A01", "B02"], ["000000", "000001"], ["Dapi", "FITC"], ["A01", "B02"], ["Dapi", "FITC"]),
    "Micro-Manager": ("{w}-Site_{f}/img_000000000_{c}_000", ["A1", "B2"], ["0", "1"], ["DAPI", "GFP"], ["A01", "B02"], ["DAPI", "GFP"]),
    "LAS X": ("{w}/Series{f}_z00_ch{c}", ["E01", "E02"], ["001", "002"], ["00", "01"], ["E01", "E02"], ["00", "01"]),
    "Operetta": ("{w}-{f}-001001{c}", ["001003", "002003"], ["1", "2"], ["001", "002"], ["A03", "B03"], ["001", "002"]),
    "CellProfiler": ("Channel{c}-01-{w}", ["A-01", "B-02"], ["0"], ["1", "2"], ["A01", "B02"], ["1", "2"]),
    "a file a channel": ("{c}_{w}_{f}", ["A01", "B01"], ["1", "2"], ["dapi", "gfp"], ["A01", "B01"], ["dapi", "gfp"]),
    "words": ("2024-05-01-exp-{w}-{f}-{c}", ["A01", "B01"], ["1", "2"], ["DAPI", "Alexa 568"], ["A01", "B01"], ["DAPI", "Alexa 568"]),
    "words and tokens": ("toxo-plate1__{w}__site{f}__{c}", ["E01", "F01"], ["01", "02"], ["DAPI", "GFP"], ["E01", "F01"], ["DAPI", "GFP"]),
    "a folder a well": ("{w}/fov{f}_ch{c}", ["E01", "E02"], ["01", "02"], ["1", "2"], ["E01", "E02"], ["1", "2"]),
    "folders of wells and fields": ("{w}/site{f}/{c}", ["E01", "E02"], ["1", "2"], ["DAPI", "ER"], ["E01", "E02"], ["DAPI", "ER"]),
}


@pytest.mark.parametrize(("template", "wells", "fields", "channels", "there", "stains"), SETS.values(), ids=SETS)
def test_a_plate_by_the_names_of_its_instrument(
    tmp_path: Path, template: str, wells: list[str], fields: list[str], channels: list[str], there: list[str], stains: list[str]
) -> None:
    for value, (well, field, channel) in enumerate(product(wells, fields, channels)):
        file = tmp_path / "plate" / f"{template.format(w=well, f=field, c=channel.format(f=field))}.tif"
        file.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(file, np.full((3, 4), value, np.uint16))
    plate = open_plate(tmp_path / "plate")
    assert plate.wells == tuple(there)
    assert len(plate.fields) == len(wells) * len(fields)
    assert plate.channels == (tuple(stains) or None)
    for i, field in enumerate(plate.fields):
        values = sorted(np.asarray(plate.read(field).data)[0, :, 0, 0, 0].tolist())
        assert values == list(range(i * len(channels), (i + 1) * len(channels)))


def test_a_channel_that_a_file_lacks_is_not_taken_from_another_place() -> None:
    """Numbers after c, f, s ... in small letters are no wells; capital C1 of ImageJ's split channels is none."""
    assert guess(["C1-cells", "C2-cells"]) == [{"channel": "1"}, {"channel": "2"}]
    assert guess(["img_c01_t01", "img_c02_t01"]) == [{"channel": "01", "t": "01"}, {"channel": "02", "t": "01"}]
    assert guess(["x_c01_s1", "x_c02_s1"]) == [{"channel": "01", "field": "1"}, {"channel": "02", "field": "1"}]


def test_a_prefix_that_differs_is_the_channel_and_all_channels_in_one_file_are_none() -> None:
    assert guess(["VID7_A1_1_00d01h00m", "VID7_B1_1_00d01h00m"]) == [{"well": f"{row}1", "field": "1", "t": "00d01h00m"} for row in "AB"]
    assert guess(["WellA01_PointA01_0000_ChannelDAPI,GFP_Seq0", "WellA02_PointA02_0000_ChannelDAPI,GFP_Seq1"]) == [
        {"well": "A01", "field": "0000"},
        {"well": "A02", "field": "0000"},
    ]


@pytest.mark.parametrize("name", ["A01_s1_DAPI_{}", "W0001F0001T0001{}C1"])
def test_a_projection_is_no_plane(tmp_path: Path, name: str) -> None:
    """A CQ1 counts planes from 1 and gives projections the number 0; others call them MIP."""
    depths = ["Z001", "Z002", "Z000"] if name.startswith("W") else ["z1", "z2", "MIP"]
    for value, z in enumerate(depths):
        tifffile.imwrite(tmp_path / f"{name.format(z)}.tif", np.full((3, 4), value, np.uint16))
    plate = open_plate(tmp_path)
    assert np.asarray(plate.read(plate.fields[0]).data)[0, 0, :, 0, 0].tolist() == [0, 1]
    assert plate.notes[-1] == "1 of its images are projections of z-planes and are left out."
    assert np.asarray(read(tmp_path).data)[0, 0, :, 0, 0].tolist() == [0, 1]
    for z in depths[:2]:
        (tmp_path / f"{name.format(z)}.tif").unlink()
    for value, path in enumerate(
        (
            tmp_path / f"{name.format(depths[2])}.tif",
            tmp_path / f"{name.replace('A01', 'A02').replace('W0001', 'W0002')}.tif".replace("{}", depths[2]),
        )
    ):
        tifffile.imwrite(path, np.full((3, 4), value, np.uint16))
    alone = open_plate(tmp_path)
    assert [alone.read(field).shape[2] for field in alone.fields] == [1, 1]


def test_files_that_follow_no_pattern_are_left_out_with_a_note(tmp_path: Path) -> None:
    for i, name in enumerate(
        ["p_A01_T0001F001L01A01Z01C01", "p_A02_T0001F001L01A01Z01C01", "p_A03_T0001F001L01A01Z01C01", "SC_BP445-45_20x v2_M01_CH01"]
    ):
        tifffile.imwrite(tmp_path / f"{name}.tif", np.full((3, 4), i, np.uint16))
    plate = open_plate(tmp_path)
    assert plate.wells == ("A01", "A02", "A03")
    assert "1 of its images are left out" in plate.notes[0]
    assert "SC_BP445" in plate.notes[0]


def test_parts_of_wells() -> None:
    names = [
        f"{row}{column}.{letter}{number}" for row in "ABCDEFGH" for column in range(1, 13) for letter in "abcd" for number in range(1, 5)
    ]
    assert len({canonical(name) for name in names}) == 1536
    assert [canonical(name) for name in ("A01.a1", "A01.d4", "h12.D4", "B03.a2")] == ["A01", "D04", "AF48", "E10"]


def test_the_cases_of_names(shared_data: Path) -> None:
    cases = shared_data.parent / "cases" / "names_of_plates"
    if not cases.is_dir():
        pytest.skip("needs ../shared/cases")
    found = {folder.name: open_plate(folder) for folder in cases.iterdir() if folder.is_dir()}
    assert found["incell72"].wells == ("A01", "B02")
    assert found["incell72"].channels == ("DAPI", "FITC")
    assert found["rows_beyond_p"].wells == ("B03", "AA02")
    assert found["md_one_channel"].wells == ("A01", "B12")
    for plate in found.values():
        assert len(plate.fields) == 4
