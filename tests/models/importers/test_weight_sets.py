"""Checkpoints with several sets of weights: which are found, what they are called, which is taken; never by their order in the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from napari_virtual_paint.cli import main
from napari_virtual_paint.errors import InputError, ModelError
from napari_virtual_paint.models import open_model
from napari_virtual_paint.models.importers import Wishes, import_model
from napari_virtual_paint.models.importers.import_model import recipe_of
from small_models import lively

CONFIG = {"in_channels": 1, "out_channels": 2, "depth": 2, "width": 4, "max_width": 8}
KEY = "last.bias"
State = dict[str, torch.Tensor]


def state(seed: int, norm: bool = False) -> State:
    return lively("UNet", {**CONFIG, "batch_norm": norm}, seed).state_dict()


RAW, MEAN = state(1), state(2)
RAW_NORM, MEAN_NORM = state(1, True), state(2, True)
JUDGE = {f"model.{number}.weight": torch.zeros(4, 4, 4, 4) for number in range(4)}


def prefixed(own: State, prefix: str) -> State:
    return {prefix + key: tensor for key, tensor in own.items()}


def parameters(own: State) -> list[torch.Tensor]:
    return [tensor for key, tensor in own.items() if not key.endswith(("running_mean", "running_var", "num_batches_tracked"))]


def lit_ema(own: State) -> State:
    """Names as latent diffusion's LitEma writes them: without dots."""
    return {f"model_ema.{key.replace('.', '')}": tensor for key, tensor in own.items()} | {"model_ema.decay": torch.tensor(0.9)}


def averaged(own: State) -> State:
    """The state of torch.optim.swa_utils.AveragedModel."""
    return {"n_averaged": torch.tensor(3), **prefixed(own, "module.")}


