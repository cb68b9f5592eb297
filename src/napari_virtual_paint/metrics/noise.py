"""How strong the random fluctuations of an image are: from unlabelled controls, a repeat, the camera, or the image alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.metrics.pixels import Moments
from napari_virtual_paint.stack import Array, Stack

Plane = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]

LAPLACIAN = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
"""Immerkaer 1996: blind to planes and quadratic surfaces along the axes; white noise keeps its SD."""
BINS = 16  # classes of brightness, equally many pixels in each: shot noise grows with the signal
WIDE = 2.5  # SD in pixels of the blur that separates structure from noise correlated over several pixels
QUIET = 0.5  # share of each class's pixels, those with the least structure round them, that the noise is taken from
UNEVEN = 4.0  # factor between the variances of control images that is no chance
SATURATED = 1e-3  # share of pixels at the highest value from which an image counts as saturated


@dataclass(frozen=True)
class Noise:
    """The random fluctuations of a channel."""

    variance: float | None  # mean over the image, in its unit squared; None where it is unknown
    how: str  # where it is known from
    reliable: bool = True  # whether nothing speaks against it
    notes: tuple[str, ...] = ()  # what speaks against it, one sentence each
    most: float | None = None  # the variance if everything that fluctuates within a few pixels is noise too, where that was measured


class NoiseSource(Protocol):
    """Knows the noise of the channels of an image."""

    def of(self, name: str, truth: Array) -> Noise:
        """Return the noise of a channel of this name, axes TZYX."""


@dataclass(frozen=True)
class Estimated:
    """Estimates the noise from the true image itself."""

    def of(self, name: str, truth: Array) -> Noise:
        """Return the mean over the planes of `estimate_noise`."""
        found = [estimate_noise(plane) for plane in planes_of(truth)]
        variances, most = ([value for each in found if (value := getattr(each, name)) is not None] for name in ("variance", "most"))
        notes = tuple(dict.fromkeys(note for each in found for note in each.notes))
        if not variances:
            return Noise(None, "estimate", False, notes)
        return Noise(float(np.mean(variances)), "estimate", all(each.reliable for each in found), notes, float(np.mean(most)))


@dataclass(frozen=True)
class Given:
    """Takes standard deviations that the user knows, by channel name in any case; one under "" is for all channels."""

    sds: Mapping[str, float]

    def check(self, names: Sequence[str]) -> None:
        """Check that every name is that of a channel.

        Raises `InputError` if one is not.
        """
        there = {name.casefold() for name in names} | {""}
        if unknown := [name for name in self.sds if name.casefold() not in there]:
            raise InputError(f"Noise is given for {', '.join(unknown)}, which is no channel here; there are {', '.join(names)}.")

    def of(self, name: str, truth: Array) -> Noise:
        """Return the SD given for this channel."""
        known = {key.casefold(): value for key, value in self.sds.items()}
        sd = known.get(name.casefold(), known.get(""))
        if sd is None:
            return Noise(None, "sd", False, (f"No noise is given for this channel; there is one for {', '.join(self.sds)}.",))
        return Noise(float(sd) ** 2, "sd")


@dataclass(frozen=True)
class Camera:
    """Takes the photon transfer of a camera: variance = gain * (grey level - offset) + read noise squared."""

    gain: float  # grey levels an electron
    offset: float = 0.0  # grey levels without light
    read: float = 0.0  # SD of the read noise, grey levels

    def of(self, name: str, truth: Array) -> Noise:
        """Return the mean variance over the image."""
        moments = Moments()
        for plane in planes_of(truth):
            moments.update(plane, plane)
        light = float(moments.mean[1]) - self.offset
        if light < 0:
            return Noise(None, "camera", False, (f"The image is darker on average than the camera's offset of {self.offset:g}.",))
        return Noise(self.gain * light + self.read**2, "camera")


@dataclass(frozen=True, eq=False)
class Controls:
    """Takes images of cells without the label under the same settings: the mean of their variances (Ounkomol 2018).

    What the label's own photons add is not in them, so the noise is a lower bound and the ceiling an upper one.
    """

    stacks: Sequence[Stack]

    def of(self, name: str, truth: Array) -> Noise:
        """Return the mean of the control images' variances, of the channel with this name or of the only one."""
        variances, notes = [], []
        for stack in self.stacks:
            channel = _channel_named(stack, name)
            if channel is None:
                notes.append(f"The control {stack.source or ''} has no such channel.")
                continue
            images = [noise_of_control(image) for image in stack.data[:, channel]]
            variances += [each.variance for each in images if each.variance is not None]
            notes += [note for each in images for note in each.notes]
        if not variances:
            return Noise(None, "control", False, tuple(dict.fromkeys(notes)))
        if max(variances) > UNEVEN * min(variances):
            notes.append(f"The controls' own SDs differ from {min(variances) ** 0.5:.4g} to {max(variances) ** 0.5:.4g}; look at them.")
        return Noise(float(np.mean(variances)), "control", not notes, tuple(dict.fromkeys(notes)))


