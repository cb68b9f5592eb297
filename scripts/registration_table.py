"""Prints the tables of docs/register.md: how well an image is found in a stain of another modality, with a model and without.

    python scripts/registration_table.py [--pairs 90] [--seed 60000] [--model simulated-cell-painting] [--workers 2] [--figure PNG]

Each pair is a simulated field of its own. The moving image is its brightfield, cut out; the fixed one is a real stain of the same cells,
turned, scaled and shifted by a transform that the method is not told, with noise of its own: two thirds of them much larger than the moving
image, which lies somewhere in it, the others of its size and overlapping it in part. Errors are those of Ounkomol et al. 2018: the mean
distance, over the pixels of the moving image, between where they are laid and where they belong, in pixels of the fixed image.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
from scipy import ndimage

from napari_virtual_paint.models import open_model
from napari_virtual_paint.painting import PaintSettings, paint, run_to_end
from napari_virtual_paint.registration import Registration, RegistrationSettings, register
from napari_virtual_paint.samples import STAINS, TREATMENTS, SimulationSettings, noiseless_stains, simulate_field
from napari_virtual_paint.samples.camera import expose
from napari_virtual_paint.samples.simulator import STAIN_READ_NOISE
from napari_virtual_paint.stack import Stack

SCENE, SMALL, LARGE, SAME = 800, 352, 700, 400
"""Pixels a side: of the simulated field, of a small image and the large one it lies in, of two that overlap in part."""
SHIFT = 60.0
"""Largest shift along an axis of images of one size, pixels."""
ROTATION, SCALE = 10.0, 1.1
ELECTRONS = (2.0, 0.2, 0.05)
"""Electrons a grey level of the fixed image: as the simulator's, a tenth, a fortieth."""
CONTENT = 0.01
"""Share of the painted image's pixels that must be above half its maximum, as in the paper: an empty image can't be found."""
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


def has_content(image: np.ndarray) -> bool:
    """Whether the painted image has something to be told by: the paper's rule, the brightest hundredth of a percent left out."""
    low, high = np.quantile(image, (0.01, 0.9999))
    return float((image > low + 0.5 * (high - low)).mean()) > CONTENT


def error_of(found: Registration, pair: Pair) -> float:
    h, w = pair.brightfield.shape[-2:]
    points = np.array([(y, x, 1.0) for y in np.linspace(0, h - 1, 25) for x in np.linspace(0, w - 1, 25)])
    return float(np.linalg.norm(points @ (found.guess - pair.matrix)[:2].T, axis=1).mean())


def find(image: np.ndarray, fixed: np.ndarray) -> Registration:
    return run_to_end(register(image, fixed, moving_size=(0.65, 0.65), fixed_size=(0.65, 0.65), settings=RegistrationSettings()))


METHODS = ("painted", "brightfield", "painted, mirrored")
"""What is registered; the last one must not be found, since no turn undoes a mirror."""


@dataclass(frozen=True)
class Result:
    """One registration."""

    number: int
    method: str
    stain: str
    kind: str
    converged: bool
    error: float
    correlation: float
    seconds: float


def try_pair(number: int, seed: int, name: str, every: int) -> list[Result] | None:
    """Register one pair by what was painted, and one of so many in the other ways; None where there is nothing to register."""
    import torch

    torch.set_num_threads(1)
    pair = make_pair(number, seed)
    image = painted(open_model(name), pair)
    if not has_content(image):
        return None
    out = []
    images = (image, pair.brightfield.data[0, 1, 0], image[:, ::-1])
    tried = len(METHODS) if number % every == number // every % every else 1  # so that all kinds of pairs have their turn
    for method, moving in list(zip(METHODS, images, strict=True))[:tried]:
        began = time.perf_counter()
        found = find(moving, pair.fixed)
        seconds = time.perf_counter() - began
        out.append(Result(number, method, pair.stain, pair.kind, found.converged, error_of(found, pair), found.correlation or 0.0, seconds))
        print(out[-1], file=sys.stderr, flush=True)
    return out


