"""Outlines of a nucleus and its cell as Fourier series, with the area and the orientation that are asked for, and maps drawn from them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

NUCLEUS_ORDERS = (2, 3, 4, 5, 6)
"""Harmonics of a nucleus's log radius; the first would only move its center."""
CELL_ORDERS = (1, 2, 3, 4, 5, 6)
"""Harmonics of the log width of the cytoplasm around it."""
NUCLEUS = 2 * len(NUCLEUS_ORDERS)
SHAPE = NUCLEUS + 2 * len(CELL_ORDERS)
"""Length of a shape: cosines and sines of the nucleus, then of the cytoplasm, counted from the nucleus's long axis."""
RAYS = 64
LEAST_WIDTH = 0.3  # of a cytoplasm, px: its logarithm needs a lower limit
MAPS = 7
"""Number of maps of `Outlines.maps`."""


@dataclass(frozen=True, eq=False)
class Outlines:
    """Outlines of n cells. Angles go from the rows' axis (down) to the columns', as CellProfiler's orientations do."""

    shape: Tensor  # (n, `SHAPE`)
    nucleus: Tensor  # (n,), area of the nucleus, px
    cytoplasm: Tensor  # (n,), area of the cell without its nucleus, px
    axis: Tensor  # (n, 2), cosine and sine of the nucleus's orientation
    centre: Tensor  # (n, 2), rows and columns from the middle of the crop, px

    def __len__(self) -> int:
        return len(self.shape)

    def rows(self, rows: Tensor) -> Outlines:
        """Return some of them."""
        return Outlines(self.shape[rows], self.nucleus[rows], self.cytoplasm[rows], self.axis[rows], self.centre[rows])

    def joined(self, other: Outlines) -> Outlines:
        """Return these and others."""
        pairs = ((getattr(self, name), getattr(other, name)) for name in ("shape", "nucleus", "cytoplasm", "axis", "centre"))
        return Outlines(*(torch.cat(pair) for pair in pairs))

    def turned(self, quarters: int, mirrored: bool) -> Outlines:
        """Return the outlines of the pictures mirrored left to right, if wanted, then rotated by quarter turns (down to the right)."""
        shape, axis, centre = self.shape, self.axis, self.centre
        if mirrored:
            flip = torch.tensor([1.0, -1.0])
            shape, axis, centre = shape * flip.repeat(SHAPE // 2), axis * flip, centre * flip
        for _ in range(quarters % 4):
            axis, centre = (torch.stack([-pair[:, 1], pair[:, 0]], 1) for pair in (axis, centre))
        return Outlines(shape, self.nucleus, self.cytoplasm, axis, centre)

    def radii(self, cosine: Tensor, sine: Tensor) -> tuple[Tensor, Tensor]:
        """Return the nucleus's and the cell's radius (n, ...), px, in directions (n, ...) counted from the nucleus's long axis.

        The area of each outline is the requested one exactly: the nucleus's series is scaled to it, and the width of the cytoplasm by the
        positive root of the quadratic equation that its area gives.
        """
        tilt, scale, wide = self._fitted
        flat = (cosine.flatten(1), sine.flatten(1))
        inner, gap = self._series(_turned(flat, tilt))
        inner = inner * scale
        return inner.reshape(cosine.shape), (inner + wide * gap).reshape(cosine.shape)

    @cached_property
    def _fitted(self) -> tuple[Tensor, Tensor, Tensor]:
        """The orientation of the series (n,), and the factors (n, 1) on the nucleus's radius and on the width of the cytoplasm."""
        steps = torch.arange(RAYS, dtype=self.shape.dtype, device=self.shape.device) * (2 * math.pi / RAYS)
        ring = (steps.cos().expand(len(self), -1), steps.sin().expand(len(self), -1))
        # The axis of the series itself is brought to 0, so that the drawn nucleus has the orientation that is asked for.
        tilt = self._tilt(ring)
        along = _turned(ring, tilt)
        nucleus, width = self._series(along)
        scale = (2 * self.nucleus / _over(nucleus.square())).sqrt()[:, None]
        nucleus = nucleus * scale
        linear, square = _over(nucleus * width), 0.5 * _over(width.square())
        wide = ((linear.square() + 4 * square * self.cytoplasm).sqrt() - linear) / (2 * square)
        return tilt, scale, wide[:, None]

    def _series(self, direction: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the radius of the nucleus and the width of the cytoplasm (n, k), both without their scale."""
        waves = _waves(direction, max(CELL_ORDERS))
        nucleus = torch.einsum("nk,nkr->nr", self.shape[:, :NUCLEUS], _chosen(waves, NUCLEUS_ORDERS))
        width = torch.einsum("nk,nkr->nr", self.shape[:, NUCLEUS:], _chosen(waves, CELL_ORDERS))
        return nucleus.clamp(-2, 2).exp(), width.clamp(-3, 3).exp()

    def _tilt(self, ring: tuple[Tensor, Tensor]) -> Tensor:
        """Return the orientation (n,) of the nucleus's series, from its second moments about its center of mass."""
        with torch.no_grad():
            radius, _ = self._series(ring)
            cosine, sine = ring
            area = _over(radius.square()) / 2
            down, across = (_over(radius**3 * part) / (3 * area) for part in ring)
            fourth = radius**4 / 4
            even = _over(fourth * (cosine.square() - sine.square())) / area - (down.square() - across.square())
            odd = _over(fourth * 2 * cosine * sine) / area - 2 * down * across
            return torch.atan2(odd, even) / 2

    def maps(self, size: int, side: int) -> tuple[Tensor, Tensor]:
        """Draw the outlines on a grid.

        Parameters
        ----------
        size
            Side of the crop, px.
        side
            Points along each side of the grid, which covers the crop.

        Returns
        -------
        maps
            (n, `MAPS`, side, side): signed distance along the ray from nucleus's and cell's edge (inside above 0, bounded by 1), share
            of the way from the center to the nucleus's edge, and from there to the cell's, direction (cosine and sine, fading at the
            center), and the distance from the cell's edge further out.
        place
            (n, side, side, 2): columns and rows of the same points in the cell's own frame, where the nucleus's edge is at radius 0.5
            and the cell's at 1; as `torch.nn.functional.grid_sample` takes them.
        """
        down, across, far = self._polar(size, side)
        nucleus, cell = self.radii(down, across)
        pixel = size / side
        edge, outer = (nucleus - far), (cell - far)
        inside, between = (far / nucleus).clamp(0, 1), ((far - nucleus) / (cell - nucleus).clamp(min=0.25)).clamp(0, 1)
        beyond = (-outer).clamp(min=0)
        fade = (far / (far + pixel)).clamp(0, 1)
        soft = 1.5 * pixel
        maps = torch.stack(
            [
                torch.tanh(edge / soft),
                torch.tanh(outer / soft),
                inside,
                between,
                down * fade,
                across * fade,
                torch.tanh(beyond / (size / 4)),
            ],
            1,
        )
        radius = 0.5 * inside + 0.5 * between + beyond / size
        return maps, torch.stack([across * radius, down * radius], -1)

    def masks(self, size: int, softness: float = 0.5) -> tuple[Tensor, Tensor]:
        """Return soft masks (n, size, size) of the nucleus and of the whole cell: 0.5 on the edge, over some `softness` px."""
        nucleus, cell = self.distances(size)
        return soft_mask(nucleus, softness), soft_mask(cell, softness)

    def distances(self, size: int) -> tuple[Tensor, Tensor]:
        """Return the distance along the ray from the nucleus's and the cell's edge (n, size, size), px, above 0 inside."""
        down, across, far = self._polar(size, size)
        nucleus, cell = self.radii(down, across)
        return nucleus - far, cell - far

    def _polar(self, size: int, side: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return cosine and sine of each point's direction from the nucleus's axis, and its distance, (n, side, side) each."""
        pixel = size / side
        line = (torch.arange(side, dtype=self.shape.dtype, device=self.shape.device) - (side - 1) / 2) * pixel
        down = line[None, :, None] - self.centre[:, 0, None, None]
        across = line[None, None, :] - self.centre[:, 1, None, None]
        cosine, sine = self.axis[:, 0, None, None], self.axis[:, 1, None, None]
        along, beside = down * cosine + across * sine, across * cosine - down * sine
        far = (along.square() + beside.square() + 1e-6).sqrt()
        return along / far, beside / far, far


def soft_mask(distance: Tensor, softness: float = 0.5) -> Tensor:
    """Return a mask from distances within its edge, px: 0.5 on the edge, over some `softness` px."""
    return torch.sigmoid(distance * (2 / softness))


def _over(values: Tensor) -> Tensor:
    """Return the integral (n,) over all directions of values (n, `RAYS`)."""
    return values.mean(1) * (2 * math.pi)


def _turned(direction: tuple[Tensor, Tensor], by: Tensor) -> tuple[Tensor, Tensor]:
    """Return directions (n, k) plus angles (n,)."""
    cosine, sine = by.cos()[:, None], by.sin()[:, None]
    return direction[0] * cosine - direction[1] * sine, direction[1] * cosine + direction[0] * sine


def _waves(direction: tuple[Tensor, Tensor], last: int) -> Tensor:
    """Return cosines and sines (n, 2 x last, k) of the multiples of angles, by the addition theorem."""
    found = [direction]
    for _ in range(1, last):
        cosine, sine = found[-1]
        found.append((cosine * direction[0] - sine * direction[1], sine * direction[0] + cosine * direction[1]))
    return torch.stack([part for pair in found for part in pair], 1)


def _chosen(waves: Tensor, orders: tuple[int, ...]) -> Tensor:
    return waves[:, 2 * orders[0] - 2 : 2 * orders[-1]]


def fit_outlines(nuclei: Tensor, cells: Tensor) -> Outlines:
    """Return the outlines of masks.

    Parameters
    ----------
    nuclei, cells
        (n, d, d), above 0 inside; no nucleus may be empty, and a cell contains its nucleus.

    Notes
    -----
    A radius is the length of a ray inside the mask, so that a mask that is not star-shaped loses no area. Areas, center and orientation
    are those of the pixels.
    """
    inner, outer = (nuclei > 0).float(), (cells > 0).float()
    count, side = len(inner), inner.shape[-1]
    line = torch.arange(side) - (side - 1) / 2
    area = inner.sum((1, 2))
    centre = torch.stack([(inner * line[:, None]).sum((1, 2)), (inner * line).sum((1, 2))], 1) / area[:, None]
    down, across = line[None, :, None] - centre[:, 0, None, None], line[None, None, :] - centre[:, 1, None, None]
    even, odd = (inner * (down.square() - across.square())).sum((1, 2)), (2 * inner * down * across).sum((1, 2))
    angle = torch.atan2(odd, even) / 2
    axis = torch.stack([angle.cos(), angle.sin()], 1)
    steps = torch.arange(RAYS) * (2 * math.pi / RAYS)
    direction = _turned((steps.cos().expand(count, -1), steps.sin().expand(count, -1)), angle)
    step = 0.25
    out = (torch.arange(int(side / step * 0.75)) + 0.5) * step
    radii = []
    for masks in (inner, outer):
        points = torch.stack(
            [centre[:, 1, None, None] + direction[1][:, :, None] * out, centre[:, 0, None, None] + direction[0][:, :, None] * out], -1
        )
        sampled = torch.nn.functional.grid_sample(masks[:, None], points * (2 / side), mode="bilinear", align_corners=False)
        radii.append(sampled[:, 0].sum(-1) * step)
    radius, width = radii[0].clamp(min=0.5).log(), (radii[1] - radii[0]).clamp(min=LEAST_WIDTH).log()
    waves = _waves((steps.cos()[None], steps.sin()[None]), max(CELL_ORDERS))
    shape = torch.cat(
        [2 / RAYS * values @ _chosen(waves, orders)[0].T for values, orders in ((radius, NUCLEUS_ORDERS), (width, CELL_ORDERS))], 1
    )
    rest = (outer.sum((1, 2)) - area).clamp(min=1.0)
    return Outlines(shape, area, rest, axis, centre)
