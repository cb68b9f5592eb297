"""The list of models: those in the wheel, then those in the user's folder; and the default. Nothing is loaded or fetched."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import platformdirs

from napari_virtual_paint.errors import ModelError
from napari_virtual_paint.models.info import ModelInfo
from napari_virtual_paint.models.package.files import DESCRIPTION_NAMES, PackageFiles, open_files
from napari_virtual_paint.models.package.reader import Description, describe

VARIABLE = "VIRTUAL_PAINT_MODELS"  # environment variable that names another folder for the user's models
DEFAULT = "simulated-cell-painting"  # the bundled model that paints the simulated images, see `default_model`
GENERAL = (DEFAULT, "cell-painting-brightfield")
"""Bundled models of the least special images; they come first among models of which only their own held-out scores are known."""


def bundled_folder() -> Path:
    """Return the folder of the models in the wheel."""
    return Path(__file__).parent / "bundled"


def user_folder() -> Path:
    """Return the folder of the user's own models; it need not exist."""
    chosen = os.environ.get(VARIABLE)
    return Path(chosen).expanduser() if chosen else platformdirs.user_data_path("napari-virtual-paint", appauthor=False) / "models"


def list_models() -> list[ModelInfo]:
    """Return bundled models, then the user's; packages that can't be used are left out (see `scan`)."""
    return scan()[0]


def scan() -> tuple[list[ModelInfo], list[str]]:
    """Return all models, and one sentence for each package that can't be used."""
    problems: list[str] = []
    models: list[ModelInfo] = []
    taken: dict[str, Path] = {}
    for _, description in opened(problems):
        info = description.info
        if info.id in taken:
            where = f"The id {info.id} is taken by {taken[info.id]}; open this one by its path."
            info = replace(info, warnings=(*info.warnings, where))
        taken.setdefault(info.id, info.source)
        models.append(info)
    return models, problems


def opened(problems: list[str] | None = None) -> Iterator[tuple[PackageFiles, Description]]:
    """Open one package after another: bundled, then the user's folder; sentences on those that can't be used go to `problems`."""
    for path in _packages():
        try:
            files = open_files(path)
            description = describe(files)
        except ModelError as error:
            if problems is not None:
                problems.append(str(error))
            continue
        yield files, description


def default_model(ids: Iterable[str]) -> str:
    """Return the model to preselect for a plate or a demonstration: `DEFAULT` if it is among the ids, else the first.

    The Stain dock preselects the model that fits the layers best, and the command line has no default: ``-m`` names a model.
    """
    known = list(ids)
    return DEFAULT if DEFAULT in known else known[0]


def locate(id_or_path: str | Path) -> Path:
    """Return the package of an id, or the path itself if no model has that id."""
    found = find(id_or_path)
    return Path(id_or_path) if found is None else found[1].info.source


def find(model_id: str | Path) -> tuple[PackageFiles, Description] | None:
    """Return the opened package of an id; None if there is none. Packages after it are not opened."""
    if not isinstance(model_id, str) or any(mark in model_id for mark in ("/", os.sep)):
        return None
    return next((found for found in opened() if found[1].info.id == model_id), None)


def _packages() -> Iterator[Path]:
    """Yield what looks like a package: bundled ones first, each folder sorted by name."""
    for folder in (bundled_folder(), user_folder()):
        if not folder.is_dir():
            continue
        for path in sorted(folder.iterdir()):
            archive = path.is_file() and path.suffix.casefold() == ".zip"
            unpacked = path.is_dir() and any(any(path.glob("*" + name)) for name in DESCRIPTION_NAMES)
            if (archive or unpacked) and not path.name.startswith((".", "_")):
                yield path
