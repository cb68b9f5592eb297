"""The bar of a job in napari's activity dialog: its progress, and a sentence that says how it ended."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from napari.utils import cancelable_progress
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QProgressBar

from napari_virtual_paint._napari.shared.event_loop import steps_held
from napari_virtual_paint._napari.shared.progress import JobProgress, set_bar
from napari_virtual_paint.runtime.progress import time_left

LINGER = 5000  # milliseconds that the bar of a job stays after its end, with the sentence, unless another job begins
MOST = 1000  # steps of the bar
_ended: list[ActivityBar] = []  # bars of jobs that have ended


class _Activity(cancelable_progress):  # type: ignore[misc]
    """What napari's activity dialog shows; its Cancel button calls `cancelled`."""

    cancelled: Callable[[], None] | None = None

    def cancel(self) -> None:
        super().cancel()
        if self.cancelled is not None:
            self.cancelled()


class ActivityBar:
    """A job's bar in the activity dialog.

    Parameters
    ----------
    title
        What is done, before the bar.
    cancelled
        Called where the user presses the bar's Cancel button.
    """

    def __init__(self, title: str, cancelled: Callable[[], None]) -> None:
        self.title = title
        for bar in list(_ended):
            bar.close()
        # napari runs the event loop inside this call: layers that changed in it would be drawn in the midst of their change.
        with steps_held():
            self._activity = _Activity(total=0, desc=title)
        self._activity.cancelled = cancelled
        self._bar = _find_bar(self._activity)

    def show(self, progress: JobProgress) -> None:
        """Move the bar without `update`, which would run the event loop inside the call."""
        if not progress.total:
            return
        if self._activity.total != MOST:
            self._activity.total = MOST
        self._activity.n = round(MOST * progress.fraction)
        self._activity.events.eta(value=time_left(progress.seconds_left))
        if self._bar is not None:
            set_bar(self._bar, self._activity.n, MOST)

    def end(self, sentence: str) -> None:
        """Say how the job ended, and close the bar a few seconds later."""
        self._activity.cancelled = None
        with contextlib.suppress(AttributeError, RuntimeError):  # the names are napari's own; without them the bar closes at once
            self._activity.events.eta(value="")
            line = self._bar.parent()  # type: ignore[union-attr]
            line.description_label.setText(f"{self.title}: {sentence}")
            line.cancel_button.hide()
            self._bar.hide()  # type: ignore[union-attr]
            _ended.append(self)
            QTimer.singleShot(LINGER, self.close)
            return
        self.close()

    def close(self) -> None:
        """Take the bar out of the dialog."""
        if self in _ended:
            _ended.remove(self)
        if self._activity in type(self._activity)._all_instances:
            self._bar = None
            with contextlib.suppress(RuntimeError):  # the dialog is gone: the viewer was closed
                self._activity.close()


def _find_bar(activity: Any) -> QProgressBar | None:
    """Return the bar that napari's activity dialog shows for a progress object."""
    for window in QApplication.topLevelWidgets():
        for bar in window.findChildren(QProgressBar):
            if getattr(bar.parent(), "progress", None) is activity:
                return bar
    return None
