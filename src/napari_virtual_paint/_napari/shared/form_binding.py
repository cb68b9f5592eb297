"""Forms that show and edit one frozen value, by a table of its fields and the widgets that edit them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QAbstractButton, QButtonGroup, QComboBox, QLineEdit, QListWidget, QWidget

V = TypeVar("V")
KEEP = object()  # what a getter returns while its widget shows nothing: the field stays as it is


@dataclass(frozen=True)
class Binding:
    """How one field is shown and edited."""

    widget: Any  # what is locked while the form is
    get: Callable[[], Any]  # returns what the widget shows; `KEEP` where that is nothing
    set: Callable[[Any], Any]  # shows a value
    signals: tuple[Any, ...]  # emitted when the user changes it, among other times


def binding_of(widget: Any) -> Binding:
    """Return how a widget edits a field: a choice by its data, a tick box, a line of text, names ticked in a list, a number.

    Any other widget needs `value`, `setValue` and `valueChanged`, as a spin box has them; a `Binding` is returned as it is.
    """
    if isinstance(widget, Binding):
        return widget
    if isinstance(widget, QComboBox) and widget.isEditable():
        return Binding(
            widget, lambda: widget.currentText().strip(), widget.setEditText, (widget.lineEdit().editingFinished, widget.activated)
        )
    if isinstance(widget, QComboBox):
        return Binding(
            widget,
            lambda: widget.currentData() if widget.currentIndex() >= 0 else KEEP,
            lambda value: widget.setCurrentIndex(widget.findData(value)),
            (widget.currentIndexChanged,),
        )
    if isinstance(widget, QAbstractButton):
        return Binding(widget, widget.isChecked, widget.setChecked, (widget.toggled,))
    if isinstance(widget, QLineEdit):
        return Binding(widget, lambda: widget.text().strip(), lambda text: _write(widget, text), (widget.editingFinished,))
    if isinstance(widget, QListWidget):
        return Binding(widget, lambda: ticked(widget), lambda names: _tick(widget, names), (widget.itemChanged,))
    return Binding(widget, widget.value, widget.setValue, (widget.valueChanged,))


def ticked_boxes(boxes: Mapping[str, QAbstractButton], widget: QWidget | None = None) -> Binding:
    """Return how tick boxes edit a tuple of names, in the boxes' order."""

    def show(names: Sequence[str]) -> None:
        for name, box in boxes.items():
            box.setChecked(name in names)

    signals = tuple(box.toggled for box in boxes.values())
    return Binding(widget, lambda: tuple(name for name, box in boxes.items() if box.isChecked()), show, signals)


def radio_buttons(group: QButtonGroup, values: Sequence[Any], widget: QWidget | None = None) -> Binding:
    """Return how radio buttons, whose ids count from 0, choose one of the values."""

    def get() -> Any:
        return values[group.checkedId()] if group.checkedId() >= 0 else KEEP

    return Binding(widget, get, lambda value: group.button(values.index(value)).setChecked(True), (group.idToggled,))


def sentence(edit: QLineEdit) -> Binding:
    """Return how a line of text edits a sentence: its beginning is in view, not its end as that of a path."""

    def show(text: str) -> None:
        if edit.text() != text:
            edit.setText(text)
            edit.home(False)

    return Binding(edit, lambda: edit.text().strip(), show, (edit.editingFinished,))


class BoundForm(QWidget, Generic[V]):  # type: ignore[misc]
    """A widget that edits a frozen dataclass; a subclass makes its widgets and calls `bind`."""

    valueChanged = Signal(object)  # noqa: N815 - Qt's own way of naming
    """The value, when the user changed it."""
    shown = Signal(object)
    """The value, whenever it is another one: set, or changed by the user and then before `valueChanged`."""

    def bind(self, value: V, table: Mapping[str, Any], settle: Callable[[V, V], V] | None = None) -> None:
        """Bind widgets to the fields of a value, and show it.

        Parameters
        ----------
        table
            The widget (see `binding_of`) or `Binding` of each field; a dot leads into a value within the value, as in ``painting.tta``.
            Fields without a widget keep what `setValue` gave them.
        settle
            Takes the value before an edit and after it, and returns what it becomes: where one choice resets another.
        """
        self._value, self._settle, self._silent = value, settle, False
        self._bindings = {name: binding_of(widget) for name, widget in table.items()}
        for binding in self._bindings.values():
            for signal in binding.signals:
                signal.connect(self._edited)
        self.setValue(value)

    def value(self) -> V:
        """Return the value."""
        return self._value

    def setValue(self, value: V) -> None:  # noqa: N802 - Qt's own way of naming
        """Show another value; `valueChanged` stays silent."""
        self._value = value
        with self.silenced():
            for name, binding in self._bindings.items():
                binding.set(field(value, name))
        self.shown.emit(value)

    def change(self, **changes: Any) -> None:
        """Change some fields as if the user did, for widgets that are not in the table; reports also what is still being typed."""
        self._report(replace(self._read(), **changes))  # type: ignore[type-var]

    def finish(self) -> None:
        """Take what is still being typed; a shortcut leaves no text field."""
        self._report(self._read())

    def reread(self) -> None:
        """Take what the widgets show without reporting it: choices that are offered no longer are gone from the value, too."""
        self._value = self._read()

    @contextmanager
    def silenced(self) -> Iterator[None]:
        """Report no change of a widget within the block: for filling lists of choices."""
        before, self._silent = self._silent, True
        try:
            yield
        finally:
            self._silent = before

    def lock(self, locked: bool, *, but: Sequence[str] = ()) -> None:
        """Disable the widgets of all fields but some, or enable them again."""
        for name, binding in self._bindings.items():
            if name not in but and binding.widget is not None:
                binding.widget.setEnabled(not locked)

    def _read(self) -> V:
        found = {name: binding.get() for name, binding in self._bindings.items()}
        return replaced(self._value, {name: value for name, value in found.items() if value is not KEEP})

    def _edited(self, *_: Any) -> None:
        if not self._silent:
            self.finish()

    def _report(self, found: V) -> None:
        if found == self._value:
            return
        self.setValue(found if self._settle is None else self._settle(self._value, found))
        self.valueChanged.emit(self._value)


def field(value: Any, path: str) -> Any:
    """Return a field of a value, or of a value within it."""
    for name in path.split("."):
        value = getattr(value, name)
    return value


def replaced(value: V, changes: Mapping[str, Any]) -> V:
    """Return a frozen value with other fields, those of values within it too."""
    here: dict[str, Any] = {}
    within: dict[str, dict[str, Any]] = {}
    for path, new in changes.items():
        name, _, rest = path.partition(".")
        if rest:
            within.setdefault(name, {})[rest] = new
        else:
            here[name] = new
    here |= {name: replaced(getattr(value, name), inner) for name, inner in within.items()}
    return replace(value, **here)  # type: ignore[type-var]


def ticked(box: QListWidget) -> tuple[str, ...]:
    """Return the names that are ticked in a list."""
    items = [box.item(row) for row in range(box.count())]
    return tuple(item.text() for item in items if item.checkState() == Qt.CheckState.Checked)


def _tick(box: QListWidget, names: Sequence[str]) -> None:
    for row in range(box.count()):
        item = box.item(row)
        item.setCheckState(Qt.CheckState.Checked if item.text() in names else Qt.CheckState.Unchecked)


def _write(edit: QLineEdit, text: str) -> None:
    """Show a text with its end in view; one that is there already keeps its cursor."""
    if edit.text() != text:
        edit.setText(text)
        edit.setCursorPosition(len(text))
