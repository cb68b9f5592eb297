"""Simulated plates: what is in the wells, every layout, stopping and going on."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from napari_virtual_paint.choices import PLATE_LAYOUTS
from napari_virtual_paint.cli import main
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.plates.opening import open_plate
from napari_virtual_paint.plates.plate import Field, Plate
from napari_virtual_paint.plates.simulation.design import CHANNELS, PlateDesign, parse_shape
from napari_virtual_paint.plates.simulation.layouts import LAYOUTS
from napari_virtual_paint.plates.simulation.simulate import SimulationSummary, simulate_plate
from napari_virtual_paint.samples import simulate_field

pytest.importorskip("zarr", reason="OME-Zarr plates are written by zarr, which is not installed")

SMALL = PlateDesign((1, 2), fields=2, size=64, seed=5, batch=3)


def run(design: PlateDesign, path: Path, layout: str = "ome-zarr", workers: int = 1) -> SimulationSummary:
    steps = simulate_plate(design, path, layout, workers)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def pixels(plate: Plate) -> dict[str, np.ndarray]:
    """Return well and number of a field in its well -> pixels."""
    return {f"{well} {i}": np.asarray(plate.read(field).data) for well, fields in plate.by_well.items() for i, field in enumerate(fields)}


@pytest.fixture(scope="module")
def truth() -> dict[str, np.ndarray]:
    """Return the pixels of `SMALL` as the simulator makes them field by field."""
    found = {}
    for field in SMALL.all_fields:
        made = simulate_field(SMALL.settings(field))
        found[f"{field.well} {field.name}"] = np.concatenate([made.brightfield.data, made.stains.data], axis=1)
    return found


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished plate of `SMALL`; copy it to change it."""
    path = tmp_path_factory.mktemp("plates") / "small.zarr"
    assert run(SMALL, path).simulated == 4
    return path


def copy(small: Path, folder: Path) -> Path:
    for name in ("small.csv", "small.design.json"):
        shutil.copy(small.with_name(name), folder)
    return shutil.copytree(small, folder / small.name)


