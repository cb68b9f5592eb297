"""Networks that normalise over the whole field, painted in tiles: equal to the whole forward, and without its largest maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from napari_virtual_paint.networks import build
from napari_virtual_paint.networks.staged import OUTPUT, StagedNetwork
from napari_virtual_paint.painting import PaintSettings, estimate, paint, run_to_end
from napari_virtual_paint.painting.exact import global_norm
from napari_virtual_paint.painting.exact.global_norm import MOST, Gathered, costs, paint_stages
from napari_virtual_paint.stack import Stack
from random_models import lively, model_of

FLAT = {"planes": 1, "out_planes": 1, "stem_planes": 1, "flat_stem": True}
WINDOW = {"planes": 5, "out_planes": 5, "stem_planes": 5, "stem": 4, "head": "conv", "out_widths": "16,112"}
NETWORKS: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "global": ("Pix2PixHD", {"width": 4, "downs": 3, "blocks": 2, "in_channels": 2, "out_channels": 1}, (2, 136, 104)),
    "global, batch norm": ("Pix2PixHD", {"width": 4, "downs": 2, "blocks": 1, "in_channels": 1, "norm": "batch"}, (1, 72, 104)),
    "one enhancer": ("Pix2PixHD", {"width": 4, "downs": 2, "blocks": 1, "enhancers": 1, "local_blocks": 2, "in_channels": 1}, (1, 136, 72)),
    "two enhancers": (
        "Pix2PixHD",
        {"width": 2, "downs": 1, "blocks": 1, "enhancers": 2, "local_blocks": 1, "in_channels": 1},
        (1, 72, 136),
    ),
    "shuffle head": (
        "UNeXt2",
        {**FLAT, "stem": 2, "widths": "8,16,32", "blocks": "1,2,1", "out_widths": "16,8", "head": "shuffle", "decoder_blocks": 1},
        (1, 104, 136),
    ),
    "conv head": ("UNeXt2", {**WINDOW, "widths": "8,16,32", "blocks": "2,1,1"}, (1, 5, 96, 144)),
}


def network_of(architecture: str, config: dict[str, Any]) -> torch.nn.Module:
    """A network in which every weight matters."""
    torch.manual_seed(0)
    network = lively(build(architecture, config))
    for name, weight in network.named_parameters():
        if "grn" in name:
            torch.nn.init.normal_(weight, 0.0, 0.5)
    return network


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("tile", [12, 32, 50])
@pytest.mark.parametrize("name", NETWORKS)
def test_tiles_equal_the_whole_forward(name: str, tile: int, large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if large:
        monkeypatch.setattr(global_norm, "LARGE", 0)
    architecture, config, shape = NETWORKS[name]
    network = network_of(architecture, config)
    assert isinstance(network, StagedNetwork)
    if tile < 32:  # the smaller the tiles, the more of them; a smaller field has enough
        shape = (*shape[:-2], *(max(2, side // 2 // network.multiple) * network.multiple for side in shape[-2:]))
    x = torch.randn(1, *shape)
    with torch.inference_mode():
        whole = network(x)
    out = torch.full_like(whole, torch.nan)
    share = 0.0
    for part, box, stains in paint_stages(network, x, tile):
        share += part
        if box is not None:
            assert out[..., box[0], box[1]].isnan().all()
            out[..., box[0], box[1]] = stains
    assert float((out - whole).abs().max() / whole.std()) <= 1e-4
    assert share == pytest.approx(1.0)


class Largest(TorchDispatchMode):
    """The most numbers that any tensor held."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for item in out if isinstance(out, tuple) else (out,):
            self.most = max(self.most, item.numel() if isinstance(item, torch.Tensor) else 0)
        return out


@pytest.mark.parametrize("name", ["global", "shuffle head"])
def test_the_largest_maps_never_exist(name: str) -> None:
    architecture, config, _ = NETWORKS[name]
    network = network_of(architecture, config)
    x = torch.randn(1, network.config.in_channels, 320, 320)
    with torch.no_grad(), Largest() as whole:
        network(x)
    with torch.no_grad(), Largest() as stages:
        list(paint_stages(network, x, 40))
    assert stages.most <= 0.51 * whole.most


def test_statistics_of_tiles_are_those_of_the_map() -> None:
    x = torch.randn(1, 3, 2, 40, 50) * 5 + 1000
    for kind in ("moments", "squares"):
        gathered = Gathered(kind)
        for rows in x.split([7, 13, 20], dim=-2):
            gathered.add(rows)
        found = gathered.statistics(x)
        exact = x.double()
        wanted = (
            (exact.mean((2, 3, 4), keepdim=True), exact.var((2, 3, 4), correction=0, keepdim=True))
            if kind == "moments"
            else (exact.square().sum((2, 3, 4), keepdim=True),)
        )
        assert all(torch.allclose(a.double(), b, rtol=1e-5) for a, b in zip(found, wanted, strict=True))


