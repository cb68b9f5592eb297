"""One stain or all: buttons and key."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_virtual_paint._napari.shared.viewer.stain_view import WIDEST, StainButtons, stain_view, stains_in


@pytest.fixture
def viewer(make_napari_viewer: Any) -> Any:
    """Return a viewer with brightfield, two true stains (DNA is hidden) and two predicted ones; each with its own strength."""
    made = make_napari_viewer()
    pixels = np.arange(64.0).reshape(8, 8)
    made.add_image(pixels, name="Brightfield", blending="additive")
    for index, name in enumerate(("Hoechst", "ER", "DNA (predicted)", "ER (predicted)")):
        made.add_image(pixels, name=name, blending="additive", opacity=0.2 + 0.1 * index, gamma=1.5, visible=name != "Hoechst")
    made.add_image(pixels, name="an overlay")
    return made


def shown(viewer: Any) -> set[str]:
    return {layer.name for layer in viewer.layers if layer.visible}


def looks(viewer: Any) -> list[tuple[bool, float, float]]:
    return [(layer.visible, layer.opacity, layer.gamma) for layer in viewer.layers]


def test_names_of_one_dye_are_one_stain(viewer) -> None:
    found = {name: [layer.name for layer in layers] for name, layers in stains_in(viewer).items()}
    assert found == {"DNA": ["Hoechst", "DNA (predicted)"], "ER": ["ER", "ER (predicted)"]}


def test_a_button_has_the_layers_own_word(viewer, qtbot) -> None:
    row = StainButtons(viewer)
    qtbot.addWidget(row)
    assert row.buttons["DNA"].text() == "DNA", "Hoechst and DNA are one stain"
    viewer.layers.remove("DNA (predicted)")
    qtbot.waitUntil(lambda: row.buttons["DNA"].text() == "Hoechst", timeout=30_000)
    assert row.buttons["DNA"].toolTip().startswith("Show Hoechst alone")


def test_one_stain_is_shown_at_full_strength_and_all_come_back_as_they_were(viewer, qtbot) -> None:
    row = StainButtons(viewer)
    qtbot.addWidget(row)
    before = looks(viewer)
    row.buttons["DNA"].click()
    assert shown(viewer) == {"Brightfield", "DNA (predicted)", "an overlay"}, "a true stain that was hidden stays hidden"
    assert (viewer.layers["DNA (predicted)"].opacity, viewer.layers["DNA (predicted)"].gamma) == (1, 1)
    row.buttons["ER"].click()
    assert shown(viewer) == {"Brightfield", "ER", "ER (predicted)", "an overlay"}
    assert not row.buttons["DNA"].isChecked()
    row.buttons["ER"].click()
    assert looks(viewer) == before
    assert row.all.isChecked()
    row.buttons["DNA"].click()
    row.all.click()
    assert looks(viewer) == before


def test_all_shows_a_layer_of_each_stain_where_none_was_shown(viewer, qtbot) -> None:
    row = StainButtons(viewer)
    qtbot.addWidget(row)
    for layer in viewer.layers:
        layer.visible = False
    row.buttons["ER"].click()
    assert shown(viewer) == {"ER (predicted)"}
    row.all.click()
    assert shown(viewer) == {"DNA (predicted)", "ER (predicted)"}
    for layer in viewer.layers:
        layer.visible = False
    row.all.click()
    assert shown(viewer) == {"DNA (predicted)", "ER (predicted)"}


def test_the_key_goes_through_all_stains_whichever_docks_show_the_row(viewer, qtbot) -> None:
    window = QWidget()
    column = QVBoxLayout(window)
    rows = [StainButtons(viewer), StainButtons(viewer)]
    for row in rows:
        column.addWidget(row)
    qtbot.addWidget(window)
    window.show()
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow, timeout=30_000)
    seen = []
    for _ in range(4):
        qtbot.keyClick(window, Qt.Key.Key_S, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier)
        seen.append([name for row in rows for name, button in row.buttons.items() if button.isChecked()])
    assert seen == [["DNA", "DNA"], ["ER", "ER"], [], ["DNA", "DNA"]]


def test_a_new_layer_ends_the_view_of_one_stain(viewer, qtbot) -> None:
    row = StainButtons(viewer)
    qtbot.addWidget(row)
    strengths = [(layer.opacity, layer.gamma) for layer in viewer.layers]
    row.buttons["DNA"].click()
    viewer.add_image(np.ones((8, 8)), name="Mito", blending="additive")
    assert stain_view(viewer).only == ""
    assert [(layer.opacity, layer.gamma) for layer in viewer.layers][:-1] == strengths
    assert shown(viewer) == {"Brightfield", "DNA (predicted)", "an overlay", "Mito"}
    qtbot.waitUntil(lambda: list(row.buttons) == ["DNA", "ER", "Mito"], timeout=30_000)
    assert row.all.isChecked()


def test_one_stain_needs_no_row(make_napari_viewer, qtbot) -> None:
    viewer = make_napari_viewer()
    viewer.add_image(np.ones((8, 8)), name="DNA", blending="additive")
    row = StainButtons(viewer)
    qtbot.addWidget(row)
    assert row.isHidden()
    assert stain_view(viewer) is stain_view(viewer)
    stain_view(viewer).show_next()
    stain_view(viewer).show_next()
    assert stain_view(viewer).only == ""


def test_many_long_names_do_not_widen_the_dock(viewer, qtbot) -> None:
    viewer.layers.clear()
    for wavelength in range(550, 620, 10):
        viewer.add_image(np.zeros((8, 8)), name=f"Emission {wavelength} nm", blending="additive")
    viewer.add_image(np.zeros((8, 8)), name="A stain with a name that is far too long for a button of a row", blending="additive")
    row = StainButtons(viewer)
    qtbot.addWidget(row)
    assert len(row.buttons) == 8
    assert row.minimumSizeHint().width() <= WIDEST
    row.resize(WIDEST, row.sizeHint().height())
    row.show()
    qtbot.waitUntil(lambda: row.all.geometry().top() > row.buttons["Emission 550 nm"].geometry().bottom(), timeout=30_000)
    assert not any(one.geometry().intersects(other.geometry()) for one, other in combinations(row.buttons.values(), 2))


def test_what_else_stands_in_the_brackets_is_no_part_of_the_stain(viewer, qtbot) -> None:
    viewer.layers.clear()
    for name in ("DNA", "ER", "RNA", "AGP", "Mito"):
        viewer.add_image(np.zeros((8, 8)), name=f"{name} (predicted, mosaic)", blending="additive")
    row = StainButtons(viewer)
    qtbot.addWidget(row)
    assert list(row.buttons) == ["DNA", "ER", "RNA", "AGP", "Mito"]
