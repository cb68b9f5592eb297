"""An output never replaces an input: one table of the commands that write, and of the ways to write the path of an input."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml

from command_parsers import options
from napari_virtual_paint.cli import main
from napari_virtual_paint.errors import InputError, WriteError
from napari_virtual_paint.runtime.outputs import check_outputs, output_path
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.writing import write
from napari_virtual_paint.writing.api import is_own_zarr
from small_training import TOY

POSIX = pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")


@dataclass(frozen=True)
class Writer:
    """A command that writes: its words for an input and an output, and the suffix that its output has."""

    words: Callable[[str, str], Sequence[str]]
    suffix: str
    folder: bool = False  # whether input and output are folders


def configured(command: Sequence[str], **settings: object) -> Callable[[str, str], Sequence[str]]:
    """Words of a command that takes its paths from a configuration."""

    def words(source: str, output: str) -> Sequence[str]:
        text = json.dumps(settings).replace("SOURCE", source).replace("OUTPUT", output)
        Path("config.yaml").write_text(yaml.safe_dump(json.loads(text)))
        return [*command, "config.yaml"]

    return words


TRAINING = {**TOY, "data": {"csv": "SOURCE"}, "output": "OUTPUT"}
CELLS = {
    **{key: TOY[key] for key in ("id", "name", "description", "trained_on", "not_for")},
    "output": "OUTPUT",
    "data": {"images": ["SOURCE"], "channels": ["DNA"]},
}
DOMAINS = {name: {"csv": "SOURCE", "split": {"test": 0.5}} for name in ("one", "two")}
STUDY = {"name": "A study", "output": "OUTPUT", "domains": DOMAINS, "training": {"patch": [32, 32]}}

WRITERS = {
    "predict": Writer(lambda source, output: ["predict", source, "-m", "neurons-phase", "-o", output], ".ome.tif"),
    "predict to Zarr": Writer(lambda source, output: ["predict", source, "-m", "neurons-phase", "-o", output], ".ome.zarr", folder=True),
    "count": Writer(lambda source, output: ["count", source, "-o", output, "--overwrite"], ".csv"),
    "count, truth": Writer(lambda source, output: ["count", "other.tif", "--truth", source, "-o", output, "--overwrite"], ".csv"),
    "count, labels": Writer(lambda source, output: ["count", source, "-o", "t.csv", "--labels", output, "--overwrite"], ".ome.tif"),
    "phase": Writer(lambda source, output: ["phase", source, "--na", "0.5", "--condenser-na", "0.3", "-o", output], ".ome.tif"),
    "register": Writer(lambda source, output: ["register", source, "other.tif", "-o", output], ".tif"),
    "register onto it": Writer(lambda source, output: ["register", "other.tif", source, "-o", output, "--overwrite"], ".tif"),
    "plate predict": Writer(lambda source, output: ["plate", "predict", source, "-m", "neurons-phase", "-o", output], ".zarr", folder=True),
    "models import": Writer(lambda source, output: ["models", "import", source, "--name", "x", "-o", output, "--overwrite"], ".pt"),
    "models import a package": Writer(
        lambda source, output: ["models", "import", source, "--name", "x", "-o", output, "--overwrite"], "", folder=True
    ),
    "models export": Writer(lambda source, output: ["models", "export", source, "-o", output, "--overwrite"], ".zip"),
    "models domain": Writer(lambda source, output: ["models", "domain", source, "--images", "other.tif", "-o", output], ".zip"),
    "models domain of images": Writer(
        lambda source, output: ["models", "domain", "neurons-phase", "--images", source, "-o", output, "--overwrite"], ".tif"
    ),
    "cells measure": Writer(lambda source, output: ["cells", "measure", "other.tif", source, "-o", output], ".csv"),
    "cells generate": Writer(lambda source, output: ["cells", "generate", "jurkat-cells", source, "-o", output, "--overwrite"], ".tif"),
    "cells walk": Writer(
        lambda source, output: ["cells", "walk", "jurkat-cells", source, "--from", "1", "--to", "2", "-o", output, "--overwrite"], ".gif"
    ),
    "cells evaluate": Writer(lambda source, output: ["cells", "evaluate", "jurkat-cells", source, "other.tif", "-o", output], ".html"),
    "cells evaluate, images": Writer(lambda source, output: ["cells", "evaluate", "jurkat-cells", "a.csv", source, "-o", output], ".html"),
    "evaluate": Writer(lambda source, output: ["evaluate", source, "other.tif", "--level", "pixels", "-o", output], "", folder=True),
    "evaluate, truth": Writer(lambda source, output: ["evaluate", "other.tif", source, "--level", "pixels", "-o", output], "", folder=True),
    "evaluate, another": Writer(
        lambda source, output: ["evaluate", "a.tif", "b.tif", "--also", f"x={source}", "--level", "pixels", "-o", output], ".tif"
    ),
    "evaluate, map": Writer(
        lambda source, output: ["evaluate", "a.tif", "b.tif", "--plate-map", source, "--level", "pixels", "-o", output], ".csv"
    ),
    "train": Writer(configured(["train"], **TRAINING), ".csv"),
    "train, run": Writer(configured(["train"], **{**TRAINING, "output": "model.zip", "run": "OUTPUT"}), ".csv"),
    "teach": Writer(lambda source, output: ["teach", "neurons-phase", source, "-o", output], ".csv"),
    "teach, model": Writer(lambda source, output: ["teach", source, "other.tif", "-o", output], ".zip"),
    "cells train": Writer(configured(["cells", "train"], **CELLS), ".zip"),
    "study": Writer(configured(["study"], **STUDY), ".csv"),
}


@dataclass(frozen=True)
class Spelling:
    """A way to write the path of an input, or of what lies in it or around it; makes the links that it needs."""

    path: Callable[[Path], str]
    source: Callable[[Path], str] = lambda source: source.name
    says: bool = True  # whether the sentence is that of replacing an input; some outputs are refused for their suffix


def linked(source: Path, link: Callable[[Path, Path], None]) -> str:
    other = source.with_name(f"link{''.join(source.suffixes)}")
    link(other, source)
    return other.name


SPELLINGS = {
    "itself": Spelling(lambda source: source.name),
    "absolute": Spelling(str),
    "input absolute": Spelling(lambda source: source.name, str),
    "dot": Spelling(lambda source: f"./{source.name}"),
    "doubled slash": Spelling(lambda source: f".//{source.name}"),
    "through a folder that is there": Spelling(lambda source: f"there/../{source.name}"),
    "through a folder that is not there": Spelling(lambda source: f"nox/../{source.name}"),
    "through two folders that are not there": Spelling(lambda source: f"nox/noy/../../{source.name}"),
    "the folder above": Spelling(lambda source: f"../{source.parent.name}/{source.name}"),
    "home": Spelling(lambda source: f"~/{source.name}"),
    "input at home": Spelling(lambda source: source.name, lambda source: f"~/{source.name}"),
    "symbolic link": Spelling(lambda source: linked(source, lambda link, to: link.symlink_to(to))),
    "input by a symbolic link": Spelling(
        lambda source: source.name, lambda source: linked(source, lambda link, to: link.symlink_to(to.name))
    ),
    "hard link": Spelling(lambda source: linked(source, lambda link, to: link.hardlink_to(to))),
    "linked folder": Spelling(lambda source: f"folder_link/{source.name}"),
    "through a linked folder": Spelling(lambda source: f"deep_link/../{source.name}", says=False),
    "proc": Spelling(lambda source: f"/proc/self/cwd/{source.name}"),
    "slash at its end": Spelling(lambda source: f"{source.name}/"),
    "the folder around it": Spelling(lambda source: str(source.parent), says=False),
    "pattern": Spelling(lambda source: source.name, lambda source: f"i*{''.join(source.suffixes)}"),
    "a new file that the pattern matches": Spelling(
        lambda source: f"i2{''.join(source.suffixes)}", lambda source: f"i*{''.join(source.suffixes)}"
    ),
    "inside": Spelling(lambda source: f"{source.name}/new{''.join(source.suffixes)}"),
    "replacing a part": Spelling(lambda source: f"{source.name}/part{''.join(source.suffixes)}"),
    "beside a part": Spelling(lambda source: f"{source.name}/new{''.join(source.suffixes)}", lambda source: f"{source.name}/part"),
    "deep inside": Spelling(lambda source: f"{source.name}/nox/new{''.join(source.suffixes)}"),
}
OF_FOLDERS = {"inside", "replacing a part", "deep inside", "beside a part"}
OF_FILES = {"hard link"}
NO_PATTERNS = {"models", "train", "study", "cells generate", "cells walk", "plate", "register"}


def cases() -> list[tuple[str, str]]:
    """Every command with every spelling that it can have."""
    found = []
    for name, writer in WRITERS.items():
        for spelling in SPELLINGS:
            if spelling in (OF_FILES if writer.folder else OF_FOLDERS):
                continue
            if spelling == "beside a part" and writer.suffix != ".zarr" and writer.suffix != ".ome.zarr":
                continue
            if "pattern" in spelling and (writer.folder or any(name.startswith(each) for each in NO_PATTERNS)):
                continue
            if spelling == "input at home" and name in ("train", "train, run", "cells train", "study"):
                continue  # a configuration's paths begin in its own folder
            found.append((name, spelling))
    return found


def everything(folder: Path) -> dict[str, object]:
    """Every file, folder and link below a folder, with its contents."""
    found: dict[str, object] = {}
    for each in sorted(folder.rglob("*")):
        name = each.relative_to(folder).as_posix()
        found[name] = str(each.readlink()) if each.is_symlink() else each.read_bytes() if each.is_file() else None
    return found


def laid_out(folder: Path, writer: Writer) -> Path:
    """Make an input and what lies around it; the input's pixels don't matter, since nothing is read before the paths are checked."""
    folder.mkdir()
    (folder / "there").mkdir()
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "folder_link").symlink_to(folder)
    (folder / "deep_link").symlink_to(folder / "there")
    (folder / "other.tif").write_bytes(b"other")
    source = folder / f"in{writer.suffix}"
    if not writer.folder:
        source.write_bytes(b"pixels")
        return source
    (source / "part").mkdir(parents=True)
    (source / "zarr.json").write_text("{}")
    (source / "rdf.yaml").write_text("{}")
    (source / "part" / "zarr.json").write_text("{}")
    (source / f"part{writer.suffix}").mkdir(exist_ok=True)
    (source / f"part{writer.suffix}" / "pixels").write_bytes(b"pixels")
    return source


@POSIX
@pytest.mark.parametrize(("command", "spelling"), cases())
def test_an_output_never_replaces_an_input(
    command: str, spelling: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    writer, case = WRITERS[command], SPELLINGS[spelling]
    folder = tmp_path / "work"
    source = laid_out(folder, writer)
    monkeypatch.chdir(folder)
    if "home" in spelling:
        monkeypatch.setenv("HOME", str(folder))
    output = case.path(source)
    words = [str(word) for word in writer.words(case.source(source), output)]
    before = everything(tmp_path)
    try:
        code = main(words)
    except SystemExit as end:
        code = int(end.code or 0)
    err = capsys.readouterr().err
    assert everything(tmp_path) == before
    assert code == 2, err
    assert "unexpected" not in err
    if case.says:
        assert "would replace the input" in err or "inside the plate itself" in err, err


def test_every_command_that_writes_is_tried() -> None:
    writing = {words for words, action in options() if action.dest == "output"} | {("train",), ("study",), ("cells", "train")}
    tried = {tuple(" ".join(name.split(",")[0].split()).split()) for name in (*WRITERS, *FOLDER_WRITERS)}
    known = {words for words in writing if any(name[: len(words)] == words for name in tried)}
    assert writing - known == {("models", "download")}, "it has no input"


def ended(*words: object) -> int:
    try:
        return main([str(word) for word in words])
    except SystemExit as end:
        return int(end.code or 0)


FOLDER_WRITERS = {
    "simulate": ["simulate", "OUTPUT", "--size", "64"],
    "simulate a plate": ["simulate", "OUTPUT", "--plate", "1x1", "--size", "64", "--layout", "yokogawa"],
    "simulate a Zarr": ["simulate", "OUTPUT.zarr", "--plate", "1x1", "--size", "64"],
    "predict to Zarr": ["predict", "image.tif", "-m", "neurons-phase", "-o", "OUTPUT.zarr"],
    "register to Zarr": ["register", "image.tif", "image.tif", "-o", "OUTPUT.zarr"],
    "plate predict": ["plate", "predict", "plate", "-m", "neurons-phase", "-o", "OUTPUT"],
    "evaluate": ["evaluate", "image.tif", "image.tif", "--level", "pixels", "-o", "OUTPUT"],
    "models export": ["models", "export", "neurons-phase", "-o", "OUTPUT", "--overwrite"],
    "train": configured(["train"], **{**TRAINING, "data": {"simulate": {"fields": 1, "size": 64}}}),
    "train, run": configured(
        ["train"], **{**TRAINING, "data": {"simulate": {"fields": 1, "size": 64}}, "output": "model.zip", "run": "OUTPUT"}
    ),
    "cells train, run": configured(["cells", "train"], **{**CELLS, "output": "model.zip", "run": "OUTPUT"}),
    "study": configured(["study"], **STUDY),
    "study, check": configured(["study", "--check"], **STUDY),
}
"""Commands that write a folder."""


@pytest.mark.parametrize("command", FOLDER_WRITERS)
def test_a_folder_of_something_else_is_refused(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("image.tif", np.zeros((64, 64), np.uint16))
    Path("plate").mkdir()
    tifffile.imwrite("plate/A01_1_phase.tif", np.zeros((64, 64), np.uint16))
    for name in ("mine", "mine.zarr"):
        Path(name).mkdir()
        Path(name, "thesis.txt").write_text("two years of work")
    given = FOLDER_WRITERS[command]
    words = [word.replace("OUTPUT", "mine") for word in given] if isinstance(given, list) else given("image.tif", "mine")
    before = everything(tmp_path)
    code = ended(*words)
    err = capsys.readouterr().err
    assert everything(tmp_path) == before
    assert code in (1, 2) if command == "models export" else code == 2, err
    assert "mine" in err
    assert "unexpected" not in err
    if command.split(",")[0] in ("train", "cells train", "study"):
        assert "--overwrite" not in err  # which these commands do not have


def test_simulate_goes_on_in_a_folder_of_its_own_and_elsewhere_if_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output, words = tmp_path / "fields", ["--size", "64"]
    assert ended("simulate", output, *words) == 0
    assert ended("simulate", output, *words, "--fields", "2") == 0, "what it wrote itself"
    (output / "fields.csv").unlink()
    assert ended("simulate", output, *words) == 0, "what a run of version 0.1.0 left that was stopped before it wrote its table"
    (output / "fields.csv").write_text("field,mine\n1,2\n")
    (output / "mine.txt").write_text("mine")
    assert ended("simulate", output, *words) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert ended("simulate", output, *words, "--overwrite") == 0
    assert (output / "mine.txt").read_text() == "mine"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert ended("simulate", empty, *words) == 0


@pytest.mark.parametrize("layout", ["ome-zarr", "yokogawa"])
def test_a_simulated_plate_of_another_design_is_replaced_if_asked(layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["simulate", tmp_path / "plate.zarr", "--plate", "1x1", "--size", "64", "--layout", layout]
    (tmp_path / "plate.zarr").mkdir()
    assert ended(*words, "--seed", "1") == 0, "an empty folder"
    assert ended(*words, "--seed", "2") == 2
    assert "another design" in capsys.readouterr().err
    assert ended(*words, "--seed", "2", "--overwrite") == 0
    assert '"seed": 2' in (tmp_path / "plate.design.json").read_text()
    (tmp_path / "plate.csv").write_text("mine")
    (tmp_path / "plate.design.json").unlink()
    assert ended(*words, "--seed", "2") == 2
    assert (tmp_path / "plate.csv").read_text() == "mine"


def test_an_image_replaces_an_image_of_ours_but_no_plate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stack = Stack(np.zeros((1, 1, 1, 8, 8), np.uint8))
    write(stack, "ours.ome.zarr")
    assert is_own_zarr(Path("ours.ome.zarr"))
    # Version 0.1.0 wrote nothing of its own into an image without provenance; `register` wrote a matrix beside it.
    group = json.loads(Path("ours.ome.zarr/zarr.json").read_text())
    del group["attributes"]["napari-virtual-paint"]
    Path("ours.ome.zarr/zarr.json").write_text(json.dumps(group))
    assert not is_own_zarr(Path("ours.ome.zarr"))
    Path("ours.json").write_text('{"moving": "a", "fixed": "b", "converged": true}')
    assert is_own_zarr(Path("ours.ome.zarr"))
    assert ended("simulate", "plate.zarr", "--plate", "1x1", "--size", "64") == 0
    assert not is_own_zarr(Path("plate.zarr"))
    before = everything(tmp_path / "plate.zarr")
    with pytest.raises(WriteError, match="left as it is"):
        write(stack, "plate.zarr", overwrite=True)
    assert everything(tmp_path / "plate.zarr") == before


@pytest.mark.parametrize(
    ("words", "beside"),
    [
        (["register", "image.tif", "other.tif", "-o", "out.tif"], "out.json"),
        (["cells", "evaluate", "jurkat-cells", "cells.csv", "image.tif", "-o", "out.html"], "out.csv"),
        (["cells", "evaluate", "jurkat-cells", "cells.csv", "image.tif", "-o", "out.html"], "out.png"),
        (["cells", "evaluate", "jurkat-cells", "cells.csv", "image.tif", "-o", "cells.html"], "cells.csv"),
        (["predict", "out.sd.tif", "-m", "neurons-phase", "--tta", "flips", "-o", "out.tif"], "out.sd.tif"),
    ],
    ids=["matrix", "table", "picture", "the input's table", "the uncertainty"],
)
def test_what_is_written_beside_an_output_replaces_nothing_either(
    words: list[str], beside: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("image.tif", "other.tif", "cells.csv", beside):
        Path(name).write_text("mine")
    before = everything(tmp_path)
    assert ended(*words) == 2
    assert everything(tmp_path) == before
    assert beside in capsys.readouterr().err


def test_the_other_files_of_a_set_are_inputs_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    xml = '<OME><Image><Pixels><TiffData><UUID FileName="b.ome.tif">urn</UUID></TiffData></Pixels></Image></OME>'
    tifffile.imwrite("a.ome.tif", np.zeros((8, 8), np.uint8), description=xml, metadata=None)
    Path("b.ome.tif").write_text("planes")
    assert ended("predict", "a.ome.tif", "-m", "neurons-phase", "-o", "b.ome.tif") == 2
    assert "would replace the input" in capsys.readouterr().err
    assert Path("b.ome.tif").read_text() == "planes"


def test_a_disk_that_ignores_case_is_seen_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated by two names of one file: on such a disk IN.TIF exists and is in.tif."""
    (tmp_path / "in.tif").write_text("mine")
    (tmp_path / "IN.TIF").hardlink_to(tmp_path / "in.tif")
    with pytest.raises(InputError, match="would replace"):
        check_outputs([tmp_path / "IN.TIF"], [tmp_path / "in.tif"])
    (tmp_path / "plate.zarr").mkdir()
    seen = Path.samefile
    monkeypatch.setattr(Path, "samefile", lambda one, other: str(one).casefold() == str(other).casefold() or seen(one, other))
    with pytest.raises(InputError, match="it lies in"):
        check_outputs([tmp_path / "PLATE.ZARR" / "new.tif"], [tmp_path / "plate.zarr"])


