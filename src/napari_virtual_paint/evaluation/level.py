"""Level: one way of judging a prediction, and what comes out of it. The report, the tables and the JSON know no level by itself."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.evaluation.context import Context, FieldImages

if TYPE_CHECKING:
    import pandas as pd

Tables: TypeAlias = "Mapping[str, pd.DataFrame]"
"""Name of a table -> its rows."""

Kind = Literal["bar", "heatmap", "scatter", "line", "box", "images", "table"]
LevelProgress = tuple[float, float, str]
"""Done, total (any unit), and words for the user, which may be empty."""


@dataclass(frozen=True, eq=False)
class Figure:
    """One figure of the report, drawn from a table that lies beside it as CSV.

    Parameters
    ----------
    name
        Of the figure, unique in the report, fit for a file's name.
    title, caption
        Words: what is drawn, and how it is to be read.
    kind
        How it is drawn.
    table
        Name of one of `Findings.tables`; not needed for ``images``.
    encode
        What is drawn as what -> column: ``x``, ``y``, ``colour``, ``facet``, ``symbol``, ``low``, ``high``, ``value``, ``hover`` ...
    images
        For ``images``: label, caption and picture (uint8, YX or YXC) of each.
    """

    name: str
    title: str
    caption: str
    kind: Kind
    table: str = ""
    encode: Mapping[str, Any] = field(default_factory=dict)
    images: tuple[tuple[str, str, npt.NDArray[np.uint8]], ...] = ()


@dataclass(frozen=True)
class Headline:
    """One number that says how far a prediction falls from the truth.

    Parameters
    ----------
    label
        What it is.
    truth
        The truth's own value, where it has one.
    values
        Prediction -> its value; None where undefined.
    good
        Whether high or low is good.
    unit
        Such as ``%``; empty for none.
    """

    label: str
    truth: float | None
    values: Mapping[str, float | None]
    good: Literal["high", "low"] = "high"
    unit: str = ""


@dataclass(frozen=True, eq=False)
class Findings:
    """What a level found.

    Parameters
    ----------
    level
        Its name.
    section
        The JSON under the level's key, for the main prediction; undefined is None.
    others
        Prediction -> the same section, for each of the others.
    deltas
        Differences of the others from the main prediction, a row each, with paired tests and intervals; None where there is one prediction.
    tables
        Name -> rows; each becomes ``tables/NAME.csv``. Names are unique over all levels.
    figures
        For the report, in order.
    headline
        The few numbers at the top of the report.
    notes
        What a reader should know, one sentence each.
    """

    level: str
    section: Mapping[str, Any]
    others: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    deltas: pd.DataFrame | None = None
    tables: Tables = field(default_factory=dict)
    figures: tuple[Figure, ...] = ()
    headline: tuple[Headline, ...] = ()
    notes: tuple[str, ...] = ()


class Level(Protocol):
    """One way of judging a prediction. It travels to worker processes by its name, so it holds no state.

    A level may have a further method ``check(context: Context) -> None``, called before any field is read, which raises `InputError` where
    nothing could come of it: no stain shows nuclei, a package is not installed.
    """

    @property
    def name(self) -> str:
        """One of `LEVELS`."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of other levels whose field tables `summary` reads."""

    def field(self, images: FieldImages, context: Context) -> Tables:
        """Return one field's rows; runs in a worker process.

        Parameters
        ----------
        images
            The field's images. What several levels need (labels of objects ...) is kept in its `memo`; what a reader should know of this
            field is told by `FieldImages.say`.
        context
            What was asked and is known.

        Returns
        -------
        Mapping
            Name of a table, unique over all levels -> rows, each with the columns ``field`` and ``well``. The same names for every field;
            a frame may have no row.
        """

    def summary(self, tables: Tables, context: Context) -> Generator[LevelProgress, None, Findings]:
        """Work out the findings, yielding how far it is; each yield is a place to cancel.

        Parameters
        ----------
        tables
            All fields' rows, one below the other in the order of the fields: those of this level and of the levels that it needs. A table
            that no field gave is not there.
        context
            What was asked and is known.
        """
