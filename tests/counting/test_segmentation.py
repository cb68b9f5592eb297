"""Segmentation: against the simulator's truth, on montages of Jurkat cells, and what is said when it can't be done."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from napari_virtual_paint.cells.measurement.crops import places, segment_places
from napari_virtual_paint.counting.segmentation import Labels, Thresholds, nuclei_channel, only_central, segment
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.reading import read
from napari_virtual_paint.samples import SimulatedField, SimulationSettings, simulate_field

STAINS = ("DNA", "ER", "RNA", "AGP", "Mito")


@pytest.fixture(scope="module")
def field() -> SimulatedField:
    return simulate_field(SimulationSettings(size=384, seed=3))


def overlap(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Intersection over union of each true object and the object found that covers most of it."""
    values = []
    for number in np.unique(truth)[1:]:
        mask = truth == number
        counts = np.bincount(found[mask], minlength=2)
        counts[0] = 0
        best = counts.argmax()
        values.append(counts[best] / (mask.sum() + (found == best).sum() - counts[best]) if counts[best] else 0)
    return np.array(values)


def test_simulated_nuclei_and_cells_are_found(field: SimulatedField) -> None:
    labels = segment(field.stains.data[0, :, 0], STAINS, pixel_size=0.65, scale=65535, keep_border=True)
    assert np.median(overlap(labels.nuclei, field.labels["nucleus"])) > 0.8
    assert np.median(overlap(labels.cells, field.labels["cell"])) > 0.65


def test_same_number_is_same_cell(field: SimulatedField) -> None:
    labels = segment(field.stains.data[0, :, 0], STAINS, scale=65535)
    numbers = np.unique(labels.nuclei)
    assert len(numbers) > 5
    assert np.array_equal(numbers, np.unique(labels.cells))
    assert np.array_equal(numbers, np.arange(len(numbers)))
    assert (labels.cells[labels.nuclei > 0] == labels.nuclei[labels.nuclei > 0]).all()
    assert np.array_equal(labels.cytoplasm, np.where(labels.nuclei > 0, 0, labels.cells))
    assert labels.nuclei.dtype == labels.cells.dtype == labels.cytoplasm.dtype == np.int32


def test_cells_at_the_border_are_dropped_unless_kept(field: SimulatedField) -> None:
    planes = field.stains.data[0, :, 0]
    dropped, kept = segment(planes, STAINS, scale=65535), segment(planes, STAINS, scale=65535, keep_border=True)
    edge = np.concatenate([dropped.cells[0], dropped.cells[-1], dropped.cells[:, 0], dropped.cells[:, -1]])
    assert not edge.any()
    assert kept.cells.max() > dropped.cells.max()


def test_given_thresholds_are_used(field: SimulatedField) -> None:
    planes = field.stains.data[0, :, 0]
    first = segment(planes, STAINS, scale=65535)
    limits = first.thresholds[0]
    assert np.array_equal(segment(planes, STAINS, scale=65535, thresholds=limits).cells, first.cells)
    higher = segment(planes, STAINS, scale=65535, thresholds=Thresholds(limits.nuclei * 1.3, limits.cells))
    assert 0 < (higher.nuclei > 0).sum() < (first.nuclei > 0).sum()


def test_nuclei_alone_are_grown() -> None:
    y, x = np.mgrid[:80, :80]
    dna = np.where((y - 40) ** 2 + (x - 40) ** 2 < 100, 1000, 50)[None]
    labels = segment(dna, ("DNA",), scale=4095)
    assert labels.nuclei.max() == 1
    assert (labels.cells > 0).sum() > 2 * (labels.nuclei > 0).sum()


@pytest.mark.parametrize("level", [0, 300])
def test_noise_has_no_cells(level: int) -> None:
    noise = np.random.default_rng(0).poisson(level, (2, 64, 64))
    assert not segment(noise, ("DNA", "Brightfield"), scale=4095).cells.any()


@pytest.mark.parametrize(
    ("channels", "asked", "position"),
    [
        (("ER", "DNA"), None, 1),
        (("Brightfield", "dapi"), None, 1),
        (("Hoechst 33342", "x"), None, 0),
        (("a", "b"), "B", 1),
        (("a", "b"), "0", 0),
    ],
)
def test_nuclei_channel(channels: tuple[str, ...], asked: str | None, position: int) -> None:
    assert nuclei_channel(channels, asked) == position


@pytest.mark.parametrize("asked", [None, "DNA"])
def test_missing_nuclei_channel_names_those_there_are(asked: str | None) -> None:
    with pytest.raises(InputError, match="ER, Mito"):
        nuclei_channel(("ER", "Mito"), asked)


def test_unknown_method_is_refused() -> None:
    with pytest.raises(InputError, match="cellpose"):
        segment(np.ones((1, 9, 9)), ("DNA",), method="magic")


def test_cellpose_is_named_where_it_is_absent() -> None:
    if importlib.util.find_spec("cellpose"):
        pytest.skip("Cellpose is installed, and would fetch its model")
    with pytest.raises(InputError, match="pip install"):
        segment(np.ones((1, 9, 9)), ("DNA",), method="cellpose")


def test_pixels_that_are_no_number_are_background(field: SimulatedField) -> None:
    planes = field.stains.data[0, :, 0].astype(np.float32)
    planes[:, :5] = np.nan
    assert segment(planes, STAINS, scale=65535).cells.max() > 5


def test_labels_keep_only_cells_with_nucleus() -> None:
    cells = np.array([[1, 1, 2, 0]])
    labels = Labels.of(np.array([[1, 0, 0, 3]]), cells)
    assert labels.cells.tolist() == [[1, 1, 0, 0]]
    assert labels.cytoplasm.tolist() == [[0, 1, 0, 0]]
    with pytest.raises(InputError):
        Labels.of(np.zeros((2, 2)), np.zeros((2, 3)))


def test_only_central_takes_the_cell_in_the_middle() -> None:
    nuclei = np.zeros((40, 40), int)
    nuclei[18:22, 17:21] = 5
    nuclei[2:9, 2:9] = 3
    assert np.array_equal(only_central(Labels.of(nuclei, nuclei)).nuclei, nuclei == 5)
    nuclei[nuclei == 5] = 0
    assert not only_central(Labels.of(nuclei, nuclei)).nuclei.any()


@pytest.mark.parametrize(("name", "full"), [("experiment_2_g1_0001", 900), ("experiment_1_prophase_0001", 606)])
def test_jurkat_montage_has_a_cell_a_place(shared_data, name: str, full: int) -> None:
    stack = read(shared_data / "jurkat_flow" / f"{name}.ome.tif").compute()
    planes = stack.data[0, :, 0]
    assert len(list(places(planes, 40))) == full
    labels = segment_places(planes[:, :400], stack.channel_labels, 40, scale=4095, keep_border=True)
    assert labels.cells.max() == len(list(places(planes[:, :400], 40)))
    assert len(labels.thresholds) == labels.cells.max()
    tiles = labels.cells.reshape(10, 40, 30, 40).transpose(0, 2, 1, 3).reshape(300, -1)
    assert all(len(np.unique(tile[tile > 0])) <= 1 for tile in tiles)
    areas = np.bincount(labels.cells.ravel())[1:] / np.bincount(labels.nuclei.ravel())[1:]
    assert 1.1 < np.median(areas) < 3
