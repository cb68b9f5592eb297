"""A plate as a map: what the wells can be coloured by, the colours of each well, and the facts known about a well."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from napari_virtual_paint.metrics.metric import METRICS, RELATED, metric
from napari_virtual_paint.plates import wells
from napari_virtual_paint.plates.plate import Field, Plate
from napari_virtual_paint.plates.view.palette import UNKNOWN, ColourScale, category_colour, figure, scale_of
from napari_virtual_paint.reading.filename_patterns import natural

Kind = Literal["states", "categories", "scale"]
Group = Literal["Painting", "Scores", "Metadata", "More"]
State = Literal["unpainted", "queued", "painting", "done", "failed"]
Rows = Mapping[str, Mapping[str, Any]]  # key of a field -> its row of scores

STATE_COLUMN, STATE_LABEL = "state", "State of painting"
STATE_COLOURS: Mapping[State, str] = {
    "done": "#009e73",
    "failed": "#d55e00",
    "painting": "#f0c030",
    "queued": "#56b4e9",
    "unpainted": "#9a9a9a",
}
"""In the order in which a well with several fields is filled; safe for red-green blindness, and failed fields also have a cross."""

FEW = 8  # integers with at most this many different values are groups (replicates, batches), not a scale
AMOUNTS = ("dose", "conc", "amount", "micromol", "µm", "um", "nm", "time", "hour")
"""Words in a column's name that mark its numbers as amounts, however few there are."""
NOT_SCORES = ("well", "field", "acquisition", "device", "precision", "message", "reason", "state", "key")
"""Columns of a row of scores that are no scores."""
GROUPS = ("control", "batch", "replicate", "plate", "well", "row", "column", "seed")
ORDER: tuple[Group, ...] = ("Painting", "Scores", "Metadata", "More")
"""In which the groups of columns are offered."""
OF_PAINTING = ("domain_distance", "focus")
"""Columns of a row of scores that concern the painting of a field."""
SELDOM = ("seed", "seconds", "read_seconds", "write_seconds", "tile")
"""Columns of metadata and scores that are seldom looked at."""


@dataclass(frozen=True)
class ColourKey:
    """A column that the map can be coloured by."""

    key: str  # its name in the metadata or the scores
    label: str  # its name for the user
    kind: Kind  # how it is shown
    scored: bool = False  # whether it is a score of the fields, not metadata of the wells
    group: Group = "Metadata"  # the heading under which it is offered


@dataclass(frozen=True)
class WellSegment:
    """A part of a well in one colour."""

    share: float  # share of the well, 0 to 1
    colour: str  # ``#rrggbb``
    mark: Literal["", "x", "?"] = ""  # ``"x"`` for a failed field, ``"?"`` for a value that is not known


@dataclass(frozen=True, eq=False)
class Shading:
    """The colours of a map."""

    column: ColourKey  # the column that it shows
    parts: Mapping[str, tuple[WellSegment, ...]]  # well -> its segments, from the bottom up
    legend: tuple[tuple[str, WellSegment], ...] = ()  # text and segment of each group or state
    scale: ColourScale | None = None  # the scale; None for groups and states
    values: Mapping[str, Any] | None = None
    """Well -> its value, for groups and scales (a number; of a score the mean over the well's fields)."""


def row_key(row: Mapping[str, Any]) -> str:
    """Return the key of the field of a row of scores."""
    parts = (str(row.get(name, "") if row.get(name, "") is not None else "") for name in ("field", "acquisition"))
    return "/".join(part for part in (wells.canonical(str(row["well"])), *parts) if part)


def columns_of(plate: Plate, rows: Rows) -> tuple[ColourKey, ...]:
    """Return the columns that the map can show, group by group: the state of painting, every numeric score, and the metadata."""
    found = [ColourKey(STATE_COLUMN, STATE_LABEL, "states", group="Painting"), *_score_columns(rows.values())]
    for key in plate.columns:
        values = [row.get(key) for row in plate.metadata.values()]
        label = key.removeprefix("Metadata_")
        found.append(ColourKey(key, label, _kind(key, values), group="More" if seldom(label) else "Metadata"))
    return tuple(sorted(found, key=lambda column: ORDER.index(column.group)))


