"""Packages: written, opened, listed; the same in bioimageio.core."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from napari_virtual_paint.errors import ModelError, WriteError
from napari_virtual_paint.models import Card, check_model, list_models, open_model, scan, user_folder
from napari_virtual_paint.models.catalogue import bundled_folder
from napari_virtual_paint.models.check import predict_whole
from napari_virtual_paint.normalize import ZSCORE, Step
from napari_virtual_paint.stack import UNKNOWN, PixelSize
from small_models import CARD, CONFIG_2D, TOY_2D, TOY_3D, core_verdict, lively, raw_image, write_toy, zipped


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A 2D and a 3D toy, as folder and as .zip."""
    root = tmp_path_factory.mktemp("packages")
    return {
        "2d folder": write_toy(root / "toy-planes"),
        "2d zip": write_toy(root / "toy-planes.zip"),
        "3d folder": write_toy(root / "toy-volume", TOY_3D),
        "3d zip": write_toy(root / "toy-volume.zip", TOY_3D),
    }


KINDS = ["2d folder", "2d zip", "3d folder", "3d zip"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_what_is_read(packages: dict[str, Path], kind: str) -> None:
    toy = TOY_2D if kind.startswith("2d") else TOY_3D
    info = open_model(packages[kind]).info
    for name in ("id", "name", "description", "version", "architecture", "config", "channels", "stains", "dims", "pixel_size", "card"):
        assert getattr(info, name) == toy[name], name
    assert info.planes_as_channels == toy.get("planes_as_channels", False)
    assert info.z_offsets == toy.get("z_offsets")
    assert info.preprocessing == ZSCORE
    assert info.postprocessing == ()
    assert info.license == "BSD-3-Clause"
    assert info.weights == "pytorch_state_dict"
    assert info.warnings == ()
    assert info.source == packages[kind]
    assert open_model(str(packages[kind])).info == info
    assert hash(open_model(packages[kind]).info) == hash(info)


@pytest.mark.parametrize("kind", KINDS)
def test_bioimageio_core_accepts_the_package(packages: dict[str, Path], kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.socket.connect", lambda *a: pytest.fail("the network was used"))
    assert core_verdict(packages[kind]) == ("passed", [])


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_passes_its_own_check(packages: dict[str, Path], kind: str) -> None:
    report = check_model(packages[kind])
    assert report.ok, report
    assert [row.name for row in report.checks][-1] == "test output reproduced"


@pytest.mark.parametrize("kind", KINDS)
def test_the_network_is_ready_to_paint(packages: dict[str, Path], kind: str) -> None:
    toy = TOY_2D if kind.startswith("2d") else TOY_3D
    model = open_model(packages[kind])
    network = model.network
    assert model.network is network
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert {tensor.dtype for tensor in network.state_dict().values()} <= {torch.float32, torch.int64}
    assert {tensor.device.type for tensor in network.state_dict().values()} == {"cpu"}
    original = lively(toy["architecture"], toy["config"]).eval()
    for key, tensor in original.state_dict().items():
        assert torch.allclose(tensor.float(), network.state_dict()[key].float(), rtol=1e-3, atol=1e-6), key


def test_half_weights_are_half_as_large_and_only_kernels_are_rounded(tmp_path: Path) -> None:
    network = lively("UNet", {**CONFIG_2D, "width": 16, "max_width": 64})
    kept = {key: value.clone() for key, value in network.state_dict().items()}
    settings = {"network": network, "config": {**CONFIG_2D, "width": 16, "max_width": 64}}
    half, full = write_toy(tmp_path / "half", **settings), write_toy(tmp_path / "full", half=False, **settings)
    assert (half / "weights.pt").stat().st_size < 0.6 * (full / "weights.pt").stat().st_size
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in kept.items())
    loaded = open_model(half).network.state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in kept.items() if value.ndim < 2)
    assert all(torch.equal(value, open_model(full).network.state_dict()[key]) for key, value in kept.items())


def test_a_kernel_too_large_for_float16_stays_float32(tmp_path: Path) -> None:
    network = lively("UNet", CONFIG_2D)
    with torch.no_grad():
        network.last.weight.fill_(1e5)
    loaded = open_model(write_toy(tmp_path / "toy", network=network)).network.state_dict()
    assert torch.equal(loaded["last.weight"], torch.full_like(loaded["last.weight"], 1e5))


