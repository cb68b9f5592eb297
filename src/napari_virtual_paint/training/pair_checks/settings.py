"""Whether the settings of a run fit its data: all that a training refuses before its first step."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

from napari_virtual_paint.errors import VirtualPaintError
from napari_virtual_paint.training.config.run import TrainConfig
from napari_virtual_paint.training.data.find import find
from napari_virtual_paint.training.data.inputs import keep_inputs
from napari_virtual_paint.training.data.pairs import DataSet
from napari_virtual_paint.training.data.patches import Draw
from napari_virtual_paint.training.run_folder.outputs import check_run_outputs


def settings_problems(config: TrainConfig, data: DataSet) -> Iterator[str]:
    """Yield why a training would refuse its settings, each sentence as the training would say it.

    Parameters
    ----------
    data
        The set; its pixels are not needed.
    """
    if data.pairs:
        yield from _refusals(lambda: Draw([pair.metadata for pair in data.holding("train")], config.data.balance))
    if importlib.util.find_spec("lightning") is None:
        return
    if config.run is not None:
        run = config.run
        yield from _refusals(lambda: list(keep_inputs(run, find(config.data), config.data.csv, write=False)))
    yield from _refusals(lambda: _try_network(config, data))


def output_problems(config: TrainConfig) -> list[str]:
    """Return why a training would refuse to write its package and its run folder where the configuration says."""
    return [] if config.run is None else _refusals(lambda: check_run_outputs(config))


def _try_network(config: TrainConfig, data: DataSet) -> None:
    """Build the network and its module without memory for weights, and compare the run folder's checkpoint."""
    from napari_virtual_paint.networks.empty import empty_weights
    from napari_virtual_paint.training.initial_weights import build_network, check_start
    from napari_virtual_paint.training.modules.gan import make_module
    from napari_virtual_paint.training.run_folder.checkpoint import check_checkpoint

    with empty_weights():
        network = build_network(config, data)
        make_module(network, config, data, config.steps)
    check_start(network, config, data)
    if config.run is not None:
        check_checkpoint(config.run, config)


def _refusals(work: Callable[[], Any]) -> list[str]:
    try:
        work()
    except VirtualPaintError as error:
        return [str(error)]
    return []
