"""Packages of unknown origin: damaged, foreign or hostile. Each ends in one sentence, and nothing of it is run, fetched or left behind."""

from __future__ import annotations

import builtins
import copy
import io
import pickle
import socket
import stat
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_virtual_paint.errors import ModelError
from napari_virtual_paint.models import check_model, open_model
from napari_virtual_paint.models.package.files import PackageFiles, open_files
from napari_virtual_paint.models.package.reader import describe
from small_models import CONFIG_2D, TOY_3D, lively, saved, spoil, with_weights, write_toy, zipped


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound package's folder."""
    return write_toy(tmp_path_factory.mktemp("good") / "toy")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every use of the network fail the test."""
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was used"))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("the network was used"))


def refusal(path: Path) -> str:
    """Return the sentence that opening and loading a package ends in, having seen that it is one and names the package."""
    with pytest.raises(ModelError) as caught:
        _ = open_model(path).network
    text = str(caught.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    assert text.endswith(".")
    assert not check_model(path).ok
    return text


Change = Callable[[dict[str, Any]], Any]


def weights(content: dict[str, Any]) -> dict[str, Any]:
    return content["weights"]["pytorch_state_dict"]


def setter(*path: str | int, value: Any) -> Change:
    """Return a change that sets one value."""

    def change(content: Any) -> None:
        for part in path[:-1]:
            content = content[part]
        content[path[-1]] = value

    return change


def architecture(**changes: Any) -> Change:
    return lambda content: weights(content)["architecture"].update(changes)


DESCRIPTIONS: list[tuple[str, Change, str]] = [
    ("a dataset", setter("type", value="dataset"), "describes a dataset"),
    ("version 0.4", setter("format_version", value="0.4.10"), "version 0.4.10"),
    ("version 0.6", setter("format_version", value="0.6.0"), "version 0.5 is read"),
    ("code in the package", architecture(source="net.py", import_from=None), "code in the package (net.py)"),
    ("a library's code", architecture(import_from="os", callable="system"), "system from os"),
    ("our module, other name", architecture(callable="run_from"), "run_from"),
    ("our class, other module", architecture(import_from="evil.unet"), "evil.unet"),
    ("settings unknown", lambda c: weights(c)["architecture"]["kwargs"].update(colour=1), "colour"),
    ("settings out of range", lambda c: weights(c)["architecture"]["kwargs"].update(width=10**9), "width"),
    ("depth without end", lambda c: weights(c)["architecture"]["kwargs"].update(depth=10**6), "depth"),
    ("members without end", lambda c: weights(c)["architecture"]["kwargs"].update(members=10**4), "members"),
    ("settings not plain", lambda c: weights(c)["architecture"]["kwargs"].update(width=[4]), "width"),
    ("more weights than the file has", lambda c: weights(c)["architecture"]["kwargs"].update(width=4096, max_width=65536), "too small"),
    ("other network", lambda c: weights(c)["architecture"]["kwargs"].update(depth=2), "doesn't fit"),
    ("other sizes", lambda c: weights(c)["architecture"]["kwargs"].update(width=5), "(4, 3, 3, 3), not (5, 3, 3, 3)"),
    ("no weights read here", setter("weights", value={"tensorflow_js": {"source": "a.js"}, "keras_hdf5": {}}), "keras_hdf5, tensorflow_js"),
    ("no weights", setter("weights", value={}), "holds no weights"),
    ("weights on the network", lambda c: weights(c).update(source="https://example.org/w.pt"), "never fetched"),
    ("weights at an absolute path", lambda c: weights(c).update(source="/etc/passwd"), "outside of the package"),
    ("weights above", lambda c: weights(c).update(source="../toy/weights.pt"), "outside of the package"),
    ("weights on a drive", lambda c: weights(c).update(source="C:\\w.pt"), "outside of the package"),
    ("weights by file url", lambda c: weights(c).update(source="file:///etc/passwd"), "never fetched"),
    ("weights missing", lambda c: weights(c).update(source="other.pt"), "other.pt"),
    ("weights without name", lambda c: weights(c).pop("source"), "lacks the name of a file"),
    ("another sha256", lambda c: weights(c).update(sha256="0" * 64), "SHA-256"),
    ("two inputs", lambda c: c["inputs"].append(c["inputs"][0]), "2 inputs"),
    ("no output", setter("outputs", value=[]), "0 outputs"),
    ("channels last", lambda c: c["inputs"][0]["axes"].append(c["inputs"][0]["axes"].pop(1)), "batch, y, x, channel"),
    ("time axis", lambda c: c["inputs"][0]["axes"].insert(1, {"type": "time", "size": 1}), "time"),
    ("channels unnamed", lambda c: c["inputs"][0]["axes"][1].pop("channel_names"), "no names"),
    ("unknown step", setter("inputs", 0, "preprocessing", value=[{"id": "magic"}]), "magic"),
    (
        "custom code as a step",
        setter("outputs", 0, "postprocessing", value=[{"id": "custom", "source": "f.py"}]),
        "custom",
    ),
    ("statistics by row", setter("inputs", 0, "preprocessing", 0, "kwargs", "axes", value=["x"]), "every y alone"),
    ("step of another tensor", setter("inputs", 0, "preprocessing", 0, "kwargs", "reference_tensor", value="other"), "'other'"),
    ("mean of text", setter("inputs", 0, "preprocessing", 0, "kwargs", "eps", value="x"), "no number"),
    ("z offsets too few", setter("config", "napari_virtual_paint", "z_offsets", value=[1.0]), "3 numbers"),
    ("negative pixels", setter("config", "napari_virtual_paint", "pixel_size", value=[1.0, -1.0, 1.0]), "positive"),
]


@pytest.mark.parametrize(("name", "change", "words"), DESCRIPTIONS, ids=[name for name, _, _ in DESCRIPTIONS])
@pytest.mark.parametrize("form", ["folder", "zip"])
def test_descriptions_that_are_refused(good: Path, tmp_path: Path, name: str, change: Change, words: str, form: str) -> None:
    path = spoil(good, tmp_path / "toy", change)
    path = zipped(path, tmp_path / "toy.zip") if form == "zip" else path
    assert words in refusal(path)


class Runs:
    """A pickle that runs code when it is loaded carelessly."""

    def __reduce__(self) -> Any:
        return (builtins.exec, ("import builtins; builtins.HACKED = True",))


def test_code_in_a_package_is_never_imported(good: Path, tmp_path: Path) -> None:
    path = spoil(
        good, tmp_path / "toy", architecture(source="net.py", import_from=None), net__py=b"import builtins; builtins.HACKED = True"
    )
    refusal(path)
    assert not hasattr(builtins, "HACKED")


STATE = {"last.weight": torch.zeros(2, 4, 1, 1)}


def state(**changes: Any) -> dict[str, Any]:
    """Return the toy's own weights, some of them changed (None: left out)."""
    found = {**lively("UNet", CONFIG_2D).state_dict(), **{key.replace("__", "."): value for key, value in changes.items()}}
    return {key: value for key, value in found.items() if value is not None}


