"""Scores of one field's pixels: over the whole field, and over the foreground.

Scores of the whole field are those of `metrics.score`: each image at mean 0 and SD 1 over the field. Cross-Zamirski et al. 2022 name
their weakness: they weight each pixel equally, and most are background. The same scores are therefore also taken over the truth's
foreground, still on the scale of the whole field, so that a foreground that is uniformly too dark or too bright counts as wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_virtual_paint.evaluation.scale import TRUTH
from napari_virtual_paint.metrics import METRICS, NoiseSource, Scale, Scores, score
from napari_virtual_paint.metrics.ceiling import ceiling_of
from napari_virtual_paint.metrics.report import with_files
from napari_virtual_paint.metrics.ssim import WINDOW

if TYPE_CHECKING:
    from napari_virtual_paint.evaluation.context import FieldImages

Planes = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

SMOOTHED = 1.0  # SD in pixels of the blur before the threshold, so that noise does not count as foreground

LEAST = 100  # least foreground pixels for a score

SLAB = 16  # planes of a volume per block of the SSIM map, so that no volume is held several times

INSIDE = "foreground_"  # prefix of the scores over the foreground


def foreground(truth: npt.NDArray[Any]) -> Mask | None:
    """Return the foreground: above Otsu's threshold (1979) of the square root of the smoothed true image.

    The root evens out shot noise and keeps a few bright cells from hiding faint ones.

    Parameters
    ----------
    truth
        One stain, axes YX or ZYX; planes of a volume are smoothed one by one and share the threshold.

    Returns
    -------
    numpy.ndarray or None
        None where the image is constant or not finite, or fewer than 100 pixels lie above the threshold.
    """
    from skimage.filters import threshold_otsu

    if not np.isfinite(truth).all():
        return None
    sigma = (0.0,) * (truth.ndim - 2) + (SMOOTHED, SMOOTHED)
    smooth = ndimage.gaussian_filter(truth.astype(np.float32), sigma, mode="nearest")
    smooth -= smooth.min()
    if not smooth.max() > 0:
        return None
    signal = np.sqrt(smooth)
    mask: Mask = signal > threshold_otsu(signal)
    return mask if int(mask.sum()) >= LEAST else None


def field_rows(images: FieldImages, scale: Scale, noise: NoiseSource | None) -> list[dict[str, Any]]:
    """Score each stain of each prediction of a field.

    Returns
    -------
    list of dict
        ``field``, ``well``, ``stain``, ``source`` (the prediction), the five scores, the same with ``foreground_`` before, and
        ``foreground_share`` of the pixels; ``c_max`` and ``c_max_reliable``, None where the noise is unknown. Undefined is None, with
        a note on the field.
    """
    rows = []
    for i, stain in enumerate(images.stains):
        truth = images.truth[i]
        mask = foreground(truth)
        if mask is None:
            images.add_note(f"{stain}: no foreground is found in the truth, so nothing is scored there.")
        for source in images.predictions:
            prediction = images.predictions[source][i]
            scores = score(prediction, truth, scale)
            for reason in with_files(scores.reasons, images.files.get(source), images.files.get(TRUTH)):
                images.add_note(f"{stain}: {reason}")
            inside = Scores() if mask is None else score_inside(prediction, truth, mask, scale)
            row = {"field": images.key, "well": images.well, "stain": stain, "source": source, **scores.to_json()}
            row |= {INSIDE + name: value for name, value in inside.to_json().items()}
            row["foreground_share"] = None if mask is None else float(mask.mean())
            rows.append(row | _ceiling(stain, truth, noise, scores.pcc, images))
    return rows


def _ceiling(stain: str, truth: Planes, noise: NoiseSource | None, pcc: float | None, images: FieldImages) -> dict[str, Any]:
    """Return C_max and whether it is reliable."""
    if noise is None:
        return {"c_max": None, "c_max_reliable": None}
    volume = truth.reshape((1, 1, *truth.shape)[-4:])
    found = ceiling_of(volume, noise.of(stain, volume), pcc)
    for note in found.notes:
        images.add_note(f"{stain}, noise: {note}")
    return {"c_max": found.value, "c_max_reliable": found.reliable}


def score_inside(prediction: npt.ArrayLike, truth: npt.ArrayLike, mask: Mask, scale: Scale = "zscore") -> Scores:
    """Score a part of an image on the scale of the whole.

    Parameters
    ----------
    prediction, truth
        One stain, axes YX or ZYX.
    mask
        Mask of the pixels to score, same shape.
    scale
        zscore" scales each image to mean 0 and SD 1 over all its pixels first; "raw" leaves it unchanged.

    Returns
    -------
    Scores
        PCC, MSE and MAE over the pixels; PSNR from that MSE with the range of the whole truth; SSIM, the mean of its map over those
        whose window lies inside the image. None where undefined.
    """
    images = [np.asarray(each, np.float64) for each in (prediction, truth)]
    flat = [float(each.max()) == float(each.min()) for each in images]
    if not mask.any() or not all(np.isfinite(each).all() for each in images) or (scale == "zscore" and any(flat)):
        return Scores()
    if scale == "zscore":
        images = [(each - each.mean()) / each.std() for each in images]
    span = float(images[1].max() - images[1].min())
    inside = [each[mask] for each in images]
    difference = inside[0] - inside[1]
    mse = float(np.mean(difference**2))
    centred = [each - each.mean() for each in inside]
    norm = float(np.sqrt(np.dot(centred[0], centred[0]) * np.dot(centred[1], centred[1])))  # of equal images exactly their product
    # On the field's scale float32 is accurate enough (1e-4 of the stabilizing constants), and three times as fast.
    exact = np.float32 if scale == "zscore" else np.float64
    return Scores(
        pcc=float(np.clip(np.dot(*centred) / norm, -1, 1)) if norm > 0 else None,
        ssim=None if flat[1] else ssim_inside(images[0].astype(exact), images[1].astype(exact), mask, span),
        psnr=float(20 * np.log10(span) - 10 * np.log10(mse)) if mse > 0 and span > 0 else None,
        mse=mse,
        mae=float(np.abs(difference).mean()),
    )


def ssim_inside(prediction: npt.NDArray[Any], truth: npt.NDArray[Any], mask: Mask, data_range: float) -> float | None:
    """Return the mean of the SSIM map (Wang 2004; windows of 7 pixels per side, as in `metrics.ssim`) over a mask.

    Volumes of at least 7 planes use windows of 7 x 7 x 7. None where no masked pixel has its window inside the image.
    """
    total = count = 0.0
    for values, there in _maps(prediction, truth, mask, data_range):
        total += float(values[there].sum(dtype=np.float64))
        count += int(there.sum())
    return total / count if count else None


def _maps(
    prediction: npt.NDArray[Any], truth: npt.NDArray[Any], mask: Mask, data_range: float
) -> Iterator[tuple[npt.NDArray[np.floating[Any]], Mask]]:
    """Yield parts of the SSIM map and of the mask, without pixels whose windows cross the border."""
    from skimage.metrics import structural_similarity

    half = WINDOW // 2
    if min(truth.shape[-2:]) < WINDOW:
        return
    inner = (slice(half, -half), slice(half, -half))
    if truth.ndim == 2 or len(truth) < WINDOW:
        planes = [(prediction, truth, mask)] if truth.ndim == 2 else zip(prediction, truth, mask, strict=True)
        for one, other, there in planes:
            yield structural_similarity(one, other, win_size=WINDOW, data_range=data_range, full=True)[1][inner], there[inner]
        return
    for start in range(half, len(truth) - half, SLAB):
        stop = min(start + SLAB, len(truth) - half)
        part = slice(start - half, stop + half)
        values = structural_similarity(prediction[part], truth[part], win_size=WINDOW, data_range=data_range, full=True)[1]
        yield values[(slice(half, -half), *inner)], mask[(slice(start, stop), *inner)]


SCORED = (*METRICS, *(INSIDE + name for name in METRICS))  # columns of all scores
