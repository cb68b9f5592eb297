"""--axes on every command that reads an image, and what readers want the user to know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from command_parsers import options
from napari_virtual_paint.cli import main
from napari_virtual_paint.reading import read

RNG = np.random.default_rng(0)
PLANE = RNG.integers(0, 4000, (40, 44)).astype(np.uint16)


def run(*arguments: object) -> int:
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return int(end.code or 0)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of a very small network: one channel to two stains."""
    import torch

    from napari_virtual_paint.models import Card, save_model
    from napari_virtual_paint.networks import build

    torch.manual_seed(0)
    config = {"in_channels": 1, "out_channels": 2, "depth": 2, "width": 4}
    texts = {"id": "tiny", "name": "A tiny network", "description": "For tests.", "version": "0.1.0", "architecture": "UNet"}
    options: dict[str, Any] = {"channels": ("Brightfield",), "stains": ("DNA", "ER"), "dims": 2, "card": Card()}
    test_input = RNG.normal(size=(1, 32, 32))
    folder = tmp_path_factory.mktemp("package") / "tiny"
    return save_model(folder, build("UNet", config).eval(), **texts, config=config, test_input=test_input, **options)


def plain(path: Path, data: np.ndarray, **options: Any) -> Path:
    tifffile.imwrite(path, data, photometric="minisblack", **options)
    return path


@pytest.fixture
def last(tmp_path: Path) -> Path:
    """An array with its channels last."""
    return plain(tmp_path / "last.tif", np.stack([PLANE, PLANE[::-1]], -1))


