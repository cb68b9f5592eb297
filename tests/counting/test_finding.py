"""Finding nuclei and cells: against outlines of CellProfiler, on touching discs, and whatever the unit of the image."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
import types
from importlib.machinery import ModuleSpec
from typing import Any

import numpy as np
import pytest
from scipy import ndimage
from skimage import measure

from cell_painting_outlines import nuclei_outlines
from napari_virtual_paint.counting import learned
from napari_virtual_paint.counting.finding import count_plane, stain_positions
from napari_virtual_paint.counting.pairing import numbered_alike
from napari_virtual_paint.counting.settings import CountSettings, looks_like_labels
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.evaluation.instances.matching import counts, overlaps
from napari_virtual_paint.reading import read
from napari_virtual_paint.samples import SimulationSettings, simulate_field

SETTINGS = CountSettings()


def discs(*places: tuple[float, float, float], size: int = 160, level: float = 2000.0) -> np.ndarray:
    """Return blurred discs (y, x, radius) on a background of 300 with noise."""
    y, x = np.mgrid[:size, :size]
    plane = np.zeros((size, size))
    for row, column, radius in places:
        plane = np.maximum(plane, level * ((y - row) ** 2 + (x - column) ** 2 <= radius**2))
    return np.random.default_rng(0).poisson(300 + ndimage.gaussian_filter(plane, 1.5)).astype(np.uint16)


APART = [(30.0, 30.0, 12.0), (30.0, 120.0, 12.0), (110.0, 40.0, 12.0)]


@pytest.mark.parametrize("scale", [1.0, 2.5])
@pytest.mark.parametrize(("gap", "parts"), [(1.75, 2), (0.35, 1)])
def test_touching_nuclei_are_split_by_their_own_size(scale: float, gap: float, parts: int) -> None:
    """Discs whose centers lie 1.75 radii apart are two, those 0.35 apart one: in an image 2.5 times as large as well."""
    pair = [(115.0, 105.0, 12.0), (115.0, 105.0 + 12 * gap, 12.0)]
    plane = discs(*((y * scale, x * scale, r * scale) for y, x, r in (*APART, *pair)), size=round(160 * scale))
    assert count_plane(plane[None], ("DNA",), None, SETTINGS).found["nuclei"].max() == len(APART) + parts


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 0.0), (0.001, -1.0), (7.0, 5000.0)])
def test_gain_and_offset_have_no_effect(gain: float, offset: float) -> None:
    """Painted stains have no unit, and may be below 0."""
    plane = discs(*APART).astype(np.float32)
    first = count_plane(plane[None], ("DNA",), 0.65, SETTINGS).found["nuclei"]
    again = count_plane(plane[None] * np.float32(gain) + np.float32(offset), ("DNA",), 0.65, SETTINGS).found["nuclei"]
    assert first.max() == 3
    assert (first != again).mean() < 0.001


def test_faint_spots_of_a_painting_are_no_nuclei() -> None:
    plane = discs(*APART).astype(np.float64) + discs((110, 115, 9), level=450) - 300
    assert count_plane(plane[None], ("DNA",), None, SETTINGS).found["nuclei"].max() == 3


def test_simulated_field() -> None:
    field = simulate_field(SimulationSettings(size=384, seed=3))
    found = count_plane(np.asarray(field.stains.data[0, :, 0]), field.stains.channel_labels, 0.65, SETTINGS).found
    assert counts(overlaps(field.labels["nucleus"], found["nuclei"]), 0.5).f1 == pytest.approx(1.0, abs=0.08)
    assert counts(overlaps(field.labels["cell"], found["cells"]), 0.5).f1 == pytest.approx(1.0, abs=0.12)
    inside = found["nuclei"] > 0
    assert (found["cells"][inside] == found["nuclei"][inside]).all()


def test_outlines_of_cellprofiler_on_a_real_field(shared_data: Any) -> None:
    """The issue's limit is 0.85; CellProfiler's outlines of the same field are the truth."""
    stack = read(shared_data / "cell_painting" / "stains.ome.tif").compute()
    truth = nuclei_outlines(shared_data)[:, : stack.shape[4]]
    found = count_plane(np.asarray(stack.data[0, :, 0]), stack.channel_labels, None, SETTINGS).found["nuclei"]
    assert (counts(overlaps(truth, found), 0.5).f1 or 0) >= 0.95


def test_which_stains_are_taken() -> None:
    assert stain_positions(("ER", "DNA", "Darkfield"), None, None) == (1, (0,))
    assert stain_positions(("w1-Hoechst33342", "w2-Mito"), None, None) == (0, (1,))
    assert stain_positions(("a", "b", "c"), "b", "2") == (1, (2,))
    assert stain_positions(("a", "b"), None, "b") == (None, (1,))
    with pytest.raises(InputError, match=r"a, b \(--cells\)"):
        stain_positions(("a", "b"), "a", "ER")
    with pytest.raises(InputError, match="--nuclei"):
        stain_positions(("a", "b"), None, None)


def test_numbers_of_nuclei_and_cells_found_apart() -> None:
    """By hand: nucleus 5 lies in cell 2, nucleus 7 in none; cell 9 has no nucleus."""
    nuclei = np.array([[5, 5, 0, 7, 0]], np.int32)
    cells = np.array([[2, 2, 2, 0, 9]], np.int32)
    first, second = numbered_alike(nuclei, cells)
    assert first.tolist() == [[1, 1, 0, 2, 0]]
    assert second.tolist() == [[1, 1, 1, 0, 3]]


def test_labels_are_known_from_stains() -> None:
    plane = discs(*APART)
    assert not looks_like_labels(plane)
    assert not looks_like_labels(ndimage.gaussian_filter(plane, 3))
    assert looks_like_labels(measure.label(plane > 1000))
    assert looks_like_labels((plane > 1000).astype(np.uint8) * 255)
    assert not looks_like_labels(np.zeros((9, 9), np.uint8))


class FakeInstanSeg:
    """Labels of nuclei and cells as InstanSeg returns them: (1, 2, Y, X)."""

    def __init__(self, model: str, verbosity: int) -> None:
        assert model == "fluorescence_nuclei_and_cells"

    def eval_small_image(self, image: np.ndarray, pixel_size: float | None) -> tuple[np.ndarray, np.ndarray]:
        assert image.shape[0] == 2
        assert pixel_size == 0.5
        nuclei = measure.label(image[0] > 0.5)
        return np.stack([nuclei, ndimage.grey_dilation(nuclei, 5)])[None], image


def test_instanseg_is_used_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    package: Any = types.ModuleType("instanseg")
    package.__spec__, package.InstanSeg = ModuleSpec("instanseg", None), FakeInstanSeg
    monkeypatch.setitem(sys.modules, "instanseg", package)
    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.1" if name == "instanseg-torch" else real(name))
    learned._instanseg_model.cache_clear()
    try:
        plane = discs(*APART)
        found = count_plane(np.stack([plane, plane]), ("DNA", "ER"), 0.5, CountSettings("instanseg"))
    finally:
        learned._instanseg_model.cache_clear()
    assert (found.segmenter, found.version, found.found["nuclei"].max(), found.found["cells"].max()) == ("instanseg", "0.1", 3, 3)


@pytest.mark.parametrize(("name", "package"), [("instanseg", "instanseg-torch"), ("cellpose", "cellpose")])
def test_absent_segmenters_are_named(name: Any, package: str) -> None:
    if importlib.util.find_spec(name):
        pytest.skip(f"{name} is installed")
    with pytest.raises(InputError, match=f"pip install {package}"):
        count_plane(np.ones((1, 9, 9)), ("DNA",), None, CountSettings(name))
