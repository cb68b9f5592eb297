"""Quantitative phase from a stack of brightfield planes at different focus, by regularized inversion of the transfer functions."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import psutil
from scipy import fft

from napari_virtual_paint._version import __version__
from napari_virtual_paint.choices import PhaseMode
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.preprocessing.microscope import Microscope
from napari_virtual_paint.preprocessing.phase_settings import PhaseSettings
from napari_virtual_paint.preprocessing.transfer_functions import Floats, RadialFactors, at_frequencies, thin_object_factors
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.runtime.text import byte_size
from napari_virtual_paint.stack import PixelSize, Stack

REGULARIZATION = 1e-3
"""Default strength. It is absolute, and is added to the squared transfer function."""
LEAST_FOR_3D = 8  # planes from which the thickness is reconstructed too, unless the user decides
ROWS = 32  # rows of the spectrum that are inverted together
SHARE_OF_MEMORY = 0.8

Spectrum = npt.NDArray[np.complex64]


def reconstruct_phase(
    stack: Stack, settings: PhaseSettings, *, channel: int | str = 0, pixel_size: PixelSize | None = None
) -> Generator[Progress, None, Stack]:
    """Reconstruct the phase of a defocus stack.

    In 2D the absorption and the phase of a thin object are found together, from all planes (least squares with Tikhonov's regularization).
    In 3D every plane of a pure phase object is found (weak scattering). Thick objects and low frequencies along z stay incomplete, as the
    microscope does not transmit them (the missing cone), so a uniform background is 0 whatever its thickness.

    Parameters
    ----------
    stack
        Brightfield planes, axes TCZYX, Z in the order in which the stage moves. Each time point is treated alone.
    settings
        Optics and regularization.
    channel
        Channel of the brightfield, by position or name.
    pixel_size
        Micrometres, instead of the stack's.

    Yields
    ------
    Progress
        After each plane.

    Returns
    -------
    Stack
        One channel, ``Phase``, float32; radians in 2D, radians per plane in 3D.

    Raises
    ------
    InputError
        If there are fewer than 2 planes, the pixel size is unknown or too coarse, a plane is not finite or is 0 on average, or memory is
        too small.
    """
    name = stack.source or "The image"
    planes = stack.shape[2]
    if stack.rgb:
        raise InputError(f"{name}: phase needs gray planes at different focus, and this is a color picture.")
    if planes < 2:
        raise InputError(f"{name}: phase is found from planes at different focus, and there is one; open the whole z-stack.")
    size = _complete(stack.pixel_size if pixel_size is None else pixel_size, name)
    if settings.microscope.cutoff * max(size.y, size.x) < 0.02:
        raise InputError(
            f"{name}: the pixel size of {size.x:g} um does not fit the microscope's optics; check both (they are in micrometers)."
        )
    mode: PhaseMode = settings.mode or ("3d" if planes >= LEAST_FOR_3D else "2d")
    strength = REGULARIZATION if settings.regularization is None else settings.regularization
    padding = min(settings.z_padding, planes - 1) if mode == "3d" else 0
    _check_memory(stack.shape, planes + 2 * padding, mode, name)
    at = stack.channel_index(channel)
    times = stack.shape[0]
    each = 2 * (planes + 2 * padding)
    out = np.empty((times, 1, planes if mode == "3d" else 1, *stack.shape[3:]), np.float32)
    spacing = size.z if settings.invert else -size.z
    factors = yield from _scaled(
        thin_object_factors(settings.microscope, planes + 2 * padding, spacing, oblique=mode == "3d"), times * each
    )
    for time in range(times):
        field = stack.data[time, at]
        work = (
            _volume(field, factors, size, strength, padding, settings.microscope, name)
            if mode == "3d"
            else _thin(field, factors, size, strength, name)
        )
        while True:
            try:
                step = next(work)
            except StopIteration as end:
                out[time, 0] = end.value
                break
            yield Progress(time * each + step.fraction * each, times * each)
    used = replace(settings, mode=mode, regularization=strength, z_padding=padding)
    record = {"phase": {**asdict(used), "version": __version__, "input": stack.source, "pixel_size": list(size)}}
    return Stack(
        out,
        ("Phase",),
        PixelSize(*size) if mode == "3d" else PixelSize(None, size.y, size.x),
        stack.time_interval,
        stack.source,
        provenance=record,
        notes=_notes(out),
    )


class VoxelSize(NamedTuple):
    """A pixel size that is known along each axis, micrometres."""

    z: float
    y: float
    x: float


def _complete(size: PixelSize, name: str) -> VoxelSize:
    """Return a pixel size, checked."""
    missing = [axis for axis, value in zip("zyx", size, strict=True) if not value or not np.isfinite(value) or value <= 0]
    if missing:
        raise InputError(f"{name}: the pixel size along {' and '.join(missing)} is not known; give it in micrometers (--pixel-size Z,Y,X).")
    return VoxelSize(*(float(value or 0) for value in size))


def _check_memory(shape: tuple[int, ...], planes: int, mode: PhaseMode, name: str) -> None:
    """Raise an `InputError` if the spectra don't fit into memory."""
    plane = shape[3] * shape[4] * 4
    needed = plane * (planes * 2.5 + 8) if mode == "3d" else plane * 16
    free = psutil.virtual_memory().available * SHARE_OF_MEMORY
    if needed > free:
        advice = "crop the image, or use --mode 2d" if mode == "3d" else "crop the image"
        raise InputError(f"{name}: its phase needs {byte_size(needed)} of memory and {byte_size(free)} are free; {advice}.")


def _scaled(work: Generator[Progress, None, RadialFactors], total: float) -> Generator[Progress, None, RadialFactors]:
    """Report a short preparation as no progress of the whole, so that it can be cancelled."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            factors: RadialFactors = end.value
            return factors
        yield Progress(0, total)


def _contrast(plane: Any, name: str, mean: float | None = None) -> npt.NDArray[np.float32]:
    """Return a plane's deviation from its mean or a given one, as a share of it."""
    pixels = np.asarray(plane, np.float32)
    level = float(pixels.mean(dtype=np.float64)) if mean is None else mean
    if not np.isfinite(level) or level == 0 or not np.isfinite(pixels).all():
        raise InputError(f"{name}: a plane is 0 on average or not finite, so it has no contrast; choose the brightfield channel.")
    contrast: npt.NDArray[np.float32] = pixels / np.float32(level) - np.float32(1)
    return contrast


def _frequencies(shape: tuple[int, int], size: VoxelSize) -> npt.NDArray[np.float32]:
    """Return the lengths of the frequencies of a half spectrum, cycles per micrometre."""
    lengths: npt.NDArray[np.float64] = np.hypot(fft.fftfreq(shape[0], size.y)[:, None], fft.rfftfreq(shape[1], size.x))
    return lengths.astype(np.float32)


def _thin(field: Any, factors: RadialFactors, size: VoxelSize, strength: float, name: str) -> Generator[Progress, None, Floats]:
    """Find the phase of a thin object: at each frequency, two unknowns (absorption, phase) from all planes."""
    planes, shape = field.shape[0], (field.shape[1], field.shape[2])
    frequencies = _frequencies(shape, size)
    absorbing, shifting = (np.full(frequencies.shape, strength, np.float32) for _ in range(2))
    both, seen_absorption, seen_phase = (np.zeros(frequencies.shape, np.complex64) for _ in range(3))
    for plane in range(planes):
        spectrum = fft.rfft2(_contrast(field[plane], name))
        of_absorption, of_phase = (
            at_frequencies(part[plane : plane + 1], factors.step, frequencies)[0] for part in (factors.absorption, factors.phase)
        )
        absorbing += np.abs(of_absorption) ** 2
        shifting += np.abs(of_phase) ** 2
        both += of_absorption.conj() * of_phase
        seen_absorption += of_absorption.conj() * spectrum
        seen_phase += of_phase.conj() * spectrum
        yield Progress(plane + 1, planes)
    phase = (absorbing * seen_phase - both.conj() * seen_absorption) / (absorbing * shifting - np.abs(both) ** 2)
    phase[0, 0] = 0
    found: Floats = fft.irfft2(phase, s=shape).astype(np.float32)[None]
    return found


def _volume(
    field: Any, factors: RadialFactors, size: VoxelSize, strength: float, padding: int, microscope: Microscope, name: str
) -> Generator[Progress, None, Floats]:
    """Find the phase of a volume: at each frequency one unknown, from one spectrum."""
    planes, shape = field.shape[0], (field.shape[1], field.shape[2])
    order = np.pad(np.arange(planes), padding, "reflect")
    total = 2.0 * len(order)
    level = float(np.mean([np.asarray(field[plane]).mean(dtype=np.float64) for plane in range(planes)]))
    frequencies = _frequencies(shape, size)
    spectra = np.empty((len(order), *frequencies.shape), np.complex64)
    for index, plane in enumerate(order):
        spectra[index] = fft.rfft2(_contrast(field[int(plane)], name, level))
        yield Progress(index + 1, total)
    window = np.hanning(len(order) + 2)[1:-1, None]
    transfer = fft.fft(fft.ifftshift(factors.phase * window, axes=0), axis=0)
    # The regularization applies to the factors for one unit of scattering potential and micrometre, which are smaller by this much.
    unit = size.z * microscope.wavelength / microscope.index / (4 * np.pi)
    for start in range(0, shape[0], ROWS):
        rows = slice(start, start + ROWS)
        each = at_frequencies(transfer, factors.step, frequencies[rows]) * np.float32(unit)
        part = fft.fft(spectra[:, rows], axis=0) * each.conj() / (np.abs(each) ** 2 + np.float32(strength))
        spectra[:, rows] = fft.ifft(part, axis=0)
        yield Progress(len(order) + 0.5 * len(order) * (start + ROWS) / shape[0], total)
    out = np.empty((planes, *shape), np.float32)
    for plane in range(planes):
        spectra[plane + padding, 0, 0] = 0
        out[plane] = fft.irfft2(spectra[plane + padding], s=shape) * unit
        yield Progress(1.5 * len(order) + 0.5 * len(order) * (plane + 1) / planes, total)
    return out


def _notes(phase: npt.NDArray[np.float32]) -> tuple[str, ...]:
    """Return a note if most of what stands out is below the background: cells delay light more than the medium."""
    values = phase[:: max(1, len(phase) // 4)].astype(np.float64)
    spread = values.std()
    if spread and ((values - values.mean()) ** 3).mean() / spread**3 < -0.5:
        return ("The phase is mostly negative, but cells delay light more than the medium; if they look dark, use --invert.",)
    return ()
