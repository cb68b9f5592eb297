"""Choosing what the Evaluate dock compares: what is open is offered, and what is chosen is inspected before it is evaluated."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QFileDialog

from napari_virtual_paint._napari.commands import find_dock
from napari_virtual_paint._napari.evaluate.form import EvaluateForm
from napari_virtual_paint._napari.evaluate.layers import paired_stains
from napari_virtual_paint._napari.evaluate.state import EvaluateState, InputSummary, default_output, missing, summarize_inputs
from napari_virtual_paint._napari.shared.background import Debounced, LatestJob
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.viewer.layer_list import follow_layers
from napari_virtual_paint.errors import VirtualPaintError
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.runtime.text import rough_duration

PAUSE = 400  # milliseconds after the last change before the inputs are inspected
BY_PATH = "Files, folders or plates by path"
NOT_PAINTED = "This plate is not painted yet. Paint it in the Plate dock first."


class SourceController(QObject):  # type: ignore[misc]
    """Fills the form with what is open, and inspects what is chosen.

    Signals
    -------
    changed
        Something else is chosen.
    inspected
        What would be compared, or what is missing, as HTML.
    """

    changed = Signal()
    inspected = Signal(str)

    def __init__(self, viewer: Any, form: EvaluateForm) -> None:
        super().__init__(form)
        self._viewer, self._form = viewer, form
        self._offered: list[str] = []
        self._stains: tuple[str, ...] = ()  # of the pairs of layers that are open
        self._filled_from = ""
        self._summary: tuple[EvaluateState, InputSummary] | None = None
        self._inspection = LatestJob(self)
        self._inspecting = Debounced(PAUSE, self._inspect, self)
        self._offering = Debounced(0, self.offer, self)
        form.valueChanged.connect(lambda _choice: self._follow())
        form.source_chosen.connect(lambda index: self._fill_from(self._offered[index]))
        form.browse.connect(self._browse)
        follow_layers(viewer, self._layers_changed)
        self._inspecting.start()  # says what to choose first

    @property
    def busy(self) -> bool:
        """Whether inputs are, or will be, inspected."""
        return self._inspection.running or bool(self._inspecting.isActive())

    def seconds(self, choice: EvaluateState) -> float | None:
        """Return how long an evaluation is estimated to take; None where its inputs were not inspected (yet)."""
        return self._summary[1].seconds if self._summary is not None and self._summary[0] == choice else None

    def choose(self, choice: EvaluateState, filled_from: str | None = None) -> None:
        """Show a choice and inspect it.

        Parameters
        ----------
        filled_from
            The source that it came from: ``plate``, ``layers`` or ``paths``; None for the same as before.
        """
        self._filled_from = self._filled_from if filled_from is None else filled_from
        self._form.setValue(choice)
        self._follow()

    def _layers_changed(self, _event: Any = None) -> None:
        self._offering.start()

    @timed
    def offer(self) -> None:
        """Offer what is open now: the plate of the Plate dock, then layers; what the user chose stays."""
        plates = find_dock(self._viewer, "Plate")
        texts = {}
        if plates is not None and plates.plate is not None:
            texts["plate"] = f"The plate that is open: {plates.plate.name}"
        stains = paired_stains(self._viewer)
        if stains:
            texts["layers"] = f"Layers that are open: {', '.join(stains)}"
        texts["paths"] = BY_PATH
        self._offered = list(texts)
        if stains != self._stains:
            self._stains = stains
            self._inspecting.start()
        choice = self._form.value()
        if choice.source == "layers" and not stains:
            self._form.setValue(replace(choice, source="paths"))
        if not choice.given and not choice.truth and choice.source == "paths" and self._offered[0] != "paths":
            self._fill_from(self._offered[0])
        by_path = self._filled_from if self._filled_from in texts else "paths"
        self._form.setSources(list(texts.values()), self._offered.index("layers" if self._form.value().source == "layers" else by_path))

    def _fill_from(self, source: str) -> None:
        """Fill the form with a source that was offered."""
        choice, plates = self._form.value(), find_dock(self._viewer, "Plate")
        if source == "layers":
            folder = Path.home() if not choice.output else Path(choice.output).parent
            choice = replace(choice, source="layers", output=choice.output or str(folder / "layers-report"))
        elif source == "plate" and plates is not None and plates.plate is not None:
            shown = plates.value()
            painted = shown.path if shown.kind == "in-place" else shown.output
            found = replace(choice, source="paths", predictions=(("", painted),), truth=plates.plate.source, plate_map=shown.plate_map)
            choice = replace(found, output=default_output(found))
        else:
            choice = replace(choice, source="paths")
        self.choose(choice, source)

    def _follow(self) -> None:
        """Name a report where there is none yet, and inspect the inputs after a while."""
        choice = self._form.value()
        if not choice.output and choice.source == "paths" and choice.given:
            self._form.setValue(replace(choice, output=default_output(choice)))
        self.changed.emit()
        self._inspecting.start()

    @timed
    def _inspect(self) -> None:
        """Find out, on a worker, what would be compared."""
        self._inspection.drop()  # its result would belong to another choice
        choice = self._form.value()
        if choice.source == "layers":
            self.inspected.emit(f"Predicted and true: {escape(', '.join(paired_stains(self._viewer)))}.")
        elif not choice.given or not choice.truth:
            self.inspected.emit(missing(choice))
        else:
            self.inspected.emit("Inspecting the inputs…")
            work = partial(_summary_or_error, choice, from_plate=self._filled_from == "plate")
            self._inspection.start(work, title="Inspecting the inputs", done=partial(self._show_summary, choice))

    @timed
    def _show_summary(self, choice: EvaluateState, summary: InputSummary) -> None:
        if choice == self._form.value():
            self._summary = choice, summary
            took = "" if summary.seconds is None else f" · takes about {rough_duration(summary.seconds)}"
            self.inspected.emit(escape(summary.text) + took)
            if summary.columns:
                self._form.setColumns(summary.columns, summary.values, summary.found)

    def _browse(self, field: str, kind: str) -> None:
        """Ask for a path."""
        choice = self._form.value()
        if field == "output":
            path, _ = QFileDialog.getSaveFileName(
                self._form, "The report's folder", choice.output, "Folders (*)", options=QFileDialog.Option.DontConfirmOverwrite
            )
        elif kind == "folder":
            path = QFileDialog.getExistingDirectory(self._form, f"Open: {field}")
        else:
            tables = "Tables (*.csv *.tsv *.txt *.parquet)" if field == "plate_map" else "All files (*)"
            path, _ = QFileDialog.getOpenFileName(self._form, f"Open: {field}", "", tables)
        if not path:
            return
        changes: dict[str, Any] = {field: path}
        if field.startswith("prediction"):
            predictions = list(choice.predictions)
            number = int(field.split()[1])
            predictions[number] = (predictions[number][0], path)
            changes = {"predictions": tuple(predictions)}
        self.choose(replace(choice, **changes))


def _summary_or_error(choice: EvaluateState, *, from_plate: bool) -> Generator[Progress, None, InputSummary]:
    """Inspect inputs (on a worker); an error is shown in the dock, not as a notification, since the user is still typing.

    Parameters
    ----------
    from_plate
        Whether the choice is the plate of the Plate dock, whose painted plate may still be to come.
    """
    if from_plate and not Path(choice.given[0][1]).expanduser().exists():
        return InputSummary(NOT_PAINTED)
    try:
        return (yield from summarize_inputs(choice))
    except VirtualPaintError as error:
        return InputSummary(str(error))
