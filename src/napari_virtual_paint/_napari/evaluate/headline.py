"""The headline of a report: its most important numbers, read from disk and shown in a table."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QWidget

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.evaluation.level import Headline
from napari_virtual_paint.evaluation.report_files import ABOUT

LINES = 12  # lines that the table shows before it scrolls


@dataclass(frozen=True)
class ReportHead:
    """The headline of a report."""

    report: Path  # the report's folder
    predictions: tuple[str, ...]  # names of the predictions
    lines: tuple[tuple[str, Headline], ...]  # level and number of each line
    profiles: bool  # whether the report has profiles, which the Profile dock shows


def read_head(report: Path) -> ReportHead:
    """Read the headline of a report (on a worker).

    Raises `ReadError` if the report can't be read.
    """
    try:
        about = json.loads((report / ABOUT).read_text("utf-8"))
        names = tuple(str(name) for name in about["predictions"])
        lines = tuple(_line(each, names) for each in about.get("headline", ()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReadError(report / ABOUT, "it can't be read; evaluate again") from error
    return ReportHead(report, names, lines, "profiles" in about.get("levels", ()))


def _line(entry: Any, names: Sequence[str]) -> tuple[str, Headline]:
    values = {name: _number(entry["values"].get(name)) for name in names}
    good: Any = "low" if entry["good"] == "low" else "high"
    return str(entry["level"]), Headline(str(entry["label"]), _number(entry["truth"]), values, good, str(entry.get("unit") or ""))


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def best_prediction(line: Headline) -> str | None:
    """Return the prediction with the best value; None where none is better than the others."""
    known = {name: value for name, value in line.values.items() if value is not None}
    if len(known) < 2 or len(set(known.values())) == 1:
        return None
    return (max if line.good == "high" else min)(known, key=lambda name: known[name])


def as_shown(value: float | None) -> str:
    """Return a number with three significant digits; a dash where undefined."""
    if value is None:
        return "–"
    return f"{value:.0f}" if value == int(value) and abs(value) >= 10 else f"{value:.3g}"


class HeadTable(QTableWidget):  # type: ignore[misc]
    """Shows a `ReportHead`: one row per number, columns for the truth and each prediction; the best prediction is bold."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, 0, parent)
        self.verticalHeader().hide()
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setAccessibleName("Headline of the report")
        self.setWordWrap(False)

    def set_head(self, head: ReportHead) -> None:
        """Show the headline of another report."""
        self.clear()
        truth = ["truth"] if any(line.truth is not None for _, line in head.lines) else []
        heads = ["", *truth, *head.predictions]
        self.setColumnCount(len(heads))
        self.setRowCount(len(head.lines))
        self.setHorizontalHeaderLabels(heads)
        for row, (level, line) in enumerate(head.lines):
            label = f"{line.label} ({line.unit})" if line.unit else line.label
            texts = [label, *[as_shown(line.truth) for _ in truth], *map(as_shown, line.values.values())]
            best = best_prediction(line)
            for column, text in enumerate(texts):
                item = QTableWidgetItem(text)
                item.setToolTip(f"{level}: {label}; {'more' if line.good == 'high' else 'less'} is better")
                if column:
                    item.setTextAlignment(int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter))
                if best is not None and column == heads.index(best, 1 + len(truth)):
                    font = item.font()
                    font.setBold(True)
                    item.setFont(font)
                self.setItem(row, column, item)
        header = self.horizontalHeader()
        for column in range(len(heads)):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents if column else QHeaderView.ResizeMode.Stretch)
        height = self.fontMetrics().height() + 6
        self.verticalHeader().setDefaultSectionSize(height)
        self.setFixedHeight(height * (min(len(head.lines), LINES) + 1) + 10)
