"""Small pieces of which the docks are built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QFrame, QHBoxLayout, QLabel, QScrollArea, QSizePolicy, QVBoxLayout, QWidget
from superqt import QCollapsible


def combo(tip: str, items: Sequence[tuple[Any, str]] = (), *, letters: int = 8) -> QComboBox:
    """Return a box of choices (data, text), at least so many letters wide."""
    box = QComboBox()
    box.setToolTip(tip)
    for data, text in items:
        box.addItem(text, data)
    # A long name must not widen the dock: it is cut by the box, whole in its list and tooltip.
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(letters)
    box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    return box


def words(text: str = "") -> QLabel:
    """Return a text that wraps and can be copied."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    return label


def fill_scrolled(panel: QWidget, inner: QWidget) -> QScrollArea:
    """Fill a dock with a widget that scrolls up and down where the dock is lower than it."""
    scroll = QScrollArea()
    scroll.setWidgetResizable(True)
    scroll.setFrameShape(QFrame.Shape.NoFrame)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    scroll.setWidget(inner)
    outer = QVBoxLayout(panel)
    outer.setContentsMargins(6, 6, 2, 6)
    outer.addWidget(scroll)
    panel.setMinimumWidth(290)
    return scroll


def row(*widgets: QWidget) -> QHBoxLayout:
    """Return widgets beside each other, the first one as wide as there is room."""
    line = QHBoxLayout()
    line.setSpacing(4)
    for place, widget in enumerate(widgets):
        line.addWidget(widget, 0 if place else 1)
    return line


def fold(title: str) -> QCollapsible:
    """Return a part of a dock that folds away."""
    folding = QCollapsible(title, expandedIcon="▼", collapsedIcon="▶")
    folding.layout().setContentsMargins(0, 0, 0, 0)
    folding.content().layout().setContentsMargins(4, 0, 0, 0)
    return folding


DEVICES = (("auto", "Auto (the fastest)"), ("cuda", "CUDA GPU"), ("mps", "Apple GPU"), ("cpu", "CPU"))
