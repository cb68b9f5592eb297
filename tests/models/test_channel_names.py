"""What the names of channels and layers say about the light they were taken with."""

from __future__ import annotations

import pytest

from napari_virtual_paint.models.channel_names import light_of, parse_name

NAMES = {
    "brightfield": ("w3Brightfield", "BF", "TL Brightfield", "HighZBF", "Brightfield -4 um", "ecoli_ds1_brightfield", "T=3 Trans", "TPMT"),
    "phase": ("phase", "w2Phase", "C2-Phase Contrast", "Digital Phase Contrast", "neurons-phase", "TL Phase"),
    "dic": ("DIC", "TL DIC", "img_000_DIC"),
    "fluorescence": ("w1DAPI", "C1-DAPI", "well A1 DAPI", "plate_A01_w2FITC", "488 long", "Alexa 647", "ER", "GFP", "nuclear envelope"),
    None: ("camera 0", "channel 1", "w1", "Image 3", "experiment_1_s_phase_0009", "metaphase"),
}


@pytest.mark.parametrize(("name", "light"), [(name, light) for light, names in NAMES.items() for name in names])
def test_a_name_tells_the_light(name: str, light: str | None) -> None:
    assert light_of(name) == light


@pytest.mark.parametrize(
    ("name", "kind"), [("w1DAPI", "dna"), ("w3Brightfield", "brightfield"), ("C2-Phase Contrast", "phase"), ("ch3 DIC", "dic")]
)
def test_the_number_that_an_instrument_writes_before_a_name_does_not_count(name: str, kind: str) -> None:
    assert parse_name(name).kind == kind
