"""The models that a dock offers: those that are listed, and packages opened from disk."""

from __future__ import annotations

from pathlib import Path

from napari_virtual_paint._napari.shared.model_card import listed_name
from napari_virtual_paint.models import Model, open_model, open_models

NAMES = ("rdf.yaml", "bioimageio.yaml")


class ModelList:
    """Opened models by key: the id of a listed one, the path of one opened from disk."""

    def __init__(self) -> None:
        self.models: dict[str, Model] = {}
        for model in open_models():
            self.models.setdefault(model.info.id, model)
        self._listed = set(self.models)

    def open(self, path: str | Path) -> str:
        """Open a package from disk and return its key.

        Raises `ModelError` if it can't be used here.
        """
        key = str(path)
        self.models[key] = open_model(Path(path))
        return key

    def take_opened(self, other: ModelList) -> None:
        """Offer also what another list has opened from disk."""
        self.models |= {key: model for key, model in other.models.items() if not other.by_id(key) and key not in self.models}

    def by_id(self, key: str) -> bool:
        """Return whether the command line knows this model by its id."""
        return key in self._listed

    def rows(self) -> list[tuple[str, str, str]]:
        """Return key, name and tooltip of each."""
        return [(key, listed_name(model.info), f"{model.info.id}: {model.info.description}") for key, model in self.models.items()]


def is_package(path: str) -> bool:
    """Return whether a path looks like a model package: a zip, its description, or a folder with one."""
    place = Path(path)
    if place.is_dir():
        return any(any(place.glob("*" + name)) for name in NAMES)
    return place.suffix.casefold() == ".zip" or place.name.endswith(NAMES)
