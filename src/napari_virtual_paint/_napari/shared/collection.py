"""Keep garbage collection on the GUI thread while threads of ours run: Qt's objects may be freed there only."""

from __future__ import annotations

from functools import cache

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint.runtime import garbage
from napari_virtual_paint.runtime.garbage import release

__all__ = ["hold", "release"]

EVERY = 100  # milliseconds between two looks at what is due


def hold() -> None:
    """Collect on this thread, the GUI's, until as many `release` have been called, on any thread."""
    garbage.hold()
    timer = _timer(QApplication.instance())
    if not timer.isActive():
        timer.start()


@cache
def _timer(application: QApplication) -> QTimer:
    """Return the application's timer of collections."""
    timer = QTimer(application)
    timer.setInterval(EVERY)

    @timed
    def step() -> None:
        if not garbage.step():
            timer.stop()

    timer.timeout.connect(step)
    return timer
