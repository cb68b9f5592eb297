"""The inside of the cells as maps of a field: threads, fibres, nets and droplets, each with its place along z."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from napari_virtual_paint.samples.cells import INTERPHASE, Cells
from napari_virtual_paint.samples.geometry import FieldGeometry
from napari_virtual_paint.samples.settings import Treatment
from napari_virtual_paint.samples.textures import Floats, noise_pair, ridges, smooth, splat


@dataclass(frozen=True, eq=False)
class Organelle:
    """One structure of the cells in a field."""

    amount: Floats  # thickness in micrometres of the structure along z, axes YX (0 where there is none)
    low: Floats | float
    high: Floats | float  # `low` and `high`: heights in micrometres between which it lies, axes YX or one number for the field


def _points(cells: Cells, geometry: FieldGeometry, per_cell: npt.NDArray[np.integer], numbers: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return, for so many points per cell, each point's cell and its uniform random numbers (points, numbers).

    A cell's numbers hang on its own seed alone, so that they stay when the cell moves or another one comes.
    """
    owner = np.repeat(np.arange(len(cells)), per_cell)
    seeds = zip(cells.seed, per_cell, strict=True)
    rows = [np.random.default_rng([int(s), numbers]).random((int(n), numbers), np.float32) for s, n in seeds]
    drawn: Floats = np.concatenate(rows) if rows else np.zeros((0, numbers), np.float32)
    return owner, drawn


def _nuclear_radius(cells: Cells) -> npt.NDArray[np.float64]:
    radius: npt.NDArray[np.float64] = cells.lobes[:, :, 2:4].max(axis=(1, 2))
    return radius


def _side(cells: Cells) -> npt.NDArray[np.float64]:
    """Return the direction from each nucleus in which the centrosome lies, and with it Golgi and most mitochondria."""
    side: npt.NDArray[np.float64] = cells.angle + 2 * np.pi * (cells.seed % 1000) / 1000
    return side


