"""The light of real images and simulated fields is recognized by names and pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_virtual_paint.models import match, open_model
from napari_virtual_paint.models.applicability.check import COLOR, check_domain
from napari_virtual_paint.models.applicability.modality import guess_color, guess_light, light_of_image, wrong_light
from napari_virtual_paint.reading import read
from napari_virtual_paint.samples import SimulationSettings, simulate_field
from napari_virtual_paint.stack import Stack

BRIGHTFIELD = (
    "cell_painting/brightfield",
    "ecoli/ds1_brightfield",
    "worms/viability_C01_brightfield",
    "hipsc_3d_pairs/train_0_brightfield",
)
FLUORESCENCE = ("neurons/fluorescence", "cell_painting/stains", "saureus/stains", "nf1/B7_stains")


def plane(folder: Path, name: str, channel: int = 0) -> np.ndarray:
    """Return the middle plane of a channel of an image (Y, X)."""
    data = read(folder / f"{name}.ome.tif").data
    return np.asarray(data[0, channel, data.shape[2] // 2], np.float32)


def stack(image: np.ndarray, name: str | None = None) -> Stack:
    return Stack(image[None, None, None], None if name is None else (name,))


@pytest.mark.parametrize("name", ["neurons/phase", "saureus/phase"])
def test_phase_contrast_is_told_by_its_contrast_and_halos(shared_data: Path, name: str) -> None:
    assert guess_light(plane(shared_data, name)) == "phase"


@pytest.mark.parametrize("name", BRIGHTFIELD)
def test_brightfield_is_taken_for_nothing_else(shared_data: Path, name: str) -> None:
    assert guess_light(plane(shared_data, name)) is None


@pytest.mark.parametrize("name", FLUORESCENCE)
def test_fluorescence_is_bright_on_dark(shared_data: Path, name: str) -> None:
    assert guess_light(plane(shared_data, name)) == "fluorescence"


def test_simulated_fields_are_told_apart() -> None:
    field = simulate_field(SimulationSettings(size=256, seed=3))
    assert {guess_light(image[0]) for image in np.asarray(field.brightfield.data)[0]} == {None}
    assert {guess_light(image[0]) for image in np.asarray(field.stains.data)[0]} == {"fluorescence"}


def test_nothing_is_told_of_an_empty_or_tiny_plane() -> None:
    assert guess_light(np.ones((64, 64), np.float32)) is None
    assert guess_light(np.eye(8, dtype=np.float32)) is None
    assert guess_light(np.full((64, 64), np.nan, np.float32)) is None


def test_a_color_photograph_is_told_from_a_gray_picture_and_a_section() -> None:
    from skimage import data

    photograph = np.moveaxis(data.astronaut(), -1, 0).astype(np.float32)
    assert guess_color(photograph) == "photograph"
    assert guess_color(np.repeat(photograph[:1], 3, 0)) is None
    section = np.full((3, 64, 64), 240, np.float32)
    section[:, :40, :40] = np.array([150, 60, 140])[:, None, None]  # hematoxylin and eosin: purple on a white background
    assert guess_color(section) == "stained section"


def test_a_name_counts_more_than_pixels(shared_data: Path) -> None:
    info = open_model("cell-painting-brightfield").info
    phase = plane(shared_data, "neurons/phase")
    for name, light in ((None, "phase"), ("camera 1", "phase"), ("Brightfield", "brightfield"), ("w1DAPI", "fluorescence")):
        image = stack(phase, name)
        assert light_of_image(info, image, match(info, image)) == light


@pytest.mark.parametrize(
    ("light", "sentence"),
    [
        ("phase", "Phase contrast, not brightfield?"),
        ("fluorescence", "Fluorescence, not brightfield?"),
        ("dic", "DIC, not brightfield?"),
        ("photograph", "A color photograph, not a microscope image?"),
        ("brightfield", ""),
        (None, ""),
    ],
)
def test_the_sentence_names_both_lights(light: str | None, sentence: str) -> None:
    assert wrong_light(open_model("cell-painting-brightfield").info, light) == sentence


def test_the_first_reason_is_the_other_light(shared_data: Path) -> None:
    from skimage import data

    model = open_model("cell-painting-brightfield")
    verdict = check_domain(model, stack(plane(shared_data, "neurons/phase")[:320, :320]))
    assert verdict is not None
    assert verdict.verdict != "inside"
    assert verdict.reasons[0] == "Phase contrast, not brightfield?"
    assert not any("magnification" in reason for reason in verdict.reasons)
    colors = np.moveaxis(data.astronaut()[:320, :320], -1, 0)
    verdict = check_domain(model, Stack(colors[None, :, None], rgb=True))
    assert verdict is not None
    assert verdict.reasons[0] == "A color photograph, not a microscope image?"
    assert not any("focus" in reason for reason in verdict.reasons)


def test_a_color_picture_is_not_inside_even_if_its_luminance_is(shared_data: Path) -> None:
    model = open_model("cell-painting-brightfield")
    gray = plane(shared_data, "cell_painting/brightfield")[:320, :320]
    found = {}
    for name, tint in (("gray", (1.0, 1.0, 1.0)), ("colored", (1.0, 0.7, 0.5))):
        picture = np.stack([np.round(gray * share) for share in tint]).astype(np.uint16)
        found[name] = check_domain(model, Stack(picture[None, :, None], rgb=True))
    assert (found["gray"].verdict, found["gray"].reasons) == ("inside", ())
    assert (found["colored"].verdict, found["colored"].parts["color"]) == ("edge", COLOR)
    assert found["colored"].reasons == ("A color photograph, not a microscope image?",)
