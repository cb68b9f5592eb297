"""What the Cells dock has done in the background: measuring what it painted, galleries, and files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, QTimer, Signal

from napari_virtual_paint._napari.cells_measure import measured
from napari_virtual_paint._napari.shared import jobs
from napari_virtual_paint._napari.shared.gui_timing import timed

if TYPE_CHECKING:
    from napari_virtual_paint._napari.cells.state import Opened
    from napari_virtual_paint._napari.cells.walk import Walked

Floats = npt.NDArray[np.float32]
PAUSE = 700
"""Milliseconds without a change before the picture is measured."""
USUAL = (
    "Nuclei_AreaShape_Area",
    "Nuclei_AreaShape_Orientation",
    "Nuclei_Intensity_MeanIntensity_DNA",
    "Cytoplasm_AreaShape_Area",
)
"""The rows of the paper's Fig. 4c."""


class Measurer(QObject):  # type: ignore[misc]
    """Measures the newest picture once it has stood still for a while; one measurement at a time.

    Attributes
    ----------
    busy
        Whether something is being measured, or will be.
    """

    found = Signal(int, object)
    """The version of the picture, and float32 (p,) of what it has."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.on = True
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(PAUSE)
        self._timer.timeout.connect(self._begin)
        self._order: tuple[Opened, Floats, int, int] | None = None
        self._job: jobs.Job | None = None

    @property
    def busy(self) -> bool:
        """Whether something is being measured, or will be."""
        return self._job is not None or self._timer.isActive()

    def ask(self, opened: Opened, crop: Floats, version: int, cell: int) -> None:
        """Have a picture measured after a pause; one asked for before is forgotten."""
        if self.on:
            self._order = (opened, crop, version, cell)
            self._timer.start()

    def restart(self) -> None:
        """Measure again, with another model."""
        self.stop()
        self.on = True

    def hold(self) -> None:
        """Measure nothing for now: the picture changes."""
        self._timer.stop()

    def stop(self) -> None:
        """Measure nothing more."""
        self._timer.stop()
        self._order = None
        if self._job is not None:
            self._job.cancel()
            self._job = None

    @timed
    def _begin(self) -> None:
        if self._order is None:
            return
        if self._job is not None:
            self._timer.start()  # it takes its turn once the other is done
            return
        opened, crop, version, cell = self._order
        self._order = None
        self._job = jobs.start_function(
            lambda: (version, measured(opened, crop, cell)), title="Measuring the cell", done=self._done, failed=self._failed, quiet=True
        )

    def _done(self, result: tuple[int, Floats]) -> None:
        self._job = None
        self.found.emit(*result)

    def _failed(self, _error: BaseException) -> None:
        self._job, self.on = None, False  # what can't be measured once can't be measured after the next pause either


def write_gallery(opened: Opened, features: list[str], base: Floats, follow: bool, path: Path) -> Path:
    """Draw the gallery of some features and write it (for a worker)."""
    from napari_virtual_paint.cells.cp2image.model import generate
    from napari_virtual_paint.cells.populations.gallery import gallery, save_gallery

    figure = gallery(
        lambda vectors: generate(opened.model, vectors),
        opened.population,
        features,
        opened.model.channels,
        opened.limits,
        base=base,
        follow=follow,
        title=f"{opened.model.name}: features at percentiles of {len(opened.population):,} cells",
    )
    return save_gallery(figure, path, overwrite=True)  # the file dialog has asked


def gallery_features(opened: Opened, selected: list[int], moved: dict[str, float]) -> list[str]:
    """Return what a gallery shows: several selected features, else those moved, else the paper's, as far as the model has them."""
    names = opened.model.features
    usual = [name for name in USUAL if name in names]
    chosen = [names[index] for index in selected]
    return (chosen if len(chosen) > 1 else list(moved)) or usual or list(names[:4])


def write_walk(opened: Opened, walked: Walked, path: Path) -> Path:
    """Write a walk (for a worker)."""
    from napari_virtual_paint.cells.populations.walk_export import save_walk

    model = opened.model
    return save_walk(path, walked.walk, walked.frames, model.channels, opened.limits, pixel_size=model.pixel_size, overwrite=True)
