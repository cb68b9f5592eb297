"""Writing: a `Stack` to OME-TIFF or OME-Zarr, whole or not at all."""

from __future__ import annotations

from napari_virtual_paint.writing.api import can_write, write

__all__ = ["can_write", "write"]
