"""Segment nuclei and cells by Cellpose or InstanSeg, where they are installed; both fetch their own weights when they are first used."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.choices import Segmenter
from napari_virtual_paint.errors import InputError

Floats = npt.NDArray[np.float32]
LabelPlane = npt.NDArray[np.int32]
SegmenterName = Literal["skimage", "cellpose", "instanseg"]

DISTRIBUTIONS: dict[SegmenterName, str] = {"skimage": "scikit-image", "cellpose": "cellpose", "instanseg": "instanseg-torch"}
"""Segmenter -> the name under which it is installed."""

_TITLES = {"cellpose": "Cellpose", "instanseg": "InstanSeg"}
_SKIMAGE = 'choose the segmenter "skimage"'
_INSTANSEG_MODEL = "fluorescence_nuclei_and_cells"


def segmenter_of(choice: Segmenter) -> SegmenterName:
    """Return the segmenter that is used; whether one is installed is checked without importing it.

    Parameters
    ----------
    choice
        ``auto`` is Cellpose if it is installed, else scikit-image.

    Raises
    ------
    InputError
        If the chosen one is not installed.
    """
    if choice == "skimage":
        return "skimage"
    name: SegmenterName = "instanseg" if choice == "instanseg" else "cellpose"
    if importlib.util.find_spec(name) is not None:
        return name
    if choice == "auto":
        return "skimage"
    raise InputError(f"{_TITLES[name]} is not installed; run: pip install {DISTRIBUTIONS[name]}, or {_SKIMAGE}.")


def segmenter_version(name: SegmenterName) -> str:
    """Return the version of a segmenter's package."""
    return importlib.metadata.version(DISTRIBUTIONS[name])


def by_cellpose(bright: Sequence[Floats], nuclei: int | None, cells: Sequence[int]) -> dict[str, LabelPlane]:
    """Segment by Cellpose (Stringer et al. 2021; version 4: Pachitariu et al. 2025), cells with the nuclei as second channel.

    Parameters
    ----------
    bright
        The stains, each YX.
    nuclei, cells
        Positions of the nuclear stain, if any, and of those that show cells.

    Returns
    -------
    dict
        ``nuclei`` and ``cells`` -> labels, as far as stains show them.
    """
    found = {}
    if nuclei is not None:
        found["nuclei"] = _cellpose("nuclei", bright[nuclei])
    if cells:
        body = np.mean([bright[i] for i in cells], axis=0)
        found["cells"] = _cellpose("cells", body, None if nuclei is None else bright[nuclei])
    elif nuclei is not None:
        found["cells"] = found["nuclei"]
    return found


def _cellpose(kind: str, plane: Floats, nuclei: Floats | None = None) -> LabelPlane:
    model, old = _cellpose_model(kind)
    # Before version 4 it needs the meaning of the channels (0 is "gray" or "none") and an instruction to estimate the object size.
    options: dict[str, Any] = {"channels": [0, 0], "diameter": None} if old else {}
    image = plane
    if nuclei is not None:
        image = np.stack([plane, nuclei, np.zeros_like(plane)], axis=-1)
        options |= {"channels": [1, 2], "channel_axis": -1} if old else {"channel_axis": -1}
    try:
        labels = model.eval(image, **options)[0]
    except Exception as error:
        raise _unusable("cellpose", error) from error
    return np.asarray(labels, np.int32)


@lru_cache(maxsize=2)
def _cellpose_model(kind: str) -> tuple[Any, bool]:
    """Return Cellpose's default model, once per process, and whether its version is below 4, which has one model for everything."""
    from cellpose import models

    old = int(importlib.metadata.version("cellpose").partition(".")[0]) < 4
    try:  # it looks for itself whether there is a GPU
        if old:
            return models.Cellpose(gpu=True, model_type="nuclei" if kind == "nuclei" else "cyto3"), True
        return models.CellposeModel(gpu=True), False
    except Exception as error:
        raise _no_weights("cellpose", error) from error


def by_instanseg(bright: Sequence[Floats], nuclei: int | None, cells: Sequence[int], pixel_size: float | None) -> dict[str, LabelPlane]:
    """Segment by InstanSeg's model of fluorescent nuclei and cells (Goldsborough et al. 2024), which takes any number of stains.

    Parameters
    ----------
    bright, nuclei, cells
        As in `by_cellpose`.
    pixel_size
        Micrometers, to which its model is fitted; None leaves the image at its own.

    Returns
    -------
    dict
        ``nuclei`` and ``cells`` -> labels.
    """
    used = [*([] if nuclei is None else [nuclei]), *cells]
    model = _instanseg_model()
    try:
        labels = model.eval_small_image(np.stack([bright[i] for i in used]), pixel_size=pixel_size)
        labels = labels[0] if isinstance(labels, tuple) else labels  # the image comes with them, if it is asked to
        planes = np.asarray(labels, np.int32).reshape(-1, *bright[0].shape)
    except Exception as error:
        raise _unusable("instanseg", error) from error
    found = {"cells": planes[-1]}
    return found if nuclei is None else {"nuclei": planes[0], **found}


@lru_cache(maxsize=1)
def _instanseg_model() -> Any:
    """Return InstanSeg's model, once per process."""
    from instanseg import InstanSeg

    try:
        return InstanSeg(_INSTANSEG_MODEL, verbosity=0)
    except Exception as error:
        raise _no_weights("instanseg", error) from error


def _unusable(name: str, error: Exception) -> InputError:
    return InputError(f"{_TITLES[name]} could not be used ({type(error).__name__}: {error}); {_SKIMAGE}.")


def _no_weights(name: str, error: Exception) -> InputError:
    reason = f"{type(error).__name__}: {error}"
    return InputError(
        f"{_TITLES[name]}'s model could not be loaded ({reason}); it is fetched when it is first used, so connect once or {_SKIMAGE}."
    )
