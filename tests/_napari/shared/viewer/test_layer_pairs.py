"""Pairs of layers by name and the pixels that they share: no viewer needed."""

from __future__ import annotations

import numpy as np
import pytest

from napari_virtual_paint._napari.compare.regions import Placement, View, shared_region
from napari_virtual_paint._napari.shared.viewer.layer_pairs import LayerFacts, StainPair, pair_by_name, stain_name
from napari_virtual_paint.errors import InputError


def names(
    *layers: str, made: tuple[str, ...] = (), pinned: tuple[StainPair, ...] = (), dismissed: tuple[str, ...] = ()
) -> dict[str | None, str | None]:
    """Pair layers whose keys are their names."""
    facts = [LayerFacts(name, name, name in made) for name in layers]
    return {pair.predicted: pair.truth for pair in pair_by_name(facts, pinned, dismissed)}


PAIRS = [
    (("DNA", "DNA (predicted)"), (), {"DNA (predicted)": "DNA"}),
    (("DNA (predicted)", "ER (predicted)", "ER", "DNA"), (), {"DNA (predicted)": "DNA", "ER (predicted)": "ER"}),
    (("Brightfield", "DNA (predicted)"), (), {"DNA (predicted)": None}),
    (("DNA", "DNA [1]"), ("DNA [1]",), {"DNA [1]": "DNA"}),
    (("stains DNA", "stains ER", "ER pred"), (), {"ER pred": "stains ER"}),
    (("DAPI", "Hoechst_predicted"), (), {"Hoechst_predicted": "DAPI"}),
    (("dna_true", "predicted dna"), (), {"predicted dna": "dna_true"}),
    (("RNA", "DNA", "DNA predicted [2]"), (), {"DNA predicted [2]": "DNA"}),
    (("ER", "Mito", "Mitochondria (painted)"), (), {"Mitochondria (painted)": "Mito"}),
    (("DNA ground truth", "DNA (predicted)"), (), {"DNA (predicted)": "DNA ground truth"}),
    (("DNA", "ER"), (), {}),
    # names of inner words must not match: "ER" is in "water" only by its letters
    (("water", "ER (predicted)"), (), {"ER (predicted)": None}),
]


@pytest.mark.parametrize(("layers", "made", "expected"), PAIRS)
def test_layers_pair_by_name(layers, made, expected):
    assert names(*layers, made=made) == expected


def test_the_users_choice_goes_before_the_name():
    assert names("DNA", "ER", "DNA (predicted)", pinned=(StainPair("DNA (predicted)", "ER"),)) == {"DNA (predicted)": "ER"}
    assert names("DNA", "DNA (predicted)", pinned=(StainPair("DNA (predicted)", None),)) == {"DNA (predicted)": None}
    assert names("DNA", "DNA (predicted)", dismissed=("DNA (predicted)",)) == {}


def test_the_user_may_compare_layers_whose_names_say_nothing():
    assert names("a", "b", pinned=(StainPair("a", "b"),)) == {"a": "b"}


def test_a_choice_of_a_layer_that_is_gone_falls_back_to_the_name():
    assert names("DNA", "DNA (predicted)", pinned=(StainPair("DNA (predicted)", "gone"),)) == {"DNA (predicted)": "DNA"}
    assert names("DNA", pinned=(StainPair("gone", "DNA"),)) == {}


def test_the_stain_noted_in_the_metadata_goes_before_the_layers_name():
    facts = [LayerFacts("t", "ER"), LayerFacts("p", "my best run", predicted=True, stain="ER")]
    assert pair_by_name(facts) == (StainPair("p", "t", "ER"),)


def test_among_equal_names_the_layer_of_the_same_size_wins():
    facts = [LayerFacts("a", "DNA", size=(9, 9)), LayerFacts("b", "DNA [1]", size=(5, 5)), LayerFacts("p", "DNA (predicted)", size=(9, 9))]
    assert pair_by_name(facts) == (StainPair("p", "a", "DNA"),)


@pytest.mark.parametrize(
    ("name", "stain"),
    [
        ("DNA (predicted)", "DNA"),
        ("DNA (predicted) [1]", "DNA"),
        ("DNA (predicted, mosaic)", "DNA"),
        ("DNA [pred, v2] day 3", "DNA day 3"),
        ("DNA (day 3) predicted", "DNA (day 3)"),
        ("predicted_ER", "ER"),
        ("predicted", "predicted"),
    ],
)
def test_the_stain_is_the_name_without_predicted(name, stain):
    assert stain_name(LayerFacts("k", name)) == stain


