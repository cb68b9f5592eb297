"""Prints the table of docs/training.md: every kind of training, tiny, on simulated fields with several seeds, and its scores.

    python scripts/trainers_table.py [--seeds 3] [--folder build/trainers]

Every kind goes the whole road: a YAML configuration, `train`, the package, and `paint` on fields that no training saw, whose scores are
printed as mean and SD over the seeds. The 2D network of fnet paints, plane by plane, the held-out stacks that the 3D network paints whole.
Seconds are the processor's. What is in the folder already is not trained again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from napari_virtual_paint.metrics import score
from napari_virtual_paint.models import open_model
from napari_virtual_paint.painting import PaintSettings, paint, run_to_end
from napari_virtual_paint.samples import SimulationSettings, simulate_field
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.training import load_config, train

FLAT = {"simulate": {"fields": 10, "size": 256, "seed": 60000}, "target_channels": ["DNA", "ER", "Mito"]}
DEEP = {"simulate": {"fields": 8, "size": 96, "z": 24, "seed": 61000}, "target_channels": ["DNA", "Membrane"]}
HALF = {**FLAT, "resample": [None, 1.3, 1.3]}
TEST = {2: [SimulationSettings(size=256, seed=seed) for seed in range(62000, 62004)],
        3: [SimulationSettings(size=96, z=24, seed=seed) for seed in range(63000, 63003)]}  # fmt: skip
"""Fields that no training saw."""
FAST = {"name": "adamw", "lr": 2e-3, "weight_decay": 0.01, "schedule": "one_cycle", "clip": 1.0}
HALF_SIZE = "pix2pixhd, global at half size"
UNET = {"architecture": "UNet", "config": {"width": 8, "depth": 4, "max_width": 64}}
PIXEL = {"data": FLAT, "network": UNET, "patch": [64, 64], "batch": 8, "steps": 400, "epoch": 100, "optimizer": FAST}
HD = {
    "objective": {"kind": "pix2pixhd", "critic": {"width": 16, "layers": 2}},
    "data": FLAT,
    "network": {"architecture": "Pix2PixHD", "config": {"width": 8, "downs": 2, "blocks": 3}},
    "patch": [96, 96],
    "batch": 2,
    "steps": 500,
    "epoch": 100,
    "keep": "last",
}
VOLUME = {"recipe": "fnet-3d", "data": {**DEEP, "resample": None}, "batch": 4, "steps": 300, "epoch": 100, "optimizer": {"lr": 2e-3}}
KINDS: dict[str, dict[str, Any]] = {
    "pixel, L1": PIXEL,
    "pixel, MSE": {**PIXEL, "loss": "mse"},
    "cwgan-gp from pixel, L1": {
        **PIXEL,
        "objective": {"kind": "cwgan-gp", "critic": {"width": 16}},
        "batch": 4,
        "steps": 500,
        "optimizer": {},
        "keep": "last",
        "start": "pixel, L1",
    },
    "pix2pixhd, global": HD,
    HALF_SIZE: {**HD, "data": HALF},
    "pix2pixhd, local from it": {
        **HD,
        "network": {"architecture": "Pix2PixHD", "config": {"width": 4, "downs": 2, "blocks": 3, "enhancers": 1, "local_blocks": 2}},
        "objective": {**HD["objective"], "fix_global": 50},
        "start": HALF_SIZE,
    },
    "fnet 2D, plane by plane": {
        **VOLUME,
        "recipe": "fnet-2d",
        "network": {"config": {"depth": 2, "mult_chan": 8}},
        "patch": [64, 64],
        "batch": 12,
        "steps": 400,
    },
    "fnet 3D": {**VOLUME, "network": {"config": {"depth": 2, "mult_chan": 4}}, "patch": [16, 64, 64]},
}
"""Name -> what is told of the training; `start` is the name of another one."""
SETTINGS = PaintSettings(device="cpu")


def trained(name: str, seed: int, folder: Path) -> tuple[Path, float]:
    """Train one kind with one seed, and return its package and the seconds that it took."""
    place = folder / f"{list(KINDS).index(name)}-{seed}"
    place.mkdir(parents=True, exist_ok=True)
    values = dict(KINDS[name])
    if "start" in values:
        values["start"] = str(folder.resolve() / f"{list(KINDS).index(values['start'])}-{seed}" / "package")
    fixed = {"id": "trainer", "name": "Trainer", "description": name, "trained_on": "Simulated fields.", "not_for": "Anything but a table."}
    ours = {"output": "package", "split": {"validation": 0.1}, "seed": seed, "device": "cpu", "threads": 1}
    (place / "run.yaml").write_text(yaml.safe_dump({**fixed, **ours, **values}))
    start, clock = time.process_time(), place / "seconds"
    package = train(load_config(place / "run.yaml"))
    if not clock.is_file():
        clock.write_text(f"{time.process_time() - start:.1f}")
    return package, float(clock.read_text())


def scores_of(package: Path, fields: Sequence[tuple[Stack, Stack]]) -> dict[str, tuple[float, float]]:
    """Return PCC and SSIM of each stain of a package, means over fields."""
    model = open_model(package)
    found: dict[str, list[tuple[float, float]]] = {stain: [] for stain in model.info.stains}
    for brightfield, stains in fields:
        painted = run_to_end(paint(model, brightfield, SETTINGS)).stack
        for index, stain in enumerate(model.info.stains):
            truth = np.asarray(stains.select([stain]).data)[0, 0]
            one = score(np.asarray(painted.data)[0, index], truth)
            found[stain].append((one.pcc or 0.0, one.ssim or 0.0))
    return {stain: (float(np.mean([pcc for pcc, _ in rows])), float(np.mean([ssim for _, ssim in rows]))) for stain, rows in found.items()}


def spread(values: Sequence[float]) -> str:
    """Return mean and SD in words."""
    return f"{np.mean(values):.3f} ± {np.std(values):.3f}"


def row_of(name: str, seeds: int, folder: Path, fields: Mapping[int, Sequence[tuple[Stack, Stack]]]) -> list[str]:
    """Train one kind with every seed and return its line."""
    found, seconds, package = [], [], folder
    for seed in range(seeds):
        package, took = trained(name, seed, folder)
        seconds.append(took)
        volume = "simulate" in KINDS[name]["data"] and KINDS[name]["data"]["simulate"].get("z", 1) > 1
        found.append(scores_of(package, fields[3 if volume else 2]))
    size = sum(p.numel() for p in open_model(package).network.parameters())
    each = ", ".join(f"{stain} {np.mean([one[stain][0] for one in found]):.3f}" for stain in found[0])
    pcc, ssim = ([float(np.mean([values[part] for values in one.values()])) for one in found] for part in (0, 1))
    return [name, f"{size:,}", str(KINDS[name]["steps"]), f"{np.mean(seconds):.0f}", spread(pcc), spread(ssim), each]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("build/trainers"), help="of runs and packages")
    parser.add_argument("--only", choices=KINDS, help="one kind (and what it starts from must be there)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    made = {dims: [simulate_field(one) for one in settings] for dims, settings in TEST.items()}
    fields = {dims: [(field.brightfield, field.stains) for field in some] for dims, some in made.items()}
    head = ["training", "parameters", "steps", "s", "PCC", "SSIM", "PCC of each stain"]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for name in [args.only] if args.only else KINDS:
        if name == HALF_SIZE:  # a step on the way to another
            for seed in range(args.seeds):
                trained(name, seed, args.folder)
        else:
            print(f"| {' | '.join(row_of(name, args.seeds, args.folder, fields))} |", flush=True)


if __name__ == "__main__":
    main()
