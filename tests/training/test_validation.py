"""Scores of the held-out part: a stain painted as one value must not win by being left out."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from napari_virtual_paint.training import validation
from napari_virtual_paint.training.data.pairs import Pair
from napari_virtual_paint.training.run_folder.watch import EpochRecord, RunState

FULL = np.ones((16, 16), bool)


def pair(name: str, truth: Any) -> Pair:
    return Pair(name, np.zeros((1, 16, 16), np.float32), np.asarray(truth, np.float32), {"validation": FULL})


def correlations(monkeypatch: pytest.MonkeyPatch, painted: dict[str, Any], pairs: list[Pair]) -> list[float]:
    monkeypatch.setattr(validation, "paint_part", lambda _, pair, part, device: (painted[pair.name], pair.y, pair.parts[part]))
    return validation.correlations(SimpleNamespace(), pairs, "validation", None)  # type: ignore[arg-type]


def test_an_image_painted_as_one_value_counts_as_no_relation(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(2, 2, 16, 16)).astype(np.float32)
    truth[1, 1] = 3.0  # nothing to correlate with: left out, whatever is painted
    painted = truth + rng.normal(size=truth.shape).astype(np.float32)
    painted[1, 0] = 7.0
    pairs = [pair("a", truth[0]), pair("b", truth[1])]
    one, other = correlations(monkeypatch, {"a": painted[0], "b": painted[1]}, pairs)
    assert one == pytest.approx(np.corrcoef(painted[0, 0].ravel(), truth[0, 0].ravel())[0, 1] / 2, abs=1e-5)
    assert other == pytest.approx(np.corrcoef(painted[0, 1].ravel(), truth[0, 1].ravel())[0, 1], abs=1e-5)
    painted[0, 0] = 1.0
    assert math.isnan(correlations(monkeypatch, {"a": painted[0], "b": painted[1]}, pairs)[0])  # in no image


def test_the_best_epoch_is_not_one_with_a_lost_stain() -> None:
    lost, honest = EpochRecord(1, 0.1, {"pcc": (0.775, math.nan)}), EpochRecord(2, 0.1, {"pcc": (0.6, 0.268)})
    state = RunState(folder=None, curve=(lost, honest))  # type: ignore[arg-type]
    assert lost.mean("pcc") > honest.mean("pcc")
    assert state.best is honest
