"""Recipes: named configurations with the numbers of a paper. They lie beside this file, one YAML each."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from napari_virtual_paint.runtime.yaml_text import load_yaml

ORDER = ("quick", "unet", "cwgan-gp", "pix2pixhd", "pix2pixhd-local", "fnet-2d", "fnet-3d", "fnet-3d-long")
"""The recipes in the order of the list, smallest first."""
WHOLE = (("normalize", "input"), ("normalize", "target"), ("split", "validation"), ("split", "test"), ("data", "simulate"))
"""Fields with alternative forms: the file's value replaces the recipe's instead of being merged with it."""
NAMED = ("kind", "architecture")
"""Fields that determine which other fields exist: where two mappings differ in them, the later replaces the first."""


@dataclass(frozen=True)
class Recipe:
    """A named base of a configuration."""

    name: str
    title: str
    description: str  # purpose, and the paper it follows
    dims: Literal[2, 3]  # 2 for a network on planes, 3 for one on volumes
    values: Mapping[str, Any] = field(hash=False)  # fields of `TrainConfig`, as a YAML would give them


@cache
def list_recipes() -> tuple[Recipe, ...]:
    """Return all recipes, smallest first."""
    folder = files(__package__) / "recipes"
    found = []
    for name in ORDER:
        values = load_yaml((folder / f"{name}.yaml").read_text(encoding="utf-8"))
        found.append(Recipe(name, values["title"], " ".join(values["description"].split()), values["dims"], values["values"]))
    return tuple(found)


def find_recipe(name: object) -> Recipe | None:
    """Return a recipe by name; None where there is none."""
    return next((recipe for recipe in list_recipes() if recipe.name == name), None)


def merged(under: Mapping[str, Any], over: Mapping[str, Any], path: tuple[str, ...] = ()) -> dict[str, Any]:
    """Merge one mapping into another, recursively.

    Parameters
    ----------
    under
        A recipe's fields; they are copied, not changed.
    over
        The file's fields; they take precedence.
    path
        Path of the two mappings in the configuration.
    """
    if any(key in under and key in over and under[key] != over[key] for key in NAMED):
        return dict(over)
    out = copy.deepcopy(dict(under))
    for key, value in over.items():
        at = (*path, key)
        both = isinstance(value, Mapping) and isinstance(out.get(key), Mapping)
        out[key] = merged(out[key], value, at) if both and at not in WHOLE else value
    return out
