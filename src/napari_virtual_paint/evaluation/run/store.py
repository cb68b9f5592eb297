"""Store the intermediate results of an evaluation: each field's tables and each level's findings, so that a stopped run resumes."""

from __future__ import annotations

import hashlib
import io
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from napari_virtual_paint._version import __version__
from napari_virtual_paint.errors import InputError, WriteError
from napari_virtual_paint.evaluation.level import Figure, Findings, Headline, Tables
from napari_virtual_paint.evaluation.report_files import JOB
from napari_virtual_paint.evaluation.result import to_plain
from napari_virtual_paint.runtime.atomic_write import remove_leftovers, updating

if TYPE_CHECKING:
    import pandas as pd


FORM = 1  # version of the stored format
CODE = (".py", ".html", ".jinja", ".css", ".js", ".j2")


@dataclass(frozen=True)
class FieldRecord:
    """Stored results of one field at one level."""

    stamp: str  # stamp of the field's images when they were read
    tables: tuple[str, ...]  # names of its tables
    notes: tuple[str, ...]  # notes on the field
    mark: str  # A new id each time the field is evaluated


@dataclass(frozen=True)
class FieldStore:
    """The folder ``REPORT/.fields``. It is sent to other processes."""

    folder: Path

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Create the folder, or check that it belongs to the same request.

        Raises
        ------
        InputError
            If the report's folder holds other files, or belongs to another request.
        WriteError
            If it can't be created.
        """
        report = self.folder.parent
        if report.exists() and not report.is_dir():
            raise InputError(f"{report}: a file of this name exists; choose another folder for the report.")
        if report.is_dir() and any(report.iterdir()) and not self.folder.is_dir():
            raise InputError(f"{report}: it holds files that are not a report's; choose another folder, or an empty one.")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WriteError(report, f"this folder can't be made ({error.strerror or error}); choose another") from error
        request = to_plain({"form": FORM, **settings})
        before = self._stored_request()
        other = "" if before is None else _difference(before, request)
        if other and any(self.folder.glob("*.*.json")):  # else the earlier request stored nothing
            raise InputError(f"{report}: it holds another evaluation ({other}); choose another folder, or remove it.")
        if other or before is None:
            self.save_json(JOB, request)

    def tidy(self) -> None:
        """Remove the half-written files of a killed run; no other process may be writing."""
        remove_leftovers(self.folder)

    def _stored_request(self) -> dict[str, Any] | None:
        try:
            stored = json.loads((self.folder / JOB).read_text("utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            stored = None
        if not isinstance(stored, dict) or stored.get("form") != FORM:
            raise InputError(f"{self.folder / JOB}: it can't be read; choose another folder for the report, or remove this one.")
        return stored

    # fields

    def save_field(self, key: str, level: str, tables: Tables, stamp: str, notes: Sequence[str]) -> None:
        """Store a field's tables; they count once all of them are written."""
        for name, frame in tables.items():
            self.save_frame(f"{stem(key)}.{level}.{name}.parquet", frame)
        mark = uuid.uuid4().hex
        self.save_json(f"{stem(key)}.{level}.json", {"stamp": stamp, "tables": list(tables), "notes": list(notes), "mark": mark})

    def record(self, key: str, level: str) -> FieldRecord | None:
        """Return the stored results of a field; None if absent or unreadable."""
        stored = self.load_json(f"{stem(key)}.{level}.json")
        try:
            return FieldRecord(stored["stamp"], tuple(stored["tables"]), tuple(stored["notes"]), stored["mark"]) if stored else None
        except (KeyError, TypeError):
            return None

    def tables(self, keys: Sequence[str], levels: Sequence[str]) -> FieldTables:
        """Return all fields' tables of some levels; each is read on access."""
        found: dict[str, list[str]] = {}
        for level in levels:
            for key in keys:
                record = self.record(key, level)
                for name in record.tables if record else ():
                    found.setdefault(name, []).append(f"{stem(key)}.{level}.{name}.parquet")
        return FieldTables(self.folder, found)

    # Small files, each written atomically

    def save_json(self, name: str, value: Any) -> None:
        """Write a small file."""
        with updating(self.folder / name) as path:
            path.write_text(json.dumps(to_plain(value), ensure_ascii=False, allow_nan=False), "utf-8")

    def load_json(self, name: str) -> Any:
        """Read a small file; None if it can't be read."""
        try:
            return json.loads((self.folder / name).read_text("utf-8"))
        except (OSError, ValueError):
            return None

    def save_frame(self, name: str, frame: pd.DataFrame) -> None:
        """Write a table as Parquet."""
        with updating(self.folder / name) as path:
            storable(frame).to_parquet(path, index=False)


