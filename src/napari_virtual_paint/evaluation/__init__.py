"""Evaluation of predictions at four levels: pixels, instances, features and profiles.

What evaluates and writes reports is imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_virtual_paint.choices import LEVELS
from napari_virtual_paint.evaluation.context import TRUTH, Context, EvaluationSettings, FieldImages
from napari_virtual_paint.evaluation.level import Figure, Findings, Headline, Level, Tables
from napari_virtual_paint.evaluation.result import Evaluation
from napari_virtual_paint.runtime.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from napari_virtual_paint.evaluation.engine import ControlSelection, EvaluationProgress, evaluate
    from napari_virtual_paint.evaluation.report.build import write_report
    from napari_virtual_paint.evaluation.report.page import Page, Section, write_page
    from napari_virtual_paint.evaluation.statistics import interval, paired

__all__ = [
    "LEVELS",
    "TRUTH",
    "Context",
    "ControlSelection",
    "Evaluation",
    "EvaluationProgress",
    "EvaluationSettings",
    "FieldImages",
    "Figure",
    "Findings",
    "Headline",
    "Level",
    "Page",
    "Section",
    "Tables",
    "evaluate",
    "interval",
    "paired",
    "write_page",
    "write_report",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "engine": "ControlSelection EvaluationProgress evaluate",
        "report.build": "write_report",
        "report.page": "Page Section write_page",
        "statistics": "interval paired",
    },
)
