"""How fast a network paints on a device: measured on a small field, since networks of equal work differ tenfold."""

from __future__ import annotations

import time
from math import ceil
from weakref import WeakKeyDictionary

import numpy as np
from torch import nn

from napari_virtual_paint.models import Model
from napari_virtual_paint.painting.network_input import NetworkInput
from napari_virtual_paint.painting.predictor import Predictor
from napari_virtual_paint.painting.settings import PaintSettings

SIDES = {2: 256, 3: 64}  # sides in pixels along y and x of the small field, for networks of so many axes ...
PLANES = 16  # ... and its planes
FULL = 2  # times that many pixels a side on a GPU, which smaller fields don't fill
RUNS = 2  # paintings of the small field; the quickest counts

Measured = tuple[tuple[int, ...], float]  # sides ([Z,] Y, X) of the small field, and seconds
_MEASURED: WeakKeyDictionary[nn.Module, dict[tuple[str, str], Measured]] = WeakKeyDictionary()


def measured(model: Model, kind: str, settings: PaintSettings) -> Measured:
    """Return the sides of a small field and the seconds in which a model's network paints it, at the precision of the settings.

    It is measured once a process, in some tenths of a second.
    """
    known = _MEASURED.setdefault(model.network, {})
    key = (kind, settings.precision)
    if key not in known:
        known[key] = _measure(Predictor(model, PaintSettings(precision=settings.precision), kind, None), kind)
    return known[key]


def _measure(predictor: Predictor, kind: str) -> Measured:
    info = predictor.info
    side = SIDES[info.dims] * (1 if kind == "cpu" else FULL)
    wanted = (predictor.window() or PLANES, side, side)[-info.dims :]
    sides = tuple(ceil(n / multiple) * multiple for n, multiple in zip(wanted, predictor.multiples()[-info.dims :], strict=True))
    pixels = np.random.default_rng(0).standard_normal((len(info.channels), *sides), np.float32)
    field = NetworkInput(pixels, sides, sides, ())
    best = float("inf")
    for _ in range(RUNS):
        began = time.perf_counter()
        for _update in predictor.paint(field, None):
            pass
        best = min(best, time.perf_counter() - began)
    return sides, best
