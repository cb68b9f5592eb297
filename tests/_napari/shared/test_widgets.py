"""Small pieces of which docks are built."""

from __future__ import annotations

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_virtual_paint._napari.shared.widgets import words


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
