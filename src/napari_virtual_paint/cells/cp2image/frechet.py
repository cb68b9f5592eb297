"""Fréchet distance between generated and real crops (Heusel et al., 2017) in the code of a named network, and the distance of real ones."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.choices import FeatureNetworkName, values_of
from napari_virtual_paint.errors import InputError, ModelError
from napari_virtual_paint.runtime.progress import Progress

if TYPE_CHECKING:
    import torch
    from torch import nn

    from napari_virtual_paint.cells.cp2image.model import CellModel

INCEPTION = "pt_inception-2015-12-05-6726825d.pth"  # weights of the Inception network used for published distances
BATCH = 128
HALVINGS = 10
PERCENTILES = (0.5, 99.5)  # of real crops, for the gray levels that are 0 and 1 to Inception


@dataclass(frozen=True, eq=False)
class FeatureNetwork:
    """A network whose code the distance is computed in."""

    name: str  # name in the report
    network: nn.Module  # crops (N, C, d, d) on the scale 0 to 1 -> code (N, k)
    colour: bool = False  # whether it takes three colors: channels are then scored one by one and averaged
    low: npt.NDArray[np.float32] | None = None
    high: npt.NDArray[np.float32] | None = None
    """`low` and `high`: (C,), gray levels that are 0 and 1 to it; percentiles of the real crops where None."""

    def scale(self, real: npt.NDArray[np.floating]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return the gray levels (C, 1, 1) that are 0 and 1, and their difference."""
        low, high = (self.low, self.high) if self.low is not None and self.high is not None else np.percentile(real, PERCENTILES, (0, 2, 3))
        low, span = np.asarray(low, np.float32), np.maximum(np.asarray(high, np.float32) - np.asarray(low, np.float32), 1e-6)
        return low[:, None, None], span[:, None, None]


