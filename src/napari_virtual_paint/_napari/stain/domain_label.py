"""The line of the Stain dock that says, before anything is painted, whether the image is in the model's domain of applicability."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal

from napari_virtual_paint._napari.shared.widgets import WrappedLabel, link

if TYPE_CHECKING:
    from napari_virtual_paint.models.applicability.check import DomainVerdict

COLOURS = {"inside": "#3a9d5d", "edge": "#d08a1d", "outside": "#d6453d"}
"""Readable on napari's dark and light themes."""
WORDS = {
    "inside": "Like what the model learned from",
    "edge": "At the edge of what the model learned from",
    "outside": "Unlike what the model learned from",
}
TEACH = "Teach this model…"
COMPARING = "Comparing the image with the training images…"
NO_SUMMARY = "No domain check: {} has no summary of its training images."
SUMMARIZE = "`virtual-paint models domain` adds a summary to a package, from images that the model was trained on."


class DomainLine(WrappedLabel):
    """A verdict and its first reason, colored, and which of the models can't be checked; hidden while nothing is known.

    Attributes
    ----------
    verdict
        What is shown; None where nothing is known.
    """

    def __init__(self) -> None:
        super().__init__()
        self.verdict: DomainVerdict | None = None
        self.setTextInteractionFlags(self.textInteractionFlags() | Qt.TextInteractionFlag.LinksAccessibleByMouse)
        self.linkActivated.connect(lambda _: self.teach.emit())
        self.hide()

    teach = Signal()
    """The model is to be taught such images."""

    def show_verdict(
        self, verdict: DomainVerdict | None, unchecked: Sequence[str] = (), *, comparing: bool = False, teachable: bool = False
    ) -> None:
        """Show what was found.

        Parameters
        ----------
        verdict
            Of the domain check; None where nothing is known.
        unchecked
            Names of the models without a summary of their training images.
        comparing
            Whether the domain check is still running.
        teachable
            Whether teaching the model is offered where the image is not inside.
        """
        self.verdict = verdict
        lines = [COMPARING] if comparing else [] if verdict is None else [line(verdict)]
        if teachable and not comparing and verdict is not None and verdict.verdict != "inside":
            self.ensurePolished()  # else a label that was never shown has not the theme's colors, which the link takes
            lines.append(link("teach", TEACH, self))
        lines += [escape(NO_SUMMARY.format(name)) for name in unchecked]
        self.setText("<br>".join(lines))
        self.setToolTip((tip(verdict) if verdict is not None else "") + (f"<p>{SUMMARIZE}</p>" if unchecked else ""))
        self.setVisible(bool(lines))


def line(verdict: DomainVerdict) -> str:
    """Return a verdict and its first reason as HTML."""
    head = f'<span style="color:{COLOURS[verdict.verdict]}">●</span> {WORDS[verdict.verdict]} (distance {verdict.distance:.1f}).'
    return f"{head} {escape(verdict.reasons[0])}" if verdict.reasons else head


def tip(verdict: DomainVerdict) -> str:
    """Return all reasons and the distance of each part, as HTML."""
    rows = "".join(f"<tr><td>{escape(name)}&nbsp;</td><td align='right'>{value:.2f}</td></tr>" for name, value in verdict.parts.items())
    said = "".join(f"<p>{escape(reason)}</p>" for reason in verdict.reasons)
    return f"{said}<p>Distance up to 1: as training images are; up to 2: at their edge.</p><table>{rows}</table>"
