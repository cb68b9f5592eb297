"""The Plate dock: the map of wells, the open field, and the painting of the whole plate."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import napari.viewer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QVBoxLayout, QWidget

from napari_virtual_paint._napari.plate.field_browsing import FieldBrowser
from napari_virtual_paint._napari.plate.paint_controller import PaintController
from napari_virtual_paint._napari.plate.paint_queue import PaintQueue
from napari_virtual_paint._napari.plate.panel import PlatePanel
from napari_virtual_paint._napari.plate.session import PlateSession
from napari_virtual_paint._napari.plate.state import PlateState, recent
from napari_virtual_paint._napari.plate.well_suggestion import WellSuggestions
from napari_virtual_paint._napari.shared.background import Debounced, LatestJob
from napari_virtual_paint._napari.shared.closing import Closing
from napari_virtual_paint._napari.shared.dock_area import join_tabs
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.progress import JobProgress
from napari_virtual_paint._napari.shared.viewer.layer_list import guard_removals
from napari_virtual_paint._napari.shared.viewer.stain_view import StainButtons
from napari_virtual_paint._napari.shared.widgets import fill_height, link
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.plates.view.colouring import STATE_COLUMN, ColourKey, Shading, columns_of, shade
from napari_virtual_paint.runtime.progress import Progress, time_left
from napari_virtual_paint.runtime.text import counted

PACE = 250  # milliseconds between two drawings of the map while a plate is painted, at least
MOST_OFFERED = 24  # plates of one path that are offered
TABLES = (".csv", ".tsv", ".txt", ".parquet")
FILES = "Plates (*.xml *.XML *.HTD *.htd *.mlf *.MLF *.mrf *.MRF *.xdce *.XDCE *.jdce *.JDCE *.csv *.tsv *.parquet);;All files (*)"


class PlateDock(QWidget):  # type: ignore[misc]
    """The Plate dock.

    Parameters
    ----------
    viewer
        The viewer that shows the fields.

    Attributes
    ----------
    view
        Its widgets.
    session
        Its state, the open plate and what is painted of it.
    browsing
        Controller of the fields that are shown.
    painting
        Controller of the form and the queue that paint.
    suggestions
        Controller of the button that suggests wells to stain.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        guard_removals(viewer)
        join_tabs(self, "Plate")
        self.view = PlatePanel(StainButtons(viewer))
        self.queue = PaintQueue()  # without a parent: it must outlive the dock until its painting has stopped
        self.session = PlateSession(self.queue, self)
        self.browsing = FieldBrowser(self.session, self.view, viewer, self)
        self.painting = PaintController(self.session, self.view, self)
        self.suggestions = WellSuggestions(self.session, self.view, self)
        self._offered: tuple[str, tuple[str, ...]] = ("", ())  # a path that holds several plates, and their names
        self._colouring, self._sampling = LatestJob(self), LatestJob(self)
        self._colour_soon = Debounced(PACE, self._colour_again, self)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.addWidget(self.view)
        fill_height(self)
        self._connect()
        self.setAcceptDrops(True)
        self._closing = Closing(self, self.browsing.leave_side_by_side)
        self.destroyed.connect(self.queue.close)

    def value(self) -> PlateState:
        """Return the state."""
        return self.session.state

    def setValue(self, state: PlateState) -> None:  # noqa: N802 - Qt's own way of naming
        """Apply another state; another plate or plate map is opened in the background."""
        self.session.update(state)

    def choose(self, **changes: Any) -> None:
        """Change some of the state, as in ``choose(column="pcc_DNA", workers=2)``."""
        self.setValue(replace(self.value(), **changes))

    @property
    def plate(self) -> Plate | None:
        """The open plate."""
        return self.session.plate

    @property
    def busy(self) -> bool:
        """Whether something is being opened, read or drawn; painting is not included, see ``queue.busy``."""
        drawing = self._colouring.running or self._colour_soon.isActive() or self.browsing.busy
        return (
            drawing
            or self.suggestions.busy
            or self.session.busy
            or self.painting.channels.busy
            or self.painting.choice.busy
            or self._sampling.running
        )

    def open_plate(self, path: str | Path, plate_map: str | Path = "", output: str | Path = "", plate: str = "") -> None:
        """Open a plate in the background.

        Parameters
        ----------
        path
            As in `plates.opening.open_plate`; or the output of a painting, which opens the plate that it is painted from.
        plate_map
            A table of what is in the wells.
        plate
            Name of the plate, where the path holds several; without it they are listed as links.
        """
        self.session.open(replace(self.value(), path=str(path), plate=plate, plate_map=str(plate_map), output=str(output)))

    def join_map(self, path: str | Path) -> None:
        """Join a table of what is in the wells to the open plate."""
        if self.value().path:
            self.session.open(replace(self.value(), plate_map=str(path)))

    def open_sample(self) -> None:
        """Make the sample plate in the background, where that is not done yet, and open it."""
        if self._sampling.running:
            return
        self.view.title.setText("Making the sample plate…")
        self._sampling.start(
            _sample_plate,
            title="Making the sample plate",
            tick=self._show_sampling,
            done=self.open_plate,
            failed=lambda _: self._show_title(),
            cancelled=self._show_title,
            quiet=False,
        )

    def _show_sampling(self, progress: JobProgress) -> None:
        parts = (f"{progress.message or 'Making the sample plate'}… {100 * progress.fraction:.0f} %", time_left(progress.seconds_left))
        self.view.title.setText(", ".join(part for part in parts if part))

    def reload_models(self) -> None:
        """List the models anew, in the background: some were added, renamed or deleted."""
        self.session.list_models()

    def dragEnterEvent(self, event: Any) -> None:  # noqa: N802
        """Accept files and folders."""
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: Any) -> None:  # noqa: N802
        """Open the plate that was dropped; a table dropped onto an open plate is joined to it."""
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        if not paths:
            return
        event.acceptProposedAction()
        path = paths[0]
        if self.plate is not None and path.suffix.casefold() in TABLES and not _lists_images(path):
            self.join_map(path)
        else:
            self.open_plate(path)

    def shut(self) -> None:
        """Stop all work."""
        self.queue.close()
        self.suggestions.close()
        self._sampling.close()
        self.session.close()
        self.browsing.stop()

    def _connect(self) -> None:
        view, session = self.view, self.session
        view.menu.aboutToShow.connect(self._fill_menu)
        view.welcome.add_actions(
            ("Open a folder…", "Open a plate that is a folder: of a microscope, an OME-Zarr, or one that was painted", self._choose_folder),
            ("Open a file…", "Open a plate by its index: a microscope's file, or a table of images", self._choose_file),
        )
        view.column.currentIndexChanged.connect(lambda _: self.choose(column=view.column.currentData() or STATE_COLUMN))
        session.opening.connect(lambda name: view.title.setText(f"Opening {escape(name)}…"))
        session.not_opened.connect(self._show_title)
        session.several_plates.connect(self._offer_plates)
        view.title.setTextInteractionFlags(view.title.textInteractionFlags() | Qt.TextInteractionFlag.LinksAccessibleByMouse)
        view.title.linkActivated.connect(self._open_offered)
        session.plate_opened.connect(self._plate_opened)
        session.state_changed.connect(lambda before: self._colour() if before.column != session.state.column else None)
        session.painted_changed.connect(self._start_colouring)
        session.field_changed.connect(self._start_colouring)

    # -- the plate ----------------------------------------------------------------------------------------------------

    def _plate_opened(self, again: bool) -> None:
        plate, view = self.plate, self.view
        if plate is not None:
            view.map.set_plate(plate)
            view.form.setWells(len(plate.wells), 0)
            if not again and not self.queue.busy:
                view.form.setStatus("")  # that of the plate before
            for button in (view.previous, view.next):
                button.setEnabled(True)
            self._show_title()
            self._colour()

    def _show_title(self) -> None:
        plate, title = self.plate, self.view.title
        self.view.welcome.setVisible(plate is None)
        if plate is None:
            title.setText("")
            return
        several = f" · {len(plate.acquisitions)} acquisitions" if len(plate.acquisitions) > 1 else ""
        warn = " ⚠" if plate.notes else ""
        size = f"{counted(len(plate.wells), 'well')} · {counted(len(plate.fields), 'field')}"
        title.setText(f"<b>{escape(plate.name)}</b> · {size}{several}{warn}")
        title.setToolTip("\n".join([plate.source, f"Layout: {plate.layout}", *plate.notes]))

    def _offer_plates(self, path: str, names: tuple[str, ...]) -> None:
        """List the plates that a path holds, each a link that opens it."""
        self._offered = (path, names)
        title = self.view.title
        links = "<br>".join(link(str(number), name, title) for number, name in enumerate(names[:MOST_OFFERED]))
        more = "<br>…" if len(names) > MOST_OFFERED else ""
        still = f"<br>Until then {escape(self.plate.name)} stays open." if self.plate is not None else ""
        title.setText(f"<b>{escape(Path(path).name)}</b> holds {len(names)} plates. Choose one:<br>{links}{more}{still}")
        title.setToolTip(path)

    def _open_offered(self, number: str) -> None:
        path, names = self._offered
        self.open_plate(path, plate=names[int(number)])

    def _fill_menu(self) -> None:
        menu, paths = self.view.menu, recent()
        menu.clear()
        menu.addAction("Plate folder…", self._choose_folder)
        menu.addAction("Plate file…", self._choose_file)
        menu.addAction("Plate map…", self._choose_map).setEnabled(self.plate is not None)
        if paths:
            menu.addSeparator()
        for path in paths:
            menu.addAction(Path(path).name, partial(self.open_plate, path)).setToolTip(path)
        menu.setToolTipsVisible(True)

    def _choose_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Open a plate (or a painted one, to continue it)")
        if path:
            self.open_plate(path)

    def _choose_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open a plate", "", FILES)
        if path:
            self.open_plate(path)

    def _choose_map(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Join a plate map", "", "Tables (*.csv *.tsv *.txt *.parquet)")
        if path:
            self.join_map(path)

    # -- the map's colours --------------------------------------------------------------------------------------------

    def _start_colouring(self, _key: str = "") -> None:
        """Colour the map soon: a plate that is painted reports a field more often than the map can follow."""
        self._colour_soon.start_unless_active()

    def _colour_again(self) -> None:
        # A newer job would supersede the one that runs, and on a large plate none would ever come to its end.
        if self._colouring.running:
            self._colour_soon.start()
        else:
            self._colour()

    @timed
    def _colour(self) -> None:
        """Compute the map's colours on a worker."""
        opened, key = self.session.opened, self.session.state.column
        if opened is None:
            return
        plate, states, rows = opened.plate, dict(opened.painted.states), dict(opened.painted.rows)

        def compute() -> tuple[tuple[ColourKey, ...], Shading]:
            columns = columns_of(plate, rows)
            chosen = next((column for column in columns if column.key == key), columns[0])
            return columns, shade(plate, chosen, states, rows)

        self._colouring.start_function(compute, title="Coloring the map", done=lambda found: self._show_colours(plate, *found))

    @timed
    def _show_colours(self, plate: Plate, columns: tuple[ColourKey, ...], shading: Shading) -> None:
        if plate is self.plate:
            self.view.set_columns(columns, shading.column.key)
            self.view.map.set_shading(shading)
            self.view.legend.set_shading(shading)


def _sample_plate() -> Generator[Progress, None, Path]:
    """Make the sample plate (on a worker, which also imports the simulator)."""
    from napari_virtual_paint.plates.simulation.sample import make_sample_plate

    return (yield from make_sample_plate())


def _lists_images(path: Path) -> bool:
    """Return whether a table lists images, so that it is a plate itself, judging by its first line."""
    if path.suffix.casefold() == ".parquet":
        return False
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            head = file.readline(20_000).casefold()
    except OSError:
        return False
    return any(word in head for word in ("filename_", "pathname_", "url_", "image_file", "path"))
