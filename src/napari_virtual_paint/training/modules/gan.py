"""Lightning modules of generators trained against a discriminator: cWGAN-GP and pix2pixHD."""

from __future__ import annotations

import copy
import pickle
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.networks.discriminators import MultiScaleCritic, PatchCritic, VGGFeatures
from napari_virtual_paint.networks.pix2pixhd import Pix2PixHD
from napari_virtual_paint.training.config.network import DiscriminatorAdam, Pix2PixHDGan, Pixel, WassersteinGan
from napari_virtual_paint.training.config.run import TrainConfig
from napari_virtual_paint.training.data.pairs import DataSet
from napari_virtual_paint.training.data.patches import PatchBatch
from napari_virtual_paint.training.modules.base import PaintModule, PixelModule, make_optimizer, share_of_rate
from napari_virtual_paint.training.modules.losses import feature_matching, gradient_penalty, least_squares, normal_weights


class AdversarialModule(PaintModule):
    """Base of both GANs: generator and discriminator with an optimizer each, whose rates follow the configured schedule.

    Held-out pixels are 0 (black) in every image that the discriminator sees.
    """

    def __init__(self, network: nn.Module, config: TrainConfig, data: DataSet, end: int) -> None:
        super().__init__(network, config, data, end)
        self.automatic_optimization = False
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.critic = self.make_critic(len(data.channels) + len(data.stains))
            normal_weights(self.critic)
        _check_patch(self.critic, len(data.channels) + len(data.stains), config.patch)

    @property
    @abstractmethod
    def critic_settings(self) -> DiscriminatorAdam:
        """The discriminator's optimizer."""

    @abstractmethod
    def make_critic(self, channels: int) -> nn.Module:
        """Return a discriminator for a number of channels."""

    @abstractmethod
    def learn(self, x: Tensor, batch: PatchBatch) -> None:
        """Update the discriminator, the generator, or both."""

    def training_step(self, batch: PatchBatch, batch_idx: int) -> None:
        """Set the rates, take one step and count it."""
        share = share_of_rate(self.config.optimizer, self.done, self.config.steps)
        rates = (self.config.optimizer.lr, self.critic_settings.lr)
        for optimizer, rate in zip(self.optimizers(), rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * share
        self.learn(batch.x.contiguous(memory_format=self.form), batch)
        self.done += 1

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return the optimizers of generator and discriminator; their rates are set at every step."""
        own = self.critic_settings
        discriminator = torch.optim.Adam(self.critic.parameters(), lr=own.lr, betas=own.betas, weight_decay=own.weight_decay)
        return [make_optimizer(self.config.optimizer, self.network), discriminator]

    def descend(self, number: int, loss: Tensor) -> None:
        """Update the generator (0) or the discriminator (1) by a loss; the other's parameters get no gradient."""
        optimizer = self.optimizers()[number]
        optimizer.zero_grad(set_to_none=True)
        self.manual_backward(loss)
        if number == 0:
            self.before_move()
            if self.config.optimizer.clip:
                self.clip_gradients(optimizer, gradient_clip_val=self.config.optimizer.clip, gradient_clip_algorithm="norm")
        optimizer.step()

    def before_move(self) -> None:
        """Change the generator's gradients, where an objective does."""

    def follow(self, **values: Tensor) -> None:
        """Record numbers for the curve."""
        for name, value in values.items():
            self.more.setdefault(name, []).append(value.detach().float())


class WassersteinModule(AdversarialModule):
    """cWGAN-GP: the discriminator is trained at every step, the generator at every fifth (Cross-Zamirski et al. 2022, equations 5 to 8)."""

    @property
    def settings(self) -> WassersteinGan:
        """The objective."""
        assert isinstance(self.config.objective, WassersteinGan)
        return self.config.objective

    @property
    def critic_settings(self) -> DiscriminatorAdam:
        """The discriminator's optimizer."""
        return self.settings.critic_optimizer

    @property
    def moves(self) -> int:
        """Number of the generator's steps."""
        return self.done // self.settings.every

    def make_critic(self, channels: int) -> nn.Module:
        """Return the patch discriminator."""
        own = self.settings.critic
        return PatchCritic(channels, own.width, own.layers, own.norm)

    def learn(self, x: Tensor, batch: PatchBatch) -> None:
        """Update the discriminator and, at every n-th step, the generator by the same prediction."""
        update_generator = (self.done + 1) % self.settings.every == 0
        with torch.set_grad_enabled(update_generator):
            painted = self.network(x).float()
        self.losses.append(self.pixel_loss(painted.detach(), batch, "l1"))
        self._update_discriminator(x, self.truth(batch) * batch.weight, (painted * batch.weight).detach())
        if update_generator:
            self._update_generator(x, painted, batch)

    def _update_discriminator(self, x: Tensor, real: Tensor, painted: Tensor) -> None:
        """Descend E[D(x, G(x))] - E[D(x, y)] + lambda_2 x penalty: equation 7 times -1, with the sign of the penalty corrected."""
        real_score, painted_score = (self.critic(torch.cat([x, stains], 1)).float().mean() for stains in (real, painted))
        with torch.autocast(x.device.type, enabled=False):
            penalty = gradient_penalty(self.critic, x.float(), real.float(), painted)
        self.descend(1, painted_score - real_score + self.settings.penalty * penalty)
        self.follow(distance=real_score - painted_score, penalty=penalty)

    def _update_generator(self, x: Tensor, painted: Tensor, batch: PatchBatch) -> None:
        """Descend lambda_1 x L1 - lambda_e x E[D(x, G(x))] (equation 5), with lambda_e = adversarial / epoch."""
        self.critic.requires_grad_(False)
        output = self.critic(torch.cat([x, painted * batch.weight], 1)).float().mean()
        weight = self.settings.adversarial / (self.done // self.config.epoch + 1)
        self.descend(0, self.settings.l1 * self.pixel_loss(painted, batch, "l1") - weight * output)
        self.critic.requires_grad_(True)

    def on_train_batch_end(self, outputs: Any, batch: PatchBatch, batch_idx: int) -> None:
        """Update the average at the generator's steps."""
        if self.done % self.settings.every == 0:
            self.move_average()


class Pix2PixHDModule(AdversarialModule):
    """pix2pixHD: least squares, multi-scale discriminators, feature matching (Wang et al. 2018, equations 2 to 5)."""

    def __init__(self, network: nn.Module, config: TrainConfig, data: DataSet, end: int) -> None:
        super().__init__(network, config, data, end)
        # Not a submodule: it is neither trained nor part of a checkpoint.
        self.vgg: list[VGGFeatures] = [] if self.settings.vgg is None else [_vgg(self.settings)]

    @property
    def settings(self) -> Pix2PixHDGan:
        """The objective."""
        assert isinstance(self.config.objective, Pix2PixHDGan)
        return self.config.objective

    @property
    def critic_settings(self) -> DiscriminatorAdam:
        """The discriminators' optimizer."""
        return self.settings.critic_optimizer

    def make_critic(self, channels: int) -> nn.Module:
        """Return the discriminators."""
        own = self.settings.critic
        return MultiScaleCritic(channels, self.settings.scales, own.width, own.layers, own.norm)

    def on_train_start(self) -> None:
        """Move what is not a submodule to the network's device."""
        super().on_train_start()
        for vgg in self.vgg:
            vgg.to(self.device)

    def learn(self, x: Tensor, batch: PatchBatch) -> None:
        """Update the generator, then the discriminators by the same prediction."""
        painted = self.network(x).float()
        real = self.truth(batch) * batch.weight
        self._update_generator(x, painted, real, batch)
        painted_loss = least_squares(self.critic(torch.cat([x, (painted * batch.weight).detach()], 1)), 0)
        real_loss = least_squares(self.critic(torch.cat([x, real], 1)), 1)
        self.descend(1, (real_loss + painted_loss) / 2)
        self.follow(critic=(real_loss + painted_loss) / 2)

    def _update_generator(self, x: Tensor, painted: Tensor, real: Tensor, batch: PatchBatch) -> None:
        """Descend the loss that draws outputs to those of real images, and feature maps (and VGG's) to those of the real image."""
        self.critic.requires_grad_(False)
        masked = painted * batch.weight
        maps = self.critic(torch.cat([x, masked], 1))
        with torch.no_grad():
            real_maps = self.critic(torch.cat([x, real], 1))
        fooled, features = least_squares(maps, 1), feature_matching(maps, real_maps)
        pixel = self.pixel_loss(painted, batch, "l1")
        loss = fooled + self.settings.features * features + self.settings.l1 * pixel
        for vgg in self.vgg:
            loss = loss + self.settings.perceptual * vgg(masked, real)
        self.descend(0, loss)
        self.critic.requires_grad_(True)
        self.losses.append(pixel.detach())
        self.follow(adversarial=fooled, features=features)

    def before_move(self) -> None:
        """Keep the global generator fixed while a local enhancer starts."""
        network = self.network
        if self.done < self.settings.fix_global and isinstance(network, Pix2PixHD) and network.config.enhancers:
            for parameter in network.model.parameters():
                parameter.grad = None


def make_module(network: nn.Module, config: TrainConfig, data: DataSet, end: int) -> PaintModule:
    """Return the Lightning module of the configured objective.

    Raises `InputError` if the weights that the objective names can't be used.
    """
    if isinstance(config.objective, Pixel):
        return PixelModule(network, config, data, end)
    kind = WassersteinModule if isinstance(config.objective, WassersteinGan) else Pix2PixHDModule
    return kind(network, config, data, end)


def _check_patch(critic: nn.Module, channels: int, patch: tuple[int, ...]) -> None:
    """Raise an error for a patch that is too small for the discriminator, by its shapes alone (meta tensors)."""
    try:
        copy.deepcopy(critic).to("meta")(torch.empty(1, channels, *patch, device="meta"))
    except (RuntimeError, ValueError) as error:
        size = " x ".join(map(str, patch))
        raise InputError(f"patch: {size} px is too small for the critic; take larger patches or fewer objective.critic.layers.") from error


def _vgg(settings: Pix2PixHDGan) -> VGGFeatures:
    """Read the weights of VGG-19 (tensors alone)."""
    try:
        return VGGFeatures(torch.load(str(settings.vgg), map_location="cpu", weights_only=True)).eval()
    except (OSError, RuntimeError, ValueError, EOFError, AttributeError, pickle.UnpicklingError) as error:
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0].rstrip(".")
        raise InputError(f"{settings.vgg}: no weights of VGG-19 (objective.vgg): {reason}.") from error
