"""One list of metrics: `Scores` has a field for each, every score is computed, and no other module lists them again."""

from __future__ import annotations

import ast
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

import napari_virtual_paint
from napari_virtual_paint.metrics import METRICS, Scores, metric, score

SOURCE = Path(napari_virtual_paint.__file__).parent
OWNERS = {"metrics/metric.py", "metrics/pixels.py"}


def test_scores_have_a_field_for_each_metric_and_each_is_computed() -> None:
    assert [field.name for field in fields(Scores)] == [*METRICS, "reasons"]
    truth = np.random.default_rng(0).normal(size=(32, 32))
    found = score(truth + 0.1 * np.random.default_rng(1).normal(size=truth.shape), truth).to_json()
    assert list(found) == list(METRICS)
    assert all(isinstance(value, float) for value in found.values())


def test_names_of_metrics_have_no_underscore() -> None:
    """Columns are called ``pcc_DNA`` and ``pcc_0``; what is before the first underscore is taken for the metric."""
    assert not [name for name in METRICS if "_" in name]


def test_no_other_module_lists_the_metrics() -> None:
    """A consumer with a list of its own would drop a new metric in silence; it must take `METRICS`."""
    again = []
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        if name in OWNERS:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            items = node.keys if isinstance(node, ast.Dict) else node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else ()
            words = {item.value for item in items if isinstance(item, ast.Constant)}
            if len(words & set(METRICS)) > 3:
                again.append(f"{name}:{node.lineno}")
    assert not again


@pytest.mark.parametrize(("name", "value", "shown"), [("pcc", 0.5, "0.500"), ("psnr", 31.26, "31.3"), ("mse", 12345.6, "1.23e+04")])
def test_a_value_is_shown_with_the_digits_of_its_metric(name: str, value: float, shown: str) -> None:
    assert metric(name).text(value) == shown
    assert metric(name).text(None) == "undefined"


def test_a_score_that_is_not_listed_gets_its_name_in_capitals() -> None:
    assert metric("f1").label == "F1"
    assert metric("c_max").label == "C_max"


def test_training_scores_metrics_of_the_list_and_offers_them_all() -> None:
    """A score of training is an entry of `SCORES`; the configuration's choices must follow."""
    pytest.importorskip("lightning")
    from typing import get_args

    from napari_virtual_paint.training.config.run import TrainConfig
    from napari_virtual_paint.training.validation import SCORES

    assert set(SCORES) <= set(METRICS)
    assert {METRICS[name].good for name in SCORES} == {"high"}, "the best epoch is the one with the highest score"
    assert get_args(TrainConfig.model_fields["monitor"].annotation) == tuple(SCORES)
