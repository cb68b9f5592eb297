"""Registering an image onto a stain of another modality: the stain is painted from the one and found in the other."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.metrics import pair_channels
from napari_virtual_paint.models.channel_names import differ, find_names
from napari_virtual_paint.registration.engine import register
from napari_virtual_paint.registration.settings import Registration, RegistrationSettings
from napari_virtual_paint.runtime.generators import relay
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.stack import PixelSize, Stack
from napari_virtual_paint.stain_names import Synonyms

if TYPE_CHECKING:
    from napari_virtual_paint.models import Model
    from napari_virtual_paint.painting import Painting, PaintSettings

FAR = 1.1  # pixel sizes of image and model that differ by more than this factor have the image brought to the model's before it is painted
PAINTED = 0.6  # share of the work that painting is taken to be


@dataclass(frozen=True, eq=False)
class Registered:
    """A registration of two stacks."""

    registration: Registration  # where the one lies in the other
    painting: Painting | None  # the stains painted from the image; None where it was registered as it is
    moving: str
    fixed: str  # `moving` and `fixed`: names of the channels that were laid on each other
    notes: tuple[str, ...] = ()  # what the user should know, one sentence each

    def to_json(self) -> dict[str, Any]:
        """Return the registration's plain values, and the model and channels it was made with."""
        made = self.painting.report if self.painting is not None else None
        names = {"painted_by": made.model if made else None, "moving": self.moving, "fixed": self.fixed}
        return {**self.registration.to_json(), **names, "notes": list(self.notes)}


def register_images(
    image: Stack,
    target: Stack,
    model: Model | None = None,
    *,
    channel: str | int | None = None,
    stain: str | int | None = None,
    settings: RegistrationSettings | None = None,
    painting: PaintSettings | None = None,
    out: Any = None,
    seed: int = 0,
    synonyms: Synonyms | None = None,
) -> Generator[Any, None, Registered]:
    """Register an image with one of another modality, through a model that predicts its stain.

    Parameters
    ----------
    image
        The image to register, as brightfield.
    target
        The image to register it onto, with a stain that the model paints.
    model
        Paints the stain; None registers the image as it is.
    channel
        The target's channel, by name or position; the one named as `stain` if left out, or the first that both have.
    stain
        The model's stain, or without a model the image's channel, by name or position; the one named as `channel` if left out.
    settings
        What may differ between the two.
    painting
        How to paint; `resample` is switched on where the pixel sizes of image and model are far apart.
    out
        As of `painting.paint`.
    seed
        Of the fit's random trials.
    synonyms
        The names of stains, by which channels of other names pair; `stain_names.default_synonyms` where None.

    Yields
    ------
    Pieces with ``done``, ``total`` and ``message``; each is a place to cancel.

    Raises
    ------
    InputError
        If a channel is ambiguous, or an image can't be registered.
    """
    notes: list[str] = []
    done, painted = 0.0, None
    if model is not None:
        painted = yield from _paint(model, image, painting, out, notes)
        done = PAINTED
    source = image if painted is None else painted.stack
    left, right = _channels(source, target, stain, channel, synonyms, notes)
    planes = _plane(source, left, "image", notes), _plane(target, right, "target", notes)
    sizes = _size(image.pixel_size), _size(target.pixel_size)
    if sizes[0] is None or sizes[1] is None:
        notes.append("The pixel size of one of the two images is unknown, so their pixels are taken to be of one size.")
    work = register(*planes, moving_size=sizes[0], fixed_size=sizes[1], settings=settings, seed=seed)
    found = yield from relay(work, lambda step: Progress(done + (1 - done) * step.done, 1.0, step.message))
    return Registered(found, painted, source.channel_labels[left], target.channel_labels[right], tuple(notes))


def _paint(model: Model, image: Stack, settings: PaintSettings | None, out: Any, notes: list[str]) -> Generator[Any, None, Painting]:
    """Paint the image; its share of the progress is the first part."""
    from dataclasses import replace

    from napari_virtual_paint.painting import PaintSettings, paint
    from napari_virtual_paint.painting.network_input import zoom

    settings = settings or PaintSettings()
    factors = zoom(model.info, image.pixel_size)
    if factors is not None and any(not 1 / FAR <= factor <= FAR for factor in factors[-2:]) and not settings.resample:
        settings = replace(settings, resample=True)
        notes.append(f"The image is painted at the model's pixel size, {model.info.pixel_size.y:g} um.")
    work = paint(model, image, settings, out=out)
    painting = yield from relay(work, lambda piece: Progress(PAINTED * piece.done / max(piece.total, 1e-9), 1.0, piece.message))
    notes.extend(painting.report.notes)
    return painting


def _channels(
    source: Stack, target: Stack, stain: str | int | None, channel: str | int | None, synonyms: Synonyms | None, notes: list[str]
) -> tuple[int, int]:
    """Return which channel of the one is laid on which of the other."""
    left = None if stain is None else _index(source, stain)
    right = None if channel is None else _index(target, channel)
    if left is None and right is None:
        pairing = pair_channels(source, target, synonyms)
        _, left, right = pairing.pairs[0]
        names = source.channel_labels[left], target.channel_labels[right]
        if target.shape[1] > 1 and differ(*names, synonyms):
            raise InputError(
                f"{_name(target)}: none of its channels ({_list(target.channel_labels)}) is one of {_list(source.channel_labels)} by its"
                " name; say which is registered onto which (--channel, --stain)."
            )
        if len(pairing.pairs) > 1 or source.channel_labels[left].casefold() != target.channel_labels[right].casefold():
            notes.append(f"{source.channel_labels[left]} is registered onto {target.channel_labels[right]}; another can be chosen.")
        return left, right
    if left is None:
        return _same(source, target.channel_labels[right or 0], synonyms, notes), right or 0
    return left, _same(target, source.channel_labels[left], synonyms, notes) if right is None else right


def _same(stack: Stack, name: str, synonyms: Synonyms | None, notes: list[str]) -> int:
    """Return the channel of a name, or of another name of the same stain, or the only one.

    Raises `InputError` if there is no such channel among several.
    """
    labels = stack.channel_labels
    place = find_names([name], labels, synonyms)[0]
    if place is not None:
        if labels[place].strip().casefold() != name.strip().casefold():
            notes.append(f"{labels[place]} is taken as {name}, another name of the same stain.")
        return place
    if len(labels) == 1:
        return 0
    raise InputError(f"{_name(stack)} has no channel {name!r} (there are {_list(stack.channel_labels)}); say which of them is meant.")


def _index(stack: Stack, channel: str | int) -> int:
    try:
        return stack.channel_index(channel)
    except KeyError as error:
        raise InputError(f"{_name(stack)}: there is {error.args[0]}.") from error


def _plane(stack: Stack, channel: int, which: str, notes: list[str]) -> npt.NDArray[np.generic]:
    """Return one plane of a channel: of the first time point, and of a z-stack its mean along z, which keeps structures where they are."""
    t, _, z = stack.shape[:3]
    if t > 1:
        notes.append(f"Of the {t} time points of the {which} the first is registered.")
    volume = np.asarray(stack.data[0, channel])
    if z == 1:
        plane: npt.NDArray[np.generic] = volume[0]
        return plane
    notes.append(f"Of the {z} planes of the {which} the mean along z is registered.")
    mean: npt.NDArray[np.generic] = volume.mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean


def _size(size: PixelSize) -> tuple[float, float] | None:
    return (size.y, size.x) if size.y and size.x else None


def _name(stack: Stack) -> str:
    return stack.source or "The image"


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)
