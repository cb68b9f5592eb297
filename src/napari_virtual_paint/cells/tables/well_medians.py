"""Profiles of wells: the median of each feature over the cells of a well, of tables of any length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_virtual_paint.cells.tables.table import CellTable
from napari_virtual_paint.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

AT_ONCE = 2**25  # values that are held at once: a few columns of a table of millions of cells


def well_medians(table: CellTable, features: Sequence[str] | None = None, by: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the median of each feature over the cells of each well.

    A few columns are read at a time, so that the memory depends on the number of cells alone: some 100 bytes for each.

    Parameters
    ----------
    table
        The cells.
    features
        Names; all where None.
    by
        Columns of metadata that name a well; `CellTable.well_columns` where None. Cells without a value in one of them are left out.

    Returns
    -------
    pandas.DataFrame
        One row per well in the order of the table: the columns of `by`, ``cells``, their number, and the features in float32; NaN where
        no cell has a value.

    Raises
    ------
    InputError
        If the table names no wells, or lacks a column.
    """
    import pandas as pd

    by = tuple(table.well_columns if by is None else by)
    if not by:
        raise InputError(f"{table.name}: no column names the wells; say which do.")
    names = tuple(table.features if features is None else features)
    keys = table.frame(by)
    groups = keys.groupby(list(by), sort=False)
    codes = groups.ngroup().to_numpy()  # -1 where a value is missing
    first = pd.Series(codes).drop_duplicates()
    wells = keys.loc[first[first >= 0].index].reset_index(drop=True)
    del keys, groups
    order = np.argsort(codes, kind="stable")
    ends = np.searchsorted(codes[order], np.arange(len(wells) + 1))
    medians = np.full((len(wells), len(names)), np.nan, np.float32)
    step = max(1, AT_ONCE // max(len(table), 1))
    for start in range(0, len(names), step):
        values = table.values(names[start : start + step])
        for place, column in enumerate(values.T, start=start):
            ordered = column[order]
            for well in range(len(wells)):
                known = ordered[ends[well] : ends[well + 1]]
                known = known[np.isfinite(known)]
                medians[well, place] = np.median(known) if len(known) else np.nan
    return pd.concat([wells.assign(cells=np.diff(ends)), pd.DataFrame(medians, columns=list(names))], axis=1)
