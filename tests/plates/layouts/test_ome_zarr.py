"""OME-Zarr plates, written here by zarr and json alone."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_virtual_paint.errors import InputError, ReadError
from napari_virtual_paint.plates.opening import open_plate
from napari_virtual_paint.plates.plate import Field

zarr = pytest.importorskip("zarr", minversion="3.0", reason="OME-Zarr plates are written here by zarr 3 (extra formats)")

VERSIONS = ("0.4", "0.5")
CHANNELS = ("Brightfield 0 um", "DNA")


def group(folder: Path, version: str, content: dict[str, Any], own: dict[str, Any] | None = None) -> None:
    """Write the metadata of a group."""
    folder.mkdir(parents=True, exist_ok=True)
    extra = {} if own is None else {"napari-virtual-paint": own}
    if version == "0.4":
        (folder / ".zgroup").write_text('{"zarr_format": 2}')
        (folder / ".zattrs").write_text(json.dumps({**content, **extra}))
    else:
        attributes = {"ome": {"version": "0.5", **content}, **extra}
        (folder / "zarr.json").write_text(json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes}))


def image(folder: Path, version: str, value: int) -> None:
    """Write an image (C 2, Y 4, X 6) of one value."""
    scale = [{"type": "scale", "scale": [1, 0.5, 0.5]}]
    axes = [{"name": "c", "type": "channel"}, *({"name": n, "type": "space", "unit": "micrometer"} for n in "yx")]
    omero = {"channels": [{"label": name} for name in CHANNELS]}
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    group(folder, version, {"multiscales": [{"axes": axes, "datasets": datasets}], "omero": omero})
    array = zarr.create_array(folder / "0", shape=(2, 4, 6), dtype="uint16", zarr_format=2 if version == "0.4" else 3)
    array[:] = value


def plate_of(
    path: Path,
    version: str,
    wells: dict[str, dict[str, int | None]],
    own: dict[str, Any] | None = None,
    rows: str = "ABC",
    pixels: bool = True,
) -> Path:
    """Write a plate: path of a well ("A/1") -> name of an image -> its acquisition."""
    letters, numbers = list(rows), [str(i + 1) for i in range(5)]
    entries = []
    for place, images in wells.items():
        row, column = place.split("/")
        entries.append({"path": place, "rowIndex": letters.index(row), "columnIndex": int(column) - 1})
        listed = [{"path": name} | ({} if number is None else {"acquisition": number}) for name, number in images.items()]
        group(path / place, version, {"well": {"images": listed}})
        for name in images if pixels else ():
            image(path / place / name, version, 100 * letters.index(row) + 10 * int(column) + int(name[0]))
    content = {"name": "screen", "rows": [{"name": n} for n in letters], "columns": [{"name": n} for n in numbers], "wells": entries}
    group(path, version, {"plate": content}, own)
    return path


@pytest.mark.parametrize("version", VERSIONS)
def test_wells_that_differ(tmp_path: Path, version: str) -> None:
    wells = {"A/1": {"0": None, "1": None}, "B/2": {"0": None}, "C/05": {"0": None, "1": None, "2": None}}
    plate = open_plate(plate_of(tmp_path / "p.zarr", version, wells))
    assert (plate.name, plate.layout, plate.shape, plate.channels) == ("screen", "ome-zarr", (3, 5), CHANNELS)
    assert [field.key for field in plate.fields] == ["A01/0", "A01/1", "B02/0", "C05/0", "C05/1", "C05/2"]
    assert plate.acquisitions == ()
    assert plate.notes == ()
    stack = plate.read(plate.by_key["C05/2"])
    assert (stack.shape, stack.channels, stack.pixel_size) == ((1, 2, 1, 4, 6), CHANNELS, (None, 0.5, 0.5))
    assert np.asarray(stack.data).max() == np.asarray(stack.data).min() == 252


@pytest.mark.parametrize("version", VERSIONS)
def test_several_acquisitions(tmp_path: Path, version: str) -> None:
    plate = open_plate(plate_of(tmp_path / "p.zarr", version, {"A/1": {"0": 0, "1": 3}, "A/2": {"0": 0}}))
    assert plate.acquisitions == ("0", "3")
    assert [field.key for field in plate.fields] == ["A01/0/0", "A01/1/3", "A02/0/0"]
    assert np.asarray(plate.read(Field("A01", "1", "3")).data).max() == 11


def test_one_acquisition_is_not_told(tmp_path: Path) -> None:
    plate = open_plate(plate_of(tmp_path / "p.zarr", "0.5", {"A/1": {"0": 7}, "A/2": {"0": 7}}))
    assert plate.acquisitions == ()
    assert plate.fields == (Field("A01", "0"), Field("A02", "0"))


@pytest.mark.parametrize("version", VERSIONS)
def test_painted_images_are_no_fields_of_the_plate(tmp_path: Path, version: str) -> None:
    own = {"painted": {"A/1/0-painted": {"of": "A/1/0"}}, "metadata": {"a1": {"dose": 2.5}}}
    plate = open_plate(plate_of(tmp_path / "p.zarr", version, {"A/1": {"0": 0, "0-painted": 1}}, own))
    assert plate.fields == (Field("A01", "0"),)
    assert plate.acquisitions == ()
    (stains,) = plate.painted[Field("A01", "0")]
    assert stains.name == "0-painted"
    assert np.asarray(plate.read(stains).data).shape == (1, 2, 1, 4, 6)
    assert plate.metadata == {"A01": {"dose": 2.5}}


def test_rows_that_are_named_win_over_their_numbers(tmp_path: Path) -> None:
    plate = open_plate(plate_of(tmp_path / "p.zarr", "0.5", {"D/1": {"0": None}}, rows="DE"))
    assert plate.wells == ("D01",)
    assert plate.shape == (4, 6)


def test_names_that_are_none_of_a_row_leave_the_numbers(tmp_path: Path) -> None:
    plate = open_plate(plate_of(tmp_path / "p.zarr", "0.5", {"2/3": {"0": None}}, rows="12"))
    assert plate.wells == ("B03",)


def test_channels_by_the_users_names(tmp_path: Path) -> None:
    path = plate_of(tmp_path / "p.zarr", "0.5", {"A/1": {"0": None}})
    plate = open_plate(path, channels=["Brightfield", "Hoechst"])
    assert plate.channels == plate.read(plate.fields[0]).channels == ("Brightfield", "Hoechst")
    assert open_plate(path, channels={"DNA": "Hoechst"}).channels == (CHANNELS[0], "Hoechst")
    with pytest.raises(InputError, match="3 channel names"):
        open_plate(path, channels="abc")
    with pytest.raises(InputError, match="no channel 'RNA'"):
        open_plate(path, channels={"RNA": "x"})


def test_the_reader_travels_to_other_processes(tmp_path: Path) -> None:
    plate = open_plate(plate_of(tmp_path / "p.zarr", "0.5", {"A/1": {"0": None}}))
    reader = pickle.loads(pickle.dumps(plate.reader))
    assert np.asarray(reader.read(plate.fields[0]).data).max() == 10


@pytest.mark.parametrize("version", VERSIONS)
def test_no_pixel_is_read(tmp_path: Path, version: str) -> None:
    path = plate_of(tmp_path / "p.zarr", version, {"A/1": {"0": None}}, pixels=False)
    plate = open_plate(path)
    assert plate.channels is None
    with pytest.raises(ReadError, match=r"A/1/0: there is no such file"):
        plate.read(plate.fields[0])


def test_a_damaged_well_is_told_and_the_rest_opens(tmp_path: Path) -> None:
    path = plate_of(tmp_path / "p.zarr", "0.5", {"A/1": {"0": None}, "A/2": {"0": None}, "A/3": {"0": None}})
    (path / "A/2/zarr.json").write_text('{"attributes": {"ome"')
    (path / "A/3/zarr.json").unlink()
    plate = open_plate(path)
    assert plate.wells == ("A01",)
    (note,) = plate.notes
    assert "2 of its 3 wells" in note
    assert "zarr.json is damaged" in note
    (path / "A/1/zarr.json").unlink()
    with pytest.raises(ReadError, match="A/1: its metadata, which lists its images, is missing"):
        open_plate(path)


PLATES = {
    "no plate": ({"multiscales": []}, "no plate; open it as an image"),
    "wells are no list": ({"plate": {"wells": {"path": "A/1"}}}, "no list of wells"),
    "a well out of the plate": ({"plate": {"wells": [{"path": "../x/1", "rowIndex": 0, "columnIndex": 0}]}}, "points out of the store"),
    "an absolute well": ({"plate": {"wells": [{"path": "/etc/1", "rowIndex": 0, "columnIndex": 0}]}}, "points out of the store"),
    "no place": ({"plate": {"wells": [{"path": "first"}]}}, "has no row and column"),
    "a place twice": (
        {"plate": {"wells": [{"path": "x", "rowIndex": 0, "columnIndex": 0}, {"path": "y", "rowIndex": 0, "columnIndex": 0}]}},
        "has the well A01 twice",
    ),
    "no well": ({"plate": {"wells": []}}, "no field of view"),
}


@pytest.mark.parametrize(("content", "words"), PLATES.values(), ids=PLATES)
def test_damaged_or_hostile_metadata(tmp_path: Path, content: dict[str, Any], words: str) -> None:
    group(tmp_path / "p.zarr", "0.5", content)
    with pytest.raises(InputError, match=words) as caught:
        open_plate(tmp_path / "p.zarr")
    assert "p.zarr" in str(caught.value)


def test_an_image_out_of_the_plate_is_refused(tmp_path: Path) -> None:
    path = plate_of(tmp_path / "p.zarr", "0.5", {"A/1": {"0": None}, "A/2": {"0": None}})
    group(path / "A/2", "0.5", {"well": {"images": [{"path": "../../../secret"}]}})
    with pytest.raises(ReadError, match="points out of the store"):
        open_plate(path)


@pytest.mark.parametrize("own", [{"metadata": {"nowhere": {}}}, {"metadata": {"A1": 3}}], ids=str)
def test_damaged_metadata_of_wells(tmp_path: Path, own: dict[str, Any]) -> None:
    with pytest.raises(ReadError, match="damaged"):
        open_plate(plate_of(tmp_path / "p.zarr", "0.5", {"A/1": {"0": None}}, own))


def test_nothing_and_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="there is no such file or folder"):
        open_plate(tmp_path / "absent.zarr")
    with pytest.raises(ReadError, match="empty folder"):
        open_plate(tmp_path)
    with pytest.raises(InputError, match="no layout 'tiff'"):
        open_plate(tmp_path, layout="tiff")
