"""The Evaluate dock's part that chooses: what is open is offered, and what is chosen is looked at before anything is judged."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import replace
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QFileDialog

from napari_virtual_paint._napari.commands import find_dock
from napari_virtual_paint._napari.evaluate.layers import stains_there
from napari_virtual_paint._napari.evaluate.panel import EvaluatePanel
from napari_virtual_paint._napari.evaluate.state import EvaluateState, Known, default_output, look, missing
from napari_virtual_paint._napari.shared import jobs
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint.errors import VirtualPaintError
from napari_virtual_paint.runtime.progress import Progress

PAUSE = 400
"""Milliseconds after the last change before what is chosen is looked at."""
BY_PATH = "Files, folders or plates by path"


class EvaluateForming(EvaluatePanel):
    """What chooses; `evaluate.EvaluateDock` adds what evaluates."""

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self.viewer = viewer
        self._offers: list[str] = []
        self._filled = ""
        self._looking: jobs.Job | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(PAUSE)
        self._timer.timeout.connect(self._look)
        self.form.valueChanged.connect(self._changed)
        self.form.offered.connect(self._offered)
        self.form.browse.connect(self._browse)
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(0)
        self._later.timeout.connect(self.offer)
        events = viewer.layers.events
        for emitter in (events.inserted, events.removed):
            emitter.connect(self._layers_changed)
        self.destroyed.connect(partial(_let_go, viewer, self._layers_changed))

    def value(self) -> EvaluateState:
        """Return what is chosen."""
        return self.form.value()

    def setValue(self, choice: EvaluateState) -> None:  # noqa: N802 - Qt's own way of naming
        """Choose."""
        self.form.setValue(choice)
        self._changed()

    def choose(self, **changes: Any) -> None:
        """Change some of the choice, as in ``choose(levels=("pixels",), workers=2)``."""
        self.setValue(replace(self.value(), **changes))

    def enable(self) -> None:
        """Enable what can be done now."""

    def _layers_changed(self, _event: Any = None) -> None:
        if isalive(self):
            self._later.start()

    # -- what is offered ----------------------------------------------------------------------------------------------

    @timed
    def offer(self) -> None:
        """Offer what is open now: the plate of the Plate dock, then layers; what the user chose stays."""
        plates = find_dock(self.viewer, "Plate")
        texts = {}
        if plates is not None and plates.plate is not None:
            texts["plate"] = f"The plate that is open: {plates.plate.name}"
        stains = stains_there(self.viewer)
        if stains:
            texts["layers"] = f"Layers that are open: {', '.join(stains)}"
        texts["paths"] = BY_PATH
        self._offers = list(texts)
        choice = self.value()
        if choice.source == "layers" and not stains:
            self.form.setValue(replace(choice, source="paths"))
        if not choice.given and not choice.truth and choice.source == "paths" and self._offers[0] != "paths":
            self._take(self._offers[0])
        here = "layers" if self.value().source == "layers" else self._filled if self._filled in texts else "paths"
        self.form.setSources(list(texts.values()), self._offers.index(here))

    def _offered(self, index: int) -> None:
        self._take(self._offers[index])

    def _take(self, what: str) -> None:
        """Fill the form with a source that was offered."""
        choice, plates = self.value(), find_dock(self.viewer, "Plate")
        self._filled = what
        if what == "layers":
            folder = Path.home() if not choice.output else Path(choice.output).parent
            self.setValue(replace(choice, source="layers", output=choice.output or str(folder / "layers-report")))
        elif what == "plate" and plates is not None and plates.plate is not None:
            shown = plates.value()
            painted = shown.path if shown.kind == "in-place" else shown.output
            found = replace(choice, source="paths", predictions=(("", painted),), truth=plates.plate.source, plate_map=shown.plate_map)
            self.setValue(replace(found, output=default_output(found)))
        else:
            self.setValue(replace(choice, source="paths"))

    def _changed(self, _choice: Any = None) -> None:
        """Follow the form: name a report where there is none yet, and look at what is chosen after a while."""
        choice = self.value()
        if not choice.output and choice.source == "paths" and choice.given:
            self.form.setValue(replace(choice, output=default_output(choice)))
        self.enable()
        self._timer.start()

    @timed
    def _look(self) -> None:
        """Find out, on a worker, what would be compared."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        choice = self.value()
        if choice.source == "layers":
            self.check.setText(f"Predicted and true: {escape(', '.join(stains_there(self.viewer)))}.")
            return
        if not choice.given or not choice.truth:
            self.check.setText(missing(choice))
            return
        self.check.setText("Looking at what is compared…")
        job = self._looking = jobs.start(
            partial(_looked, choice), title="Looking at what is compared", done=partial(self._known, choice), quiet=True
        )
        job.ended.connect(partial(self._looked_over, job))

    def _looked_over(self, job: jobs.Job) -> None:
        if job is self._looking:
            self._looking = None

    @timed
    def _known(self, choice: EvaluateState, found: Known) -> None:
        if isalive(self) and choice == self.value():
            self.check.setText(escape(found.said))
            if found.columns:
                self.form.setColumns(found.columns, found.values, found.found)

    def showEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Offer what was opened meanwhile."""
        super().showEvent(event)
        self.offer()

    def enterEvent(self, event: Any) -> None:  # noqa: N802
        """Offer what was opened meanwhile."""
        super().enterEvent(event)
        self.offer()

    def _browse(self, what: str, kind: str) -> None:
        """Ask for a path."""
        if what == "output":
            path, _ = QFileDialog.getSaveFileName(
                self, "The report's folder", self.value().output, "Folders (*)", options=QFileDialog.Option.DontConfirmOverwrite
            )
        elif kind == "folder":
            path = QFileDialog.getExistingDirectory(self, f"Open: {what}")
        else:
            tables = "Tables (*.csv *.tsv *.txt *.parquet)" if what == "plate_map" else "All files (*)"
            path, _ = QFileDialog.getOpenFileName(self, f"Open: {what}", "", tables)
        if not path:
            return
        if what.startswith("prediction"):
            predictions = list(self.value().predictions)
            number = int(what.split()[1])
            predictions[number] = (predictions[number][0], path)
            self.choose(predictions=tuple(predictions))
        else:
            self.choose(**{what: path})


def _looked(choice: EvaluateState) -> Generator[Progress, None, Known]:
    """Look at what is chosen (on a worker); what is wrong with it is told in the dock, not as a notification."""
    try:
        return (yield from look(choice))
    except VirtualPaintError as error:
        return Known(str(error))


def _let_go(viewer: Any, offer: Any) -> None:
    """Listen to the viewer no more, once the dock is gone."""
    events = viewer.layers.events
    for emitter in (events.inserted, events.removed):
        with contextlib.suppress(RuntimeError, ValueError, TypeError):
            emitter.disconnect(offer)
