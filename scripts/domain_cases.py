"""The images that `domain_plot.py` checks: held-out and mitotic Jurkat cells, degraded copies of held-out ones, and other modalities.

``python scripts/domain_cases.py [FOLDER]`` prints, for transmitted-light images and stains of the folder of real data (by default
``../shared/data``), simulated fields and color pictures, which light is guessed from the pixels, and the verdict and first reason of the
bundled models that fit.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage
from skimage.transform import rescale

from napari_virtual_paint.errors import VirtualPaintError
from napari_virtual_paint.models import open_models
from napari_virtual_paint.models.applicability.check import check_domain
from napari_virtual_paint.models.applicability.modality import guess_color, guess_light
from napari_virtual_paint.models.channel_names import light_of
from napari_virtual_paint.models.ranking import rank_models
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


FOLDERS = (
    *("cell_painting", "ecoli", "hipsc_3d", "hipsc_3d_pairs", "jurkat_flow", "neurons", "nf1"),
    *("phenix_live", "saureus", "vendor_formats", "worms"),
)
"""Folders of images with named channels."""
EACH = 4  # images of a folder
PICTURES = ("astronaut", "chelsea", "coffee", "retina", "rocket")


def real_images(data: Path) -> Iterator[tuple[str, str, Stack]]:
    """Yield name, light (by the names of channel and file) and pixels of each channel: the first time point's middle plane."""
    for folder in FOLDERS:
        files = [path for path in sorted((data / folder).iterdir()) if path.suffix in (".tif", ".nd2", ".czi")]
        for path in [each for each in files if "masks" not in each.name and "labels" not in each.name][:EACH]:
            found = read(path)
            name = path.name.split(".")[0]
            for index, label in enumerate(found.channel_labels[:5]):
                light = light_of(label) or light_of(name) or "?"
                yield f"{folder}/{name} {label}", light, _middle_plane(found, index)
    field = simulate_field(SimulationSettings(size=512, seed=77))
    for light, stack in (("brightfield", field.brightfield), ("fluorescence", field.stains)):
        for index, label in enumerate(stack.channel_labels):
            yield f"simulated {label}", light, _middle_plane(stack, index)


def _middle_plane(stack: Stack, channel: int) -> Stack:
    """Return a plane of a channel, without its name."""
    plane = stack.shape[2] // 2
    return Stack(np.asarray(stack.data[:1, channel : channel + 1, plane : plane + 1]), None, stack.pixel_size)


def pictures() -> Iterator[tuple[str, str, Stack]]:
    """Yield color pictures that come with scikit-image."""
    from skimage import data as found

    for name in PICTURES:
        yield f"scikit-image {name}", "photograph", Stack(np.moveaxis(getattr(found, name)(), -1, 0)[None, :3, None], rgb=True)


def main() -> None:
    """Print a row an image and model: the light by its name, the light guessed from its pixels, and what the bundled models say."""
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2] / "shared" / "data"
    models = {model.info.id: model for model in open_models()}
    print("| image | light | guessed | model | verdict | first reason |\n|---|---|---|---|---|---|")
    for name, light, stack in (*real_images(data), *pictures()):
        middle = np.asarray(stack.data)[0, :, 0].astype(np.float32)
        guessed = guess_color(middle) if stack.rgb else guess_light(middle[0])
        for one in rank_models({key: model.info for key, model in models.items()}, stack):
            if not one.fits:
                continue
            try:
                verdict = check_domain(models[one.key], stack)
            except VirtualPaintError as error:
                print(f"| {name} | {light} | {guessed or ''} | {one.key} | | {error} |")
                continue
            said = ("", "") if verdict is None else (verdict.verdict, next(iter(verdict.reasons), ""))
            print(f"| {name} | {light} | {guessed or ''} | {one.key} | {said[0]} | {said[1]} |", flush=True)


if __name__ == "__main__":
    main()