class FieldTables(Mapping[str, "pd.DataFrame"]):
    """All fields' tables, concatenated; each is read on access, or only some `columns` of it."""

    def __init__(self, folder: Path, files: Mapping[str, Sequence[str]]) -> None:
        self._folder, self._files = folder, files

    def __getitem__(self, name: str) -> pd.DataFrame:
        return self.columns(name)

    def columns(self, name: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return a table, or some of its columns.

        Raises `KeyError` if no field has such a table.
        """
        import pandas as pd

        frames = [pd.read_parquet(self._folder / file, columns=None if columns is None else list(columns)) for file in self._files[name]]
        full = [frame for frame in frames if len(frame)] or frames[:1]
        return pd.concat(full, ignore_index=True)

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def stem(key: str) -> str:
    """Return a field's name for files: ``A01%2F0``."""
    return quote(key, safe=" ")


def storable(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table that Parquet can hold: column names are text, and so are columns of mixed values."""
    import pandas as pd

    out = frame.reset_index(drop=True)
    out.columns = [str(name) for name in out.columns]
    mixed = {
        name: out[name].map(lambda value: value if value is None or isinstance(value, str) else str(value))
        for name in out.columns
        if out[name].dtype == object and pd.api.types.infer_dtype(out[name], skipna=True).startswith("mixed")
    }
    return out.assign(**mixed) if mixed else out


@lru_cache
def code_digest() -> str:
    """Return a digest of the code that produces the results: those of another version of it don't count."""
    here = Path(__file__).parents[1]
    files = [each for package in (here, here.parent / "cells", here.parent / "metrics") for each in package.rglob("*")]
    found = hashlib.sha256(__version__.encode())
    for file in sorted(each for each in files if each.is_file() and each.suffix in CODE):
        found.update(file.read_bytes())
    return found.hexdigest()[:16]


def digest(*parts: Any) -> str:
    """Return a digest of some values."""
    return hashlib.sha256(json.dumps(to_plain(parts), sort_keys=True).encode()).hexdigest()[:32]


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return the first difference between two requests, in words; empty if there is none."""
    for name in dict.fromkeys((*before, *now)):
        then, here = before.get(name), now.get(name)
        if then != here:
            if isinstance(then, dict) and isinstance(here, dict):
                return _difference(then, here)
            return f"{name} was {_shown_value(then)} and is now {_shown_value(here)}"
    return ""


def _shown_value(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else "not given" if value is None else str(value)
    return text if len(text) <= 120 else f"...{text[-120:]}"


DELTAS = "deltas"


def save_findings(store: FieldStore, found: Findings, digest: str) -> None:
    """Store findings; they count once all files are written."""
    level = found.level
    for name, frame in found.tables.items():
        store.save_frame(_file(level, f"table.{name}.parquet"), frame)
    if found.deltas is not None:
        store.save_frame(_file(level, f"{DELTAS}.parquet"), found.deltas)
    pictures = {f"{i}.{j}": array for i, figure in enumerate(found.figures) for j, (_, _, array) in enumerate(figure.images)}
    with updating(store.folder / _file(level, "images.npz")) as path:
        content = io.BytesIO()
        np.savez_compressed(content, allow_pickle=False, **pictures)
        path.write_bytes(content.getvalue())
    description = {
        "digest": digest,
        "section": found.section,
        "others": found.others,
        "deltas": found.deltas is not None,
        "tables": list(found.tables),
        "figures": [_plain(figure) for figure in found.figures],
        "headline": [vars(each) for each in found.headline],
        "notes": found.notes,
    }
    store.save_json(_file(level, "json"), description)


def load_findings(store: FieldStore, level: str, digest: str) -> Findings | None:
    """Return the stored findings of a level; None if absent, unreadable, or made from other inputs."""
    stored = store.load_json(_file(level, "json"))
    if not isinstance(stored, Mapping) or stored.get("digest") != digest:
        return None
    try:
        return _loaded(store.folder, level, stored)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _loaded(folder: Path, level: str, stored: Mapping[str, Any]) -> Findings:
    import pandas as pd

    tables = {name: pd.read_parquet(folder / _file(level, f"table.{name}.parquet")) for name in stored["tables"]}
    with np.load(folder / _file(level, "images.npz"), allow_pickle=False) as arrays:
        figures = tuple(_figure(each, i, arrays) for i, each in enumerate(stored["figures"]))
    return Findings(
        level=level,
        section=stored["section"],
        others=stored["others"],
        deltas=pd.read_parquet(folder / _file(level, f"{DELTAS}.parquet")) if stored["deltas"] else None,
        tables=tables,
        figures=figures,
        headline=tuple(Headline(**each) for each in stored["headline"]),
        notes=tuple(stored["notes"]),
    )


def _plain(figure: Figure) -> dict[str, Any]:
    return {**vars(figure), "images": [(label, caption) for label, caption, _ in figure.images]}


def _figure(stored: Mapping[str, Any], number: int, arrays: Any) -> Figure:
    images = tuple((label, caption, arrays[f"{number}.{j}"]) for j, (label, caption) in enumerate(stored["images"]))
    return Figure(**{**stored, "images": images})


def _file(level: str, name: str) -> str:
    """Return a file name that no field can have: theirs have no dot before the level."""
    return f"findings.{level}.{name}"
