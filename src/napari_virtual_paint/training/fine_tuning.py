"""Fine-tuning: the taught model's first weights, its scores before, the replay of old data, and whether more images would help."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.models import open_model
from napari_virtual_paint.models.model import Model
from napari_virtual_paint.models.package.npy import load_tensor
from napari_virtual_paint.networks.ensemble import UNetEnsemble
from napari_virtual_paint.normalize import fit
from napari_virtual_paint.runtime.atomic_write import write_text
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.runtime.json_file import read_object
from napari_virtual_paint.training.config.run import TrainConfig
from napari_virtual_paint.training.data.find import find
from napari_virtual_paint.training.data.pairs import DataSet, Pair, reading
from napari_virtual_paint.training.data.patches import Sampler, patch_reach
from napari_virtual_paint.training.data.scaling import steps_of
from napari_virtual_paint.training.data.split import Mask
from napari_virtual_paint.training.initial_weights import head_weights, network_config, take_start
from napari_virtual_paint.training.network_sizes import run_whole
from napari_virtual_paint.training.validation import bounds, scored_part, scores

REPORT = "fine_tuning.json"  # in the run folder: scores before and after, the curve over images, and the advice
BATCHES = 24  # batches of patches that normalization and last layer are fitted to
RIDGE = 1e-3  # weight of the distance from the old last layer, relative to the mean power of its input
ENOUGH = 0.01  # gain in PCC below which more images are not worth their staining
FURTHER = 2  # images that the advice is about
OURS = ("virtual-paint train ", "virtual-paint teach ")  # what made a package whose test image is a training image


def begin(network: nn.Module, config: TrainConfig, data: DataSet) -> None:
    """Give a network the first weights of a run: those of `start`, and a last layer fitted to the stains where it is taught further.

    Raises as `initial_weights.check_start`.
    """
    take_start(network, config, data)
    if config.fine_tuning is not None and config.fine_tuning.fit_head:
        adapt_normalization(network, config, data)
        fit_head(network, config, data)


def adapt_normalization(network: nn.Module, config: TrainConfig, data: DataSet) -> None:
    """Take the running statistics of batch normalization anew from the training images (Li et al., ICLR workshop 2017).

    Training normalizes by each batch's own statistics; a last layer fitted under those of the old images would not suit it.
    """
    layers = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d) and module.track_running_stats]
    if not layers:
        return
    sampler = Sampler(data.holding("train"), config)
    was_training, momenta = network.training, [layer.momentum for layer in layers]
    network.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the plain mean over all batches
        layer.train()
    try:
        with torch.inference_mode():
            for step in range(BATCHES):
                network(sampler.batch(step).x)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        network.train(was_training)


def fit_head(network: nn.Module, config: TrainConfig, data: DataSet) -> bool:
    """Fit the last layer to the stains by least squares, drawn to its present weights.

    A last layer that starts far from the new stains would spoil the layers below it in the first steps (Kumar et al., ICLR 2022).

    Returns
    -------
    bool
        Whether it was: only a 1 x 1 convolution whose output is the stains can be.
    """
    names = {key.rpartition(".")[0] for key in head_weights(config.network.architecture, network_config(config, data))}
    heads = [module for name, module in network.named_modules() if name in names]
    if not heads or not all(_is_linear(module, len(data.stains)) for module in heads):
        return False
    if isinstance(network, UNetEnsemble) and len(heads) != len(network.members):
        return False
    sampler = Sampler(data.holding("train"), config)
    sums = [_Sums.empty(module.in_channels + 1, len(data.stains)) for module in heads]
    seen: dict[int, Tensor] = {}
    hooks = [
        module.register_forward_hook(lambda _module, inputs, _output, at=at: seen.__setitem__(at, inputs[0]))
        for at, module in enumerate(heads)
    ]
    was_training, clip = network.training, config.normalize.target_clip
    network.eval()
    try:
        with torch.inference_mode():
            for step in range(BATCHES):
                batch = sampler.batch(step)
                network(batch.x)
                truth = batch.y.clamp(-clip, clip) if clip else batch.y
                for at, one in enumerate(sums):
                    one.add(seen[at], truth, batch.weight)
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    for module, one in zip(heads, sums, strict=True):
        one.solve(module)
    return True


def _is_linear(module: nn.Module, stains: int) -> bool:
    """Return whether a module is a 1 x 1 convolution with one output for each stain."""
    return isinstance(module, nn.Conv2d | nn.Conv3d) and set(module.kernel_size) == {1} and module.out_channels == stains


@dataclass(eq=False)
class _Sums:
    """Sums of the least squares of a layer, in float64."""

    square: Tensor  # (inputs + 1, inputs + 1)
    product: Tensor  # (inputs + 1, stains)
    pixels: float = 0.0

    @classmethod
    def empty(cls, inputs: int, stains: int) -> _Sums:
        return cls(torch.zeros(inputs, inputs, dtype=torch.float64), torch.zeros(inputs, stains, dtype=torch.float64))

    def add(self, given: Tensor, truth: Tensor, weight: Tensor) -> None:
        """Add the pixels of a batch."""
        x, y = (item.transpose(0, 1).flatten(1).double() for item in (given, truth))
        x = torch.cat([x, torch.ones_like(x[:1])])
        w = weight.transpose(0, 1).flatten(1).double()
        self.square += (x * w) @ x.T
        self.product += (x * w) @ y.T
        self.pixels += float(w.sum())

    def solve(self, module: Any) -> None:
        """Set weight and bias of the layer."""
        old = torch.cat([module.weight.detach().flatten(1), module.bias.detach()[:, None]], 1).double().T
        ridge = RIDGE * float(self.square.diagonal()[:-1].mean().clamp(min=1e-12))
        penalty = torch.full((len(self.square),), ridge, dtype=torch.float64)
        penalty[-1] = 1e-9 * max(self.pixels, 1.0)  # the offset is free
        found = torch.linalg.solve(self.square + torch.diag(penalty), self.product + penalty[:, None] * old).T.float()
        with torch.no_grad():
            module.weight.copy_(found[:, :-1].reshape(module.weight.shape))
            module.bias.copy_(found[:, -1])


def scores_before(config: TrainConfig, network: nn.Module, data: DataSet) -> dict[str, dict[str, float]]:
    """Return what the model of `start` scores on the held-out part, by stain; its stains that the images lack are left out.

    Parameters
    ----------
    network
        A network of the run; it gets the model's weights.
    """
    part = scored_part(data)
    if part is None or config.start is None:
        return {}
    model = open_model(config.start)
    known = [stain for stain in data.stains if stain in model.info.stains]
    if not known:
        return {}
    take_start(network, config, data)
    if steps_of(config.normalize.input, config.normalize.input_clip) != model.info.preprocessing:
        data = run_to_end(reading(_on_own_scale(config, model), find(config.data), None, keep=True))
    found = scores(network.eval(), data.holding(part), part, data.stains, config.data.tiles)
    return {stain: dict(found[stain]) for stain in known}


def _on_own_scale(config: TrainConfig, model: Model) -> TrainConfig:
    """Return a configuration whose input is scaled as the model's own package says."""
    own = {"input": {"steps": [vars(step) for step in model.info.preprocessing]}, "input_clip": None}
    return config.model_copy(update={"normalize": config.normalize.changed(**own), "run": None})


