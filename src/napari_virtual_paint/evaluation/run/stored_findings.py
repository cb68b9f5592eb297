"""Store each level's findings, so that a report is written again without computing them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_virtual_paint.evaluation.level import Figure, Findings, Headline
from napari_virtual_paint.evaluation.run.parts import storable
from napari_virtual_paint.evaluation.run.store import FieldStore
from napari_virtual_paint.runtime.atomic_write import updating

if TYPE_CHECKING:
    import pandas as pd

DELTAS = "deltas"


def save_findings(store: FieldStore, found: Findings, digest: str) -> None:
    """Store findings; they count once all files are written."""
    level = found.level
    for name, frame in found.tables.items():
        _save_frame(store, _file(level, f"table.{name}.parquet"), frame)
    if found.deltas is not None:
        _save_frame(store, _file(level, f"{DELTAS}.parquet"), found.deltas)
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


def _save_frame(store: FieldStore, name: str, frame: pd.DataFrame) -> None:
    """Write a table as Parquet."""
    with updating(store.folder / name) as path:
        storable(frame).to_parquet(path, index=False)
