"""The widgets of the Cells dock: the choices, the pictures, the meter of trust and the tabs."""

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
from napari_virtual_paint._napari.cells.group import GroupPanel
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
    from napari_virtual_paint.cells.populations.population import Distance, Level, Trust

COLOURS: dict[Level, QColor] = {"real": QColor(60, 170, 110), "rare": QColor(255, 170, 30), "beyond": QColor(235, 70, 60)}
LEVELS: dict[Level, str] = {"real": "like real cells", "rare": "rare among real cells", "beyond": "beyond the real cells"}
BAR = 7  # pixels of the meter's bar
TYPING = 150  # milliseconds after the last letter before features are searched
KEYS = {"undo": "Ctrl+Z", "redo": "Ctrl+Shift+Z", "find": "Ctrl+F"}  # shortcuts while the dock has the focus


class Meter(QWidget):  # type: ignore[misc]
    """How far the generated cell can be trusted: a bar from 0 to 100 %, and a sentence that names what is low.

    Attributes
    ----------
    distance
        The vector's distance from real cells; None shows an empty bar.
    gain
        Share of the change asked for that is measured in the picture; NaN while it is not known.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.distance: Distance | None = None
        self.gain = math.nan
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Trust in the generated cell")
        self.show_distance(None)

    @property
    def trust(self) -> Trust | None:
        """The trust that is shown."""
        from napari_virtual_paint.cells.populations.population import Trust

        return None if self.distance is None else Trust(self.distance, self.gain)

    @property
    def level(self) -> Level | None:
        """The level that the colour shows."""
        return None if self.trust is None else self.trust.level

    @property
    def words(self) -> str:
        """The sentence above the bar."""
        trust = self.trust
        if trust is None:
            return ""
        words = LEVELS[trust.distance.level].capitalize()
        if trust.low in ("picture", "both"):
            return f"{words}; the picture shows {_percent(self.gain)} of the change"
        return words if math.isnan(self.gain) else f"{words}; the picture obeys"

    @timed
    def show_distance(self, distance: Distance | None) -> None:
        """Show a distance."""
        self.distance = distance
        self.setToolTip(self._tip())
        self.update()

    def show_gain(self, gain: float) -> None:
        """Show how much of the change asked for the picture shows; NaN while it is not known."""
        self.gain = gain
        self.setToolTip(self._tip())
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        return QSize(240, 2 * self.fontMetrics().lineSpacing() + BAR + 6)

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        return QSize(self.fontMetrics().horizontalAdvance("beyond the real cells; 100 %"), self.sizeHint().height())

    @timed
    def paintEvent(self, event: Any) -> None:  # noqa: N802
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        trust, lines = self.trust, 2 * self.fontMetrics().lineSpacing()
        colour = QColor(ink.red(), ink.green(), ink.blue(), 60) if trust is None else COLOURS[trust.level]
        number = self.fontMetrics().horizontalAdvance("100 %") + 6
        track = QRectF(0, lines + 4, self.width() - number, BAR)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(ink.red(), ink.green(), ink.blue(), 50))
        painter.drawRoundedRect(track, 3, 3)
        painter.setPen(ink)
        if trust is None:
            painter.drawText(QRectF(0, 0, self.width(), lines), int(Qt.AlignmentFlag.AlignBottom), "Trust")
            painter.end()
            return
        place = QRectF(track.right(), track.center().y() - lines / 2, number, lines)
        painter.drawText(place, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), f"{trust.value:.0f} %")
        painter.setPen(legible(colour, self.palette()))
        painter.drawText(QRectF(0, 0, self.width(), lines), int(Qt.AlignmentFlag.AlignBottom | Qt.TextFlag.TextWordWrap), self.words)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(colour)
        painter.drawRoundedRect(QRectF(track.left(), track.top(), max(3.0, track.width() * trust.value / 100), BAR), 3, 3)
        painter.end()

    def _tip(self) -> str:
        trust = self.trust
        if trust is None:
            return "How far the generated cell can be trusted: how common its features are among real cells, and how well the picture obeys"
        distance = trust.distance
        drawn = "nothing was moved, or it is not measured yet" if math.isnan(self.gain) else f"{_percent(self.gain)} of what was asked for"
        return (
            f"Trust {trust.value:.0f} %: lower the rarer the requested cell is, and the worse the picture obeys.\n"
            f"The requested cell is {LEVELS[distance.level]}.\n"
            f"Mahalanobis distance {distance.mahalanobis:.1f} SD: {distance.mahalanobis_percentile:.0f} % of real cells lie nearer the "
            f"mean.\nNearest real cell {distance.neighbour:.2f} SD a feature: {distance.neighbour_percentile:.0f} % of real cells have a "
            f"nearer one.\nChange measured in the picture: {drawn}."
        )


def _percent(gain: float) -> str:
    return f"{max(0.0, 100 * gain):.0f} %"


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
        self.train = push_button("Train…", "Train a model on my table: CellProfiler's output and its pictures")
        self.offer = push_button("Train a model on this table…", "The table has other features than the model: train one that takes them")
        self.open_table = push_button("Open…", "Open a table of cells: Parquet, CSV or SQLite as CellProfiler and CytoTable write them")
        self.picture = CellPicture()
        self.channels = QHBoxLayout()
        self.difference = _toggle("Difference", "Show generated minus real: orange where brighter, blue where darker")
        self.send = push_button("To viewer", "Add the generated cell to the viewer: a layer per channel, with pixel size")
        self.another = push_button("Another cell", "")
        self.meter = Meter()
        self.find = QLineEdit()
        self.changed_only = _toggle("Moved", "Show only the features that differ from the picked cell")
        self.sliders = Sliders()
        self.follow = QCheckBox("Follow the population")
        self.undo, self.redo = push_button("Undo", "Undo the last change"), push_button("Redo", "Do it again")
        self.reset = push_button("Reset all", "Go back to the picked cell (double-click a feature to reset it alone)")
        self.gallery = push_button("Gallery…", "")
        self.measured = QLabel()
        self.cells, self.group, self.walk, self.map = CellList(), GroupPanel(), WalkPanel(), CellMap()
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
        for widget in (self.tabs, self.send, self.difference, self.picture, self.meter, self.gallery):
            widget.setEnabled(ready)
        if not ready:
            self.set_noise(False)

    def set_noise(self, takes_noise: bool) -> None:
        """Offer another cell with the same features, where the model can draw one."""
        self.another.setEnabled(takes_noise)
        self.another.setToolTip(
            "Generate another cell with the same features: what they leave open is drawn anew, by the next seed"
            if takes_noise
            else "This model takes no noise: the same features always give the same picture"
        )
        self.picture.set_seed(self.value().seed if takes_noise else None)

    def _hidden(self) -> Any:
        """Return the channels that are switched off; those of other models stay so."""
        buttons = self._channel_buttons
        others = tuple(name for name in self.value().hidden if name not in buttons)
        return (*others, *(name for name, button in buttons.items() if not button.isChecked())) if buttons else KEEP

    def _hide(self, names: Sequence[str]) -> None:
        for name, button in self._channel_buttons.items():
            button.setChecked(name not in names)

    def _lay_out(self) -> None:
        form = form_rows((("Model", row(self.model, self.open_model, self.train)), ("Cells", row(self.table, self.open_table))))
        self.channels.setSpacing(3)
        looks = QHBoxLayout()
        looks.setSpacing(4)
        looks.addWidget(self.meter, 1)
        looks.addWidget(self.difference)
        self.tabs.addTab(self._features(), "Features")
        for widget, text in ((self.cells, "Cells"), (self.group, "Group"), (self.walk, "Walk"), (self.map, "Map")):
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
        self.offer.hide()
        self.footer = footer(
            self.status, self.offer, button_grid((self.undo, self.redo, self.reset, self.another, self.gallery, self.send), 3)
        )
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
