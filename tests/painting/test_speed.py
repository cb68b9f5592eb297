"""Estimates of time: the work of the painting at the speed of a small field."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from napari_virtual_paint.models import open_model
from napari_virtual_paint.painting import ModelSet, PaintSettings, estimate, speed
from napari_virtual_paint.painting.model_set import Member
from napari_virtual_paint.stack import Stack
from small_models import TOY_3D, write_toy

CPU = PaintSettings(device="cpu")


@pytest.fixture
def clock(monkeypatch):
    """Let every painting of the small field take three seconds."""
    now = [0.0]

    def perf_counter():
        now[0] += 3.0
        return now[0]

    monkeypatch.setattr(speed, "time", SimpleNamespace(perf_counter=perf_counter))


def toy(tmp_path, name="toy", **changes):
    return open_model(write_toy(tmp_path / name, **changes))


def stack_for(model, *sides):
    planes, height, width = (1, *sides)[-3:]
    return Stack(np.zeros((1, len(model.info.channels), planes, height, width), np.float32), model.info.channels)


@pytest.mark.usefixtures("clock")
def test_a_field_takes_as_many_times_longer_as_it_has_more_pixels(tmp_path):
    """The small field has 256 x 256 pixels and takes 3 s, so 512 x 768 take 18 s; four passes four times that, patches too."""
    model = toy(tmp_path)
    stack = stack_for(model, 512, 768)
    assert estimate(model, stack, CPU).seconds == pytest.approx(18)
    assert estimate(model, stack, replace(CPU, tta="flips")).seconds == pytest.approx(72)
    assert estimate(model, stack, replace(CPU, blend="median")).seconds == pytest.approx(72)
    region = replace(CPU, region=((0, 256), (0, 512)))
    assert estimate(model, stack, region).seconds == pytest.approx(6)


@pytest.mark.usefixtures("clock")
def test_models_together_take_the_sum(tmp_path):
    one, other = toy(tmp_path), toy(tmp_path, "other", id="other")
    both = ModelSet((Member(one), Member(other)), ensemble=True)
    assert estimate(both, stack_for(one, 256, 256), CPU).seconds == pytest.approx(6)


@pytest.mark.usefixtures("clock")
def test_a_volume(tmp_path):
    """The small volume has 16 x 64 x 64 voxels."""
    model = toy(tmp_path, toy=TOY_3D)
    assert estimate(model, stack_for(model, 32, 64, 128), CPU).seconds == pytest.approx(12)