FILES: list[tuple[str, Callable[[], bytes], str]] = [
    ("code in the pickle", lambda: saved({**state(), "extra": Runs()}), "exec"),
    ("code as the pickle", lambda: pickle.dumps(Runs(), protocol=2) + bytes(60_000), "exec"),
    ("a whole network", lambda: saved(lively("UNet", CONFIG_2D)), "more than tensors"),
    ("a checkpoint", lambda: saved({"state": state(), "epoch": 3}), "state_dict() alone"),
    ("a list", lambda: saved(list(state().values())), "named tensors"),
    ("empty", lambda: b"", "too small"),
    ("noise", lambda: np.random.default_rng(0).bytes(60_000), "damaged"),
    ("torn", lambda: saved(state())[:-3000], "damaged"),
    ("a key missing", lambda: saved(state(last__bias=None)), "lacks last.bias"),
    ("a key more", lambda: saved(state(last__gain=torch.zeros(1))), "has last.gain"),
    ("another shape", lambda: saved(state(last__bias=torch.zeros(3))), "last.bias is (3,), not (2,)"),
    ("a sparse tensor", lambda: saved(state(last__bias=torch.zeros(2).to_sparse())), "no plain tensor"),
    ("complex numbers", lambda: saved(state(last__bias=torch.zeros(2, dtype=torch.complex64))), "no plain tensor"),
    ("tensors of nothing", lambda: saved(state(last__bias=torch.zeros(2, device="meta"))), "no plain tensor"),
]


@pytest.mark.parametrize(("name", "make", "words"), FILES, ids=[name for name, _, _ in FILES])
def test_weights_that_are_refused(good: Path, tmp_path: Path, name: str, make: Callable[[], bytes], words: str) -> None:
    text = refusal(with_weights(good, tmp_path / "toy", make()))
    assert words in text
    assert "weights.pt" in text
    assert not hasattr(builtins, "HACKED")


def test_an_ordered_dict_of_doubles_opens(good: Path, tmp_path: Path) -> None:
    data = saved(OrderedDict((key, value.double() if value.is_floating_point() else value) for key, value in state().items()))
    network = open_model(with_weights(good, tmp_path / "toy", data)).network
    assert {value.dtype for value in network.parameters()} == {torch.float32}


