"""Public names of a package whose modules are imported on first use (PEP 562)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy_exports(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a package's ``__getattr__``, which imports a name from its module on first use.

    Parameters
    ----------
    package
        The package's ``__name__``.
    modules
        Module, relative to the package -> its public names, separated by spaces. A name must not be that of one of the package's own
        modules: importing the module would hide the name.
    """
    places = {name: module for module, names in modules.items() for name in names.split()}

    def export(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{places[name]}"), name)

    return export
