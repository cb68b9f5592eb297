"""The list of metrics: every table, figure, file and report that names a score takes it from here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Good: TypeAlias = Literal["high", "low"]


@dataclass(frozen=True)
class Metric:
    """A score of a predicted stain."""

    name: str  # key in JSON, tables and `Scores`
    label: str  # name for people
    good: Good  # whether high or low values are good
    description: str  # one or two sentences for a tooltip
    decimals: int = 2  # digits behind the point in a printed table (Cross-Zamirski 2022, Table 2)
    unit: str = ""  # unit, where there is one

    def text(self, value: float | None) -> str:
        """Return a value to three significant digits or decimals, as a table on the screen shows it."""
        if value is None:
            return "undefined"
        if self.unit:
            return f"{value:.{self.decimals}f}"
        return f"{value:.3f}" if abs(value) < 100 else f"{value:.3g}"


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "pcc",
            "PCC",
            "high",
            "Pearson's correlation coefficient of the pixels. 1 is perfect, 0 is no relation. Not touched by the scale.",
        ),
        Metric("ssim", "SSIM", "high", "structural similarity (Wang 2004), 7 px window. 1 is perfect."),
        Metric("psnr", "PSNR", "high", "peak signal-to-noise ratio in dB, with the range of the true image. Higher is better.", 1, "dB"),
        Metric("mse", "MSE", "low", "mean squared error, in squared SDs (scale z-score) or squared intensities (raw). Lower is better."),
        Metric("mae", "MAE", "low", "mean absolute error, in SDs (scale z-score) or intensities (raw). Lower is better."),
    )
}
"""Name -> metric, in the order in which tables show them. `Scores` has a field for each."""
RELATED: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "c_max",
            "C_max",
            "high",
            "the highest PCC that the true image's noise allows (Ounkomol 2018). A question mark: point at it to see why.",
        ),
        Metric(
            "sd",
            "SD",
            "low",
            "how far the passes of the prediction differ (turns, models), the mean over the painted image, in the prediction's own unit.",
        ),
    )
}
"""Numbers shown beside the metrics and computed elsewhere: the ceiling of PCC, and the SD of a prediction's passes."""


def metric(name: str) -> Metric:
    """Return the metric of a name; one that is not listed (of another program's model card) gets its name in capitals."""
    return METRICS.get(name) or RELATED.get(name) or Metric(name, name.upper(), "high", "")