def test_a_weights_file_that_unpacks_without_end_is_refused(good: Path, tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", b"\0" * 50_000_000)
    assert "attack" in refusal(with_weights(good, tmp_path / "toy", file.getvalue()))


# Archives.


def archive(path: Path, good: Path, *extra: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    zipped(good, path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        for name, data in extra:
            file.writestr(name, data)
    return path


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/outside", "a/../../outside", "C:/outside", "..\\outside"])
def test_an_archive_that_leads_out_of_itself_is_refused(good: Path, tmp_path: Path, name: str) -> None:
    assert "leads out of the archive" in refusal(archive(tmp_path / "toy.zip", good, (name, b"x")))


def test_a_link_in_an_archive_is_refused(good: Path, tmp_path: Path) -> None:
    entry = zipfile.ZipInfo("link")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert "is a link" in refusal(archive(tmp_path / "toy.zip", good, (entry, b"/etc/passwd")))


def test_a_link_out_of_a_folder_counts_as_missing(good: Path, tmp_path: Path) -> None:
    path = spoil(good, tmp_path / "toy", weights__pt=None)
    (tmp_path / "secret.pt").write_bytes(b"x")
    (path / "weights.pt").symlink_to(tmp_path / "secret.pt")
    assert "missing" in refusal(path)


def test_an_archive_whose_entry_claims_too_much_is_refused(good: Path, tmp_path: Path) -> None:
    path = archive(tmp_path / "toy.zip", good, ("big", b"\0" * 1000))
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = (2**31).to_bytes(4, "little")
    path.write_bytes(bytes(data))
    assert "attack" in refusal(path)


def test_a_description_that_is_a_bomb_in_the_archive_is_refused(good: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "toy.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("rdf.yaml", b"#" * 20_000_000)
    assert "larger than" in refusal(tmp_path / "toy.zip")


def test_an_archive_of_many_files_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "toy.zip", "w") as file:
        for index in range(10_001):
            file.writestr(str(index), b"")
    assert "10001 entries" in refusal(tmp_path / "toy.zip")


@pytest.mark.parametrize("cut", [10, 1000, -30])
def test_a_torn_archive_is_refused(good: Path, tmp_path: Path, cut: int) -> None:
    path = zipped(good, tmp_path / "toy.zip")
    path.write_bytes(path.read_bytes()[:cut])
    refusal(path)


def test_damage_inside_an_archive_is_seen(good: Path, tmp_path: Path) -> None:
    path = zipped(good, tmp_path / "toy.zip")
    with zipfile.ZipFile(path) as file:
        at = file.getinfo("weights.pt").header_offset + 5000
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(bytes(data))
    assert "weights.pt" in refusal(path)


def test_an_encrypted_archive_is_refused(good: Path, tmp_path: Path) -> None:
    path = zipped(good, tmp_path / "toy.zip")
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := data.find(mark, at + 1)) >= 0:
            data[at + offset] |= 1
    path.write_bytes(bytes(data))
    assert "can't be read" in refusal(path)


def test_what_is_no_package_is_refused(tmp_path: Path) -> None:
    (tmp_path / "image.tif").write_bytes(b"II*\0")
    (tmp_path / "folder").mkdir()
    assert "no model package" in refusal(tmp_path / "image.tif")
    assert "no model package" in refusal(tmp_path / "folder")


# YAML.

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
YAMLS = [
    ("laughs", LAUGHS, "attack"),
    ("merged", "a: &a {x: 1}\nb: &b\n  <<: [*a, *a]\nc:\n  <<: [*b, *b]\n", "merge keys"),
    ("itself", "a: &a [*a]\n", "attack"),
    ("aliases", "a: &a 1\nb: [" + ", ".join(["*a"] * 1000) + "]\n", "aliases"),
    ("deep", "a: " + "[" * 20_000, "no valid YAML"),
    ("python", "a: !!python/object/apply:os.system ['touch hacked']\n", "no valid YAML"),
    ("list", "- 1\n", "no description"),
    ("empty", "", "no description"),
    ("binary", "\x00\x01", "no valid YAML"),
    ("keys", "? [1, 2]\n: 3\n", "key"),
    ("digits", "a: " + "9" * 20_000 + "\n", "no valid YAML"),
    ("torn", "a: 'b", "no valid YAML"),
]


@pytest.mark.parametrize(("name", "text", "words"), YAMLS, ids=[name for name, _, _ in YAMLS])
def test_yaml_that_is_refused(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "rdf.yaml").write_text(text, "utf-8")
    assert words in refusal(tmp_path / "toy")


def test_yaml_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "rdf.yaml").write_bytes(b"\xff\xfe\x00\x80")
    assert "no valid YAML" in refusal(tmp_path / "toy")


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 10**12),
    st.floats(),
    st.text(max_size=5),
    st.just([]),
    st.just({}),
    st.just([{}]),
    st.just([[1]]),
)