def table(rows: list[Result]) -> str:
    lines = [
        "| registered | pairs | converged | of them right | median error (px) | mean ± SD (px) | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for method in METHODS:
        mine = [row for row in rows if row.method == method]
        good = np.array([row.error for row in mine if row.converged])
        right = int((good <= RIGHT).sum()) if "mirrored" not in method else 0
        told = f"{np.median(good):.2f} | {good.mean():.2f} ± {good.std():.2f}" if len(good) and "mirrored" not in method else "– | –"
        if mine:
            seconds = np.median([row.seconds for row in mine])
            lines.append(f"| {method} | {len(mine)} | {len(good)} | {right} | {told} | {seconds:.1f} |")
    return "\n".join(lines)


def split(rows: list[Result], by: str) -> str:
    painted_rows = [row for row in rows if row.method == "painted"]
    lines = [f"| {by} | pairs | converged | median error (px) |", "|---|---|---|---|"]
    for value in dict.fromkeys(getattr(row, by) for row in painted_rows):
        mine = [row for row in painted_rows if getattr(row, by) == value]
        good = [row.error for row in mine if row.converged]
        lines.append(f"| {value} | {len(mine)} | {len(good)} | {np.median(good):.2f} |" if good else f"| {value} | {len(mine)} | 0 | – |")
    return "\n".join(lines)


def figure(pair: Pair, image: np.ndarray, path: Path) -> None:
    """Draw one pair: brightfield, the stain painted of it, the real stain, and the painted one laid on the real one."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    found = find(image, pair.fixed)
    back = np.linalg.inv(found.guess)
    laid = ndimage.affine_transform(stretch(image), back[:2, :2], back[:2, 2], output_shape=pair.fixed.shape, order=1)
    real = stretch(pair.fixed)
    h, w = pair.brightfield.shape[-2:]
    corners = np.array([(y, x, 1.0) for y, x in ((0, 0), (0, w), (h, w), (h, 0), (0, 0))]) @ found.guess[:2].T
    shown = (
        ("Brightfield", stretch(pair.brightfield.data[0, 1, 0]), "gray"),
        (f"{pair.stain}, painted of it", stretch(image), "gray"),
        (f"{pair.stain}, real, of another microscope", real, "gray"),
        ("Painted (orange) on real (blue)", np.stack([laid, 0.5 * (laid + real), real], axis=-1), None),
    )
    drawn, axes = plt.subplots(1, 4, figsize=(15, 4.2))
    for axis, (title, picture, colours) in zip(axes, shown, strict=True):
        axis.imshow(picture, cmap=colours)
        axis.set_title(title, fontsize=10)
        axis.axis("off")
    for axis in axes[2:]:
        axis.plot(corners[:, 1], corners[:, 0], color="#ff9628", linewidth=1.2)
    words = f"turned {found.rotation:.2f} degrees, scale {found.scale:.3f}, error {error_of(found, pair):.2f} px"
    drawn.suptitle(words, y=0.04, fontsize=10)
    drawn.tight_layout(rect=(0, 0.05, 1, 1))
    drawn.savefig(path, dpi=80)


def stretch(image: np.ndarray) -> np.ndarray:
    low, high = np.quantile(image, (0.02, 0.998))
    return np.clip((image - low) / (high - low), 0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=90)
    parser.add_argument("--seed", type=int, default=60000)
    parser.add_argument("--model", default="simulated-cell-painting")
    parser.add_argument("--every", type=int, default=1, help="one pair of so many is tried without the model, and mirrored, too")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    if options.figure is not None:
        pair = make_pair(0, options.seed)
        figure(pair, painted(open_model(options.model), pair), options.figure)
    found: list[list[Result] | None] = []
    with ProcessPoolExecutor(options.workers, multiprocessing.get_context("spawn")) as pool:
        while (missing := options.pairs - sum(each is not None for each in found)) > 0:
            numbers = range(len(found), len(found) + missing)
            found += pool.map(try_pair, numbers, repeat(options.seed), repeat(options.model), repeat(options.every))
    rows = [row for each in found if each is not None for row in each]
    left_out = f"{sum(each is None for each in found)} more pairs had no content and were left out."
    print(table(rows), split(rows, "kind"), split(rows, "stain"), left_out, sep="\n\n")


if __name__ == "__main__":
    main()
