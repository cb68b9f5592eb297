"""Each list of choices is written once, and napari's settings offer the same values."""

from __future__ import annotations

import ast
from importlib.resources import files
from pathlib import Path
from typing import Literal, get_origin

import pytest
import yaml

import napari_virtual_paint
from napari_virtual_paint import choices
from napari_virtual_paint.choices import DeviceChoice, Precision, values_of

SOURCE = Path(napari_virtual_paint.__file__).parent
LISTS = {name: frozenset(values_of(kind)) for name, kind in vars(choices).items() if get_origin(kind) is Literal} | {
    name: frozenset(getattr(choices, name)) for name in ("LEVELS", "PLATE_LAYOUTS")
}


def test_no_other_module_lists_the_choices() -> None:
    """A copy would miss a new choice in silence. Tables of labels, whose keys are the choices, have tests of their own."""
    again = []
    for path in sorted(SOURCE.rglob("*.py")):
        if path.relative_to(SOURCE).as_posix() in ("choices.py", "plates/layouts/loaddata.py"):  # the latter lists names of columns
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Tuple | ast.List | ast.Set):
                words = {item.value for item in node.elts if isinstance(item, ast.Constant)}
                again += [f"{path.relative_to(SOURCE)}:{node.lineno}: {name}" for name, values in LISTS.items() if words == values]
    assert not again


@pytest.mark.parametrize(("name", "choice"), [("device", DeviceChoice), ("precision", Precision)])
def test_the_settings_of_napari_offer_the_choices(name: str, choice: object) -> None:
    manifest = yaml.safe_load((files("napari_virtual_paint") / "napari.yaml").read_text("utf-8"))
    offered = manifest["contributions"]["configurations"]["painting"]["properties"][name]["enum"]
    assert sorted(offered) == sorted(values_of(choice))
