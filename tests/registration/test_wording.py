"""The sentence on a registration: what the matrix does, in the directions of the screen."""

from __future__ import annotations

import math

import numpy as np
import pytest

from napari_virtual_paint.choices import TransformKind
from napari_virtual_paint.registration import Registration, describe


def found(
    matrix: list[list[float]], *, size: float = 1.0, unit: str = "px", kind: TransformKind = "similarity", before: float | None = 0.31
) -> Registration:
    """Return a registration of an image of 101 x 201 pixels, whose middle is at (50, 100)."""
    return Registration(
        guess=np.array([*matrix, [0, 0, 1.0]]),
        moving_size=(size, size),
        fixed_size=(size, size),
        unit=unit,
        shape=(101, 201),
        kind=kind,
        correlation=0.82,
        before=before,
        residual=0.1,
        overlap=1.0,
        distinct=9.0,
        runner_up=0.2,
        converged=True,
        reason="",
    )


def test_a_shift_has_directions_and_both_units() -> None:
    expected = "Shifted by 14 px (9.1 µm) right and 4 px (2.6 µm) up; correlation 0.31 before, 0.82 after."
    assert describe(found([[1, 0, -4.0], [0, 1, 14.0]], size=0.65, unit="um")) == expected


def test_the_shift_is_that_of_the_middle() -> None:
    """Doubled about the first pixel: the middle (50, 100) goes to (100, 200)."""
    assert describe(found([[2, 0, 0], [0, 2, 0]])) == (
        "Shifted by 100 px right and 50 px down, scaled by 2.000; correlation 0.31 before, 0.82 after."
    )


@pytest.mark.parametrize(("sign", "word"), [(1, "clockwise"), (-1, "counterclockwise")])
def test_a_turn_has_the_direction_of_the_screen(sign: int, word: str) -> None:
    """Clockwise with y downwards: the direction to the right (y 0, x 1) turns downwards (y > 0)."""
    cos, sin = math.cos(math.radians(1.2)), sign * math.sin(math.radians(1.2))
    turn = np.array([[cos, sin], [-sin, cos]])
    assert (turn @ (0, 1))[0] * sign > 0
    shift = np.array([50, 100]) - turn @ (50, 100)  # about the middle, which stays
    matrix = [[*turn[0], shift[0]], [*turn[1], shift[1]]]
    assert describe(found(matrix, kind="rigid")) == f"Turned by 1.2° {word}; correlation 0.31 before, 0.82 after."


def test_an_image_in_place_and_one_that_did_not_overlap() -> None:
    assert describe(found([[1, 0, 0], [0, 1, 0]])) == "Already in place; correlation 0.31 before, 0.82 after."
    assert describe(found([[1, 0, 0], [0, 1, -4.25]], before=None)) == "Shifted by 4.2 px left; correlation 0.82."
