"""Fields that are too large for memory, painted block by block, are the same as painted whole."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import dask.array as da
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.models import open_model
from napari_virtual_paint.normalize import MEDIAN_IQR, Step
from napari_virtual_paint.painting import Member, ModelSet, PaintSettings, field_painter, network_input, paint, run_to_end
from napari_virtual_paint.painting import predictor as predictor_module
from napari_virtual_paint.painting.blocks import BlockNeeds, Limits, block_side, blocks_of, limits_of
from napari_virtual_paint.painting.tta import TTA
from napari_virtual_paint.stack import PixelSize, Stack
from random_models import model_of

CPU = PaintSettings(device="cpu", tile=64)
LITTLE = 3 << 20  # bytes, so that fields of some hundred pixels are too large
SMALL = {"depth": 4, "width": 4, "max_width": 16}


@pytest.fixture(scope="module")
def unet():
    return model_of("UNet", **SMALL)


def image(shape: tuple[int, ...], seed: int = 0, dtype: str = "uint16", **kwargs: Any) -> Stack:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[3], : shape[4]]
    return Stack((rng.integers(0, 900, shape) + 3 * y + 5 * x).astype(dtype), **kwargs)


def lazy(stack: Stack, chunk: int = 100) -> Stack:
    return replace(stack, data=da.from_array(stack.data, chunks=(1, 1, 1, chunk, chunk)))


def both(model: Any, stack: Stack, how: PaintSettings = CPU, memory: int = LITTLE, **options: Any) -> tuple[Any, Any]:
    """Paint whole and in blocks."""
    whole = run_to_end(paint(model, stack, how))
    split = run_to_end(paint(model, options.pop("source", stack), how, memory=memory, **options))
    assert whole.report.block == 0
    assert 0 < split.report.block < max(stack.shape[3:])
    return whole, split


def assert_same(painted: Any, whole: Any) -> None:
    assert np.abs(painted - whole).max() <= 1e-5 * whole.std()


@pytest.mark.parametrize("tta", list(TTA))
def test_blocks_equal_the_whole(unet, tta):
    stack = image((1, 3, 1, 263, 290))
    whole, split = both(unet, stack, replace(CPU, tta=tta), source=lazy(stack))
    assert_same(split.stack.data, whole.stack.data)
    assert split.report.exact
    if tta != "none":
        assert_same(split.uncertainty.data, whole.uncertainty.data)
        assert split.report.uncertainty == pytest.approx(whole.report.uncertainty)


@pytest.mark.parametrize("name", ["jurkat-brightfield", "simulated-cell-painting", "cell-painting-brightfield"])
def test_bundled_models_in_blocks(name):
    model = open_model(name)
    stack = image((1, len(model.info.channels), 1, 330, 420))
    whole, split = both(model, stack, PaintSettings(device="cpu"), memory=12 << 20, source=lazy(stack, 128))
    assert np.abs(split.stack.data - whole.stack.data).max() <= 5e-6 * whole.stack.data.std()


@settings(max_examples=12, deadline=None)
@given(height=st.integers(150, 270), width=st.integers(200, 300), depth=st.integers(2, 5), norm=st.booleans())
def test_blocks_of_any_field_equal_the_whole(height, width, depth, norm):
    model = model_of("UNet", depth=depth, width=3, max_width=12, batch_norm=norm)
    stack = image((1, 3, 1, height, width), seed=height)
    whole, split = both(model, stack, memory=1 << 20)
    assert_same(split.stack.data, whole.stack.data)


@pytest.mark.parametrize("merge", ["mean", "median"])
def test_the_median_and_several_models_side_by_side(unet, merge):
    other = model_of("FNet", dims=2, depth=2, mult_chan=3, in_channels=3, seed=2, info={"stains": ("more",)})
    models = ModelSet((Member(unet, ("stain1", "stain0")), Member(other)))
    stack = image((2, 3, 2, 150, 260))
    whole, split = both(models, stack, replace(CPU, tta="flips", merge=merge))
    assert_same(split.stack.data, whole.stack.data)


def test_an_ensemble_is_brought_to_one_scale_over_the_whole_field(unet):
    models = ModelSet((Member(unet), Member(model_of("UNet", seed=5, **SMALL))), ensemble=True)
    stack = image((1, 3, 1, 200, 270))
    whole, split = both(models, stack, replace(CPU, tta="flips"))
    assert_same(split.stack.data, whole.stack.data)
    assert_same(split.uncertainty.data, whole.uncertainty.data)


def test_volumes():
    model = model_of("FNet", dims=3, depth=2, mult_chan=3, out_channels=2)
    stack = image((1, 1, 6, 200, 210))
    whole, split = both(model, stack, memory=5 << 20)
    assert_same(split.stack.data, whole.stack.data)


@pytest.mark.parametrize("blend", ["median", "gaussian"])
def test_patches(unet, blend):
    stack = image((1, 3, 1, 300, 340))
    whole, split = both(unet, stack, replace(CPU, blend=blend))
    assert_same(split.stack.data, whole.stack.data)
    assert not split.report.exact


def test_a_network_without_levels_gets_patches_in_all_blocks(monkeypatch):
    model = model_of("UNet", **SMALL)
    model.network = torch.jit.trace(model.network, torch.zeros(1, 3, 32, 32))
    object.__setattr__(model.info, "step_size", (8, 8))
    monkeypatch.setattr(predictor_module, "WHOLE_UP_TO", 60_000)  # less than the field has, more than a block
    stack = image((1, 3, 1, 260, 300))
    whole, split = both(model, stack, memory=LITTLE)
    assert_same(split.stack.data, whole.stack.data)
    assert sum("can't be split into levels" in note for note in split.report.notes) == 1


def test_a_region_of_a_field_that_is_too_large(unet):
    stack = image((1, 3, 1, 600, 640))
    region = ((101, 577), (33, 611))
    whole, split = both(unet, stack, replace(CPU, region=region))
    inner = (..., slice(*region[0]), slice(*region[1]))
    assert_same(split.stack.data[inner], whole.stack.data[inner])
    everything = run_to_end(paint(unet, stack, CPU)).stack.data
    assert_same(split.stack.data[inner], everything[inner])
    assert not split.stack.data[..., :101, :].any()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_the_normalization_is_that_of_the_whole_field(dtype):
    steps = (*MEDIAN_IQR, Step("clip", True, {"min": -3.0, "max": 3.0}))
    model = model_of("UNet", info={"preprocessing": steps}, **SMALL)
    stack = image((1, 3, 1, 300, 400), dtype=dtype)
    whole, split = both(model, stack, source=lazy(stack))
    assert_same(split.stack.data, whole.stack.data)


def test_the_normalization_of_a_series(unet):
    stack = image((3, 3, 1, 300, 310))
    stack = replace(stack, data=stack.data * np.arange(1, 4, dtype=np.uint16)[:, None, None, None, None])
    whole, split = both(unet, stack, replace(CPU, normalize="series"))
    assert_same(split.stack.data, whole.stack.data)


def test_resampling_and_global_normalization_are_painted_whole():
    model = model_of("UNet", info={"pixel_size": PixelSize(None, 0.5, 0.5)}, **SMALL)
    stack = image((1, 3, 1, 200, 210), pixel_size=PixelSize(None, 0.6, 0.6))
    assert run_to_end(paint(model, stack, replace(CPU, resample=True), memory=LITTLE)).report.block == 0


def test_a_field_that_global_normalization_can_never_take_is_refused(monkeypatch):
    model = model_of("Pix2PixHD", in_channels=1, out_channels=1, width=4, downs=1, blocks=1)
    huge = Stack(da.zeros((1, 1, 1, 400_000, 400_000), chunks=4096, dtype=np.uint16), source="mosaic.ome.zarr")
    with pytest.raises(InputError, match=r"mosaic\.ome\.zarr: model test-pix2pixhd normalizes over the whole field.* crop the image"):
        run_to_end(paint(model, huge, CPU))


class Recorded:
    """An output that takes blocks."""

    takes_blocks = True

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.ndim, self.dtype = shape, len(shape), np.dtype(np.float32)
        self.array = np.full(shape, np.nan, np.float32)
        self.places: list[tuple[slice, ...]] = []
        self.released = 0

    def __setitem__(self, key: tuple[slice, ...], stains: np.ndarray) -> None:
        assert np.isnan(self.array[key]).all(), "a block is written once"
        self.array[key] = stains
        self.places.append(key)

    def release(self) -> None:
        self.released += 1


@pytest.mark.parametrize("tta", ["none", "flips"])
def test_an_output_that_takes_blocks_gets_each_once_with_all_stains(unet, tta):
    other = model_of("FNet", dims=2, depth=2, mult_chan=3, in_channels=3, seed=2, info={"stains": ("more",)})
    models = ModelSet((Member(unet), Member(other)))
    stack = image((2, 3, 1, 150, 260))
    out = Recorded((2, 6, 1, 150, 260))
    whole, _ = both(models, stack, replace(CPU, tta=tta), out=out)
    assert_same(out.array, whole.stack.data)
    assert len(out.places) == out.released > 2
    assert all(key[1] in (slice(None), slice(0, 6)) for key in out.places)


def test_progress_never_falls_and_ends(unet):
    last = 0.0
    for piece in paint(unet, image((1, 3, 2, 300, 320)), CPU, memory=LITTLE):
        assert last <= piece.done <= piece.total + 1e-9
        last = piece.done
    assert last == piece.total


def test_what_is_in_view_comes_first(unet):
    stack = image((1, 3, 1, 500, 512))
    pieces = paint(unet, stack, CPU, view=(0, 0, 480.0, 20.0), memory=LITTLE)
    first = next(piece for piece in pieces if piece.where is not None)
    pieces.close()
    assert first.where[2].start <= 480 < first.where[2].stop
    assert first.where[3].start <= 20 < first.where[3].stop


@pytest.mark.parametrize(("height", "width", "side"), [(20_000, 20_000, 2560), (5000, 40, 1024), (700, 700, 128)])
def test_blocks_cover_a_region_once_and_end_on_the_grid_of_chunks(height, width, side):
    region = (slice(0, height), slice(0, width))
    found = blocks_of(region, side)
    rows = sorted({(block[0].start, block[0].stop) for block in found})
    assert rows[0][0] == 0
    assert rows[-1][1] == height
    assert all(before[1] == after[0] for before, after in pairwise(rows))
    assert all(stop - start <= side for start, stop in rows)
    assert all(start % min(side, 512) == 0 for start, _ in rows)
    assert len(found) == len(rows) * len({block[1].start for block in found})
    assert blocks_of(region, None) == [region]


def test_blocks_fill_the_memory():
    split = BlockNeeds(96, 16, lambda height, width: 100 * height * width)
    limits = Limits(2 << 30, 1 << 30)
    assert block_side(4096, 4096, [split], limits) is None
    side = block_side(20_000, 20_000, [split], limits)
    assert side == 3072
    assert split.need(side + 192, side + 192) <= limits.block < split.need(side + 704, side + 704)
    assert block_side(20_000, 20_000, [split], Limits(1000, 1000)) == 128


def test_only_the_size_decides_where_stains_must_be_reproducible():
    assert limits_of(None, 1000, "cpu", steady=True) == limits_of(None, 10**12, "cpu", steady=True)
    assert limits_of(None, 1 << 30, "cpu", steady=False) == Limits(1 << 29, 1 << 28)
    assert limits_of(5, 1 << 30, "cpu", steady=True) == Limits(5, 5)


def test_regions_of_one_lazy_mosaic_read_it_once_for_the_normalization(unet, monkeypatch):
    monkeypatch.setattr(field_painter, "WHOLE_FIT", 1000)
    read: list[tuple[int, ...]] = []

    def noted(stack, found, place, window=network_input.EVERYTHING):
        out = load(stack, found, place, window)
        read.append(out.shape)
        return out

    load = network_input.load
    monkeypatch.setattr(network_input, "load", noted)
    stack = lazy(image((1, 3, 1, 512, 600), seed=9), 512)
    whole = run_to_end(paint(unet, replace(stack, data=np.asarray(stack.data)), CPU)).stack.data
    for region in (((0, 64), (0, 64)), ((300, 400), (500, 600))):
        read.clear()
        again = replace(stack, data=stack.data[:])  # as a dock makes it anew for each preview
        painting = run_to_end(paint(unet, again, replace(CPU, region=region)))
        inner = (..., slice(*region[0]), slice(*region[1]))
        assert_same(painting.stack.data[inner], whole[inner])
    assert len(read) == 1, "only the region itself is read for the second one"
    assert read[0][1] < 300
    assert len(field_painter._streamed) <= field_painter.REMEMBERED


@pytest.mark.parametrize("dims", [2, 3])
def test_chunks_that_many_blocks_need_are_decoded_once(unet, dims, tmp_path):
    model = unet if dims == 2 else model_of("FNet", dims=3, depth=2, mult_chan=3)
    shape = (2, 3, 1, 500, 520) if dims == 2 else (2, 1, 6, 300, 320)
    stack = image(shape)
    decoded: list[int] = []

    def decode(block: np.ndarray) -> np.ndarray:
        decoded.append(block.size)
        return block

    # As of a TIFF whose planes are one strip each.
    whole_planes = da.from_array(stack.data, chunks=(1, 1, 1, *shape[3:]))
    source = replace(stack, data=whole_planes.map_blocks(decode, dtype="u2", meta=np.empty((0,) * 5, "u2")))
    whole, split = both(model, stack, memory=LITTLE if dims == 2 else 8 << 20, source=source, scratch=tmp_path)
    assert_same(split.stack.data, whole.stack.data)
    assert sum(decoded) == stack.data.size
    assert list(tmp_path.iterdir()) == []


def test_without_room_for_a_copy_it_is_read_again(unet, tmp_path):
    stack = image((1, 3, 1, 400, 420))
    whole, split = both(unet, stack, source=lazy(stack, 420), scratch=tmp_path / "absent")
    assert_same(split.stack.data, whole.stack.data)
