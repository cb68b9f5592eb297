"""Read the checkpoint that a run resumes from."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.training.config.run import TrainConfig
from napari_virtual_paint.training.run_folder.watch import CHECKPOINT


def check_checkpoint(folder: Path, config: TrainConfig) -> dict[str, Any] | None:
    """Read the last checkpoint of a run; None for a new run.

    Raises `InputError` if it can't be read, or is of a run with other settings.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    try:
        # weights_only: a checkpoint from elsewhere must not run code.
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        fingerprint = saved["paint"]["fingerprint"]
    except (OSError, RuntimeError, KeyError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(f"{path}: the checkpoint can't be read; delete {folder} to begin again.") from error
    if fingerprint != config.fingerprint():
        raise InputError(f"{folder}: this run was started with other settings; set another run folder, or delete this one to begin again.")
    return saved
