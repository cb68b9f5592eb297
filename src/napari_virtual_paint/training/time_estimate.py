"""Estimate how long a training takes, from a few real steps of its own network, objective, patch and batch."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_virtual_paint.device import torch_threads
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.runtime.text import rough_duration
from napari_virtual_paint.training.config.run import TrainConfig
from napari_virtual_paint.training.pace import TrainingPace

if TYPE_CHECKING:
    from torch import nn

    from napari_virtual_paint.training.data.pairs import DataSet
    from napari_virtual_paint.training.modules.base import PaintModule

BUDGET = 6.0  # seconds that the cores may work on a full step; a longer step is timed with fewer or smaller patches
STEPS = 10  # most timed steps after the first, which also pays for one-time costs
PROBE = 64  # side of the first probe's patch in pixels, or the smallest that the network takes
BUSY = 1.5  # ratio of elapsed to expected time above which other programs are reported to share the cores
ENDING = 1.0  # time that scoring and writing the package take, relative to starting
FEW = 0.34  # cost of predicting a validation pixel, relative to a training pixel: forward without backward


@dataclass(frozen=True)
class DataShape:
    """Data properties that an estimate needs."""

    channels: int
    stains: int  # `channels` and `stains`: number of input and output channels
    held_out: float = 0.0  # pixels (voxels) predicted after each epoch
    pixels: float = 0.0  # pixels (voxels) of all images; 0 if unknown


@dataclass(frozen=True)
class TimeEstimate:
    """Estimated duration of a training."""

    seconds: float  # starting, all steps, the scores of all epochs, and the package; reading the images is extra
    step: float  # seconds per step
    steps: int
    device: str  # where it would run, in words
    pace: TrainingPace  # for other numbers of steps
    scaled: bool = False  # whether a smaller step was timed and extrapolated
    alone: float | None = None  # seconds with otherwise idle cores; None on a GPU

    @property
    def shared(self) -> bool:
        """Whether other programs use the cores, too."""
        return self.alone is not None and self.seconds > BUSY * self.alone

    def text(self) -> str:
        """Return a text such as ``about 9 min on this CPU, 2 cores``."""
        roughly = "roughly" if self.scaled else "about"
        others = f", which other programs share ({rough_duration(self.alone or 0)} without them)" if self.shared else ""
        return f"{roughly} {rough_duration(self.seconds)} on {self.device}{others}"


def estimate(config: TrainConfig, shape: DataShape | None = None, begun: float | None = None) -> TimeEstimate:
    """Run `estimating` to its end."""
    return run_to_end(estimating(config, shape, begun))


def estimating(config: TrainConfig, shape: DataShape | None = None, begun: float | None = None) -> Generator[Progress, None, TimeEstimate]:
    """Time a few real steps of a configuration on this machine, within seconds.

    Parameters
    ----------
    config
        From `load_config`.
    shape
        The data's properties; found from the first pair's header where None.
    begun
        When this process was started, where the training will be a process like it: starting takes as long again. Seconds since the epoch.

    Yields
    ------
    Progress
        Between the probes.

    Raises
    ------
    InputError
        If the data or the settings don't fit.
    ReadError
        If the first pair can't be opened.
    """
    from napari_virtual_paint.training.initial_weights import build_network
    from napari_virtual_paint.training.run import _silence_lightning

    shape = shape or shape_of(config)
    yield Progress(0, 2, "Timing a few steps")
    with _silence_lightning(), torch_threads(config.threads):
        network = build_network(config, noise(shape, config.patch))
        fixed = 0.0 if begun is None else (1 + ENDING) * (time.time() - begun)
        full = float(math.prod(config.patch) * config.batch)
        probes = [(_least(network, config.patch), 1), (config.patch, 1), (config.patch, config.batch)]
        timed: list[tuple[float, float]] = []
        guess, share, busy = 0.0, 0.0, 1.0
        for number, (patch, batch) in enumerate(probes):
            worth = math.prod(patch) * batch / full
            # Small patches cost more per pixel: a larger step is skipped only where half of the extrapolated time is still too long.
            # It is the time that the cores work which counts: on a busy machine the waiting hardly grows with the patch.
            if worth > share and guess * busy * worth / 2 <= BUDGET:
                wall, busy = _seconds(config, network, noise(shape, patch), patch, batch)
                timed.append((worth, wall))
                guess, share = full_step(timed), worth
            yield Progress(number + 1, len(probes), "Timing a few steps")
    trained = shape.pixels - shape.held_out
    passes = full / trained if trained > 0 else 0.0
    pace = TrainingPace(guess, FEW * guess * shape.held_out / full, passes, _rounds(config), fixed)
    seconds = pace.seconds(config.steps, config.epoch)
    return TimeEstimate(seconds, guess, config.steps, where(config), pace, share < 1, None if _gpu(config) else seconds * busy)


def _rounds(config: TrainConfig) -> int:
    """Return how often a training makes its steps."""
    return 1 + config.refit + (config.fine_tuning is not None and config.fine_tuning.curve)


def full_step(timed: Sequence[tuple[float, float]]) -> float:
    """Return the seconds of a full step, extrapolated from smaller ones.

    Parameters
    ----------
    timed
        Size of each timed step as a share of the full one, and its seconds; in order of size. A single one is taken as proportional to its
        size; with more, the time that the last two have in common (starting an operation, waiting for a core) is counted once.
    """
    share, seconds = timed[-1]
    if len(timed) == 1:
        return seconds / share
    smaller, fewer = timed[-2]
    each = min(max(0.0, (seconds - fewer) / (share - smaller)), seconds / share)
    return seconds + each * (1 - share)


def shape_of(config: TrainConfig) -> DataShape:
    """Return the properties of the first pair, and roughly how much is held out, without reading pixels."""
    from napari_virtual_paint.training.data.find import find
    from napari_virtual_paint.training.data.scaling import open_selected, sides

    data, dims = config.data, config.network.dims
    if data.simulate is not None:
        simulated = data.simulate
        one = simulated.size**2 * (simulated.z if simulated.z > 1 else 1)
        channels, stains = (3, 5) if simulated.z == 1 else (1, 2)
        named = len(data.input_channels or ()), len(data.target_channels or ())
        return _shape(config, named[0] or channels, named[1] or stains, simulated.fields * one)
    sources = find(data)
    source, target = open_selected(sources[0], data)
    times, channels, planes, height, width = source.shape
    if data.planes_as_channels:
        channels, planes = channels * planes, 1
    size = sides(source, data, dims, sources[0].input) or (planes, height, width)
    pixels = times * planes * height * width if len(size) != 3 else times * math.prod(size)
    return _shape(config, channels, target.shape[1], len(sources) * pixels)


def shape_in(config: TrainConfig, text: str) -> DataShape:
    """Parse ``CHANNELS,STAINS,PIXELS``, pixels being those of all images.

    Raises `InputError` if these are not three whole numbers.
    """
    from napari_virtual_paint.errors import InputError

    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdigit() for part in parts):
        raise InputError(f"--shape takes three whole numbers (channels, stains, pixels), as in 3,5,1048576, not {text!r}.")
    channels, stains, pixels = (int(part) for part in parts)
    return _shape(config, channels, stains, pixels)


def _shape(config: TrainConfig, channels: int, stains: int, pixels: float) -> DataShape:
    return DataShape(channels, stains, _held_out(config, pixels), pixels)


def _held_out(config: TrainConfig, pixels: float) -> float:
    """Return the approximate share of pixels held out for validation."""
    rule: Any = config.split.validation
    if rule is None:
        return 0.0
    if hasattr(rule, "fraction"):
        return float(rule.fraction * pixels)
    if hasattr(rule, "y"):
        return float((rule.y[1] - rule.y[0]) * (rule.x[1] - rule.x[0]) * pixels)
    return float(rule * pixels) if isinstance(rule, float) else 0.1 * pixels


def _least(network: nn.Module, patch: tuple[int, ...]) -> tuple[int, ...]:
    """Return a small patch that the network takes, no larger than its own."""
    from napari_virtual_paint.networks.sizes import multiples, smallest

    steps, least = multiples(network), smallest(network)
    return tuple(min(side, max(low, PROBE // step * step)) for side, step, low in zip(patch, steps, least, strict=True))


def noise(shape: DataShape, patch: tuple[int, ...]) -> DataSet:
    """Return a pair of noise to cut patches of this size from, rotated ones too."""
    from napari_virtual_paint.stack import UNKNOWN
    from napari_virtual_paint.training.data.pairs import DataSet, Pair

    sides = [*patch[:-2], *(math.ceil(side * 1.5 / 2) * 2 for side in patch[-2:])]
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((count, *sides), np.float32) for count in (shape.channels, shape.stains))
    everything, nothing = np.ones(sides[-2:], bool), np.zeros(sides[-2:], bool)
    pair = Pair("noise", x, y, {"train": everything, "validation": nothing, "test": nothing})
    names = tuple(f"channel {i}" for i in range(shape.channels)), tuple(f"stain {i}" for i in range(shape.stains))
    return DataSet((pair,), *names, UNKNOWN)


def _seconds(config: TrainConfig, network: nn.Module, data: DataSet, patch: tuple[int, ...], batch: int) -> tuple[float, float]:
    """Return the seconds per step with these patches, averaged after the first, and the share of the time that the cores spent on it."""
    import lightning
    import torch
    from torch.utils.data import DataLoader

    from napari_virtual_paint.training.data.patches import PatchBatches, Sampler
    from napari_virtual_paint.training.modules.gan import make_module
    from napari_virtual_paint.training.run import _trainer

    every = int(getattr(config.objective, "every", 1))
    changes = {"patch": patch, "batch": batch, "start": None, "devices": 1, "epoch": 1000 * every, "steps": 1000 * every, "patience": None}
    small = config.model_copy(update=changes)

    class Clock(lightning.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.ends: list[float] = []
            self.worked: list[float] = []

        def on_train_batch_end(self, trainer: Any, pl_module: PaintModule, outputs: Any, batch: Any, batch_idx: int) -> None:
            _finish_device()
            self.ends.append(time.perf_counter())
            self.worked.append(time.process_time())
            # Where the generator is trained at every fifth step only, whole cycles are timed.
            steps = len(self.ends) - 1
            if steps >= every and steps % every == 0 and (steps >= STEPS or self.ends[-1] - self.ends[0] > BUDGET / 2):
                trainer.should_stop = True

    clock = Clock()
    module = make_module(network, small, data, small.steps)
    steps = PatchBatches(Sampler(data.holding("train"), small), lambda: module.done, lambda first: small.epoch)
    _trainer(small, module, small.steps, clock).fit(module, DataLoader(steps, batch_size=None))
    wall = clock.ends[-1] - clock.ends[0]
    worked = (clock.worked[-1] - clock.worked[0]) / torch.get_num_threads()
    return wall / (len(clock.ends) - 1), min(1.0, worked / wall)


def _finish_device() -> None:
    """Wait until the device has finished its queue."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
    elif torch.backends.mps.is_available():
        torch.mps.synchronize()


def _gpu(config: TrainConfig) -> str:
    """Return the name of the GPU that would be used; empty for the CPU."""
    import torch

    if config.device in ("auto", "cuda") and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return "this Apple GPU" if config.device in ("auto", "mps") and torch.backends.mps.is_available() else ""


def where(config: TrainConfig) -> str:
    """Return in words where a configuration would be trained."""
    import torch

    if _gpu(config):
        return _gpu(config)
    cores = config.threads or torch.get_num_threads()
    return f"this CPU, {cores} core{'s' * (cores > 1)}"
