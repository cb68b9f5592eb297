"""Medians over wells equal those of pandas, whatever is read at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_virtual_paint.cells import open_table, well_medians
from napari_virtual_paint.cells.tables import well_medians as module
from napari_virtual_paint.errors import InputError

NAMES = ["Cells_AreaShape_Area", "Nuclei_Intensity_MeanIntensity_DNA", "Cells_Texture_Contrast_ER_3_00_256"]


def cells(count: int = 500) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(count, len(NAMES))), columns=NAMES)
    frame.insert(0, "Metadata_Well", rng.choice(["B02", "A01", "C03"], count))
    frame.insert(0, "Metadata_Plate", rng.choice(["p1", "p2"], count))
    frame.loc[frame["Metadata_Well"] == "C03", NAMES[0]] = np.nan
    frame.loc[::7, NAMES[1]] = np.inf
    frame.loc[3, "Metadata_Well"] = None
    return frame


@pytest.mark.parametrize("at_once", [1, 2**25])
def test_medians_equal_those_of_pandas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(module, "AT_ONCE", at_once)
    frame = cells()
    frame.to_parquet(tmp_path / "cells.parquet")
    table = open_table(tmp_path / "cells.parquet")
    assert table.well_columns == ("Metadata_Plate", "Metadata_Well")
    assert table.wells == 6
    found = well_medians(table)
    groups = frame.replace(np.inf, np.nan).groupby(["Metadata_Plate", "Metadata_Well"], sort=False)
    expected = groups[NAMES].median().astype(np.float32).reset_index()
    expected.insert(2, "cells", groups.size().to_numpy())
    assert sorted(found.columns) == sorted(expected.columns)
    pd.testing.assert_frame_equal(found, expected[list(found.columns)], rtol=1e-6)
    by_well = well_medians(table, NAMES[:1], ["Metadata_Well"])
    assert by_well["cells"].sum() == 499
    assert list(by_well.columns) == ["Metadata_Well", "cells", NAMES[0]]


def test_a_table_without_wells_is_refused(tmp_path: Path) -> None:
    cells().drop(columns=["Metadata_Well"]).to_parquet(tmp_path / "cells.parquet")
    table = open_table(tmp_path / "cells.parquet")
    assert (table.well_columns, table.wells) == ((), 0)
    with pytest.raises(InputError, match="no column names the wells"):
        well_medians(table)