STEPS = [
    (Step("zero_mean_unit_variance", False, {"eps": 1e-6}),),
    (*ZSCORE, Step("clip", True, {"min": -2.0, "max": 2.0})),
    (
        Step("scale_range", True, {"min_percentile": 1.0, "max_percentile": 99.0, "eps": 1e-6}),
        Step("scale_linear", True, {"gain": 2.0, "offset": -1.0}),
    ),
    (Step("fixed_zero_mean_unit_variance", True, {"mean": [1000.0, 990.0, 1010.0], "std": [90.0, 80.0, 100.0]}),),
]


@pytest.mark.parametrize("steps", STEPS, ids=lambda steps: "+".join(step.kind for step in steps))
def test_core_and_this_program_agree_on_the_preprocessing(tmp_path: Path, steps: tuple[Step, ...]) -> None:
    after = (Step("scale_linear", True, {"gain": [2.0, 3.0], "offset": [1.0, 0.5]}), Step("sigmoid"))
    package = write_toy(tmp_path / "toy", preprocessing=steps, postprocessing=after)
    info = open_model(package).info
    assert info.preprocessing == steps
    assert info.postprocessing == after
    assert check_model(package).ok
    assert core_verdict(package) == ("passed", [])


def test_statistics_behind_other_steps_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="first step"):
        write_toy(tmp_path / "toy", preprocessing=(Step("clip", True, {"min": 0.0}), *ZSCORE))


@pytest.mark.parametrize("size", [0.325, 0.108, 0.29, 0.5, 1.1, 0.6496])
def test_sides_are_not_lost_to_rounding_of_the_scale(tmp_path: Path, size: float) -> None:
    package = write_toy(tmp_path / "toy", pixel_size=PixelSize(None, size, size), test_input=np.ones((3, 56, 56)) * np.arange(56))
    axes = yaml.safe_load((package / "rdf.yaml").read_text())["outputs"][0]["axes"]
    scale = axes[-1]["scale"]
    assert abs(scale - size) < 1e-11
    assert all(int(side * scale / scale) == side for side in range(1, 10_000))
    assert open_model(package).info.pixel_size == PixelSize(None, size, size)


def test_unknown_pixel_sizes_stay_unknown(tmp_path: Path) -> None:
    package = write_toy(tmp_path / "toy", pixel_size=UNKNOWN, z_offsets=None)
    assert open_model(package).info.pixel_size == UNKNOWN
    assert "micrometer" not in (package / "rdf.yaml").read_text()


def test_covers_and_the_card_are_in_the_package(tmp_path: Path) -> None:
    from skimage.io import imsave

    imsave(tmp_path / "picture.png", np.zeros((20, 40, 3), np.uint8), check_contrast=False)
    package = write_toy(tmp_path / "toy", covers=[tmp_path / "picture.png"])
    assert (package / "cover_0.png").read_bytes() == (tmp_path / "picture.png").read_bytes()
    text = (package / "README.md").read_text()
    assert all(part in text for part in (CARD.trained_on, CARD.not_for, CARD.made_with, "| DNA | 0.750 | 0.500 |", "## Validation"))


WRONG = [
    ({"name": "x"}, "name"),
    ({"version": "one"}, "version"),
    ({"license": ""}, "license"),
    ({"test_input": np.ones((2, 32, 32))}, "shape"),
    ({"test_input": np.ones((3, 33, 32)) * np.arange(32)}, "can't run"),
    ({"stains": ("DNA",)}, "2 images for 1"),
    ({"z_offsets": (1.0,)}, "1 z offsets for 3"),
    ({"architecture": "Resnet", "network": lively("UNet", CONFIG_2D)}, "Resnet"),
]


@pytest.mark.parametrize(("changes", "words"), WRONG, ids=[words for _, words in WRONG])
@pytest.mark.parametrize("suffix", ["", ".zip"])
def test_what_does_not_fit_is_refused_and_nothing_is_left(tmp_path: Path, changes: dict, words: str, suffix: str) -> None:
    with pytest.raises(ModelError, match=words):
        write_toy(tmp_path / f"toy{suffix}", **changes)
    assert list(tmp_path.iterdir()) == []


