"""`virtual-paint plate predict`: options, output, exit codes, and plates in OME-Zarr."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_virtual_paint.cli import main
from napari_virtual_paint.plates.ome_zarr import writer
from napari_virtual_paint.plates.opening import open_plate
from napari_virtual_paint.plates.paint import read_failures, read_scores
from napari_virtual_paint.plates.plate import Field
from small_models import CONFIG_2D
from small_plates import CHANNELS, make_plate, toy_model

zarr = pytest.importorskip("zarr")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(toy_model(tmp_path_factory.mktemp("model")).info.source)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OME-Zarr plate of 2 x 2 wells, two fields in each, with metadata of the wells."""
    folder = tmp_path_factory.mktemp("plate")
    toy = make_plate(folder / "toy", 8)
    path = folder / "plate.zarr"
    fields = [type(each)(well, name) for each, (well, name) in zip(toy.fields, _places(), strict=True)]
    metadata = {well: {"treatment": "control" if well.endswith("1") else "drug"} for well, _ in _places()}
    writer.create(path, "plate", (2, 2), fields, metadata=metadata)
    for there, each in zip(toy.fields, fields, strict=True):
        writer.write_field(path, each, toy.read(there))
    writer.list_fields(path, fields)
    return path


@pytest.fixture
def plate(written: Path, tmp_path: Path) -> Path:
    """A copy of the plate."""
    return shutil.copytree(written, tmp_path / "plate.zarr")


def _places() -> list[tuple[str, str]]:
    return [(well, name) for well in ("A01", "A02", "B01", "B02") for name in ("0", "1")]


def run(*words: object) -> int:
    try:
        return main(["plate", *map(str, words)])
    except SystemExit as stop:
        return int(stop.code or 0)


def predict(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, Any], str]:
    capsys.readouterr()
    code = run("predict", *words, "--json")
    out, err = capsys.readouterr()
    return code, json.loads(out) if out else {}, err


def pixels(path: Path) -> dict[str, str]:
    """Field -> SHA-256 of its pixels."""
    opened = open_plate(path)
    return {str(each): hashlib.sha256(np.asarray(opened.read(each).data).tobytes()).hexdigest() for each in opened.fields}


