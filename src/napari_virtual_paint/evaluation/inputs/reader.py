"""Read one field: truth and predictions as arrays with the same stains and pixels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.errors import InputError, ReadError
from napari_virtual_paint.evaluation.context import TRUTH, FieldImages
from napari_virtual_paint.evaluation.inputs.pairing import Channel, channel_indices
from napari_virtual_paint.evaluation.inputs.sources import FieldImageReader
from napari_virtual_paint.evaluation.scale import IntensityScale, SourceMoments
from napari_virtual_paint.metrics.report import same_axes
from napari_virtual_paint.models.channel_names import UNSTAINED, parse_name
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.stain_names import Synonyms

AXES = ((0, "time points"), (2, "z-planes"), (3, "rows"), (4, "columns"))


@dataclass(frozen=True)
class Reader:
    """Read fields. Sent to other processes, so it holds names and no open file."""

    images: Mapping[str, FieldImageReader]  # ``truth`` or a prediction's name -> reader of its fields
    partners: Mapping[str, Mapping[str, str]]  # key of the truth's field -> prediction -> its key there
    wells: Mapping[str, str]  # key of the truth's field -> its well
    stains: tuple[str, ...]
    channels: Mapping[str, tuple[Channel, ...]]  # source -> its channels
    synonyms: Synonyms | None = None  # the names of stains; the default ones where None

    def read(self, key: str, scale: IntensityScale) -> Iterator[FieldImages]:
        """Yield a field's images, time point by time point.

        Raises `ReadError` if an image is damaged, lacks a stain, or sizes differ.
        """
        found = self.stacks(key)
        truth = found[TRUTH]
        stains = {name: self._stains(name, stack) for name, stack in found.items()}
        light = _light(truth, self._indices(TRUTH, truth))
        size = truth.pixel_size.y or next((stack.pixel_size.y for stack in found.values() if stack.pixel_size.y), None)
        for t in range(truth.shape[0]):
            arrays = {name: _floats(stack.data[t]) for name, stack in stains.items()}
            yield FieldImages(
                key=key if truth.shape[0] == 1 else f"{key}/t{t}",
                well=self.wells[key],
                stains=self.stains,
                pixel_size=size,
                truth=arrays.pop(TRUTH),
                predictions=arrays,
                scale=scale,
                light=None if light is None else _floats(light.data[t])[0],
                files={name: stack.source or "" for name, stack in found.items()},
            )

    def stacks(self, key: str) -> dict[str, Stack]:
        """Return a field's image of each source, pixels unread, after comparing sizes.

        Raises `ReadError` if an image is damaged, or sizes differ.
        """
        truth = self.images[TRUTH].read(key)
        found = {TRUTH: truth}
        for name, there in self.partners[key].items():
            found[name], found[TRUTH], _ = same_axes(self.images[name].read(there), found[TRUTH])
        for name, stack in found.items():
            for axis, noun in AXES:
                have, want = stack.shape[axis], found[TRUTH].shape[axis]
                if have != want:
                    raise ReadError(
                        stack.source or name,
                        f"it has {have} {noun} and the truth {want}; they must be the same pixels, so crop or resample one of them",
                    )
        return found

    def _indices(self, name: str, stack: Stack) -> list[int]:
        return channel_indices(stack, self.channels[name], self.stains, self.synonyms)

    def _stains(self, name: str, stack: Stack) -> Stack:
        return stack.select(self._indices(name, stack))

    def survey(self, key: str) -> dict[str, SourceMoments]:
        """Return source -> moments of its stains in a field, over all time points and planes."""
        return {
            name: SourceMoments.of(np.moveaxis(np.asarray(self._stains(name, stack).data, np.float32), 1, 0))
            for name, stack in self.stacks(key).items()
        }

    def stamp(self, key: str) -> str:
        """Return a text that changes when one of the field's images changes."""
        keys = {TRUTH: key, **self.partners[key]}
        return "; ".join(f"{name} {self.images[name].stamp(each)}" for name, each in keys.items())


def _light(stack: Stack, stains: Sequence[int]) -> Stack | None:
    """Return the transmitted light beside the stains, the one in focus where there are several."""
    named = {i: parse_name(name) for i, name in enumerate(stack.channels or ()) if i not in stains}
    found = [i for i, name in named.items() if name.kind in UNSTAINED]
    best = min(found, key=lambda i: (not named[i].in_focus, abs(named[i].offset or 0.0)), default=None)
    return None if best is None else stack.select([best])


def _floats(data: Any) -> npt.NDArray[np.float32]:
    """Return planes as float32, axes CYX, for a volume CZYX."""
    array = np.asarray(data).astype(np.float32)
    return array[:, 0] if array.shape[1] == 1 else array


def first_stacks(reader_images: Mapping[str, FieldImageReader], partners: Mapping[str, Mapping[str, str]]) -> dict[str, Stack]:
    """Return the images of the first field that is readable in all sources.

    Raises `InputError` if there is none; the message describes the first failure.
    """
    first: Exception | None = None
    for key, others in partners.items():
        try:
            found = {name: reader_images[name].read(each) for name, each in {TRUTH: key, **others}.items()}
        except (ReadError, OSError) as error:
            first = first or error
            continue
        return found
    raise first if isinstance(first, ReadError) else InputError(f"No field can be read: {first}.")
