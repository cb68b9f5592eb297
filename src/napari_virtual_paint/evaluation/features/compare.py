"""Truth and predictions feature by feature: over wells and over cells, inside the truth's masks and inside the prediction's own."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_virtual_paint.cells.cellprofiler_names import Feature, parse
from napari_virtual_paint.evaluation.context import TRUTH, Context
from napari_virtual_paint.evaluation.features.correlation import LEAST, Bools, Correlations, Groups, correlate, resamples
from napari_virtual_paint.evaluation.features.importance import Errors, Forest, informative, nmae
from napari_virtual_paint.evaluation.features.measure import IMAGES, OWN
from napari_virtual_paint.evaluation.features.select import Selection, truth_of
from napari_virtual_paint.evaluation.level import Progress
from napari_virtual_paint.evaluation.statistics import FEW, Floats

if TYPE_CHECKING:
    import pandas as pd

MOST_CELLS = 10_000
"""Cells that are compared, at most; of more, so many are drawn."""

SHAPE = "AreaShape"
"""Features that a shared mask makes equal."""

Place = tuple[str, str]
"""What is correlated over (``wells``, ``cells``) and whose masks (``truth``, ``own``)."""


@dataclass(frozen=True, eq=False)
class Values:
    """The values that are compared: the same rows in the truth and in each prediction.

    Parameters
    ----------
    rows
        What each row is: columns ``field``, ``object`` and ``well`` of cells, else ``well`` (the field's key where it has none).
    values
        Source -> (n, p).
    groups
        What a resample draws together, (n,).
    drawn
        Its name: ``wells``, ``fields`` or ``cells``.
    """

    rows: pd.DataFrame
    values: Mapping[str, Floats]
    groups: Groups
    drawn: str


@dataclass(frozen=True, eq=False)
class Compared:
    """All that was compared.

    Parameters
    ----------
    features
        The p names, taken apart.
    values
        Over what and in whose masks -> the values; only what can be compared.
    correlations
        Prediction -> the same places -> correlations.
    main
        The place that the figures at the top are of; None where nothing can be compared.
    forest
        The most informative features; None where none could be found.
    errors
        Prediction -> N-MAE of the forest's features, in their order.
    weights
        Place -> how often each group was drawn in each resample.
    notes
        What a reader should know.
    """

    features: tuple[Feature, ...]
    values: Mapping[Place, Values]
    correlations: Mapping[str, Mapping[Place, Correlations]]
    main: Place | None
    forest: Forest | None
    errors: Mapping[str, Errors]
    notes: tuple[str, ...]

    def counted(self, place: Place) -> Bools:
        """Return which features count in medians: in shared masks no shapes."""
        return np.array([place[1] == OWN or feature.group != SHAPE for feature in self.features], bool)


def compare(
    tables: Mapping[str, pd.DataFrame], selection: Selection, cells: pd.DataFrame, context: Context
) -> Generator[Progress, None, Compared]:
    """Compare the features that were chosen.

    Parameters
    ----------
    tables
        ``features_images``.
    selection
        The features.
    cells
        ``features_cells``, at least the columns that are compared.
    context
        What was asked and is known.
    """
    names = selection.kept
    features = tuple(parse(name, context.stains) for name in names)
    values, notes = _values(tables, cells, names, context)
    total = 2 + len(context.predictions) * len(values)
    seed, number = context.settings.seed, context.settings.bootstrap
    found: dict[str, dict[Place, Correlations]] = {source: {} for source in context.predictions}
    done = 0
    for place, each in values.items():
        weights = resamples(each.groups, seed, number)
        for source in context.predictions:
            yield done, total, f"Features: {source} over {place[0]}."
            if source in each.values:
                found[source][place] = correlate(each.values[TRUTH], each.values[source], each.groups, weights)
            done += 1
    yield done, total, "Features: the most informative ones."
    forest = informative(truth_of(cells), [each.name for each in features if each.group != SHAPE], context)
    errors = {}
    if forest is not None and ("cells", TRUTH) in values:
        each = values["cells", TRUTH]
        picked = [names.index(name) for name in forest.features]
        weights = resamples(each.groups, seed, number)
        made = {source: each.values[source][:, picked] for source in context.predictions}
        errors = {source: nmae(each.values[TRUTH][:, picked], value, each.groups, weights) for source, value in made.items()}
    main = next((place for place in (("wells", TRUTH), ("cells", TRUTH)) if place in values), None)
    return Compared(features, values, found, main, forest, errors, tuple(notes))


def _values(
    tables: Mapping[str, pd.DataFrame], cells: pd.DataFrame, names: Sequence[str], context: Context
) -> tuple[dict[Place, Values], list[str]]:
    """Return what can be compared, and why the rest can't."""
    found: dict[Place, Values] = {}
    notes = []
    images = tables[IMAGES]
    for masks in (TRUTH, OWN):
        wells = _of_wells(images, masks, names, context)
        if len(wells.rows) >= LEAST:
            found["wells", masks] = wells
    count = len(_of_wells(images, TRUTH, names, context).rows)
    if count < LEAST:
        what = "This is one field" if count == 1 else f"{count} wells are too few to correlate over"
        notes.append(f"{what}: features are correlated over cells alone, in the truth's masks.")
    shared, told = _of_cells(cells, names, context)
    if len(shared.rows) >= LEAST:
        found["cells", TRUTH] = shared
        notes += told
    elif names:
        notes.append(f"With {len(shared.rows)} cells nothing can be correlated over cells; {LEAST} are needed.")
    return found, notes


def _units(table: pd.DataFrame) -> pd.Series:
    """Return the well of each row, or its field where it is in none."""
    wells = table["well"].fillna("").astype(str)
    return wells.where(wells != "", table["field"].astype(str))


def _of_wells(images: pd.DataFrame, masks: str, names: Sequence[str], context: Context) -> Values:
    """Return the means of the wells' images."""
    import pandas as pd

    found = {}
    for source in context.sources:
        part = images[(images["source"] == source) & (images["masks"] == (TRUTH if source == TRUTH else masks))]
        found[source] = part[list(names)].astype(np.float64).groupby(_units(part).to_numpy(), sort=False).mean()
    truth = found[TRUTH]
    truth = truth[truth.notna().any(axis=1)]
    values = {source: each.reindex(truth.index).to_numpy(np.float64) for source, each in found.items()}
    return Values(pd.DataFrame({"well": truth.index}), values, np.arange(len(truth)), "wells")


def _of_cells(cells: pd.DataFrame, names: Sequence[str], context: Context) -> tuple[Values, list[str]]:
    """Return the cells in the truth's masks, and what is to be said of them; a resample draws wells, or fields, where there are six."""
    keys, notes = ["field", "object"], []
    truth = truth_of(cells)
    if len(truth) > MOST_CELLS:
        notes.append(f"Over cells, {MOST_CELLS:,} of the {len(truth):,} cells were drawn and compared.")
        truth = truth.sample(MOST_CELLS, random_state=context.settings.seed).sort_index()
    rows = truth[[*keys, "well"]].reset_index(drop=True)
    wanted = truth.set_index(keys).index
    values = {TRUTH: truth[list(names)].to_numpy(np.float64)}
    for source in context.predictions:
        part = cells[(cells["source"] == source) & (cells["masks"] == TRUTH)]
        values[source] = part.set_index(keys)[list(names)].reindex(wanted).to_numpy(np.float64)
    for drawn, units in (("wells", _units(truth)), ("fields", truth["field"])):
        known, groups = np.unique(units.to_numpy().astype(str), return_inverse=True)
        if len(known) >= FEW:
            return Values(rows, values, groups.astype(np.intp), drawn), notes
    return Values(rows, values, np.arange(len(rows)), "cells"), notes
