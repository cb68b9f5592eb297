"""Level "instances": nuclei and cells of truth and prediction, matched one to one (Tonks et al. 2024, level 2; Moshkov 2022, eq. 2)."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_virtual_paint.counting.learned import segmenter_of
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.evaluation.instances.fields import (
    FIELD_COLUMNS,
    OBJECT_COLUMNS,
    SCORES,
    SIDES,
    STATE_COLUMNS,
    SUMS,
    counts_of,
    field_rows,
    scores_of,
    tp_column,
)
from napari_virtual_paint.evaluation.instances.matching import PREDICTED_STATES, THRESHOLDS, TRUE_STATES, Counts
from napari_virtual_paint.evaluation.instances.pictures import overlay_figures
from napari_virtual_paint.evaluation.level import Figure, Findings, Headline, LevelProgress, Tables, split_rows, whole_table
from napari_virtual_paint.evaluation.objects import OBJECTS
from napari_virtual_paint.evaluation.paired_deltas import deltas, values
from napari_virtual_paint.evaluation.statistics import spread, written
from napari_virtual_paint.metrics.metric import Good
from napari_virtual_paint.runtime.running_stats import pearson

if TYPE_CHECKING:
    import pandas as pd

    from napari_virtual_paint.evaluation.context import Context, FieldImages

FIELDS, LISTED = "instances_fields", "instances_objects"  # tables: one row per field, prediction and kind of object, and one per object

COUNTED = ("n_true", "n_pred", *(tp_column(threshold) for threshold in THRESHOLDS), *SUMS, *STATE_COLUMNS)
"""Columns that are summed over fields."""


@dataclass(frozen=True)
class Instances:
    """Compare the objects found in predictions with those of the truth; see `matching`."""

    name: str = "instances"
    needs: tuple[str, ...] = ()

    def check(self, context: Context) -> None:
        """Raise `InputError` where a named stain is missing, or Cellpose is requested but not installed."""
        segmenter_of(context.settings.segmenter)
        for option, stain in (("--nuclei", context.settings.nuclei), ("--cells", context.settings.cells)):
            if stain is not None and stain.casefold().strip() not in [each.casefold().strip() for each in context.stains]:
                raise InputError(
                    f"There is no stain {stain!r} ({option}) in both truth and prediction; there are {', '.join(context.stains)}."
                )

    def field(self, images: FieldImages, context: Context) -> Tables:
        """Return one field's counts and scores, and its objects."""
        return self.fields([images], context)[0]

    def fields(self, images: Sequence[FieldImages], context: Context) -> list[Tables]:
        """Return the tables of several fields, which are made at once."""
        import pandas as pd

        found = [field_rows(each, context.settings) for each in images]
        fields = [row for rows, _ in found for row in rows]
        listed = [row for _, rows in found for row in rows]
        table = pd.DataFrame(fields, columns=list(FIELD_COLUMNS))
        numbers: dict[str, Any] = {**dict.fromkeys(COUNTED, float), **dict.fromkeys(SCORES, float)}
        objects = pd.DataFrame(listed, columns=list(OBJECT_COLUMNS))
        kinds: dict[str, Any] = {**dict.fromkeys(("number", "partner", "area"), "Int64"), **dict.fromkeys(("iou", "y", "x"), float)}
        tables = split_rows(table.astype(numbers), [len(rows) for rows, _ in found])
        lists = split_rows(objects.astype(kinds), [len(rows) for _, rows in found])
        return [{FIELDS: one, LISTED: other} for one, other in zip(tables, lists, strict=True)]

    def summary(self, tables: Tables, context: Context) -> Generator[LevelProgress, None, Findings]:
        """Return the scores of all fields pooled and their spread over fields, deltas between predictions, and the figures."""
        table = tables[FIELDS]
        total = len(context.predictions) + 2
        kinds = [kind for kind in OBJECTS if (table["object"] == kind).any()]
        sections: dict[str, dict[str, Any]] = {}
        for done, source in enumerate(context.predictions):
            yield done, total, f"Instances: {source}."
            own = table[table["source"] == source]
            sections[source] = {kind: _section(own[own["object"] == kind], context) for kind in kinds}
        yield total - 2, total, "Instances: differences between predictions." if len(context.predictions) > 1 else ""
        compared = _deltas(tables, context) if len(context.predictions) > 1 and kinds else None
        yield total - 1, total, "Instances: best and worst fields."
        pictures = overlay_figures(table, context) if kinds else []
        main, *others = context.predictions
        return Findings(
            "instances",
            sections[main],
            {name: sections[name] for name in others},
            compared,
            _tables(tables, sections, context),
            (*(_figures() if kinds else ()), *pictures),
            tuple(_headlines(sections, kinds)),
            tuple(_notes(table, context)),
        )


