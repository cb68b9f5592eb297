"""Networks without memory for their weights: the names and shapes of those with weights, and nothing drawn."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from napari_virtual_paint.networks import build
from napari_virtual_paint.networks.empty import empty_weights

SMALL: dict[str, dict[str, Any]] = {
    "UNet": {"in_channels": 3, "out_channels": 2, "depth": 2, "width": 4},
    "FNet": {"dims": 3, "in_channels": 1, "out_channels": 2, "depth": 1, "mult_chan": 2},
}


@pytest.mark.parametrize("architecture", SMALL)
def test_names_and_shapes_are_those_of_the_network(architecture: str) -> None:
    with empty_weights():
        network = build(architecture, SMALL[architecture])
    state, expected = network.state_dict(), build(architecture, SMALL[architecture]).state_dict()
    assert {tensor.device.type for tensor in state.values()} == {"meta"}
    assert {name: (tensor.shape, tensor.dtype) for name, tensor in state.items()} == {
        name: (tensor.shape, tensor.dtype) for name, tensor in expected.items()
    }
    network.load_state_dict(expected, strict=True, assign=True)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in network.state_dict().items())


def test_no_weight_gets_a_value() -> None:
    weight = torch.full((4, 4), 7.0)
    with empty_weights():
        for draw in (nn.init.kaiming_uniform_, nn.init.normal_, nn.init.ones_, torch.Tensor.zero_):
            assert draw(weight) is weight
        nn.init.constant_(tensor=weight, val=3.0)
        weight.uniform_(0, 1)
        assert torch.ones(2, device="cpu").sum() == 2  # everything else is as outside
    assert (weight == 7).all()
    assert (nn.init.ones_(weight) == 1).all()
