"""Why a field is not inside a model's domain, in sentences with numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.models.applicability.descriptors import EDGES, LAYOUT, watched_channels
from napari_virtual_paint.models.applicability.fit import shift
from napari_virtual_paint.models.package.domain import DescriptorGroup, Domain
from napari_virtual_paint.stack import PixelSize

Numbers = npt.NDArray[np.float64]
Cause = Literal["defocus", "noise", "detail"]
CENTRES = np.sqrt(EDGES[:-1] * EDGES[1:])  # middles of the bands, cycles a pixel
BLUR = 4 * np.pi**2 * np.log10(np.e)  # A Gaussian of SD s px takes BLUR * (s * frequency)^2 from log10 of the power
EXPLAINED = 0.5  # A cause is named if it leaves less than this share unexplained
VAGUE = 0.5  # weight of sentences on brightness and contrast relative to those that name a cause
SAME = 1.25  # power that differs by less than this factor is called the same
MUCH = 2.0  # mean difference, in the units of the network's input, from which an image is called much brighter or darker
FINE = EDGES[-3]  # frequency, cycles a pixel, from which detail is called fine: the last octave


@dataclass(frozen=True)
class SpectrumChange:
    """The cause of a change of the spectrum."""

    cause: Cause  # the simplest cause that explains it
    amount: float  # SD of the blur in px; power of the noise in the finest band, as a multiple of what was there
    left: float  # share of the change left unexplained


def explain_spectrum(training: Numbers, found: Numbers, weights: Numbers) -> SpectrumChange:
    """Explain the change from one spectrum to another.

    Parameters
    ----------
    training, found
        log10 of the power in the bands, up to a constant, (bands,).
    weights
        Weight of each band, (bands,): one over its SD among training patches.
    """

    def left(predicted: Numbers) -> float:
        gap = found - predicted
        gap -= np.average(gap, weights=weights**2)
        return float((weights**2 * gap**2).mean())

    whole = left(training)
    if whole <= 0:
        return SpectrumChange("detail", 0.0, 0.0)
    floor = float(found.min() - training.max()) - 1.0
    blur = _least(lambda sd: left(_blurred(training, sd, floor)), (0.1, 6.0))
    noise = _least(lambda power: left(_noisy(training, power)), (-4.0, 3.0))
    best = SpectrumChange("defocus", blur[0], blur[1] / whole)
    if noise[1] < blur[1]:
        best = SpectrumChange("noise", 10.0 ** noise[0], noise[1] / whole)
    return best if best.left < EXPLAINED else SpectrumChange("detail", 0.0, best.left)


def _least(function: Callable[[float], float], bounds: tuple[float, float]) -> tuple[float, float]:
    """Return the minimum of a function of one number and its place; starts on a grid, since there may be several minima."""
    from scipy.optimize import minimize_scalar

    grid = np.linspace(*bounds, 45)
    values = [function(float(x)) for x in grid]
    at = int(np.argmin(values))
    around = (float(grid[max(at - 1, 0)]), float(grid[min(at + 1, len(grid) - 1)]))
    found = minimize_scalar(function, bounds=around, method="bounded")
    return (float(found.x), float(found.fun)) if found.fun < values[at] else (float(grid[at]), float(values[at]))


def _blurred(training: Numbers, sd: float, floor: float) -> Numbers:
    """Return a spectrum after a Gaussian blur, with a noise floor at a hundred thousandth."""
    out: Numbers = np.log10(10.0 ** (training - BLUR * (sd * CENTRES) ** 2) + 10.0 ** (training.max() + min(floor, -5.0)))
    return out


def _noisy(training: Numbers, power: float) -> Numbers:
    """Return a spectrum with white noise of a power relative (log10) to the finest band."""
    out: Numbers = np.log10(10.0**training + 10.0 ** (training[-1] + power))
    return out


def reasons(
    domain: Domain,
    rows: Mapping[str, Numbers],
    parts: Mapping[str, float],
    saturated: float,
    levels: int,
    pixel_size: PixelSize,
    zoom: float | None = None,
    light: str = "",
) -> tuple[str, ...]:
    """Return a sentence for each part beyond its limit, the most informative first.

    Parameters
    ----------
    rows
        The field's numbers by part.
    parts
        Part -> distance.
    saturated, levels
        As in `PatchDescriptors`.
    zoom
        Size of structures relative to the training images; None where the magnification is not what differs.
    light
        The sentence on another light than that of the training images, or an empty string: it comes first, and nothing else is guessed.
    """
    out = {name: distance for name, distance in parts.items() if distance > 1.0}
    zoom = None if light or is_white(domain, rows["detail"]) else zoom  # shrinking removes noise too
    said: list[tuple[float, str]] = []
    if not out:
        return ()
    said += [(300.0, light)] if light else []
    inverted = not light and bool({"contrast", "polarity"} & set(out)) and zoom is None and is_inverted(domain, rows)
    if "pixel size" in out:
        said.append((200.0, _pixel_words(domain, pixel_size)))
    if zoom is not None:
        size = f"{zoom:.1f} times as large" if zoom > 1 else f"{zoom:.1f} times the size"
        said.append((100.0, f"Things are about {size}, in pixels, as in the training images: another magnification?"))
    if inverted:
        said.append((100.0, "Contrast is inverted: what is bright here was dark in the training images."))
    if "saturation" in out:
        said.append((out["saturation"], f"{saturated:.0%} of the pixels have the largest value: saturated?"))
    if "detail" in out and zoom is None and not light:
        said.append((out["detail"], detail_words(domain, rows["detail"], pixel_size)))
    if "density" in out:
        said.append((out["density"], _density_words(domain, rows["density"])))
    if "contrast" in out and not inverted:
        words = _contrast_words(domain.parts["contrast"], rows["contrast"], levels, domain.levels)
        said.append((VAGUE * out["contrast"], words))
    if "brightness" in out and not inverted:
        said.append((VAGUE * out["brightness"], _brightness_words(domain.parts["brightness"], rows["brightness"])))
    if "polarity" in out and not inverted and zoom is None and not light:
        said.append((VAGUE * out["polarity"], "Bright and dark details stand to each other as in another kind of contrast, or of cells."))
    if "network" in out:
        times = f"{out['network']:.1f} times as far out as training images lie at most"
        said.append((0.0, f"The network's own features are {times}: it was not trained on such images."))
    return tuple(text for _, text in sorted(said, key=lambda item: -item[0]))


def _pixel_words(domain: Domain, found: PixelSize) -> str:
    have, want = found.x or found.y or 0.0, domain.pixel_size.x or domain.pixel_size.y or 0.0
    return f"Pixel size {have:g} um where the model learned {want:g}: another magnification; resampling brings it to the model's."


def detail_words(domain: Domain, rows: Numbers, pixel_size: PixelSize) -> str:
    """Return the sentence on the power spectrum."""
    part = domain.parts["detail"]
    bands = LAYOUT["detail"]
    training, found = (values.reshape(-1, bands).mean(0) for values in (part.mean, rows.mean(0)))
    spread = rows.std(0).reshape(-1, bands).mean(0)
    said = explain_spectrum(training, found, 1.0 / np.maximum(spread, 0.05))
    ratio = fine_power(training, found)
    step = pixel_size.x or pixel_size.y
    fine = f"in detail finer than {step / FINE:.2g} um" if step else f"in detail finer than {1 / FINE:.0f} px"
    if 1 / SAME < ratio < SAME:
        return _channel_words(domain, rows, fine)
    if ratio < 1 and said.cause in ("defocus", "detail"):
        blur = f" (like a blur of {said.amount:.1f} px)" if said.cause == "defocus" else ""
        return f"Finer detail is missing: {_share(ratio)} of the training images' power {fine}{blur}: out of focus?"
    if ratio >= 1:
        why = "noise?" if said.cause == "noise" else "noise, or a sharper image?"
        return f"There is more fine grain: {ratio:.1f} times the training images' power {fine}: {why}"
    return f"Coarse and fine detail are in another proportion: {_share(ratio)} of the training images' power {fine}."


def _channel_words(domain: Domain, rows: Numbers, fine: str) -> str:
    """Return the sentence on spectra that differ in single channels but not on average."""
    bands = LAYOUT["detail"]
    pairs = list(zip(domain.parts["detail"].mean.reshape(-1, bands), rows.mean(0).reshape(-1, bands), strict=True))
    ratios = [fine_power(training, found) for training, found in pairs]
    worst = int(np.argmax(np.abs(np.log(ratios))))
    if 1 / SAME < ratios[worst] < SAME:
        return "Coarse and fine detail are in another proportion than in the training images."
    names = [domain.channels[index] for index in watched_channels(len(domain.channels))]
    name = names[worst] if worst < len(names) else f"channel {worst}"
    return f"{name} has {ratios[worst]:.2g} times the training images' power {fine}, others do not: another focal plane?"


def is_white(domain: Domain, rows: Numbers) -> bool:
    """Return whether the finest octave is as white as noise where that of the training images falls off."""
    bands = LAYOUT["detail"]
    slopes = [
        float(values[-1] - values[-3])
        for values in (each.reshape(-1, bands).mean(0) for each in (domain.parts["detail"].mean, rows.mean(0)))
    ]
    return slopes[0] < -0.3 and slopes[1] > -0.1


def fine_power(training: Numbers, found: Numbers) -> float:
    """Return the share of power in the finest octave, as a multiple of the training images'."""
    fine = CENTRES >= FINE
    shares = [(10.0 ** logs[fine]).sum() / (10.0**logs).sum() for logs in (training, found)]
    return float(shares[1] / shares[0])


