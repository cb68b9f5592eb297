"""Training: a frozen configuration, pairs, patches and Lightning modules. Needs the extra ``train`` (Lightning).

Importing this module imports neither torch nor Lightning; what trains, checks and estimates is imported on first use.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from napari_virtual_paint.errors import VirtualPaintError
from napari_virtual_paint.runtime.lazy_exports import lazy_exports
from napari_virtual_paint.training.config.run import TrainConfig, load_config

if TYPE_CHECKING:
    from napari_virtual_paint.training.callback import TrainingProgress
    from napari_virtual_paint.training.config.recipes import list_recipes
    from napari_virtual_paint.training.pair_checks.check import PairReport, check_pairs
    from napari_virtual_paint.training.run_folder.watch import RunState, read_curve, read_preview, send_command, watch
    from napari_virtual_paint.training.teach import TeachRequest
    from napari_virtual_paint.training.time_estimate import TimeEstimate, estimate

__all__ = [
    "PairReport",
    "RunState",
    "TeachRequest",
    "TimeEstimate",
    "TrainConfig",
    "TrainingProgress",
    "check_pairs",
    "estimate",
    "list_recipes",
    "load_config",
    "read_curve",
    "read_preview",
    "send_command",
    "train",
    "watch",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "callback": "TrainingProgress",
        "config.recipes": "list_recipes",
        "pair_checks.check": "PairReport check_pairs",
        "run_folder.watch": "RunState read_curve read_preview send_command watch",
        "teach": "TeachRequest",
        "time_estimate": "TimeEstimate estimate",
    },
)


def train(config: TrainConfig, report: Callable[[TrainingProgress], None] = lambda progress: None, command: str = "") -> Path:
    """Train as configured and write the package; an interrupted run resumes from its last epoch.

    Parameters
    ----------
    config
        From `load_config`.
    report
        Called with the progress of each step and epoch.
    command
        The command that started the run, for the card.

    Returns
    -------
    Path
        The package.

    Raises
    ------
    VirtualPaintError
        If Lightning is absent.
    InputError
        If data or settings don't fit, or the run folder belongs to another configuration.
    Cancelled
        If the user stopped the run (Ctrl-C); it can be resumed.
    """
    if importlib.util.find_spec("lightning") is None:
        raise VirtualPaintError("Training needs Lightning, which is not installed; run: pip install 'napari-virtual-paint[train]'")
    from napari_virtual_paint.training.run import train as run

    return run(config, report, command)
