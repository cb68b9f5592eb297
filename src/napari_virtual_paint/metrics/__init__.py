"""Scores of predicted against true stains."""

from napari_virtual_paint.metrics.pixels import METRICS, MeanScores, Moments, Scale, Scores, score, score_planes
from napari_virtual_paint.metrics.report import Comparison, Pairing, compare, pair_channels

__all__ = [
    "METRICS",
    "Comparison",
    "MeanScores",
    "Moments",
    "Pairing",
    "Scale",
    "Scores",
    "compare",
    "pair_channels",
    "score",
    "score_planes",
]
