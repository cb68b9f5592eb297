"""The table of stain colours: the same colour for a layer, a file and a picture."""

from __future__ import annotations

import pytest

from napari_virtual_paint import stain_names
from napari_virtual_paint.cells.populations.composite import colours_of
from napari_virtual_paint.channel_colors import (
    ALONE,
    GRAY,
    MAGENTA,
    SPARE,
    STAIN_COLORS,
    WORDS,
    channel_color,
    is_transmitted,
    looks_together,
)


@pytest.mark.parametrize(
    ("name", "colormap"),
    [
        ("DNA", "blue"),
        ("Mito_Tracker (pred)", "magenta"),
        ("sytox green", "blue"),
        ("SYTO 14", "yellow"),
        ("Brightfield -4um", "gray"),
        ("DNA (predicted, mito-phase)", "blue"),
        ("405", "blue"),
        ("Alexa 488", "green"),
        ("561 nm", "red"),
        ("Cy5", "magenta"),
    ],
)
def test_a_name_has_its_colour(name: str, colormap: str) -> None:
    assert channel_color(name).colormap == colormap


def test_a_name_that_says_nothing_gets_a_spare_colour_by_its_place() -> None:
    assert [channel_color(f"channel {index}", index) for index in range(len(SPARE))] == list(SPARE)
    assert channel_color("", len(SPARE)) == SPARE[0]


def test_every_stain_has_a_color() -> None:
    assert set(STAIN_COLORS) == set(stain_names.STAINS), "a stain without a color would get a spare one"


def test_every_word_finds_its_own_row() -> None:
    for words, color in WORDS:
        assert {channel_color(word) for word in words} == {color}
        assert not any(is_transmitted(word) for word in words)


def test_pictures_of_cells_take_the_table() -> None:
    assert colours_of(["DNA", "Brightfield"]) == [channel_color("DNA").rgb, GRAY.rgb]


def test_more_than_three_stains_are_dimmed_by_their_colours() -> None:
    assert looks_together(["DNA", "ER", "Mito", "Brightfield"]) == [ALONE] * 4, "three stains and an image in transmitted light"
    looks = looks_together(["Brightfield", "DNA", "ER", "RNA", "Mito"])
    assert looks[0] == ALONE
    assert looks[4] == MAGENTA.together
    assert all(look.opacity < 1 for look in looks[1:])