def test_a_plate_is_painted_and_then_left_alone(plate: Path, package: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, report, _ = predict(capsys, plate, "-m", package, "-o", tmp_path / "out.zarr")
    assert code == 0
    assert {name: report[name] for name in ("fields", "painted", "skipped", "failed")} == {
        "fields": 8,
        "painted": 8,
        "skipped": 0,
        "failed": 0,
    }
    assert report["seconds"] > 0
    assert report["output"] == str(tmp_path / "out.zarr")
    painted = open_plate(report["output"])
    assert painted.shape == (2, 2)
    assert list(map(str, painted.fields)) == list(map(str, open_plate(plate).fields))
    assert painted.metadata["B02"]["treatment"] == "drug"
    assert painted.read(painted.fields[0]).channels == ("DNA", "ER")
    assert read_scores(report["output"])["treatment"].value_counts().to_dict() == {"control": 4, "drug": 4}
    code, report, _ = predict(capsys, plate, "-m", package, "-o", tmp_path / "out.zarr")
    assert (code, report["painted"], report["skipped"]) == (0, 0, 8)


def test_the_painted_plate_is_valid_while_a_part_is_there(plate: Path, package: str, tmp_path: Path) -> None:
    ome_zarr_models = pytest.importorskip("ome_zarr_models")
    assert run("predict", plate, "-m", package, "-o", tmp_path / "out.zarr", "--wells", "A1", "--fields", "1") == 0
    found = ome_zarr_models.open_ome_zarr(tmp_path / "out.zarr")
    assert len(found.attributes.ome.plate.wells) == 1
    assert run("predict", plate, "-m", package, "-o", tmp_path / "out.zarr", "--wells", "A1:B1") == 0
    assert list(map(str, open_plate(tmp_path / "out.zarr").fields)) == ["A01/0", "A01/1", "B01/0", "B01/1"]


def test_in_place_the_stains_are_a_second_image(plate: Path, package: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("predict", plate, "-m", package, "-o", tmp_path / "out.zarr") == 0
    before = pixels(plate)
    code, report, _ = predict(capsys, plate, "-m", package, "--in-place")
    assert (code, report["painted"]) == (0, 8)
    assert pixels(plate) == before
    opened = open_plate(plate)
    assert len(opened.painted) == 8
    beside = open_plate(tmp_path / "out.zarr")
    for each, stains in opened.painted.items():
        assert np.array_equal(np.asarray(opened.read(stains[0]).data), np.asarray(beside.read(beside.by_key[each.key]).data))
    code, report, _ = predict(capsys, plate, "-m", package, "--in-place")
    assert (code, report["painted"], report["skipped"]) == (0, 0, 8)
    assert len(read_scores(plate)) == 8


def test_a_folder_takes_tiffs(plate: Path, package: str, tmp_path: Path) -> None:
    assert run("predict", plate, "-m", package, "-o", tmp_path / "out", "--wells", "A1") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["A01_0.ome.tif", "A01_1.ome.tif"]


def in_shards(array: Path) -> None:
    """Write an array again, two chunks by two in each shard, as other programs do for planes of this size."""
    old = zarr.open_array(array)
    pixels, names = old[:], old.metadata.dimension_names
    chunks, shards = (1, 1, 1, 32, 32), (1, 1, 1, 64, 64)
    new = zarr.create_array(
        array, shape=pixels.shape, dtype=pixels.dtype, chunks=chunks, shards=shards, dimension_names=names, overwrite=True
    )
    new[:] = pixels


@pytest.mark.parametrize(
    ("sharded", "damage"), [(True, "are damaged (their checksum differs)"), (False, "error during blosc decompression")]
)
def test_failed_fields_are_exit_code_3(
    plate: Path, package: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], sharded: bool, damage: str
) -> None:
    array = plate / "A" / "2" / "1" / "0"
    if sharded:
        in_shards(array)
    channels = [path for path in sorted(array.rglob("*")) if path.is_file() and path.suffix != ".json"]
    assert len(channels) == len(CHANNELS)
    stored = bytearray(channels[2].read_bytes())
    if sharded:
        stored[-3] ^= 1
    channels[2].write_bytes(stored if sharded else stored[:-300])
    code, report, err = predict(capsys, plate, "-m", package, "-o", tmp_path / "out.zarr")
    assert (code, report["painted"], report["failed"]) == (3, 7, 1)
    assert Path(report["failures"]).read_text().startswith("well,field,acquisition,reason\nA02,1,,")
    assert read_failures(tmp_path / "out.zarr")["well"].tolist() == ["A02"]
    reason = read_failures(tmp_path / "out.zarr")["reason"].item()
    assert f"the channel {CHANNELS[2]}: " in reason
    assert damage in reason
    assert reason.endswith("; copy the field A02/1 again, or leave it out")
    assert "A02/1 failed" in err
    assert "A02/1" not in pixels(tmp_path / "out.zarr")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--tile", "64"), "the setting tile was auto and is now 64"),
        (("--precision", "bfloat16"), "the setting precision was float32 and is now bfloat16"),
    ],
)
def test_a_changed_setting_is_exit_code_2(
    plate: Path, package: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], sentence: str
) -> None:
    assert run("predict", plate, "-m", package, "-o", tmp_path / "out.zarr", "--wells", "A1") == 0
    code, _, err = predict(capsys, plate, "-m", package, "-o", tmp_path / "out.zarr", *words)
    assert code == 2
    assert sentence in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--workers", "0"), "1 or more"),
        (("--memory", "lots"), "number of GB"),
        (("--memory", "0.001"), "too little memory"),
        (("--wells", "H12"), "no image in H12"),
        (("--fields", "7"), "no well has a field '7'"),
        (("--workers", "2", "--scheduler", "tcp://a:1"), "not allowed with"),
    ],
)
def test_wrong_options_are_exit_code_2(
    plate: Path, package: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], sentence: str
) -> None:
    assert run("predict", plate, "-m", package, "-o", tmp_path / "out.zarr", *words) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out.zarr").exists()


def test_an_output_is_needed_and_only_one(plate: Path, package: str, tmp_path: Path) -> None:
    assert run("predict", plate, "-m", package) == 2
    assert run("predict", plate, "-m", package, "--in-place", "-o", tmp_path / "out.zarr") == 2


