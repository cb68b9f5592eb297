"""Metadata of the wells, roles of its columns, and the control wells."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.errors import InputError, ReadError
from napari_virtual_paint.evaluation.context import ROLES, counted
from napari_virtual_paint.evaluation.inputs.folders import by_field
from napari_virtual_paint.evaluation.inputs.sources import EvaluationSource
from napari_virtual_paint.plates.plate_map import read_plate_map

if TYPE_CHECKING:
    import pandas as pd

ALIASES: dict[str, tuple[str, ...]] = {
    "treatment": ("treatment", "compound", "compoundname", "drug", "pertiname", "perturbation", "compoundid", "broadsample", "name"),
    "dose": ("dose", "concentration", "conc", "mmolesperliter", "doseum", "concentrationum", "mgperml"),
    "control": ("control", "iscontrol", "controltype", "perttype", "role"),
    "moa": ("moa", "mechanism", "mechanismofaction", "target", "class"),
    "batch": ("batch", "batchid", "run", "experiment"),
    "plate": ("plate", "plateid", "barcode", "platename", "assayplatebarcode"),
}
"""Names of a role's column, in lower case and without any other character than letters."""

NEGATIVE = {"yes", "true", "1", "y", "negative", "negcon", "neg", "negativecontrol", "vehicle", "dmso", "control", "trt_ctrl", "untreated"}
POSITIVE = {"positive", "poscon", "pos", "positivecontrol", "poscon_cp", "poscon_diverse"}
UNTREATED = {"control", "dmso", "untreated", "vehicle", "mock", "none", "negative", "negcon", "water", "pbs"}
"""Names of treatments that mean untreated."""
TOXIC = "mitoxantrone"  # the positive control of Cross-Zamirski 2022, and the toxic treatment of the simulator


@dataclass(frozen=True)
class ControlSelection:
    """Roles of columns and control wells as the user chose them; None to detect."""

    treatment: str | None = None
    dose: str | None = None
    moa: str | None = None
    batch: str | None = None
    plate: str | None = None  # `treatment`, `dose`, `moa`, `batch` and `plate`: columns
    negative: str | None = None
    positive: str | None = None
    """`negative` and `positive`: the control wells: ``COLUMN=VALUE``, ``COLUMN=VALUE|VALUE``, several with commas where all must
    hold."""


@dataclass(frozen=True, eq=False)
class Wells:
    """Metadata of the wells, as in `Context`; `of_field` is key of a field -> its well."""

    table: pd.DataFrame
    roles: Mapping[str, str | None]
    negative: tuple[str, ...]
    positive: tuple[str, ...]
    of_field: Mapping[str, str]
    notes: tuple[str, ...]


def known_wells(
    truth: EvaluationSource, others: Sequence[EvaluationSource], keys: Sequence[str], plate_map: Path | None, choice: ControlSelection
) -> Wells:
    """Return the metadata of the wells of some fields.

    Parameters
    ----------
    truth
        Its own metadata is used unless there is a map.
    others
        The predictions, whose metadata is used where the truth has none.
    keys
        The truth's fields that are evaluated.
    plate_map
        A table of the wells' contents; for a folder of fields, of the fields.
    choice
        Roles and controls chosen by the user.

    Raises
    ------
    ReadError
        If the map can't be read, or is of other wells.
    InputError
        If a chosen column is missing, or no well is a chosen control.
    """
    import pandas as pd

    metadata, by_field, notes = _metadata(truth, others, plate_map)
    of_field = {key: key if by_field else truth.wells[key] for key in keys}
    there = [well for well in dict.fromkeys(of_field.values()) if well]
    rows = {well: dict(metadata.get(well, {})) for well in there} if metadata else {}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("well")
    roles, role_notes = _roles(table, choice)
    negative, control_notes = _negative(table, roles, choice)
    positive, more = _positive(table, roles, choice, negative)
    return Wells(table, roles, negative, positive, of_field, (*notes, *role_notes, *control_notes, *more))


def _metadata(
    truth: EvaluationSource, others: Sequence[EvaluationSource], plate_map: Path | None
) -> tuple[Mapping[str, Mapping[str, Any]], bool, tuple[str, ...]]:
    """Return the metadata by well, and whether each field is a well of its own."""
    known = next((each.metadata for each in (truth, *others) if each.metadata), {})
    if plate_map is None:
        return known, truth.by_field, ()
    if not any(truth.wells.values()) or truth.by_field:
        mapped: Mapping[str, Mapping[str, Any]] = by_field(plate_map, truth.keys)
        note = f"{plate_map.name} describes fields, so each counts as a well of its own."
        return {key: {**known.get(key, {}), **mapped.get(key, {})} for key in truth.keys}, True, (note,)
    mapped = read_plate_map(plate_map, truth.name)
    if not set(mapped) & set(truth.wells.values()):
        wells = ", ".join(list(mapped)[:4])
        raise ReadError(
            plate_map, f"none of its {len(mapped)} wells ({wells}, ...) has a field in {truth.path}; give the map of this plate"
        )
    merged = {well: {**known.get(well, {}), **mapped.get(well, {})} for well in dict.fromkeys((*known, *mapped))}
    missing = [well for well in dict.fromkeys(truth.wells.values()) if well not in mapped]
    notes = (f"{len(missing)} wells are not in {plate_map.name} ({', '.join(missing[:4])}).",) if missing else ()
    return merged, False, notes


