"""The plane in focus of stacks whose focus is known: a thin phase object by its formula, and images that are blurred with distance."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.preprocessing.focus import Focus, find_focus
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.stack import UNKNOWN, PixelSize

SIZE = PixelSize(1.0, 0.5, 0.5)
SHAPE = (128, 144)


def found(planes: npt.NDArray[Any], *, brightfield: bool, pixel_size: PixelSize = SIZE) -> Focus:
    return run_to_end(find_focus(planes, brightfield=brightfield, pixel_size=pixel_size))


def phase_object(planes: int, focus: int, absorption: float = 0.02) -> npt.NDArray[np.float32]:
    """A stack of a thin object of phase and a little absorption, through the weak-object transfer function of a condenser of NA 0.3."""
    rng = np.random.default_rng(focus)
    f = np.hypot(np.fft.fftfreq(SHAPE[0], SIZE.y)[:, None], np.fft.fftfreq(SHAPE[1], SIZE.x))
    spectrum = np.fft.fft2(ndimage.gaussian_filter(rng.normal(size=SHAPE), 1.5))
    images = []
    for plane in range(planes):
        z = (plane - focus) * SIZE.z
        angle = np.pi * 0.55 * z * f**2
        coherence = np.exp(-((0.3 * np.pi * z * f) ** 2) / 4)
        contrast = np.fft.ifft2(spectrum * coherence * (np.sin(angle) + absorption * np.cos(angle))).real
        images.append(1000 + 1500 * contrast + rng.normal(0, 2, SHAPE))
    return np.asarray(images, np.float32)


def blurred(planes: int, focus: int) -> npt.NDArray[np.float32]:
    """A stack whose planes are blurred with their distance from focus, with noise."""
    rng = np.random.default_rng(focus)
    sharp = (rng.random(SHAPE) > 0.995) * 4000.0
    images = [ndimage.gaussian_filter(sharp, 1 + 0.7 * abs(plane - focus)) + 100 + rng.normal(0, 3, SHAPE) for plane in range(planes)]
    return np.asarray(images, np.float32)


@pytest.mark.parametrize("planes", [9, 13, 21])
def test_the_plane_of_least_contrast_is_in_focus_in_brightfield(planes: int) -> None:
    """Whichever plane it is; the curve is lowest there as far as other frequencies agree."""
    for focus in (0, 1, planes // 3, planes // 2, planes - 1):
        focused = found(phase_object(planes, focus), brightfield=True)
        assert abs(focused.plane - focus) <= 1, f"{focused.plane} of {planes}, not {focus}"
        assert focused.least
        assert len(focused.curve) == planes
        assert max(focused.curve) == 1


@pytest.mark.parametrize("planes", [3, 9, 21])
def test_the_sharpest_plane_is_in_focus_elsewhere(planes: int) -> None:
    for focus in {0, planes // 3, planes - 1}:
        focused = found(blurred(planes, focus), brightfield=False)
        assert (focused.plane, focused.least) == (focus, False)
        assert int(np.argmax(focused.curve)) == focus


def test_light_that_fades_over_the_planes_does_not_move_the_focus() -> None:
    fading = blurred(9, 4) * np.linspace(1, 0.3, 9, dtype=np.float32)[:, None, None]
    assert found(fading, brightfield=False).plane == 4


def test_a_pixel_size_that_is_not_known_is_a_usual_one() -> None:
    assert abs(found(phase_object(13, 5), brightfield=True, pixel_size=UNKNOWN).plane - 5) <= 1


def test_of_a_large_plane_some_parts_are_enough() -> None:
    tiled = np.tile(blurred(3, 1), (1, 9, 9))
    assert tiled.shape[1:] == (1152, 1296)
    assert found(tiled, brightfield=False).plane == 1


def test_one_plane_is_in_focus() -> None:
    for brightfield in (True, False):
        assert found(blurred(1, 0), brightfield=brightfield).plane == 0


@pytest.mark.parametrize(
    ("planes", "words"),
    [(np.full((5, 40, 40), 7, np.uint16), "uniform"), (np.full((2, 40, 40), np.nan, np.float32), "plane 0 is not finite")],
)
def test_what_has_no_focus_is_said(planes: npt.NDArray[Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        found(planes, brightfield=False)
