"""The pace of a training, measured on its own cells."""

from __future__ import annotations

import itertools
import json
from types import SimpleNamespace

import pytest

from napari_virtual_paint.cells.cp2image import pace
from napari_virtual_paint.cells.cp2image import train as training
from napari_virtual_paint.cells.cp2image.pace import CellPace, measure_pace
from napari_virtual_paint.runtime.progress import Progress


@pytest.fixture
def steps(monkeypatch):
    """A training of which each step takes half a second by its clock, the first two ten; it notes how it was configured and ended."""
    seen = {"steps": 0, "closed": False}
    clock = itertools.accumulate(itertools.chain([0.0, 10.0, 10.0], itertools.repeat(0.5)))

    def train(config):
        seen["config"] = config
        try:
            yield Progress(3, 7, "Reading")
            yield Progress(0, config.steps, "60 cells")
            for step in range(1, config.steps + 1):
                seen["steps"] = step
                yield Progress(step, config.steps)
        finally:
            seen["closed"] = True

    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(pace, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    return seen


class Config:
    def __init__(self, **values):
        self.steps, self.epoch, self.refit = 400, 50, False
        self.__dict__.update(values)

    def model_copy(self, update):
        return Config(**{**self.__dict__, **update})


def test_the_first_steps_are_timed_and_nothing_is_kept(steps):
    *progress, found = measure_pace(Config())
    assert isinstance(found, CellPace)
    assert found.pace.step == pytest.approx(0.5), "the first two, in which torch plans, do not count"
    assert found.seconds == pytest.approx(200)
    assert steps["steps"] == pace.WARM + pace.TIMED + 1
    assert steps["closed"]
    assert steps["config"].epoch > 1e6, "no checkpoint is written"
    assert progress[0].message == "Reading"


def test_a_training_on_all_cells_takes_twice_as_long(steps):
    *_, found = measure_pace(Config(refit=True, steps=10))
    assert found.seconds == pytest.approx(10)
    assert found.steps == 10, "also where the training has fewer steps than are timed"


def test_the_command_prints_it(steps, tmp_path, capsys):
    from napari_virtual_paint.cli import cells_train

    assert cells_train._estimate(Config(), as_json=True) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["seconds"] == pytest.approx(200)
    assert report["pace"]["step"] == pytest.approx(0.5)
