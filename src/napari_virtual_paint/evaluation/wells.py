"""Metadata of the wells, roles of its columns, and the control wells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.errors import InputError, ReadError
from napari_virtual_paint.evaluation.context import ROLES
from napari_virtual_paint.evaluation.inputs.folders import by_field
from napari_virtual_paint.evaluation.inputs.sources import EvaluationSource
from napari_virtual_paint.plates.doses import UNTREATED
from napari_virtual_paint.plates.plate_map import load_plate_map, replaced_notes, with_doses
from napari_virtual_paint.plates.well_roles import NEGATIVE, column_of_role
from napari_virtual_paint.runtime.text import counted

if TYPE_CHECKING:
    import pandas as pd

POSITIVE = {"positive", "poscon", "pos", "positivecontrol", "poscon_cp", "poscon_diverse"}
TOXIC = "mitoxantrone"  # the positive control of Cross-Zamirski 2022, and the toxic treatment of the simulator
_DESCRIBED = ("treatment", "dose", "control", "moa")  # roles that belong together: a map that gives treatments or controls replaces all


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

    metadata, by_field, mapped, notes = _metadata(truth, others, plate_map)
    of_field = {key: key if by_field else truth.wells[key] for key in keys}
    there = [well for well in dict.fromkeys(of_field.values()) if well]
    rows = {well: dict(metadata.get(well, {})) for well in there} if metadata else {}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("well")
    roles, role_notes = _roles(table, choice, mapped, "" if plate_map is None else plate_map.name)
    table, dose_notes = _doses_as_numbers(table, roles)
    negative, control_notes = _negative(table, roles, choice)
    positive, more = _positive(table, roles, choice, negative)
    return Wells(table, roles, negative, positive, of_field, (*notes, *role_notes, *dose_notes, *control_notes, *more))


def _metadata(
    truth: EvaluationSource, others: Sequence[EvaluationSource], plate_map: Path | None
) -> tuple[Mapping[str, Mapping[str, Any]], bool, tuple[str, ...], tuple[str, ...]]:
    """Return the metadata by well, whether each field is a well of its own, the columns of the user's map, and notes.

    Where the map has a column of the plate, only its own values count, in wells that it leaves out, too.
    """
    known = next((each.metadata for each in (truth, *others) if each.metadata), {})
    if plate_map is None:
        return known, truth.by_field, (), ()
    by_fields = not any(truth.wells.values()) or truth.by_field
    if by_fields:
        mapped: Mapping[str, Mapping[str, Any]] = by_field(plate_map, truth.keys)
        notes: tuple[str, ...] = (f"{plate_map.name} describes fields, so each counts as a well of its own.",)
        there: Sequence[str] = truth.keys
    else:
        mapped, notes = load_plate_map(plate_map, truth.name)
        there = list(dict.fromkeys(truth.wells.values()))
        if not set(mapped) & set(there):
            shown = ", ".join(list(mapped)[:4])
            raise ReadError(
                plate_map, f"none of its {len(mapped)} wells ({shown}, ...) has a field in {truth.path}; give the map of this plate"
            )
        missing = [well for well in there if well not in mapped]
        notes += (f"{len(missing)} wells are not in {plate_map.name} ({', '.join(missing[:4])}).",) if missing else ()
    columns = tuple(dict.fromkeys(name for row in mapped.values() for name in row))
    notes += tuple(replaced_notes(known, {well: mapped.get(well, {}) for well in there}, plate_map.name))
    merged = {}
    for well in dict.fromkeys((*there, *known, *mapped)):
        own = {name: value for name, value in known.get(well, {}).items() if name not in columns}
        merged[well] = {**own, **mapped.get(well, {})}
    return merged, by_fields, columns, notes


def _roles(table: pd.DataFrame, choice: ControlSelection, mapped: Sequence[str], map_name: str) -> tuple[dict[str, str | None], list[str]]:
    """Return role -> column: the chosen one, else one of the user's map with a usual name, else one of the plate.

    Where the map gives treatments or controls, the plate's own treatments, doses, controls and mechanisms are not used: they describe
    what the user gave another description of.
    """
    every = [str(name) for name in table.columns]
    own = [name for name in every if name in mapped]
    replaces = any(column_of_role(own, role) for role in ("treatment", "control"))
    roles: dict[str, str | None] = {}
    passed_over = []
    for role in ROLES:
        chosen = getattr(choice, role, None)
        others = [] if replaces and role in _DESCRIBED else every
        roles[role] = _column(table, chosen) if chosen else column_of_role(own, role) or column_of_role(others, role)
        replaced = column_of_role([name for name in every if name not in mapped], role)
        if mapped and replaced is not None and roles[role] != replaced and (roles[role] in mapped or role in _DESCRIBED):
            passed_over.append(f"{replaced} ({role})" if replaced.casefold() != role else replaced)
    notes = []
    if passed_over:
        given = ", ".join(dict.fromkeys(roles[role] or "" for role in ROLES if roles[role] in mapped))
        notes.append(f"{map_name} says what is in the wells ({given}), so the plate's own {', '.join(passed_over)} is not used.")
    if roles["moa"] is None and roles["treatment"] is not None:
        roles["moa"] = roles["treatment"]
        notes.append("No column gives the mechanism of action, so each treatment counts as a mechanism of its own (--moa COLUMN).")
    return roles, notes


def _doses_as_numbers(table: pd.DataFrame, roles: Mapping[str, str | None]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the table with the doses as numbers, where they are text, and notes."""
    dose = roles["dose"]
    if dose is None:
        return table, ()
    values = {str(well): {dose: value} for well, value in table[dose].items() if not _is_missing(value)}
    rows, notes = with_doses(values, {dose})
    if not notes and all(rows[well][dose] is values[well][dose] for well in rows):
        return table, ()
    return table.assign(**{dose: [rows.get(str(well), {}).get(dose) for well in table.index]}), notes


def _is_missing(value: Any) -> bool:
    return value is None or value != value


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
    wells = [well for well, value in table[treatment].items() if _is_toxic(value) and well not in negative]
    if not wells:
        return (), []
    doses = {} if dose is None else {well: table.loc[well, dose] for well in wells}
    doses = {well: float(value) for well, value in doses.items() if isinstance(value, Real) and not _is_missing(value)}
    if not doses:
        return tuple(wells), [f"The positive controls: {counted(len(wells), 'well')} of {TOXIC}."]
    most = max(doses.values())
    strong = tuple(well for well, value in doses.items() if value == most)
    left = f"; {counted(len(wells) - len(doses), 'well')} of it without a dose left out" if len(doses) < len(wells) else ""
    return strong, [f"The positive controls: {counted(len(strong), 'well')} of {TOXIC} with its highest dose, {most:g}{left} (--positive)."]


def _is_toxic(value: Any) -> bool:
    """Return whether a treatment is the usual toxic one, in any case of letters, as a salt or not."""
    return str(value).strip().casefold().split(" ")[0] == TOXIC


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
