"""Background work of the Cells dock: measuring the generated picture, galleries and files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, Signal

from napari_virtual_paint._napari.cells.state import provenance_of
from napari_virtual_paint._napari.shared.background import Debounced, LatestJob
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint.cells.measurement.cp_measure import GROUPS

if TYPE_CHECKING:
    from napari_virtual_paint._napari.cells.state import Opened
    from napari_virtual_paint.cells.populations.gallery import SweptCells

Floats = npt.NDArray[np.float32]
SCREEN_DPI = 100
PAUSE = 700  # milliseconds without a change before the picture is measured
USUAL = (
    "Nuclei_AreaShape_Area",
    "Nuclei_AreaShape_Orientation",
    "Nuclei_Intensity_MeanIntensity_DNA",
    "Cytoplasm_AreaShape_Area",
)
"""The features of a gallery where none is chosen: the rows of the paper's Fig. 4c."""


def measured(opened: Opened, crop: npt.NDArray[np.floating], position: int = -1) -> Floats:
    """Measure the cell in the middle of a crop.

    Parameters
    ----------
    opened
        Its model gives the features and channels, its cells' metadata how they were measured (the grey level that is 1, thresholds).
    crop
        (C, d, d) in grey levels.
    position
        The real cell whose thresholds separate signal from background; the median of all where -1.

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
    """Return the feature groups that the model has: the others need not be measured."""
    from napari_virtual_paint.cells.cellprofiler_names import parse

    there = {parse(name).group for name in opened.model.features}
    return tuple(group for group in GROUPS if group in there)


def summary(opened: Opened, requested: Floats, found: Floats, moved: set[int]) -> str:
    """Say in one line how close the measured features of a picture are to the requested ones."""
    from napari_virtual_paint.cells.cellprofiler_names import is_morphological_feature

    use = np.array([is_morphological_feature(name) for name in opened.model.features]) & np.isfinite(found)
    if not use.any():
        return "Measured: no cell was found in the middle of the picture."
    apart = np.abs(opened.population.standard(requested) - opened.population.standard(found))
    text = f"Measured: {int((apart[use] <= 1).sum())} of {int(use.sum())} features within 1 SD of what was requested"
    chosen = [index for index in moved if np.isfinite(found[index])]
    return text + (f"; those moved are {np.median(apart[chosen]):.1f} SD off." if chosen else ".")


class Measurer(QObject):  # type: ignore[misc]
    """Measures the newest picture once nothing has changed for a while; one measurement at a time.

    Attributes
    ----------
    on
        Whether it measures: off after a failure, since the next measurement would fail too.
    """

    found = Signal(int, object)
    """The version of the picture, and its features, float32 (p,)."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.on = True
        self._pause = Debounced(PAUSE, self._begin, self)
        self._job = LatestJob(self, one_at_a_time=True)
        self._request: tuple[Opened, Floats, int, int] | None = None

    @property
    def busy(self) -> bool:
        """Whether a picture is being measured, or will be."""
        return self._job.running or self._pause.isActive()

    def request(self, opened: Opened, scaled: Floats, version: int, cell: int) -> None:
        """Request the measurement of a picture (C, d, d) on the display scale after a pause, in place of an earlier request."""
        if self.on:
            self._request = (opened, scaled, version, cell)
            self._pause.start()

    def restart(self) -> None:
        """Measure again, with another model."""
        self.stop()
        self.on = True

    def hold(self) -> None:
        """Measure nothing for now: the picture changes."""
        self._pause.stop()
        self._job.drop()

    def stop(self) -> None:
        """Drop what is being measured, and the request."""
        self.hold()
        self._request = None

    @timed
    def _begin(self) -> None:
        from napari_virtual_paint.cells.cp2image.model import to_grey_levels

        if self._request is None:
            return
        opened, scaled, version, cell = self._request
        self._request = None
        self._job.start_function(
            lambda: measured(opened, to_grey_levels(opened.model, scaled), cell),
            title="Measuring the cell",
            done=lambda values: self.found.emit(version, values),
            failed=self._failed,
        )

    def _failed(self, _error: BaseException) -> None:
        self.on = False


@dataclass(frozen=True, eq=False)
class Gallery:
    """A drawn gallery."""

    figure: Any  # of matplotlib
    picture: bytes  # the figure as PNG, for the screen
    swept: SweptCells
    provenance: Mapping[str, Any]


def draw_gallery(opened: Opened, features: list[str], base: Floats, follow: bool, seed: int = 0) -> Gallery:
    """Draw the gallery of some features (on a worker)."""
    from napari_virtual_paint.cells.cp2image.model import generate
    from napari_virtual_paint.cells.populations.gallery import figure_of, sweep_cells

    swept = sweep_cells(lambda vectors: generate(opened.model, vectors, seed=seed), opened.population, features, base=base, follow=follow)
    title = f"{opened.model.name}: features at percentiles of {len(opened.population):,} cells"
    figure = figure_of(swept, opened.model.channels, opened.limits, title)
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=SCREEN_DPI, facecolor="white")
    return Gallery(figure, picture.getvalue(), swept, provenance_of(opened, seed, follow=follow, features=features))


def write_gallery(gallery: Gallery, path: str | Path) -> Path:
    """Write a gallery (on a worker)."""
    from napari_virtual_paint.cells.populations.gallery import save_gallery

    return save_gallery(gallery.figure, path, provenance=gallery.provenance, overwrite=True)  # confirmed in the file dialog


def gallery_features(opened: Opened, selected: Sequence[int], moved: Mapping[int, float]) -> list[str]:
    """Return the names of the features of a gallery: several selected ones, else those moved, else the usual ones the model has."""
    names = opened.model.features
    chosen = [names[index] for index in (selected if len(selected) > 1 else moved)]
    return chosen or [name for name in USUAL if name in names] or list(names[:4])