def place(shape, scale=1.0, translate=0.0, name="layer"):
    n = len(shape)
    return Placement(name, tuple(shape), np.diag(np.broadcast_to(scale, n).astype(float)), np.broadcast_to(translate, n).astype(float))


FLAT = View(point=(0.0, 0.0), displayed=(0, 1))


def cut(crop):
    return [[(s.start, s.stop) for s in part] for part in (crop.predicted, crop.truth)]


def test_layers_at_the_same_place_share_everything():
    assert cut(shared_region(place((8, 9)), place((8, 9)), "stack", FLAT)) == [[(0, 8), (0, 9)]] * 2


def test_a_translate_of_whole_pixels_crops_both():
    crop = shared_region(place((8, 9), 0.5, (1.0, -1.0)), place((8, 9), 0.5), "plane", FLAT)
    assert cut(crop) == [[(0, 6), (2, 9)], [(2, 8), (0, 7)]]
    assert crop.shape == (6, 7)


def test_rounding_in_the_last_digit_of_scale_and_translate_is_no_difference():
    crop = shared_region(place((100, 100), 0.108333), place((100, 100), 0.1083333), "plane", FLAT)
    assert crop.shape == (100, 100)


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        (place((8, 8), 0.5), place((8, 8), 1.0), "pixel size"),
        (place((8, 8), 1.0, (0.5, 0.0)), place((8, 8)), "fraction of a pixel"),
        (place((8, 8), 1.0, (50.0, 0.0)), place((8, 8)), "do not overlap"),
    ],
)
def test_what_can_not_be_compared_is_said_in_a_sentence(ours, theirs, words):
    with pytest.raises(InputError, match=words):
        shared_region(ours, theirs, "stack", FLAT)


def test_rotated_alike_is_compared_and_rotated_apart_is_refused():
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    rotated = Placement("turned", (8, 9), turn, np.zeros(2))
    assert shared_region(rotated, rotated, "stack", FLAT).shape == (8, 9)
    with pytest.raises(InputError, match="rotation"):
        shared_region(rotated, place((8, 9)), "stack", FLAT)


def test_this_plane_is_each_layers_own_plane_at_the_slider():
    view = View(point=(2.0, 0.0, 0.0), displayed=(1, 2))
    crop = shared_region(place((9, 8, 8), (0.5, 1, 1)), place((5, 8, 8)), "plane", view)
    assert cut(crop) == [[(4, 5), (0, 8), (0, 8)], [(2, 3), (0, 8), (0, 8)]]


def test_a_flat_layer_is_compared_with_the_plane_shown_but_not_with_a_stack():
    view = View(point=(3.0, 0.0, 0.0), displayed=(1, 2))
    flat, deep = place((8, 8), name="flat"), place((5, 8, 8), name="deep")
    assert cut(shared_region(flat, deep, "plane", view)) == [[(0, 8), (0, 8)], [(3, 4), (0, 8), (0, 8)]]
    for scope, at in (("stack", view), ("plane", View(point=(3.0, 0.0, 0.0), displayed=(0, 1, 2)))):
        with pytest.raises(InputError, match="'deep' has 5 planes and 'flat' only one"):
            shared_region(flat, deep, scope, at)


def test_a_plane_outside_a_layer_is_said():
    with pytest.raises(InputError, match="no plane where the slider stands"):
        shared_region(place((5, 8, 8)), place((5, 8, 8)), "plane", View(point=(9.0, 0.0, 0.0), displayed=(1, 2)))


def test_the_visible_region_is_what_the_canvas_shows_clipped_to_the_layers():
    view = View(point=(0.0, 0.0), displayed=(0, 1), low=(2.0, -50.0), high=(5.2, 3.6))
    crop = shared_region(place((20, 20), translate=(1.0, 0.0)), place((20, 20)), "view", view)
    # pixel i covers i - 0.5 to i + 0.5
    assert cut(crop) == [[(1, 5), (0, 5)], [(2, 6), (0, 5)]]


def test_a_stack_is_cropped_along_every_axis():
    crop = shared_region(place((4, 8, 8), (2, 1, 1), (2, 0, 0)), place((4, 8, 8), (2, 1, 1)), "stack", View((0.0, 0.0, 0.0), (1, 2)))
    assert cut(crop) == [[(0, 3), (0, 8), (0, 8)], [(1, 4), (0, 8), (0, 8)]]
