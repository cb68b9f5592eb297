"""A report with every kind of figure, whose numbers are drawn by chance: for tests of the page and for looking at it."""

import numpy as np
import pandas as pd

from napari_virtual_paint.evaluation.context import Context
from napari_virtual_paint.evaluation.level import Figure, Findings, Headline
from napari_virtual_paint.evaluation.result import Evaluation

HOSTILE = "Mito <script>alert(1)</script>"
STAINS = ("DNA", "ER", "RNA", HOSTILE)
PREDICTIONS = ("good", "weak & <b>bold</b>")
SOURCES = ("truth", *PREDICTIONS)
GROUPS = ("Granularity", "Intensity", "Location", "RadialDistribution", "Texture", "Correlation")
TREATMENTS = ("DMSO", "mitoxantrone", "taxol, 10 µM", "AZ-<i>1</i>")


def report(seed: int = 0) -> Evaluation:
    """Return the whole."""
    chance = np.random.default_rng(seed)
    wells = pd.DataFrame(
        [
            {
                "well": f"{row}{column:02}",
                "treatment": TREATMENTS[(column - 1) % 4],
                "dose": 10.0 ** (column % 5 - 3),
                "batch": column % 2 + 1,
            }
            for row in "ABCD"
            for column in range(1, 9)
        ]
    ).set_index("well")
    context = Context(
        PREDICTIONS,
        STAINS,
        wells,
        {"treatment": "treatment", "dose": "dose", "control": None, "moa": None, "batch": "batch", "plate": None},
        negative=("A01", "B01"),
        notes=("A prediction has no unit: it was mapped onto the truth's scale by mean and SD of 2 control wells.",),
        fields=tuple(f"{well}/0" for well in wells.index),
    )
    findings = {"pixels": pixels(chance), "instances": instances(chance), "features": features(chance), "profiles": profiles(chance, wells)}
    failed = pd.DataFrame([{"field": "D08/0", "well": "D08", "reason": "the file is cut off"}])
    return Evaluation(
        findings,
        context,
        {name: f"/data/{place}.zarr" for place, name in enumerate(PREDICTIONS)},
        "/data/plate.zarr",
        31,
        failed,
        {"levels": list(findings), "seed": 0},
        {"napari-virtual-paint": "0.1.0", "cp_measure": "0.1.4"},
        created="2026-11-21T20:00:00+00:00",
    )


def deltas(labels: tuple[str, ...], chance: np.random.Generator) -> pd.DataFrame:
    """Return differences as `paired_deltas.deltas` gives them."""
    return pd.DataFrame(
        [
            {
                "label": label,
                "metric": label.lower(),
                "prediction": PREDICTIONS[0],
                "against": PREDICTIONS[1],
                "delta": (delta := float(chance.uniform(0.01, 0.3))),
                "low": delta - 0.02,
                "high": delta + 0.02,
                "p": 0.0001,
                "p_corrected": 0.0004,
                "n": 31,
                "unit": "well",
                "test": "Wilcoxon signed rank (exact)",
                "better": PREDICTIONS[0],
                "note": "",
            }
            for label in labels
        ]
    )


