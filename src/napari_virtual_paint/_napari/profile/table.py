"""The table of the Profile dock: one row per well and source of a report, with position, known values and profile. No Qt."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.errors import InputError, ReadError
from napari_virtual_paint.evaluation.report_files import ABOUT, EMBEDDING, PROFILES, TABLES
from napari_virtual_paint.evaluation.scale import TRUTH
from napari_virtual_paint.runtime.delimited_text import escape_formulas, unescape_formulas
from napari_virtual_paint.runtime.json_file import read_object

if TYPE_CHECKING:
    import pandas as pd

MAPS: Mapping[str, tuple[str, str]] = {"umap": ("UMAP 1", "UMAP 2"), "pca": ("PC 1", "PC 2")}  # map -> names of its axes
PLACES = tuple(f"{name}_{axis}" for name in MAPS for axis in (1, 2))
COSINE = "cosine with the truth"
SCORES = (
    ("pixels_fields.csv", "stain", {"pcc": "PCC {}", "foreground_pcc": "PCC {} in the foreground", "ssim": "SSIM {}"}),
    ("instances_fields.csv", "object", {"f1_0.7": "F1 of {} at IoU 0.7"}),
)
"""Tables with scores of fields: file, column that names what is scored, and columns -> name of the mean over a well's fields."""
USUAL = ("source", "treatment", "batch", "plate")  # columns that come first among the colours

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ProfileTable:
    """The wells of a report."""

    report: Path  # the report's folder
    wells: tuple[str, ...]
    sources: tuple[str, ...]
    """`wells` and `sources`: well and source (``truth`` or a prediction's name) of each row; rows of the truth come first."""
    names: tuple[str, ...]  # the sources, ``truth`` first
    places: Mapping[str, Floats]
    """Map (``umap``, ``pca``) -> positions, float32 (n, 2), NaN where a well has none; only maps that the report has."""
    columns: Mapping[str, tuple[Any, ...]]  # name -> one value per row, None where it is not known
    vectors: Floats | None = None
    """float32 (n, p): selected normalised features, scaled to length 1; NaN in rows without a profile. None if the report has no
    profiles."""
    truth: str = ""
    plate_map: str = ""
    """`truth` and `plate_map`: paths of the true images and of their plate map; empty where the report does not name them."""
    predictions: Mapping[str, str] = field(default_factory=dict)  # name of a prediction -> path of its images

    def __len__(self) -> int:
        return len(self.wells)

    @cached_property
    def by_well(self) -> Mapping[str, tuple[int, ...]]:
        """Well -> its rows, in all sources."""
        found: dict[str, list[int]] = {}
        for row, well in enumerate(self.wells):
            found.setdefault(well, []).append(row)
        return {well: tuple(rows) for well, rows in found.items()}

    @cached_property
    def numbers(self) -> npt.NDArray[np.intp]:
        """Index of each row's source in `names`."""
        at = {name: number for number, name in enumerate(self.names)}
        return np.array([at[source] for source in self.sources], np.intp)

    def rows_of(self, wells: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Return a mask of the rows of some wells, in all sources."""
        found = np.zeros(len(self), bool)
        found[[row for well in wells for row in self.by_well.get(well, ())]] = True
        return found

    def wells_of(self, rows: npt.NDArray[Any]) -> tuple[str, ...]:
        """Return the wells of some rows (indices or a mask), each once, in the order of the table."""
        return tuple(dict.fromkeys(self.wells[row] for row in np.arange(len(self))[rows]))

    def row(self, well: str, source: str) -> int:
        """Return the row of a well in a source; -1 where there is none."""
        return next((row for row in self.by_well.get(well, ()) if self.sources[row] == source), -1)

    def facts(self, row: int) -> list[tuple[str, str]]:
        """Return the known values of a row, as names and texts."""
        return [(name.removeprefix("Metadata_"), as_text(values[row])) for name, values in self.columns.items() if as_text(values[row])]

    def images_of(self, row: int) -> str:
        """Return the path of the predicted stains of a row; of a row of the truth, those of the first prediction."""
        if not self.predictions:
            return ""
        source = self.sources[row]
        return self.predictions[source if source in self.predictions else next(iter(self.predictions))]

    def wells_without_place(self) -> dict[str, int]:
        """Return source -> number of its wells without a position on any map, where there are any."""
        nowhere = np.isnan(np.concatenate(list(self.places.values()), axis=1)).all(axis=1)
        counts = {name: int((nowhere & (self.numbers == number)).sum()) for number, name in enumerate(self.names)}
        return {name: count for name, count in counts.items() if count}

    def similarity(self, row: int, other: int) -> float | None:
        """Return the cosine similarity of two rows' profiles; None where one has none."""
        if self.vectors is None or row < 0 or other < 0:
            return None
        found = float(self.vectors[row] @ self.vectors[other])
        return found if math.isfinite(found) else None

    def nearest(self, row: int, among: str = "", count: int = 10) -> list[tuple[int, float]]:
        """Return the rows with the most similar profiles, the most similar first, with their cosine similarity.

        Parameters
        ----------
        row
            The row to compare with; it is left out.
        among
            The source to search; all sources where empty.
        count
            Largest number of rows.
        """
        if self.vectors is None:
            return []
        similarity = self.vectors @ self.vectors[row]
        similarity[row] = np.nan
        if among:
            similarity[self.numbers != self.names.index(among)] = np.nan
        known = np.flatnonzero(np.isfinite(similarity))
        order = known[np.argsort(-similarity[known], kind="stable")][:count]
        return [(int(each), float(similarity[each])) for each in order]


def read_profiles(report: str | Path) -> ProfileTable:
    """Read the profiles of a report (on a worker).

    Parameters
    ----------
    report
        The folder that ``virtual-paint evaluate --level profiles -o`` wrote.

    Raises
    ------
    InputError
        If it is no report, or one without profiles; the sentence says what to run.
    ReadError
        If a file of it is damaged.
    """
    folder = Path(report)
    if folder.is_file():
        folder = folder.parent  # report.html itself was chosen
    if not (folder / TABLES / EMBEDDING).is_file():
        raise InputError(_no_profiles(folder))
    request = read_request(folder)
    frame = _read_embedding(folder / TABLES / EMBEDDING)
    sources = frame["source"].astype(str).tolist()
    names = (*((TRUTH,) if TRUTH in sources else ()), *dict.fromkeys(name for name in sources if name != TRUTH))
    order = np.argsort([names.index(name) for name in sources], kind="stable")
    frame = frame.iloc[order].reset_index(drop=True)
    places = {}
    for name in MAPS:
        if {f"{name}_1", f"{name}_2"} <= set(frame.columns):
            found = frame[[f"{name}_1", f"{name}_2"]].to_numpy(np.float32)
            if np.isfinite(found).any():
                places[name] = found
    if not places:
        raise InputError(f"{folder}: none of its wells has a place on a map; a map needs three wells with cells or more.")
    frame = frame.drop(columns=[name for name in PLACES if name in frame.columns])
    vectors = _read_vectors(folder / PROFILES, frame)
    if vectors is not None:
        # A well without cells has a profile of zeros: its position on a map would mean nothing.
        empty = np.isnan(vectors[:, 0])
        places = {name: np.where(empty[:, None], np.float32(np.nan), found) for name, found in places.items()}
        if TRUTH in names:
            frame[COSINE] = _like_truth(vectors, frame)
    frame = _with_scores(frame, folder / TABLES)
    return ProfileTable(
        folder,
        tuple(frame["well"].astype(str)),
        tuple(frame["source"].astype(str)),
        names,
        places,
        {name: tuple(_plain(value) for value in frame[name]) for name in _in_order(frame.columns)},
        vectors,
        _path(request.get("truth")),
        _path(request["asked"].get("plate map")) if isinstance(request.get("asked"), Mapping) else "",
        predictions_of(request),
    )


def read_request(folder: Path) -> Mapping[str, Any]:
    """Return the request that a report answers (``evaluation.json``); empty where it can't be read."""
    return read_object(folder / ABOUT) or {}


def predictions_of(request: Mapping[str, Any]) -> dict[str, str]:
    """Return name -> path of the predictions of a report's request."""
    found = request.get("predictions")
    if not isinstance(found, Mapping):
        return {}
    return {str(name): _path(path) for name, path in found.items() if _path(path)}


def _no_profiles(folder: Path) -> str:
    if not (folder / "report.json").is_file():
        return f"{folder}: it is no report; open a folder that `virtual-paint evaluate … --level profiles -o REPORT` wrote."
    return f"{folder}: this report has no profiles; run `virtual-paint evaluate` again with `--level profiles` and a new folder for `-o`."


def _read_embedding(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        frame = pd.read_csv(path, dtype={"source": str, "well": str, "treatment": str, "batch": str, "plate": str})
        frame = unescape_formulas(frame)
        frame[[name for name in PLACES if name in frame.columns]].to_numpy(np.float32)
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise ReadError(path, "it is damaged; evaluate again") from error
    missing = [name for name in ("source", "well") if name not in frame.columns]
    if missing or not len(frame):
        raise ReadError(path, f"it has no {f'column {missing[0]!r}' if missing else 'row'}; evaluate again")
    return frame


def _read_vectors(path: Path, frame: pd.DataFrame) -> Floats | None:
    """Return the profiles in the order of the rows, each scaled to length 1; None where the report has none."""
    import pandas as pd

    if not path.is_file():
        return None
    try:
        found = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise ReadError(path, "it is damaged; evaluate again") from error
    known = {*frame.columns, *PLACES, "source", "well"}
    features = [
        name for name in found.columns if name not in known and found[name].dtype.kind in "fiu" and not name.startswith("Metadata_")
    ]
    if not features or not {"source", "well"} <= set(found.columns):
        return None
    keys = pd.MultiIndex.from_frame(found[["source", "well"]].astype(str))
    at = keys.drop_duplicates().get_indexer(pd.MultiIndex.from_frame(frame[["source", "well"]].astype(str)))
    values = found.loc[~keys.duplicated(), features].to_numpy(np.float32)
    values = np.nan_to_num(values, nan=0.0)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    values = np.divide(values, lengths, out=np.full_like(values, np.nan), where=lengths > 0)
    return np.where((at >= 0)[:, None], values[at], np.float32(np.nan))


def _with_scores(frame: pd.DataFrame, tables: Path) -> pd.DataFrame:
    """Add the scores of other levels, as far as the report has them: means over the fields of each well."""
    import pandas as pd

    for name, of, scores in SCORES:
        try:
            found = pd.read_csv(tables / name, usecols=["field", "well", "source", of, *scores], dtype={"field": str, "well": str})
        except (OSError, ValueError):
            continue
        found = unescape_formulas(found)
        found["well"] = found["well"].fillna(found["field"])  # a field that is on no plate counts as a well
        wide = found.groupby(["source", "well", of], sort=False)[list(scores)].mean().unstack(of)
        wide.columns = [scores[score].format(what) for score, what in wide.columns]
        frame = frame.join(wide.dropna(axis=1, how="all"), on=["source", "well"])
    return frame


def _like_truth(vectors: Floats, frame: pd.DataFrame) -> Floats:
    """Return the cosine similarity of each row's profile with the truth's of the same well; NaN for the truth itself."""
    truth = (frame["source"] == TRUTH).to_numpy()
    at = {well: row for row, well in enumerate(frame["well"]) if truth[row]}
    of = np.array([at.get(well, -1) for well in frame["well"]])
    found = np.einsum("ij,ij->i", vectors, vectors[of])
    return np.where(truth | (of < 0), np.float32(np.nan), found)


def _in_order(columns: Sequence[Any]) -> list[str]:
    names = [str(name) for name in columns]
    first = [name for name in USUAL if name in names]
    return [*first, *(name for name in names if name not in first)]


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and math.isnan(value) else value


def _path(found: Any) -> str:
    """Return a path in a report: plain text, or the ``path`` of a source's description; empty where there is none."""
    if isinstance(found, Mapping):
        found = found.get("path")
    return found if isinstance(found, str) else ""


def as_text(value: Any) -> str:
    """Return a value as text; empty where it is not known."""
    if value is None:
        return ""
    if isinstance(value, float):
        return str(int(value)) if value == int(value) and abs(value) < 1e15 else f"{value:.4g}"
    return str(value)


def write_rows(table: ProfileTable, rows: npt.NDArray[Any], path: Path) -> Path:
    """Write some rows as CSV, atomically: their known values and positions on the maps.

    Raises `WriteError` if it can't be written.
    """
    import pandas as pd

    from napari_virtual_paint.runtime.atomic_write import replacing
    from napari_virtual_paint.writing.api import as_write_errors

    chosen = np.arange(len(table))[rows]
    frame = pd.DataFrame({"well": [table.wells[row] for row in chosen], "source": [table.sources[row] for row in chosen]})
    for name, values in table.columns.items():
        frame[name] = [values[row] for row in chosen]
    for name, places in table.places.items():
        frame[f"{name}_1"], frame[f"{name}_2"] = places[chosen].T
    with as_write_errors(path), replacing(path, overwrite=True) as beside:
        escape_formulas(frame).to_csv(beside, index=False)
    return path
