"""File > Open and drag and drop: images through `reading.read`, plates in the Plate dock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from napari import current_viewer
from napari.utils.notifications import Notification, NotificationSeverity, notification_manager, show_error, show_info

from napari_virtual_paint._napari.commands import open_dock
from napari_virtual_paint._napari.shared.viewer.layers import LARGE, LayerData, label_data_from_stack, layer_data_from_stack
from napari_virtual_paint.counting.settings import LABELS
from napari_virtual_paint.errors import NamesError, VirtualPaintError
from napari_virtual_paint.reading import can_read, open_images
from napari_virtual_paint.reading.formats import PLATE_INDEXES, OpenFile

NOTHING: Any = [(None,)]  # napari's own sign for "read, and there is nothing to add"
ONE_BY_ONE = "drop the files themselves, or the whole folder of a plate."
"""What to do in napari, which can't ask for a pattern, about files whose names don't show how they are one image."""

Paths = str | Sequence[str]


def get_reader(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """Return a reader for a file, a folder, a stack of files or a plate; None if it is none of ours."""
    paths = [path] if isinstance(path, str) else list(path)
    if len(paths) == 1 and (Path(paths[0]).suffix.casefold() in PLATE_INDEXES or Path(paths[0]).is_dir()) and _is_plate(paths[0]):
        return read_plate
    return read_layers if paths and all(can_read(item) for item in paths) else None


def _is_plate(path: str) -> bool:
    from napari_virtual_paint.plates.job.job import is_painted
    from napari_virtual_paint.plates.opening import is_plate

    return is_painted(path) or is_plate(path, quick=True)  # napari asks on the thread that draws


def read_layers(path: Paths, scene: str | None = None) -> list[LayerData]:
    """Read one image; an error becomes a notification.

    Parameters
    ----------
    path
        A file or folder, or several files that are one image.
    scene
        Which image of the file; None takes the first, and where there are more a notification offers to open them.
    """
    title = Path(path if isinstance(path, str) else path[0]).name
    try:
        with open_images(path if isinstance(path, str) else list(path)) as images:
            names = images.scenes() if scene is None else []
            first = 0 if scene is None and isinstance(images, OpenFile) else scene
            stack = images.read(first)
            large = max(stack.shape[3:]) > LARGE and not stack.rgb
            coarser = images.coarser(first) if large and isinstance(images, OpenFile) else ()
            labels = images.labels(first) if isinstance(images, OpenFile) and not large else {}
        if (stack.provenance or {}).get("kind") == LABELS:
            return label_data_from_stack(stack)
        layers = layer_data_from_stack(stack, metadata=None if scene is None else {"scene": scene}, coarser=coarser)
        for name, found in labels.items():
            layers += label_data_from_stack(replace(found, channels=(name,)), visible=False)
    except NamesError as error:
        show_error(f"{error.path}: {error.fault}; {ONE_BY_ONE}")
        return list(NOTHING)
    except VirtualPaintError as error:
        show_error(str(error))
        return list(NOTHING)
    for note in stack.notes:
        show_info(note)
    if stack.channels is None:
        for index, (_, arguments, _kind) in enumerate(layers):
            arguments["name"] = title if len(layers) == 1 else f"{title.split('.')[0]} {index}"
    if scene is not None:
        for _, arguments, _kind in layers:
            arguments["name"] = f"{arguments['name']} [{scene}]"
    if len(names) > 1:
        _offer(path, title, names)
    return layers


def _offer(path: Paths, title: str, names: Sequence[str]) -> None:
    """Notify that a file holds more images than the one that was opened, and offer the others."""
    text = f"{title} holds {len(names)} images ({', '.join(names[:4])}{', …' if len(names) > 4 else ''}); the first one was opened."
    actions = (("Open the others", partial(_open_others, path, names[1:])),)
    notification_manager.dispatch(Notification(text, NotificationSeverity.INFO, actions=actions))


def _open_others(path: Paths, names: Sequence[str], *_args: Any) -> None:
    viewer = current_viewer()
    for name in names if viewer is not None else ():
        for layer in read_layers(path, name):
            if layer[0] is not None:
                viewer.add_image(layer[0], **layer[1])


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
