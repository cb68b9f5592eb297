"""Treatment strength: how far each treatment moves cells from the controls of its plates (Moshkov 2022, Algorithm 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_virtual_paint.evaluation.profiles.sphering import sphere
from napari_virtual_paint.evaluation.profiles.table import NEGATIVE, POSITIVE, TREATED, Profiles

if TYPE_CHECKING:
    import pandas as pd

STRENGTH = 1e-2  # regularization of the sphering before the algorithm

COLUMNS = ("rank", "condition", "strength", "plates", "wells", "mean_per_plate")


def corrected(profiles: Profiles) -> tuple[Profiles, str]:
    """Return the profiles for the algorithm, and notes.

    Moshkov spheres with a regularization of 0.01. With no more controls than features, all controls then lie at nearly the same distance
    from their center, and their spread is meaningless; the normalized profiles are used instead.
    """
    controls = len(profiles.rows(NEGATIVE))
    if controls > len(profiles.features) + 1:
        found = sphere(profiles, STRENGTH)
        return (profiles, found) if isinstance(found, str) else (found, "")
    if not controls:
        return profiles, ""
    return profiles, (
        f"Strong treatments are ranked on profiles that are not sphered: {controls} negative control wells are too few for"
        f" {len(profiles.features)} features."
    )


def strengths(profiles: Profiles, source: str) -> pd.DataFrame:
    """Rank treatments by their distance from negative controls.

    On each plate: the controls' median profile; Euclidean distances of treated wells and of control wells from it; the treated wells'
    distances as z-scores of the controls' (their mean and SD, divisor n). A treatment's strength is the sum over plates; several
    wells on a plate are averaged, which the paper leaves open.

    Parameters
    ----------
    profiles
        Result of `corrected`.

    Returns
    -------
    pandas.DataFrame
        Columns `COLUMNS`, strongest first; empty where no plate has two control wells at different distances.
    """
    import pandas as pd

    values, wells = profiles.values[source], profiles.wells
    rows = []
    for plate, here in profiles.plates.items():
        controls, treated = np.intersect1d(here, profiles.rows(NEGATIVE)), np.intersect1d(here, profiles.rows(TREATED, POSITIVE))
        if len(controls) < 2:
            continue
        middle = np.median(values[controls], axis=0)
        spread = np.linalg.norm(values[controls] - middle, axis=1)
        if not spread.std() > 1e-9 * max(spread.mean(), 1e-12):
            continue
        z = (np.linalg.norm(values[treated] - middle, axis=1) - spread.mean()) / spread.std()
        rows.append(pd.DataFrame({"condition": wells["condition"].to_numpy()[treated], "plate": plate, "z": z}))
    if not rows:
        return pd.DataFrame(columns=list(COLUMNS))
    each = pd.concat(rows)
    each = each[each["condition"] != ""]
    plates = each.groupby(["condition", "plate"], sort=False)["z"].agg(["mean", "size"]).reset_index()
    found = plates.groupby("condition", sort=False).agg(strength=("mean", "sum"), plates=("plate", "size"), wells=("size", "sum"))
    found = found.assign(mean_per_plate=found["strength"] / found["plates"]).sort_values("strength", ascending=False, kind="stable")
    found = found.reset_index()
    return found.assign(rank=np.arange(1, len(found) + 1))[list(COLUMNS)]
