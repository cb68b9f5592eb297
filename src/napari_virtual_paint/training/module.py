"""The Lightning module of a supervised run: patches in, weights and a running average of them out."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from napari_virtual_paint.networks.ensemble import UNetEnsemble
from napari_virtual_paint.training.config import TrainConfig
from napari_virtual_paint.training.config_network import Optimizer
from napari_virtual_paint.training.heldout import correlations
from napari_virtual_paint.training.pairs import Pair
from napari_virtual_paint.training.patches import Batch

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": lambda a, b: (a - b).abs(),
    "mse": lambda a, b: (a - b).square(),
}
"""Name of a loss -> the loss of each pixel."""


@dataclass(frozen=True)
class Epoch:
    """One line of a run's curve."""

    epoch: int
    step: int
    loss: float
    pcc: tuple[float, ...]
    """Of each stain on what is held out for validation; empty where nothing is."""

    @property
    def mean_pcc(self) -> float:
        """Mean over the stains that have one; minus infinity if none has."""
        good = [value for value in self.pcc if not math.isnan(value)]
        return sum(good) / len(good) if good else -math.inf


class PaintModule(lightning.LightningModule):  # type: ignore[misc]
    """A network trained pixel by pixel on patches; the best epoch is kept by the mean PCC on what is held out.

    Parameters
    ----------
    network
        Any network of the package's list.
    config
        Loss, optimizer and running average.
    validation
        The pairs with something held out; none if the last epoch is to be kept.
    steps, end
        Steps that the schedule of the learning rate is laid out for, and the step to end at.
    """

    def __init__(self, network: nn.Module, config: TrainConfig, validation: Sequence[Pair], steps: int, end: int) -> None:
        super().__init__()
        self.network, self.config, self.validation, self.steps = network, config, tuple(validation), steps
        self.end = end
        # The average is not a submodule: its weights are no parameters of the optimizer.
        self.average: list[nn.Module] = [copy.deepcopy(network).requires_grad_(False).eval()] if config.ema else []
        self.curve: list[Epoch] = []
        self.best: dict[str, Any] | None = None
        self.losses: list[Tensor] = []
        self.after_epoch: list[Callable[[PaintModule], None]] = []
        self.form = torch.channels_last_3d if network.dims == 3 else torch.channels_last

    @property
    def kept(self) -> nn.Module:
        """The network that is scored and saved: the running average if there is one."""
        return self.average[0] if self.average else self.network

    def on_train_start(self) -> None:
        """Bring the average to the network's device."""
        for average in self.average:
            average.to(self.device)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed dropout by the step, so that a resumed run draws what an uninterrupted one does."""
        torch.manual_seed(hash((self.config.seed, self.global_step)) % 2**63)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the mean loss over the pixels that may be trained on."""
        x = batch.x.contiguous(memory_format=self.form)
        # The members of an ensemble learn each for itself: a loss of their mean would let them lean on each other.
        painted = self.network.each(x) if isinstance(self.network, UNetEnsemble) else self.network(x)[None]
        loss = torch.stack([self._loss(member.float(), batch) for member in painted]).mean()
        self.losses.append(loss.detach())
        return loss

    def _loss(self, painted: Tensor, batch: Batch) -> Tensor:
        """Return the loss of one network's stains."""
        clip = self.config.normalize.target_clip
        truth = batch.y.clamp(-clip, clip) if clip else batch.y
        each = LOSSES[self.config.loss](painted, truth) * batch.weight
        loss: Tensor = each.sum() / (batch.weight.sum() * painted.shape[1]).clamp(min=1)
        tiles = self.config.data.tiles
        if tiles is not None and tiles.correlation:
            loss = loss + tiles.correlation * (1 - cell_correlation(painted, truth, batch.weight, tiles.size))
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Move the average, faster over the first steps, where the weights are still far from any good."""
        keep = min(self.config.ema, (1 + self.global_step) / (10 + self.global_step))
        for average in self.average:
            for mine, theirs in zip(average.state_dict().values(), self.network.state_dict().values(), strict=True):
                if mine.dtype.is_floating_point:
                    mine.lerp_(theirs, 1 - keep)
                else:
                    mine.copy_(theirs)

    def on_train_epoch_end(self) -> None:
        """Score what is held out, keep the weights if they are the best so far."""
        was_training = self.kept.training
        self.kept.eval()
        try:
            pcc = correlations(self.kept, self.validation, "validation", self.config.data.tiles, self.device) if self.validation else []
        finally:
            self.kept.train(was_training)
        loss = float(torch.stack(self.losses).mean())
        self.losses.clear()
        line = Epoch(len(self.curve), self.global_step, loss, tuple(pcc))
        better = self.best is None or not self.validation or self.config.keep == "last" or line.mean_pcc > self.best["pcc"]
        self.curve.append(line)
        if better:
            weights = {key: value.detach().cpu().clone() for key, value in self.kept.state_dict().items()}
            self.best = {"pcc": line.mean_pcc, "epoch": line.epoch, "step": line.step, "weights": weights}
        patience = self.config.patience
        if patience and self.validation and self.best is not None and line.epoch - self.best["epoch"] >= patience:
            self.trainer.should_stop = True
        for call in self.after_epoch:
            call(self)

    def configure_optimizers(self) -> Any:
        """Adam with the schedule of the configuration, a step at a time."""
        settings = self.config.optimizer
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.name]
        optimizer = kind(self.network.parameters(), lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay)
        course = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: share_of_rate(settings, step, self.steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": course, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the average, the curve, the best weights and whose run it is."""
        checkpoint["paint"] = {
            "fingerprint": self.config.fingerprint(),
            "average": [average.state_dict() for average in self.average],
            "curve": [asdict(line) for line in self.curve],
            "best": self.best,
            "finished": bool(self.trainer.should_stop) or self.global_step >= self.end,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take them back."""
        own = checkpoint["paint"]
        for average, weights in zip(self.average, own["average"], strict=True):
            average.load_state_dict(weights)
        self.curve = [Epoch(**{**line, "pcc": tuple(line["pcc"])}) for line in own["curve"]]
        self.best = own["best"]


def cell_correlation(painted: Tensor, truth: Tensor, weight: Tensor, size: int) -> Tensor:
    """Return the mean PCC of the whole places of a montage's grid, over cells and stains; (N, C, Y, X) each."""
    images, _, height, width = painted.shape

    def cut(x: Tensor) -> Tensor:
        places = x.reshape(images, -1, height // size, size, width // size, size).transpose(3, 4).flatten(2, 3).flatten(3)
        return places  # (N, C, places, pixels)

    a, b = (places - places.mean(-1, keepdim=True) for places in (cut(painted), cut(truth)))
    each = (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1) + 1e-6)
    whole = (cut(weight).amin(-1) > 0).float().expand_as(each)
    mean: Tensor = (each * whole).sum() / whole.sum().clamp(min=1)
    return mean


def share_of_rate(settings: Optimizer, step: int, steps: int) -> float:
    """Return the factor on the learning rate at a step."""
    if settings.schedule == "constant":
        return 1.0
    rise = max(1, steps // 10) if settings.schedule == "one_cycle" else 0
    if step < rise:
        return 0.04 + 0.96 * step / rise
    fall = min(1.0, (step - rise) / max(1, steps - rise))
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * fall))
