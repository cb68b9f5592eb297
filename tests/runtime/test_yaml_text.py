"""The program's own YAML: the bytes that PyYAML writes and the values that it reads, whichever parser does it."""

from __future__ import annotations

import math
import zipfile
from importlib.resources import files

import pytest
import yaml

from napari_virtual_paint.runtime.yaml_text import dump_yaml, load_yaml

VALUES = {
    "words": ["", "no", "1e-06", "µm, \u00e9 and 日本", "two\nlines\n", " a: b ", "'", "~", "a" * 300, "w " * 90],
    "numbers": [1e-6, 1.0, -3, 2**70, math.inf, True, None],
    "empty": [{}, []],
    "nested": {"b": {"z": [1, [2, {"y": 3}]], "a": "#"}},
}


def test_any_value_comes_back() -> None:
    text = dump_yaml(VALUES)
    assert text == yaml.safe_dump(VALUES, sort_keys=False, allow_unicode=True, width=120)
    assert load_yaml(text) == load_yaml(text.encode()) == yaml.safe_load(text) == VALUES
    assert list(load_yaml(text)) == list(VALUES)


def test_the_descriptions_of_the_bundled_models() -> None:
    packages = [place for place in (files("napari_virtual_paint.models") / "bundled").iterdir() if place.name.endswith(".zip")]
    assert packages
    for package in packages:
        with package.open("rb") as file, zipfile.ZipFile(file) as archive:
            text = archive.read("rdf.yaml")
        assert load_yaml(text) == yaml.safe_load(text)
        assert dump_yaml(load_yaml(text)).encode() == text


def test_objects_are_not_made() -> None:
    with pytest.raises(yaml.YAMLError):
        load_yaml("a: !!python/object/apply:os.getcwd []")


def test_the_recipes() -> None:
    recipes = files("napari_virtual_paint.training.config") / "recipes"
    for place in recipes.iterdir():
        text = place.read_text(encoding="utf-8")
        assert load_yaml(text) == yaml.safe_load(text)
