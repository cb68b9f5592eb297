"""The field that is shown: read in the background, where a newer click overtakes an older one and neighbours are read ahead."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_virtual_paint._napari.plate.field_layers import FieldLayers
from napari_virtual_paint._napari.plate.field_loader import FieldPictures, PictureCache, load, prefetch
from napari_virtual_paint._napari.shared.background import Debounced, LatestJob
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint.plates.plate import Field
from napari_virtual_paint.plates.view.images import neighbours

QUIET = 150  # milliseconds of rest after a field is shown before its neighbours are read


class FieldView(QObject):  # type: ignore[misc]
    """Shows one field of a plate at a time.

    Attributes
    ----------
    layers
        Its layers.
    store
        The pictures of the plate; None before one is open.
    field
        The field that is shown, or will be.
    """

    went = Signal(object)
    """The field that is being read."""
    shown = Signal(object)
    """The `FieldPictures` whose pictures are in their layers."""
    failed = Signal(object, str)
    """A field that can't be read, and why."""

    def __init__(self, viewer: Any, parent: QObject) -> None:
        super().__init__(parent)
        self.layers = FieldLayers(viewer, self)
        self.store: PictureCache | None = None
        self.field: Field | None = None
        self._changed = False  # whether the field was painted while it was read
        self._reading, self._prefetching = LatestJob(self), LatestJob(self)
        self._rest = Debounced(QUIET, self._prefetch, self)
        self._reading.ended.connect(self._read)
        self.layers.settled.connect(self._settled)

    @property
    def busy(self) -> bool:
        """Whether a field is being read."""
        return self._reading.running

    @property
    def ahead(self) -> bool:
        """Whether neighbours are being read, or will be."""
        return self._prefetching.running or self._rest.isActive()

    def open(self, store: PictureCache) -> None:
        """Show fields of another plate."""
        self.stop()
        self.store, self.field = store, None

    def go(self, field: Field) -> None:
        """Show a field; one that is still being read is dropped."""
        store = self.store
        if store is None:
            return
        self.stop()
        self.field, self._changed = field, False
        # Read here, on the GUI thread: the worker must not touch layers.
        shown, limited = self.layers.shown(), frozenset(self.layers.present())
        self._reading.start(
            lambda: load(store, field, shown, limited),
            title=f"Opening {field}",
            piece=lambda piece: self._piece(field, piece),
            failed=lambda error: self.failed.emit(field, str(error)),
        )
        self.went.emit(field)

    def again(self) -> None:
        """Read the field anew: it was painted meanwhile."""
        if self.busy:
            self._changed = True
        elif self.field is not None:
            self.go(self.field)

    def _read(self) -> None:
        self._rest.start()
        if self._changed:
            QTimer.singleShot(0, self.again)

    def stop(self) -> None:
        """Stop reading."""
        self._rest.stop()
        self.layers.clear()
        self._reading.drop()
        self._prefetching.drop()

    @timed
    def _piece(self, field: Field, piece: Any) -> None:
        if isinstance(piece, FieldPictures) and field == self.field:
            self.layers.put(piece)

    @timed
    def _settled(self, batch: FieldPictures) -> None:
        if batch.field == self.field:
            self.shown.emit(batch)

    @timed
    def _prefetch(self) -> None:
        store, field, shown = self.store, self.field, self.layers.shown()
        if store is not None and field is not None and shown:
            some = neighbours(store.images.plate, field)
            self._prefetching.start(lambda: prefetch(store, some, shown), title="Reading ahead")