def seldom(name: str) -> bool:
    """Return whether a column of metadata or scores, by its key or label, is seldom looked at."""
    return name.casefold().replace(" ", "_") in SELDOM


def shade(plate: Plate, column: ColourKey, states: Mapping[str, State], rows: Rows) -> Shading:
    """Colour a plate's wells.

    Parameters
    ----------
    column
        One of `columns_of`.
    states
        Key of a field -> its state; missing fields are unpainted.
    """
    if column.kind == "states":
        return _shade_states(plate, column, states)
    values = well_values(plate, column, rows)
    if column.kind == "categories":
        return _shade_groups(column, values)
    return _shade_scale(column, values)


def shade_values(key: str, values: Mapping[str, Any]) -> Shading:
    """Colour any items by a column as the map colours wells: by groups or on a scale, depending on its name and values.

    Parameters
    ----------
    key
        Name of the column.
    values
        Item -> its value; None, an empty text or NaN where it is not known.
    """
    column = ColourKey(key, _score_label(key.removeprefix("Metadata_")), _kind(key, list(values.values())))
    if column.kind == "categories":
        return _shade_groups(column, {each: _text(value) for each, value in values.items()})
    return _shade_scale(column, {each: number(value) for each, value in values.items()})


def well_values(plate: Plate, column: ColourKey, rows: Rows) -> dict[str, Any]:
    """Return well -> value for all wells, None where it is not known; a score is averaged over the fields of the well."""
    if not column.scored:
        if column.kind == "scale":
            return {well: number(plate.metadata.get(well, {}).get(column.key)) for well in plate.wells}
        return {well: _text(plate.metadata.get(well, {}).get(column.key)) for well in plate.wells}
    return {well: _mean(fields, column.key, rows) for well, fields in plate.by_well.items()}


def well_states(plate: Plate, states: Mapping[str, State]) -> dict[str, Counter[State]]:
    """Return well -> number of fields in each state."""
    return {well: Counter(states.get(each.key, "unpainted") for each in fields) for well, fields in plate.by_well.items()}


def about(plate: Plate, well: str, states: Mapping[str, State], rows: Rows, most: int = 16) -> list[tuple[str, str]]:
    """Return the facts known about a well, as names and texts: metadata, fields by state, mean scores.

    Parameters
    ----------
    plate, states, rows
        As for `shade`.
    well
        The well; without an image, that is the only fact.
    most
        Largest number of scores.
    """
    if well not in plate.by_well:
        return [("", "no image")]
    found = [(column.removeprefix("Metadata_"), _text(value) or "–") for column, value in plate.metadata.get(well, {}).items()]
    fields = plate.by_well[well]
    counts = Counter(states.get(each.key, "unpainted") for each in fields)
    by_state = ", ".join(f"{counts[state]} {state}" if len(fields) > 1 else state for state in STATE_COLOURS if counts[state])
    found.append(("fields" if len(fields) > 1 else "field", by_state))
    scores = _score_columns(rows.get(each.key, {}) for each in fields)
    # Correlations first: they are what most users look for.
    for column in sorted(scores, key=lambda each: not each.key.startswith("pcc"))[:most]:
        value = _mean(fields, column.key, rows)
        if value is not None:
            known = _known(fields, column.key, rows)
            painted = sum(bool(rows.get(each.key)) for each in fields)
            left = f" ({len(known)} of {painted} fields)" if len(known) < painted else ""
            found.append((column.label, figure(value) + left))
    return found