def replay_pair(config: TrainConfig, data: DataSet) -> Pair | None:
    """Return the test image of the package of `start` with what its model paints of it; None without replay, or for other stains.

    The image is mirrored at its edges until a patch fits into it.
    """
    if config.fine_tuning is None or not config.fine_tuning.replay or config.start is None:
        return None
    model = open_model(config.start)
    entry = model.description.test_input
    # The test image of an imported model is noise.
    ours = model.info.card.made_with.startswith(OURS)
    if entry is None or not ours or any(stain not in model.info.stains for stain in data.stains):
        return None
    raw = np.asarray(load_tensor(model.files, entry)[0], np.float32)
    x = fit(raw, model.info.preprocessing).apply(raw)
    sides = patch_reach(config)
    x = np.pad(x, [(0, 0), *((0, max(side - length, 0)) for side, length in zip(sides, x.shape[1:], strict=True))], mode="symmetric")
    painted = run_whole(model.network, x, "cpu")[(slice(None), *(slice(0, length) for length in x.shape[1:]))]
    y = painted[[model.info.stains.index(stain) for stain in data.stains]]
    everything = np.ones(x.shape[-2:], bool)
    return Pair("replay", x, np.ascontiguousarray(y), {"train": everything, "validation": ~everything, "test": ~everything})


def images_of(data: DataSet) -> tuple[str, ...]:
    """Return the images, or the wells where all are known, that hold pixels to train on."""
    return tuple(dict.fromkeys(_group(pair, by_well=_by_well(data)) for pair in data.holding("train")))


def _by_well(data: DataSet) -> bool:
    return all("well" in pair.metadata for pair in data.pairs)


def _group(pair: Pair, *, by_well: bool) -> str:
    return f"{pair.metadata.get('plate', '')}/{pair.metadata['well']}" if by_well else pair.image or pair.name


