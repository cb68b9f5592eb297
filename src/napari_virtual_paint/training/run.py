"""Run a training from its configuration to its package. Needs Lightning; `training.train` raises a clear error without it."""

from __future__ import annotations

import contextlib
import csv
import io
import logging
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.data import DataLoader

from napari_virtual_paint.device import torch_threads
from napari_virtual_paint.errors import Cancelled, InputError, WriteError
from napari_virtual_paint.runtime.atomic_write import updating, write_text
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.training import fine_tuning
from napari_virtual_paint.training.callback import Report, Reporter, TrainingProgress
from napari_virtual_paint.training.config.run import TrainConfig
from napari_virtual_paint.training.data.pairs import DataSet
from napari_virtual_paint.training.data.patches import PatchBatches, Sampler
from napari_virtual_paint.training.data.store import forget
from napari_virtual_paint.training.initial_weights import build_network, take_start
from napari_virtual_paint.training.modules.base import Epoch, PaintModule
from napari_virtual_paint.training.modules.gan import make_module
from napari_virtual_paint.training.pair_checks.check import checking
from napari_virtual_paint.training.preview import Previewer
from napari_virtual_paint.training.run_folder.checkpoint import check_checkpoint
from napari_virtual_paint.training.run_folder.outputs import check_run_outputs
from napari_virtual_paint.training.run_folder.watch import CHECKPOINT, CURVE
from napari_virtual_paint.training.run_folder.writer import RunFolderWriter


@dataclass(frozen=True, eq=False)
class Phase:
    """Result of a finished training."""

    weights: Mapping[str, torch.Tensor]  # weights of the best epoch, of the running average if there is one
    step: int  # steps up to the best epoch
    curve: tuple[Epoch, ...]  # every epoch


def train(config: TrainConfig, report: Report, command: str = "") -> Path:
    """Train; see `training.train`, which checks first that Lightning is installed."""
    from napari_virtual_paint.training.package import write_package

    assert config.run is not None
    if rank_zero_only.rank:
        report = _silent
    else:
        check_run_outputs(config)
    with (
        _silence_lightning(),
        torch_threads(config.threads),
        RunFolderWriter(config.run, config.id, config.output, config.monitor) as files,
    ):
        files.phase("reading images")
        data = _read(config, report, files)
        files.stains = data.stains
        first = final = _fit(config, data, config.run, config.steps, "training", report, files)
        taught = _taught(config, data, first, report, files)
        if config.refit and not files.finishing:
            final = _fit(config, data.whole(), config.run / "refit", first.step, "refit", report, files)
        # A refit cut short is worse than the scored network, which is saved instead.
        if config.refit and files.finishing:
            config, final = config.model_copy(update={"refit": False}), first
        files.phase("writing the package")
        scored, network = build_network(config, data).eval(), build_network(config, data).eval()
        scored.load_state_dict(dict(first.weights))
        network.load_state_dict(dict(final.weights))
        package = write_package(config, data, scored, network, first.step, command, _stopped(config, first, files), taught)
        forget(config)
        return package


def _taught(config: TrainConfig, data: DataSet, first: Phase, report: Report, files: RunFolderWriter) -> fine_tuning.Taught | None:
    """Return what a card says of fine-tuning: the scores before it, and whether more images would help; None for another training."""
    if config.fine_tuning is None:
        return None
    assert config.run is not None
    before = fine_tuning.scores_before(config, build_network(config, data), data)
    advice = None
    if config.fine_tuning.curve and data.holding("validation") and not files.finishing:
        half = fine_tuning.half_of(data)
        less = _fit(config, half, config.run / "half", config.steps, "training on half of the images", report, files)
        if not files.finishing:  # a training cut short says nothing of what more images give
            advice = fine_tuning.advise(data, config, *(max(line.mean("pcc") for line in one.curve) for one in (less, first)))
    return fine_tuning.Taught(before, advice)


def _stopped(config: TrainConfig, phase: Phase, files: RunFolderWriter) -> str:
    """Return after how many of its steps a training was ended by its user; empty where it was not."""
    done = phase.curve[-1].step
    return f"Stopped after {done:,} of {config.steps:,} steps" if files.finishing and done < config.steps else ""


def _read(config: TrainConfig, report: Report, files: RunFolderWriter) -> DataSet:
    """Read the pairs, report the progress and faults."""
    data, checked = run_to_end(checking(config), lambda step: files.reading(step.done, step.total))
    notes = data.notes if checked is None else checked.sentences() if checked.faulty or checked.notes else ()
    for sentence in notes:
        report(TrainingProgress("pairs", 0, 0, message=sentence))
    return data


def _silent(progress: TrainingProgress) -> None:
    """Report nothing: with several devices only the first process reports."""


