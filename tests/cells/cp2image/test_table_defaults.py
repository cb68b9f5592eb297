"""What a table says about a training on it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cellprofiler_run import write_run
from napari_virtual_paint.cells.cp2image.table_defaults import crop_size, nuclear, table_defaults
from napari_virtual_paint.cells.tables.table import open_table
from napari_virtual_paint.errors import InputError


def test_channels_nuclei_and_pictures_of_a_run(tmp_path):
    run = write_run(tmp_path)
    found = table_defaults(open_table(run / "tables"), run / "tables")
    assert found.offered == found.channels == ("OrigBlue", "OrigGreen")
    assert found.nuclei == "OrigBlue"
    assert found.cells == 24
    assert found.images == "", "they lie elsewhere than beside the tables"


def test_pictures_beside_the_tables_are_found(tmp_path):
    run = write_run(tmp_path)
    for path in (run / "pictures" / "deep").iterdir():
        path.rename(run / "tables" / path.name)
    found = table_defaults(open_table(run / "tables"), run / "tables")
    assert found.images == str(run / "tables")


def test_pictures_that_the_pipeline_saved_are_offered_but_not_ticked(tmp_path):
    run = write_run(tmp_path)
    images = pd.read_csv(run / "tables" / "Image.csv")
    images["FileName_Overlay"] = "overlay.png"
    images["Height_OrigBlue"] = images["Height_OrigGreen"] = 150
    images.to_csv(run / "tables" / "Image.csv", index=False)
    found = table_defaults(open_table(run / "tables"), run / "tables")
    assert found.offered == ("OrigBlue", "OrigGreen", "Overlay")
    assert found.channels == ("OrigBlue", "OrigGreen")


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        (("PH3", "DNA", "cellbody"), "DNA"),
        (("OrigGreen", "OrigBlue"), "OrigBlue"),
        (("Actin", "Hoechst33342"), "Hoechst33342"),
        (("a", "b"), "a"),
    ],
)
def test_the_nuclear_channel_by_its_name(channels, expected):
    assert nuclear(channels) == expected


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("Cells_AreaShape_MaxFeretDiameter", 50.0, 64),  # 57.5, in steps of 8
        ("Cells_AreaShape_MajorAxisLength", 30.0, 40),
        ("Nuclei_AreaShape_MaxFeretDiameter", 20.0, 48),  # a cell is about twice as wide as its nucleus
        ("Cells_AreaShape_MaxFeretDiameter", 900.0, 160),
        ("Cells_AreaShape_Area", 900.0, 64),  # says nothing
    ],
)
def test_a_crop_holds_the_cells(tmp_path, column, value, expected):
    frame = pd.DataFrame({"ImageNumber": 1, "ObjectNumber": np.arange(1, 21), column: np.full(20, value), "Nuclei_Intensity_X": 1.0})
    frame.to_parquet(tmp_path / "cells.parquet")
    assert crop_size(open_table(tmp_path / "cells.parquet")) == expected


def test_a_table_without_pictures_is_refused(tmp_path):
    pd.DataFrame({"Metadata_Well": ["A"] * 4, "Cells_AreaShape_Area": np.arange(4.0)}).to_parquet(tmp_path / "cells.parquet")
    with pytest.raises(InputError, match="names no pictures"):
        table_defaults(open_table(tmp_path / "cells.parquet"), tmp_path / "cells.parquet")
