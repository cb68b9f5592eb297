"""Processing steps: the specification's mappings <-> `normalize.Step`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from napari_virtual_paint.normalize import Kind, Step

NUMBERS: dict[str, tuple[str, ...]] = {
    "zero_mean_unit_variance": ("eps",),
    "fixed_zero_mean_unit_variance": ("mean", "std"),
    "scale_linear": ("gain", "offset"),
    "scale_range": ("min_percentile", "max_percentile", "eps"),
    "scale_mean_variance": ("eps",),
    "clip": ("min", "max", "min_percentile", "max_percentile"),
    "binarize": ("threshold",),
    "sigmoid": (),
    "softmax": (),
    "ensure_dtype": (),
}
"""The steps that are known, and the numbers of each."""
DTYPES = [f"{kind}{bits}" for kind in ("uint", "int") for bits in (8, 16, 32, 64)] + ["float32", "float64", "bool"]
STATISTICS = ("zero_mean_unit_variance", "scale_range", "scale_mean_variance")
"""Steps that always take statistics of the field; clip does if it has percentiles."""


class StepError(ValueError):
    """A step that can't be applied; the message completes the sentence "the package ..."."""


def parse_step(entry: Any, space: Sequence[str], reference: str) -> Step:
    """Return a step from its mapping in a package.

    Parameters
    ----------
    entry
        ``{"id": ..., "kwargs": {...}}``.
    space
        Ids of the tensor's space axes.
    reference
        Id of the model's one input, the only tensor that a step may refer to.

    Raises
    ------
    StepError
        If the step is unknown, carries code, or takes statistics in a way that is not supported.
    """
    kind = entry.get("id") if isinstance(entry, dict) else None
    if not isinstance(kind, str) or kind not in NUMBERS:
        raise StepError(f"asks for the processing step {kind!r}, which is not supported")
    given = entry.get("kwargs") or {}
    if not isinstance(given, dict):
        raise StepError(f"gives the step {kind} no named settings")
    values: dict[str, Any] = {name: _number(given[name], kind) for name in NUMBERS[kind] if given.get(name) is not None}
    if kind == "ensure_dtype":
        values["dtype"] = given.get("dtype", "float32")
        if values["dtype"] not in DTYPES:
            raise StepError(f"asks for numbers of the type {values['dtype']!r}, which is not supported")
    if any(isinstance(value, list) for value in values.values()) and given.get("axis", "channel") != "channel":
        raise StepError(f"gives the step {kind} values along the axis {given.get('axis')!r}; only channel is supported")
    if kind == "softmax" and given.get("axis", "channel") != "channel":
        raise StepError(f"takes a softmax along {given.get('axis')!r}; only channel is supported")
    if given.get("reference_tensor") is not None:
        if given["reference_tensor"] != reference:
            raise StepError(f"refers the step {kind} to the tensor {given['reference_tensor']!r}; only its input {reference!r} can be used")
        values["reference"] = True
    fitted = kind in STATISTICS or "min_percentile" in values or ("max_percentile" in values and kind == "clip")
    return Step(cast(Kind, kind), _per_channel(kind, given.get("axes"), space) if fitted else True, values)


def dump_step(step: Step, space: Sequence[str], reference: str) -> dict[str, Any]:
    """Return a step as the mapping of a package; the inverse of `parse_step`."""
    kwargs: dict[str, Any] = {name: step.values[name] for name in NUMBERS[step.kind] if step.values.get(name) is not None}
    if step.kind == "ensure_dtype":
        kwargs["dtype"] = step.values.get("dtype", "float32")
    if any(isinstance(value, (list, tuple)) for value in kwargs.values()):
        kwargs = {name: list(value) if isinstance(value, (list, tuple)) else value for name, value in kwargs.items()}
        kwargs["axis"] = "channel"
    percentiles = "min_percentile" in kwargs or "max_percentile" in kwargs
    if step.kind in STATISTICS or (step.kind == "clip" and percentiles):
        kwargs["axes"] = list(space) if step.per_channel else ["channel", *space]
    if step.kind == "softmax":
        kwargs["axis"] = "channel"
    if step.values.get("reference"):
        kwargs["reference_tensor"] = reference
    return {"id": step.kind, "kwargs": kwargs} if kwargs else {"id": step.kind}


def portable(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return steps that every program of the specification knows.

    A range with a centre of its own is not among them: in its place the centre is taken to lie between the ends as its percentile does,
    which is so where values are spread evenly about it.
    """
    out: list[Step] = []
    for step in steps:
        centre = step.values.get("centre_percentile")
        if centre is None:
            out.append(step)
            continue
        kept = {name: value for name, value in step.values.items() if name != "centre_percentile"}
        low, high = float(kept.get("min_percentile", 0.0)), float(kept.get("max_percentile", 100.0))
        out.append(Step(step.kind, step.per_channel, kept))
        out.append(Step("scale_linear", True, {"gain": 1.0, "offset": -(float(centre) - low) / (high - low)}))
    return tuple(out)


def dump_own(steps: Sequence[Step], space: Sequence[str], reference: str) -> list[dict[str, Any]] | None:
    """Return steps in the form of our own part of a package; None where the specification's form is enough."""
    if not any("centre_percentile" in step.values for step in steps):
        return None
    out = [dump_step(step, space, reference) for step in steps]
    for entry, step in zip(out, steps, strict=True):
        if "centre_percentile" in step.values:
            entry["kwargs"]["centre_percentile"] = float(step.values["centre_percentile"])
    return out


def parse_own(entries: Any, space: Sequence[str], reference: str) -> tuple[Step, ...]:
    """Return the steps of our own part of a package; the inverse of `dump_own`.

    Raises
    ------
    StepError
        As `parse_step`.
    """
    if not isinstance(entries, list):
        raise StepError("gives its own processing steps as something else than a list")
    out = []
    for entry in entries:
        step = parse_step(entry, space, reference)
        centre = (entry.get("kwargs") or {}).get("centre_percentile") if step.kind == "scale_range" else None
        values = step.values if centre is None else {**step.values, "centre_percentile": _number(centre, step.kind)}
        out.append(Step(step.kind, step.per_channel, values))
    return tuple(out)


def late_statistics(steps: Sequence[Step]) -> bool:
    """Return whether statistics are taken behind a step that changes the values; programs differ in which values they take then."""
    changing = [step for step in steps if step.kind != "ensure_dtype"]
    return any(step.needs_field and not step.needs_reference for step in changing[1:])


def _per_channel(kind: str, axes: Any, space: Sequence[str]) -> bool:
    """Return whether a step's statistics are taken for each channel alone."""
    if axes is None:
        return False
    if not isinstance(axes, (list, tuple, str)) or not all(isinstance(axis, str) for axis in axes):
        raise StepError(f"gives the step {kind} axes that are no list")
    names = {"b": "batch", "c": "channel"}
    chosen = {names.get(axis, axis) for axis in axes}
    missing = [axis for axis in space if axis not in chosen]
    if missing:
        raise StepError(f"takes the statistics of the step {kind} for every {', '.join(missing)} alone, which is not supported")
    return "channel" not in chosen


def _number(value: Any, kind: str) -> Any:
    """Return a number or a list of numbers."""
    items = value if isinstance(value, list) else [value]
    if not items or any(isinstance(item, bool) or not isinstance(item, (int, float)) for item in items):
        raise StepError(f"gives the step {kind} the setting {value!r}, which is no number")
    return [float(item) for item in items] if isinstance(value, list) else float(value)
