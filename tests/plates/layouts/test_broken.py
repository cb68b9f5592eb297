"""Plates that are damaged, hostile, incomplete or of another kind: one sentence that names the file, at opening or when a field is read."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

import vendor_plates as written
from napari_virtual_paint.errors import InputError, ReadError
from napari_virtual_paint.plates.opening import open_plate

INDICES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "opera-phenix": (written.phenix, "Images/Index.xml"),
    "yokogawa": (written.yokogawa, "MeasurementData.mlf"),
    "incarta": (written.incarta, "P1.xdce"),
}
IMAGES = {"opera-phenix": "Images/*ch2*", "yokogawa": "*C02.tif", "imagexpress": "*/*_w2[0-9]*", "incarta": "*0 um - *"}
WRITERS: dict[str, Callable[[Path], Path]] = {name: write for name, (write, _) in INDICES.items()} | {"imagexpress": written.imagexpress}


def fails(path: Path, words: str, **options: str) -> None:
    """Check that a plate does not open and that the sentence says why and names the plate."""
    with pytest.raises(InputError, match=words) as caught:
        open_plate(path, **options)
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("write", "name"), INDICES.values(), ids=INDICES)
@pytest.mark.parametrize("damage", ["cut", "empty", "doctype", "other", "hostile", "row"])
def test_indices(tmp_path: Path, write: Callable[[Path], Path], name: str, damage: str) -> None:
    folder = write(tmp_path / "plate")
    index = folder / name
    text = index.read_text(encoding="latin-1")
    begin = text.index("?>\n") + 3 if "?>\n" in text else 0
    bomb = '<!DOCTYPE x [<!ENTITY a "boom"><!ENTITY b "&a;&a;&a;&a;">]>'
    image = next(line for line in ("r01c01f01p01-ch1sk1fk1fl1.tiff", "P1_A01_T0001F001L01A01Z01C01.tif", "A - 01(fld 1 wv") if line in text)
    rows = {"opera-phenix": ("<Row>1<", "<Row>0<"), "yokogawa": ('bts:Row="1"', 'bts:Row="x"'), "incarta": ('number="1"', 'number="9999"')}
    layout = next(key for key, (_, file) in INDICES.items() if file == name)
    changed, words = {
        "cut": (text[: len(text) // 2], "damaged or was cut off"),
        "empty": ("", "damaged or was cut off"),
        "doctype": (text[:begin] + bomb + text[begin:], "document type"),
        "other": ("<html><body/></html>", "lists no image"),
        "hostile": (text.replace(image, "../../etc/passwd/" + image, 1), "points out of its folder"),
        "row": (text.replace(*rows[layout], 1), "no well"),
    }[damage]
    index.write_text(changed, encoding="latin-1")
    fails(folder, words)


@pytest.mark.parametrize("layout", WRITERS)
@pytest.mark.parametrize("damage", ["gone", "cut", "other size"])
def test_a_damaged_image_is_found_when_its_field_is_read(tmp_path: Path, layout: str, damage: str) -> None:
    folder = WRITERS[layout](tmp_path / "plate")
    image = min(folder.glob(IMAGES[layout]))
    plate = open_plate(folder) if damage == "gone" else None
    if damage == "gone":
        image.unlink()
    elif damage == "cut":
        image.write_bytes(image.read_bytes()[:60])
    else:
        tifffile.imwrite(image, np.zeros((3, 3), np.uint16))
    plate = plate or open_plate(folder)
    with pytest.raises(ReadError) as caught:
        plate.read(plate.by_key["A01/1"]).data.compute()
    assert image.name in str(caught.value)
    np.testing.assert_array_equal(np.asarray(plate.read(plate.by_key["B03/2"]).data), written.truth("B03", 2))


@pytest.mark.parametrize("layout", ["yokogawa", "incarta", "opera-phenix", "imagexpress", "loaddata"])
def test_a_plate_of_another_kind(tmp_path: Path, layout: str) -> None:
    folder = written.pattern(tmp_path / "plate")
    words = {"imagexpress": "named as MetaXpress", "loaddata": "no LoadData table"}.get(layout, "no .xdce or .jdce|is missing|no Index")
    fails(folder, words, layout=layout)


def test_what_is_no_plate(tmp_path: Path) -> None:
    (tmp_path / "notes.docx").write_bytes(b"PK")
    fails(tmp_path / "notes.docx", "no plate: give a folder")
    with zipfile.ZipFile(tmp_path / "plate.ozx", "w") as archive:
        archive.writestr(".zattrs", "{}")
    fails(tmp_path / "plate.ozx", "it is a zipped Zarr, of which single images are read, no plate; unpack it")
    tifffile.imwrite(tmp_path / "image.tif", np.zeros((3, 3), np.uint8))
    fails(tmp_path / "image.tif", "it is a TIFF image, no plate: give a folder")
    for name in ("image.tif", "plate.ozx"):
        (tmp_path / name).unlink()
    fails(tmp_path, "has no image in it")
    fails(tmp_path / "none_*.tif", "matches no image")
    written.write(tmp_path / "plain", "cell_a.tif", "A01", 1, 0)
    written.write(tmp_path / "plain", "cell_b.tif", "A01", 1, 1)
    fails(tmp_path / "plain", "have no well")
    fails(tmp_path / "plain", "none of its 2 images", pattern="{well}-{field}")
    fails(tmp_path / "plain", "has the well 'cell', which is none", pattern="{well}_{channel}")
    with pytest.raises(InputError, match=r"\{plate\} is unknown"):
        open_plate(tmp_path / "plain", pattern="{plate}_{well}")


def test_two_files_of_one_plane(tmp_path: Path) -> None:
    for name in ("A01_1_DNA", "A1_1_DNA"):
        written.write(tmp_path / "p", f"{name}.tif", "A01", 1, 0)
    fails(tmp_path / "p", "is the same plane as")


TABLES = {
    "empty": ("", "is empty"),
    "header alone": ("well,path\n", "without rows"),
    "ragged": ("well,path\nA1,a.tif\nA2\n", "line 3 has 1 cells and its header 2"),
    "no paths": ("well,channel\nA1,DNA\n", "no column of the images' paths"),
    "no wells": ("path,channel\na.tif,DNA\n", "no column of wells"),
    "no well": ("path,well\na.tif,A1\nb.tif,nowhere\n", "line 3 has the well 'nowhere'"),
    "an empty well": ("path,well\na.tif,\n", "line 2 has the well ''"),
    "twice": ("path,well\na.tif,A1\na.tif,a01\n", "is listed twice"),
    "one plane": ("path,well\na.tif,A1\nb.tif,a01\n", "is the same plane as"),
    "no image at all": ("path,well\n,A1\n", "no field of view"),
    "two plates": ("path,well,plate\na.tif,A1,P1\nb.tif,A1,P2\n", r"2 plates \(P1, P2\)"),
    "binary": ("path,well\n\0,A1\n", "no text"),
    "loaddata without wells": ("FileName_OrigDNA,Metadata_Site\na.tif,1\n", "no column of wells"),
    "loaddata without images": ("FileName_OrigDNA,Metadata_Well\n,A1\n", "no field of view"),
}


@pytest.mark.parametrize(("text", "words"), TABLES.values(), ids=TABLES)
def test_tables(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "images.csv"
    file.write_text(text)
    fails(file, words)


@pytest.mark.parametrize("url", ["ftp://example.org/a.tif", "gs://bucket/a.tif", "file://elsewhere/a.tif"])
def test_urls_of_other_kinds_are_not_fetched(tmp_path: Path, url: str) -> None:
    file = tmp_path / "load_data.csv"
    file.write_text(f"URL_OrigDNA,Metadata_Well\n{url},A1\n")
    plate = open_plate(tmp_path)
    with pytest.raises(ReadError, match=rf"{url}: images are fetched only by https://, http:// and s3://; copy this one"):
        plate.read(plate.fields[0])


def test_a_field_that_lacks_an_image_and_a_well_that_lacks_a_stain(tmp_path: Path) -> None:
    folder = written.pattern(tmp_path / "plate")
    (folder / "A01_2_DNA.tif").unlink()
    for field in written.FIELDS:
        (folder / f"B03_{field}_DNA.tif").unlink()
    plate = open_plate(folder)
    assert plate.notes == (
        "1 of its 4 fields lack an image and can't be read (A01/2 has no channel DNA).",
        "1 of its 2 wells lack channels that others have (B03 has no DNA).",
    )
    with pytest.raises(ReadError, match="the field A01/2 has no file for the channel DNA"):
        plate.read(plate.by_key["A01/2"])
    stack = plate.read(plate.by_key["B03/1"])
    assert stack.channels == written.CHANNELS[:2]
    np.testing.assert_array_equal(np.asarray(stack.data), written.truth("B03", 1)[:, :2])


def test_a_damaged_description_in_json(tmp_path: Path) -> None:
    folder = written.jdce(tmp_path / "plate")
    file = folder / "experiment" / "P1.jdce"
    written.write(folder / "experiment_montage" / "timepoint0", "a_t0_A01_s0_w0_z0.tif", "A01", 1, 0)
    (folder / "experiment_montage" / "m.jdce").write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    assert "also holds experiment_montage" in open_plate(folder).notes[0]
    assert len(open_plate(folder / "experiment_montage").fields) == 1
    file.write_text('{"ImageStack": {"AutoLeadAcquisitionProtocol": 3}}')
    assert open_plate(file).channels == ("0", "1", "2")
    file.write_text('{"ImageStack"')
    fails(file, "its JSON is damaged")
    file.write_text("[]")
    fails(file, "no description of an acquisition")


def test_files_without_metadata_still_open(tmp_path: Path) -> None:
    folder = written.yokogawa(tmp_path / "plate")
    (folder / "S.mes").unlink()
    assert open_plate(folder).channels == ("1", "2", "3")
    (folder / "MeasurementDetail.mrf").unlink()
    plate = open_plate(folder)
    assert "MeasurementDetail.mrf is missing" in plate.notes[0]
    named = open_plate(folder, channels=written.CHANNELS)
    assert named.read(named.fields[0]).channels == written.CHANNELS
    mapped = open_plate(folder, channels={"3": "DNA"})
    assert mapped.channels == ("1", "2", "DNA")
    with pytest.raises(InputError, match="the same name"):
        open_plate(folder, channels=["a", "a", "b"])


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_an_error_in_one_sentence(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("Index.xml", "MeasurementData.mlf", "p.xdce", "p.jdce", "p.HTD", "p.csv", "p.parquet", "zarr.json"):
            place = Path(folder, name.replace(".", "_"))
            place.mkdir()
            file = place / name
            file.write_bytes(data)
            with pytest.raises(InputError) as caught:
                open_plate(place if name == "zarr.json" else file)
            assert folder in str(caught.value)
            assert "\n" not in str(caught.value)
