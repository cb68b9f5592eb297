"""Prepare a network for painting: fold batch normalization where that is exact, apply it in place where it is not."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from napari_virtual_paint.networks.ensemble import UNetEnsemble
from napari_virtual_paint.networks.fnet import FNet
from napari_virtual_paint.networks.unet import UNet
from napari_virtual_paint.painting.tiles import cover, grow

SLAB = 6e9  # multiply-accumulates of a slab of planes: some hundredths of a second on a core
NORMS = (nn.BatchNorm2d, nn.BatchNorm3d)


class InPlaceAffine(nn.Module):
    """A batch normalization in eval mode, ``x * scale + shift`` per channel, written over its input.

    Behind a ReLU it can't be folded into the next convolution: that one pads with zeros, which are not zeros before the normalization,
    so folding is wrong along the border. Writing in place saves the memory and half the time instead.
    """

    def __init__(self, norm: nn.BatchNorm2d | nn.BatchNorm3d) -> None:
        super().__init__()
        if norm.running_mean is None or norm.running_var is None:
            raise ValueError("a batch normalization without running statistics depends on the whole batch")
        scale = torch.rsqrt(norm.running_var.double() + norm.eps)
        if norm.affine:
            scale = scale * norm.weight.double()
        shift = -norm.running_mean.double() * scale
        if norm.affine:
            shift = shift + norm.bias.double()
        column = (1, -1, *([1] * (2 if isinstance(norm, nn.BatchNorm2d) else 3)))
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", scale.to(norm.running_mean.dtype).reshape(column))
        self.register_buffer("shift", shift.to(norm.running_mean.dtype).reshape(column))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, ...) -> the same, overwritten."""
        return torch.addcmul(self.shift, x, self.scale, out=x)


class WideInput(nn.Module):
    """A convolution of one channel, run as one of four of which three are zero.

    On a CPU torch sends 3D convolutions of few channels down a slow path; four channels take the fast one.
    """

    channels = 4

    def __init__(self, conv: nn.Conv3d) -> None:
        super().__init__()
        self.conv = copy.copy(conv)
        self.extra = self.channels - conv.in_channels
        self.conv.__dict__["_parameters"] = dict(conv._parameters)  # the original keeps its own weight
        self.conv.weight = nn.Parameter(nn.functional.pad(conv.weight, (0, 0, 0, 0, 0, 0, 0, self.extra)), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, Z, Y, X) -> (N, filters, Z, Y, X)."""
        wide = torch.cat([x, x.new_zeros((x.shape[0], self.extra, *x.shape[2:]))], 1)
        out: Tensor = self.conv(wide.contiguous(memory_format=torch.channels_last_3d))
        return out


class SlabbedConv(nn.Module):
    """A 3D convolution that is run slab by slab of the z-planes on a CPU, so that it can be stopped in between; the values are the same."""

    def __init__(self, conv: nn.Conv3d) -> None:
        super().__init__()
        self.conv = conv
        slab: Any = _copy_sharing_weights(conv)
        slab.padding = (0, 1, 1)
        self.slab = slab  # of planes that bring their neighbors along

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, Z, Y, X) -> (N, filters, Z, Y, X)."""
        planes, each = x.shape[2], x[0, 0, 0].numel() * self.conv.weight.numel()
        if x.device.type != "cpu" or planes * each <= SLAB:
            out: Tensor = self.conv(x)
            return out
        whole: Tensor | None = None
        for (z,) in cover((planes,), (max(int(SLAB / each), 1),)):
            (read,) = grow((z,), 1, (planes,))
            inner = z.start > 0 and z.stop < planes
            made = self.slab(x[:, :, read]) if inner else self.conv(x[:, :, read])[:, :, z.start - read.start :][:, :, : z.stop - z.start]
            if whole is None:
                shape = (*made.shape[:2], planes, *made.shape[3:])
                whole = torch.empty(shape, dtype=made.dtype, memory_format=torch.channels_last_3d)
            whole[:, :, z] = made
        assert whole is not None
        return whole


def in_slabs(network: nn.Module) -> None:
    """Let the 3D convolutions of a network that keep the size run slab by slab."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if not isinstance(child, nn.Conv3d):
                continue
            if (child.kernel_size, child.padding, child.stride, child.dilation) == ((3,) * 3, (1,) * 3, (1,) * 3, (1,) * 3):
                setattr(module, name, SlabbedConv(child))


@torch.no_grad()
def for_painting(network: nn.Module) -> nn.Module:
    """Return a network that gives the same stains faster.

    The weights are shared with the original, which stays as it is; a network that is not one of ours is returned unchanged.
    """
    if network.training:
        raise ValueError("a network paints in eval mode only")
    if isinstance(network, UNet | UNetEnsemble):
        fused = _copy_sharing_weights(network)
        for module in fused.modules():
            if isinstance(module, nn.Sequential):
                for name, child in module.named_children():
                    if isinstance(child, NORMS):
                        setattr(module, name, InPlaceAffine(child))
        return fused
    if isinstance(network, FNet):
        fused = _copy_sharing_weights(network)
        for module in fused.modules():
            for conv, norm in (("conv1", "bn1"), ("conv2", "bn2"), ("conv_down", "bn0"), ("convt", "bn1")):
                if hasattr(module, conv) and isinstance(getattr(module, norm, None), NORMS):
                    layer = getattr(module, conv)
                    setattr(module, conv, fuse_conv_bn_eval(layer, getattr(module, norm), transpose=conv == "convt"))
                    setattr(module, norm, nn.Identity())
        assert isinstance(fused, FNet)
        first: Any = fused.net_recurse.sub_2conv_more
        if isinstance(first.conv1, nn.Conv3d) and first.conv1.in_channels < WideInput.channels:
            first.conv1 = WideInput(first.conv1)
        in_slabs(fused)
        return fused
    return network


def _copy_sharing_weights(network: nn.Module) -> nn.Module:
    """Copy the modules but not the tensors, ten times faster than deepcopy."""
    twin = network.__class__.__new__(network.__class__)
    twin.__dict__.update({name: value.copy() if isinstance(value, dict | set) else value for name, value in network.__dict__.items()})
    for name, child in network._modules.items():
        twin._modules[name] = None if child is None else _copy_sharing_weights(child)
    return twin
