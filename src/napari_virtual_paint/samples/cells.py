"""Where the cells of a simulated field lie, and what each is like."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_virtual_paint.samples.settings import SimulationSettings

Doubles = npt.NDArray[np.float64]

MARGIN = 25.0  # micrometres round the field in which cells lie too, so that some are cut by its border

ANGLES = 1024  # entries of an outline's table over the angle

INTERPHASE, METAPHASE, ANAPHASE, DEAD = 0, 1, 2, 3
CORNERS = 6
LOBES = 5


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of a field, one entry an array for each cell; lengths in micrometres, angles in radians."""

    centre: Doubles  # of the nucleus, y and x, shape (n, 2)
    angle: Doubles  # of the long axis
    axes: Doubles  # half axes of the cell, shape (n, 2)
    outline: Doubles  # radius over the angle as a factor on the half axes, shape (n, `ANGLES`)
    offset: Doubles  # of the cell's centre from its nucleus, along its axes, shape (n, 2)
    lobes: Doubles  # of the nucleus: y, x (from its centre), half axes and angle, shape (n, `LOBES`, 5); unused lobes have half axes 0
    nucleus_height: Doubles  # thickness of the nucleus
    lamella: Doubles
    body: Doubles  # `lamella` and `body`: thickness of the thin rim and of the hump round the nucleus
    nucleoli: npt.NDArray[np.int64]  # number of nucleoli
    nucleolus_radius: Doubles  # their mean radius
    fibres: Doubles  # strength of the stress fibres
    phase: npt.NDArray[np.int64]  # `INTERPHASE`, `METAPHASE`, `ANAPHASE` or `DEAD`
    brightness: Doubles  # factor on each stain, shape (n, 5)
    seed: npt.NDArray[np.int64]  # of what is drawn inside the cell

    def __len__(self) -> int:
        return len(self.angle)

    def moved(self, shift: Doubles, turn: Doubles) -> Cells:
        """Return the cells moved by (n, 2) micrometres and turned by (n,) radians."""
        cos, sin = np.cos(turn)[:, None], np.sin(turn)[:, None]
        lobes = self.lobes.copy()
        y, x = self.lobes[..., 0], self.lobes[..., 1]
        lobes[..., 0], lobes[..., 1] = y * cos + x * sin, x * cos - y * sin
        lobes[..., 4] += turn[:, None]
        return replace(self, centre=self.centre + shift, angle=self.angle + turn, lobes=lobes)


def lay_out(settings: SimulationSettings, rng: np.random.Generator) -> Cells:
    """Draw the cells of a field: how many, where, and each one's size, shape, phase and brightness."""
    effect = settings.effect
    edge = settings.size * settings.pixel_size
    expected = settings.density * effect.cells * (edge + 2 * MARGIN) ** 2 / 1e6
    count = int(rng.poisson(expected * rng.lognormal(-0.02, 0.2)))
    area = rng.lognormal(0.0, 0.28, count)
    nucleus = 8.0 * np.sqrt(effect.nucleus_area * np.sqrt(area)) * rng.lognormal(0.0, 0.06, count)
    centre = _place(rng, edge, nucleus, crowding=float(rng.uniform(0.4, 0.9)))
    count = len(centre)
    area, nucleus = area[:count], nucleus[:count]
    phase = rng.choice(4, count, p=_phase_shares(settings.mitotic * effect.mitotic, (0.8 + effect.dead) / 100))
    round_cell = phase != INTERPHASE
    stretch = np.where(round_cell, 1.04, 1 + (1 - effect.rounding) * rng.gamma(2.0, 0.3, count))
    radius = np.where(phase == DEAD, 5.5 * area**0.3, 9.5 * area**0.15)
    radius = np.where(round_cell, radius, 23.5 * effect.spread * np.sqrt(area))
    axes = np.stack([radius * np.sqrt(stretch), radius / np.sqrt(stretch)], axis=1)
    shrink = np.where(round_cell, 0.0, 1.0)
    tall = 4.6 * effect.nucleus_height * rng.lognormal(0, 0.12, count)
    return Cells(
        centre=centre,
        angle=rng.uniform(0, 2 * np.pi, count),
        axes=axes,
        outline=_outlines(rng, count, effect.rounding, round_cell),
        offset=rng.normal(0, 0.16, (count, 2)) * axes * shrink[:, None],
        lobes=_lobes(rng, nucleus, phase, effect.lobes),
        nucleus_height=np.where(round_cell, 5.0, tall),
        lamella=np.where(round_cell, 3.0, rng.lognormal(0.2, 0.25, count) * (1 + 0.8 * effect.rounding)),
        body=np.where(round_cell, 8.5, (0.95 * tall + 0.4) * rng.lognormal(0, 0.1, count) * (1 + 0.4 * effect.rounding)),
        nucleoli=np.where(round_cell, 0, np.maximum(1, rng.poisson(2.6 * effect.nucleoli, count))),
        nucleolus_radius=1.35 * effect.nucleolus_size * rng.lognormal(0, 0.15, count),
        fibres=effect.fibres * rng.gamma(0.7, 1.2, count) * shrink,
        phase=phase,
        brightness=rng.lognormal(0.0, (0.1, 0.16, 0.14, 0.18, 0.25), (count, 5))
        * (area[:, None] ** 0.2)
        * np.where((phase == DEAD)[:, None], (1.6, 0.7, 0.7, 0.9, 0.5), 1.0),
        seed=rng.integers(0, 2**31, count),
    )


