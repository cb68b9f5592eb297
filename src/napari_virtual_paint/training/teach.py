"""Teach a model: fine-tune any listed model on a few stained fields, within a time.

It is a training whose configuration follows from the model and the pairs (`plan_fine_tuning`). It lies in the run folder as
``teach.yaml``, so that the same command, or ``virtual-paint train`` with that file, goes on.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.models.catalogue import locate
from napari_virtual_paint.models.channel_names import find_names, is_named
from napari_virtual_paint.models.matching import match
from napari_virtual_paint.networks import build
from napari_virtual_paint.networks.empty import empty_weights
from napari_virtual_paint.networks.sizes import valid_sides
from napari_virtual_paint.runtime.atomic_write import make_folder, write_text
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.runtime.json_file import read_object
from napari_virtual_paint.runtime.outputs import check_outputs, output_path
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.runtime.yaml_text import dump_yaml
from napari_virtual_paint.training.config.data import Data
from napari_virtual_paint.training.config.run import TrainConfig, load_config
from napari_virtual_paint.training.data.channel_order import order_of
from napari_virtual_paint.training.data.find import find
from napari_virtual_paint.training.data.folders import FOLDERS, pair_folders, table_of
from napari_virtual_paint.training.data.scaling import open_selected
from napari_virtual_paint.training.data.source import PairSource
from napari_virtual_paint.training.initial_weights import head_weights
from napari_virtual_paint.training.pace import epoch_of
from napari_virtual_paint.training.run_folder.watch import CHECKPOINT, TAUGHT

if TYPE_CHECKING:
    from napari_virtual_paint.models.info import ModelInfo
    from napari_virtual_paint.models.model import Model
    from napari_virtual_paint.stack import Stack
    from napari_virtual_paint.training.callback import TrainingProgress

CONFIG, REQUEST, PAIRS = TAUGHT
MINUTES = 8.0  # default time of a fine-tuning
STEPS, EPOCH = 800, 40  # most steps, and most steps between two validations
PATIENCE = 6  # validations without improvement after which it ends
RATE = 5e-4  # largest learning rate: a quarter of that of the recipe `quick`
REPLAY = 0.1  # share of the patches that replay old data, where the stains are the same
BATCH, SIDE, PLANES = 4, 128, 16  # patches a step, and their longest side in y and x, and in z
HELD, BAND = 0.2, 0.25  # share of the fields that is held out; of the only field
SHARE_OF_TIME = 0.85  # of the time that the steps may take; the rest is for reading, scores and the package
COUNTED = ("in_channels", "out_channels")  # settings of a network that follow from the data
NOT_FOR = "Images unlike those that it was taught on last: another microscope, magnification, contrast, cell line or stain."


@dataclass(frozen=True)
class TeachRequest:
    """What is to be taught."""

    model: str  # id or package of the model
    pairs: tuple[str, ...]  # A table, a folder that holds two folders, or two folders (or images): unstained and stained
    output: Path  # the package of the taught model
    name: str = ""  # its display name; from the package's name where empty
    stains: tuple[str, ...] = ()  # names of the stains, in the images' order; the images' own where empty
    channels: tuple[str, ...] = ()  # the images' channels in the model's order; matched by name where empty
    axes: tuple[str | None, str | None] = (None, None)  # of the arrays of inputs and stains, where the files state none
    minutes: float = MINUTES  # how long it may take
    steps: int | None = None  # number of steps instead of a time, which gives the same model on each machine
    seed: int = 0
    data: Data | None = None  # where the pairs are, instead of `pairs`

    @property
    def run(self) -> Path:
        """The run folder, beside the package."""
        return self.output.with_name(f"{self.output.name.removesuffix('.zip')}.run")


def teach(request: TeachRequest, report: Callable[[TrainingProgress], None] = lambda progress: None, command: str = "") -> Path:
    """Teach a model and write the package; the same request goes on where it was interrupted.

    Parameters
    ----------
    request
        What to teach.
    report
        Called with the progress of each step and epoch.
    command
        The command, for the card.

    Returns
    -------
    Path
        The package. The run folder's ``fine_tuning.json`` has the scores before and after, and whether more fields would help.

    Raises
    ------
    InputError
        If the model can't be trained, or the pairs don't fit it.
    Cancelled
        If the user stopped it; it can be resumed.
    """
    from napari_virtual_paint.training import train
    from napari_virtual_paint.training.callback import TrainingProgress

    said = set[str]()

    def preparing(progress: Progress) -> None:
        if progress.message not in said:
            said.add(progress.message)
            report(TrainingProgress("preparing", 0, 0, message=progress.message))

    return train(run_to_end(preparing_config(request), preparing), report, command)


def preparing_config(request: TeachRequest) -> Generator[Progress, None, TrainConfig]:
    """Write the configuration of a fine-tuning into its run folder, or find the one that it began with.

    Yields
    ------
    Progress
        While a few steps are timed.

    Raises
    ------
    InputError
        As `teach`.
    """
    from napari_virtual_paint.training.run_folder.checkpoint import check_checkpoint
    from napari_virtual_paint.training.run_folder.outputs import check_run_outputs

    request = _with_places(request)
    check_outputs([request.output, request.run], [*_places(request), locate(request.model)])
    asked = json.loads(json.dumps({**asdict(replace(request, data=None)), "output": str(request.output)}))
    if (request.run / CHECKPOINT).is_file() and (request.run / CONFIG).is_file() and read_object(request.run / REQUEST) == asked:
        return load_config(request.run / CONFIG)
    plan = plan_fine_tuning(request)
    config = checked_config(plan.values, request)
    check_run_outputs(config)
    check_checkpoint(request.run, config)
    for note in plan.notes:
        yield Progress(0, 0, note)
    steps = request.steps or (yield from steps_within(config, plan, request.minutes))
    make_folder(request.run)
    if plan.table:
        write_text(request.run / PAIRS, plan.table)
    write_text(request.run / CONFIG, dump_yaml({**plan.values, "steps": steps, "epoch": epoch_of(steps, EPOCH)}))
    write_text(request.run / REQUEST, json.dumps(asked))
    return load_config(request.run / CONFIG)


def _with_places(request: TeachRequest) -> TeachRequest:
    """Return a request whose paths don't depend on the working folder."""
    place = locate(request.model)
    model = request.model if place != Path(request.model) else str(place.expanduser().absolute())
    pairs = tuple(str(Path(path).expanduser().absolute()) for path in request.pairs)
    return replace(request, model=model, pairs=pairs, output=output_path(request.output).absolute())


