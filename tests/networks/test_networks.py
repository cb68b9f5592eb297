"""The networks: sizes, names of weights as published, shapes, and the published program's own output."""

from __future__ import annotations

import importlib
import subprocess
import sys

import numpy as np
import pytest
import torch

from napari_virtual_paint.networks import ARCHITECTURES, build
from napari_virtual_paint.networks.encoder_decoder import EncoderDecoder, run_from
from napari_virtual_paint.networks.sizes import radius_of

SIZES = [
    ("UNet", {"batch_norm": True}, 31_106_661),
    ("UNet", {"batch_norm": False}, 31_094_629),
    ("FNet", {"dims": 2}, 8_116_225),
    ("FNet", {"dims": 3}, 23_280_769),
]


def skeleton(architecture: str, config: dict) -> torch.nn.Module:
    """Build a network without memory for its weights."""
    with torch.device("meta"):
        return build(architecture, config)


@pytest.mark.parametrize(("architecture", "config", "count"), SIZES)
def test_published_sizes(architecture: str, config: dict, count: int) -> None:
    assert sum(tensor.numel() for tensor in skeleton(architecture, config).parameters()) == count


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_is_a_class_of_its_module(name: str) -> None:
    assert issubclass(getattr(importlib.import_module(ARCHITECTURES[name]), name), torch.nn.Module)


def unet_keys(batch_norm: bool) -> set[str]:
    """Spell out the names of the published U-Net checkpoints."""
    positions = {0: ("weight", "bias"), 2: ("weight", "bias")}
    if batch_norm:
        norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
        positions = {0: ("weight", "bias"), 2: norm, 3: ("weight", "bias"), 5: norm}
    block = [f"block.{position}.{name}" for position, names in positions.items() for name in names]
    keys = {f"down_path.{level}.{item}" for level in range(6) for item in block}
    keys |= {f"up_path.{level}.conv_block.{item}" for level in range(5) for item in block}
    keys |= {f"up_path.{level}.up.{name}" for level in range(5) for name in ("weight", "bias")}
    return keys | {"last.weight", "last.bias"}


@pytest.mark.parametrize("batch_norm", [False, True])
def test_unet_names_are_the_published_ones(batch_norm: bool) -> None:
    state = skeleton("UNet", {"batch_norm": batch_norm}).state_dict()
    assert set(state) == unet_keys(batch_norm)
    if not batch_norm:
        assert len(state) == 56
    assert state["up_path.0.up.weight"].shape == (1024, 512, 2, 2)
    assert state["last.weight"].shape == (5, 32, 1, 1)


def fnet_keys(depth: int) -> set[str]:
    """Spell out the names of the published fnet checkpoints."""
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    keys = {"conv_out.weight", "conv_out.bias"}
    for level in range(depth + 1):
        at = "net_recurse." + "sub_u." * level
        doubles = ("sub_2conv_more",) if level == depth else ("sub_2conv_more", "sub_2conv_less")
        keys |= {f"{at}{double}.conv{i}.{name}" for double in doubles for i in (1, 2) for name in ("weight", "bias")}
        keys |= {f"{at}{double}.bn{i}.{name}" for double in doubles for i in (1, 2) for name in norm}
        if level < depth:
            keys |= {f"{at}{conv}.{name}" for conv in ("conv_down", "convt") for name in ("weight", "bias")}
            keys |= {f"{at}{bn}.{name}" for bn in ("bn0", "bn1") for name in norm}
    return keys


@pytest.mark.parametrize(("dims", "depth"), [(2, 4), (3, 4), (3, 2)])
def test_fnet_names_are_the_published_ones(dims: int, depth: int) -> None:
    state = skeleton("FNet", {"dims": dims, "depth": depth}).state_dict()
    assert set(state) == fnet_keys(depth)
    assert state["net_recurse.sub_2conv_more.conv1.weight"].shape == (32, 1, *[3] * dims)


def test_fnet_reproduces_a_checkpoint_of_the_published_program(shared_checkpoints) -> None:
    checkpoint = torch.load(shared_checkpoints / "fnet3d_depth3_mult4.p", map_location="cpu", weights_only=True)
    expected = np.load(shared_checkpoints / "fnet3d_depth3_mult4_io.npz")
    network = build("FNet", {"dims": 3, "depth": 3, "mult_chan": 4}).eval()
    network.load_state_dict(checkpoint["nn_state"], strict=True)
    with torch.inference_mode():
        found = network(torch.from_numpy(expected["input"])).numpy()
    assert found.shape == expected["output"].shape
    assert np.abs(found - expected["output"]).max() <= 1e-5


