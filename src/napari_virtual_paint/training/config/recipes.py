"""Recipes: named beginnings of a configuration, each with the numbers of its paper. They lie beside this file, one YAML each."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml

ORDER = ("quick", "unet", "cwgan-gp", "pix2pixhd", "pix2pixhd-local", "fnet-2d", "fnet-3d", "fnet-3d-long")
"""The recipes as they are listed, the smallest first."""
WHOLE = (("normalize", "input"), ("normalize", "target"), ("split", "validation"), ("split", "test"), ("data", "simulate"))
"""Fields that take one form or another: what the file says replaces the recipe's, instead of being mixed with it."""
NAMED = ("kind", "architecture")
"""Fields that name which other fields there are: where two mappings name different ones, the later replaces the first."""


@dataclass(frozen=True)
class Recipe:
    """A named beginning of a configuration.

    Parameters
    ----------
    name
        As a configuration calls it.
    title
        In a few words.
    description
        What it is for, and after which paper.
    dims
        2 for a network on planes, 3 for one on volumes.
    values
        Fields of `TrainConfig`, as a YAML would give them.
    """

    name: str
    title: str
    description: str
    dims: Literal[2, 3]
    values: Mapping[str, Any] = field(hash=False)


@cache
def list_recipes() -> tuple[Recipe, ...]:
    """Return every recipe, the smallest first."""
    folder = files(__package__) / "recipes"
    found = []
    for name in ORDER:
        told = yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))
        found.append(Recipe(name, told["title"], " ".join(told["description"].split()), told["dims"], told["values"]))
    return tuple(found)


def find_recipe(name: object) -> Recipe | None:
    """Return a recipe by its name; None where there is none of it."""
    return next((recipe for recipe in list_recipes() if recipe.name == name), None)


def merged(under: Mapping[str, Any], over: Mapping[str, Any], path: tuple[str, ...] = ()) -> dict[str, Any]:
    """Lay one mapping over another, field by field and field in field.

    Parameters
    ----------
    under
        A recipe's fields; they are copied, not changed.
    over
        What the file says; it always counts.
    path
        Where in the configuration the two are.
    """
    if any(key in under and key in over and under[key] != over[key] for key in NAMED):
        return dict(over)
    out = copy.deepcopy(dict(under))
    for key, value in over.items():
        at = (*path, key)
        both = isinstance(value, Mapping) and isinstance(out.get(key), Mapping)
        out[key] = merged(out[key], value, at) if both and at not in WHOLE else value
    return out
