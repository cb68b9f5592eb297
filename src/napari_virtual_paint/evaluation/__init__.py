"""Evaluation of predictions at four levels: pixels, instances, features and profiles."""

from napari_virtual_paint.choices import LEVELS
from napari_virtual_paint.evaluation.context import TRUTH, Context, EvaluationSettings, FieldImages
from napari_virtual_paint.evaluation.level import Figure, Findings, Headline, Level, Tables
from napari_virtual_paint.evaluation.result import Evaluation

__all__ = [
    "LEVELS",
    "TRUTH",
    "Context",
    "Evaluation",
    "EvaluationSettings",
    "FieldImages",
    "Figure",
    "Findings",
    "Headline",
    "Level",
    "Tables",
]