ODD = [
    ("UNet", {"in_channels": 1, "out_channels": 1, "depth": 2, "width": 1}, (2, 1, 6, 10), (2, 1, 6, 10)),
    ("UNet", {"in_channels": 13, "out_channels": 3, "depth": 4, "width": 3, "max_width": 7}, (1, 13, 24, 8), (1, 3, 24, 8)),
    ("UNet", {"in_channels": 3, "out_channels": 2, "depth": 3, "width": 4, "batch_norm": False}, (1, 3, 4, 12), (1, 2, 4, 12)),
    ("FNet", {"dims": 2, "in_channels": 2, "out_channels": 3, "depth": 1, "mult_chan": 3}, (1, 2, 10, 6), (1, 3, 10, 6)),
    ("FNet", {"dims": 3, "in_channels": 1, "out_channels": 2, "depth": 2, "mult_chan": 2}, (1, 1, 4, 8, 12), (1, 2, 4, 8, 12)),
]


@pytest.mark.parametrize(("architecture", "config", "given", "expected"), ODD)
def test_shapes_and_levels_of_odd_settings(architecture: str, config: dict, given: tuple, expected: tuple) -> None:
    torch.manual_seed(0)
    network = build(architecture, config).eval()
    assert isinstance(network, EncoderDecoder)
    x = torch.randn(given)
    with torch.inference_mode():
        out = network(x)
        assert out.shape == expected
        assert torch.isfinite(out).all()
        assert torch.equal(out, network.head(run_from(network, 0, x)))


@pytest.mark.parametrize(
    ("architecture", "config"),
    [("UNet", {"depth": 4, "width": 2, "in_channels": 1, "out_channels": 1}), ("FNet", {"dims": 2, "depth": 3, "mult_chan": 2})],
)
def test_a_pixel_reaches_no_further_than_the_halos_say(architecture: str, config: dict) -> None:
    torch.manual_seed(0)
    network = build(architecture, config).double().eval()
    for weight in network.parameters():
        weight.data.abs_()  # so that no ReLU is shut and everything that can be seen is seen
    reach = radius_of(network)
    side = -(-(2 * reach + 16) // 16) * 16
    x = torch.rand(1, 1, side, side, dtype=torch.float64)
    changed = x.clone()
    changed[..., side // 2, side // 2] = 100.0
    with torch.inference_mode():
        seen = (network(x) != network(changed))[0, 0].nonzero()
    distance = (seen - side // 2).abs().max().item()
    assert reach / 2 < distance <= reach


@pytest.mark.parametrize(
    ("architecture", "config", "error"),
    [
        ("UNet", {"depth": 1}, ValueError),
        ("UNet", {"width": 0}, ValueError),
        ("UNet", {"in_channels": 1.5}, ValueError),
        ("UNet", {"colour": 1}, TypeError),
        ("FNet", {"dims": 4}, ValueError),
        ("FNet", {"mult_chan": -1}, ValueError),
        ("UNetEnsemble", {"members": 0}, ValueError),
        ("Resnet", {}, KeyError),
    ],
)
def test_wrong_settings_are_refused(architecture: str, config: dict, error: type[Exception]) -> None:
    with pytest.raises(error):
        build(architecture, config)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_allow_list_names_the_modules_of_the_classes(architecture: str) -> None:
    network = skeleton(architecture, {})
    assert (type(network).__name__, type(network).__module__) == (architecture, ARCHITECTURES[architecture])


def test_an_ensemble_is_the_mean_of_its_members() -> None:
    torch.manual_seed(0)
    network = build("UNetEnsemble", {"members": 3, "in_channels": 2, "out_channels": 3, "depth": 3, "width": 4}).eval()
    x = torch.randn(2, 2, 16, 24)
    with torch.inference_mode():
        mean = sum(member(x) for member in network.members) / 3
        assert torch.allclose(network(x), mean, atol=1e-6)
        assert torch.allclose(network.head(run_from(network, 0, x)), mean, atol=1e-6)
        assert network.each(x).std(0).mean() > 1e-3


def test_the_allow_list_is_read_without_torch() -> None:
    code = "import sys, napari_virtual_paint.networks as n; assert n.ARCHITECTURES; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"
