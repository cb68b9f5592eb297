"""Commands whose disk is full, read-only or gone: one sentence with the path and what was kept, and nothing half-written."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skimage.data
import tifffile
import yaml

from napari_virtual_paint.cli import main
from napari_virtual_paint.runtime import atomic_write
from napari_virtual_paint.stack import PixelSize, Stack
from napari_virtual_paint.writing import write
from small_models import CONFIG_2D, write_toy
from small_training import TOY

pytestmark = pytest.mark.skipif(os.name == "nt", reason="limits of files are of POSIX")

COMMANDS = {
    "simulate": "simulate OUT/fields --size 64",
    "simulate a plate": "simulate OUT/p.zarr --plate 1x1 --size 64",
    "simulate a plate of files": "simulate OUT/p --plate 1x1 --size 64 --layout yokogawa",
    "simulate a plate, workers": "simulate OUT/p.zarr --plate 1x2 --size 64 --workers 2",
    "predict": "predict field.tif -m toy.zip -o OUT/o.ome.tif",
    "predict to Zarr": "predict field.tif -m toy.zip -o OUT/o.ome.zarr",
    "register": "register stains.tif stains.tif --stain DNA --channel DNA --transform translation -o OUT/o.ome.tif",
    "plate predict": "plate predict plate.zarr -m toy.zip -o OUT/q.zarr --workers 1",
    "plate predict to files": "plate predict plate.zarr -m toy.zip -o OUT/q --workers 1",
    "evaluate": "evaluate stains.tif stains.tif --level pixels -o OUT/report --workers 1",
    "models export": "models export toy.zip -o OUT/m.pt",
    "models export a package": "models export toy.zip -o OUT/m.zip",
    "models export a folder": "models export toy.zip -o OUT/m",
    "models import": "models import toy.zip --name other -o OUT/other.zip",
    "models domain": "models domain toy.zip --images camera.tif -o OUT/m.zip",
    "cells measure": "cells measure stains.tif -o OUT/t.csv",
    "cells measure to Parquet": "cells measure stains.tif -o OUT/t.parquet",
    "cells generate": "cells generate jurkat-cells cells.parquet -o OUT/c.ome.tif",
    "cells generate a picture": "cells generate jurkat-cells cells.parquet -o OUT/c.png",
    "cells walk": "cells walk jurkat-cells --from 1 --to 2 -o OUT/w.gif",
    "train": "train OUT/train.yaml",
}
KEPT = ("nothing half-written is left", "what was there before is unchanged", "is kept", "are kept", "goes on")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small inputs of every command."""
    from napari_virtual_paint.cells.cp2image.model import open_cell_model

    folder = tmp_path_factory.mktemp("data")
    pixels = np.random.default_rng(0).integers(0, 4000, (96, 96), np.uint16)
    tifffile.imwrite(folder / "field.tif", pixels)
    tifffile.imwrite(folder / "camera.tif", skimage.data.camera())
    assert main(["simulate", str(folder / "fields"), "--size", "160"]) == 0
    (folder / "fields" / "field_000" / "stains.ome.tif").rename(folder / "stains.tif")
    # Compiles what measures, where nothing has measured before: numba keeps the machine code in files, which a full disk refuses.
    assert main(["cells", "measure", str(folder / "stains.tif"), "-o", str(folder / "first.csv")]) == 0
    assert main(["simulate", str(folder / "plate.zarr"), "--plate", "1x2", "--fields", "1", "--size", "64"]) == 0
    one_channel = {"channels": ("Brightfield",), "planes_as_channels": False, "z_offsets": None, "config": {**CONFIG_2D, "in_channels": 1}}
    write_toy(folder / "toy.zip", **one_channel)
    features = open_cell_model("jurkat-cells").features
    pd.DataFrame(0.5, range(30), list(features)).to_parquet(folder / "cells.parquet")
    return folder


