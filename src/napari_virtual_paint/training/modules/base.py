"""The base Lightning module of a run, and the pixel-wise module."""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.networks.ensemble import UNetEnsemble
from napari_virtual_paint.training.config.network import Optimizer
from napari_virtual_paint.training.config.run import TrainConfig
from napari_virtual_paint.training.data.pairs import DataSet
from napari_virtual_paint.training.data.patches import PatchBatch
from napari_virtual_paint.training.modules.losses import cell_correlation, pixel_loss
from napari_virtual_paint.training.validation import SCORES


@dataclass(frozen=True)
class Epoch:
    """Record of one epoch."""

    epoch: int
    step: int
    loss: float  # mean over the epoch's steps; L1 per pixel for a GAN
    scores: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """PCC, and the metric that selects the epoch: values per stain on the validation part; empty where there is none."""
    more: tuple[tuple[str, float], ...] = ()  # name and mean of further quantities, such as a discriminator's loss

    @property
    def pcc(self) -> tuple[float, ...]:
        """PCC per stain; empty without validation."""
        return self.scores.get("pcc", ())

    @property
    def mean_pcc(self) -> float:
        """Mean of the PCC over the stains that have a value; minus infinity if none has."""
        return self.mean("pcc")

    def mean(self, metric: str) -> float:
        """Return the mean of a metric over the stains that have a value; minus infinity if none has."""
        return _mean(self.scores.get(metric, ()))


def _position(name: str, stains: Sequence[str]) -> int:
    if name not in stains:
        raise InputError(f"monitor_stains: there is no stain {name!r}; there are {', '.join(stains)}.")
    return list(stains).index(name)


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else -math.inf


class PaintModule(lightning.LightningModule):  # type: ignore[misc]
    """Common part of all objectives: running average, curve, best epoch, checkpoint, and the share of each process in a batch.

    Parameters
    ----------
    network
        A network of `networks.ARCHITECTURES`.
    config
        Objective, optimizer and running average.
    data
        Pairs with a validation part select the epoch; without any the last epoch is kept.
    end
        The last step; the learning-rate schedule spans all steps of the configuration.
    """

    def __init__(self, network: nn.Module, config: TrainConfig, data: DataSet, end: int) -> None:
        super().__init__()
        self.network, self.config, self.end = network, config, end
        self.validation, self.stains = data.holding("validation"), data.stains
        self.watched = [_position(name, data.stains) for name in config.monitor_stains or data.stains]
        # The average is not a submodule: its weights are not parameters of the optimizer.
        self.average: list[nn.Module] = [copy.deepcopy(network).requires_grad_(False).eval()] if config.ema else []
        self.curve: list[Epoch] = []
        self.best: dict[str, Any] | None = None
        self.done = 0
        self.losses: list[Tensor] = []
        self.more: dict[str, list[Tensor]] = {}
        self.total: Tensor | None = None
        self.after_epoch: list[Callable[[PaintModule], None]] = []
        self.form = torch.channels_last_3d if network.dims == 3 else torch.channels_last

    @property
    def final_network(self) -> nn.Module:
        """The network that is scored and saved: the running average if there is one."""
        return self.average[0] if self.average else self.network

    @property
    def moves(self) -> int:
        """Number of updates of the network; `done` counts steps."""
        return self.done

    @abstractmethod
    def training_step(self, batch: PatchBatch, batch_idx: int) -> Any:
        """Take one step and count it in `done`."""

    def on_train_start(self) -> None:
        """Move the average to the network's device."""
        for average in self.average:
            average.to(self.device)

    def on_before_batch_transfer(self, batch: PatchBatch, dataloader_idx: int) -> PatchBatch:
        """Return this process's share of the step's patches; together the processes see what one alone would."""
        processes = self.trainer.world_size
        if processes == 1:
            return batch
        # Each divides by its share of all weights, so that the mean of the processes' gradients is the gradient of one.
        self.total = batch.weight.sum() / processes
        return PatchBatch(*(item[self.global_rank :: processes] for item in batch))

    def on_train_batch_start(self, batch: PatchBatch, batch_idx: int) -> None:
        """Seed dropout by the step, so that a resumed run draws the same as an uninterrupted one."""
        own = (self.config.seed, self.done, self.global_rank) if self.global_rank else (self.config.seed, self.done)
        torch.manual_seed(hash(own) % 2**63)

    def truth(self, batch: PatchBatch) -> Tensor:
        """Return the target as the loss takes it."""
        clip = self.config.normalize.target_clip
        return batch.y.clamp(-clip, clip) if clip else batch.y

    def pixel_loss(self, painted: Tensor, batch: PatchBatch, name: str) -> Tensor:
        """Return the mean loss over the pixels that may be trained on."""
        total = None if self.total is None else self.total.to(self.device)
        return pixel_loss(painted, self.truth(batch), batch.weight, name, total)

    def on_train_batch_end(self, outputs: Any, batch: PatchBatch, batch_idx: int) -> None:
        """Update the running average."""
        self.move_average()

    def move_average(self) -> None:
        """Update the average, faster during the first steps, whose weights are still poor."""
        keep = min(self.config.ema, (1 + self.moves) / (10 + self.moves))
        for average in self.average:
            for running, current in zip(average.state_dict().values(), self.network.state_dict().values(), strict=True):
                if running.dtype.is_floating_point:
                    running.lerp_(current, 1 - keep)
                else:
                    running.copy_(current)

    def on_train_epoch_end(self) -> None:
        """Score the validation part, and keep the weights if they are the best so far."""
        strategy = self.trainer.strategy
        means = {name: strategy.reduce(torch.stack(values).mean(), reduce_op="mean") for name, values in self._followed().items()}
        self.losses.clear()
        self.more.clear()
        # One process scores, and all use its numbers: two that stop at different epochs would wait for each other forever.
        line: Epoch = strategy.broadcast(self._line({name: float(value) for name, value in means.items()}))
        score = self._score(line)
        better = self.best is None or not self.validation or self.config.keep == "last" or score > self.best["score"]
        self.curve.append(line)
        if better:
            weights = {key: value.detach().cpu().clone() for key, value in self.final_network.state_dict().items()}
            self.best = {"score": score, "epoch": line.epoch, "step": line.step, "weights": weights}
        patience = self.config.patience
        if patience and self.validation and self.best is not None and line.epoch - self.best["epoch"] >= patience:
            self.trainer.should_stop = True
        for call in self.after_epoch:
            call(self)

    def _followed(self) -> dict[str, list[Tensor]]:
        return {"loss": self.losses, **self.more}

    def _line(self, means: dict[str, float]) -> Epoch | None:
        """Return the epoch's record; None in all processes but the first."""
        if not self.trainer.is_global_zero:
            return None
        more = tuple((name, value) for name, value in means.items() if name != "loss")
        return Epoch(len(self.curve), self.done, means["loss"], self._validate(), more)

    def _validate(self) -> dict[str, tuple[float, ...]]:
        """Return PCC and the monitored metric of each stain."""
        if not self.validation:
            return {}
        was_training = self.final_network.training
        self.final_network.eval()
        try:
            metrics = [name for name in SCORES if name in ("pcc", self.config.monitor)]
            tiles = self.config.data.tiles
            return {name: tuple(SCORES[name](self.final_network, self.validation, "validation", tiles, self.device)) for name in metrics}
        finally:
            self.final_network.train(was_training)

    def _score(self, line: Epoch) -> float:
        """Return the value that ranks epochs: a stain painted as one value counts as 0, since left out it would raise the mean."""
        values = line.scores.get(self.config.monitor, ())
        watched = [values[index] for index in self.watched] if values else []
        defined = [value for value in watched if not math.isnan(value)]
        return sum(defined) / len(watched) if defined else -math.inf

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the average, the curve, the best weights and the fingerprint of the run."""
        checkpoint["paint"] = {
            "fingerprint": self.config.fingerprint(),
            "average": [average.state_dict() for average in self.average],
            "curve": [_plain(line) for line in self.curve],
            "best": self.best,
            "done": self.done,
            "finished": bool(self.trainer.should_stop) or self.done >= self.end,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore what `on_save_checkpoint` added."""
        own = checkpoint["paint"]
        for average, weights in zip(self.average, own["average"], strict=True):
            average.load_state_dict(weights)
        self.curve = [_epoch(line) for line in own["curve"]]
        # Runs started before there were other scores have only the PCC.
        self.best = own["best"] and {"score": own["best"].get("pcc"), **own["best"]}
        self.done = int(own.get("done", self.curve[-1].step if self.curve else 0))


