"""Where docks save: never over a file that is open in the viewer, or that the dock reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import napari

from napari_virtual_paint._napari.shared.viewer.layers import our_metadata
from napari_virtual_paint.runtime.outputs import Input, check_outputs

T = TypeVar("T")


def check_saving(path: str | Path, *read: Input, layers: Iterable[Any] = ()) -> None:
    """Check that a file to save replaces none that is open in the viewer, and none that is read besides.

    napari's dialog has asked whether to replace a file, but its user may not know that a layer's pixels, which are read when they are
    shown, come from it.

    Parameters
    ----------
    path
        The file to save.
    read
        What the dock has read.
    layers
        Layers besides those of the viewer.

    Raises
    ------
    InputError
        If it would replace one of them.
    """
    check_outputs([path], [*open_files(layers), *read])


def saving(path: str | Path, write: Callable[[], T], *read: Input) -> Callable[[], T]:
    """Return a function for a worker that checks as `check_saving`, with the layers that the viewer has now, and then writes."""
    opened = list(open_files())

    def work() -> T:
        check_outputs([path], [*opened, *read])
        return write()

    return work


def open_files(layers: Iterable[Any] = ()) -> Iterator[str]:
    """Yield the files and folders from which the viewer's layers, and other ones, were opened."""
    viewer = napari.current_viewer()
    for layer in (*layers, *(viewer.layers if viewer is not None else ())):
        for path in (getattr(layer.source, "path", None), our_metadata(layer).get("source")):
            if path:
                yield str(path)
