"""Small pieces of which docks are built."""

from __future__ import annotations

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_virtual_paint._napari.shared.widgets import combo, words


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