def _places(request: TeachRequest) -> list[Path]:
    """Return the table, or the folders of the images."""
    paths = [Path(path) for path in request.pairs]
    return [paths[0] / name for name in FOLDERS] if len(paths) == 1 and paths[0].is_dir() else paths


def checked_config(values: Mapping[str, Any], request: TeachRequest) -> TrainConfig:
    """Return a configuration that is not written yet.

    Raises `InputError` if it can't be one.
    """
    from pydantic import ValidationError

    try:
        config = TrainConfig.model_validate(dict(values))
    except ValidationError as error:
        words = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors(include_url=False))
        raise InputError(f"{request.output}: this can't be taught ({words}).") from None
    return config.model_copy(update={"run": request.run, "output": request.output})


def steps_within(config: TrainConfig, plan: FineTuningPlan, minutes: float) -> Generator[Progress, None, int]:
    """Return how many steps fit into a time, `STEPS` at most; a few are timed."""
    from napari_virtual_paint.training.time_estimate import DataShape, estimating

    shape = DataShape(plan.channels, len(plan.stains), HELD * plan.pixels, plan.pixels)
    found = yield from estimating(config, shape)
    return min(STEPS, found.pace.steps_within(SHARE_OF_TIME * 60 * minutes, EPOCH))


@dataclass(frozen=True, eq=False)
class FineTuningPlan:
    """The configuration of a fine-tuning, and what it was made from."""

    values: Mapping[str, Any]  # the training configuration, as mappings that a YAML can hold; the number of steps is the largest
    table: str  # the pairs of two folders as a table, which is not written yet; empty where the configuration finds them
    channels: int  # of the network's input
    stains: tuple[str, ...]
    pixels: float  # pixels (voxels) of all fields together
    notes: tuple[str, ...] = ()  # what the user should know of the pairs, one sentence each


