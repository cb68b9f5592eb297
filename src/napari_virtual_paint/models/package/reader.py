"""Read the description of a package (bioimage.io specification 0.5) as `ModelInfo`; every refusal is one sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from napari_virtual_paint.models.info import Card, ModelInfo, WeightsFormat
from napari_virtual_paint.models.package.files import PackageFiles
from napari_virtual_paint.models.package.output_size import refuse_other_sizes
from napari_virtual_paint.models.package.processing_steps import StepError, late_statistics, parse_own, parse_step
from napari_virtual_paint.models.package.safe_yaml import read_description
from napari_virtual_paint.networks import ARCHITECTURES
from napari_virtual_paint.normalize import Step
from napari_virtual_paint.runtime.text import one_line
from napari_virtual_paint.stack import PixelSize
from napari_virtual_paint.stain_names import numbered

MICROMETRES = {"angstrom": 1e-4, "nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3, "centimeter": 1e4, "meter": 1e6}
OUR_PART = "napari_virtual_paint"  # key under `config` of our own part of a package
TORCHSCRIPT = "Its weights are TorchScript, which carries a program of its own and runs it here; use it only if you trust whoever made it."
ONNX = "Its weights are ONNX, which onnxruntime runs; how its tiles fit together is not known, so large fields are painted in patches."
NO_HASH = "The package states no SHA-256 for its weights, so damage to them can't be seen."
LATE = "It takes statistics of the image behind other steps: of the image as these leave it here, of the raw image in some programs."


@dataclass(frozen=True)
class Description:
    """The description of a package, with what opening and checking need beyond `ModelInfo`."""

    info: ModelInfo  # the model for users
    content: Mapping[str, Any]  # the description as plain values
    weights: Mapping[str, Any]  # the entry of the weights that will be loaded
    test_input: Any
    test_output: Any  # `test_input` and `test_output`: the entries of the test tensors; None where there are none


def describe(files: PackageFiles) -> Description:
    """Read the description of a package; nothing of it is loaded or run.

    Raises `ModelError` if the package is not one that can be used here.
    """
    content = read_description(files)
    _check_kind(files, content)
    source, target = _only(files, content, "inputs"), _only(files, content, "outputs")
    space_in, space_out = _axes(files, source, "input"), _axes(files, target, "output")
    if [axis["id"] for axis in space_in] != [axis["id"] for axis in space_out]:
        raise files.fail("its output has other space axes than its input, which is not supported")
    refuse_other_sizes(files, source, target)
    form, entry = _choose_weights(files, content.get("weights"))
    ours = _ours(content)
    architecture, config = _architecture(entry) if form == "pytorch_state_dict" else ("", {})
    channels = _channel_names(files, source, "input")
    sizes = [_size(axis) for axis in space_in]
    before = _own_steps(files, ours, source) or _steps(files, source, "preprocessing", source)
    info = ModelInfo(
        id=str(content.get("id") or files.path.name.removesuffix(".zip")),
        name=str(content.get("name") or files.path.stem),
        version=str(content.get("version") or "unknown"),
        description=str(content.get("description") or ""),
        license=str(content.get("license") or "not stated"),
        authors=tuple(str(item.get("name", "")) for item in _list(content.get("authors")) if isinstance(item, dict)),
        source=files.path,
        dims=2 if len(space_in) == 2 else 3,
        channels=channels,
        stains=_channel_names(files, target, "output"),
        weights=form,
        planes_as_channels=bool(ours.get("planes_as_channels", False)),
        z_offsets=_offsets(files, ours.get("z_offsets"), len(channels)),
        pixel_size=_pixel_size(files, ours.get("pixel_size"), space_in),
        preprocessing=before,
        postprocessing=_steps(files, target, "postprocessing", source),
        architecture=architecture,
        config=config,
        card=_card(ours.get("card")),
        warnings=(*_warnings(form, entry, before), *stored_warnings(content)),
        min_size=tuple(size[0] for size in sizes),
        step_size=tuple(size[1] for size in sizes),
        halo=tuple(_whole(axis.get("halo"), 0) for axis in space_out),
        domain=_domain(ours.get("domain")),
    )
    return Description(info, content, entry, source.get("test_tensor"), target.get("test_tensor"))


def _check_kind(files: PackageFiles, content: Mapping[str, Any]) -> None:
    """Refuse packages that hold no model, and versions of the specification that are not supported."""
    kind, version = content.get("type"), str(content.get("format_version"))
    if kind != "model":
        raise files.fail(f"it describes a {kind or 'thing without a type'}, not a model")
    if version.startswith("0.4.") or version.startswith("0.3."):
        raise files.fail(f"it follows version {version} of the bioimage.io specification; bring it to 0.5 by virtual-paint models import")
    if not version.startswith("0.5."):
        raise files.fail(f"it follows version {version} of the bioimage.io specification; version 0.5 is read")


def _only(files: PackageFiles, content: Mapping[str, Any], which: str) -> Mapping[str, Any]:
    """Return the one input or output."""
    tensors = _list(content.get(which))
    if len(tensors) != 1 or not isinstance(tensors[0], dict):
        raise files.fail(f"it has {len(tensors)} {which}; a model for virtual staining has one image in and one image out")
    return cast(Mapping[str, Any], tensors[0])


def _axes(files: PackageFiles, tensor: Mapping[str, Any], which: str) -> list[Mapping[str, Any]]:
    """Return the space axes of a tensor ordered (batch, channel, [z,] y, x)."""
    axes = _list(tensor.get("axes"))
    if not all(isinstance(axis, dict) for axis in axes):
        raise files.fail(f"the axes of its {which} are not described as version 0.5 of the specification wants")
    kinds = [axis.get("type") for axis in axes]
    space: list[Mapping[str, Any]] = [{"id": "x", **axis} for axis in axes if axis.get("type") == "space"]
    names = [str(axis["id"]) for axis in space]
    if kinds != ["batch", "channel", *["space"] * len(space)] or names not in (["y", "x"], ["z", "y", "x"]):
        found = ", ".join(str(axis.get("id") or axis.get("type")) for axis in axes) or "none"
        raise files.fail(f"the axes of its {which} are {found}; batch, channel, (z,) y, x are supported")
    return space


def _channel_names(files: PackageFiles, tensor: Mapping[str, Any], which: str) -> tuple[str, ...]:
    """Return the channels' names of a tensor."""
    axis = next(axis for axis in _list(tensor.get("axes")) if isinstance(axis, dict) and axis.get("type") == "channel")
    names = axis.get("channel_names")
    if not isinstance(names, list) or not names:
        raise files.fail(f"the channels of its {which} have no names")
    return numbered([str(name) for name in names])


