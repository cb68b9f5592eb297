"""Store each level's findings, so that a report is written again without computing them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_virtual_paint.evaluation.level import Figure, Findings, Headline
from napari_virtual_paint.evaluation.run.parts import TableStream, storable
from napari_virtual_paint.evaluation.run.store import FieldStore
from napari_virtual_paint.runtime.atomic_write import updating

if TYPE_CHECKING:
    import pandas as pd

DELTAS = "deltas"


def save_findings(store: FieldStore, found: Findings, digest: str) -> None:
    """Store findings; they count once all files are written."""
    level = found.level
    for name, table in found.tables.items():
        _save_table(store, _file(level, f"table.{name}.parquet"), table)
    if found.deltas is not None:
        _save_table(store, _file(level, f"{DELTAS}.parquet"), found.deltas)
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


class StoredTables(Mapping[str, "pd.DataFrame"]):
    """Tables in Parquet files, each read on access.

    Parameters
    ----------
    files
        Name -> file.

    Raises `OSError` where one is missing.
    """

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = files
        for file in files.values():
            file.stat()

    def __getitem__(self, name: str) -> pd.DataFrame:
        import pandas as pd

        return pd.read_parquet(self._files[name])

    def __contains__(self, name: object) -> bool:
        return name in self._files

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def pieces(self, name: str) -> Iterator[pd.DataFrame]:
        """Yield a table in pieces, at least one."""
        import pyarrow.parquet as pq

        with pq.ParquetFile(self._files[name]) as file:
            groups = range(file.num_row_groups)
            for group in groups:
                yield file.read_row_group(group).to_pandas()
            if not groups:
                yield file.read().to_pandas()


def _loaded(folder: Path, level: str, stored: Mapping[str, Any]) -> Findings:
    import pandas as pd

    tables = StoredTables({name: folder / _file(level, f"table.{name}.parquet") for name in stored["tables"]})
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


def _save_table(store: FieldStore, name: str, table: pd.DataFrame | TableStream) -> None:
    """Write a table as Parquet."""
    with updating(store.folder / name) as path:
        if isinstance(table, TableStream):
            table.save(path)
        else:
            storable(table).to_parquet(path, index=False)
