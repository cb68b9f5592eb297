"""The ensemble is the mean of its members, however it is run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_virtual_paint.networks import build
from napari_virtual_paint.networks.encoder_decoder import EncoderDecoder
from napari_virtual_paint.painting import PaintSettings, paint, run_to_end
from napari_virtual_paint.stack import Stack
from random_models import model_of

CONFIG = {"members": 3, "in_channels": 2, "out_channels": 4, "depth": 3, "width": 4}


def test_the_output_is_the_mean_of_the_members():
    model = model_of("UNetEnsemble", **CONFIG)
    x = torch.randn(2, 2, 16, 24)
    with torch.inference_mode():
        each = model.network.each(x)
        alone = torch.stack([member(x) for member in model.network.members])
        together = model.network(x)
    assert each.shape == (3, 2, 4, 16, 24)
    assert not torch.allclose(each[0], each[1]), "members begin differently"
    torch.testing.assert_close(together, alone.mean(0))


def test_it_paints_in_exact_tiles():
    model = model_of("UNetEnsemble", **CONFIG)
    assert isinstance(model.network, EncoderDecoder)
    stack = Stack(np.random.default_rng(0).integers(0, 4000, (1, 2, 1, 101, 150)).astype(np.uint16))
    small = run_to_end(paint(model, stack, PaintSettings(tile=24, device="cpu"))).stack.data
    x = stack.data[0, :, 0].astype(np.float64)
    x = (x - x.mean((1, 2), keepdims=True)) / x.std((1, 2), keepdims=True)
    padded = np.pad(x, [(0, 0), (0, -101 % 4), (0, -150 % 4)], mode="reflect").astype(np.float32)
    with torch.inference_mode():
        whole = model.network(torch.from_numpy(padded)[None])[0, :, :101, :150].numpy()
    assert np.abs(small[0, :, 0] - whole).max() <= 5e-5 * whole.std()


@pytest.mark.parametrize("members", [0, 1.5, "2"])
def test_the_number_of_members_is_checked(members):
    with pytest.raises(ValueError, match="members"):
        build("UNetEnsemble", {"members": members})
