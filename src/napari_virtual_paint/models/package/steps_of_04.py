"""Processing steps of version 0.4 of the specification, as those of 0.5.

The specification's own converter loses or refuses some of them (a scalar gain beside axes, a reference tensor, lists of one number).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from napari_virtual_paint.models.package.processing_steps import StepError

LETTERS = {"b": "batch", "i": "index", "t": "time", "c": "channel", "z": "z", "y": "y", "x": "x"}
PER_DATASET = "The step {name} takes its statistics over a whole dataset, which is not in the package; here they are those of each field."


def converted_steps(entries: Any, axes: Any, notes: list[str]) -> list[dict[str, Any]]:
    """Return the steps of a tensor in the form of version 0.5.

    Parameters
    ----------
    entries
        The steps: ``{"name": ..., "kwargs": {...}}``.
    axes
        The tensor's axes as letters, such as ``bcyx``.
    notes
        Gets what the user should know.

    Raises
    ------
    StepError
        If a step is unknown or its settings are not those of version 0.4.
    """
    if entries is None:
        return []
    if not isinstance(entries, list):
        raise StepError("gives its processing steps as something else than a list")
    return [_step(entry, "".join(_letters(axes, "its axes")), notes) for entry in entries]


def _step(entry: Any, axes: str, notes: list[str]) -> dict[str, Any]:
    """Return one step."""
    name = entry.get("name") if isinstance(entry, Mapping) else None
    given = (entry.get("kwargs") or {}) if isinstance(entry, Mapping) else {}
    if not isinstance(given, Mapping):
        raise StepError(f"gives the step {name} no named settings")
    if given.get("mode") == "per_dataset":
        notes.append(PER_DATASET.format(name=name))
    if name == "scale_linear":
        return _along_channels(name, given, axes, {"gain": 1.0, "offset": 0.0}, "scale_linear")
    if name == "zero_mean_unit_variance" and given.get("mode", "fixed") == "fixed":
        return _fixed(given, axes)
    if name in ("zero_mean_unit_variance", "scale_range", "scale_mean_variance"):
        kept = ("eps", "min_percentile", "max_percentile", "reference_tensor")
        kwargs = {key: given[key] for key in kept if given.get(key) is not None}
        if given.get("axes") is not None:
            kwargs["axes"] = [LETTERS.get(letter, letter) for letter in _letters(given["axes"], f"the step {name}")]
        return {"id": name, "kwargs": kwargs}
    if name in ("binarize", "clip"):
        wanted = ("threshold",) if name == "binarize" else ("min", "max")
        return {"id": name, "kwargs": {key: given[key] for key in wanted if given.get(key) is not None}}
    if name == "sigmoid":
        return {"id": name}
    raise StepError(f"asks for the processing step {name!r}, which is not supported")


def _fixed(given: Mapping[str, Any], axes: str) -> dict[str, Any]:
    """Return a normalization by numbers that the package states; 0.4 adds `eps` to the SD, 0.5 does not."""
    if given.get("mean") is None or given.get("std") is None:
        raise StepError("gives the step zero_mean_unit_variance neither statistics nor a mean and a std")
    found = _along_channels("zero_mean_unit_variance", given, axes, {"mean": 0.0, "std": 1.0}, "fixed_zero_mean_unit_variance")
    eps, std = given.get("eps", 1e-6), found["kwargs"]["std"]
    if isinstance(eps, (int, float)) and eps > 1e-4 * min(std if isinstance(std, list) else [std]):
        found["kwargs"]["std"] = [each + eps for each in std] if isinstance(std, list) else std + eps
    return found


def _along_channels(name: str, given: Mapping[str, Any], axes: str, defaults: Mapping[str, float], kind: str) -> dict[str, Any]:
    """Return a step whose numbers are one for all, or one a channel."""
    values = {key: _numbers(name, given.get(key), default) for key, default in defaults.items()}
    count = max(len(each) for each in values.values())
    if any(len(each) not in (1, count) for each in values.values()):
        raise StepError(f"gives the step {name} {' and '.join(f'{len(each)} of {key}' for key, each in values.items())}")
    if count == 1:
        return {"id": kind, "kwargs": {key: each[0] for key, each in values.items()}}
    if given.get("axes") is not None:
        joint = _letters(given["axes"], f"the step {name}")
        apart = [letter for letter in axes if letter not in joint and letter != "b"]
        if apart != ["c"]:
            words = ", ".join(LETTERS.get(letter, letter) for letter in apart) or "none"
            raise StepError(f"gives the step {name} {count} numbers along the axes {words}; only channel is supported")
    return {"id": kind, "kwargs": {**{key: each * count if len(each) == 1 else each for key, each in values.items()}, "axis": "channel"}}


def _numbers(name: str, value: Any, default: float) -> list[float]:
    """Return a number or a list of numbers as a list."""
    items = [default] if value is None else value if isinstance(value, list) else [value]
    if not items or any(isinstance(item, bool) or not isinstance(item, (int, float)) for item in items):
        raise StepError(f"gives the step {name} the setting {value!r}, which is no number")
    return [float(item) for item in items]


def _letters(axes: Any, where: str) -> list[str]:
    """Return axes as letters; names of version 0.5 are taken, too."""
    names = {name: letter for letter, name in LETTERS.items()}
    if not isinstance(axes, (str, list)) or not all(isinstance(axis, str) for axis in axes):
        raise StepError(f"gives {where} axes that are no letters")
    return [names.get(axis, axis) for axis in axes]
