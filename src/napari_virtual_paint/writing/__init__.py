"""Write a `Stack` as OME-TIFF or OME-Zarr, atomically."""

from __future__ import annotations

from napari_virtual_paint.writing.api import can_write, write

__all__ = ["can_write", "write"]
