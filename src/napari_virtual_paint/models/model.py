"""Open a package: `open_model` returns a `Model`, whose network is loaded on first use."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from napari_virtual_paint.errors import ModelError
from napari_virtual_paint.models.catalogue import find, list_models, opened
from napari_virtual_paint.models.info import ModelInfo
from napari_virtual_paint.models.package.files import PackageFiles, open_files
from napari_virtual_paint.models.package.reader import Description, describe

if TYPE_CHECKING:
    from torch import nn

    from napari_virtual_paint.models.package.domain import Domain


class Model:
    """An opened package."""

    def __init__(self, files: PackageFiles, description: Description) -> None:
        self.files = files
        self.description = description
        self._network: nn.Module | None = None
        self._domain: Domain | None = None
        self._lock = threading.Lock()

    @property
    def info(self) -> ModelInfo:
        """Metadata of the model."""
        return self.description.info

    @property
    def network(self) -> nn.Module:
        """The network: (N, channels, [Z,] Y, X) -> (N, stains, [Z,] Y, X), float32.

        Loaded on first use, on the CPU, its SHA-256 checked, in eval mode without gradients. Preprocessing is not part of it.

        Raises `ModelError` if the weights are missing, damaged, or ask for more than tensors.
        """
        with self._lock:
            if self._network is None:
                from napari_virtual_paint.models.package.weights import load_network

                self._network = load_network(self.files, self.info, self.description.weights)
            return self._network

    @property
    def domain(self) -> Domain | None:
        """The summary of its training inputs, read on first use; None where the package has none.

        Raises `ModelError` if it is missing or damaged.
        """
        entry = self.info.domain
        if entry is None:
            return None
        with self._lock:
            if self._domain is None:
                from napari_virtual_paint.models.package.domain import load_domain

                self._domain = load_domain(self.files, entry)
            return self._domain

    def __repr__(self) -> str:
        return f"<Model {self.info.id} {self.info.version}: {', '.join(self.info.channels)} -> {', '.join(self.info.stains)}>"


def open_models() -> list[Model]:
    """Open all models, bundled ones first; packages that can't be used are left out (see `catalogue.scan`)."""
    return [Model(*found) for found in opened()]


def open_model(id_or_path: str | Path) -> Model:
    """Open a model by its id or by the path of its package.

    Parameters
    ----------
    id_or_path
        The id of a model in `list_models`, or a package: a folder, a .zip, or the description inside a folder. A word that is an
        id is taken as one; write ``./name`` for a folder of the same name.

    Raises
    ------
    ModelError
        If there is no such model, or its package can't be used here.
    """
    if (found := find(id_or_path)) is not None:
        return Model(*found)
    path = Path(id_or_path)
    if not path.exists():
        known = ", ".join(info.id for info in list_models()) or "none"
        raise ModelError(f"{id_or_path}: there is no model of this id and no such file; the models here are: {known}.")
    files = open_files(path)
    return Model(files, describe(files))
