"""Illumination functions are found by the channels in their names, in CellProfiler's files and Harmony's index."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_virtual_paint.errors import VirtualPaintError
from napari_virtual_paint.painting.illumination_files import channel_of, functions_in, profiles_in

SHAPE = (20, 30)
CHANNELS = ("Brightfield", "Hoechst", "Mito")
INDEX = """<?xml version="1.0" encoding="utf-8"?><EvaluationInputData><Maps><Map>
<Entry ChannelID="1"><FlatfieldProfile>{Background: {Character: NonFlat, Profile: {Coefficients: [[1.0], [0.1, 0.2]], Dims: [30, 20],
Origin: [14.5, 9.5], Scale: [0.03, 0.05], Type: Polynomial}}, Channel: 1, ChannelName: Hoechst}</FlatfieldProfile></Entry>
<Entry ChannelID="2"><FlatfieldProfile>{Background: {Character: Null, Profile: {Type: Identity}}, Channel: 2, ChannelName: Brightfield}
</FlatfieldProfile></Entry></Map></Maps></EvaluationInputData>"""


def light(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.5, 1, SHAPE)


def save(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        if name.endswith(".npy"):
            np.save(folder / name, light(number))
        else:
            tifffile.imwrite(folder / name, light(number).astype(np.float32))


@pytest.mark.parametrize(
    "names",
    [
        ("BR00117035_IllumDNA.npy", "BR00117035_IllumBrightfield.npy", "BR00117035_IllumMito.npy"),
        ("IllumDNA.tif", "IllumBF.tiff", "IllumMito.npy"),
        ("DAPI.npy", "Brightfield.tif", "Mito.npy"),
        ("illum_dna.npy", "illum_brightfield.npy", "illumination-mito.npy"),
    ],
)
def test_functions_are_found_by_their_channels(tmp_path: Path, names: tuple[str, ...]) -> None:
    save(tmp_path, *names)
    found = functions_in(tmp_path, CHANNELS, SHAPE, ("Brightfield",))
    assert list(found) == ["Brightfield", "Hoechst", "Mito"]
    for number, name in enumerate(("Hoechst", "Brightfield", "Mito")):
        assert np.allclose(found[name], light(number) / light(number).mean(), rtol=1e-5)


def test_a_table_says_which_file_is_for_which_channel(tmp_path: Path) -> None:
    save(tmp_path, "a.npy", "b.npy")
    found = functions_in(tmp_path, CHANNELS, SHAPE, ("Mito",), {"Mito": "b.npy", "Brightfield": "a.npy"})
    assert np.allclose(found["Mito"], light(1) / light(1).mean())


def test_one_file_is_for_the_one_channel(tmp_path: Path) -> None:
    save(tmp_path, "flat.npy")
    for path in (tmp_path, tmp_path / "flat.npy"):
        assert list(functions_in(path, ("channel 0",), SHAPE, ("channel 0",))) == ["channel 0"]


def test_harmonys_index_is_read(tmp_path: Path) -> None:
    (tmp_path / "Images").mkdir()
    index = tmp_path / "Images" / "Index.idx.xml"
    index.write_text(INDEX)
    assert set(profiles_in(index)) == {"Hoechst", "Brightfield"}
    for path in (tmp_path, tmp_path / "Images", index):
        found = functions_in(path, CHANNELS, SHAPE, ("Brightfield", "Hoechst"))
        assert (found["Brightfield"] == 1).all()
        x = (np.arange(30)[None] - 14.5) * 0.03
        y = (np.arange(20)[:, None] - 9.5) * 0.05
        assert np.allclose(found["Hoechst"], 1 + 0.1 * x + 0.2 * y, atol=1e-6)
    with pytest.raises(VirtualPaintError, match="no flat-field profile of the channel Mito"):
        functions_in(tmp_path, CHANNELS, SHAPE, ("Mito",))
    with pytest.raises(VirtualPaintError, match="for 20 x 30 pixels"):
        functions_in(tmp_path, CHANNELS, (40, 30), ("Hoechst",))


def test_a_profile_is_found_wherever_a_long_index_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = tmp_path / "Index.xml"
    index.write_text(INDEX.replace("<Maps>", "<A/>" * 500 + "<Maps>"))
    monkeypatch.setattr("napari_virtual_paint.painting.illumination_files._CHUNK", 700)
    assert set(profiles_in(index)) == {"Hoechst", "Brightfield"}


def bad(folder: Path, kind: str) -> None:
    """Write a folder whose function of Brightfield can't be used."""
    file = folder / "IllumBrightfield.npy"
    wrong = {"size": np.ones((3, 4)), "zeros": np.zeros(SHAPE), "nan": np.full(SHAPE, np.nan), "objects": np.array([{}], object)}
    if kind in wrong:
        np.save(file, wrong[kind])
    elif kind == "damaged":
        file.write_bytes(b"\x93NUMPY nothing")
    elif kind == "several":
        np.savez(folder / "x.npz", a=np.ones(SHAPE))
        (folder / "x.npz").rename(file)
    elif kind == "tiff":
        (folder / "IllumBrightfield.tif").write_bytes(b"II*\0nothing")
    elif kind == "other":
        np.save(folder / "IllumDNA.npy", np.ones(SHAPE))
        np.save(folder / "IllumER.npy", np.ones(SHAPE))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("size", "3 x 4 pixels and the images 20 x 30"),
        ("zeros", "0 or below"),
        ("nan", "not finite"),
        ("objects", "no array of numbers"),
        ("damaged", "no array of numbers"),
        ("several", "several arrays"),
        ("tiff", "IllumBrightfield.tif"),
        ("other", "no illumination function is named for the channel Brightfield"),
        ("empty", "holds no illumination function"),
    ],
)
def test_what_can_not_be_used_is_one_sentence(tmp_path: Path, kind: str, words: str) -> None:
    bad(tmp_path, kind)
    with pytest.raises(VirtualPaintError, match=words) as caught:
        functions_in(tmp_path, CHANNELS, SHAPE, ("Brightfield",))
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(VirtualPaintError, match="no such file or folder"):
        functions_in(tmp_path / "none", CHANNELS, SHAPE, ("Mito",))


def test_the_channel_of_a_files_name() -> None:
    names = {"P1_IllumDNA.npy": "DNA", "IllumBrightfield_H.npy": "Brightfield_H", "Illum.npy": "Illum", "ER.tif": "ER"}
    assert {name: channel_of(Path(name)) for name in names} == names
