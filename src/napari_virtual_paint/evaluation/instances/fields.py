"""Objects of one field: those of each prediction against those of the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.evaluation.context import TRUTH, EvaluationSettings
from napari_virtual_paint.evaluation.instances.matching import (
    AT,
    PREDICTED_STATES,
    THRESHOLDS,
    TRUE_STATES,
    Counts,
    Overlaps,
    curve,
    map_dsb,
    matched,
    overlaps,
    states,
)
from napari_virtual_paint.evaluation.objects import OBJECTS, objects_of

if TYPE_CHECKING:
    from napari_virtual_paint.evaluation.context import FieldImages

Labels = npt.NDArray[np.integer[Any]]

SIDES = ("truth", "prediction")  # columns that locate an object in the list

SCORES = ("f1_0.7", "jaccard", "map_dsb", "jaccard_0.7", "precision_0.7", "recall_0.7", "jaccard_aggregated", "jaccard_pixels")
"""Scores of a field, of all fields pooled, and of their mean; higher is better, at most 1."""

SUMS = ("iou_sum", "shared_matched", "shared", "union")  # terms of the Jaccard indices, summed over fields before they are divided


def tp_column(threshold: float) -> str:
    """Return the name of the column with the number of pairs at an IoU."""
    return f"tp_{threshold:.2f}"


STATE_COLUMNS = tuple(f"true_{state}" for state in TRUE_STATES) + tuple(f"predicted_{state}" for state in PREDICTED_STATES)
"""Numbers of objects by outcome."""

FIELD_COLUMNS = (
    *("field", "well", "object", "source", "n_true", "n_pred"),
    *SCORES,
    *(tp_column(threshold) for threshold in THRESHOLDS),
    *SUMS,
    *STATE_COLUMNS,
    *("segmenter", "version", "stains"),
)
OBJECT_COLUMNS = ("field", "well", "object", "source", "side", "number", "state", "partner", "iou", "area", "y", "x")


def field_rows(images: FieldImages, settings: EvaluationSettings) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Compare the objects of each prediction of a field with the truth's.

    Returns
    -------
    tuple of list of dict
        One row per prediction and kind of object (`FIELD_COLUMNS`), and one per object (`OBJECT_COLUMNS`); empty without object stains.
    """
    truth = objects_of(images, TRUTH, settings)
    fields: list[dict[str, Any]] = []
    listed: list[dict[str, Any]] = []
    for source in images.predictions if truth is not None else ():
        found = objects_of(images, source, settings)
        for kind in OBJECTS:
            if truth is None or found is None or kind not in truth.found:
                continue
            between = overlaps(truth.found[kind], found.found[kind])
            known = {"field": images.key, "well": images.well, "object": kind, "source": source}
            how = {"segmenter": truth.segmenter, "version": truth.version, "stains": ", ".join(truth.stains[kind])}
            became = states(between)
            fields.append({**known, **scores(between), **_state_counts(became), **how})
            listed += [{**known, **row} for row in _objects(between, became, truth.found[kind], found.found[kind])]
            if not len(between.true_areas):
                images.add_note(f"No {kind} are found in the truth.")
    return fields, listed


def scores(between: Overlaps) -> dict[str, Any]:
    """Return one field's counts, sums and scores by the names of `FIELD_COLUMNS`."""
    counted = curve(between)
    rows, columns, iou = matched(between)
    shared = dict(zip(zip(between.rows.tolist(), between.columns.tolist(), strict=True), between.shared.tolist(), strict=True))
    sums = {
        "n_true": len(between.true_areas),
        "n_pred": len(between.predicted_areas),
        "iou_sum": float(iou.sum()),
        "shared_matched": sum(shared[pair] for pair in zip(rows.tolist(), columns.tolist(), strict=True)),
        "shared": int(between.shared.sum()),
        "union": between.union,
        **{tp_column(threshold): each.tp for threshold, each in counted.items()},
    }
    return {**sums, **scores_of(sums)}


