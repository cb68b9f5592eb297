"""Generators trained against a critic: the losses as the papers print them, whole runs, resumed ones, beginnings from another model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

from napari_virtual_paint.errors import Cancelled, InputError
from napari_virtual_paint.models import check_model, open_model
from napari_virtual_paint.networks.discriminators import VGG_BLOCKS, MultiScaleCritic, PatchCritic, VGGFeatures
from napari_virtual_paint.training import load_config, train
from napari_virtual_paint.training.modules.losses import feature_matching, gradient_penalty, least_squares
from napari_virtual_paint.training.run_folder.watch import send_command
from small_training import TOY

pytest.importorskip("lightning", reason="training needs the extra train (Lightning)")

TINY: dict[str, Any] = {
    **TOY,
    "objective": {"kind": "cwgan-gp", "every": 2, "critic": {"width": 4, "layers": 2}},
    "steps": 8,
    "epoch": 3,
    "ema": 0.5,
    "seed": 3,
}
HD: dict[str, Any] = {
    "objective": {"kind": "pix2pixhd", "critic": {"width": 4, "layers": 1}},
    "network": {"architecture": "Pix2PixHD", "config": {"width": 4, "downs": 1, "blocks": 1}},
    "steps": 4,
    "epoch": 2,
}


def written(folder: Path, **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump({**TINY, **changes}))
    return path


def state(folder: Path) -> dict[str, Any]:
    """Return what a run keeps: generator, critic, average, both optimizers."""
    saved: dict[str, Any] = torch.load(folder / "tiny.run" / "last.ckpt", weights_only=True)
    return saved


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(one, other) for one, other in zip(a, b, strict=True))
    return bool(a == b)


def same_run(a: Path, b: Path) -> bool:
    mine, theirs = state(a), state(b)
    return all(same(mine[part], theirs[part]) for part in ("state_dict", "optimizer_states", "paint"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gan")
    train(load_config(written(folder)))
    return folder


class Square(nn.Module):
    """D(x, y) = sum of a y^2 / 2: its gradient by y is a y."""

    def forward(self, x: Tensor) -> Tensor:
        """Judge."""
        return (x[:, 1:].square() / 2).flatten(1).sum(1) * 3


def test_the_penalty_is_of_each_images_own_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    x, real, painted = (torch.randn(4, 1, 3, 3, generator=generator) for _ in range(3))
    torch.manual_seed(5)
    found = gradient_penalty(Square(), x, real, painted)
    torch.manual_seed(5)
    share = torch.rand(4, 1, 1, 1)
    between = share * real + (1 - share) * painted
    wanted = np.mean([(3 * float(image.norm()) - 1) ** 2 for image in between])
    assert float(found.detach()) == pytest.approx(wanted, rel=1e-5)


def test_least_squares_and_feature_matching_are_the_papers() -> None:
    real, painted = (
        [[torch.full((1, 2, 4, 4), v), torch.full((1, 1, 2, 2), v / 2)] for v in values] for values in ((1.0, 3.0), (2.0, 7.0))
    )
    assert float(least_squares(painted, 1)) == pytest.approx((1 - 1) ** 2 + (3.5 - 1) ** 2)
    # One hidden layer each: weight 4 / 1, mean over the two critics.
    assert float(feature_matching(painted, real)) == pytest.approx(4 * (1 + 4) / 2)


def test_the_critic_is_that_of_pix2pix() -> None:
    critic = PatchCritic(8)
    assert (
        sum(p.numel() for p in critic.parameters())
        == 8 * 64 * 16 + 64 + 64 * 128 * 16 + 128 + 128 * 256 * 16 + 256 + 256 * 512 * 16 + 512 + 512 * 16 + 1
    )
    x = torch.zeros(1, 8, 256, 256, requires_grad=True)
    verdict = critic.maps(x)[-1]
    assert verdict.shape == (1, 1, 30, 30)
    verdict[0, 0, 15, 15].backward()
    assert x.grad is not None
    rows = np.flatnonzero(x.grad.abs().sum((0, 1, 3)).numpy())
    assert rows[-1] - rows[0] + 1 == 70
    torch.testing.assert_close(critic(x.detach()), critic.maps(x.detach())[-1].mean((1, 2, 3)))


def test_each_scale_of_the_critics_sees_half_the_size() -> None:
    found = MultiScaleCritic(3, 2, width=2, layers=2)(torch.randn(1, 3, 64, 64))
    assert [[tuple(level.shape[1:]) for level in maps] for maps in found] == [
        [(2, 33, 33), (4, 17, 17), (8, 18, 18), (1, 19, 19)],
        [(2, 17, 17), (4, 9, 9), (8, 10, 10), (1, 11, 11)],
    ]


def test_the_package_is_sound_and_the_curve_tells_of_the_critic(finished: Path) -> None:
    assert check_model(finished / "tiny").ok
    info = open_model(finished / "tiny").info
    assert info.architecture == "UNet"
    assert info.stains == ("DNA", "ER")
    lines = (finished / "tiny.run" / "curve.csv").read_text().splitlines()
    assert lines[0] == "epoch,step,loss,pcc_0,pcc_1,distance,penalty"
    assert [line.split(",")[1] for line in lines[1:]] == ["3", "6", "8"]


def test_a_run_broken_off_goes_on_as_if_it_had_not_been(finished: Path, tmp_path: Path) -> None:
    config = load_config(written(tmp_path))

    def break_off(progress: Any) -> None:
        if progress.step == 5:
            raise RuntimeError("the power went")

    with pytest.raises(RuntimeError, match="the power went"):
        train(config, break_off)
    assert state(tmp_path)["paint"]["done"] == 3
    train(config)
    assert same_run(finished, tmp_path)
    assert (tmp_path / "tiny.run" / "curve.csv").read_text() == (finished / "tiny.run" / "curve.csv").read_text()


def test_a_run_stopped_in_the_midst_of_an_epoch_goes_on_as_well(finished: Path, tmp_path: Path) -> None:
    config = load_config(written(tmp_path))
    assert config.run is not None
    run = config.run

    def stop(progress: Any) -> None:
        if progress.step == 4 and progress.epoch is None:
            send_command(run, "stop")
            import time

            time.sleep(0.6)

    with pytest.raises(Cancelled):
        train(config, stop)
    assert state(tmp_path)["paint"]["done"] == 4
    train(config)
    assert same_run(finished, tmp_path)
    assert (tmp_path / "tiny.run" / "curve.csv").read_text() == (finished / "tiny.run" / "curve.csv").read_text()


def pieces(path: Path) -> Any:
    """Return the module of a configuration and the batch of step 0, outside of a trainer."""
    from napari_virtual_paint.training.data.pairs import load
    from napari_virtual_paint.training.data.patches import Sampler
    from napari_virtual_paint.training.initial_weights import build_network
    from napari_virtual_paint.training.modules.gan import make_module

    config = load_config(path)
    data = load(config)
    module = make_module(build_network(config, data), config, data, config.steps)
    return module, Sampler(data.holding("train"), config), data


def test_the_generator_moves_at_every_second_step_and_the_weight_of_the_critic_falls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, sampler, _ = pieces(written(tmp_path))
    seen: list[tuple[int, float]] = []
    monkeypatch.setattr(module, "descend", lambda number, loss: seen.append((number, float(loss.detach()))))
    monkeypatch.setattr(module, "critic", Always())
    for step in range(8):
        module.done = step
        batch = sampler.batch(step)
        module.learn(batch.x, batch)
        if step % 2:
            l1 = float(module.losses[-1])
            assert seen[-1] == (0, pytest.approx(100 * l1 - 7 / (step // 3 + 1), rel=1e-4))
    assert [number for number, _ in seen] == [1, 1, 0] * 4
    # Of a critic that says the same of all, the penalty alone is left: (0 - 1)^2.
    assert all(loss == pytest.approx(10) for number, loss in seen if number == 1)


class Always(nn.Module):
    """Says 7 of every image."""

    def forward(self, x: Tensor) -> Tensor:
        """Judge."""
        return 7 + 0 * x.flatten(1).sum(1)


@pytest.mark.parametrize("changes", [{}, HD], ids=["cwgan-gp", "pix2pixhd"])
def test_what_is_held_out_never_reaches_the_critic(tmp_path: Path, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    module, sampler, data = pieces(written(tmp_path, **changes, normalize={}))
    for pair in data.pairs:
        pair.y[:, pair.parts["validation"]] = 1e6
    shown: list[float] = []
    module.critic.register_forward_pre_hook(lambda _, inputs: shown.append(float(inputs[0].detach().abs().max())))
    monkeypatch.setattr(module, "descend", lambda number, loss: None)
    batch = next(batch for step in range(99) if ((batch := sampler.batch(step)).y > 1e5).any())
    module.done = 1
    module.learn(batch.x, batch)
    assert len(shown) >= 3
    assert max(shown) < 1e3


def test_pix2pixhd_from_a_global_generator_to_a_local_enhancer(tmp_path: Path) -> None:
    train(load_config(written(tmp_path, **HD)))
    assert check_model(tmp_path / "tiny").ok
    lines = (tmp_path / "tiny.run" / "curve.csv").read_text().splitlines()
    assert lines[0] == "epoch,step,loss,pcc_0,pcc_1,adversarial,features,critic"
    network = open_model(tmp_path / "tiny").network
    with torch.inference_mode():
        assert float(network(torch.randn(1, 3, 32, 32)).abs().max()) <= 1
    local = {
        **HD,
        "network": {"architecture": "Pix2PixHD", "config": {"width": 2, "downs": 1, "blocks": 1, "enhancers": 1, "local_blocks": 1}},
        "objective": {**HD["objective"], "fix_global": 99},
        "start": "../tiny",
        "ema": 0,
        "keep": "last",
    }
    train(load_config(written(tmp_path / "local", **local)))
    assert check_model(tmp_path / "local" / "tiny").ok
    before, after = network.state_dict(), open_model(tmp_path / "local" / "tiny").network.state_dict()
    kept = [key for key in after if key.startswith("model.")]
    assert kept
    assert all(torch.equal(before[key], after[key]) for key in kept)


def test_pix2pixhd_broken_off_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    changes = {**HD, "objective": {**HD["objective"], "l1": 1}, "optimizer": {"clip": 1.0}}
    train(load_config(written(tmp_path / "whole", **changes)))
    config = load_config(written(tmp_path / "broken", **changes))

    def break_off(progress: Any) -> None:
        if progress.step == 3:
            raise RuntimeError("the power went")

    with pytest.raises(RuntimeError, match="the power went"):
        train(config, break_off)
    train(config)
    assert same_run(tmp_path / "whole", tmp_path / "broken")


def test_a_start_gives_the_weights(finished: Path, tmp_path: Path) -> None:
    train(load_config(written(tmp_path, start=str(finished / "tiny"), optimizer={"lr": 1e-12}, ema=0)))
    mine, theirs = (open_model(folder / "tiny").network.state_dict() for folder in (tmp_path, finished))
    for key, value in mine.items():
        if "running" not in key and "tracked" not in key:
            torch.testing.assert_close(value, theirs[key], atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": {"config": {"depth": 3, "width": 4}}}, r"start: .*whose weights don't fit UNet"),
        ({"data": {"simulate": {"fields": 2, "size": 64}, "target_channels": ["ER", "DNA"]}}, "paints DNA, ER in this order"),
    ],
)
def test_a_start_that_does_not_fit(finished: Path, tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        train(load_config(written(tmp_path, start=str(finished / "tiny"), **changes)))


def test_a_patch_that_is_too_small_for_the_critic_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="patch: 16 x 16 px is too small for the critic"):
        train(load_config(written(tmp_path, objective={"kind": "cwgan-gp"}, patch=[16, 16])))


@pytest.mark.parametrize("changes", [{}, HD], ids=["cwgan-gp", "pix2pixhd"])
def test_in_bfloat16_the_losses_stay_numbers(tmp_path: Path, changes: dict[str, Any]) -> None:
    train(load_config(written(tmp_path, **{**changes, "steps": 2, "epoch": 2, "precision": "bfloat16"})))
    line = (tmp_path / "tiny.run" / "curve.csv").read_text().splitlines()[1]
    assert np.isfinite([float(value) for value in line.split(",")]).all()


def test_the_layers_of_vgg_are_read_from_a_users_file(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    tensors, cin, place = {}, 3, 0
    for width, count in VGG_BLOCKS:
        for _ in range(count):
            tensors[f"features.{place}.weight"] = torch.randn(width, cin, 3, 3, generator=generator) * (2 / 9 / cin) ** 0.5
            tensors[f"features.{place}.bias"] = torch.zeros(width)
            cin, place = width, place + 2
        place += 1
    assert "features.28.weight" in tensors  # relu5_1 is layer 29
    torch.save(tensors, tmp_path / "vgg.pth")
    vgg = VGGFeatures(tensors)
    x = torch.rand(1, 2, 32, 32, generator=generator)
    assert float(vgg(x, x)) == 0
    assert [tuple(found.shape) for found in vgg.maps(x)] == [
        (2, 64, 32, 32),
        (2, 128, 16, 16),
        (2, 256, 8, 8),
        (2, 512, 4, 4),
        (2, 512, 2, 2),
    ]
    train(load_config(written(tmp_path, **{**HD, "steps": 1, "objective": {**HD["objective"], "vgg": "vgg.pth"}})))
    assert not any("vgg" in key for key in state(tmp_path)["state_dict"])
    torch.save({"a": torch.zeros(1)}, tmp_path / "vgg.pth")
    other = written(tmp_path, **{**HD, "run": "other", "objective": {**HD["objective"], "vgg": "vgg.pth"}})
    with pytest.raises(InputError, match=r"vgg\.pth: no weights of VGG-19.*features\.0\.weight"):
        train(load_config(other))
