"""Resampling to other sides."""

from __future__ import annotations

import numpy as np
import pytest

from napari_virtual_paint.models.resampling import resize


def test_the_same_sides_are_left_alone() -> None:
    image = np.random.default_rng(0).random((2, 20, 30), np.float32)
    assert resize(image, (20, 30)) is image


@pytest.mark.parametrize("shape", [(10, 15), (40, 60), (21, 30), (5, 20, 30)])
def test_a_gradient_stays_one(shape: tuple[int, ...]) -> None:
    old = (20, 30) if len(shape) == 2 else (3, 20, 30)
    ramp = np.broadcast_to(np.linspace(0, 1, old[-1], dtype=np.float32), (2, *old))
    found = resize(np.ascontiguousarray(ramp), shape)
    assert found.shape == (2, *shape)
    assert found.dtype == np.float32
    assert (np.diff(found, axis=-1) >= -1e-6).all()
    assert found.mean() == pytest.approx(0.5, abs=0.02)


def test_shrinking_averages_instead_of_picking() -> None:
    stripes = np.tile(np.array([0.0, 1.0], np.float32), 32)[None, None].repeat(64, axis=1)
    assert np.abs(resize(stripes, (16, 16)) - 0.5).max() < 0.2