def _lookup(image: npt.NDArray[Any], y: npt.NDArray[Any], x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the pixels at points; those outside take the nearest."""
    rows = np.clip(y.astype(np.int64), 0, image.shape[0] - 1)
    columns = np.clip(x.astype(np.int64), 0, image.shape[1] - 1)
    found: npt.NDArray[Any] = image[rows, columns]
    return found


def mitochondria(cells: Cells, geometry: FieldGeometry, effect: Treatment) -> Floats:
    """Return the thickness of mitochondria: threads that wander through the cytoplasm, denser round the nucleus."""
    px = geometry.pixel_size
    threads = np.array([110, 150, 150, 20])[cells.phase]
    owner, r = _points(cells, geometry, threads, 7)
    turn = np.where(r[:, 3] < 0.45, r[:, 0] * 2 * np.pi, _side(cells)[owner] + 0.8 * ndtri(0.01 + 0.98 * r[:, 0]))
    spread = (0.75 - 0.55 * effect.mito_collapse) * _nuclear_radius(cells)[owner]
    distance = _nuclear_radius(cells)[owner] * 0.8 - np.log(1 - 0.98 * r[:, 1]) * spread
    y = cells.centre[owner, 0] + distance * np.sin(turn)
    x = cells.centre[owner, 1] + distance * np.cos(turn)
    heading = turn + (r[:, 2] - 0.5) * 2.4 * (1 - 0.5 * effect.mito_collapse)
    bend = (r[:, 3] - 0.5) * 0.9
    steps = ((4 + 10 * r[:, 4]) * (1 - 0.6 * effect.mito_collapse) / (0.6 * px)).astype(np.int64)
    ys, xs, ws, owners = [], [], [], []
    for step in range(int(steps.max(initial=0))):
        alive = steps > step
        bend = 0.93 * bend + 0.05 * np.sin(step * (0.3 + r[:, 5]) + 6.3 * r[:, 6])
        heading = heading + bend * px
        y, x = y + 0.6 * px * np.sin(heading), x + 0.6 * px * np.cos(heading)
        ys.append(y[alive])
        xs.append(x[alive])
        owners.append(owner[alive])
        ws.append((0.6 + 0.8 * r[:, 5])[alive])
    if not ys:
        return np.zeros(geometry.shape, np.float32)
    y, x, weight, owner = np.concatenate(ys) / px, np.concatenate(xs) / px, np.concatenate(ws), np.concatenate(owners)
    radial = _lookup(geometry.nuclear, y, x).astype(np.float64)
    inside = (_lookup(geometry.cell, y, x) == owner + 1) & (radial > 0.4)
    weight = weight * (0.35 + 1.1 * np.exp(-np.maximum(radial - 1, 0) / 0.5)) * np.clip(radial, 0, 1)
    drawn = splat(y, x, weight * inside, geometry.shape)
    return 0.42 * smooth(drawn, 0.28 / px)


def stress_fibres(cells: Cells, geometry: FieldGeometry) -> Floats:
    """Return the thickness of stress fibres: long, nearly straight, along the cell's axis, at the glass."""
    px = geometry.pixel_size
    owner, r = _points(cells, geometry, np.where(cells.phase == INTERPHASE, 22, 0), 6)
    if not len(owner):
        return np.zeros(geometry.shape, np.float32)
    half = cells.axes[owner]
    family = np.where(r[:, 5] < 0.75, 0.0, 0.7)
    angle = (cells.angle[owner] + family + (r[:, 0] - 0.5) * 0.35)[:, None]
    across = ((r[:, 1] - 0.5) * 2.0 * half[:, 1])[:, None]
    length = half[:, 0] * (0.5 + 0.9 * r[:, 2])
    start = (r[:, 3] - 0.5) * half[:, 0]
    steps = np.arange(-1, 1, 0.6 * px / 26)[None, :]
    along = start[:, None] + steps * length[:, None]
    sag = across + ((r[:, 4] - 0.5) * 0.012)[:, None] * along**2
    y = (cells.centre[owner, 0][:, None] + along * np.sin(angle) + sag * np.cos(angle)) / px
    x = (cells.centre[owner, 1][:, None] + along * np.cos(angle) - sag * np.sin(angle)) / px
    inside = _lookup(geometry.cell, y, x) == owner[:, None] + 1
    strength = (cells.fibres[owner] * length / 26 * (0.4 + r[:, 2]))[:, None] * (1 - steps**4)
    drawn = splat(y.ravel(), x.ravel(), (strength * inside).ravel(), geometry.shape)
    return 0.22 * smooth(drawn, 0.3 / px)


def golgi(cells: Cells, geometry: FieldGeometry) -> Floats:
    """Return the thickness of the Golgi apparatus: a knot of short ribbons beside the nucleus."""
    px = geometry.pixel_size
    owner, r = _points(cells, geometry, np.where(cells.phase == INTERPHASE, 70, 0), 4)
    side = _side(cells)[owner]
    reach = _nuclear_radius(cells)[owner] * 0.95
    wide = 1.9 * np.sqrt(-2 * np.log(1 - 0.98 * r[:, 0]))
    y = (cells.centre[owner, 0] + reach * np.sin(side) + wide * np.sin(6.283 * r[:, 1])) / px
    x = (cells.centre[owner, 1] + reach * np.cos(side) + wide * np.cos(6.283 * r[:, 1])) / px
    inside = (_lookup(geometry.cell, y, x) == owner + 1) & (_lookup(geometry.nuclear, y, x) > 0.6)
    return 0.9 * smooth(splat(y, x, (0.5 + r[:, 2]) * inside, geometry.shape), 0.85 / px)


def droplets(cells: Cells, geometry: FieldGeometry) -> tuple[Floats, Floats]:
    """Return the thickness of lipid droplets and granules, the small ones and the large."""
    px = geometry.pixel_size
    count = (15 + 85 * ((cells.seed // 7) % 997 / 997) ** 2).astype(np.int64)
    owner, r = _points(cells, geometry, count, 5)
    distance = _nuclear_radius(cells)[owner] * (0.7 - 0.5 * np.log(1 - 0.97 * r[:, 0]))
    turn = np.where(r[:, 4] < 0.6, 6.283 * r[:, 1], _side(cells)[owner] + ndtri(0.01 + 0.98 * r[:, 1]))
    y = (cells.centre[owner, 0] + distance * np.sin(turn)) / px
    x = (cells.centre[owner, 1] + distance * np.cos(turn)) / px
    inside = (_lookup(geometry.cell, y, x) == owner + 1) & (_lookup(geometry.nuclear, y, x) > 0.75)
    images = []
    for radius, chosen in ((0.4, r[:, 2] < 0.65), (0.7, r[:, 2] >= 0.65)):
        sigma = max(0.62 * radius / px, 0.45)
        # A sphere's thickness along z holds its volume, 4/3 pi r^3, over the pixel's area.
        volume = 4 / 3 * np.pi * (radius * (0.8 + 0.4 * r[:, 3])) ** 3 / px**2
        images.append(smooth(splat(y, x, volume * inside * chosen, geometry.shape), sigma))
    return images[0], images[1]


def nucleoli(cells: Cells, geometry: FieldGeometry) -> Floats:
    """Return the thickness of nucleoli: one to a few rounded bodies inside each nucleus."""
    px = geometry.pixel_size
    out = np.zeros(geometry.shape, np.float32)
    owner, r = _points(cells, geometry, cells.nucleoli, 6)
    for i, u in zip(owner, r, strict=True):
        used = np.flatnonzero(cells.lobes[i, :, 2] > 0)
        lobe = cells.lobes[i, used[int(u[5] * len(used))]]
        away, turn = 0.62 * np.sqrt(u[0]), 6.283 * u[1]
        p, q = away * np.cos(turn) * lobe[2], away * np.sin(turn) * lobe[3]
        cy = cells.centre[i, 0] + lobe[0] + p * np.sin(lobe[4]) + q * np.cos(lobe[4])
        cx = cells.centre[i, 1] + lobe[1] + p * np.cos(lobe[4]) - q * np.sin(lobe[4])
        radius = cells.nucleolus_radius[i] * (0.6 + 0.7 * u[2])
        _stamp(out, cy / px, cx / px, radius / px, 1 + 0.6 * float(u[3]), 3.142 * float(u[4]), float(2 * radius * 0.75))
    inside = np.clip((0.97 - geometry.nuclear) * 8, 0, 1)
    thick: Floats = np.minimum(out * inside, 0.8 * geometry.nucleus_height)
    return thick


def _stamp(out: Floats, y: float, x: float, radius: float, ratio: float, turn: float, thick: float) -> None:
    """Add one ellipsoid's thickness to an image, soft over a pixel at its edge."""
    reach = int(radius * 1.5 + 3)
    y0, y1 = max(0, int(y) - reach), min(out.shape[0], int(y) + reach + 1)
    x0, x1 = max(0, int(x) - reach), min(out.shape[1], int(x) + reach + 1)
    if y1 <= y0 or x1 <= x0:
        return
    dy, dx = np.arange(y0, y1)[:, None] + 0.5 - y, np.arange(x0, x1)[None, :] + 0.5 - x
    u = (dx * np.cos(turn) + dy * np.sin(turn)) / (radius * np.sqrt(ratio))
    v = (dy * np.cos(turn) - dx * np.sin(turn)) / (radius / np.sqrt(ratio))
    bump = thick * np.sqrt(np.clip(1 - (u * u + v * v), 0, 1))
    out[y0:y1, x0:x1] = np.maximum(out[y0:y1, x0:x1], bump)


def reticulum(geometry: FieldGeometry, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return the thickness of the endoplasmic reticulum and a coarse unevenness (SD 1) of the cytoplasm.

    A net (where noise crosses zero) that is dense round the nucleus and thin in the lamella.
    """
    px = geometry.pixel_size
    fine, coarse = noise_pair(rng, geometry.shape, 2.1 / px)[0], noise_pair(rng, geometry.shape, 6.0 / px)[0]
    outside = 0.55 + 0.45 * np.clip((geometry.nuclear - 0.85) * 5, 0, 1)
    near = np.exp(-0.5 * np.square(np.maximum(geometry.nuclear - 0.8, 0) / 0.6))
    net = 0.6 + 0.65 * ridges(fine, 0.55)
    amount = geometry.height * (0.06 + 0.34 * near) * net * outside
    return amount * np.clip(1 + 0.22 * coarse, 0.3, None), coarse
