"""The protocol `Level` and its `Findings`. Report, tables and JSON know no particular level."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.evaluation.context import Context, FieldImages

if TYPE_CHECKING:
    import pandas as pd

Tables: TypeAlias = "Mapping[str, pd.DataFrame]"  # name of a table -> its rows


def columns_of(tables: Tables, name: str, columns: Sequence[str] | None = None, where: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Return some columns of a fields' table, and the rows with some values; of a table in files nothing else is read.

    Parameters
    ----------
    columns
        Names; all where None.
    where
        Column -> its value in the rows to return.
    """
    if hasattr(tables, "columns"):
        found: pd.DataFrame = tables.columns(name, columns, where)
        return found
    table = tables[name]
    for column, value in (where or {}).items():
        table = table[table[column] == value]
    return table if columns is None else table[list(columns)]


def split_rows(table: pd.DataFrame, counts: Sequence[int]) -> list[pd.DataFrame]:
    """Split the rows of several fields: as many of each as counted, numbered from 0."""
    ends = np.cumsum(counts)
    return [table.iloc[end - count : end].reset_index(drop=True) for end, count in zip(ends, counts, strict=True)]


def whole_table(tables: Tables, name: str) -> Any:
    """Return a fields' table for `Findings.tables`; one in files as a reference, which is not read before it is written."""
    return tables.stream(name) if hasattr(tables, "stream") else tables[name]


Kind = Literal["bar", "heatmap", "scatter", "line", "box", "images", "table"]
LevelProgress = tuple[float, float, str]  # done, total (any unit), and a message for the user, possibly empty


@dataclass(frozen=True, eq=False)
class Figure:
    """One figure of the report, drawn from a table that is also stored as CSV."""

    name: str  # unique name, valid as a file name
    title: str
    caption: str  # `title` and `caption`: what is drawn and how to read it
    kind: Kind
    table: str = ""  # name of one of `Findings.tables`; not needed for ``images``.
    encode: Mapping[str, Any] = field(default_factory=dict)
    """Encoding -> column: ``x``, ``y``, ``colour``, ``facet``, ``symbol``, ``low``, ``high``, ``value``, ``hover`` ..."""
    images: tuple[tuple[str, str, npt.NDArray[np.uint8]], ...] = ()
    """For ``images``: label, caption and picture (uint8, YX or YXC) of each."""


@dataclass(frozen=True)
class Headline:
    """A measure for the headline of the report."""

    label: str
    truth: float | None  # the truth's own value, if it has one
    values: Mapping[str, float | None]  # prediction -> its value; None where undefined
    good: Literal["high", "low"] = "high"  # whether high or low is better
    unit: str = ""  # such as ``%``; empty for none
    about: str = ""  # one sentence for a tooltip: what it measures; empty in reports of earlier versions


@dataclass(frozen=True, eq=False)
class Findings:
    """Result of a level."""

    level: str
    section: Mapping[str, Any]  # the JSON under the level's key, for the main prediction; undefined is None
    others: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # prediction -> the same section, for the others
    deltas: pd.DataFrame | None = None
    """Differences of the main prediction from each other one, with paired tests and intervals; None for a single prediction."""
    tables: Tables = field(default_factory=dict)
    """Name -> rows; each becomes ``tables/NAME.csv``. Names are unique over all levels. A table of the fields may be a reference
    (`whole_table`) until the findings are stored; those read back are read from the disk on each access."""
    figures: tuple[Figure, ...] = ()  # for the report, in order
    headline: tuple[Headline, ...] = ()  # the measures for the headline
    notes: tuple[str, ...] = ()


class Level(Protocol):
    """A level of evaluation. It is sent to worker processes by name, so it holds no state.

    A level may also have ``check(context: Context) -> None``, called before any field is read, which raises `InputError` where
    no result is possible: no stain shows nuclei, a package is missing; and ``fields(images: Sequence[FieldImages], context: Context)
    -> list[Tables]``, which does the work of `field` for several small fields at once, with the same results.
    """

    @property
    def name(self) -> str:
        """One of `LEVELS`."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of other levels whose field tables `summary` needs."""

    def field(self, images: FieldImages, context: Context) -> Tables:
        """Return one field's rows; called in a worker process.

        Parameters
        ----------
        images
            The field's images. Intermediate results that several levels need (labels ...) are cached in `memo`; notes on the field go to
            `FieldImages.say`.

        Returns
        -------
        Mapping
            Name of a table, unique over all levels -> rows, with the columns ``field`` and ``well``. The same names for every field;
            a frame may be empty.
        """

    def summary(self, tables: Tables, context: Context) -> Generator[LevelProgress, None, Findings]:
        """Compute the findings; each yield is a place to cancel.

        Parameters
        ----------
        tables
            All fields' rows in the order of the fields: tables of this level and of those it needs. A table that no field
            returned is absent.
        """
