"""The Count dock: nuclei and cells of the stains in the viewer, as label layers that can be corrected and counted again."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import napari.viewer
import numpy as np
from qtpy.QtWidgets import QFileDialog, QVBoxLayout, QWidget

from napari_virtual_paint._napari.count.layers import add_counted, add_tracks, labels_in
from napari_virtual_paint._napari.count.panel import CountPanel, CountState
from napari_virtual_paint._napari.shared import jobs
from napari_virtual_paint._napari.shared.background import Debounced, LatestJob
from napari_virtual_paint._napari.shared.dock_area import join_tabs
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.saving import saving
from napari_virtual_paint._napari.shared.viewer.layer_list import follow_layers, guard_removals
from napari_virtual_paint._napari.shared.viewer.layers import LayerSource, image_layers, stack_from_layers, view_point
from napari_virtual_paint.counting.outputs import labels_beside
from napari_virtual_paint.counting.settings import CountSettings
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.generators import waited
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.runtime.text import counted

TITLE = "Counting"  # what the work is called in napari's activity dialog and in messages


@dataclass(frozen=True, eq=False)
class Counted:
    """What the dock shows the counts of."""

    source: LayerSource
    settings: CountSettings
    objects: Mapping[str, Any]
    """The table, as `counting.run.StackCount.objects`."""
    labels: Any
    """Label images, a `Stack` with a channel for each kind."""
    totals: Mapping[str, int]
    notes: tuple[str, ...] = ()


class CountDock(QWidget):  # type: ignore[misc]
    """Counts the objects of layers in the background, and counts them again once their labels were corrected.

    Parameters
    ----------
    viewer
        The viewer whose layers are counted.

    Attributes
    ----------
    result
        The last count; None before the first.
    """

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        guard_removals(viewer)
        join_tabs(self, "Count")
        self.viewer: Any = viewer
        self.setWindowTitle("Count")
        self.result: Counted | None = None
        self._job = LatestJob(self)
        self.panel = CountPanel()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addWidget(self.panel)
        self._listing = Debounced(0, self._list, self)
        self.panel.valueChanged.connect(lambda _value: self._list())
        self.panel.count.clicked.connect(lambda _checked: self.count())
        self.panel.again.clicked.connect(lambda _checked: self.count_corrected())
        self.panel.save.clicked.connect(lambda _checked: self.ask_and_save())
        self.panel.cancel.clicked.connect(lambda _checked: self._job.cancel())
        follow_layers(viewer, self._layers_changed)
        self.panel.say("Tick the stains of one image, painted or real.")
        self._list()

    @property
    def running(self) -> bool:
        """Whether a count runs."""
        return self._job.running

    def value(self) -> CountState:
        """Return what is chosen."""
        return self.panel.value()

    def setValue(self, value: CountState) -> None:  # noqa: N802 - as Qt's own
        """Choose something else."""
        self.panel.setValue(value)
        self._list()

    def _layers_changed(self, event: Any = None) -> None:
        self._listing.start()

    @timed
    def _list(self) -> None:
        """List the layers."""
        self.panel.setLayers([layer.name for layer in image_layers(self.viewer)])
        self.panel.setState(running=self.running, counted=self.result is not None)

    # -- work ---------------------------------------------------------------------------------------------------------

    def count(self) -> None:
        """Count what is chosen, in the background; an error is shown in the dock."""
        if self.running:
            return
        state = self.value()
        try:
            source, settings = self._request(state)
        except InputError as error:
            self.panel.say(str(error))
            return

        def make() -> Generator[Progress, None, Counted]:
            from napari_virtual_paint.counting.run import count_stack
            from napari_virtual_paint.counting.tracking import check_tracking, tracked

            if settings.tracks:
                check_tracking()
            found = yield from count_stack(source.stack, settings)
            objects = tracked(found.objects) if settings.tracks else found.objects
            return Counted(source, settings, objects, found.labels, found.totals, found.notes)

        self._start(make, self._counted)

    def count_corrected(self) -> None:
        """Measure and count the labels as they are in the viewer now."""
        if self.running or self.result is None:
            return
        before = self.result
        labels = labels_in(self.viewer, before.source, before.labels)
        if labels is None:
            self.panel.say("The labels were removed or changed their size; count again.")
            return

        def make() -> Generator[Progress, None, Counted]:
            from napari_virtual_paint.counting.outputs import joined
            from napari_virtual_paint.counting.run import pixels_of, recount
            from napari_virtual_paint.counting.tracking import tracked

            stack, tables, totals = before.source.stack, [], dict.fromkeys(before.totals, 0)
            for time in range(stack.shape[0]):
                step = Progress(time, stack.shape[0])
                pixels = yield from waited(partial(pixels_of, stack, time, before.settings.z), step)
                planes = {kind: np.asarray(labels.data[time, i, 0], np.int32) for i, kind in enumerate(labels.channel_labels)}
                known = (stack.channel_labels, stack.pixel_size.x, before.settings, time)
                table, row = yield from waited(partial(recount, planes, pixels, *known), step)
                tables.append(table)
                totals = {kind: totals[kind] + row[kind] for kind in totals}
            objects = joined(tables)
            return replace(before, objects=tracked(objects) if before.settings.tracks else objects, labels=labels, totals=totals, notes=())

        self._start(make, partial(self._shown, "Counted as corrected: "))

    def ask_and_save(self) -> None:
        """Ask for a file, and save table and labels."""
        path, _ = QFileDialog.getSaveFileName(self, "Save the table of objects", "objects.csv", "Tables (*.csv *.parquet)")
        if path:
            self.save(path)

    def save(self, path: str) -> None:
        """Save the table of objects, and the labels beside it, in the background."""
        if self.result is None:
            return
        found, table = self.result, Path(path)
        labels = labels_beside(table, several=False)
        check_labels = saving(labels, lambda: None)

        def write_both() -> str:
            from napari_virtual_paint.counting import outputs
            from napari_virtual_paint.writing import write

            outputs.check_table(table)
            check_labels()
            outputs.write_columns(table, found.objects)
            write(found.labels, labels, overwrite=True)
            return f"Saved {table.name}, and the labels in {labels.name}."

        failed = partial(jobs.failure_sentence, "Saving")
        work = saving(path, write_both)
        self._job.start_function(work, title="Saving", done=self._ended, failed=lambda error: self._ended(failed(error)))
        self._list()

    def _start(self, make: Any, done: Any) -> None:
        self.panel.say("Counting…")
        self._job.start(
            make,
            title=TITLE,
            tick=self.panel.show_progress,
            done=done,
            failed=lambda error: self._ended(jobs.failure_sentence(TITLE, error)),
            cancelled=lambda: self._ended("Cancelled; nothing was counted."),
            quiet=False,
        )
        self._list()

    def _request(self, state: CountState) -> tuple[LayerSource, CountSettings]:
        """Return the image of the chosen layers, and the settings.

        Raises `InputError` if something is missing; the sentence says what to do.
        """
        named = {layer.name: layer for layer in image_layers(self.viewer)}
        layers = [named[name] for name in state.layers if name in named]
        if not layers:
            raise InputError("Tick the stains of one image, with that of the nuclei among them.")
        if state.nuclei and state.nuclei not in state.layers:
            raise InputError(f"Tick '{state.nuclei}' under Stains, too: the nuclei are found in it.")
        source = stack_from_layers(layers)
        nuclei = str(source.layers.index(state.nuclei)) if state.nuclei else None
        z = None
        if source.stack.shape[2] > 1:
            z = "max" if state.plane == "max" else str(min(view_point(self.viewer, source.geometry)[1], source.stack.shape[2] - 1))
        return source, CountSettings(state.segmenter, nuclei, None, z, state.tracks)

    def _counted(self, found: Counted) -> None:
        """Show the labels as layers, unless the user has removed the stains meanwhile."""
        if not set(found.source.layers) & {layer.name for layer in self.viewer.layers}:
            self._ended("The stains were removed; nothing was added.")
            return
        add_counted(self.viewer, found.source, found.labels)
        if found.settings.tracks:
            add_tracks(self.viewer, found.source, found.objects)
        self._shown("", found)

    def _shown(self, before: str, found: Counted) -> None:
        self.result = found
        nuclei, cells = (found.totals[kind] for kind in ("nuclei", "cells"))
        nucleus = found.objects["object"] == "nucleus"
        flagged = {flag: int(np.sum(found.objects[flag][nucleus])) for flag in ("edge", "clump", "small", "blurred")}
        flags = ", ".join(f"{number} {flag}" for flag, number in flagged.items() if number)
        words = f"{before}{nuclei} {'nucleus' if nuclei == 1 else 'nuclei'} and {counted(cells, 'cell')}."
        self._ended(" ".join([words, f"Nuclei by flag: {flags}." if flags else "", *found.notes]).replace("  ", " "))

    def _ended(self, words: str) -> None:
        self.panel.say(words)
        self._list()
