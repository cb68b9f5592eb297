"""Blends of patches: one list for the engine, the docks and the command line."""

from __future__ import annotations

from napari_virtual_paint.choices import BLENDS, Blend, values_of
from napari_virtual_paint.painting.sliding_window import STRIPS


def test_every_blend_has_a_label_and_a_strip() -> None:
    assert tuple(BLENDS) == values_of(Blend)
    assert {"exact", *STRIPS} == set(values_of(Blend))
