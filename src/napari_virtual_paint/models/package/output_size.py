"""Whether a package's output has the sides of its input, by its description."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from napari_virtual_paint.models.package.files import PackageFiles

SAME = 1e-6  # share by which two scales may differ and be one: writers round them
DEEPEST = 8  # references from axis to axis that are followed
ONLY = "only models whose output has the sides of the input are painted here"


@dataclass(frozen=True)
class TiedSize:
    """A side as the description ties it to the input: ``input side * factor + offset``."""

    axis: str
    factor: float
    offset: float


def refuse_other_sizes(files: PackageFiles, source: Mapping[str, Any], target: Mapping[str, Any]) -> None:
    """Refuse a package whose description says that its output has other sides than its input.

    Raises `ModelError` if it says so.
    """
    tensors = {str(source.get("id", "input")): source, str(target.get("id", "output")): target}
    inputs = _space(source)
    for name, axis in _space(target).items():
        size, given = axis.get("size"), inputs.get(name, {}).get("size")
        if _is_whole(size):
            free = isinstance(given, dict) and "min" in given
            if free or (_is_whole(given) and given != size):
                what = f"{given['min']} or more" if isinstance(given, dict) else given
                raise files.fail(f"its output is {size} pixels in {name} where its input is {what}; {ONLY}")
        elif isinstance(size, dict) and "axis_id" in size:
            _refuse_tied(files, name, _follow(tensors, str(source.get("id", "input")), axis))
        elif isinstance(size, dict) and "min" in size:
            raise files.fail(f"the size of its output in {name} depends on the image; {ONLY}")


def _refuse_tied(files: PackageFiles, name: str, tied: TiedSize | None) -> None:
    """Refuse a side that is not the input's own."""
    if tied is None:
        return
    if tied.axis != name:
        raise files.fail(f"its output is as large in {name} as its input in {tied.axis}; {ONLY}")
    if abs(tied.factor - 1) > SAME:
        raise files.fail(f"its output is {tied.factor:g} times as large in {name} as its input; {ONLY}")
    if tied.offset:
        more = "larger" if tied.offset > 0 else "smaller"
        raise files.fail(f"its output is {abs(tied.offset):g} pixels {more} in {name} than its input; {ONLY}")


def _follow(tensors: Mapping[str, Mapping[str, Any]], given: str, axis: Mapping[str, Any]) -> TiedSize | None:
    """Follow references until they reach the input; None where they lead nowhere, which the specification's check reports."""
    factor, offset, current = 1.0, 0.0, axis
    for _ in range(DEEPEST):
        size = current.get("size")
        if not isinstance(size, dict) or "axis_id" not in size:
            return None
        tensor, name = str(size.get("tensor_id")), str(size.get("axis_id"))
        other = _space(tensors.get(tensor, {})).get(name)
        if other is None:
            return None
        step = _scale(other) / _scale(current)
        more = size.get("offset", 0)
        offset += factor * (more if _is_whole(more) else 0)
        factor *= step
        if tensor == given:
            return TiedSize(name, factor, offset)
        current = other
    return None


def _space(tensor: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the space axes of a tensor by their ids."""
    axes = tensor.get("axes")
    found = [axis for axis in axes if isinstance(axis, dict) and axis.get("type") == "space"] if isinstance(axes, list) else []
    return {str(axis.get("id", "x")): axis for axis in found}


def _scale(axis: Mapping[str, Any]) -> float:
    scale = axis.get("scale", 1.0)
    good = isinstance(scale, (int, float)) and not isinstance(scale, bool) and 0 < scale < 1e12
    return float(scale) if good else 1.0


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
