"""The line of the Stain dock that says, before anything is painted, whether the image is in the model's domain of applicability."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QSizePolicy

from napari_virtual_paint._napari.shared.background import Debounced, LatestJob

if TYPE_CHECKING:
    from napari_virtual_paint.models.applicability.check import DomainVerdict
    from napari_virtual_paint.painting.model_set import ModelSet
    from napari_virtual_paint.painting.settings import PaintSettings
    from napari_virtual_paint.stack import Stack

PAUSE = 200  # milliseconds after the last change before the image is checked
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
        self._question: Callable[[], Question | None] = lambda: None
        self._job = LatestJob(self, one_at_a_time=True)
        self._timer = Debounced(PAUSE, self._start, self)
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.hide()

    def ask(self, question: Callable[[], Question | None]) -> None:
        """Check an image soon, on a worker; what is found for an older question is not shown.

        Parameters
        ----------
        question
            Returns models, image and settings when the time has come; None where there is nothing to check.
        """
        self._question = question
        self._job.drop()
        self.verdict = None
        self.hide()
        self._timer.start()

    def _start(self) -> None:
        question = self._question()
        if question is None or all(member.model.info.domain is None for member in question[0].members):
            return

        def check() -> DomainVerdict | None:
            from napari_virtual_paint.painting.domain_check import domain_of

            return domain_of(*question)

        self._job.start_function(check, title="Comparing with the training images", done=self._show)

    def _show(self, verdict: DomainVerdict | None) -> None:
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
