"""The form of the Count dock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from qtpy.QtWidgets import QCheckBox, QListWidget, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_virtual_paint._napari.shared.form_binding import BoundForm
from napari_virtual_paint._napari.shared.progress import JobProgress, progress_words, set_bar
from napari_virtual_paint._napari.shared.widgets import button_grid, combo, fill_scrolled, footer, form_rows, set_choices, set_names, words
from napari_virtual_paint.choices import Segmenter

SEGMENTERS: tuple[tuple[Segmenter, str], ...] = (("skimage", "scikit-image"), ("cellpose", "Cellpose"), ("instanseg", "InstanSeg"))
PLANES = (("max", "Maximum projection"), ("shown", "The plane that is shown"))


@dataclass(frozen=True)
class CountState:
    """What is counted and how."""

    layers: tuple[str, ...] = ()  # names of the layers of one image, each a stain
    nuclei: str = ""  # the layer that shows the nuclei; empty finds it by its name
    segmenter: Segmenter = "skimage"
    plane: Literal["max", "shown"] = "max"  # what is counted of a stack
    tracks: bool = False  # whether the objects of a time series are linked to tracks


class CountPanel(BoundForm[CountState]):
    """Edits a `CountState`; a footer shows progress, the counts, and the buttons."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = QListWidget()
        self.layers.setToolTip("The stains of one image, painted or real, with that of the nuclei among them")
        self.layers.setAccessibleName("Stains")
        self.nuclei = combo("The stain of the nuclei")
        self.segmenter = combo("What finds nuclei and cells; Cellpose and InstanSeg must be installed, and fetch their weights", SEGMENTERS)
        self.plane = combo("What is counted of a stack", PLANES)
        self.tracks = QCheckBox("Link to tracks")
        self.tracks.setToolTip("Link the objects of a time series (extra tracking: laptrack), and show them as a Tracks layer")
        self.count = QPushButton("Count")
        self.count.setToolTip("Find nuclei and cells; their labels become layers, which you can correct with napari's tools")
        self.again = QPushButton("Count corrected")
        self.again.setToolTip("Measure and count the labels as they are now, after you corrected them")
        self.save = QPushButton("Save…")
        self.save.setToolTip("Save the table of objects (.csv or .parquet), and the labels beside it")
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip("Stop; layers stay as they are")
        self.bar = QProgressBar()
        self.bar.hide()
        self.status = words()
        self._lay_out()
        names = ("layers", "nuclei", "segmenter", "plane", "tracks")
        self.bind(CountState(), {name: getattr(self, name) for name in names})
        self.setLayers(())

    def setLayers(self, names: Sequence[str]) -> None:  # noqa: N802 - as Qt's own
        """Offer these layers, silently; what is chosen stays so where it is still there."""
        offered = [("", "By its name"), *((name, name) for name in names)]
        if [(self.nuclei.itemData(row), self.nuclei.itemText(row)) for row in range(self.nuclei.count())] == offered:
            return
        set_names(self.layers, names, self.value().layers)
        set_choices(self.nuclei, offered)
        self.reread()

    def setState(self, running: bool, counted: bool) -> None:  # noqa: N802
        """Switch the buttons."""
        self.count.setEnabled(not running)
        self.again.setEnabled(counted and not running)
        self.save.setEnabled(counted and not running)
        self.cancel.setEnabled(running)
        self.bar.setVisible(running)

    def show_progress(self, progress: JobProgress) -> None:
        """Move the bar."""
        set_bar(self.bar, round(1000 * progress.fraction))
        if words := progress_words(progress):
            self.say(words)

    def say(self, sentence: str) -> None:
        """Show a sentence."""
        self.status.setText(sentence)

    def _lay_out(self) -> None:
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(0, 0, 4, 0)
        rows = (("Stains", self.layers), ("Nuclei", self.nuclei), ("Found by", self.segmenter), ("Stack", self.plane), ("", self.tracks))
        column.addLayout(form_rows(rows))
        column.addStretch(1)
        self.footer = footer(self.bar, self.status, button_grid((self.count, self.cancel, self.again, self.save), 2))
        fill_scrolled(self, inner, self.footer)