def scores_of(sums: Mapping[str, float]) -> dict[str, float | None]:
    """Return the scores of a field, or of many whose counts were summed.

    Parameters
    ----------
    sums
        ``n_true``, ``n_pred``, the ``tp_...`` and those of `SUMS`.

    Returns
    -------
    dict
        ``f1_0.7``, ``precision_0.7``, ``recall_0.7`` and ``jaccard_0.7`` = TP / (TP + FP + FN), at an IoU of 0.7. ``map_dsb``: the mean of
        TP / (TP + FP + FN) over ten IoU (Moshkov 2022, eq. 2). ``jaccard``: the mean over the true objects of the IoU with their partner, 0
        for those without one, matched one to one for the largest sum (Tonks 2024: "instance-wise pixel area quality").
        ``jaccard_aggregated``: the pixels that partners share, over the pixels of all objects (as Cellpose's metrics define it).
        ``jaccard_pixels``: the same without regard to which object is which. None where undefined.
    """
    counted = {threshold: _counts(sums, threshold) for threshold in THRESHOLDS}
    at = counted[AT]
    return {
        "f1_0.7": at.f1,
        "jaccard": sums["iou_sum"] / sums["n_true"] if sums["n_true"] else None,
        "map_dsb": map_dsb(counted),
        "jaccard_0.7": at.jaccard,
        "precision_0.7": at.precision,
        "recall_0.7": at.recall,
        "jaccard_aggregated": sums["shared_matched"] / sums["union"] if sums["union"] else None,
        "jaccard_pixels": sums["shared"] / sums["union"] if sums["union"] else None,
    }


def _counts(sums: Mapping[str, float], threshold: float) -> Counts:
    tp = int(sums[tp_column(threshold)])
    return Counts(tp, int(sums["n_pred"]) - tp, int(sums["n_true"]) - tp)


def counts_of(sums: Mapping[str, float]) -> dict[float, Counts]:
    """Return the counts at each IoU."""
    return {threshold: _counts(sums, threshold) for threshold in THRESHOLDS}


def _state_counts(became: Sequence[npt.NDArray[np.str_]]) -> dict[str, int]:
    true, predicted = became
    out = {f"true_{state}": int((true == state).sum()) for state in TRUE_STATES}
    return {**out, **{f"predicted_{state}": int((predicted == state).sum()) for state in PREDICTED_STATES}}


def _objects(between: Overlaps, became: Sequence[npt.NDArray[np.str_]], truth: Labels, prediction: Labels) -> list[dict[str, Any]]:
    """Return one row per object, with its one-to-one partner (number in the other image, and IoU) where it has one."""
    rows, columns, iou = matched(between)
    numbers = (between.true_numbers, between.predicted_numbers)
    partners = [dict(zip(rows.tolist(), zip(numbers[1][columns].tolist(), iou.tolist(), strict=True), strict=True))]
    partners.append(dict(zip(columns.tolist(), zip(numbers[0][rows].tolist(), iou.tolist(), strict=True), strict=True)))
    out = []
    for side, own, labels, areas, state, partner in zip(
        SIDES, numbers, (truth, prediction), (between.true_areas, between.predicted_areas), became, partners, strict=True
    ):
        centres = _centres(labels, own)
        for i, number in enumerate(own.tolist()):
            other, overlap = partner.get(i, (None, None))
            place = {"y": float(centres[i, 0]), "x": float(centres[i, 1])}
            row = {"side": side, "number": number, "state": str(state[i]), "partner": other, "iou": overlap}
            out.append({**row, "area": int(areas[i]), **place})
    return out


def _centres(labels: Labels, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the center of each object, (n, 2) yx in pixels."""
    flat = labels.ravel()
    top = int(labels.max(initial=0)) + 1
    size = np.bincount(flat, minlength=top)[numbers]
    axes = (np.arange(labels.shape[0])[:, None], np.arange(labels.shape[1])[None])
    sums = [np.bincount(flat, np.broadcast_to(axis, labels.shape).ravel(), minlength=top)[numbers] for axis in axes]
    return np.stack(sums, axis=-1) / np.maximum(size, 1)[:, None]
