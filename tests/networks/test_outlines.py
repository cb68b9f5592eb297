"""Outlines: areas, orientation and place against the pixels of the masks that are drawn, and the fit to masks."""

from __future__ import annotations

import math

import numpy as np
import torch
from skimage.measure import regionprops

from napari_virtual_paint.networks.outlines import MAPS, SHAPE, Outlines, fit_outlines

SIZE = 60


def outlines(count: int = 12, seed: int = 0) -> Outlines:
    """Long nuclei, some dented, in cells of another shape."""
    generator = torch.Generator().manual_seed(seed)
    shape = 0.03 * torch.randn(count, SHAPE, generator=generator)
    shape[:, 0] = 0.25  # the long axis
    angle = math.pi * (torch.rand(count, generator=generator) - 0.5)
    areas = 150 + 250 * torch.rand(2, count, generator=generator)
    centre = torch.rand(count, 2, generator=generator) - 0.5
    return Outlines(shape, areas[0], areas[1], torch.stack([angle.cos(), angle.sin()], 1), centre)


def degrees_apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.abs((a - b + 90) % 180 - 90)


def test_the_areas_are_those_asked_for() -> None:
    given = outlines()
    nucleus, cell = given.masks(SIZE)
    torch.testing.assert_close(nucleus.sum((1, 2)), given.nucleus, rtol=0.01, atol=0)
    torch.testing.assert_close(cell.sum((1, 2)) - nucleus.sum((1, 2)), given.cytoplasm, rtol=0.02, atol=0)


def test_the_orientation_is_the_one_asked_for() -> None:
    given = outlines()
    nucleus, _ = given.masks(SIZE)
    asked = torch.rad2deg(torch.atan2(given.axis[:, 1], given.axis[:, 0])).numpy()
    seen = [math.degrees(regionprops((mask > 0.5).int().numpy())[0].orientation) for mask in nucleus]
    assert degrees_apart(np.array(seen), asked).max() < 3


def test_a_fit_gives_the_outlines_back() -> None:
    given = outlines()
    masks = given.masks(SIZE)
    fitted = fit_outlines(masks[0] > 0.5, masks[1] > 0.5)
    assert degrees_apart(*(np.rad2deg(np.arctan2(each.axis[:, 1], each.axis[:, 0])) for each in (given, fitted))).max() < 3
    for mask, again in zip(masks, fitted.masks(SIZE), strict=True):
        wrong = ((mask > 0.5) != (again > 0.5)).sum((1, 2)) / (mask > 0.5).sum((1, 2))
        assert wrong.max() < 0.05
    for row, mask in enumerate(masks[0]):
        centre = np.array(regionprops((mask > 0.5).int().numpy())[0].centroid) - (SIZE - 1) / 2
        np.testing.assert_allclose(fitted.centre[row], centre, atol=1e-3)


def test_turned_and_mirrored_outlines_are_those_of_the_pictures() -> None:
    given = outlines()
    for quarters, mirrored in ((1, False), (3, False), (2, True), (1, True)):
        for mask, turned in zip(given.masks(SIZE), given.turned(quarters, mirrored).masks(SIZE), strict=True):
            picture = torch.rot90(mask.flip(2) if mirrored else mask, quarters, (1, 2))
            torch.testing.assert_close(turned, picture, atol=1e-3, rtol=0)


def test_the_maps_place_the_edges() -> None:
    given = outlines()
    maps, place = given.maps(SIZE, SIZE)
    assert maps.shape == (len(given), MAPS, SIZE, SIZE)
    nucleus, cell = given.masks(SIZE)
    assert ((maps[:, 0] > 0) == (nucleus > 0.5)).all()
    assert ((maps[:, 1] > 0) == (cell > 0.5)).all()
    radius = place.norm(dim=-1)
    assert ((radius < 0.5) == (nucleus > 0.5)).float().mean() > 0.999
    assert ((radius < 1) == (cell > 0.5)).float().mean() > 0.99


def test_gradients_reach_area_and_shape() -> None:
    given = outlines(3)
    given.nucleus.requires_grad_()
    given.shape.requires_grad_()
    given.masks(SIZE)[0].sum().backward()
    torch.testing.assert_close(given.nucleus.grad, torch.ones(3), atol=0.1, rtol=0)
    assert given.shape.grad is not None
