"""Import the packages of optional extras, or explain how to install them."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from napari_virtual_paint.errors import InputError, ReadError

PACKAGES = {"imageio_ffmpeg": "imageio-ffmpeg", "sklearn": "scikit-learn", "umap": "umap-learn"}
"""Import names of packages that are installed under another name."""


def require(module: str, *, extra: str, purpose: str, path: object = None) -> Any:
    """Import a module of an optional package.

    Parameters
    ----------
    module
        Its import name, such as ``matplotlib.figure``.
    extra
        The extra of this package that brings it.
    purpose
        What needs it, as the subject of the error's sentence: ``The report``.
    path
        The file that can't be read without it, if any.

    Raises
    ------
    InputError
        If it is not installed; a `ReadError` for a file.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise missing(module, extra=extra, purpose=purpose, path=path) from error


def check_installed(*modules: str, extra: str, purpose: str, path: object = None) -> None:
    """Raise the `InputError` of `require` if a module is not installed; nothing is imported."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise missing(module, extra=extra, purpose=purpose, path=path)


def missing(module: str, *, extra: str, purpose: str, path: object = None) -> InputError:
    """Return the error for a module that is not installed; see `require`."""
    package = module.partition(".")[0]
    reason = f'{purpose} needs {PACKAGES.get(package, package)}, which is not installed; run: pip install "napari-virtual-paint[{extra}]"'
    return InputError(f"{reason}.") if path is None else ReadError(path, reason)
