"""Retrieval: average precision (copairs), enrichment, hits, and similarity of replicates.

All rank profiles by cosine similarity to a query, after Moshkov 2022, section 3.4.4.3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.evaluation.profiles.table import POSITIVE, TREATED, Doubles, Profiles, consensus, cosine
from napari_virtual_paint.runtime.extras import require
from napari_virtual_paint.runtime.temporary import temporary_folder

if TYPE_CHECKING:
    import pandas as pd


Unit = Literal["treatment", "well", "image"]


@dataclass(frozen=True, eq=False)
class RetrievalTask:
    """A retrieval task."""

    unit: Unit  # unit of the profiles
    names: tuple[str, ...]  # label of each profile (n)
    labels: tuple[str, ...]  # profiles with the same label are positives of each other
    apart: tuple[str, ...]
    """Of those, profiles that share this are excluded, neither positive nor negative; all different where nothing is excluded."""
    rows: npt.NDArray[np.intp]  # for wells and images the rows of the profiles; empty for treatments, which are means over wells
    note: str = ""  # A sentence on the labels

    @property
    def relevant(self) -> npt.NDArray[np.bool_]:
        """Whether the column's profile is a positive for the row's query, (n, n)."""
        labels, apart = np.array(self.labels, str), np.array(self.apart, str)
        return np.asarray((labels[:, None] == labels) & (apart[:, None] != apart))

    @property
    def candidates(self) -> npt.NDArray[np.bool_]:
        """Whether the column's profile is ranked for the row's query, (n, n)."""
        labels = np.array(self.labels, str)
        return np.asarray(self.relevant | (labels[:, None] != labels))

    @property
    def answerable(self) -> bool:
        """Whether any profile has both a positive and a negative."""
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
    """Return a column, empty for untreated wells."""
    treated = profiles.wells["kind"].isin([TREATED, POSITIVE])
    return [value if there else "" for value, there in zip(profiles.wells[column], treated, strict=True)]


def mechanism_task(profiles: Profiles) -> RetrievalTask | None:
    """Return the task of mAP and enrichment: to retrieve treatments with the query's mechanism.

    With mechanisms of several compounds, positives are other compounds of the query's mechanism, and the query's own compound at other
    doses is excluded. Otherwise the doses of one compound count as one mechanism. If each has one dose, its wells retrieve each other.
    Negative controls are neither queries nor candidates. None where no task is possible.
    """
    wells = profiles.wells[profiles.wells["kind"].isin([TREATED, POSITIVE]) & (profiles.wells["condition"] != "")]
    each = wells.drop_duplicates("condition")
    known = each[each["moa"] != ""]
    note = "mAP asks for other compounds of a treatment's mechanism; its own compound at other doses is set aside."
    task = _treatments(known, "moa", "treatment", note)
    if task.answerable:
        return task
    note = "No mechanism is known of two compounds or more, so that mAP asks for the other doses of a treatment's compound."
    task = _treatments(each, "treatment", "condition", note)
    if task.answerable:
        return task
    note = "No mechanism is known, nor several doses of a compound, so that mAP asks for the other wells of a well's treatment."
    task = replicate_task(profiles, note)
    return task if task.answerable else None


def replicate_task(profiles: Profiles, note: str = "") -> RetrievalTask:
    """Return the task in which wells of one treatment and dose retrieve each other."""
    labels = np.array(_treated(profiles, "condition"), str)
    rows = np.flatnonzero(labels != "")
    names = tuple(profiles.wells.index[rows])
    return RetrievalTask("well", names, tuple(labels[rows].tolist()), names, rows, note)


def image_task(profiles: Profiles) -> RetrievalTask:
    """Return the task in which images of one treatment and dose retrieve each other, excluding those of the query's own well."""
    labels = np.array(_treated(profiles, "condition"), str)[profiles.image_wells]
    rows = np.flatnonzero(labels != "")
    wells = profiles.wells.index.to_numpy(str)[profiles.image_wells[rows]]
    return RetrievalTask("image", tuple(str(row) for row in rows), tuple(labels[rows].tolist()), tuple(wells.tolist()), rows)


def _treatments(table: pd.DataFrame, label: str, apart: str, note: str) -> RetrievalTask:
    names, labels, own = (tuple(table[column].astype(str)) for column in ("condition", label, apart))
    return RetrievalTask("treatment", names, labels, own, np.zeros(0, np.intp), note)


TOP = 99.0  # percentile of a query's similarities above which a profile is in its top 1 %

TIE = 1e-9
"""Relative random displacement of each profile before ranking, to break ties: identical profiles, as of a model that predicts
nothing, would otherwise count as perfect."""

NULLS = 1000  # random rankings for the test of a mechanism's mAP


