"""Models of other systems: every file of the original programs reproduces its output; kinds are told by keys; hostile files are named."""

from __future__ import annotations

import collections
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_virtual_paint.cli import main
from napari_virtual_paint.errors import InputError, ModelError
from napari_virtual_paint.models import check_model, list_models, open_model
from napari_virtual_paint.models.importers import Wishes, import_model
from napari_virtual_paint.models.importers.import_model import identifier, recipe_of
from napari_virtual_paint.networks import build
from napari_virtual_paint.normalize import MEDIAN_IQR, MINUS_ONE_TO_ONE, ZSCORE, fit
from napari_virtual_paint.stack import PixelSize
from small_models import core_verdict, lively

CHECKPOINTS = Path(__file__).resolve().parents[4] / "shared" / "checkpoints"
FILES = {
    "fnet3d_depth3_mult4.p": ("FNet", ZSCORE, ("Transmitted light",), ("stain 1",)),
    "pix2pixhd_global_in1_out1_ngf8_down3_blocks3.pth": ("Pix2PixHD", MINUS_ONE_TO_ONE, ("Brightfield",), ("stain 1",)),
    "pix2pixhd_local_in1_out1_ngf4.pth": ("Pix2PixHD", MINUS_ONE_TO_ONE, ("Brightfield",), ("stain 1",)),
    "viscy_fcmae_2d_small.ckpt": ("UNeXt2", MEDIAN_IQR, ("Phase",), ("Nuclei", "Membrane")),
    "viscy_unext2_atto_depth5.ckpt": ("UNeXt2", MEDIAN_IQR, ("Phase",), ("Nuclei", "Membrane")),
}


def checkpoint(name: str) -> Path:
    """A file that an original program wrote."""
    path = CHECKPOINTS / name
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    return path


def saved(path: Path, value: Any) -> Path:
    torch.save(value, path)
    return path


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_the_original_program_reproduces_its_output(name: str, tmp_path: Path) -> None:
    architecture, steps, channels, stains = FILES[name]
    source = checkpoint(name)
    alone = shutil.copy(source, tmp_path / "something.bin")  # another name, and no example beside it
    found = import_model(alone, "A foreign model", tmp_path / "package")
    assert (found.error, found.verified) == (None, True)
    info = open_model(tmp_path / "package").info
    assert (info.architecture, info.preprocessing, info.channels, info.stains) == (architecture, steps, channels, stains)
    example = np.load(source.with_name(f"{source.stem}_io.npz"))
    with torch.inference_mode():
        out = open_model(tmp_path / "package").network(torch.from_numpy(example["input"])).numpy()
    assert out.shape == example["output"].shape
    assert np.abs(out - example["output"]).max() <= 1e-5
    assert check_model(tmp_path / "package").ok