@dataclass(frozen=True, eq=False)
class HalvedDistance:
    """Fréchet distance of generated from real crops, and of real ones from other real ones, at the same number of crops."""

    drawn: float
    floor: float
    cells: int  # in each of the two sets that were compared
    parts: npt.NDArray[np.float64]  # (HALVINGS, 2), `drawn` and `floor` of each halving


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
        ``inception``; ``cells`` (that of the model's package, trained on real cells of its training set only, never on generated ones);
        ``auto``: Inception if its weights are on disk, else that of the package; or the id or path of another model of the same channels
        and size, whose network is taken, so that both are judged by one.

    Raises
    ------
    InputError
        If the requested network is not available.
    """
    kinds = values_of(FeatureNetworkName)
    weights = inception_weights() if name in ("auto", "inception") else None
    if weights is not None:
        return FeatureNetwork("Inception v3 (2015-12-05), each channel as gray, mean over channels", _inception(weights), True)
    if name == "inception":
        raise InputError(f"Inception needs torch-fidelity and the file {INCEPTION} in torch's folder of checkpoints; choose cells instead.")
    owner = model if name in kinds else _other_model(model, name)
    if owner.reader is None:
        raise InputError(f"{owner.id}: the package has no feature network; choose inception.")
    part = owner.parts["reader"]
    low, high = owner.reader_scale
    return FeatureNetwork(
        f"CropReader {str(part.get('sha256'))[:8]} of {owner.id}: trained to read features off real cells of its training set",
        owner.reader,
        low=low,
        high=high,
    )


def _other_model(model: CellModel, name: str) -> CellModel:
    """Return the model whose network is to judge another."""
    from napari_virtual_paint.cells.cp2image.model import open_cell_model

    try:
        other = open_cell_model(name)
    except ModelError as error:
        kinds = ", ".join(values_of(FeatureNetworkName))
        raise InputError(f"There is no feature network {name!r}; choose one of {kinds}, or a cell model. {error}") from error
    if (other.channels, other.size) != (model.channels, model.size):
        raise InputError(
            f"--network {name}: its network reads {', '.join(other.channels)} in crops of {other.size} px, not {', '.join(model.channels)} "
            f"of {model.size} px as {model.id} draws; choose cells."
        )
    return other


def frechet(network: FeatureNetwork, real: npt.NDArray[np.float32], drawn: npt.NDArray[np.float32]) -> float:
    """Return the Fréchet distance of two sets of crops; lower is closer.

    Parameters
    ----------
    network
        Network of the code.
    real, drawn
        (n, C, d, d) and (m, C, d, d) in gray levels.

    Raises
    ------
    InputError
        If a set has fewer than two crops.
    """
    if min(len(real), len(drawn)) < 2:
        raise InputError("The Fréchet distance needs two crops or more of each kind.")
    low, span = network.scale(real)
    sets = [next(each for each in codes(network, (crops - low) / span) if not isinstance(each, Progress)) for crops in (real, drawn)]
    return float(np.mean([code_distance(a, b) for a, b in zip(*sets, strict=True)]))


def halved_frechet(
    network: FeatureNetwork, real: npt.NDArray[np.float32], drawn: npt.NDArray[np.float32], seed: int = 0
) -> Iterator[Progress | HalvedDistance]:
    """Compare generated crops with real ones of other cells, and real ones with each other, at the same number of crops.

    The distance of two finite samples is biased upwards, the more the fewer they are, and crops of the same cells are no independent
    samples. The cells are therefore divided into two halves at random; the real crops of one are compared with the generated and with the
    real ones of the other. Both have the same bias: crops like real ones have the distance of the floor. The mean over
    `HALVINGS` halvings, each taken both ways round, is returned.

    Parameters
    ----------
    network
        Network of the code.
    real, drawn
        (n, C, d, d) in gray levels, crop i of both of the same cell; four or more.
    seed
        Seed of the halvings.

    Yields
    ------
    Progress
        After each batch.
    HalvedDistance
        Last.
    """
    low, span = network.scale(real)
    found = []
    for part, crops in enumerate((real, drawn)):
        for item in codes(network, (crops - low) / span):
            if isinstance(item, Progress):
                yield Progress(0.5 * (part + item.fraction), 1)
            else:
                found.append(item)
    rng, half = np.random.default_rng([seed, 0xF1D]), len(real) // 2
    parts = np.zeros((HALVINGS, 2))
    for each in range(HALVINGS):
        order = rng.permutation(len(real))
        a, b = order[:half], order[half : 2 * half]
        for truth, made in zip(*found, strict=True):
            parts[each, 0] += (code_distance(truth[a], made[b]) + code_distance(truth[b], made[a])) / 2
            parts[each, 1] += code_distance(truth[a], truth[b])
    parts /= len(found[0])
    yield HalvedDistance(float(parts[:, 0].mean()), float(parts[:, 1].mean()), half, parts)


def codes(network: FeatureNetwork, crops: npt.NDArray[np.float32]) -> Iterator[Progress | list[npt.NDArray[np.float64]]]:
    """Yield `Progress` for each batch; last the code (n, k) of crops on the network's scale, one for each channel if it takes colors."""
    import torch

    planes = [crops[:, [channel] * 3] for channel in range(crops.shape[1])] if network.colour else [crops]
    found = []
    for number, plane in enumerate(planes):
        each = []
        for start in range(0, len(plane), BATCH):
            with torch.inference_mode():
                each.append(network.network(torch.from_numpy(np.ascontiguousarray(plane[start : start + BATCH], np.float32))).numpy())
            yield Progress(number * len(plane) + start + len(each[-1]), len(planes) * len(plane))
        found.append(np.concatenate(each).astype(np.float64))
    yield found


def code_distance(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    """Return the Fréchet distance of the normal distributions fitted to two samples, (n, k) and (m, k) (Dowson and Landau, 1982).

    The trace of the root of the product of two covariances is the nuclear norm of the product of their factors, which is exact for
    samples smaller than the code, too.
    """
    factors = [np.linalg.qr(sample - sample.mean(axis=0), mode="r") / np.sqrt(len(sample) - 1) for sample in (a, b)]
    root = np.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum()
    apart = np.square(a.mean(axis=0) - b.mean(axis=0)).sum()
    return float(max(0.0, apart + np.square(factors[0]).sum() + np.square(factors[1]).sum() - 2 * root))


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
    features: torch.Tensor, crops: torch.Tensor, steps: int = 400, batch: int = 64, seed: int = 1
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
