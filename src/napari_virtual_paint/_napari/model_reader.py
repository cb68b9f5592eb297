"""Import models of other systems that are dropped on napari into the user's models, in a worker; they give no layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari import current_viewer
from napari.utils.notifications import show_info

from napari_virtual_paint._napari.commands import find_dock
from napari_virtual_paint._napari.reader import NOTHING
from napari_virtual_paint._napari.shared.jobs import start_function
from napari_virtual_paint.models.own_models import add_model

if TYPE_CHECKING:
    from napari_virtual_paint.models.importers import Imported

SUFFIXES = (".p", ".pth", ".pt", ".ckpt", ".safetensors", ".onnx")
Paths = str | Sequence[str]


def get_model_reader(path: Paths) -> Callable[[Paths], list[Any]] | None:
    """Return a reader for files by whose names other systems keep their models; None for others."""
    paths = [path] if isinstance(path, str) else list(path)
    return read_models if paths and all(Path(item).suffix.casefold() in SUFFIXES for item in paths) else None


def read_models(path: Paths) -> list[Any]:
    """Import each file; errors become notifications."""
    for item in [path] if isinstance(path, str) else path:
        start_function(partial(add_model, Path(item)), title=f"Importing {Path(item).name}", done=_imported)
    return list(NOTHING)


def _imported(found: Imported) -> None:
    """Notify, and offer the model in an open Stain dock."""
    info = found.info
    checked = "" if found.verified else " The importer of this kind is not verified against the original."
    taken = "".join(f" {note}" for note in found.notes if "--weights" in note)
    dock = find_dock(current_viewer(), "Stain")
    if dock is not None:
        dock.open_package(found.path)
    show_info(f"{info.id}: {found.kind} was imported ({', '.join(info.channels)} to {', '.join(info.stains)}).{taken}{checked}")