class InMemory(PackageFiles):
    """A package of a description alone."""

    def __init__(self, text: str) -> None:
        super().__init__(Path("memory"))
        self.description = "rdf.yaml"
        self.text = text.encode()

    def exists(self, name: str) -> bool:
        return name == "rdf.yaml"

    def size(self, name: str) -> int:
        return len(self.text)

    def _read(self, name: str, limit: int) -> bytes:
        return self.text


def places(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the way to every value of a description."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [place for key, value in items for place in [(*path, key), *places(value, (*path, key))]]


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_stands_in_a_description_it_is_read_or_refused(good: Path, data: st.DataObject) -> None:
    content = yaml.safe_load((good / "rdf.yaml").read_text())
    for _ in range(data.draw(st.integers(1, 2))):
        *way, last = data.draw(st.sampled_from(places(content)))
        at = content
        for part in way:
            at = at[part]
        at[last] = copy.deepcopy(data.draw(JUNK))
    try:
        info = describe(InMemory(yaml.safe_dump(content))).info
    except ModelError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either end is right, and this is one of them
    else:
        assert info.channels


# Foreign packages that open.


def as_script(good: Path, target: Path, *, keep_state: Change | None = None, sha: bool = True) -> Path:
    """Turn a package's weights into TorchScript."""
    network = open_model(good).network
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(network, torch.zeros(1, 3, 32, 32)), file)

    def change(content: dict[str, Any]) -> None:
        import hashlib

        entry = {"source": "script.pt", "pytorch_version": "2.6.0"}
        if sha:
            entry["sha256"] = hashlib.sha256(file.getvalue()).hexdigest()
        if keep_state is None:
            content["weights"] = {"torchscript": entry}
        else:
            keep_state(content)
            content["weights"]["torchscript"] = {**entry, "parent": "pytorch_state_dict"}
        content["config"] = {}

    return spoil(good, target, change, script__pt=file.getvalue())


def test_torchscript_opens_with_a_warning_of_what_it_is(good: Path, tmp_path: Path) -> None:
    path = as_script(good, tmp_path / "toy")
    model = open_model(path)
    assert model.info.weights == "torchscript"
    assert model.info.architecture == ""
    assert any("program of its own" in warning for warning in model.info.warnings)
    x = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(model.network(x), open_model(good).network(x), atol=1e-5)
    report = check_model(path)
    assert report.ok, report
    assert any("program of its own" in row.detail for row in report.checks)


def test_our_own_architecture_is_preferred_to_torchscript(good: Path, tmp_path: Path) -> None:
    info = open_model(as_script(good, tmp_path / "toy", keep_state=lambda content: None)).info
    assert (info.weights, info.warnings) == ("pytorch_state_dict", ())


def test_torchscript_stands_in_for_code_that_is_not_run(good: Path, tmp_path: Path) -> None:
    path = as_script(good, tmp_path / "toy", keep_state=architecture(source="net.py", import_from=None))
    assert open_model(path).info.weights == "torchscript"


def test_weights_without_a_sha256_are_told(good: Path, tmp_path: Path) -> None:
    assert any("no SHA-256" in warning for warning in open_model(as_script(good, tmp_path / "toy", sha=False)).info.warnings)