INSTANCES = Instances()


def _section(part: pd.DataFrame, context: Context) -> dict[str, Any]:
    """Return the scores of one kind of object in one prediction.

    Flat and pooled over all fields, so that each object has the same weight; but ``map_dsb`` is the mean over fields, as Moshkov averages
    over images. ``per_field`` has mean, SD and interval of each score over fields, ``curve`` the pooled scores at each IoU.
    """
    sums = {name: float(part[name].sum()) for name in COUNTED}
    pooled = scores_of(sums)
    wells = part["well"].to_numpy()
    over = {name: spread(part[name], wells, seed=context.settings.seed, n=context.settings.bootstrap) for name in SCORES}
    flat: dict[str, Any] = {}
    for name, each in over.items():
        flat.update(each.to_json(name))
    return {
        **pooled,
        "map_dsb": over["map_dsb"].mean,
        "map_dsb_pooled": pooled["map_dsb"],
        "n_true": int(sums["n_true"]),
        "n_pred": int(sums["n_pred"]),
        "count_correlation": _correlation(part["n_true"].to_numpy(float), part["n_pred"].to_numpy(float)),
        **{name: int(sums[name]) for name in STATE_COLUMNS},
        "segmenter": " and ".join(dict.fromkeys(part["segmenter"])),
        "segmenter_version": " and ".join(dict.fromkeys(part["version"])),
        "gamma": context.settings.gamma,
        "stains": " and ".join(dict.fromkeys(part["stains"])),
        "per_field": {**flat, "n": over["f1_0.7"].n},
        "curve": {f"{threshold:.2f}": _scores(each) for threshold, each in counts_of(sums).items()},
    }


def _scores(counted: Counts) -> dict[str, float | None]:
    return {name: getattr(counted, name) for name in ("f1", "precision", "recall", "jaccard")}


def _correlation(true: np.ndarray[Any, Any], predicted: np.ndarray[Any, Any]) -> float | None:
    """Return Pearson's correlation of the object counts over fields; None with fewer than three, or constant counts."""
    r = pearson(true, predicted)
    return None if len(true) < 3 or np.isnan(r) else r


def _deltas(tables: Tables, context: Context) -> pd.DataFrame:
    """Compare predictions over wells or fields; for a single field also by the IoU of the true objects with their partners."""
    import pandas as pd

    metrics: dict[str, Good] = dict.fromkeys(SCORES, "high")
    options: dict[str, Any] = {"seed": context.settings.seed, "n": context.settings.bootstrap, "by": ("object",)}
    fields = tables[FIELDS]
    found = deltas(fields, metrics, predictions=context.predictions, **options)
    labels = [label_of(kind) if metric == "f1_0.7" else None for kind, metric in zip(found["object"], found["metric"], strict=True)]
    found = found.assign(label=labels)
    if fields["field"].nunique() > 1 or (listed := tables[LISTED]).empty:
        return found
    true = listed[listed["side"] == SIDES[0]].assign(jaccard=lambda part: part["iou"].fillna(0.0))
    cells = deltas(true, {"jaccard": "high"}, predictions=context.predictions, pair=("field", "number"), **options)
    note = "One field: each true object counts as a pair, so the test applies to this field only."
    return pd.concat([found, cells.assign(unit="object", note=note, label=None)], ignore_index=True)


