"""Whole stacks: pairing of channels, sizes that differ, images larger than memory."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import dask.array as da
import numpy as np
import pytest

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.metrics import compare, pair_channels, report, score
from napari_virtual_paint.stack import PixelSize, Stack
from napari_virtual_paint.stain_names import as_synonyms


def stack(channels: tuple[str, ...] | None = None, shape: tuple[int, ...] = (1, 2, 1, 20, 24), seed: int = 0) -> Stack:
    return Stack(np.random.default_rng(seed).normal(size=shape), channels)


BY_A, BY_B = "(predicted, model-a)", "(predicted, phase-model)"


@pytest.mark.parametrize(
    ("left", "right", "pairs", "notes"),
    [
        (("DNA", "ER"), ("DNA", "ER"), [("DNA", 0, 0), ("ER", 1, 1)], 0),
        (("DNA", "ER"), ("ER", "DNA"), [("DNA", 0, 1), ("ER", 1, 0)], 0),
        (("dna", "er "), ("ER", "DNA"), [("dna", 0, 1), ("er ", 1, 0)], 0),
        (("DNA", "ER"), ("AGP", "DNA"), [("DNA", 0, 1)], 1),
        (("DNA", "ER"), ("AGP", "Mito"), [("AGP", 0, 0), ("Mito", 1, 1)], 1),
        (("DNA", "ER"), None, [("DNA", 0, 0), ("ER", 1, 1)], 1),
        (None, ("DNA", "ER"), [("DNA", 0, 0), ("ER", 1, 1)], 1),
        (None, None, [("channel 0", 0, 0), ("channel 1", 1, 1)], 1),
        (("DNA", "ER"), ("C", "C"), [("C (0)", 0, 0), ("C (1)", 1, 1)], 1),
        (("C", "C"), ("C", "C"), [("C (0)", 0, 0), ("C (1)", 1, 1)], 1),
        (("DNA", "ER"), ("ConA", "Hoechst 33342"), [("DNA", 0, 1), ("ER", 1, 0)], 2),
        (("DNA", "ER"), ("DAPI", "Mito"), [("DNA", 0, 0)], 2),
        (("AGP", "ER"), ("Phalloidin", "WGA"), None, "several of them fit one"),
        (("DAPI", "DAPI"), ("DAPI", "ER"), None, "give each channel a name of its own"),
        ((f"DNA {BY_A}", "ER", f"DNA {BY_B}"), ("DNA", "ER"), [(f"DNA {BY_A}", 0, 0), ("ER", 1, 1), (f"DNA {BY_B}", 2, 0)], 0),
        ((f"DNA {BY_A}", f"DNA {BY_B}"), ("DAPI",), [(f"DNA {BY_A}", 0, 0), (f"DNA {BY_B}", 1, 0)], 2),
    ],
    ids=str,
)
def test_channels_are_paired_by_name_else_by_order(left: Any, right: Any, pairs: Any, notes: Any) -> None:
    one, other = (stack(names, (1, len(names) if names else 2, 1, 20, 24)) for names in (left, right))
    if pairs is None:
        with pytest.raises(InputError, match=notes):
            pair_channels(one, other)
        return
    pairing = pair_channels(one, other)
    assert list(pairing.pairs) == pairs
    assert len(pairing.notes) == notes


def test_more_channels_than_the_truth_has() -> None:
    pairing = pair_channels(stack(None, (1, 3, 1, 9, 9)), stack(("DNA", "ER")))
    assert [pair[0] for pair in pairing.pairs] == ["DNA", "ER"]
    assert "only the first 2" in pairing.notes[1]


def test_scores_and_their_json() -> None:
    prediction, truth = stack(("DNA", "ER"), seed=1), stack(("ER", "DNA"), seed=2)
    got = compare(prediction, truth)
    assert got.channels["DNA"] == score(prediction.data[0, 0], truth.data[0, 1])
    assert got.mean.pcc == pytest.approx(np.mean([scores.pcc for scores in got.channels.values()]))
    as_json = got.to_json()
    assert set(as_json) == {"channels", "mean"}
    assert set(as_json["channels"]["ER"]) == set(as_json["mean"]) == {"pcc", "ssim", "psnr", "mse", "mae"}
    assert json.loads(json.dumps(as_json, allow_nan=False)) == as_json


def test_an_undefined_channel_is_null_and_said() -> None:
    truth = stack(("DNA", "ER"))
    data = stack(seed=3).data.copy()
    data[:, 1] = 4.0
    got = compare(Stack(data, ("DNA", "ER")), truth)
    assert set(got.to_json()["channels"]["ER"].values()) == {None}
    assert got.mean.pcc == got.channels["DNA"].pcc
    assert any(note.startswith("ER: The prediction has the same value") for note in got.notes)
    assert any("leaves out 1 of 2" in note for note in got.notes)

    assert got.undefined == dict.fromkeys(("pcc", "ssim", "psnr", "mse", "mae"), 1)
    assert got.to_json()["undefined"]["pcc"] == 1


def test_channels_of_other_names_for_one_stain_are_scored_against_each_other() -> None:
    prediction, truth = stack(("DNA", "ER"), seed=1), stack(("ConA", "Cy5"), seed=2)
    got = compare(prediction, truth, synonyms=as_synonyms({"DNA": ["Cy5"]}))
    assert got.channels == {"DNA": score(prediction.data[0, 0], truth.data[0, 1]), "ER": score(prediction.data[0, 1], truth.data[0, 0])}
    assert "DNA is scored against Cy5, another name of the same stain." in got.notes


def test_pixels_that_are_no_numbers_are_counted_with_their_file() -> None:
    data = stack(seed=3).data.copy()
    data[0, 0, 0, :2, 3] = np.nan
    data[0, 0, 0, 5, 5] = np.inf
    got = compare(Stack(data, ("DNA", "ER"), source="/some/pred.tif"), stack(("DNA", "ER")))
    note = "DNA: The prediction has 3 pixels that are not finite numbers (NaN or infinite), so no score is defined: /some/pred.tif."
    assert note in got.notes


def test_other_pixel_sizes_are_said() -> None:
    one, other = (replace(stack(), pixel_size=PixelSize(None, size, size)) for size in (0.5, 0.25))
    assert any("0.5 um along y and the truth's 0.25 um" in note for note in compare(one, other).notes)
    assert not any("um along" in note for note in compare(one, one).notes)


@pytest.mark.parametrize(
    ("shape", "word"),
    [((2, 2, 1, 20, 24), "time points"), ((1, 2, 5, 20, 24), "z-planes"), ((1, 2, 1, 21, 24), "rows"), ((1, 2, 1, 20, 25), "columns")],
)
def test_sizes_that_differ_are_said(shape: tuple[int, ...], word: str) -> None:
    with pytest.raises(InputError, match=word):
        compare(stack(shape=shape), stack())


@pytest.mark.parametrize("axes", [(0, 2, 1, 3, 4), (1, 0, 2, 3, 4)], ids=["planes as z", "planes as time"])
@pytest.mark.parametrize("lazy", [False, True])
def test_planes_of_a_plain_file_are_taken_as_channels(axes: tuple[int, ...], lazy: bool) -> None:
    prediction, truth = stack(("DNA", "ER"), seed=1), stack(seed=2)
    plain = np.transpose(truth.data, axes)
    other = Stack(da.from_array(plain) if lazy else plain)
    got = compare(prediction, other)
    assert got.channels == compare(prediction, truth).channels
    assert "taken as channels" in got.notes[0]
    assert compare(other, prediction).channels["DNA"].pcc == pytest.approx(got.channels["DNA"].pcc)


@pytest.mark.parametrize("chunks", [(1, 1, 1, 20, 24), (1, 1, 4, 10, 24), (2, 2, 11, 20, 24)], ids=str)
def test_lazy_stacks_are_read_in_blocks(chunks: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (2, 2, 11, 20, 24)
    prediction, truth = stack(shape=shape, seed=1), stack(shape=shape, seed=2)
    want = compare(prediction, truth)
    monkeypatch.setattr(report, "IN_MEMORY", 0)
    monkeypatch.setattr(report, "BLOCK", 3 * 2 * 20 * 24 * 8)
    largest = 0
    reading = report._read

    def watched(*arrays: Any) -> Any:
        nonlocal largest
        for planes in reading(*arrays):
            largest = max(largest, planes[0].base.nbytes if planes[0].base is not None else 0)
            yield planes

    monkeypatch.setattr(report, "_read", watched)
    got = compare(Stack(da.from_array(prediction.data, chunks=chunks)), Stack(da.from_array(truth.data, chunks=chunks)))
    assert got.channels.keys() == want.channels.keys()
    for name, scores in got.channels.items():
        for key, value in scores.to_json().items():
            assert value == pytest.approx(getattr(want.channels[name], key), abs=1e-12)
    assert 0 < largest <= max(3, chunks[2]) * 20 * 24 * 8


@pytest.mark.parametrize(("height", "width"), [(97, 40), (90, 31), (6, 40), (8, 9)])
@pytest.mark.parametrize("scale", ["zscore", "raw"])
def test_large_planes_are_scored_in_bands(height: int, width: int, scale: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    prediction, truth = stack(shape=(2, 2, 2, height, width), seed=1), stack(shape=(2, 2, 2, height, width), seed=2)
    want = compare(prediction, truth, scale)
    monkeypatch.setattr(report, "IN_MEMORY", 0)
    monkeypatch.setattr(report, "BLOCK", 15 * width * 16)
    mapped = np.memmap(tmp_path / "prediction", np.float64, "w+", shape=prediction.shape)
    mapped[:] = prediction.data
    got = compare(Stack(mapped), Stack(da.from_array(truth.data, chunks=(1, 1, 1, 10, 20))), scale)
    for name, scores in got.channels.items():
        for key, value in scores.to_json().items():
            assert value == pytest.approx(getattr(want.channels[name], key), abs=1e-12)


def test_real_stains_against_themselves_shifted(shared_data: Any) -> None:
    import tifffile
    from skimage.metrics import structural_similarity

    stains = tifffile.imread(shared_data / "cell_painting" / "stains.ome.tif")[:2, :400, :300]
    moved = np.roll(stains, 1, axis=2)
    got = compare(Stack(moved[None, :, None], ("DNA", "ER")), Stack(stains[None, :, None], ("DNA", "ER")), "raw")
    for name, a, b in zip(("DNA", "ER"), moved, stains, strict=True):
        want = structural_similarity(b.astype(float), a.astype(float), data_range=float(np.ptp(b)))
        assert got.channels[name].ssim == pytest.approx(want, abs=1e-9)
