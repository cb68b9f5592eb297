"""Single cells: CellProfiler tables, measuring, CP2Image (Ji et al. 2024), walks. Modules are imported on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_virtual_paint.runtime.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from napari_virtual_paint.cells.cp2image.model import CellModel, cohort_of, generate, list_cell_models, open_cell_model
    from napari_virtual_paint.cells.measurement.crops import crop, find_tile, segment_places
    from napari_virtual_paint.cells.measurement.measure import measure, measure_crops
    from napari_virtual_paint.cells.populations.cohort import Cohort
    from napari_virtual_paint.cells.populations.gallery import gallery, save_gallery
    from napari_virtual_paint.cells.populations.population import Population, Trust
    from napari_virtual_paint.cells.populations.walks import representative, stepwise, sweep
    from napari_virtual_paint.cells.tables.table import CellTable, open_table
    from napari_virtual_paint.cells.tables.well_medians import well_medians

__all__ = [
    "CellModel",
    "CellTable",
    "Cohort",
    "Population",
    "Trust",
    "cohort_of",
    "crop",
    "find_tile",
    "gallery",
    "generate",
    "list_cell_models",
    "measure",
    "measure_crops",
    "open_cell_model",
    "open_table",
    "representative",
    "save_gallery",
    "segment_places",
    "stepwise",
    "sweep",
    "well_medians",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "tables.table": "CellTable open_table",
        "tables.well_medians": "well_medians",
        "measurement.crops": "crop find_tile segment_places",
        "measurement.measure": "measure measure_crops",
        "cp2image.model": "CellModel cohort_of generate list_cell_models open_cell_model",
        "populations.cohort": "Cohort",
        "populations.population": "Population Trust",
        "populations.walks": "representative stepwise sweep",
        "populations.gallery": "gallery save_gallery",
    },
)
