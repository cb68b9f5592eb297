"""Small pieces of which docks are built."""

from __future__ import annotations

from html import escape

import pytest
from qtpy.QtCore import Qt
from qtpy.QtGui import QTextDocument
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_virtual_paint._napari.shared.widgets import combo, fill_scrolled, fold, link, words
from napari_virtual_paint._napari.stain.domain_label import DomainLine


def test_a_text_takes_no_height_while_it_is_empty(qtbot):
    holder = QWidget()
    qtbot.addWidget(holder)
    column = QVBoxLayout(holder)
    column.setSpacing(0)
    texts = [words(), words("Some words."), words()]
    for text in texts:
        column.addWidget(text)
    column.addStretch(1)
    holder.resize(200, 300)
    holder.show()
    qtbot.waitUntil(lambda: texts[1].height() > 0, timeout=30_000)
    assert [text.height() > 0 for text in texts] == [False, True, False]
    texts[0].setText("More words.")
    qtbot.waitUntil(lambda: texts[0].height() == texts[1].height(), timeout=30_000)
    texts[0].setText("")
    qtbot.waitUntil(lambda: texts[0].height() == 0, timeout=30_000)


def test_a_part_that_opens_below_the_edge_comes_into_view(qtbot):
    holder, inner, part = QWidget(), QWidget(), fold("More")
    qtbot.addWidget(holder)
    column = QVBoxLayout(inner)
    above, lines = QLabel("\n".join("above")), [QLabel(f"line {number}") for number in range(3)]
    for widget in (above, part):
        column.addWidget(widget)
    for line in lines:
        part.addWidget(line)
    scroll = fill_scrolled(holder, inner)
    holder.resize(300, 140)
    holder.show()
    qtbot.waitUntil(lambda: scroll.viewport().height() > 0, timeout=30_000)
    assert scroll.verticalScrollBar().value() == 0
    QTest.mouseClick(part.toggleButton(), Qt.MouseButton.LeftButton)
    edge = lambda: lines[-1].mapTo(scroll.viewport(), lines[-1].rect().bottomLeft()).y()  # noqa: E731
    qtbot.waitUntil(lambda: scroll.verticalScrollBar().value() > 0 and edge() < scroll.viewport().height(), timeout=30_000)


def test_arrows_and_links_have_the_color_of_the_text(qtbot):
    part, label = fold("More"), QLabel()
    qtbot.addWidget(part)
    qtbot.addWidget(label)
    for color in ("#f0f1f2", "#3b3a39"):
        for widget in (part, label):
            widget.setStyleSheet(f"* {{ color: {color} }}")
            widget.ensurePolished()
        arrow = part.toggleButton().icon().pixmap(12, 12).toImage()
        drawn = {
            arrow.pixelColor(x, y).name()
            for x in range(arrow.width())
            for y in range(arrow.height())
            if arrow.pixelColor(x, y).alpha() > 250
        }
        assert drawn == {color}
        assert link("1", "A & B", label) == f'<a href="1" style="color: {color}">A &amp; B</a>'


def test_a_choice_that_is_too_long_for_its_box_ends_with_an_ellipsis(qtbot):
    box = combo("A model", [("long", "A model with a long name · inside · 0.83"), ("short", "Short")])
    qtbot.addWidget(box)
    box.resize(150, box.sizeHint().height())
    box.show()
    shown = box.shown_text()
    assert shown.endswith("…")
    assert box.itemText(0).startswith(shown[:-1])
    assert box.fontMetrics().horizontalAdvance(shown) < 150
    assert not box.grab().isNull()
    box.setCurrentIndex(1)
    assert box.shown_text() == "Short"
    box.setCurrentIndex(0)
    box.resize(600, box.height())
    assert box.shown_text() == box.itemText(0)


def test_words_ask_for_all_their_lines_where_a_layout_gives_too_few(qtbot):
    panel = QWidget()
    qtbot.addWidget(panel)
    label = words("short")
    label.setParent(panel)
    label.resize(120, 16)
    panel.show()
    label.setText("Words that take several lines in so narrow a place, since they are many.")
    needed = label.heightForWidth(120)
    assert needed > 32
    qtbot.waitUntil(lambda: label.minimumHeight() == needed, timeout=5_000)
    label.resize(500, 16)
    assert label.minimumHeight() == (label.heightForWidth(500) if label.heightForWidth(500) > 16 else 0)
    label.setText("")
    assert label.minimumHeight() == 0


@pytest.mark.parametrize("text", ["It can't be read.", 'A & B <one> "two"', "⚠ plain", "<second>"])
def test_escaped_words_are_shown_as_they_were(qtbot, text):
    label = words(escape(text))
    qtbot.addWidget(label)
    document = QTextDocument()
    rich = label.textFormat() == Qt.TextFormat.RichText or Qt.mightBeRichText(label.text())
    document.setHtml(label.text()) if rich else document.setPlainText(label.text())
    assert document.toPlainText() == text
    label.setText("R & D, can't")
    assert label.textFormat() == Qt.TextFormat.AutoText
    plain = words()
    qtbot.addWidget(plain)
    plain.setTextFormat(Qt.TextFormat.PlainText)
    plain.setText("&lt;")
    assert plain.textFormat() == Qt.TextFormat.PlainText


def test_the_verdict_of_the_domain_check_asks_for_all_its_lines_too(qtbot):
    line = DomainLine()
    qtbot.addWidget(line)
    line.show_verdict(None, ["a model of a long name", "another one"])
    line.resize(120, 16)
    line.show()
    qtbot.waitUntil(lambda: line.minimumHeight() == line.heightForWidth(line.width()) > 32, timeout=5_000)