def _share(value: float) -> str:
    words: Sequence[tuple[float, str]] = ((0.02, "next to nothing"), (0.12, "a tenth"), (0.22, "a fifth"), (0.29, "a quarter"))
    return next((word for most, word in words if value < most), f"{value:.0%}")


def _times(value: float) -> str:
    return "more than 100 times" if value > 100 else "less than a hundredth of" if value < 0.01 else f"{value:.2g} times"


def _density_words(domain: Domain, rows: Numbers) -> str:
    found = float(rows.mean())
    what = "sparser, fewer cells?" if found < domain.density else "denser, more cells?"
    return f"{found:.0%} of the area holds structure, {domain.density:.0%} in the training images: {what}"


def _contrast_words(part: DescriptorGroup, rows: Numbers, levels: int, usual: int) -> str:
    """Return the sentence on spread and shape of the histogram."""
    width = LAYOUT["contrast"]
    training, found = (values.reshape(-1, width).mean(0) for values in (part.mean, rows.mean(0)))
    times = 10.0 ** float(found[0] - training[0])
    few = f", with {levels} gray levels where it learned from {usual}" if levels < min(32, usual / 4) else ""
    if not 0.8 <= times <= 1.25:
        return f"Local contrast is {_times(times)} that of the training images{few}: other light, exposure or scaling?"
    return f"The histogram has another shape than the training images'{few}: other contrast or scaling?"


def _brightness_words(part: DescriptorGroup, rows: Numbers) -> str:
    by = float((rows.mean(0) - part.mean).mean())
    word = "brighter" if by > 0 else "darker"
    return f"Much {word} than the training images." if abs(by) >= MUCH else f"{word.capitalize()} than the training images."


def is_inverted(domain: Domain, rows: Mapping[str, Numbers]) -> bool:
    """Return whether the histogram's shape and the details' signs fit the training images better when inverted."""
    inverted = {"contrast": rows["contrast"].copy(), "polarity": -rows["polarity"]}
    width = LAYOUT["contrast"]
    shapes = inverted["contrast"].reshape(len(inverted["contrast"]), -1, width)
    shapes[:, :, 1:] = -shapes[:, :, :0:-1].copy()
    inverted["contrast"] = shapes.reshape(len(shapes), -1)
    as_is, upside_down = (sum(shift(values[name], domain.parts[name]) for name in inverted) for values in (rows, inverted))
    return upside_down < 0.35 * as_is
