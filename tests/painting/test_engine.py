"""Painting in pieces equals painting whole; every way in and out of the engine."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_virtual_paint import device as devices
from napari_virtual_paint.errors import InputError, ModelError
from napari_virtual_paint.normalize import Step
from napari_virtual_paint.painting import PaintSettings, estimate, paint, run_to_end
from napari_virtual_paint.painting import predictor as brush_module
from napari_virtual_paint.painting.exact.fuse import for_painting
from napari_virtual_paint.stack import PixelSize, Stack
from random_models import model_of

SMALL = {"depth": 4, "width": 4, "max_width": 16}


@pytest.fixture(scope="module")
def unet():
    return model_of("UNet", **SMALL)


@pytest.fixture(scope="module")
def fnet3d():
    return model_of("FNet", dims=3, depth=2, mult_chan=3, out_channels=2)


def image(shape, seed=0, **kwargs):
    rng = np.random.default_rng(seed)
    return Stack(rng.integers(0, 4000, shape).astype(np.uint16), **kwargs)


def whole(model, field):
    """Paint one field (C, ...) by a single forward pass, padded by reflection at the end of each axis."""
    x = torch.from_numpy((field - field.mean(axis=tuple(range(1, field.ndim)), keepdims=True)).astype(np.float64))
    x = x / (x.flatten(1).std(1, correction=0).reshape(-1, *([1] * (field.ndim - 1))) + 1e-6)
    multiple = 2 ** (model.network.depth - 1)
    padded = np.pad(x.numpy(), [(0, 0), *((0, -side % multiple) for side in field.shape[1:])], mode="reflect")
    with torch.inference_mode():
        out = model.network(torch.from_numpy(padded.astype(np.float32))[None])[0].numpy()
    return out[(slice(None), *(slice(0, side) for side in field.shape[1:]))]


def error(painted, reference):
    return np.abs(painted - reference).max() / reference.std()


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 150),
    width=st.integers(1, 150),
    tile=st.integers(16, 96),
    depth=st.integers(2, 5),
    norm=st.booleans(),
    keep=st.booleans(),
)
def test_exact_tiles_equal_the_whole_field_2d(height, width, tile, depth, norm, keep):
    model = model_of("UNet", depth=depth, width=3, max_width=12, batch_norm=norm)
    stack = image((1, 3, 1, height, width), seed=height)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari_virtual_paint.painting.exact.receptive_field.KEEP_SKIPS_UP_TO", 1 << 30 if keep else 0)
        painting = run_to_end(paint(model, stack, PaintSettings(tile=tile, device="cpu")))
    if height * width == 1:
        return  # one pixel is constant: nothing but zeros goes in
    assert error(painting.stack.data[0, :, 0], whole(model, stack.data[0, :, 0])) <= 5e-5
    assert painting.report.exact


@settings(max_examples=8, deadline=None)
@given(depth=st.integers(2, 20), height=st.integers(2, 50), width=st.integers(2, 50), tile=st.integers(16, 32), levels=st.integers(1, 3))
def test_exact_tiles_equal_the_whole_field_3d(depth, height, width, tile, levels):
    model = model_of("FNet", dims=3, depth=levels, mult_chan=2)
    stack = image((1, 1, depth, height, width))
    painting = run_to_end(paint(model, stack, PaintSettings(tile=tile, device="cpu")))
    assert error(painting.stack.data[0], whole(model, stack.data[0])) <= 5e-5


def test_deep_levels_in_many_blocks_are_exact(unet, monkeypatch):
    monkeypatch.setattr("napari_virtual_paint.painting.tiles.STEP", 1e5)
    stack = image((1, 3, 1, 300, 330))
    painting = run_to_end(paint(unet, stack, PaintSettings(tile=32, device="cpu")))
    assert error(painting.stack.data[0, :, 0], whole(unet, stack.data[0, :, 0])) <= 5e-5


def test_fnet_in_2d(monkeypatch):
    model = model_of("FNet", dims=2, depth=3, mult_chan=4)
    stack = image((1, 1, 1, 120, 100))
    painting = run_to_end(paint(model, stack, PaintSettings(tile=32, device="cpu")))
    assert error(painting.stack.data[0, :, 0], whole(model, stack.data[0, :, 0])) <= 5e-5


@pytest.mark.parametrize("architecture", ["UNet", "FNet"])
def test_the_network_for_painting_gives_the_same_and_leaves_the_original(architecture):
    model = model_of(architecture, **({"depth": 3, "width": 4} if architecture == "UNet" else {"dims": 2, "depth": 2, "mult_chan": 4}))
    x = torch.randn(1, model.network.config.in_channels, 32, 32)
    with torch.inference_mode():
        before = model.network(x)
        fast = for_painting(model.network)(x.clone())
        after = model.network(x)
    torch.testing.assert_close(fast, before, rtol=1e-4, atol=1e-4)
    assert torch.equal(before, after)
    with pytest.raises(ValueError, match="eval mode"):
        for_painting(model.network.train())
    model.network.eval()


def test_pieces_cover_the_stains_once_and_progress_never_falls(unet):
    stack = image((2, 3, 2, 70, 90))
    count = np.zeros((2, 2, 70, 90), int)
    last = 0.0
    out = np.full((2, 5, 2, 70, 90), np.nan, np.float32)
    pieces = paint(unet, stack, PaintSettings(tile=32, device="cpu"), out=out)
    try:
        while True:
            piece = next(pieces)
            assert piece.total == 4
            assert last <= piece.done <= piece.total + 1e-9
            last = piece.done
            if piece.where is not None:
                count[piece.where] += 1
                np.testing.assert_array_equal(out[(piece.where[0], slice(None), *piece.where[1:])][0], piece.data)
    except StopIteration as stop:
        painting = stop.value
    assert (count == 1).all()
    assert last == 4
    assert painting.stack.data is out
    for t, z in itertools.product(range(2), range(2)):
        assert error(out[t, :, z], whole(unet, stack.data[t, :, z])) <= 5e-5


def test_what_is_in_view_comes_first(unet):
    stack = image((2, 3, 1, 128, 128))
    pieces = paint(unet, stack, PaintSettings(tile=32, device="cpu"), view=(1, 0, 100.0, 20.0))
    first = next(piece for piece in pieces if piece.where is not None)
    t, _, y, x = first.where
    assert t == slice(1, 2)
    assert y.start <= 100 < y.stop
    assert x.start <= 20 < x.stop
    pieces.close()


def test_metadata_and_provenance_reach_the_stains(unet):
    stack = image((1, 3, 4, 40, 40), channels=("in0", "in1", "in2"), pixel_size=PixelSize(2.0, 0.5, 0.5), time_interval=3.0, source="a.tif")
    stack = Stack(stack.data, stack.channels, stack.pixel_size, stack.time_interval, stack.source)
    painting = run_to_end(paint(unet, stack, PaintSettings(device="cpu")))
    result = painting.stack
    assert result.channels == unet.info.stains
    assert result.pixel_size == stack.pixel_size
    assert result.time_interval == 3.0
    assert result.dtype == np.float32
    assert result.provenance is not None
    assert result.provenance["model"] == "test-unet"
    assert result.provenance["version"] == "1.2.3"
    assert result.provenance["input"] == "a.tif"
    assert result.provenance["device"] == "cpu"
    assert result.provenance["settings"]["blend"] == "exact"


def test_channels_are_taken_in_the_order_asked_for(unet):
    stack = image((1, 3, 1, 48, 48), channels=("c", "b", "a"))
    one = run_to_end(paint(unet, stack, PaintSettings(device="cpu", channels=("a", "b", "c"))))
    flipped = Stack(stack.data[:, ::-1], ("in0", "in1", "in2"))
    other = run_to_end(paint(unet, flipped, PaintSettings(device="cpu")))
    np.testing.assert_array_equal(one.stack.data, other.stack.data)


def test_planes_as_channels_make_one_plane():
    model = model_of("UNet", in_channels=3, out_channels=1, **SMALL, info={"planes_as_channels": True})
    stack = image((2, 1, 3, 40, 44), pixel_size=PixelSize(1.0, 0.5, 0.5))
    painting = run_to_end(paint(model, stack, PaintSettings(device="cpu")))
    assert painting.stack.shape == (2, 1, 1, 40, 44)
    assert painting.stack.pixel_size == PixelSize(None, 0.5, 0.5)
    assert error(painting.stack.data[1, :, 0], whole(model, stack.data[1, 0])) <= 5e-5


def test_colour_pictures_are_painted_from_their_luminance():
    model = model_of("UNet", in_channels=1, out_channels=2, **SMALL, info={"channels": ("Brightfield",)})
    stack = Stack(image((1, 3, 1, 40, 40)).data, ("Red", "Green", "Blue"), rgb=True)
    painting = run_to_end(paint(model, stack, PaintSettings(device="cpu")))
    grey = np.asarray(stack.luminance().data)[0, :, 0]
    assert error(painting.stack.data[0, :, 0], whole(model, grey)) <= 5e-5
    assert any("luminance" in note for note in painting.report.notes)


def test_a_region_equals_the_same_part_of_the_whole(unet):
    stack = image((1, 3, 1, 260, 300))
    full = run_to_end(paint(unet, stack, PaintSettings(device="cpu"))).stack.data
    region = ((101, 163), (37, 90))
    out = np.zeros_like(full)
    part = run_to_end(paint(unet, stack, PaintSettings(device="cpu", region=region, tile=32), out=out))
    inside = (slice(None), slice(None), slice(None), slice(101, 163), slice(37, 90))
    assert np.abs(out[inside] - full[inside]).max() <= 5e-5 * full.std()
    out[inside] = 0
    assert not out.any()
    assert part.report.exact
    with pytest.raises(InputError, match="outside"):
        run_to_end(paint(unet, stack, PaintSettings(device="cpu", region=((400, 420), (0, 10)))))


def test_resampling_brings_the_stains_back_to_the_image():
    model = model_of("UNet", **SMALL, info={"pixel_size": PixelSize(None, 1.0, 1.0)})
    rng = np.random.default_rng(0)
    small = rng.random((3, 24, 24)).repeat(4, 1).repeat(4, 2)
    stack = Stack(small[None, :, None].astype(np.float32), pixel_size=PixelSize(None, 0.5, 0.5))
    painting = run_to_end(paint(model, stack, PaintSettings(device="cpu", resample=True)))
    assert painting.stack.shape == (1, 5, 1, 96, 96)
    direct = run_to_end(paint(model, Stack(stack.data[..., ::2, ::2]), PaintSettings(device="cpu"))).stack.data
    assert np.corrcoef(painting.stack.data[0, 0, 0, ::2, ::2].ravel(), direct[0, 0, 0].ravel())[0, 1] > 0.7
    with pytest.raises(InputError, match="the pixel size of the image along y is not known"):
        run_to_end(paint(model, Stack(stack.data, pixel_size=PixelSize(None, None, 0.5)), PaintSettings(device="cpu", resample=True)))


@pytest.mark.parametrize("blend", ["median", "gaussian"])
def test_patches_cover_every_pixel(unet, blend):
    stack = image((1, 3, 1, 150, 90))
    exact = run_to_end(paint(unet, stack, PaintSettings(device="cpu"))).stack.data
    count = np.zeros((150, 90), int)
    pieces = paint(unet, stack, PaintSettings(device="cpu", blend=blend, tile=64))
    try:
        while True:
            piece = next(pieces)
            if piece.where is not None:
                count[piece.where[2:]] += 1
    except StopIteration as stop:
        painting = stop.value
    assert (count == 1).all()
    assert not painting.report.exact
    assert np.isfinite(painting.stack.data).all()
    assert np.corrcoef(painting.stack.data.ravel(), exact.ravel())[0, 1] > 0.9


def test_median_of_a_pointwise_network_is_the_network():
    from napari_virtual_paint.painting.sliding_window import predict_patches

    field = np.random.default_rng(0).random((2, 3, 70, 45)).astype(np.float32)
    for blend in ("median", "gaussian"):
        out = np.full_like(field, np.nan)
        for _, where, stains in predict_patches(lambda x: 2 * x + 1, field, blend, patch=32):
            if where is not None:
                out[(..., *where)] = stains
        np.testing.assert_allclose(out, 2 * field + 1, rtol=1e-5)


def test_median_takes_the_four_predictions_of_the_paper():
    from napari_virtual_paint.painting.sliding_window import predict_patches

    field = np.zeros((1, 64, 64), np.float32)
    calls = itertools.count()
    out = np.zeros_like(field)
    for _, where, stains in predict_patches(lambda x: np.full_like(x, next(calls)), field, "median", patch=32):
        if where is not None:
            out[(..., *where)] = stains
    columns = (64 + 2 * 16 - 32) // 16 + 1
    # The first 16 x 16 pixels lie in patches 0, 1 and columns, columns + 1.
    assert out[0, 0, 0] == np.median([0, 1, columns, columns + 1])


def test_volumes_and_time(fnet3d):
    stack = image((2, 1, 9, 30, 26))
    painting = run_to_end(paint(fnet3d, stack, PaintSettings(device="cpu")))
    assert painting.stack.shape == (2, 2, 9, 30, 26)
    for t in range(2):
        assert error(painting.stack.data[t], whole(fnet3d, stack.data[t])) <= 5e-5


def test_constant_and_nan_pixels_are_reported_not_propagated(unet):
    data = np.random.default_rng(0).random((1, 3, 1, 40, 40)).astype(np.float32)
    data[0, 0, 0, 3, 4] = np.nan
    data[0, 1] = 7.0
    painting = run_to_end(paint(unet, Stack(data), PaintSettings(device="cpu")))
    assert np.isfinite(painting.stack.data).all()
    assert any("channel 0" in note and "set to the mean" in note for note in painting.report.notes)
    assert any("channel 1" in note and "same value" in note for note in painting.report.notes)


def test_postprocessing_is_applied_by_piece_and_by_field():
    steps = (Step("scale_linear", True, {"gain": 2.0, "offset": 1.0}),)
    plain = model_of("UNet", **SMALL)
    linear = model_of("UNet", **SMALL, info={"postprocessing": steps})
    field = model_of("UNet", **SMALL, info={"postprocessing": (Step("zero_mean_unit_variance", True, {}),)})
    stack = image((1, 3, 1, 60, 60))
    a, b, c = (run_to_end(paint(m, stack, PaintSettings(device="cpu", tile=32))).stack.data for m in (plain, linear, field))
    np.testing.assert_allclose(b, 2 * a + 1, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(c.mean(axis=(2, 3, 4)), 0, atol=1e-4)
    np.testing.assert_allclose(c.std(axis=(2, 3, 4)), 1, atol=1e-3)


def test_out_of_memory_shrinks_the_tile_and_goes_on(unet, monkeypatch):
    stack = image((1, 3, 1, 128, 128))
    reference = run_to_end(paint(unet, stack, PaintSettings(device="cpu"))).stack.data
    original = brush_module.paint_field

    def scarce(network, plan, *rest):
        if max(plan.tile) > 40:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        yield from original(network, plan, *rest)

    monkeypatch.setattr(brush_module, "paint_field", scarce)
    messages = []
    painting = run_to_end(paint(unet, stack, PaintSettings(device="cpu")), lambda piece: messages.append(piece.message))
    np.testing.assert_allclose(painting.stack.data, reference, atol=1e-4)
    assert painting.report.tile <= 40
    assert any("Memory ran out" in message for message in messages)
    assert any("Memory ran out" in note for note in painting.report.notes)
    monkeypatch.setattr(brush_module, "paint_field", lambda *a, **k: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(Exception, match="memory ran out even with tiles"):
        run_to_end(paint(unet, stack, PaintSettings(device="cpu")))


def test_a_second_painting_waits_and_says_so(unet):
    stack = image((1, 3, 1, 64, 64))
    first = paint(unet, stack, PaintSettings(device="cpu"))
    next(first)
    second = paint(unet, stack, PaintSettings(device="cpu"))
    assert "Waiting" in next(second).message
    second.close()
    first.close()
    assert devices.LOCKS["cpu"].acquire(blocking=False), "a painting that was closed gives the device back"
    devices.LOCKS["cpu"].release()


def test_two_threads_paint_the_same(unet):
    stack = image((1, 3, 1, 96, 96))
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(run_to_end(paint(unet, stack, PaintSettings(device="cpu"))).stack.data))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(*results)


def test_inference_mode_does_not_leak_to_the_caller(unet):
    for _ in paint(unet, image((1, 3, 1, 64, 64)), PaintSettings(device="cpu")):
        assert not torch.is_inference_mode_enabled()


def test_bfloat16_is_close_and_leaves_the_model_as_it_was(unet):
    stack = image((1, 3, 1, 64, 64))
    exact = run_to_end(paint(unet, stack, PaintSettings(device="cpu"))).stack.data
    rough = run_to_end(paint(unet, stack, PaintSettings(device="cpu", precision="bfloat16")))
    assert np.corrcoef(rough.stack.data.ravel(), exact.ravel())[0, 1] > 0.99
    assert rough.report.precision == "bfloat16"
    assert next(unet.network.parameters()).dtype == torch.float32


def test_settings_refuse_what_can_not_be():
    for wrong in ({"blend": "mean"}, {"tile": 3}, {"precision": "float16"}, {"device": "tpu"}, {"region": ((5, 5), (0, 9))}):
        with pytest.raises(InputError):
            PaintSettings(**wrong)
    if "cuda" not in devices.available():
        with pytest.raises(InputError, match="not available"):
            devices.resolve("cuda")


def test_a_network_without_levels_is_painted_whole_or_in_patches(monkeypatch):
    model = model_of("UNet", **SMALL)
    scripted = torch.jit.trace(model.network, torch.zeros(1, 3, 32, 32))
    model.network = scripted
    object.__setattr__(model.info, "step_size", (8, 8))
    stack = image((1, 3, 1, 70, 60))
    painting = run_to_end(paint(model, stack, PaintSettings(device="cpu")))
    assert painting.report.exact
    reference = run_to_end(paint(model_of("UNet", **SMALL), stack, PaintSettings(device="cpu"))).stack.data
    np.testing.assert_allclose(painting.stack.data, reference, atol=1e-3)
    monkeypatch.setattr(brush_module, "WHOLE_UP_TO", 100)
    split = run_to_end(paint(model, stack, PaintSettings(device="cpu", tile=32)))
    assert not split.report.exact
    assert any("can't be split" in note for note in split.report.notes)


def test_too_few_channels_is_one_sentence(unet):
    with pytest.raises(ModelError, match="in0"):
        run_to_end(paint(unet, image((1, 2, 1, 40, 40)), PaintSettings(device="cpu")))


def test_estimate_grows_with_the_image(unet):
    small, large = (estimate(unet, image((1, 3, 1, side, side)), PaintSettings(device="cpu")) for side in (64, 1024))
    assert 0 < small.memory < large.memory
    assert 0 < small.seconds < large.seconds
    assert small.free > 0


def test_the_engine_needs_no_screen():
    code = "import sys, napari_virtual_paint.painting; assert not {'napari', 'qtpy', 'PyQt6'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