def test_weights_that_give_no_numbers_are_not_kept(tmp_path: Path) -> None:
    network = lively("UNet", CONFIG_2D)
    with torch.no_grad():
        network.last.bias.fill_(float("nan"))
    with pytest.raises(ModelError, match="not numbers"):
        write_toy(tmp_path / "toy", network=network)


@pytest.mark.parametrize("suffix", ["", ".zip"])
def test_a_package_is_replaced_only_when_asked(tmp_path: Path, suffix: str) -> None:
    path = write_toy(tmp_path / f"toy{suffix}")
    with pytest.raises(WriteError, match="there already"):
        write_toy(path, version="2.0.0")
    assert open_model(path).info.version == "1.2.3"
    write_toy(path, version="2.0.0", overwrite=True)
    assert open_model(path).info.version == "2.0.0"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_no_package_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "photo.jpg").write_bytes(b"x")
    with pytest.raises(WriteError, match="no model package"):
        write_toy(tmp_path / "holiday", overwrite=True)
    assert (tmp_path / "holiday" / "photo.jpg").read_bytes() == b"x"


@pytest.mark.parametrize("suffix", ["", ".zip"])
def test_a_write_that_fails_midway_keeps_what_was_there(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_toy(tmp_path / f"toy{suffix}")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((zipfile.ZipFile, "writestr") if suffix else (Path, "write_bytes")), full)
    with pytest.raises(WriteError, match="No space left"):
        write_toy(path, version="2.0.0", overwrite=True)
    monkeypatch.undo()
    assert open_model(path).info.version == "1.2.3"
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_model_gives_the_same_files(tmp_path: Path) -> None:
    one, two = write_toy(tmp_path / "one"), write_toy(tmp_path / "two")
    for name in ("weights.pt", "test_input.npy", "test_output.npy", "README.md"):
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_a_package_opens_by_its_description_and_in_a_top_folder(packages: dict[str, Path], tmp_path: Path) -> None:
    expected = open_model(packages["2d folder"]).info.id
    assert open_model(packages["2d folder"] / "rdf.yaml").info.id == expected
    nested = zipped(packages["2d folder"], tmp_path / "nested.zip", "toy-main/")
    assert open_model(nested).network is not None
    shutil.copytree(packages["2d folder"], tmp_path / "other")
    (tmp_path / "other" / "rdf.yaml").rename(tmp_path / "other" / "bioimageio.yaml")
    assert open_model(tmp_path / "other").info.id == expected


def test_an_archive_replaced_behind_our_back_is_told(tmp_path: Path) -> None:
    path = write_toy(tmp_path / "toy.zip")
    model = open_model(path)
    write_toy(path, version="2.0.0", overwrite=True)
    with pytest.raises(ModelError, match="replaced since it was opened"):
        _ = model.network
    assert open_model(path).network is not None


