"""The user's own models: rename, duplicate, delete and add packages in their folder. Bundled models are never changed."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_virtual_paint.errors import InputError, ModelError, WriteError
from napari_virtual_paint.models.catalogue import bundled_folder, list_models, scan, user_folder
from napari_virtual_paint.models.info import ModelInfo
from napari_virtual_paint.models.model import open_model
from napari_virtual_paint.models.package.copying import copy_package
from napari_virtual_paint.models.published import Published, download
from napari_virtual_paint.runtime.progress import Progress

if TYPE_CHECKING:
    from napari_virtual_paint.models.importers import Imported

NAME = re.compile(r"[A-Za-z0-9_+\-() ]{5,128}")  # what the specification of bioimage.io allows


@dataclass(frozen=True)
class ListedModel:
    """A model in the list, and its package on disk."""

    info: ModelInfo  # its metadata
    own: bool  # whether it is in the user's folder, and may be renamed and deleted
    size: int  # bytes of its package


def listed_models() -> tuple[list[ListedModel], list[str]]:
    """Return all models, bundled ones first, and one sentence for each package that can't be used."""
    models, problems = scan()
    return [ListedModel(info, is_own(info), package_size(info.source)) for info in models], problems


def is_own(info: ModelInfo) -> bool:
    """Return whether a model is in the user's folder; others are bundled, or were opened from elsewhere."""
    return info.source.absolute().parent == user_folder().absolute()


def package_size(path: Path) -> int:
    """Return the bytes of a package on disk; 0 if it is gone."""
    if not path.is_dir():
        return path.stat().st_size if path.exists() else 0
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file() and not file.is_symlink())


def rename_model(info: ModelInfo, name: str) -> None:
    """Give one of the user's models another name; its id, by which plates and commands know it, stays.

    Raises
    ------
    InputError
        If the model is not the user's own, or the name can't be used.
    ModelError
        If its package is damaged.
    WriteError
        If it can't be written; the package is then unchanged.
    """
    _refuse_others(info, "renamed")
    copy_package(info.source, info.source, {"name": checked_name(name)}, overwrite=True)


def duplicate_model(info: ModelInfo, name: str) -> Path:
    """Copy a model into the user's folder under another name, with an id made of it; a number is put behind a name that is taken.

    Raises
    ------
    InputError
        If the name can't be used.
    ModelError
        If the package is damaged.
    WriteError
        If it can't be written.

    Returns
    -------
    Path
        The new package.
    """
    from napari_virtual_paint.models.importers.import_model import identifier

    name = checked_name(free_name(checked_name(name)))
    model_id = identifier(name)
    target = user_folder() / f"{model_id}.zip"
    copy_package(info.source, target, {"name": name, "id": model_id}, overwrite=False)
    return target


def delete_model(info: ModelInfo) -> None:
    """Delete the package of one of the user's models.

    Raises
    ------
    InputError
        If the model is not the user's own.
    WriteError
        If it can't be deleted.
    """
    _refuse_others(info, "deleted")
    path = info.source
    aside = path.with_name(f".deleted.{os.getpid()}.{path.name}")  # a hidden name is no model, whatever happens next
    try:
        path.rename(aside)
        if aside.is_dir() and not aside.is_symlink():
            shutil.rmtree(aside)
        else:
            aside.unlink()
    except OSError as error:
        raise WriteError(path, f"it can't be deleted ({error.strerror or error}); check the rights of its folder") from error


def add_model(path: Path | str) -> Imported:
    """Add a model from a file to the user's: a copy of a package, or a file of another system, which is imported.

    It keeps its name, with a number behind it where that is taken.

    Raises
    ------
    ModelError
        If it is no model, damaged or not sound.
    WriteError
        If it can't be written.
    """
    from napari_virtual_paint.models.importers import import_model

    path = Path(path)
    try:
        name = open_model(path).info.name
    except ModelError:  # no package; a damaged one is refused below
        name = path.stem if any(letter.isalnum() for letter in path.stem) else "model"
    return import_model(path, free_name(name))


def add_published(entry: Published, output: Path | str | None = None, *, overwrite: bool = False) -> Generator[Progress, None, Imported]:
    """Download a published model, check its SHA-256 and import it; a generator, which can be closed at each step and goes on later.

    Parameters
    ----------
    output
        The package to write; None for the user's folder.
    overwrite
        Whether a package that is there is replaced.

    Raises
    ------
    DownloadError
        If the network is forbidden or fails, or the file is not the one that was published.
    InputError
        If the file's SHA-256 is unknown.
    ModelError, WriteError
        If it can't be imported.
    """
    path = yield from download(entry)
    yield Progress(0, 0, f"Importing {entry.id}")
    from napari_virtual_paint.models.importers import Wishes, import_model

    command = f"virtual-paint models download {entry.id}"
    found = import_model(path, entry.id, output, Wishes(outputs=entry.outputs or None), overwrite=overwrite, command=command)
    path.unlink(missing_ok=True)  # the package holds its weights
    return found


def checked_name(name: str) -> str:
    """Return a name without needless spaces.

    Raises `InputError` if the specification of bioimage.io forbids it.
    """
    name = " ".join(name.split())
    if not NAME.fullmatch(name) or not any(letter.isalnum() for letter in name):
        raise InputError(f"A model's name has 5 to 128 letters, digits, spaces and _+-(); {name!r} can't be used.")
    return name


def free_name(name: str) -> str:
    """Return a name, with a number behind it where a model with its id is there already."""
    from napari_virtual_paint.models.importers.import_model import identifier

    taken = {info.id for info in list_models()}
    number = 1
    while True:
        tried = name if number == 1 else f"{name} {number}"
        model_id = identifier(tried)
        if model_id not in taken and not any((user_folder() / file).exists() for file in (model_id, f"{model_id}.zip")):
            return tried
        number += 1


def _refuse_others(info: ModelInfo, verb: str) -> None:
    if not is_own(info):
        bundled = info.source.absolute().parent == bundled_folder().absolute()
        where = "comes with the program" if bundled else f"is not in your folder of models ({user_folder()})"
        raise InputError(f"{info.id}: this model {where}, so it can't be {verb}; duplicate it to get a copy of your own.")
