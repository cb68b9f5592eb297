"""Train a ContourPainter with its critic: real cells in their own outlines, and cells that do not exist in drawn ones."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_virtual_paint.cells.cp2image.config import CellTrainConfig
from napari_virtual_paint.cells.cp2image.counterfactuals import Counterfactuals
from napari_virtual_paint.cells.cp2image.handles import fit_handles
from napari_virtual_paint.cells.cp2image.model import build
from napari_virtual_paint.cells.cp2image.module import Tensors, TrainingRun, hidden_in_part, move_average, share_of_rate
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.networks.contour_painter import LIMIT, ContourCritic, ContourPainter
from napari_virtual_paint.networks.outlines import Outlines

EVERY = 8  # steps between two penalties of the critic's gradient, each as many times as heavy
FEATURES = 128  # number of features from which on the first layers learn more slowly, in proportion
READER = 0.5  # the reader's learning rate, as a share of the judge's
KERNEL = 3.0  # standard deviations that a blur's kernel reaches
FIELDS = ("pixel", "hidden", "reading", "outline", "spectrum", "adversarial", "critic")


@dataclass(eq=False)
class ContourTraining(TrainingRun[ContourPainter]):
    """Training state: network, critic and step."""

    config: CellTrainConfig
    generator: ContourPainter
    critic: ContourCritic
    counterfactuals: Counterfactuals
    step: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        settings = self.config.optimizer
        self.average = copy.deepcopy(self.generator).requires_grad_(False) if self.config.ema else None
        both: dict[str, Any] = {"betas": settings.betas, "weight_decay": settings.weight_decay}
        # A step of Adam moves every weight alike: with thousands of features the first layers would leap.
        wide = {id(each) for each in self.generator.first_layers()}
        first = [each for each in self.generator.parameters() if id(each) in wide]
        others = [each for each in self.generator.parameters() if id(each) not in wide]
        self.slower = min(1.0, FEATURES / self.generator.config.features)
        self.generator_optimizer = torch.optim.AdamW([{"params": others}, {"params": first}], lr=settings.lr, **both)
        reading = [*self.critic.reading.parameters(), *self.critic.reader.parameters()]
        known = {id(each) for each in reading}
        judging = [each for each in self.critic.parameters() if id(each) not in known]
        self.discriminator_optimizer = torch.optim.AdamW([{"params": judging}, {"params": reading}], lr=settings.critic_lr, **both)
        self.sums: dict[str, float] = dict.fromkeys(FIELDS, 0.0)
        self.handles = self.generator.handle_columns[::2][self.generator.handle_known > 0]

    @classmethod
    def start(cls, config: CellTrainConfig, names: Sequence[str], data: Tensors) -> ContourTraining:
        """Return the initial state, with weights drawn from the seed and handles fitted to the cells.

        Raises `InputError` if the networks' settings don't fit.
        """
        assert data.outlines is not None
        torch.manual_seed(config.seed)
        settings = {"features": len(names), "channels": len(config.data.channels), "size": config.data.size}
        built: list[Any] = []
        for name, part in (("generator", config.generator), ("critic", config.critic)):
            try:
                built.append(build(part.architecture, {**part.config, **settings}))
            except (TypeError, ValueError) as error:
                raise InputError(f"{name}.config: {str(error).rstrip('.')}.") from error
        network, critic = (each.to(memory_format=torch.channels_last) for each in built)  # a sixth faster on a CPU
        fit_handles(network, names, config.data.channels, data.features, data.crops, data.outlines, data.nuclei)
        turn = bool(network.config.turn)
        return cls(config, network, critic, Counterfactuals.of(data.features, turn, config.features.clip))

    def update(self, data: Tensors) -> None:
        """Update network and critic on one batch; randomness depends on the seed and the step alone."""
        config, network = self.config, self.generator
        assert data.outlines is not None
        rng = np.random.default_rng([config.seed, self.step])
        torch.manual_seed(int(rng.integers(2**62)))
        rows = torch.from_numpy(rng.integers(0, len(data), config.batch))
        symmetry = int(rng.integers(8)) if data.augmented else 0
        features, crops = data.shown(symmetry, rows)
        outlines = data.outlines.rows(rows).turned(symmetry % 4, symmetry >= 4)
        rate = share_of_rate(config.optimizer, self.step, config.steps)
        for group, factor in zip(self.generator_optimizer.param_groups, (1.0, self.slower), strict=True):
            group["lr"] = config.optimizer.lr * rate * factor
        for group, factor in zip(self.discriminator_optimizer.param_groups, (1.0, READER), strict=True):
            group["lr"] = config.optimizer.critic_lr * rate * factor
        # The first cells of a batch are drawn as they are, in their own outlines; the others in what they might have been.
        moved = round(config.loss.moved * config.batch)
        paired = config.batch - moved
        noise = torch.randn(config.batch, network.noise)
        asked = torch.cat([features[:paired], self.counterfactuals.drawn(features[paired:], self.handles, rng)])
        shown = hidden_in_part(asked, config.features.drop, 2 * network.config.turn)
        with torch.no_grad():
            invented = network.outlines(asked[paired:], noise[paired:], shown[paired:])
        drawn_in = outlines.rows(torch.arange(paired)).joined(invented)
        drawn = network.paint(asked, drawn_in, noise, shown)
        masks, real_masks = (torch.stack(each.masks(crops.shape[-1]), 1) for each in (drawn_in, outlines))
        self._update_generator(drawn, masks, asked, crops[:paired], shown[:paired], outlines.rows(torch.arange(paired)))
        self._update_critic(drawn.detach(), masks, crops, real_masks, features)
        self.step += 1
        if self.average is not None:
            move_average(self.average, network, min(config.ema, (1 + self.step) / (10 + self.step)))

    def _update_generator(self, drawn: Tensor, masks: Tensor, asked: Tensor, crops: Tensor, shown: Tensor, outlines: Outlines) -> None:
        """Update the network by pixels, layers and outlines of the real cells, and by reading, spectrum and the judge for all."""
        loss, paired = self.config.loss, len(crops)
        self.critic.requires_grad_(False)
        reading, layers = self.critic.read(drawn)
        with torch.no_grad():
            _, truth = self.critic.read(crops)
        parts = {
            "pixel": (blurred(drawn[:paired], loss.blur) - blurred(crops, loss.blur)).square().mean(),
            "hidden": torch.stack([(a[:paired] - b).square().mean() for a, b in zip(layers, truth, strict=True)]).sum(),
            "reading": nn.functional.smooth_l1_loss(reading, asked.clamp(-LIMIT, LIMIT)),
            "outline": outline_loss(self.generator, shown, outlines),
            "spectrum": (log_spectrum(drawn[:paired]) - log_spectrum(crops)).square().mean(),
            "adversarial": entropy(self.critic.judge(drawn, masks), real=True),
        }
        weights = {
            "pixel": loss.pixel_weight,
            "hidden": loss.hidden,
            "reading": loss.reading,
            "outline": 0.1,
            "spectrum": loss.spectrum,
            "adversarial": loss.adversarial,
        }
        total = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
        for name, part in parts.items():
            self.sums[name] += float(part.detach())
        self.critic.requires_grad_(True)
        self.generator_optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        if self.config.optimizer.clip:
            nn.utils.clip_grad_norm_(self.generator.parameters(), self.config.optimizer.clip)
        self.generator_optimizer.step()

    def _update_critic(self, drawn: Tensor, masks: Tensor, real: Tensor, real_masks: Tensor, features: Tensor) -> None:
        """Update the critic: real against drawn, and the features of real cells."""
        penalized = bool(self.config.loss.penalty) and self.step % EVERY == 0
        seen = real.clone().requires_grad_() if penalized else real
        logits = self.critic.judge(seen, real_masks)
        judged = entropy(logits, real=True) + entropy(self.critic.judge(drawn, masks), real=False)
        self.sums["critic"] += float(judged.detach())
        total = judged + nn.functional.mse_loss(self.critic.read(real)[0], features.clamp(-LIMIT, LIMIT))
        if penalized:
            whole = torch.stack([each.mean(1).sum() for each in logits]).sum()
            (slope,) = torch.autograd.grad(whole, seen, create_graph=True)
            total = total + 0.5 * EVERY * self.config.loss.penalty * slope.square().sum((1, 2, 3)).mean()
        self.discriminator_optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        self.discriminator_optimizer.step()


def entropy(logits: tuple[Tensor, Tensor], real: bool) -> Tensor:
    """Return the mean cross entropy of a critic's logits, each place of a map judged by itself."""
    return torch.stack([nn.functional.softplus(-each if real else each).mean() for each in logits]).mean()


