"""Error maps in the viewer: computed in a worker, shown as they come."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from napari.utils.notifications import show_error
from qtpy.QtCore import QObject, Signal

from napari_virtual_paint._napari.compare.error_map import ErrorMap, add_error_map, error_maps
from napari_virtual_paint._napari.compare.scores import Task
from napari_virtual_paint._napari.compare.side_by_side import LayerPair
from napari_virtual_paint._napari.shared import jobs


class ErrorMaps(QObject):  # type: ignore[misc]
    """Makes error-map layers in the background, one piece of work at a time.

    Signals
    -------
    running
        Whether work goes on.
    adding
        A layer is about to be added.
    """

    running = Signal(bool)
    adding = Signal()

    def __init__(self, viewer: Any, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._job: jobs.Job | None = None
        self._stop = threading.Event()

    @property
    def busy(self) -> bool:
        """Whether work goes on."""
        return self._job is not None

    def start(self, work: Sequence[tuple[Task, LayerPair]]) -> None:
        """Make the error maps of these pairs; the first is shown, the others wait hidden below their eye."""
        tasks = [task for task, _pair in work]
        pairs = [pair for _task, pair in work]
        stop = self._stop = threading.Event()
        first = True

        def piece(found: ErrorMap) -> None:
            nonlocal first
            pair = pairs[found.position]
            if all(layer in self._viewer.layers for layer in (pair.predicted, pair.truth)):
                self.adding.emit()
                add_error_map(self._viewer, found, pair.predicted, pair.truth, visible=first)
                first = False

        self._job = jobs.start(lambda: error_maps(tasks, stop.is_set), title="Error maps", piece=piece, done=self._done)
        self._job.ended.connect(self._ended)
        self.running.emit(True)

    def stop(self) -> None:
        """Stop; what was added stays."""
        self._stop.set()
        if self._job is not None:
            self._job.cancel()

    def _done(self, problems: Sequence[str]) -> None:
        for problem in problems:
            show_error(problem)

    def _ended(self) -> None:
        self._job = None
        self.running.emit(False)
