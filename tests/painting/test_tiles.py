"""Geometry: boxes cover a map once, on their grid; margins are enough and not lavish."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_virtual_paint.painting.tiles import Reach, at_level, clip, cover, grow, patches, volume, within


@given(units=st.tuples(st.integers(1, 20), st.integers(1, 20)), tile=st.integers(1, 90), power=st.integers(0, 4), look=st.booleans())
def test_boxes_cover_a_map_once_on_their_grid(units, tile, power, look):
    align = 2**power
    shape = tuple(unit * align for unit in units)
    boxes = cover(shape, (tile, tile), align, (shape[0] / 3, shape[1] / 2) if look else None)
    seen = np.zeros(shape, int)
    for box in boxes:
        seen[box] += 1
        assert all(s.start % align == 0 and s.stop % align == 0 for s in box)
        assert all(s.stop - s.start <= max(tile, align) for s in box)
    assert (seen == 1).all()
    assert sum(volume(box) for box in boxes) == seen.size


def test_boxes_near_the_view_come_first():
    boxes = cover((64, 64), (16, 16), 1, (60.0, 4.0))
    assert boxes[0] == (slice(48, 64), slice(0, 16))


def test_boxes_move_between_maps():
    box = (slice(8, 16), slice(24, 40))
    assert grow(box, 10, (20, 100)) == (slice(0, 20), slice(14, 50))
    assert at_level(box, 3) == (slice(1, 2), slice(3, 5))
    assert within(box, (slice(4, 20), slice(20, 44))) == (slice(4, 12), slice(4, 20))
    assert clip((slice(8, 16), slice(96, 128)), (12, 90)) == (slice(8, 12), slice(90, 90))


@pytest.mark.parametrize(("depth", "head", "field"), [(6, 0, 192), (5, 1, 96)])
def test_receptive_halo_of_the_papers_networks(depth, head, field):
    assert Reach(depth, 2, head).field() == field


@given(depth=st.integers(2, 6), levels=st.integers(1, 5), head=st.integers(0, 1))
def test_margins_stay_on_their_grid_and_grow_with_depth(depth, levels, head):
    reach = Reach(depth, 2, head)
    assert reach.encoder(levels) % 2**levels == 0
    assert reach.skips(levels) % 2**levels == 0
    assert reach.skips(levels) >= reach.encoder(levels)
    assert all(window == 2 * below for window, below in zip(reach.window(levels), reach.below(levels)[1:], strict=True))


def test_patches_step_by_the_stride():
    assert list(patches((64, 96), 64, 32)) == [(0, 0), (0, 32)]
