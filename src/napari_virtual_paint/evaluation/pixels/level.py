"""Level "pixels": the scores of each stain over the whole field and in the foreground (Cross-Zamirski et al. 2022, Table 2)."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_virtual_paint.evaluation.level import Figure, Findings, Headline, LevelProgress, Tables, split_rows
from napari_virtual_paint.evaluation.paired_deltas import deltas, on_common, values
from napari_virtual_paint.evaluation.pixels.pictures import field_figures
from napari_virtual_paint.evaluation.pixels.scores import INSIDE, SCORED, field_rows
from napari_virtual_paint.evaluation.statistics import spread, written
from napari_virtual_paint.metrics import METRICS
from napari_virtual_paint.metrics.metric import Good

if TYPE_CHECKING:
    import pandas as pd

    from napari_virtual_paint.evaluation.context import Context, FieldImages

FIELDS = "pixels_fields"  # table with one row per field, stain and prediction

REGIONS = {"": "whole field", INSIDE: "foreground"}  # prefix of a score's column -> region

ALL = "mean of the stains"  # value of the stain column for all stains together

LABELS = {"pcc": "Correlation of pixels (PCC)", INSIDE + "pcc": "Correlation of pixels in the foreground (PCC)"}
"""Score -> its name in the headline."""
ABOUT = {
    "pcc": "Pearson's correlation of predicted and true pixels, the mean of the stains. 1 is perfect, 0 is no relation.",
    INSIDE + "pcc": "The same where the true stain is brighter than the background, so that empty regions do not count.",
}
"""Score -> what it measures."""


@dataclass(frozen=True)
class Pixels:
    """Score the pixels of predictions; see `scores` for definitions."""

    name: str = "pixels"
    needs: tuple[str, ...] = ()

    def field(self, images: FieldImages, context: Context) -> Tables:
        """Return one field's scores, one row per stain and prediction."""
        return self.fields([images], context)[0]

    def fields(self, images: Sequence[FieldImages], context: Context) -> list[Tables]:
        """Return the scores of several fields, whose tables are made at once."""
        import pandas as pd

        columns = ["field", "well", "stain", "source", *SCORED, "foreground_share", "c_max", "c_max_reliable"]
        found = [field_rows(each, context.settings.scale, context.settings.noise) for each in images]
        rows = [row for each in found for row in each]
        table = pd.DataFrame(rows, columns=columns).astype(dict.fromkeys((*SCORED, "foreground_share", "c_max"), float))
        return [{FIELDS: part} for part in split_rows(table.astype({"c_max_reliable": "boolean"}), [len(each) for each in found])]

    def summary(self, tables: Tables, context: Context) -> Generator[LevelProgress, None, Findings]:
        """Return means, SDs and intervals over the fields, deltas between predictions, and the figures."""
        table = tables[FIELDS]
        common = on_common(table, SCORED, predictions=context.predictions, by=("stain",)) if len(context.predictions) > 1 else table
        total = len(context.predictions) + 2
        sections: dict[str, dict[str, Any]] = {}
        rows: list[dict[str, Any]] = []
        for done, source in enumerate(context.predictions):
            yield done, total, f"Pixels: {source}."
            here = table["source"] == source
            for stain in context.stains:
                there = here & (table["stain"] == stain)
                section = sections.setdefault(source, {})[stain] = _section(common[there], table[there], context)
                rows += _rows(stain, source, section)
        yield total - 2, total, "Pixels: differences between predictions." if len(context.predictions) > 1 else ""
        compared = _deltas(table, common, context) if len(context.predictions) > 1 else None
        yield total - 1, total, "Pixels: best and worst fields."
        pictures = field_figures(table, context)
        main, *others = context.predictions
        return Findings(
            "pixels",
            sections[main],
            {name: sections[name] for name in others},
            compared,
            _tables(table, rows, context),
            (*_figures(context), *pictures),
            tuple(_headlines(sections)),
            tuple(_notes(table, context)),
        )


PIXELS = Pixels()


def _section(part: pd.DataFrame, own: pd.DataFrame, context: Context) -> dict[str, Any]:
    """Return one stain's scores flat: ``pcc``, ``pcc_sd``, ``pcc_low``, ``pcc_high`` ..., ``n``, and the same under ``foreground``.

    Parameters
    ----------
    part
        The scores of the fields on which all predictions have them.
    own
        All fields: ``pcc_undefined`` ... are the numbers of those where this prediction has none.
    """
    options = {"seed": context.settings.seed, "n": context.settings.bootstrap}
    wells = part["well"].to_numpy()
    out: dict[str, Any] = {}
    inside: dict[str, Any] = {}
    for begin, into in (("", out), (INSIDE, inside)):
        found = {name: spread(part[begin + name], wells, **options) for name in METRICS}
        for name, each in found.items():
            into.update(each.to_json(name))
        into["n"] = found["mse"].n
        into.update({f"{name}_undefined": int(own[begin + name].isna().sum()) for name in METRICS})
    if part["c_max"].notna().any():
        out.update(spread(part["c_max"], wells, **options).to_json("c_max"))
        out["c_max_reliable"] = bool(part["c_max_reliable"].fillna(False).all())
    share = part["foreground_share"].dropna()
    return {**out, "foreground": {**inside, "share": float(share.mean()) if len(share) else None}}