@contextlib.contextmanager
def full(size: int = 2048) -> Iterator[None]:
    """Let no file grow beyond some bytes, as a full disk or a quota does."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "dont_write_bytecode", True)  # modules that are imported meanwhile would leave half of theirs behind
        patch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def gone() -> Iterator[None]:
    """Let the folder of each output vanish before it is written into."""
    with pytest.MonkeyPatch.context() as patch:
        named = atomic_write.hidden_name
        patch.setattr(atomic_write, "hidden_name", lambda target, *kind: named(target / "vanished" / target.name, *kind))
        yield


@contextlib.contextmanager
def failing(number: int) -> Iterator[None]:
    """Let each file fail when it gets its name, as network folders do."""

    def fail(*paths: object, **_: object) -> None:
        raise OSError(number, os.strerror(number), str(paths[0]), None, str(paths[1]))

    with pytest.MonkeyPatch.context() as patch:
        for name in ("replace", "rename", "link"):
            patch.setattr(os, name, fail)
        yield


FAULTS = {
    "full": full,
    "gone": gone,
    "stale": lambda: failing(errno.ESTALE),
    "quota": lambda: failing(errno.EDQUOT),
    "input/output": lambda: failing(errno.EIO),
    "not connected": lambda: failing(errno.ENOTCONN),
    "read-only": lambda: failing(errno.EROFS),
    "not allowed": lambda: failing(errno.EACCES),
}
CASES = [*((command, fault) for command in COMMANDS for fault in ("full", "stale")), *(("predict", fault) for fault in list(FAULTS)[1:])]
CASES += [("simulate", "gone"), ("cells generate", "gone"), ("models export a package", "gone"), ("train", "gone")]


def words_of(command: str, output: Path) -> list[str]:
    training = {**TOY, "data": {**TOY["data"], "checks": "off"}, "steps": 1, "epoch": 1}
    (output / "train.yaml").write_text(yaml.safe_dump(training))
    return [word.replace("OUT", str(output)) for word in COMMANDS[command].split()]


def half_written(folder: Path) -> list[Path]:
    return [each for each in folder.rglob(".*") if each.name.endswith((".partial", ".replaced"))]


@pytest.mark.parametrize(("command", "fault"), dict.fromkeys(CASES))
def test_a_disk_that_fails(
    command: str, fault: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(data)
    words = words_of(command, tmp_path)
    if "workers 2" in COMMANDS[command] and fault != "full":
        pytest.skip("only limits are inherited by processes")
    with FAULTS[fault]():
        code = main(words)
    err = capfd.readouterr().err
    said = [
        line for line in err.splitlines() if line.startswith("virtual-paint: ") and str(tmp_path) in line and "can't be written" in line
    ]
    assert code == 1, err
    assert said, err
    assert any(kept in said[-1] for kept in KEPT), said
    assert "unexpected" not in err
    assert "Traceback" not in err
    assert not half_written(tmp_path)
    words = ["1" if word == "2" and before == "--workers" else word for before, word in pairwise(("", *words))]  # it starts sooner
    assert main(words) == 0, capfd.readouterr().err  # the same command succeeds where the disk has room again
    assert not half_written(tmp_path)


@pytest.mark.parametrize("command", ["predict", "predict to Zarr", "cells generate"])
def test_the_old_output_is_unchanged(
    command: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(data)
    words = words_of(command, tmp_path) + (["--overwrite"] if command == "cells generate" else [])
    assert main(words) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with full():
        assert main(words) == 1
    assert "what was there before is unchanged" in capfd.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_folders_made_for_an_output_that_failed_go_again(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(data)
    with full():
        assert main(["predict", "field.tif", "-m", "toy.zip", "-o", str(tmp_path / "new" / "deep" / "o.ome.tif")]) == 1
    assert not list(tmp_path.iterdir())


def test_an_input_that_vanishes_meanwhile_is_named(tmp_path: Path) -> None:
    import dask.array as da

    def lost(*_: object) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), "/mnt/images/plane.tif")

    pixels = da.from_delayed(__import__("dask").delayed(lost)(), (1, 1, 1, 8, 8), np.uint8)
    with pytest.raises(Exception, match=r"o\.ome\.tif.*since /mnt/images/plane\.tif can't be opened \(Stale file handle\)"):
        write(Stack(pixels, ("a",), PixelSize(None, None, None)), tmp_path / "o.ome.tif")
    assert not list(tmp_path.iterdir())


def test_names_that_are_no_utf8_survive_in_json(tmp_path: Path) -> None:
    name = os.fsdecode(b"well \xff.tif")
    atomic_write.write_text(tmp_path / "row.json", json.dumps({"image": name}, ensure_ascii=False))
    assert json.loads((tmp_path / "row.json").read_text("utf-8")) == {"image": name}
