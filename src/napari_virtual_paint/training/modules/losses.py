"""Losses of generators and discriminators, in torch, float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": lambda a, b: (a - b).abs(),
    "mse": lambda a, b: (a - b).square(),
}
"""Name of a loss -> per-pixel loss."""


def pixel_loss(painted: Tensor, truth: Tensor, weight: Tensor, name: str, total: Tensor | None = None) -> Tensor:
    """Return the weighted mean loss.

    Parameters
    ----------
    painted, truth
        (N, C, [Z,] Y, X).
    weight
        Weight of each pixel, (N, 1, [1,] Y, X).
    name
        A name in `LOSSES`.
    total
        Sum of the weights; that of `weight` by default. Given where processes share a batch: the sum over all, per process.
    """
    each = LOSSES[name](painted, truth) * weight
    loss: Tensor = each.sum() / ((weight.sum() if total is None else total) * painted.shape[1]).clamp(min=1)
    return loss


def cell_correlation(painted: Tensor, truth: Tensor, weight: Tensor, size: int) -> Tensor:
    """Return the mean PCC over the whole places of a montage's grid, cells and stains; (N, C, Y, X) each."""
    images, _, height, width = painted.shape

    def cut(x: Tensor) -> Tensor:
        places = x.reshape(images, -1, height // size, size, width // size, size).transpose(3, 4).flatten(2, 3).flatten(3)
        return places  # (N, C, places, pixels)

    a, b = (places - places.mean(-1, keepdim=True) for places in (cut(painted), cut(truth)))
    each = (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1) + 1e-6)
    complete = (cut(weight).amin(-1) > 0).float().expand_as(each)
    mean: Tensor = (each * complete).sum() / complete.sum().clamp(min=1)
    return mean


def gradient_penalty(critic: Callable[[Tensor], Tensor], x: Tensor, real: Tensor, painted: Tensor) -> Tensor:
    """Return the mean over images of (|grad D(x, y^)| - 1)^2, y^ drawn between each real image and its prediction.

    Equation 8 of Cross-Zamirski et al. 2022, with the square of Gulrajani et al. 2017 that is missing in print. The norm is that of
    each image's own gradient with respect to its stains; D is one number per image.

    Parameters
    ----------
    critic
        (N, channels + stains, Y, X) -> (N,).
    x, real, painted
        Input (N, channels, Y, X) and stains (N, stains, Y, X), float32; they get no gradient.
    """
    share = torch.rand((len(real), *[1] * (real.ndim - 1)), device=real.device)
    between = (share * real + (1 - share) * painted).detach().requires_grad_(True)
    output = critic(torch.cat([x, between], 1))
    # Gradient of the sum: no image's output depends on another image, so this is each one's own gradient.
    (gradient,) = torch.autograd.grad(output.sum(), between, create_graph=True)
    penalty: Tensor = (gradient.flatten(1).norm(dim=1) - 1).square().mean()
    return penalty


def least_squares(maps: Sequence[Sequence[Tensor]], target: float) -> Tensor:
    """Return the mean squared distance of outputs from a target value, summed over discriminators (Mao et al. 2017).

    Parameters
    ----------
    maps
        Feature maps per discriminator, the output last.
    target
        1 for real, 0 for predicted.
    """
    return torch.stack([(each[-1].float() - target).square().mean() for each in maps]).sum()


def feature_matching(painted: Sequence[Sequence[Tensor]], real: Sequence[Sequence[Tensor]]) -> Tensor:
    """Return the L1 between feature maps of predicted and real images, summed over layers, averaged over discriminators.

    Equation 4 of Wang et al. 2018 with the weights of their program: the same for every layer, 4 / (number of layers with stride 2 + 1).

    Parameters
    ----------
    painted, real
        Feature maps per discriminator, the output last (not used here).
    """
    total = []
    for painted_map, real_map in zip(painted, real, strict=True):
        hidden = [(a.float() - b.detach().float()).abs().mean() for a, b in zip(painted_map[:-1], real_map[:-1], strict=True)]
        total.append(torch.stack(hidden).sum() * 4 / len(hidden))
    return torch.stack(total).mean()


def normal_weights(network: nn.Module) -> None:
    """Initialize all convolutions from N(0, 0.02), as pix2pix and pix2pixHD do."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
