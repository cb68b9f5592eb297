"""bioimage.io packages of others: versions 0.4 and 0.5 imported right or refused, nothing fetched, the end of an import that of a check."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from foreign_packages import Content, flip, npy, script, toy_04, toy_05
from napari_virtual_paint.cli import main
from napari_virtual_paint.errors import ModelError, VirtualPaintError
from napari_virtual_paint.models import check_model, open_model
from napari_virtual_paint.models.export import export_model
from napari_virtual_paint.models.importers import Wishes, import_model
from napari_virtual_paint.normalize import fit
from napari_virtual_paint.painting import PaintSettings, paint
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.stack import PixelSize, Stack
from small_models import zipped


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note every use of the network, and refuse it, whoever catches the error."""
    used: list[str] = []

    def refuse(*args: Any, **_: Any) -> Any:
        used.append(str(args[:2]))
        raise OSError("the network was used")

    for name in ("getaddrinfo", "create_connection", "gethostbyname"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return used


def described(path: Path) -> Content:
    return yaml.safe_load((path / "rdf.yaml").read_text("utf-8"))


def imported(path: Path, tmp_path: Path, **options: Any) -> Path:
    return import_model(path, "Imported toy", tmp_path / "imported", **options).path


# --- hashes


def test_the_sha256_of_a_package_of_04_is_kept(tmp_path: Path) -> None:
    source = toy_04(tmp_path / "toy")
    out = described(imported(source, tmp_path))
    stated = described(source)["weights"]["torchscript"]["sha256"]
    assert out["weights"]["torchscript"]["sha256"] == stated
    for which, name in (("inputs", "in.npy"), ("outputs", "out.npy")):
        assert out[which][0]["test_tensor"]["sha256"] == hashlib.sha256((source / name).read_bytes()).hexdigest()
    assert check_model(tmp_path / "imported").ok


def test_a_package_of_04_without_a_sha256_gets_that_of_its_weights(tmp_path: Path) -> None:
    source = toy_04(tmp_path / "toy", lambda content: content["weights"]["torchscript"].pop("sha256"))
    out = described(imported(source, tmp_path))
    assert out["weights"]["torchscript"]["sha256"] == hashlib.sha256((source / "w.pt").read_bytes()).hexdigest()


HASHES: list[tuple[str, Callable[[Path], Path]]] = [
    ("weights of 0.4", lambda at: toy_04(at, lambda c: c["weights"]["torchscript"].update(sha256="0" * 64))),
    ("weights of 0.5", lambda at: toy_05(at, lambda c: c["weights"]["torchscript"].update(sha256="0" * 64))),
    ("other weights of 0.5", lambda at: toy_05(at, lambda c: c["weights"].update(onnx={"source": "doc.md", "sha256": "1" * 64}))),
    ("a test tensor of 0.5", lambda at: toy_05(at, lambda c: c["inputs"][0]["test_tensor"].update(sha256="2" * 64))),
    ("an attachment", lambda at: toy_05(at, lambda c: c.update(attachments=[{"source": "doc.md", "sha256": "3" * 64}]))),
]


@pytest.mark.parametrize(("name", "make"), HASHES, ids=[name for name, _ in HASHES])
@pytest.mark.parametrize("options", [[], ["--force"]])
def test_a_wrong_sha256_is_refused(
    name: str, make: Callable[[Path], Path], options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make(tmp_path / "toy")
    assert main(["models", "import", str(source), "--name", "Wrong hash", "-o", str(tmp_path / "out"), *options]) == 2
    assert "SHA-256" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# --- steps of 0.4: the numbers that the image should have after them, by hand

RAW = np.random.default_rng(0).normal(100, 20, (1, 2, 32, 48)).astype(np.float32)


def zscore(image: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return (image - image.mean(axes, keepdims=True)) / (image.std(axes, keepdims=True) + 1e-6)


def column(*values: float) -> np.ndarray:
    return np.array(values).reshape(1, -1, 1, 1)


def percentiles(image: np.ndarray, low: float, high: float, axes: tuple[int, ...]) -> np.ndarray:
    bottom, top = np.percentile(image, [low, high], axis=axes, keepdims=True)
    return (image - bottom) / (top - bottom + 1e-6)


STEPS: dict[str, tuple[Content, Callable[[np.ndarray], np.ndarray]]] = {
    "scalar gain with axes": ({"name": "scale_linear", "kwargs": {"gain": 0.5, "offset": 3.0, "axes": "yx"}}, lambda x: 0.5 * x + 3),
    "scalar gain with all axes": ({"name": "scale_linear", "kwargs": {"gain": 0.5, "axes": "cyx"}}, lambda x: 0.5 * x),
    "scalar gain, no axes": ({"name": "scale_linear", "kwargs": {"offset": -1.0}}, lambda x: x - 1),
    "a list of one gain": ({"name": "scale_linear", "kwargs": {"gain": [0.25], "offset": [1.0], "axes": "yx"}}, lambda x: 0.25 * x + 1),
    "a gain a channel": (
        {"name": "scale_linear", "kwargs": {"gain": [2.0, 3.0], "offset": [1.0, -1.0], "axes": "xy"}},
        lambda x: column(2, 3) * x + column(1, -1),
    ),
    "a gain a channel, one offset": (
        {"name": "scale_linear", "kwargs": {"gain": [2.0, 3.0], "offset": 5.0, "axes": "yx"}},
        lambda x: column(2, 3) * x + 5,
    ),
    "statistics of each channel": (
        {"name": "zero_mean_unit_variance", "kwargs": {"mode": "per_sample", "axes": "xy"}},
        lambda x: zscore(x, (2, 3)),
    ),
    "statistics of all channels": (
        {"name": "zero_mean_unit_variance", "kwargs": {"mode": "per_sample", "axes": "cyx"}},
        lambda x: zscore(x, (1, 2, 3)),
    ),
    "numbers that are stated": (
        {"name": "zero_mean_unit_variance", "kwargs": {"mode": "fixed", "axes": "cyx", "mean": 100.0, "std": 20.0}},
        lambda x: (x - 100) / 20,
    ),
    "numbers that are stated, a channel": (
        {"name": "zero_mean_unit_variance", "kwargs": {"mode": "fixed", "axes": "xy", "mean": [90.0, 110.0], "std": [10.0, 20.0]}},
        lambda x: (x - column(90, 110)) / column(10, 20),
    ),
    "numbers that are stated, a list of one": (
        {"name": "zero_mean_unit_variance", "kwargs": {"mode": "fixed", "axes": "xy", "mean": [100.0], "std": [20.0]}},
        lambda x: (x - 100) / 20,
    ),
    "percentiles of each channel": (
        {"name": "scale_range", "kwargs": {"mode": "per_sample", "axes": "xy", "min_percentile": 2, "max_percentile": 98}},
        lambda x: percentiles(x, 2, 98, (2, 3)),
    ),
    "percentiles of all channels": (
        {"name": "scale_range", "kwargs": {"mode": "per_sample", "axes": "cyx", "min_percentile": 5.0, "max_percentile": 95.0}},
        lambda x: percentiles(x, 5, 95, (1, 2, 3)),
    ),
    "clip": ({"name": "clip", "kwargs": {"min": 90.0, "max": 110.0}}, lambda x: x.clip(90, 110)),
    "binarize": ({"name": "binarize", "kwargs": {"threshold": 100.0}}, lambda x: (x > 100).astype("f4")),
    "sigmoid": ({"name": "sigmoid"}, lambda x: 1 / (1 + np.exp(-x))),
}


@pytest.mark.parametrize("kind", STEPS)
def test_a_step_of_04_gives_the_numbers_that_it_describes(kind: str, tmp_path: Path) -> None:
    step, by_hand = STEPS[kind]
    source = toy_04(tmp_path / "toy", channels=2, expected=lambda raw: by_hand(raw.astype(np.float64)), steps=[step])
    model = open_model(imported(source, tmp_path))
    found = fit(RAW[0], model.info.preprocessing).apply(RAW[0])
    np.testing.assert_allclose(found, by_hand(RAW.astype(np.float64))[0], rtol=1e-5, atol=1e-5)
    row = next(row for row in check_model(tmp_path / "imported").checks if row.name == "test output reproduced")
    assert row.ok
    assert "alone" not in row.detail


def test_steps_behind_the_network_of_04(tmp_path: Path) -> None:
    def change(content: Content) -> None:
        content["outputs"][0]["postprocessing"] = [{"name": "scale_linear", "kwargs": {"gain": 2.0, "offset": 1.0, "axes": "xy"}}]

    source = toy_04(tmp_path / "toy", change)
    (source / "out.npy").write_bytes(npy(2 * np.load(source / "out.npy") + 1))
    info = open_model(imported(source, tmp_path)).info
    assert next((step.kind, step.values) for step in info.postprocessing) == ("scale_linear", {"gain": 2.0, "offset": 1.0})
    assert check_model(tmp_path / "imported").ok


def test_test_tensors_made_without_the_steps_are_told(tmp_path: Path) -> None:
    """As some authors make them: the output is that of the network alone."""
    source = toy_04(tmp_path / "toy", steps=[{"name": "scale_linear", "kwargs": {"gain": 0.00392156862745098, "axes": "xy"}}])
    found = import_model(source, "Imported toy", tmp_path / "imported")
    assert found.info.preprocessing[0].values == {"gain": 0.00392156862745098, "offset": 0.0}
    assert any("by the network alone" in note for note in found.notes)


def test_statistics_of_a_dataset_are_noted(tmp_path: Path) -> None:
    step = {"name": "zero_mean_unit_variance", "kwargs": {"mode": "per_dataset", "axes": "xy"}}
    source = toy_04(tmp_path / "toy", steps=[step], expected=lambda raw: zscore(raw, (2, 3)))
    assert any("whole dataset" in note for note in import_model(source, "Imported toy", tmp_path / "imported").notes)


WRONG_STEPS: list[tuple[Content, str]] = [
    ({"name": "scale_linear", "kwargs": {"gain": [1.0, 2.0, 3.0], "offset": [0.0, 1.0], "axes": "xy"}}, "3 of gain and 2 of offset"),
    ({"name": "scale_linear", "kwargs": {"gain": [1.0, 2.0], "axes": "cx"}}, "only channel is supported"),
    ({"name": "scale_linear", "kwargs": {"gain": "much"}}, "no number"),
    ({"name": "zero_mean_unit_variance", "kwargs": {"mode": "per_sample", "axes": "x"}}, "every y alone"),
    ({"name": "zero_mean_unit_variance", "kwargs": {"axes": "xy"}}, "neither statistics nor"),
    ({"name": "magic"}, "'magic'"),
]


@pytest.mark.parametrize(("step", "words"), WRONG_STEPS)
def test_steps_of_04_that_make_no_sense_are_refused(step: Content, words: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=words):
        imported(toy_04(tmp_path / "toy", channels=2, steps=[step]), tmp_path)
    assert not (tmp_path / "imported").exists()


# --- outputs of another size


def tied(scale: float = 1.0, offset: int = 0, halo: int = 0) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        for axis in content["outputs"][0]["axes"][2:]:
            axis["scale"] = scale
            axis["size"]["offset"] = offset
            if halo:
                axis["halo"] = halo

    return change


def sized(**sizes: Any) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        for which, size in sizes.items():
            for axis in content[which][0]["axes"][2:]:
                axis["size"] = size

    return change


def crossed(content: Content) -> None:
    for axis, other in zip(content["outputs"][0]["axes"][2:], "xy", strict=True):
        axis["size"]["axis_id"] = other


def chained(content: Content) -> None:
    """The input's x is tied to its y, and the output's x to the input's x."""
    content["inputs"][0]["axes"][3]["size"] = {"tensor_id": "raw", "axis_id": "y"}


SIZES: list[tuple[str, Callable[[Content], None], str]] = [
    ("twice", tied(0.5), "2 times as large in y"),
    ("half", tied(2.0), "0.5 times as large in y"),
    ("a border less", tied(offset=-8), "8 pixels smaller in y"),
    ("a border more", tied(offset=4), "4 pixels larger in y"),
    ("twice and a border", tied(0.5, -3), "2 times as large in y"),
    ("a fixed output of a free input", sized(outputs=64), "64 pixels in y where its input is 16 or more"),
    ("fixed sizes that differ", sized(inputs=64, outputs=32), "32 pixels in y where its input is 64"),
    ("a size that the image decides", sized(outputs={"min": 1, "max": 99}), "depends on the image"),
    ("x and y exchanged", crossed, "as large in y as its input in x"),
]


@pytest.mark.parametrize(("name", "change", "words"), SIZES, ids=[name for name, _, _ in SIZES])
def test_a_description_of_an_output_of_another_size_is_refused(
    name: str, change: Callable[[Content], None], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = toy_05(tmp_path / "toy", change)
    with pytest.raises(ModelError, match=words):
        open_model(source)
    assert main(["models", "check", str(source)]) == 2
    assert words in capsys.readouterr().out
    assert main(["models", "import", str(source), "--name", "Other size", "-o", str(tmp_path / "out")]) == 2
    assert words in capsys.readouterr().err


OF_04: list[tuple[Content, str]] = [
    ({"scale": [1, 0, 2, 2]}, "2 times as large in y"),
    ({"scale": [1, 0, 0.5, 0.5]}, "0.5 times as large in y"),
    ({"offset": [0, 0.5, -4, -4]}, "8 pixels smaller in y"),
]


@pytest.mark.parametrize(("shape", "words"), OF_04)
def test_an_output_of_another_size_in_04_is_refused(shape: Content, words: str, tmp_path: Path) -> None:
    source = toy_04(tmp_path / "toy", lambda content: content["outputs"][0]["shape"].update(shape))
    with pytest.raises(ModelError, match=words):
        imported(source, tmp_path)


def test_a_halo_in_04_is_a_border_to_be_cut(tmp_path: Path) -> None:
    source = toy_04(tmp_path / "toy", lambda content: content["outputs"][0].update(halo=[0, 0, 4, 4]))
    assert open_model(imported(source, tmp_path)).info.halo == (4, 4)


def scaled(content: Content) -> None:
    for which in ("inputs", "outputs"):
        for axis in content[which][0]["axes"][2:]:
            axis["scale"] = 0.325


SAME: list[tuple[str, Callable[[Content], None]]] = [
    ("tied", lambda content: None),
    ("the same scale", scaled),
    ("a halo, which is a border to be cut", tied(halo=4)),
    ("a chain of axes", chained),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change"), SAME, ids=[name for name, _ in SAME])
def test_outputs_of_the_same_size_open(name: str, change: Callable[[Content], None], tmp_path: Path) -> None:
    assert open_model(toy_05(tmp_path / "toy", change)).info.stains == ("s1",)


def test_fixed_sizes_that_are_the_same_open(tmp_path: Path) -> None:
    assert open_model(toy_05(tmp_path / "toy", sized(inputs=32, outputs=32))).info.min_size == (32, 32)


@pytest.mark.parametrize("factor", [2.0, 0.5])
def test_a_network_that_gives_another_size_than_described_is_refused(factor: float, tmp_path: Path) -> None:
    source = toy_05(tmp_path / "toy", tied(1.0), scale=factor)
    report = check_model(source)
    assert not report.ok
    assert "only outputs of the input's own sides" in report.checks[-1].detail
    with pytest.raises(ModelError, match="size of the output"):
        imported(source, tmp_path)
    stack = Stack(np.zeros((1, 1, 1, 64, 64), np.float32), channels=("bf",))
    for blend in ("exact", "gaussian"):
        with pytest.raises(ModelError, match="only outputs of the input's own sides are painted"):
            run_to_end(paint(open_model(source), stack, PaintSettings(blend=blend)))


def test_a_network_with_other_stains_than_described_is_refused(tmp_path: Path) -> None:
    from foreign_packages import Gain

    source = toy_05(tmp_path / "toy", lambda content: content["weights"]["torchscript"].pop("sha256"))
    (source / "w.pt").write_bytes(script(Gain(1, 3)))
    stack = Stack(np.zeros((1, 1, 1, 64, 64), np.float32), channels=("bf",))
    with pytest.raises(ModelError, match="1 x 3 x 64 x 64"):
        run_to_end(paint(open_model(source), stack))


# --- nothing is fetched

ADDRESSES = ["https://example.org/a", "http://example.org/a", "ftp://example.org/a", "s3://bucket/a", "file:///etc/passwd"]
OUTSIDE = ["//server/share/a", "/etc/passwd", "../secret", "C:\\a", "\\\\server\\share\\a"]


def at(*path: str | int, value: Callable[[str], Any] = lambda source: source) -> Callable[[Content, str], None]:
    """Return a change that puts an address in a place."""

    def change(content: Any, source: str) -> None:
        for part in path[:-1]:
            if isinstance(content, dict) and part not in content:
                content[part] = {}
            content = content[part]
        content[path[-1]] = value(source)

    return change


def entry(source: str) -> Content:
    return {"source": source}


LINKED: dict[str, tuple[str, Callable[[Content, str], None]]] = {
    "covers": ("05", at("covers", value=lambda source: [source + ".png"])),
    "covers of 0.4": ("04", at("covers", value=lambda source: [source + ".png"])),
    "documentation": ("05", at("documentation", value=lambda source: source + ".md")),
    "documentation of 0.4": ("04", at("documentation", value=lambda source: source + ".md")),
    "attachments": ("05", at("attachments", value=lambda source: [{"source": source}])),
    "attachments of 0.4": ("04", at("attachments", value=lambda source: {"files": [source]})),
    "icon": ("05", at("icon", value=lambda source: source + ".png")),
    "badges": ("05", at("badges", value=lambda source: [{"label": "a", "url": source, "icon": source}])),
    "git_repo": ("05", at("git_repo")),
    "cite": ("05", at("cite", value=lambda source: [{"text": "x", "url": source}])),
    "parent of 0.4": ("04", at("parent", value=lambda source: {"id": "a/b", "version_number": 1})),
    "parent": ("05", at("parent", value=lambda source: {"id": source})),
    "output_of": ("05", at("inputs", 0, "output_of", value=lambda source: "someones-model")),
    "sample tensor": ("05", at("inputs", 0, "sample_tensor", value=lambda source: {"source": source + ".npy"})),
    "sample tensors of 0.4": ("04", at("sample_inputs", value=lambda source: [source + ".npy"])),
    "training data": ("05", at("training_data", value=lambda source: {"id": source})),
    "links": ("05", at("links", value=lambda source: [source])),
    "uploader": ("05", at("uploader", value=lambda source: {"email": "a@example.org"})),
    "other weights": ("05", at("weights", "onnx", value=lambda source: {"source": source, "opset_version": 15})),
    "other weights of 0.4": ("04", at("weights", "onnx", value=lambda source: {"source": source, "opset_version": 15})),
    "environment": (
        "05",
        at("weights", "torchscript", "dependencies", value=lambda source: {"source": source + ".yaml"}),
    ),
    "architecture of other weights": (
        "05",
        at(
            "weights", "pytorch_state_dict",
            value=lambda source: {
                "source": "doc.md", "pytorch_version": "2.0.0",
                "architecture": {"callable": "Net", "source": source + ".py"}, "dependencies": {"source": source + ".yaml"},
            },
        ),
    ),
    "architecture of other weights of 0.4": (
        "04",
        at("weights", "pytorch_state_dict", value=lambda source: {"source": "doc.md", "architecture": source + ".py:Net",
                                                                   "architecture_sha256": "0" * 64}),
    ),
}  # fmt: skip
"""Places of a description that a program might fetch from though the model does without."""


@pytest.mark.parametrize("place", LINKED)
def test_nothing_is_fetched_by_any_command(place: str, tmp_path: Path, offline: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    version, put = LINKED[place]
    make = toy_04 if version == "04" else toy_05
    source = make(tmp_path / "toy", lambda content: put(content, ADDRESSES[0]))
    code = main(["models", "import", str(source), "--name", "Linked toy", "-o", str(tmp_path / "out.zip")])
    said = capsys.readouterr().err
    assert offline == [], place
    if code != 0:  # a description that breaks the specification is refused, in a sentence
        assert code == 2, said
        return
    for command in ("check", "show"):
        main(["models", command, str(tmp_path / "out.zip")])
        main(["models", command, str(source)])
    if version == "05":
        export_model(open_model(source), tmp_path / "first.zip")
    model = open_model(tmp_path / "out.zip")
    stack = Stack(np.zeros((1, 1, 1, 32, 32), np.float32))
    run_to_end(paint(model, stack))
    export_model(model, tmp_path / "exported.zip")
    assert offline == [], place


@pytest.mark.parametrize("address", [*ADDRESSES, *OUTSIDE])
@pytest.mark.parametrize("version", ["04", "05"])
@pytest.mark.parametrize("place", ["weights", "test input", "test output"])
def test_what_a_model_needs_must_be_in_the_package(
    place: str, version: str, address: str, tmp_path: Path, offline: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "secret").write_bytes(b"secret")

    def change(content: Content) -> None:
        if place == "weights":
            content["weights"]["torchscript"] = {"source": address, "pytorch_version": "2.0.0"}
        elif version == "04":
            content["test_inputs" if place == "test input" else "test_outputs"] = [address]
        else:
            content["inputs" if place == "test input" else "outputs"][0]["test_tensor"] = {"source": address}

    source = (toy_04 if version == "04" else toy_05)(tmp_path / "toy", change)
    for form in (source, zipped(source, tmp_path / "toy.zip")):
        assert main(["models", "import", str(form), "--name", "Linked toy", "-o", str(tmp_path / "out")]) == 2
        said = capsys.readouterr().err
        assert "virtual-paint: " in said
        assert "unexpected" not in said
        assert not (tmp_path / "out").exists()
    assert offline == []


@pytest.mark.parametrize("address", [*ADDRESSES, *OUTSIDE])
@pytest.mark.parametrize("place", ["covers", "attachments", "sample tensor", "documentation", "environment", "icon"])
def test_no_file_outside_of_a_package_is_read(place: str, address: str, tmp_path: Path, offline: list[str]) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    source = toy_05(tmp_path / "toy", lambda content: LINKED[place][1](content, address))
    main(["models", "import", str(source), "--name", "Linked toy", "-o", str(tmp_path / "out"), "--force"])
    assert offline == []
    if (tmp_path / "out").exists():
        assert {path.name for path in (tmp_path / "out").rglob("*")} <= {"w.pt", "in.npy", "out.npy", "doc.md", "cover.png", "rdf.yaml"}


def test_addresses_are_named_in_a_note(tmp_path: Path) -> None:
    source = toy_05(tmp_path / "toy", lambda content: content.update(attachments=[{"source": "https://example.org/data.csv"}]))
    notes = import_model(source, "Linked toy", tmp_path / "out").notes
    assert any("https://example.org/data.csv" in note and "never fetched" in note for note in notes)


def test_other_weights_that_are_elsewhere_are_left_out_with_a_note(tmp_path: Path) -> None:
    remote = {"source": "https://example.org/a.onnx", "opset_version": 15}
    source = toy_05(tmp_path / "toy", lambda content: content["weights"].update(onnx=remote))
    found = import_model(source, "Linked toy", tmp_path / "out")
    assert list(described(tmp_path / "out")["weights"]) == ["torchscript"]
    assert any("weights onnx were left out" in note for note in found.notes)


# --- settings of the user


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_channels_of_a_package_get_the_names_that_the_user_gives(version: str, tmp_path: Path) -> None:
    source = toy_04(tmp_path / "toy", channels=2) if version == "0.4" else toy_05(tmp_path / "toy")
    names = ("Phase", "DIC")[: 2 if version == "0.4" else 1]
    package = imported(source, tmp_path, wishes=Wishes(inputs=names, outputs=("DNA",)))
    model = open_model(package)
    assert (model.info.channels, model.info.stains) == (names, ("DNA",))
    assert check_model(package).ok


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        (Wishes(inputs=("Phase", "DIC")), r"this model has 1 input channels; --inputs names 2 \(Phase, DIC\)"),
        (Wishes(outputs=("DNA", "ER")), r"this model has 1 stains; --outputs names 2 \(DNA, ER\)"),
        (Wishes(inputs=("Phase", "Phase")), "--inputs names one of Phase, Phase twice"),
        (Wishes(outputs=("DNA", "DNA")), "--outputs names one of DNA, DNA twice"),
        (Wishes(normalise="none"), "states its normalization and pixel size itself"),
        (Wishes(value_range=(0, 255)), "states its normalization and pixel size itself"),
        (Wishes(pixel_size=PixelSize(y=0.5, x=0.5)), "states its normalization and pixel size itself"),
    ],
)
def test_settings_that_do_not_fit_a_package_are_refused(wishes: Wishes, words: str, tmp_path: Path) -> None:
    with pytest.raises(VirtualPaintError, match=words):
        imported(toy_05(tmp_path / "toy"), tmp_path, wishes=wishes)
    assert not (tmp_path / "imported").exists()


# --- an import ends as a check would


def without(name: str) -> Callable[[Path], None]:
    return lambda package: (package / name).unlink()


def holding(name: str, data: bytes) -> Callable[[Path], None]:
    return lambda package: (package / name).write_bytes(data)


def reweighted(data: bytes) -> Callable[[Path], None]:
    """Give a package other weights with their SHA-256."""

    def change(package: Path) -> None:
        (package / "w.pt").write_bytes(data)
        content = described(package)
        content["weights"]["torchscript"]["sha256"] = hashlib.sha256(data).hexdigest()
        (package / "rdf.yaml").write_text(yaml.safe_dump(content), "utf-8")

    return change


UNSOUND: dict[str, tuple[Callable[[Path], None], str]] = {
    "no weights": (without("w.pt"), "w.pt"),
    "empty weights": (reweighted(b""), "w.pt"),
    "weights that are a page": (reweighted(b"<!DOCTYPE html><html></html>"), "a web page (HTML)"),
    "weights that are Git LFS's": (reweighted(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "Git LFS"),
    "no test input": (without("in.npy"), "in.npy"),
    "an empty test output": (holding("out.npy", b""), "out.npy"),
    "another test output": (holding("out.npy", npy(np.random.default_rng(5).normal(size=(1, 1, 32, 48)).astype("f4"))), "test output"),
}


@pytest.mark.parametrize("kind", UNSOUND)
@pytest.mark.parametrize("version", ["04", "05"])
def test_a_package_that_is_not_sound_is_not_imported(kind: str, version: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change, words = UNSOUND[kind]
    source = (toy_04 if version == "04" else toy_05)(tmp_path / "toy")
    change(source)
    assert main(["models", "import", str(source), "--name", "Unsound toy", "-o", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
    assert main(["models", "check", str(source)]) == 2


def test_weights_whose_checksum_is_wrong_are_refused_unless_forced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = toy_05(tmp_path / "toy")
    reweighted(flip((source / "w.pt").read_bytes(), "/version"))(source)
    command = ["models", "import", str(source), "--name", "Flipped toy", "-o", str(tmp_path / "out")]
    assert main(command) == 2
    assert "CRC-32" in capsys.readouterr().err
    assert main([*command, "--force"]) == 0
    info = open_model(tmp_path / "out").info
    assert any("CRC-32" in warning for warning in info.warnings)
    capsys.readouterr()
    assert main(["models", "show", str(tmp_path / "out")]) == 0
    assert "CRC-32" in capsys.readouterr().out
    assert main(["models", "check", str(tmp_path / "out"), "--json"]) == 2
    rows = json.loads(capsys.readouterr().out)["checks"]
    assert any(row["name"] == "import" and "CRC-32" in row["detail"] for row in rows)


def test_a_test_output_that_is_not_reproduced_is_kept_with_a_warning_if_forced(tmp_path: Path) -> None:
    source = toy_04(tmp_path / "toy")
    UNSOUND["another test output"][0](source)
    found = import_model(source, "Forced toy", tmp_path / "out.zip", force=True)
    assert any("Test output not reproduced" in warning for warning in found.info.warnings)
    assert any("Test output not reproduced" in note for note in found.notes)
    again = export_model(open_model(tmp_path / "out.zip"), tmp_path / "again.zip").path
    assert open_model(again).info.warnings == found.info.warnings


def test_a_checkpoint_with_a_flipped_bit_is_refused_unless_forced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from small_models import lively, saved

    state = lively("UNet", {"in_channels": 1, "out_channels": 1, "depth": 2, "width": 4, "max_width": 8}).state_dict()
    (tmp_path / "a.pt").write_bytes(flip(saved(state), "data/0"))
    torch.load(tmp_path / "a.pt", weights_only=True)  # which doesn't see it
    command = ["models", "import", str(tmp_path / "a.pt"), "--name", "Flipped net", "-o", str(tmp_path / "out")]
    assert main(command) == 2
    assert "CRC-32" in capsys.readouterr().err
    assert main([*command, "--force"]) == 0
    assert any("CRC-32" in warning for warning in open_model(tmp_path / "out").info.warnings)


@pytest.mark.parametrize("form", ["checkpoint", "TorchScript"])
def test_an_example_that_is_not_reproduced_is_refused_unless_forced(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from foreign_packages import Gain
    from small_models import lively, saved

    network = Gain(1, 1) if form == "TorchScript" else lively("FNet", {"dims": 2, "depth": 1, "mult_chan": 2}).eval()
    data = script(network) if form == "TorchScript" else saved(network.state_dict())
    (tmp_path / "a.pt").write_bytes(data)
    image = np.random.default_rng(0).normal(size=(1, 1, 32, 32)).astype("f4")
    with torch.inference_mode():
        right = network(torch.from_numpy(image)).numpy()
    np.savez(tmp_path / "a_io.npz", input=image, output=right + 1e-3)
    command = ["models", "import", str(tmp_path / "a.pt"), "--name", "Example net", "-o", str(tmp_path / "out")]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "is not reproduced: max abs error 0.001" in said
    assert not (tmp_path / "out").exists()
    assert main([*command, "--force"]) == 0
    assert any("not reproduced" in warning for warning in open_model(tmp_path / "out").info.warnings)
    np.savez(tmp_path / "a_io.npz", input=image, output=np.full_like(right, np.nan))
    assert main([*command, "--overwrite"]) == 2
    np.savez(tmp_path / "a_io.npz", input=image, output=right)
    assert main([*command, "--overwrite"]) == 0
    assert not any("not reproduced" in warning for warning in open_model(tmp_path / "out").info.warnings)


def test_an_example_that_is_a_bomb_is_refused(tmp_path: Path) -> None:
    from foreign_packages import Gain

    (tmp_path / "a.pt").write_bytes(script(Gain(1, 1)))
    np.savez_compressed(tmp_path / "a_io.npz", input=np.zeros((1, 1, 5000, 5000), "f4"), output=np.zeros(1))
    with pytest.raises(ModelError, match="unpacks to"):
        import_model(tmp_path / "a.pt", "Bomb net", tmp_path / "out")


def test_an_import_that_is_refused_leaves_an_empty_folder_of_the_users(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    source = toy_05(tmp_path / "toy")
    (source / "w.pt").unlink()
    with pytest.raises(ModelError):
        import_model(source, "Unsound toy", tmp_path / "mine")
    assert (tmp_path / "mine").is_dir()
    import_model(toy_05(tmp_path / "good"), "Sound toy", tmp_path / "mine")
    assert open_model(tmp_path / "mine").info.id == "sound-toy"
