"""Profiles of images and wells: medians over cells, averaged over a well's images and normalized to the plate's controls.

In the order of Moshkov 2022, section 3.4.4.1: the median over cells gives an image's profile, the mean over images a well's, and
the mean over wells a treatment's.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.evaluation.context import TRUTH, Context
from napari_virtual_paint.evaluation.features.measure import IMAGES, KEYS, OWN
from napari_virtual_paint.evaluation.features.select import select
from napari_virtual_paint.evaluation.level import columns_of
from napari_virtual_paint.runtime.extras import require

if TYPE_CHECKING:
    import pandas as pd

Doubles: TypeAlias = npt.NDArray[np.float64]
Method = Literal["standardize", "mad_robustize"]

NEGATIVE, POSITIVE, TREATED = "negative control", "positive control", "treated"  # role of a well: column ``kind``

FEWEST = 2  # least control wells for a standard deviation

FAR = 1e3  # clipping limit in standard deviations, so that a feature that hardly varies in controls does not dominate


@dataclass(frozen=True, eq=False)
class Profiles:
    """Profiles of the truth and of each prediction: the same wells, images and features in the same order."""

    features: tuple[str, ...]  # names (p)
    wells: pd.DataFrame
    """One row per well (n): index its name (the field's without a plate), columns ``well``, ``kind``, ``treatment``, ``dose``,
    ``condition`` (treatment and dose), ``moa``, ``batch``, ``plate``; text is empty where unknown."""
    values: Mapping[str, Doubles]  # source -> (n, p); NaN where a well gave no value
    images: Mapping[str, Doubles]  # source -> (m, p), one row per image
    image_wells: npt.NDArray[np.intp]  # row in `wells` of each image, (m,)

    @property
    def sources(self) -> tuple[str, ...]:
        """``truth``, then the predictions."""
        return tuple(self.values)

    def rows(self, *kinds: str) -> npt.NDArray[np.intp]:
        """Return the rows of the wells of some kinds."""
        return np.flatnonzero(self.wells["kind"].isin(kinds).to_numpy())

    @property
    def plates(self) -> dict[str, npt.NDArray[np.intp]]:
        """Name of each plate (or batch, where a plate holds several or is unknown) -> rows of its wells."""
        each = zip(self.wells["plate"], self.wells["batch"], strict=True)
        names = np.array([" ".join(dict.fromkeys(filter(None, pair))) for pair in each], str)
        return {name: np.flatnonzero(names == name) for name in dict.fromkeys(names.tolist())}

    def with_values(self, values: Mapping[str, Doubles], images: Mapping[str, Doubles]) -> Profiles:
        """Return the same wells with other values."""
        return replace(self, values=MappingProxyType(dict(values)), images=MappingProxyType(dict(images)))


def own_rows(images: pd.DataFrame, source: str) -> pd.DataFrame:
    """Return a source's rows, index the field: measured in its own masks, which for the truth are the truth's."""
    part = images[images["source"] == source]
    own = part[part["masks"] == OWN]
    return (part if own.empty and source == TRUTH else own).drop_duplicates("field").set_index("field")


def aggregate(images: pd.DataFrame, context: Context, features: Sequence[str]) -> Profiles:
    """Make profiles from the table of features: each field is an image, and a well is the mean of its images.

    Images missing from the truth are left out; those missing from a prediction stay, as NaN.

    Parameters
    ----------
    images
        The table ``features_images``.
    context
        Metadata of the wells.
    features
        The columns to use.
    """
    truth = own_rows(images, TRUTH)
    truth = truth[truth[list(features)].notna().any(axis=1)]
    names = np.array([well or str(key) for key, well in zip(truth.index, truth["well"].fillna("").astype(str), strict=True)])
    wells = list(dict.fromkeys(names.tolist()))
    position = {name: i for i, name in enumerate(wells)}
    place = np.array([position[name] for name in names], np.intp)
    found = {source: own_rows(images, source).reindex(truth.index)[list(features)].to_numpy(np.float64) for source in context.sources}
    values = {source: _means(each, place, len(wells)) for source, each in found.items()}
    return Profiles(tuple(features), design(wells, context), MappingProxyType(values), MappingProxyType(found), place)


def _means(values: Doubles, place: npt.NDArray[np.intp], wells: int) -> Doubles:
    """Return the mean of each well's images, ignoring NaN."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a well without a value stays NaN
        return np.array([np.nanmean(values[place == i], axis=0) for i in range(wells)]).reshape(wells, values.shape[1])


def design(wells: Sequence[str], context: Context) -> pd.DataFrame:
    """Return the wells' metadata, by the roles of the plate map's columns: see `Profiles.wells`."""
    import pandas as pd

    known = context.wells.reindex(list(wells)) if len(context.wells) else pd.DataFrame(index=list(wells))
    table = pd.DataFrame({"well": list(wells)}, index=pd.Index(list(wells), name="name"))
    for role in ("treatment", "moa", "batch", "plate"):
        column = context.role(role)
        table[role] = [_text(value) for value in known[column]] if column in known else ""
    column = context.role("dose")
    table["dose"] = pd.to_numeric(known[column], errors="coerce").to_numpy() if column in known else np.nan
    kind = dict.fromkeys(context.positive, POSITIVE) | dict.fromkeys(context.negative, NEGATIVE)
    other = TREATED if kind and context.role("treatment") is None else ""  # where only the controls are known
    table["kind"] = [kind.get(well, TREATED if table.at[well, "treatment"] else other) for well in wells]
    table["condition"] = [condition(*each) for each in zip(table["treatment"], table["dose"], strict=True)]
    return table


def condition(treatment: str, dose: float) -> str:
    """Return treatment and dose as one text; untreated wells have no dose."""
    return f"{treatment} {dose:g}" if treatment and np.isfinite(dose) and dose > 0 else treatment


def _text(value: object) -> str:
    """Return a value of the plate map as text; 3.0 becomes 3, as it was before a gap in the column made it a float."""
    if value is None or value != value:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def standardise(profiles: Profiles, method: Method = "standardize") -> tuple[Profiles, list[str]]:
    """Normalize each source's profiles to its own negative controls, plate by plate, by pycytominer.

    ``standardize`` uses the controls' mean and SD, ``mad_robustize`` their median and median absolute deviation. An image's profile is
    normalized like its well's, so that the mean of its images stays the well. Missing values become 0, the controls' mean; a feature
    that is constant in a source's controls is 0 throughout that source and plate, since it has no scale; values beyond ±`FAR`
    are clipped.

    Returns
    -------
    Profiles
        Without NaN.
    list
        Notes: plates with too few controls, for which all wells are used; features and wells without values.
    """
    reference, notes = _references(profiles)
    values, images = {}, {}
    for source in profiles.sources:
        well, image = profiles.values[source].copy(), profiles.images[source].copy()
        silent = np.zeros(len(profiles.features), bool)
        for group, rows in profiles.plates.items():
            inside = np.isin(profiles.image_wells, rows)
            stacked, still = _onto(np.concatenate([well[rows], image[inside]]), np.isin(rows, reference[group]), method)
            well[rows], image[inside] = stacked[: len(rows)], stacked[len(rows) :]
            silent |= still
        notes += _gaps(profiles, source, silent)
        values[source], images[source] = well, image
    return profiles.with_values(values, images), notes


def _references(profiles: Profiles) -> tuple[dict[str, npt.NDArray[np.intp]], list[str]]:
    """Return, for each plate, the wells that define its scale."""
    controls, notes = profiles.rows(NEGATIVE), []
    reference = {}
    for name, rows in profiles.plates.items():
        own = np.intersect1d(rows, controls)
        reference[name] = own if len(own) >= FEWEST else rows
        if len(own) < FEWEST:
            where = f"Plate or batch {name} has" if len(profiles.plates) > 1 else "There are"
            notes.append(f"{where} {len(own) or 'no'} negative control wells; its profiles are brought onto the scale of all its wells.")
    return reference, notes


def _onto(values: Doubles, reference: npt.NDArray[np.bool_], method: Method) -> tuple[Doubles, npt.NDArray[np.bool_]]:
    """Normalize rows to the marked rows of the first table; also return which features are constant in them."""
    import pandas as pd

    pycytominer = require("pycytominer", extra="evaluate", purpose="Profiling")
    rows = np.flatnonzero(reference)
    names = [f"f{i}" for i in range(values.shape[1])]
    frame = pd.DataFrame(values, columns=names).assign(Metadata_reference=np.isin(np.arange(len(values)), rows).astype(int))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        still = ~(np.nanmax(values[rows], axis=0) - np.nanmin(values[rows], axis=0) > 1e-9 * np.nanmax(np.abs(values[rows]), axis=0))
        options = {"meta_features": ["Metadata_reference"], "samples": "Metadata_reference == 1", "method": method}
        found = pycytominer.normalize(frame, features=names, **options)[names].to_numpy(np.float64, copy=True)
    found[:, still] = 0.0
    return np.clip(np.nan_to_num(found, nan=0.0, posinf=FAR, neginf=-FAR), -FAR, FAR), still


def _gaps(profiles: Profiles, source: str, silent: npt.NDArray[np.bool_]) -> list[str]:
    """Return notes on what a source lacks."""
    notes, empty = [], int(np.isnan(profiles.values[source]).all(axis=1).sum())
    if empty:
        notes.append(
            f"In {empty} of {len(profiles.wells)} wells no cell was measured in {name_of(source)}: they count as the controls' mean."
        )
    if silent.any():
        notes.append(f"{int(silent.sum())} of {len(silent)} features don't vary in the controls of {name_of(source)} and count as 0 there.")
    return notes


def name_of(source: str) -> str:
    """Return a source in words."""
    return "the truth" if source == TRUTH else source


def consensus(values: Doubles, labels: Sequence[str]) -> tuple[list[str], Doubles]:
    """Return the mean profile of each label, in order of appearance; empty labels are left out."""
    names = [name for name in dict.fromkeys(labels) if name]
    label_array = np.asarray(labels, str)
    return names, np.array([values[label_array == name].mean(axis=0) for name in names]).reshape(len(names), values.shape[1])


def cosine(a: Doubles, b: Doubles) -> Doubles:
    """Return the cosine similarity of each row of (n, p) with each of (m, p); 0 with a profile that is 0."""
    lengths = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)[None]
    return np.asarray(np.divide(a @ b.T, lengths, out=np.zeros_like(lengths), where=lengths > 0))


def choose_features(tables: Mapping[str, pd.DataFrame], context: Context) -> tuple[tuple[str, ...], list[str]]:
    """Return the features of the profiles, selected on the truth alone as in the level of features, and notes.

    Empty where nothing was measured.
    """
    if IMAGES not in tables or columns_of(tables, IMAGES, list(KEYS), {"source": TRUTH}).empty:
        return (), ["Profiles are undefined: no cell was measured in the truth."]
    found = select(tables, context)
    if not found.features:
        return (), [*found.notes, "Profiles are undefined: no feature is left to compare."]
    truth = own_rows(columns_of(tables, IMAGES, [*KEYS, *found.features], {"source": TRUTH}), TRUTH)
    empty = int((~truth[list(found.features)].notna().any(axis=1)).sum())
    lost = [f"In {empty} of {len(truth)} images no cell was measured in the truth; they are left out of the profiles."] if empty else []
    return found.features, [*found.notes, *lost]
