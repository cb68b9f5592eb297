"""Show one stain of the viewer or all, from any dock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary, ref

from napari.utils.colormaps import ensure_colormap
from qtpy.QtCore import QObject, QSignalBlocker, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QKeySequence, QPainter, QPixmap, QShortcut
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_virtual_paint._napari.shared.background import Debounced
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.viewer.layer_list import BURST, follow_layers
from napari_virtual_paint._napari.shared.viewer.layer_pairs import comparable, facts_of, stain_name
from napari_virtual_paint._napari.shared.viewer.proxy import unwrapped
from napari_virtual_paint._napari.shared.viewer.view_state import one_redraw, set_appearance
from napari_virtual_paint.channel_colors import ALONE, is_transmitted
from napari_virtual_paint.stain_names import default_synonyms

MOST = 8  # stains that get a button
LONGEST = 16  # letters of a stain's name that its button shows
WIDEST = 330  # pixels of a row of buttons: five stains of Cell Painting and all
GAP = 3  # pixels between buttons
DOT = 10  # pixels across a button's dot of color
KEY = "Ctrl+Alt+S"  # shows the next stain

_VIEWS: WeakKeyDictionary[Any, StainView] = WeakKeyDictionary()


def stain_view(viewer: Any) -> StainView:
    """Return the one `StainView` of a viewer."""
    viewer = unwrapped(viewer)
    if viewer not in _VIEWS:
        _VIEWS[viewer] = StainView(viewer)
    return _VIEWS[viewer]


def stains_in(viewer: Any) -> dict[str, list[Any]]:
    """Return the stains in a viewer, each with its layers (true, predicted, previewed), in the order of the layer list."""
    found: dict[str, list[Any]] = {}
    for layer in comparable(viewer):
        name = stain_name(facts_of(layer))
        if layer.blending == "additive" and not is_transmitted(name):
            found.setdefault(default_synonyms().stain_of(name) or name, []).append(layer)
    return found


def shown_word(stain: str, layers: Sequence[Any]) -> str:
    """Return the layers' own word for a stain (``DAPI``) where they agree on one, else the stain's name."""
    own = {stain_name(facts_of(layer)) for layer in layers}
    return own.pop() if len(own) == 1 else stain


class StainView(QObject):  # type: ignore[misc]
    """Shows one stain at a time at full strength, or all that were shown before as they were.

    Attributes
    ----------
    only
        The stain that is shown; empty while all are.
    """

    changed = Signal()
    """Another stain is shown, or all are."""

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self.only = ""
        self._viewer_ref = ref(viewer)
        self._before: dict[Any, dict[str, Any]] = {}
        viewer.layers.events.inserted.connect(self._layer_added)

    @property
    def _viewer(self) -> Any:
        return self._viewer_ref()

    @timed
    def show_only(self, stain: str) -> None:
        """Show a stain of those that are shown, or of the hidden ones if all of its layers are."""
        stains = stains_in(self._viewer)
        if stain not in stains:
            return
        if not self.only:
            layers = [layer for each in stains.values() for layer in each]
            self._before = {layer: {name: getattr(layer, name) for name in ("visible", *ALONE._fields)} for layer in layers}
        shown = [layer for layer in stains[stain] if self._before.get(layer, {}).get("visible", True)] or stains[stain][-1:]
        with one_redraw(self._viewer):
            for layers in stains.values():
                for layer in layers:
                    set_appearance(layer, {"visible": layer in shown, **ALONE._asdict()} if layer in shown else {"visible": False})
        self.only = stain
        self.changed.emit()

    @timed
    def show_all(self) -> None:
        """Bring back what was shown before one stain was chosen; where that was nothing, show a layer of each stain."""
        stains = stains_in(self._viewer)
        before, self._before, self.only = self._before, {}, ""
        with one_redraw(self._viewer):
            for layer, look in before.items():
                if layer in self._viewer.layers:
                    set_appearance(layer, look)
            if not any(layer.visible for layers in stains.values() for layer in layers):
                for layers in stains.values():
                    layers[-1].visible = True
        self.changed.emit()

    def show_next(self) -> None:
        """Show the next stain, after the last one all."""
        names = list(stains_in(self._viewer))
        place = names.index(self.only) + 1 if self.only in names else 0
        if place < len(names):
            self.show_only(names[place])
        elif self.only:
            self.show_all()

    def _layer_added(self, event: Any = None) -> None:
        """End the view of one stain when another layer comes: what is shown stays so, with its own strength."""
        if not self.only:
            return
        before, self._before, self.only = self._before, {}, ""
        for layer, look in before.items():
            if layer in self._viewer.layers:
                set_appearance(layer, {name: look[name] for name in ALONE._fields})
        self.changed.emit()


class StainButtons(QWidget):  # type: ignore[misc]
    """Buttons: a stain each, and all, in as many rows as a dock needs for them. Hidden where there are fewer than two stains."""

    def __init__(self, viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.buttons: dict[str, QPushButton] = {}
        self._labels: dict[str, str] = {}
        self._viewer = viewer
        self._view = stain_view(viewer)
        self._rows = QVBoxLayout(self)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setSpacing(GAP)
        self.all = _button("All", f"Show all stains together; {KEY} shows the next stain alone")
        self.all.clicked.connect(lambda _checked: self._view.show_all())
        shortcut = QShortcut(QKeySequence(KEY), self, context=Qt.ShortcutContext.WindowShortcut)
        shortcut.activated.connect(self._view.show_next)
        shortcut.activatedAmbiguously.connect(self._view.show_next)  # where two docks show this row, each of them in turn
        self._relist = Debounced(BURST, self._list, self)
        self._view.changed.connect(self._press)
        follow_layers(viewer, self._layers_changed)
        self._list()

    def _layers_changed(self, event: Any = None) -> None:
        self._relist.start()

    @timed
    def _list(self) -> None:
        """Offer the stains that there are now."""
        stains = stains_in(self._viewer)
        names = list(stains)[:MOST]
        labels = {name: shown_word(name, stains[name]) for name in names}
        if list(labels.items()) != list(self._labels.items()):
            self._labels = labels
            for old in self.buttons.values():
                old.hide()
                old.deleteLater()
            self.buttons = {name: self._button(name, stains[name][-1]) for name in names}
            self._arrange()
        self.setVisible(len(names) > 1)
        self._press()

    def _arrange(self) -> None:
        """Fill rows no wider than a dock."""
        while self._rows.count():
            row = self._rows.takeAt(0).layout()
            while row.count():
                row.takeAt(0)
            row.deleteLater()
        left = 0
        for each in (*self.buttons.values(), self.all):
            needed = each.sizeHint().width() + GAP
            if needed > left:
                row = QHBoxLayout()
                row.setSpacing(GAP)
                self._rows.addLayout(row)
                left = WIDEST
            left -= needed
            row.addWidget(each, 0 if each is self.all else 1)

    def _button(self, name: str, layer: Any) -> QPushButton:
        label = self._labels[name]
        made = _button(label if len(label) <= LONGEST else f"{label[: LONGEST - 1]}…", f"Show {label} alone; again to show all stains")
        made.setIcon(_dot(layer))
        made.clicked.connect(lambda checked: self._view.show_only(name) if checked else self._view.show_all())
        return made

    def _press(self) -> None:
        """Press the button of what is shown."""
        for name, each in (*self.buttons.items(), ("", self.all)):
            blocker = QSignalBlocker(each)
            each.setChecked(self._view.only == name)
            del blocker


def _button(text: str, tip: str) -> QPushButton:
    made = QPushButton(text)
    made.setCheckable(True)
    made.setToolTip(tip)
    made.setStyleSheet("padding: 3px 4px")
    made.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
    return made


def _dot(layer: Any) -> QIcon:
    """Return a dot in a layer's brightest color."""
    red, green, blue = (int(255 * value) for value in ensure_colormap(layer.colormap).colors[-1][:3])
    picture = QPixmap(DOT, DOT)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(red, green, blue))
    painter.drawEllipse(0, 0, DOT, DOT)
    painter.end()
    return QIcon(picture)