def plan_fine_tuning(request: TeachRequest) -> FineTuningPlan:
    """Return the configuration of a fine-tuning; of the pairs, only the files' heads are read, unless the model's scale is a fixed one.

    Raises
    ------
    InputError
        If the model can't be trained, or the pairs don't fit it.
    """
    from napari_virtual_paint.models import open_model

    model = open_model(request.model)
    check_trainable(model)
    info = model.info
    sources, data, table = _pairs(request)
    data, notes = _selected(model, data, sources[0], request)
    opened = [(item, *open_selected(item, data)) for item in sources[:1]]
    order = order_of(*opened[0][1:])
    opened += [(item, *open_selected(item, data, order)) for item in sources[1:]]
    for item, source, target in opened:
        _check_sizes(model, item, source, target, data)
    source, target = opened[0][1:]
    stains = data.stains or target.channel_labels
    head = head_weights(info.architecture, info.config)
    if not head and stains != info.stains:
        raise InputError(f"{info.id}: its last layer can't be changed to other stains; it can only be taught {', '.join(info.stains)}.")
    fields = f"{len(sources)} field{'s' * (len(sources) > 1)}"
    identity = _identity(request, info, f"{fields} of {_place(request)}", stains)
    values: dict[str, Any] = {
        **identity,
        "output": str(request.output),
        "run": str(request.run),
        "start": request.model,
        "fine_tuning": {"curve": True, "replay": REPLAY if set(stains) <= set(info.stains) else 0.0},
        "data": data.model_dump(mode="json", exclude_defaults=True),
        "normalize": _normalize(info, [source for _, source, _ in opened], data),
        "split": _split(sources, source),
        "network": {"architecture": info.architecture, "config": {k: v for k, v in info.config.items() if k not in COUNTED}},
        "patch": _patch(info, source, data),
        "batch": BATCH,
        "steps": STEPS,
        "epoch": EPOCH,
        "patience": PATIENCE,
        "loss": "mse",
        "augment": {"flips": True, "quarter_turns": True, "gain": 0.05},
        "optimizer": {"name": "adamw", "lr": RATE, "weight_decay": 0.01, "schedule": "one_cycle", "clip": 1.0},
        "ema": 0.98,
        "refit": True,
        "seed": request.seed,
    }
    pixels = sum(math.prod(one.shape) / one.shape[1] / (one.shape[2] if data.planes_as_channels else 1) for _, one, _ in opened)
    return FineTuningPlan(values, table, len(info.channels), tuple(stains), float(pixels), tuple(notes))


def check_trainable(model: Model) -> None:
    """Raise an `InputError` where a model's weights are a program, which can't be trained further."""
    info = model.info
    if not info.architecture:
        form = {"torchscript": "TorchScript", "onnx": "ONNX"}.get(info.weights, info.weights)
        raise InputError(
            f"{info.id}: its weights are {form}, a finished program that can't be taught; choose a model with PyTorch weights."
        )


def _pairs(request: TeachRequest) -> tuple[list[PairSource], Data, str]:
    """Return the pairs, where they are, and the table that is still to be written.

    Raises `InputError` if they are neither in a table nor in two folders.
    """
    if request.data is not None:
        return find(request.data), request.data, ""
    axes = {"input_axes": request.axes[0], "target_axes": request.axes[1]}
    paths = _places(request)
    if len(paths) == 1 and paths[0].is_file():
        data = Data.model_validate({"csv": paths[0], **axes})
        return find(data), data, ""
    if len(paths) > 2:
        raise InputError(f"{len(paths)} pairs of images or folders are named; give one table (CSV) of pairs, or two folders.")
    if len(paths) != 2:
        raise InputError(f"{request.pairs[0]}: there is no such table or folder; give a table (CSV) of pairs, or two folders.")
    pairs = pair_folders(*paths)
    data = Data.model_validate({"csv": request.run / PAIRS, **axes})
    stems = [first.name.split(".")[0] for first, _ in pairs]
    names = stems if len(set(stems)) == len(stems) else [first.name for first, _ in pairs]
    sources = [PairSource(name, str(one), str(other), axes=request.axes) for name, (one, other) in zip(names, pairs, strict=True)]
    return sources, data, table_of(pairs)


