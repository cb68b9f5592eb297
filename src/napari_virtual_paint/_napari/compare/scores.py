"""Scores of pairs of images, computed in a worker: what to score as values, the generator, and the table as text."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt

from napari_virtual_paint._napari.compare.regions import Crop
from napari_virtual_paint.errors import Cancelled, InputError
from napari_virtual_paint.metrics.ceiling import Ceiling, ceiling_of
from napari_virtual_paint.metrics.metric import METRICS
from napari_virtual_paint.metrics.noise import NoiseSource
from napari_virtual_paint.metrics.pixels import MeanScores, Scale, Scores, score_planes
from napari_virtual_paint.runtime.delimited_text import escape_formula
from napari_virtual_paint.stack import Array

MEAN = "Mean"
IN_MEMORY = 512 * 2**20
"""Bytes of both images of a pair up to which they are read once and kept; larger lazy ones are read twice, block by block."""
BLOCK = 64 * 2**20  # bytes of both images read at once, where a file's own chunks are smaller


@dataclass(frozen=True, eq=False)
class ScoreTask:
    """One pair to score."""

    stain: str  # name for the table
    predicted: Any = None
    truth: Any = None  # `predicted` and `truth`: the layers' pixels (level 0), numpy or dask: not read before the worker does
    crop: Crop | None = None  # which of them; None if they can't be compared, and then `reason` says why
    axes: str = "YX"
    """What the last axes of the crop are, a letter of TZYX each; an axis that is no part of a volume is a T, of which there may be many.
    Axes that only one of the layers has are left out (they are one plane)."""
    reason: str = ""  # A sentence for the user
    extra: Mapping[str, float] = field(default_factory=dict)
    """What is known of the prediction already, by name: ``sd``, its mean SD over the passes. Becomes a column."""
    noise: NoiseSource | None = None  # knows the truth's noise; the ceiling of PCC becomes the column ``c_max`` then


@dataclass(frozen=True)
class ScoreRow:
    """Scores of one pair."""

    stain: str  # name for the table
    scores: Scores = field(default_factory=Scores)  # the scores, with the reasons for what is undefined
    moments: tuple[tuple[float, float], tuple[float, float]] | None = None
    """Mean and SD of the predicted and of the true image; None where they are not known."""
    pixels: int = 0  # how many were compared
    extra: Mapping[str, float] = field(default_factory=dict)  # what is known beside the scores, by name
    doubts: Mapping[str, str] = field(default_factory=dict)  # what speaks against a value, by the name of its column

    @property
    def values(self) -> dict[str, float | None]:
        """The scores by name, and what else is known; None where one is undefined."""
        return {**self.scores.to_json(), **self.extra}

    @property
    def reason(self) -> str:
        """Why something is undefined; empty where nothing is."""
        return " ".join(self.scores.reasons)


def score_tasks(
    tasks: Sequence[ScoreTask], scale: Scale, stopped: Callable[[], bool] = lambda: False
) -> Generator[ScoreRow, None, tuple[ScoreRow, ...]]:
    """Score pairs one by one; each yield is a row of the table and a place to cancel.

    Parameters
    ----------
    scale
        ``zscore``: each image to mean 0 and SD 1 first, over the pixels compared; ``raw``: as they are.
    stopped
        Asked before each plane; where it says yes the work ends with `Cancelled`.
    """
    rows = []
    for task in tasks:
        rows.append(_score(task, scale, stopped))
        yield rows[-1]
    return tuple(rows)


def crop_pair(task: ScoreTask) -> tuple[Array, Array]:
    """Return the pixels that two layers share, axes TZYX, still lazy where the layers are.

    Raises `InputError` if they can't be compared; the sentence says why.
    """
    if task.crop is None:
        raise InputError(task.reason or "Choose a true layer to compare with.")
    predicted, truth = (
        _tzyx(image[part], task.axes) for image, part in ((task.predicted, task.crop.predicted), (task.truth, task.crop.truth))
    )
    return predicted, truth


def _tzyx(image: Array, axes: str) -> Array:
    """Bring axes into the order TZYX; those before `axes` are one plane, and all T become one axis."""
    image = image.reshape(image.shape[-len(axes) :])
    moved = image.transpose(sorted(range(len(axes)), key=lambda axis: "TZYX".index(axes[axis])))
    letters = sorted(axes, key="TZYX".index)
    lengths = {letter: 1 for letter in "TZYX"}
    for letter, length in zip(letters, moved.shape, strict=True):
        lengths[letter] *= int(length)
    return moved.reshape(tuple(lengths.values()))


def _score(task: ScoreTask, scale: Scale, stopped: Callable[[], bool]) -> ScoreRow:
    """Score one pair; what can't be compared is a row with a reason, not an error."""
    try:
        predicted, truth = crop_pair(task)
        lazy = not (isinstance(predicted, np.ndarray) and isinstance(truth, np.ndarray))
        if lazy and predicted.nbytes + truth.nbytes <= IN_MEMORY:
            predicted, truth, lazy = np.asarray(predicted), np.asarray(truth), False
        found = score_planes(lambda: (_planes(predicted[t], truth[t], stopped) for t in range(len(truth))), truth.shape[1], scale)
        moments = None if lazy else (_moments(predicted), _moments(truth))
        ceiling = None if task.noise is None else ceiling_of(truth, task.noise.of(task.stain, truth), found.pcc)
    except InputError as error:
        return ScoreRow(task.stain, Scores(reasons=(str(error),)), extra=task.extra)
    row = ScoreRow(task.stain, found, moments, int(np.prod(truth.shape)), task.extra)
    return row if ceiling is None else _with_ceiling(row, ceiling)


