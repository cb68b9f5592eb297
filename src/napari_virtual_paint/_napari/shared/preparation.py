"""Widgets that edit how an image is preprocessed: the plane in focus, even light, phase from brightfield."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QPointF, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QCheckBox, QDialog, QDialogButtonBox, QDoubleSpinBox, QFileDialog, QLineEdit, QSpinBox, QVBoxLayout, QWidget

from napari_virtual_paint._napari.shared.widgets import combo, form_rows, legible, row, set_choices, words
from napari_virtual_paint.errors import InputError, WriteError
from napari_virtual_paint.preprocessing.microscope import Microscope, save_microscope, saved_microscopes
from napari_virtual_paint.preprocessing.phase_settings import PhaseSettings

if TYPE_CHECKING:
    from napari_virtual_paint.preprocessing.focus import Focus

GIVEN, ANOTHER = "given", "another"  # choices that stand for a number, and for what a dialog asks
FOCUSES = (
    ("none", "Not looked for"),
    ("auto", "Find the plane"),
    ("middle", "Middle plane"),
    (GIVEN, "Plane"),
)
LIGHTS = (("none", "As it is"), ("auto", "Evened out"), (ANOTHER, "By a folder…"))
HEIGHT = 46  # pixels of the curve of focus
ACCENT = "#f0a030"  # color of the plane in focus


class FocusChoice(QWidget):  # type: ignore[misc]
    """Edits the setting `focus`: a choice, or the number of a plane; shows the curve by which the plane was found."""

    valueChanged = Signal()  # noqa: N815 - Qt's own way of naming

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.choice = combo(
            "Which plane is in focus: models of single planes paint it alone, others the planes around it; "
            "where it is not looked for, every plane, or those around the middle",
            FOCUSES,
        )
        self.plane = QSpinBox()
        self.plane.setRange(0, 9999)
        self.plane.setToolTip("The plane in focus, counted from 0")
        self.curve = FocusCurve()
        top = QVBoxLayout(self)
        top.setContentsMargins(0, 0, 0, 0)
        top.setSpacing(2)
        top.addLayout(row(self.choice, self.plane))
        top.addWidget(self.curve)
        self.curve.hide()
        self.plane.hide()
        self.choice.currentIndexChanged.connect(self._changed)
        self.plane.valueChanged.connect(self._changed)

    def value(self) -> str | int:
        """Return the setting."""
        kind = self.choice.currentData()
        return self.plane.value() if kind == GIVEN else str(kind)

    def setValue(self, focus: str | int) -> None:  # noqa: N802 - Qt's own way of naming
        """Show a setting."""
        if isinstance(focus, int):
            self.plane.setValue(focus)
        self.choice.setCurrentIndex(self.choice.findData(GIVEN if isinstance(focus, int) else focus))
        self.plane.setVisible(isinstance(focus, int))

    def show_curve(self, curve: Sequence[float], plane: int, *, least: bool = False) -> None:
        """Show the measure of each plane and the plane that was found; an empty curve hides it."""
        self.curve.show_curve(curve, plane, least=least)

    def show_focus(self, focus: Focus | None) -> None:
        """Show how a plane was found; None hides it."""
        self.show_curve(*((), 0) if focus is None else (focus.curve, focus.plane), least=focus is not None and focus.least)

    def _changed(self) -> None:
        self.plane.setVisible(self.choice.currentData() == GIVEN)
        self.valueChanged.emit()


class FocusCurve(QWidget):  # type: ignore[misc]
    """Draws the measure of focus over the planes, and the plane that was found."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._curve: tuple[float, ...] = ()
        self._plane = 0
        self.setFixedHeight(HEIGHT)
        self.setAccessibleName("Measure of focus by plane")

    def show_curve(self, curve: Sequence[float], plane: int, *, least: bool = False) -> None:
        """Show a curve; an empty one hides it."""
        self._curve, self._plane = tuple(curve), plane
        what = "contrast, least in focus" if least else "fine detail, most in focus"
        self.setToolTip(f"Plane {plane} of {len(self._curve)} is in focus. The curve shows each plane's {what}.")
        self.setVisible(len(self._curve) > 1)
        self.update()

    def paintEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Draw."""
        if len(self._curve) < 2:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text = self.palette().color(QPalette.ColorRole.WindowText)
        accent = legible(QColor(ACCENT), self.palette())
        top, low = 14.0, self.height() - 3.0
        step = (self.width() - 8.0) / (len(self._curve) - 1)
        most = max(self._curve) or 1.0
        points = [QPointF(4 + step * i, low - (low - top) * value / most) for i, value in enumerate(self._curve)]
        painter.setPen(QPen(text, 1.4))
        painter.drawPolyline(QPolygonF(points))
        mark = points[self._plane]
        painter.setPen(QPen(accent, 1.4, Qt.PenStyle.DashLine))
        painter.drawLine(QPointF(mark.x(), top), QPointF(mark.x(), low))
        painter.setBrush(QColor(accent))
        painter.drawEllipse(mark, 3, 3)
        painter.setPen(text)
        label = f"in focus: plane {self._plane}"
        wide = painter.fontMetrics().horizontalAdvance(label)
        painter.drawText(QPointF(min(max(mark.x() - wide / 2, 2.0), max(self.width() - wide - 2.0, 2.0)), 11), label)
        painter.end()


class IlluminationChoice(QWidget):  # type: ignore[misc]
    """Edits the setting `illumination`: as it is, even out, or a folder of functions."""

    valueChanged = Signal()  # noqa: N815 - Qt's own way of naming

    def __init__(self, parent: QWidget | None = None, *, plate: bool = False) -> None:
        super().__init__(parent)
        self._value = "none"
        where = "the plate's files or an estimate from its fields" if plate else "an estimate from its planes"
        self.choice = combo(f"Correct uneven light before anything else: by {where}, or by functions in a folder", LIGHTS)
        top = QVBoxLayout(self)
        top.setContentsMargins(0, 0, 0, 0)
        top.addWidget(self.choice)
        self.choice.activated.connect(self._chosen)

    def value(self) -> str:
        """Return the setting."""
        return self._value

    def setValue(self, illumination: str) -> None:  # noqa: N802 - Qt's own way of naming
        """Show a setting."""
        self._value = illumination
        own = [] if illumination in ("none", "auto") else [(illumination, f"By {Path(illumination).name}")]
        set_choices(self.choice, [*LIGHTS[:2], *own, LIGHTS[2]], illumination)

    def _chosen(self) -> None:
        wanted = self.choice.currentData()
        if wanted == ANOTHER:
            wanted = QFileDialog.getExistingDirectory(self, "Folder of illumination functions (.npy or TIFF, one a channel)") or self._value
        self.setValue(str(wanted))
        self.valueChanged.emit()


class PhaseChoice(QWidget):  # type: ignore[misc]
    """Edits the setting `phase`: none, or with the optics of one of the user's microscopes."""

    valueChanged = Signal()  # noqa: N815 - Qt's own way of naming

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._value: PhaseSettings | None = None
        self._choices: dict[str, PhaseSettings | None] = {}
        self._kept = saved_microscopes()
        self.dialog: MicroscopeDialog | None = None
        self.choice = combo("Make the phase that a model paints from of brightfield planes, with the optics of your microscope")
        top = QVBoxLayout(self)
        top.setContentsMargins(0, 0, 0, 0)
        top.addWidget(self.choice)
        self.choice.activated.connect(self._chosen)
        self.setValue(None)

    def value(self) -> PhaseSettings | None:
        """Return the setting."""
        return self._value

    def setValue(self, phase: PhaseSettings | None) -> None:  # noqa: N802 - Qt's own way of naming
        """Show a setting."""
        self._value = phase
        self._choices = {"": None} | {name: PhaseSettings(optics) for name, optics in self._kept.items()}
        chosen = next((name for name, other in self._choices.items() if other == phase), None)
        if chosen is None and phase is not None:
            chosen = phase.to_text()
            self._choices[chosen] = phase
        items = [(name, f"Made with {name}" if name else "Not made") for name in self._choices]
        set_choices(self.choice, [*items, (ANOTHER, "Another microscope…")], chosen)

    def ask(self) -> None:
        """Ask for the optics."""
        self.dialog = MicroscopeDialog(self)
        self.dialog.accepted.connect(self._answered)
        self.dialog.rejected.connect(lambda: self.setValue(self._value))
        self.dialog.open()

    def _chosen(self) -> None:
        wanted = self.choice.currentData()
        if wanted == ANOTHER:
            self.ask()
            return
        self.setValue(self._choices[wanted])
        self.valueChanged.emit()

    def _answered(self) -> None:
        if self.dialog is not None:
            self._kept = saved_microscopes()
            self.setValue(self.dialog.settings)
            self.valueChanged.emit()