def equal(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> bool:
    return first.keys() == second.keys() and all(np.array_equal(first[key], second[key]) for key in first)


def test_the_wells_of_a_plate() -> None:
    design = PlateDesign((8, 12), seed=3)
    counts = Counter(design.treated.values())
    assert counts == {("control", 0.0): 96 - 72, **dict.fromkeys(design.conditions, 8)}
    controls = {well for well, (treatment, _) in design.treated.items() if treatment == "control"}
    outer = {f"{row}{column}" for row in "ABCDEFGH" for column in ("01", "12")}
    assert outer < controls
    spread = PlateDesign((8, 12), seed=3, controls="spread")
    assert Counter(spread.treated.values()) == counts
    assert not outer < {well for well, (treatment, _) in spread.treated.items() if treatment == "control"}
    assert PlateDesign((8, 12), seed=4).treated != design.treated
    assert design.metadata["A01"] == {"treatment": "control", "dose": 0.0, "control": "yes", "seed": design.well_seed("A01")}
    assert len({design.settings(field).seed for field in PlateDesign((8, 12), fields=9, seed=3).all_fields}) == 96 * 9


def test_replicates_and_small_plates() -> None:
    twice = PlateDesign((4, 6), treatments=("mitoxantrone",), doses=(0.5, 1.0), replicates=3)
    assert Counter(twice.treated.values())["mitoxantrone", 0.5] == 3
    assert Counter(twice.treated.values())["control", 0.0] == 24 - 6
    few = Counter(PlateDesign((2, 3)).treated.values())
    assert few["control", 0.0] == 2
    assert [few[name, 2.0] for name in PlateDesign().treatments] == [1, 1, 1]
    with pytest.raises(InputError, match="room for 20"):
        PlateDesign((4, 6), replicates=3)


def test_what_a_well_shows_does_not_depend_on_the_plate() -> None:
    first, second = PlateDesign((2, 3), size=64, seed=8), PlateDesign((4, 6), size=64, seed=8, fields=4)
    assert first.settings(Field("A01", "0")) == second.settings(Field("A01", "0"))


@pytest.mark.parametrize(
    ("text", "shape"), [("6", (2, 3)), ("24", (4, 6)), ("96", (8, 12)), ("384", (16, 24)), ("3x5", (3, 5)), ("1536", (32, 48))]
)
def test_shapes(text: str, shape: tuple[int, int]) -> None:
    assert parse_shape(text) == shape


@pytest.mark.parametrize(
    "wrong",
    [
        ["--plate", "7"],
        ["--plate", "9" * 5000],
        ["--plate", "0x4"],
        ["--layout", "vhs"],
        ["--treatments", "aspirin"],
        ["--doses", "a"],
        ["--workers", "0"],
    ],
)
def test_what_cannot_be_made_is_a_sentence_and_nothing_is_there(
    wrong: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", str(tmp_path / "out.zarr"), "--plate", "6", "--size", "64", *wrong]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = pytest.importorskip("ome_zarr_models", reason="ome-zarr-models, which checks the plate, is not installed")
    path = tmp_path / "plate.zarr"
    arguments = ["simulate", str(path), "--plate", "6", "--fields", "1", "--size", "64", "--seed", "3", "--json"]
    assert main(arguments) == 0
    printed = json.loads(capsys.readouterr().out)
    expected = {"output": str(path), "layout": "ome-zarr", "wells": 6, "fields": 6, "simulated": 6, "skipped": 0}
    assert {key: printed[key] for key in expected} == expected
    assert models.open_ome_zarr(str(path)).n_wells == 6
    plate = open_plate(path)
    assert (plate.shape, len(plate.wells), plate.channels) == ((2, 3), 6, CHANNELS)
    assert plate.read(plate.fields[0]).shape == (1, 8, 1, 64, 64)
    with (tmp_path / "plate.csv").open(newline="") as file:
        rows = {row["well"]: row for row in csv.DictReader(file)}
    assert {well: row["treatment"] for well, row in rows.items()} == {well: row["treatment"] for well, row in plate.metadata.items()}
    assert list(next(iter(rows.values()))) == ["well", "treatment", "dose", "control", "batch", "seed"]
    assert main(arguments) == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["simulated"], again["skipped"]) == (0, 6)


def test_the_command_names_all_layouts() -> None:
    assert tuple(LAYOUTS) == PLATE_LAYOUTS


@pytest.mark.parametrize("layout", PLATE_LAYOUTS)
def test_every_layout_opens_and_has_the_same_pixels(layout: str, tmp_path: Path, truth: dict[str, np.ndarray]) -> None:
    path = tmp_path / ("plate.zarr" if layout.startswith("ome-zarr") else "plate")
    assert run(SMALL, path, layout).simulated == 4
    plate = open_plate(
        path / "images.csv" if layout == "table" else path, pattern="{well}_{field}_{channel}" if layout == "pattern" else None
    )
    named = {"Brightfield_L": CHANNELS[0], "Brightfield": CHANNELS[1], "Brightfield_H": CHANNELS[2]} if layout == "loaddata" else {}
    assert plate.channels is not None
    order = [[named.get(name, name) for name in plate.channels].index(name) for name in CHANNELS]
    assert equal({key: data[:, order] for key, data in pixels(plate).items()}, truth)
    size = plate.read(plate.fields[0]).pixel_size
    assert (size.y, size.x) == ((None, None) if layout == "loaddata" else (0.65, 0.65))
    if layout in ("opera-phenix", "imagexpress", "yokogawa", "incarta") or layout.startswith("ome-zarr"):
        assert (plate.name, plate.shape, plate.notes) == ("plate", (1, 2), ())
    if layout in ("table", "loaddata") or layout.startswith("ome-zarr"):
        told = {well: {key: row[key] for key in SMALL.metadata_of(well)} for well, row in plate.metadata.items()}
        assert told == SMALL.metadata
    assert run(SMALL, path, layout).skipped == 4


def test_labels_are_of_the_cells(small: Path) -> None:
    import zarr

    made = simulate_field(SMALL.settings(Field("A02", "1")))
    for name, expected in made.labels.items():
        found = zarr.open_array(str(small / "A/2/1/labels" / name / "0"), mode="r")[0, 0, 0]
        np.testing.assert_array_equal(found, expected)


def test_only_what_is_missing_is_made(small: Path, tmp_path: Path, truth: dict[str, np.ndarray]) -> None:
    path = copy(small, tmp_path)
    shutil.rmtree(path / "A/2/0")
    kept = (path / "A/1/0/zarr.json").stat().st_mtime_ns
    summary = run(SMALL, path)
    assert (summary.simulated, summary.skipped) == (1, 3)
    assert (path / "A/1/0/zarr.json").stat().st_mtime_ns == kept
    assert equal(pixels(open_plate(path)), truth)


def test_a_killed_run_of_files_is_cleared_away(tmp_path: Path, truth: dict[str, np.ndarray]) -> None:
    path = tmp_path / "plate"
    run(SMALL, path, "opera-phenix")
    left = path / "Images/.A02-1-0123abcd.partial"
    left.mkdir()
    (path / "Images/r01c02f02p01-ch8sk1fk1fl1.tiff").rename(left / "half.tiff")
    summary = run(SMALL, path, "opera-phenix")
    assert (summary.simulated, summary.skipped, left.exists()) == (1, 3, False)
    assert equal(pixels(open_plate(path)), truth)


def test_another_design_is_refused(small: Path, tmp_path: Path) -> None:
    path = copy(small, tmp_path)
    with pytest.raises(InputError, match="another design"):
        run(PlateDesign((1, 2), fields=2, size=64, seed=6, batch=3), path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="choose another folder"):
        run(SMALL, tmp_path / "other", "yokogawa")
    assert [each.name for each in (tmp_path / "other").iterdir()] == ["mine.txt"]
    (tmp_path / "mine.csv").write_text("well,treatment\nA01,mine\n")
    with pytest.raises(InputError, match="belongs to no simulated plate"):
        run(SMALL, tmp_path / "mine.zarr")
    assert not (tmp_path / "mine.zarr").exists()


def test_a_run_that_is_closed_lists_what_is_there(tmp_path: Path) -> None:
    steps = simulate_plate(SMALL, tmp_path / "plate.zarr")
    assert [next(steps).done for _ in range(3)] == [0, 1, 2]
    steps.close()
    assert [field.key for field in open_plate(tmp_path / "plate.zarr").fields] == ["A01/0", "A01/1"]


def test_a_plate_has_its_own_light() -> None:
    field = Field("A01", "0")
    plain, first, second = (simulate_field(PlateDesign((1, 2), size=64, batch=batch).settings(field)) for batch in (None, 1, 2))
    means = [float(made.brightfield.data.mean()) for made in (plain, first, second)]
    assert max(means) > 1.1 * min(means)
    for one, other in ((first, second), (plain, first)):
        np.testing.assert_array_equal(one.labels["cell"], other.labels["cell"])


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent to a process in another way on Windows")
def test_ctrl_c_keeps_what_several_processes_made_and_the_same_design_goes_on(tmp_path: Path) -> None:
    path, design = tmp_path / "plate.zarr", PlateDesign((2, 4), fields=4, size=64, seed=1)
    options = ["--plate", "2x4", "--fields", "4", "--size", "64", "--seed", "1", "--workers", "2"]
    command = [sys.executable, "-c", "from napari_virtual_paint.cli import main; raise SystemExit(main())", "simulate", str(path), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(path.glob("*/*/?/zarr.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    out, words = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "the same command adds the others" in words
    assert "Traceback" not in words
    plate = open_plate(path)
    assert 1 <= len(plate.fields) < 32
    assert not list(path.glob("*/*/.*"))
    for field in plate.fields[:2]:
        made = simulate_field(design.settings(field))
        np.testing.assert_array_equal(plate.read(field).data[:, 3:].compute(), made.stains.data)
    steps = simulate_plate(design, path, workers=2)
    assert next(steps).done == len(plate.fields)
    steps.close()
