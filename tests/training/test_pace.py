"""How many steps fit into a time; all figures by hand."""

from __future__ import annotations

import pytest

from napari_virtual_paint.training.pace import EPOCHS, TrainingPace, epoch_of


def test_a_time_is_steps_and_validations() -> None:
    pace = TrainingPace(step=0.5, validation=4.0)
    assert pace.seconds(600, 60) == 600 * 0.5 + 10 * 4
    assert pace.seconds(601, 60) == 601 * 0.5 + 11 * 4
    assert TrainingPace(0.5, 4.0, rounds=2).seconds(600, 60) == 2 * 600 * 0.5 + 10 * 4
    assert TrainingPace(0.5, 4.0, fixed=20.0).seconds(600, 60) == 20 + 600 * 0.5 + 10 * 4


def test_a_short_training_still_has_ten_epochs() -> None:
    assert [epoch_of(steps, 60) for steps in (5000, 600, 240, 9)] == [60, 60, 24, 1]


@pytest.mark.parametrize(
    "pace",
    [TrainingPace(0.5), TrainingPace(0.5, 4.0), TrainingPace(0.02, 30.0), TrainingPace(3.0, 1.0, rounds=2), TrainingPace(0.5, fixed=120.0)],
)
@pytest.mark.parametrize("seconds", [600, 1800, 10_800])
def test_as_many_steps_fit_as_the_time_allows(pace: TrainingPace, seconds: float) -> None:
    steps = pace.steps_within(seconds, 60)
    taken = pace.seconds(steps, epoch_of(steps, 60))
    assert taken <= seconds
    assert taken >= 0.9 * seconds


def test_where_not_even_ten_steps_fit_ten_are_made() -> None:
    assert TrainingPace(100.0).steps_within(600, 60) == EPOCHS
