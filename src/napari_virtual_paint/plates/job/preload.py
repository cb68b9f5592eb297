"""What a worker imports before its first field, in an order that is quick: for the process that workers are copies of (`paint_server`).

Importing this module imports all of that.
"""

from __future__ import annotations

import gc
import importlib.util

from napari_virtual_paint.plates.job.forkserver import import_lean

NEEDED = (
    "torch",  # first: its import looks for the file of every module that is there already, again and again
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
    gc.freeze()  # what is there now is not looked through for garbage again, which would copy its memory for each worker


_import_all()
