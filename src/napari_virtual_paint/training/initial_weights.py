"""The initial network of a run: built for the data, with weights from the seed or from another model."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import lightning
from torch import Tensor, nn

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.models import open_model
from napari_virtual_paint.networks import build
from napari_virtual_paint.networks.empty import empty_weights
from napari_virtual_paint.networks.pix2pixhd import Pix2PixHD
from napari_virtual_paint.training.config.network import Pix2PixHDGan
from napari_virtual_paint.training.config.run import TrainConfig
from napari_virtual_paint.training.data.pairs import DataSet
from napari_virtual_paint.training.modules.losses import normal_weights
from napari_virtual_paint.training.network_sizes import check_normalized, check_patch


def build_network(config: TrainConfig, data: DataSet) -> nn.Module:
    """Build the network with weights drawn from the seed.

    Raises `InputError` if its settings don't fit each other, the data or the patch.
    """
    settings = network_config(config, data)
    try:
        with empty_weights():
            probe = build(config.network.architecture, settings)
        lightning.seed_everything(config.seed, verbose=False)
        network = build(config.network.architecture, settings)
    except (TypeError, ValueError) as error:
        unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        problem = f"{config.network.architecture} has no setting {unknown[1]!r}" if unknown else str(error).rstrip(".")
        raise InputError(f"network.config: {problem}.") from error
    check_patch(network, config.patch)
    check_normalized(probe, (config.batch, len(data.channels), *config.patch))
    if isinstance(config.objective, Pix2PixHDGan):
        normal_weights(network)
    return network


def network_config(config: TrainConfig, data: DataSet) -> dict[str, Any]:
    """Return the network's settings with the channels of the data."""
    counts = {"in_channels": len(data.channels), "out_channels": len(data.stains)}
    if config.network.architecture == "UNeXt2" and config.network.dims == 2:
        # Its planes are channels of the field, but not of the network.
        planes = config.network.config.get("planes", 5)
        if not isinstance(planes, int) or len(data.channels) % max(planes, 1):
            raise InputError(f"network.config.planes is {planes!r}, but the input has {len(data.channels)} planes and channels together.")
        counts["in_channels"] //= max(planes, 1)
    for name, count in counts.items():
        if config.network.config.get(name, count) != count:
            raise InputError(f"network.config.{name} is {config.network.config[name]}, but the data has {count}; leave it out.")
    return {**config.network.config, **counts}


def take_start(network: nn.Module, config: TrainConfig, data: DataSet) -> None:
    """Copy the weights of the model in the configuration's `start`; a local enhancer takes those of its global generator.

    Raises as `check_start`.
    """
    fitting = check_start(network, config, data)
    if fitting:
        network.load_state_dict({**network.state_dict(), **fitting})


def check_start(network: nn.Module, config: TrainConfig, data: DataSet) -> dict[str, Tensor]:
    """Return the weights of the model in the configuration's `start` that fit the network; none without a start.

    In fine-tuning, the rows of the last layer are those of the stains that the model paints; other stains keep the network's own.

    Raises
    ------
    ModelError
        If there is no such model.
    InputError
        If its shape differs, or its stains are in another order.
    """
    if config.start is None:
        return {}
    model = open_model(config.start)
    own_state, start_state = network.state_dict(), model.network.state_dict()
    fitting = {key: value for key, value in start_state.items() if key in own_state and value.shape == own_state[key].shape}
    if config.fine_tuning is not None:
        head = head_weights(config.network.architecture, network_config(config, data))
        fitting |= _rows_by_stain(start_state, own_state, head, model.info.stains, data.stains)
    needed = set(own_state)
    if isinstance(network, Pix2PixHD) and network.config.enhancers and not model.info.config.get("enhancers", 0):
        needed = {key for key in own_state if key.startswith("model.")}
    if needed - set(fitting):
        shape = f"{model.info.architecture} {dict(model.info.config)}" if model.info.architecture else "one of another program"
        own = f"{config.network.architecture} {network_config(config, data)}"
        raise InputError(f"start: {config.start} is {shape}, whose weights don't fit {own}; set network to the model's own.")
    if config.fine_tuning is None and sorted(model.info.stains) == sorted(data.stains) and tuple(model.info.stains) != tuple(data.stains):
        order = ", ".join(model.info.stains)
        raise InputError(f"start: {config.start} paints {order} in this order; set data.target_channels to the same.")
    return fitting


def _rows_by_stain(
    start: Mapping[str, Tensor], own: Mapping[str, Tensor], head: Collection[str], painted: Sequence[str], stains: Sequence[str]
) -> dict[str, Tensor]:
    """Return the last layer's weights, with the rows of the stains that the other network paints.

    Parameters
    ----------
    start, own
        Weights of the model that is taught further, and of the network.
    head
        Names of the weights of the last layer.
    painted, stains
        Their stains.
    """
    found = {}
    for key in head:
        value, given = own[key], start.get(key)
        each = len(value) // len(stains)  # a layer before a shuffle of pixels has several rows for a stain, one stain behind the other
        if given is None or given.shape[1:] != value.shape[1:] or len(given) != each * len(painted):
            continue
        rows = value.clone()
        for place, stain in enumerate(stains):
            if stain in painted:
                first = list(painted).index(stain) * each
                rows[place * each : (place + 1) * each] = given[first : first + each]
        found[key] = rows
    return found


def head_weights(architecture: str, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the weights of which each row is a stain's: their length changes with the number of stains."""
    shapes: list[dict[str, Any]] = []
    for stains in (1, 2):
        try:
            with empty_weights():
                probe = build(architecture, {**settings, "out_channels": stains})
        except (TypeError, ValueError):  # the network can't paint another number of stains
            return ()
        shapes.append({key: value.shape for key, value in probe.state_dict().items()})
    return tuple(key for key, shape in shapes[0].items() if shape != shapes[1][key])
