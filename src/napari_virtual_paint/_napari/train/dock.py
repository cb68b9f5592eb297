"""The Train dock: choose pairs and a recipe, see how long it takes, train in the background, paint with what comes of it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error, show_info
from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QFileDialog

from napari_virtual_paint._napari.shared import jobs
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.train import process
from napari_virtual_paint._napari.train.config_controller import TrainForming, taken
from napari_virtual_paint._napari.train.prepare import PairVerdict, PreparedRun, TrainOrder, prepare, verdict, write_pair, write_text
from napari_virtual_paint._napari.train.run_list import RunLocation
from napari_virtual_paint._napari.train.state import IMAGES, RUN, as_text, configuration, elsewhere, runs_folder, slug
from napari_virtual_paint.errors import VirtualPaintError

if TYPE_CHECKING:
    import napari.viewer


class TrainDock(TrainForming):
    """The Train dock.

    Parameters
    ----------
    viewer
        The viewer whose layers are offered.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self.form.save.connect(self.save_as)
        self.start.clicked.connect(self.start_training)
        self.check.clicked.connect(self.check_pairs)
        self.leave_out.clicked.connect(lambda: self._decide("leave_out"))
        self.go_on.clicked.connect(lambda: self._decide("off"))
        self.give_up.clicked.connect(lambda: self._decide(None))

    def start_training(self) -> None:
        """Write what the run needs, look at its pairs, and begin; pressed again meanwhile, cancel that."""
        self.form.finish()
        if self._preparing is not None:
            self._preparing.cancel()
        elif self.start.isEnabled():
            self._prepare(self._order(), self._prepared)

    def check_pairs(self) -> None:
        """Look at the pairs without training."""
        if self._preparing is None and self.check.isEnabled():
            self._prepare(self._order(), self._looked)

    def _order(self) -> TrainOrder:
        choice = self.value()
        return TrainOrder(runs_folder() / slug(choice.name), choice.text or self._text, self._pair)

    def _prepare(self, order: TrainOrder, done: Any) -> None:
        if self._timing is not None:
            self._timing.cancel()
            self._timing = None
        self._dismiss()
        self._preparing = jobs.start(
            lambda: prepare(order),
            title=f"Preparing {order.folder.name}",
            tick=lambda progress: self.say(self.report, progress.message),
            done=done,
        )
        self._preparing.ended.connect(self._prepared_over)
        self._enable()

    def _prepared_over(self) -> None:
        self._preparing = None
        if isalive(self):
            if self.report.text().endswith("pairs") or not self.asking.isVisible():
                self.say(self.report, "")
            self._enable()

    @timed
    def _prepared(self, prepared: PreparedRun) -> None:
        """Begin, or ask what to do with pairs that look wrong."""
        found = verdict(prepared.report)
        if found.fine:
            self._begin(prepared)
            return
        self._waiting = prepared
        QTimer.singleShot(0, lambda: self._ask(found))

    def _ask(self, found: PairVerdict) -> None:
        self.say(self.report, found.words)
        self.leave_out.setEnabled(found.some_are_fine)
        self.asking.show()
        self._enable()

    @timed
    def _looked(self, prepared: PreparedRun) -> None:
        found = verdict(prepared.report)
        QTimer.singleShot(0, lambda: self.say(self.report, found.words))

    def _decide(self, checks: Any) -> None:
        """Leave bad pairs out, train on all, or not at all."""
        waiting = self._waiting
        self._dismiss()
        self._enable()
        if waiting is None or checks is None:
            return
        choice = replace(self.value(), checks=checks)
        recipe = self.recipes[choice.recipe]
        text = choice.text or as_text(configuration(choice, recipe, self._facts, self._package(choice), self._step()))
        self._prepare(replace(waiting.order, text=text, pair=None, check=False), self._prepared)

    def _begin(self, prepared: PreparedRun) -> None:
        folder, choice = prepared.order.folder, self.value()
        if self._try(lambda: process.begin(folder, prepared.config, keep=choice.keep_running)):
            self.watch_run(RunLocation(folder, folder / RUN), begun=True)
            self.look_for_runs()
            # The next training is another model; what was edited by hand is kept in the run's own file.
            self.choose(name=_next_name(choice.name), text=None)

    def run_ended(self) -> None:
        """Look for the runs anew, and time what could not be timed meanwhile."""
        self.look_for_runs()
        self._timer.start()

    def save_as(self) -> None:
        """Save the configuration, and the layers' images beside it, to be trained elsewhere."""
        name = slug(self.value().name) or "train"
        path, _ = QFileDialog.getSaveFileName(self, "Save the configuration", f"{name}.yaml", "Configurations (*.yaml *.yml)")
        if path:
            self.save_to(path)

    def save_to(self, path: str | Path) -> None:
        """Save the configuration and what it needs."""
        path, pair, name = Path(path), self._pair, slug(self.value().name)
        try:
            text = elsewhere(self.value().text or self._text, name, path.stem)
        except VirtualPaintError as error:
            show_error(str(error))
            return

        def work() -> Any:
            yield None
            if pair is not None:
                yield from write_pair(*pair, path.parent / f"{path.stem}-{IMAGES}")
            return write_text(path, text)

        jobs.start(work, title=f"Saving {path.name}", done=lambda saved: show_info(f"Saved; train it with: virtual-paint train {saved}"))


def _next_name(name: str) -> str:
    """Return a name that no run has yet: the same with the next number behind it."""
    stem = re.sub(r"\s+\d+$", "", name) or name
    number = 2
    while taken(f"{stem} {number}"):
        number += 1
    return f"{stem} {number}"
