"""The Evaluate dock: score predicted stains at several levels, and show the headline of the report."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import napari.viewer
from napari.utils.notifications import show_info
from qtpy.QtCore import QTimer, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QApplication, QFileDialog, QWidget

from napari_virtual_paint._napari.commands import open_dock
from napari_virtual_paint._napari.evaluate.headline import ReportHead, read_head
from napari_virtual_paint._napari.evaluate.layers import LayerImages, images_of, write_images
from napari_virtual_paint._napari.evaluate.panel import EvaluatePanel
from napari_virtual_paint._napari.evaluate.source_controller import SourceController
from napari_virtual_paint._napari.evaluate.state import EvaluateState, arguments, command, is_begun, is_finished, missing, state_of_report
from napari_virtual_paint._napari.shared import cli_process
from napari_virtual_paint._napari.shared.background import LatestJob
from napari_virtual_paint._napari.shared.dock_area import join_tabs
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.jobs import failure_sentence
from napari_virtual_paint._napari.shared.progress import JobProgress, set_bar
from napari_virtual_paint._napari.shared.viewer.layer_list import guard_removals
from napari_virtual_paint._napari.shared.widgets import fill_scrolled
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.evaluation.report_files import PAGE
from napari_virtual_paint.runtime.contention import slowdown
from napari_virtual_paint.runtime.generators import relay
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.runtime.text import rough_duration

TITLE = "The evaluation"
STOPPED = "Stopped. Finished fields are kept; press Resume to evaluate the rest."
NOT_BEGUN = "Stopped before the first field; nothing was written."


class EvaluateDock(QWidget):  # type: ignore[misc]
    """The Evaluate dock.

    Parameters
    ----------
    viewer
        The viewer whose layers, and whose Plate dock's plate, are offered.

    Attributes
    ----------
    panel
        The widgets; `form`, one of them, shows and edits the choice.
    sources
        Offers and inspects what is compared.
    head
        The headline of the report that is shown; None before there is one.
    """

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        guard_removals(viewer)
        join_tabs(self, "Evaluate")
        self.setWindowTitle("Evaluate")
        self.viewer = viewer
        self.head: ReportHead | None = None
        self.panel = panel = EvaluatePanel()
        self.form = panel.form
        self.scroll = fill_scrolled(self, panel, panel.footer)
        self.sources = SourceController(viewer, self.form)
        # The process of a cancelled evaluation may still write into the report: the next one waits for its end.
        self._evaluation = LatestJob(self, one_at_a_time=True)
        self._opening = LatestJob(self)
        self.sources.changed.connect(self._enable)
        self.sources.inspected.connect(panel.inputs.setText)
        panel.start.clicked.connect(lambda _checked: self.evaluate())
        panel.cancel.clicked.connect(lambda _checked: self.stop())
        panel.copy.clicked.connect(lambda _checked: self.copy_command())
        panel.earlier.clicked.connect(lambda _checked: self._ask_report())
        panel.page.clicked.connect(lambda _checked: self.open_page())
        panel.profile.clicked.connect(lambda _checked: self.open_profile())
        self.sources.offer()
        self._enable()

    def value(self) -> EvaluateState:
        """Return what is chosen."""
        return self.form.value()

    def setValue(self, choice: EvaluateState) -> None:  # noqa: N802 - Qt's own way of naming
        """Choose."""
        self.sources.choose(choice)

    def choose(self, **changes: Any) -> None:
        """Change some of the choice, as in ``choose(levels=("pixels",), workers=2)``."""
        self.setValue(replace(self.value(), **changes))

    @property
    def running(self) -> bool:
        """Whether an evaluation is under way."""
        return self._evaluation.running

    @property
    def busy(self) -> bool:
        """Whether inputs are inspected or a report is opened."""
        return self.sources.busy or self._opening.running

    def showEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Offer what was opened meanwhile."""
        super().showEvent(event)
        self.sources.offer()

    def enterEvent(self, event: Any) -> None:  # noqa: N802
        """Offer what was opened meanwhile."""
        super().enterEvent(event)
        self.sources.offer()

    # -- the evaluation -----------------------------------------------------------------------------------------------

    def evaluate(self) -> None:
        """Begin or continue an evaluation; what is missing is shown in the dock."""
        if self.running:
            return
        choice = self.value()
        problem = missing(choice)
        images: LayerImages | None = None
        if not problem and choice.source == "layers":
            try:
                images = images_of(self.viewer)
            except InputError as error:
                problem = str(error)
        if problem:
            self.panel.say(escape(problem))
            return
        self.panel.result.hide()
        self.head = None
        set_bar(self.panel.bar, 0)
        self.panel.bar.show()
        seconds = self.sources.seconds(choice)
        self._show_progress(JobProgress(message="Starting", seconds_left=seconds))
        self._evaluation.start(
            partial(_evaluate, choice, images, seconds),
            title=f"Evaluating {Path(choice.output).name}",
            tick=self._show_progress,
            done=self._show_result,
            failed=lambda error: self._show_end(failure_sentence(TITLE, error)),
            cancelled=self._show_stopped,
        )
        self._enable()

    def stop(self) -> None:
        """Stop the evaluation within a second."""
        self._evaluation.cancel()
        if not self.running:  # it had not begun
            self._show_stopped()

    def _show_stopped(self) -> None:
        self._show_end(STOPPED if self._unfinished(self.value()) else NOT_BEGUN)

    @timed
    def _show_progress(self, progress: JobProgress) -> None:
        set_bar(self.panel.bar, round(1000 * progress.fraction))
        left = "" if progress.seconds_left is None else f"about {rough_duration(progress.seconds_left)} left"
        parts = [progress.message.rstrip(".") or "Evaluating", left]
        self.panel.say(escape(" · ".join(part for part in parts if part)))

    @timed
    def _show_result(self, head: ReportHead) -> None:
        self._show_end("")
        self._show_head(head)

    @timed
    def _show_end(self, message: str) -> None:
        self.panel.bar.hide()
        self.panel.say(escape(message))
        self._enable()

    def _unfinished(self, choice: EvaluateState) -> bool:
        """Return whether the chosen report is begun and not finished."""
        report = Path(choice.output).expanduser()
        return bool(choice.output) and is_begun(report) and not is_finished(report)

    def _enable(self) -> None:
        """Enable what can be done now."""
        choice, panel = self.value(), self.panel
        self.form.setEnabled(not self.running)
        panel.start.setEnabled(not self.running and not missing(choice))
        panel.start.setText("Resume" if self._unfinished(choice) else "Evaluate")
        panel.cancel.setEnabled(self.running)
        panel.copy.setEnabled(choice.source == "paths")
        panel.earlier.setEnabled(not self.running)

    # -- the report ---------------------------------------------------------------------------------------------------

    def open_report(self, path: str | Path) -> None:
        """Open a report that was made, or begun, before: its choices, and its headline where it is finished."""
        folder = Path(path)
        try:
            choice = state_of_report(folder)
        except InputError as error:
            self.panel.say(escape(str(error)))
            return
        self.sources.choose(choice, "paths")
        self.sources.offer()
        self.panel.result.hide()
        if is_finished(folder):
            self._opening.start_function(
                partial(read_head, folder),
                title=f"Opening {folder.name}",
                done=self._show_head,
                failed=lambda error: self._show_end(failure_sentence("Opening the report", error)),
            )
        else:
            self.panel.say("This evaluation was stopped. Press Resume to evaluate the rest.")

    @timed
    def _show_head(self, head: ReportHead) -> None:
        """Show the headline of a report."""
        self.head = head
        self.panel.table.set_head(head)
        self.panel.profile.setEnabled(head.profiles)
        self.panel.result.show()
        self.panel.say(escape(head.sentence))
        # Only once the layout has taken up the table is there something to scroll to.
        QTimer.singleShot(0, partial(self.scroll.ensureWidgetVisible, self.panel.result))

    def open_page(self) -> None:
        """Open the report in the browser."""
        if self.head is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str((self.head.report / PAGE).resolve())))

    def open_profile(self) -> Any:
        """Open the report in the Profile dock, and return that."""
        dock = open_dock("Profile") if self.head is not None else None
        if self.head is not None and dock is not None:
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


def _evaluate(choice: EvaluateState, images: LayerImages | None, seconds: float | None) -> Generator[Progress, None, ReportHead]:
    """Evaluate in a process (on a worker), and return the headline of the report; `seconds` is how long it is estimated to take."""
    if images is not None:
        from napari_virtual_paint.evaluation.run.pace import estimate

        yield Progress(message="Starting")
        seconds = slowdown() * sum(estimate(1, images.nbytes, choice.levels, choice.workers).values())
        choice = yield from relay(write_images(images, choice), lambda step: replace(step, seconds_left=seconds))
    yield from cli_process.run(arguments(choice), TITLE, Progress(message="Starting", seconds_left=seconds))
    return read_head(Path(choice.output).expanduser())
