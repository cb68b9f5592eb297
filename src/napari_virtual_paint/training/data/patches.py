"""Random patches: those of a step depend on the seed and the step alone, so a resumed run sees the same as an uninterrupted one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import IterableDataset

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.training.config.network import Augment
from napari_virtual_paint.training.config.run import TrainConfig
from napari_virtual_paint.training.data.pairs import Pair


class Draw:
    """Draw images with a random generator that the caller gives.

    Parameters
    ----------
    metadata
        Metadata of each image, by column.
    columns
        Columns whose combinations are equally likely, and each image within a combination. Without any, all images are
        equally likely.

    Raises
    ------
    InputError
        If no image has a column.
    """

    def __init__(self, metadata: Sequence[Mapping[str, str]], columns: Sequence[str] = ()) -> None:
        self.count = len(metadata)
        columns = [column.casefold() for column in columns]
        for column in columns:
            if not any(column in one for one in metadata):
                known = ", ".join(dict.fromkeys(key for one in metadata for key in one)) or "nothing"
                raise InputError(f"data.balance: no image has the column {column}; known is {known}.")
        self.groups: dict[tuple[str, ...], list[int]] = {}
        for index, one in enumerate(metadata):
            if columns:
                self.groups.setdefault(tuple(one.get(column, "") for column in columns), []).append(index)
        self._groups = [self.groups[key] for key in sorted(self.groups)]

    def __call__(self, rng: np.random.Generator) -> int:
        """Return the position of the next image."""
        if not self._groups:
            return int(rng.integers(self.count))
        group = self._groups[int(rng.integers(len(self._groups)))]
        return group[int(rng.integers(len(group)))]


class PatchBatch(NamedTuple):
    """The patches of one step: input (N, C, [Z,] Y, X), target, and their weight in the loss (N, 1, [1,] Y, X)."""

    x: Tensor
    y: Tensor
    weight: Tensor


class Sampler:
    """Draw the patches of any step: an image, all equally likely (or balanced by `data.balance`), then a position in it.

    Parameters
    ----------
    pairs
        The pairs to train on. A patch may overlap the held-out part; the loss ignores those pixels.
    config
        Patch, batch, augmentation and seed.
    replay
        A pair of older data, which a share of the patches is cut from in fine-tuning.
    """

    def __init__(self, pairs: Sequence[Pair], config: TrainConfig, replay: Pair | None = None) -> None:
        self.pairs, self.config = tuple(pairs), config
        self.reach = patch_reach(config)
        self.replayed = 0.0 if replay is None or config.fine_tuning is None else config.fine_tuning.replay
        grid = config.data.tiles.size if config.data.tiles else 1
        self.draw = Draw([pair.metadata for pair in self.pairs], config.data.balance)
        # Pairs share equal masks and hence positions: a list for each of thousands of fields would take more memory than the fields.
        known: dict[tuple[int, tuple[int, ...]], npt.NDArray[np.intp]] = {}
        self.places = []
        if replay is not None:
            self.pairs = (*self.pairs, replay)  # behind those that are drawn
        for pair in self.pairs:
            mask, shape = pair.parts["train"], pair.x.shape[-2:]
            if (id(mask), shape) not in known:
                known[id(mask), shape] = _places(mask, shape, self.reach[-2:], grid)
            self.places.append(known[id(mask), shape])

    def batch(self, step: int) -> PatchBatch:
        """Return the patches of a step."""
        rng = np.random.default_rng([self.config.seed, 2, step])
        return PatchBatch(*(torch.stack(items) for items in zip(*(self._patch(rng) for _ in range(self.config.batch)), strict=True)))

    def _patch(self, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        index = len(self.pairs) - 1 if self.replayed and rng.random() < self.replayed else self.draw(rng)
        pair, reach = self.pairs[index], self.reach
        top, left = self.places[index][rng.integers(len(self.places[index]))]
        at: tuple[slice, ...] = (slice(top, top + reach[-2]), slice(left, left + reach[-1]))
        weight = torch.from_numpy(pair.parts["train"][at].astype(np.float32))
        if len(reach) == 3:
            low = int(rng.integers(pair.x.shape[1] - reach[0] + 1))
            at, weight = (slice(low, low + reach[0]), *at), weight[None].expand(reach)
        every = (slice(None), *at)
        x, y = torch.from_numpy(pair.x[every]), torch.from_numpy(pair.y[every])
        return augment(x, y, weight[None], self.config.patch, self.config.augment, rng)


class PatchBatches(IterableDataset[PatchBatch]):
    """The batches of one epoch, from the current step of the training."""

    def __init__(self, sampler: Sampler, start: Callable[[], int], count: Callable[[int], int]) -> None:
        self.sampler, self.start, self.count = sampler, start, count

    def __iter__(self) -> Iterator[PatchBatch]:
        """Yield the batches."""
        first = self.start()
        for step in range(first, first + self.count(first)):
            yield self.sampler.batch(step)


def patch_reach(config: TrainConfig) -> tuple[int, ...]:
    """Return the sides of the crop that a patch is taken from."""
    return tuple(_reach(side, config.augment) if i >= len(config.patch) - 2 else side for i, side in enumerate(config.patch))


def _reach(side: int, settings: Augment) -> int:
    """Return the side of the crop that a patch is taken from: larger than the patch where it is rotated or zoomed."""
    if not (settings.rotate or settings.zoom):
        return side
    # Half the diagonal of a rotated patch would need 1.41; the corners beyond the crop are mirrored instead.
    return int(np.ceil(side * 1.5 / 2) * 2)


def _places(train: npt.NDArray[np.bool_], shape: tuple[int, ...], patch: tuple[int, ...], grid: int) -> npt.NDArray[np.intp]:
    """List the corners (n, 2), on the grid, of patches of which at least half may be trained on, else those with most."""
    height, width = shape[0] - patch[0] + 1, shape[1] - patch[1] + 1
    # An integral image gives the number of trainable pixels in every window at once.
    total = np.pad(train.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    inside = total[patch[0] :, patch[1] :] - total[:height, patch[1] :] - total[patch[0] :, :width] + total[:height, :width]
    inside = inside[::grid, ::grid]
    return grid * np.argwhere(inside >= min(inside.max(), patch[0] * patch[1] // 2))


def augment(
    x: Tensor, y: Tensor, weight: Tensor, patch: tuple[int, ...], settings: Augment, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Augment one patch at random: geometry of both images alike, intensity of the input alone.

    Parameters
    ----------
    x, y, weight
        Input (C, [Z,] Y, X), target and weight (1, [Z,] Y, X).
    patch
        Size of the result.
    """
    if settings.rotate or settings.zoom:
        x, y, weight = _rotate_and_zoom(x, y, weight, patch, settings, rng)
    if settings.quarter_turns:
        quarters = int(rng.integers(4))
        x, y, weight = (torch.rot90(item, quarters, (-2, -1)) for item in (x, y, weight))
    if settings.flips:
        axes = [axis for axis in (-2, -1) if rng.integers(2)]
        x, y, weight = (item.flip(axes) for item in (x, y, weight))
    if settings.gain or settings.offset:
        x = x * float(np.exp(rng.normal() * settings.gain)) + float(rng.normal() * settings.offset)
    if settings.noise:
        x = x + torch.from_numpy(rng.standard_normal(x.shape, np.float32)) * float(rng.uniform(0, settings.noise))
    return x, y, weight