def _fit(config: TrainConfig, data: DataSet, folder: Path, end: int, name: str, report: Report, files: RunFolderWriter) -> Phase:
    """Train up to a step, from the last checkpoint if there is one; the learning-rate schedule spans all steps."""
    network = build_network(config, data)
    # The module copies the network for its running average, so that the first weights must be there before.
    if (folder / CHECKPOINT).is_file():
        take_start(network, config, data)
    else:
        fine_tuning.begin(network, config, data)
    module = make_module(network, config, data, end)
    resume = _checkpoint(folder, config, module)
    if resume is not None and (resume["finished"] or (module.curve and module.curve[-1].step >= end)):
        return _phase(module)
    files.phase(name, end)
    reporter = Reporter(name, end, report, files, lambda done: _save(folder, done), Previewer(data))
    module.after_epoch = [lambda done: _save(folder, done), reporter.epoch_done]
    sampler = Sampler(data.holding("train"), config, fine_tuning.replay_pair(config, data))
    steps = PatchBatches(sampler, lambda: module.done, lambda first: min(config.epoch - first % config.epoch, end - first))
    trainer = _trainer(config, module, end, reporter)
    _run_trainer(trainer, module, DataLoader(steps, batch_size=None), folder / CHECKPOINT if resume is not None else None, folder)
    if not trainer.is_global_zero:
        # The processes that Lightning started for the other GPUs end here: the first one writes the package.
        raise SystemExit(0)
    return _phase(module)


def _trainer(config: TrainConfig, module: PaintModule, end: int, reporter: Reporter) -> lightning.Trainer:
    """Return the trainer, for one device or several."""
    own = module.automatic_optimization
    gpu = config.device in ("auto", "cuda") and torch.cuda.is_available()
    several = "ddp" if own else "ddp_find_unused_parameters_true"
    trainer = lightning.Trainer(
        max_epochs=-(-end // config.epoch),
        accelerator={"auto": "auto", "cpu": "cpu", "cuda": "gpu", "mps": "mps"}[config.device],
        devices="auto" if config.devices == "all" else config.devices,
        strategy="auto" if config.devices == 1 or (config.devices == "all" and not gpu) else several,
        # Batch statistics over all processes equal those of one process; torch has none for CPUs.
        sync_batchnorm=gpu and config.devices != 1,
        precision="bf16-mixed" if config.precision == "bfloat16" else "32-true",
        gradient_clip_val=(config.optimizer.clip or None) if own else None,
        callbacks=[reporter],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    if config.batch % trainer.world_size:
        raise InputError(f"batch: {config.batch} patches can't be shared evenly by {trainer.world_size} devices; set a multiple.")
    return trainer


def _run_trainer(trainer: lightning.Trainer, module: PaintModule, loader: DataLoader[Any], checkpoint: Path | None, folder: Path) -> None:
    """Run the trainer; Ctrl-C becomes `Cancelled`, and the last checkpoint stays."""
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if main else None
    try:
        trainer.fit(module, loader, ckpt_path=checkpoint, weights_only=True)
    except SystemExit:
        # Lightning turns Ctrl-C into an exit and leaves SIGINT ignored.
        if not trainer.interrupted:
            raise
        if main:
            signal.signal(signal.SIGINT, handler)
        done = f"its state after step {module.curve[-1].step} is kept" if module.curve else "no epoch was finished yet"
        raise Cancelled(f"{folder}: training was stopped; {done}, and the same command resumes it.") from None


def _phase(module: PaintModule) -> Phase:
    assert module.best is not None
    return Phase(module.best["weights"], int(module.best["step"]), tuple(module.curve))


def _checkpoint(folder: Path, config: TrainConfig, module: PaintModule) -> dict[str, Any] | None:
    """Load the run's own state of the last checkpoint into the module; None for a new run."""
    saved = check_checkpoint(folder, config)
    if saved is None:
        return None
    module.on_load_checkpoint(saved)
    own: dict[str, Any] = saved["paint"]
    return own


def _save(folder: Path, module: PaintModule) -> None:
    """Write checkpoint and curve atomically, so that a run killed at any moment finds whole files."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not module.trainer.is_global_zero:
            module.trainer.save_checkpoint(folder / CHECKPOINT)  # every process must take part; the first one writes
            return
        with updating(folder / CHECKPOINT) as temporary:
            module.trainer.save_checkpoint(temporary)
        write_text(folder / CURVE, _curve(module.curve), durable=False)
    except OSError as error:
        raise WriteError(folder, f"the checkpoint can't be written ({error.strerror or error})") from error


def _curve(lines: Sequence[Epoch]) -> str:
    """Return a curve as CSV."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    rows = [
        {
            "loss": line.loss,
            **{f"{name}_{i}": value for name, values in line.scores.items() for i, value in enumerate(values)},
            **dict(line.more),
        }
        for line in lines
    ]
    names = list(dict.fromkeys(chain(["loss"], *reversed(rows))))  # epochs of an earlier version may lack a score
    table.writerow(["epoch", "step", *names])
    for line, row in zip(lines, rows, strict=True):
        table.writerow([line.epoch, line.step, *(f"{row[name]:.6f}" if name in row else "" for name in names)])
    return text.getvalue()


@contextlib.contextmanager
def _silence_lightning() -> Iterator[None]:
    """Silence Lightning's advice: the user gets progress and errors from us."""
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
