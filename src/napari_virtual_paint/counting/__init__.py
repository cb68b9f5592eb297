"""Nuclei and cells of painted or real stains: found, labeled, measured and counted. Modules are imported on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_virtual_paint.runtime.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from napari_virtual_paint.counting.agreement import Agreement as Agreement
    from napari_virtual_paint.counting.agreement import agreement_of as agreement_of
    from napari_virtual_paint.counting.run import StackCount as StackCount
    from napari_virtual_paint.counting.run import count_stack as count_stack
    from napari_virtual_paint.counting.segmentation import Labels as Labels
    from napari_virtual_paint.counting.segmentation import segment as segment
    from napari_virtual_paint.counting.settings import CountSettings as CountSettings

__all__ = ["Agreement", "CountSettings", "Labels", "StackCount", "agreement_of", "count_stack", "segment"]

__getattr__ = lazy_exports(
    __name__,
    {
        "agreement": "Agreement agreement_of",
        "run": "StackCount count_stack",
        "segmentation": "Labels segment",
        "settings": "CountSettings",
    },
)