def _brightness(rng: np.random.Generator, area: Doubles, phase: npt.NDArray[np.int64]) -> Doubles:
    """Return each cell's factor on each stain (n, 5): by chance, a little more in large cells, other in dead ones."""
    chance = rng.lognormal(0.0, (0.1, 0.16, 0.14, 0.18, 0.25), (len(area), 5))
    out: Doubles = chance * area[:, None] ** 0.2 * np.where((phase == DEAD)[:, None], (1.6, 0.7, 0.7, 0.9, 0.5), 1.0)
    return out


def _phase_shares(mitotic: float, dead: float) -> list[float]:
    """Return the shares of interphase, metaphase, anaphase and dead cells."""
    mitotic, dead = min(mitotic, 0.6), min(dead, 0.3)
    return [1 - mitotic - dead, 0.65 * mitotic, 0.35 * mitotic, dead]


def _place(rng: np.random.Generator, edge: float, nucleus: Doubles, crowding: float) -> Doubles:
    """Return centres (n, 2): some beside a cell that is there already, none so near that two nuclei touch.

    Fewer than requested where the field is full.
    """
    placed = np.empty((0, 2))
    for radius in nucleus:
        for _ in range(25):
            if len(placed) and rng.random() < crowding:
                angle, distance = rng.uniform(0, 2 * np.pi), radius * rng.uniform(2.5, 4.5)
                spot = placed[rng.integers(len(placed))] + distance * np.array([np.sin(angle), np.cos(angle)])
            else:
                spot = rng.uniform(-MARGIN, edge + MARGIN, 2)
            inside = bool(((spot > -MARGIN) & (spot < edge + MARGIN)).all())
            near = np.hypot(*(placed - spot).T) < radius + nucleus[: len(placed)] + 2.5
            if inside and not near.any():
                placed = np.vstack([placed, spot])
                break
    return placed


