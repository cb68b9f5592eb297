"""A plate dropped on napari: it opens in the Plate dock, since a plate is no image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari import current_viewer
from napari.utils.notifications import show_info

from napari_virtual_paint._napari.commands import open_dock
from napari_virtual_paint._napari.reader import NOTHING, read_layers
from napari_virtual_paint._napari.shared.layers import LayerData


def read_plate(path: str | Sequence[str]) -> list[LayerData]:
    """Open a plate in the Plate dock, which opens too where it is closed; without a window, read it as an image."""
    place = path if isinstance(path, str) else path[0]
    viewer = current_viewer()
    if viewer is None or getattr(viewer, "window", None) is None:
        return read_layers(place)
    dock: Any = open_dock("Plate")
    dock.open_plate(place)
    show_info(f"{Path(place).name} is a plate and opens in the Plate dock: click a well there to see a field.")
    return list(NOTHING)
