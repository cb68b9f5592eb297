"""The time left of an evaluation: by the estimate at first, then by the pace; what was there already took no time."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from napari_virtual_paint.evaluation.run.pace import EvaluationProgress, ProgressScale, estimate
from napari_virtual_paint.runtime.generators import run_to_end


def steps(*shares: float) -> Generator[EvaluationProgress, None, None]:
    for share in shares:
        yield EvaluationProgress(share, 10)


def test_the_pace_takes_the_place_of_the_estimate() -> None:
    """Ten seconds of work have the weight of the estimate: after 30 s without progress, 10 of 40 s count as done."""
    scale = ProgressScale({"fields": 80.0, "findings": 20.0})
    began = scale._began
    assert scale.left(0.0, began) == pytest.approx(100)
    assert scale.left(0.0, began + 30) == pytest.approx(100 * (30 + 10) / 10)
    run_to_end(scale.follow(steps(0, 5), "fields"))  # half of 80 s
    assert scale.left(40.0, began + 10) == pytest.approx(60 * (10 + 10) / (40 + 10))


def test_a_busy_machine_takes_longer_from_the_first_second() -> None:
    scale = ProgressScale({"fields": 80.0, "findings": 20.0}, slowdown=6.0)
    began = scale._began
    assert scale.left(0.0, began) == pytest.approx(600)
    run_to_end(scale.follow(steps(0, 5), "fields"))  # 40 s of work, at the pace that was expected, then as on an idle machine
    assert scale.left(40.0, began + 240) == pytest.approx(360)
    assert scale.left(40.0, began + 40) == pytest.approx(60 * (40 + 10 * 6) / (40 + 10))


def test_fields_of_an_earlier_run_do_not_count_as_pace() -> None:
    scale = ProgressScale({"fields": 80.0, "findings": 20.0})
    run_to_end(scale.follow(steps(5, 5), "fields"))
    assert scale.left(40.0, scale._began) == pytest.approx(60)


def test_parts_follow_each_other_and_name_their_fields() -> None:
    scale = ProgressScale({"survey": 10.0, "fields": 80.0, "findings": 20.0, "report": 4.0})
    told: list[EvaluationProgress] = []
    run_to_end(scale.follow(steps(5), "survey"), told.append)
    run_to_end(scale.follow(steps(2.5), "fields"), told.append)
    findings = iter([EvaluationProgress(1, 4, "Pixels: best and worst fields.")])
    run_to_end(scale.follow((each for each in findings), "findings"), told.append)
    run_to_end(scale.follow(steps(0), "report"), told.append)
    assert [step.done for step in told] == [5, 30, 95, 110]
    assert {step.total for step in told} == {114}
    assert [step.phase for step in told] == [
        "Measuring the brightness of the stains: 5 of 10 fields",
        "Evaluating: 2 of 10 fields",
        "Summarizing pixels: best and worst fields",
        "Writing the report",
    ]


def test_the_estimate_grows_with_fields_and_levels_and_shrinks_with_processes() -> None:
    def seconds(fields: int, *levels: str, workers: int = 1) -> float:
        return estimate(fields, 40_000_000, levels, workers)["fields"]

    one = seconds(1, "pixels")
    assert seconds(8, "pixels") == pytest.approx(8 * one)
    assert seconds(1, "pixels", "instances") > one
    assert seconds(1, "profiles") == seconds(1, "features", "profiles") > 0  # profiles need the features
    assert seconds(8, "pixels", workers=2) <= seconds(8, "pixels")