COUNT = """
import sys
from napari_virtual_paint.cli import main
code = main(sys.argv[1:])
print("torch" in sys.modules, file=sys.stderr)
sys.exit(code)
"""


def test_a_finished_plate_needs_no_torch(plate: Path, package: str, tmp_path: Path) -> None:
    words = ["plate", "predict", str(plate), "-m", package, "-o", str(tmp_path / "out.zarr"), "--json"]
    assert main(words) == 0
    done = subprocess.run([sys.executable, "-c", COUNT, *words], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["skipped"] == 8
    assert done.stderr.strip().endswith("False")


@pytest.mark.skipif(os.name == "nt", reason="signals are of POSIX")
def test_stopped_by_a_signal_and_gone_on_with(plate: Path, package: str, tmp_path: Path) -> None:
    words = ["plate", "predict", str(plate), "-m", package, "--json", "-o"]
    assert main([*words, str(tmp_path / "whole.zarr")]) == 0
    output = tmp_path / "out.zarr"
    command = [
        sys.executable,
        "-c",
        "import sys; from napari_virtual_paint.cli import main; sys.exit(main(sys.argv[1:]))",
        *words,
        str(output),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not (output / "A" / "1" / "0").exists() and time.monotonic() < end:
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (143, "")
    assert "the same command goes on with the rest" in err
    assert main([*words, str(output)]) == 0
    assert pixels(output) == pixels(tmp_path / "whole.zarr")
    assert len(read_scores(output)) == 8


def test_the_plates_channels_are_named(plate: Path, package: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("a", "b", "c", "DNA", "er")
    assert len(names) == len(CHANNELS)
    code, _, err = predict(capsys, plate, "-m", package, "-o", tmp_path / "out.zarr", "--names", ",".join(names))
    assert code == 2
    assert "toy-planes" in err
    code, report, _ = predict(
        capsys, plate, "-m", package, "-o", tmp_path / "out.zarr", "--names", ",".join(names), "--channels", "a,b,c", "--wells", "A1"
    )
    assert (code, report["painted"]) == (0, 2)
    assert read_scores(tmp_path / "out.zarr")["pcc_DNA"].notna().all()


def test_a_stain_is_not_painted_as_brightfield_unless_it_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one_plane = {"channels": ("Brightfield",), "config": {**CONFIG_2D, "in_channels": 1}, "planes_as_channels": False, "z_offsets": None}
    package = toy_model(tmp_path, **one_plane).info.source
    toy = make_plate(tmp_path / "toy", 2, channels=("FITC",))
    path = tmp_path / "plate.zarr"
    writer.create(path, "plate", (1, 2), toy.fields)
    for each in toy.fields:
        writer.write_field(path, each, toy.read(each))
    writer.list_fields(path, toy.fields)
    code, _, err = predict(capsys, path, "-m", package, "-o", tmp_path / "out.zarr")
    assert code == 2
    assert err.splitlines()[-1] == (
        f"virtual-paint: {path}: FITC is fluorescence by name, and the model toy-planes paints from brightfield; its channels are FITC: "
        "if that is meant, name the channel with --channels, as in --channels FITC."
    )
    assert not (tmp_path / "out.zarr").exists()
    code, report, _ = predict(capsys, path, "-m", package, "-o", tmp_path / "out.zarr", "--channels", "FITC")
    assert (code, report["painted"]) == (0, 2)


def test_acquisitions_that_join_later_keep_their_names(package: str, tmp_path: Path) -> None:
    toy = make_plate(tmp_path / "toy", 4)
    fields = [Field(well, "0", acquisition) for well in ("A01", "A02") for acquisition in ("first", "second")]
    writer.create(tmp_path / "plate.zarr", "plate", (1, 2), fields, ("first", "second"))
    for there, each in zip(toy.fields, fields, strict=True):
        writer.write_field(tmp_path / "plate.zarr", each, toy.read(there))
    writer.list_fields(tmp_path / "plate.zarr", fields)
    assert run("predict", tmp_path / "plate.zarr", "-m", package, "-o", tmp_path / "out.zarr", "--wells", "A1") == 0
    assert run("predict", tmp_path / "plate.zarr", "-m", package, "-o", tmp_path / "out.zarr") == 0
    assert open_plate(tmp_path / "out.zarr").fields == open_plate(tmp_path / "plate.zarr").fields
