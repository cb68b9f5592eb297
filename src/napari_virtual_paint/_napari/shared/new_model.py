"""What a new model is asked for, whatever trains it: name, author, license, what it is not for, how long; and where its run lies."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import platformdirs

from napari_virtual_paint.errors import InputError

VARIABLE = "VIRTUAL_PAINT_RUNS"  # environment variable with another folder for the runs
MINUTES: Mapping[str, int] = {"10 min": 10, "30 min": 30, "1 h": 60, "3 h": 180}  # lengths that are times
LICENSES = (
    ("CC-BY-4.0", "CC BY 4.0"),
    ("CC0-1.0", "CC0 1.0"),
    ("CC-BY-NC-4.0", "CC BY-NC 4.0"),
    ("BSD-3-Clause", "BSD 3-Clause"),
    ("MIT", "MIT"),
    ("Apache-2.0", "Apache 2.0"),
    ("", "Not stated"),
)
"""SPDX id of a license and its words; the first is the one that most models of bioimage.io have."""
NOT_FOR = "Images unlike those that it was trained on: another microscope, magnification, contrast, cell line or stain."
LICENSE_TIP = (
    "Under which license others may use the model; its card states it. CC BY: whoever uses it names the author. CC0: no conditions. "
    "CC BY-NC: not for commercial use. The others are licenses of software"
)


def runs_folder() -> Path:
    """Return the folder of the trainings that the dock begins; it may not exist yet."""
    chosen = os.environ.get(VARIABLE)
    return Path(chosen).expanduser().absolute() if chosen else platformdirs.user_data_path("napari-virtual-paint", appauthor=False) / "runs"


def slug(name: str) -> str:
    """Return a model's id, made from its name: small letters, digits, hyphens; empty where nothing is left."""
    return re.sub(r"[^a-z0-9]+", "-", name.casefold()).strip("-")


def checked_name(name: str) -> str:
    """Return a model's id, made from its name.

    Raises `InputError` if a package can't have this name.
    """
    from pydantic import TypeAdapter, ValidationError

    from napari_virtual_paint.training.config.yaml_errors import Title

    try:
        TypeAdapter(Title).validate_python(name)
    except ValidationError:
        raise InputError("Give the model a name of 5 to 128 letters (A to Z), digits, spaces or ( ) _ + -.") from None
    if not slug(name):
        raise InputError("Give the model a name with a letter or a digit in it.")
    return slug(name)


def split_names(text: str) -> list[str]:
    """Split names at their commas."""
    return [name.strip() for name in text.split(",") if name.strip()]
