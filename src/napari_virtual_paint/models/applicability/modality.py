"""Recognize by names and by pixels with which light an image was taken: brightfield, phase contrast, fluorescence, or a color photograph.

The limits were chosen on 55 real channels and some simulated fields (docs/domain.md counts what they find). They are rules of thumb:
what they find is worded as a question, and a channel's name counts more than its pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.models.channel_names import UNSTAINED, light_of
from napari_virtual_paint.models.info import ModelInfo
from napari_virtual_paint.models.matching import Match
from napari_virtual_paint.stack import Stack

Plane = npt.NDArray[np.float32]
SIDE = 1024  # most pixels a side that are read, from the middle of a plane
LEAST = 32  # pixels a side of the smallest plane that is judged
BACKGROUND = 16.0  # SD of the Gaussian, px, whose result counts as uneven illumination
SIGNAL = 0.2  # local SD over the mean from which an image may be fluorescence, whose background is near zero
BRIGHT = 1.5  # skewness from which it is bright on dark
HALO = (0.14, 0.4)  # local SD over the mean of phase contrast; brightfield in focus stays below
BALANCED = 0.9  # largest skewness of phase contrast: dark bodies and bright halos balance
HEAVY = 4.0  # least excess kurtosis of phase contrast: few pixels are as dark as bodies or as bright as halos
SATURATION = 0.12  # mean saturation from which a color picture is more than a gray one
WHITE = 0.25  # share of near-white pixels from which a color picture may be a stained section on a bright background


@dataclass(frozen=True)
class LightMeasures:
    """Measures of a plane by which its light is recognized; the plane less its uneven illumination, smoothed by 1 px."""

    contrast: float  # SD over the mean of the plane
    skewness: float
    kurtosis: float  # excess kurtosis
    band_skewness: tuple[float, float]  # of the band-passes between Gaussians of 2 and 4, and of 4 and 8 px


def measure_light(plane: Plane) -> LightMeasures:
    """Measure contrast and the shape of the histogram of a plane (Y, X) of raw pixels."""
    from scipy import ndimage, stats

    image = np.asarray(plane, np.float32)
    flat = image - ndimage.gaussian_filter(image, BACKGROUND)
    smooth = ndimage.gaussian_filter(flat, 1.0).ravel()
    blurred = [ndimage.gaussian_filter(image, sd) for sd in (2.0, 4.0, 8.0)]
    bands = (blurred[0] - blurred[1], blurred[1] - blurred[2])
    mean = abs(float(image.mean()))
    return LightMeasures(
        float(flat.std()) / mean if mean > 0 else 0.0,
        float(stats.skew(smooth)),
        float(stats.kurtosis(smooth)),
        (float(stats.skew(bands[0].ravel())), float(stats.skew(bands[1].ravel()))),
    )


def guess_light(plane: Plane) -> str | None:
    """Return ``fluorescence`` or ``phase`` where a plane (Y, X) of raw pixels looks like it; None where it may be anything."""
    if min(plane.shape) < LEAST or not np.isfinite(plane).all() or plane.min() == plane.max():
        return None
    found = measure_light(plane)
    if found.contrast >= SIGNAL and found.skewness >= BRIGHT and found.band_skewness[0] >= 1.0 and found.band_skewness[1] >= 0.5:
        return "fluorescence"
    if HALO[0] <= found.contrast <= HALO[1] and abs(found.skewness) <= BALANCED and found.kurtosis >= HEAVY:
        return "phase"
    return None


def guess_color(picture: Plane) -> str | None:
    """Return ``photograph`` or ``stained section`` for a color picture (3, Y, X); None for one whose colors are all gray."""
    most, least = picture.max(0), picture.min(0)
    saturation = np.divide(most - least, most, out=np.zeros_like(most), where=most > 0)
    if float(saturation.mean()) < SATURATION:
        return None
    white = (least > 0.8 * float(np.quantile(most, 0.999))) & (saturation < 0.15)
    return "stained section" if float(white.mean()) > WHITE else "photograph"


def light_of_image(info: ModelInfo, stack: Stack, found: Match) -> str | None:
    """Return the light of what a model gets from an image: by its name, else by the middle of its middle plane.

    Parameters
    ----------
    stack
        The image, axes TCZYX; of a lazy one only that part is read.
    found
        The channels and planes that the model gets.

    Returns
    -------
    str or None
        ``brightfield``, ``phase``, ``dic``, ``fluorescence``, ``photograph`` or ``stained section``; None where it is not known.
    """
    if found.luminance:
        return guess_color(_middle(stack, (0, 1, 2)))
    named = {light_of(stack.channel_labels[index]) for index in found.channels} - {None}
    if named:
        wrong = named - {info.light}
        return sorted(str(light) for light in wrong or named)[0]
    return guess_light(_middle(stack, found.channels[:1])[0])


def wrong_light(info: ModelInfo, light: str | None) -> str:
    """Return the sentence on an image that was taken with another light than a model paints from; an empty string if it was not."""
    wanted = info.light
    if wanted not in UNSTAINED or light is None or light == wanted:
        return ""
    names = {"phase": "Phase contrast", "dic": "DIC", "brightfield": "Brightfield", "fluorescence": "Fluorescence"}
    if light == "photograph":
        return "A color photograph, not a microscope image?"
    if light == "stained section":
        return "A color image of a stained section, not of unstained cells?"
    return f"{names[light]}, not {'phase contrast' if wanted == 'phase' else 'DIC' if wanted == 'dic' else wanted}?"


def _middle(stack: Stack, channels: tuple[int, ...]) -> Plane:
    """Return the middle of the middle plane of some channels at the first time point, (C, Y, X)."""
    _, _, planes, height, width = stack.shape
    rows, columns = (slice(max((side - SIDE) // 2, 0), max((side - SIDE) // 2, 0) + SIDE) for side in (height, width))
    return np.asarray(stack.data[0][list(channels), planes // 2, rows, columns], np.float32)
