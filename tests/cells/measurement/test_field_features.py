"""Features of the field: neighbors and granularity, against CellProfiler's own tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from skimage.measure import label

from napari_virtual_paint.cells.measurement.field_features import measure_field, measure_granularity, measure_neighbors, nearest
from napari_virtual_paint.counting.segmentation import Labels
from napari_virtual_paint.errors import InputError

SHARED = Path(__file__).parents[4] / "shared" / "data"
needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason="needs the folder ../shared/data")


def test_neighbors_of_squares() -> None:
    labels = np.zeros((30, 40), np.int32)
    labels[5:11, 5:11], labels[5:11, 11:17], labels[20:26, 5:11] = 1, 2, 4
    touching = measure_neighbors(labels, np.array([1, 2, 3, 4]))
    assert touching["Neighbors_NumberOfNeighbors_Adjacent"].tolist()[:2] == [1, 1]
    assert np.isnan(touching["Neighbors_NumberOfNeighbors_Adjacent"][2])
    assert touching["Neighbors_NumberOfNeighbors_Adjacent"][3] == 0
    # Of the 20 pixels of a square's outline, 6 touch the other square.
    np.testing.assert_allclose(touching["Neighbors_PercentTouching_Adjacent"][[0, 1, 3]], [30, 30, 0])
    assert measure_neighbors(labels, np.array([1]), 10)["Neighbors_NumberOfNeighbors_10"] == 2
    np.testing.assert_allclose(touching["Neighbors_FirstClosestDistance_Adjacent"][0], 6)
    np.testing.assert_allclose(touching["Neighbors_SecondClosestDistance_Adjacent"][0], 15)
    np.testing.assert_allclose(touching["Neighbors_AngleBetweenNeighbors_Adjacent"][0], 90)
    alone = measure_neighbors(np.where(labels == 4, labels, 0), np.array([4]))
    assert all(value[0] == 0 for value in alone.values())
    with pytest.raises(InputError, match="-1 px"):
        measure_neighbors(labels, np.array([1]), -1)


def test_the_field_is_measured_by_cellprofilers_names() -> None:
    nuclei = np.zeros((64, 64), np.int32)
    nuclei[10:20, 10:20], nuclei[40:50, 30:42] = 1, 2
    cells = np.zeros_like(nuclei)
    cells[6:24, 6:24], cells[36:54, 26:46] = 1, 2
    planes = np.random.default_rng(0).integers(0, 255, (1, 64, 64)).astype(float)
    frame = measure_field(planes, ("DNA",), Labels.of(nuclei, cells), scale=255, neighbors=4)
    assert {"Nuclei_Neighbors_PercentTouching_4", "Cytoplasm_Granularity_16_DNA"} <= set(frame)
    assert frame["ObjectNumber"].tolist() == [1, 2]
    assert np.isfinite(frame.to_numpy(float)).all()


@needs_data
def test_distances_of_the_fly_s_nuclei_are_those_of_its_table() -> None:
    table = pd.read_csv(SHARED / "fly_tables" / "Nuclei.csv")
    for _, image in table.groupby("ImageNumber"):
        centres = image[["Location_Center_Y", "Location_Center_X"]].to_numpy()
        found = np.array([nearest(np.delete(centres, row, axis=0) - centres[row]) for row in range(len(centres))])
        expected = image[[f"Neighbors_{name}_4" for name in ("FirstClosestDistance", "SecondClosestDistance", "AngleBetweenNeighbors")]]
        print(f"{len(image)} nuclei: largest difference {np.abs(found - expected.to_numpy()).max():.1e}")
        np.testing.assert_allclose(found, expected, atol=1e-9)


@needs_data
def test_schwann_cells_are_measured_as_in_their_table() -> None:
    table = pd.read_parquet(SHARED / "nf1" / "Plate_2_shrunken.parquet").set_index("Image_Metadata_Well_x")
    for well in ("B7", "D6", "F7"):
        row = table.loc[well]
        nuclei = label(tifffile.imread(SHARED / "nf1" / f"{well}_masks.ome.tif", key=0) > 0).astype(np.int32)
        plane = tifffile.imread(SHARED / "nf1" / f"{well}_stains.ome.tif", key=0) / 65535
        own = np.array([nuclei[round(row["Nuclei_Location_Center_Y"]), round(row["Nuclei_Location_Center_X"])]])
        for name, value in measure_neighbors(nuclei, own).items():
            print(f"{well} {name}: {value[0]:.4g}, CellProfiler {row[f'Nuclei_{name}']:.4g}")
            np.testing.assert_allclose(value[0], row[f"Nuclei_{name}"], rtol=2e-3)
        # The pipeline corrected the illumination, which the pictures still show: a spectrum is in proportion to the mean.
        corrected = plane[nuclei == own[0]].mean() / row["Nuclei_Intensity_MeanIntensity_DAPI"]
        for size, value in measure_granularity(nuclei, plane, own).items():
            expected = row[f"Nuclei_Granularity_{size}_DAPI"]
            print(f"{well} Granularity_{size}: {value[0] * corrected:.4g}, CellProfiler {expected:.4g}")
            if 1 < size <= 8:
                np.testing.assert_allclose(value[0] * corrected, expected, rtol=0.04, atol=0.2)