def settle(values: Doubles, seed: int) -> Doubles:
    """Return profiles displaced randomly by a billionth of their length: see `TIE`. A zero profile gets a random direction."""
    lengths = np.linalg.norm(values, axis=1, keepdims=True) / np.sqrt(max(values.shape[1], 1))
    noise = np.random.default_rng(seed).standard_normal(values.shape)
    return np.asarray(values + TIE * np.where(lengths > 0, lengths, 1.0) * noise)


def rankings(values: Doubles, task: RetrievalTask, seed: int = 0) -> Iterator[tuple[int, npt.NDArray[np.bool_], Doubles]]:
    """Yield the ranking of each query that has positives and negatives.

    Parameters
    ----------
    values
        Profiles (n, p) of the task.

    Yields
    ------
    tuple
        The query's row; for each ranked profile whether it is a positive, and its cosine similarity.
    """
    settled = settle(values, seed)
    similar, relevant, candidates = cosine(settled, settled), task.relevant, task.candidates
    for i in np.flatnonzero(relevant.any(axis=1) & (candidates & ~relevant).any(axis=1)):
        yield int(i), relevant[i, candidates[i]], similar[i, candidates[i]]


def queries(values: Doubles, task: RetrievalTask, seed: int = 0) -> pd.DataFrame:
    """Score each query of `rankings`.

    Returns
    -------
    pandas.DataFrame
        One row per query: ``query``, ``label``, ``positives``, ``candidates``; ``average_precision`` as in copairs (Kalinin 2025):
        the mean precision at the ranks of the positives; ``interpolated_precision`` (Moshkov 2022): the same with the best precision
        at that recall or above; ``odds_1pct``: the odds ratio of being one to be found, in the top 1 % against below; ``hit_1pct``: whether
        one is in the top 1 %.
    """
    import pandas as pd

    copairs = _copairs(settle(values, seed), task)
    rows: list[dict[str, Any]] = []
    for i, found, near in rankings(values, task, seed):
        top, best_first = in_top(near), found[np.argsort(-near, kind="stable")]
        scores = (int(found.sum()), len(found), float(copairs[i]), interpolated(best_first), odds(found, top), bool((found & top).any()))
        rows.append(dict(zip(COLUMNS, (task.names[i], task.labels[i], *scores), strict=True)))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def mean_precision(values: Doubles, task: RetrievalTask, seed: int = 0) -> float:
    """Return mAP without copairs, which takes a hundred times as long: for the many regularisations that are tried."""
    return float(np.mean([precision(found[np.argsort(-near, kind="stable")]) for _, found, near in rankings(values, task, seed)]))


def in_top(near: Doubles) -> npt.NDArray[np.bool_]:
    """Return which of a query's similarities are among the top 1 %: one at least, but none of a single one."""
    return np.asarray(near > np.percentile(near, TOP))


COLUMNS = ("query", "label", "positives", "candidates", "average_precision", "interpolated_precision", "odds_1pct", "hit_1pct")
"""Of the table of `queries`."""


def _copairs(values: Doubles, task: RetrievalTask) -> Doubles:
    """Return the average precision of each profile by copairs; NaN where it has nothing to find."""
    import pandas as pd

    average_precision = require("copairs.map", extra="evaluate", purpose="Profiling").average_precision
    if not task.answerable:
        return np.full(len(values), np.nan)
    frame = pd.DataFrame({"label": task.labels, "apart": task.apart})
    pairs = {"pos_sameby": ["label"], "pos_diffby": ["apart"], "neg_sameby": [], "neg_diffby": ["label"]}
    return np.asarray(average_precision(frame, values, **pairs, progress_bar=False)["average_precision"].to_numpy(np.float64))


def precision(found: npt.NDArray[np.bool_]) -> float:
    """Return the average precision of a ranking (best first): the mean precision at the ranks of what is to be found."""
    ranks = np.flatnonzero(found) + 1
    return float((np.arange(1, len(ranks) + 1) / ranks).mean())


def interpolated(found: npt.NDArray[np.bool_]) -> float:
    """Return the area under the interpolated precision-recall curve of a ranking (best first): the mean over its recalls."""
    ranks = np.flatnonzero(found) + 1
    each = np.arange(1, len(ranks) + 1) / ranks
    return float(np.maximum.accumulate(each[::-1]).mean())


def odds(found: npt.NDArray[np.bool_], top: npt.NDArray[np.bool_]) -> float:
    """Return the odds ratio of the 2 x 2 table: to be found or not, in the top or below it.

    Where it is infinite (only what is to be found is in the top, or all of it) the number of others below the top stands in, as in the
    analyses that go with Moshkov 2022; else a single perfect query would make the mean infinite.
    """
    hits, wrong = int((found & top).sum()), int((~found & top).sum())
    missed, rest = int((found & ~top).sum()), int((~found & ~top).sum())
    if not hits:
        return 0.0
    return hits * rest / (wrong * missed) if wrong and missed else float(rest)