def test_predict(package: Path, last: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    first = plain(tmp_path / "first.ome.tif", PLANE[None], ome=True, metadata={"axes": "CYX"})
    assert run("predict", first, "-m", package, "-o", tmp_path / "expected.ome.tif", "--device", "cpu") == 0
    capfd.readouterr()
    command = ("predict", last, "-m", package, "--channels", "0", "--device", "cpu", "--json", "-o", tmp_path / "out.ome.tif")
    assert run(*command, "--axes", "YXC") == 0
    out, err = capfd.readouterr()
    assert "notes" not in json.loads(out)
    assert "states no axes" not in err
    expected = np.asarray(read(tmp_path / "expected.ome.tif").data)
    np.testing.assert_allclose(np.asarray(read(tmp_path / "out.ome.tif").data), expected, atol=1e-5)
    assert run(*command) == 0
    out, err = capfd.readouterr()
    assert "taken as 2 channels (YXC)" in json.loads(out)["notes"][0]
    assert err.count("taken as 2 channels") == 1
    np.testing.assert_allclose(np.asarray(read(tmp_path / "out.ome.tif").data), expected, atol=1e-5)


@pytest.mark.parametrize("axes", ["YX", "YYX", "QYX", "ZYXC", "CZ", ""])
def test_axes_that_contradict_the_file(package: Path, last: Path, tmp_path: Path, axes: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("predict", last, "-m", package, "-o", tmp_path / "out.ome.tif", "--axes", axes, "--json") == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "out.ome.tif").exists()


def test_axes_that_contradict_the_metadata(package: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    stated = plain(tmp_path / "a.ome.tif", np.stack([PLANE] * 3), ome=True, metadata={"axes": "ZYX"})
    assert run("predict", stated, "-m", package, "-o", tmp_path / "out.ome.tif", "--axes", "CYX") == 2
    assert "contradicts CYX" in capfd.readouterr().err


def scores(capfd: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capfd.readouterr().out)
    return found


def test_evaluate(last: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    stated = plain(tmp_path / "a.ome.tif", np.stack([PLANE, PLANE[::-1]]), ome=True, metadata={"axes": "CYX"})
    assert run("evaluate", stated, last, "--axes", ",YXC", "--json") == 0
    found = scores(capfd)
    assert found["mean"]["pcc"] == pytest.approx(1)
    assert "notes" not in found
    assert run("evaluate", last, last, "--axes", "YXC", "--json") == 0
    assert scores(capfd)["mean"]["mse"] == pytest.approx(0)
    assert run("evaluate", stated, last, "--json") == 0
    assert "taken as 2 channels" in scores(capfd)["notes"][0]
    for wrong, words in (("YXC", "contradicts YXC"), (",YX", "its array has 3 axes"), ("YXC,YXC,YXC", "names the axes of 3 images")):
        assert run("evaluate", stated, last, "--axes", wrong) == 2
        assert words in capfd.readouterr().err


def test_evaluate_by_levels(last: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pandas", reason="levels need the extra evaluate")
    stated = plain(tmp_path / "a.ome.tif", np.stack([PLANE, PLANE[::-1]]), ome=True, metadata={"axes": "CYX"})
    command = ("evaluate", stated, last, "--level", "pixels", "--workers", "1", "--json", "-o", tmp_path / "report")
    assert run(*command, "--axes", ",YXC") == 0
    assert "taken as" not in capfd.readouterr().err
    assert run(*command, "--axes", "YXC") == 2
    assert "contradicts YXC" in capfd.readouterr().err


def test_domain(package: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    last = plain(tmp_path / "large.tif", RNG.integers(0, 4000, (300, 320, 2)).astype(np.uint16))
    command = ("models", "domain", package, "--images", last, "--channels", "0", "-o", tmp_path / "with", "--json")
    assert run(*command, "--axes", "YX") == 2
    assert "its array has 3 axes" in capfd.readouterr().err
    assert run(*command, "--axes", "YXC") == 0
    assert "taken as" not in capfd.readouterr().err
    assert run("domain", last, "-m", tmp_path / "with", "--channels", "0", "--json") == 0
    assert "taken as 2 channels" in capfd.readouterr().err
    assert run("domain", last, "-m", tmp_path / "with", "--axes", "ZYXC") == 2


def test_register(last: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    target = plain(tmp_path / "target.ome.tif", np.stack([PLANE, PLANE]), ome=True, metadata={"axes": "CYX"})
    command = ("register", last, target, "--stain", "0", "--channel", "0", "--transform", "translation", "--json")
    run(*command, "--axes", "YXC,")
    out, err = capfd.readouterr()
    assert "converged" in json.loads(out)
    assert "taken as" not in err
    assert run(*command, "--axes", "YXC") == 2
    assert "contradicts YXC" in capfd.readouterr().err


def test_cells_measure(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("cp_measure", reason="cells are measured by cp_measure (extra cells)")
    y, x = np.ogrid[:128, :128]
    nucleus = (2000 * np.exp(-((y - 64) ** 2 + (x - 64) ** 2) / 200)).astype(np.uint16) + 100
    image = plain(tmp_path / "a.tif", np.stack([nucleus, nucleus], -1))
    command = ("cells", "measure", image, "-o", tmp_path / "table.csv", "--channels", "DNA,ER", "--tile", "0", "--json")
    assert run(*command, "--axes", "YX") == 2
    assert "its array has 3 axes" in capfd.readouterr().err
    assert run(*command, "--axes", "YXC") == 0
    assert json.loads(capfd.readouterr().out)["cells"] == 1
    again = plain(tmp_path / "b.tif", np.stack([nucleus, nucleus], -1))
    assert run(*command[:3], again, *command[3:]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["cells"] == 2
    assert err.count("taken as 2 channels") == 1  # of both images
    assert f"{image}: The array of 128 x 128 x 2" in err


READ_NO_ARRAYS = {
    "models list": "reads packages",
    "models show": "reads packages",
    "models check": "reads packages, whose examples state their axes",
    "models import": "reads weights",
    "models export": "reads packages",
    "models download": "reads packages",
    "simulate": "reads nothing",
    "cells table": "reads tables",
    "cells generate": "reads packages and tables",
    "cells walk": "reads packages and tables",
}
"""Command -> why it needs no --axes."""


def test_every_command_that_reads_an_image_has_axes() -> None:
    found: dict[str, set[str]] = {}
    for words, action in options():
        found.setdefault(" ".join(words), set()).update(action.option_strings)
    without = {command for command, names in found.items() if "--axes" not in names}
    assert without == READ_NO_ARRAYS.keys()


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    """A plate of plain arrays with channels last."""
    for well in ("A01", "A02"):
        image = RNG.integers(0, 4000, (40, 44, 2)).astype(np.uint16)
        (tmp_path / "plate").mkdir(exist_ok=True)
        plain(tmp_path / "plate" / f"{well}_1.tif", image)
    return tmp_path / "plate"


def test_plate_info(plate: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = ("plate", "info", plate, "--pattern", "{well}_{field}", "--json")
    assert run(*command) == 0
    guessed = json.loads(capfd.readouterr().out)
    assert guessed["shape"] == [1, 2, 1, 40, 44]
    assert any("taken as 2 channels (YXC)" in note for note in guessed["notes"])
    assert run(*command, "--axes", "ZYX") == 0
    assert json.loads(capfd.readouterr().out)["shape"] == [1, 1, 40, 44, 2]
    assert run(*command, "--axes", "YXC") == 0
    named = json.loads(capfd.readouterr().out)
    assert named["shape"] == [1, 2, 1, 40, 44]
    assert not any("taken as" in note for note in named["notes"])
    assert run(*command, "--axes", "YQ") == 2


def test_plate_predict(package: Path, plate: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    first = RNG.integers(0, 4000, (2, 40, 44)).astype(np.uint16)
    plain(plate / "A01_1.tif", np.moveaxis(first, 0, -1))
    alone = plain(tmp_path / "alone.ome.tif", first, ome=True, metadata={"axes": "CYX"})
    assert run("predict", alone, "-m", package, "--channels", "1", "-o", tmp_path / "expected.ome.tif", "--device", "cpu") == 0
    capfd.readouterr()
    options = ("-m", package, "--channels", "1", "--device", "cpu", "--workers", "1", "--pattern", "{well}_{field}", "--json")
    command = ("plate", "predict", plate, *options, "-o", tmp_path / "out")
    assert run(*command, "--axes", "YXC") == 0
    assert "taken as" not in capfd.readouterr().err
    painted = next((tmp_path / "out").glob("A01*"))
    expected = np.asarray(read(tmp_path / "expected.ome.tif").data)
    np.testing.assert_allclose(np.asarray(read(painted).data), expected, atol=1e-5)
    assert run(*command) == 2
    assert "the order of its images' axes was YXC and is now none" in capfd.readouterr().err
    assert run("plate", "predict", plate, *options, "-o", tmp_path / "guessed") == 0
    err = capfd.readouterr().err
    assert err.count("taken as 2 channels (YXC)") == 1  # of both fields
    assert f"{plate / 'A01_1.tif'}: The array of 40 x 44 x 2 states no axes" in err


def training(place: Path, **data: Any) -> Path:
    """Write the configuration of a tiny training."""
    words = {"name": "A tiny model", "description": "For tests.", "trained_on": "Noise.", "not_for": "Anything."}
    network = {"config": {"depth": 2, "width": 4}}
    values = {"id": "tiny", **words, "output": "out.zip", "patch": [16, 16], "batch": 2, "network": network, "data": data}
    path = place / "config.yaml"
    path.write_text(json.dumps(values))  # JSON is YAML
    return path


def test_train(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        pixels = RNG.integers(0, 4000, (40, 44, 3)).astype(np.uint16)
        plain(tmp_path / f"{number}_in.tif", pixels[..., :2])
        plain(tmp_path / f"{number}_out.ome.tif", pixels[..., 2], ome=True, metadata={"axes": "YX"})
    config = training(tmp_path, folder=".", input="*_in.tif", target="*_out.ome.tif")
    command = ("train", config, "--check", "--json")
    assert run(*command) == 0
    notes = json.loads(capfd.readouterr().out)["notes"]
    about = [note for note in notes if "taken as 2 channels (YXC)" in note]
    assert len(about) == 1  # of all three
    assert about[0].startswith(f"{tmp_path / '0_in.tif'} and 2 other files: The array of 40 x 44 x 2 states no axes")
    assert run(*command, "--axes", "YXC,") == 0
    assert not any("taken as" in note for note in json.loads(capfd.readouterr().out)["notes"])
    assert run(*command, "--axes", "ZYX,YX") == 2
    assert "40 x 44 px do not fit the 1 time point of 44 x 2 px" in capfd.readouterr().err
    assert run(*command, "--axes", "YXC,XY") == 2
    assert "0_out.ome.tif: its metadata states its axes (Y 40, X 44), which contradicts XY" in capfd.readouterr().err
    assert run(*command, "--axes", "YX,YX,YX") == 2


def test_train_on_a_plate(plate: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = {"plate": {"path": str(plate), "pattern": "{well}_{field}"}, "input_channels": [0], "target_channels": [1]}
    command = ("train", training(tmp_path, **data), "--check", "--json")
    assert run(*command) == 0
    assert any("A01/1 and 1 other file: The array" in note for note in json.loads(capfd.readouterr().out)["notes"])
    assert run(*command, "--axes", "YXC") == 0
    assert not any("taken as" in note for note in json.loads(capfd.readouterr().out)["notes"])
    assert run(*command, "--axes", "YXC,YX") == 2
    assert "give input_axes alone" in capfd.readouterr().err


def test_axes_of_simulated_fields_are_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("train", training(tmp_path, simulate={"fields": 2}), "--check", "--axes", "YX") == 2
    assert "simulated fields state theirs" in capfd.readouterr().err


def test_study(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for domain in "ab":
        for number in range(4):
            pixels = RNG.integers(0, 4000, (40, 44, 2)).astype(np.uint16)
            plain(tmp_path / f"{domain}{number}.tif", pixels)
    chosen = {"input_channels": [0], "target_channels": [1]}
    domains = {domain: {"folder": ".", "image": f"{domain}*.tif"} for domain in "ab"}
    shared = {
        "data": chosen,
        "patch": [16, 16],
        "batch": 2,
        "steps": 1,
        "split": {"test": 0.25},
        "network": {"config": {"depth": 2, "width": 4}},
    }
    path = tmp_path / "study.yaml"
    path.write_text(json.dumps({"name": "Axes", "output": "study", "domains": domains, "training": shared, "seeds": [0]}))
    assert run("study", path, "--check", "--axes", "YXC", "--json") == 0
    capfd.readouterr()
    assert run("study", path, "--axes", "YX") == 2
    assert "its array has 3 axes" in capfd.readouterr().err


def test_cells_train(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("cp_measure", reason="cells are measured by cp_measure (extra cells)")
    plain(tmp_path / "a.tif", RNG.integers(0, 4000, (128, 130, 2)).astype(np.uint16))
    words = {"name": "Tiny cells", "description": "For tests.", "trained_on": "Noise.", "not_for": "Anything.", "output": "out.zip"}
    config = tmp_path / "cells.yaml"
    config.write_text(json.dumps({"id": "tiny", **words, "data": {"images": ["a.tif"], "channels": ["DNA", "ER"]}}))
    assert run("cells", "train", config, "--axes", "YX") == 2
    assert "its array has 3 axes" in capfd.readouterr().err
    assert run("cells", "train", config, "--axes", "QYX") == 2
    assert "axes: axes 'QYX': Q names no axis" in capfd.readouterr().err
