"""The networks, one file per architecture with a frozen config and an `nn.Module`; and the allow-list that packages may name.

Importing this module does not import torch; `build` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

ARCHITECTURES = {
    "UNet": "napari_virtual_paint.networks.unet",
    "UNetEnsemble": "napari_virtual_paint.networks.ensemble",
    "FNet": "napari_virtual_paint.networks.fnet",
    "Pix2PixHD": "napari_virtual_paint.networks.pix2pixhd",
    "UNeXt2": "napari_virtual_paint.networks.unext2",
}
"""Name of a network -> the module it lives in. Nothing outside this list is ever built from a package."""


def build(architecture: str, config: dict[str, Any]) -> nn.Module:
    """Build a network with fresh weights.

    Parameters
    ----------
    architecture
        A name in `ARCHITECTURES`.
    config
        The network's settings: the fields of its frozen config.

    Raises
    ------
    KeyError
        If the architecture is not on the allow-list.
    TypeError, ValueError
        If a setting is unknown or out of range.
    """
    import importlib

    module = importlib.import_module(ARCHITECTURES[architecture])
    network: nn.Module = getattr(module, architecture)(**config)
    return network
