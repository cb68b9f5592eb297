"""Whether pairs are fit to learn from: each fault is found in pairs that have it, and in no others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from napari_virtual_paint.cli import main
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.reading import read
from napari_virtual_paint.samples import SimulationSettings, simulate_field
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.training.config.network import Augment
from napari_virtual_paint.training.config.run import TrainConfig
from napari_virtual_paint.training.pair_checks import statistics
from napari_virtual_paint.training.pair_checks.check import PairReport, check_pairs, checked
from napari_virtual_paint.training.pair_checks.faults import faults_of
from napari_virtual_paint.training.pair_checks.shift import Shift, shifts
from napari_virtual_paint.training.pair_checks.statistics import ChannelStatistics, PairStatistics, measure_pair, saturated, spectrum
from napari_virtual_paint.writing import write

SIDE = 208
STAINS = ("ER", "AGP")


@pytest.fixture(scope="module")
def field() -> tuple[Any, Any]:
    """A simulated field: the input (C, Y, X) and two stains."""
    made = simulate_field(SimulationSettings(size=3 * SIDE + 16, seed=11))
    return made.brightfield.data[0, :, 0], made.stains.select(STAINS).data[0, :, 0]


@pytest.fixture(scope="module")
def pairs(field: tuple[Any, Any]) -> list[tuple[Any, Any]]:
    """Nine pairs cut from it, of which four get a fault."""
    places = [(8 + SIDE * row, 8 + SIDE * column) for row in range(3) for column in range(3)]
    cut = [tuple(image[:, y : y + SIDE, x : x + SIDE] for image in field) for y, x in places]
    rng = np.random.default_rng(0)
    y, x = places[1]
    cut[1] = cut[1][0], field[1][:, y - 3 : y - 3 + SIDE, x : x + SIDE]
    cut[3] = cut[3][0], np.minimum(cut[3][1], np.percentile(cut[3][1], 95, axis=(1, 2), keepdims=True)).astype(np.uint16)
    cut[5] = cut[5][0], rng.poisson(400, cut[5][1].shape).astype(np.uint16)
    blurred = ndimage.gaussian_filter(cut[7][1].astype(float), (0, 4, 4))
    cut[7] = cut[7][0], rng.poisson(blurred).astype(np.uint16)
    return cut


FAULTY = {"p1": "shifted", "p3": "saturated", "p5": "blank", "p7": "blurred"}


@pytest.fixture
def written(tmp_path: Path, pairs: list[tuple[Any, Any]]) -> Path:
    for number, (x, y) in enumerate(pairs):
        write(Stack(x[None, :, None], ("low", "focus", "high")), tmp_path / f"p{number}_in.ome.tif")
        write(Stack(y[None, :, None], STAINS), tmp_path / f"p{number}_out.ome.tif")
    (tmp_path / "p8_out.ome.tif").write_bytes(b"no image")
    return tmp_path


def config(folder: Path, **data: Any) -> TrainConfig:
    words = dict.fromkeys(("name", "description", "trained_on", "not_for", "output"), "tiny model")
    files = {"folder": folder, "input": "*_in.ome.tif", "target": "*_out.ome.tif", **data}
    small = {"network": {"config": {"depth": 2, "width": 4}}, "patch": (32, 32), "split": {"validation": ["p0"]}}
    return TrainConfig.model_validate({"id": "tiny", **words, **small, "run": folder / "run", "data": files})


def report_of(chosen: TrainConfig) -> PairReport:
    steps = check_pairs(chosen)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def test_each_fault_is_found_in_its_pair_alone(written: Path) -> None:
    report = report_of(config(written))
    found = {pair.name: [fault.kind for fault in pair.faults] for pair in report.pairs if pair.faults}
    assert {name: set(kinds) for name, kinds in found.items()} == {**{name: {kind} for name, kind in FAULTY.items()}, "p8": {"unreadable"}}
    shifted = report.pairs[1]
    assert shifted.shift is not None
    np.testing.assert_allclose(shifted.shift, (3, 0), atol=0.4)
    assert "all" not in shifted.faults[0].words
    assert report.headline().startswith("5 of 9 pairs may not be fit to learn from: 1 shifted, 1 saturated, 1 blank, 1 out of focus")
    assert json.loads(json.dumps(report.to_json()))["counts"]["shifted"] == 1
    assert not (written / "run").exists()


def test_faulty_pairs_are_left_out_where_that_is_asked_for(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = config(written, checks="leave_out")
    data, report = checked(chosen)
    assert report is not None
    assert [pair.name for pair in data.pairs] == ["p0", "p2", "p4", "p6"]
    assert report.left_out == ("p1", "p3", "p5", "p7", "p8")
    assert json.loads((written / "run" / "pairs.json").read_text())["left_out"] == list(report.left_out)
    # A run that goes on need not look again, and comes to the same.
    monkeypatch.setattr(statistics, "_measure_pair", lambda *_: pytest.fail("it was looked at again"))
    assert checked(chosen)[1].left_out == report.left_out


def test_pairs_are_only_told_by_default_and_not_looked_at_when_off(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (written / "p8_out.ome.tif").unlink()
    (written / "p8_in.ome.tif").unlink()
    data, report = checked(config(written))
    assert len(data.pairs) == 8
    assert report is not None
    assert len(report.faulty) == 4
    assert report.left_out == ()
    monkeypatch.setattr(statistics, "_measure_pair", lambda *_: pytest.fail("it was looked at"))
    assert checked(config(written, checks="off"))[1] is None


def test_the_command_prints_the_report(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = config(written).model_dump(mode="json", exclude_unset=True)
    (written / "run.yaml").write_text(yaml.safe_dump(values))
    assert main(["train", str(written / "run.yaml"), "--check", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {pair["name"]: pair["faults"][0]["kind"] for pair in found["pairs"] if pair["faults"]} == {**FAULTY, "p8": "unreadable"}
    assert main(["train", str(written / "run.yaml"), "--check"]) == 0
    assert "p1: the stains lie 3." in capsys.readouterr().out


def test_a_shift_is_measured_to_a_fifth_of_a_pixel(field: tuple[Any, Any]) -> None:
    x, y = field
    stains = [np.roll(stain, move, (0, 1)).astype(np.float32) for stain, move in zip(y, ((0, 0), (-4, 7)), strict=True)]
    for found, expected in zip(shifts(x.astype(np.float32), stains), ((0, 0), (-4, 7)), strict=True):
        assert found is not None
        np.testing.assert_allclose((found.y, found.x), expected, atol=0.2)
        assert found.error < 0.2
        assert found.evidence > 1000


def test_unrelated_images_give_no_evidence_and_small_ones_nothing(field: tuple[Any, Any]) -> None:
    x, y = (image.astype(np.float32) for image in field)
    for found in shifts(x[:, :SIDE, :SIDE], list(y[:, SIDE : 2 * SIDE, SIDE : 2 * SIDE])):
        assert found is not None
        assert found.evidence < 20
    assert shifts(x[:, :40, :40], list(y[:, :40, :40])) == [None, None]


def look(
    name: str, *, y: float = 0.0, x: float = 0.0, error: float = 0.05, evidence: float = 2000.0, sharpness: float = -2.0
) -> PairStatistics:
    channels = (ChannelStatistics("BF", "input", 0, 20, -1.5), ChannelStatistics("DNA", "stain", 0, 500, sharpness))
    return PairStatistics(name, channels, {"DNA": Shift(y, x, error, evidence)})


def kinds(looks: list[PairStatistics], augment: Augment = Augment()) -> tuple[list[list[str]], list[str]]:  # noqa: B008 - frozen
    pairs, notes = faults_of(looks, augment)
    return [[fault.kind for fault in pair.faults] for pair in pairs], notes


def test_an_offset_of_the_whole_set_is_a_note_and_one_against_the_set_a_fault() -> None:
    looks = [look(str(i), y=2.5 + 0.1 * (i % 3)) for i in range(6)]
    found, notes = kinds([*looks, look("6"), look("7", y=2.6, x=0.8)])
    assert found == [[]] * 6 + [["shifted"], []]
    assert len(notes) == 1
    assert "DNA by 2.6 px (y +2.6, x +0.0)" in notes[0]
    assert "flips" not in notes[0]
    assert "flips and turns" in kinds(looks, Augment(flips=True))[1][0]


def test_few_pairs_are_compared_with_the_input_and_may_have_an_offset() -> None:
    assert kinds([look("0", y=1.6)])[0] == [[]]
    assert "DNA by 1.6 px" in kinds([look("0", y=1.6)])[1][0]
    assert kinds([look("0", y=3), look("1")])[0] == [["shifted"], []]


def test_what_is_not_sure_is_no_fault_but_told() -> None:
    looks = [look(str(i)) for i in range(6)]
    found, notes = kinds([*looks, look("6", y=3, error=0.8), look("7", y=9, evidence=60)])
    assert found == [[]] * 8
    assert notes == ["In 2 of 8 pairs (6, 7) a shift of 1 to 2 px can't be ruled out: input and stains have too little in common."]


def test_a_pair_of_two_fields_is_told_where_others_have_much_in_common() -> None:
    assert kinds([*(look(str(i)) for i in range(6)), look("6", y=9, evidence=5)])[0][-1] == ["unmatched"]
    assert kinds([*(look(str(i), evidence=200) for i in range(6)), look("6", y=9, evidence=5)])[0][-1] == []


def test_sharpness_is_compared_with_the_sets_own_spread() -> None:
    tight, wide = ([look(str(i), sharpness=-2 + step * (i % 3 - 1)) for i in range(9)] for step in (0.05, 0.3))
    dull = look("9", sharpness=-2.7)
    assert kinds([*tight, dull])[0][-1] == ["blurred"]
    assert kinds([*wide, dull])[0][-1] == []
    assert kinds([*tight[:3], dull])[0][-1] == []


def test_stains_that_are_dull_together_are_told_though_each_varies() -> None:
    rng = np.random.default_rng(0)

    def several(name: str, drop: float = 0.0) -> PairStatistics:
        stains = [ChannelStatistics(f"S{i}", "stain", 0, 500, float(-2 - drop + rng.normal(0, 0.25))) for i in range(9)]
        return replace(look(name), channels=tuple(stains))

    found = faults_of([*(several(str(i)) for i in range(12)), several("12", 0.8)], Augment())[0]
    assert [[fault.kind for fault in pair.faults] for pair in found] == [[]] * 12 + [["blurred"]]
    assert found[-1].faults[0].words.startswith("every stain is out of focus")


def test_a_stain_that_is_missing_is_a_note() -> None:
    empty = ChannelStatistics("Mito", "stain", 0, 0.1, None)
    looks = [replace(look(str(i)), channels=(*look("").channels, empty)) for i in range(6)]
    assert kinds(looks) == ([[]] * 6, ["Mito is blank in 6 of 6 pairs."])


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_only_a_ceiling_is_saturated(kind: Any) -> None:
    rng = np.random.default_rng(0)
    picture = rng.gamma(2, 20, (300, 300)).clip(0, 250).round().astype(kind)
    picture[picture >= 240] = 239 - rng.integers(0, 30, (picture >= 240).sum())
    assert saturated(picture) < 0.001
    assert saturated(np.minimum(picture, np.array(80, kind))) == pytest.approx((picture >= 80).mean())
    mask = (picture > 60).astype(kind)
    assert saturated(mask) == 0
    labels = np.kron(rng.integers(0, 40, (30, 30)), np.ones((10, 10))).astype(kind)
    assert saturated(labels) == 0


def test_noise_has_no_structure_and_blur_takes_sharpness(field: tuple[Any, Any]) -> None:
    noise = np.random.default_rng(0).poisson(100, (256, 256)).astype(np.float32)
    assert spectrum(noise)[0] < 0.2
    structure, sharp = spectrum(field[1][1].astype(np.float32))
    _, dull = spectrum(ndimage.gaussian_filter(field[1][1].astype(np.float32), 3))
    assert structure > 100
    assert sharp is not None
    assert dull is not None
    assert sharp - dull > 0.3


SHAPES = hnp.array_shapes(min_dims=5, max_dims=5, min_side=1, max_side=3).map(lambda shape: (*shape[:3], 17 * shape[3], 23 * shape[4] - 22))
ODD = st.one_of(
    hnp.arrays(np.uint8, SHAPES), hnp.arrays(np.float32, SHAPES, elements=st.floats(width=32)), hnp.arrays(np.bool_, SHAPES)
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(ODD, ODD)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_no_image_is_too_odd_to_be_looked_at(source: Any, target: Any) -> None:
    looks = measure_pair("odd", Stack(source), Stack(target))
    pairs, _ = faults_of(looks, Augment())
    assert len(pairs) == min(len(source), len(target))
    assert [PairStatistics.from_json(json.loads(json.dumps(each.to_json()))).name for each in looks] == [pair.name for pair in pairs]


def test_a_set_without_a_good_pair_is_refused(written: Path) -> None:
    for number in (0, 2, 4, 6):
        (written / f"p{number}_out.ome.tif").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"split.validation holds nothing out|Each pair has a fault"):
        checked(config(written, checks="leave_out"))


def real(data: Path) -> Iterator[tuple[str, Stack, Stack]]:
    yield "neurons", read(data / "neurons/phase.ome.tif"), read(data / "neurons/fluorescence.ome.tif")
    yield "cell painting", read(data / "cell_painting/brightfield.ome.tif"), read(data / "cell_painting/stains.ome.tif")
    yield "hipsc", read(data / "hipsc_3d/brightfield.ome.tif"), read(data / "hipsc_3d/masks.ome.tif")
    jurkat = read(data / "jurkat_flow/experiment_2_g1_0002.ome.tif")
    yield "jurkat", jurkat.select(["Brightfield"]), jurkat.select(["DNA"])


def test_real_pairs_give_no_false_alarm(shared_data: Path) -> None:
    for name, source, target in real(shared_data):
        pairs, _ = faults_of(measure_pair(name, source.compute(), target.compute()), Augment())
        assert [pair.faults for pair in pairs] == [()], name


def test_label_images_are_told_from_gray_levels(field: tuple[Any, Any]) -> None:
    rng = np.random.default_rng(0)
    seeds = np.zeros((120, 120), int)
    seeds[rng.integers(0, 120, 30), rng.integers(0, 120, 30)] = 1
    cells = ndimage.label(seeds)[0]
    confluent = cells.ravel()[np.ravel_multi_index(ndimage.distance_transform_edt(cells == 0, return_indices=True)[1], cells.shape)]
    islands = np.where(ndimage.distance_transform_edt(seeds == 0) < 6, confluent, 0)
    for image, count in ((islands, ndimage.label(islands > 0)[1]), (confluent, cells.max() - 1)):
        for dtype in (np.uint8, np.uint16, np.int32, np.float32):
            found = statistics.label_regions(image.astype(dtype))
            assert found is not None
            assert found >= count
    assert statistics.label_regions(islands > 0) == ndimage.label(islands > 0)[1]
    smooth = ndimage.gaussian_filter(rng.normal(size=(120, 120)), 8)
    few_levels = np.rint((smooth - smooth.min()) / np.ptp(smooth) * 8).astype(np.uint8)
    dim = rng.poisson(ndimage.gaussian_filter(islands.astype(float), 2)).astype(np.uint8)
    for image in (few_levels, dim, islands + 0.5, rng.poisson(100, (60, 60)), np.full((9, 9), 3), np.full((9, 9), np.nan), *field[1]):
        assert statistics.label_regions(np.asarray(image)) is None
