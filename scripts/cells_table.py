"""Print one table: CP2Image as in the paper, this package's recipe, and the paper's baselines, trained and judged on the same cells.

    python scripts/cells_table.py docs/recipes/jurkat-cells.yaml --seconds 60

Every model gets the same training cells, time on the processor and held-out wells; the Fréchet distance of all is taken in one network.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_virtual_paint.cells.cp2image.baselines import KINDS, train_baseline
from napari_virtual_paint.cells.cp2image.config import Architecture, CellTrainConfig, load_config
from napari_virtual_paint.cells.cp2image.contour_training import ContourTraining
from napari_virtual_paint.cells.cp2image.data import CropSet, load_cells
from napari_virtual_paint.cells.cp2image.evaluate import CellEvaluation, score_drawn
from napari_virtual_paint.cells.cp2image.frechet import FeatureNetwork, train_reader
from napari_virtual_paint.cells.cp2image.model import noise_of
from napari_virtual_paint.cells.cp2image.module import Tensors, fit
from napari_virtual_paint.cells.cp2image.train import TrainingCells, begin, finish, prepare, requested_cells
from napari_virtual_paint.cli._output import table
from napari_virtual_paint.networks.cellpainter import count_parameters


def last(items: Iterator[Any]) -> Any:
    found = None
    for found in items:  # noqa: B007 - the last one is wanted
        pass
    return found


def paper_of(config: CellTrainConfig) -> CellTrainConfig:
    """Return the paper's networks, losses and optimizer on the same data."""
    same = ("id", "name", "description", "trained_on", "not_for", "output", "data")
    plain = CellTrainConfig(**{name: getattr(config, name) for name in same}, generator=Architecture(architecture="CP2ImageGenerator"))
    loss = plain.loss.model_copy(update={"ramp": 100})
    optimizer = plain.optimizer.model_copy(update={"lr": 1e-3, "critic_lr": 2.5e-4})
    return config.model_copy(
        update={
            "generator": plain.generator,
            "critic": plain.critic,
            "features": plain.features,
            "loss": loss,
            "optimizer": optimizer,
            "batch": 104,
            "ema": 0.0,
        }
    )


def steps_in(seconds: float, config: CellTrainConfig, ready: TrainingCells, data: Tensors) -> int:
    """Return how many steps fit into some seconds."""
    run = begin(config, ready, data)
    run.update(data)
    start = time.perf_counter()
    for _ in range(3):
        run.update(data)
    return max(10, int(3 * seconds / (time.perf_counter() - start)))


def drawn_by(
    config: CellTrainConfig, ready: TrainingCells, data: Tensors, wanted: Tensors, seconds: float
) -> tuple[torch.Tensor, int, int]:
    steps = steps_in(seconds, config, ready, data)
    config = config.model_copy(update={"steps": steps, "epoch": steps})
    run = begin(config, ready, data)
    last(fit(run, data, wanted))
    finish(config, ready, run, data)
    network = run.final_generator
    crops = []
    with torch.inference_mode():
        for start in range(0, len(wanted), 128):
            features = wanted.features[start : start + 128]
            if isinstance(run, ContourTraining):
                noise = torch.from_numpy(noise_of(range(start, start + len(features)), run.generator.noise))
                crops.append(network(features, noise=noise))
            else:
                crops.append(network(features).float())
    return torch.cat(crops), steps, count_parameters(network)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("config", type=Path)
    parser.add_argument("--seconds", type=float, default=120, help="of training for each model")
    parser.add_argument("--most", type=int, default=400, help="held-out cells to judge")
    args = parser.parse_args()
    torch.set_num_threads(1)
    config = load_config(args.config)
    cells = last(load_cells(config))
    assert isinstance(cells, CropSet)
    ready = prepare(config, cells)
    inside, outside = np.flatnonzero(~ready.held_out), np.flatnonzero(ready.held_out)
    outside = np.sort(np.random.default_rng(0).permutation(outside)[: args.most])
    data, wanted = ready.tensors(inside), ready.tensors(outside)
    network = FeatureNetwork("CropReader", last(train_reader(data.features, data.crops, seed=1)))
    low, span = ready.low[:, None, None], (ready.high - ready.low)[:, None, None]
    rows = []

    def add(name: str, given: str, crops: torch.Tensor, steps: int, parameters: int) -> None:
        drawn = np.maximum(crops.numpy() * span + low, 0).astype(np.float32)
        requested = requested_cells(cells, outside)
        found = last(score_drawn(name, config.data.channels, requested, drawn, network, ready.low, ready.high, nuclei=config.data.nuclei))
        assert isinstance(found, CellEvaluation)
        share, median = (f"{found.share_above:.1%}", f"{found.median:.2f}") if given != "noise" else ("-", "-")
        rows.append((name, given, f"{parameters / 1e6:.2f} M", str(steps), f"{found.fid:.2f}", share, median))
        print(rows[-1], flush=True)

    add(config.generator.architecture, "features", *drawn_by(config, ready, data, wanted, args.seconds))
    paper = paper_of(config)
    steps = steps_in(args.seconds, paper, ready, data)
    add("CP2Image (paper)", "features", *drawn_by(paper, ready, data, wanted, args.seconds))
    for kind in KINDS:
        baseline = last(train_baseline(kind, data, steps))
        add(kind, "noise" if kind == "LSGAN" else "the picture", baseline.draw(wanted.crops), steps, baseline.parameters)
    print(
        f"\n{len(inside)} cells to train on, {len(outside)} held out, {len(ready.features)} features, {args.seconds:g} s of training each\n"
    )
    print(table(("model", "drawn from", "parameters", "steps", "FID", "r > 0.5", "median r"), rows))


if __name__ == "__main__":
    main()