class PixelModule(PaintModule):
    """Train a network pixel by pixel on patches, by L1 or mean squared error."""

    def training_step(self, batch: PatchBatch, batch_idx: int) -> Tensor:
        """Return the mean loss over the pixels that may be trained on."""
        x = batch.x.contiguous(memory_format=self.form)
        # Members of an ensemble are trained separately: a loss of their mean would let them depend on each other.
        painted = self.network.each(x) if isinstance(self.network, UNetEnsemble) else self.network(x)[None]
        loss = torch.stack([self._loss(member.float(), batch) for member in painted]).mean()
        self.losses.append(loss.detach())
        self.done += 1
        return loss

    def _loss(self, painted: Tensor, batch: PatchBatch) -> Tensor:
        """Return the loss of one network's stains."""
        loss = self.pixel_loss(painted, batch, self.config.loss)
        tiles = self.config.data.tiles
        if tiles is not None and tiles.correlation:
            loss = loss + tiles.correlation * (1 - cell_correlation(painted, self.truth(batch), batch.weight, tiles.size))
        return loss

    def configure_optimizers(self) -> Any:
        """Take one Adam step on the configured schedule."""
        settings, steps = self.config.optimizer, self.config.steps
        optimizer = make_optimizer(settings, self.network)
        course = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: share_of_rate(settings, step, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": course, "interval": "step"}}


def _plain(line: Epoch) -> dict[str, Any]:
    """Return an epoch as plain values, with an entry for each metric."""
    scores = {name: line.scores.get(name, ()) for name in SCORES}
    return {"epoch": line.epoch, "step": line.step, "loss": line.loss, **scores, "more": line.more}


def _epoch(line: dict[str, Any]) -> Epoch:
    """Convert a stored record of the curve."""
    more = tuple((name, float(value)) for name, value in line.get("more", ()))
    scores = {name: tuple(line[name]) for name in SCORES if line.get(name)}
    return Epoch(line["epoch"], line["step"], line["loss"], scores, more)


def make_optimizer(settings: Optimizer, network: nn.Module) -> torch.optim.Optimizer:
    """Return the optimizer of a network at its full rate."""
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.name]
    optimizer: torch.optim.Optimizer = kind(network.parameters(), lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay)
    return optimizer


def share_of_rate(settings: Optimizer, step: int, steps: int) -> float:
    """Return the factor on the learning rate at a step."""
    if settings.schedule == "constant":
        return 1.0
    if settings.schedule == "linear":
        half = steps // 2
        return 1.0 if step < half else max(0.0, (steps - step) / max(1, steps - half))
    rise = max(1, steps // 10) if settings.schedule == "one_cycle" else 0
    if step < rise:
        return 0.04 + 0.96 * step / rise
    fall = min(1.0, (step - rise) / max(1, steps - rise))
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * fall))
