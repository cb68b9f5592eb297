"""Fréchet distance between generated and real crops (Heusel et al., 2017), in the code of a named, exchangeable network."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.choices import FeatureNetworkName, values_of
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.extras import check_installed
from napari_virtual_paint.runtime.progress import Progress

if TYPE_CHECKING:
    import torch
    from torch import nn

    from napari_virtual_paint.cells.cp2image.model import CellModel

INCEPTION = "pt_inception-2015-12-05-6726825d.pth"  # weights of the Inception network used for published distances
BATCH = 128


@dataclass(frozen=True, eq=False)
class FeatureNetwork:
    """A network whose code the distance is computed in."""

    name: str  # name in the report
    network: nn.Module  # crops (N, C, d, d) on the scale 0 to 1 -> code (N, k)
    colour: bool = False  # whether it takes three colors: channels are then scored one by one and averaged


def inception_weights() -> Path | None:
    """Return the path of Inception's weights, None where they or torch-fidelity are missing. Nothing is downloaded."""
    if importlib.util.find_spec("torch_fidelity") is None:
        return None
    import torch

    path = Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION
    return path if path.is_file() else None


def choose_feature_network(model: CellModel, name: str = "auto") -> FeatureNetwork:
    """Return the network for a model's distance.

    Parameters
    ----------
    name
        ``inception``, ``cells`` (the model's own, trained on its training cells only, never on generated ones), or ``auto``: Inception
        if its weights are on disk, else the model's own.

    Raises
    ------
    InputError
        If the requested network is not available.
    """
    if name not in values_of(FeatureNetworkName):
        raise InputError(f"There is no feature network {name!r}; choose one of {', '.join(values_of(FeatureNetworkName))}.")
    weights = inception_weights() if name != "cells" else None
    if weights is not None:
        return FeatureNetwork("Inception v3 (2015-12-05), each channel as gray, mean over channels", _inception(weights), True)
    if name == "inception":
        raise InputError(f"Inception needs torch-fidelity and the file {INCEPTION} in torch's folder of checkpoints; choose cells instead.")
    if model.reader is None:
        raise InputError(f"{model.id}: the package has no feature network; choose inception.")
    return FeatureNetwork(
        f"CropReader of {model.id}: 4 convolutions, trained to read the features off the model's training cells", model.reader
    )


def frechet(network: FeatureNetwork, real: npt.NDArray[np.float32], drawn: npt.NDArray[np.float32]) -> float:
    """Return the Fréchet distance of two sets of crops; lower is closer.

    Parameters
    ----------
    real, drawn
        (n, C, d, d) each, on the network's scale.

    Raises
    ------
    InputError
        If torchmetrics is missing, or a set has fewer than two crops.
    """
    check_installed("torchmetrics", extra="train", purpose="The Fréchet distance")
    if min(len(real), len(drawn)) < 2:
        raise InputError("The Fréchet distance needs two crops or more of each kind.")
    if network.colour:
        each = [_distance(network.network, real[:, [c] * 3], drawn[:, [c] * 3]) for c in range(real.shape[1])]
        return float(np.mean(each))
    return _distance(network.network, real, drawn)


def _distance(network: nn.Module, real: npt.NDArray[np.float32], drawn: npt.NDArray[np.float32]) -> float:
    import torch
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=network, input_img_size=tuple(real.shape[1:]), normalize=True)
    with torch.inference_mode():
        for crops, kind in ((real, True), (drawn, False)):
            for start in range(0, len(crops), BATCH):
                metric.update(torch.from_numpy(np.ascontiguousarray(crops[start : start + BATCH], np.float32)), real=kind)
        return float(metric.compute())


def _inception(weights: Path) -> nn.Module:
    """Return Inception v3 up to its last pooling, for crops on the scale 0 to 1."""
    from torch import nn
    from torchmetrics.image.fid import NoTrainInceptionV3

    class Inception(nn.Module):
        """Convert to bytes, then apply the network."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = NoTrainInceptionV3(name="inception-v3-compat", features_list=["2048"], feature_extractor_weights_path=str(weights))

        def forward(self, crops: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.inner((crops.float().clamp(0, 1) * 255).byte())
            return out

    return Inception().eval()


def train_reader(
    features: torch.Tensor, crops: torch.Tensor, steps: int = 400, batch: int = 64, seed: int = 0
) -> Iterator[Progress | nn.Module]:
    """Train the small network of the Fréchet distance to predict standardized features from real crops.

    Parameters
    ----------
    features, crops
        (n, p) and (n, C, d, d) on the network's scale.

    Yields
    ------
    Progress
        After each step.
    nn.Module
        Last; in eval mode.
    """
    import torch

    from napari_virtual_paint.networks.cellpainter import CropReader, frozen

    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 0xF1D])
    network = CropReader(features.shape[1], crops.shape[1], crops.shape[2])
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for step in range(1, steps + 1):
        rows = torch.from_numpy(rng.integers(0, len(features), batch))
        loss = torch.nn.functional.smooth_l1_loss(network.read(crops[rows]), features[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        yield Progress(step, steps)
    yield frozen(network)