def pixels(chance: np.random.Generator) -> Findings:
    """Return bars with intervals, a box, pictures, a wide table."""
    rows = [
        {
            "stain": stain,
            "source": name,
            "pcc": (value := float(chance.uniform(0.3, 0.95))),
            "low": value - 0.04,
            "high": value + 0.03,
            "n": 31,
        }
        for stain in STAINS
        for name in PREDICTIONS
    ]
    fields = [
        {"field": f"A{column:02}/0", "stain": stain, "source": name, "pcc": float(np.clip(chance.normal(0.7 - 0.2 * place, 0.08), -1, 1))}
        for stain in STAINS
        for place, name in enumerate(PREDICTIONS)
        for column in range(1, 13)
    ]
    scores = [
        {
            "stain": stain,
            "prediction": name,
            **{f"{metric}{end}": float(chance.uniform(0, 1)) for metric in ("pcc", "ssim", "psnr", "mse", "mae") for end in ("", "_sd")},
        }
        for stain in STAINS
        for name in PREDICTIONS
    ]
    up, across = np.mgrid[:600, :600]
    cells = (127 + 127 * np.sin(up / 23) * np.cos(across / 31)).astype(np.uint8)
    pictures = tuple((f"A0{place}/0 · {source}", "DNA, PCC 0.91", np.roll(cells, 40 * place, 1)) for place in (1, 2) for source in SOURCES)
    colour = ("truth and found", "outlines", np.stack([cells, cells[::-1], 255 - cells], axis=-1))
    return Findings(
        "pixels",
        {},
        deltas=deltas(("DNA: PCC", f"{HOSTILE}: PCC"), chance),
        tables={"pixels_summary": pd.DataFrame(rows), "pixels_fields": pd.DataFrame(fields), "pixels_scores": pd.DataFrame(scores)},
        figures=(
            Figure(
                "pixels-pcc",
                "Correlation of each stain",
                "How alike is each stain? Mean over fields, with its 95 % interval.",
                "bar",
                "pixels_summary",
                {"x": "stain", "y": "pcc", "low": "low", "high": "high", "colour": "source", "y_title": "PCC"},
            ),
            Figure(
                "pixels-spread",
                "Spread over fields",
                "Are all fields as good? A dot is a field.",
                "box",
                "pixels_fields",
                {"x": "stain", "y": "pcc", "colour": "source", "hover": "field"},
            ),
            Figure("pixels-table", "All scores", "Table 2 of Cross-Zamirski 2022: mean and SD over fields.", "table", "pixels_scores"),
            Figure(
                "pixels-best",
                "Best and worst fields",
                "What do good and bad fields look like?",
                "images",
                images=(*pictures, colour),
                encode={"columns": 3},
            ),
        ),
        headline=(
            Headline("DNA: PCC", 1.0, {PREDICTIONS[0]: 0.912, PREDICTIONS[1]: 0.641}),
            Headline(f"{HOSTILE}: PCC", 1.0, {PREDICTIONS[0]: 0.51, PREDICTIONS[1]: None}),
        ),
        notes=("C_max is not known: no field was recorded twice.",),
    )


def instances(chance: np.random.Generator) -> Findings:
    """Return lines with a band in two panels, and bars that lie."""
    rows = [
        {
            "object": each,
            "source": name,
            "iou": iou,
            "f1": (value := max(0.0, 0.95 - place * 0.2 - (iou - 0.5) * 1.6)),
            "low": value - 0.03,
            "high": value + 0.03,
        }
        for each in ("nuclei", "cells")
        for place, name in enumerate(PREDICTIONS)
        for iou in np.arange(0.5, 0.96, 0.05).round(2).tolist()
    ]
    errors = [
        {"kind": f"{kind} in the prediction, {each}", "source": name, "count": int(chance.integers(0, 40))}
        for kind in ("split", "merged", "missed")
        for each in ("nuclei", "cells")
        for name in PREDICTIONS
    ]
    return Findings(
        "instances",
        {},
        tables={"instances_curve": pd.DataFrame(rows), "instances_errors": pd.DataFrame(errors)},
        figures=(
            Figure(
                "instances-curve",
                "F1 by threshold of IoU",
                "How exactly must outlines agree?",
                "line",
                "instances_curve",
                {
                    "x": "iou",
                    "y": "f1",
                    "low": "low",
                    "high": "high",
                    "colour": "source",
                    "facet": "object",
                    "x_title": "IoU",
                    "y_title": "F1",
                },
            ),
            Figure(
                "instances-errors",
                "What went wrong",
                "Objects that are split, merged or missed.",
                "bar",
                "instances_errors",
                {"x": "kind", "y": "count", "colour": "source"},
            ),
        ),
        headline=(
            Headline("nuclei: F1 at IoU 0.7", 1.0, {PREDICTIONS[0]: 0.88, PREDICTIONS[1]: 0.88}),
            Headline("cells counted", 412, {PREDICTIONS[0]: 405, PREDICTIONS[1]: 300}),
        ),
    )


