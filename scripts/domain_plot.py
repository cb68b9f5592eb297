"""Prints the tables of docs/domain.md and draws docs/images/domain.png: distances from a model's domain beside what its PCC loses.

    python scripts/domain_plot.py [--data ../shared/data] [--work build/domain] [--output docs/images/domain.png]

A small U-Net learns DNA from brightfield on four montages of interphase Jurkat cells (a minute or two on one thread; a package that is
there is taken as it is). Then held-out interphase, mitotic cells, degraded copies of held-out montages and other modalities are checked,
painted and scored. PCC is the median over the cells of a montage, and that of the whole field for other modalities.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from scipy.stats import spearmanr

from domain_cases import HELD_OUT, TRAIN, Case, cases
from napari_virtual_paint.models import Model, open_model
from napari_virtual_paint.models.applicability.check import DomainVerdict, check_domain
from napari_virtual_paint.painting import PaintSettings, paint, run_to_end

HERE = Path(__file__).resolve().parents[1]
COLOURS = {
    "held-out interphase": "#1b7837",
    "mitotic": "#762a83",
    "blur": "#2166ac",
    "scale": "#b2182b",
    "contrast": "#ef8a62",
    "brightness": "#e6b800",
    "gamma": "#a6611a",
    "noise": "#4d4d4d",
    "inverted": "#e7298a",
    "density": "#35978f",
    "other modality": "#000000",
}


@dataclass(frozen=True)
class Row:
    """A case, its verdict and its PCC."""

    case: Case
    verdict: DomainVerdict
    pcc: float


def train_model(data: Path, work: Path) -> Model:
    """Return the model of interphase, trained if it is not there."""
    from napari_virtual_paint.training import load_config, train

    package = work / "jurkat-interphase.zip"
    if package.exists():
        return open_model(package)
    work.mkdir(parents=True, exist_ok=True)
    with (work / "pairs.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["input", "target", "split"])
        for part, names in (("train", TRAIN), ("test", HELD_OUT)):
            for name in names:
                path = str((data / "jurkat_flow" / f"{name}.ome.tif").resolve())
                table.writerow([path, path, part])
    settings = {
        "id": "jurkat-interphase",
        "name": "Jurkat interphase DNA",
        "description": "Paints DNA from the brightfield images of Jurkat cells in interphase.",
        "trained_on": "Montages of Jurkat cells in interphase.",
        "not_for": "Anything but the figures of docs/domain.md.",
        "output": package.name,
        "run": "run",
        "data": {
            "csv": "pairs.csv",
            "input_channels": ["Brightfield"],
            "target_channels": ["DNA"],
            "tiles": {"size": 40, "correlation": 5},
        },
        "normalize": {"input": {"mean": [676], "std": [58]}, "target": {"mean": [130], "std": [180]}},
        "split": {"validation": None},
        "network": {"architecture": "UNet", "config": {"width": 8, "max_width": 64, "depth": 4}},
        "patch": [160, 160],
        "batch": 4,
        "steps": 300,
        "epoch": 100,
        "keep": "last",
        "loss": "mse",
        "augment": {"flips": True, "quarter_turns": True},
        "optimizer": {"name": "adamw", "lr": 3e-3, "weight_decay": 0.01, "schedule": "one_cycle", "clip": 1.0},
        "ema": 0.97,
        "device": "cpu",
        "threads": 1,
    }
    (work / "interphase.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    return open_model(train(load_config(work / "interphase.yaml"), lambda progress: None, "python scripts/domain_plot.py"))


def pcc_of(model: Model, case: Case) -> float:
    """Paint a case and return its PCC."""
    painted = run_to_end(paint(model, case.stack, PaintSettings(device="cpu"))).stack
    found = np.asarray(painted.data)[0, 0, 0]
    if not case.cell:
        return float(np.corrcoef(found.ravel(), case.truth.ravel())[0, 1])
    size, values = case.cell, []
    for top in range(0, found.shape[0] - size + 1, size):
        for left in range(0, found.shape[1] - size + 1, size):
            place = (slice(top, top + size), slice(left, left + size))
            image, truth = case.image[place], case.truth[place]
            empty = (image == image[:1]).all() or (image == image[:, :1]).all()
            if not empty and truth.std() > 0 and found[place].std() > 0:
                values.append(np.corrcoef(found[place].ravel(), truth.ravel())[0, 1])
    return float(np.median(values))


def print_tables(rows: list[Row], base: float) -> None:
    """Print a line for each case, and how distance and loss go together."""
    print("| image | distance | verdict | PCC | first reason |\n|---|---:|---|---:|---|")
    for row in rows:
        said = row.verdict.reasons[0] if row.verdict.reasons else ""
        print(f"| {row.case.name} | {row.verdict.distance:.2f} | {row.verdict.verdict} | {row.pcc:.3f} | {said} |")
    losses = [base - row.pcc for row in rows]
    print(f"\nSpearman's correlation of the distance with the loss of PCC, {len(rows)} images:\n\n| | rho |\n|---|---:|")
    print(f"| distance | {spearmanr([row.verdict.distance for row in rows], losses)[0]:.2f} |")
    for part in rows[0].verdict.parts:
        print(f"| {part} alone | {spearmanr([row.verdict.parts[part] for row in rows], losses)[0]:.2f} |")
    cells = [(row, loss) for row, loss in zip(rows, losses, strict=True) if row.case.cell]
    print(f"| distance, Jurkat cells alone | {spearmanr([row.verdict.distance for row, _ in cells], [loss for _, loss in cells])[0]:.2f} |")


def draw(rows: list[Row], base: float, path: Path) -> None:
    """Draw distance against loss of PCC."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(8, 5.2), dpi=110)
    axis.axvspan(0, 1, color="#1b7837", alpha=0.10)
    axis.axvspan(1, 2, color="#e6b800", alpha=0.12)
    axis.axvspan(2, 30, color="#d6453d", alpha=0.07)
    for group, colour in COLOURS.items():
        chosen = [row for row in rows if row.case.group == group]
        losses = [max(base - row.pcc, 5e-4) for row in chosen]
        marker = "*" if group in ("held-out interphase", "mitotic") else "s" if group == "other modality" else "o"
        axis.scatter(
            [row.verdict.distance for row in chosen], losses, s=110 if marker == "*" else 38, c=colour, marker=marker, label=group, zorder=3
        )
    axis.set(xscale="log", yscale="log", xlim=(0.2, 20), ylim=(4e-4, 2.5))
    axis.set(xlabel="distance (1: as far as training images lie at most)", ylabel="loss of PCC against held-out interphase")
    for x, word in ((0.45, "inside"), (1.42, "edge"), (6, "outside")):
        axis.text(x, 1.7, word, ha="center", color="#333333")
    axis.legend(fontsize=8, loc="lower right", framealpha=0.9)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Distances from a model's domain beside what its PCC loses.")
    parser.add_argument("--data", type=Path, default=HERE.parent / "shared" / "data")
    parser.add_argument("--work", type=Path, default=HERE / "build" / "domain")
    parser.add_argument("--output", type=Path, default=HERE / "docs" / "images" / "domain.png")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = train_model(args.data, args.work)
    rows = []
    for case in cases(args.data):
        verdict = check_domain(model, case.stack)
        assert verdict is not None
        rows.append(Row(case, verdict, pcc_of(model, case)))
    base = float(np.mean([row.pcc for row in rows if row.case.group == "held-out interphase"]))
    print_tables(rows, base)
    draw(rows, base, args.output)


if __name__ == "__main__":
    main()