def _rotate_and_zoom(
    x: Tensor, y: Tensor, weight: Tensor, patch: tuple[int, ...], settings: Augment, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Rotate by any angle and zoom in the plane, bilinearly; the crop is larger than the resulting patch."""
    angle = rng.uniform(0, 2 * np.pi) if settings.rotate else 0.0
    zoom, stretch = np.exp(rng.uniform(-1, 1, 2) * settings.zoom * (1, 1 / 3))
    height, width = (int(side) for side in x.shape[-2:])
    # grid_sample's axes run from -1 to 1 over the crop, x first.
    to_crop = np.diag([patch[-1] / width, patch[-2] / height])
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = torch.tensor(np.c_[to_crop @ rotation @ np.diag([zoom * stretch, zoom / stretch]), [0, 0]][None], dtype=torch.float32)
    grid = functional.affine_grid(matrix, [1, 1, patch[-2], patch[-1]], align_corners=False)
    sizes = [item[..., 0, 0].numel() for item in (x, y, weight)]
    planes = torch.cat([item.reshape(-1, height, width) for item in (x, y, weight)])[None]
    turned = functional.grid_sample(planes, grid, padding_mode="reflection", align_corners=False)[0]
    leads = [item.shape[:-2] for item in (x, y, weight)]
    parts = torch.split(turned, sizes)
    a, b, c = (item.reshape(*lead, *patch[-2:]) for item, lead in zip(parts, leads, strict=True))
    # A pixel that is partly held out gets weight 0.
    return a, b, (c > 0.999).float()
