"""OME-Zarr HCS plates as they are written: valid at any moment, whole or not at all, by several processes at once."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_virtual_paint.errors import InputError, WriteError
from napari_virtual_paint.plates.ome_zarr import writer as hcs
from napari_virtual_paint.plates.opening import open_plate
from napari_virtual_paint.plates.plate import Field
from napari_virtual_paint.stack import PixelSize, Stack
from napari_virtual_paint.writing import write

if importlib.util.find_spec("zarr") is None or importlib.util.find_spec("ome_zarr_models") is None:
    pytest.skip("plates are written by zarr and checked by ome-zarr-models, which are not installed", allow_module_level=True)

VERSIONS = ("0.5", "0.4")
FIELDS = [Field(f"{row}0{column}", str(i)) for row in "AB" for column in (1, 2, 3) for i in range(2)]
RNG = np.random.default_rng(0)
SIZE = PixelSize(None, 0.65, 0.65)


def image(channels: int = 3, edge: int = 300) -> Stack:
    data = RNG.integers(0, 5000, (1, channels, 1, edge, edge)).astype(np.uint16)
    return Stack(data, tuple("abcdefgh"[:channels]), SIZE)


def labels(edge: int = 300) -> dict[str, Stack]:
    return {name: Stack(np.arange(edge**2, dtype=np.int32).reshape(1, 1, 1, edge, edge), (name,), SIZE) for name in ("nucleus", "cell")}


def valid(path: Path) -> str:
    """Return what ome-zarr-models takes a group for; it raises for what is none."""
    from ome_zarr_models import open_ome_zarr

    return type(open_ome_zarr(str(path))).__name__


def by_ome_zarr(path: Path) -> list[Any]:
    """Return the pixels that ome-zarr-py, which napari-ome-zarr reads by, gives for a path."""
    io, reader = (pytest.importorskip(f"ome_zarr.{name}", reason="ome-zarr-py is not installed") for name in ("io", "reader"))
    return [node.data[0] for node in reader.Reader(io.parse_url(str(path)))() if node.data]


def attributes(group: Path) -> dict[str, Any]:
    if (group / "zarr.json").is_file():
        return json.loads((group / "zarr.json").read_text())["attributes"]
    return json.loads((group / ".zattrs").read_text())


def made(path: Path, version: str = "0.5", written: int = 5) -> dict[Field, Stack]:
    hcs.create(path, "screen", (2, 3), FIELDS, metadata={"A01": {"treatment": "control", "dose": 0.0}}, version=version)
    stacks = {field: image() for field in FIELDS[:written]}
    for field, stack in stacks.items():
        hcs.write_field(path, field, stack, labels=labels())
    hcs.list_fields(path, FIELDS)
    return stacks


@pytest.mark.parametrize("version", VERSIONS)
def test_a_half_written_plate_is_valid_and_others_open_it(tmp_path: Path, version: str) -> None:
    path = tmp_path / "p.zarr"
    stacks = made(path, version)
    (path / "A/1/.9.123-dead.partial").mkdir()
    parts = {"": "HCS", "A/1": "Well", "A/1/0": "Image", "A/1/0/labels": "Labels", "A/1/0/labels/cell": "ImageLabel"}
    assert {part: valid(path / part) for part in parts} == parts
    plate = open_plate(path)
    assert (plate.name, plate.shape, plate.fields, plate.channels) == ("screen", (2, 3), tuple(FIELDS[:5]), ("a", "b", "c"))
    assert plate.metadata == {"A01": {"treatment": "control", "dose": 0.0}}
    for field, stack in stacks.items():
        np.testing.assert_array_equal(plate.read(field).data.compute(), stack.data)
        assert plate.read(field).pixel_size == SIZE
    (whole,) = by_ome_zarr(path)
    assert whole.shape == (1, 3, 1, 2 * 300, 3 * 300)  # the first field of each well
    np.testing.assert_array_equal(np.asarray(whole[..., :300, 300:600]), stacks[FIELDS[2]].data)
    pixels, nucleus, _ = by_ome_zarr(path / "A/1/0")
    np.testing.assert_array_equal(np.asarray(pixels), stacks[FIELDS[0]].data)
    np.testing.assert_array_equal(np.asarray(nucleus), labels()["nucleus"].data)


def test_an_empty_plate_is_valid(tmp_path: Path) -> None:
    hcs.create(tmp_path / "p.zarr", "screen", (2, 3), FIELDS)
    hcs.list_fields(tmp_path / "p.zarr", FIELDS)
    assert valid(tmp_path / "p.zarr") == "HCS"
    assert hcs.done_fields(tmp_path / "p.zarr") == ()


def test_a_plane_is_one_shard_and_other_images_are_as_before(tmp_path: Path) -> None:
    import zarr

    path = tmp_path / "p.zarr"
    hcs.create(path, "screen", (1, 1), [Field("A01", "0")])
    stack = image(2, 600)
    hcs.write_field(path, Field("A01", "0"), stack, labels=labels(600))
    array = zarr.open_array(str(path / "A/1/0/0"), mode="r")
    assert (array.chunks, array.shards) == ((1, 1, 1, 512, 512), (1, 1, 1, 1024, 1024))
    assert [type(codec).__name__ for codec in array.compressors] == ["BloscCodec"]
    assert sum(file.is_file() for file in (path / "A/1/0/0/c").rglob("*")) == 2
    coarse = np.asarray(zarr.open_array(str(path / "A/1/0/1"), mode="r")[:])
    np.testing.assert_allclose(coarse, stack.data.reshape(1, 2, 1, 300, 2, 300, 2).mean((4, 6)), atol=0.51)
    nearest = np.asarray(zarr.open_array(str(path / "A/1/0/labels/cell/1"), mode="r")[:])
    np.testing.assert_array_equal(nearest, labels(600)["cell"].data[..., ::2, ::2])
    alone = zarr.open_array(str(write(stack, tmp_path / "alone.ome.zarr") / "0"), mode="r")
    assert (alone.shards, [type(codec).__name__ for codec in alone.compressors]) == (None, ["ZstdCodec"])


@pytest.mark.parametrize("version", VERSIONS)
def test_exactly_what_is_complete_is_listed(tmp_path: Path, version: str) -> None:
    path = tmp_path / "p.zarr"
    made(path, version)
    kept = path / "A/1" / ("zarr.json" if version == "0.5" else ".zattrs")
    before = kept.stat().st_mtime_ns
    hcs.list_fields(path, [*FIELDS[:2], FIELDS[-1]])  # the last was never written
    assert open_plate(path).fields == tuple(FIELDS[:2])
    assert kept.stat().st_mtime_ns == before
    assert valid(path) == "HCS"
    assert hcs.done_fields(path) == tuple(FIELDS[:5])
    hcs.list_fields(path, [])
    hcs.list_fields(path, FIELDS)
    assert open_plate(path).fields == tuple(FIELDS[:5])


def test_names_and_acquisitions_come_back(tmp_path: Path) -> None:
    path = tmp_path / "p.zarr"
    fields = [Field("A01", name, taken) for name in ("site 1", "site-1", "2") for taken in ("day 1", "day 2")]
    assert len({hcs.image_path(field) for field in fields}) == 6
    hcs.create(path, "screen", (1, 1), fields, ("day 1", "day 2"))
    for field in fields:
        hcs.write_field(path, field, image(1, 40))
    hcs.list_fields(path, fields)
    assert valid(path) == "HCS"
    assert set(hcs.done_fields(path)) == set(fields)
    plate = open_plate(path)
    assert set(plate.fields) == set(fields)
    assert plate.acquisitions == ("day 1", "day 2")
    assert attributes(path)["ome"]["plate"]["acquisitions"] == [{"id": 0, "name": "day 1"}, {"id": 1, "name": "day 2"}]


def test_numbers_of_acquisitions_stay(tmp_path: Path) -> None:
    hcs.create(tmp_path / "p.zarr", "screen", (1, 1), [Field("A01", "0", "7")], ("3", "7"))
    hcs.write_field(tmp_path / "p.zarr", Field("A01", "0", "7"), image(1, 40))
    hcs.list_fields(tmp_path / "p.zarr", [Field("A01", "0", "7")])
    assert attributes(tmp_path / "p.zarr/A/1")["ome"]["well"]["images"] == [{"path": "0a7", "acquisition": 7}]


@pytest.mark.parametrize("version", VERSIONS)
def test_stains_are_put_beside_their_image(tmp_path: Path, version: str) -> None:
    path = tmp_path / "p.zarr"
    stacks = made(path, version)
    marker = path / ("zarr.json" if version == "0.5" else ".zattrs")
    document = json.loads(marker.read_text())
    owner = document["attributes"] if version == "0.5" else document
    owner["somebody else's"] = {"kept": True}
    if version == "0.5":
        document["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": {}}
    else:
        (path / ".zmetadata").write_text("{}")
    marker.write_text(json.dumps(document))
    stains = image(2)
    for model in ("first", "second"):
        for field in FIELDS[:3]:
            hcs.add_painted(path, field, stains, model)
        assert open_plate(path).fields == tuple(FIELDS[:5])  # not listed yet: still no field
        hcs.list_painted(path, FIELDS[:5], model)
    plate = open_plate(path)
    assert plate.fields == tuple(FIELDS[:5])
    assert {field: len(some) for field, some in plate.painted.items()} == dict.fromkeys(FIELDS[:3], 2)
    np.testing.assert_array_equal(plate.read(plate.painted[FIELDS[2]][1]).data.compute(), stains.data)
    np.testing.assert_array_equal(plate.read(FIELDS[2]).data.compute(), stacks[FIELDS[2]].data)
    assert valid(path) == "HCS"
    names = [each.get("name") for each in (attributes(path).get("ome") or attributes(path))["plate"]["acquisitions"]]
    assert names == [None, "painted by first", "painted by second"]
    assert attributes(path)["somebody else's"] == {"kept": True}
    assert "consolidated_metadata" not in marker.read_text()
    assert not (path / ".zmetadata").exists()
    before = marker.read_bytes(), (path / "A/1" / marker.name).read_bytes()
    hcs.list_fields(path, FIELDS)
    assert (marker.read_bytes(), (path / "A/1" / marker.name).read_bytes()) == before
    assert by_ome_zarr(path)[0].shape[1] == 3  # it can't place images with other channels, and must pass over them
    assert set(hcs.done_fields(path)) == set(FIELDS[:5])


def test_what_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "p.zarr"
    with pytest.raises(InputError, match="outside a plate of 1 x 2"):
        hcs.create(path, "screen", (1, 2), FIELDS)
    with pytest.raises(InputError, match="would have the same path"):
        hcs.create(path, "screen", (1, 2), [Field("A01", "1a2"), Field("A01", "1", "2")])
    with pytest.raises(WriteError, match="create it first"):
        hcs.write_field(path, FIELDS[0], image())
    assert not path.exists()
    made(path, written=1)
    with pytest.raises(WriteError, match="exists already"):
        hcs.create(path, "screen", (2, 3), FIELDS)
    with pytest.raises(WriteError, match="exists already"):
        hcs.write_field(path, FIELDS[0], image(), overwrite=False)
    with pytest.raises(InputError, match="no field B03/1"):
        hcs.add_painted(path, FIELDS[-1], image(), "some-model")


WRITER = """
import sys, time
import dask.array as da, numpy as np
from napari_virtual_paint.plates.ome_zarr import writer as hcs
from napari_virtual_paint.plates.plate import Field
from napari_virtual_paint.stack import Stack

