"""`virtual-paint cells train`: train a model that draws a cell from its features."""

from __future__ import annotations

import argparse
import shlex
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.cli import INTERRUPTED
from napari_virtual_paint.cli._options import add_axes, add_json
from napari_virtual_paint.cli._output import ProgressBar, print_note, print_result
from napari_virtual_paint.cli.cells_evaluate import summary
from napari_virtual_paint.runtime.progress import Progress

if TYPE_CHECKING:
    from napari_virtual_paint.cells.cp2image.config import CellTrainConfig


def add_parser(subparsers: Any) -> None:
    """Add the action to the parser of ``virtual-paint cells``."""
    parser = subparsers.add_parser(
        "train",
        help="train a model of cells from a configuration file",
        description="Measure cells, train a generator and write its package, with its scores on held-out wells or montages. If it is "
        "stopped or killed, the same command goes on.",
    )
    parser.add_argument("config", type=Path, metavar="CONFIG.yaml", help="configuration: data, model and output; see docs/cells-models.md")
    parser.add_argument("--estimate", action="store_true", help="only read the cells, time a few steps and print how long they would take")
    add_axes(parser)
    add_json(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Train a model, write its package and print its scores."""
    from napari_virtual_paint.cells.cp2image.config import load_config
    from napari_virtual_paint.cells.cp2image.train import train

    start = time.perf_counter()
    config = load_config(args.config)
    command = ["virtual-paint", "cells", "train", args.config.as_posix()]
    if args.axes is not None:
        config = config.model_copy(update={"data": config.data.changed(axes=args.axes)})
        command += ["--axes", args.axes]
    if args.estimate:
        return _estimate(config, as_json=args.json)
    path = found = None
    try:
        with ProgressBar("Training") as progress:
            for item in train(config, shlex.join(command)):
                if isinstance(item, tuple):
                    path, found = item
                else:
                    progress.update(item.done, item.total, item.message)
    except KeyboardInterrupt:
        print_note(f"{config.run}: training was stopped; the same command goes on from its last epoch.")
        return INTERRUPTED
    assert found is not None
    scores = {name: value for name, value in found.to_dict().items() if name != "per_feature"}
    report = {"model": config.id, "output": str(path), "scores": scores, "seconds": round(time.perf_counter() - start, 1)}
    print_result(report, f"{config.id}: {path}\n{summary(found)}", as_json=args.json)
    return 0


def _estimate(config: CellTrainConfig, *, as_json: bool) -> int:
    """Time a few steps and print how long the training would take."""
    from napari_virtual_paint.cells.cp2image.pace import measure_pace
    from napari_virtual_paint.runtime.text import rough_duration

    found = None
    with ProgressBar("Timing") as progress:
        for item in measure_pace(config):
            if isinstance(item, Progress):
                progress.update(item.done, item.total, item.message)
            else:
                found = item
    assert found is not None
    report = {"pace": asdict(found.pace), "steps": found.steps, "epoch": found.epoch, "seconds": found.seconds}
    text = f"{found.steps:,} steps take about {rough_duration(found.seconds)}; reading the cells and scoring the held-out ones come on top."
    print_result(report, text, as_json=as_json)
    return 0