def test_patterns_below_folders_with_brackets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plate [1]").mkdir()
    Path("plate [1]/a1.tif").write_text("pixels")
    for pattern in ("plate [1]/a*.tif", str(tmp_path / "plate [1]" / "a*.tif"), "plate [1]/a?.tif"):
        for output in ("plate [1]/a1.tif", "plate [1]/a2.tif"):
            with pytest.raises(InputError, match="would replace"):
                check_outputs([output], [pattern])
    check_outputs(["plate [1]/b.tif"], ["plate [1]/a*.tif"])
    for output in ("plate [1]", "."):  # a folder that holds the files
        with pytest.raises(InputError, match="lies in it"):
            check_outputs([output], ["plate [1]/a*.tif"])


def test_what_is_apart_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.tif", "b.tif"):
        Path(name).write_text("pixels")
    Path("folder").mkdir()
    Path("plate.zarr").mkdir()
    inputs = ["a.tif", "folder", "a*.tif", "plate.zarr", None, "http://host/in.tif", "s3://bucket/in.tif", ["b.tif"], "absent.tif", ""]
    check_outputs(["new.tif", "c.tif", "new/deep/a.tif", "folder2", "plate.zarr2/x.tif", None], inputs)
    assert output_path("nox/../c.tif") == tmp_path / "c.tif"
    assert output_path("c.tif") == Path("c.tif")
    for name in ("", "a\0b", "x" * 5000):
        with pytest.raises(InputError):
            check_outputs([output_path(name)], inputs)