def _size(axis: Mapping[str, Any]) -> tuple[int, int]:
    """Return the smallest size and the step of an input axis; a step of 0 for a fixed size."""
    size = axis.get("size")
    if isinstance(size, dict) and "min" in size:
        return _whole(size.get("min"), 1), _whole(size.get("step"), 1)
    if isinstance(size, int):
        return size, 0
    return 1, 1


def _whole(value: Any, default: int) -> int:
    """Return a whole number that is not negative, else the default."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else default


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _ours(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return our own part of the package."""
    config = content.get("config")
    ours = config.get(OUR_PART) if isinstance(config, dict) else None
    return ours if isinstance(ours, dict) else {}


def _offsets(files: PackageFiles, value: Any, count: int) -> tuple[float, ...] | None:
    """Return the z offsets in micrometres, one a channel."""
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != count or any(not _is_number(item) for item in value):
        raise files.fail(f"its z_offsets must be {count} numbers, one a channel")
    return tuple(float(item) for item in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _pixel_size(files: PackageFiles, ours: Any, space: list[Mapping[str, Any]]) -> PixelSize:
    """Return the pixel size trained at, from our own part or else from the axes' scale and unit."""
    if isinstance(ours, list):
        if len(ours) != 3 or any(item is not None and (not _is_number(item) or item <= 0) for item in ours):
            raise files.fail("its pixel_size must be three positive numbers (z, y, x) in micrometers")
        return PixelSize(*(None if item is None else float(item) for item in ours))
    sizes: dict[str, float] = {}
    for axis in space:
        scale, factor = axis.get("scale", 1.0), MICROMETRES.get(str(axis.get("unit")))
        if factor is not None and _is_number(scale) and scale > 0:
            sizes[str(axis["id"])] = float(scale) * factor
    return PixelSize(sizes.get("z"), sizes.get("y"), sizes.get("x"))


def _steps(files: PackageFiles, tensor: Mapping[str, Any], which: str, source: Mapping[str, Any]) -> tuple[Step, ...]:
    """Return the steps of a tensor."""
    space = [str(axis.get("id", "x")) for axis in tensor["axes"] if axis.get("type") == "space"]
    try:
        steps = tuple(parse_step(entry, space, str(source.get("id", "input"))) for entry in _list(tensor.get(which)))
    except StepError as error:
        raise files.fail(f"it {error}") from error
    if tensor is not source and any(step.per_channel and step.needs_reference for step in steps):
        raise files.fail("it scales each stain by a channel of its input, which is not supported")
    return steps


def _own_steps(files: PackageFiles, ours: Mapping[str, Any], source: Mapping[str, Any]) -> tuple[Step, ...]:
    """Return the steps of our own part, which can express more than the specification; empty without one."""
    if ours.get("preprocessing") is None:
        return ()
    space = [str(axis.get("id", "x")) for axis in source["axes"] if axis.get("type") == "space"]
    try:
        return parse_own(ours["preprocessing"], space, str(source.get("id", "input")))
    except StepError as error:
        raise files.fail(f"it {error}") from error


def _card(value: Any) -> Card:
    """Return the card of our own part; an empty one where there is none."""
    if not isinstance(value, dict):
        return Card()
    texts = {name: str(value.get(name) or "") for name in ("trained_on", "held_out_on", "not_for", "made_with", "more_images", "stopped")}
    return Card(scores=_score_table(value.get("scores")), before=_score_table(value.get("before")), **texts)


def _score_table(value: Any) -> dict[str, dict[str, float]]:
    """Return scores by stain; empty where there are none."""
    return {
        str(stain): {str(name): float(number) for name, number in row.items() if _is_number(number)}
        for stain, row in (value.items() if isinstance(value, dict) else ())
        if isinstance(row, dict)
    }


def _domain(value: Any) -> Mapping[str, str] | None:
    """Return file name and SHA-256 of the summary of the training inputs; None without one."""
    if not isinstance(value, dict) or not all(isinstance(value.get(key), str) for key in ("source", "sha256")):
        return None
    return {key: str(value[key]) for key in ("source", "sha256")}


def _warnings(form: WeightsFormat, entry: Mapping[str, Any], before: tuple[Step, ...]) -> tuple[str, ...]:
    """Return warnings to show before the model is used."""
    found = {"torchscript": [TORCHSCRIPT], "onnx": [ONNX]}.get(form, [])
    if not entry.get("sha256"):
        found.append(NO_HASH)
    if late_statistics(before):
        found.append(LATE)
    return tuple(found)


def stored_warnings(content: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what was wrong with a package when it was imported all the same (``models import --force``)."""
    found = [item for item in _list(_ours(content).get("warnings")) if isinstance(item, str)]
    return tuple(one_line(ValueError(item), 500) for item in found[:20])


def _choose_weights(files: PackageFiles, weights: Any) -> tuple[WeightsFormat, Mapping[str, Any]]:
    """Return the format and entry to load: our own architectures first, else TorchScript; code from the package never."""
    entries = {str(name): entry for name, entry in weights.items() if isinstance(entry, dict)} if isinstance(weights, dict) else {}
    state_dict, script = entries.get("pytorch_state_dict"), entries.get("torchscript")
    if state_dict is not None and (refusal := _refusal(state_dict)) is None:
        return "pytorch_state_dict", state_dict
    if script is not None:
        return "torchscript", script
    if (graph := entries.get("onnx")) is not None and (state_dict is None or not _is_ours(state_dict)):
        return "onnx", graph
    if state_dict is not None:
        raise files.fail(refusal or "its weights can't be used")
    if not entries:
        raise files.fail("it holds no weights")
    raise files.fail(f"its weights are there as {', '.join(sorted(entries))}; pytorch_state_dict, torchscript and onnx are read")


def _is_ours(entry: Mapping[str, Any]) -> bool:
    """Return whether an architecture claims to be one of this program's, so that its fault is reported rather than skipped."""
    architecture = entry.get("architecture")
    return isinstance(architecture, dict) and str(architecture.get("import_from")).startswith("napari_virtual_paint")


def _refusal(entry: Mapping[str, Any]) -> str | None:
    """Return why an architecture is not built, or None if it is on the allow-list."""
    architecture = entry.get("architecture")
    if not isinstance(architecture, dict):
        return "its weights name no architecture"
    name, origin = str(architecture.get("callable")), architecture.get("import_from")
    if architecture.get("source") is not None or origin is None:
        return f"its network {name} is code in the package ({architecture.get('source')}), and code from a package is never run here"
    if name not in ARCHITECTURES or origin not in (ARCHITECTURES[name], ARCHITECTURES[name].rpartition(".")[0]):
        known = ", ".join(ARCHITECTURES)
        return f"its network {name} from {origin} is not among those that this program builds ({known}), and other code is never run here"
    if not isinstance(architecture.get("kwargs", {}), dict):
        return f"the settings of its network {name} are no mapping"
    return None


def _architecture(entry: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return name and settings of an architecture that is on the allow-list."""
    architecture = entry["architecture"]
    return str(architecture["callable"]), {str(name): value for name, value in (architecture.get("kwargs") or {}).items()}
