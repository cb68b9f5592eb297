"""The command line's frame: output, exit codes and errors; `evaluate` and `predict` from file to file."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import warnings
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from napari_virtual_paint import __version__
from napari_virtual_paint.choices import values_of
from napari_virtual_paint.cli import COMMANDS, _output, main, predict
from napari_virtual_paint.cli._options import add_channels, add_painting, paint_settings
from napari_virtual_paint.errors import InputError, ReadError, VirtualPaintError, WriteError
from napari_virtual_paint.metrics import compare
from napari_virtual_paint.painting.gray_levels import original_values
from napari_virtual_paint.painting.settings import CHOICES, WITHOUT_OPTION, PaintSettings
from napari_virtual_paint.preprocessing import Microscope, PhaseSettings
from napari_virtual_paint.reading import read
from napari_virtual_paint.stack import PixelSize, Stack
from napari_virtual_paint.writing import write

KEYS = {"pcc", "ssim", "psnr", "mse", "mae"}


def write_stains(path: Path, data: np.ndarray, names: tuple[str, ...]) -> Path:
    tifffile.imwrite(path, data, metadata={"axes": "CYX", "Channel": {"Name": list(names)}}, ome=True)
    return path


@pytest.fixture
def images(tmp_path: Path) -> tuple[Path, Path]:
    """A prediction and a truth whose channels are in another order."""
    rng = np.random.default_rng(0)
    truth = rng.normal(100, 10, (2, 40, 44)).astype(np.float32)
    prediction = truth[::-1] + rng.normal(0, 5, truth.shape).astype(np.float32)
    return (
        write_stains(tmp_path / "prediction.ome.tif", prediction.astype(np.float32), ("ER", "DNA")),
        write_stains(tmp_path / "truth.ome.tif", truth, ("DNA", "ER")),
    )


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of a very small U-Net: one channel to two stains."""
    import torch

    from napari_virtual_paint.models import Card, save_model
    from napari_virtual_paint.networks import build

    torch.manual_seed(0)
    config = {"in_channels": 1, "out_channels": 2, "depth": 2, "width": 4}
    return save_model(
        tmp_path_factory.mktemp("package") / "tiny",
        build("UNet", config).eval(),
        id="tiny",
        name="A tiny network",
        description="For tests.",
        version="0.1.0",
        architecture="UNet",
        config=config,
        channels=("Brightfield",),
        stains=("DNA", "ER"),
        dims=2,
        test_input=np.random.default_rng(0).normal(size=(1, 32, 32)),
        card=Card(),
    )


@pytest.fixture
def field(tmp_path: Path) -> Path:
    return write_stains(tmp_path / "field.ome.tif", np.random.default_rng(1).integers(0, 4000, (1, 50, 61), np.uint16), ("Brightfield",))


def run(*arguments: object) -> int:
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return int(end.code or 0)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a command of the test's own in the place of `evaluate`."""

    def put(work: Any) -> None:
        def add_parser(subparsers: Any) -> None:
            subparsers.add_parser("evaluate").add_argument("--json", action="store_true")

        monkeypatch.setitem(sys.modules, "napari_virtual_paint.cli.evaluate", SimpleNamespace(add_parser=add_parser, run=work))

    return put


# -- the frame


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    out = capsys.readouterr().out
    assert all(f"    {name}" in out for name in COMMANDS)


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "", "-m", "jurkat-brightfield", "--channels", "0", "-o", "out.ome.tif"],
        ["predict", "a_z1.tif", "-m", "jurkat-brightfield", "--channels", "0", "--output="],
        ["plate", "info", ""],
        ["evaluate", "", "a_z1.tif"],
    ],
)
def test_an_empty_argument_is_not_the_current_folder(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a_z1.tif", "a_z2.tif"):
        tifffile.imwrite(name, np.zeros((32, 32), np.uint8))
    assert run(*words) == 2
    assert "an argument is empty" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a_z1.tif", "a_z2.tif"]
    with pytest.raises(ReadError, match="no path"):
        read("")


def test_the_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "napari_virtual_paint", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"virtual-paint {__version__}\n", "")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"virtual-paint {__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(name, "--help") == 0
    assert f"virtual-paint {name}" in capsys.readouterr().out


