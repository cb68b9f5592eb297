"""Write a table of cells atomically, and the notes on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_virtual_paint.runtime.atomic_write import replacing

if TYPE_CHECKING:
    import pandas as pd


def write_table(table: pd.DataFrame, path: Path, *, overwrite: bool = True) -> None:
    """Write a table as Parquet or, by its suffix, CSV, atomically.

    Raises `WriteError` if it can't be written.
    """
    with replacing(path, overwrite=overwrite) as temporary:
        if path.name.endswith((".csv", ".csv.gz")):
            table.to_csv(temporary, index=False, compression="gzip" if path.suffix == ".gz" else None)
        else:
            table.to_parquet(temporary, index=False)


def notes(table: pd.DataFrame) -> list[str]:
    """Return notes on a table: features that are constant, or missing for some cells."""
    features = table.select_dtypes("float32")
    lacking = features.isna()
    constant = [name for name in features if features[name].nunique(dropna=True) < 2]
    sentences = []
    if constant and len(table) > 1:
        sentences.append(f"{len(constant)} features are the same for all {len(table)} cells: {_some(constant)}.")
    if lacking.any(axis=None):
        names, cells = list(features.columns[lacking.any()]), int(lacking.any(axis=1).sum())
        sentences.append(
            f"{len(names)} features could not be measured on {cells} cell{'s' * (cells > 1)} and are NaN there: {_some(names)}."
        )
    return sentences


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (" and others" if len(names) > 3 else "")
