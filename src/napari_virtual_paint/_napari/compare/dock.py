"""The Compare dock: predicted beside true stains, with live scores."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import napari.viewer
from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import QEventLoop
from qtpy.QtWidgets import QApplication, QFileDialog, QVBoxLayout, QWidget

from napari_virtual_paint._napari.compare.command import evaluate_command
from napari_virtual_paint._napari.compare.error_map import ErrorMaps
from napari_virtual_paint._napari.compare.form import SCOPES, VOLUME, CompareSettings
from napari_virtual_paint._napari.compare.layers import task_of, view_of
from napari_virtual_paint._napari.compare.noise import noise_of
from napari_virtual_paint._napari.compare.panel import ComparePanel
from napari_virtual_paint._napari.compare.scores import ScoreRow, ScoreTask, as_text
from napari_virtual_paint._napari.compare.side_by_side import LayerPair, Limits, PairView, matched_limits
from napari_virtual_paint._napari.compare.updater import LATER, SOON, ScoreRequest, Updater, Watch
from napari_virtual_paint._napari.shared.background import Debounced
from napari_virtual_paint._napari.shared.closing import Closing, delete_when_removed
from napari_virtual_paint._napari.shared.dock_area import join_tabs
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.jobs import show_failure
from napari_virtual_paint._napari.shared.saving import check_saving
from napari_virtual_paint._napari.shared.viewer.layer_list import guard_removals
from napari_virtual_paint._napari.shared.viewer.layer_pairs import StainPair, comparable, facts_of, key_of, pair_by_name
from napari_virtual_paint._napari.shared.viewer.stain_view import StainButtons
from napari_virtual_paint.errors import InputError, VirtualPaintError
from napari_virtual_paint.runtime.atomic_write import write_text
from napari_virtual_paint.writing.api import as_write_errors

NO_PAIR = "Nothing to compare yet. Paint stains with the Stain dock and open the true ones, or choose layers with 'Add pair'."
DOCKS: dict[int, CompareDock] = {}
"""The dock of each viewer, by the viewer's id, until Qt destroys it: Python's collector must not clear the slot of `destroyed` before."""


class CompareDock(QWidget):  # type: ignore[misc]
    """Pairs predicted and true layers, scores them in the background, and shows them side by side, in turn or as error maps.

    Parameters
    ----------
    viewer
        The viewer whose layers are compared.
    """

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        guard_removals(viewer)
        join_tabs(self, "Compare")
        self.viewer: Any = viewer
        self.setWindowTitle("Compare")
        self._pinned: list[StainPair] = []
        self._dismissed: set[str] = set()
        self._blank = 0
        self._rows: tuple[ScoreRow, ...] = ()
        self.panel = ComparePanel(StainButtons(viewer), self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.panel)
        self.view = PairView(viewer)
        self.updater = Updater(self._request)
        self.maps = ErrorMaps(viewer)
        self._relist = Debounced(0, self._list, self)
        self._closing = Closing(self, self.undo)
        delete_when_removed(self)
        self._watch = Watch(viewer, self._moved, self._changed, self._relist.start)
        self._connect()
        self.panel.show_view(viewer.dims.ndisplay)
        self._list()
        DOCKS[id(viewer)] = self
        parts = (self.view, self.updater, self.maps, self._watch)  # without a parent, so that they outlive the widget and end in order
        self.destroyed.connect(lambda: _close(id(viewer), *parts))

    def _connect(self) -> None:
        panel = self.panel
        panel.settings.valueChanged.connect(lambda _value: self.refresh())
        panel.pairs.chosen.connect(self._chosen)
        panel.pairs.dismissed.connect(self._dismiss)
        panel.add.clicked.connect(lambda _checked: self._add_blank())
        panel.by_name.clicked.connect(lambda _checked: self.pair_by_name())
        panel.side.clicked.connect(lambda _checked: self.toggle_side_by_side())
        panel.flicker.clicked.connect(lambda _checked: self.toggle_flicker())
        panel.layout_choice.activated.connect(lambda _index: self.show_side_by_side() if self.view.mode == "side by side" else None)
        panel.period.valueChanged.connect(self.view.set_period)
        panel.errors.clicked.connect(lambda _checked: self.toggle_error_maps())
        panel.save.clicked.connect(lambda _checked: self._ask_and_save())
        panel.copy.clicked.connect(lambda _checked: self._copy())
        panel.command.clicked.connect(lambda _checked: self.copy_command())
        self.view.changed.connect(panel.show_mode)
        self.maps.changed.connect(panel.show_error_maps)
        self.maps.adding.connect(self.back)
        self.updater.began.connect(panel.show_waiting)
        self.updater.scored.connect(self._scored)

    # -- what is compared ---------------------------------------------------------------------------------------------

    @property
    def pairs(self) -> list[LayerPair]:
        """The complete pairs, predicted and true layer, in the order of the table."""
        layers = {key_of(layer): layer for layer in comparable(self.viewer)}
        return [pair for _key, _stain, pair in self._complete(layers)]

    def _complete(self, layers: dict[str, Any]) -> list[tuple[int, str, LayerPair]]:
        """Return the complete pairs with their position in the table and their stain."""
        pairs = [pair for pair in self.panel.pairs.value() if pair.predicted is not None]
        return [
            (index, pair.stain, LayerPair(layers[pair.predicted or ""], layers[pair.truth or ""]))
            for index, pair in enumerate(pairs)
            if pair.complete and pair.predicted in layers and pair.truth in layers
        ]

    def value(self) -> CompareSettings:
        """Return what is scored."""
        return self.panel.settings.value()

    def setValue(self, value: CompareSettings) -> None:  # noqa: N802 - as Qt's own
        """Score other pixels or on another scale."""
        self.panel.settings.setValue(value)
        self.refresh()

    def pair_by_name(self) -> None:
        """Discard the manual pairs and pair all layers by their names."""
        self._pinned, self._dismissed, self._blank = [], set(), 0
        self._list()

    def pair(self, predicted: Any, truth: Any) -> None:
        """Compare these two layers, whatever their names."""
        self._chosen(None, StainPair(key_of(predicted), key_of(truth)))

    @timed
    def _list(self) -> None:
        """List the layers there are now."""
        facts = [facts_of(layer) for layer in comparable(self.viewer)]
        pairs = pair_by_name(facts, self._pinned, self._dismissed) + (StainPair(None, None),) * self._blank
        before = self.panel.pairs.value()
        self.panel.pairs.setValue(facts, pairs)
        self.panel.settings.setControls(facts)
        self.panel.show_pairs(any(pair.complete for pair in pairs), "" if pairs else NO_PAIR)
        if pairs != before or not self._rows:
            self.refresh()

    def _chosen(self, before: str | None, pair: StainPair) -> None:
        self._pinned = [kept for kept in self._pinned if kept.predicted not in (before, pair.predicted)]
        if pair.predicted is not None:
            self._pinned.append(pair)
            self._dismissed.discard(pair.predicted)
            if before is None:
                self._blank = max(0, self._blank - 1)
        if before is not None and before != pair.predicted:
            self._dismissed.add(before)
        self._list()

    def _dismiss(self, predicted: str | None) -> None:
        if predicted is None:
            self._blank = max(0, self._blank - 1)
        else:
            self._pinned = [kept for kept in self._pinned if kept.predicted != predicted]
            self._dismissed.add(predicted)
        self._list()

    def _add_blank(self) -> None:
        self._blank += 1
        self._list()

    # -- scores -------------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Score again, in the background, once there is a moment of quiet."""
        if self.isVisible():
            self.updater.ask(SOON)

    def table_rows(self) -> list[dict[str, Any]]:
        """Return the table, the mean last: a dict per stain with ``stain``, the five scores by name (None: undefined) and ``reason``."""
        return [{"stain": row.stain, **row.values, "reason": row.reason} for row in self.panel.table.scores.rows]

    def wait(self, seconds: float = 60.0) -> bool:
        """Bring everything up to date and wait for it, keeping the screen alive: for scripts and tests.

        Returns
        -------
        Whether all work came to its end in time.
        """
        self._list()
        self.updater.ask(0.0)
        end = time.monotonic() + seconds
        while (self.updater.busy or self.maps.busy) and time.monotonic() < end:
            QApplication.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 50)
            time.sleep(0.005)  # for the worker, which needs the interpreter too
        return not self.updater.busy and not self.maps.busy

    def _moved(self, only_camera: bool) -> None:
        """Follow the view, where what is scored depends on it."""
        if not only_camera:
            self.panel.show_view(self.viewer.dims.ndisplay)
        scope = self.value().scope
        if self.isVisible() and (scope == "view" or (scope == "plane" and not only_camera)):
            self.updater.ask(SOON)

    def _changed(self, layer: Any) -> None:
        if self.isVisible() and any(layer is each for pair in self.pairs for each in (pair.predicted, pair.truth)):
            self.updater.ask(LATER)

    def _request(self) -> ScoreRequest | None:
        tasks = self._tasks()
        scope = self.value().scope
        named = VOLUME if scope != "stack" and self.viewer.dims.ndisplay == 3 else SCOPES[scope]
        return ScoreRequest(tuple(tasks), self.value().scale, named[0].lower()) if tasks else None

    def _tasks(self) -> list[ScoreTask]:
        """Return the work on all pairs as values: references and slices."""
        layers = {key_of(layer): layer for layer in comparable(self.viewer)}
        view, scope = view_of(self.viewer), self.value().scope
        pairs = [pair for pair in self.panel.pairs.value() if pair.predicted is not None]
        stains = [pair.stain for pair in pairs]
        tasks = []
        for pair in pairs:
            predicted, truth = layers.get(pair.predicted or ""), layers.get(pair.truth or "")
            stain = pair.stain if stains.count(pair.stain) == 1 or predicted is None else predicted.name
            tasks.append(task_of(self.viewer, stain, predicted, truth, scope, view, noise_of(self.value().noise, stain, layers)))
        return tasks

    @timed
    def _scored(self, rows: Sequence[ScoreRow], request: ScoreRequest | None, seconds: float) -> None:
        self._rows = tuple(rows)
        self.panel.show_rows(self._rows, request, seconds)

    def showEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        super().showEvent(event)
        self.refresh()

    # -- ways to look -------------------------------------------------------------------------------------------------

    def chosen_pairs(self) -> list[LayerPair]:
        """Return the pairs of the rows selected in the table; all complete pairs where none is selected."""
        return [pair for _index, _stain, pair in self._chosen_of_table()]

    def _chosen_of_table(self) -> list[tuple[int, str, LayerPair]]:
        """Return the chosen pairs with their position in the table and their stain; says so where there is none."""
        selected = self.panel.table.selected()
        layers = {key_of(layer): layer for layer in comparable(self.viewer)}
        found = [entry for entry in self._complete(layers) if not selected or entry[0] in selected]
        if not found:
            show_info(NO_PAIR)
            self.panel.show_mode(self.view.mode)
        return found

    def show_side_by_side(self) -> None:
        """Show predicted beside true in a grid with linked layers; `back` brings the former view back."""
        if chosen := self._chosen_of_table():
            layout, limits = self.panel.layout_choice.currentData(), self._limits(chosen)
            self._change_view("Side by side", lambda pairs: self.view.side_by_side(pairs, layout, limits), chosen)

    def show_flicker(self) -> None:
        """Show predicted and true in turn; `back` brings the former view back."""
        if chosen := self._chosen_of_table():
            limits = self._limits(chosen)
            self._change_view("Flicker", lambda pairs: self.view.flicker(pairs, limits), chosen)

    def _change_view(self, name: str, change: Callable[[list[LayerPair]], None], chosen: Sequence[tuple[int, str, LayerPair]]) -> None:
        """Show the chosen pairs in another way; where that fails, show why: the view is then as it was before."""
        try:
            change([pair for _, _, pair in chosen])
        except Exception as error:  # noqa: BLE001 - shown, with its traceback in the log
            show_failure(name, error)
            self.panel.show_mode(self.view.mode)

    def toggle_side_by_side(self) -> None:
        """Show side by side, or leave it."""
        self.back() if self.view.mode == "side by side" else self.show_side_by_side()

    def toggle_flicker(self) -> None:
        """Start flicker, or stop it."""
        self.back() if self.view.mode == "flicker" else self.show_flicker()

    def toggle_error_maps(self) -> None:
        """Add error maps, or remove them."""
        self.maps.remove() if self.maps.on else self.show_error_maps()

    def back(self) -> None:
        """Bring back the view from before side by side or flicker, exactly."""
        self.view.back()

    def undo(self) -> None:
        """Undo all that the dock changed in the viewer: side by side, flicker, error maps."""
        self.back()
        self.maps.remove()

    def _limits(self, chosen: Sequence[tuple[int, str, LayerPair]]) -> list[tuple[Limits, Limits] | None]:
        """Return contrast limits that show each pair on one scale, from the means and SDs of the last scores."""
        found = []
        for index, stain, pair in chosen:
            row = self._rows[index] if index < len(self._rows) else None
            moments = row.moments if row is not None and row.stain in (stain, pair.predicted.name) else None
            low, high = (float(value) for value in pair.truth.contrast_limits)
            found.append(matched_limits((low, high), *moments) if moments is not None else None)
        return found

    def show_error_maps(self) -> None:
        """Add a layer of predicted minus true (both z-scored) for each chosen pair, computed in the background."""
        chosen = [] if self.maps.busy else self._chosen_of_table()
        if not chosen:
            self.panel.show_error_maps(self.maps.on)
            return
        view, scope = view_of(self.viewer), self.value().scope
        self.maps.start([(task_of(self.viewer, stain, pair.predicted, pair.truth, scope, view), pair) for _, stain, pair in chosen])

    # -- taking it away -----------------------------------------------------------------------------------------------

    def save_csv(self, path: str | Path) -> Path:
        """Write the table as CSV with full precision, whole or not at all.

        Raises
        ------
        InputError
            If there are no scores.
        WriteError
            If it can't be written.
        """
        rows = self.panel.table.displayed_rows()
        if not rows:
            raise InputError("There are no scores to save yet; choose a pair of layers first.")
        request = self.panel.request
        columns = {"pixels": request.where, "scale": request.scale} if request is not None else {}
        path = Path(path)
        check_saving(path)
        with as_write_errors(path):
            write_text(path, as_text(rows, ",", **columns))
        return path

    def _ask_and_save(self) -> None:
        name, _kind = QFileDialog.getSaveFileName(self, "Save the scores", "scores.csv", "Table (*.csv)")
        if not name:
            return
        try:
            show_info(f"Scores saved in {self.save_csv(name if Path(name).suffix else name + '.csv')}.")
        except VirtualPaintError as error:
            show_error(str(error))

    def _copy(self) -> None:
        self.panel.table.copy()
        self.panel.say("The table is copied.")

    def command(self) -> str:
        """Return the command line that scores the same files, each over its whole stack.

        Raises `InputError` if the layers don't all come from files; the sentence says which and what to do.
        """
        return evaluate_command(self.chosen_pairs(), self.value().scale, self.value().noise)

    def copy_command(self) -> None:
        """Put the command line on the clipboard, or say why there is none."""
        try:
            text = self.command()
        except InputError as error:
            self.panel.say(str(error))
            return
        QApplication.clipboard().setText(text)
        self.panel.say(f"The command is copied; it scores the whole stack: {text}")


def _close(key: int, view: PairView, updater: Updater, maps: ErrorMaps, watch: Watch) -> None:
    """End all work and disconnect from the viewer, once the dock is gone; a view that only it could leave is left."""
    DOCKS.pop(key, None)
    watch.close()
    with contextlib.suppress(RuntimeError):  # Qt's own parts may be gone already when the application ends
        for part in (updater, maps, view):
            part.blockSignals(True)
        updater.stop()
        view.close()
        maps.close()
