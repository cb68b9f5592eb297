"""Make the description (rdf.yaml) of a package: the specification's mappings, as plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from napari_virtual_paint.errors import ModelError
from napari_virtual_paint.models.info import Card
from napari_virtual_paint.models.package.processing_steps import dump_own, dump_step, portable
from napari_virtual_paint.models.package.reader import OUR_PART
from napari_virtual_paint.networks import ARCHITECTURES
from napari_virtual_paint.normalize import Step
from napari_virtual_paint.stack import PixelSize

FORMAT_VERSION = "0.5.4"  # the oldest version that has all that is written, so that older readers open it too
MAX_EXACT = 20_000  # sides up to this many pixels are not lost to rounding of the scale


@dataclass(frozen=True)
class PackageDraft:
    """The arguments of `save_model` that the description needs."""

    space: tuple[str, ...]
    channels: tuple[str, ...]
    stains: tuple[str, ...]
    scales: tuple[float | None, ...]
    sides: tuple[tuple[int, int], ...]  # for each axis the smallest size and the step; a step of 0 for that size alone
    halo: tuple[int, ...]
    preprocessing: tuple[Step, ...]
    postprocessing: tuple[Step, ...]


def describe_head(id: str, name: str, description: str, version: str, license: str | None, authors: Sequence[str]) -> dict[str, Any]:
    """Return what every description begins with."""
    return {
        "format_version": FORMAT_VERSION,
        "type": "model",
        "id": id,
        "name": name,
        "description": description,
        "version": version,
        **({} if license is None else {"license": license}),
        "authors": [{"name": author} for author in authors],
        "timestamp": datetime.now(UTC).replace(microsecond=0).isoformat(),
        "tags": ["virtual-staining", "in-silico-labeling", "pytorch"],
    }


def describe_ours(
    card: Card, planes_as_channels: bool, z_offsets: Sequence[float] | None, pixel_size: PixelSize, draft: PackageDraft
) -> dict[str, Any]:
    """Return what the specification has no place for."""
    steps = dump_own(draft.preprocessing, draft.space, "input")
    return {
        **({} if steps is None else {"preprocessing": steps}),
        "planes_as_channels": bool(planes_as_channels),
        "z_offsets": None if z_offsets is None else [float(offset) for offset in z_offsets],
        "pixel_size": [None if size is None else float(size) for size in pixel_size],
        "card": card.to_dict(),
    }


def stored(warnings: Sequence[str]) -> dict[str, Any]:
    """Return warnings as our own part of a package keeps them; nothing without."""
    return {"warnings": list(warnings)} if warnings else {}


def describe_weights(architecture: str, config: Mapping[str, Any], digest: str) -> dict[str, Any]:
    """Return the entry of the weights, its architecture one that every installation of this package has."""
    import torch

    if architecture not in ARCHITECTURES:
        raise ModelError(f"There is no network {architecture!r}; there are {', '.join(ARCHITECTURES)}.")
    return {
        "source": "weights.pt",
        "sha256": digest,
        "pytorch_version": torch.__version__.split("+")[0],
        "architecture": {"callable": architecture, "import_from": ARCHITECTURES[architecture], "kwargs": dict(config)},
    }


def describe_input(draft: PackageDraft, digest: str) -> dict[str, Any]:
    """Return the description of the input."""
    axes = [{"type": "batch"}, {"type": "channel", "channel_names": list(draft.channels)}]
    for axis, scale, (least, step), halo in zip(draft.space, draft.scales, draft.sides, draft.halo, strict=True):
        size = {"min": max(least, _multiple(2 * halo + 1, step)), "step": step} if step else least
        axes.append({"type": "space", "id": axis, "size": size, **_scale(scale)})
    return {
        "id": "input",
        "axes": axes,
        "test_tensor": {"source": "test_input.npy", "sha256": digest},
        "data": {"type": "float32"},
        "preprocessing": [dump_step(step, draft.space, "input") for step in portable(draft.preprocessing)],
    }


def describe_output(draft: PackageDraft, digest: str) -> dict[str, Any]:
    """Return the description of the output, each of its sides tied to the input's."""
    axes = [{"type": "batch"}, {"type": "channel", "channel_names": list(draft.stains)}]
    for axis, scale, halo in zip(draft.space, draft.scales, draft.halo, strict=True):
        size = {"tensor_id": "input", "axis_id": axis}
        axes.append({"type": "space", "id": axis, "size": size, **_scale(scale), **({"halo": halo} if halo else {})})
    return {
        "id": "stains",
        "axes": axes,
        "test_tensor": {"source": "test_output.npy", "sha256": digest},
        "data": {"type": "float32"},
        "postprocessing": [dump_step(step, draft.space, "input") for step in draft.postprocessing],
    }


def describe_domain(content: Mapping[str, Any], file: str, digest: str) -> dict[str, Any]:
    """Return the parts of a description that change where the package gets a summary of the training inputs, or another one."""
    entry = {"source": file, "sha256": digest}
    config = content.get("config")
    config = config if isinstance(config, Mapping) else {}
    ours = config.get(OUR_PART)
    there = content.get("attachments")
    others = [item for item in there if not (isinstance(item, Mapping) and item.get("source") == file)] if isinstance(there, list) else []
    return {
        "attachments": [*others, entry],
        "config": {**config, OUR_PART: {**(ours if isinstance(ours, Mapping) else {}), "domain": dict(entry)}},
    }


def _scale(value: float | None) -> dict[str, Any]:
    """Return scale and unit of an axis.

    Readers compute a tied side as ``int(size * scale / scale)``, which for 0.325 turns 56 pixels into 55. Where that happens the scale
    is rounded to 38 bits (3e-12 of it), so that the product is exact.
    """
    if value is None:
        return {}
    sizes = np.arange(1, MAX_EXACT)
    if (sizes * value / value != sizes).any():
        mantissa, exponent = math.frexp(value)
        value = math.ldexp(round(mantissa * 2**38), exponent - 38)
    return {"scale": float(value), "unit": "micrometer"}


def _multiple(size: int, step: int) -> int:
    """Return the smallest multiple of the step that is no smaller than the size."""
    return -(-size // step) * step
