"""Print one table: this package's recipe, CP2Image as in the paper, and the paper's baselines, trained and judged on the same cells.

    python scripts/cells_table.py docs/recipes/jurkat-cells.yaml --seconds 1800 [--piece 600]

Every model gets the same training cells, time on the processor (as many steps as its first ones tell to fit) and held-out cells, and all
are judged in one network. The state lies in build/runs/cells-table: the same command goes on where it was stopped, and `--piece` stops
each model after so many seconds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_virtual_paint.cells.cp2image.baselines import KINDS, Baseline, Kind, train_baseline
from napari_virtual_paint.cells.cp2image.config import Adam, Architecture, CellTrainConfig, Features, Loss, load_config
from napari_virtual_paint.cells.cp2image.data import CropSet, load_cells
from napari_virtual_paint.cells.cp2image.evaluate import CellEvaluation, compare, score_drawn
from napari_virtual_paint.cells.cp2image.frechet import FeatureNetwork, train_reader
from napari_virtual_paint.cells.cp2image.model import open_cell_model
from napari_virtual_paint.cells.cp2image.module import Tensors, fit
from napari_virtual_paint.cells.cp2image.package import save_cell_model
from napari_virtual_paint.cells.cp2image.realism import Realism, judge
from napari_virtual_paint.cells.cp2image.train import TrainingCells, begin, draft_of, finish, prepare, readable_cells, requested_cells
from napari_virtual_paint.cli._output import table
from napari_virtual_paint.networks.cellpainter import count_parameters
from napari_virtual_paint.runtime.atomic_write import write_text

FOLDER = Path(__file__).resolve().parents[1] / "build" / "runs" / "cells-table"
TRIED = 4  # steps whose time tells how many fit
PIECES = 50  # checkpoints of a training


def last(items: Iterator[Any]) -> Any:
    found = None
    for found in items:  # noqa: B007 - the last one is wanted
        pass
    return found


def paper_of(config: CellTrainConfig) -> CellTrainConfig:
    """Return the paper's networks, losses, optimizer and batch on the same data, on one scale for all cells, as ours is trained."""
    return config.model_copy(
        update={
            "generator": Architecture(architecture="CP2ImageGenerator"),
            "critic": Architecture(architecture="CP2ImageDiscriminator"),
            "features": Features(),
            "loss": Loss(ramp=100),
            "optimizer": Adam(lr=1e-3, critic_lr=2.5e-4),
            "batch": 104,
            "ema": 0.0,
            "turns": False,
            "scale": "fixed",
            "precision": "float32",
        }
    )


def steps_of(folder: Path, seconds: float, steps: Iterator[Any]) -> int:
    """Return how many steps fit into some seconds: measured once, on steps that are thrown away."""
    path = folder / "steps.json"
    known = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    if known.get("seconds") != seconds:
        next(steps)
        start = time.process_time()
        for _ in range(TRIED):
            next(steps)
        each = (time.process_time() - start) / TRIED
        known = {"seconds": seconds, "steps": max(10, round(seconds / max(each, 1e-9)))}
        folder.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(known), durable=False)
    return int(known["steps"])


def run_until(steps: Iterator[Any], piece: float) -> bool:
    """Train for some seconds; return whether the training came to its end."""
    start = time.process_time()
    return all(time.process_time() - start < piece for _ in steps)


