"""Names of one stain, the user's own, and names that are repeated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_virtual_paint.channel_colors import channel_color
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.models.channel_names import differ, find_names, light_of, parse_name
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.stain_names import (
    STAINS,
    Synonyms,
    as_synonyms,
    default_synonyms,
    numbered,
    painted_name,
    read_synonyms,
    split_painted,
)


@pytest.mark.parametrize(
    ("stain", "names"),
    [
        ("DNA", ["DAPI", "Hoechst", "Hoechst 33342", "HOECHST33342", "nuclei", "DNA (predicted)", "w1DAPI", "OrigDNA", "DRAQ5", "H2B"]),
        ("Mito", ["Mito", "MitoTracker", "MitoTracker Deep Red", "MitoTrackerDeepRedFM", "Mito_Tracker", "mitochondria"]),
        ("ER", ["ER", "ConA", "Con A", "Concanavalin A", "ConA-AF488", "endoplasmic reticulum", "ER-Tracker Red"]),
        ("AGP", ["AGP", "Actin", "phalloidin", "WGA", "WGA Alexa 555", "Phalloidin/WGA", "Alexa Fluor 568 Phalloidin"]),
        ("RNA", ["RNA", "SYTO 14", "SYTO14", "syto-14 RNA"]),
        (None, ["nuclear envelope", "mitosis", "Alexa 488", "Cy5", "channel 0", "DNA ER", "RNA_L", "LysoTracker", "", "brightfield"]),
    ],
)
def test_names_of_one_stain(stain: str | None, names: list[str]) -> None:
    assert {name: Synonyms().stain_of(name) for name in names} == dict.fromkeys(names, stain)


def test_every_word_of_the_table_means_its_stain_and_has_its_color() -> None:
    for stain, words in STAINS.items():
        assert {Synonyms().stain_of(word) for word in words} == {stain}
        assert {channel_color(word) for word in words} == {channel_color(stain)}
        assert {parse_name(word).kind for word in words} == {stain.casefold()}


def test_the_users_own_names_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = as_synonyms({"Golgi": ["WGA", "Alexa 555"], "DNA": "NucBlue live"})
    assert [own.stain_of(name) for name in ("wga", "ALEXA-555", "NucBlue Live", "golgi", "Phalloidin")] == [
        "Golgi",
        "Golgi",
        "DNA",
        "Golgi",
        "AGP",
    ]
    file = tmp_path / "names.yaml"
    file.write_text("Golgi: [WGA, Alexa 555]\nDNA: NucBlue live\n")
    assert read_synonyms(file) == own
    monkeypatch.setenv("VIRTUAL_PAINT_SYNONYMS", str(file))
    assert default_synonyms() == own
    assert parse_name("WGA").kind == "golgi"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a\n- b\n", "a mapping from a stain"),
        ("DNA: [1]\n", "'DNA' needs a name or a list of names"),
        ("DNA: [X]\nER: [x]\n", "the name 'x' of the stain 'ER' is given to 'DNA', too"),
        ("DNA: ['!']\n", "has no letter or digit"),
        ("DNA: [", "is no YAML"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "names.yaml").write_text(text)
    with pytest.raises(InputError, match=r"names\.yaml: ") as caught:
        read_synonyms(tmp_path / "names.yaml")
    assert words in str(caught.value)
    with pytest.raises(InputError, match="check the path"):
        read_synonyms(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("wanted", "names", "places"),
    [
        (["DNA", "ER"], ["ER", "DNA"], (1, 0)),
        (["DNA", "ER"], ["ConA", "hoechst 33342"], (1, 0)),
        (["DNA"], ["DAPI", "DNA"], (1,)),
        (["DNA"], ["DAPI", "Hoechst"], (None,)),
        (["DAPI", "Hoechst"], ["DNA"], (None, None)),
        (["AGP"], ["Phalloidin", "WGA"], (None,)),
        (["Phalloidin", "WGA"], ["WGA", "Phalloidin"], (1, 0)),
        (["BF -4um", "BF 4um"], ["Brightfield +4 um", "Brightfield -4 um"], (1, 0)),
        (["DAPI", "DAPI"], ["DAPI", "ER", "DAPI"], (0, 2)),
        (["DNA"], ["Cy5"], (None,)),
    ],
    ids=str,
)
def test_names_are_found(wanted: list[str], names: list[str], places: tuple[int | None, ...]) -> None:
    assert find_names(wanted, names) == places


def test_what_is_known_to_differ() -> None:
    assert differ("DNA", "ConA")
    assert differ("Brightfield", "Phase")
    assert not differ("DNA", "Cy5")
    assert not differ("DNA", "DAPI")


def test_repeated_names_are_numbered_and_none_is_lost() -> None:
    assert numbered(["DAPI", "ER", "dapi "]) == ("DAPI (0)", "ER", "dapi  (1)")
    assert numbered(["DNA", "ER"]) == ("DNA", "ER")
    stack = Stack(np.arange(3)[None, :, None, None, None], ("DAPI", "ER", "DAPI"))
    assert stack.channel_labels == ("DAPI (0)", "ER", "DAPI (1)")
    assert stack.select(["DAPI (1)", "er"]).data.ravel().tolist() == [2, 1]
    with pytest.raises(KeyError, match=r"no single channel 'DAPI'; there are DAPI \(0\), ER, DAPI \(1\)"):
        stack.channel_index("DAPI")


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        (painted_name("DNA", "predicted", "neurons-phase"), ("DNA", "neurons-phase")),
        (painted_name("DNA SD", model="m 1.0.0"), ("DNA SD", "m 1.0.0")),
        ("Mito (preview, a (copy)) [1]", ("Mito", "a (copy)")),
        (painted_name("DNA", "predicted"), ("DNA (predicted)", "")),
        ("Brightfield (phase)", ("Brightfield (phase)", "")),
    ],
)
def test_a_painted_stain_is_told_from_its_model(name: str, parts: tuple[str, str]) -> None:
    assert split_painted(name) == parts


def test_the_words_of_a_model_say_nothing_of_the_stain() -> None:
    name = painted_name("DNA", model="mito-phase")
    assert (Synonyms().stain_of(name), parse_name(name).kind, light_of(name)) == ("DNA", "dna", "fluorescence")
