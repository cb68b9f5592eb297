"""The widgets of the Cells dock: the choices, the pictures, the distance meter and the tabs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QKeySequence, QPainter, QPalette, QPixmap, QShortcut
from qtpy.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSizePolicy,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_virtual_paint._napari.cells.cell_list import CellList
from napari_virtual_paint._napari.cells.map import CellMap
from napari_virtual_paint._napari.cells.picture import CellPicture, layer_colours
from napari_virtual_paint._napari.cells.sliders import Sliders
from napari_virtual_paint._napari.cells.state import CellsState
from napari_virtual_paint._napari.cells.walk import WalkPanel
from napari_virtual_paint._napari.shared.background import Debounced
from napari_virtual_paint._napari.shared.form_binding import KEEP, Binding, BoundForm
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.widgets import button_grid, combo, fill_scrolled, footer, form_rows, legible, push_button, row

if TYPE_CHECKING:
    from napari_virtual_paint.cells.populations.population import Distance, Level

COLOURS: dict[Level, QColor] = {"real": QColor(60, 170, 110), "rare": QColor(255, 170, 30), "beyond": QColor(235, 70, 60)}
LEVELS: dict[Level, str] = {"real": "like real cells", "rare": "rare among real cells", "beyond": "beyond the real cells"}
GAUGES = ("Mahalanobis", "Neighbor")
GAP = 8  # pixels between the two gauges
OBEYS = 0.5  # share of the change asked for below which a picture does not obey: the meter turns amber
TYPING = 150  # milliseconds after the last letter before features are searched
KEYS = {"undo": "Ctrl+Z", "redo": "Ctrl+Shift+Z", "find": "Ctrl+F"}  # shortcuts while the dock has the focus


class Meter(QWidget):  # type: ignore[misc]
    """Two gauges from 0 to 100 %: distance by the population's covariance, and from the nearest real cell.

    Attributes
    ----------
    distance
        The distance shown; None shows empty gauges.
    gain
        Share of the change asked for that is measured in the picture; NaN while it is not known.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.distance: Distance | None = None
        self.gain = math.nan
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Distance from real cells")
        self.show_distance(None)

    @property
    def level(self) -> Level | None:
        """The level that the colour shows: a cell like real ones is at best rare (amber) where its picture does not obey."""
        if self.distance is None:
            return None
        return "rare" if self.distance.level == "real" and self.gain < OBEYS else self.distance.level

    @property
    def words(self) -> str:
        """The line below the gauges."""
        if self.distance is None:
            return ""
        words = LEVELS[self.distance.level].capitalize()
        return f"{words}; drawn: {max(0.0, 100 * self.gain):.0f} % of the change" if self.gain < OBEYS else words

    @timed
    def show_distance(self, distance: Distance | None) -> None:
        """Show a distance."""
        self.distance = distance
        self.setToolTip(_tip(distance, self.gain))
        self.update()

    def show_gain(self, gain: float) -> None:
        """Show how much of the change asked for the picture shows; NaN while it is not known."""
        self.gain = gain
        self.setToolTip(_tip(self.distance, gain))
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        return QSize(240, 2 * self.fontMetrics().height() + 12)

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        words = max(self.fontMetrics().horizontalAdvance(f"{name} 100 %") for name in GAUGES)
        return QSize(2 * words + GAP, self.sizeHint().height())

    @timed
    def paintEvent(self, event: Any) -> None:  # noqa: N802
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        height, found = self.fontMetrics().height(), self.distance
        gauge = (self.width() - GAP) / 2
        shares = (0.0, 0.0) if found is None else (found.mahalanobis_percentile, found.neighbour_percentile)
        colour = QColor(ink.red(), ink.green(), ink.blue(), 60) if self.level is None else COLOURS[self.level]
        for place, (name, share) in enumerate(zip(GAUGES, shares, strict=True)):
            left = place * (gauge + GAP)
            painter.setPen(ink)
            words = name if found is None else f"{name} {share:.0f} %"
            painter.drawText(QRectF(left, 0, gauge, height), int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter), words)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(ink.red(), ink.green(), ink.blue(), 50))
            painter.drawRoundedRect(QRectF(left, height + 2, gauge, 6), 3, 3)
            painter.setBrush(colour)
            painter.drawRoundedRect(QRectF(left, height + 2, max(3.0, gauge * share / 100), 6), 3, 3)
        if found is not None:
            painter.setPen(legible(colour, self.palette()))
            below = QRectF(0, height + 10, self.width(), height)
            words = self.fontMetrics().elidedText(self.words, Qt.TextElideMode.ElideRight, self.width())
            painter.drawText(below, int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter), words)
        painter.end()