def test_torchscript_that_is_none_is_refused(good: Path, tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["weights"] = {"torchscript": {"source": "weights.pt", "pytorch_version": "2.6.0"}}

    assert "no TorchScript" in refusal(spoil(good, tmp_path / "toy", change))


def test_a_package_of_the_specifications_own_program_opens(good: Path, tmp_path: Path) -> None:
    """Written by bioimageio.spec from a description, with scale and unit instead of our own part."""
    from bioimageio.spec import load_model_description, save_bioimageio_package

    plain = spoil(good, tmp_path / "plain", lambda content: content.update(config={}))
    description = load_model_description(plain / "rdf.yaml", perform_io_checks=True)
    path = Path(save_bioimageio_package(description, output_path=tmp_path / "theirs.zip"))
    model = open_model(path)
    ours = open_model(good)
    assert model.info.channels == ours.info.channels
    assert model.info.pixel_size.x == pytest.approx(0.325)
    assert model.info.pixel_size.z is None
    assert not model.info.planes_as_channels
    assert check_model(path).ok
    steps = [step for step in model.info.preprocessing if step.kind != "ensure_dtype"]
    assert tuple(steps) == ours.info.preprocessing


def test_a_field_that_the_specifications_program_looks_up_on_the_network_is_left_out(good: Path, tmp_path: Path) -> None:
    path = spoil(good, tmp_path / "toy", setter("inputs", 0, "output_of", value="someones-model"))
    assert check_model(path).ok


# Checks.


def failing(path: Path) -> dict[str, str]:
    """Return the rows of a check that fail."""
    report = check_model(path)
    assert not report.ok
    return {row.name: row.detail for row in report.checks if not row.ok}


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def without_hashes(content: dict[str, Any]) -> None:
    for tensor in (content["inputs"][0], content["outputs"][0]):
        tensor["test_tensor"].pop("sha256")


OUT = (1, 2, 32, 48)
INPUT = np.ones((1, 3, 32, 48), "f4")
REPRODUCED = "test output reproduced"
TENSORS = [
    (
        "other values",
        "test_output__npy",
        lambda: npy(np.random.default_rng(1).normal(size=OUT).astype("f4")),
        "test output reproduced",
        "SD",
    ),
    ("not finite", "test_output__npy", lambda: npy(np.full(OUT, np.nan, "f4")), "shapes", "not numbers"),
    ("other channels", "test_output__npy", lambda: npy(INPUT), "shapes", "3 channels; 2"),
    ("other axes", "test_input__npy", lambda: npy(np.ones((3, 32, 48), "f4")), "shapes", "3 axes; 4"),
    ("other sides", "test_input__npy", lambda: npy(np.ones((1, 3, 30, 48), "f4")), "shapes", "a side of the test input is 30"),
    ("another size", "test_output__npy", lambda: npy(np.ones((1, 2, 40, 48), "f4")), REPRODUCED, "1 x 2 x 32 x 48"),
    ("pickled", "test_output__npy", lambda: npy(np.array([Runs()], object)), "test tensors", "not numbers"),
    ("text", "test_output__npy", lambda: b"hello", "test tensors", "no .npy"),
    ("torn", "test_input__npy", lambda: npy(INPUT)[:-7], "test tensors", "damaged"),
    (
        "huge",
        "test_input__npy",
        lambda: npy(INPUT).replace(b"32, 48)", b"3200000000, 48)")[:6300],
        "test tensors",
        "",
    ),
]


@pytest.mark.parametrize(("name", "file", "make", "row", "words"), TENSORS, ids=[case[0] for case in TENSORS])
def test_test_tensors_that_fail_the_check(
    good: Path, tmp_path: Path, name: str, file: str, make: Callable[[], bytes], row: str, words: str
) -> None:
    found = failing(spoil(good, tmp_path / "toy", without_hashes, **{file: make()}))
    assert list(found) == [row]
    assert words in found[row]
    assert not hasattr(builtins, "HACKED")


def test_a_changed_test_tensor_fails_by_its_sha256(good: Path, tmp_path: Path) -> None:
    path = spoil(good, tmp_path / "toy", test_input__npy=npy(np.zeros((1, 3, 32, 48), "f4")))
    assert "download the package again" in failing(path)["sha256 of the test input"]


def test_missing_test_tensors_fail_the_check(good: Path, tmp_path: Path) -> None:
    assert "test_input.npy" in failing(spoil(good, tmp_path / "file", test_input__npy=None))["sha256 of the test input"]
    entry = spoil(good, tmp_path / "entry", lambda content: content["outputs"][0].pop("test_tensor"))
    assert "nothing shows" in failing(entry)["test tensors"]


def test_a_description_that_breaks_the_specification_fails_the_check(good: Path, tmp_path: Path) -> None:
    found = failing(spoil(good, tmp_path / "toy", setter("name", value="x")))
    assert "name" in found["specification"]


def test_weights_that_changed_a_little_fail_the_check(tmp_path: Path) -> None:
    path = write_toy(tmp_path / "volume", TOY_3D)
    tensors = open_model(path).network.state_dict()
    tensors["conv_out.bias"] = tensors["conv_out.bias"] + 1e-2
    found = failing(with_weights(path, tmp_path / "toy", saved(tensors)))
    assert list(found) == ["test output reproduced"]
    assert "tolerance 1e-04 SD" in found["test output reproduced"]


def test_the_folder_of_a_description_is_the_package(good: Path) -> None:
    assert open_files(good / "rdf.yaml").path == good
