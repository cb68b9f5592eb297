"""Find texts of widgets that are wider, or higher, than the room they have."""

from __future__ import annotations

from collections.abc import Iterator

from qtpy.QtCore import Qt
from qtpy.QtGui import QTextDocument
from qtpy.QtWidgets import (
    QAbstractButton,
    QCheckBox,
    QHeaderView,
    QLabel,
    QPushButton,
    QRadioButton,
    QScrollArea,
    QStyle,
    QStyleOptionButton,
    QTabBar,
    QWidget,
)

CONTENTS = {
    QPushButton: QStyle.SubElement.SE_PushButtonContents,
    QCheckBox: QStyle.SubElement.SE_CheckBoxContents,
    QRadioButton: QStyle.SubElement.SE_RadioButtonContents,
}
ICON_GAP = 4  # pixels that Qt leaves between the icon of a button and its text


def cut_texts(root: QWidget) -> list[str]:
    """Return a sentence for each text within a widget that is cut, of the widgets that are seen; empty where all is whole.

    Boxes of choices and lines to edit are left out: they cut long names on purpose, which are whole in their list or tooltip.
    """
    seen = (each for each in root.findChildren(QWidget) if each.isVisible() and not each.visibleRegion().isEmpty())
    return [f"{type(each).__name__}: {problem}" for each in seen for problem in _problems(each)]


def _problems(widget: QWidget) -> Iterator[str]:
    if isinstance(widget, QAbstractButton):
        yield from _button(widget)
    elif isinstance(widget, QLabel):
        yield from _label(widget)
    elif isinstance(widget, QScrollArea):
        if widget.horizontalScrollBarPolicy() == Qt.ScrollBarPolicy.ScrollBarAlwaysOff and widget.widget() is not None:
            width, room = widget.widget().width(), widget.viewport().width()
            if width > room:
                yield f"its contents are {width} pixels wide and have {room}"
    elif isinstance(widget, QTabBar):
        for index in range(widget.count()):
            yield from _wide(widget, widget.tabText(index), widget.tabRect(index).width())
    elif isinstance(widget, QHeaderView) and widget.orientation() == Qt.Orientation.Horizontal:
        for section in range(widget.count()):
            if not widget.isSectionHidden(section):
                text = str(widget.model().headerData(section, Qt.Orientation.Horizontal) or "")
                yield from _wide(widget, text, widget.sectionSize(section))


def _button(widget: QAbstractButton) -> Iterator[str]:
    for kind, element in CONTENTS.items():
        if isinstance(widget, kind) and widget.text():
            option = QStyleOptionButton()
            widget.initStyleOption(option)
            room = widget.style().subElementRect(element, option, widget).width()
            icon = 0 if widget.icon().isNull() else widget.iconSize().width() + ICON_GAP
            yield from _wide(widget, widget.text().replace("&&", "&"), room - icon)


def _label(widget: QLabel) -> Iterator[str]:
    if not widget.text():
        return
    room = widget.contentsRect().width() - 2 * widget.margin()
    document = QTextDocument()
    document.setDefaultFont(widget.font())
    document.setDocumentMargin(0)
    rich = widget.textFormat() == Qt.TextFormat.RichText or (
        widget.textFormat() == Qt.TextFormat.AutoText and Qt.mightBeRichText(widget.text())
    )
    document.setHtml(widget.text()) if rich else document.setPlainText(widget.text())
    if not widget.wordWrap():
        if document.idealWidth() > room + 1:
            yield f"{widget.text()!r} is {document.idealWidth():.0f} pixels wide and has {room}"
        return
    needed = widget.heightForWidth(widget.width())
    if needed > widget.height():
        yield f"{widget.text()!r} is {needed} pixels high and has {widget.height()}"


def _wide(widget: QWidget, text: str, room: int) -> Iterator[str]:
    width = widget.fontMetrics().horizontalAdvance(text)
    if width > room:
        yield f"{text!r} is {width} pixels wide and has {room}"
