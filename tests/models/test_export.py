"""Models for other programs, and back: packages, TorchScript and ONNX, each checked against the original; packages of version 0.4."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from napari_virtual_paint.cli import main
from napari_virtual_paint.errors import InputError, ModelError, WriteError
from napari_virtual_paint.models import check_model, open_model
from napari_virtual_paint.models import export as export_module
from napari_virtual_paint.models.export import export_model
from napari_virtual_paint.models.importers import Wishes, import_model
from napari_virtual_paint.models.importers.programs import opset
from napari_virtual_paint.painting import PaintSettings, paint, run_to_end
from napari_virtual_paint.stack import Stack
from small_models import TOY_2D, TOY_3D, core_verdict, write_toy

HD = {"architecture": "Pix2PixHD", "config": {"in_channels": 3, "out_channels": 2, "width": 4, "downs": 2, "blocks": 1}}
TOYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {"2D": (TOY_2D, {}), "3D": (TOY_3D, {}), "pieces": (TOY_2D, HD)}


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("packages")
    return {name: write_toy(root / f"{name}.zip", toy, **changes) for name, (toy, changes) in TOYS.items()}


@pytest.mark.parametrize("name", TOYS)
def test_torchscript_gives_the_original_on_other_sizes(packages: dict[str, Path], name: str, tmp_path: Path) -> None:
    model = open_model(packages[name])
    found = export_model(model, tmp_path / "out.pt")
    assert (found.format, found.error is not None and found.error <= 1e-5) == ("torchscript", True)
    assert not model.network.training
    script = torch.jit.load(tmp_path / "out.pt")
    x = torch.randn(2, len(model.info.channels), *((8,) if model.info.dims == 3 else ()), 64, 80)
    with torch.inference_mode():
        assert torch.allclose(script(x), model.network(x), atol=1e-5)


@pytest.mark.parametrize("name", TOYS)
def test_onnx_gives_the_original_and_opens_here(packages: dict[str, Path], name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model = open_model(packages[name])
    found = export_model(model, tmp_path / "out.onnx")
    assert found.error is not None
    assert found.error <= 1e-4 * found.deviation
    assert not model.network.training
    data = (tmp_path / "out.onnx").read_bytes()
    assert opset(data) == export_module.OPSET
    wishes = Wishes(inputs=model.info.channels, outputs=model.info.stains)
    again = import_model(tmp_path / "out.onnx", "Again", tmp_path / "again", wishes).info
    assert (again.weights, again.dims, again.stains, again.step_size) == ("onnx", model.info.dims, model.info.stains, model.info.step_size)
    assert check_model(tmp_path / "again").ok
    assert any("onnxruntime" in warning for warning in again.warnings)
    if name == "2D":
        assert core_verdict(tmp_path / "again") == ("passed", [])
    shape = (1, len(again.channels), 8 if again.dims == 3 else 1, 48, 64)
    stack = Stack(np.random.default_rng(0).normal(100, 20, shape).astype(np.float32), channels=again.channels)
    here = run_to_end(paint(open_model(tmp_path / "again"), stack, PaintSettings(device="cpu"))).stack.data
    there = run_to_end(paint(model, stack, PaintSettings(device="cpu"))).stack.data
    assert np.abs(here - there).max() <= 1e-3 * there.std()


@pytest.mark.parametrize("name", TOYS)
def test_an_exported_package_opens_where_this_program_is_not_known(packages: dict[str, Path], name: str, tmp_path: Path) -> None:
    found = export_model(open_model(packages[name]), tmp_path / "out.zip")
    assert found.format == "bioimage.io"
    assert check_model(tmp_path / "out.zip").ok
    assert core_verdict(tmp_path / "out.zip") == ("passed", [])
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        content = yaml.safe_load(archive.read("rdf.yaml"))
        alone = {item: archive.read(item) for item in archive.namelist()}
    entry = content["weights"]["torchscript"]
    assert entry["sha256"] == hashlib.sha256(alone["weights_torchscript.pt"]).hexdigest()
    del content["weights"]["pytorch_state_dict"], entry["parent"], alone["weights.pt"]
    alone["rdf.yaml"] = yaml.safe_dump(content).encode()
    with zipfile.ZipFile(tmp_path / "alone.zip", "w") as archive:
        for item, data in alone.items():
            archive.writestr(item, data)
    assert open_model(tmp_path / "alone.zip").info.weights == "torchscript"
    assert check_model(tmp_path / "alone.zip").ok


def test_torchscript_is_imported_with_its_sizes(packages: dict[str, Path], tmp_path: Path) -> None:
    for name in ("2D", "3D"):
        model = open_model(packages[name])
        export_model(model, tmp_path / f"{name}.pt")
        asked: list[str] = []
        found = import_model(
            tmp_path / f"{name}.pt", "A script", tmp_path / name, ask=lambda q, asked=asked: asked.append(q.option) or "range"
        )
        assert asked == ["--normalise"]
        assert (found.info.weights, found.info.dims, found.info.step_size) == ("torchscript", model.info.dims, model.info.step_size)
        assert found.info.preprocessing[0].kind == "scale_range"
        assert check_model(tmp_path / name).ok


def test_an_onnx_graph_of_one_size_paints_a_larger_field(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    network = torch.nn.Conv2d(1, 1, 3, padding=1, padding_mode="zeros").eval()
    file: Any = io.BytesIO()
    torch.onnx.export(network, (torch.zeros(1, 1, 32, 32),), file, dynamo=False, opset_version=17)
    (tmp_path / "a.onnx").write_bytes(file.getvalue())
    info = import_model(tmp_path / "a.onnx", "One size", tmp_path / "package", Wishes(normalise="none")).info
    assert (info.min_size, info.step_size) == ((32, 32), (0, 0))
    stack = Stack(np.random.default_rng(0).normal(0, 1, (1, 1, 1, 80, 70)).astype(np.float32))
    painted = run_to_end(paint(open_model(tmp_path / "package"), stack, PaintSettings(device="cpu")))
    with torch.inference_mode():
        whole = network(torch.from_numpy(stack.data[0, :, 0])[None]).numpy()[0]
    assert not painted.report.exact
    assert np.abs(painted.stack.data[0, :, 0, 16:-16, 16:-16] - whole[:, 16:-16, 16:-16]).max() < 1e-2


def test_a_missing_package_is_one_sentence(packages: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match=r"napari-virtual-paint\[onnx\]"):
        export_model(open_model(packages["2D"]), tmp_path / "out.onnx")
    assert not list(tmp_path.iterdir())


def test_what_differs_from_the_original_is_not_written(packages: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = torch.jit.trace
    monkeypatch.setattr(torch.jit, "trace", lambda network, given, **k: trace(torch.nn.Sequential(network, torch.nn.Tanh()), given, **k))
    with pytest.raises(ModelError, match="differs from the original"):
        export_model(open_model(packages["2D"]), tmp_path / "out.pt")
    assert not list(tmp_path.iterdir())


def test_the_command_prints_the_error(packages: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.pt"
    assert main(["models", "export", str(packages["2D"]), "-o", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["format"] == "torchscript"
    assert found["max_abs_error"] <= 1e-5
    with pytest.raises(WriteError, match="exists already"):
        export_model(open_model(packages["2D"]), out)


# --- packages of version 0.4


def old_package(root: Path, network: torch.nn.Module, **changes: Any) -> Path:
    """A package as version 0.4 of the specification had it."""
    root.mkdir()
    x = torch.randn(1, 1, 64, 64)
    script = torch.jit.trace(network, x)
    torch.jit.save(script, root / "weights.pt")
    with torch.inference_mode():
        raw = x.numpy() * 20 + 100
        normal = (raw - raw.mean()) / (raw.std() + 1e-6)
        out = network(torch.from_numpy(normal)).numpy()
    np.save(root / "in.npy", raw)
    np.save(root / "out.npy", out)
    (root / "doc.md").write_text("# A model\n\nThis text says what the model does.\n")
    digest = {name: hashlib.sha256((root / name).read_bytes()).hexdigest() for name in ("weights.pt", "in.npy", "out.npy")}
    content = {
        "format_version": "0.4.10", "type": "model", "name": "old model", "description": "A model of old.", "version": "0.1.0",
        "authors": [{"name": "A. Tester"}], "cite": [{"text": "A paper", "doi": "10.1000/182"}], "documentation": "doc.md",
        "license": "MIT", "tags": ["virtual-staining"], "timestamp": "2022-01-01T00:00:00", "test_inputs": ["in.npy"],
        "test_outputs": ["out.npy"], "covers": [],
        "inputs": [{"name": "raw", "axes": "bcyx", "data_type": "float32", "data_range": ["-inf", "inf"],
                    "shape": {"min": [1, 1, 16, 16], "step": [0, 0, 8, 8]},
                    "preprocessing": [{"name": "zero_mean_unit_variance", "kwargs": {"mode": "per_sample", "axes": "cyx", "eps": 1e-6}}]}],
        "outputs": [{"name": "stain", "axes": "bcyx", "data_type": "float32", "data_range": ["-inf", "inf"], "halo": [0, 0, 4, 4],
                     "shape": {"reference_tensor": "raw", "scale": [1, 1, 1, 1], "offset": [0, 0, 0, 0]}}],
        "weights": {"torchscript": {"source": "weights.pt", "sha256": digest["weights.pt"], "pytorch_version": "1.13"}},
        **changes,
    }  # fmt: skip
    (root / "rdf.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return root


def test_a_package_of_version_0_4_is_converted_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.socket.connect", lambda *a: pytest.fail("the network was used"))
    torch.manual_seed(0)
    old = old_package(tmp_path / "old", torch.nn.Conv2d(1, 1, 3, padding=1).eval())
    with pytest.raises(ModelError, match="models import"):
        open_model(old)
    found = import_model(old, "New model", tmp_path / "new.zip", Wishes(outputs=("DNA",)))
    assert found.kind == "bioimage.io package 0.4.10"
    assert (found.info.id, found.info.name, found.info.stains) == ("new-model", "New model", ("DNA",))
    assert check_model(tmp_path / "new.zip").ok, check_model(tmp_path / "new.zip")


def test_a_package_of_version_0_5_is_copied(packages: dict[str, Path], tmp_path: Path) -> None:
    found = import_model(packages["2D"], "A copy", tmp_path / "copy", Wishes(outputs=("one", "two")))
    assert (found.info.id, found.info.stains, found.info.card.trained_on) == ("a-copy", ("one", "two"), "Noise.")
    assert check_model(tmp_path / "copy").ok


def test_a_package_of_code_is_refused(packages: dict[str, Path], tmp_path: Path) -> None:
    with zipfile.ZipFile(packages["2D"]) as archive:
        archive.extractall(tmp_path / "toy")
    content = yaml.safe_load((tmp_path / "toy" / "rdf.yaml").read_text())
    content["weights"]["pytorch_state_dict"]["architecture"]["import_from"] = "torchvision.models"
    (tmp_path / "toy" / "rdf.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ModelError, match="never run here"):
        import_model(tmp_path / "toy", "A copy", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
