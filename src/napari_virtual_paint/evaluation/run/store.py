"""Store the results of an evaluation's fields, in parts of several fields each, so that a stopped run resumes."""

from __future__ import annotations

import glob
import hashlib
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from napari_virtual_paint._version import __version__
from napari_virtual_paint.errors import InputError, WriteError
from napari_virtual_paint.evaluation.level import Tables
from napari_virtual_paint.evaluation.report_files import JOB
from napari_virtual_paint.evaluation.result import to_plain
from napari_virtual_paint.evaluation.run.parts import FieldTables, Rows, write_part
from napari_virtual_paint.runtime.atomic_write import remove_leftovers, updating

FORM = 1  # version of the stored request
CODE = (".py", ".html", ".jinja", ".css", ".js", ".j2")
PART = re.compile(r"part\.(?P<run>\d{6,})\.[0-9a-f]{32}\.json")
FORMER = re.compile(r"(?!findings\.|part\.\d{6})(?P<stem>.+\.[^.]+)\.json")
"""What describes a field's results in folders of earlier versions, which stored each field by itself."""


@dataclass(frozen=True)
class FieldResult:
    """What a level found in one field."""

    key: str
    level: str
    tables: Tables
    stamp: str = ""  # digest of the result's inputs
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FieldRecord:
    """Stored results of one field at one level."""

    stamp: str  # stamp of the field's images when they were read
    notes: tuple[str, ...]  # notes on the field
    mark: str  # A new id each time the field is evaluated
    rows: Mapping[str, Rows]  # name of a table -> its rows


Records = Mapping[str, Mapping[str, FieldRecord]]  # level -> key of a field -> its results


@dataclass(frozen=True)
class FieldStore:
    """The folder ``REPORT/.fields``. It is sent to other processes.

    Each part has a file ``part.RUN.ID.json`` that says which fields it holds, written last, and one file for each table. Of a field in
    several parts the one of the latest run counts.
    """

    folder: Path
    run: int = 0  # number of this run among those of the folder

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

    def tidy(self) -> tuple[FieldStore, bool]:
        """Remove the half-written files of a killed run; no other process may be writing.

        Returns
        -------
        FieldStore
            For the next run.
        bool
            Whether the folder had results of a version that stored each field by itself; they are removed.
        """
        remove_leftovers(self.folder)
        runs = [int(found["run"]) for file in self.folder.iterdir() if (found := PART.fullmatch(file.name))]
        former = [found["stem"] for file in self.folder.iterdir() if (found := FORMER.fullmatch(file.name))]
        for stem_and_level in former:
            for file in [self.folder / f"{stem_and_level}.json", *self.folder.glob(f"{glob.escape(stem_and_level)}.*.parquet")]:
                file.unlink(missing_ok=True)
        return replace(self, run=max(runs, default=0) + 1), bool(former)

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

    def save_fields(self, results: Sequence[FieldResult]) -> None:
        """Store the results of some fields; they count once all of them are written."""
        import pandas as pd

        if not results:
            return
        part = f"part.{self.run:06d}.{uuid.uuid4().hex}"
        fields: list[dict[str, Any]] = [
            {"key": each.key, "level": each.level, "stamp": each.stamp, "notes": list(each.notes), "mark": uuid.uuid4().hex, "rows": {}}
            for each in results
        ]
        sizes: dict[str, int] = {}
        for name in dict.fromkeys(name for each in results for name in each.tables):
            frames, start = [], 0
            for each, field in zip(results, fields, strict=True):
                if name in each.tables:
                    frames.append(each.tables[name])
                    field["rows"][name] = start, start + len(frames[-1])
                    start += len(frames[-1])
            full = [frame for frame in frames if len(frame)] or frames[:1]
            sizes[name] = write_part(self.folder / f"{part}.{name}.arrow", pd.concat(full, ignore_index=True) if len(full) > 1 else full[0])
        self.save_json(f"{part}.json", {"fields": fields, "bytes": sizes})

    def records(self) -> Records:
        """Return the stored results of all fields that are whole."""
        found: dict[str, dict[str, FieldRecord]] = {}
        sizes = {file.name: file.stat().st_size for file in self.folder.glob("part.*")}
        for name in sorted(name for name in sizes if PART.fullmatch(name)):
            stored = self.load_json(name)
            part = name.removesuffix(".json")
            try:
                if any(sizes.get(f"{part}.{table}.arrow") != size for table, size in stored["bytes"].items()):  # after a power cut
                    continue
                for field in stored["fields"]:
                    rows = {table: Rows(f"{part}.{table}.arrow", int(first), int(end)) for table, (first, end) in field["rows"].items()}
                    record = FieldRecord(str(field["stamp"]), tuple(field["notes"]), str(field["mark"]), rows)
                    found.setdefault(str(field["level"]), {})[str(field["key"])] = record
            except (AttributeError, KeyError, TypeError, ValueError):
                continue
        return found

    def tables(self, keys: Sequence[str], levels: Sequence[str]) -> FieldTables:
        """Return all fields' tables of some levels; each is read on access."""
        records = self.records()
        found: dict[str, list[Rows]] = {}
        for level in levels:
            for key in keys:
                record = records.get(level, {}).get(key)
                for name, rows in record.rows.items() if record else ():
                    found.setdefault(name, []).append(rows)
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


def stem(key: str) -> str:
    """Return a field's name for files: ``A01%2F0``."""
    return quote(key, safe=" ")


@lru_cache
def code_digest() -> str:
    """Return a digest of the code that produces the results: those of another version of it don't count."""
    here = Path(__file__).parents[1]
    files = [each for package in (here, *(here.parent / name for name in ("cells", "counting", "metrics"))) for each in package.rglob("*")]
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
