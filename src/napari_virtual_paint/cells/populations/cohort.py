"""A cohort: real cells with metadata, features and crops, from a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.cells.populations.population import Floats, Population
from napari_virtual_paint.errors import InputError, MissingFeaturesError

if TYPE_CHECKING:
    import pandas as pd

    from napari_virtual_paint.cells.tables.table import CellTable

MOST = 5000  # number of cells sampled from a table
GROUPS = 200  # most distinct values of a metadata column that can group cells
WHEREABOUTS = ("file", "path", "well", "plate", "site", "field", "seed", "experiment", "imagenumber")
"""Words in column names that describe a cell's origin rather than its treatment."""
TECHNICAL = ("Metadata_Scale", "Metadata_PixelSize", "Metadata_Threshold", "Metadata_Tile", "Metadata_Place", "Nuclei_Location_Center")
"""Prefixes of columns that describe how and where a cell was measured, and never group cells."""


@dataclass(frozen=True, eq=False)
class LikeCells:
    """The real cells that are most like some vectors, the nearest first."""

    positions: npt.NDArray[np.intp]  # (k, m), in the cohort
    rows: npt.NDArray[np.intp]  # (k, m), in the table
    distances: npt.NDArray[np.float64]  # (k, m), root mean square over the features in robust standard deviations
    crops: npt.NDArray[Any]  # (k, m, C, d, d), in the model's intensities


