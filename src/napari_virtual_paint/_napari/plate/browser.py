"""Going from field to field: a newer click overtakes an older one, and neighbours are read before they are asked for."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_virtual_paint._napari.plate.field_layers import FieldLayers
from napari_virtual_paint._napari.plate.field_loader import FieldPictures, PictureCache, load, prefetch
from napari_virtual_paint._napari.shared import jobs
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint.plates.plate import Field
from napari_virtual_paint.plates.view.images import neighbours

QUIET = 150
"""Milliseconds of rest after a field is shown before its neighbours are read."""


class Browser(QObject):  # type: ignore[misc]
    """Reads fields in the background and shows them in `FieldLayers`.

    Signals
    -------
    went
        The field that is on its way.
    shown
        The `FieldPictures` whose pictures are in their layers.
    failed
        A field that can't be read, and why.
    """

    went = Signal(object)
    shown = Signal(object)
    failed = Signal(object, str)

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self.layers = FieldLayers(viewer)
        self.store: PictureCache | None = None
        self.field: Field | None = None
        self._job: jobs.Job | None = None
        self._ahead: jobs.Job | None = None
        self._wait = QTimer(self)
        self._wait.setSingleShot(True)
        self._wait.setInterval(QUIET)
        self._wait.timeout.connect(self._look_ahead)
        self.layers.settled.connect(self._settled)

    @property
    def busy(self) -> bool:
        """Whether a field is on its way."""
        return self._job is not None

    @property
    def ahead(self) -> bool:
        """Whether neighbours are being read, or will be."""
        return self._ahead is not None or self._wait.isActive()

    def open(self, store: PictureCache | None) -> None:
        """Go through another plate."""
        self.stop()
        self.store, self.field = store, None

    def go(self, field: Field) -> None:
        """Show a field; what was on its way before is given up."""
        store = self.store
        if store is None:
            return
        self.stop()
        self.field = field
        shown = self.layers.shown()
        limited = frozenset(self.layers.there())
        job = self._job = jobs.start(
            lambda: load(store, field, shown, limited),
            title=f"Opening {field}",
            piece=lambda piece: self._piece(field, piece),
            failed=lambda error: self.failed.emit(field, str(error)),
            quiet=True,
        )
        job.ended.connect(lambda: self._ended(job))
        self.went.emit(field)

    def again(self) -> None:
        """Read the field anew: it was painted meanwhile."""
        if self.field is not None and not self.busy:
            self.go(self.field)

    def stop(self) -> None:
        """Give up what is on its way."""
        self._wait.stop()
        self.layers.clear()
        for job in (self._job, self._ahead):
            if job is not None:
                job.cancel()
        self._job = self._ahead = None

    @timed
    def _piece(self, field: Field, piece: Any) -> None:
        if isinstance(piece, FieldPictures) and field == self.field:
            self.layers.put(piece)

    @timed
    def _settled(self, batch: FieldPictures) -> None:
        if batch.field == self.field:
            self.shown.emit(batch)

    def _ended(self, job: jobs.Job) -> None:
        if job is self._job:
            self._job = None
            self._wait.start()

    @timed
    def _look_ahead(self) -> None:
        store, field, shown = self.store, self.field, self.layers.shown()
        if store is None or field is None or not shown:
            return
        some = neighbours(store.images.plate, field)
        job = self._ahead = jobs.start(lambda: prefetch(store, some, shown), title="Reading ahead", quiet=True)
        job.ended.connect(lambda: self._ahead_ended(job))

    def _ahead_ended(self, job: jobs.Job) -> None:
        if job is self._ahead:
            self._ahead = None
