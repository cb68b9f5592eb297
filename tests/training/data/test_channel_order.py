"""Channels of all pairs follow the names of the first, and what can't be is refused; pixels that are no numbers; hidden files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml

from napari_virtual_paint.cli import main
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.stack import PixelSize, Stack
from napari_virtual_paint.training.config.run import TrainConfig
from napari_virtual_paint.training.data.find import find
from napari_virtual_paint.training.data.pairs import DataSet, load, raw_input
from napari_virtual_paint.writing import write

Channels = tuple[str, ...] | None


def config(folder: Path, run: Path | None = None, split: Any = None, **data: Any) -> TrainConfig:
    words = dict.fromkeys(("name", "description", "trained_on", "not_for", "output"), "tiny model")
    common = {"id": "tiny", **words, "patch": (16, 16), "batch": 2, "network": {"config": {"depth": 2, "width": 4}}, "run": run}
    files = {"folder": folder, "input": "*_in.ome.tif", "target": "*_out.ome.tif"}
    return TrainConfig.model_validate({**common, "split": split or {"validation": None}, "data": {**files, **data}})


def image(seed: int, count: int) -> Any:
    return np.random.default_rng(seed).integers(0, 4000, (count, 24, 24)).astype(np.uint16)


def pair(folder: Path, name: str, inputs: Channels, stains: Channels, seed: int, count: int = 2, **more: Any) -> tuple[Any, Any]:
    """Write a pair; return its pixels."""
    folder.mkdir(exist_ok=True)
    size = PixelSize(None, 0.5, 0.5)
    x, y = image(seed, len(inputs or "x")), image(seed + 100, len(stains) if stains else count)
    write(Stack(x[None, :, None], inputs, more.get("x_size", size)), folder / f"{name}_in.ome.tif")
    write(Stack(y[None, :, None], stains, more.get("y_size", size)), folder / f"{name}_out.ome.tif")
    return x, y


def zscored(pixels: Any) -> Any:
    return (pixels - pixels.mean()) / pixels.std()


def target(data: DataSet, name: str, stain: str) -> Any:
    (found,) = [each for each in data.pairs if each.name == name]
    return np.asarray(found.y)[data.stains.index(stain)]


@pytest.mark.parametrize("memory", [None, 0])
def test_stains_follow_the_names_of_the_first_pair(tmp_path: Path, memory: float | None) -> None:
    _, a = pair(tmp_path, "a", ("Brightfield", "Phase"), ("DNA", "ER"), 0)
    x, b = pair(tmp_path, "b", ("Phase", "TL Brightfield"), ("ER", "DNA"), 1)
    _, c = pair(tmp_path, "c", ("Brightfield", "Phase"), ("ConA-488", "HOECHST 33342"), 2)
    chosen = config(tmp_path, tmp_path / "run", memory=memory)
    for _ in range(2):  # the second time from the disk, where the pairs lie there
        data = load(chosen)
        assert (data.channels, data.stains) == (("Brightfield", "Phase"), ("DNA", "ER"))
        for name, pixels in (("a", a[0]), ("b", b[1]), ("c", c[1])):
            np.testing.assert_allclose(target(data, name, "DNA"), zscored(pixels), atol=1e-4)
        np.testing.assert_allclose(np.asarray(data.pairs[1].x)[0], zscored(x[1]), atol=1e-4)
        assert "HOECHST 33342 is taken as DNA, another name of the same stain (in 1 of 3 pairs)." in data.notes
        assert "The stains of a file come in another order, ER, DNA; they are taken by their names (in 1 of 3 pairs)." in data.notes
        assert "TL Brightfield is taken as Brightfield, another name of the same channel (in 1 of 3 pairs)." in data.notes
    np.testing.assert_array_equal(raw_input(chosen, data.order)[0], image(0, 2)[0])


def test_the_order_given_by_stains_goes_before_that_of_the_first_file(tmp_path: Path) -> None:
    _, a = pair(tmp_path, "a", ("BF",), ("ER", "DAPI"), 0)
    _, b = pair(tmp_path, "b", ("BF",), ("DNA", "ER"), 1)
    data = load(config(tmp_path, stains=["DNA", "ER"]))
    np.testing.assert_allclose(target(data, "a", "DNA"), zscored(a[1]), atol=1e-4)
    np.testing.assert_allclose(target(data, "b", "DNA"), zscored(b[0]), atol=1e-4)
    renamed = load(config(tmp_path, stains=["one", "two"]))  # names of the user's own keep the files' order
    np.testing.assert_allclose(target(renamed, "a", "one"), zscored(a[0]), atol=1e-4)
    np.testing.assert_allclose(target(renamed, "b", "one"), zscored(b[1]), atol=1e-4)


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (("DNA", "RNA"), "its stains are DNA, RNA where the first pair has DNA, ER; name them alike, or list other names"),
        (("DNA",), r"has 1 stains \(DNA\) where the first pair has 2 \(DNA, ER\); choose the same of all pairs by data.target_channels"),
        (("DAPI", "Hoechst"), "its stains are DAPI, Hoechst where the first pair has DNA, ER"),
        (("DNA", "DNA"), r"its stains are DNA \(0\), DNA \(1\) where"),
    ],
    ids=str,
)
def test_other_stains_are_refused_and_the_check_says_so(
    tmp_path: Path, second: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pair(tmp_path, "a", ("BF",), ("DNA", "ER"), 0)
    pair(tmp_path, "b", ("BF",), second, 1)
    with pytest.raises(InputError, match=words) as caught:
        load(config(tmp_path))
    assert str(caught.value) in checked(config(tmp_path), tmp_path, capsys)["stops"]


def checked(chosen: TrainConfig, folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return what ``train --check --json`` prints."""
    (folder / "run.yaml").write_text(yaml.safe_dump(chosen.model_dump(mode="json", exclude_unset=True)))
    assert main(["train", str(folder / "run.yaml"), "--check", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_positions_are_checked_against_names(tmp_path: Path) -> None:
    for number, (name, stains) in enumerate({"a": ("BF", "DNA", "ER"), "b": ("BF", "ER", "DNA"), "c": ("ER", "BF", "DNA")}.items()):
        write(Stack(image(number, 3)[None, :, None], stains), tmp_path / f"{name}.ome.tif")
    by_position = {"image": "*.ome.tif", "input_channels": [0], "target_channels": [1, 2]}
    with pytest.raises(InputError, match=r"c\.ome\.tif: its channels are ER where the first pair has BF"):
        load(config(tmp_path, **by_position))
    (tmp_path / "c.ome.tif").unlink()
    data = load(config(tmp_path, **by_position))
    np.testing.assert_allclose(target(data, "b", "DNA"), zscored(image(1, 3)[2]), atol=1e-4)


def test_names_that_are_missing_or_unknown_are_said(tmp_path: Path) -> None:
    pair(tmp_path, "a", ("BF",), ("DNA", "ER"), 0)
    pair(tmp_path, "b", None, None, 1)
    data = load(config(tmp_path))
    assert any(
        note.startswith("A file has no names of its stains; they are taken in order, channel 0, channel 1 as DNA, ER")
        for note in data.notes
    )
    one = tmp_path / "one"
    pair(one, "a", ("BF",), ("DNA",), 0)
    pair(one, "b", ("BF",), ("Cy5",), 1)
    assert load(config(one)).notes == ("The only stain of a file, Cy5, is taken as DNA (in 1 of 2 pairs).",)
    assert load(config(one, synonyms={"DNA": "Cy5"})).notes == ("Cy5 is taken as DNA, another name of the same stain (in 1 of 2 pairs).",)
    pair(one, "c", ("BF",), ("ER",), 2)
    with pytest.raises(InputError, match="its stains are ER where the first pair has DNA"):
        load(config(one))


def test_the_users_own_names_pair_and_are_part_of_the_settings(tmp_path: Path) -> None:
    pair(tmp_path, "a", ("BF",), ("DNA", "ER"), 0)
    _, b = pair(tmp_path, "b", ("BF",), ("Cy2", "Cy5"), 1)
    with pytest.raises(InputError, match=r"data\.synonyms"):
        load(config(tmp_path))
    chosen = config(tmp_path, synonyms={"DNA": ["Cy5"], "ER": "Cy2"})
    np.testing.assert_allclose(target(load(chosen), "b", "DNA"), zscored(b[1]), atol=1e-4)
    assert config(tmp_path, synonyms={}).fingerprint() == config(tmp_path).fingerprint() != chosen.fingerprint()
    with pytest.raises(ValueError, match="the name 'x' of the stain 'ER' is given to 'DNA', too"):
        config(tmp_path, synonyms={"DNA": ["x"], "ER": ["x"]})
    with pytest.raises(ValueError, match="stains names one stain twice"):
        config(tmp_path, stains=["DNA", "dna"])


def test_repeated_names_are_numbered(tmp_path: Path) -> None:
    pair(tmp_path, "a", ("BF",), ("DAPI", "DAPI"), 0)
    assert load(config(tmp_path)).stains == ("DAPI (0)", "DAPI (1)")
    with pytest.raises(InputError, match=r"no single channel 'DAPI'; there are DAPI \(0\), DAPI \(1\)"):
        load(config(tmp_path, target_channels=["DAPI"]))
    assert load(config(tmp_path, target_channels=["DAPI (1)"])).stains == ("DAPI",)


def test_pixels_that_are_no_numbers_are_left_out_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair(tmp_path, "a", ("BF",), ("DNA", "ER"), 0)
    y = image(7, 2).astype(np.float32)
    y[1, 2:4, 5] = np.nan
    y[0, 9, 9] = np.inf
    write(Stack(y[None, :, None], ("DNA", "ER")), tmp_path / "a_out.ome.tif", overwrite=True)
    (found,) = load(config(tmp_path)).pairs
    expected = np.isfinite(y).all(axis=0)
    assert expected.sum() == 24 * 24 - 3
    np.testing.assert_array_equal(found.parts["train"], expected)
    words = [fault["words"] for fault in checked(config(tmp_path), tmp_path, capsys)["pairs"][0]["faults"]]
    assert any("1 pixel is no number (NaN or infinite) in DNA" in each for each in words)
    assert any("2 pixels are no numbers (NaN or infinite) in ER" in each for each in words)
    for value, what in ((np.nan, "no pixel is a number"), (5.0, "every pixel is the same")):
        y[1] = value
        write(Stack(y[None, :, None], ("DNA", "ER")), tmp_path / "a_out.ome.tif", overwrite=True)
        with pytest.raises(InputError, match=rf"a_out\.ome\.tif: target has a channel in which {what} \(ER\); nothing can be learnt"):
            load(config(tmp_path))


def test_the_check_finds_all_that_a_training_stops_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the same words, though a training says only the first."""
    pair(tmp_path, "a", ("BF",), ("DNA",), 0)
    pair(tmp_path, "b", ("BF",), ("DNA",), 1, y_size=PixelSize(None, 0.25, 0.25))
    flat = Stack(np.full((1, 1, 1, 24, 24), 7, np.uint16), ("DNA",))
    small = Stack(image(3, 1)[None, :, None, :12, :12], ("DNA",))
    planes = Stack(image(4, 3)[None, None], ("DNA",))
    for name, wrong in (("c", flat), ("d", small), ("e", planes)):
        pair(tmp_path, name, ("BF",), ("DNA",), 5)
        write(wrong, tmp_path / f"{name}_out.ome.tif", overwrite=True)
    write(Stack(small.data, ("BF",)), tmp_path / "f_in.ome.tif")
    write(small, tmp_path / "f_out.ome.tif")
    chosen = config(tmp_path)
    report = checked(chosen, tmp_path, capsys)
    kinds = {each["name"]: {fault["kind"] for fault in each["faults"]} for each in report["pairs"]}
    assert {name for name, found in kinds.items() if "unreadable" in found} == {"c", "d", "e"}
    assert len(report["stops"]) == 4
    assert any("set data.resample" in note or "data.resample brings both to one size (in 1 of" in note for note in report["notes"])
    said = []
    while report["stops"]:  # a training stops at each of them in turn
        with pytest.raises(InputError) as caught:
            load(chosen)
        said.append(str(caught.value))
        name = next(name for name in "cdef" if f"{name}_" in said[-1] or said[-1].startswith(f"{name}:"))
        for side in ("in", "out"):
            (tmp_path / f"{name}_{side}.ome.tif").unlink()
        report["stops"].remove(said[-1])
    load(chosen)
    assert sum("smaller than a patch (16 x 16)" in each for each in said) == 1


def test_the_check_of_a_set_without_a_usable_pair_says_what_the_training_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "abc":
        pair(tmp_path, name, ("BF",), ("DNA",), 0)
        write(Stack(np.full((1, 1, 1, 24, 24), 7, np.uint16), ("DNA",)), tmp_path / f"{name}_out.ome.tif", overwrite=True)
    with pytest.raises(InputError, match=r"a_out\.ome\.tif: target has a channel in which every pixel is the same \(DNA\)") as caught:
        load(config(tmp_path))
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config(tmp_path).model_dump(mode="json", exclude_unset=True)))
    assert main(["train", str(tmp_path / "run.yaml"), "--check"]) == 2
    assert str(caught.value) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"patch": (15, 15)}, "each side must be a multiple of 2"),
        ({"patch": (2, 2), "batch": 1}, "patch: of 2 x 2 with a batch of 1 a single value is left"),
        ({"network": {"config": {"depth": 2, "widht": 4}}}, "has no setting 'widht'"),
        ({"data": {"balance": ["batch"]}}, "data.balance: no image has the column batch"),
        ({"monitor_stains": ["RNA"]}, "monitor_stains: there is no stain 'RNA'; there are DNA"),
        ({"start": "no-such-model"}, "no-such-model"),
    ],
)
def test_the_check_tries_the_settings(tmp_path: Path, changes: dict[str, Any], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("lightning", reason="training needs the extra train (Lightning)")
    pair(tmp_path, "a", ("BF",), ("DNA",), 0)
    values = config(tmp_path).model_dump(mode="json", exclude_unset=True)
    data = {**values["data"], **changes.pop("data", {})}
    (stop,) = checked(TrainConfig.model_validate({**values, **changes, "data": data}), tmp_path, capsys)["stops"]
    assert words in stop


@pytest.mark.parametrize(
    ("output", "run", "words"),
    [
        ("images/a_in.ome.tif", "run", "would replace the input"),
        ("images", "run", "would replace the input"),
        ("notes.txt", "run", "something that is no package exists"),
        ("package", "other", "it holds files that a training did not write"),
    ],
)
def test_the_check_finds_what_the_package_and_run_folder_would_replace(
    tmp_path: Path, output: str, run: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("lightning", reason="training needs the extra train (Lightning)")
    pair(tmp_path / "images", "a", ("BF",), ("DNA",), 0)
    (tmp_path / "other").mkdir()
    for path in (tmp_path / "notes.txt", tmp_path / "other" / "notes.txt"):
        path.write_text("of the user")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    chosen = config(tmp_path / "images", tmp_path / run).model_copy(update={"output": tmp_path / output})
    (stop,) = checked(chosen, tmp_path, capsys)["stops"]
    assert words in stop
    assert main(["train", str(tmp_path / "run.yaml")]) == 2  # in the same words, and nothing is touched
    assert " ".join(capsys.readouterr().err.split()).endswith(stop)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != "run.yaml"} == before


def test_label_images_are_recognised_as_targets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = np.zeros((2, 24, 24), np.uint16)
    labels[0, 2:9, 3:9], labels[0, 12:22, 10:20] = 1, 2
    labels[1] = image(0, 1)[0]
    pair(tmp_path, "a", ("BF",), ("Nuclei", "ER"), 0)
    write(Stack(labels[None, :, None], ("Nuclei", "ER")), tmp_path / "a_out.ome.tif", overwrite=True)
    (note,) = [each for each in checked(config(tmp_path), tmp_path, capsys)["notes"] if "label image" in each]
    assert note.startswith("Nuclei is a label image in 1 of 1 pairs (a: 2 regions of one whole number each)")
    write(Stack(labels[None, :, None], ("Nuclei mask", "ER")), tmp_path / "a_out.ome.tif", overwrite=True)
    assert not [each for each in checked(config(tmp_path), tmp_path, capsys)["notes"] if "label image" in each]


def test_pixel_sizes_of_the_set_are_said(tmp_path: Path) -> None:
    for name, size in (("a", 0.5), ("b", 0.25)):
        pair(tmp_path, name, ("BF",), ("DNA",), 0, x_size=PixelSize(None, size, size), y_size=PixelSize(None, size, size))
    assert load(config(tmp_path)).notes == (
        "The pixels of the inputs are from 0.25 to 0.5 um; set data.resample to bring all to one size.",
    )
    assert load(config(tmp_path, resample=0.3, split={"validation": None})).notes == ()


def test_files_that_differ_in_size_name_their_pixel_sizes(tmp_path: Path) -> None:
    pair(tmp_path, "a", ("BF",), ("DNA",), 0)
    write(
        Stack(image(1, 1)[None, :, None].repeat(2, 3).repeat(2, 4), ("DNA",), PixelSize(None, 0.25, 0.25)),
        tmp_path / "a_out.ome.tif",
        overwrite=True,
    )
    with pytest.raises(
        InputError, match=r"48 x 48 px do not fit .* 24 x 24 px .*0\.5 um along y and the target's 0\.25 um; data\.resample"
    ):
        load(config(tmp_path))


def test_hidden_files_are_no_images(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for name in ("input/a.tif", "target/a.tif"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(folder / name, image(0, 1)[0])
        for other in (f"._{Path(name).name}", ".DS_Store", "Thumbs.db"):
            (folder / name).with_name(other).write_bytes(b"\x00\x05\x16\x07")
    for patterns in (("input/*.tif", "target/*.tif"), ("input/*", "target/*")):
        assert [item.name.removesuffix(".tif") for item in find(config(folder, input=patterns[0], target=patterns[1]).data)] == ["a"]


def test_plates_pair_by_name(tmp_path: Path) -> None:
    """Two plates whose channels come in another order, and under other names of the same stains."""
    names = {"P1": ("Brightfield", "DNA", "Mito"), "P2": ("Brightfield", "MitoTracker", "Hoechst")}
    pixels = {}
    for number, (plate, channels) in enumerate(names.items()):
        (tmp_path / plate).mkdir()
        for channel, image_ in zip(channels, image(number, 3), strict=True):
            tifffile.imwrite(tmp_path / plate / f"A01_1_{channel}.tif", image_)
            pixels[plate, channel] = image_
    values = config(tmp_path).model_dump(mode="json", exclude_unset=True)
    chosen = TrainConfig.model_validate({**values, "data": {"plate": [str(tmp_path / plate) for plate in names]}})
    data = load(chosen)
    assert data.stains == ("DNA", "Mito")
    np.testing.assert_allclose(target(data, "P2/A01/1", "DNA"), zscored(pixels["P2", "Hoechst"]), atol=1e-4)
    np.testing.assert_allclose(target(data, "P2/A01/1", "Mito"), zscored(pixels["P2", "MitoTracker"]), atol=1e-4)
    files = {path.name for path in find(chosen.data)[1].files()}  # what a run that goes on is compared by
    assert files == {f"A01_1_{channel}.tif" for channel in ("Brightfield", "Hoechst", "MitoTracker")}