def half_of(data: DataSet) -> DataSet:
    """Return the set with half of the training images; of a single one with half of its area. The held-out part stays."""
    groups = images_of(data)
    by_well = _by_well(data)
    kept = set(groups[1::2][: len(groups) // 2])  # every other one, since neighbors are alike
    pairs = []
    for pair in data.pairs:
        mask = pair.parts["train"]
        if len(groups) < 2:
            mask = _half_of_area(mask)
        elif _group(pair, by_well=by_well) not in kept:
            mask = np.zeros_like(mask)
        pairs.append(replace(pair, parts={**pair.parts, "train": mask}))
    return replace(data, pairs=tuple(pairs))


def _half_of_area(mask: Mask) -> Mask:
    """Return the half of a mask at the start of its longer side."""
    if not mask.any():
        return mask
    rows, columns = bounds(mask)
    half = np.zeros_like(mask)
    if rows.stop - rows.start >= columns.stop - columns.start:
        half[rows.start : (rows.start + rows.stop) // 2] = True
    else:
        half[:, columns.start : (columns.start + columns.stop) // 2] = True
    return np.asarray(mask & half)


@dataclass(frozen=True)
class Advice:
    """Whether further images would help, from the held-out scores of two trainings."""

    images: tuple[float, float]  # number of training images of the two; 0.5 for half of one
    pcc: tuple[float, float]  # their best mean PCC on the held-out part
    used: int  # images that the package has learnt from in the end
    noun: str = "field"  # what is counted

    @property
    def gain(self) -> float:
        """The most that `FURTHER` images can be expected to add to the mean PCC.

        Where the error falls as a power of the number of images, each doubling gains less than the one before; the last doubling, drawn
        on over the logarithm of the number, is therefore an upper bound.
        """
        doublings = math.log2(self.images[1] / self.images[0])
        return (self.pcc[1] - self.pcc[0]) / doublings * math.log2((self.used + FURTHER) / self.used)

    @property
    def enough(self) -> bool:
        """Whether that is too little to be worth the staining."""
        return self.gain < ENOUGH

    def sentence(self) -> str:
        """Return the advice in a sentence or two."""
        few, many = (self._count(number) for number in self.images)
        measured = f"from {few} to {many} the held-out PCC went from {self.pcc[0]:.3f} to {self.pcc[1]:.3f}"
        if self.enough:
            return f"Enough: {measured}, so two more {self.noun}s would add less than {ENOUGH:g}."
        return f"Two more {self.noun}s would help: {measured}; expect {self.gain:.2f} more at most."

    def _count(self, number: float) -> str:
        return f"half a {self.noun}" if number < 1 else f"{number:g} {self.noun}{'s' * (number > 1)}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        curve = [{"fields": number, "pcc": round(value, 4)} for number, value in zip(self.images, self.pcc, strict=True)]
        return {"enough": self.enough, "gain": round(self.gain, 4), "sentence": self.sentence(), "curve": curve, "counted": self.noun}


def advise(data: DataSet, config: TrainConfig, half: float, whole: float) -> Advice | None:
    """Return the advice from the best held-out scores of a training on half of the images and of one on all; None without scores."""
    if not (math.isfinite(half) and math.isfinite(whole)):
        return None
    count = len(images_of(data))
    used = len(images_of(data.whole())) if config.refit else count
    images = (count // 2, count) if count > 1 else (0.5, 1)
    return Advice((float(images[0]), float(images[1])), (half, whole), used, "well" if _by_well(data) else "field")


@dataclass(frozen=True, eq=False)
class Taught:
    """What a card says of fine-tuning."""

    before: Mapping[str, Mapping[str, float]]  # scores of the model of `start` on the held-out part, by stain, where it paints it
    advice: Advice | None = None  # whether more images would help; None where that was not tried

    @property
    def sentence(self) -> str:
        """The advice in words; empty without one."""
        return self.advice.sentence() if self.advice is not None else ""


def write_report(config: TrainConfig, stains: Sequence[str], taught: Taught, after: Mapping[str, Mapping[str, float]]) -> None:
    """Write scores and advice into the run folder, for the command and the dock."""
    assert config.run is not None
    tables = {"before": taught.before, "after": after}
    scores = {name: {stain: _plain(table[stain]) if stain in table else None for stain in stains} for name, table in tables.items()}
    report = {"id": config.id, "start": config.start, **scores, "advice": None if taught.advice is None else taught.advice.to_dict()}
    write_text(config.run / REPORT, json.dumps(report, allow_nan=False), durable=False)


def _plain(row: Mapping[str, float]) -> dict[str, float | None]:
    """Return scores with None where one is undefined."""
    return {name: value if math.isfinite(value) else None for name, value in row.items()}


def read_report(run: Path) -> dict[str, Any]:
    """Read what `write_report` wrote.

    Raises `ReadError` if it is absent or damaged.
    """
    found = read_object(run / REPORT)
    if found is None or not all(isinstance(found.get(name), dict) for name in ("before", "after")):
        raise ReadError(run / REPORT, "it is not the report of a model that was taught; the same command writes it anew")
    return found
