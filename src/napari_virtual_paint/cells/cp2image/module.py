"""Train a generator of cells, alternating with its discriminator; seeded and resumable."""

from __future__ import annotations

import copy
import csv
import io
import math
import pickle
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from napari_virtual_paint.cells.cp2image.config import Adam, CellTrainConfig, Loss
from napari_virtual_paint.cells.cp2image.model import build
from napari_virtual_paint.device import torch_threads
from napari_virtual_paint.errors import InputError, WriteError
from napari_virtual_paint.networks.cp2image import DiscriminatorOutput
from napari_virtual_paint.networks.outlines import Outlines
from napari_virtual_paint.runtime.atomic_write import updating, write_text
from napari_virtual_paint.runtime.progress import Progress

CHECKPOINT = "last.ckpt"
CURVE = "curve.csv"
FIELDS = ("pixel", "hidden", "reading", "critic")
BATCH = 128


@dataclass(frozen=True, eq=False)
class Tensors:
    """Training data of a generator."""

    features: Tensor  # standardized, (n, p)
    crops: Tensor  # on the network's scale, (n, C, d, d)
    augmented: tuple[Tensor, ...] = ()
    """Features (n, p) of the cells rotated by 0, 1, 2 and 3 quarter turns, and of the mirrored cells rotated likewise; empty for no
    augmentation."""
    outlines: Outlines | None = None
    """Outlines of the n cells, for a network that takes them."""
    nuclei: Tensor | None = None
    """Pixels of the nuclei (n, d, d), as they were segmented; by default those within the outlines."""

    def __len__(self) -> int:
        return len(self.features)

    def shown(self, symmetry: int, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and crops of some cells, augmented by one of eight rotations and reflections if wanted."""
        crops = self.crops[rows]
        if not self.augmented:
            return self.features[rows], crops
        crops = crops.flip(3) if symmetry >= 4 else crops
        return self.augmented[symmetry][rows], torch.rot90(crops, symmetry % 4, (2, 3)).contiguous()


Network = TypeVar("Network", bound=nn.Module)


class TrainingRun(ABC, Generic[Network]):
    """Training state of any generator and its critic, as `fit` drives it."""

    config: CellTrainConfig
    generator: Network
    critic: nn.Module
    average: Network | None
    generator_optimizer: torch.optim.Optimizer
    discriminator_optimizer: torch.optim.Optimizer
    step: int
    curve: list[dict[str, float]]
    sums: dict[str, float]

    @abstractmethod
    def update(self, data: Tensors) -> None:
        """Update on one batch; randomness depends on the seed and the step alone."""

    @property
    def final_generator(self) -> Network:
        """The generator that is scored and saved: the running average if there is one."""
        return self.generator if self.average is None else self.average

    def state(self) -> dict[str, Any]:
        """Return the state that a resumed run needs."""
        return {
            "fingerprint": self.config.fingerprint(),
            "generator": self.generator.state_dict(),
            "critic": self.critic.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "drawing": self.generator_optimizer.state_dict(),
            "judging": self.discriminator_optimizer.state_dict(),
            "step": self.step,
            "curve": self.curve,
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Restore a saved state."""
        self.generator.load_state_dict(state["generator"])
        self.critic.load_state_dict(state["critic"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.generator_optimizer.load_state_dict(state["drawing"])
        self.discriminator_optimizer.load_state_dict(state["judging"])
        self.step, self.curve = int(state["step"]), list(state["curve"])


@dataclass(eq=False)
class GanTraining(TrainingRun[nn.Module]):
    """Training state of a generator without noise: generator, discriminator and step."""

    config: CellTrainConfig
    generator: nn.Module
    critic: nn.Module
    step: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        settings = self.config.optimizer
        self.average = copy.deepcopy(self.generator).requires_grad_(False) if self.config.ema else None
        both: dict[str, Any] = {"betas": settings.betas, "weight_decay": settings.weight_decay}
        self.generator_optimizer = torch.optim.AdamW(self.generator.parameters(), lr=settings.lr, **both)
        self.discriminator_optimizer = torch.optim.AdamW(self.critic.parameters(), lr=settings.critic_lr, **both)
        self.sums: dict[str, float] = dict.fromkeys(FIELDS, 0.0)

    @classmethod
    def start(cls, config: CellTrainConfig, features: int, channels: int) -> GanTraining:
        """Return the initial state, with weights drawn from the seed.

        Raises `InputError` if the networks' settings don't fit.
        """
        torch.manual_seed(config.seed)
        settings = {"features": features, "channels": channels, "size": config.data.size}
        built = []
        for name, part in (("generator", config.generator), ("critic", config.critic)):
            try:
                built.append(build(part.architecture, {**part.config, **settings}))
            except (TypeError, ValueError) as error:
                raise InputError(f"{name}.config: {str(error).rstrip('.')}.") from error
        return cls(config, built[0], built[1])

    def precision(self) -> torch.autocast:
        """Return the context that networks run in (precision)."""
        return torch.autocast("cpu", torch.bfloat16, enabled=self.config.precision == "bfloat16")

    def discriminate(self, crops: Tensor) -> DiscriminatorOutput:
        """Return the discriminator's output, in float32."""
        with self.precision():
            output: DiscriminatorOutput = self.critic(crops)
        reading = None if output.reading is None else output.reading.float()
        return DiscriminatorOutput(output.logit.float(), [layer.float() for layer in output.hidden], reading)

    def update(self, data: Tensors) -> None:
        """Update generator and discriminator on one batch each; see `one_step`."""
        one_step(self, data)


def fit(run: TrainingRun[Any], data: Tensors, held_out: Tensors, folder: Path | None = None) -> Iterator[Progress]:
    """Train to the last step, from the last checkpoint in the folder if there is one.

    Parameters
    ----------
    run
        Updated in place; its `final_generator` is the result.
    data, held_out
        Training cells, and cells whose pixel loss is in the curve.
    folder
        Folder of checkpoint and curve; None for neither.

    Yields
    ------
    Progress
        After each step; the message at the end of an epoch is its record of the curve.

    Raises
    ------
    InputError
        If the checkpoint is damaged or belongs to other settings.
    """
    config = run.config
    if folder is not None:
        _load_checkpoint(run, folder)
    while run.step < config.steps:
        with torch_threads(config.threads):
            run.update(data)
            message = ""
            if run.step % config.epoch == 0 or run.step == config.steps:
                message = _line(run, held_out)
                if folder is not None:
                    _save(run, folder)
        yield Progress(run.step, config.steps, message)
    run.final_generator.eval().requires_grad_(False)


def one_step(run: GanTraining, data: Tensors) -> None:
    """Update generator and discriminator on one batch each; randomness depends on the seed and the step alone."""
    config = run.config
    rng = np.random.default_rng([config.seed, run.step])
    torch.manual_seed(int(rng.integers(2**62)))
    rows, others = (torch.from_numpy(rng.integers(0, len(data), config.batch)) for _ in range(2))
    symmetry = int(rng.integers(8)) if data.augmented else 0
    features, crops = data.shown(symmetry, rows)
    truth, real = data.shown(symmetry, others)
    rate = share_of_rate(config.optimizer, run.step, config.steps)
    for optimizer, full in ((run.generator_optimizer, config.optimizer.lr), (run.discriminator_optimizer, config.optimizer.critic_lr)):
        for group in optimizer.param_groups:
            group["lr"] = full * rate
    run.generator.train()
    run.critic.train()
    with run.precision():
        drawn = run.generator(hidden_in_part(features, config.features.drop, 2 if config.features.frame else 0)).float()
    _update_generator(run, drawn, crops, features)
    _update_discriminator(run, drawn.detach(), real, truth)
    run.step += 1
    if run.average is not None:
        # A shorter average at first: the random initial weights would dominate a long one.
        move_average(run.average, run.generator, min(config.ema, (1 + run.step) / (10 + run.step)))


def hidden_in_part(features: Tensor, most: float, visible: int = 0) -> Tensor:
    """Return features with a random share per cell set to 0, the median; the last few are always kept."""
    if not most:
        return features
    share = most * torch.rand(len(features), 1)
    shown = torch.rand_like(features) >= share
    shown[:, features.shape[1] - visible :] = True
    return features * shown


def _update_generator(run: GanTraining, drawn: Tensor, crops: Tensor, features: Tensor) -> None:
    """Update the generator by pixels, feature maps and, if configured, predicted features and discriminator output."""
    loss, config = run.config.loss, run.config
    pixel = (drawn - crops).square().mean() if loss.pixel == "mse" else (drawn - crops).abs().mean()
    total = loss.pixel_weight * pixel
    run.sums["pixel"] += float(pixel.detach())
    weights = [loss.hidden * ramp_of(loss, run.step, layer) for layer in range(8)]
    if any(weights) or loss.reading or loss.adversarial:
        for parameter in run.critic.parameters():
            parameter.requires_grad_(False)
        output = run.discriminate(drawn)
        with torch.no_grad():
            truth = run.discriminate(crops)
        for weight, drawn_layer, real_layer in zip(weights, output.hidden, truth.hidden, strict=False):
            if weight:
                part = (drawn_layer - real_layer).square().mean()
                total = total + weight * part
                run.sums["hidden"] += float(part.detach())
        if loss.reading and output.reading is not None:
            part = nn.functional.smooth_l1_loss(output.reading, features)
            total = total + loss.reading * part
            run.sums["reading"] += float(part.detach())
        if loss.adversarial:
            total = total + loss.adversarial * nn.functional.softplus(-output.logit).mean()
        for parameter in run.critic.parameters():
            parameter.requires_grad_(True)
    run.generator_optimizer.zero_grad(set_to_none=True)
    total.backward()  # type: ignore[no-untyped-call]
    if config.optimizer.clip:
        nn.utils.clip_grad_norm_(run.generator.parameters(), config.optimizer.clip)
    run.generator_optimizer.step()


def _update_discriminator(run: GanTraining, drawn: Tensor, real: Tensor, features: Tensor) -> None:
    """Update the discriminator: real against generated (cross entropy), and the features of real cells."""
    loss = run.config.loss
    if not (loss.hidden or loss.reading or loss.adversarial):
        return
    real_output, drawn_output = run.discriminate(real), run.discriminate(drawn)
    total = nn.functional.softplus(-real_output.logit).mean() + nn.functional.softplus(drawn_output.logit).mean()
    run.sums["critic"] += float(total.detach())
    if real_output.reading is not None:
        total = total + nn.functional.mse_loss(real_output.reading, features)
    run.discriminator_optimizer.zero_grad(set_to_none=True)
    total.backward()  # type: ignore[no-untyped-call]
    run.discriminator_optimizer.step()


def ramp_of(loss: Loss, step: int, layer: int) -> float:
    """Return the weight (0 to 1) of a discriminator layer at a step: it rises over one ramp, each layer one ramp later."""
    return 1.0 if not loss.ramp else min(1.0, max(0.0, step / loss.ramp - (layer + 1)))


def share_of_rate(settings: Adam, step: int, steps: int) -> float:
    """Return the factor on the learning rate at a step."""
    if settings.schedule == "constant":
        return 1.0
    rise = max(1, steps // 10)
    if step < rise:
        return 0.04 + 0.96 * step / rise
    fall = min(1.0, (step - rise) / max(1, steps - rise))
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * fall))


def move_average(average: nn.Module, network: nn.Module, keep: float) -> None:
    """Update a running average of the network's weights."""
    with torch.no_grad():
        for running, current in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
            if running.dtype.is_floating_point:
                running.lerp_(current, 1 - keep)
            else:
                running.copy_(current)


def _line(run: TrainingRun[Any], held_out: Tensors) -> str:
    """Append a record to the curve and return it in words."""
    before = run.curve[-1]["step"] if run.curve else 0
    steps = max(1, run.step - before)
    line: dict[str, float] = {"step": run.step, **{name: total / steps for name, total in run.sums.items()}}
    line["held_out"] = pixel_loss(run.final_generator, held_out) if len(held_out) else math.nan
    run.curve.append(line)
    run.sums = dict.fromkeys(run.sums, 0.0)
    return f"step {run.step}/{run.config.steps}: " + ", ".join(
        f"{name.replace('_', ' ')} {line[name]:.4g}" for name in (*run.sums, "held_out")
    )


def pixel_loss(network: nn.Module, data: Tensors) -> float:
    """Return the mean squared error of a network's output, on its own scale."""
    network.eval()
    with torch.inference_mode():
        each = [
            (network(data.features[start : start + BATCH]) - data.crops[start : start + BATCH]).square().mean((1, 2, 3))
            for start in range(0, len(data), BATCH)
        ]
    return float(torch.cat(each).mean())


def _load_checkpoint(run: TrainingRun[Any], folder: Path) -> None:
    """Resume from the last checkpoint, if there is one."""
    path = folder / CHECKPOINT
    if not path.is_file():
        return
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        same = state["fingerprint"] == run.config.fingerprint()
        if same:
            run.resume(state)
    except (OSError, RuntimeError, KeyError, ValueError, EOFError, TypeError, pickle.UnpicklingError) as error:
        raise InputError(f"{path}: the checkpoint can't be read; delete {folder} to begin again.") from error
    if not same:
        raise InputError(f"{folder}: this run was started with other settings; set another run folder, or delete this one to begin again.")


def _save(run: TrainingRun[Any], folder: Path) -> None:
    """Write checkpoint and curve atomically, so that a run killed at any moment finds whole files."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with updating(folder / CHECKPOINT) as temporary:
            torch.save(run.state(), temporary)
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        fields = (*run.sums, "held_out")
        table.writerow(["step", *fields])
        table.writerows([int(line["step"]), *(f"{line[name]:.6g}" for name in fields)] for line in run.curve)
        write_text(folder / CURVE, text.getvalue(), durable=False)
    except OSError as error:
        raise WriteError(folder, f"the checkpoint can't be written ({error.strerror or error})") from error
