"""Overlays of the best and the worst fields: outlines of the true and of the predicted objects on the true stain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.evaluation.context import TRUTH
from napari_virtual_paint.evaluation.instances.matching import overlaps, states
from napari_virtual_paint.evaluation.level import Figure
from napari_virtual_paint.evaluation.objects import OBJECTS, Objects, objects_of
from napari_virtual_paint.evaluation.pixels.pictures import Picture, best_and_worst, grey, limits

if TYPE_CHECKING:
    import pandas as pd

    from napari_virtual_paint.evaluation.context import Context, FieldImages

FOUND, LOST, EXTRA = (64, 200, 255), (255, 150, 40), (255, 90, 220)
"""Outline colors: a pair at an IoU of 0.7; a true object without a partner; a predicted one without. Safe for the color-blind."""

SIDE = 512  # most pixels per side; of a larger field the part with most failures is shown, since outlines can't be downscaled

GAMMA = 0.5  # gamma that brightens faint cells under the outlines


def outlines(labels: npt.NDArray[np.integer[Any]], chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the inner outlines of selected objects.

    Parameters
    ----------
    labels
        Label image, axes YX.
    chosen
        One flag per label from 0 up.
    """
    from skimage.segmentation import find_boundaries

    return np.asarray(find_boundaries(labels, mode="inner") & chosen[labels], bool)


def window(failures: npt.NDArray[np.float64], shape: tuple[int, ...], side: int = SIDE) -> tuple[slice, slice]:
    """Return the crop of a field with most failures.

    Parameters
    ----------
    failures
        Their positions, (n, 2) yx.
    side
        Side of the crop, px.
    """
    firsts = [range(0, max(length - side, 0) + 1, side // 4) for length in shape]
    steps = [[*first, max(length - side, 0)] for first, length in zip(firsts, shape, strict=True)]

    def inside(top: int, left: int) -> int:
        corner = np.array([top, left])
        return int(((failures >= corner) & (failures < corner + side)).all(axis=1).sum()) if len(failures) else 0

    top, left = max(((top, left) for top in steps[0] for left in steps[1]), key=lambda corner: inside(*corner))
    return slice(top, top + side), slice(left, left + side)


def overlay(images: FieldImages, truth: Objects, found: Objects, kind: str, source: str) -> tuple[npt.NDArray[np.uint8], ...]:
    """Return the true and the predicted objects on their own stains, with outlines colored by match.

    Returns
    -------
    tuple
        Two pictures, RGB: the truth's objects on the truth (blue: found, orange: lost), the prediction's on the prediction (blue: right,
        pink: extra).
    """
    labels = (truth.found[kind], found.found[kind])
    between = overlaps(*labels)
    became = states(between)
    numbers = (between.true_numbers, between.predicted_numbers)
    matched = [_chosen(image, own[state == "matched"]) for image, own, state in zip(labels, numbers, became, strict=True)]
    unmatched = [_chosen(image, own[state != "matched"]) for image, own, state in zip(labels, numbers, became, strict=True)]
    places = [_places(image, each) for image, each in zip(labels, unmatched, strict=True)]
    part = window(np.concatenate(places), labels[0].shape)
    shown = [images.stains.index(stain) for stain in truth.stains[kind]]
    under = [_under(images, name, shown) for name in (TRUTH, source)]
    low, high = limits(under[0])
    pictures = []
    for ground, image, right, wrong, colour in zip(under, labels, matched, unmatched, (LOST, EXTRA), strict=True):
        picture = np.repeat(grey(ground, low, high)[..., None], 3, axis=-1)
        picture[outlines(image, right)] = FOUND
        picture[outlines(image, wrong)] = colour
        pictures.append(picture[part])
    return tuple(pictures)


def _chosen(labels: npt.NDArray[np.integer[Any]], numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    out = np.zeros(int(labels.max(initial=0)) + 1, bool)
    out[numbers] = True
    return out


def _places(labels: npt.NDArray[np.integer[Any]], chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    from scipy import ndimage

    found: Any = ndimage.center_of_mass(labels > 0, labels, np.flatnonzero(chosen))
    return np.array(found, float).reshape(-1, 2)


def _under(images: FieldImages, source: str, stains: list[int]) -> npt.NDArray[np.float64]:
    """Return the segmented stains as one brightened image on the truth's scale."""
    planes = images.scaled[source][stains].astype(np.float64) / 65535
    return np.asarray((planes**GAMMA).mean(axis=0))


def overlay_figures(table: pd.DataFrame, context: Context) -> list[Figure]:
    """Return a figure per kind of object with the main prediction's best and worst field by F1; none if fields can't be read again."""
    if context.images is None:
        return []
    chosen = best_and_worst(table[table["source"] == context.predictions[0]], "object", "f1_0.7")
    pictures: dict[str, list[Picture]] = {}
    for key in dict.fromkeys(field for _, _, field, _ in chosen):
        try:
            images = context.images(key)
        except InputError:
            continue  # it was there when it was scored; a picture is no reason to fail
        truth = objects_of(images, TRUTH, context.settings)
        for kind, rank, field, score in chosen:
            if field != key or truth is None:
                continue
            head, place = f"{rank} (F1 {score:.3f})", pictures.setdefault(kind, [])
            for source in images.predictions:
                found = objects_of(images, source, context.settings)
                if found is None:
                    continue
                true, predicted = overlay(images, truth, found, kind, source)
                against = f", as {source} finds them" if len(images.predictions) > 1 else ""
                place.append((f"{head}: truth{against}", key, true))
                place.append((f"{head}: {source}", key, predicted))
    caption = (
        "Outlines of what was found in the truth (left) and in the prediction (right). Blue: one of a pair with an IoU of 0.7 or more; "
        "orange: a true object without such a partner; pink: a predicted one without. Of a field larger than "
        f"{SIDE} pixels the part with most of those is shown."
    )
    return [
        Figure(
            f"instances_{kind}", f"{kind.capitalize()}: best and worst field", caption, "images", "", {"columns": 2}, tuple(pictures[kind])
        )
        for kind in OBJECTS
        if kind in pictures
    ]