def _roles(table: pd.DataFrame, choice: ControlSelection) -> tuple[dict[str, str | None], list[str]]:
    """Return role -> column: the chosen one, else one with a usual name."""
    plain = {re.sub(r"[^a-z]", "", re.sub(r"^(image_)?metadata_", "", str(name).lower())): str(name) for name in reversed(table.columns)}
    roles: dict[str, str | None] = {}
    for role in ROLES:
        chosen = getattr(choice, role, None)
        roles[role] = _column(table, chosen) if chosen else next((plain[name] for name in ALIASES[role] if name in plain), None)
    notes = []
    if roles["moa"] is None and roles["treatment"] is not None:
        roles["moa"] = roles["treatment"]
        notes.append("No column gives the mechanism of action, so each treatment counts as a mechanism of its own (--moa COLUMN).")
    return roles, notes


def _column(table: pd.DataFrame, name: str) -> str:
    """Return a column by its name in any case."""
    found = next((str(each) for each in table.columns if str(each).casefold() == name.casefold()), None)
    if found is None:
        there = f"it has {', '.join(map(str, table.columns))}" if len(table.columns) else "nothing is known of the wells; give --plate-map"
        raise InputError(f"The plate map has no column {name!r}; {there}.")
    return found


def _negative(table: pd.DataFrame, roles: Mapping[str, str | None], choice: ControlSelection) -> tuple[tuple[str, ...], list[str]]:
    """Return the negative controls: as chosen, by the column of controls, else the untreated wells."""
    if choice.negative:
        return _where(table, choice.negative, "--controls"), []
    for role, names in (("control", NEGATIVE), ("treatment", UNTREATED)):
        column = roles[role]
        if column is not None:
            found = tuple(well for well, value in table[column].items() if _normalized(value) in names)
            if found:
                return found, []
    if table.empty:
        return (), []
    return (), ["No well is known as a negative control; name them with --controls COLUMN=VALUE."]


def _positive(
    table: pd.DataFrame, roles: Mapping[str, str | None], choice: ControlSelection, negative: Sequence[str]
) -> tuple[tuple[str, ...], list[str]]:
    """Return the positive controls: as chosen, by the column of controls, else the highest dose of mitoxantrone."""
    if choice.positive:
        found = _where(table, choice.positive, "--positive")
        if both := set(found) & set(negative):
            raise InputError(f"Positive and negative controls have {len(both)} wells in common ({min(both)}); choose other controls.")
        return found, []
    control, treatment, dose = roles["control"], roles["treatment"], roles["dose"]
    if control is not None:
        found = tuple(well for well, value in table[control].items() if _normalized(value) in POSITIVE)
        if found:
            return found, []
    if treatment is None:
        return (), []
    wells = [well for well, value in table[treatment].items() if _normalized(value) == TOXIC and well not in negative]
    if not wells:
        return (), []
    if dose is None or not all(isinstance(value, int | float) for value in table.loc[wells, dose]):
        return tuple(wells), [f"The positive controls: {counted(len(wells), 'well')} of {TOXIC}."]
    most = float(table.loc[wells, dose].max())
    strong = tuple(well for well in wells if float(table.loc[well, dose]) == most)
    return strong, [f"The positive controls: {counted(len(strong), 'well')} of {TOXIC} with its highest dose, {most:g} (--positive)."]


def _where(table: pd.DataFrame, text: str, option: str) -> tuple[str, ...]:
    """Return the wells for which ``COLUMN=VALUE|VALUE,COLUMN=VALUE`` holds."""
    selected = list(table.index)
    for part in text.split(","):
        name, equals, values = part.partition("=")
        if not equals:
            raise InputError(f"{option} {text!r} does not select wells; give COLUMN=VALUE.")
        column, accepted = _column(table, name.strip()), {_normalized(value) for value in values.split("|")}
        selected = [well for well in selected if _normalized(table.loc[well, column]) in accepted]
    if not selected:
        raise InputError(f"{option} {text}: no well matches; see the values of that column in the plate map.")
    return tuple(selected)


def _normalized(value: Any) -> str:
    """Normalize a value for comparison: numbers by value, text in lower case."""
    try:
        return f"{float(value):g}"
    except (TypeError, ValueError):
        return str(value).strip().casefold()
