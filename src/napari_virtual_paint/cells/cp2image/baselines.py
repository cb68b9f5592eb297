"""Baselines of the paper's Table 1: a VAE, a VAE with a discriminator (VAEplus), and a GAN of random vectors (LSGAN).

None of them generates a cell from features: autoencoders get the image itself, the GAN gets noise. All use the paper's generator and,
where applicable, its discriminator.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from napari_virtual_paint.cells.cp2image.module import CHECKPOINT, Tensors
from napari_virtual_paint.networks.cp2image import CP2ImageDiscriminator, CP2ImageGenerator, CropEncoder
from napari_virtual_paint.runtime.atomic_write import updating
from napari_virtual_paint.runtime.progress import Progress

Kind = Literal["VAE", "VAEplus", "LSGAN"]
KINDS: tuple[Kind, ...] = ("VAE", "VAEplus", "LSGAN")
CODE = 256
BATCH = 128


@dataclass(eq=False)
class Baseline:
    """A model of crops."""

    kind: Kind
    generator: CP2ImageGenerator  # codes (N, `CODE`) to crops
    encoder: CropEncoder | None  # of the autoencoders; None for the GAN

    @property
    def parameters(self) -> int:
        """Dimension of the generator's input."""
        return sum(p.numel() for part in (self.generator, self.encoder) if part is not None for p in part.parameters())

    def draw(self, crops: Tensor, seed: int = 0) -> Tensor:
        """Generate as many crops as are given: reconstructions by an autoencoder, new ones by the GAN."""
        noise = torch.randn(len(crops), CODE, generator=torch.Generator().manual_seed(seed))
        self.generator.eval()
        out = []
        with torch.inference_mode():
            for start in range(0, len(crops), BATCH):
                part = slice(start, start + BATCH)
                code = noise[part] if self.encoder is None else self.encoder.eval()(crops[part])[0]
                out.append(self.generator(code))
        return torch.cat(out)


def train_baseline(
    kind: Kind,
    data: Tensors,
    steps: int,
    batch: int = 104,
    lr: float = 1e-3,
    divergence: float = 1e-4,
    seed: int = 0,
    *,
    folder: Path | None = None,
    every: int = 100,
) -> Iterator[Progress | Baseline]:
    """Train one.

    Parameters
    ----------
    divergence
        Weight of the autoencoders' Kullback-Leibler term, per code, relative to the pixels' mean squared error (Kingma and Welling, 2013).
    folder, every
        Folder of a checkpoint that is written after so many steps, and from which the same training goes on; None for none.

    Yields
    ------
    Progress
        After each step.
    Baseline
        Last.
    """
    torch.manual_seed(seed)
    channels, size = data.crops.shape[1], data.crops.shape[2]
    generator, critic = CP2ImageGenerator(CODE, channels, size), CP2ImageDiscriminator(CODE, channels, size)
    encoder = None if kind == "LSGAN" else CropEncoder(CODE, channels, size)
    generator_optimizer = torch.optim.Adam([*generator.parameters(), *(encoder.parameters() if encoder else ())], lr=lr, betas=(0.5, 0.999))
    discriminator_optimizer = torch.optim.Adam(critic.parameters(), lr=lr / 4, betas=(0.5, 0.999))
    parts: dict[str, Any] = {"generator": generator, "critic": critic, "first": generator_optimizer, "second": discriminator_optimizer}
    parts |= {"encoder": encoder} if encoder is not None else {}
    for step in range(_resume(parts, folder) + 1, steps + 1):
        rng = np.random.default_rng([seed, 0xBA5E, step])  # by the step, so that a stopped training goes on as it would have
        torch.manual_seed(int(rng.integers(2**62)))
        crops, others = (data.crops[torch.from_numpy(rng.integers(0, len(data), batch))] for _ in range(2))
        if encoder is None:
            drawn, loss = generator(torch.randn(batch, CODE)), torch.zeros(())
            loss = (_frozen(critic, drawn)[0] - 1).square().mean()
        else:
            mean, log_variance = encoder(crops)
            drawn = generator(mean + torch.randn_like(mean) * (0.5 * log_variance).exp())
            kl = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1).mean()
            loss = (drawn - crops).square().mean() + divergence * kl
            if kind == "VAEplus":
                with torch.no_grad():
                    truth = critic(crops).hidden
                loss = loss + sum((a - b).square().mean() for a, b in zip(_frozen(critic, drawn)[1], truth, strict=True))
        _step(generator_optimizer, loss)
        if kind != "VAE":
            real_logit, drawn_logit = critic(others).logit, critic(drawn.detach()).logit
            if kind == "LSGAN":
                critic_loss = (real_logit - 1).square().mean() + drawn_logit.square().mean()
            else:
                critic_loss = nn.functional.softplus(-real_logit).mean() + nn.functional.softplus(drawn_logit).mean()
            _step(discriminator_optimizer, critic_loss)
        if folder is not None and (step % every == 0 or step == steps):
            folder.mkdir(parents=True, exist_ok=True)
            with updating(folder / CHECKPOINT) as temporary:
                torch.save({"step": step, **{name: part.state_dict() for name, part in parts.items()}}, temporary)
        yield Progress(step, steps)
    yield Baseline(kind, generator, encoder)


def _resume(parts: dict[str, Any], folder: Path | None) -> int:
    """Load the last checkpoint, if there is one, and return its step."""
    path = None if folder is None else folder / CHECKPOINT
    if path is None or not path.is_file():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return int(state["step"])


def _frozen(critic: nn.Module, drawn: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return a discriminator's logit and feature maps; the gradient reaches the generated crops only."""
    for parameter in critic.parameters():
        parameter.requires_grad_(False)
    output = critic(drawn)
    for parameter in critic.parameters():
        parameter.requires_grad_(True)
    return output.logit, output.hidden


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
