"""The headline of a report: its most important numbers, read from disk and shown in a table."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView, QTableWidget, QTableWidgetItem, QWidget

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.evaluation.level import Headline
from napari_virtual_paint.evaluation.report_files import ABOUT, FAILED
from napari_virtual_paint.runtime.text import counted, elapsed

ARROWS = {"high": "↑", "low": "↓"}
LEGEND = "↑ higher is better, ↓ lower is better"
NAME = 96  # pixels that the names of the measures have at least
LETTERS = 12  # most letters of a name in one line of a column's head: "brightfield" is whole, and two predictions fit into a narrow dock


@dataclass(frozen=True)
class ReportHead:
    """The headline of a report."""

    report: Path  # the report's folder
    predictions: tuple[str, ...]  # names of the predictions
    lines: tuple[tuple[str, Headline], ...]  # level and number of each line
    profiles: bool  # whether the report has profiles, which the Profile dock shows
    fields: int = 0
    failed: int = 0  # `fields` and `failed`: numbers of fields that were evaluated, and that could not be
    seconds: float | None = None  # how long the evaluation took; None in reports that do not say so

    @property
    def sentence(self) -> str:
        """How the evaluation ended."""
        took = "" if self.seconds is None else f" in {elapsed(self.seconds)}"
        count = f"{counted(self.fields, 'field')} evaluated{took}" if self.fields else "evaluated"
        return f"{self.report.name}: {count}" + (f"; {counted(self.failed, 'field')} failed, see {FAILED}." if self.failed else ".")


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
    fields, failed = (about.get(name) for name in ("fields", "failed"))
    return ReportHead(
        report,
        names,
        lines,
        "profiles" in about.get("levels", ()),
        len(fields) if isinstance(fields, dict) else 0,
        failed if isinstance(failed, int) else 0,
        _number(about.get("seconds")),
    )


def _line(entry: Any, names: Sequence[str]) -> tuple[str, Headline]:
    values = {name: _number(entry["values"].get(name)) for name in names}
    good: Any = "low" if entry["good"] == "low" else "high"
    unit, about = (str(entry.get(name) or "") for name in ("unit", "about"))
    return str(entry["level"]), Headline(str(entry["label"]), _number(entry["truth"]), values, good, unit, about)


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


def measure(line: Headline) -> str:
    """Return the name of a measure with its unit and an arrow in the direction that is better."""
    unit = f", in {line.unit}" if line.unit else ""
    return f"{line.label}{unit}\N{NO-BREAK SPACE}{ARROWS[line.good]}"


def explanation(level: str, line: Headline) -> str:
    """Return what a number of the headline means: its level, what it measures, and what is better."""
    better = "Higher is better." if line.good == "high" else "Lower is better."
    return f"{level.capitalize()}: {line.label}. {line.about} {better}".replace("  ", " ")


def wrapped(name: str) -> str:
    """Return a name in lines of at most `LETTERS` letters, broken after spaces, hyphens and underscores where there are any."""
    lines = [""]
    for part in re.findall(rf"[^-_ ]{{0,{LETTERS - 1}}}[-_ ]?|[^-_ ]{{{LETTERS}}}", name):
        if lines[-1] and len(lines[-1]) + len(part.rstrip()) > LETTERS:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines)


class HeadTable(QTableWidget):  # type: ignore[misc]
    """Shows a `ReportHead`: one row per number, columns for the truth and each prediction; the best prediction is bold.

    Names wrap, and the table is as high as its rows: the dock scrolls, not the table.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, 0, parent)
        self.verticalHeader().hide()
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setAccessibleName("Headline of the report")
        self.setWordWrap(True)

    def set_head(self, head: ReportHead) -> None:
        """Show the headline of another report."""
        self.clear()
        truth = ["Truth"] if any(line.truth is not None for _, line in head.lines) else []
        columns = ["Measure", *truth, *head.predictions]
        self.setColumnCount(len(columns))
        self.setRowCount(len(head.lines))
        self.setHorizontalHeaderLabels([wrapped(name) for name in columns])
        for column, name in enumerate(columns):
            self.horizontalHeaderItem(column).setToolTip(name)
        for row, (level, line) in enumerate(head.lines):
            values = [*[line.truth for _ in truth], *line.values.values()]
            texts = [measure(line), *map(as_shown, values)]
            best = best_prediction(line)
            for column, text in enumerate(texts):
                item = QTableWidgetItem(text)
                item.setToolTip(explanation(level, line))
                if column:
                    item.setTextAlignment(int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter))
                if best is not None and column == columns.index(best, 1 + len(truth)):
                    font = item.font()
                    font.setBold(True)
                    item.setFont(font)
                self.setItem(row, column, item)
        self._fit()

    def resizeEvent(self, event: Any) -> None:  # noqa: N802 - Qt's own way of naming
        """Wrap the names anew."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        """Give the numbers the width that they need, the names the rest, and the rows the height of their names."""
        if not self.columnCount():
            return
        numbers = range(1, self.columnCount())
        for column in numbers:
            self.resizeColumnToContents(column)
        self.setColumnWidth(0, max(NAME, self.viewport().width() - sum(map(self.columnWidth, numbers))))
        self.resizeRowsToContents()
        wide = sum(map(self.columnWidth, range(self.columnCount()))) > self.viewport().width()
        scroll = self.horizontalScrollBar().sizeHint().height() if wide else 0
        rows = sum(map(self.rowHeight, range(self.rowCount())))
        self.setFixedHeight(self.horizontalHeader().sizeHint().height() + rows + scroll + 2 * self.frameWidth())
