"""The layout of the Stain dock."""

from __future__ import annotations

from qtpy.QtWidgets import QLabel, QProgressBar, QWidget

from napari_virtual_paint._napari.shared.progress import JobProgress, set_bar
from napari_virtual_paint._napari.shared.viewer.stain_view import StainButtons
from napari_virtual_paint._napari.shared.welcome import Welcome
from napari_virtual_paint._napari.shared.widgets import button, button_grid, fill_scrolled, footer, words
from napari_virtual_paint._napari.stain.domain_label import DomainLine
from napari_virtual_paint.runtime.progress import time_left

PREVIEW = "Paint all that is in view into temporary layers"
NO_PREVIEW = "Preview is off in 3D; switch the view to 2D for it."
KEYS = {"paint": "Ctrl+Return", "preview": "Ctrl+Shift+Return", "cancel": "Ctrl+.", "compare": "Ctrl+Alt+Return"}


class StainPanel(QWidget):  # type: ignore[misc]
    """The form, and a footer with the estimate, the progress and the buttons. `StainDock` connects them."""

    def __init__(self, form: QWidget, stains: StainButtons) -> None:
        super().__init__()
        self.form = form
        self.stains = stains
        self.check = self._words("What a painting will need, and what speaks against it")
        self.domain = DomainLine()
        self.button_paint = button("Paint", "Paint the whole image, what is in view first", KEYS["paint"])
        self.button_preview = button("Preview", PREVIEW, KEYS["preview"])
        self.button_cancel = button("Cancel", "Stop within a second; Advanced says what happens to the layers", KEYS["cancel"])
        self.button_save = button("Save stains…", "Save the stains of this image as one OME-TIFF or OME-Zarr")
        self.button_copy = button("Copy as command", "Copy the command line that does the same")
        self.button_compare = button("Compare", "Open the Compare dock: score predicted against true stains", KEYS["compare"])
        self._preview_tip = self.button_preview.toolTip()
        self.bar = QProgressBar()
        self.status = self._words("How far the painting is, and how it ended")
        self.welcome = Welcome("Drop an image here, or open a sample.")
        self._lay_out()

    def set_busy(self, busy: bool, *, ready: bool, flat: bool = True, stains: bool = False) -> None:
        """Show that something is painted, or enable the buttons for which all is there.

        Parameters
        ----------
        busy
            Whether something is painted.
        ready
            Whether an image and a model that fit are chosen.
        flat
            Whether the view is 2D.
        stains
            Whether there are stains to save.
        """
        self.button_paint.setEnabled(ready)
        self.button_preview.setEnabled(ready and flat)
        self.button_preview.setToolTip(self._preview_tip if flat else NO_PREVIEW)
        self.button_save.setEnabled(stains and not busy)
        self.button_cancel.setEnabled(busy)
        self.bar.setVisible(busy)
        self.check.setVisible(not busy)

    def show_progress(self, progress: JobProgress) -> None:
        """Move the bar and say what is done, or how long it takes."""
        if progress.total:
            set_bar(self.bar, round(1000 * progress.fraction))
        self.status.setText(progress.message or time_left(progress.seconds_left) or "Painting…")

    def _lay_out(self) -> None:
        self.form.layout().insertWidget(0, self.welcome)
        self.form.layout().addStretch(1)
        self.bar.setTextVisible(True)
        self.bar.setToolTip("How much is painted")
        self.bar.hide()
        buttons = (self.button_paint, self.button_preview, self.button_cancel, self.button_save, self.button_copy, self.button_compare)
        self.footer = footer(self.domain, self.check, self.bar, self.status, self.stains, button_grid(buttons, 3))
        fill_scrolled(self, self.form, self.footer)

    @staticmethod
    def _words(tip: str) -> QLabel:
        label = words()
        label.setToolTip(tip)
        return label
