"""A level's findings kept as plain files: a finished report is read back, not worked out again."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from napari_virtual_paint.evaluation.level import Figure, Findings, Headline
from napari_virtual_paint.evaluation.run.store import Store

DELTAS = "deltas"


def save_findings(store: Store, found: Findings, digest: str) -> None:
    """Keep findings; they count once all of it is there."""
    level = found.level
    for name, frame in found.tables.items():
        store.save_frame(_file(level, f"table.{name}.parquet"), frame)
    if found.deltas is not None:
        store.save_frame(_file(level, f"{DELTAS}.parquet"), found.deltas)
    pictures = {f"{i}.{j}": array for i, figure in enumerate(found.figures) for j, (_, _, array) in enumerate(figure.images)}
    with store.beside(_file(level, "images.npz")) as path:
        content = io.BytesIO()
        np.savez_compressed(content, allow_pickle=False, **pictures)
        path.write_bytes(content.getvalue())
    told = {
        "digest": digest,
        "section": found.section,
        "others": found.others,
        "deltas": found.deltas is not None,
        "tables": list(found.tables),
        "figures": [_plain(figure) for figure in found.figures],
        "headline": [vars(each) for each in found.headline],
        "notes": found.notes,
    }
    store.save_json(_file(level, "json"), told)


def load_findings(store: Store, level: str, digest: str) -> Findings | None:
    """Return what is kept of a level; None where there is nothing, it was worked out from something else, or it can't be read."""
    told = store.load_json(_file(level, "json"))
    if not isinstance(told, Mapping) or told.get("digest") != digest:
        return None
    try:
        return _loaded(store.folder, level, told)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _loaded(folder: Path, level: str, told: Mapping[str, Any]) -> Findings:
    import pandas as pd

    tables = {name: pd.read_parquet(folder / _file(level, f"table.{name}.parquet")) for name in told["tables"]}
    with np.load(folder / _file(level, "images.npz"), allow_pickle=False) as kept:
        figures = tuple(_figure(each, i, kept) for i, each in enumerate(told["figures"]))
    return Findings(
        level=level,
        section=told["section"],
        others=told["others"],
        deltas=pd.read_parquet(folder / _file(level, f"{DELTAS}.parquet")) if told["deltas"] else None,
        tables=tables,
        figures=figures,
        headline=tuple(Headline(**each) for each in told["headline"]),
        notes=tuple(told["notes"]),
    )


def _plain(figure: Figure) -> dict[str, Any]:
    return {**vars(figure), "images": [(label, caption) for label, caption, _ in figure.images]}


def _figure(told: Mapping[str, Any], number: int, kept: Any) -> Figure:
    images = tuple((label, caption, kept[f"{number}.{j}"]) for j, (label, caption) in enumerate(told["images"]))
    return Figure(**{**told, "images": images})


def _file(level: str, name: str) -> str:
    """Return a name that is none of a field's: those have no dot in front of the level."""
    return f"findings.{level}.{name}"
