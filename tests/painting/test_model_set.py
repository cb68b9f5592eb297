"""Test-time augmentation, ensembles, several models for one result, and one normalisation for a time series."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from napari_virtual_paint.choices import TTA_LABELS, TtaKind, values_of
from napari_virtual_paint.errors import InputError, ModelError
from napari_virtual_paint.normalize import MEDIAN_IQR, MINUS_ONE_TO_ONE, Step, fit
from napari_virtual_paint.painting import Member, ModelSet, PaintSettings, estimate, paint, run_to_end
from napari_virtual_paint.painting import field_painter as hand_module
from napari_virtual_paint.painting import pass_merging as merge_module
from napari_virtual_paint.painting import timelapse_normalization as series_module
from napari_virtual_paint.painting.tta import PLAIN, TTA, DihedralTransform
from napari_virtual_paint.plates.paint import paint_plate, read_scores
from napari_virtual_paint.plates.view.colouring import columns_of
from napari_virtual_paint.stack import PixelSize, Stack
from random_models import model_of
from small_plates import make_plate, toy_model

CPU = PaintSettings(device="cpu", tile=32)


def image(shape, seed=0, **kwargs):
    return Stack(np.random.default_rng(seed).integers(0, 4000, shape).astype(np.uint16), **kwargs)


def painted(model, stack, **changes):
    return run_to_end(paint(model, stack, replace(CPU, **changes)))


def symmetric(model):
    """Give every convolution kernels that look the same from all eight sides."""
    for module in model.network.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
            weight = module.weight.data
            module.weight.data = torch.stack(
                [torch.rot90(weight.flip(-1) if turn.flip else weight, turn.quarters, (-2, -1)) for turn in TTA["full"].transforms]
            ).mean(0)
    return model


@pytest.fixture(scope="module")
def unet():
    return model_of("UNet", out_channels=2, depth=3, width=4, max_width=8)


@pytest.fixture(scope="module")
def other():
    return model_of("UNet", seed=5, info={"id": "other", "stains": ("Stain1", "more")}, out_channels=2, depth=2, width=4)


@given(
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    top=st.integers(0, 6),
    left=st.integers(0, 6),
    turn=st.sampled_from(TTA["full"].transforms),
)
def test_a_turn_is_undone_pixel_by_pixel_and_box_by_box(height, width, top, left, turn):
    pixels = np.arange(height * width).reshape(1, height, width)
    there = turn.apply(pixels)
    np.testing.assert_array_equal(turn.undo(there), pixels)
    box = (slice(min(top, there.shape[-2] - 1), there.shape[-2]), slice(0, min(left, there.shape[-1] - 1) + 1))
    back = turn.undo_box(box, (height, width))
    np.testing.assert_array_equal(turn.undo(there[(slice(None), *box)]), pixels[(slice(None), *back)])


def test_the_eight_turns_are_the_group_of_the_square_and_points_go_with_them():
    pixels = np.arange(6).reshape(2, 3)
    assert len({turn.apply(pixels).tobytes() + bytes(turn.apply(pixels).shape) for turn in TTA["full"].transforms}) == 8
    assert tuple(TTA) == tuple(TTA_LABELS) == values_of(TtaKind)
    passes = {name: len(kind.transforms) for name, kind in TTA.items()}
    assert all(f"({count} passes)" in TTA_LABELS[name] for name, count in passes.items() if count > 1)
    for turn, (y, x) in product(TTA["full"].transforms, np.ndindex(2, 3)):
        v, u = turn.point(y + 0.5, x + 0.5, (2, 3))
        assert turn.apply(pixels)[int(v), int(u)] == pixels[y, x]


@settings(max_examples=8, deadline=None)
@given(height=st.integers(3, 50), width=st.integers(3, 50), depth=st.integers(2, 3), merge=st.sampled_from(["mean", "median"]))
def test_an_equivariant_network_gains_nothing(height, width, depth, merge):
    model = symmetric(model_of("UNet", depth=depth, width=3, max_width=6, batch_norm=False))
    stack = image((1, 3, 1, height, width), seed=height)
    plain, many = painted(model, stack), painted(model, stack, tta="full", merge=merge)
    scale = plain.stack.data.std() + 1e-6
    assert np.abs(many.stack.data - plain.stack.data).max() <= 2e-5 * scale + 1e-6
    assert max(many.report.uncertainty.values()) <= 1e-5 * scale + 1e-6
    assert many.report.passes == 8


def by_hand(model, stack, turns):
    """Paint every turn of the whole picture by itself and turn it back: sides are multiples, so there is no padding."""
    out = []
    for turn in turns:
        data = np.ascontiguousarray(turn.apply(stack.data))
        out.append(turn.undo(painted(model, replace(stack, data=data)).stack.data))
    return np.stack(out)


@pytest.mark.parametrize(("tta", "count"), [("flips", 4), ("full", 8)])
@pytest.mark.parametrize("merge", ["mean", "median"])
def test_turns_are_merged_as_if_painted_one_by_one(unet, tta, count, merge, monkeypatch):
    monkeypatch.setattr(merge_module, "BAND", 4000)
    stack = image((2, 3, 1, 40, 60))
    each = by_hand(unet, stack, TTA["full"].transforms[:count])
    found = painted(unet, stack, tta=tta, merge=merge)
    truth = each.mean(0) if merge == "mean" else np.median(each, 0)
    np.testing.assert_allclose(found.stack.data, truth, atol=2e-5)
    np.testing.assert_allclose(found.uncertainty.data, each.std(0, ddof=1), atol=2e-5)
    assert found.uncertainty.channels == tuple(f"{name} SD" for name in found.stack.channels)
    assert found.report.uncertainty[found.stack.channels[1]] == pytest.approx(each.std(0, ddof=1)[:, 1].mean(), rel=1e-4)
    assert found.stack.provenance["settings"]["tta"] == tta
    assert each.std(0).max() > 0.01, "the network must care how a picture lies"


def test_volumes_are_turned_in_the_plane_only():
    model = model_of("FNet", dims=3, depth=2, mult_chan=2)
    stack = image((1, 1, 8, 16, 24))
    each = by_hand(model, stack, TTA["full"].transforms)
    found = painted(model, stack, tta="full")
    np.testing.assert_allclose(found.stack.data, each.mean(0), atol=2e-5)


def test_a_region_and_a_resampled_field_are_those_of_the_whole(unet):
    stack = image((1, 3, 1, 90, 70), pixel_size=PixelSize(None, 0.5, 0.5))
    whole = painted(unet, stack, tta="full")
    part = painted(unet, stack, tta="full", region=((30, 61), (5, 40)))
    np.testing.assert_allclose(part.stack.data[..., 30:61, 5:40], whole.stack.data[..., 30:61, 5:40], atol=2e-5)
    np.testing.assert_allclose(part.uncertainty.data[..., 30:61, 5:40], whole.uncertainty.data[..., 30:61, 5:40], atol=2e-5)
    assert part.report.uncertainty["stain0"] == pytest.approx(whole.uncertainty.data[0, 0, 0, 30:61, 5:40].mean(), rel=1e-4)
    finer = model_of("UNet", info={"pixel_size": PixelSize(None, 0.4, 0.4)}, depth=2, width=3)
    assert np.isfinite(painted(finer, stack, tta="full", resample=True).stack.data).all()


def test_windows_of_planes_and_pictures_in_colour(unet):
    info = {"planes_as_channels": True, "channels": ("BF -4 um", "BF 0 um", "BF +4 um"), "z_offsets": (-4.0, 0.0, 4.0)}
    window = model_of("UNet", info=info, depth=2, width=3)
    found = painted(window, image((1, 1, 5, 30, 20)), tta="flips")
    assert found.stack.shape == found.uncertainty.shape == (1, 2, 1, 30, 20) or found.stack.shape[2] == 1
    grey = model_of("UNet", in_channels=1, depth=2, width=3)
    assert np.isfinite(painted(grey, image((1, 3, 1, 30, 20), rgb=True), tta="full").stack.data).all()


def test_the_first_pass_is_shown_at_once_and_progress_is_of_all_passes(unet):
    stack = image((1, 3, 1, 48, 64))
    plain = painted(unet, stack).stack.data
    out = np.zeros(plain.shape, np.float32)
    work, last, seen = paint(unet, stack, replace(CPU, tta="full"), out=out), 0.0, None
    for piece in work:
        assert piece.done >= last
        last = piece.done
        if seen is None and piece.done >= 1 / 8:
            seen = out.copy()
    assert last == piece.total
    np.testing.assert_allclose(seen, plain, atol=2e-5)
    assert np.abs(out - plain).max() > 1e-3, "and is refined after that"


def test_an_output_that_can_only_be_written_is_enough(unet):
    class Written:
        ndim, shape = 5, (1, *[len(unet.info.stains)], 1, 30, 40)

        def __init__(self):
            self.array = np.zeros(self.shape, np.float32)

        def __setitem__(self, key, value):
            self.array[key] = value

    stack, sink = image((1, 3, 1, 30, 40)), Written()
    run_to_end(paint(unet, stack, replace(CPU, tta="flips", merge="median"), out=sink))
    np.testing.assert_array_equal(sink.array, painted(unet, stack, tta="flips", merge="median").stack.data)


def test_memory_that_runs_out_in_a_pass_counts_no_pixel_twice(unet, monkeypatch):
    stack = image((1, 3, 1, 64, 96))
    truth = painted(unet, stack, tta="flips")
    whole, failed = hand_module.Predictor.paint, []

    def paint_until_full(self, field, look):
        for number, piece in enumerate(whole(self, field, look)):
            if piece[1] is not None and number > 2 and len(failed) == 2 and self.used_tile > 32:
                failed.append(True)
                raise MemoryError
            yield piece
        failed.append(False)

    monkeypatch.setattr(hand_module.Predictor, "paint", paint_until_full)
    found = painted(unet, stack, tta="flips", tile=64)
    assert failed.count(True) == 1
    np.testing.assert_allclose(found.stack.data, truth.stack.data, atol=2e-5)
    np.testing.assert_allclose(found.uncertainty.data, truth.uncertainty.data, atol=2e-5)


def test_a_median_that_memory_should_not_hold_is_taken_on_disk(unet, tmp_path, monkeypatch):
    stack = image((1, 3, 1, 40, 50))
    truth = painted(unet, stack, tta="flips", merge="median")
    monkeypatch.setattr("napari_virtual_paint.runtime.scratch.SHARE_OF_MEMORY", 0.0)
    found = run_to_end(paint(unet, stack, replace(CPU, tta="flips", merge="median"), scratch=tmp_path))
    np.testing.assert_array_equal(found.stack.data, truth.stack.data)
    assert not list(tmp_path.iterdir())
    told = estimate(unet, stack, replace(CPU, tta="flips", merge="median"))
    assert told.disk >= 4 * 2 * 40 * 50 * 4
    assert any("disk" in warning for warning in told.warnings)


def test_the_forecast_knows_the_passes(unet, other):
    stack = image((1, 3, 1, 200, 300))
    once, often = estimate(unet, stack, CPU), estimate(unet, stack, replace(CPU, tta="full"))
    assert often.passes == 8
    assert often.seconds == pytest.approx(8 * once.seconds, rel=1e-3)
    assert often.memory == once.memory + 4 * 2 * 200 * 300, "the SDs, and no copy a pass"
    assert estimate(ModelSet((Member(unet), Member(other, ("more",)))), stack, CPU).seconds > once.seconds


def test_two_models_make_one_result(unet, other):
    stack = image((2, 3, 1, 40, 50))
    many = ModelSet((Member(unet, ("STAIN0",)), Member(other, ("more", "stain1"))))
    assert many.stains == ("stain0", "more", "Stain1")
    found = painted(many, stack)
    np.testing.assert_array_equal(found.stack.data[:, 0], painted(unet, stack).stack.data[:, 0])
    np.testing.assert_array_equal(found.stack.data[:, 1:], painted(other, stack).stack.data[:, ::-1])
    assert found.stack.channels == many.stains
    assert found.uncertainty is None
    assert found.report.model == "test-unet + other"
    assert found.stack.provenance["members"][1] == {"model": "other", "version": "1.2.3", "stains": ["more", "Stain1"]}
    both = painted(many, stack, tta="flips")
    np.testing.assert_allclose(both.stack.data[:, :1], painted(unet, stack, tta="flips").stack.data[:, :1], atol=1e-6)


def test_each_model_takes_its_own_channels():
    one = model_of("UNet", info={"channels": ("BF",), "stains": ("DNA",)}, in_channels=1, out_channels=1, depth=2, width=3)
    two = model_of("UNet", info={"id": "two", "channels": ("Phase",), "stains": ("ER",)}, in_channels=1, out_channels=1, depth=2, width=3)
    stack = image((1, 2, 1, 30, 30), channels=("Phase", "BF"))
    found = painted(ModelSet((Member(one), Member(two))), stack).stack.data
    np.testing.assert_array_equal(found[:, :1], painted(one, stack.select(["BF"])).stack.data)
    np.testing.assert_array_equal(found[:, 1:], painted(two, stack.select(["Phase"])).stack.data)


def test_a_model_of_planes_and_one_of_volumes_go_together():
    flat = model_of("UNet", info={"stains": ("DNA",)}, in_channels=1, out_channels=1, depth=2, width=3)
    deep = model_of("FNet", info={"stains": ("ER",)}, dims=3, depth=1, mult_chan=2)
    stack = image((2, 1, 4, 20, 30))
    found = painted(ModelSet((Member(flat), Member(deep))), stack, tta="flips")
    np.testing.assert_allclose(found.stack.data[:, :1], painted(flat, stack, tta="flips").stack.data, atol=1e-6)
    np.testing.assert_allclose(found.stack.data[:, 1:], painted(deep, stack, tta="flips").stack.data, atol=1e-6)
    info = {"planes_as_channels": True, "z_offsets": (-4.0, 0.0, 4.0), "stains": ("AGP",)}
    window = model_of("UNet", info=info, out_channels=1, depth=2, width=3)
    with pytest.raises(ModelError, match="makes one plane"):
        painted(ModelSet((Member(flat), Member(window))), stack)


def test_an_ensemble_is_the_mean_on_the_first_models_scale(unet, other):
    stack = image((1, 3, 1, 40, 50))
    alone, second = (painted(each, stack).stack.data[0] for each in (unet, other))
    found = painted(ModelSet((Member(unet), Member(other)), ensemble=True), stack)
    assert found.stack.channels == ("stain0", "stain1", "more")
    ours, theirs = alone[1], second[0]
    scaled = (theirs - theirs.mean()) / theirs.std() * ours.std() + ours.mean()
    np.testing.assert_allclose(found.stack.data[0, 1], (ours + scaled) / 2, atol=1e-4)
    np.testing.assert_allclose(found.uncertainty.data[0, 0], np.stack([ours, scaled]).std(0, ddof=1), atol=1e-4)
    np.testing.assert_allclose(found.stack.data[0, 0], alone[0], atol=1e-6)
    assert found.uncertainty.channels == ("stain1 SD",), "one pass has no SD"
    twin = painted(ModelSet((Member(unet), Member(unet)), ensemble=True), stack, tta="flips")
    np.testing.assert_allclose(twin.stack.data, painted(unet, stack, tta="flips").stack.data, atol=2e-5)
    assert twin.report.passes == 8


def test_equal_stains_of_two_models_are_painted_apart(unet, other):
    many = ModelSet((Member(unet), Member(other)))
    named = ("stain0", "stain1 (predicted, test-unet)", "Stain1 (predicted, other)", "more")
    assert (many.stains, many.apart, many.makers()) == (named, ("stain1",), (1, 1, 1, 1))
    assert [(each.stain, each.model) for each in many.painted] == [
        *(("stain0", "test-unet"), ("stain1", "test-unet"), ("Stain1", "other"), ("more", "other"))
    ]
    stack = image((2, 3, 1, 40, 50))
    found = painted(many, stack, tta="flips")
    truth = [painted(each, stack, tta="flips") for each in (unet, other)]
    np.testing.assert_allclose(found.stack.data, np.concatenate([each.stack.data for each in truth], axis=1), atol=1e-6)
    np.testing.assert_allclose(found.uncertainty.data, np.concatenate([each.uncertainty.data for each in truth], axis=1), atol=1e-6)
    assert found.stack.channels == named
    assert found.uncertainty.channels == ("stain0 SD", "stain1 SD (predicted, test-unet)", "Stain1 SD (predicted, other)", "more SD")
    assert found.report.uncertainty[named[2]] == pytest.approx(truth[1].report.uncertainty["Stain1"], rel=1e-4)
    assert [each["stains"] for each in found.stack.provenance["members"]] == [list(named[:2]), list(named[2:])]


def test_two_versions_of_a_model_are_told_apart_by_them(unet):
    newer = ModelSet((Member(unet), Member(replace_info(unet, version="2.0.0"))))
    assert newer.stains[::2] == ("stain0 (predicted, test-unet 1.2.3)", "stain0 (predicted, test-unet 2.0.0)")


def test_a_stain_made_twice_is_an_error_that_says_what_to_do(unet, other):
    with pytest.raises(InputError, match="makes no Mito; it makes stain0, stain1"):
        ModelSet((Member(unet, ("Mito",)),))
    with pytest.raises(InputError, match="named twice"):
        ModelSet((Member(unet, ("stain0", "Stain0")),))
    with pytest.raises(InputError, match="made by test-unet twice"):
        ModelSet((Member(unet), Member(unet)))


def replace_info(model, **changes):
    return type(model)(replace(model.info, **changes), model.network)


def growing(dtype=np.uint16, times=3):
    """A series that gets brighter."""
    frames = np.random.default_rng(0).integers(0, 1000, (times, 3, 2, 30, 40))
    return Stack((frames * (1 + np.arange(times))[:, None, None, None, None]).astype(dtype))


@pytest.mark.parametrize("steps", [(Step("zero_mean_unit_variance", True, {"eps": 1e-6}),), (Step("zero_mean_unit_variance", False),),
                                   MEDIAN_IQR, MINUS_ONE_TO_ONE])  # fmt: skip
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_a_series_has_the_statistics_of_all_its_time_points(steps, dtype):
    stack = growing(dtype)
    model = model_of("UNet", info={"preprocessing": steps}, out_channels=1, depth=2, width=3)
    found = painted(model, stack, normalize="series").stack.data
    joined = stack.data[:, :, 1].transpose(1, 0, 2, 3)
    normalization = fit(joined, steps)
    x = torch.from_numpy(normalization.apply(stack.data[2, :, 1]))[None]
    with torch.inference_mode():
        truth = model.network(x)[0].numpy()
    np.testing.assert_allclose(found[2, :, 1], truth, atol=1e-4)
    assert np.abs(painted(model, stack).stack.data - found).max() > 0.1


def test_one_frame_is_painted_with_the_statistics_of_its_series():
    stack, model = growing(), model_of("UNet", depth=2, width=3)
    truth = painted(model, stack, normalize="series").stack.data
    cut = replace(stack, data=stack.data[1:2, :, 1:2])
    settings = replace(CPU, normalize="series")
    found = run_to_end(paint(model, cut, settings, series=replace(stack, data=stack.data[:, :, 1:2]))).stack.data
    np.testing.assert_allclose(found, truth[1:2, :, 1:2], atol=1e-5)


def test_percentiles_of_a_large_series_are_told_to_be_a_sample(monkeypatch):
    stack = growing()
    model = model_of("UNet", info={"preprocessing": MINUS_ONE_TO_ONE}, depth=2, width=3)
    truth = painted(model, stack, normalize="series").stack.data
    monkeypatch.setattr(series_module, "WHOLE", 500)
    found = painted(model, stack, normalize="series")
    np.testing.assert_allclose(found.stack.data, truth, atol=1e-4)
    assert any("every 8th pixel" in note for note in found.report.notes)


def test_pixels_that_are_no_numbers_are_left_out_of_a_series():
    stack = growing(np.float32)
    stack.data[0, 1, 0, :3, 0] = np.nan
    model = model_of("UNet", depth=2, width=3)
    found = painted(model, stack, normalize="series")
    assert np.isfinite(found.stack.data).all()
    assert "channel 1: 3 pixels are not numbers and were set to the mean." in found.report.notes
    named = painted(model, replace(stack, source="/some/field.tif"))
    assert "channel 1: 3 pixels are not numbers and were set to the mean: /some/field.tif." in named.report.notes


def test_a_plate_keeps_the_mean_sd_of_each_field_and_never_mixes(tmp_path):
    plate, model = make_plate(tmp_path / "plate", wells=2, size=48), toy_model(tmp_path)
    wanted = PaintSettings(device="cpu", tta="flips")
    run_to_end(paint_plate(plate, model, tmp_path / "out", wanted))
    rows = read_scores(tmp_path / "out").set_index("well")
    alone = run_to_end(paint(model, plate.read(plate.fields[1]), wanted))
    assert rows.loc[plate.fields[1].well, "sd_DNA"] == pytest.approx(alone.report.uncertainty["DNA"], rel=1e-4)
    assert [column.label for column in columns_of(plate, {"": rows.iloc[0].to_dict()}) if column.key.startswith("sd")] == [
        "SD DNA",
        "SD ER",
    ]
    with pytest.raises(InputError, match="setting tta was flips and is now none"):
        run_to_end(paint_plate(plate, model, tmp_path / "out", PaintSettings(device="cpu")))
    run_to_end(paint_plate(plate, model, tmp_path / "plain", PaintSettings(device="cpu")))
    assert "sd_DNA" not in read_scores(tmp_path / "plain").columns


def test_settings_that_are_not_there_are_refused():
    for wrong in ({"tta": "twice"}, {"merge": "mode"}, {"normalize": "plate"}):
        with pytest.raises(InputError, match="must be one of"):
            PaintSettings(**wrong)
    assert DihedralTransform() == PLAIN