def features(chance: np.random.Generator) -> Findings:
    """Return matrices in panels and views, and a long table."""
    rows = [
        {
            "prediction": name,
            "compartment": part,
            "channel": stain,
            "group": group,
            "correlation": float(chance.uniform(-0.1, 0.95)),
            "count": int(chance.integers(1, 60)),
        }
        for name in PREDICTIONS
        for part in ("Cells", "Cytoplasm", "Nuclei")
        for stain in STAINS
        for group in GROUPS
        if chance.random() > 0.1
    ]
    ranked = pd.DataFrame(
        [
            {"feature": f"Cells_{GROUPS[place % 6]}_Something_Long_DNA_{place}", "spearman": 1 - place / 700, "pearson": 0.9 - place / 900}
            for place in range(600)
        ]
    )
    ranked.loc[5, "pearson"] = np.nan
    points = pd.DataFrame({"truth": chance.normal(5, 1, 200)})
    points["prediction"] = points["truth"] * 0.8 + chance.normal(0, 0.4, 200)
    return Findings(
        "features",
        {},
        tables={
            "features_groups": pd.DataFrame(rows),
            "features_ranked": ranked,
            "features_points": points,
            "features_none": ranked.head(0),
        },
        figures=(
            Figure(
                "features-map",
                "Correlation by channel, group and compartment",
                "Which kinds of features survive? Median correlation, and how many features.",
                "heatmap",
                "features_groups",
                {"x": "group", "y": "channel", "value": "correlation", "count": "count", "facet": "compartment", "switch": "prediction"},
            ),
            Figure(
                "features-points",
                "One feature",
                "Truth against prediction, a dot a well.",
                "scatter",
                "features_points",
                {"x": "truth", "y": "prediction", "diagonal": True},
            ),
            Figure("features-high", "Features above 0.8", "Which can be used?", "table", "features_ranked"),
            Figure("features-none", "Nothing", "An empty table.", "bar", "features_none", {"x": "feature", "y": "spearman"}),
            Figure(
                "features-wrong", "No such column", "A column that is not there.", "bar", "features_points", {"x": "absent", "y": "truth"}
            ),
        ),
        headline=(Headline("N-MAE of 20 features", 0.0, {PREDICTIONS[0]: 0.31, PREDICTIONS[1]: 0.77}, good="low"),),
    )


def profiles(chance: np.random.Generator, wells: pd.DataFrame) -> Findings:
    """Return points whose colour is chosen among four columns."""
    rows = [
        {
            "source": source,
            "well": well,
            "umap_1": float(chance.normal(place * 3, 1)),
            "umap_2": float(chance.normal(row["batch"] * 2, 1)),
            **row,
        }
        for place, source in enumerate(SOURCES)
        for well, row in wells.to_dict("index").items()
    ]
    frame = pd.DataFrame(rows)
    frame.loc[3, "dose"] = np.nan
    return Findings(
        "profiles",
        {},
        deltas=deltas(("mAP by mechanism",), chance),
        tables={"profiles_embedding": frame},
        figures=(
            Figure(
                "profiles-umap",
                "UMAP of wells",
                "Do truth and predictions show the same structure?",
                "scatter",
                "profiles_embedding",
                {"x": "umap_1", "y": "umap_2", "colour": ("source", "treatment", "batch", "dose"), "hover": ("well", "treatment", "dose")},
            ),
            Figure(
                "profiles-each",
                "UMAP, each source",
                "The same, a panel each.",
                "scatter",
                "profiles_embedding",
                {"x": "umap_1", "y": "umap_2", "colour": "treatment", "symbol": "batch", "facet": "source", "hover": "well"},
            ),
        ),
        headline=(
            Headline("mAP by mechanism", 0.62, {PREDICTIONS[0]: 0.5, PREDICTIONS[1]: 0.21}),
            Headline("toxic wells found", None, {PREDICTIONS[0]: 62.5, PREDICTIONS[1]: 50.0}, unit="%"),
        ),
    )
