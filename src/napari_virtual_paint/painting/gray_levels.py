"""Stains as gray levels of 16 bits, for programs that take no fractions or negative pixels; the mapping is kept with the image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.choices import GrayRange
from napari_virtual_paint.errors import InputError, ModelError
from napari_virtual_paint.stack import Array, Stack

if TYPE_CHECKING:
    from napari_virtual_paint.models import Model
    from napari_virtual_paint.painting.model_set import ModelSet

TOP = int(np.iinfo(np.uint16).max)
KEY = "gray_levels"  # name of the mapping in an image's provenance

UNIT_RANGE = (-5.0, 20.0)
"""Least range of a model: models are trained on stains in SDs from the mean, of which images hold -1 to 10."""

BELOW, ABOVE = 2.0, 4.0  # spans of a model's test output that its range reaches beyond it, since a patch has not the brightest cell
AT_ONCE, BAND = 64 << 20, 512  # bytes of stains that are mapped at once, and rows of the bands of larger ones

PERCENTILES = (0.01, 99.99)
MARGIN_BELOW, MARGIN_ABOVE = 0.25, 0.5  # spans of the percentiles that are added, for fields that were not looked at


@dataclass(frozen=True)
class GrayLevels:
    """A linear mapping of each stain: ``low`` becomes 0, ``high`` becomes 65535, and what is beyond is clipped."""

    how: GrayRange  # where the range comes from
    low: Mapping[str, float]
    high: Mapping[str, float]
    """`low` and `high`: stain -> value in the painting's own unit."""

    def to_json(self) -> dict[str, Any]:
        """Return it as kept with an image: ``value = scale * gray + offset`` of each stain undoes it."""
        stains = {
            name: {"low": low, "high": self.high[name], "scale": (self.high[name] - low) / TOP, "offset": low}
            for name, low in self.low.items()
        }
        return {"dtype": "uint16", "range": self.how, "stains": stains}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> GrayLevels:
        """Return a mapping from plain values.

        Raises
        ------
        KeyError, TypeError, ValueError
            If they are not those of a mapping.
        """
        stains = values["stains"]
        bounds = [{str(name): float(each[key]) for name, each in stains.items()} for key in ("low", "high")]
        return cls(values["range"], *bounds)

    def apply(self, pixels: npt.NDArray[Any], stains: Sequence[str], axis: int = 1) -> npt.NDArray[np.uint16]:
        """Return gray levels: rounded, clipped, and 0 where a pixel is no number.

        Parameters
        ----------
        pixels
            The stains.
        stains
            Their names, along `axis`.
        """
        shape = [1] * pixels.ndim
        shape[axis] = len(stains)
        low, high = (np.array([side[name] for name in stains], np.float64).reshape(shape) for side in (self.low, self.high))
        values = (np.asarray(pixels, np.float64) - low) * (TOP / (high - low))
        gray: npt.NDArray[np.uint16] = np.nan_to_num(np.clip(np.rint(values), 0, TOP), nan=0.0).astype(np.uint16)
        return gray


def as_gray(stack: Stack, levels: GrayLevels) -> Stack:
    """Return painted stains as gray levels, with the mapping in their provenance; lazy pixels stay lazy."""
    names = stack.channel_labels
    pixels: Array
    if isinstance(stack.data, np.ndarray) and stack.data.nbytes <= AT_ONCE:
        pixels = levels.apply(stack.data, names)
    else:
        import dask.array as da

        lazy = da.from_array(stack.data, chunks=(1, -1, 1, BAND, -1)) if isinstance(stack.data, np.ndarray) else stack.data
        pixels = lazy.rechunk({1: -1}).map_blocks(levels.apply, names, dtype=np.uint16)
    return noted(replace(stack, data=pixels), levels)


