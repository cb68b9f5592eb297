"""Small pieces of which the docks are built."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from html import escape
from typing import Any

from qtpy.QtCore import QEvent, QObject, QPoint, QSignalBlocker, QSize, Qt, QTimer
from qtpy.QtGui import QColor, QFont, QKeySequence, QPalette, QResizeEvent, QShortcut
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLayout,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

LINES = 4  # lines that a list shows before it scrolls
MARGIN = 4  # pixels that a box leaves beside its text
NARROW = 290  # pixels that a dock is wide, at least
SHOWN = 50  # milliseconds after which a part that has opened has its place
BODY = 120  # pixels of a dock's body that stay in view above its footer, at least


def fill_height(dock: QWidget) -> None:
    """Let a dock take all the height that it gets; below one that does not want to grow, napari adds empty space."""
    dock.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)


def legible(color: QColor, palette: QPalette) -> QColor:
    """Return a bright color, darkened where text in it stands on a light ground."""
    return color.darker(165) if palette.color(QPalette.ColorRole.Window).lightness() > 128 else color


class ElidedBox(QComboBox):  # type: ignore[misc]
    """A box of choices that ends a text that is too long for it with an ellipsis; Qt cuts it within a letter."""

    def shown_text(self) -> str:
        """Return the text as it is shown."""
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        return self._fit(option)

    def paintEvent(self, event: Any) -> None:  # noqa: N802
        """Draw the box with as much of the text as fits."""
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        option.currentText = self._fit(option)
        painter = QStylePainter(self)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)

    def _fit(self, option: QStyleOptionComboBox) -> str:
        part = QStyle.SubControl.SC_ComboBoxEditField
        room = self.style().subControlRect(QStyle.ComplexControl.CC_ComboBox, option, part, self).width() - MARGIN
        return str(self.fontMetrics().elidedText(option.currentText, Qt.TextElideMode.ElideRight, room))


def combo(tip: str, items: Iterable[tuple[Any, str]] = (), *, letters: int = 8) -> QComboBox:
    """Return a box of choices (data, text), at least so many letters wide."""
    box = ElidedBox()
    box.setToolTip(tip)
    for data, text in items:
        box.addItem(text, data)
    # A long name must not widen the dock: it is cut by the box, whole in its list and tooltip.
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(letters)
    box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    return box


def set_choices(box: QComboBox, items: Sequence[tuple[Any, ...]], chosen: Any = None) -> None:
    """Offer other choices, (data, text), (data, text, tooltip) or (data, text, tooltip, enabled) each, without a signal.

    `chosen` is selected, or nothing where it is not among them; by default what was selected before, or the first choice.
    """
    blocker = QSignalBlocker(box)
    before = box.currentData()
    box.clear()
    for place, (data, text, *tip) in enumerate(items):
        box.addItem(text, data)
        if tip:
            box.setItemData(place, tip[0], Qt.ItemDataRole.ToolTipRole)
            box.model().item(place).setEnabled(tip[-1] is not False)
    box.setCurrentIndex(box.findData(chosen) if chosen is not None else max(0, box.findData(before)))
    del blocker


def set_grouped_choices(box: QComboBox, items: Sequence[tuple[str, Any, str]], chosen: Any = None) -> None:
    """Offer choices, (group, data, text) each, below a heading for each group, which can't be chosen; see `set_choices`."""
    with_headings: list[tuple[Any, str]] = []
    headings: list[int] = []
    group = ""
    for name, data, text in items:
        if name != group:
            headings.append(len(with_headings))
            with_headings.append((None, name))
            group = name
        with_headings.append((data, text))
    set_choices(box, with_headings, chosen)
    bold = QFont(box.font())
    bold.setBold(True)
    for place in headings:
        box.setItemData(place, bold, Qt.ItemDataRole.FontRole)
        box.model().item(place).setEnabled(False)


