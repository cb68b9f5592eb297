"""``virtual-paint phase``: what it writes, keeps and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from napari_virtual_paint.cli import main
from napari_virtual_paint.preprocessing import microscope
from napari_virtual_paint.reading import read
from napari_virtual_paint.stack import UNKNOWN, PixelSize, Stack
from napari_virtual_paint.writing import write


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four noisy planes of two channels; the user's microscopes are in an empty folder."""
    monkeypatch.setattr(microscope, "microscopes_file", lambda: tmp_path / "microscopes.json")
    pixels = np.random.default_rng(0).normal(1000, 20, (1, 2, 4, 32, 40)).astype(np.float32)
    return write(Stack(pixels, ("DAPI", "Brightfield"), PixelSize(2.0, 0.4, 0.4)), tmp_path / "stack.ome.tif")


def run(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Run the command and return exit code, stdout and stderr."""
    return main(["phase", *map(str, arguments)]), *capfd.readouterr()


def test_the_phase_is_written_with_its_settings(stack: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The brightfield is found by its name, and the record is in the file."""
    output = tmp_path / "new" / "phase.ome.tif"
    code, out, _ = run(
        capfd, stack, "-o", output, "--na", 0.7, "--condenser-na", 0.3, "--index", 1.0, "--z-padding", 2, "--mode", "3d", "--json"
    )
    report = json.loads(out)
    assert (code, report["channel"], report["mode"], report["shape"]) == (0, "Brightfield", "3d", [1, 1, 4, 32, 40])
    written = read(output)
    assert written.channels == ("Phase",)
    assert written.pixel_size == PixelSize(2.0, 0.4, 0.4)
    assert dict(written.provenance or {})["phase"]["microscope"] == {"na": 0.7, "condenser_na": 0.3, "wavelength": 0.532, "index": 1.0}


def test_the_optics_are_asked_once(stack: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The second call names the microscope alone, the third changes one value of it."""
    assert run(capfd, stack, "-o", tmp_path / "a.ome.tif", "--microscope", "left", "--na", 0.7, "--condenser-na", 0.3)[0] == 0
    assert run(capfd, stack, "-o", tmp_path / "b.ome.tif", "--microscope", "left")[0] == 0
    assert np.array_equal(read(tmp_path / "a.ome.tif").data, read(tmp_path / "b.ome.tif").data)
    code, out, _ = run(capfd, stack, "-o", tmp_path / "b.ome.tif", "--microscope", "left", "--wavelength", 0.6, "--json")
    assert (code, json.loads(out)["phase"]["microscope"]["wavelength"]) == (0, 0.6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--na", "0.7"), "give the optics of the images with --condenser-na"),
        (("--microscope", "right"), "no microscope 'right' was kept yet"),
        (("--na", "0.7", "--condenser-na", "0.3", "--channel", "GFP"), "there are DAPI, Brightfield"),
        (("--na", "0.7", "--condenser-na", "0.3", "--pixel-size", "1,2"), "give the three sizes Z,Y,X"),
        (("--na", "1.4", "--condenser-na", "0.3"), "is not below the refractive index"),
        (("--na", "nan", "--condenser-na", "0.3"), "give a number above 0"),
    ],
)
def test_what_cannot_be_used_is_said(
    stack: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], options: tuple[str, ...], said: str
) -> None:
    """One sentence, exit code 2, and nothing is written."""
    try:
        code, _, err = run(capfd, stack, "-o", tmp_path / "phase.ome.tif", *options)
    except SystemExit as end:
        code, err = int(end.code or 0), capfd.readouterr().err
    assert code == 2
    assert said in err
    assert not (tmp_path / "phase.ome.tif").exists()


def test_a_missing_pixel_size_can_be_given(stack: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """And is asked for."""
    bare = write(Stack(read(stack).compute().data, ("DAPI", "Brightfield"), UNKNOWN), tmp_path / "bare.ome.tif")
    optics = ("-o", tmp_path / "phase.ome.tif", "--na", 0.7, "--condenser-na", 0.3)
    code, _, err = run(capfd, bare, *optics)
    assert code == 2
    assert "--pixel-size Z,Y,X" in err
    assert run(capfd, bare, *optics, "--pixel-size", "2,0.4,0.4")[0] == 0
    assert read(tmp_path / "phase.ome.tif").pixel_size == PixelSize(None, 0.4, 0.4)
