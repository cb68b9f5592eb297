"""The networks of cells: the paper's sizes, any other size, and what a critic gives."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_virtual_paint.networks.cellpainter import CellPainter, CropReader, ReadingCritic
from napari_virtual_paint.networks.cp2image import CP2ImageDiscriminator, CP2ImageGenerator, CropEncoder, DiscriminatorOutput


def sides_of(network: nn.Module, kind: type[nn.Module], given: torch.Tensor) -> list[int]:
    found: list[int] = []
    hooks = [m.register_forward_hook(lambda _, __, out: found.append(out.shape[-1])) for m in network.modules() if isinstance(m, kind)]
    network(given)
    for hook in hooks:
        hook.remove()
    return found


def test_the_paper_s_generator_has_the_paper_s_sizes() -> None:
    generator = CP2ImageGenerator(453, 3, 68)
    assert sides_of(generator, nn.Conv2d, torch.randn(2, 453)) == [5, 14, 32, 68, 68]
    kernels = [m.kernel_size[0] for m in generator.modules() if isinstance(m, nn.Conv2d)]
    assert kernels == [5, 5, 5, 5, 1]
    assert [m.negative_slope for m in generator.modules() if isinstance(m, nn.LeakyReLU)] == [0.01] * 5


def test_the_paper_s_discriminator_ends_in_a_point() -> None:
    critic = CP2ImageDiscriminator(453, 3, 68)
    judged = critic(torch.randn(2, 3, 68, 68))
    assert [layer.shape[1:] for layer in judged.hidden] == [(32, 32, 32), (32, 14, 14), (32, 5, 5), (64, 1, 1)]
    assert judged.logit.shape == (2,)
    assert judged.reading is None


def test_spectral_norm_holds_every_layer_of_the_discriminator() -> None:
    critic = CP2ImageDiscriminator(10, 2, 40)
    with torch.no_grad():
        for module in critic.modules():
            if isinstance(module, nn.Conv2d):
                module.parametrizations.weight.original.mul_(50)
    critic.train()
    for _ in range(30):  # the norm is found by power iteration, one round a pass
        critic(torch.randn(4, 2, 40, 40))
    critic.eval()
    for module in critic.modules():
        if isinstance(module, nn.Conv2d):
            assert float(torch.linalg.matrix_norm(module.weight.detach().flatten(1), 2)) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("size", "channels", "features"), [(40, 2, 7), (54, 1, 300), (68, 3, 453), (80, 5, 20), (33, 4, 1), (97, 2, 5)])
@pytest.mark.parametrize("kind", [CP2ImageGenerator, CellPainter])
def test_any_size_number_of_channels_and_features(kind: type[nn.Module], size: int, channels: int, features: int) -> None:
    drawn = kind(features, channels, size)(torch.randn(2, features))
    assert drawn.shape == (2, channels, size, size)
    for critic in (CP2ImageDiscriminator, ReadingCritic):
        judged: DiscriminatorOutput = critic(features, channels, size)(drawn)
        assert judged.logit.shape == (2,)
        assert len(judged.hidden) >= 2
    assert CropReader(features, channels, size)(drawn).shape == (2, 64)


def test_every_feature_moves_every_channel() -> None:
    torch.manual_seed(0)
    for kind in (CP2ImageGenerator, CellPainter):
        generator = kind(3, 2, 40).eval()
        features = torch.randn(1, 3, requires_grad=True)
        for channel in range(2):
            (gradient,) = torch.autograd.grad(generator(features)[:, channel].square().sum(), features)
            assert (gradient.abs() > 0).all()


def test_the_reading_critic_reads_features() -> None:
    judged = ReadingCritic(11, 2, 40)(torch.randn(3, 2, 40, 40))
    assert judged.reading is not None
    assert judged.reading.shape == (3, 11)


def test_the_encoder_gives_mean_and_variance() -> None:
    mean, log_variance = CropEncoder(16, 2, 40)(torch.randn(3, 2, 40, 40))
    assert mean.shape == log_variance.shape == (3, 16)


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        (CP2ImageGenerator, {"size": 4}, "size must be a whole number of 16 or more"),
        (CP2ImageGenerator, {"features": 0}, "features must be"),
        (CellPainter, {"features": 2, "channels": 1, "size": 40, "style": 1}, "style must be"),
    ],
)
def test_settings_that_can_t_be(kind: type[nn.Module], settings: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        kind(**settings)
