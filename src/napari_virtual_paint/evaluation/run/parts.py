"""Parts of the fields' tables: Arrow files, each with the rows of several fields; read by columns, and joined in the order of the fields.

A plate has thousands of fields with few rows of two thousand columns, whose files would take longer to open than to compute.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.runtime.atomic_write import updating

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

FIELDS_AT_ONCE = 256  # fields whose rows are read together where a table is streamed

_MAPPED = os.name != "nt"  # elsewhere a mapped file can't be replaced


@dataclass(frozen=True)
class Rows:
    """Rows of one field in a part."""

    file: str
    start: int
    stop: int


class FieldTables(Mapping[str, "pd.DataFrame"]):
    """All fields' tables in the order of the fields. Each is read on access, or only some columns or rows of it."""

    def __init__(self, folder: Path, rows: Mapping[str, Sequence[Rows]]) -> None:
        self._folder, self._rows = folder, rows

    def __getitem__(self, name: str) -> pd.DataFrame:
        return self.columns(name)

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def columns(self, name: str, columns: Sequence[str] | None = None, where: Mapping[str, str] | None = None) -> pd.DataFrame:
        """Return a table, or some of its columns, and the rows with some values.

        Parameters
        ----------
        where
            Column -> its value in the rows to return.

        Raises `KeyError` if no field has such a table.
        """
        return _joined(self._folder, self._rows[name], columns, where)

    def stream(self, name: str) -> Iterator[pd.DataFrame]:
        """Yield a table in pieces of some hundred fields, at least one.

        Raises `KeyError` if no field has such a table.
        """
        rows = self._rows[name]
        for start in range(0, max(len(rows), 1), FIELDS_AT_ONCE):
            yield _joined(self._folder, rows[start : start + FIELDS_AT_ONCE])


def write_part(path: Path, frame: pd.DataFrame) -> int:
    """Write rows as an Arrow file and return its size in bytes."""
    from pyarrow import feather

    with updating(path) as partial:
        feather.write_feather(_to_arrow(storable(frame)), str(partial), compression="uncompressed")
        return partial.stat().st_size


def storable(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table that Arrow and Parquet can hold: column names are text, and so are columns of mixed values."""
    import pandas as pd

    out = frame.reset_index(drop=True)
    out.columns = [str(name) for name in out.columns]
    objects = [name for name, kind in zip(out.columns, out.dtypes, strict=True) if kind.kind == "O" and isinstance(kind, np.dtype)]
    mixed = {
        name: out[name].map(lambda value: value if value is None or isinstance(value, str) else str(value))
        for name in objects
        if pd.api.types.infer_dtype(out[name], skipna=True).startswith("mixed")
    }
    return out.assign(**mixed) if mixed else out


def _to_arrow(frame: pd.DataFrame) -> pa.Table:
    """Convert a table as pyarrow does, but the many columns of features, which are floats of one type, in one go."""
    import pyarrow as pa

    kinds = frame.dtypes.to_numpy()
    wide = np.array([kind == np.float32 for kind in kinds], bool)
    if not wide.any():
        return pa.Table.from_pandas(frame, preserve_index=False)
    other = pa.Table.from_pandas(frame.loc[:, ~wide], preserve_index=False)
    floats = iter(np.ascontiguousarray(frame.loc[:, wide].to_numpy().T))
    others = iter(zip(other.columns, other.schema, strict=True))
    arrays, fields = [], []
    for name, many in zip(frame.columns, wide, strict=True):
        array, field = (pa.array(next(floats)), pa.field(name, pa.float32())) if many else next(others)
        arrays.append(array)
        fields.append(field)
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=other.schema.metadata))


def _joined(
    folder: Path, rows: Sequence[Rows], columns: Sequence[str] | None = None, where: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Read the rows of some fields, in their order."""
    import pyarrow as pa
    import pyarrow.compute as pc

    by_file: dict[str, list[int]] = {}
    for place, each in enumerate(rows):
        by_file.setdefault(each.file, []).append(place)
    tables, places = [], []
    for file, chosen in by_file.items():
        table = _read(folder / file, columns, where)
        inside = np.concatenate([np.arange(rows[place].start, rows[place].stop) for place in chosen])
        of_field = np.repeat(chosen, [rows[place].stop - rows[place].start for place in chosen])
        for name, value in (where or {}).items():
            kept = np.asarray(pc.fill_null(pc.equal(table[name], value), False))[inside]
            inside, of_field = inside[kept], of_field[kept]
        table = table if columns is None else table.select(list(columns))
        tables.append(table if len(inside) == len(table) and (np.diff(inside) == 1).all() else table.take(inside))
        places.append(of_field)
    full = [table for table in tables if len(table)] or tables[:1]
    whole = pa.concat_tables(full, promote_options="permissive")
    order: npt.NDArray[np.intp] = np.concatenate(places)
    if (np.diff(order) < 0).any():
        whole = whole.take(np.argsort(order, kind="stable"))
    frame: pd.DataFrame = whole.to_pandas(self_destruct=False, split_blocks=False)
    return frame


def _read(path: Path, columns: Sequence[str] | None, where: Mapping[str, str] | None) -> Any:
    """Read columns of a part, with those that select its rows."""
    from pyarrow import feather

    needed = None if columns is None else list(dict.fromkeys((*columns, *(where or {}))))
    return feather.read_table(str(path), columns=needed, memory_map=_MAPPED)