def _tip(distance: Distance | None, gain: float) -> str:
    if distance is None:
        return "How far the requested cell is from real ones"
    drawn = (
        "" if math.isnan(gain) else f"\nThe picture shows {max(0.0, 100 * gain):.0f} % of the change asked for, by what is measured in it."
    )
    return (
        f"The requested cell is {LEVELS[distance.level]}.\n"
        f"Mahalanobis distance {distance.mahalanobis:.1f} SD: {distance.mahalanobis_percentile:.0f} % of real cells lie nearer the mean.\n"
        f"Nearest real cell {distance.neighbour:.2f} SD a feature: {distance.neighbour_percentile:.0f} % of real cells have a nearer one."
        f"{drawn}"
    )


class _Tabs(QTabWidget):  # type: ignore[misc]
    """Tabs that get by with the least height of the one that is shown, so that its list scrolls instead of the dock."""

    def __init__(self) -> None:
        super().__init__()
        self.setDocumentMode(True)
        self.currentChanged.connect(self._fit)

    def hasHeightForWidth(self) -> bool:  # noqa: N802 - Qt's name
        """Return False: where a text wraps, Qt would give the tabs the height that they like, not the least."""
        return False

    def tabInserted(self, index: int) -> None:  # noqa: N802
        super().tabInserted(index)
        self._fit(self.currentIndex())

    def _fit(self, current: int) -> None:
        for index in range(self.count()):
            policy = QSizePolicy.Policy.Preferred if index == current else QSizePolicy.Policy.Ignored
            self.widget(index).setSizePolicy(QSizePolicy.Policy.Preferred, policy)


