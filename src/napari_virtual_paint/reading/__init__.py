"""Read any image file, folder or pattern of files as a `Stack`, or fail with one `ReadError`."""

from __future__ import annotations

from napari_virtual_paint.reading.api import can_read, open_images, read, scenes

__all__ = ["can_read", "open_images", "read", "scenes"]
