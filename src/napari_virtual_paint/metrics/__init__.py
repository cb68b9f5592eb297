"""Scores of predicted against true stains."""

from napari_virtual_paint.metrics.ceiling import Ceiling
from napari_virtual_paint.metrics.metric import METRICS, Metric, metric
from napari_virtual_paint.metrics.noise import Camera, Controls, Estimated, Given, Noise, NoiseSource, Repeat, estimate_noise
from napari_virtual_paint.metrics.pixels import MeanScores, Moments, Scale, Scores, score, score_planes
from napari_virtual_paint.metrics.report import Comparison, Pairing, compare, pair_channels

__all__ = [
    "METRICS",
    "Camera",
    "Ceiling",
    "Comparison",
    "Controls",
    "Estimated",
    "Given",
    "MeanScores",
    "Metric",
    "Moments",
    "Noise",
    "NoiseSource",
    "Pairing",
    "Repeat",
    "Scale",
    "Scores",
    "compare",
    "estimate_noise",
    "metric",
    "pair_channels",
    "score",
    "score_planes",
]
