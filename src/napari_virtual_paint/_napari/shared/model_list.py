"""The models that a dock offers: those that are listed, and packages opened from disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from napari_virtual_paint._napari.shared.model_card import listed_name
from napari_virtual_paint.models import Model, open_model, open_models
from napari_virtual_paint.models.ranking import RankedModel

NAMES = ("rdf.yaml", "bioimageio.yaml")
DOMAIN_WORDS = {"inside": "inside", "edge": "at the edge", "outside": "outside"}
"""Verdict -> the words in the list of models."""


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


def model_rows(ranked: Sequence[RankedModel]) -> list[tuple[str, str, str, bool]]:
    """Return key, text and tooltip of each model in the order of their ranks, and whether it can be chosen."""
    rows = []
    for candidate in ranked:
        info = candidate.info
        about = f"{info.id}: {info.description}"
        if candidate.shortfall:
            rows.append((candidate.key, info.name, f"{candidate.shortfall}\n{about}", candidate.needs_focus))
            continue
        verdict, score = candidate.verdict, candidate.score
        said = [f"for {info.light}" if candidate.light else "" if verdict is None else DOMAIN_WORDS[verdict.verdict]]
        said += [] if score is None else [f"{score:.2f}"]
        why = [
            "" if candidate.fits else "Its channels are to be chosen.",
            f"It paints from {info.light}; the image is named {candidate.light}." if candidate.light else "",
            "" if verdict is None else " ".join((f"Domain check: {DOMAIN_WORDS[verdict.verdict]}.", *verdict.reasons[:1])),
            "" if score is None else f"Correlation on unseen images, mean over its stains: {score:.2f}.",
            about,
        ]
        text = " · ".join((info.name, *filter(None, said)))
        rows.append((candidate.key, text, "\n".join(filter(None, why)), True))
    return rows


def is_package(path: str) -> bool:
    """Return whether a path looks like a model package: a zip, its description, or a folder with one."""
    place = Path(path)
    if place.is_dir():
        return any(any(place.glob("*" + name)) for name in NAMES)
    return place.suffix.casefold() == ".zip" or place.name.endswith(NAMES)