def _tables(tables: Tables, sections: Mapping[str, Mapping[str, Any]], context: Context) -> dict[str, pd.DataFrame]:
    """Return the tables: scores, curve over IoU, outcomes of objects, rows per field, per object, and per plotted value."""
    import pandas as pd

    fields = tables[FIELDS]
    known = [({"object": kind, "source": source}, each) for source, section in sections.items() for kind, each in section.items()]
    plain = [{**head, **{key: value for key, value in each.items() if not isinstance(value, Mapping)}} for head, each in known]
    curves = [_curve(fields, head, each, context) for head, each in known]
    rows = [{**head, **row} for head, each in known for row in _state_rows(str(head["object"]), each)]
    return {
        "instances": pd.DataFrame(plain, columns=None if plain else ["object", "source", *SCORES]),
        "instances_written": pd.DataFrame(
            [_written(head, each) for head, each in known] or None, columns=None if known else ["object", "source"]
        ),
        "instances_curve": pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(columns=["object", "source", "iou", "f1"]),
        "instances_states": pd.DataFrame(rows, columns=["object", "source", "in", "state", "count", "share", "panel"]),
        FIELDS: fields,
        LISTED: whole_table(tables, LISTED),
        "instances_values": values(fields, SCORES, ("object", "source")),
    }


def _written(head: Mapping[str, str], section: Mapping[str, Any]) -> dict[str, Any]:
    """Return one row of the summary table: the main scores, with their SD over fields where there are several."""
    out: dict[str, Any] = {**head, "true": section["n_true"], "predicted": section["n_pred"]}
    over = section["per_field"]
    for title, name in (
        ("F1 at 0.7", "f1_0.7"),
        ("Jaccard", "jaccard"),
        ("mAP_DSB", "map_dsb"),
        ("precision", "precision_0.7"),
        ("recall", "recall_0.7"),
    ):
        out[title] = written(section[name], over[f"{name}_sd"], 2)
    lost = ("split", "merged", "loose", "missed")
    return {**out, **{state: section[f"true_{state}"] for state in lost}, "extra": section["predicted_extra"], "fields": over["n"]}


def _curve(fields: pd.DataFrame, head: Mapping[str, str], section: Mapping[str, Any], context: Context) -> pd.DataFrame:
    """Return the pooled scores at each IoU, with the bootstrap interval of the mean F1 over fields."""
    import pandas as pd

    part = fields[(fields["object"] == head["object"]) & (fields["source"] == head["source"])]
    rows = []
    for threshold in THRESHOLDS:
        both = part["n_true"] + part["n_pred"]
        f1 = 2 * part[tp_column(threshold)] / both.where(both > 0)
        over = spread(f1, part["well"].to_numpy(), seed=context.settings.seed, n=context.settings.bootstrap).to_json("f1_field")
        rows.append({**head, "iou": threshold, **section["curve"][f"{threshold:.2f}"], **over})
    return pd.DataFrame(rows)


