"""Tables of a study: all scores, train x test differences from the baseline, and the curve over the number of images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_virtual_paint.metrics import METRICS
from napari_virtual_paint.study.config import OWN, StudyConfig, largest
from napari_virtual_paint.study.units import TestUnit, all_units, load_result

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("train", "test", "seed", "size", "level", "stain", "metric", "value")
KEY = ["train", "test", "size", "level", "stain", "metric"]
HEADLINE = {
    "pixels": tuple((name, METRICS[name].good) for name in ("pcc", "ssim", "psnr")),
    "instances": (("f1_0.7", "high"), ("jaccard", "high")),
    "features": (("nmae_top20", "low"), ("median_correlation", "high")),
}
"""Level -> metrics of its matrices (Tonks 2024: SSIM, PSNR; Jaccard, F1; N-MAE), and whether higher is better."""


def long_table(config: StudyConfig) -> pd.DataFrame:
    """Return every score of all completed units, one per row, columns `COLUMNS`.

    Raises
    ------
    VirtualPaintError
        If a result is damaged.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for unit in all_units(config):
        if not isinstance(unit, TestUnit):
            continue
        for level in unit.levels(config):
            path = unit.result(config, level)
            if path.is_file():
                known = {"test": unit.domain, "seed": unit.seed, "size": str(unit.size), "level": level}
                rows += [{**known, **row} for row in load_result(path)["rows"]]
    return pd.DataFrame(rows, columns=list(COLUMNS)).sort_values(list(COLUMNS[:-1]), ignore_index=True)


def matrices(config: StudyConfig, scores: pd.DataFrame) -> pd.DataFrame:
    """Return score and difference from the baseline of each train x test pair: mean and SD over seeds.

    The difference is taken seed by seed from the baseline's score on the same test images (Tonks 2024: "the difference between the mean
    score obtained for each of the trained models and the baseline model trained on images sampled from the same distribution as the test
    set"), so that its SD is that of a difference. SDs are those of a sample (ddof 1), undefined for one seed.

    Parameters
    ----------
    scores
        From `long_table`.

    Returns
    -------
    DataFrame
        Columns train, test, size, level, stain, metric, n (seeds), mean, sd, difference, difference_sd, undefined (seeds without a value,
        which mean and n leave out).
    """
    found = scores.copy()
    base = found[found["train"] == (found["test"] if config.baseline == OWN else config.baseline)]
    on = ["test", "seed", "size", "level", "stain", "metric"]
    found = found.merge(base[[*on, "value"]].rename(columns={"value": "baseline"}), on=on, how="left")
    found["difference"] = found["value"] - found["baseline"]
    both = found.groupby(KEY, sort=False, as_index=False)
    table = both.agg(
        n=("value", "size"),
        mean=("value", "mean"),
        sd=("value", "std"),
        difference=("difference", "mean"),
        difference_sd=("difference", "std"),
    )
    return table.assign(undefined=len(config.seeds) - table["n"])


def headline(config: StudyConfig, table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the metrics to draw: level, metric, whether higher is better, stain; only those that have a value."""
    found = []
    for level in config.levels:
        for metric, good in HEADLINE[level]:
            rows = table[(table["level"] == level) & (table["metric"] == metric)]
            stains = sorted(dict.fromkeys(rows["stain"]), key=lambda stain: stain != "nuclei")  # nuclei first, as everywhere
            found += [{"level": level, "metric": metric, "good": good, "stain": stain} for stain in stains]
    return found


def as_matrix(config: StudyConfig, table: pd.DataFrame, selection: dict[str, Any], value: str) -> pd.DataFrame:
    """Return one metric as a matrix at the largest size: rows are training domains, columns test domains; NaN where missing."""
    rows = table[(table["size"] == str(largest(config.sizes))) & (table["level"] == selection["level"])]
    rows = rows[(rows["metric"] == selection["metric"]) & (rows["stain"] == selection["stain"])]
    names = list(config.domains)
    return rows.pivot(index="train", columns="test", values=value).reindex(index=names, columns=names)
