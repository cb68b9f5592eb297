"""File > Open and drag and drop, through `reading.read`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_error

from napari_virtual_paint._napari.layers import LayerData, layer_data_from_stack
from napari_virtual_paint.errors import VirtualPaintError
from napari_virtual_paint.reading import can_read, read

NOTHING: Any = [(None,)]
"""napari's own sign for "read, and there is nothing to add"."""

Paths = str | Sequence[str]


def get_reader(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """Return a reader for a file, a folder or a stack of files; None if it is none of ours."""
    paths = [path] if isinstance(path, str) else list(path)
    return partial(read_layers) if paths and all(can_read(item) for item in paths) else None


def read_layers(path: Paths) -> list[LayerData]:
    """Read one image; a file that can't be read is told in a notification.

    Parameters
    ----------
    path
        A file or folder, or several files that are one image.
    """
    try:
        stack = read(path if isinstance(path, str) else list(path))
        layers = layer_data_from_stack(stack)
    except VirtualPaintError as error:
        show_error(str(error))
        return list(NOTHING)
    if stack.channels is None and len(layers) > 1:
        base = Path(path if isinstance(path, str) else path[0]).name.split(".")[0]
        for index, (_, arguments, _kind) in enumerate(layers):
            arguments["name"] = f"{base} {index}"
    elif stack.channels is None:
        layers[0][1]["name"] = Path(path if isinstance(path, str) else path[0]).name
    return layers
