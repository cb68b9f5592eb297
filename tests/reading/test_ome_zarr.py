"""OME-Zarr 0.4 and 0.5, whole and damaged."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.reading import can_read, read, scenes
from napari_virtual_paint.stack import UNKNOWN, PixelSize

zarr = pytest.importorskip("zarr", reason="OME-Zarr is read by zarr (extra formats or aicsimageio)")
MODERN = int(zarr.__version__.split(".")[0]) >= 3
VERSIONS = ["0.4", "0.5"] if MODERN else ["0.4"]
DATA = (np.random.default_rng(0).random((2, 3, 4, 40, 50)) * 4000).astype(np.uint16)
UNITS = {"t": "minute", "z": "nanometer", "y": "micrometer", "x": "micrometer"}
SCALES = {"t": 0.5, "c": 1, "z": 300, "y": 0.2, "x": 0.1}


def make(
    path: Path, version: str, axes: str = "tczyx", units: dict[str, str] | None = None, data: np.ndarray | None = None, chunk: int = 16
) -> Path:
    """Write an OME-Zarr by zarr alone, not by the code under test."""
    data = DATA[tuple(slice(None) if letter in axes else 0 for letter in "tczyx")] if data is None else data
    chunks = tuple(chunk if side > 4 else 1 for side in data.shape)  # of y and x, wherever they are
    if MODERN:
        form = 2 if version == "0.4" else 3
        group = zarr.open_group(str(path), mode="w", zarr_format=form)
        array = group.create_array("0", shape=data.shape, chunks=chunks, dtype=data.dtype)
    else:
        group = zarr.open_group(str(path), mode="w")
        array = group.create_dataset("0", shape=data.shape, chunks=chunks, dtype=data.dtype, dimension_separator="/")
    array[...] = data
    group.attrs.update(attributes(version, axes, units))
    return path


def attributes(version: str, axes: str, units: dict[str, str] | None) -> dict[str, Any]:
    units = UNITS if units is None else units
    kinds = {"t": "time", "c": "channel"}
    named = [{"name": a, "type": kinds.get(a, "space")} | ({"unit": units[a]} if a in units else {}) for a in axes]
    transforms = [{"type": "scale", "scale": [SCALES.get(a, 1) for a in axes]}]
    multiscales = [{"axes": named, "datasets": [{"path": "0", "coordinateTransformations": transforms}]}]
    omero = {"channels": [{"label": name, "color": "FFFFFF"} for name in ("DNA", "ER", "AGP")]}
    if version == "0.5":
        return {"ome": {"version": "0.5", "multiscales": multiscales, "omero": omero}}
    return {"multiscales": [multiscales[0] | {"version": "0.4"}], "omero": omero}


def attributes_file(path: Path, version: str) -> Path:
    return path / (".zattrs" if version == "0.4" else "zarr.json")


@pytest.mark.parametrize("version", VERSIONS)
def test_whole_image(tmp_path: Path, version: str) -> None:
    path = make(tmp_path / "a.ome.zarr", version)
    stack = read(path)
    assert np.array_equal(stack.data.compute(), DATA)
    assert stack.channels == ("DNA", "ER", "AGP")
    assert stack.pixel_size == pytest.approx(PixelSize(0.3, 0.2, 0.1))
    assert stack.time_interval == 30
    assert can_read(path)
    assert np.array_equal(pickle.loads(pickle.dumps(stack.data)).compute(scheduler="synchronous"), DATA)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("axes", ["yx", "cyx", "zyx", "tyx", "czyx", "tczyx"])
def test_axes(tmp_path: Path, version: str, axes: str) -> None:
    stack = read(make(tmp_path / "a.zarr", version, axes))
    expected = DATA[tuple(slice(None) if letter in axes else slice(1) for letter in "tczyx")]
    assert np.array_equal(stack.data.compute(), expected)
    assert (stack.time_interval is None) == ("t" not in axes)
    assert (stack.pixel_size.z is None) == ("z" not in axes)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_scale_without_unit_is_no_size(tmp_path: Path, version: str) -> None:
    stack = read(make(tmp_path / "a.zarr", version, units={}))
    assert (stack.pixel_size, stack.time_interval) == (UNKNOWN, None)


def test_axes_in_another_order(tmp_path: Path) -> None:
    stack = read(make(tmp_path / "a.zarr", "0.4", "zcyx", data=DATA[0].swapaxes(0, 1)))
    assert np.array_equal(stack.data.compute(), DATA[:1])


def described(path: Path, axes: list, data: np.ndarray) -> Path:
    """Write an OME-Zarr 0.4 with these axes in its metadata; None writes none."""
    make(path, "0.4", "tczyx"[-data.ndim :], data=data)
    file = attributes_file(path, "0.4")
    values = json.loads(file.read_text())
    values["multiscales"][0]["axes"] = axes
    if axes is None:
        del values["multiscales"][0]["axes"]
    values.pop("omero")
    file.write_text(json.dumps(values))
    return path


def test_an_unknown_axis(tmp_path: Path) -> None:
    axes = ["c", {"name": "angle", "type": "other"}, "y", "x"]
    assert read(described(tmp_path / "a.zarr", axes, DATA[0, :, :1])).shape == (1, 3, 1, 40, 50)
    with pytest.raises(ReadError, match="axis 'angle' is none of time"):
        read(described(tmp_path / "b.zarr", axes, DATA[0]))


@pytest.mark.parametrize(
    ("axes", "order"),
    [
        ([{"name": "time", "type": "time"}, {"name": "channel", "type": "channel"}, "z", "y", "x"], "TCZYX"),
        ([{"name": "A", "type": "time"}, {"name": "B", "type": "channel"}, *({"name": n, "type": "space"} for n in "CDE")], "TCZYX"),
        (["Timepoints", "Wavelength", "Slices", "rows", "Columns"], "TCZYX"),
        (["x", "y", "z", "c", "t"], "XYZCT"),
        ([{"name": "c", "type": "space"}, {"name": "t", "type": "space"}, "y", "z", "x"], "CTYZX"),
        (None, "TCZYX"),
    ],
    ids=["names", "types alone", "words", "backwards", "wrong types", "none"],
)
def test_axes_by_name_or_type_in_any_order(tmp_path: Path, axes: list, order: str) -> None:
    stored = np.transpose(DATA, ["TCZYX".index(letter) for letter in order])
    stack = read(described(tmp_path / "a.zarr", axes, stored))
    assert np.array_equal(stack.data.compute(), DATA)


def test_axes_that_contradict_the_metadata(tmp_path: Path) -> None:
    path = make(tmp_path / "a.zarr", "0.4", "zcyx", data=DATA[0].swapaxes(0, 1))
    for agreed in ("ZCYX", "czyx", "TZCYX"):
        assert np.array_equal(read(path, axes=agreed).data.compute(), DATA[:1])
    for wrong in ("TCYX", "ZYX", "ZCXY"):
        with pytest.raises(ReadError, match="contradicts"):
            read(path, axes=wrong)


def test_arrays_without_axes_are_named_by_the_user(tmp_path: Path) -> None:
    path = described(tmp_path / "a.zarr", None, DATA[0])
    with pytest.raises(ReadError, match=r"3 x 4 x 40 x 50 whose metadata states no axes; name them"):
        read(path)
    assert np.array_equal(read(path, axes="CZYX").data.compute(), DATA[:1])
    with pytest.raises(ReadError, match="CYX names 3"):
        read(path, axes="CYX")
    with pytest.raises(ReadError, match="zarr array of 3 x 4 x 40 x 50"):
        read(path / "0")
    assert np.array_equal(read(path / "0", axes="CZYX").data.compute(), DATA[:1])


@pytest.mark.parametrize(
    ("stated", "version"),
    [
        ({"ome": {"version": "0.6.dev1", "multiscales": [{"datasets": [{"path": "0"}]}]}}, r"0\.6\.dev1"),
        ({"ome": {"version": "1.0", "plate": {"wells": []}}}, r"1\.0"),
        ({"ome": {"multiscales": [{"version": "0.12", "datasets": []}]}}, r"0\.12"),
    ],
)
def test_a_version_to_come_is_named(tmp_path: Path, stated: dict, version: str) -> None:
    path = tmp_path / "a.zarr"
    path.mkdir()
    (path / "zarr.json").write_text(json.dumps({"zarr_format": 3, "node_type": "group", "attributes": stated}))
    with pytest.raises(ReadError, match=f"it is OME-Zarr {version}, newer than 0.5") as error:
        read(path)
    assert "damaged" not in str(error.value)


def test_wells_and_fields_that_are_not_there(tmp_path: Path) -> None:
    plate = tmp_path / "plate.zarr"
    for field in ("A/1/0", "B/2/0", "B/2/1"):
        make(plate / field, "0.4", "cyx")
    for name in ("", "A", "B"):
        (plate / name / ".zgroup").write_text('{"zarr_format": 2}')
    wells = [{"path": path} for path in ("A/1", "A/2", "B/2", "C/3")]
    (plate / ".zattrs").write_text(json.dumps({"plate": {"wells": wells, "version": "0.4"}}))
    for well, images in (("A/1", "0"), ("B/2", "012")):
        listed = {"well": {"images": [{"path": image} for image in images]}}
        (plate / well / ".zattrs").write_text(json.dumps(listed))
    (plate / "A" / "2").mkdir()
    assert scenes(plate) == ["A/1/0", "B/2/0", "B/2/1"]
    stack = read(plate, scene="B/2/1")
    assert stack.notes == ("plate.zarr: 3 of the wells and fields that its metadata lists are not there (A/2, B/2/2, C/3).",)
    assert any("the first was read" in note for note in read(plate).notes)
    (plate / ".zattrs").write_text(json.dumps({"plate": {"wells": [{"path": "C/3"}]}}))
    with pytest.raises(ReadError, match="none of their images is there"):
        read(plate)


@pytest.mark.parametrize("version", VERSIONS)
def test_plate_and_collection(tmp_path: Path, version: str) -> None:
    plate = tmp_path / "plate.ome.zarr"
    for well in ("A/1", "B/2"):
        for field in "01":
            make(plate / well / field, version)
        _group(plate / well, version, {"well": {"images": [{"path": "0"}, {"path": "1"}]}})
    _group(plate, version, {"plate": {"wells": [{"path": "A/1"}, {"path": "B/2"}]}})
    assert scenes(plate) == ["A/1/0", "A/1/1", "B/2/0", "B/2/1"]
    assert scenes(plate / "B/2") == ["0", "1"]
    assert np.array_equal(read(plate, scene="B/2/1").data.compute(), DATA)
    collection = tmp_path / "raw.zarr"
    for name in ("0", "1"):
        make(collection / name, version)
    _group(collection, version, {"bioformats2raw.layout": 3})
    assert scenes(collection) == ["0", "1"]
    assert read(collection, scene=1).shape == DATA.shape


def _group(path: Path, version: str, content: dict[str, Any]) -> None:
    if version == "0.4":
        (path / ".zgroup").write_text('{"zarr_format": 2}')
        (path / ".zattrs").write_text(json.dumps(content))
    else:
        (path / "zarr.json").write_text(json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {"ome": content}}))


@pytest.mark.parametrize("version", VERSIONS)
def test_no_chunk_is_read_before_it_is_asked_for(tmp_path: Path, version: str) -> None:
    path = tmp_path / "large.ome.zarr"
    make(path, version, "tczyx", chunk=512)
    array = path / "0" / (".zarray" if version == "0.4" else "zarr.json")
    content = json.loads(array.read_text())
    content["shape"] = [10, 3, 100, 4096, 4096]
    array.write_text(json.dumps(content))
    stack = read(path)
    assert stack.data.nbytes > 90 * 2**30
    assert np.array_equal(stack.data[0, 0, 0, :16, :16].compute(), DATA[0, 0, 0, :16, :16])
    assert not stack.data[-1, -1, -1, -5:, -5:].compute().any()


@pytest.mark.parametrize("version", VERSIONS)
def test_damaged_chunks_show_when_they_are_asked_for(tmp_path: Path, version: str) -> None:
    path = make(tmp_path / "a.zarr", version)
    chunks = [file for file in (path / "0").rglob("*") if file.is_file() and file.name.replace(".", "").isdigit()]
    assert chunks
    for chunk in chunks:
        chunk.write_bytes(chunk.read_bytes()[:9])
    stack = read(path)
    with pytest.raises(ReadError, match=r"a\.zarr"):
        stack.data.compute()


DAMAGE: list[tuple[str, Any]] = [
    ("text", "{"),
    ("list", "[]"),
    ("nothing", "{}"),
    ("deep", "[" * 100_000),
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("what", "content"), DAMAGE, ids=[name for name, _ in DAMAGE])
def test_damaged_metadata(tmp_path: Path, version: str, what: str, content: str) -> None:
    path = make(tmp_path / "a.zarr", version)
    attributes_file(path, version).write_text(content)
    with pytest.raises(ReadError, match=r"a\.zarr"):
        read(path)


@pytest.mark.parametrize(
    "change",
    [
        {"multiscales": []},
        {"multiscales": "x"},
        {"multiscales": [{"axes": [{"name": "y"}, {"name": "y"}], "datasets": [{"path": "0"}]}]},
        {"multiscales": [{"axes": [{"name": "y"}, {"name": "x"}], "datasets": [{"path": "0"}]}]},
        {"multiscales": [{"axes": 3, "datasets": [{"path": "0"}]}]},
        {"multiscales": [{"datasets": []}]},
        {"multiscales": [{"datasets": [{"path": "absent"}]}]},
        {"multiscales": [{"datasets": [{"path": "../../elsewhere"}]}]},
        {"multiscales": [{"datasets": [{"path": "/etc"}]}]},
    ],
    ids=str,
)
def test_metadata_that_leads_nowhere(tmp_path: Path, change: dict[str, Any]) -> None:
    path = make(tmp_path / "a.zarr", "0.4")
    (path / ".zattrs").write_text(json.dumps(change))
    with pytest.raises(ReadError, match=r"a\.zarr"):
        read(path)


def test_odd_scales_are_no_sizes(tmp_path: Path) -> None:
    path = make(tmp_path / "a.zarr", "0.4")
    content = json.loads((path / ".zattrs").read_text())
    for scale in ([1, 1], ["a"] * 5, None, [0, 0, 0, -1, float("nan")]):
        content["multiscales"][0]["datasets"][0]["coordinateTransformations"] = [{"type": "scale", "scale": scale}]
        (path / ".zattrs").write_text(json.dumps(content))
        assert read(path).pixel_size == UNKNOWN


@pytest.mark.skipif(not MODERN, reason="zarr 2 can't write chunks of such a size in its metadata")
def test_a_chunk_too_large_to_hold(tmp_path: Path) -> None:
    path = make(tmp_path / "a.zarr", "0.5")
    content = json.loads((path / "0" / "zarr.json").read_text())
    content["shape"] = [1, 1, 1, 10**6, 10**6]
    content["chunk_grid"]["configuration"]["chunk_shape"] = [1, 1, 1, 10**6, 10**6]
    (path / "0" / "zarr.json").write_text(json.dumps(content))
    with pytest.raises(ReadError, match="chunks has 2,000,000,000,000 bytes"):
        read(path)


def test_a_zarr_without_image(tmp_path: Path) -> None:
    zarr.open_group(str(tmp_path / "a.zarr"), mode="w")
    with pytest.raises(ReadError, match="without an OME-Zarr image"):
        read(tmp_path / "a.zarr")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(ReadError, match=r"empty\.zarr"):
        read(tmp_path / "empty.zarr")
