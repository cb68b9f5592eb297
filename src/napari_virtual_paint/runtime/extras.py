"""Import the packages of optional extras, or explain how to install them; and keep Dask from importing xarray in processes of our own."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any

from napari_virtual_paint.errors import InputError, ReadError

PACKAGES = {"imageio_ffmpeg": "imageio-ffmpeg", "sklearn": "scikit-learn", "umap": "umap-learn"}
"""Import names of packages that are installed under another name."""
SKIPPED = {"xarray": "dask.array.core"}
"""Optional import -> the module that imports it only to recognize its types, which no image of ours has: xarray takes half a second."""


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


class _SkipOptional:
    """A finder of modules that finds `SKIPPED` ones missing while the module that can do without them is imported."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:
        """Raise ModuleNotFoundError for a skipped import; leave any other to the finders that follow."""
        importer = sys.modules.get(SKIPPED.get(name, ""))
        if getattr(getattr(importer, "__spec__", None), "_initializing", False):
            raise ModuleNotFoundError(f"{name} is not needed here", name=name)


def skip_optional_imports() -> None:
    """Skip them from now on; to be called before they are imported, in a process that is not the user's own Python.

    Whoever else imports one of them gets it.
    """
    if _SkipOptional not in sys.meta_path:
        sys.meta_path.insert(0, _SkipOptional)