def outline_loss(network: ContourPainter, features: Tensor, outlines: Outlines) -> Tensor:
    """Return the mean negative log likelihood of outlines under those that the network expects (a normal distribution of each number)."""
    values = torch.cat([outlines.shape, torch.stack([outlines.nucleus, outlines.cytoplasm], 1).log(), outlines.centre], 1)
    target = ((values - network.outline_mean) / network.outline_spread).clamp(-5, 5)
    mean, spread = network.expected_outline(features)
    return (0.5 * ((target - mean) / spread.exp()).square() + spread).mean()


def blurred(crops: Tensor, sigma: float) -> Tensor:
    """Return crops (N, C, d, d) blurred by a Gaussian; unchanged for 0."""
    if not sigma:
        return crops
    reach = int(np.ceil(KERNEL * sigma))
    line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma).square())
    line = (line / line.sum()).expand(crops.shape[1], 1, 1, -1)
    out = nn.functional.pad(crops, (reach,) * 4, mode="replicate")
    out = nn.functional.conv2d(out, line, groups=crops.shape[1])
    return nn.functional.conv2d(out, line.transpose(2, 3), groups=crops.shape[1])


def log_spectrum(crops: Tensor) -> Tensor:
    """Return the logarithm of the radial power spectrum (C, d // 2) of crops (N, C, d, d), mean over the crops.

    Each crop loses its mean and is weighted by a Hann window, or its edges would spread over all frequencies.
    """
    side = crops.shape[-1]
    window = torch.hann_window(side + 2, periodic=False)[1:-1]
    window = window[:, None] * window
    centered = crops - (crops * window).sum((2, 3), keepdim=True) / window.sum()
    power = torch.fft.rfft2(centered * window).abs().square().mean(0)
    frequency = torch.hypot(torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)[None])
    rings = (frequency * side).round().long().clamp(max=side // 2 + 1).flatten()  # the last ring is that of the corners
    ones = torch.zeros(side // 2 + 2).index_add(0, rings, torch.ones(len(rings)))
    sums = torch.zeros(len(power), side // 2 + 2).index_add(1, rings, power.flatten(1))
    return (sums / ones)[:, 1:-1].add(1e-8).log()


__all__ = ["ContourTraining", "blurred", "log_spectrum", "outline_loss"]