def by_label(scores: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return mAP of each label with its p against random rankings (copairs), corrected after Benjamini and Hochberg over the labels.

    Parameters
    ----------
    scores
        Of `queries`.

    Returns
    -------
    pandas.DataFrame
        ``label``, ``queries``, ``map``, ``map_normalised`` (0 by chance, 1 perfect), ``p``, ``p_corrected``.
    """
    import pandas as pd

    mean_average_precision = require("copairs.map", extra="evaluate", purpose="Profiling").mean_average_precision
    normalize_ap = require("copairs.map.normalization", extra="evaluate", purpose="Profiling").normalize_ap
    names = ["label", "queries", "map", "map_normalised", "p", "p_corrected"]
    if scores.empty:
        return pd.DataFrame(columns=names)
    renamed = scores.rename(columns={"positives": "n_pos_pairs", "candidates": "n_total_pairs"})
    positives, others = renamed["n_pos_pairs"].to_numpy(), (renamed["n_total_pairs"] - renamed["n_pos_pairs"]).to_numpy()
    renamed["normalized_average_precision"] = normalize_ap(renamed["average_precision"].to_numpy(), positives, others)
    with temporary_folder() as cache:  # or copairs keeps its random rankings in the user's home
        options = {"null_size": NULLS, "threshold": 0.05, "seed": seed, "progress_bar": False, "max_workers": 1, "cache_dir": str(cache)}
        found = mean_average_precision(renamed, ["label"], **options)
    found["queries"] = [len(rows) for rows in found["indices"]]
    columns = {"mean_average_precision": "map", "mean_normalized_average_precision": "map_normalised", "p_value": "p"}
    return found.rename(columns={**columns, "corrected_p_value": "p_corrected"})[names]


def hits(profiles: Profiles, source: str, mechanism: RetrievalTask | None, seed: int) -> pd.DataFrame:
    """Count the hits in the top 1 % at three levels.

    At the level of treatments: treatments with another of their mechanism among the top 1 %. At those of wells and of images: treatments
    of which a well (an image) has another one of the same treatment among its top 1 %; images of the query's own well are left out.

    Returns
    -------
    pandas.DataFrame
        ``level``, ``hits``, ``of``: the treatments that could have been hit.
    """
    import pandas as pd

    rows = []
    tasks: dict[str, RetrievalTask | None] = {"treatment": mechanism if mechanism and mechanism.unit == "treatment" else None}
    tasks |= {"well": replicate_task(profiles), "image": image_task(profiles)}
    for level, task in tasks.items():
        if task is None or not task.answerable:
            rows.append({"level": level, "hits": None, "of": 0})
            continue
        names = task.names if level == "treatment" else task.labels
        each: dict[str, bool] = {}
        for i, found, near in rankings(task.values(profiles, source), task, seed):
            each[names[i]] = each.get(names[i], False) or bool((found & in_top(near)).any())
        rows.append({"level": level, "hits": sum(each.values()), "of": len(each)})
    return pd.DataFrame(rows, columns=["level", "hits", "of"])


def replicates(values: Doubles, labels: Sequence[str], compounds: Sequence[str]) -> pd.DataFrame:
    """Return how alike the wells of a treatment are.

    Parameters
    ----------
    values
        Profiles (n, p) of wells.
    labels
        Treatment and dose of each; those without are compared with, but have no row.
    compounds
        Treatment of each, at any dose.

    Returns
    -------
    pandas.DataFrame
        A row a label of two wells or more: ``condition``, ``wells``, ``similarity`` (the median cosine similarity of its pairs of wells),
        ``chance`` (the 95th percentile of the similarity of wells of different compounds), ``replicates`` (whether it lies above that).
    """
    import pandas as pd

    names = np.asarray(labels, str)
    similar = cosine(values, values)
    upper = np.triu(np.ones(similar.shape, bool), 1)
    kinds = np.asarray(compounds, str)
    others = similar[upper & (kinds[:, None] != kinds)]
    chance = float(np.percentile(others, 95)) if others.size else np.nan
    rows = []
    for name in filter(None, dict.fromkeys(names.tolist())):
        own = np.flatnonzero(names == name)
        if len(own) > 1:
            median = float(np.median(similar[np.ix_(own, own)][np.triu_indices(len(own), 1)]))
            rows.append({"condition": name, "wells": len(own), "similarity": median, "chance": chance, "replicates": median > chance})
    return pd.DataFrame(rows, columns=["condition", "wells", "similarity", "chance", "replicates"])