@pytest.mark.parametrize("name", FILES)
def test_bioimageio_core_accepts_an_imported_model(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = checkpoint(name)
    found = import_model(source, "A foreign model", tmp_path / "package.zip")
    assert found.error is not None
    assert found.error <= 1e-5
    assert "This file reproduces the example" in found.info.card.held_out_on
    monkeypatch.setattr("socket.socket.connect", lambda *a: pytest.fail("the network was used"))
    assert core_verdict(tmp_path / "package.zip") == ("passed", [])


# --- kinds whose files are not at hand, and other sizes of all kinds: networks of known sizes under the original's names


def unet_file(path: Path, norm: bool, **config: Any) -> tuple[Path, torch.nn.Module]:
    network = lively("UNet", {"batch_norm": norm, **config})
    content = {
        "epoch": 3, "model_dict": network.state_dict(), "optim_dict": {"state": {}, "param_groups": []}, "best_loss_on_test": 0.5,
        "n_classes": config["out_channels"], "in_channels": config["in_channels"], "padding": True, "depth": config["depth"], "wf": 3,
        "up_mode": "upconv", "batch_norm": norm,
    }  # fmt: skip
    return saved(path, content), network


def fnet_file(path: Path, first: bool, **config: Any) -> tuple[Path, torch.nn.Module]:
    network = lively("FNet", config)
    state = {key: value for key, value in network.state_dict().items() if not (first and key.endswith("num_batches_tracked"))}
    rest: dict[str, Any] = {"optimizer_state": {}, "count_iter": 10}
    if first:
        return saved(path, {"nn_module": "fnet_nn_3d", "nn_kwargs": {}, "nn_state": state, **rest}), network
    head = {"fnet_model_class": "fnet.fnet_model.Model", "fnet_model_kwargs": {"nn_kwargs": {}}, "fnet_model_posargs": []}
    return saved(path, {**head, "nn_state": state, **rest}), network


def hd_file(path: Path, **config: Any) -> tuple[Path, torch.nn.Module]:
    network = lively("Pix2PixHD", config)
    return saved(path, collections.OrderedDict(network.state_dict())), network


OTHERS = {
    "unet": (unet_file, {"norm": False, "in_channels": 3, "out_channels": 5, "depth": 3, "width": 4, "max_width": 16}),
    "unet with batch norm": (unet_file, {"norm": True, "in_channels": 1, "out_channels": 2, "depth": 4, "width": 8, "max_width": 32}),
    "fnet 3D, first layout": (fnet_file, {"first": True, "dims": 3, "depth": 2, "mult_chan": 3}),
    "fnet 2D": (fnet_file, {"first": False, "dims": 2, "depth": 4, "mult_chan": 2}),
    "fnet of two inputs": (fnet_file, {"first": False, "dims": 3, "depth": 1, "mult_chan": 2, "in_channels": 2, "out_channels": 3}),
    "pix2pixhd": (hd_file, {"in_channels": 3, "out_channels": 2, "width": 4, "downs": 2, "blocks": 1}),
    "pix2pixhd with batch norm": (hd_file, {"in_channels": 1, "out_channels": 1, "width": 4, "downs": 1, "blocks": 2, "norm": "batch"}),
    "pix2pixhd, two enhancers": (
        hd_file,
        {"in_channels": 1, "out_channels": 1, "width": 2, "downs": 1, "blocks": 1, "enhancers": 2, "local_blocks": 1},
    ),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_sizes_are_inferred_from_the_weights(kind: str, tmp_path: Path) -> None:
    write, config = OTHERS[kind]
    path, network = write(tmp_path / "weights", **config)
    found = import_model(path, "Another one", tmp_path / "package")
    info = found.info
    assert {key: info.config[key] for key in config if key in info.config} == {k: v for k, v in config.items() if k in info.config}
    expected, loaded = network.state_dict(), open_model(tmp_path / "package").network.state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in expected.items() if not key.endswith("num_batches_tracked"))
    assert check_model(tmp_path / "package").ok
    if kind.startswith(("unet", "fnet 2D", "fnet 3D, first")):
        assert "not verified against the original" in info.card.held_out_on
    assert info.stains == tuple(f"stain {number}" for number in range(1, len(info.stains) + 1))


def test_the_cell_painting_model_takes_three_planes(tmp_path: Path) -> None:
    path, _ = unet_file(tmp_path / "a", **OTHERS["unet"][1])
    info = import_model(path, "Painting", tmp_path / "package").info
    assert (info.planes_as_channels, info.z_offsets) == (True, (-4.0, 0.0, 4.0))
    named = import_model(path, "Painting", tmp_path / "other", Wishes(outputs=("DNA", "ER", "RNA", "AGP", "Mito"), inputs=("a", "b", "c")))
    assert (named.info.stains[0], named.info.channels, named.info.planes_as_channels) == ("DNA", ("a", "b", "c"), False)


def test_a_wrapped_model_beside_another_is_found(tmp_path: Path) -> None:
    network = lively("FNet", {"dims": 2, "depth": 1, "mult_chan": 2})
    state = {f"module.generator.{key}": value for key, value in network.state_dict().items()}
    state |= {f"module.critic.{number}": torch.zeros(3) for number in range(4)}
    path = saved(tmp_path / "a", {"epoch": 1, "nested": {"state_dict": state}})
    assert recipe_of(path).config["mult_chan"] == 2


COUNTS = [
    ("UNet", {"batch_norm": False}, 56, 31_093_000),
    ("FNet", {"dims": 3}, None, 23_280_769),
    ("FNet", {"dims": 2}, None, 8_116_225),
    ("Pix2PixHD", {}, None, 182_440_000),
    ("UNeXt2", {}, None, 32_040_000),
    (
        "UNeXt2",
        {"planes": 1, "out_planes": 1, "stem_planes": 1, "stem": 2, "out_widths": "384,192,8", "head": "shuffle", "flat_stem": True,
         "encoder_bias": False},
        None,
        31_160_000,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("architecture", "config", "tensors", "parameters"), COUNTS)
def test_published_sizes(architecture: str, config: dict[str, Any], tensors: int | None, parameters: int) -> None:
    with torch.device("meta"):
        network = build(architecture, config)
    found = sum(parameter.numel() for parameter in network.parameters())
    assert found == parameters if architecture == "FNet" else abs(found - parameters) < 5_000
    assert tensors is None or len(network.state_dict()) == tensors


# --- VisCy's own names of other sizes: renamed back from a network of known sizes

BACK = (
    ("encoder.", "encoder_stages.stages_"), ("stem_norm.", "encoder_stages.stem_1."), ("stem.", "stem.conv."),
    ("head.first.", "head.conv.0.conv."), ("head.prelu.", "head.conv.0.adn.A."), ("head.last.", "head.conv.1."),
)  # fmt: skip


def viscy_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Give the weights of a UNeXt2 the names that VisCy writes, and linear layers as such."""
    out = {}
    for key, tensor in state.items():
        for ours, theirs in BACK:
            if key.startswith(ours):
                key = theirs + key.removeprefix(ours)
                break
        if key.startswith("decoder."):
            stage, rest = key.removeprefix("decoder.").split(".", 1)
            key = f"decoder.decoder_stages.{stage}.conv.{rest}"
        elif "mlp.fc" in key and tensor.ndim == 4:
            tensor = tensor[:, :, 0, 0]
        out[f"model.{key}"] = tensor
    return out


@pytest.mark.parametrize(("planes", "stem_planes", "out_planes"), [(21, 7, 21), (6, 3, 6), (5, 5, 1)])
def test_windows_of_other_depths(planes: int, stem_planes: int, out_planes: int, tmp_path: Path) -> None:
    config = {
        "planes": planes, "stem_planes": stem_planes, "out_planes": out_planes, "widths": "12,24,48,96", "blocks": "1,1,2,1",
        "decoder_blocks": 1, "out_widths": f"48,24,{(out_planes + 2) * 2 * 4 * 2}",
    }  # fmt: skip
    network = lively("UNeXt2", config).eval()
    path = saved(tmp_path / "a.ckpt", {"epoch": 1, "state_dict": viscy_names(network.state_dict())})
    found = import_model(path, "A window", tmp_path / "package")
    assert {key: found.info.config[key] for key in config} == config
    x = torch.randn(1, 1, planes, 64, 32)
    with torch.inference_mode():
        assert torch.equal(network(x), open_model(tmp_path / "package").network(x))
    assert (found.info.dims, found.info.planes_as_channels) == ((2, True) if out_planes == 1 else (3, False))
    assert found.info.step_size[0] == (32 if out_planes == 1 else 0)
    assert check_model(tmp_path / "package").ok


# --- options, names, the question


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return hd_file(tmp_path / "latest_net_G.pth", in_channels=1, out_channels=1, width=2, downs=1, blocks=1)[0]


def test_a_range_and_a_pixel_size_are_written(small: Path, tmp_path: Path) -> None:
    wishes = Wishes(value_range=(0.0, 255.0), pixel_size=PixelSize(None, 0.5, 0.5))
    info = import_model(small, "Pix", tmp_path / "package", wishes).info
    assert info.pixel_size == PixelSize(None, 0.5, 0.5)
    values = fit(np.array([[0.0, 127.5, 255.0]]), info.preprocessing).apply(np.array([[0.0, 127.5, 255.0]]))
    assert np.allclose(values, [[-1.0, 0.0, 1.0]])
    assert core_verdict(tmp_path / "package") == ("passed", [])


def test_median_and_quartiles_are_those_of_the_field() -> None:
    pixels = np.random.default_rng(0).exponential(3.0, (1, 40, 50)).astype(np.float32)
    low, middle, high = np.percentile(pixels, [25, 50, 75])
    assert np.allclose(fit(pixels, MEDIAN_IQR).apply(pixels), (pixels - middle) / (high - low), atol=1e-5)


def test_the_question_is_asked_once_and_only_where_nobody_answered(small: Path, tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(question: Any) -> str:
        asked.append(question.option)
        return "0, 100\n"

    info = import_model(small, "Pix", tmp_path / "one", ask=answer).info
    assert asked == ["--range"]
    assert info.preprocessing[0].values == {"gain": 0.02, "offset": -1.0}
    import_model(small, "Pix", tmp_path / "two", Wishes(normalise="zscore"), ask=answer)
    assert asked == ["--range"]
    assert import_model(small, "Pix", tmp_path / "three", ask=lambda _: "\n").info.preprocessing == MINUS_ONE_TO_ONE


def test_opt_txt_is_read_and_the_weights_win(small: Path, tmp_path: Path) -> None:
    (tmp_path / "opt.txt").write_text("------------ Options -------------\nngf: 64\nnorm: instance\nn_downsample_global: 1\nname: lung\n")
    card = import_model(small, "Pix", tmp_path / "package").info.card
    assert "name lung" in card.trained_on
    assert "does not fit the weights in ngf" in card.trained_on


def test_wishes_that_do_not_fit_are_refused(small: Path, tmp_path: Path) -> None:
    for wishes, words in (
        (Wishes(outputs=("A", "B")), "1 stains"),
        (Wishes(inputs=("A", "B")), "1 input"),
        (Wishes(normalise="x"), "zscore"),
    ):
        with pytest.raises(InputError, match=words):
            import_model(small, "Pix", tmp_path / "package", wishes)
    assert not (tmp_path / "package").exists()
    with pytest.raises(InputError, match="letter"):
        identifier("!?")


def test_the_command_imports_into_the_catalogue(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VIRTUAL_PAINT_MODELS", str(tmp_path / "mine"))
    assert main(["models", "import", str(small), "--name", "My Pix", "--outputs", "Nuclei", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["package"] == str(tmp_path / "mine" / "my-pix.zip")
    assert found["model"]["stains"] == ["Nuclei"]
    assert "my-pix" in [info.id for info in list_models()]
    assert main(["models", "check", "my-pix"]) == 0
    folder = tmp_path / "full"
    folder.mkdir()
    (folder / "note.txt").write_text("mine")
    assert main(["models", "import", str(small), "--name", "My Pix", "-o", str(folder)]) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["my-pix", "note.txt"]


# --- files that are refused


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("code ran",))


def test_a_pickle_that_asks_for_more_is_refused_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = lively("FNet", {"dims": 2, "depth": 1, "mult_chan": 2}).state_dict()
    for name, legacy in (("a.p", True), ("a.pth", False)):
        path = tmp_path / name
        torch.save({"nn_state": state, "hyper_parameters": Evil()}, path, _use_new_zipfile_serialization=not legacy)
        assert main(["models", "import", str(path), "--name", "Evil", "-o", str(tmp_path / "package")]) == 2
        said = capsys.readouterr()
        assert "print" in said.err
        assert "asks for more than tensors" in said.err
        assert len(said.err.strip().splitlines()) == 1
        assert "code ran" not in said.out + said.err
    assert not (tmp_path / "package").exists()


WRONG = {
    "empty": b"",
    "text": b"hello, this is no model at all, it is text",
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(200),
    "zeros": bytes(1000),
    "a zip of nothing": b"PK\x05\x06" + bytes(18),
    "a broken zip": b"PK\x03\x04" + bytes(100),
    "a pickle": b"\x80\x02}q\x00.",
    "nearly ONNX": b"\x08\x07\x12\x05hello" + bytes(50),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_files_are_one_sentence(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if what == "nearly ONNX":
        pytest.importorskip("onnxruntime")
    path = tmp_path / "file.pth"
    path.write_bytes(WRONG[what])
    assert main(["models", "import", str(path), "--name", "Wrong", "-o", str(tmp_path / "package")]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert "file.pth" in lines[0]
    assert "Traceback" not in lines[0]
    assert not (tmp_path / "package").exists()


def test_a_file_that_was_cut_off_is_refused(small: Path, tmp_path: Path) -> None:
    data = small.read_bytes()
    for length in (len(data) // 2, len(data) - 10):
        cut = tmp_path / "cut.pth"
        cut.write_bytes(data[:length])
        with pytest.raises(ModelError, match="damaged"):
            import_model(cut, "Cut", tmp_path / "package")


def test_tensors_that_claim_more_than_the_file_holds_are_refused(tmp_path: Path) -> None:
    state = {"net_recurse.sub_2conv_more.conv1.weight": torch.zeros(1).expand(30_000, 1, 3, 3, 3)}
    state |= {f"x{number}": torch.zeros(1) for number in range(4)}
    path = tmp_path / "bomb.p"
    torch.save({"nn_state": state}, path)
    with pytest.raises(ModelError):
        import_model(path, "Bomb", tmp_path / "package")


def test_weights_of_another_kind_are_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", {f"layer{number}.weight": torch.zeros(3, 3) for number in range(5)})
    with pytest.raises(ModelError, match=r"layer0.weight, layer1.weight, \.\.\.\) are of no kind known"):
        import_model(path, "Other", tmp_path / "package")
    state = lively("FNet", {"dims": 2, "depth": 1, "mult_chan": 2}).state_dict()
    del state["conv_out.bias"]
    with pytest.raises(ModelError, match=r"lacks conv_out\.bias"):
        import_model(saved(tmp_path / "b.p", {"nn_state": state}), "Less", tmp_path / "package")


def test_plain_hyper_parameters_are_no_hindrance(tmp_path: Path) -> None:
    state = lively("FNet", {"dims": 2, "depth": 1, "mult_chan": 2}).state_dict()
    path = saved(
        tmp_path / "a.ckpt", {"state_dict": {f"model.{k}": v for k, v in state.items()}, "hyper_parameters": {"lr": 1e-3, "on": [1, 2]}}
    )
    assert recipe_of(path).architecture == "FNet"
