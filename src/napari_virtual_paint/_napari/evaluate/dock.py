"""The Evaluate dock: judge predicted stains by what is done with them, and show what came of it."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import napari.viewer
from napari.utils.notifications import show_info
from qtpy.compat import isalive
from qtpy.QtCore import QTimer, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_virtual_paint._napari.evaluate.headline import ReportHead, read_head
from napari_virtual_paint._napari.evaluate.layers import LayerImages, images_of, write_images
from napari_virtual_paint._napari.evaluate.source_controller import EvaluateForming
from napari_virtual_paint._napari.evaluate.state import (
    EvaluateState,
    arguments,
    asked_before,
    command,
    is_begun,
    is_finished,
    missing,
)
from napari_virtual_paint._napari.shared import jobs as run
from napari_virtual_paint._napari.shared.cli_process import Evaluator
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.progress import JobProgress, set_bar
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.evaluation.report_files import PAGE
from napari_virtual_paint.runtime.progress import Progress, time_left


class EvaluateDock(EvaluateForming):
    """The Evaluate dock.

    Parameters
    ----------
    viewer
        The viewer whose layers, and whose Plate dock's plate, are offered.

    Attributes
    ----------
    head
        The report that is shown; None before there is one.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self.setWindowTitle("Evaluate")
        self.head: ReportHead | None = None
        self._job: run.Job | None = None
        self._reading: run.Job | None = None
        self._evaluator: Evaluator | None = None
        self.start.clicked.connect(lambda _checked: self.evaluate())
        self.cancel.clicked.connect(lambda _checked: self.stop())
        self.copy.clicked.connect(lambda _checked: self.copy_command())
        self.earlier.clicked.connect(lambda _checked: self._ask_report())
        self.page.clicked.connect(lambda _checked: self.open_page())
        self.profile.clicked.connect(lambda _checked: self.open_profile())
        self.offer()
        self.enable()

    @property
    def running(self) -> bool:
        """Whether an evaluation is under way."""
        return self._job is not None

    @property
    def busy(self) -> bool:
        """Whether something is looked at or read (not: evaluated)."""
        jobs = (self._looking, self._reading)
        return any(job is not None and job.running for job in jobs) or bool(self._timer.isActive())

    # -- the evaluation -----------------------------------------------------------------------------------------------

    def evaluate(self) -> None:
        """Begin, or go on; what is missing is told in the dock."""
        choice = self.value()
        said = missing(choice)
        images: LayerImages | None = None
        if not said and choice.source == "layers":
            try:
                images = images_of(self.viewer)
            except InputError as error:
                said = str(error)
        if said or self.running:
            self.say(escape(said))
            return
        self.result.hide()
        self.head = None
        set_bar(self.bar, 0)
        self.bar.show()
        self.say("Starting…")
        self._job = run.start(
            partial(self._work, choice, images, self._evaluator),
            title=f"Evaluating {Path(choice.output).name}",
            tick=self._tick,
            done=self._done,
            failed=self._failed,
            cancelled=lambda: self._over("Stopped; what was judged is kept, and Go on judges the rest."),
            quiet=True,  # the dock tells; a bar of napari's takes longer than our turn
        )
        self.enable()

    def _work(self, choice: EvaluateState, images: LayerImages | None, before: Evaluator | None) -> Generator[Progress, None, ReportHead]:
        """Evaluate in a process of its own (on a worker), once the one before has gone."""
        if before is not None and before.alive:
            yield Progress(0, 0, "Waiting for the evaluation before to end")
            before.stop()
        if images is not None:
            choice = yield from write_images(images, choice)
        self._evaluator = Evaluator(arguments(choice))
        yield from self._evaluator.follow()
        return read_head(Path(choice.output).expanduser())

    def stop(self) -> None:
        """Stop the evaluation within a second."""
        if self._job is not None:
            self._job.cancel()

    @timed
    def _tick(self, progress: JobProgress) -> None:
        if isalive(self):
            set_bar(self.bar, round(1000 * progress.fraction))
            parts = [progress.message.rstrip(".") or "Evaluating", time_left(progress.seconds_left)]
            self.say(escape(" · ".join(part for part in parts if part)))

    @timed
    def _done(self, head: ReportHead) -> None:
        self._over("")
        self._show(head)

    @timed
    def _failed(self, error: BaseException) -> None:
        self._over(str(error))

    def _over(self, said: str) -> None:
        self._job = None
        if isalive(self):
            self.bar.hide()
            self.say(escape(said))
            self.enable()

    def enable(self) -> None:
        """Enable what can be done now."""
        choice = self.value()
        begun = bool(choice.output) and is_begun(Path(choice.output).expanduser())
        self.form.setEnabled(not self.running)
        self.start.setEnabled(not self.running and not missing(choice))
        self.start.setText("Go on" if begun and not is_finished(Path(choice.output).expanduser()) else "Evaluate")
        self.cancel.setEnabled(self.running)
        self.copy.setEnabled(choice.source == "paths")
        self.earlier.setEnabled(not self.running)

    # -- what came of it ----------------------------------------------------------------------------------------------

    def open_report(self, path: str | Path) -> None:
        """Take up a report that was made, or begun, before: its question, and its numbers where it is finished."""
        folder = Path(path)
        try:
            choice = asked_before(folder)
        except InputError as error:
            self.say(escape(str(error)))
            return
        self._filled = "paths"
        self.setValue(choice)
        self.offer()
        self.result.hide()
        if is_finished(folder):
            self._reading = run.start_function(
                partial(read_head, folder), title=f"Opening {folder.name}", done=self._show, failed=self._failed, quiet=True
            )
        else:
            self.say("This evaluation was stopped; Go on judges the rest.")

    @timed
    def _show(self, head: ReportHead) -> None:
        """Show the numbers of a report."""
        if not isalive(self):
            return
        self.head = head
        self.table.set_head(head)
        self.profile.setEnabled(head.profiles)
        self.result.show()
        self.say(f"<b>{escape(head.report.name)}</b>")
        QTimer.singleShot(0, partial(self.scroll.ensureWidgetVisible, self.result))

    def open_page(self) -> None:
        """Open the report in the browser."""
        if self.head is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str((self.head.report / PAGE).resolve())))

    def open_profile(self) -> Any:
        """Open the report in the Profile dock, and return that."""
        from napari_virtual_paint._napari.commands import open_dock

        if self.head is None:
            return None
        dock = open_dock("Profile")
        if dock is not None:
            dock.open_report(self.head.report)
        return dock

    def copy_command(self) -> str:
        """Copy the command line that does the same, and return it."""
        line = command(self.value())
        QApplication.clipboard().setText(line)
        show_info(f"Copied: {line}")
        return line

    def _ask_report(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Open a report")
        if path:
            self.open_report(path)