class MicroscopeDialog(QDialog):  # type: ignore[misc]
    """Asks for the optics of a brightfield microscope, once: they are kept under a name.

    Attributes
    ----------
    settings
        The answer, once it was accepted.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Microscope")
        self.settings: PhaseSettings | None = None
        self.name = QLineEdit("My microscope")
        self.name.setToolTip("The optics are kept under this name")
        self.na = _number(0.75, 0.01, 2, "Numerical aperture of the objective, as engraved on it")
        self.condenser_na = _number(
            0.4, 0.01, 2, "Numerical aperture of the illumination; with a diaphragm half open, half of the condenser's"
        )
        self.wavelength = _number(0.532, 0.2, 2, "Wavelength of the light, µm; for white light 0.55")
        self.index = _number(1.0, 1, 2, "Refractive index in front of the objective: air 1.0, water 1.33, oil 1.515")
        self.invert = QCheckBox("Planes are in the opposite order")
        self.invert.setToolTip("Tick this if cells come out dark")
        self.problem = words()
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        rows = (("Name", self.name), ("NA of the objective", self.na), ("NA of the illumination", self.condenser_na))
        more = (("Wavelength (µm)", self.wavelength), ("Refractive index", self.index), ("", self.invert))
        top = QVBoxLayout(self)
        top.addWidget(words("Phase is made from brightfield planes with the optics of the microscope. They are asked once."))
        top.addLayout(form_rows((*rows, *more)))
        top.addWidget(self.problem)
        top.addWidget(buttons)

    def accept(self) -> None:
        """Keep the optics, unless they are impossible."""
        try:
            optics = Microscope(self.na.value(), self.condenser_na.value(), self.wavelength.value(), self.index.value())
            if name := self.name.text().strip():
                save_microscope(name, optics)
        except (InputError, WriteError) as error:
            self.problem.setText(str(error))
            return
        self.settings = PhaseSettings(optics, invert=self.invert.isChecked())
        super().accept()


def _number(value: float, least: float, most: float, tip: str) -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setDecimals(3)
    box.setSingleStep(0.05)
    box.setRange(least, most)
    box.setValue(value)
    box.setToolTip(tip)
    return box