class Table:
    """The cells, the network that judges, and the rows."""

    def __init__(self, config: CellTrainConfig, seconds: float, piece: float, most: int) -> None:
        self.config, self.seconds, self.piece = config.model_copy(update={"refit": False, "threads": 1}), seconds, piece
        cells = last(load_cells(config))
        assert isinstance(cells, CropSet)
        self.cells = cells
        ready = prepare(config, cells)
        self.inside, outside = np.flatnonzero(ready.trained), np.flatnonzero(ready.held_out)
        self.outside = np.sort(np.random.default_rng(0).permutation(outside)[:most])
        readable, self.reader_scale = readable_cells(config, ready, np.flatnonzero(~ready.held_out))
        self.reader = last(train_reader(readable.features, readable.crops))
        self.rows: list[tuple[str, ...]] = []

    def folder(self, name: str) -> Path:
        """Return the folder of a model's checkpoint."""
        return FOLDER / self.config.id / name

    def add_generator(self, name: str, config: CellTrainConfig) -> None:
        """Train and judge a generator that takes features."""
        folder, ready = self.folder(name), prepare(config, self.cells)
        data, wanted = ready.tensors(self.inside, config.turns), ready.tensors(self.outside)
        steps = steps_of(folder, self.seconds, fit(begin(config.model_copy(update={"steps": 10**6}), ready, data), data, wanted))
        config = config.model_copy(update={"steps": steps, "epoch": max(1, steps // PIECES)})
        run = begin(config, ready, data)
        if not run_until(fit(run, data, wanted, folder), self.piece):
            print(f"{name}: step {run.step} of {steps}; the same command goes on.", flush=True)
            return
        finish(config, ready, run, data)
        draft = draft_of(config, ready, run, self.reader, "scripts/cells_table.py")
        model = open_cell_model(save_cell_model(folder / "model.zip", replace(draft, reader_scale=self.reader_scale), overwrite=True))
        requested = requested_cells(self.cells, self.outside)
        found = last(compare(model, requested, network="cells", nuclei=config.data.nuclei))
        self.add(name, "features", count_parameters(run.final_generator), steps, found)

    def add_baseline(self, kind: Kind, config: CellTrainConfig) -> None:
        """Train and judge a generator that takes the picture, or noise."""
        folder, ready = self.folder(kind), prepare(config, self.cells)
        data, wanted = ready.tensors(self.inside), ready.tensors(self.outside)
        steps = steps_of(folder, self.seconds, train_baseline(kind, data, 10**6))
        made: list[Baseline] = []

        def training() -> Iterator[Any]:
            for item in train_baseline(kind, data, steps, folder=folder, every=max(1, steps // PIECES)):
                if isinstance(item, Baseline):
                    made.append(item)
                yield item

        if not run_until(training(), self.piece) or not made:
            print(f"{kind}: not yet trained for {steps} steps; the same command goes on.", flush=True)
            return
        found = self.judged(kind, ready, made[0].draw(wanted.crops), wanted)
        self.add(kind, "noise" if kind == "LSGAN" else "the picture", made[0].parameters, steps, found)

    def judged(self, name: str, ready: TrainingCells, crops: torch.Tensor, wanted: Tensors) -> CellEvaluation:
        """Judge crops as a model's are; one that takes no features has no gain."""
        low, span = ready.low[:, None, None], (ready.high - ready.low)[:, None, None]
        drawn, real = (np.maximum(each.numpy() * span + low, 0).astype(np.float32) for each in (crops, wanted.crops))
        low, high = self.reader_scale.T
        network = FeatureNetwork("CropReader", self.reader, low=low, high=high)
        requested = replace(requested_cells(self.cells, self.outside), crops=real)
        channels, nuclei = self.config.data.channels, self.config.data.nuclei
        found = last(score_drawn(name, channels, requested, drawn, network, nuclei=nuclei))
        looks = last(judge(real, drawn, channels, network))
        assert isinstance(found, CellEvaluation)
        assert isinstance(looks, Realism)
        return replace(found, realism=looks)

    def add(self, name: str, given: str, parameters: int, steps: int, found: CellEvaluation) -> None:
        """Add a row."""
        looks = found.realism
        assert looks.frechet is not None
        assert looks.spectrum is not None
        low, high = looks.spectrum.extremes
        gains = ["-", "-"]
        for place, way in enumerate(("follow", "alone")):
            if found.sweeps.get(way):
                gains[place] = " ".join(f"{each.gain:.2f}" for each in found.sweeps[way])
        scores = (f"{found.share_above:.1%}", f"{found.median:.2f}") if given != "noise" else ("-", "-")
        distance = f"{looks.frechet.drawn:.3g} ({looks.frechet.floor:.3g})"
        self.rows.append(
            (
                name,
                given,
                f"{parameters / 1e6:.2f} M",
                str(steps),
                distance,
                f"{looks.auc:.2f}",
                f"{low:.2f} to {high:.2f}",
                *scores,
                *gains,
            )
        )
        print(self.rows[-1], flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--seconds", type=float, default=1800, help="on the processor, of training for each model")
    parser.add_argument("--piece", type=float, default=float("inf"), help="seconds after which each training stops for now")
    parser.add_argument("--most", type=int, default=300, help="held-out cells to judge")
    parser.add_argument("--models", nargs="+", default=["ours", "CP2Image", *KINDS], choices=["ours", "CP2Image", *KINDS])
    args = parser.parse_args()
    torch.set_num_threads(1)
    config = load_config(args.config)
    made = Table(config, args.seconds, args.piece, args.most)
    paper = paper_of(made.config)
    for name in args.models:
        if name in KINDS:
            made.add_baseline(name, paper)
        else:
            made.add_generator(name, made.config if name == "ours" else paper)
    print(f"\n{len(made.inside)} cells to train on, {len(made.outside)} held out, {args.seconds:g} s of training each\n")
    header = (
        "model",
        "drawn from",
        "parameters",
        "steps",
        "Fréchet (floor)",
        "AUC",
        "spectrum",
        "r > 0.5",
        "median r",
        "gain, follow",
        "alone",
    )
    if made.rows:
        print(table(header, made.rows))


if __name__ == "__main__":
    main()