def _with_ceiling(row: ScoreRow, ceiling: Ceiling) -> ScoreRow:
    """Add the ceiling's column, and what speaks against it."""
    extra = row.extra if ceiling.value is None else {"c_max": ceiling.value, **row.extra}
    doubts = {"c_max": " ".join(ceiling.notes)} if ceiling.notes else {}
    return replace(row, extra=extra, doubts=doubts)


def _planes(predicted: Array, truth: Array, stopped: Callable[[], bool]) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    """Read two volumes (ZYX) block by block, along the chunks of lazy ones, and yield their planes."""
    chunks = [int(image.chunksize[0]) for image in (predicted, truth) if isinstance(image, da.Array)]
    a_plane = max(1, (predicted.nbytes + truth.nbytes) // max(1, len(truth)))
    step = max(1, BLOCK // a_plane, *chunks)
    for start in range(0, len(truth), step):
        block = [np.asarray(image[start : start + step]) for image in (predicted, truth)]
        for pair in zip(*block, strict=True):
            if stopped():
                raise Cancelled("Comparing was stopped.")
            yield pair


def _moments(pixels: npt.NDArray[Any]) -> tuple[float, float]:
    """Return mean and SD of the finite pixels; NaN where there is none."""
    good = pixels[np.isfinite(pixels)] if pixels.dtype.kind == "f" else pixels
    return (float(good.mean(dtype=np.float64)), float(good.std(dtype=np.float64))) if good.size else (float("nan"), float("nan"))


def mean_row(rows: Sequence[ScoreRow]) -> ScoreRow:
    """Return the mean of every metric over the stains where it is defined."""
    total = MeanScores()
    for row in rows:
        total.update(row.scores)
    known = {name: [row.extra[name] for row in rows if name in row.extra] for name in extras(rows)}
    return ScoreRow(MEAN, total.compute(), extra={name: sum(values) / len(values) for name, values in known.items()})


def extras(rows: Sequence[ScoreRow]) -> tuple[str, ...]:
    """Return the names of what is known of some row beside its scores."""
    return tuple(dict.fromkeys(name for row in rows for name in row.extra))


def extremes(rows: Sequence[ScoreRow], name: str) -> tuple[int | None, int | None]:
    """Return the positions of the best and the worst row of a metric; None where fewer than two differ."""
    known = [(value, index) for index, row in enumerate(rows) if (value := row.values[name]) is not None]
    if len({value for value, _ in known}) < 2:
        return None, None
    low, high = min(known)[1], max(known)[1]
    return (high, low) if METRICS[name].good == "high" else (low, high)


def as_text(rows: Sequence[ScoreRow], delimiter: str = "\t", **columns: str) -> str:
    """Return rows as a table with full precision; undefined is empty.

    Parameters
    ----------
    rows
        The rows, the mean among them if it is wanted.
    delimiter
        Tab for the clipboard (spreadsheets take it), comma for a file.
    columns
        Further columns with the same value in each row, as ``scope="this plane"``.
    """
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    names = (*METRICS, *extras(rows))
    writer.writerow(["stain", *(name.upper() for name in names), "note", *columns])
    for row in rows:
        numbers = ["" if (value := row.values.get(name)) is None else repr(value) for name in names]
        writer.writerow([*map(escape_formula, (row.stain, *numbers, row.reason, *columns.values()))])
    return out.getvalue()
