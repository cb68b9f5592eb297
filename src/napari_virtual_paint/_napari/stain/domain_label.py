"""The line of the Stain dock that tells, before anything is painted, whether the image looks like what the model learned from."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QLabel, QSizePolicy

from napari_virtual_paint._napari.shared import jobs
from napari_virtual_paint.errors import VirtualPaintError

if TYPE_CHECKING:
    from napari_virtual_paint.models.applicability.check import DomainVerdict
    from napari_virtual_paint.painting.model_set import ModelSet
    from napari_virtual_paint.painting.settings import PaintSettings
    from napari_virtual_paint.stack import Stack

PAUSE = 200
"""Milliseconds after the last change before the image is looked at."""
COLOURS = {"inside": "#3a9d5d", "edge": "#d08a1d", "outside": "#d6453d"}
"""Readable on napari's dark and light themes."""
WORDS = {
    "inside": "Like what the model learned from",
    "edge": "At the edge of what the model learned from",
    "outside": "Unlike what the model learned from",
}
Question = tuple["ModelSet", "Stack", "PaintSettings"]


class DomainLine(QLabel):  # type: ignore[misc]
    """A verdict and its first reason, coloured; hidden where the model's package does not know its training inputs.

    Attributes
    ----------
    verdict
        What was found for the question asked last; None until then, or where nothing is known.
    """

    def __init__(self) -> None:
        super().__init__()
        self.verdict: DomainVerdict | None = None
        self._asked: Callable[[], Question | None] | None = None
        self._job: jobs.Job | None = None
        self._number = 0
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(PAUSE)
        self._timer.timeout.connect(self._start)
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.hide()

    def ask(self, question: Callable[[], Question | None]) -> None:
        """Look at an image soon, on a worker; one such job at a time, and what it finds for an older question is not shown.

        Parameters
        ----------
        question
            Gives models, image and settings when the time has come; None where there is nothing to look at.
        """
        self._asked = question
        self._number += 1
        self.verdict = None
        self.hide()
        self._timer.start()

    def _start(self) -> None:
        question = self._asked() if self._asked is not None else None
        if question is None or self._job is not None:  # the job that runs begins the next one
            return
        many, stack, settings = question
        if all(member.model.info.domain is None for member in many.members):
            return
        number = self._number

        def look() -> DomainVerdict | None:
            from napari_virtual_paint.painting.domain_check import domain_of

            return domain_of(many, stack, settings)

        self._job = jobs.start_function(
            look,
            title="Comparing with the training images",
            done=lambda verdict: self._show(number, verdict),
            failed=lambda _error: self._show(number, None),
            quiet=True,
        )

    def _show(self, number: int, verdict: DomainVerdict | None) -> None:
        if not isalive(self):
            return
        self._job = None
        if number != self._number:
            self._timer.start()
            return
        self.verdict = verdict
        if verdict is not None:
            self.setText(line(verdict))
            self.setToolTip(tip(verdict))
        self.setVisible(verdict is not None)


def line(verdict: DomainVerdict) -> str:
    """Return a verdict and its first reason as HTML."""
    head = f'<span style="color:{COLOURS[verdict.verdict]}">●</span> {WORDS[verdict.verdict]} (distance {verdict.distance:.1f}).'
    return f"{head} {escape(verdict.reasons[0])}" if verdict.reasons else head


def tip(verdict: DomainVerdict) -> str:
    """Return all reasons and the distance of each part, as HTML."""
    rows = "".join(f"<tr><td>{escape(name)}&nbsp;</td><td align='right'>{value:.2f}</td></tr>" for name, value in verdict.parts.items())
    said = "".join(f"<p>{escape(reason)}</p>" for reason in verdict.reasons)
    return f"{said}<p>Distance up to 1: as training images are; up to 2: at their edge.</p><table>{rows}</table>"


def question_of(many: Any, meeting: Any, settings: Callable[[], Any]) -> Question | None:
    """Return what to look at; None while the image or the model is not settled."""
    if many is None or meeting.source is None or meeting.match is None:
        return None
    try:
        return many, meeting.source.stack, settings()
    except VirtualPaintError:
        return None
