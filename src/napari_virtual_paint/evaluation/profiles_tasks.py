"""What is to be found near what: other treatments of a mechanism, other wells or images of a treatment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.evaluation.profiles.table import POSITIVE, TREATED, Doubles, Profiles, consensus

if TYPE_CHECKING:
    import pandas as pd

Unit = Literal["treatment", "well", "image"]


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be found near what.

    Parameters
    ----------
    unit
        What a profile is of.
    names
        Of the profiles (n).
    labels
        Profiles of one label are to find each other.
    apart
        Of those, profiles that share this are set aside, neither hit nor miss; all different where nothing is set aside.
    rows
        For wells and images the rows of the profiles; empty for treatments, which are means of wells.
    told
        A sentence on what the labels are.
    """

    unit: Unit
    names: tuple[str, ...]
    labels: tuple[str, ...]
    apart: tuple[str, ...]
    rows: npt.NDArray[np.intp]
    told: str = ""

    @property
    def relevant(self) -> npt.NDArray[np.bool_]:
        """Whether the profile of the column is one to be found for that of the row, (n, n)."""
        labels, apart = np.array(self.labels, str), np.array(self.apart, str)
        return np.asarray((labels[:, None] == labels) & (apart[:, None] != apart))

    @property
    def candidates(self) -> npt.NDArray[np.bool_]:
        """Whether the profile of the column is ranked at all for the query of the row, (n, n)."""
        labels = np.array(self.labels, str)
        return np.asarray(self.relevant | (labels[:, None] != labels))

    @property
    def asks(self) -> bool:
        """Whether any profile has another one to be found and one not to be found."""
        relevant, candidates = self.relevant, self.candidates
        return bool((relevant.any(axis=1) & (candidates & ~relevant).any(axis=1)).any())

    def values(self, profiles: Profiles, source: str) -> Doubles:
        """Return a source's profiles (n, p) of this task."""
        if self.unit == "image":
            return profiles.images[source][self.rows]
        if self.unit == "well":
            return profiles.values[source][self.rows]
        names, values = consensus(profiles.values[source], _treated(profiles, "condition"))
        return values[[names.index(name) for name in self.names]]


def _treated(profiles: Profiles, column: str) -> list[str]:
    """Return a column, empty for wells that are not treated."""
    treated = profiles.wells["kind"].isin([TREATED, POSITIVE])
    return [value if there else "" for value, there in zip(profiles.wells[column], treated, strict=True)]


def mechanism_task(profiles: Profiles) -> Task | None:
    """Return what mAP and folds of enrichment ask: to find treatments of the query's mechanism.

    With mechanisms of several compounds, other compounds of the query's mechanism are to be found, and its own compound at other doses is
    set aside. Without, the doses of one compound count as one mechanism. Where each has one dose, its wells are to find each other.
    Negative controls are neither queries nor found. None where nothing of this can be asked.
    """
    wells = profiles.wells[profiles.wells["kind"].isin([TREATED, POSITIVE]) & (profiles.wells["condition"] != "")]
    each = wells.drop_duplicates("condition")
    known = each[each["moa"] != ""]
    told = "mAP asks for other compounds of a treatment's mechanism; its own compound at other doses is set aside."
    asked = _treatments(known, "moa", "treatment", told)
    if asked.asks:
        return asked
    told = "No mechanism is known of two compounds or more, so that mAP asks for the other doses of a treatment's compound."
    asked = _treatments(each, "treatment", "condition", told)
    if asked.asks:
        return asked
    told = "No mechanism is known, nor several doses of a compound, so that mAP asks for the other wells of a well's treatment."
    asked = replicate_task(profiles, told)
    return asked if asked.asks else None


def replicate_task(profiles: Profiles, told: str = "") -> Task:
    """Return the task in which wells of one treatment and dose are to find each other."""
    labels = np.array(_treated(profiles, "condition"), str)
    rows = np.flatnonzero(labels != "")
    names = tuple(profiles.wells.index[rows])
    return Task("well", names, tuple(labels[rows].tolist()), names, rows, told)


def image_task(profiles: Profiles) -> Task:
    """Return the task in which images of one treatment and dose are to find each other, those of the query's own well set aside."""
    labels = np.array(_treated(profiles, "condition"), str)[profiles.image_wells]
    rows = np.flatnonzero(labels != "")
    wells = profiles.wells.index.to_numpy(str)[profiles.image_wells[rows]]
    return Task("image", tuple(str(row) for row in rows), tuple(labels[rows].tolist()), tuple(wells.tolist()), rows)


def _treatments(table: pd.DataFrame, label: str, apart: str, told: str) -> Task:
    names, labels, own = (tuple(table[column].astype(str)) for column in ("condition", label, apart))
    return Task("treatment", names, labels, own, np.zeros(0, np.intp), told)