@dataclass(frozen=True, eq=False)
class Cohort:
    """Real cells."""

    name: str  # name of the model or table
    features: tuple[str, ...]  # the model's p features, in order
    values: Floats  # float32 (n, p); NaN where a value is missing
    metadata: pd.DataFrame  # one row per cell
    rows: npt.NDArray[np.intp]  # row numbers in the table
    crops: npt.NDArray[Any] | None = None  # float32 (n, C, d, d) in the model's intensities, or None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def population(self) -> Population:
        """The cells in feature space."""
        return Population(self.values, self.features)

    @cached_property
    def groupings(self) -> dict[str, tuple[str, ...]]:
        """Metadata columns that group the cells -> their values as text, where 2 to 200 differ; file and well columns come last."""
        found = {}
        for column in self.metadata.columns:
            if str(column).startswith(TECHNICAL) or str(column).endswith("ObjectNumber"):
                continue
            values = self.texts(column)
            different = sorted(set(values) - {""}, key=_natural)
            if 2 <= len(different) <= min(GROUPS, max(2, len(values) // 2)):
                found[str(column)] = tuple(different)
        return dict(sorted(found.items(), key=lambda item: any(term in item[0].casefold() for term in WHEREABOUTS)))

    def texts(self, column: str) -> list[str]:
        """Return a metadata column as text, empty where a value is missing."""
        if column not in self._texts:
            self._texts[column] = [_text(value) for value in self.metadata[column]]
        return self._texts[column]

    @cached_property
    def _texts(self) -> dict[str, list[str]]:
        return {}

    def group(self, column: str, value: str) -> npt.NDArray[np.intp]:
        """Return the positions of the cells with this value (as text) in a metadata column.

        Raises `InputError` if there is no such column, or no such cell.
        """
        if column not in self.metadata.columns:
            known = ", ".join(map(str, self.metadata.columns)) or "none"
            raise InputError(f"{self.name}: there is no metadata column {column!r}; there are: {known}.")
        found = np.flatnonzero([text == value for text in self.texts(column)])
        if not len(found):
            known = ", ".join(self.groupings.get(column, ())[:12])
            raise InputError(f"{self.name}: no cell has {column} = {value}{f'; there are: {known}' if known else ''}.")
        return found

    def like(self, values: npt.ArrayLike, count: int = 1) -> LikeCells:
        """Return the cells that are most like some vectors (k, p), with their pictures.

        Raises `InputError` if the cells have no pictures.
        """
        if self.crops is None:
            raise InputError(f"{self.name}: its cells have no pictures.")
        positions, distances = self.population.neighbours(values, count)
        return LikeCells(positions, self.rows[positions], distances, np.asarray(self.crops)[positions])

    def label(self, position: int) -> str:
        """Return a cell's label for a list: its row and the metadata that distinguish it."""
        texts = [text for column in list(self.groupings)[:3] if (text := self.texts(column)[position])]
        return f"#{self.rows[position]}" + (f"  {' · '.join(texts)}" if texts else "")


def cohort_from(table: CellTable, features: Sequence[str], name: str, most: int = MOST, seed: int = 0) -> Cohort:
    """Return a random sample of a table's cells.

    Parameters
    ----------
    table
        Stays on disk; only these cells' columns are read.
    features
        The features of a model.
    name
        Name of the table.
    most
        Number of cells to sample; all where there are fewer.

    Raises
    ------
    InputError
        If the table has less than half of the features; the message names some that are missing.
    """
    missing = check_features(table, features, name)
    there = [feature for feature in features if feature not in set(missing)]
    rows = np.arange(len(table))
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(seed).choice(len(rows), most, replace=False))
    frame = table.frame([*table.metadata, *_places(table), *(name for name in there if name not in _places(table))], rows)
    notes = list(table.notes)
    if missing:
        notes.insert(0, f"{name}: {len(missing)} of the model's features are missing and taken as the median ({', '.join(missing[:3])} …).")
    if len(rows) < len(table):
        notes.insert(0, f"{name}: {len(rows):,} of {len(table):,} cells stand for all of them.")
    return _cohort(name, frame, tuple(features), rows, tuple(notes))


def check_features(table: CellTable, features: Sequence[str], name: str, instead: str = "") -> list[str]:
    """Return the features that a table lacks.

    Parameters
    ----------
    instead
        What else can be done, for the sentence.

    Raises
    ------
    MissingFeaturesError
        If it has less than half of the features; the message names some that are missing.
    """
    known = set(table.features)
    missing = [feature for feature in features if feature not in known]
    if len(missing) > len(features) / 2:
        raise MissingFeaturesError(
            f"{name}: has {len(features) - len(missing)} of the model's {len(features)} features (missing: {', '.join(missing[:3])} …); "
            "measure the cells with 'virtual-paint cells measure', choose the model that was trained on such a table, "
            f"or train one with 'virtual-paint cells train'{instead}."
        )
    return missing


def _places(table: CellTable) -> list[str]:
    """Return the columns of the nucleus's position, where the table has them."""
    return [name for name in ("Nuclei_Location_Center_X", "Nuclei_Location_Center_Y") if name in set(table.features)]


def _cohort(name: str, frame: pd.DataFrame, features: tuple[str, ...], rows: npt.NDArray[Any], notes: tuple[str, ...]) -> Cohort:
    """Split a frame into features and metadata."""
    values = np.full((len(frame), len(features)), np.nan, np.float32)
    for index, feature in enumerate(features):
        if feature in frame.columns:
            values[:, index] = frame[feature].to_numpy(np.float32, na_value=np.nan)
    known = [column for column in frame.columns if column not in set(features) or "_Location_Center" in column]
    return Cohort(name, features, values, frame[known].reset_index(drop=True), rows.astype(np.intp), None, notes)


def parse_group(text: str) -> tuple[str, str] | int:
    """Parse a cell or group: ``12`` is a row, ``Metadata_Treatment=DMSO`` a group.

    Raises `InputError` if it is neither.
    """
    column, equals, value = text.partition("=")
    if equals and column.strip():
        return column.strip(), value.strip()
    if text.strip().lstrip("#").isdigit():
        return int(text.strip().lstrip("#"))
    raise InputError(f"{text!r} is neither a row's number nor a group; write 12 or Metadata_Treatment=DMSO.")


def _text(value: Any) -> str:
    if value is None or value != value:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _natural(text: str) -> tuple[Any, ...]:
    """Sort numbers by value, and words after them."""
    try:
        return (0, float(text), "")
    except ValueError:
        return (1, 0.0, text)