def _selected(model: Model, data: Data, first: PairSource, request: TeachRequest) -> tuple[Data, list[str]]:
    """Return where the pairs are, with the channels, planes and stains that the model gets of them, and what the user should know.

    Raises `InputError` if the first pair does not fit the model.
    """
    info = model.info
    source, target = first.open()
    found = match(info, source, request.channels or None)
    notes = list(found.notes)
    if found.luminance:
        raise InputError(f"{first.input}: it is in color; save it in gray first, since nothing can be taught from its colors.")
    changes: dict[str, Any] = {}
    if found.channels != tuple(range(source.shape[1])):
        changes["input_channels"] = [source.channel_labels[i] if is_named(source) else i for i in found.channels]
    planes = source.shape[2]
    if found.mode == "window":
        changes["planes_as_channels"] = True
        if found.z is not None and found.z != tuple(range(planes)):
            changes["input_planes"] = list(found.z)
        if info.z_offsets is not None:
            changes["z_offsets"] = list(info.z_offsets)
    elif found.mode == "planes" and planes > 1 == target.shape[2]:
        changes["input_planes"] = [planes // 2]
        notes.append(f"Of {planes} planes the middle one is taken, since the stains have one.")
    data = data.changed(**changes) if changes else data
    stains, named = _stains(info, open_selected(first, data)[1], request, notes)
    return data.changed(stains=stains) if named else data, notes


def _stains(info: ModelInfo, target: Stack, request: TeachRequest, notes: list[str]) -> tuple[tuple[str, ...], bool]:
    """Return the stains of the taught model, and whether they are other names than the images' own.

    Raises `InputError` if the images don't name them and have another number than the model paints.
    """
    labels = target.channel_labels
    if request.stains:
        if len(request.stains) != len(labels):
            raise InputError(f"{len(request.stains)} stains are named, but the stained images have {len(labels)} channels.")
        return request.stains, True
    if not is_named(target):
        if len(labels) != len(info.stains):
            raise InputError(
                f"The stained images have {len(labels)} channel{'s' * (len(labels) > 1)} without names, and {info.id} paints "
                f"{len(info.stains)} ({', '.join(info.stains)}); name them by --stains A,B in the images' order."
            )
        notes.append(f"The channels of the stained images have no names; they are taken in order as {', '.join(info.stains)}.")
        return info.stains, True
    places = find_names(info.stains, labels)
    if len(labels) == len(places) and None not in places:
        return info.stains, True
    known = {place: stain for stain, place in zip(info.stains, places, strict=True) if place is not None}
    return tuple(known.get(place, label) for place, label in enumerate(labels)), bool(known)


def _check_sizes(model: Model, item: PairSource, source: Stack, target: Stack, data: Data) -> None:
    """Raise an `InputError` where a pair's images differ in size, or have another number of planes than the model needs."""
    t, _, z, y, x = source.shape
    if (t, y, x) != (target.shape[0], *target.shape[3:]):
        raise InputError(
            f"{item.target}: its {target.shape[3]} x {target.shape[4]} px at {target.shape[0]} time points don't fit the "
            f"{y} x {x} px at {t} of {item.input}; pair images of the same field and size."
        )
    wanted = 1 if data.planes_as_channels else z
    if target.shape[2] != wanted:
        raise InputError(f"{item.target}: it has {target.shape[2]} planes where {item.input} needs {wanted} for {model.info.id}.")


def _identity(request: TeachRequest, info: ModelInfo, taught_on: str, stains: Sequence[str]) -> dict[str, Any]:
    """Return the fields of the card."""
    own = re.sub(r"[^a-z0-9]+", "-", request.output.name.removesuffix(".zip").casefold()).strip("-") or "taught"
    name = re.sub(r"[^A-Za-z0-9_+ ()-]+", " ", request.name or own.replace("-", " ").capitalize()).strip()[:128]
    before = info.card.trained_on.rstrip(". ") or "images that its package does not name"
    return {
        "id": own,
        "name": name if len(name) >= 5 else f"Model {name}",
        "description": f"{info.name}, taught further to paint {', '.join(stains)}."[:1000],
        "trained_on": f"{info.id} {info.version} ({before}), taught further on {taught_on}.",
        "not_for": NOT_FOR,
        "license": None if info.license == "not stated" else info.license,
        "authors": list(info.authors),
    }


def _place(request: TeachRequest) -> str:
    """Return the names of the table or the folders."""
    if request.data is not None:
        return " and ".join(dict.fromkeys(Path(source).name for source in request.data.sources()))
    return " and ".join(dict.fromkeys(Path(path).name for path in request.pairs))


def _normalize(info: ModelInfo, inputs: Sequence[Stack], data: Data) -> dict[str, Any]:
    """Return the scale: the model's own steps, with fixed numbers taken anew; and of the stains, what the network's last layer gives."""
    steps: list[dict[str, Any]] = []
    for step in info.preprocessing:
        values = {key: [float(one) for one in value] if isinstance(value, list | tuple) else value for key, value in step.values.items()}
        if step.kind == "fixed_zero_mean_unit_variance" and not steps:
            values = _moments(inputs, data)
        steps.append({"kind": step.kind, "per_channel": step.per_channel, "values": values})
    found: dict[str, Any] = {"input": {"steps": steps}}
    if info.architecture == "Pix2PixHD":  # it ends with tanh
        found |= {"target": {"darkest": 0.1, "brightest": 99.9}, "target_clip": 1.0}
    return found


def _moments(inputs: Sequence[Stack], data: Data) -> dict[str, list[float]]:
    """Return mean and SD of each channel over all fields."""
    sums: list[np.ndarray[Any, Any]] = []
    for stack in inputs:
        pixels = np.asarray(stack.compute().data, np.float64)
        pixels = pixels.reshape(len(pixels), -1, *pixels.shape[3:]) if data.planes_as_channels else pixels
        axes = (0, *range(2, pixels.ndim))
        sums.append(np.array([pixels.mean(axes), np.square(pixels).mean(axes)]))
    mean, square = np.mean(sums, 0)
    std = np.sqrt(np.maximum(square - mean**2, 1e-12))
    return {"mean": [round(float(value), 6) for value in mean], "std": [round(float(value), 6) for value in std]}


def _split(sources: Sequence[PairSource], first: Stack) -> dict[str, Any]:
    """Return what is held out: what the table says, whole fields (or wells), or a band of the only one."""
    if len({source.well or source.name for source in sources}) > 1 or any(source.split for source in sources):
        return {"validation": HELD}
    side = "right" if first.shape[4] >= first.shape[3] else "bottom"
    return {"validation": {"side": side, "fraction": BAND}}


def _patch(info: ModelInfo, source: Stack, data: Data) -> list[int]:
    """Return the sides of a patch that the network takes and that fits into the first field.

    Raises `InputError` if the field is too small.
    """
    with empty_weights():
        sides = valid_sides(build(info.architecture, dict(info.config)))
    assert sides is not None  # each listed network says which sides it takes
    have = source.shape[-info.dims :]
    patch = []
    for length, wanted, (least, step) in zip(have, (PLANES, SIDE, SIDE)[-info.dims :], sides, strict=True):
        fitting = least if not step else max(min(length, wanted) // step * step, least)
        if fitting > length:
            raise InputError(
                f"{source.source or 'The first field'}: {' x '.join(map(str, have))} px are too few for {info.id}; take larger fields."
            )
        patch.append(fitting)
    patch[-2:] = [min(patch[-2:])] * 2  # patches are turned by 90 degrees
    return patch
