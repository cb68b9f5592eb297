"""Files that are no model, or of no kind that is read: one sentence says what each is; attacks are refused; nothing is left behind."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from foreign_packages import Gain, script, toy_04, toy_05
from napari_virtual_paint.cli import main
from napari_virtual_paint.errors import ModelError
from napari_virtual_paint.models import check_model, open_model
from napari_virtual_paint.models.importers.import_model import recipe_of
from small_models import lively, saved, write_toy, zipped


def archive(*pairs: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in pairs:
            out.writestr(name, data)
    return file.getvalue()


class Lab:
    """A class of somebody's own program."""


def quantized() -> bytes:
    """TorchScript that takes quantized numbers."""

    class Net(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.ops.quantized.add(x, x, 1.0, 0).dequantize()

    return script(Net())


def unscripted(size: int) -> bytes:
    class Net(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.shape[1] != 7:
                raise ValueError("seven channels are wanted")
            return x

    return script(Net())


SAFETENSORS = json.dumps({"lm.head.weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
KINDS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a Keras model": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(1000) + b"keras_version" + bytes(100), "it is a Keras model (HDF5)"),
    "HDF5": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(1000), "it is an HDF5 file (.h5)"),
    "a SavedModel": (lambda: b"\x08\x01\x12\xb4\xe8\x0b\x0a\x10" + bytes(100), "it is a TensorFlow SavedModel (.pb)"),
    "a frozen graph": (lambda: b"\x0a\x1d\x0a\x05input\x12\x0bPlaceholder*\x0b" + bytes(50), "it is a graph of TensorFlow (.pb)"),
    "a zipped SavedModel": (lambda: archive(("m/saved_model.pb", b"x")), "it is a zipped TensorFlow SavedModel"),
    "a .keras": (lambda: archive(("config.json", b"{}"), ("model.weights.h5", b"x")), "it is a Keras model (.keras)"),
    "safetensors of another model": (
        lambda: len(SAFETENSORS).to_bytes(8, "little") + SAFETENSORS + bytes(4),
        "it holds no named tensors",
    ),
    "a zip of pictures": (lambda: archive(("a.tif", b"x"), ("b.tif", b"y")), "it is a ZIP archive of 2 files (a.tif, b.tif)"),
    "a zip of a checkpoint": (lambda: archive(("net.pt", saved({"a": 1}))), "unpack it and give what is inside"),
    "an Excel workbook": (lambda: archive(("[Content_Types].xml", b"<x/>"), ("xl/workbook.xml", b"<x/>")), "it is an Excel workbook"),
    "a web page": (lambda: b"<!DOCTYPE html>\n<html><body>404</body></html>", "it is a web page (HTML), not the file itself"),
    "a pointer of Git LFS": (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n", "git lfs pull"),
    "a text": (lambda: b"accuracy: 0.9\n", "it is a text file"),
    "a JSON": (lambda: b'{"weight_map": {}}', "it is a JSON file"),
    "a picture": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(100), "it is a PNG picture"),
    "an array": (lambda: b"\x93NUMPY\x01\x00" + bytes(100), "it is a NumPy array (.npy)"),
    "a tar": (lambda: bytes(257) + b"ustar\x0000" + bytes(300), "it is a tar archive"),
    "a pickle of plain values": (lambda: pickle.dumps({"a": 1}, protocol=2), "a pickle of Python that torch.save did not write"),
    "a newer pickle": (lambda: pickle.dumps({"a": [1, 2]}, protocol=5), "saved with pickle protocol 5"),
    "a pickle of somebody's class": (lambda: saved({"net": Lab()}), "test_other_files.Lab) and was not loaded"),
    "a Lightning checkpoint with a class": (
        lambda: saved({"state_dict": {"a": torch.zeros(1)}, "hyper_parameters": {"model": Lab()}}),
        "test_other_files.Lab) and was not loaded",
    ),
    "a Lightning checkpoint of another network": (
        lambda: saved({"state_dict": {f"net.{n}.weight": torch.zeros(2, 2) for n in range(4)}, "pytorch-lightning_version": "2.0"}),
        "net.0.weight, net.1.weight, ...) are of no kind known here",
    ),
    "a whole network": (lambda: saved(torch.nn.Linear(2, 2)), "asks for more than tensors (torch.nn.modules.linear.Linear)"),
    "an optimizer": (lambda: saved(torch.optim.Adam([torch.nn.Parameter(torch.zeros(2))]).state_dict()), "state of an optimizer alone"),
    "TorchScript of quantized numbers": (quantized, "quantized numbers"),
    "TorchScript that gives twice the size": (lambda: script(Gain(1, 1, 2.0)), "gives an image of 128 x 128 for one of 64 x 64"),
    "TorchScript that gives a number": (lambda: script(torch.nn.Sequential(Gain(1, 1), torch.nn.Flatten())), "numbers of the shape"),
    "TorchScript of seven channels": (lambda: unscripted(7), "seven channels are wanted"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_one_sentence_says_what_a_file_is(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, words = KINDS[kind]
    path = tmp_path / "model.pt"
    path.write_bytes(make())
    assert main(["models", "import", str(path), "--name", "Other file", "-o", str(tmp_path / "out")]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert words in lines[0]
    assert "damaged" not in lines[0]
    assert "Traceback" not in lines[0]
    assert not (tmp_path / "out").exists()


def test_a_program_is_known_whatever_its_suffix(tmp_path: Path) -> None:
    (tmp_path / "net.safetensors").write_bytes(script(Gain(1, 2)))
    assert recipe_of(tmp_path / "net.safetensors").kind == "TorchScript"


def test_an_onnx_graph_is_known_whatever_its_suffix(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    image = ["N", 1, "Y", "X"]
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, image) for name in "xy")
    whole = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "whole", [x], [y])
    model = onnx.helper.make_model(whole, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8, producer_name="pytorch")
    (tmp_path / "net.pt").write_bytes(model.SerializeToString())
    assert recipe_of(tmp_path / "net.pt").kind == "ONNX"


MODELS: dict[str, Callable[[], bytes]] = {
    "a PyTorch checkpoint": lambda: saved({"a": torch.zeros(2)}),
    "a TorchScript program": lambda: script(Gain(1, 1)),
    "a safetensors file": lambda: len(SAFETENSORS).to_bytes(8, "little") + SAFETENSORS + bytes(4),
}


@pytest.mark.parametrize("words", MODELS)
def test_a_model_that_is_no_package_yet_is_to_be_imported(words: str, tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_bytes(MODELS[words]())
    with pytest.raises(ModelError, match=rf"it is {words}, and no model package; import it first: virtual-paint models import net\.pt"):
        open_model(tmp_path / "net.pt")


# --- attacks


def deflated_weights() -> bytes:
    return archive(("archive/data.pkl", b"\x80\x02}q\x00."), ("archive/version", b"3"), ("archive/data/0", bytes(200_000_000)))


def lying(data: bytes) -> bytes:
    """Declare a small size for the largest entry, in the list and beside the entry."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        entry = max(file.infolist(), key=lambda each: each.file_size)
    true, false = entry.file_size.to_bytes(4, "little"), (1000).to_bytes(4, "little")
    return data.replace(true, false)


ATTACKS: dict[str, tuple[Callable[[], bytes], str]] = {
    "weights that unpack without end": (deflated_weights, "this file may be an attack"),
    "a package of weights that unpack without end": (
        lambda: archive(("rdf.yaml", b"type: model\n"), ("w.pt", bytes(200_000_000))),
        "this file may be an attack",
    ),
    "a name twice": (lambda: archive(("a/data.pkl", b"1"), ("a/DATA.pkl", b"2")), "holds both"),
    "a package with a million entries": (lambda: many(), "lists its entries"),
}


def many() -> bytes:
    """Return a .zip whose list claims a million entries, without writing them."""
    entry = b"PK\x01\x02" + bytes(42)
    listed = entry * 1_000_000
    end = b"PK\x05\x06" + bytes(4) + b"\xff\xff\xff\xff" + len(listed).to_bytes(4, "little") + bytes(4) + bytes(2)
    return b"PK\x03\x04" + bytes(26) + listed + end


@pytest.mark.parametrize("kind", ATTACKS)
def test_attacks_are_refused_by_what_they_declare(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make, words = ATTACKS[kind]
    path = tmp_path / "model.zip"
    path.write_bytes(make())
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_, **__: pytest.fail("an entry was unpacked"))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch read the file"))
    if kind == "a package with a million entries":
        monkeypatch.setattr(zipfile.ZipFile, "infolist", lambda *_: pytest.fail("the list was read"))
    assert main(["models", "import", str(path), "--name", "Attack", "-o", str(tmp_path / "out")]) == 2
    assert words in capsys.readouterr().err


def test_a_header_that_lies_about_the_size_stops_at_the_declared_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = {"down_path.0.block.0.weight": torch.zeros(1)}
    data = lying(archive(("archive/data.pkl", pickle.dumps(state, 2)), ("archive/version", b"3"), ("archive/data/0", bytes(20_000_000))))
    (tmp_path / "model.pt").write_bytes(data)
    assert main(["models", "import", str(tmp_path / "model.pt"), "--name", "Attack", "-o", str(tmp_path / "out")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_weights_in_a_package_that_unpack_without_end_are_refused(tmp_path: Path) -> None:
    """Nested: the package stores the weights as they are, and these are the bomb."""
    good = write_toy(tmp_path / "good")
    (good / "weights.pt").write_bytes(deflated_weights())
    path = zipped(good, tmp_path / "toy.zip")
    assert not check_model(path).ok
    with pytest.raises(Exception, match=r"SHA-256|attack"):
        _ = open_model(path).network


# --- nothing is left


def test_an_import_leaves_nothing_in_the_folder_for_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "tmp"
    work.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(work))
    monkeypatch.setenv("TMPDIR", str(work))
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "net.pt").write_bytes(saved(lively("FNet", {"dims": 2, "depth": 1, "mult_chan": 2}).state_dict()))
    sources = [toy_04(tmp_path / "four"), toy_05(tmp_path / "five"), tmp_path / "net.pt"]
    for number, source in enumerate(sources):
        for suffix in ("", ".zip"):
            assert main(["models", "import", str(source), "--name", "Some toy", "-o", str(out / f"m{number}{suffix}")]) == 0
    (tmp_path / "five" / "w.pt").unlink()
    assert main(["models", "import", str(tmp_path / "five"), "--name", "Some toy", "-o", str(out / "refused.zip")]) == 2
    assert main(["models", "check", str(out / "m0.zip")]) == 0
    assert list(work.iterdir()) == []
    assert sorted(path.name for path in out.iterdir()) == sorted(f"m{n}{suffix}" for n in range(3) for suffix in ("", ".zip"))


KILLED = """
import os, sys
from pathlib import Path
from napari_virtual_paint.cli import main
from napari_virtual_paint.models.package import writer

def half(path, contents):
    Path(path).write_bytes(b"half")
    os._exit(9)

writer._zip = half
main(sys.argv[1:])
"""


def test_the_next_import_removes_what_a_killed_one_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRTUAL_PAINT_MODELS", str(tmp_path / "mine"))
    source = toy_05(tmp_path / "toy")
    killed = subprocess.run([sys.executable, "-c", KILLED, "models", "import", str(source), "--name", "First toy"], env={**os.environ})
    assert killed.returncode == 9
    assert [path.suffix for path in (tmp_path / "mine").iterdir()] == [".partial"]
    assert main(["models", "import", str(source), "--name", "Second toy"]) == 0
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["second-toy.zip"]


def test_an_example_is_told_by_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net.pt").write_bytes(script(Gain(1, 1)))
    (tmp_path / "net_io.npz").write_bytes(b"no archive")
    command = ["models", "import", str(tmp_path / "net.pt"), "--name", "Example net", "-o", str(tmp_path / "out")]
    assert main(command) == 2
    assert "net_io.npz: the example beside the model can't be run" in capsys.readouterr().err
    np.savez(tmp_path / "net_io.npz", input=np.array([{"a": Lab()}], object), output=np.zeros(1))
    assert main(command) == 2
    assert "not numbers" in capsys.readouterr().err
