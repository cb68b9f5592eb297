"""ContourPainter: what it meets by construction with random weights, and what its noise decides."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.measure import regionprops

from napari_virtual_paint.networks.contour_painter import (
    LIMIT,
    MEANS,
    VARIETY,
    ContourCritic,
    ContourPainter,
    ContourPainterConfig,
    contrasts,
    with_contrasts,
    with_means,
)

SIZE, CHANNELS = 40, 2


def painter(turn: int = 1, alone: int = 0, size: int = SIZE, features: int = 8) -> ContourPainter:
    """Random weights; features 0 to 3 are nucleus's and cytoplasm's area, and the nucleus's means."""
    torch.manual_seed(0)
    network = ContourPainter(features, CHANNELS, size, width=4, max_width=8, style=8, code=2, turn=turn, alone=alone)
    for row, column, offset, weight in ((0, 0, 150.0, 20.0), (1, 1, 200.0, 30.0), (MEANS, 2, 0.5, 0.1), (MEANS + 2, 3, 0.4, 0.1)):
        network.handle_columns[2 * row] = column
        network.handle_weights[2 * row] = weight
        network.handle_offset[row] = offset
        network.handle_known[row] = 1
    torch.nn.init.normal_(network.head.weight, std=0.02)  # far from the means, but not out of the gains' limits
    return network.eval().requires_grad_(False)


