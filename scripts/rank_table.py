"""Print, for each set of real data with true stains, the order of the models by `virtual-paint models rank` and what each really scores.

``python scripts/rank_table.py [FOLDER] [--json FILE]``; the folder of real data is by default ``../shared/data``.

The whole image is ranked; the middle 384 x 384 px are painted and scored, of a stack the middle plane where a model takes single planes.
A model's score on a set is the mean PCC over the true stains that some model paints under their name; a stain that it does not paint counts
as 0. Where no model paints a stain of that name, it is the best PCC of any painted stain with any true one. The last column is the score of
the first in the order less the best score of all that fit.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_virtual_paint.models import Model, open_models
from napari_virtual_paint.models.channel_names import find_names
from napari_virtual_paint.models.ranking import RankedModel
from napari_virtual_paint.painting import PaintSettings, paint
from napari_virtual_paint.painting.domain_check import rank_by_domain
from napari_virtual_paint.reading import read
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.runtime.running_stats import pearson
from napari_virtual_paint.stack import Stack

SETS: Mapping[str, tuple[str, str, str]] = {
    "neurons": ("neurons/phase.ome.tif", "neurons/fluorescence.ome.tif", ""),
    "cell_painting": ("cell_painting/brightfield.ome.tif", "cell_painting/stains.ome.tif", ""),
    "jurkat_flow": ("jurkat_flow/experiment_2_g1_0003.ome.tif", "", "Brightfield"),
    "ecoli ds1": ("ecoli/ds1_brightfield.ome.tif", "ecoli/ds1_fluorescence.ome.tif", ""),
    "ecoli ds4": ("ecoli/ds4_brightfield.ome.tif", "ecoli/ds4_fluorescence.ome.tif", ""),
    "saureus": ("saureus/phase.ome.tif", "saureus/stains.ome.tif", ""),
    "worms": ("worms/viability_C01_brightfield.ome.tif", "worms/viability_C01_fluorescence.ome.tif", ""),
    "phenix_live": ("phenix_live/transmitted.ome.tif", "phenix_live/stains.ome.tif", "Brightfield high"),
    "hipsc_3d_pairs": ("hipsc_3d_pairs/train_0_brightfield.ome.tif", "hipsc_3d_pairs/train_0_envelope.ome.tif", ""),
}
"""Set -> its unstained image, its true stains (empty: in the same file), and the one channel to paint from (empty: all)."""
SIDE = 384  # pixels of the middle that is scored
CLOSE = 0.03  # PCC by which the first may be below the best
EMPTY = "empty"  # word in the name of a stain without signal


def images_of(data: Path, name: str) -> tuple[Stack, Stack]:
    """Return the unstained image of a set and its true stains, of the first time point."""
    first, second, channel = SETS[name]
    image, truth = read(data / first), read(data / (second or first))
    if not second:
        truth = truth.select([i for i, label in enumerate(truth.channel_labels) if label == "DNA"])
    image = image.select([channel]) if channel else image
    truth = truth.select([i for i, label in enumerate(truth.channel_labels) if EMPTY not in label])
    return _first(image), _first(truth)


def _first(stack: Stack) -> Stack:
    return Stack(np.asarray(stack.data[:1]), stack.channels, stack.pixel_size, source=stack.source)


def _middle(stack: Stack) -> Stack:
    """Return the middle of an image."""
    rows, columns = (slice(max(length - SIDE, 0) // 2, max(length - SIDE, 0) // 2 + SIDE) for length in stack.shape[3:])
    return replace(stack, data=stack.data[..., rows, columns])


def correlations(model: Model, image: Stack, truth: Stack) -> np.ndarray:
    """Return the PCC of each painted stain with each true one, (painted, true)."""
    if model.info.dims == 2 and not model.info.planes_as_channels:
        middle = image.shape[2] // 2
        image = replace(image, data=image.data[:, :, middle : middle + 1])
    painted = run_to_end(paint(model, _middle(image), PaintSettings(device="cpu"))).stack
    truth = _middle(truth)
    a, b = np.asarray(painted.data[0]), np.asarray(truth.data[0])
    if a.shape[1] != b.shape[1]:  # planes: compare the middle ones
        a, b = a[:, [a.shape[1] // 2]], b[:, [b.shape[1] // 2]]
    return np.array([[pearson(one, other) for other in b] for one in a])


def scores(models: Mapping[str, Model], found: Mapping[str, np.ndarray], truth: Stack) -> dict[str, float]:
    """Return the score of each model that was tried."""
    named = {key: find_names(truth.channel_labels, models[key].info.stains) for key in found}
    known = [place for place in range(len(truth.channel_labels)) if any(places[place] is not None for places in named.values())]
    if not known:
        return {key: float(np.nanmax(values)) for key, values in found.items()}
    table = {key: [0.0 if (row := named[key][at]) is None else values[row, at] for at in known] for key, values in found.items()}
    return {key: float(np.mean(np.nan_to_num(values))) for key, values in table.items()}


def words(one: RankedModel, score: float) -> str:
    """Return a model with its verdict and score."""
    how = f"{one.verdict.verdict} {one.verdict.distance:.1f}" if one.verdict is not None else f"for {one.info.light}"
    return f"{one.key} ({how}: {score:.2f})"


def main() -> int:
    """Rank, paint, score and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="?", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    models = {model.info.id: model for model in open_models()}
    report = {}
    print("| set | order, with verdict, distance and score | first less best |\n|---|---|---:|")
    for name in SETS:
        image, truth = images_of(args.data, name)
        ranked: list[RankedModel] = run_to_end(rank_by_domain(models, image))
        tried = [one for one in ranked if one.fits]
        found = scores(models, {one.key: correlations(models[one.key], image, truth) for one in tried}, truth)
        gap = found[tried[0].key] - max(found.values()) if tried else float("nan")
        verdicts = [one.verdict.to_dict(parts=False) if one.verdict is not None else None for one in tried]
        report[name] = [{"id": one.key, "pcc": found[one.key], "domain": each} for one, each in zip(tried, verdicts, strict=True)]
        shown = ", ".join(words(one, found[one.key]) for one in tried) or "none fits"
        print(f"| {name} | {shown} | {gap:.2f}{' **' if gap < -CLOSE else ''} |", flush=True)
    if args.json:
        args.json.write_text(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
