"""Reading: any image file, folder or pattern of files to a `Stack`, or one `ReadError`."""

from __future__ import annotations

from napari_virtual_paint.reading.api import can_read, read, scenes

__all__ = ["can_read", "read", "scenes"]