def original_values(stack: Stack) -> Stack:
    """Return an image with its gray levels turned back into the painting's own unit, float32; one without a mapping as it is.

    A value differs from the painted one by half a gray level at most, unless it was clipped.
    """
    stored = (stack.provenance or {}).get(KEY)
    if not isinstance(stored, Mapping):
        return stack
    try:
        levels = GrayLevels.from_json(stored)
        low, high = (np.array([side[name] for name in stack.channel_labels]) for side in (levels.low, levels.high))
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{stack.source or 'The image'}: its mapping of gray levels does not name its channels.") from None
    scale, offset = (each.astype(np.float32).reshape(1, -1, 1, 1, 1) for each in ((high - low) / TOP, low))
    kept = {name: value for name, value in (stack.provenance or {}).items() if name != KEY}
    return replace(stack, data=stack.data.astype(np.float32) * scale + offset, provenance=kept)


def model_levels(model: Model) -> GrayLevels:
    """Return the range of a model: that of stains in SDs, and beyond its test output if that is wider.

    Raises
    ------
    InputError
        If its package has no test output that can be read.
    """
    from napari_virtual_paint.models.package.npy import load_tensor

    entry, info = model.description.test_output, model.info
    try:
        if entry is None:
            raise ModelError("it has none")
        output = np.asarray(load_tensor(model.files, entry), np.float64)
        if output.shape[1] != len(info.stains):
            raise ModelError(f"its shape is {output.shape}")
    except ModelError as error:
        raise InputError(f"{info.id}: its package has no test output to take the range from ({error}); use --range percentiles.") from None
    low, high = {}, {}
    for stain, plane in zip(info.stains, output[0], strict=True):
        least, most = float(plane.min()), float(plane.max())
        low[stain] = min(UNIT_RANGE[0], least - BELOW * (most - least))
        high[stain] = max(UNIT_RANGE[1], most + ABOVE * (most - least))
    return GrayLevels("model", low, high)


def levels_of(models: ModelSet) -> GrayLevels:
    """Return the range of the stains of several models by their names in the painting; of one that several make, the widest."""
    low: dict[str, float] = {}
    high: dict[str, float] = {}
    for member in models.members:
        own, made = model_levels(member.model), member.model.info.stains
        for pick, place in zip(member.picks, models.rows(member), strict=True):
            name, least, most = models.stains[place], own.low[made[pick]], own.high[made[pick]]
            low[name], high[name] = min(low.get(name, least), least), max(high.get(name, most), most)
    return GrayLevels("model", low, high)


def noted(stack: Stack, levels: GrayLevels | None) -> Stack:
    """Return an image with a mapping in its provenance; the pixels are not touched."""
    return stack if levels is None else replace(stack, provenance={**(stack.provenance or {}), KEY: levels.to_json()})


def percentile_levels(stacks: Iterable[Stack], how: GrayRange = "percentiles") -> GrayLevels:
    """Return the range of some painted fields: percentiles of all their pixels, and a margin for the fields beside them.

    Parameters
    ----------
    stacks
        At least one; all with the same stains.
    how
        What to call it.
    """
    low: dict[str, float] = {}
    high: dict[str, float] = {}
    for stack in stacks:
        for index, name in enumerate(stack.channel_labels):
            values = np.asarray(stack.data[:, index])
            finite = values[np.isfinite(values)]
            least, most = (float(value) for value in np.percentile(finite, PERCENTILES)) if finite.size else (0.0, 0.0)
            low[name], high[name] = min(low.get(name, least), least), max(high.get(name, most), most)
    spans = {name: (high[name] - low[name]) or 1.0 for name in low}
    return GrayLevels(
        how,
        {name: low[name] - MARGIN_BELOW * spans[name] for name in low},
        {name: high[name] + MARGIN_ABOVE * spans[name] for name in high},
    )


class GrayBlocks:
    """An image that takes painted blocks and keeps them as gray levels.

    Parameters
    ----------
    image
        The image of 16 bits, which is written by slices TCZYX.
    levels
        The mapping.
    stains
        Names of its channels.
    """

    takes_blocks = True  # `painting.paint` writes finished blocks, all stains at once or some

    def __init__(self, image: Any, levels: GrayLevels, stains: Sequence[str]) -> None:
        self._image, self._levels, self._stains = image, levels, tuple(stains)
        self.shape, self.dtype, self.ndim = image.shape, np.dtype(np.float32), image.ndim

    def __setitem__(self, key: tuple[slice, ...], pixels: npt.NDArray[Any]) -> None:
        self._image[key] = self._levels.apply(pixels, self._stains[key[1]])