def slow(block):
    print("writing", flush=True)
    time.sleep(float(sys.argv[3]))
    return block

for well in sys.argv[2].split(","):
    pixels = np.full((1, 4, 1, 64, 64), ord(well[0]) + int(well[1:]), np.uint16)
    data = da.from_array(pixels, chunks=(1, 1, 1, 64, 64)).map_blocks(slow, dtype=np.uint16, meta=pixels[:0])
    hcs.write_field(sys.argv[1], Field(well, "0"), Stack(data))
"""


def writer(path: Path, wells: str, seconds: float) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, "-c", WRITER, str(path), wells, str(seconds)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment)


def test_processes_write_at_once_and_a_killed_one_leaves_no_image(tmp_path: Path) -> None:
    path = tmp_path / "p.zarr"
    wells = ["A01", "A02", "B01", "B02", "B03"]
    hcs.create(path, "screen", (2, 3), [Field(well, "0") for well in wells])
    first, second, killed = writer(path, "A01,B01", 0), writer(path, "A02,B02", 0), writer(path, "B03", 60)
    assert killed.stdout is not None
    assert killed.stdout.readline() == "writing\n"
    deadline = time.monotonic() + 30
    while not list((path / "B/3").glob(".0.*.partial/0")) and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert (first.communicate()[0].count("writing"), second.wait()) == (8, 0)
    left = [entry.name for entry in (path / "B/3").iterdir() if entry.name.endswith(".partial")]
    assert len(left) == 1
    assert not (path / "B/3/0").exists()
    done = [Field(well, "0") for well in wells[:4]]
    assert hcs.done_fields(path) == tuple(done)
    hcs.list_fields(path, [Field(well, "0") for well in wells])
    assert valid(path) == "HCS"
    plate = open_plate(path)
    assert {field.well: int(plate.read(field).data.max()) for field in plate.fields} == {w: ord(w[0]) + int(w[1:]) for w in wells[:4]}
    hcs.write_field(path, Field("B03", "0"), image(1, 40))
    assert sorted(entry.name for entry in (path / "B/3").iterdir()) == ["0", "zarr.json"]