# What a program writes -> the names of its sets, the averaged one first.
FILES: dict[str, tuple[Callable[[], Any], tuple[str, str]]] = {
    "ema beside model": (lambda: {"model": RAW, "ema": MEAN}, ("ema", "model")),
    "ema before model": (lambda: {"ema": MEAN, "model": RAW}, ("ema", "model")),
    "ema_state_dict": (lambda: {"epoch": 3, "state_dict": RAW, "ema_state_dict": MEAN}, ("ema_state_dict", "state_dict")),
    "model_ema": (lambda: {"model_ema": MEAN, "model_state": RAW}, ("model_ema", "model_state")),
    "averaged": (lambda: {"averaged": MEAN, "net": RAW}, ("averaged", "net")),
    "swa": (lambda: {"net": RAW, "swa": averaged(MEAN)}, ("swa.module", "net")),
    "an AveragedModel under a plain name": (lambda: {"net": RAW, "second": averaged(MEAN)}, ("second.module", "net")),
    "params_ema": (lambda: {"params": RAW, "params_ema": MEAN}, ("params_ema", "params")),
    "prefixes in one state": (
        lambda: {"state_dict": {**prefixed(RAW, "model."), **prefixed(MEAN, "ema_model.")}},
        ("state_dict.ema_model", "state_dict.model"),
    ),
    "prefixes at the top": (lambda: {**prefixed(MEAN, "netEMA.module."), **prefixed(RAW, "net.module.")}, ("netEMA.module", "net.module")),
    "a callback of Lightning": (
        lambda: {
            "state_dict": prefixed(RAW, "net."),
            "callbacks": {"EMA{'decay': 0.99}": {"ema_weights": prefixed(MEAN, "net.")}, "ModelCheckpoint": {"best_model_path": "a"}},
        },
        ("callbacks.EMA.ema_weights.net", "state_dict.net"),
    ),
    "Lightning's StochasticWeightAveraging": (
        lambda: {
            "state_dict": prefixed(RAW, "net."),
            "callbacks": {"StochasticWeightAveraging": {"n_averaged": 1, "average_model_state": prefixed(MEAN, "net.")}},
        },
        ("callbacks.StochasticWeightAveraging.average_model_state.net", "state_dict.net"),
    ),
    "Lightning's WeightAveraging": (
        lambda: {"state_dict": prefixed(MEAN, "net."), "current_model_state": prefixed(RAW, "net."), "averaging_state": {}},
        ("state_dict.net", "current_model_state.net"),
    ),
    "names without dots": (
        lambda: {"state_dict": {**prefixed(RAW, "model."), **lit_ema(MEAN)}},
        ("state_dict.model_ema", "state_dict.model"),
    ),
    "a list without names": (
        lambda: {"model": RAW_NORM, "ema": {"decay": 0.9, "shadow_params": parameters(MEAN_NORM)}},
        ("ema.shadow_params", "model"),
    ),
    "parameters alone": (
        lambda: {"model": RAW_NORM, "ema": {k: v for k, v in MEAN_NORM.items() if "running" not in k and "num_batches" not in k}},
        ("ema", "model"),
    ),
    "mean teacher": (lambda: {"student": RAW, "teacher": MEAN}, ("teacher", "student")),
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
def test_averaged_weights_are_taken_with_a_note_and_raw_ones_by_name(kind: str, tmp_path: Path) -> None:
    write, (mean, raw) = FILES[kind]
    path = tmp_path / "a.ckpt"
    torch.save(write(), path)
    found = recipe_of(path)
    assert torch.equal(found.network.state_dict()[KEY], MEAN[KEY])
    note = next(fact for fact in found.facts if "--weights" in fact)
    assert f"{mean} (averaged over the training) was taken, not {raw} " in note
    assert torch.equal(recipe_of(path, weights=raw).network.state_dict()[KEY], RAW[KEY])
    assert torch.equal(recipe_of(path, weights=mean.upper()).network.state_dict()[KEY], MEAN[KEY])


def test_running_statistics_that_an_average_lacks_are_the_raw_ones(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    torch.save(FILES["parameters alone"][0](), path)
    found = recipe_of(path)
    name = next(key for key in RAW_NORM if key.endswith("running_mean"))
    assert torch.equal(found.network.state_dict()[name], RAW_NORM[name])
    assert any("running means" in fact for fact in found.facts)


@pytest.mark.parametrize(
    "content",
    [
        {"model": RAW},
        {"model": RAW, "best": RAW},
        {"generator": RAW, "discriminator": JUDGE, "opt": {"state": {0: {"a": RAW[KEY]}}, "param_groups": []}},
        {"epoch": 1, "nested": {"deeper": {"netG": prefixed(RAW, "module.")}, "netD": prefixed(JUDGE, "module.")}},
        {**prefixed(RAW, "generator."), **prefixed(JUDGE, "discriminator.")},
        {"model": RAW, "optimizer": {"state": {"exp_avg": MEAN}, "param_groups": [{}]}},
    ],
    ids=["one", "the same twice", "a GAN", "a GAN, nested", "a GAN in one state", "moments of an optimizer"],
)
def test_one_network_needs_no_note(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.pt")
    found = recipe_of(tmp_path / "a.pt")
    assert torch.equal(found.network.state_dict()[KEY], RAW[KEY])
    assert not any("--weights" in fact for fact in found.facts)


def test_a_discriminator_of_the_same_kind_is_not_taken(tmp_path: Path) -> None:
    torch.save({"netD": MEAN, "netG": RAW}, tmp_path / "a.pt")
    found = recipe_of(tmp_path / "a.pt")
    assert torch.equal(found.network.state_dict()[KEY], RAW[KEY])
    assert any("netG was taken, not netD" in fact for fact in found.facts)


def test_names_that_are_wrong_or_not_enough_are_refused_with_those_there(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"one": {"a_net": RAW}, "two": {"a_net": MEAN}}, path)
    for wanted, words in (("three", "no set of weights has this name; there are one.a_net, two.a_net"), ("a_net", "several sets")):
        with pytest.raises(InputError, match=words):
            recipe_of(path, weights=wanted)
    assert torch.equal(recipe_of(path, weights="two").network.state_dict()[KEY], MEAN[KEY])


def test_which_weights_is_asked_on_a_terminal(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"model": RAW, "ema": MEAN}, path)
    asked = []

    def answer(question: Any) -> str:
        asked.append((question.option, question.default))
        return "model\n" if question.option == "--weights" else "\n"

    import_model(path, "Asked model", tmp_path / "package", ask=answer)
    assert asked == [("--weights", "ema"), ("--outputs", "stain 1, stain 2, ...")]
    assert torch.equal(open_model(tmp_path / "package").network.state_dict()[KEY], RAW[KEY])


def test_the_command_takes_a_name_and_says_what_it_took(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.pt"
    torch.save({"model": RAW, "ema": MEAN}, path)
    command = ["models", "import", str(path), "--name", "Chosen model", "--json"]
    assert main([*command, "-o", str(tmp_path / "one")]) == 0
    assert any("ema (averaged over the training) was taken" in note for note in json.loads(capsys.readouterr().out)["notes"])
    assert main([*command, "-o", str(tmp_path / "two"), "--weights", "model"]) == 0
    assert torch.equal(open_model(tmp_path / "two").network.state_dict()[KEY], RAW[KEY])
    assert "--weights" in open_model(tmp_path / "two").info.card.trained_on
    assert main([*command, "-o", str(tmp_path / "three"), "--weights", "mean"]) == 2
    assert "there are model, ema" in capsys.readouterr().err
    assert not (tmp_path / "three").exists()


def test_weights_of_a_package_can_not_be_chosen(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Conv2d(1, 1, 1)), tmp_path / "a.pt")
    with pytest.raises(InputError, match="no checkpoint"):
        import_model(tmp_path / "a.pt", "Script model", tmp_path / "package", Wishes(weights="ema"))


def test_the_state_of_an_optimizer_alone_is_said(tmp_path: Path) -> None:
    moments = {0: {"step": torch.tensor(1.0), "exp_avg": torch.zeros(3), "exp_avg_sq": torch.zeros(3)}}
    torch.save({"state": moments, "param_groups": [{"lr": 0.1, "params": [0]}]}, tmp_path / "a.pt")
    with pytest.raises(ModelError, match="state of an optimizer alone"):
        recipe_of(tmp_path / "a.pt")