def test_threads_share_one_network(packages: dict[str, Path]) -> None:
    model = open_model(packages["2d zip"])
    seen: list[object] = []
    threads = [threading.Thread(target=lambda: seen.append(model.network)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 4
    assert len({id(network) for network in seen}) == 1


def test_predict_whole_is_the_test_output(packages: dict[str, Path]) -> None:
    model = open_model(packages["2d folder"])
    expected = np.load(packages["2d folder"] / "test_output.npy")
    found = predict_whole(model.network, model.info, raw_image(2, 3)[None])
    assert np.abs(found - expected).max() < 1e-5


# The catalogue.


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder; nothing is bundled."""
    folder = tmp_path / "own"
    folder.mkdir()
    monkeypatch.setenv("VIRTUAL_PAINT_MODELS", str(folder))
    monkeypatch.setattr("napari_virtual_paint.models.catalogue.bundled_folder", lambda: tmp_path / "bundled")
    return folder


def test_models_of_the_users_folder_are_listed_behind_the_bundled_ones(own: Path, packages: dict[str, Path], tmp_path: Path) -> None:
    assert user_folder() == own
    assert list_models() == []
    shutil.copytree(packages["3d folder"], own / "a")
    shutil.copytree(packages["2d folder"], tmp_path / "bundled" / "b")
    assert [info.id for info in list_models()] == ["toy-planes", "toy-volume"]
    assert open_model("toy-volume").info.source == own / "a"


def test_a_second_package_of_an_id_is_listed_with_a_warning(own: Path, packages: dict[str, Path]) -> None:
    shutil.copytree(packages["2d folder"], own / "a")
    shutil.copy(packages["2d zip"], own / "b.zip")
    first, second = list_models()
    assert first.warnings == ()
    assert "by its path" in second.warnings[0]
    assert open_model("toy-planes").info.source == own / "a"


def test_what_is_no_package_is_left_out_and_told(own: Path, packages: dict[str, Path]) -> None:
    shutil.copytree(packages["2d folder"], own / "good")
    (own / "broken").mkdir()
    (own / "broken" / "rdf.yaml").write_text("type: [")
    (own / "notes.txt").write_text("x")
    (own / ".hidden.zip").write_bytes(b"x")
    (own / "empty").mkdir()
    (own / "torn.zip").write_bytes(b"PK\x03\x04")
    models, problems = scan()
    assert [info.id for info in models] == ["toy-planes"]
    assert len(problems) == 2
    assert all(str(own) in problem for problem in problems)


def test_an_id_is_told_from_a_folder_of_the_same_name(
    own: Path, packages: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(packages["2d folder"], own / "a")
    shutil.copytree(packages["3d folder"], tmp_path / "toy-planes")
    monkeypatch.chdir(tmp_path)
    assert open_model("toy-planes").info.id == "toy-planes"
    assert open_model("./toy-planes").info.id == "toy-volume"
    assert open_model(Path("toy-planes")).info.id == "toy-volume"


def test_an_unknown_model_is_one_sentence_with_the_known_ones(own: Path, packages: dict[str, Path]) -> None:
    shutil.copytree(packages["2d folder"], own / "a")
    with pytest.raises(ModelError, match=r"no model of this id.*toy-planes"):
        open_model("toy-plane")


def test_bundled_models_are_listed_by_their_folders_names() -> None:
    names = {path.name.removesuffix(".zip") for path in bundled_folder().iterdir() if not path.name.startswith(("_", "."))}
    assert names <= {info.id for info in list_models()}


def test_listing_imports_neither_torch_nor_the_specification(packages: dict[str, Path]) -> None:
    code = (
        "import sys; from napari_virtual_paint import models; names = [info.id for info in models.list_models()];"
        "models.open_model(names[-1]); print(names[-1], [m for m in ('torch', 'bioimageio', 'dask', 'pydantic') if m in sys.modules])"
    )
    environment = {**os.environ, "VIRTUAL_PAINT_MODELS": str(packages["2d folder"].parent)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["toy-volume", "[]"]


def test_cards_scores_can_not_be_changed() -> None:
    with pytest.raises(TypeError):
        CARD.scores["DNA"]["pcc"] = 1.0  # type: ignore[index]
    assert Card().to_markdown("x").startswith("# x")


BUNDLED = sorted(path for path in bundled_folder().iterdir() if path.suffix == ".zip" or path.is_dir())


@pytest.mark.parametrize("path", BUNDLED, ids=[path.name for path in BUNDLED])
def test_bundled_models_are_small_and_sound_with_a_full_card(path: Path) -> None:
    size = path.stat().st_size if path.is_file() else sum(item.stat().st_size for item in path.iterdir())
    assert size <= 4_000_000
    report = check_model(path)
    assert report.ok, report
    assert core_verdict(path) == ("passed", [])
    info = open_model(path).info
    assert info.id == path.name.removesuffix(".zip")
    assert info.warnings == ()
    assert all((info.card.trained_on, info.card.held_out_on, info.card.not_for, info.card.made_with))
    assert set(info.card.scores) == set(info.stains)


def test_a_package_names_the_authors_that_were_given_or_none(tmp_path: Path) -> None:
    assert open_model(write_toy(tmp_path / "ours", authors=("Ada", "Grace"))).info.authors == ("Ada", "Grace")
    path = write_toy(tmp_path / "none", authors=())
    assert open_model(path).info.authors == ()
    assert check_model(path).ok
