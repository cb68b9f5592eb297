"""What the Cells dock has done in the background: measuring what it painted, galleries, and files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, QTimer, Signal

from napari_virtual_paint._napari.cells.state import Opened
from napari_virtual_paint._napari.shared import jobs
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint.cells.measurement.cp_measure import GROUPS

if TYPE_CHECKING:
    from napari_virtual_paint._napari.cells.state import Opened
    from napari_virtual_paint._napari.cells.walk import Walked


def measured(opened: Opened, crop: npt.NDArray[np.floating], position: int = -1) -> Floats:
    """Measure the cell in the middle of a crop.

    Parameters
    ----------
    opened
        Its model gives the features and channels, its cells' metadata what they were measured with (grey level that is 1, thresholds).
    crop
        (C, d, d).
    position
        The real cell whose thresholds part signal from background; the median of all where -1.

    Returns
    -------
    float32 (p,), NaN where a feature can't be measured or no cell is in the middle.

    Raises
    ------
    InputError
        If cp_measure is not installed.
    """
    from napari_virtual_paint.cells.cp2image.pairs import how_measured
    from napari_virtual_paint.cells.measurement.measure import measure_crops

    metadata = opened.cohort.metadata
    known = metadata.iloc[[position]] if position >= 0 else metadata.select_dtypes("number").median().to_frame().T
    scale, _, thresholds = how_measured(known)
    frame = measure_crops(
        np.asarray(crop, np.float32)[None],
        opened.model.channels,
        pixel_size=opened.model.pixel_size,
        scale=scale,
        thresholds=thresholds,
        groups=groups_of(opened),
    )
    found = np.full(len(opened.model.features), np.nan, np.float32)
    for index, name in enumerate(opened.model.features):
        if name in frame.columns:
            found[index] = float(frame[name].iloc[0])
    return found


def groups_of(opened: Opened) -> tuple[str, ...]:
    """Return which groups of features the model has: the others need not be measured."""
    from napari_virtual_paint.cells.cellprofiler_names import parse

    there = {parse(name).group for name in opened.model.features}
    return tuple(group for group in GROUPS if group in there)


def summary(opened: Opened, asked: Floats, has: Floats, moved: set[int]) -> str:
    """Say in one line how near the picture comes to what is asked for."""
    from napari_virtual_paint.cells.cellprofiler_names import is_morphological_feature

    use = np.array([is_morphological_feature(name) for name in opened.model.features]) & np.isfinite(has)
    if not use.any():
        return "Measured: no cell was found in the middle of the picture."
    apart = np.abs(opened.population.standard(asked) - opened.population.standard(has))
    said = f"Measured: {int((apart[use] <= 1).sum())} of {int(use.sum())} features within 1 SD of what is asked for"
    chosen = [index for index in moved if np.isfinite(has[index])]
    return said + (f"; those moved are {np.median(apart[chosen]):.1f} SD off." if chosen else ".")


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