def _outlines(rng: np.random.Generator, count: int, rounding: float, round_cell: npt.NDArray[np.bool_]) -> Doubles:
    """Return outlines (n, `ANGLES`): corners joined by straight or hollow edges, now and then one drawn out to a tail."""
    theta = np.linspace(0, 2 * np.pi, ANGLES, endpoint=False)
    out = np.ones((count, ANGLES))
    for i in range(count):
        corners = int(rng.integers(4, CORNERS + 1))
        at = rng.uniform(0, 2 * np.pi) + (np.arange(corners) + rng.uniform(-0.3, 0.3, corners)) * 2 * np.pi / corners
        radius = rng.uniform(0.85, 1.35, corners)
        radius[0] *= rng.choice([1.0, 1.55], p=[0.65, 0.35])
        hollow, wave = rng.uniform(-0.06, 0.2, corners), rng.normal(0, 0.05, 2)
        if round_cell[i]:
            out[i] = 1 + 0.3 * wave[0] * np.cos(2 * theta)
            continue
        gap = np.diff(np.append(at, at[0] + 2 * np.pi))
        past = (theta[:, None] - at[None, :]) % (2 * np.pi)
        j = np.argmin(past, axis=1)
        w = past[np.arange(ANGLES), j]
        chord = np.sin(gap[j] - w) / radius[j] + np.sin(w) / np.roll(radius, -1)[j]
        edge = np.sin(gap[j]) / np.maximum(chord, 1e-3)
        w = w / gap[j]
        edge *= 1 - 4 * hollow[j] * w * (1 - w)
        edge = ndimage.gaussian_filter1d(edge, ANGLES / 80, mode="wrap")
        edge = edge / np.sqrt(np.mean(edge**2)) + wave[0] * np.cos(2 * theta) + wave[1] * np.cos(5 * theta)
        out[i] = np.maximum((1 - rounding) * edge + rounding * (0.95 + wave[0] * np.cos(3 * theta)), 0.4)
    return out


def _lobes(rng: np.random.Generator, nucleus: Doubles, phase: npt.NDArray[np.int64], share: float) -> Doubles:
    """Return the parts of each nucleus, shape (n, `LOBES`, 5): one ellipse, several when fragmented, plates in mitosis."""
    count = len(nucleus)
    lobes = np.zeros((count, LOBES, 5))
    ratio = rng.uniform(1.05, 1.55, count)
    turn = rng.uniform(0, np.pi, count)
    lobes[:, 0, 2], lobes[:, 0, 3], lobes[:, 0, 4] = nucleus * np.sqrt(ratio), nucleus / np.sqrt(ratio), turn
    # A second, shallow ellipse makes the outline less than perfect, as most nuclei's is.
    side = rng.uniform(0, 2 * np.pi, count)
    lobes[:, 1, 0], lobes[:, 1, 1] = 0.32 * nucleus * np.sin(side), 0.32 * nucleus * np.cos(side)
    lobes[:, 1, 2], lobes[:, 1, 3] = 0.82 * nucleus, 0.74 * nucleus
    for i in np.flatnonzero((rng.random(count) < share) & (phase == INTERPHASE)):
        parts = int(rng.integers(2, LOBES + 1))
        around = rng.uniform(0, 2 * np.pi) + np.arange(parts) * 2 * np.pi / parts + rng.normal(0, 0.3, parts)
        reach, size = nucleus[i] * rng.uniform(0.4, 0.75, parts), nucleus[i] * rng.uniform(0.4, 0.8, parts)
        lobes[i] = 0
        lobes[i, :parts] = np.stack([reach * np.sin(around), reach * np.cos(around), size, size * rng.uniform(0.75, 1, parts), around], 1)
    lobes[phase != INTERPHASE] = 0
    for i in np.flatnonzero(phase == DEAD):
        parts = int(rng.integers(1, 4))
        lobes[i, :parts, :2] = rng.normal(0, 1.6, (parts, 2)) * (parts > 1)
        lobes[i, :parts, 2:4] = rng.uniform(1.4, 2.2, (parts, 1)) * (1.6 if parts == 1 else 1.0)
    plate = phase == METAPHASE
    lobes[plate, 0, 2], lobes[plate, 0, 3], lobes[plate, 0, 4] = 6.2, 2.0, turn[plate]
    apart = phase == ANAPHASE
    for k, sign in ((0, 1), (1, -1)):
        lobes[apart, k, 0], lobes[apart, k, 1] = sign * 4.2 * np.cos(turn[apart]), -sign * 4.2 * np.sin(turn[apart])
        lobes[apart, k, 2], lobes[apart, k, 3], lobes[apart, k, 4] = 5.0, 1.7, turn[apart]
    return lobes
