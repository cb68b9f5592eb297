"""The toxicity classifier of Cross-Zamirski 2022, by which controls a well is nearest to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.evaluation.context import TRUTH
from napari_virtual_paint.evaluation.profiles.table import NEGATIVE, POSITIVE, TREATED, Doubles, Profiles
from napari_virtual_paint.runtime.extras import require

if TYPE_CHECKING:
    import pandas as pd

K = 5  # number of neighbors that vote

RUNS = 100  # number of draws of the controls; the majority of the runs decides


def votes(
    values: Doubles, negative: npt.NDArray[np.intp], positive: npt.NDArray[np.intp], treated: npt.NDArray[np.intp], seed: int = 0
) -> Doubles:
    """Return the share of runs in which each well is called toxic.

    All profiles are scaled to mean 0 and SD 1 over the wells. In each run as many wells are drawn with replacement from either kind of
    control as the larger kind has, and the `K` nearest by Euclidean distance vote.

    Parameters
    ----------
    values
        Profiles (n, p) of wells.
    negative, positive, treated
        Rows of the controls and of the wells to classify.
    seed
        Seed of the draws.
    """
    preprocessing = require("sklearn.preprocessing", extra="evaluate", purpose="Profiling")
    from scipy.spatial.distance import cdist

    scaled = preprocessing.StandardScaler().fit_transform(values)
    rng, size = np.random.default_rng(seed), max(len(negative), len(positive))
    # A draw only repeats or omits controls, so the distances are worked out once for all runs.
    distances = cdist(scaled[treated], scaled)
    total = np.zeros(len(treated))
    for _ in range(RUNS):
        drawn = np.concatenate([rng.choice(negative, size), rng.choice(positive, size)])
        nearest = np.argpartition(distances[:, drawn], K - 1, axis=1)[:, :K]
        total += (nearest >= size).sum(axis=1) > K / 2  # the second half of a draw is toxic
    return np.asarray(total / RUNS)


@dataclass(frozen=True, eq=False)
class Toxicity:
    """The classifier's calls for each well, in the truth and in each prediction."""

    calls: pd.DataFrame
    """One row per source and treated well: ``source``, ``well``, ``treatment``, ``dose``, ``condition``, ``votes`` (share of runs),
    ``toxic``, and ``truth``, the call on the true stains."""
    notes: tuple[str, ...] = ()  # why there are none

    def agreement(self, source: str) -> dict[str, Any]:
        """Return sensitivity and specificity of a source's calls against the truth's; None where the truth has no such well."""
        part = self.calls[self.calls["source"] == source]
        toxic, called = part["truth"].to_numpy(bool), part["toxic"].to_numpy(bool)
        return {
            "sensitivity": float(called[toxic].mean()) if toxic.any() else None,
            "specificity": float((~called)[~toxic].mean()) if (~toxic).any() else None,
            "toxic_wells": int(called.sum()) if len(part) else None,
            "called_wells": len(part),
        }


COLUMNS = ("source", "well", "treatment", "dose", "condition", "votes", "toxic", "truth")


def toxicity(profiles: Profiles, seed: int) -> Toxicity:
    """Classify every treated well of each source by the source's own controls.

    Parameters
    ----------
    profiles
        Normalized to controls, not sphered.
    seed
        Seed of the draws, the same for each source.
    """
    import pandas as pd

    negative, positive, treated = profiles.rows(NEGATIVE), profiles.rows(POSITIVE), profiles.rows(TREATED)
    if why := _why_not(len(negative), len(positive), len(treated)):
        return Toxicity(pd.DataFrame(columns=list(COLUMNS)), (f"Sensitivity and specificity are undefined: {why}.",))
    parts, truth = [], None
    for source in profiles.sources:
        part = profiles.wells.iloc[treated][["well", "treatment", "dose", "condition"]].reset_index(drop=True)
        part.insert(0, "source", source)
        part["votes"] = votes(profiles.values[source], negative, positive, treated, seed)
        part["toxic"] = part["votes"] > 0.5
        truth = part["toxic"].to_numpy() if source == TRUTH else truth
        parts.append(part.assign(truth=truth))
    found = Toxicity(pd.concat(parts, ignore_index=True)[list(COLUMNS)])
    return Toxicity(found.calls, _one_sided(found))


def _why_not(negative: int, positive: int, treated: int) -> str:
    """Return why nothing can be classified; empty where it can."""
    if not negative or not positive:
        lacking = " and ".join(role for role, count in (("negative", negative), ("positive", positive)) if not count)
        return f"there are no {lacking} control wells"
    if negative + positive < K:
        return f"{negative + positive} control wells are fewer than the {K} neighbors that vote"
    return "" if treated else "all treated wells are controls"


def _one_sided(found: Toxicity) -> tuple[str, ...]:
    """Return a note where the truth has wells of one kind only."""
    truth = found.calls.loc[found.calls["source"] == TRUTH, "toxic"]
    if truth.any() and not truth.all():
        return ()
    name, kind = ("Specificity", "toxic") if truth.all() else ("Sensitivity", "harmless")
    return (f"{name} is undefined: in the truth all {len(truth)} treated wells are called {kind}.",)
