"""Fine-tuning: the first weights, half of the data, and the advice, against other ways to compute them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_virtual_paint.models import open_model
from napari_virtual_paint.stack import UNKNOWN
from napari_virtual_paint.training.config.run import TrainConfig
from napari_virtual_paint.training.data.pairs import DataSet, Pair
from small_models import write_toy
from small_training import TOY

pytest.importorskip("lightning", reason="training needs the extra train (Lightning)")

from napari_virtual_paint.training import fine_tuning
from napari_virtual_paint.training.data.patches import Sampler
from napari_virtual_paint.training.fine_tuning import Advice, advise, fit_head, half_of, images_of, replay_pair
from napari_virtual_paint.training.initial_weights import build_network, head_weights, take_start

NAMES = ("Brightfield -4um", "Brightfield 0um", "Brightfield +4um")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy(tmp_path_factory.mktemp("toy") / "toy-planes")


def pair(name: str, stains: int = 2, **metadata: str) -> Pair:
    rng = np.random.default_rng(len(name))
    x, y = (rng.normal(size=(count, 48, 64)).astype(np.float32) for count in (3, stains))
    train = np.zeros((48, 64), bool)
    train[:, :48] = True
    return Pair(name, x, y, {"train": train, "validation": ~train, "test": np.zeros_like(train)}, metadata, name)


def data_of(*pairs: Pair, stains: tuple[str, ...] = ("DNA", "ER")) -> DataSet:
    return DataSet(pairs, NAMES, stains, UNKNOWN)


def config_of(package: Path, **changes: Any) -> TrainConfig:
    network = {"config": {key: value for key, value in open_model(package).info.config.items() if "channels" not in key}}
    values = {**TOY, "data": {"simulate": {"fields": 1}}, "start": str(package), "fine_tuning": {}, "network": network}
    return TrainConfig.model_validate({**values, **changes})


def test_each_stain_keeps_its_row_of_the_last_layer(package: Path) -> None:
    stains = ("ER", "Golgi", "DNA")
    data, config = data_of(pair("a", 3), stains=stains), config_of(package)
    network = build_network(config, data)
    fresh = network.last.weight.detach().clone()
    take_start(network, config, data)
    old = open_model(package).network.last
    assert torch.equal(network.last.weight[0], old.weight[1])
    assert torch.equal(network.last.weight[2], old.weight[0])
    assert torch.equal(network.last.bias[[0, 2]], old.bias[[1, 0]])
    assert torch.equal(network.last.weight[1], fresh[1])
    assert head_weights("UNet", open_model(package).info.config) == ("last.weight", "last.bias")


def test_the_last_layer_is_that_of_least_squares(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fine_tuning, "RIDGE", 1e-9)
    monkeypatch.setattr(fine_tuning, "BATCHES", 3)
    data, config = data_of(pair("a"), pair("bb")), config_of(package)
    network = build_network(config, data)
    take_start(network, config, data)
    assert fit_head(network, config, data)
    rows, truth = [], []
    network.eval()
    for step in range(3):
        batch = Sampler(data.pairs, config).batch(step)
        seen: list[torch.Tensor] = []
        hook = network.last.register_forward_hook(lambda _module, inputs, _output, seen=seen: seen.append(inputs[0]))
        with torch.no_grad():
            network(batch.x)
        hook.remove()
        kept = batch.weight.bool().expand(-1, 1, -1, -1)[:, 0]
        rows.append(seen[0].permute(0, 2, 3, 1)[kept].double().numpy())
        truth.append(batch.y.permute(0, 2, 3, 1)[kept].double().numpy())
    x = np.concatenate(rows)
    x = np.c_[x, np.ones(len(x))]
    expected, *_ = np.linalg.lstsq(x, np.concatenate(truth), rcond=None)
    found = torch.cat([network.last.weight[:, :, 0, 0], network.last.bias[:, None]], 1).detach().numpy().T
    assert x @ found == pytest.approx(x @ expected, abs=2e-3)  # a channel that is always 0 may have any weight


def test_half_of_the_images_wells_or_area() -> None:
    several = data_of(*(pair(name) for name in ("a", "b", "c", "d", "e")))
    assert images_of(half_of(several)) == ("b", "d")
    assert len(half_of(several).holding("validation")) == 5
    wells = data_of(*(pair(f"{well}{i}", well=well) for well in ("A01", "A02") for i in range(2)))
    assert [one.name for one in half_of(wells).holding("train")] == ["A020", "A021"]
    (one,) = half_of(data_of(pair("a"))).pairs
    assert one.parts["train"].sum() == 24 * 48
    assert (one.parts["train"] <= pair("a").parts["train"]).all()


def test_the_advice_is_an_upper_bound_where_the_error_is_a_power(package: Path) -> None:
    """PCC = 0.9 - 0.4 n ** -0.5: what two more really add is at most what is said, and decides what is said."""

    def pcc(n: float) -> float:
        return 0.9 - 0.4 * n**-0.5

    for n in (2, 4, 8, 64, 400):
        advice = Advice((n / 2, n), (pcc(n / 2), pcc(n)), n)
        assert advice.gain >= pcc(n + 2) - pcc(n)
        assert advice.gain == pytest.approx((pcc(n) - pcc(n / 2)) * math.log2((n + 2) / n))
        assert advice.enough == (advice.gain < 0.01)
    assert "Two more fields would help: from 1 field to 2 fields" in Advice((1, 2), (0.5, 0.6), 3).sentence()
    assert Advice((0.5, 1), (0.6, 0.6), 1, "well").sentence().startswith("Enough: from half a well to 1 well")
    data, config = data_of(*(pair(name) for name in ("a", "b", "c"))), config_of(package)
    assert advise(data, config, float("nan"), 0.5) is None
    found = advise(data, config, 0.4, 0.5)
    assert found is not None
    assert (found.images, found.used) == ((1.0, 3.0), 3)


def test_old_data_is_replayed_by_its_share_and_only_from_our_packages(tmp_path: Path, package: Path) -> None:
    data, settings = data_of(pair("a")), {"fine_tuning": {"replay": 0.25}}
    ours = write_toy(tmp_path / "ours")
    made = replay_pair(config_of(ours, **settings), data)
    assert made is not None
    with torch.inference_mode():
        x = torch.from_numpy(np.asarray(made.x))[None]
        assert torch.allclose(open_model(ours).network(x)[0], torch.from_numpy(np.asarray(made.y)), atol=1e-5)
    assert replay_pair(config_of(ours), data) is None
    assert replay_pair(config_of(ours, **settings), data_of(pair("a"), stains=("DNA", "Golgi"))) is None
    constant = Pair(
        "replay", np.full((3, 48, 64), 9, np.float32), np.zeros((2, 48, 64), np.float32), made.parts | {"train": np.ones((48, 64), bool)}
    )
    sampler = Sampler(data.pairs, config_of(ours, batch=400, **settings), constant)
    share = float((sampler.batch(0).x[:, 0, 0, 0] == 9).float().mean())
    assert share == pytest.approx(0.25, abs=0.07)
