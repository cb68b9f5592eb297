"""What a training's package would replace: its own earlier one, and nothing else."""

from __future__ import annotations

from pathlib import Path

from napari_virtual_paint.errors import InputError, VirtualPaintError
from napari_virtual_paint.models.package.files import open_files
from napari_virtual_paint.models.package.safe_yaml import read_description


def check_replaced_package(path: Path, model_id: str) -> None:
    """Check before hours of training that its package replaces nothing but an earlier one of the same model, or an empty folder.

    Raises `InputError` if another model or something else is there.
    """
    try:
        if not path.exists() or (path.is_dir() and not any(path.iterdir())):
            return
        known = str(read_description(open_files(path)).get("id") or "")
    except (VirtualPaintError, OSError):
        raise InputError(
            f"{path}: the package is to be written there, and something that is no package exists; set another output."
        ) from None
    if known != model_id:
        other = f"the package of another model ({known})" if known else "a package that does not say of which model"
        raise InputError(f"{path}: the package is to be written there, and {other} exists; set another output, or the same id.")
