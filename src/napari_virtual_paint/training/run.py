"""A run of training from its configuration to its package. This module needs Lightning; `training.train` says so where it is absent."""

from __future__ import annotations

import contextlib
import csv
import io
import logging
import pickle
import re
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader

from napari_virtual_paint.errors import Cancelled, InputError, WriteError
from napari_virtual_paint.networks import build
from napari_virtual_paint.training.config import TrainConfig
from napari_virtual_paint.training.module import Epoch, PaintModule
from napari_virtual_paint.training.pairs import DataSet, load
from napari_virtual_paint.training.patches import Sampler, Steps
from napari_virtual_paint.training.preview import Previewer
from napari_virtual_paint.training.progress import Report, Reporter
from napari_virtual_paint.training.run_files import RunFiles
from napari_virtual_paint.training.watch import CHECKPOINT, CURVE


@dataclass(frozen=True, eq=False)
class Phase:
    """A training that came to its end.

    Parameters
    ----------
    weights
        The best epoch's, of the running average if there is one.
    step
        Steps that the best epoch had behind it.
    curve
        Every epoch.
    """

    weights: Mapping[str, torch.Tensor]
    step: int
    curve: tuple[Epoch, ...]


def train(config: TrainConfig, report: Report, command: str = "") -> Path:
    """Train as the configuration says and write the package; a run that was broken off goes on from its last epoch.

    Parameters
    ----------
    config
        From `load_config`.
    report
        Called with the progress of every step and epoch.
    command
        How the run was started, for the card.

    Returns
    -------
    Path
        The package.

    Raises
    ------
    InputError
        If the data or the settings don't fit, or the run's folder belongs to another configuration.
    Cancelled
        If the user stopped the run (Ctrl-C); it can be resumed.
    """
    from napari_virtual_paint.training.package import write_package

    assert config.run is not None
    with _quiet(), _threads(config.threads), RunFiles(config.run, config.id, config.output) as files:
        files.phase("reading images")
        data = load(config)
        files.stains = data.stains
        first = kept = _fit(config, data, config.run, config.steps, "training", report, files)
        if config.refit and not files.finishing:
            kept = _fit(config, data.whole(), config.run / "refit", first.step, "refit", report, files)
        if config.refit and files.finishing:
            config, kept = config.model_copy(update={"refit": False}), first
        files.phase("writing the package")
        scored, network = _network(config, data).eval(), _network(config, data).eval()
        scored.load_state_dict(dict(first.weights))
        network.load_state_dict(dict(kept.weights))
        return write_package(config, data, scored, network, first.step, command)


def _network(config: TrainConfig, data: DataSet) -> nn.Module:
    """Build the network with weights drawn from the seed."""
    lightning.seed_everything(config.seed, verbose=False)
    settings = network_config(config, data)
    try:
        network = build(config.network.architecture, settings)
    except (TypeError, ValueError) as error:
        unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        words = f"{config.network.architecture} has no setting {unknown[1]!r}" if unknown else str(error).rstrip(".")
        raise InputError(f"network.config: {words}.") from error
    step = 2 ** (int(network.depth) - 1)  # type: ignore[arg-type]
    if any(side % step for side in config.patch):
        raise InputError(f"patch: each side must be a multiple of {step} for this network, not {' x '.join(map(str, config.patch))}.")
    return network


def network_config(config: TrainConfig, data: DataSet) -> dict[str, Any]:
    """Return the network's settings with the channels that the data has."""
    counts = {"in_channels": len(data.channels), "out_channels": len(data.stains)}
    for name, count in counts.items():
        if config.network.config.get(name, count) != count:
            raise InputError(f"network.config.{name} is {config.network.config[name]}, but the data has {count}; leave it out.")
    return {**config.network.config, **counts}


def _fit(config: TrainConfig, data: DataSet, folder: Path, end: int, name: str, report: Report, files: RunFiles) -> Phase:
    """Train up to a step, from the last checkpoint where there is one; the schedule of the learning rate is that of all steps."""
    module = PaintModule(_network(config, data), config, data.holding("validation"), config.steps, end)
    resume = _checkpoint(folder, config, module)
    if resume is not None and (resume["finished"] or (module.curve and module.curve[-1].step >= end)):
        return _phase(module)
    files.phase(name, end)
    reporter = Reporter(name, end, report, files, lambda done: _save(folder, done), Previewer(data))
    module.after_epoch = [lambda done: _save(folder, done), reporter.epoch_done]
    sampler = Sampler(data.holding("train"), config)
    loader = DataLoader(
        Steps(sampler, lambda: module.global_step, lambda first: min(config.epoch - first % config.epoch, end - first)), batch_size=None
    )
    trainer = lightning.Trainer(
        max_epochs=-(-end // config.epoch),
        accelerator={"auto": "auto", "cpu": "cpu", "cuda": "gpu", "mps": "mps"}[config.device],
        devices=1,
        precision="bf16-mixed" if config.precision == "bfloat16" else "32-true",
        gradient_clip_val=config.optimizer.clip or None,
        callbacks=[reporter],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    _go(trainer, module, loader, folder / CHECKPOINT if resume is not None else None, folder)
    return _phase(module)


def _go(trainer: lightning.Trainer, module: PaintModule, loader: DataLoader[Any], checkpoint: Path | None, folder: Path) -> None:
    """Run the trainer; Ctrl-C becomes `Cancelled`, with what was saved still there."""
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if main else None
    try:
        trainer.fit(module, loader, ckpt_path=checkpoint, weights_only=True)
    except SystemExit:
        # Lightning turns Ctrl-C into an exit and leaves it ignored.
        if not trainer.interrupted:
            raise
        if main:
            signal.signal(signal.SIGINT, handler)
        done = f"its state after step {module.curve[-1].step} is kept" if module.curve else "no epoch was finished yet"
        raise Cancelled(f"{folder}: training was stopped; {done}, and the same command goes on from there.") from None


def _phase(module: PaintModule) -> Phase:
    assert module.best is not None
    return Phase(module.best["weights"], int(module.best["step"]), tuple(module.curve))


def _checkpoint(folder: Path, config: TrainConfig, module: PaintModule) -> dict[str, Any] | None:
    """Take the run's own part of the last checkpoint into the module; None where the run begins."""
    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        own: dict[str, Any] = saved["paint"]
    except (OSError, RuntimeError, KeyError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(f"{path}: the checkpoint can't be read; delete {folder} to begin again.") from error
    if own["fingerprint"] != config.fingerprint():
        raise InputError(f"{folder}: this run was begun with other settings; set another run folder, or delete this one to begin again.")
    module.on_load_checkpoint(saved)
    return own


def _save(folder: Path, module: PaintModule) -> None:
    """Write checkpoint and curve beside their places, then rename: a run killed at any moment finds whole files."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        beside = folder / f".{CHECKPOINT}.part"
        module.trainer.save_checkpoint(beside)
        beside.replace(folder / CHECKPOINT)
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        stains = len(module.curve[-1].pcc) if module.curve else 0
        table.writerow(["epoch", "step", "loss", *(f"pcc_{i}" for i in range(stains))])
        table.writerows([line.epoch, line.step, f"{line.loss:.6f}", *(f"{value:.6f}" for value in line.pcc)] for line in module.curve)
        part = folder / f".{CURVE}.part"
        part.write_text(text.getvalue(), encoding="utf-8")
        part.replace(folder / CURVE)
    except OSError as error:
        raise WriteError(folder, f"the checkpoint can't be written ({error.strerror or error})") from error


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Work with so many threads."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's advice off the terminal: what a user must know comes as progress or as an error."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
