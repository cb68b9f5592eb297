"""The report folder: the page, the JSON, a CSV of every table, and what the docks need to find the images again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.errors import VirtualPaintError
from napari_virtual_paint.evaluation.level import Tables
from napari_virtual_paint.evaluation.report_files import ABOUT, FAILED, JSON, PAGE, PROFILES, TABLES
from napari_virtual_paint.evaluation.result import Evaluation, to_plain
from napari_virtual_paint.evaluation.run.parts import storable
from napari_virtual_paint.evaluation.run.prepare import PreparedEvaluation
from napari_virtual_paint.evaluation.run.store import FieldStore, code_digest, digest
from napari_virtual_paint.evaluation.run.stored_findings import StoredTables
from napari_virtual_paint.runtime.atomic_write import replacing, write_text
from napari_virtual_paint.runtime.delimited_text import escape_formulas
from napari_virtual_paint.writing.api import as_write_errors

if TYPE_CHECKING:
    import pandas as pd

    from napari_virtual_paint.evaluation.inputs.sources import FieldImageReader


def write_report_folder(report: Evaluation, prepared: PreparedEvaluation, store: FieldStore) -> None:
    """Write a report, each file atomically; an existing one from the same results stays.

    Raises `WriteError` if it can't be written.
    """
    from napari_virtual_paint.evaluation.report.build import write_report

    folder = report.output
    assert folder is not None
    mark = digest(report.to_json(), report.failed.to_dict("records"), report.predictions, report.truth, code_digest())
    with as_write_errors(folder):
        if store.load_json("written.json") == mark and all((folder / name).is_file() for name in (PAGE, JSON, ABOUT)):
            return
        (store.folder / "written.json").unlink(missing_ok=True)
        names = _write_tables(report, folder)
        write_text(folder / JSON, _dumped(report.to_json()))
        write_text(folder / ABOUT, _dumped(about(report, prepared, names)))
        write_report(report, folder / PAGE)
        store.save_json("written.json", mark)


def about(report: Evaluation, prepared: PreparedEvaluation, tables: list[str]) -> dict[str, Any]:
    """Return what a reader of the report needs to repeat the request, and to find the images of a well."""
    context = report.context
    return {
        "levels": list(report.findings),
        "truth": report.truth,
        "predictions": dict(report.predictions),
        "stains": context.stains,
        "asked": dict(report.request),
        "roles": dict(context.roles),
        "negative": context.negative,
        "positive": context.positive,
        "fields": {key: {"well": prepared.reader.wells[key], "predictions": dict(prepared.reader.partners[key])} for key in context.fields},
        "wells": {well: row for well, row in context.wells.to_dict("index").items()},
        "tables": tables,
        "headline": [{"level": level, **vars(each)} for level, found in report.findings.items() for each in found.headline],
        "versions": dict(report.versions),
        "failed": int(report.failed["field"].nunique()) if len(report.failed) else 0,
        "made": report.created,
        "seconds": round(report.seconds, 3),
    }


def _write_tables(report: Evaluation, folder: Path) -> list[str]:
    """Write every table as CSV and the failures beside the report, and remove the tables of an earlier report."""
    inside = folder / TABLES
    inside.mkdir(exist_ok=True)
    written = {name: found.tables for found in report.findings.values() for name in found.tables}
    deltas = {f"{level}_deltas": found.deltas for level, found in report.findings.items() if found.deltas is not None}
    written |= {name: {name: frame} for name, frame in deltas.items() if name not in written}
    for name, tables in written.items():
        _write_csv(inside / f"{name}.csv", _pieces(tables, name))
    for left in inside.glob("*.csv"):
        if left.name.removesuffix(".csv") not in written:
            left.unlink()
    profiles = Path(PROFILES).stem
    if profiles in written:
        with replacing(folder / PROFILES, overwrite=True) as temporary:
            storable(written[profiles][profiles]).to_parquet(temporary, index=False)
    else:
        (folder / PROFILES).unlink(missing_ok=True)
    if len(report.failed):
        _write_csv(folder / FAILED, [report.failed])
    else:
        (folder / FAILED).unlink(missing_ok=True)
    return sorted(written)


def _pieces(tables: Tables, name: str) -> Iterable[pd.DataFrame]:
    """Return a table in pieces; one in a file is not read as a whole."""
    return tables.pieces(name) if isinstance(tables, StoredTables) else [tables[name]]


def _write_csv(path: Path, pieces: Iterable[pd.DataFrame]) -> None:
    with replacing(path, overwrite=True) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        for number, piece in enumerate(pieces):
            escape_formulas(piece).to_csv(file, index=False, header=not number)


def _dumped(value: Any) -> str:
    return json.dumps(to_plain(value), ensure_ascii=False, allow_nan=False, indent=2)


MOST_OPENED = 3  # most fields that are opened: the first may be damaged


def painted_by(images: FieldImageReader, keys: Sequence[str]) -> str:
    """Return the model and the software that made a prediction, from the provenance of its stains; empty where there is none.

    Parameters
    ----------
    images
        Reader of the prediction's fields; no pixel is read.
    """
    for key in keys[:MOST_OPENED]:
        try:
            known = images.read(key).provenance
        except VirtualPaintError:
            continue
        model = _model_info(known or {})
        if model:
            return model
    return ""


def _model_info(known: Any) -> str:
    model = " ".join(str(known[name]) for name in ("model", "version") if known.get(name))
    return ", painted by ".join(filter(None, [model, str(known.get("software") or "")])) if model else ""
