"""What turning and mirroring a crop does to its features: as told against as measured, and pictures that are turned when drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from skimage.measure import regionprops

from napari_virtual_paint.cells.cellprofiler_names import is_morphological_feature
from napari_virtual_paint.cells.measurement.crops import crop
from napari_virtual_paint.cells.measurement.measure import measure, measure_crops
from napari_virtual_paint.cells.rotation import Turning
from napari_virtual_paint.cells.transform import Transform
from napari_virtual_paint.counting.segmentation import segment
from napari_virtual_paint.networks.cellpainter import CellPainter, rotated
from napari_virtual_paint.samples import STAINS, SimulationSettings, simulate_field

CHANNELS = ("DNA", "ER")
SCALE = 65535.0
MIRROR = 4
"""Ways from here on are mirrored left to right before they are turned."""


def shown(crops: np.ndarray, way: int) -> np.ndarray:
    """Return crops mirrored and turned by quarters."""
    crops = crops[..., ::-1] if way >= MIRROR else crops
    return np.ascontiguousarray(np.rot90(crops, way % 4, (2, 3)))


@pytest.fixture(scope="module")
def measured() -> dict[int, pd.DataFrame]:
    """Some simulated cells, measured on their crops as they are and on turned and mirrored ones."""
    settings = SimulationSettings(size=256, seed=5)
    planes = np.asarray(simulate_field(settings).stains.data[0, :, 0])[[STAINS.index(name) for name in CHANNELS]]
    labels = segment(planes, CHANNELS, "DNA", settings.pixel_size, scale=SCALE)
    table = measure(planes, CHANNELS, labels, scale=SCALE, groups=("AreaShape",))
    centres = table[["Nuclei_AreaShape_Center_Y", "Nuclei_AreaShape_Center_X"]].to_numpy()
    crops = crop(planes, centres[np.isfinite(centres).all(axis=1)][:6], 80)
    options = {"pixel_size": settings.pixel_size, "scale": SCALE, "thresholds": labels.thresholds[0]}
    return {way: measure_crops(shown(crops, way), CHANNELS, **options) for way in (0, 1, 2, MIRROR, MIRROR + 1)}


@pytest.mark.parametrize("way", [1, 2, MIRROR, MIRROR + 1])
def test_the_turned_vector_is_what_is_measured_on_the_turned_crop(measured: dict[int, pd.DataFrame], way: int) -> None:
    # What hangs on ties between pixels (the middle of the rings, the edges of the wedges) is left out, and so are places.
    ties = ("FracAtD", "MeanFrac", "RadialCV")
    names = [
        name for name in measured[0] if "ZernikePhase" in name or (is_morphological_feature(name) and not any(tie in name for tie in ties))
    ]
    turning = Turning.of(names)
    values = measured[0][names].to_numpy()
    told = turning.turned(turning.mirrored(values) if way >= MIRROR else values, 90 * (way % 4))
    away = told - measured[way][names].to_numpy()
    away[:, turning.orientations] = (away[:, turning.orientations] + 90) % 180 - 90
    # A moment that a symmetry makes 0 has no phase: pixels weigh in by the magnitude.
    size = np.stack([measured[0][names[at].replace("ZernikePhase", "ZernikeMagnitude")] for at in turning.phases], axis=1)
    away[:, turning.phases] = size * np.abs(np.exp(1j * away[:, turning.phases]) - 1)
    spread = np.nanstd(values, axis=0) + 1e-3 * np.abs(values).max(axis=0) + 1e-9
    assert np.isfinite(values).all(axis=1).sum() >= 3
    assert np.nanmax(np.abs(away) / spread) < 0.02
    changed = np.nanmax(np.abs(values - measured[way][names].to_numpy()) / spread, axis=0) > 0.1
    expected = set(turning.phases if way == 2 else [*turning.phases, *turning.orientations, *turning.textures.ravel()])
    assert set(np.flatnonzero(changed)) <= expected, "nothing else changes"
    assert changed[turning.phases].any()


def test_eight_turns_of_45_degrees_are_none() -> None:
    names = [
        "Nuclei_AreaShape_Orientation",
        *(f"Nuclei_Texture_Contrast_DNA_3_0{way}_256" for way in range(4)),
        "Nuclei_RadialDistribution_ZernikePhase_DNA_3_1",
        "Nuclei_AreaShape_Area",
    ]
    turning = Turning.of(names)
    values = np.array([[30.0, 1, 2, 4, 9, 0.5, 300]])
    once = turning.turned(values, 45)
    assert once[0, [0, -1]] == pytest.approx([75, 300])
    assert once[0, 1:5].sum() == pytest.approx(16)
    found = values
    for _ in range(8):
        found = turning.turned(found, 45)
    np.testing.assert_allclose(found, values, atol=1e-9)
    np.testing.assert_allclose(turning.mirrored(turning.mirrored(values)), values, atol=1e-9)
    np.testing.assert_allclose(turning.turned(values, [10.0])[0], turning.turned(values[0], 10.0))


def test_a_texture_without_one_of_its_directions_stays() -> None:
    names = [f"Nuclei_Texture_Contrast_DNA_3_0{way}_256" for way in range(3)]
    np.testing.assert_array_equal(Turning.of(names).turned([[1.0, 2, 3]], 90), [[1, 2, 3]])


@pytest.mark.parametrize("degrees", [-80.0, -30.0, 10.0, 45.0, 85.0])
def test_a_picture_is_turned_to_its_orientation(degrees: float) -> None:
    y, x = np.mgrid[:80, :80] - 39.5
    ellipse = torch.from_numpy(((y / 18) ** 2 + (x / 9) ** 2 < 1).astype(np.float32))[None, None]
    angle = torch.tensor([[np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))]], dtype=torch.float32)
    found = rotated(ellipse, angle)[0, 0].numpy() > 0.5
    assert np.rad2deg(regionprops(found.astype(int))[0].orientation) == pytest.approx(degrees, abs=1.5)
    assert found.sum() == pytest.approx(float(ellipse.sum()), rel=0.03)


def test_a_network_in_a_nucleus_s_own_frame_draws_turned_cells_alike() -> None:
    names = ("Nuclei_AreaShape_Orientation", "Cells_AreaShape_Orientation", "Nuclei_AreaShape_Area")
    rng = np.random.default_rng(0)
    values = np.stack([rng.uniform(-90, 90, 40), rng.uniform(-90, 90, 40), rng.normal(300, 40, 40)], axis=1)
    transform = Transform.of(values, names, 5.0, True, names[0])
    given = transform.apply(values)
    assert given.shape == (40, transform.width) == (40, len(transform.names(names)))
    turning = Turning.of(names)
    again = transform.apply(turning.turned(values, 37.0))
    np.testing.assert_allclose(again[:, :-2], given[:, :-2], atol=1e-5)
    np.testing.assert_allclose(given[:, -2:], np.stack([np.cos(np.deg2rad(values[:, 0])), np.sin(np.deg2rad(values[:, 0]))], 1), atol=1e-6)
    network = CellPainter(transform.width, 2, 40, 8, 16, 16, turn=1).eval()
    quarter = transform.apply(turning.turned(values, 90.0))
    with torch.inference_mode():
        one, other = (network(torch.from_numpy(each)).numpy() for each in (given, quarter))
    # Beyond half a turn an axis comes round to where it began: the picture may then be the other way up.
    same = np.abs(np.rot90(one, 1, (2, 3)) - other).max(axis=(1, 2, 3)), np.abs(np.rot90(one, -1, (2, 3)) - other).max(axis=(1, 2, 3))
    assert np.minimum(*same).max() < 1e-3
    missing = transform.apply(np.full((1, 3), np.nan))
    np.testing.assert_allclose(missing[0, -2:], [1, 0])


def test_a_turn_needs_more_than_its_own_two_features() -> None:
    with pytest.raises(ValueError, match="turn must be 0 or 1"):
        CellPainter(2, 1, 32, turn=1)
