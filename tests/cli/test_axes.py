"""--axes on every command that reads an image, and what readers want the user to know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

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


@pytest.mark.parametrize(
    "command",
    [
        ("predict",),
        ("register",),
        ("evaluate",),
        ("domain",),
        ("models", "domain"),
        ("cells", "measure"),
        ("cells", "evaluate"),
    ],
    ids=" ".join,
)
def test_help_has_axes(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*command, "--help") == 0
    assert "--axes" in capsys.readouterr().out
