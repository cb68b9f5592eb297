"""Preview: a held-out field predicted during training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from napari_virtual_paint.training.data.pairs import DataSet, Pair
from napari_virtual_paint.training.data.source import Subset
from napari_virtual_paint.training.data.store import Floats
from napari_virtual_paint.training.run_folder.watch import Preview
from napari_virtual_paint.training.validation import bounds, paint_part

MOST = {2: 512, 3: 192}  # most pixels per side of the preview of a 2D network, and of a 3D one, which predicts all its planes
LONGEST = 2  # largest aspect ratio: a narrow band of a large image would show no detail


class Previewer:
    """Predict the same crop of one field after each epoch: the center of the first held-out field, else of the first field."""

    def __init__(self, data: DataSet) -> None:
        self.data = data
        parts: tuple[Subset, ...] = ("validation", "test", "train")
        part = next(name for name in parts if data.holding(name))
        self.part, self.pair = part, _cut(data.holding(part)[0], part)

    def paint(self, network: nn.Module, step: int, device: torch.device | str = "cpu") -> Preview:
        """Return the preview of a network; its train/eval mode is restored."""
        training = network.training
        network.eval()
        try:
            painted, truth, _ = paint_part(network, self.pair, self.part, device)
        finally:
            network.train(training)
        shown = self.pair.x[(..., *bounds(self.pair.parts[self.part]))]
        sizes = self.data.pixel_size
        return Preview(
            _plane(shown),
            _plane(truth),
            _plane(painted),
            channels=self.data.channels,
            stains=self.data.stains,
            name=self.pair.name,
            step=step,
            held_out=self.part != "train",
            pixel_size=(sizes.y, sizes.x),
        )


def _cut(pair: Pair, part: Subset) -> Pair:
    """Return the center of a region, small enough for the preview."""
    rows, columns = bounds(pair.parts[part])
    most = min(MOST[pair.x.ndim - 1], LONGEST * min(rows.stop - rows.start, columns.stop - columns.start))
    at = []
    for side in (rows, columns):
        length = min(side.stop - side.start, most)
        start = (side.start + side.stop - length) // 2
        at.append(slice(start, start + length))
    mask = np.zeros_like(pair.parts[part])
    mask[tuple(at)] = True
    return replace(pair, parts={**pair.parts, part: mask})


def _plane(pixels: Floats) -> Floats:
    """Return the middle plane of (C, [Z,] Y, X)."""
    return np.ascontiguousarray(pixels if pixels.ndim == 3 else pixels[:, pixels.shape[1] // 2])