@dataclass(frozen=True, eq=False)
class Repeat:
    """Takes a second image of the same field: the differences are noise.

    With noise of the same strength and independent in both, their correlation is ``var(S) / var(T)``, whatever their gains, so that
    ``var(N) = var(T) (1 - r)`` and C_max is the root of r.
    """

    stack: Stack

    def of(self, name: str, truth: Array) -> Noise:
        """Return the noise of the channel of this name."""
        index = _channel_named(self.stack, name)
        if index is None:
            return Noise(None, "repeat", False, ("The repeat has no such channel.",))
        other = self.stack.data[:, index]
        if other.shape != truth.shape:
            raise InputError(
                f"{self.stack.source or 'The repeat'} has the shape {other.shape} and the truth {truth.shape}; they must be alike."
            )
        moments = Moments()
        for one, two in zip(planes_of(truth), planes_of(other), strict=True):
            moments.update(one, two)
        if any(moments.invalid) or not (moments.sd > 0).all():
            return Noise(None, "repeat", False, ("The repeat has one value everywhere, or values that are no numbers.",))
        r, notes = moments.pcc, []
        if r >= 1 - 1e-9:
            return Noise(None, "repeat", False, ("The repeat is the true image itself, so it says nothing about the noise.",))
        if not 0.5 < moments.sd[0] / moments.sd[1] < 2:
            notes.append("The two repeats differ in contrast by more than a factor of 2, so their noise is hardly the same.")
        return Noise(float(moments.sd[0] ** 2) * (1 - max(r, 0.0)), "repeat", not notes, tuple(notes))


def planes_of(channel: Array) -> Iterator[Plane]:
    """Yield the planes of a channel (T, Z, Y, X) one by one, of a lazy one a volume's chunk at a time at most."""
    for volume in channel:
        for plane in volume:
            yield np.asarray(plane)


def noise_of_control(volume: Array) -> Noise:
    """Return the variance of a control image (Z, Y, X), and say where it has structure, which is no random fluctuation."""
    from scipy import ndimage  # slow to import, and the docks show scores without it

    moments, smooth = Moments(), Moments()
    for plane in planes_of(volume[None]):
        moments.update(plane, plane)
        blurred = ndimage.gaussian_filter(plane.astype(np.float32), 4.0)
        smooth.update(blurred, blurred)
    variance = float(moments.sd[1]) ** 2
    if any(moments.invalid) or variance == 0:
        return Noise(None, "control", False, ("A control image has one value everywhere, or values that are no numbers.",))
    share = float(smooth.sd[1]) ** 2 / variance
    if share > 0.5:
        note = f"{100 * share:.0f} % of a control's variance is uneven light or structure, which a model may learn: the ceiling is too low."
        return Noise(variance, "control", False, (note,))
    return Noise(variance, "control")


def estimate_noise(plane: npt.ArrayLike) -> Noise:
    """Estimate the mean noise variance of an image from itself.

    The image's second differences (Immerkaer 1996) are blind to smooth structure. Their median absolute value is taken apart for classes
    of brightness, since shot noise grows with the signal, and in each class where there is the least structure; then averaged over all
    pixels. What is white and as fine as a pixel counts as noise.

    Parameters
    ----------
    plane
        Grey levels, (Y, X).

    Returns
    -------
    Noise
        `most` is larger than the variance where the noise is not independent from pixel to pixel (the image was smoothed, compressed or
        resampled) or where structure is as fine as the noise. Not reliable where many pixels are saturated, or grey levels too coarse.
    """
    from scipy import ndimage

    pixels = np.asarray(plane)
    if min(pixels.shape) < 32 or not np.isfinite(pixels).all():
        return Noise(None, "estimate", False, ("The image is too small (under 32 pixels) or has values that are no numbers.",))
    floats = pixels.astype(np.float32)
    variance = _quiet_variance(floats, ndimage.convolve(floats, LAPLACIAN, mode="reflect"))
    if variance == 0:
        return Noise(None, "estimate", False, ("No noise is found in the image: it was smoothed or compressed, or a program made it.",))
    notes = []
    most = max(variance, _quiet_variance(floats, floats - ndimage.gaussian_filter(floats, WIDE)))
    top = pixels == pixels.max()
    if top.mean() > SATURATED:
        notes.append(f"{100 * float(top.mean()):.1f} % of the pixels are at the highest value, where noise is cut off.")
    if pixels.dtype.kind in "iu" and variance < 0.25:
        notes.append(f"The noise (SD {variance**0.5:.2f}) is finer than a gray level, so that it is hardly seen.")
    return Noise(variance, "estimate", not notes, tuple(notes), most)


def _quiet_variance(image: Floats, rest: Floats) -> float:
    """Return the mean variance of what a filter left of an image, taken in each class of brightness where there is the least structure."""
    from scipy import ndimage

    rough, level = np.abs(rest), ndimage.gaussian_filter(image, 1.5)
    structure = ndimage.gaussian_gradient_magnitude(image, WIDE)
    order = np.argsort(level, axis=None)
    total = 0.0
    for part in np.array_split(order, BINS):
        inside = structure.flat[part]
        quiet = part[inside <= np.quantile(inside, QUIET)]
        total += len(part) * float(np.median(rough.flat[quiet]) / 0.6745) ** 2
    return total / image.size


def _channel_named(stack: Stack, name: str) -> int | None:
    """Return the channel of a name, or the only one."""
    labels = [label.casefold() for label in stack.channel_labels]
    if name.casefold() in labels:
        return labels.index(name.casefold())
    return 0 if len(labels) == 1 else None
