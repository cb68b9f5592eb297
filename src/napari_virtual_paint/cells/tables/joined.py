"""Tables joined into rows of cells, and reading from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.cells.tables.parquet import Rows, TableSource

FOLDER = "Metadata_Folder"
"""Column added where several folders or files are combined: the source of each cell, since each numbers its images anew."""


@dataclass(frozen=True)
class JoinedColumn:
    """Location of a column of the joined table: the table, its name there, whether it is numeric and a feature."""

    source: int
    raw: str
    numeric: bool
    feature: bool


@dataclass(frozen=True)
class JoinedTables:
    """Tables joined into rows of cells, from one folder, database or Parquet file."""

    name: str  # name of the folder or file
    sources: tuple[TableSource, ...]
    rows: tuple[Rows | None, ...]  # for each table, the row of each cell, or None where rows are the same
    columns: dict[str, JoinedColumn]
    length: int
    notes: tuple[str, ...] = ()


def read_unit(unit: JoinedTables, columns: Sequence[str], rows: Rows | None) -> Any:
    """Return columns and rows of one set of joined tables; a missing column is null."""
    import pyarrow as pa

    length = unit.length if rows is None else len(rows)
    by_source: dict[int, list[str]] = {}
    for column in columns:
        if column in unit.columns:
            by_source.setdefault(unit.columns[column].source, []).append(column)
    got: dict[str, Any] = (
        {FOLDER: pa.array([unit.name], pa.string()).take(pa.array(np.zeros(length, np.int64)))} if FOLDER in columns else {}
    )
    for index, names in by_source.items():
        own = unit.rows[index]
        selected = rows if own is None else own if rows is None else own[rows]
        raw = list(dict.fromkeys(unit.columns[name].raw for name in names))
        table = unit.sources[index].read(raw, selected)
        got.update({name: table[unit.columns[name].raw] for name in names})
    return pa.table({column: got[column] if column in got else pa.nulls(length) for column in columns})


def stacked(parts: Sequence[Any]) -> Any:
    """Concatenate tables; a column that is numeric in one and text in another becomes text."""
    import pyarrow as pa

    try:
        return pa.concat_tables(parts, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        kinds = [{part.schema.field(name).type for part in parts} for name in parts[0].column_names]
        fields = [(name, pa.string() if len(kind) > 1 else kind.pop()) for name, kind in zip(parts[0].column_names, kinds, strict=True)]
        return pa.concat_tables([part.cast(pa.schema(fields)) for part in parts])


def floats(column: Any) -> npt.NDArray[Any]:
    """Return an arrow column as floats, NaN where it is null."""
    import pyarrow as pa

    kind = column.type
    if not pa.types.is_floating(kind):
        column = column.cast(pa.int8() if pa.types.is_boolean(kind) else pa.float64(), safe=False).cast(pa.float64())
    return np.asarray(column.to_numpy())


def matches(column: Any, value: Any) -> npt.NDArray[np.bool_]:
    """Return which values of an arrow column equal the given one, or one of several."""
    import pyarrow as pa
    from pyarrow import compute

    candidates = [value] if value is None or isinstance(value, str | bytes) or np.ndim(value) == 0 else list(value)
    missing = column.is_null(nan_is_null=True) if any(item is None for item in candidates) else None
    candidates = [item for item in candidates if item is not None]
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
        values = pa.array([number for item in candidates if (number := _number(item)) is not None], pa.float64())
        found = compute.is_in(column.cast(pa.float64(), safe=False), value_set=values)
    elif pa.types.is_boolean(column.type):
        found = compute.is_in(column, value_set=pa.array([str(item).lower() in ("true", "1") for item in candidates], pa.bool_()))
    else:
        found = compute.is_in(column.cast(pa.string()), value_set=pa.array([str(item) for item in candidates], pa.string()))
    return np.asarray((found if missing is None else compute.or_(found, missing)).to_numpy())


def _number(item: Any) -> float | None:
    try:
        return float(item)
    except (TypeError, ValueError):
        return None
