"""Import all that a worker needs for its first field, in an order that is fast; the fork server (`forkserver`) imports this module."""

from __future__ import annotations

import gc
import importlib.util

from napari_virtual_paint.plates.job.forkserver import import_lean

NEEDED = (
    "torch",  # first: its import searches the files of all modules that are loaded already
    "dask.array",
    "napari_virtual_paint.painting.engine",
    "napari_virtual_paint.painting.estimation",
    "napari_virtual_paint.painting.domain_check",
    "napari_virtual_paint.models.applicability.network_features",
    "napari_virtual_paint.models.package.weights",
    "napari_virtual_paint.metrics.report",
    "napari_virtual_paint.plates.job.workers",
    "napari_virtual_paint.plates.ome_zarr.writer",
    "zarr.codecs",
)


def _import_all() -> None:
    import_lean(name for name in NEEDED if importlib.util.find_spec(name.partition(".")[0]) is not None)
    gc.freeze()  # garbage collection would touch these objects and so copy their memory in each worker


_import_all()
