"""ONNX: weights in other files are read from the package alone, and onnxruntime leaves and sends nothing."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from foreign_packages import npy, toy_05
from napari_virtual_paint.cli import main
from napari_virtual_paint.errors import ModelError
from napari_virtual_paint.models import check_model, open_model
from napari_virtual_paint.models.export import export_model
from napari_virtual_paint.models.importers import import_model

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
GAIN, SHIFT = 3.0, 0.25


def graph(location: str | None = None, *, offset: int = 0, length: int | None = 8, inside: bool = False) -> bytes:
    """Return a graph that computes ``3 x + 0.25``, its two numbers in another file if one is named, in a branch if `inside`."""
    from onnx import TensorProto, helper, numpy_helper

    numbers = numpy_helper.from_array(np.array([GAIN, SHIFT], np.float32), "numbers")
    if location is not None:
        numbers.ClearField("raw_data")
        numbers.data_location = TensorProto.EXTERNAL
        places = {"location": location, "offset": str(offset), **({} if length is None else {"length": str(length)})}
        for key, value in places.items():
            entry = numbers.external_data.add()
            entry.key, entry.value = key, value
    image = ("N", 1, "Y", "X")
    x, out = (helper.make_tensor_value_info(name, TensorProto.FLOAT, image) for name in ("x", "out"))
    zero, one = (numpy_helper.from_array(np.array([number], np.int64), name) for number, name in ((0, "zero"), (1, "one")))
    body = [
        helper.make_node("Gather", ["numbers", "zero"], ["gain"]), helper.make_node("Gather", ["numbers", "one"], ["shift"]),
        helper.make_node("Mul", ["x", "gain"], ["product"]), helper.make_node("Add", ["product", "shift"], ["sum"]),
    ]  # fmt: skip
    if inside:
        inner = helper.make_graph(body, "inner", [], [helper.make_tensor_value_info("sum", TensorProto.FLOAT, image)], [numbers, zero, one])
        yes = numpy_helper.from_array(np.array(True), "yes")
        nodes, tensors = [helper.make_node("If", ["yes"], ["out"], then_branch=inner, else_branch=inner)], [yes]
    else:
        nodes, tensors = [*body, helper.make_node("Identity", ["sum"], ["out"])], [numbers, zero, one]
    whole = helper.make_graph(nodes, "whole", [x], [out], tensors)
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data


NUMBERS = np.array([GAIN, SHIFT], "<f4").tobytes()


def package(folder: Path, data: bytes, change: Callable[[dict[str, Any]], Any] | None = None) -> Path:
    """Write a package whose weights are a graph."""
    path = toy_05(folder)
    (path / "net").mkdir()
    (path / "net" / "w.onnx").write_bytes(data)
    (path / "out.npy").write_bytes(npy(np.load(path / "in.npy") * np.float32(GAIN) + np.float32(SHIFT)))
    content = yaml.safe_load((path / "rdf.yaml").read_text("utf-8"))
    content["weights"] = {"onnx": {"source": "net/w.onnx", "sha256": hashlib.sha256(data).hexdigest(), "opset_version": 17}}
    if change is not None:
        change(content)
    (path / "rdf.yaml").write_text(yaml.safe_dump(content), "utf-8")
    return path


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run in a folder that holds a file of the name that graphs refer to, with other numbers."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "data.bin").write_bytes(np.array([100.0, 100.0], "<f4").tobytes() * 4)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("inside", [False, True], ids=["at the top", "in a branch"])
@pytest.mark.parametrize(("offset", "length", "before"), [(0, 8, b""), (16, 8, bytes(16)), (4, None, bytes(4))])
def test_weights_in_another_file_of_the_package_are_read(
    inside: bool, offset: int, length: int | None, before: bytes, tmp_path: Path, elsewhere: Path
) -> None:
    path = package(tmp_path / "toy", graph("data.bin", offset=offset, length=length, inside=inside))
    (path / "net" / "data.bin").write_bytes(before + NUMBERS)
    assert check_model(path).ok
    for target in ("copy.zip", "copy"):
        copy = import_model(path, "External toy", tmp_path / target).path
        with torch.inference_mode():
            assert torch.equal(open_model(copy).network(torch.ones(1, 1, 2, 2)), torch.full((1, 1, 2, 2), GAIN + SHIFT))
    alone = export_model(open_model(path), tmp_path / "alone.onnx").path
    found = import_model(alone, "Alone again", tmp_path / "alone.zip", overwrite=True)
    assert found.info.weights == "onnx"


def test_a_lone_file_takes_weights_from_beside_it_and_the_package_holds_them(tmp_path: Path, elsewhere: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(graph("data.bin"))
    (tmp_path / "data.bin").write_bytes(NUMBERS)
    path = import_model(tmp_path / "a.onnx", "External toy", tmp_path / "out").path
    (tmp_path / "data.bin").unlink()
    with torch.inference_mode():
        assert torch.equal(open_model(path).network(torch.ones(1, 1, 2, 2)), torch.full((1, 1, 2, 2), GAIN + SHIFT))
    assert sorted(each.name for each in path.iterdir()) == ["README.md", "rdf.yaml", "test_input.npy", "test_output.npy", "weights.onnx"]


OUTSIDE = ["../data.bin", "../../elsewhere/data.bin", "/etc/passwd", "C:\\data.bin", "\\\\server\\data.bin", "//server/data.bin", "", "."]


@pytest.mark.parametrize("location", OUTSIDE)
@pytest.mark.parametrize("form", ["package", "lone file"])
def test_weights_outside_are_never_read(
    location: str, form: str, tmp_path: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = package(tmp_path / "toy", graph(location, inside=True))
    (tmp_path / "toy" / "data.bin").write_bytes(NUMBERS)
    source = path if form == "package" else path / "net" / "w.onnx"
    assert main(["models", "import", str(source), "--name", "External toy", "-o", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "unexpected" not in said
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
    with pytest.raises(ModelError):
        _ = open_model(path).network


@pytest.mark.parametrize("form", ["package", "lone file"])
def test_a_link_out_of_the_folder_is_not_followed(form: str, tmp_path: Path, elsewhere: Path) -> None:
    path = package(tmp_path / "toy", graph("data.bin"))
    (path / "net" / "data.bin").symlink_to(elsewhere / "data.bin")
    with pytest.raises(ModelError, match=r"missing|link out"):
        import_model(path if form == "package" else path / "net" / "w.onnx", "External toy", tmp_path / "out")


def test_a_file_that_is_missing_is_not_looked_for_where_the_program_runs(tmp_path: Path, elsewhere: Path) -> None:
    path = package(tmp_path / "toy", graph("data.bin"))
    with pytest.raises(ModelError, match=r"net/data\.bin"):
        _ = open_model(path).network
    (tmp_path / "a.onnx").write_bytes(graph("data.bin"))
    with pytest.raises(ModelError, match=r"data\.bin: there is no such file"):
        import_model(tmp_path / "a.onnx", "External toy", tmp_path / "out")


@pytest.mark.parametrize(("offset", "length"), [(4, 8), (100, 8), (-4, 4), (0, 2**40)])
def test_a_place_beyond_the_file_is_refused(offset: int, length: int, tmp_path: Path) -> None:
    path = package(tmp_path / "toy", graph("data.bin", offset=offset, length=length))
    (path / "net" / "data.bin").write_bytes(NUMBERS)
    with pytest.raises(ModelError, match=r"at a place that data\.bin doesn't have"):
        _ = open_model(path).network


def test_the_sha256_of_external_data_is_checked(tmp_path: Path) -> None:
    external = {"source": "net/data.bin", "sha256": "0" * 64}
    path = package(tmp_path / "toy", graph("data.bin"), lambda content: content["weights"]["onnx"].update(external_data=external))
    (path / "net" / "data.bin").write_bytes(NUMBERS)
    for refused in (lambda: open_model(path).network, lambda: import_model(path, "External toy", tmp_path / "out")):
        with pytest.raises(ModelError, match="SHA-256"):
            refused()


PROBE = """
import sys
from pathlib import Path
from napari_virtual_paint.models.package.onnx import OnnxNetwork
import torch
network = OnnxNetwork(Path(sys.argv[1]).read_bytes(), "a graph")
assert network(torch.ones(1, 1, 2, 2)).sum() == 13
"""


def test_onnxruntime_leaves_nothing_in_the_home_and_starts_no_upload(tmp_path: Path) -> None:
    """Its telemetry makes an identifier and a database in the user's cache; they are what an upload would take from."""
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "a.onnx").write_bytes(graph())
    import os

    kept = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "ORT_"))}
    environment = {**kept, "HOME": str(home), "LOCALAPPDATA": str(home), "USERPROFILE": str(home)}
    subprocess.run([sys.executable, "-c", PROBE, str(tmp_path / "a.onnx")], check=True, env=environment)
    assert [path for path in home.rglob("*") if "onnxruntime" in path.name or "Microsoft" in path.name] == []
