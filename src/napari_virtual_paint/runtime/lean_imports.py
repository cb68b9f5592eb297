"""Keep Dask from importing xarray, which takes half a second, in processes of our own."""

from __future__ import annotations

import sys
from typing import Any

SKIPPED = {"xarray": "dask.array.core"}
"""Optional import -> the module that imports it only to recognize its types, which no image of ours has."""


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
