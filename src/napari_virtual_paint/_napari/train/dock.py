"""The Train dock: choose pairs and a recipe, see how long it takes, train in the background, paint with the model."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QWidget

from napari_virtual_paint._napari import commands
from napari_virtual_paint._napari.shared.background import Debounced
from napari_virtual_paint._napari.shared.dock_area import join_tabs
from napari_virtual_paint._napari.shared.viewer.layer_list import guard_removals
from napari_virtual_paint._napari.shared.widgets import fill_scrolled
from napari_virtual_paint._napari.train.config_controller import ConfigController, name_taken
from napari_virtual_paint._napari.train.panel import TrainPanel
from napari_virtual_paint._napari.train.prepare import PreparedRun
from napari_virtual_paint._napari.train.run_monitor import RunMonitor
from napari_virtual_paint._napari.train.state import TrainState

if TYPE_CHECKING:
    import napari.viewer

LAYOUT = 50  # milliseconds after which the dock has laid out what has just been shown


class TrainDock(QWidget):  # type: ignore[misc]
    """The Train dock.

    Parameters
    ----------
    viewer
        The viewer whose layers are offered.

    Attributes
    ----------
    panel
        The widgets; `form`, one of them, shows and edits the choice.
    config
        Makes the configuration of the choice and prepares the training.
    monitor
        Watches and controls the runs.
    """

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        guard_removals(viewer)
        join_tabs(self, "Train")
        self.viewer = viewer
        self.panel = TrainPanel()
        self.form = self.panel.form
        self.scroll = fill_scrolled(self, self.panel, self.panel.footer)
        self.panel.welcome.add_actions(
            ("Open a sample", "Add a simulated field of cells with its true stains", lambda: commands.open_sample(viewer))
        )
        self.monitor = RunMonitor(viewer, self.panel)
        self.config = ConfigController(viewer, self.panel, self.monitor)
        self._scrolling = Debounced(LAYOUT, self._scroll_to_run, self)
        self._showing_report = Debounced(LAYOUT, self._scroll_to_report, self)
        self.config.ready.connect(self._begin)
        self.config.reported.connect(self._showing_report.start)
        self.monitor.watched.connect(self._scrolling.start)
        self.monitor.ended.connect(self.config.estimator.retry)

    def value(self) -> TrainState:
        """Return what is chosen."""
        return self.form.value()

    def setValue(self, choice: TrainState) -> None:  # noqa: N802 - Qt's own way of naming
        """Choose; the configuration follows."""
        self.form.setValue(choice)
        self.config.follow()

    def choose(self, **changes: Any) -> None:
        """Change some of the choice, as in ``choose(recipe="unet", device="cuda")``."""
        self.config.choose(**changes)

    def _begin(self, prepared: PreparedRun) -> None:
        """Begin a training."""
        if self.monitor.begin(prepared.request.folder, prepared.config):
            # The next training makes another model; an edited configuration is kept in the file of this one.
            self.choose(name=_next_name(self.value().name), text=None)

    def _scroll_to_report(self) -> None:
        """Bring what the checks of the pairs found into view, its beginning at least."""
        bar, report = self.scroll.verticalScrollBar(), self.panel.report
        top, room = report.mapTo(self.panel, report.rect().topLeft()).y(), self.scroll.viewport().height()
        bar.setValue(min(bar.maximum(), top if report.height() > room else max(0, top + report.height() - room)))

    def _scroll_to_run(self) -> None:
        """Bring the run that is watched into view; the form is long."""
        bar, runs = self.scroll.verticalScrollBar(), self.panel.runs
        bar.setValue(min(bar.maximum(), max(bar.value(), runs.mapTo(self.panel, runs.rect().topLeft()).y() - 30)))


def _next_name(name: str) -> str:
    """Return a name that no run has yet: the same with the next number behind it."""
    counted = re.fullmatch(r"(.+?)\s+(\d+)", name)
    stem, number = (counted[1], int(counted[2]) + 1) if counted else (name, 2)
    while name_taken(f"{stem} {number}"):
        number += 1
    return f"{stem} {number}"