def set_names(box: QListWidget, names: Sequence[str], ticked: Collection[str], tip: str = "{}") -> None:
    """Offer other names with a tick box each, without a signal; the list is as high as up to `LINES` of them."""
    blocker = QSignalBlocker(box)
    box.clear()
    ticked = set(ticked)
    for name in names:
        item = QListWidgetItem(name)
        item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsUserCheckable)
        item.setCheckState(Qt.CheckState.Checked if name in ticked else Qt.CheckState.Unchecked)
        item.setToolTip(tip.format(name))
        box.addItem(item)
    height = max(box.sizeHintForRow(0), 20)
    box.setFixedHeight(height * min(max(len(names), 2), LINES) + 2 * box.frameWidth() + 4)
    box.scrollToTop()
    del blocker


def push_button(text: str, tip: str) -> QPushButton:
    """Return a button."""
    button = QPushButton(text)
    button.setToolTip(tip)
    return button


ENTITY = re.compile(r"&(amp|lt|gt|quot|#x27);")  # what `html.escape` writes


class WrappedLabel(QLabel):  # type: ignore[misc]
    """A text that wraps and can be copied; takes no height while it is empty, and all that it needs else.

    Qt's own label would keep a blank line, a QFormLayout gives it too few lines where its scroll bar has just appeared, and without a tag
    beside it, escaped text would be shown as it is escaped.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self._soon = QTimer(self, singleShot=True, interval=0, timeout=self._fit)  # as a child it dies with the label

    def setText(self, text: str) -> None:  # noqa: N802 - Qt's name
        if text != self.text():
            self.setMinimumHeight(0)
            if self.textFormat() != Qt.TextFormat.PlainText:
                self.setTextFormat(Qt.TextFormat.RichText if ENTITY.search(text) else Qt.TextFormat.AutoText)
            super().setText(text)
            self._soon.start()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        if event.oldSize().width() != self.width():
            self.setMinimumHeight(0)
        self._fit()

    def _fit(self) -> None:
        needed = self.heightForWidth(self.width())
        if needed > max(self.height(), self.minimumHeight()):
            self.setMinimumHeight(needed)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        return super().sizeHint() if self.text() else QSize(0, 0)

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        return super().minimumSizeHint() if self.text() else QSize(0, 0)

    def heightForWidth(self, width: int) -> int:  # noqa: N802
        return int(super().heightForWidth(width)) if self.text() else 0


def words(text: str = "") -> QLabel:
    """Return a text that wraps and can be copied, and takes no height while it is empty."""
    label = WrappedLabel()
    label.setText(text)
    return label


def link(target: str, text: str, label: QLabel) -> str:
    """Return a link for a label, as HTML in the color of its text: Qt's own blue can't be read on a dark theme."""
    ink = label.palette().color(QPalette.ColorRole.WindowText).name()
    return f'<a href="{escape(target)}" style="color: {ink}">{escape(text)}</a>'


def footer(*rows: QWidget | QLayout) -> QWidget:
    """Return the rows of a dock that never scroll away: its progress bar, status line and main buttons."""
    made = QWidget()
    made.setObjectName("footer")
    column = QVBoxLayout(made)
    column.setContentsMargins(0, 4, 4, 0)
    column.setSpacing(4)
    for each in rows:
        column.addWidget(each) if isinstance(each, QWidget) else column.addLayout(each)
    return made


def button_grid(buttons: Sequence[QWidget], columns: int) -> QGridLayout:
    """Return buttons of one width in rows; a last row with fewer is stretched where that is even."""
    grid = QGridLayout()
    grid.setSpacing(4)
    whole = len(buttons) // columns * columns
    rest = len(buttons) - whole
    units = columns * max(rest, 1)  # columns of the grid that both kinds of rows divide
    for place, each in enumerate(buttons):
        span = units // (columns if place < whole else rest)
        line, column = divmod(place, columns)
        grid.addWidget(each, line, column * span, 1, span)
    for column in range(units):
        grid.setColumnStretch(column, 1)
    return grid


def fill_scrolled(panel: QWidget, inner: QWidget, below: QWidget | None = None) -> QScrollArea:
    """Fill a dock with a widget that scrolls up and down where the dock is lower than it, above a `footer` that stays in place."""
    scroll = _Body()
    scroll.setWidget(inner)
    outer = QVBoxLayout(panel)
    outer.setContentsMargins(6, 6, 2, 6)
    outer.setSpacing(0)
    outer.addWidget(scroll, 1)
    if below is not None:
        outer.addWidget(below)
    fill_height(panel)
    return scroll


class _Body(QScrollArea):  # type: ignore[misc]
    """Scrolls up and down alone: it is never narrower than its contents and their scroll bar."""

    def __init__(self) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def minimumSizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        inner = self.widget()
        needed = inner.minimumSizeHint().width() if inner is not None else 0
        return QSize(max(NARROW, needed + self.verticalScrollBar().sizeHint().width() + 2 * self.frameWidth()), BODY)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        """Notice that the contents need another width."""
        if event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return bool(super().eventFilter(watched, event))


def row(*widgets: QWidget) -> QHBoxLayout:
    """Return widgets beside each other, the first one as wide as there is room."""
    line = QHBoxLayout()
    line.setSpacing(4)
    for place, widget in enumerate(widgets):
        line.addWidget(widget, 0 if place else 1)
    return line


def form_rows(rows: Sequence[tuple[str, Any]]) -> QFormLayout:
    """Return widgets or layouts below each other, each beside its label, if it has one; a widget's tooltip is its label's too."""
    form = QFormLayout()
    form.setContentsMargins(0, 0, 0, 0)
    form.setVerticalSpacing(3)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    for text, item in rows:
        if not text:
            form.addRow(item)
            continue
        label = QLabel(text)
        label.setToolTip(item.toolTip() if isinstance(item, QWidget) else "")
        form.addRow(label, item)
    return form


def button(text: str, tip: str, shortcut: str = "") -> QPushButton:
    """Return a button; with a shortcut, that key clicks it from anywhere in the window."""
    made = QPushButton(text)
    if shortcut:
        keys = QKeySequence(shortcut)
        tip = f"{tip} ({keys.toString(QKeySequence.SequenceFormat.NativeText)})"
        QShortcut(keys, made, activated=made.click, context=Qt.ShortcutContext.WindowShortcut)
    made.setToolTip(tip)
    return made


class _Fold(QCollapsible):  # type: ignore[misc]
    """Comes into view, as far as it fits, when it opens: below the edge it would seem not to open at all. Its arrow follows the theme."""

    def __init__(self, title: str) -> None:
        super().__init__(title, expandedIcon="▼", collapsedIcon="▶")
        self._opened = QTimer(self, singleShot=True, interval=self._animation.duration() + SHOWN)
        self._opened.timeout.connect(self._come_into_view)
        self.toggled.connect(lambda on: self._opened.start() if on else self._opened.stop())

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 - Qt's name
        """Draw the arrow in the color of another theme."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.PaletteChange, QEvent.Type.StyleChange):
            self.setExpandedIcon("▼")
            self.setCollapsedIcon("▶")

    def _come_into_view(self) -> None:
        body = self.parentWidget()
        while body is not None and not isinstance(body, QScrollArea):
            body = body.parentWidget()
        if body is None or not self.isVisible():
            return
        top = self.mapTo(body.widget(), QPoint(0, 0)).y()
        bar, bottom = body.verticalScrollBar(), top + self.height()
        if bottom > bar.value() + body.viewport().height():
            bar.setValue(min(top, bottom - body.viewport().height()))


def fold(title: str) -> QCollapsible:
    """Return a part of a dock that folds away."""
    folding = _Fold(title)
    folding.layout().setContentsMargins(0, 0, 0, 0)
    folding.content().layout().setContentsMargins(4, 0, 0, 0)
    return folding


DEVICES = (("auto", "Auto (the fastest)"), ("cuda", "CUDA GPU"), ("mps", "Apple GPU"), ("cpu", "CPU"))
