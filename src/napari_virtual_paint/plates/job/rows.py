"""Results of a job: one small JSON file per field, and the tables made of them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.metrics.metric import METRICS
from napari_virtual_paint.plates.job.job import job_folder
from napari_virtual_paint.plates.plate import Field
from napari_virtual_paint.runtime.atomic_write import replacing, write_text
from napari_virtual_paint.runtime.delimited_text import unescape_formulas
from napari_virtual_paint.runtime.extras import require
from napari_virtual_paint.runtime.text import csv_text

if TYPE_CHECKING:
    import pandas as pd

ROWS = "rows"
SCORES = "scores.parquet"
FAILED = "failed.csv"
FAILED_COLUMNS = ("well", "field", "acquisition", "reason")
FIXED = {
    "well": "string",
    "field": "string",
    "acquisition": "string",
}
COUNTS = ("nuclei", "cells")  # columns of a field whose objects were counted; ``_real`` follows those of the true stains
DOMAIN = {"domain_distance": "double", "domain": "string", "domain_reason": "string"}
"""Columns on how far a field is from the model's training images, if its package has a summary of them."""
FOCUS = {"focus": "int64"}
"""Column of the plane in focus, if it was looked for."""
TIMES = {
    "seconds": "double",
    "read_seconds": "double",
    "write_seconds": "double",
    "device": "string",
    "precision": "string",
    "tile": "int64",
    "model": "string",
    "version": "string",
    "finished": "string",
    "notes": "string",
}
"""Columns after the scores, with their types in Arrow."""

Row = Mapping[str, Any]  # column -> value for one field; the keys of its JSON file


def file_stem(field: Field) -> str:
    """Return a unique file name for a field: ``A01_0``, with several acquisitions ``A01_0@2``."""
    name = f"{field.well}_{quote(field.name, safe=' ')}"
    return f"{name}@{quote(field.acquisition, safe=' ')}" if field.acquisition else name


def save_row(folder: Path, row: Row) -> None:
    """Write a field's row atomically."""
    field = field_of(row)
    write_text(folder / ROWS / f"{file_stem(field)}.json", json.dumps(dict(row), ensure_ascii=False, allow_nan=False))


def field_of(row: Row) -> Field:
    """Return the field that a row is about."""
    return Field(row["well"], row["field"], row["acquisition"])


def load_rows(folder: Path) -> dict[Field, Row]:
    """Return the rows of a job; one that can't be read is left out, so that its field is painted again."""
    found: dict[Field, Row] = {}
    rows = folder / ROWS
    if not rows.is_dir():
        return found
    with os.scandir(rows) as entries:
        names = sorted(entry.path for entry in entries if entry.name.endswith(".json") and not entry.name.startswith("."))
    for name in names:
        try:
            row = json.loads(Path(name).read_bytes())
            found[field_of(row)] = row
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


def load_row(folder: Path, field: Field) -> Row | None:
    """Return the row of one field, or None."""
    try:
        row: Row = json.loads((folder / ROWS / f"{file_stem(field)}.json").read_bytes())
    except (OSError, ValueError):
        return None
    return row


def drop_row(folder: Path, field: Field) -> None:
    """Delete a field's row."""
    (folder / ROWS / f"{file_stem(field)}.json").unlink(missing_ok=True)


def is_done(row: Row | None) -> bool:
    """Return whether a row is that of a painted field."""
    return row is not None and row.get("state") == "done"


def write_tables(folder: Path, rows: Iterable[Row], stains: Iterable[str], metadata: Mapping[str, Mapping[str, Any]]) -> None:
    """Write scores.parquet and failed.csv atomically; without failures there is no failed.csv."""
    all_rows = list(rows)
    write_scores(folder / SCORES, [row for row in all_rows if is_done(row)], tuple(stains), metadata)
    failed = [row for row in all_rows if not is_done(row)]
    if not failed:
        (folder / FAILED).unlink(missing_ok=True)
        return
    write_text(folder / FAILED, csv_text(failed, FAILED_COLUMNS, for_people=True))