def vectors(count: int = 6, features: int = 8, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(count, features, generator=generator)
    angle = math.pi * (torch.rand(count, generator=generator) - 0.5)
    values[:, -2:] = torch.stack([angle.cos(), angle.sin()], 1)
    return values


def noise_for(network: ContourPainter, count: int, seed: int = 2) -> torch.Tensor:
    return torch.randn(count, network.noise, generator=torch.Generator().manual_seed(seed))


def test_areas_and_orientation_are_met_whatever_the_weights_are() -> None:
    network, values = painter(), vectors()
    values[:, 4] += 3.0  # says nothing about size
    outlines = network.outlines(values, noise_for(network, 6))
    outlines.shape.mul_(0.2)
    outlines.shape[:, 0] += 0.3  # long enough to have an orientation
    nucleus, cell = outlines.masks(SIZE)
    torch.testing.assert_close(nucleus.sum((1, 2)), 150 + 20 * values[:, 0], rtol=0.01, atol=0)
    torch.testing.assert_close((cell - nucleus).sum((1, 2)), 200 + 30 * values[:, 1], rtol=0.02, atol=0)
    asked = torch.rad2deg(torch.atan2(values[:, -1], values[:, -2])).numpy()
    seen = np.array([math.degrees(regionprops((mask > 0.5).int().numpy())[0].orientation) for mask in nucleus])
    assert np.abs((seen - asked + 90) % 180 - 90).max() < 4


@pytest.mark.parametrize("alone", [0, 1])
def test_means_are_met_whatever_the_weights_are(alone: int) -> None:
    network, values = painter(alone=alone), vectors()
    network.additive[1] = 1
    noise = noise_for(network, 6)
    drawn = network(values, noise)
    nucleus = network.outlines(values, noise, variety=VARIETY).masks(SIZE)[0]
    means = torch.einsum("ncyx,nyx->nc", drawn, nucleus) / nucleus.sum((1, 2))[:, None]
    torch.testing.assert_close(means, torch.stack([0.5 + 0.1 * values[:, 2], 0.4 + 0.1 * values[:, 3]], 1), rtol=0, atol=0.01)


def test_two_means_of_a_picture_are_set_at_once() -> None:
    x = torch.rand(3, 2, 20, 20)
    regions = torch.zeros(3, 2, 20, 20)
    regions[:, 0, 5:10, 5:10], regions[:, 1, 10:15, 5:15] = 1, 1
    gains = torch.nn.functional.avg_pool2d(regions, 3, 1, 1)
    asked = torch.tensor([[0.7, 0.3], [0.6, 0.5]]).expand(3, 2, 2)
    out = with_means(x, regions, gains, asked, torch.ones(2, 2), torch.tensor([0.0, 1.0]))
    found = torch.stack([out[:, :, 5:10, 5:10].mean((2, 3)), out[:, :, 10:15, 5:15].mean((2, 3))], -1)
    torch.testing.assert_close(found, asked, atol=1e-4, rtol=0)
    torch.testing.assert_close(out[..., 17:, :], x[..., 17:, :])
    free = with_means(x, regions, gains, asked, torch.zeros(2, 2), torch.zeros(2))
    torch.testing.assert_close(free, x)


def test_noise_decides_the_pixels() -> None:
    network, values = painter(), vectors(2)
    noise = noise_for(network, 2)
    same = torch.cat([noise[:1], noise[:1]])
    drawn = network(values[:1].expand(2, -1), same)
    torch.testing.assert_close(drawn[0], drawn[1])
    other = network(values[:1].expand(2, -1), noise)
    assert (other[0] - other[1]).abs().mean() > 1e-3
    torch.testing.assert_close(network(values), network(values, torch.zeros_like(noise)))


def test_nothing_is_around_a_cell_alone() -> None:
    network, values = painter(alone=1), vectors()
    noise = noise_for(network, 6)
    cell = network.outlines(values, noise, variety=VARIETY).masks(SIZE, softness=1.2)[1]
    drawn = network(values, noise)
    assert drawn.abs().amax(1)[cell < 1e-3].max() < 1e-2
    assert painter()(values, noise).abs().amax(1)[cell < 1e-3].max() > 1e-2


@pytest.mark.parametrize("size", [16, 40, 48, 67, 68, 80])
@pytest.mark.parametrize("turn", [0, 1])
def test_any_size_is_drawn_where_the_outline_is(size: int, turn: int) -> None:
    network = painter(turn, alone=1, size=size)
    network.handle_known.zero_()
    values = vectors(2)
    drawn = network(values)
    assert drawn.shape == (2, CHANNELS, size, size)
    # A cell that stands alone lies where its outline is, whatever was cropped from the last level.
    cell = network.outlines(values, values.new_zeros(2, network.noise)).masks(size, softness=1.2)[1]
    assert drawn.abs().amax(1)[cell < 1e-3].sum() < 1e-2 * drawn.abs().amax(1).sum()


def test_a_wrong_setting_is_named() -> None:
    with pytest.raises(ValueError, match="ContourPainter width must be a whole number of 4 or more, not 2"):
        ContourPainterConfig(5, 2, 40, width=2)
    with pytest.raises(ValueError, match="turn 1 needs more than two features"):
        ContourPainterConfig(2, 2, 40, turn=1)


def test_the_critic_sees_the_outlines_and_reads_without_them() -> None:
    torch.manual_seed(0)
    critic = ContourCritic(5, 2, 40, width=4, code=8).eval()
    crops, masks = torch.rand(4, 2, 40, 40), torch.rand(4, 2, 40, 40)
    near, far = critic.judge(crops, masks)
    assert (near.shape, far.shape) == ((4, 100), (4, 25))
    assert not torch.allclose(near, critic.judge(crops, masks.flip(2))[0])
    read, hidden = critic.read(crops)
    assert read.shape == (4, 5)
    assert [layer.shape[-1] for layer in hidden] == [20, 10, 5]


def test_a_contrast_is_haralicks() -> None:
    mahotas = pytest.importorskip("mahotas", reason="mahotas comes with cp_measure")
    levels = np.random.default_rng(0).integers(1, 200, (3, 12, 12)).astype(np.uint8)
    found = contrasts(torch.from_numpy(levels).float(), torch.ones(3, 12, 12), 3)
    directions = [mahotas.features.haralick(each, ignore_zeros=True, distance=3)[[0, 2], 1] for each in levels]  # along columns, rows
    np.testing.assert_allclose(found.numpy(), np.mean(directions, 1), rtol=1e-5)


def test_contrasts_are_met_and_nothing_else_changes() -> None:
    generator = torch.Generator().manual_seed(0)
    line = torch.arange(SIZE) - SIZE / 2
    edge = 14 - torch.hypot(line[:, None], line)
    nucleus, inner = (torch.sigmoid(4 * (edge - inset)).expand(4, -1, -1) for inset in (0, 2))
    x = nucleus[:, None] * (0.6 + 0.1 * torch.randn(4, 2, SIZE, SIZE, generator=generator))
    before = contrasts(x[:, 0], nucleus, 3)
    asked = torch.stack([before * torch.tensor([0.8, 1.0, 1.5, 3.0]), before], 1)
    out = with_contrasts(x, nucleus, inner, asked, torch.tensor([1.0, 0.0]), torch.tensor([3, 3]))
    torch.testing.assert_close(contrasts(out[:, 0], nucleus, 3), asked[:, 0], rtol=1e-3, atol=0)
    torch.testing.assert_close((out * nucleus[:, None]).sum((2, 3)), (x * nucleus[:, None]).sum((2, 3)), rtol=1e-3, atol=0)
    torch.testing.assert_close(out[:, 1], x[:, 1])
    outside = (edge < -1).expand(4, -1, -1)
    torch.testing.assert_close(out[:, 0][outside], x[:, 0][outside], atol=1e-3, rtol=0)


def test_only_handles_take_features_beyond_the_limit() -> None:
    network, values = painter(), vectors()
    values[:, 4] = LIMIT
    noise = noise_for(network, 6)
    far = values.clone()
    far[:, 4] = 10 * LIMIT
    torch.testing.assert_close(network(far, noise), network(values, noise))
    far[:, 0] = LIMIT
    near = network.outlines(far, noise).nucleus
    far[:, 0] = 2 * LIMIT
    torch.testing.assert_close(network.outlines(far, noise).nucleus, near + 20 * LIMIT)