def _state_rows(kind: str, section: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for side, names, total in (("true", TRUE_STATES, section["n_true"]), ("predicted", PREDICTED_STATES, section["n_pred"])):
        for state in names:
            count = section[f"{side}_{state}"]
            share = count / total if total else None
            rows.append({"in": side, "state": state, "count": count, "share": share, "panel": f"{side} {kind}"})
    return rows


def _figures() -> list[Figure]:
    over = "over all fields pooled"
    curve = (
        "F1 = 2 TP / (2 TP + FP + FN) of a field, from an IoU of 0.5 to one of 0.95: the mean over fields with its 95 % interval; the "
        "table has F1 over all fields pooled, too."
    )
    became = (
        "Of the true objects: matched (a partner with an IoU of 0.7 or more), split (two or more predicted objects lie in it), merged (it "
        "lies in one predicted object together with another), loose (found, but its outline is too far off), missed. Of the predicted "
        "objects: matched, part of a split one, merge of several, loose, extra. One lies in another if more than half of it does."
    )
    boxes = (
        "One point per field (above 500: per well). F1, precision, recall, jaccard 0.7 = TP / (TP + FP + FN) at an IoU of 0.7; jaccard "
        "is the mean IoU of the true objects with their partners, 0 without one; mAP_DSB is the mean of TP / (TP + FP + FN) over IoU 0.5 "
        "to 0.95."
    )
    table = (
        f"Scores {over}, mAP_DSB the mean over fields, ± the SD over fields. F1, precision and recall at an IoU of 0.7; Jaccard is the "
        "mean IoU of the true objects with their partners. Split, merged, loose and missed are true objects, extra are predicted ones."
    )
    hover = ("field", "well", "f1_0.7")
    counts = {"x": "n_true", "y": "n_pred", "colour": "source", "facet": "object", "diagonal": True, "hover": hover}
    lines = {"x": "iou", "y": "f1_field", "low": "f1_field_low", "high": "f1_field_high", "colour": "source", "facet": "object"}
    lines |= {"x_title": "IoU", "y_title": "F1"}
    drawn = {"x": "object", "y": "value", "colour": "source", "switch": "score", "hover": ("field", "well")}
    states = {"x": "state", "y": "share", "colour": "source", "facet": "panel", "hover": ("count",)}
    return [
        Figure("instances_table", "Nuclei and cells", table, "table", "instances_written"),
        Figure("instances_curve", "F1 over IoU", curve, "line", "instances_curve", lines),
        Figure("instances_states", "What became of the objects", became, "bar", "instances_states", states),
        Figure("instances_boxes", "Scores over fields", boxes, "box", "instances_values", drawn),
        Figure(
            "instances_counts", "Numbers of objects", "One point per field; on the line both have equally many.", "scatter", FIELDS, counts
        ),
    ]


def label_of(kind: str) -> str:
    """Return the name of the F1 of a kind of object in the headline."""
    return f"{kind.capitalize()} found (F1)"


def _headlines(sections: Mapping[str, Mapping[str, Any]], kinds: list[str]) -> list[Headline]:
    out = []
    for kind in kinds:
        about = (
            f"Share of {kind} that are found both in the prediction and in the truth and overlap by 70 % (F1 at an IoU of 0.7). "
            "1 is perfect; missed and additional ones lower it."
        )
        out.append(Headline(label_of(kind), 1.0, {name: each[kind]["f1_0.7"] for name, each in sections.items()}, about=about))
    return out


def _notes(table: pd.DataFrame, context: Context) -> list[str]:
    """Return notes on how objects were segmented, and where none were found."""
    if table.empty:
        return ["No stain shows nuclei or cells that could be found, so this level is empty."]
    how = {"skimage": "scikit-image (Otsu's threshold and watershed)", "cellpose": "Cellpose", "instanseg": "InstanSeg"}
    used = " and ".join(f"{how[name]} {version}" for name, version in dict.fromkeys(zip(table["segmenter"], table["version"], strict=True)))
    out = [
        f"Nuclei and cells were found by {used} after a gamma of {context.settings.gamma:g}, in the truth and in the predictions alike; "
        "those that the border cuts count. What is found in the truth is no annotation by hand: its own mistakes lower the scores, too."
    ]
    for kind in OBJECTS:
        part = table[(table["object"] == kind) & (table["source"] == context.predictions[0])]
        none = int((part["n_true"] + part["n_pred"] == 0).sum())
        if none == len(part) > 0:
            out.append(f"There are no {kind} in truth and prediction, so that their scores are undefined.")
        elif none:
            out.append(f"{none} of {len(part)} fields have no {kind} in truth and prediction; the means over fields leave them out.")
    return out
