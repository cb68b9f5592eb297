"""The inputs that a run began with: its pairs and their files. A run goes on only with the same."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path, PurePath
from typing import Any

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.atomic_write import write_text
from napari_virtual_paint.runtime.json_file import read_object
from napari_virtual_paint.training.data.source import PairSource
from napari_virtual_paint.training.run_folder.watch import CHECKPOINT

INPUTS = "inputs.json"  # in the run folder
FORM = 1  # version of the file
WHOLE = 2**20  # bytes of a file up to which all of it is hashed
BLOCK, BLOCKS = 2**16, 4  # bytes and number of the blocks that are hashed of a larger one: its head, its tail and two between
LISTED, READ = 2000, 16  # files of an OME-Zarr whose names and sizes, and whose contents, count

Inputs = Mapping[str, Any]


def keep_inputs(run: Path, sources: Sequence[PairSource], table: Path | None, *, write: bool = True) -> Iterator[str]:
    """Remember the inputs of a run, or check that those of a run that has begun are the same.

    A run that was begun before there was such a record goes on, and has one from then on.

    Parameters
    ----------
    table
        The table that lists the pairs, for errors.
    write
        Whether to remember them; otherwise they are only compared.

    Yields
    ------
    str
        The name of a pair, before its files are looked at.

    Raises
    ------
    InputError
        If pairs, their metadata or the contents of their files have changed; files may lie elsewhere.
    """
    path = run / INPUTS
    stored = read_object(path) if (run / CHECKPOINT).is_file() else None
    before = stored["pairs"] if stored is not None and stored.get("form") == FORM and isinstance(stored.get("pairs"), dict) else None
    now = {}
    for key, item in zip(_keys(sources), sources, strict=True):
        if item.settings is None:
            yield item.name
            now[key] = _describe(item, (before or {}).get(key))
    if before is not None:
        changed = _change(before, now)
        if changed:
            what = f"{table}: the table or its files have" if table is not None else f"{run}: the images of this run have"
            raise InputError(
                f"{what} changed since this run was started ({changed}); set another run folder, or delete {run} to begin again."
            )
    if write and now and now != before:
        with suppress(OSError):  # a run whose folder can't be written will report that itself
            run.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps({"form": FORM, "pairs": now}), durable=False)


def digest_of(sources: Sequence[PairSource]) -> str:
    """Return a digest of pairs, their metadata and the contents of their files, wherever these lie."""
    found = {key: _describe(item, None) for key, item in zip(_keys(sources), sources, strict=True) if item.settings is None}
    for pair in found.values():
        for file in pair["files"]:
            file.pop("time")
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:16]


def _keys(sources: Sequence[PairSource]) -> list[str]:
    """Return the names of pairs; those that are whole paths without the folder that all of them share."""
    names = [item.name for item in sources]
    if len(names) < 2 or not all(PurePath(name).is_absolute() for name in names):
        return names
    shared = os.path.commonpath(names)
    return [PurePath(name).relative_to(shared).as_posix() for name in names]


def _describe(item: PairSource, before: Any) -> dict[str, Any]:
    """Return a pair as plain values."""
    known = {each["name"]: each for each in before["files"]} if isinstance(before, dict) else {}
    files = [_file(path, known.get(path.name)) for path in item.files()]
    return {"split": item.split, "metadata": dict(item.metadata), "files": files}


def _file(path: Path, before: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return name, size, time and hash of a file, or of the files of an OME-Zarr together."""
    try:
        parts = sorted(islice((each for each in path.rglob("*") if each.is_file()), LISTED)) if path.is_dir() else [path]
        status = [part.stat() for part in parts]
        size, time = sum(each.st_size for each in status), max((each.st_mtime_ns for each in status), default=0)
        found: dict[str, Any] = {"name": path.name, "size": size, "time": time}
        if before is not None and (before.get("size"), before.get("time")) == (found["size"], found["time"]):
            return {**found, "hash": before.get("hash")}
        digest = hashlib.sha256()
        for part, each in zip(parts, status, strict=True):
            digest.update(f"{part.relative_to(path).as_posix()} {each.st_size}".encode())
        for part in parts[:: max(len(parts) // READ, 1)]:
            _hash(part, digest)
    except OSError:  # reading the pair will say it
        return {"name": path.name, "size": None, "time": None, "hash": None}
    return {**found, "hash": digest.hexdigest()[:32]}


def _hash(path: Path, digest: Any) -> None:
    """Hash a small file, or the head, the tail and blocks between of a large one."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= WHOLE:
            digest.update(file.read())
            return
        for block in range(BLOCKS):
            file.seek((size - BLOCK) * block // (BLOCKS - 1))
            digest.update(file.read(BLOCK))


def _change(before: Inputs, now: Inputs) -> str:
    """Return the first difference of two sets of pairs in words; empty where there is none."""
    for name in before:
        if name not in now:
            return f"the pair {name} is gone"
    for name, pair in now.items():
        if name not in before:
            return f"the pair {name} is new"
        then = before[name]
        if then["split"] != pair["split"]:
            return f"the split of {name} was {then['split'] or 'open'} and is {pair['split'] or 'open'}"
        columns = [key for key in {**then["metadata"], **pair["metadata"]} if then["metadata"].get(key) != pair["metadata"].get(key)]
        if columns:
            key = columns[0]
            return f"{key} of {name} was {then['metadata'].get(key, 'open')} and is {pair['metadata'].get(key, 'open')}"
        if [each["name"] for each in then["files"]] != [each["name"] for each in pair["files"]]:
            return f"{name} has other files"
        for old, new in zip(then["files"], pair["files"], strict=True):
            if old["hash"] != new["hash"]:
                return f"{new['name']} has other contents"
    return ""
