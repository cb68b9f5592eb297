"""Feature vectors of cells that do not exist: a real cell with features moved, alone or with those that hang together with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_virtual_paint.cells.populations.covariance import ShrunkCovariance

MOST = 2000  # cells that the covariance is taken from


@dataclass(frozen=True, eq=False)
class Counterfactuals:
    """Moves standardized features as `Population.conditional` does those in their own units."""

    pool: Tensor  # (n, p), the training cells: where a moved feature's values come from
    following: Tensor  # (p, p), row j: by how much each feature follows one unit of feature j
    plain: int  # features that may be moved; the rest is the orientation
    clip: float

    @classmethod
    def of(cls, features: Tensor, turn: bool, clip: float) -> Counterfactuals:
        """Fit to the training cells (n, p); with `turn`, the last two columns are the nucleus's orientation."""
        plain = features.shape[1] - 2 * turn
        rows = np.unique(np.linspace(0, len(features) - 1, min(len(features), MOST)).round().astype(np.intp))
        fitted = ShrunkCovariance.of(features[rows, :plain].double().numpy())
        covariance = (fitted.vectors * fitted.extra) @ fitted.vectors.T
        covariance[np.diag_indices(plain)] += fitted.floor
        following = np.zeros((features.shape[1], features.shape[1]), np.float32)
        following[:plain, :plain] = covariance / np.diag(covariance)[:, None]
        return cls(features, torch.from_numpy(following), plain, clip)

    def moved(self, features: Tensor, columns: Tensor, values: Tensor, follow: bool) -> Tensor:
        """Return features (n, p) with one column of each, (n,), at a new value (n,)."""
        rows = torch.arange(len(features))
        out = features.clone()
        if follow:
            step = values - features[rows, columns]
            out = out + step[:, None] * self.following[columns]
            out[:, : self.plain] = out[:, : self.plain].clamp(-self.clip, self.clip)
        out[rows, columns] = values
        return out

    def drawn(self, features: Tensor, handles: Tensor, rng: np.random.Generator) -> Tensor:
        """Return random counterfactuals of cells (n, p).

        A quarter stays as it is, half has a feature moved and the others following, a quarter has a feature moved alone that the
        network meets by construction (`handles`, their columns). New values are those of other cells. Where the orientation is known,
        half is rotated.
        """
        count = len(features)
        kind = torch.from_numpy(rng.integers(0, 4, count))
        some = torch.from_numpy(rng.integers(0, self.plain, count))
        if len(handles):
            named = handles[torch.from_numpy(rng.integers(0, len(handles), count))]
            some = torch.where((kind == 3) | torch.from_numpy(rng.random(count) < 0.5), named, some)
        values = self.pool[torch.from_numpy(rng.integers(0, len(self.pool), count)), some]
        following, single = self.moved(features, some, values, True), self.moved(features, some, values, False)
        alone = (kind == 3) if len(handles) else torch.zeros_like(kind, dtype=torch.bool)
        out = torch.where((kind == 0)[:, None], features, torch.where(alone[:, None], single, following))
        if self.plain < features.shape[1]:
            turned = torch.from_numpy(rng.random(count) < 0.5)
            others = self.pool[torch.from_numpy(rng.integers(0, len(self.pool), count)), self.plain :]
            out[:, self.plain :] = torch.where(turned[:, None], others, out[:, self.plain :])
        return out
