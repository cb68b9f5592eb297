"""Pair predicted with true layers, by name and metadata."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from napari_virtual_paint._napari.shared.viewer.layers import ERROR_MAP, image_layers, our_metadata
from napari_virtual_paint.stain_names import default_synonyms, stains_named

PREDICTED_WORDS = frozenset({"predicted", "prediction", "predictions", "pred", "preview", "painted", "virtual", "generated", "output"})
TRUE_WORDS = frozenset({"true", "truth", "target", "groundtruth", "gt", "real", "measured", "actual"})


@dataclass(frozen=True)
class LayerFacts:
    """The properties of an image layer that pairing needs."""

    key: str  # identifies the layer (its ``unique_id``)
    name: str  # as the layer list shows it
    predicted: bool = False  # whether its metadata says that a model made it; False where there is no such note
    stain: str = ""  # what its metadata says that it shows; empty where there is no such note
    size: tuple[int, int] = (0, 0)  # lengths of the last two axes, pixels


@dataclass(frozen=True)
class StainPair:
    """A predicted layer and the true one that it is compared with, by key; None where there is none yet."""

    predicted: str | None
    truth: str | None
    stain: str = ""

    @property
    def complete(self) -> bool:
        """Whether both are there and they are not one and the same layer."""
        return self.predicted is not None and self.truth is not None and self.predicted != self.truth


def words(name: str) -> tuple[str, ...]:
    """Return the words of a layer's name in lower case, without napari's counter (``DNA [1]`` gives ``dna``)."""
    bare = re.sub(r"\s*\[\d+\]\s*$", "", name)
    bare = re.sub(r"ground[\s_-]*truth", "groundtruth", bare, flags=re.IGNORECASE)
    return tuple(word.casefold() for word in re.split(r"[\W_]+", bare) if word)


def stem(name: str) -> tuple[str, ...]:
    """Return the words that name the stain: those that mean predicted or true are left out (unless nothing else is there)."""
    every = words(name)
    return tuple(word for word in every if word not in PREDICTED_WORDS | TRUE_WORDS) or every


def says_predicted(name: str) -> bool:
    """Return whether a name says that a model made the layer, as ``DNA (predicted)`` does."""
    every = words(name)
    return any(word in PREDICTED_WORDS for word in every) and not any(word in TRUE_WORDS for word in every)


def stain_name(facts: LayerFacts) -> str:
    """Return the stain that a layer shows, for the table: its name without predicted, what stands in brackets with it, and the counter."""
    marks = "|".join(sorted(PREDICTED_WORDS, key=len, reverse=True))
    word = rf"(?<![^\W_])(?:{marks})(?![^\W_])"
    pattern = rf"[\s_-]*(?:\([^()]*{word}[^()]*\)|\[[^][]*{word}[^][]*\]|{word})[\s_-]*"
    bare = re.sub(r"\s*\[\d+\]\s*$", "", facts.name)
    left = re.sub(pattern, " ", bare, flags=re.IGNORECASE).strip()
    return facts.stain or left or facts.name


def pair_by_name(layers: Sequence[LayerFacts], pinned: Sequence[StainPair] = (), dismissed: Collection[str] = ()) -> tuple[StainPair, ...]:
    """Pair the predicted layers with true ones.

    Parameters
    ----------
    layers
        The image layers, in the order of the layer list.
    pinned
        Pairs that the user chose. They go before every name, as long as their layers are there.
    dismissed
        Keys of predicted layers that the user does not want to compare.

    Returns
    -------
    One pair for each predicted layer, in the order of the layer list, then what else the user chose; `truth` is None where no name fits.
    """
    by_key = {facts.key: facts for facts in layers}
    kept = {pair.predicted: pair for pair in pinned if pair.predicted in by_key and (pair.truth is None or pair.truth in by_key)}
    predicted = [facts for facts in layers if facts.predicted or says_predicted(facts.name)]
    made = {facts.key for facts in predicted}
    truths = [facts for facts in layers if facts.key not in made]
    found = {facts.key: _best_truth(facts, truths) for facts in predicted if facts.key not in dismissed}
    found |= {key: pair.truth for key, pair in kept.items() if key is not None}
    return tuple(StainPair(key, truth, stain_name(by_key[key])) for key, truth in found.items())


def _best_truth(predicted: LayerFacts, truths: Sequence[LayerFacts]) -> str | None:
    """Return the key of the layer whose name fits best, or None; among equals one of the same size, then the later one."""
    ranked = [(_fit(predicted, facts), facts.size == predicted.size, index) for index, facts in enumerate(truths)]
    best = max(ranked, default=(0, False, -1))
    return truths[best[2]].key if best[0] > 0 else None


def _fit(predicted: LayerFacts, truth: LayerFacts) -> int:
    """Return how well two names fit: 3 the same stain, 2 one name holds the other, 1 two names of one dye, 0 not at all."""
    ours, theirs = stem(predicted.stain or predicted.name), stem(truth.name)
    if ours == theirs:
        return 3
    if set(ours) <= set(theirs) or set(theirs) <= set(ours):
        return 2
    known = default_synonyms()
    one, other = known.stain_of(predicted.stain or predicted.name), known.stain_of(truth.name)
    if one is not None and one == other:
        return 1
    ours_stains, their_stains = stains_named(ours), stains_named(theirs)
    return 1 if ours_stains and ours_stains == their_stains else 0


def is_error_map(layer: Any) -> bool:
    """Return whether a layer is an error map of ours."""
    return our_metadata(layer).get("role") == ERROR_MAP


def is_predicted(layer: Any) -> bool:
    """Return whether a model made a layer, by its metadata or its name."""
    return facts_of(layer).predicted or says_predicted(layer.name)


def comparable(viewer: Any) -> list[Any]:
    """Return the layers that can be compared: images of one channel that are neither error maps nor SDs."""
    return [layer for layer in image_layers(viewer) if not layer.rgb]


def key_of(layer: Any) -> str:
    """Return a key that identifies a layer for its lifetime, whatever its name."""
    return str(layer.unique_id)


def facts_of(layer: Any) -> LayerFacts:
    """Return the properties of a layer that pairing needs."""
    metadata = our_metadata(layer)
    predicted = metadata.get("role") in ("stain", "preview") or bool(metadata.get("provenance"))
    shape = shape_of(layer)
    stain = str(metadata.get("channel") or "") if predicted else ""
    return LayerFacts(key_of(layer), layer.name, predicted, stain, (int(shape[-2]), int(shape[-1])))


def shape_of(layer: Any) -> tuple[int, ...]:
    """Return the shape of a layer's data at full resolution."""
    data = layer.data[0] if layer.multiscale else layer.data
    return tuple(int(length) for length in data.shape)
