"""Prints the tables of docs/register.md: how well an image is found in a stain of another modality, with a model and without.

    python scripts/registration_table.py [--pairs 90] [--seed 60000] [--model simulated-cell-painting] [--figure docs/images/registration.png]

Each pair is a simulated field of its own. The moving image is its brightfield, cut out; the fixed one is a real stain of the same cells,
turned, scaled and shifted by a transform that the method is not told, with noise of its own: two thirds of them much larger than the moving
image, which lies somewhere in it, the others of its size and overlapping it in part. Errors are those of Ounkomol et al. 2018: the mean
distance, over the pixels of the moving image, between where they are laid and where they belong, in pixels of the fixed image.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from napari_virtual_paint.models import open_model
from napari_virtual_paint.painting import PaintSettings, paint, run_to_end
from napari_virtual_paint.registration import Registration, RegistrationSettings, register
from napari_virtual_paint.registration.run import run_to_end as registered
from napari_virtual_paint.samples import STAINS, TREATMENTS, SimulationSettings, noiseless_stains, simulate_field
from napari_virtual_paint.samples.camera import expose
from napari_virtual_paint.samples.simulator import STAIN_READ_NOISE
from napari_virtual_paint.stack import Stack

SCENE, SMALL, LARGE, SAME = 800, 320, 700, 384
"""Pixels a side: of the simulated field, of a small image and the large one it lies in, of two that overlap in part."""
SHIFT = 60.0
"""Largest shift along an axis of images of one size, pixels."""
ROTATION, SCALE = 10.0, 1.1
ELECTRONS = (2.0, 0.2, 0.05)
"""Electrons a grey level of the fixed image: as the simulator's, a tenth, a fortieth."""
RIGHT = 5.0
"""Pixels: a match that is off by more is a wrong one."""


@dataclass(frozen=True, eq=False)
class Pair:
    """Brightfield, a real stain elsewhere, and the transform between them, which the method is not told."""

    brightfield: Stack
    stain: str
    fixed: np.ndarray
    matrix: np.ndarray
    kind: str


def make_pair(number: int, seed: int) -> Pair:
    rng = np.random.default_rng([seed, number])
    treatment = list(TREATMENTS)[number % len(TREATMENTS)]
    settings = SimulationSettings(size=SCENE, treatment=treatment, seed=seed + number)
    inside = number % 3 != 2
    stain = STAINS[number % len(STAINS)]
    moving, size = (SMALL, LARGE) if inside else (SAME, SAME)
    middle = np.full(2, (SCENE - 1) / 2)
    reach = 0.5 * (LARGE / SCALE - SMALL) / np.sqrt(2) if inside else 0.0
    start = np.rint(middle + rng.uniform(-reach, reach, 2) - (moving - 1) / 2).astype(int)
    wander = SHIFT if not inside else 20.0
    to_fixed = similarity(rng, middle, np.full(2, (size - 1) / 2) + rng.uniform(-wander, wander, 2))
    clean = noiseless_stains(settings).data[0, STAINS.index(stain), 0]
    back = np.linalg.inv(to_fixed)
    laid = ndimage.affine_transform(clean, back[:2, :2], back[:2, 2], output_shape=(size, size), order=3, mode="reflect")
    fixed = expose(laid.astype(np.float32), rng, ELECTRONS[(number // 3) % len(ELECTRONS)], STAIN_READ_NOISE)
    field = simulate_field(settings).brightfield
    part = (..., slice(start[0], start[0] + moving), slice(start[1], start[1] + moving))
    cut = Stack(np.ascontiguousarray(field.data[part]), field.channels, field.pixel_size)
    corner = np.eye(3)
    corner[:2, 2] = start
    return Pair(cut, stain, fixed, to_fixed @ corner, "inside" if inside else "beside")


def similarity(rng: np.random.Generator, around: np.ndarray, to: np.ndarray) -> np.ndarray:
    """Return a random rotation and scaling that brings the point `around` to the point `to`."""
    angle, scale = np.radians(rng.uniform(-ROTATION, ROTATION)), np.exp(rng.uniform(-1, 1) * np.log(SCALE))
    out = np.eye(3)
    out[:2, :2] = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    out[:2, 2] = to - out[:2, :2] @ around
    return out


def painted(model, pair: Pair) -> np.ndarray:
    painting = run_to_end(paint(model, pair.brightfield, PaintSettings(device="cpu")))
    return painting.stack.data[0, painting.stack.channel_index(pair.stain), 0]


def error_of(found: Registration, pair: Pair) -> float:
    h, w = pair.brightfield.shape[-2:]
    points = np.array([(y, x, 1.0) for y in np.linspace(0, h - 1, 25) for x in np.linspace(0, w - 1, 25)])
    return float(np.linalg.norm(points @ (found.guess - pair.matrix)[:2].T, axis=1).mean())


def find(image: np.ndarray, fixed: np.ndarray) -> Registration:
    return registered(register(image, fixed, moving_size=(0.65, 0.65), fixed_size=(0.65, 0.65), settings=RegistrationSettings()))
