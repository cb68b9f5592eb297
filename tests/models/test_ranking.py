"""Models are ranked by what an image has, the domain check and the held-out scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_virtual_paint.models import Card, ModelInfo
from napari_virtual_paint.models.applicability.check import DomainVerdict
from napari_virtual_paint.models.catalogue import GENERAL
from napari_virtual_paint.models.ranking import held_out_score, rank_models, shortfall
from napari_virtual_paint.stack import Stack

OFFSETS = ("Brightfield -4 um", "Brightfield 0 um", "Brightfield +4 um")


def model(name: str, *channels: str, scores: tuple[float, ...] = (), **changes: Any) -> ModelInfo:
    stains = tuple(f"stain {i}" for i in range(len(scores)))
    card = Card(scores={stain: {"pcc": score} for stain, score in zip(stains, scores, strict=True)})
    texts = dict.fromkeys(("version", "description", "license"), "x")
    settings = {"dims": 2, "weights": "pytorch_state_dict", **texts, **changes}
    return ModelInfo(id=name, name=name, authors=(), source=Path(name), channels=channels, stains=stains, card=card, **settings)


def image(*names: str, z: int = 1, rgb: bool = False) -> Stack:
    return Stack(np.zeros((1, 3 if rgb else len(names), z, 4, 4), np.uint8), names, rgb=rgb)


ONE = model("one", "Brightfield", scores=(0.9, 0.7))
BETTER = model("better", "Brightfield", scores=(0.9, 0.8))
UNSCORED = model("unscored", "Brightfield")
THREE = model("three", *OFFSETS, scores=(0.5,))
WINDOW = model("window", "z0", "z1", "z2", planes_as_channels=True, scores=(0.5,))
PHASE = model("cells-phase", "image", scores=(0.1,))
VOLUME = model("volume", "Brightfield", dims=3, scores=(0.99,))
MANY = model("many", *(f"z{i}" for i in range(13)), planes_as_channels=True)
ALL = {info.id: info for info in (ONE, BETTER, UNSCORED, THREE, WINDOW, PHASE, VOLUME)}


def order(stack: Stack, **verdicts: DomainVerdict) -> list[str]:
    return [one.key for one in rank_models(ALL, stack, verdicts=verdicts)]


def test_the_score_is_the_mean_over_the_stains() -> None:
    assert held_out_score(BETTER) == pytest.approx(0.85)
    assert held_out_score(UNSCORED) is None


def test_models_that_fit_come_first_the_better_score_before_the_worse() -> None:
    assert order(image("Brightfield"))[:3] == ["better", "one", "unscored"]
    assert [one.key for one in rank_models(ALL, image("Brightfield")) if one.shortfall] == ["volume", "three", "window"]


def test_a_model_of_the_planes_that_are_there_uses_more_of_them() -> None:
    assert order(image(*OFFSETS))[0] == "three"
    assert order(image("Brightfield", z=16))[0] == "window"


def test_the_domain_check_counts_more_than_the_score() -> None:
    verdicts = {"better": DomainVerdict(3.0, "outside"), "one": DomainVerdict(1.5, "edge")}
    assert order(image("Brightfield"), **verdicts)[:3] == ["one", "unscored", "better"], "none at all is better than outside"
    assert order(image("Brightfield"), **verdicts, unscored=DomainVerdict(0.5, "inside"))[0] == "unscored"


def test_before_the_check_a_general_model_comes_before_a_better_score_on_other_images() -> None:
    general = model(GENERAL[-1], "Brightfield", scores=(0.4,))
    models = {"better": BETTER, "general": general}
    stack = image("Brightfield")
    assert [one.key for one in rank_models(models, stack)] == ["general", "better"]
    verdicts = dict.fromkeys(models, DomainVerdict(0.5, "inside"))
    assert [one.key for one in rank_models(models, stack, verdicts=verdicts)] == ["better", "general"]


def test_outside_all_models_the_nearest_comes_first_whatever_its_score() -> None:
    verdicts = {"better": DomainVerdict(90.0, "outside"), "one": DomainVerdict(4.0, "outside"), "unscored": DomainVerdict(7.0, "outside")}
    assert order(image("Brightfield"), **verdicts)[:3] == ["one", "unscored", "better"]


def test_every_model_has_a_reason_for_its_place() -> None:
    ranked = {one.key: one for one in rank_models(ALL, image("phase"), verdicts={"cells-phase": DomainVerdict(0.2, "inside")})}
    assert ranked["cells-phase"].reason == "The image is like its training images."
    assert ranked["one"].reason == "It paints from brightfield; the image is named phase."
    assert ranked["volume"].reason == "This model needs a z-stack; your image has one plane."
    ranked = {one.key: one for one in rank_models(ALL, image("Brightfield"))}
    assert ranked["one"].reason == "It has no summary of its training images."
    assert rank_models({"two": model("two", "A", "B")}, image("x", "y"))[0].reason == "Its channels are to be chosen."


def test_a_model_of_another_light_comes_behind() -> None:
    assert order(image("phase"))[0] == "cells-phase"
    ranked = {one.key: one for one in rank_models(ALL, image("w1DAPI"))}
    assert ranked["one"].light == "fluorescence"
    assert ranked["one"].fits, "it can be painted, though"
    assert PHASE.light == "phase"
    assert WINDOW.light is None


@pytest.mark.parametrize(
    ("info", "stack", "sentence"),
    [
        (THREE, image("Brightfield"), "This model needs three focal planes; your image has one."),
        (WINDOW, image("phase", z=2), "This model needs three focal planes; your image has two."),
        (WINDOW, image("R", "G", "B", rgb=True), "This model needs three focal planes; your image is a color picture."),
        (
            THREE,
            image("Brightfield", z=3),
            "This model takes its three focal planes as channels; split the z-stack into layers and tick three, "
            "or have the plane in focus found.",
        ),
        (VOLUME, image("Brightfield"), "This model needs a z-stack; your image has one plane."),
        (model("two", "Phase", "DIC"), image("Phase"), "This model needs two channels (Phase, DIC); your image has one."),
        (MANY, image("z"), "This model needs 13 focal planes; your image has one."),
        (ONE, image("DAPI", "GFP"), ""),
        (THREE, image("a", "b", "c"), ""),
        (WINDOW, image("phase", z=3), ""),
    ],
)
def test_what_an_image_lacks_is_one_sentence(info: ModelInfo, stack: Stack, sentence: str) -> None:
    assert shortfall(info, stack) == sentence