def _rows(stain: str, source: str, section: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of the table of means: one for the whole field, one for the foreground."""
    rows = []
    for region, part in ((REGIONS[""], section), (REGIONS[INSIDE], section["foreground"])):
        plain = {key: value for key, value in part.items() if not isinstance(value, Mapping)}
        rows.append({"stain": stain, "source": source, "region": region, **plain})
    return rows


def _tables(table: pd.DataFrame, rows: list[dict[str, Any]], context: Context) -> dict[str, pd.DataFrame]:
    """Return the tables: numeric means, means formatted as in the paper, one row per field, and one row per plotted value."""
    import pandas as pd

    means = pd.DataFrame(rows)
    readable = means[["stain", "source", "region"]].copy()
    for name in sorted(METRICS, key="pcc".__eq__):  # PCC last, as in the paper's table
        shown = METRICS[name]
        readable[shown.label] = [written(row[name], row[f"{name}_sd"], shown.decimals) for row in rows]
    if "c_max" in means:
        readable["C_max"] = [written(row.get("c_max"), row.get("c_max_sd"), 3) for row in rows]
    readable["fields"] = means["n"]
    readable["undefined"] = [", ".join(_undefined(row)) or "–" for row in rows]
    drawn = values(table, SCORED, ("stain", "source"))
    drawn["region"] = np.where(drawn["score"].str.startswith(INSIDE), REGIONS[INSIDE], REGIONS[""])
    drawn["score"] = drawn["score"].str.removeprefix(INSIDE).map(lambda name: METRICS[name].label)
    return {"pixels": means, "pixels_written": readable, FIELDS: table, "pixels_values": drawn}


def _undefined(row: Mapping[str, Any]) -> list[str]:
    """Return in how many fields each score is undefined, where it is in any: ``PCC 2``."""
    return [f"{score.label} {row[f'{name}_undefined']}" for name, score in METRICS.items() if row.get(f"{name}_undefined")]


def _directions() -> str:
    """Return whether high or low is better for each score."""
    labels = {good: [score.label for score in METRICS.values() if score.good == good] for good in ("high", "low")}
    high, low = (f"{', '.join(names[:-1])} and {names[-1]}" for names in labels.values())
    return f"{high}: higher is better; {low}: lower is better."


def _figures(context: Context) -> list[Figure]:
    scaled = "each image at mean 0 and SD 1 over its field" if context.settings.scale == "zscore" else "the gray levels as they are"
    where = "The foreground is what lies above Otsu's threshold of the smoothed truth."
    caption = f"Mean ± SD over fields, {scaled}. {_directions()} {where}"
    boxes = (
        f"One point per field (above 500 fields: per well), {scaled}; the box holds the middle half of the fields, the line is the median. "
        f"{where}"
    )
    encode = {"x": "stain", "y": "value", "colour": "source", "facet": "region", "switch": "score", "hover": ("field", "well")}
    return [
        Figure("pixels_table", "Scores of each stain", caption, "table", "pixels_written"),
        Figure("pixels_boxes", "Scores over fields", boxes, "box", "pixels_values", encode),
    ]


def _headlines(sections: Mapping[str, Mapping[str, Any]]) -> list[Headline]:
    """Return the mean PCC over the stains, of the whole fields and of the foreground: of all predictions over the same stains."""

    def means(inside: bool) -> dict[str, float | None]:
        values = {
            name: {stain: (each["foreground"] if inside else each)["pcc"] for stain, each in section.items()}
            for name, section in sections.items()
        }
        some = [each for each in values.values() if any(value is not None for value in each.values())]
        stains = [stain for stain in (some[0] if some else ()) if all(each[stain] is not None for each in some)]
        known = {name: [each[stain] for stain in stains] for name, each in values.items() if each in some}
        return {name: float(np.mean(known[name])) if known.get(name) else None for name in values}

    places = {"pcc": False, INSIDE + "pcc": True}
    return [Headline(LABELS[score], 1.0, means(inside), about=ABOUT[score]) for score, inside in places.items()]


def _deltas(table: pd.DataFrame, common: pd.DataFrame, context: Context) -> pd.DataFrame:
    """Return the differences for each stain and for the mean over stains, which is in the headline: both on what all predictions have."""
    import pandas as pd

    metrics: dict[str, Good] = {begin + name: score.good for begin in REGIONS for name, score in METRICS.items()}
    seed, n = context.settings.seed, context.settings.bootstrap
    only_stain = table["stain"].iloc[0] if table["stain"].nunique() == 1 else ALL
    if only_stain == ALL:
        alike = on_common(table, list(metrics), predictions=context.predictions)
        means = alike.groupby(["field", "well", "source"], sort=False, as_index=False)[list(metrics)].mean()
        common = pd.concat([common, means.assign(stain=ALL)], ignore_index=True)
    found = deltas(common, metrics, predictions=context.predictions, by=("stain",), seed=seed, n=n)
    pairs = zip(found["stain"], found["metric"], strict=True)
    return found.assign(label=[LABELS.get(metric) if stain == only_stain else None for stain, metric in pairs])


def _notes(table: pd.DataFrame, context: Context) -> list[str]:
    """Return notes on scores that are means over fewer fields than others."""
    out = []
    several = len(context.predictions) > 1
    for stain in context.stains:
        for source in context.predictions:
            part = table[(table["stain"] == stain) & (table["source"] == source)]
            counts = {name: int(part[name].isna().sum()) for name in METRICS}
            missing = [name for name, count in counts.items() if 0 < count < len(part) or (several and name == "pcc" and count)]
            if not missing:
                continue
            left = int(part[missing].isna().any(axis=1).sum())
            labels = ", ".join(METRICS[each].label for each in missing)
            if several and left == len(part):
                out.append(f"{stain}: {source} has no {labels} in any field, so that the means of the stains leave {stain} out.")
            elif several:
                out.append(f"{stain}: {source} has no {labels} in {left} of {len(part)} fields, which all predictions' means leave out.")
            else:
                out.append(f"{stain}: {labels} leave out {left} of {len(part)} fields, where undefined.")
    return out