def test_no_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 2
    assert "evaluate" in capsys.readouterr().err


def test_a_mistyped_command_is_corrected(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("evalute", "a", "b") == 2
    assert "did you mean evaluate?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (InputError("a.tif: it is empty."), 2, "virtual-paint: a.tif: it is empty."),
        (WriteError("b.tif", "the disk is full"), 1, "virtual-paint: b.tif: the disk is full."),
        (VirtualPaintError("no."), 1, "virtual-paint: no."),
        (KeyboardInterrupt(), 130, "stopped"),
        (MemoryError(), 1, "memory ran out"),
        (FileNotFoundError(2, "No such file or directory", "c.tif"), 1, "virtual-paint: c.tif: No such file or directory."),
        (ModuleNotFoundError("No module named 'lightning'", name="lightning"), 1, "package lightning is not installed"),
        (RuntimeError("two\nlines"), 1, "unexpected error, RuntimeError: two lines; please report"),
        (BrokenPipeError(), 1, ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_errors_are_one_sentence(error: BaseException, code: int, words: str, command: Any, capfd: pytest.CaptureFixture[str]) -> None:
    def work(args: Any) -> int:
        raise error

    command(work)
    assert run("evaluate", "--json") == code
    out, err = capfd.readouterr()
    assert out == ""
    assert words in err
    assert "Traceback" not in err
    assert len(err.splitlines()) <= 1


@pytest.mark.parametrize("place", [0, 1], ids=["before the command", "after it"])
def test_debug_shows_the_traceback(place: int, command: Any) -> None:
    def work(args: Any) -> int:
        raise RuntimeError("inside")

    command(work)
    arguments = ["evaluate"]
    arguments.insert(place, "--debug")
    with pytest.raises(RuntimeError, match="inside"):
        run(*arguments)


def test_with_json_everything_else_goes_to_stderr(command: Any, capfd: pytest.CaptureFixture[str]) -> None:
    def work(args: Any) -> int:
        print("a library prints")
        os.write(1, b"a library in C prints\n")
        subprocess.run(["echo", "a child prints"], check=True)
        warnings.warn("a library warns", UserWarning, stacklevel=2)
        warnings.warn("for programmers", DeprecationWarning, stacklevel=2)
        _output.print_result({"b": 1}, "text", as_json=True)
        print("a library prints again")
        return 0

    command(work)
    assert run("evaluate", "--json") == 0
    print("after")
    out, err = capfd.readouterr()
    assert json.loads(out.removesuffix("after\n")) == {"b": 1}
    for words in ("a library prints\n", "a library in C prints", "a child prints", "warning: a library warns\n", "prints again"):
        assert words in err
    assert "for programmers" not in err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_prints_its_json_by_print_result(name: str) -> None:
    """A plain print goes to stderr under --json."""
    folder = Path(_output.__file__).parent
    files = (folder / f"{name}.py", *sorted([*folder.glob(f"{name}_*.py"), *(folder / name).glob("*.py")]))
    sources = [file.read_text(encoding="utf-8") for file in files if file.exists()]
    assert any("print_result(" in source for source in sources)
    for source in sources:
        assert "print_result(" in source or "set_defaults(func" not in source
        assert "print(json" not in source


def test_without_json_the_text_is_printed(command: Any, capfd: pytest.CaptureFixture[str]) -> None:
    def work(args: Any) -> int:
        _output.print_result({"b": 1}, "text", as_json=args.json)
        return 0

    command(work)
    assert run("evaluate") == 0
    assert capfd.readouterr().out == "text\n"


def test_undefined_numbers_are_null() -> None:
    values = {"a": float("nan"), "b": (np.float32(0.5), np.inf, np.int64(3)), "c": None, "d": Path("x"), 5: True}
    assert _output.jsonable(values) == {"a": None, "b": [0.5, None, 3], "c": None, "d": "x", "5": True}


@pytest.mark.parametrize(
    ("text", "names"), [("A,B", ("A", "B")), (" A , B ", ("A", "B")), ('"A, C",B', ("A, C", "B")), ("0,2", ("0", "2"))]
)
def test_lists_of_names(text: str, names: tuple[str, ...]) -> None:
    assert _output.split_list(text) == names


def test_progress_without_a_terminal_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = iter(range(0, 1000, 5))
    monkeypatch.setattr(_output, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    with _output.ProgressBar("Painting DNA") as progress:
        for done in range(1, 9):
            progress.update(done, 8, "a smaller tile" if done == 3 else "")
    lines = capsys.readouterr().err.splitlines()
    assert "virtual-paint: a smaller tile" in lines
    assert lines[0] == "virtual-paint: Painting DNA: 25 %, about 30 s left"
    assert len(lines) == 4


# -- evaluate


def test_evaluate_gives_the_scores_as_json(images: tuple[Path, Path], capfd: pytest.CaptureFixture[str]) -> None:
    assert run("evaluate", *images, "--json") == 0
    got = json.loads(capfd.readouterr().out)
    assert got == compare(read(images[0]), read(images[1])).to_json()
    assert set(got) == {"channels", "mean"}
    assert set(got["channels"]) == {"DNA", "ER"}
    assert got["channels"]["DNA"].keys() == got["mean"].keys() == KEYS
    assert got["channels"]["DNA"]["pcc"] > 0.8


def test_evaluate_raw(images: tuple[Path, Path], capfd: pytest.CaptureFixture[str]) -> None:
    assert run("evaluate", *images, "--scale", "raw", "--json") == 0
    assert json.loads(capfd.readouterr().out)["mean"]["mse"] == pytest.approx(25, rel=0.1)


def test_evaluate_as_a_table(images: tuple[Path, Path], capfd: pytest.CaptureFixture[str]) -> None:
    assert run("evaluate", *images) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].split() == ["channel", "PCC", "SSIM", "PSNR", "MSE", "MAE"]
    assert [line.split()[0] for line in lines[1:]] == ["ER", "DNA", "mean"]


def test_evaluate_says_what_is_undefined(tmp_path: Path, images: tuple[Path, Path], capfd: pytest.CaptureFixture[str]) -> None:
    data = tifffile.imread(images[0])
    data[0] = 3
    data[1, 5, 5] = np.nan
    write_stains(tmp_path / "broken.ome.tif", data, ("ER", "DNA"))
    assert run("evaluate", tmp_path / "broken.ome.tif", images[1], "--json") == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["channels"] == {name: dict.fromkeys(KEYS) for name in ("ER", "DNA")}
    assert json.loads(out)["mean"] == dict.fromkeys(KEYS)
    assert "ER: The prediction has the same value everywhere." in err
    assert "DNA: The prediction has 1 pixels that are not finite" in err


def test_evaluate_refuses_other_sizes(tmp_path: Path, images: tuple[Path, Path], capfd: pytest.CaptureFixture[str]) -> None:
    write_stains(tmp_path / "small.ome.tif", np.zeros((2, 40, 30), np.uint8), ("ER", "DNA"))
    assert run("evaluate", tmp_path / "small.ome.tif", images[1], "--json") == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert "30 columns" in err
    assert "44" in err


@pytest.mark.parametrize("place", [0, 1])
def test_evaluate_without_a_file(place: int, images: tuple[Path, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = list(images)
    arguments[place] = tmp_path / "absent.tif"
    assert run("evaluate", *arguments, "--json") == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert "absent.tif" in err
    assert len(err.splitlines()) == 1


# -- predict


def test_predict_writes_the_stains_and_reports(package: Path, field: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "new folder" / "out.ome.tif"
    assert run("predict", field, "-m", package, "-o", output, "--json") == 0
    report = json.loads(capfd.readouterr().out)
    assert set(report) == {"model", "version", "device", "precision", "blend", "exact", "seconds", "peak_memory_mb", "channels", "output"}
    assert (report["model"], report["version"]) == ("tiny", "0.1.0")
    assert (report["precision"], report["blend"], report["exact"]) == ("float32", "exact", True)
    assert report["channels"] == ["DNA", "ER"]
    assert Path(report["output"]) == output
    stains = read(output)
    assert stains.channels == ("DNA", "ER")
    assert stains.shape == (1, 2, 1, 50, 61)
    assert float(np.asarray(stains.data).std()) > 0


def test_predict_again_replaces_the_output(package: Path, field: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out.ome.tif"
    output.write_bytes(b"something else")
    assert run("predict", field, "-m", package, "-o", output, "--tile", "32", "--device", "cpu") == 0
    assert "DNA, ER by tiny 0.1.0" in capfd.readouterr().out
    assert read(output).channels == ("DNA", "ER")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["field.ome.tif", "out.ome.tif"]


@pytest.mark.parametrize("suffix", [".ome.zarr", ".ome.tif"])
@pytest.mark.parametrize("span", ["model", "percentiles"])
def test_predict_as_gray_levels_that_can_be_undone(
    package: Path, field: Path, tmp_path: Path, suffix: str, span: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In memory, and where the output is written while it is painted."""
    assert run("predict", field, "-m", package, "-o", tmp_path / "plain.ome.tif") == 0
    plain = np.asarray(read(tmp_path / "plain.ome.tif").data)
    capfd.readouterr()
    for limit, name in ((predict.IN_MEMORY, "whole"), (0, "blocks")):
        monkeypatch.setattr(predict, "IN_MEMORY", limit)
        gray = ("--dtype", "uint16", "--range", span, "--json")
        assert run("predict", field, "-m", package, "-o", tmp_path / f"{name}{suffix}", *gray) == 0
        levels = json.loads(capfd.readouterr().out)["gray_levels"]
        written = read(tmp_path / f"{name}{suffix}")
        assert (written.dtype, levels["range"], list(levels["stains"])) == (np.uint16, span, ["DNA", "ER"])
        step = max(each["scale"] for each in levels["stains"].values())
        np.testing.assert_allclose(np.asarray(original_values(written).data), plain, atol=step)


def test_predict_into_a_file_where_memory_is_short(
    package: Path, field: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("predict", field, "-m", package, "-o", tmp_path / "memory.ome.tif") == 0
    monkeypatch.setattr("napari_virtual_paint.runtime.scratch.SHARE_OF_MEMORY", 0.0)
    assert isinstance(predict.stains_on_disk((1, 2, 1, 3, 3), tmp_path), np.memmap)
    assert run("predict", field, "-m", package, "-o", tmp_path / "disk.ome.tif") == 0
    np.testing.assert_array_equal(*(np.asarray(read(tmp_path / f"{name}.ome.tif").data) for name in ("memory", "disk")))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk.ome.tif", "field.ome.tif", "memory.ome.tif"]
    capfd.readouterr()


@pytest.mark.parametrize("suffix", [".ome.zarr", ".ome.tif"])
def test_predict_a_field_that_is_too_large_for_memory(
    package: Path, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pixels = np.random.default_rng(3).integers(0, 4000, (1, 1, 1, 320, 560)).astype(np.uint16)
    image = write(Stack(pixels, ("Brightfield",), PixelSize(None, 0.5, 0.5)), tmp_path / "mosaic.ome.zarr")
    given = ("-m", package, "--device", "cpu", "--tta", "flips", "--json")
    assert run("predict", image, *given, "-o", tmp_path / f"whole{suffix}") == 0
    whole = json.loads(capfd.readouterr().out)
    monkeypatch.setattr(predict, "IN_MEMORY", 0)
    assert run("predict", image, *given, "-o", tmp_path / f"blocks{suffix}", "--memory", "0.0015") == 0
    split = json.loads(capfd.readouterr().out)
    assert split["exact"]
    assert split.keys() == whole.keys()
    for key in ("output", "uncertainty_output"):
        ours, theirs = read(split[key]), read(whole[key])
        assert (ours.channels, ours.pixel_size) == (theirs.channels, theirs.pixel_size)
        assert ours.provenance is not None
        np.testing.assert_allclose(np.asarray(ours.data), np.asarray(theirs.data), atol=1e-5)
    assert read(split["output"]).provenance["block"] > 0
    assert read(whole["output"]).provenance["block"] == 0
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system reserves no disk space")
def test_predict_says_when_the_disk_is_too_small(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="of disk space"):
        predict.stains_on_disk((1, 1, 1, 2**30, 2**26), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("blend", ["median", "gaussian"])
def test_predict_with_patches_is_not_exact(
    blend: str, package: Path, field: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("predict", field, "-m", package, "-o", tmp_path / "out.ome.zarr", "--blend", blend, "--tile", "32", "--json") == 0
    report = json.loads(capfd.readouterr().out)
    assert (report["blend"], report["exact"]) == (blend, False)
    assert read(tmp_path / "out.ome.zarr").channels == ("DNA", "ER")


def test_predict_with_a_channel_by_name_and_by_position(package: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(2)
    source = write_stains(tmp_path / "two.ome.tif", rng.integers(0, 400, (2, 40, 40), np.uint16), ("Phase", "Trans"))
    results = []
    for i, channel in enumerate(("Trans", "1", "0")):
        assert run("predict", source, "-m", package, "-o", tmp_path / f"{i}.ome.tif", "--channels", channel, "--json") == 0
        results.append(np.asarray(read(tmp_path / f"{i}.ome.tif").data))
    np.testing.assert_array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])
    capfd.readouterr()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-m", "no-such-model"], "no-such-model"),
        (["--channels", "Nothing"], "Nothing"),
        (["--tile", "3"], "16 pixels or more"),
        (["--tile", "big"], "16 pixels or more"),
        (["--channels", ","], "no channel is named"),
        (["--blend", "mean"], "invalid choice"),
        (["-o", "out.png"], ".ome.tif or .ome.zarr"),
        (["-o", "FIELD"], "replace the input"),
    ],
    ids=str,
)
def test_predict_refuses_before_it_paints(
    options: list[str], words: str, package: Path, field: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = [str(field) if option == "FIELD" else option for option in options]
    before = sorted(tmp_path.iterdir())
    assert run("predict", field, "-m", package, "-o", tmp_path / "out.ome.tif", "--json", *options) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert words in err
    assert "Traceback" not in err
    assert sorted(tmp_path.iterdir()) == before


def test_predict_with_names_of_the_user(package: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    names = tmp_path / "names.yaml"
    names.write_text("Brightfield: [Lamp]\nDNA: NucBlue\n")
    image = write(Stack(np.random.default_rng(0).normal(size=(1, 2, 1, 40, 44)), ("NucBlue", "Lamp")), tmp_path / "in.ome.tif")
    command = ["predict", str(image), "-m", str(package), "-o", str(tmp_path / "out.ome.tif"), "--device", "cpu"]
    assert main(command) == 2
    capfd.readouterr()
    assert main([*command, "--synonyms", str(names)]) == 0
    assert "Lamp is taken as the model's Brightfield" in capfd.readouterr().err
    names.write_text("Brightfield: 3\n")
    assert main([*command, "--synonyms", str(names)]) == 2
    assert f"{names}: synonyms: 'Brightfield' needs a name" in capfd.readouterr().err


def test_predict_finds_the_focus_and_evens_the_light(package: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The plane is in the report, and the provenance says what was done."""
    rng = np.random.default_rng(0)
    sharp = rng.normal(size=(64, 64))
    blurred = [1000 + 300 * ndimage.gaussian_filter(sharp, 0.7 + 0.5 * abs(z - 3)) + rng.normal(0, 1, sharp.shape) for z in range(6)]
    image = write(Stack(np.asarray(blurred, np.uint16)[None, None], ("DIC",)), tmp_path / "stack.ome.tif")
    np.save(tmp_path / "IllumDIC.npy", np.linspace(1, 2, 64)[None] * np.ones((64, 1)))
    output = tmp_path / "out.ome.tif"
    command = ("predict", image, "-m", package, "-o", output, "--json", "--device", "cpu")
    assert run(*command, "--focus", "auto", "--illumination", tmp_path / "IllumDIC.npy") == 0
    report = json.loads(capfd.readouterr().out)
    assert report["focus"] == 3
    assert report["illumination"]["fall"] == {"DIC": 0.5}
    painted = read(output)
    assert painted.shape[2] == 1
    assert (painted.provenance or {})["focus"]["planes"] == [3]
    assert run(*command, "--focus", "2") == 0
    assert json.loads(capfd.readouterr().out)["focus"] == 2
    assert run(*command) == 0
    assert "focus" not in json.loads(capfd.readouterr().out)
    assert read(output).shape[2] == 6
    for options, words in (
        (("--focus", "6"), "no plane 6"),
        (("--focus", "x"), "number of a plane"),
        (("--illumination", tmp_path / "none"), "no such file or folder"),
        (("--phase", "0.5,0.3"), "does not paint from phase"),
        (("--phase", "mine"), "can't be read"),
    ):
        assert run(*command, *options) == 2
        assert words in capfd.readouterr().err


def test_predict_with_turns_writes_the_sd_beside(package: Path, field: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("predict", field, "-m", package, "-o", tmp_path / "plain.ome.tif") == 0
    capfd.readouterr()
    assert run("predict", field, "-m", package, "-o", tmp_path / "out.ome.tif", "--tta", "flips", "--json") == 0
    report = json.loads(capfd.readouterr().out)
    spread = read(tmp_path / "out.sd.ome.tif")
    assert report["uncertainty_output"] == str(tmp_path / "out.sd.ome.tif")
    assert (report["passes"], report["merge"], spread.channels) == (4, "mean", ("DNA SD", "ER SD"))
    assert report["uncertainty"] == pytest.approx(dict(zip(("DNA", "ER"), np.asarray(spread.data).mean(axis=(0, 2, 3, 4)), strict=True)))
    assert spread.provenance is not None
    assert spread.provenance["uncertainty"] == pytest.approx(report["uncertainty"])
    assert not np.allclose(np.asarray(read(tmp_path / "out.ome.tif").data), np.asarray(read(tmp_path / "plain.ome.tif").data))
    assert run("predict", field, "-m", package, "-o", tmp_path / "out.ome.zarr", "--tta", "full", "--merge", "median") == 0
    assert "out.sd.ome.zarr: SD over 8 passes" in capfd.readouterr().out
    assert read(tmp_path / "out.sd.ome.zarr").channels == ("DNA SD", "ER SD")


def test_predict_with_several_models(package: Path, field: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out.ome.tif"
    assert run("predict", field, "-m", package, "-m", package, "-o", output) == 2
    assert "DNA is made by tiny twice; choose the model once, or combine equal stains (ensemble)" in capfd.readouterr().err
    assert run("predict", field, "-m", f"{package}:er", "-m", f"{package}:DNA", "-o", output, "--json") == 0
    report = json.loads(capfd.readouterr().out)
    assert report["channels"] == ["ER", "DNA"]
    assert [member["stains"] for member in report["members"]] == [["ER"], ["DNA"]]
    assert "uncertainty" not in report
    assert run("predict", field, "-m", package, "-m", package, "--ensemble", "-o", output, "--json") == 0
    assert json.loads(capfd.readouterr().out)["uncertainty"] == pytest.approx({"DNA": 0.0, "ER": 0.0}, abs=1e-6)
    for options, words in (
        (["-m", f"{package}:Mito"], "makes no Mito"),
        (["-m", f"{package}:"], "no stain is named after the colon"),
        (["-m", package, "--channels", "0", "--channels", "0"], "2 times --channels for 1 models"),
    ):
        assert run("predict", field, "-o", tmp_path / "none.ome.tif", *options) == 2
        assert words in capfd.readouterr().err


def test_equal_stains_of_two_models_are_written_and_scored_apart(
    package: Path, field: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    twin = tmp_path / "twin"
    shutil.copytree(package, twin)
    described = twin / "rdf.yaml"
    described.write_text(described.read_text("utf-8").replace("id: tiny\n", "id: twin\n"), "utf-8")
    output = tmp_path / "out.ome.tif"
    assert run("predict", field, "-m", package, "-m", f"{twin}:DNA", "--tta", "flips", "-o", output, "--json") == 0
    printed = capfd.readouterr()
    names = ["DNA (predicted, tiny)", "ER", "DNA (predicted, twin)"]
    assert json.loads(printed.out)["channels"] == names
    assert "several of the models make DNA; the channels are named for them" in printed.err
    stains = read(output)
    assert list(stains.channels or ()) == names
    assert read(tmp_path / "out.sd.ome.tif").channels == ("DNA SD (predicted, tiny)", "ER SD", "DNA SD (predicted, twin)")
    truth = write_stains(tmp_path / "true.ome.tif", np.random.default_rng(2).normal(size=(2, 50, 61)).astype(np.float32), ("DNA", "ER"))
    assert run("evaluate", output, truth, "--json") == 0
    scores = json.loads(capfd.readouterr().out)["channels"]
    measured = read(truth)
    for place, name in enumerate(names):
        true = np.asarray(measured.data)[0, measured.channel_index("ER" if name == "ER" else "DNA"), 0]
        assert scores[name]["pcc"] == pytest.approx(np.corrcoef(np.asarray(stains.data)[0, place, 0].ravel(), true.ravel())[0, 1], abs=1e-5)


def test_predict_without_the_input(package: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("predict", tmp_path / "absent.tif", "-m", package, "-o", tmp_path / "out.ome.tif") == 2
    assert "absent.tif" in capfd.readouterr().err


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write everywhere")
def test_predict_into_a_folder_that_can_not_be_written(
    package: Path, field: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    assert run("predict", field, "-m", package, "-o", locked / "out.ome.tif") == 2
    assert "nothing can be written" in capfd.readouterr().err


def test_predict_stopped_leaves_nothing(
    package: Path, field: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_output.ProgressBar, "update", interrupt)
    assert run("predict", field, "-m", package, "-o", tmp_path / "out.ome.tif", "--json") == 130
    out, err = capfd.readouterr()
    assert out == ""
    assert "stopped" in err
    assert not (tmp_path / "out.ome.tif").exists()


CODE = "import sys; from napari_virtual_paint.cli import main; sys.exit(main())"


def test_a_process_of_its_own(images: tuple[Path, Path]) -> None:
    arguments = [sys.executable, "-c", CODE, "evaluate", *map(str, images), "--json"]
    done = subprocess.run(arguments, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["channels"]) == {"DNA", "ER"}


@pytest.mark.parametrize("option", [[], ["--json"]], ids=["text", "json"])
def test_a_closed_pipe_is_no_traceback(option: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        arguments = [sys.executable, "-c", CODE, "models", "list", *option]
        done = subprocess.run(arguments, stdout=closed, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_names_in_files_command_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = tmp_path / "\x1b[2J\x9b31m.csv"
    assert main(["evaluate", str(hostile), str(hostile)]) == 2
    _output.print_note("a\x07b")
    _output.print_result({"name": "\x9b31m\x1b"}, "", as_json=True)
    _output.print_result({}, "one\x1b[2J\ntwo\t3", as_json=False)
    with pytest.raises(SystemExit):
        main(["predict", "\x1b[2J"])
    out, err = capsys.readouterr()
    assert not [letter for letter in out + err if (letter < " " and letter not in "\n\t") or "\x7f" <= letter <= "\x9f"]
    assert "<1b>[2J" in err
    assert json.loads(out[: out.index("one")]) == {"name": "\x9b31m\x1b"}
    assert out.endswith("one<1b>[2J\ntwo\t3\n")


def test_painting_has_an_option_for_each_setting() -> None:
    parser = argparse.ArgumentParser()
    add_painting(parser)
    options = {action.dest: action for action in parser._actions}
    assert {each.name for each in fields(PaintSettings)} - set(options) == {"channels", *WITHOUT_OPTION}
    for name, choice in CHOICES.items():
        assert tuple(options[name].choices or ()) == values_of(choice)
    args = parser.parse_args(["--tta", "flips", "--tile", "256", "--merge", "median"])
    assert paint_settings(args, ("a",)) == PaintSettings(tta="flips", tile=256, merge="median", channels=("a",))


def test_each_setting_is_the_same_after_the_command_line_that_a_dock_copies() -> None:
    """The docks copy a painting as a command; a setting that it lost would paint something else."""
    parser = argparse.ArgumentParser()
    add_painting(parser)
    add_channels(parser)
    other = {name: values_of(choice)[-1] for name, choice in CHOICES.items()}
    optics = PhaseSettings(Microscope(0.75, 0.4, 0.55, 1.0), invert=True)
    prepared = {"focus": 3, "illumination": str(Path("functions").absolute()), "phase": optics}
    settings = PaintSettings(**{**other, **prepared, "tile": 256, "resample": True, "channels": ("DAPI", "Bright field")})
    kept = {each.name for each in fields(PaintSettings) if getattr(settings, each.name) != each.default}
    assert {each.name for each in fields(PaintSettings)} - kept == set(WITHOUT_OPTION), "give the new setting another value here"
    args = parser.parse_args(settings.to_options())
    assert paint_settings(args, args.channels) == settings
    assert PaintSettings().to_options() == []
