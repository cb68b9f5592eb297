"""How the time of a training's step follows from the few that are timed; all figures by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from napari_virtual_paint.training import time_estimate
from napari_virtual_paint.training.config.run import TrainConfig, load_config
from napari_virtual_paint.training.time_estimate import DataShape, estimate, full_step


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    """Return the configuration of a small network, with 8 patches of 128 px a step."""
    text = {
        "recipe": "quick",
        "id": "tiny",
        "name": "A tiny model",
        "description": "Paints nothing.",
        "trained_on": "Nothing.",
        "not_for": "Anything but tests.",
        "output": "tiny",
        "data": {"folder": "images", "input": "*_input.tif", "target": "*_stains.tif"},
        "network": {"architecture": "UNet", "config": {"depth": 2, "width": 4}},
        "steps": 100,
    }
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(text), "utf-8")
    return load_config(path)


@pytest.mark.parametrize(
    ("timed", "seconds"),
    [
        ([(1.0, 3.0)], 3.0),
        ([(0.25, 1.0)], 4.0),  # one size alone: proportional to it
        ([(0.25, 1.0), (0.5, 1.5)], 2.5),  # half a second at any size, and two for a full step
        ([(0.01, 9.0), (0.25, 1.0), (0.5, 1.5)], 2.5),
        ([(0.25, 1.5), (0.5, 1.0)], 1.0),  # a larger step is never expected to take less than a smaller one
        ([(0.25, 0.1), (0.5, 1.0)], 2.0),  # nor more than in proportion
        ([(0.25, 1.0), (1.0, 2.0)], 2.0),
    ],
)
def test_a_full_step_follows_from_smaller_ones(timed: list[tuple[float, float]], seconds: float) -> None:
    assert full_step(timed) == pytest.approx(seconds)


def clock(fixed: float, whole: float, share: float) -> Any:
    """Return what times a step: so many seconds at any size and for a full one, of which the cores work on it for a share."""

    def seconds(config: Any, _network: Any, _data: Any, patch: tuple[int, ...], batch: int) -> tuple[float, float]:
        return fixed + whole * math.prod(patch) * batch / (math.prod(config.patch) * config.batch), share

    return seconds


@pytest.mark.parametrize(
    ("fixed", "whole", "share", "scaled"),
    [
        (5.0, 10.0, 0.1, False),  # 15 s a step, of which 1.5 are work: the cores are busy with other programs
        (0.0, 10.0, 1.0, False),
        (0.0, 100.0, 1.0, True),  # too long a step is not timed whole
    ],
)
def test_other_programs_do_not_make_an_estimate_extrapolate(
    config: TrainConfig, fixed: float, whole: float, share: float, scaled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_estimate, "_seconds", clock(fixed, whole, share))
    found = estimate(config, DataShape(1, 2, 0, 1e6))
    assert (found.scaled, found.step) == (scaled, pytest.approx(fixed + whole))
    assert found.alone == pytest.approx(share * found.seconds)
