"""Which channels and planes a model gets, as a table of cases."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_virtual_paint.errors import ModelError
from napari_virtual_paint.models import Match, ModelInfo, match
from napari_virtual_paint.models.channel_names import ParsedName, is_generic, parse_name
from napari_virtual_paint.stack import UNKNOWN, PixelSize, Stack
from napari_virtual_paint.stain_names import Synonyms


def model(*channels: str, **changes: Any) -> ModelInfo:
    settings: dict[str, Any] = {"dims": 2, "stains": ("DNA",), "weights": "pytorch_state_dict", **changes}
    texts = dict.fromkeys(("name", "version", "description", "license"), "x")
    return ModelInfo(id="toy", authors=(), source=Path("toy"), channels=channels, **texts, **settings)


def image(names: str | None = None, count: int | None = None, z: int = 1, step: float | None = None, **changes: Any) -> Stack:
    """An image of these channels (separated by commas), or of so many without names."""
    channels = None if names is None else tuple(names.split(","))
    data = np.zeros((changes.pop("t", 1), count or (len(channels) if channels else 1), z, 4, 4), np.uint8)
    return Stack(data, channels, changes.pop("pixel_size", PixelSize(step, None, None)), **changes)


BF = model("Brightfield")
BF3D = model("Brightfield", dims=3)
TWO = model("Phase", "DIC")
PLANES = model("Brightfield -4um", "Brightfield 0um", "Brightfield +4um", planes_as_channels=True, z_offsets=(-4.0, 0.0, 4.0))
THREE = replace(PLANES, z_offsets=None)
EVEN = model("z0", "z1", "z2", "z3", planes_as_channels=True)
PHASE13 = model(*(f"phase z{i}" for i in range(13)), planes_as_channels=True)
RGB = model("Red", "Green", "Blue")

CASES: list[tuple[str, ModelInfo, Stack, list[str | int] | None, dict[str, Any]]] = [
    # one channel
    ("one to one", BF, image("Brightfield"), None, {"channels": (0,)}),
    ("one without name", BF, image(), None, {"channels": (0,)}),
    ("one of another name", BF, image("DIC"), None, {"channels": (0,), "notes": 1}),
    ("one that only counts", BF, image("channel 0"), None, {"channels": (0,)}),
    ("picked by name", BF, image("DAPI,Brightfield,GFP"), None, {"channels": (1,)}),
    ("picked in any case", BF, image("dapi,BRIGHTFIELD"), None, {"channels": (1,), "notes": 0}),
    ("picked by alias BF", BF, image("DAPI,BF"), None, {"channels": (1,), "notes": 1}),
    ("picked by alias bright field", BF, image("Bright Field,DAPI"), None, {"channels": (0,), "notes": 1}),
    ("picked by alias TL", BF, image("DAPI,TL Brightfield"), None, {"channels": (1,), "notes": 1}),
    ("picked in focus", BF, image("BF -4um,BF 0um,BF +4um"), None, {"channels": (1,), "notes": 1}),
    ("by the user's name", BF, image("DAPI,GFP"), ["gfp"], {"channels": (1,)}),
    ("by the user's number", BF, image(count=3), [2], {"channels": (2,)}),
    ("by the user's number as text", BF, image(count=3), ["2"], {"channels": (2,)}),
    ("z-stack plane by plane", BF, image("BF", z=7), None, {"channels": (0,), "mode": "planes"}),
    ("3D model", BF3D, image("DAPI,BF", z=7), None, {"channels": (1,), "mode": "volume"}),
    ("3D model on a plane", BF3D, image("BF"), None, {"channels": (0,), "mode": "volume", "notes": 1}),
    ("colour", BF, image("R,G,B", rgb=True), None, {"channels": (0,), "luminance": True, "notes": 1}),
    ("colour with alpha", BF, image(count=4, rgb=True), None, {"channels": (0,), "luminance": True, "notes": 1}),
    ("one colour of the user's", BF, image("R,G,B", rgb=True), ["G"], {"channels": (1,)}),
    ("colours by name", RGB, image("red,green,blue", rgb=True), None, {"channels": (0, 1, 2)}),
    # several channels
    ("two by name", TWO, image("DIC,Phase"), None, {"channels": (1, 0)}),
    ("two by alias", TWO, image("Nomarski,DAPI,Ph2"), None, {"channels": (2, 0), "notes": 2}),
    ("two without names", TWO, image(count=2), None, {"channels": (0, 1), "guessed": True, "notes": 1}),
    ("two that only count", TWO, image("C1,C2"), None, {"channels": (0, 1), "guessed": True, "notes": 1}),
    ("two by the user's order", TWO, image("a,b"), ["b", "a"], {"channels": (1, 0)}),
    # planes as channels, given as channels
    ("planes by name", PLANES, image("Brightfield +4um,Brightfield 0um,Brightfield -4um"), None, {"channels": (2, 1, 0)}),
    ("planes in other words", PLANES, image("bf_-4.0 µm,BF (0 um),bf +4µm,DAPI"), None, {"channels": (0, 1, 2), "notes": 3}),
    ("planes with a real minus", PLANES, image("BF \u22124 µm,BF in focus,BF 4 µm"), None, {"channels": (0, 1, 2), "notes": 3}),
    ("planes as JUMP names them", PLANES, image("DNA,Brightfield_H,Brightfield_L,Brightfield"), None, {"channels": (2, 3, 1), "notes": 3}),
    ("planes as JUMP names them otherwise", PLANES, image("HighZBF,LowZBF,Brightfield"), None, {"channels": (1, 2, 0), "notes": 3}),
    ("in focus among JUMP's", BF, image("Brightfield_H,Brightfield_L,Brightfield"), None, {"channels": (2,), "notes": 0}),
    ("planes without names", PLANES, image(count=3), None, {"channels": (0, 1, 2), "guessed": True, "notes": 1}),
    ("planes by the user", PLANES, image("a,b,c,d"), ["d", "c", "a"], {"channels": (3, 2, 0)}),
    ("thirteen by name", PHASE13, image(",".join(f"phase z{i}" for i in range(13))), None, {"channels": tuple(range(13))}),
    # planes as channels, given as a z-stack
    ("window of all", THREE, image(z=3), None, {"mode": "window", "z": (0, 1, 2)}),
    ("window of thirteen", PHASE13, image("phase", z=13), None, {"mode": "window", "z": tuple(range(13))}),
    ("window in the middle", THREE, image(z=8), None, {"mode": "window", "z": (2, 3, 4), "notes": 1}),
    ("window of an even model", EVEN, image(z=7), None, {"mode": "window", "z": (1, 2, 3, 4), "notes": 1}),
    ("window by offsets", PLANES, image(z=9, step=2.0), None, {"mode": "window", "z": (2, 4, 6), "notes": 1}),
    ("window by offsets, even stack", PLANES, image(z=10, step=2.0), None, {"mode": "window", "z": (3, 5, 7), "notes": 1}),
    ("window by offsets, all", PLANES, image(z=3, step=4.0), None, {"mode": "window", "z": (0, 1, 2), "notes": 0}),
    ("window without step", PLANES, image(z=9), None, {"mode": "window", "z": (3, 4, 5), "notes": 1}),
    ("window of a thin stack", PLANES, image(z=9, step=0.5), None, {"mode": "window", "z": (3, 4, 5), "notes": 2}),
    ("window of a coarse stack", PLANES, image(z=9, step=20.0), None, {"mode": "window", "z": (3, 4, 5), "notes": 2}),
    ("window of a named channel", THREE, image("DAPI,BF,GFP", z=5), None, {"channels": (1,), "mode": "window", "z": (1, 2, 3), "notes": 2}),
    ("window of the user's channel", THREE, image("a,b", z=5), ["b"], {"channels": (1,), "mode": "window", "z": (1, 2, 3), "notes": 1}),
    (
        "window of a colour stack",
        THREE,
        image(count=3, z=3, rgb=True),
        None,
        {"mode": "window", "z": (0, 1, 2), "luminance": True, "notes": 1},
    ),
]


@pytest.mark.parametrize(("name", "info", "stack", "channels", "expected"), CASES, ids=[case[0] for case in CASES])
def test_matches(name: str, info: ModelInfo, stack: Stack, channels: list[str | int] | None, expected: dict[str, Any]) -> None:
    wanted = {"channels": (0,), "mode": "planes", "z": None, "luminance": False, "guessed": False, **expected}
    notes = wanted.pop("notes", None)
    found = match(info, stack, channels)
    assert found == Match(**wanted, notes=found.notes)
    if notes is not None:
        assert len(found.notes) == notes, found.notes
    assert all(note.endswith(".") for note in found.notes)


REFUSED: list[tuple[str, ModelInfo, Stack, list[str | int] | None, tuple[str, ...]]] = [
    ("none is it", BF, image("DAPI,GFP"), None, ("wants the channel Brightfield", "has DAPI, GFP", "--channels 0")),
    ("two are it", BF, image("BF,Bright field"), None, ("--channels",)),
    ("two of them alike", BF, image("BF,BF"), None, ("BF, BF", "--channels")),
    ("without names", BF, image(count=3), None, ("3 without names", "--channels")),
    ("two of three", TWO, image("a,b,c"), None, ("Phase, DIC", "a, b, c", "--channels 0,1")),
    ("two of other names", TWO, image("DAPI,GFP"), None, ("DAPI, GFP",)),
    ("two of one", TWO, image("Phase"), None, ("Phase, DIC",)),
    ("colours for two", TWO, image("R,G,B", rgb=True), None, ("--channels",)),
    ("no such channel", BF, image("DAPI,GFP"), ["BF"], ("no channel 'BF'", "DAPI, GFP")),
    ("no such number", BF, image(count=2), [5], ("no channel 5",)),
    ("too many named", BF, image("a,b"), ["a", "b"], ("2 channels are named", "wants 1 (Brightfield)")),
    ("too few named", TWO, image("a,b"), ["a"], ("1 channels are named", "wants 2 (Phase, DIC)")),
    ("too few planes", PLANES, image(z=2), None, ("wants 3 z-planes", "the image has 2")),
    ("one plane", PLANES, image("BF"), None, ("wants 3 z-planes", "the image has 1")),
    ("one plane for all three", PLANES, image("BF"), [0, 0, 0], ("BF is named twice", "a channel of its own")),
    ("time for z", PLANES, image("BF", t=5), None, ("the image has 1", "5 time points")),
    ("one plane of the user's channel", PLANES, image("a,b"), ["a"], ("the image has 1",)),
    ("stack of two that could be it", THREE, image("DAPI,GFP", z=5), None, ("--channels",)),
    ("colour picture for planes", THREE, image(count=3, rgb=True), None, ("--channels",)),
    ("named otherwise", PLANES, image("DAPI,GFP,RFP"), None, ("DAPI, GFP, RFP",)),
]


def test_names_that_the_user_adds() -> None:
    stack = image("Cy5,Lamp")
    with pytest.raises(ModelError):
        match(BF, stack)
    found = match(BF, stack, synonyms=Synonyms({"Brightfield": ("Lamp",)}))
    assert (found.channels, found.notes) == ((1,), ("Lamp is taken as the model's Brightfield.",))
    planes = match(PLANES, image("Cy5,Lamp", z=3), synonyms=Synonyms({"Brightfield": ("Lamp",)}))
    assert (planes.channels, planes.mode) == ((1,), "window")


@pytest.mark.parametrize(("name", "info", "stack", "channels", "words"), REFUSED, ids=[case[0] for case in REFUSED])
def test_refusals(name: str, info: ModelInfo, stack: Stack, channels: list[str | int] | None, words: tuple[str, ...]) -> None:
    with pytest.raises(ModelError) as caught:
        match(info, replace(stack, source="field.tif"), channels)
    text = str(caught.value)
    assert text.startswith("field.tif: ")
    assert text.endswith(".")
    for word in words:
        assert word in text


@pytest.mark.parametrize(
    ("have", "want", "dims", "words"),
    [
        (PixelSize(None, 0.65, 0.65), PixelSize(None, 0.325, 0.325), 2, ["0.65 um wide"]),
        (PixelSize(None, 0.33, 0.33), PixelSize(None, 0.325, 0.325), 2, []),
        (UNKNOWN, PixelSize(None, 0.325, 0.325), 2, []),
        (PixelSize(None, 0.65, 0.65), UNKNOWN, 2, []),
        (PixelSize(1.0, 0.1, 0.1), PixelSize(0.29, 0.108, 0.108), 3, ["1 um apart"]),
        (PixelSize(1.0, 0.1, 0.1), PixelSize(0.29, 0.108, 0.108), 2, []),
    ],
)
def test_pixel_sizes_far_from_the_models_are_told(have: PixelSize, want: PixelSize, dims: int, words: list[str]) -> None:
    notes = match(model("BF", dims=dims, pixel_size=want), image("BF", z=4, pixel_size=have)).notes
    assert len(notes) == len(words)
    assert all(word in note for word, note in zip(words, notes, strict=True))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Brightfield -4um", ParsedName("brightfield", -4.0)),
        ("BF +4 µm", ParsedName("brightfield", 4.0)),
        ("bf_0.5um", ParsedName("brightfield", 0.5)),
        ("brightfield, in focus", ParsedName("brightfield", 0.0)),
        ("Bright-Field", ParsedName("brightfield")),
        ("TL-Phase", ParsedName("phase")),
        ("phase z12", ParsedName("phase", None, 12)),
        ("Phase plane 3", ParsedName("phase", None, 3)),
        ("DIC", ParsedName("dic")),
        ("Hoechst 33342", ParsedName("dna")),
        ("Brightfield_L", ParsedName("brightfield", side=-1)),
        ("LowZBF", ParsedName("brightfield", side=-1)),
        ("BF high z", ParsedName("brightfield", side=1)),
        ("RNA_L", ParsedName("rna l")),
        ("My Lamp", ParsedName("my lamp")),
    ],
)
def test_names_are_understood(name: str, expected: ParsedName) -> None:
    assert parse_name(name) == expected


@pytest.mark.parametrize("name", ["channel 0", "C1", "ch00", "2", "Channel:0:1", "img_3", "w1"])
def test_names_that_only_count(name: str) -> None:
    assert is_generic(name)


@pytest.mark.parametrize("name", ["BF", "DAPI", "c-actin", "ph1", "channel bright"])
def test_names_that_say_something(name: str) -> None:
    assert not is_generic(name)