def number(value: Any) -> float | None:
    """Return a value as a finite number; None for None, booleans, and text that is no number."""
    if value is None or isinstance(value, bool) or type(value).__name__ == "bool":
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def _shade_states(plate: Plate, column: ColourKey, states: Mapping[str, State]) -> Shading:
    parts = {}
    seen: Counter[State] = Counter()
    for well, counts in well_states(plate, states).items():
        seen.update(counts)
        total = sum(counts.values())
        parts[well] = tuple(_state_part(state, counts[state] / total) for state in STATE_COLOURS if counts[state])
    legend = tuple((f"{seen[state]} {state}", _state_part(state)) for state in STATE_COLOURS if seen[state])
    return Shading(column, parts, legend)


def _mean(fields: Sequence[Field], key: str, rows: Rows) -> float | None:
    """Return the mean of a score over some fields; None where none has it."""
    known = _known(fields, key, rows)
    return sum(known) / len(known) if known else None


def _known(fields: Sequence[Field], key: str, rows: Rows) -> list[float]:
    """Return the values of a score where it is defined."""
    return [value for each in fields if (value := number(rows.get(each.key, {}).get(key))) is not None]


def _state_part(state: State, share: float = 1.0) -> WellSegment:
    return WellSegment(share, STATE_COLOURS[state], "x" if state == "failed" else "")


def _shade_groups(column: ColourKey, values: Mapping[str, Any]) -> Shading:
    groups = sorted({value for value in values.values() if value}, key=natural)
    colours = {group: WellSegment(1.0, category_colour(index)) for index, group in enumerate(groups)}
    parts = {well: (colours.get(value, WellSegment(1.0, UNKNOWN, "?")),) for well, value in values.items()}
    legend = tuple(colours.items())
    if any(not value for value in values.values()):
        legend += (("not known", WellSegment(1.0, UNKNOWN, "?")),)
    return Shading(column, parts, legend, values=values)


def _shade_scale(column: ColourKey, values: Mapping[str, Any]) -> Shading:
    there = [value for value in values.values() if value is not None]
    unknown = WellSegment(1.0, UNKNOWN, "?")
    legend = (("not known", unknown),) if len(there) < len(values) else ()
    if not there:
        return Shading(column, dict.fromkeys(values, (unknown,)), legend, values=values)
    scale = scale_of(there)
    parts = {well: (unknown if value is None else WellSegment(1.0, scale.colour(value)),) for well, value in values.items()}
    return Shading(column, parts, legend, scale, values)


def _score_columns(rows: Iterable[Mapping[str, Any]]) -> list[ColourKey]:
    """Return the numeric columns of some rows."""
    found: set[str] = set()
    for row in rows:
        found.update(key for key, value in row.items() if key not in found and key not in NOT_SCORES and number(value) is not None)
    return [ColourKey(key, _score_label(key), "scale", scored=True, group=_score_group(key)) for key in sorted(found, key=_score_order)]


def _score_order(key: str) -> tuple[Any, ...]:
    """Return what sorts scores: by their metric, then by their stain."""
    metrics, head = (*METRICS, *RELATED), key.partition("_")[0]
    return (metrics.index(head) if head in metrics else len(metrics), natural(key))


def _score_group(key: str) -> Group:
    return "Painting" if key in OF_PAINTING else "More" if seldom(key) else "Scores"


def _kind(key: str, values: Sequence[Any]) -> Kind:
    """Return how a column of metadata is shown."""
    there = [value for value in values if value is not None and value != ""]
    numbers = [number(value) for value in there]
    if not there or any(value is None for value in numbers):
        return "categories"
    name = key.casefold()
    if any(word in name for word in AMOUNTS):
        return "scale"
    if any(word in name for word in GROUPS):
        return "categories"
    whole = all(value == int(value) for value in numbers if value is not None)
    return "categories" if whole and len(set(numbers)) <= FEW else "scale"


def _score_label(key: str) -> str:
    """Return the name of a score for the user: ``PCC DNA`` for ``pcc_DNA``."""
    head, _, rest = key.partition("_")
    return f"{metric(head).label} {rest.replace('_', ' ')}" if head in METRICS or head in RELATED else key.replace("_", " ")


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    return str(value)
