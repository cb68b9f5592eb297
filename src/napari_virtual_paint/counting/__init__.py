"""Nuclei and cells of painted or real stains: found, labeled, measured and counted. Modules are imported on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_virtual_paint.runtime.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from napari_virtual_paint.counting.segmentation import Labels as Labels
    from napari_virtual_paint.counting.segmentation import segment as segment

__all__ = ["Labels", "segment"]

__getattr__ = lazy_exports(__name__, {"segmentation": "Labels segment"})
