"""The wells of a plate that are worth staining: looked for on a worker, and selected on the map."""

from __future__ import annotations

from collections.abc import Generator
from html import escape
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject

from napari_virtual_paint._napari.plate.panel import PlatePanel
from napari_virtual_paint._napari.plate.session import PlateSession
from napari_virtual_paint._napari.shared.background import LatestJob
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.progress import JobProgress
from napari_virtual_paint.runtime.progress import time_left

if TYPE_CHECKING:
    from napari_virtual_paint.plates.plate import Plate
    from napari_virtual_paint.plates.suggestion import Suggestion

WELLS = 3  # how many are suggested
SUGGEST = "Suggest wells to stain"


class WellSuggestions(QObject):  # type: ignore[misc]
    """Looks at the wells with the chosen model when the button is clicked; a second click cancels."""

    def __init__(self, session: PlateSession, view: PlatePanel, parent: QObject) -> None:
        super().__init__(parent)
        self.session, self.view = session, view
        self._job = LatestJob(self)
        view.suggest.clicked.connect(lambda _checked: self._toggle())
        session.plate_opened.connect(self._forget)

    @property
    def busy(self) -> bool:
        """Whether the wells are being looked at."""
        return self._job.running

    def close(self) -> None:
        """Stop."""
        self._job.close()

    def _forget(self, again: bool) -> None:
        """Take back what was said of the plate before."""
        if not again:
            self._job.drop()
            self._rest()
        self.view.suggest.setEnabled(self.session.plate is not None)

    def _toggle(self) -> None:
        plate, model = self.session.plate, self.session.model
        if self._job.running:
            self._job.cancel()
        elif plate is None or model is None:
            self._rest("Choose a plate and a model first.")
        else:
            count, channels = min(WELLS, len(plate.wells)), self.session.state.painting.channels

            def look() -> Generator[Any, None, Suggestion]:
                from napari_virtual_paint.plates.suggestion import suggesting

                return (yield from suggesting(plate, model, count, channels=channels))

            self.view.suggest.setText("Cancel")
            self._job.start(
                look,
                title="Looking at the wells",
                tick=self._show_progress,
                done=lambda found: self._show(plate, found),
                failed=lambda error: self._rest(str(error)),
                cancelled=self._rest,
            )

    @timed
    def _show_progress(self, progress: JobProgress) -> None:
        parts = (f"{progress.message or 'Looking at the wells'}… {100 * progress.fraction:.0f} %", time_left(progress.seconds_left))
        self.view.suggested.setText(", ".join(part for part in parts if part))
        self.view.suggested.show()

    @timed
    def _show(self, plate: Plate, found: Suggestion) -> None:
        if plate is not self.session.plate:
            return
        wells = tuple(one.well for one in found.wells)
        self._rest(f"Stain {', '.join(wells)}. {' '.join(found.notes)}".strip())
        self.view.suggested.setToolTip("<br>".join(f"<b>{one.well}</b>: {escape(one.reason)}" for one in found.wells))
        self.view.map.set_selection(wells)
        self.view.map.selected.emit(wells)

    def _rest(self, words: str = "") -> None:
        """Show what was found, and offer to look again."""
        self.view.suggest.setText(SUGGEST)
        self.view.suggested.setText(escape(words))
        self.view.suggested.setToolTip("")
        self.view.suggested.setVisible(bool(words))