def write_scores(path: Path, rows: list[Row], stains: tuple[str, ...], metadata: Mapping[str, Mapping[str, Any]]) -> None:
    """Write a Parquet table with a row per field: field, scores by stain, times, and metadata of the well."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    scores = [f"{metric}_{stain}" for stain in stains for metric in METRICS]
    scores += [name for name in (f"sd_{stain}" for stain in stains) if any(name in row for row in rows)]
    domain = DOMAIN if any("domain" in row for row in rows) else {}
    focus = FOCUS if any("focus" in row for row in rows) else {}
    types = {**FIXED, **dict.fromkeys(scores, "double"), **_count_types(rows), **domain, **focus, **TIMES}
    columns = {name: pa.array([_cell(row.get(name)) for row in rows], kind) for name, kind in types.items()}
    for name in dict.fromkeys(name for row in rows for name in metadata.get(row["well"], {})):
        title = name if name not in types else f"{name}_of_well"
        columns[title] = _column([metadata.get(row["well"], {}).get(name) for row in rows])
    with replacing(path, overwrite=True) as beside:
        pq.write_table(pa.table(columns), beside)


def _count_types(rows: list[Row]) -> dict[str, str]:
    """Return the columns of counts that some rows have, with their types in Arrow."""
    names = dict.fromkeys(name for row in rows for name in row if name.partition("_")[0] in COUNTS)
    area = {"nucleus_area_um2": "double"} if names else {}
    return {**dict.fromkeys(names, "int64"), **area}


def _cell(value: Any) -> Any:
    return " ".join(value) if isinstance(value, list) else value


def _column(values: list[Any]) -> Any:
    """Return metadata as a column of Arrow; as text if the types are mixed."""
    import pyarrow as pa

    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else str(value) for value in values])


def read_scores(output: Path | str, model: str = "") -> pd.DataFrame:
    """Return the scores of a painted plate, one row per field.

    Parameters
    ----------
    output
        The painted plate; for stains painted into the plate itself, that plate.
    model
        Id of the model, if several painted into the plate.

    Returns
    -------
    pandas.DataFrame
        ``well``, ``field``, ``acquisition``; ``pcc_DNA``, ``ssim_DNA``, ``psnr_DNA`` (dB), ``mse_DNA``, ``mae_DNA`` (SD) ... for each
        stain, empty without truth; ``sd_DNA`` (mean SD over the passes) ... if it was painted with ``tta``; ``domain_distance``,
        ``domain`` (inside, edge, outside) and ``domain_reason`` if the model's package has a summary of its training images; ``seconds``
        of painting, ``device``, ``tile`` ...; the columns of the well's metadata.

    Raises
    ------
    InputError
        If nothing was painted there, or the extra ``plates`` is missing.
    """
    return _frame(output, model, SCORES, "read_parquet")


def read_failures(output: Path | str, model: str = "") -> pd.DataFrame:
    """Return the fields that failed, with columns ``well``, ``field``, ``acquisition``, ``reason``; empty if none did.

    Parameters
    ----------
    output, model
        As for `read_scores`.

    Raises
    ------
    InputError
        If nothing was painted there, or the extra ``plates`` is missing.
    """
    return unescape_formulas(_frame(output, model, FAILED, "read_csv", dtype=str, keep_default_na=False))


def _frame(output: Path | str, model: str, name: str, reader: str, **options: Any) -> pd.DataFrame:
    pd = require("pandas", extra="plates", purpose="A table of a plate")
    path = find_folder(output, model) / name
    if not path.exists():
        if name == FAILED:
            return pd.DataFrame(columns=list(FAILED_COLUMNS))
        raise InputError(f"{output}: it has no scores yet; they are written while the plate is painted.")
    return getattr(pd, reader)(path, **options)


def find_folder(output: Path | str, model: str = "") -> Path:
    """Return the folder of the job that painted an output.

    Raises `InputError` if there is none, or several models painted the plate and none is given.
    """
    first = job_folder(output, model)
    if first.is_dir():
        return first
    target = Path(output).expanduser().absolute()
    start, end = f"{target.name}.", ".job"
    siblings = target.parent.iterdir() if target.parent.is_dir() else ()
    found = sorted(each for each in siblings if each.name.startswith(start) and each.name.endswith(end) and each.is_dir())
    if model or not found:
        raise InputError(f"{output}: there is no job of `plate predict` beside it ({first.name}); paint it first.")
    if len(found) > 1:
        names = ", ".join(each.name[len(start) : -len(end)] for each in found)
        raise InputError(f"{output}: several models painted it ({names}); choose one.")
    return found[0]
