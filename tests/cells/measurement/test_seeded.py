"""Segmentation from the places and areas of a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from cellprofiler_run import pictures
from napari_virtual_paint.cells.measurement.seeded import segment_at
from napari_virtual_paint.cells.tables.table import open_table
from napari_virtual_paint.errors import InputError

HUMAN = Path(__file__).parents[4] / "shared" / "data" / "example_human"


def test_each_outline_is_that_of_its_row() -> None:
    planes, nuclei, cells = pictures(3)
    numbers = np.arange(1, 13)
    centres = np.array([np.argwhere(nuclei == k).mean(axis=0) for k in numbers])
    areas, cell_areas = (np.bincount(labels.ravel(), minlength=13)[1:] for labels in (nuclei, cells))
    order = np.random.default_rng(0).permutation(12)[:10]  # two nuclei are not in the table, as those at a border
    found = segment_at(planes, ("DNA", "Actin"), centres[order], areas[order], cell_areas[order], scale=255)
    for place, k in enumerate(order + 1, start=1):
        for labels, truth in ((found.nuclei, nuclei), (found.cells, cells)):
            assert ((labels == place) & (truth == k)).sum() > 0.55 * ((labels == place) | (truth == k)).sum()
    left_out = nuclei == next(k for k in numbers if k not in order + 1)
    assert (found.cells[left_out] > 0).mean() < 0.2


def test_a_center_outside_the_image_has_no_pixels_and_unknown_areas_are_allowed() -> None:
    planes, nuclei, _ = pictures(3)
    centres = np.array([np.argwhere(nuclei == 1).mean(axis=0), (-40.0, 900.0)])
    found = segment_at(planes, ("DNA", "Actin"), centres, np.array([(nuclei == 1).sum(), np.nan]), scale=255)
    assert set(np.unique(found.cells)) == {0, 1}
    with pytest.raises(InputError, match="need as many areas"):
        segment_at(planes, ("DNA", "Actin"), centres, np.ones(3))


@pytest.mark.skipif(not HUMAN.is_dir(), reason="needs the folder ../shared/data")
def test_areas_are_those_of_cellprofiler_on_example_human() -> None:
    table = open_table(HUMAN)
    columns = ["Nuclei_Location_Center_Y", "Nuclei_Location_Center_X", "Nuclei_AreaShape_Area", "Cells_AreaShape_Area"]
    y, x, area, cell_area = table.values(columns).T
    planes = np.stack([tifffile.imread(HUMAN / f"AS_09125_050116030001_D03f00d{i}.tif") for i in (0, 2)])
    found = segment_at(planes, ("DNA", "cellbody"), np.stack([y, x], axis=1), area, cell_area, scale=255)
    for name, labels, expected in (("nuclei", found.nuclei, area), ("cells", found.cells, cell_area)):
        sizes = np.bincount(labels.ravel(), minlength=len(table) + 1)[1:]
        r = np.corrcoef(sizes, expected)[0, 1]
        print(f"{name}: {len(table)} areas, r = {r:.3f}")
        assert r > 0.85
