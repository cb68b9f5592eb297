"""``virtual-paint models``: what it prints, its JSON and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from napari_virtual_paint.cli import main
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.writing import write
from small_models import TOY_3D, spoil, write_toy


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder with two models."""
    root = tmp_path_factory.mktemp("own")
    write_toy(root / "planes")
    write_toy(root / "volume.zip", TOY_3D)
    return root


@pytest.fixture(autouse=True)
def own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRTUAL_PAINT_MODELS", str(folder))


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Run a command and return exit code, stdout and stderr."""
    code = main(["models", *map(str, arguments)])
    return code, *capsys.readouterr()


def test_list(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    code, out, err = run(capsys, "list")
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["ID", "VERSION", "FROM", "TO"]
    assert {line[0] for line in lines[1:]} >= {"toy-planes", "toy-volume"}
    assert str(folder) in err


def test_list_json(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    code, out, _ = run(capsys, "list", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["folder"] == str(folder)
    toy = next(model for model in found["models"] if model["id"] == "toy-planes")
    assert toy["stains"] == ["DNA", "ER"]
    assert toy["card"]["scores"]["DNA"]["pcc"] == 0.75
    assert toy["pixel_size"] == [4.0, 0.325, 0.325]


def test_list_tells_what_it_leaves_out(
    capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own").mkdir()
    spoil(folder / "planes", tmp_path / "own" / "spoiled", lambda content: content.update(type="dataset"))
    monkeypatch.setenv("VIRTUAL_PAINT_MODELS", str(tmp_path / "own"))
    code, out, err = run(capsys, "list")
    assert code == 0
    assert "Left out" in err
    assert "describes a dataset" in err
    assert "spoiled" not in out


@pytest.mark.parametrize("by_path", [False, True])
def test_show(capsys: pytest.CaptureFixture[str], folder: Path, by_path: bool) -> None:
    code, out, _ = run(capsys, "show", folder / "planes" if by_path else "toy-planes")
    assert code == 0
    for words in (
        "toy-planes",
        "BSD-3-Clause",
        "Brightfield -4um, Brightfield 0um",
        "Noise.",
        "Cells.",
        "virtual-paint train toy.yaml",
        "0.750",
    ):
        assert words in out


def test_show_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "show", "toy-volume", "--json")
    assert code == 0
    assert json.loads(out)["dims"] == 3


def test_show_what_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "show", "nothing", "--json")
    assert code == 2
    assert out == ""
    assert "no model of this id" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("package", ["planes", "volume.zip"])
def test_check(capsys: pytest.CaptureFixture[str], folder: Path, package: str) -> None:
    code, out, _ = run(capsys, "check", folder / package)
    assert code == 0
    assert out.splitlines()[-1].endswith(": sound")
    assert "FAILED" not in out
    assert "max abs error" in out


def test_check_json(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    code, out, _ = run(capsys, "check", "toy-planes", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["ok"] is True
    assert {tuple(row) for row in found["checks"]} == {("name", "ok", "detail")}
    assert all(row["ok"] is True for row in found["checks"])


def test_check_of_a_spoiled_package_ends_with_2(capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path) -> None:
    path = spoil(folder / "planes", tmp_path / "spoiled", weights__pt=b"x" * 50_000)
    code, out, _ = run(capsys, "check", path)
    assert code == 2
    assert "FAILED" in out
    assert out.splitlines()[-1] == f"{path}: not sound"
    code, out, err = run(capsys, "check", path, "--json")
    assert code == 2
    assert json.loads(out)["ok"] is False
    assert "Traceback" not in err


def test_check_of_nothing_ends_with_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = run(capsys, "check", tmp_path / "nothing", "--json")
    assert code == 2
    assert "no such file" in json.loads(out)["checks"][0]["detail"]


def test_rank_orders_bundled_and_own_models_by_an_image(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).normal(1000, 30, (1, 1, 1, 64, 64)).astype(np.float32)
    image = write(Stack(pixels, ("Phase",)), tmp_path / "phase.ome.tif")
    write_toy(tmp_path / "named")
    code, out, _ = run(capsys, "rank", image, "-m", tmp_path / "named", "--json")
    found = json.loads(out)["models"]
    assert code == 0
    ids = [one["id"] for one in found]
    assert {"toy-planes", "toy-volume", "jurkat-brightfield"} <= set(ids)
    assert ids.count("toy-planes") == 2, "the user's own, and the one that was named"
    needs = next(one for one in found if one["id"] == "toy-volume")
    assert (needs["fits"], needs["verdict"], needs["reason"]) == (False, None, "This model needs a z-stack; your image has one plane.")
    assert [one["fits"] for one in found] == sorted((one["fits"] for one in found), reverse=True)
    code, out, _ = run(capsys, "rank", image)
    assert out.startswith("1. ")
    assert run(capsys, "rank", tmp_path / "none.tif")[0] == 2