class CellsPanel(BoundForm[CellsState]):
    """Shows and edits a `CellsState`, and holds the other widgets of the dock."""

    searched = Signal()
    """The text to search for has come to rest."""
    _channel_toggled = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.model, self.table = combo("The cell model that generates"), combo("The real cells to begin with")
        self.open_model = push_button("Open…", "Open a cell model's package from disk")
        self.open_table = push_button("Open…", "Open a table of cells: Parquet, CSV or SQLite as CellProfiler and CytoTable write them")
        self.picture = CellPicture()
        self.channels = QHBoxLayout()
        self.difference = _toggle("Difference", "Show generated minus real: orange where brighter, blue where darker")
        self.send = push_button("To viewer", "Add the generated cell to the viewer: a layer per channel, with pixel size")
        self.meter = Meter()
        self.find = QLineEdit()
        self.changed_only = _toggle("Moved", "Show only the features that differ from the picked cell")
        self.sliders = Sliders()
        self.follow = QCheckBox("Follow the population")
        self.undo, self.redo = push_button("Undo", "Undo the last change"), push_button("Redo", "Do it again")
        self.reset = push_button("Reset all", "Go back to the picked cell (double-click a feature to reset it alone)")
        self.gallery = push_button("Gallery…", "")
        self.measured = QLabel()
        self.cells, self.walk, self.map = CellList(), WalkPanel(), CellMap()
        self.tabs = _Tabs()
        self.status = QLabel()
        self._channel_buttons: dict[str, QPushButton] = {}
        self._typing = Debounced(TYPING, self.searched.emit, self)
        self._lay_out()
        self._add_shortcuts()
        self.find.textChanged.connect(lambda _: self._typing.start())
        hidden = Binding(None, self._hidden, self._hide, (self._channel_toggled,))
        table = {"model": self.model, "table": self.table, "follow": self.follow, "difference": self.difference, "hidden": hidden}
        self.bind(CellsState(), table)

    def set_channels(self, names: Sequence[str]) -> None:
        """Offer a button for each channel, in its colour."""
        for button in self._channel_buttons.values():
            self.channels.removeWidget(button)
            button.hide()
            button.deleteLater()
        self._channel_buttons = {}
        for name, colour in zip(names, layer_colours(tuple(names)), strict=True):
            button = _toggle(name, f"Show {name}")
            button.setIcon(_dot(colour))
            button.setChecked(name not in self.value().hidden)
            button.toggled.connect(self._channel_toggled)
            self.channels.addWidget(button, 1)
            self._channel_buttons[name] = button

    def shown_channels(self) -> tuple[bool, ...]:
        """Return which channels are on."""
        return tuple(button.isChecked() for button in self._channel_buttons.values())

    def set_status(self, text: str) -> None:
        """Show what the dock is doing, or nothing."""
        self.status.setText(text)
        self.status.setVisible(bool(text))

    def set_ready(self, ready: bool) -> None:
        """Enable what needs a cell."""
        for widget in (self.tabs, self.send, self.difference, self.picture, self.meter):
            widget.setEnabled(ready)

    def _hidden(self) -> Any:
        """Return the channels that are switched off; those of other models stay so."""
        buttons = self._channel_buttons
        others = tuple(name for name in self.value().hidden if name not in buttons)
        return (*others, *(name for name, button in buttons.items() if not button.isChecked())) if buttons else KEEP

    def _hide(self, names: Sequence[str]) -> None:
        for name, button in self._channel_buttons.items():
            button.setChecked(name not in names)

    def _lay_out(self) -> None:
        form = form_rows((("Model", row(self.model, self.open_model)), ("Cells", row(self.table, self.open_table))))
        self.channels.setSpacing(3)
        looks = QHBoxLayout()
        looks.setSpacing(4)
        looks.addWidget(self.meter, 1)
        looks.addWidget(self.difference)
        self.tabs.addTab(self._features(), "Features")
        for widget, text in ((self.cells, "Cells"), (self.walk, "Walk"), (self.map, "Map")):
            self.tabs.addTab(widget, text)
        self.status.setWordWrap(True)
        self.status.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        inner = QWidget()
        top = QVBoxLayout(inner)
        top.setContentsMargins(0, 0, 4, 0)
        top.setSpacing(4)
        top.addLayout(form)
        top.addWidget(self.picture)
        top.addLayout(self.channels)
        top.addLayout(looks)
        top.addWidget(self.tabs, 1)
        self.footer = footer(self.status, button_grid((self.undo, self.redo, self.reset, self.gallery, self.send), 3))
        fill_scrolled(self, inner, self.footer)

    def _features(self) -> QWidget:
        self.find.setPlaceholderText("Search, as: nuclei texture DNA")
        self.find.setClearButtonEnabled(True)
        self.find.setAccessibleName("Search features")
        self.follow.setToolTip("Moving a feature carries the others to where real cells like this would have them (conditional mean)")
        self.gallery.setToolTip(
            "Sweep several features over the population's percentiles, as one figure: those selected below (Ctrl+click), "
            "else those moved, else areas, orientation and intensity"
        )
        self.measured.setWordWrap(True)
        self.measured.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.measured.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.measured.setContentsMargins(0, 4, 0, 0)
        # Two lines, also while it is empty: the pictures must not jump when it gets its words.
        self.measured.setMinimumHeight(2 * self.measured.fontMetrics().lineSpacing() + 4)
        self.measured.setToolTip("The features of the generated picture, measured with cp_measure: the orange triangles and numbers")
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(2, 6, 2, 2)
        column.setSpacing(4)
        search = QHBoxLayout()
        search.addWidget(self.find, 1)
        search.addWidget(self.changed_only)
        column.addWidget(self.follow)
        column.addLayout(search)
        column.addWidget(self.sliders, 1)
        column.addWidget(self.measured)
        return page

    def _add_shortcuts(self) -> None:
        for name, act in (("undo", self.undo.click), ("redo", self.redo.click), ("find", self._go_to_search)):
            shortcut = QShortcut(QKeySequence(KEYS[name]), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(act)
        for button, name in ((self.undo, "undo"), (self.redo, "redo")):
            keys = QKeySequence(KEYS[name]).toString(QKeySequence.SequenceFormat.NativeText)
            button.setToolTip(f"{button.toolTip()} ({keys})")

    def _go_to_search(self) -> None:
        self.tabs.setCurrentIndex(0)
        self.find.setFocus()


def _toggle(text: str, tip: str) -> QPushButton:
    """Return a button that stays pressed."""
    button = push_button(text, tip)
    button.setCheckable(True)
    return button


def _dot(colour: tuple[float, float, float]) -> QIcon:
    dot = QPixmap(10, 10)
    dot.fill(QColor.fromRgbF(*colour))
    return QIcon(dot)
