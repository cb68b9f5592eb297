"""Gray levels of stains: values computed by hand, and files as other programs read them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.models import open_model
from napari_virtual_paint.painting.gray_levels import (
    KEY,
    GrayBlocks,
    GrayLevels,
    as_gray,
    model_levels,
    original_values,
    percentile_levels,
)
from napari_virtual_paint.reading import read
from napari_virtual_paint.stack import PixelSize, Stack
from napari_virtual_paint.writing import write

LEVELS = GrayLevels("model", {"DNA": -5.0, "ER": 0.0}, {"DNA": 20.0, "ER": 1.0})


def painted(data: np.ndarray) -> Stack:
    return Stack(data.astype(np.float32), ("DNA", "ER"), PixelSize(None, 0.5, 0.5), provenance={"model": "m"})


def test_values_by_hand() -> None:
    """-5 to 20 becomes 0 to 65535: 0 is 13107 = 65535 / 5; beyond it is clipped, and no number is 0."""
    values = np.array([[-5, 0, 20, -9, 99, np.nan], [0, 0.5, 1, 0.25, -1, 2]]).reshape(1, 2, 1, 1, 6)
    gray = as_gray(painted(values), LEVELS)
    assert gray.dtype == np.uint16
    assert gray.data[0, 0].ravel().tolist() == [0, 13107, 65535, 0, 65535, 0]
    assert gray.data[0, 1].ravel().tolist() == [0, 32768, 65535, 16384, 0, 65535]
    stored = dict(gray.provenance or {})[KEY]["stains"]["DNA"]
    assert (stored["offset"], stored["scale"]) == (-5.0, pytest.approx(25 / 65535))


def test_the_mapping_is_undone() -> None:
    values = np.random.default_rng(0).uniform(-4, 1, (2, 2, 1, 5, 7))
    values[:, 1] = values[:, 1] / 10 + 0.4
    back = original_values(as_gray(painted(values), LEVELS))
    assert KEY not in (back.provenance or {})
    assert np.abs(back.data[:, 0] - values[:, 0]).max() <= 25 / 65535 / 2 + 1e-6
    assert np.abs(back.data[:, 1] - values[:, 1]).max() <= 1 / 65535 / 2 + 1e-6
    plain = painted(values)
    assert original_values(plain) is plain
    with pytest.raises(InputError, match="does not name its channels"):
        original_values(Stack(values, ("a", "b"), provenance={KEY: LEVELS.to_json()}))


def test_lazy_and_blockwise_pixels_are_the_same() -> None:
    values = np.random.default_rng(0).uniform(-1, 1, (1, 2, 1, 8, 8)).astype(np.float32)
    whole = as_gray(painted(values), LEVELS).data
    lazy = Stack(da.from_array(values, chunks=(1, 1, 1, 4, 8)), ("DNA", "ER"))
    assert np.array_equal(np.asarray(as_gray(lazy, LEVELS).data), whole)
    out = np.zeros(values.shape, np.uint16)
    blocks = GrayBlocks(out, LEVELS, ("DNA", "ER"))
    key = (slice(None), slice(1, 2), slice(None), slice(0, 4), slice(None))
    blocks[key] = values[key]
    assert np.array_equal(out[key], whole[key])
    assert not out[:, 0].any()


def test_percentiles_have_a_margin() -> None:
    """Values 0 .. 100 evenly: percentiles 0.01 and 100 - 0.01, margins of a quarter and a half of their span."""
    values = np.stack([np.linspace(0, 100, 10001), np.full(10001, 3.0)]).reshape(1, 2, 1, 1, -1)
    levels = percentile_levels([painted(values)])
    assert levels.low["DNA"] == pytest.approx(0.01 - 0.25 * 99.98)
    assert levels.high["DNA"] == pytest.approx(99.99 + 0.5 * 99.98)
    assert levels.low["ER"] < 3 < levels.high["ER"]


def test_range_of_a_model_holds_what_it_paints() -> None:
    levels = model_levels(open_model("simulated-cell-painting"))
    assert list(levels.low) == ["DNA", "ER", "RNA", "AGP", "Mito"]
    assert all(levels.low[stain] <= -5 and levels.high[stain] >= 20 for stain in levels.low)
    assert GrayLevels.from_json(levels.to_json()) == levels


@pytest.mark.parametrize("suffix", [".ome.tif", ".ome.zarr"])
def test_the_mapping_survives_in_a_file(tmp_path: Path, suffix: str) -> None:
    values = np.random.default_rng(0).uniform(-1, 1, (1, 2, 1, 40, 40))
    back = original_values(read(write(as_gray(painted(values), LEVELS), tmp_path / f"a{suffix}")).compute())
    assert back.channels == ("DNA", "ER")
    assert np.abs(back.data[0, 0] - values[0, 0]).max() < 2e-4


def test_other_programs_read_the_gray_levels(tmp_path: Path) -> None:
    """Fiji and QuPath (Bio-Formats) go by the OME-XML, CellProfiler by the TIFF pages; another library decodes the same pixels."""
    values = np.random.default_rng(0).uniform(0, 1, (1, 2, 1, 30, 20))
    gray = as_gray(painted(values), LEVELS)
    path = write(gray, tmp_path / "a.ome.tif")
    with tifffile.TiffFile(path) as file:
        pages = [page.asarray() for page in file.pages]
        xml = ET.fromstring(file.ome_metadata or "")
        tags = file.pages[0].tags
        assert (tags["SampleFormat"].value if "SampleFormat" in tags else 1, tags["BitsPerSample"].value) == (1, 16)
    assert [page.dtype for page in pages] == [np.uint16] * 2
    for index, page in enumerate(pages):
        assert np.array_equal(page, gray.data[0, index, 0])
    pixels = next(each for each in xml.iter() if each.tag.endswith("Pixels"))
    assert (pixels.get("Type"), pixels.get("SizeC"), pixels.get("PhysicalSizeX")) == ("uint16", "2", "0.5")
    assert [each.get("Name") for each in pixels if each.tag.endswith("Channel")] == ["DNA", "ER"]
    with Image.open(path) as image:
        for index in range(2):
            image.seek(index)
            assert np.array_equal(np.asarray(image), gray.data[0, index, 0])
