"""The images that `domain_plot.py` checks: held-out and mitotic Jurkat cells, degraded copies of held-out ones, and other modalities."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage
from skimage.transform import rescale

from napari_virtual_paint.reading import read
from napari_virtual_paint.samples import SimulationSettings, simulate_field
from napari_virtual_paint.stack import Stack

CELL = 40
"""Side of a place of the montages, px."""
TRAIN = ("experiment_1_g1_0008", "experiment_1_g2_0008", "experiment_2_g1_0001", "experiment_2_g1_0002")
HELD_OUT = ("experiment_1_s_phase_0009", "experiment_2_g1_0003")
DEGRADED = "experiment_2_g1_0003"
SIDE = 800
"""Side of what is degraded, px: 400 cells."""
MITOTIC = ("experiment_1_prophase_0001",)
MEAN, SD = 676.0, 58.0
"""Of the brightfield montages; other modalities are brought to these, so that brightness alone does not give them away."""


@dataclass(frozen=True, eq=False)
class Case:
    """An image to check.

    Parameters
    ----------
    name, group
        What it is, and what kind of change.
    image, truth
        Brightfield and DNA (Y, X).
    cell
        Side of a place of a montage, px; 0 for a field.
    """

    name: str
    group: str
    image: np.ndarray
    truth: np.ndarray
    cell: int = CELL

    @property
    def stack(self) -> Stack:
        """The image as it is checked and painted."""
        return Stack(self.image[None, None, None], ("Brightfield",), source=self.name)


def montage(data: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return brightfield and DNA of a montage."""
    pixels = np.asarray(read(data / "jurkat_flow" / f"{name}.ome.tif").data)[0, :, 0]
    return pixels[0].astype(np.float32), pixels[1].astype(np.float32)


def cases(data: Path) -> Iterator[Case]:
    """Yield every case: held-out interphase first, then what is further and further away."""
    for name in HELD_OUT:
        yield Case(f"held-out {name}", "held-out interphase", *montage(data, name))
    for name in MITOTIC:
        yield Case(f"mitotic {name}", "mitotic", *montage(data, name))
    image, truth = montage(data, DEGRADED)
    yield from _degraded(image[:SIDE, :SIDE], truth[:SIDE, :SIDE])
    yield from _others(data)


def _degraded(image: np.ndarray, truth: np.ndarray) -> Iterator[Case]:
    """Yield copies with known faults."""
    rng = np.random.default_rng(1)
    for sd in (0.7, 1.0, 1.5, 2.0, 3.0):
        yield Case(f"blur {sd:g} px", "blur", ndimage.gaussian_filter(image, sd), truth)
    for factor in (0.5, 0.75, 0.9, 1.1, 1.5, 2.0):
        sides = [rescale(channel, factor, order=1, anti_aliasing=factor < 1, preserve_range=True) for channel in (image, truth)]
        kept = [side[:SIDE, :SIDE].astype(np.float32) for side in sides]
        yield Case(f"scale {factor:g}", "scale", kept[0], kept[1], round(CELL * factor))
    for gain in (0.4, 0.7, 1.5, 2.5):
        yield Case(f"contrast {gain:g}", "contrast", MEAN + gain * (image - MEAN), truth)
    for offset in (-60, 30, 100):
        yield Case(f"brightness {offset:+d}", "brightness", image + offset, truth)
    top = float(image.max())
    for gamma in (0.5, 2.0):
        yield Case(f"gamma {gamma:g}", "gamma", top * (image / top) ** gamma * MEAN / (top * (MEAN / top) ** gamma), truth)
    for sd in (10, 25, 60):
        yield Case(f"noise {sd}", "noise", image + rng.normal(0, sd, image.shape).astype(np.float32), truth)
    yield Case("inverted", "inverted", 2 * MEAN - image, truth)
    for share in (0.3, 0.8):
        yield Case(f"{share:.0%} fewer cells", "density", *_emptied(image, truth, share, rng))


def _emptied(image: np.ndarray, truth: np.ndarray, share: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a montage with some cells replaced by background (the border of their place, as noise), which then are not scored."""
    image, truth = image.copy(), truth.copy()
    for top in range(0, image.shape[0], CELL):
        for left in range(0, image.shape[1], CELL):
            if rng.random() < share:
                at = (slice(top, top + CELL), slice(left, left + CELL))
                place = image[at]
                ring = np.concatenate([place[:3].ravel(), place[-3:].ravel(), place[:, :3].ravel(), place[:, -3:].ravel()])
                image[at] = rng.choice(ring, place.shape)
                truth[at] = truth[at].min()
    return image, truth


def _others(data: Path) -> Iterator[Case]:
    """Yield other modalities and cells, their mean and SD brought to the montages'."""
    phase, stains = (np.asarray(read(data / "neurons" / f"{name}.ome.tif").data)[0] for name in ("phase", "fluorescence"))
    yield _other("neurons, phase contrast", phase[0, phase.shape[1] // 2], stains[0, 0])
    bright, stains = (np.asarray(read(data / "cell_painting" / f"{name}.ome.tif").data)[0] for name in ("brightfield", "stains"))
    yield _other("Cell Painting, brightfield", bright[0, 0], stains[0, 0])
    field = simulate_field(SimulationSettings(size=512, seed=77))
    pixels: Callable[[Stack], np.ndarray] = lambda stack: np.asarray(stack.data)[0, :, 0]  # noqa: E731
    yield _other("simulated, brightfield", pixels(field.brightfield)[0], pixels(field.stains)[0])


def _other(name: str, image: np.ndarray, truth: np.ndarray) -> Case:
    image = image.astype(np.float32)
    return Case(name, "other modality", MEAN + SD * (image - image.mean()) / image.std(), truth.astype(np.float32), 0)
