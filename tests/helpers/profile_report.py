"""A report with profiles as `virtual-paint evaluate` writes it, without a plate being painted or measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

FEATURES = 12


def write_report(
    folder: Path,
    wells: Sequence[str],
    truth: str | Path = "",
    predictions: Mapping[str, str | Path] | None = None,
    *,
    umap: bool = True,
    seed: int = 0,
) -> Path:
    """Write a report: three treatments in clusters of their own, and predictions that lie beside the truth."""
    rng = np.random.default_rng(seed)
    sources = ["truth", *(predictions or {"model": ""})]
    kinds = np.arange(len(wells)) % 3
    centres = rng.normal(size=(3, FEATURES)) * 4
    true = centres[kinds] + rng.normal(size=(len(wells), FEATURES))
    frames, profiles = [], []
    for number, source in enumerate(sources):
        values = true + number * rng.normal(size=true.shape)
        known = pd.DataFrame({
            "source": source,
            "well": wells,
            "treatment": [f"compound {kind}" if kind else "DMSO" for kind in kinds],
            "batch": [str(i % 2 + 1) for i in range(len(wells))],
            "plate": "one",
            "dose": [0.1 * 10**kind if kind else np.nan for kind in kinds],
        })  # fmt: skip
        profiles.append(pd.concat([known, pd.DataFrame(values, columns=[f"Cells_Feature_{i}" for i in range(FEATURES)])], axis=1))
        places = {"pca_1": values[:, 0], "pca_2": values[:, 1]}
        if umap:
            places |= {"umap_1": values[:, 2], "umap_2": values[:, 3]}
        frames.append(known.assign(**places))
    (folder / "tables").mkdir(parents=True)
    scores = [
        {"field": f"{well}/{i}", "well": well, "stain": "DNA", "source": source, "pcc": 0.5 + 0.02 * number + 0.1 * i - 0.05, "ssim": 0.5}
        for source in sources[1:] for number, well in enumerate(wells) for i in range(2)
    ]  # fmt: skip
    pd.DataFrame(scores).assign(foreground_pcc=np.nan).to_csv(folder / "tables" / "pixels_fields.csv", index=False)
    pd.concat(frames).to_csv(folder / "tables" / "profiles_embedding.csv", index=False)
    pd.concat(profiles, ignore_index=True).to_parquet(folder / "profiles.parquet")
    asked = {"truth": str(truth), "predictions": {name: str(path) for name, path in (predictions or {"model": ""}).items()}}
    (folder / "evaluation.json").write_text(json.dumps(asked), "utf-8")
    (folder / "report.json").write_text(json.dumps({"level": "profiles"}), "utf-8")
    return folder
