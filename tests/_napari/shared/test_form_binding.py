"""A form shows and edits one frozen value by a table of fields and widgets."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QButtonGroup, QCheckBox, QLineEdit, QListWidget, QRadioButton, QSpinBox

from napari_virtual_paint._napari.shared.form_binding import BoundForm, field, radio_buttons, replaced, ticked_boxes
from napari_virtual_paint._napari.shared.widgets import combo, set_choices, set_names


@dataclass(frozen=True)
class Inner:
    kind: str = "a"
    size: int = 1


@dataclass(frozen=True)
class Value:
    name: str = ""
    names: tuple[str, ...] = ()
    on: bool = False
    note: str = "no widget shows it"
    levels: tuple[str, ...] = ()
    scale: str = "raw"
    inner: Inner = Inner()


class Form(BoundForm[Value]):
    def __init__(self) -> None:
        super().__init__()
        self.name, self.names, self.on = QLineEdit(), QListWidget(), QCheckBox()
        self.kind, self.size = combo("", [("a", "A"), ("b", "B")]), QSpinBox()
        self.levels = {name: QCheckBox() for name in ("x", "y")}
        self.scales = QButtonGroup(self)
        for number in range(2):
            self.scales.addButton(QRadioButton(self), number)
        table = {
            "name": self.name,
            "names": self.names,
            "on": self.on,
            "levels": ticked_boxes(self.levels),
            "scale": radio_buttons(self.scales, ("raw", "zscore")),
            "inner.kind": self.kind,
            "inner.size": self.size,
        }
        self.bind(Value(), table, self._settle)

    def _settle(self, before: Value, after: Value) -> Value:
        return replace(after, on=False) if after.inner.kind != before.inner.kind else after


@pytest.fixture
def form(qtbot):
    form = Form()
    qtbot.addWidget(form)
    set_names(form.names, ["one", "two"], ())
    form.heard = []
    form.valueChanged.connect(form.heard.append)
    return form


def test_a_value_set_is_shown_in_silence(form):
    value = Value("me", ("two",), True, "kept", ("y",), "zscore", Inner("b", 7))
    shown = []
    form.shown.connect(shown.append)
    form.setValue(value)
    assert form.value() == value
    assert (form.name.text(), form.kind.currentData(), form.size.value(), form.on.isChecked()) == ("me", "b", 7, True)
    assert form.names.item(1).checkState() == Qt.CheckState.Checked
    assert form.levels["y"].isChecked()
    assert form.scales.checkedId() == 1
    form.finish()
    assert form.value() == value
    assert (form.heard, shown) == ([], [value])


def test_each_edit_is_reported_once(form):
    form.name.setText("you")
    assert form.heard == []
    form.name.editingFinished.emit()
    form.size.setValue(3)
    form.names.item(0).setCheckState(Qt.CheckState.Checked)
    form.levels["x"].setChecked(True)
    form.scales.button(1).setChecked(True)
    form.on.setChecked(True)
    assert len(form.heard) == 6
    assert form.value() == Value("you", ("one",), True, levels=("x",), scale="zscore", inner=Inner("a", 3))


def test_one_choice_may_reset_another_and_is_reported_once(form):
    form.on.setChecked(True)
    form.kind.setCurrentIndex(1)
    assert form.value() == Value(inner=Inner("b"))
    assert len(form.heard) == 2


def test_a_value_that_is_not_offered_stays_until_another_is_chosen(form):
    form.setValue(Value(inner=Inner("c")))
    form.size.setValue(2)
    assert form.value().inner == Inner("c", 2)
    set_choices(form.kind, [("c", "C", "tip"), ("d", "D")])
    form.reread()
    assert form.value().inner == Inner("c", 2)
    form.kind.setCurrentIndex(1)
    assert form.value().inner == Inner("d", 2)


def test_a_locked_form_takes_no_input(form):
    form.lock(True, but=("name",))
    assert not form.kind.isEnabled()
    assert form.name.isEnabled()
    form.lock(False)
    assert form.kind.isEnabled()


def test_a_field_that_there_is_not_is_no_surprise_later(form):
    with pytest.raises(AttributeError, match="colour"):
        form.bind(Value(), {"inner.colour": form.kind})


def test_values_within_values_are_replaced():
    value = replaced(Value(), {"inner.size": 4, "name": "x", "inner.kind": "b"})
    assert value == Value("x", inner=Inner("b", 4))
    assert field(value, "inner.size") == 4
