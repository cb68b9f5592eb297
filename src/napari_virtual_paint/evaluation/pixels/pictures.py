"""Illustrations of each stain's best and worst field: light, truth, prediction and error side by side, with the truth's contrast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.evaluation.level import Figure

if TYPE_CHECKING:
    import pandas as pd

    from napari_virtual_paint.evaluation.context import Context, FieldImages

Picture: TypeAlias = tuple[str, str, npt.NDArray[np.uint8]]

CONTRAST = (0.5, 99.8)  # percentiles of the truth for black and white

SIDE = 512  # most pixels per side of an image

LIMIT = 2.0  # error, in SDs of the field, with the strongest color

COLOURS = ((90, 200, 255), (15, 77, 158), (0, 0, 0), (158, 66, 0), (255, 184, 71))
"""Blue where the prediction is too low, black where it is right, orange where it is too high; distinguishable for the color-blind."""


def best_and_worst(table: pd.DataFrame, by: str, score: str) -> list[tuple[str, str, str, float]]:
    """Return the fields to show.

    Parameters
    ----------
    table
        One row per field and kind, of the main prediction: columns ``field``, `by`, `score`.
    by
        Column of the kinds (stains, objects).
    score
        Column by which the highest is the best.

    Returns
    -------
    list of tuple
        Kind, "best", "worst" or, with one field, "only", the field, its score; kinds in the order of the table.
    """
    out = []
    for kind, part in table.dropna(subset=[score]).groupby(by, sort=False, observed=True):
        ranked = part.sort_values([score, "field"], kind="stable")
        ends = [("only", ranked.iloc[0])] if len(ranked) == 1 else [("worst", ranked.iloc[0]), ("best", ranked.iloc[-1])]
        out += [(str(kind), rank, str(row["field"]), float(row[score])) for rank, row in ends]
    return out


def flat(plane: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return a plane unchanged, and of a volume (ZYX) the maximum along z."""
    image = np.asarray(plane, np.float64)
    return image.max(axis=0) if image.ndim == 3 else image


def limits(truth: npt.NDArray[Any]) -> tuple[float, float]:
    """Return the gray levels of black and white, the same for truth and predictions."""
    low, high = (float(each) for each in np.percentile(np.nan_to_num(truth), CONTRAST))
    return (low, high) if high > low else (low, low + 1)


def grey(plane: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.uint8]:
    """Return a plane as 8-bit gray."""
    return np.asarray(np.clip((np.nan_to_num(plane) - low) / (high - low), 0, 1) * 255 + 0.5, np.uint8)


def coloured(error: npt.NDArray[Any], limit: float = LIMIT) -> npt.NDArray[np.uint8]:
    """Return an error as colors, symmetric about 0."""
    place = (np.clip(np.nan_to_num(error) / limit, -1, 1) + 1) / 2 * (len(COLOURS) - 1)
    channels = [np.interp(place, np.arange(len(COLOURS)), [colour[i] for colour in COLOURS]) for i in range(3)]
    return np.asarray(np.stack(channels, axis=-1) + 0.5, np.uint8)


def smaller(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return an image downscaled to the screen by block means."""
    from skimage.measure import block_reduce

    step = -(-max(picture.shape[:2]) // SIDE)
    if step == 1:
        return picture
    trimmed = picture[: picture.shape[0] // step * step or None, : picture.shape[1] // step * step or None]
    return np.asarray(block_reduce(trimmed, (step, step, *(1,) * (picture.ndim - 2)), np.mean) + 0.5, np.uint8)


def standard(plane: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return an image with mean 0 and SD 1; a constant one becomes 0."""
    image = np.nan_to_num(np.asarray(plane, np.float64))
    sd = float(image.std())
    return (image - image.mean()) / sd if sd > 0 else np.zeros_like(image)


def panels(images: FieldImages, stain: str, head: str) -> list[Picture]:
    """Return the images of one stain of a field: light if available, truth, and each prediction with its error."""
    i = images.stains.index(stain)
    truth = standard(flat(images.truth[i]))
    low, high = limits(truth)
    out: list[Picture] = []
    if images.light is not None:
        light = flat(images.light)
        out.append((f"{head}: light", images.key, smaller(grey(light, *limits(light)))))
    out.append((f"{head}: truth", f"{images.key}, {stain}", smaller(grey(truth, low, high))))
    for name, planes in images.predictions.items():
        prediction = standard(flat(planes[i]))
        out.append((f"{head}: {name}", f"{images.key}, {stain}", smaller(grey(prediction, low, high))))
        out.append((f"{head}: error of {name}", f"{images.key}, {stain}", smaller(coloured(prediction - truth))))
    return out


def field_figures(table: pd.DataFrame, context: Context) -> list[Figure]:
    """Return a figure per stain with the main prediction's best and worst field by PCC; none where fields can't be read again."""
    if context.images is None:
        return []
    chosen = best_and_worst(table[table["source"] == context.predictions[0]], "stain", "pcc")
    pictures: dict[str, list[Picture]] = {}
    for key in dict.fromkeys(field for _, _, field, _ in chosen):  # each field is read once
        try:
            images = context.images(key)
        except InputError:
            continue  # it was there when it was scored; a picture is no reason to fail
        for stain, rank, field, score in chosen:
            if field == key:
                pictures.setdefault(stain, []).extend(panels(images, stain, f"{rank} (PCC {score:.3f})"))
    caption = (
        "Each image is at mean 0 and SD 1 over its field, and shown in the contrast of the truth. Errors are predicted minus true: "
        f"blue is too little, orange too much, the strongest color is {LIMIT:g} SD or more."
    )
    order = [stain for stain in context.stains if stain in pictures]
    return [
        Figure(
            f"pixels_fields_{n}", f"{stain}: best and worst field", caption, "images", "", _a_row(pictures[stain]), tuple(pictures[stain])
        )
        for n, stain in enumerate(order)
    ]


def _a_row(pictures: list[Picture]) -> dict[str, Any]:
    """Return the number of images per row: those of one field."""
    fields = len(dict.fromkeys(label.partition(":")[0] for label, _, _ in pictures))
    return {"columns": len(pictures) // fields}