def test_the_last_piece_makes_the_output() -> None:
    for architecture, config, _ in NETWORKS.values():
        stages = network_of(architecture, config).stages()
        assert stages[-1].target == OUTPUT
        assert len({stage.target for stage in stages}) == len(stages)


def stack_of(*shape: int) -> Stack:
    return Stack(np.random.default_rng(0).normal(100, 20, shape).astype(np.float32))


def test_a_field_is_painted_whole_and_said_to_be_exact() -> None:
    config = {"width": 4, "downs": 3, "blocks": 2, "in_channels": 1, "out_channels": 2}
    model = model_of("Pix2PixHD", info={"min_size": (16, 16), "step_size": (8, 8)}, **config)
    stack = stack_of(1, 1, 1, 150, 110)
    small = run_to_end(paint(model, stack, PaintSettings(tile=32, device="cpu")))
    large = run_to_end(paint(model, stack, PaintSettings(tile=4096, device="cpu")))
    assert small.report.exact
    assert np.abs(small.stack.data - large.stack.data).max() <= 1e-4 * large.stack.data.std()
    region = run_to_end(paint(model, stack, PaintSettings(region=((20, 60), (30, 90)), device="cpu", tile=4096)))
    assert np.array_equal(region.stack.data[..., 20:60, 30:90], large.stack.data[..., 20:60, 30:90])


def test_a_tiny_field_is_painted() -> None:
    model = model_of("Pix2PixHD", info={"min_size": (16, 16), "step_size": (8, 8)}, width=4, downs=3, blocks=1, in_channels=1)
    assert run_to_end(paint(model, stack_of(1, 1, 1, 5, 6))).stack.data.shape[-2:] == (5, 6)


@pytest.mark.parametrize("planes", [3, 5, 8])
def test_a_window_slides_over_the_planes_and_is_averaged(planes: int) -> None:
    model = model_of("UNeXt2", info={"min_size": (5, 32, 32), "step_size": (0, 16, 16), "preprocessing": ()}, **WINDOW, widths="8,16,32",
                     blocks="1,1,1")  # fmt: skip
    stack = stack_of(1, 1, planes, 64, 48)
    found = run_to_end(paint(model, stack, PaintSettings(device="cpu"))).stack.data[0]
    pixels = np.asarray(stack.data[0], np.float32)
    if planes < 5:
        pixels = np.pad(pixels, [(0, 0), (1, 1), (0, 0), (0, 0)], mode="edge")
    total, count = np.zeros((2, pixels.shape[1], 64, 48)), np.zeros((pixels.shape[1], 1, 1))
    for first in range(pixels.shape[1] - 4):
        with torch.inference_mode():
            total[:, first : first + 5] += model.network(torch.from_numpy(pixels[None, :, first : first + 5])).numpy()[0]
        count[first : first + 5] += 1
    wanted = total / count
    wanted = wanted[:, 1:4] if planes < 5 else wanted
    assert np.abs(found - wanted).max() <= 1e-4 * wanted.std()


def test_costs_are_those_of_the_network() -> None:
    config = {"in_channels": 1, "out_channels": 1, "width": 4, "downs": 1, "blocks": 0}
    memory, macs = costs("Pix2PixHD", config, (1, 64, 64))
    first, down, up, last = 49 * 4 * 64**2, 9 * 4 * 8 * 32**2, 9 * 8 * 4 * 32**2, 49 * 4 * 64**2
    assert macs == 2 * first + down + 2 * up + last
    weights = sum(weight.numel() for weight in build("Pix2PixHD", config).parameters())
    assert memory == 4 * (weights + 2 * 8 * 32**2 + 8 * MOST)  # the coarse map before and behind its normalisation
    model = model_of("Pix2PixHD", info={"min_size": (4, 4), "step_size": (2, 2)}, **config)
    assert estimate(model, stack_of(1, 1, 1, 63, 64)).memory == memory + 4 * 63 * 64
    window = model_of("UNeXt2", info={"min_size": (5, 32, 32), "step_size": (0, 16, 16)}, **WINDOW, widths="8,16,32", blocks="1,1,1")
    five, seven = (estimate(window, stack_of(1, 1, planes, 64, 48)) for planes in (5, 7))
    assert seven.seconds / five.seconds == pytest.approx(3.0, rel=0.2)
