"""Level "features": agreement of cell measurements (Cross-Zamirski 2022, Fig. 5; Tonks 2024, level 3)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_virtual_paint.evaluation.features.compare import compare
from napari_virtual_paint.evaluation.features.findings import findings, nothing
from napari_virtual_paint.evaluation.features.measure import measured, measured_together
from napari_virtual_paint.evaluation.features.select import select
from napari_virtual_paint.evaluation.level import Findings, LevelProgress, Tables
from napari_virtual_paint.runtime.extras import check_installed

if TYPE_CHECKING:
    from napari_virtual_paint.evaluation.context import Context, FieldImages


@dataclass(frozen=True)
class FeatureLevel:
    """Measure cells in the truth and in the predictions, and compare the features."""

    name: str = "features"
    needs: tuple[str, ...] = ()

    def check(self, context: Context) -> None:
        """Check that the packages for measuring and selecting are installed, before any field is measured.

        Raises `InputError` if a package is missing.
        """
        check_installed("cp_measure", "pycytominer", "sklearn", extra="evaluate", purpose="This level")

    def field(self, images: FieldImages, context: Context) -> Tables:
        """Return one field's features; see `measure.measured`."""
        return measured(images, context)

    def fields(self, images: Sequence[FieldImages], context: Context) -> list[Tables]:
        """Return the features of several fields, which are measured together."""
        return list(measured_together(images, context))

    def summary(self, tables: Tables, context: Context) -> Generator[LevelProgress, None, Findings]:
        """Select features on the truth, correlate them, and compute the error of the most informative ones."""
        yield 0, 1, "Features: choosing on the truth."
        selection = select(tables, context)
        if not selection.features:
            return nothing(selection, context)
        compared = yield from compare(tables, selection, context)
        return findings(compared, selection, tables, context)


FEATURES = FeatureLevel()
