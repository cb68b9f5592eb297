"""Several fields read into one image a channel, on a worker: `plate_mosaic` shows them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_virtual_paint._napari.plate.field_loader import Slot, Store, opened, pictures, wanted_at_first
from napari_virtual_paint._napari.shared.appearance import contrast_limits, is_transmitted
from napari_virtual_paint._napari.shared.layers import KEY
from napari_virtual_paint.errors import InputError, VirtualPaintError
from napari_virtual_paint.plates.plate import Field
from napari_virtual_paint.plates.view.images import MOST_PIXELS, MosaicPlan, fill, plan_mosaic


@dataclass(frozen=True, eq=False)
class Begun:
    """What the worker tells first, so that layers can be made."""

    plan: MosaicPlan
    canvases: dict[Slot, Any]
    arguments: dict[Slot, dict[str, Any]]
    slots: tuple[Slot, ...] = ()
    done: float = 0.0
    total: float = 0.0


@dataclass(frozen=True)
class Filled:
    """One field was read."""

    done: float
    total: float
    message: str = ""


@dataclass(frozen=True, eq=False)
class Finished:
    """All fields were read.

    Parameters
    ----------
    limits
        Contrast limits by slot, over all fields.
    missing
        Why fields could not be read, by key.
    """

    limits: dict[Slot, tuple[float, float]]
    missing: dict[str, str]


def make_mosaic(
    store: Store, fields: Sequence[Field], shown: set[Slot] | None, limits: dict[Slot, tuple[float, float]], most: int = MOST_PIXELS
) -> Generator[Begun | Filled, None, Finished]:
    """Read several fields into one image a channel (on a worker).

    Parameters
    ----------
    store
        Where from.
    fields
        The fields.
    shown
        The channels; None takes those that are shown at first.
    limits
        Contrast limits of the channels that have some already; others get theirs from all fields together.
    most
        Pixels of a channel at most.

    Raises
    ------
    InputError
        If none of the fields can be read.
    """
    missing: dict[str, str] = {}
    begun: Begun | None = None
    for index, field in enumerate(fields):
        yield Filled(index, len(fields), f"Reading {field}")
        try:
            found, _ = opened(store, field)
            if begun is None:
                slots = [slot for slot, _, _ in found]
                begun = _begin(store, fields, field, shown or wanted_at_first(slots), limits, most)
                yield begun
            for slot, stack, channel in found:
                if slot in begun.canvases:
                    fill(begun.canvases[slot], begun.plan, index, stack, channel)
                    yield Filled(index + 0.5, len(fields), f"Reading {field}")
        except VirtualPaintError as error:
            missing[field.key] = str(error)
    if begun is None:
        raise InputError(next(iter(missing.values()), "No field was chosen."))
    return Finished({slot: limits.get(slot) or _limits(slot, canvas) for slot, canvas in begun.canvases.items()}, missing)


def _begin(
    store: Store, fields: Sequence[Field], field: Field, shown: set[Slot], limits: dict[Slot, tuple[float, float]], most: int
) -> Begun:
    """Return the empty mosaic, its layers' looks taken from the first field that can be read."""
    found, _ = opened(store, field)
    slots = [slot for slot, _, _ in found]
    chosen = [each for each in found if each[0] in shown] or found[:1]
    plan = plan_mosaic(fields, chosen[0][1].shape[-2:], most)
    canvases, arguments = {}, {}
    for made in pictures(store, field, chosen, limits, visible=True):
        slot, look = made.slot, dict(made.arguments)
        low, high = limits.get(slot) or look.get("contrast_limits") or (0.0, 1.0)
        canvases[slot] = _empty(plan.shape, np.dtype(made.data.dtype), low)
        keep = {name: look[name] for name in ("colormap", "blending", "opacity")}
        scale, units = look["scale"][-2:], look["units"][-2:]
        keep |= {
            "name": f"{slot.channel} (predicted, mosaic)" if slot.painted else f"{slot.channel} (mosaic)",
            "scale": tuple(step * plan.step for step in scale),
            "translate": tuple(step * (plan.step - 1) / 2 for step in scale),
            "units": units,
            "axis_labels": ("y", "x"),
            "contrast_limits": (low, high),
            "metadata": {KEY: {"role": "mosaic", "plate": store.images.plate.source, "channel": slot.channel}},
        }
        arguments[slot] = keep
    return Begun(plan, canvases, arguments, tuple(slots))


def _empty(shape: tuple[int, int], dtype: np.dtype[Any], low: float) -> Any:
    """Return a mosaic without fields: black, whatever the stain's darkest value."""
    if dtype.kind in "iu":
        low = float(np.clip(low, np.iinfo(dtype).min, np.iinfo(dtype).max))
    return np.full(shape, low if dtype.kind != "b" else 0, dtype)


def _limits(slot: Slot, canvas: Any) -> tuple[float, float]:
    return contrast_limits(canvas, is_transmitted(slot.channel)) or (0.0, 1.0)
