"""What an import brings with it, looked up in a fresh interpreter: no Qt in the engine, no torch before it is needed."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCREEN = ("napari", "qtpy", "superqt", "magicgui", "PyQt5", "PyQt6", "PySide6", "vispy")
ENGINE = (
    "cells",
    "channel_colors",
    "choices",
    "counting",
    "device",
    "downloads",
    "errors",
    "evaluation",
    "metrics",
    "models",
    "networks",
    "normalize",
    "painting",
    "plates",
    "preprocessing",
    "reading",
    "registration",
    "runtime",
    "samples",
    "stack",
    "stain_names",
    "study",
    "training",
    "writing",
)
FACES = (
    "cells",
    "counting",
    "evaluation",
    "metrics",
    "models",
    "painting",
    "plates",
    "preprocessing",
    "reading",
    "registration",
    "samples",
    "study",
    "training",
    "writing",
)
IMPORTS_OF_FACES = {face: f"import napari_virtual_paint.{face} as _" for face in FACES}
COMMANDS = ("models", "predict", "evaluate", "register", "train", "simulate")


def modules_after(code: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter holds after some code."""
    tail = "\nimport json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code + tail], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


ALONE = (
    "import napari_virtual_paint",
    "from napari_virtual_paint.models import list_models; list_models()",
    "import napari_virtual_paint.metrics",
    "import napari_virtual_paint.reading, napari_virtual_paint.writing",
)

ADDING = """
import json, sys
before = set(sys.modules)
for code in json.loads(sys.stdin.read()):
    try:
        exec(code, {})
    except SystemExit:
        pass
    print(json.dumps(sorted({name.partition('.')[0] for name in set(sys.modules) - before})))
    before |= set(sys.modules)
"""


@cache
def modules_added(*codes: str) -> dict[str, set[str]]:
    """Return the top-level modules that each piece of code adds to those of the pieces before it, in one fresh interpreter for all."""
    done = subprocess.run([sys.executable, "-c", ADDING], input=json.dumps(codes), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("[")]
    return {code: set(json.loads(line)) for code, line in zip(codes, lines, strict=True)}


def test_the_check_sees_what_is_imported() -> None:
    assert "torch" in modules_after("import napari_virtual_paint.networks.unet")


def test_the_whole_engine_needs_no_screen() -> None:
    loaded = modules_after("".join(f"import napari_virtual_paint.{name}\n" for name in ENGINE))
    assert not loaded & set(SCREEN)


@pytest.mark.parametrize("code", ALONE)
def test_no_torch_before_it_is_needed(code: str) -> None:
    assert not modules_added(*ALONE, *IMPORTS_OF_FACES.values())[code] & {"torch", "lightning", *SCREEN}


def test_the_package_alone_imports_next_to_nothing() -> None:
    assert not modules_after("import napari_virtual_paint, napari_virtual_paint.cli") & {"numpy", "dask", "pydantic", "torch", *SCREEN}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_s_help_needs_no_torch(command: str) -> None:
    helps = {name: f"from napari_virtual_paint.cli import main; main([{name!r}, '--help'])" for name in COMMANDS}
    assert not modules_added(*helps.values())[helps[command]] & {"torch", "lightning", "dask", *SCREEN}


def test_listing_the_widgets_imports_neither_torch_nor_a_widget() -> None:
    code = (
        "from pathlib import Path\n"
        "import napari_virtual_paint, npe2\n"
        "manifest = npe2.PluginManifest.from_file(Path(napari_virtual_paint.__file__).with_name('napari.yaml'))\n"
        "assert len(manifest.contributions.widgets) >= 2\n"
        "import sys\n"
        "assert not [name for name in sys.modules if name.startswith('napari_virtual_paint._napari.')], 'a widget was imported'\n"
    )
    assert not modules_after(code) & {"torch", "lightning", "vispy", "PyQt6"}


def test_every_command_of_the_manifest_can_be_imported() -> None:
    code = (
        "from importlib import import_module\n"
        "from pathlib import Path\n"
        "import napari_virtual_paint, npe2\n"
        "manifest = npe2.PluginManifest.from_file(Path(napari_virtual_paint.__file__).with_name('napari.yaml'))\n"
        "for command in manifest.contributions.commands:\n"
        "    module, name = command.python_name.split(':')\n"
        "    getattr(import_module(module), name)\n"
    )
    modules_after(code)


def test_the_engine_is_listed_in_full() -> None:
    from pathlib import Path

    import napari_virtual_paint

    folder = Path(napari_virtual_paint.__file__).parent
    rooms = {path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert rooms - {"__init__", "__main__", "_version", "_napari", "cli"} == set(ENGINE)


@pytest.mark.parametrize("face", FACES)
def test_every_exported_name_resolves_and_hides_no_module(face: str) -> None:
    package = importlib.import_module(f"napari_virtual_paint.{face}")
    modules = {
        path.stem for path in Path(str(package.__file__)).parent.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    for name in package.__all__:
        assert getattr(package, name) is not None
    assert not modules & set(package.__all__) - {"metric"}  # metrics.metric is imported at once, so the function hides the module
    with pytest.raises(AttributeError):
        package.no_such_name  # noqa: B018


@pytest.mark.parametrize("face", FACES)
def test_importing_a_face_imports_no_torch(face: str) -> None:
    assert not modules_added(*ALONE, *IMPORTS_OF_FACES.values())[IMPORTS_OF_FACES[face]] & {"torch", "lightning", *SCREEN}


@pytest.mark.parametrize("path", [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.py")], ids=lambda path: path.name)
def test_imports_in_the_documentation_resolve(path: Path) -> None:
    for module, names in re.findall(r"^from (napari_virtual_paint[\w.]*) import ([\w, ]+)", path.read_text(encoding="utf-8"), re.MULTILINE):
        if "._napari" not in module:
            for name in names.split(", "):
                getattr(importlib.import_module(module), name)
    for module in re.findall(r"^::: ([\w.]+)", path.read_text(encoding="utf-8"), re.MULTILINE):
        importlib.import_module(module)


def test_no_folder_of_the_package_is_crowded() -> None:
    """A reader sees the files of a folder at one glance: at most 26, see docs/architecture.md."""
    folders = {path.parent for path in (ROOT / "src").rglob("*.py")}
    counts = {folder.relative_to(ROOT).as_posix(): len(list(folder.glob("*.py"))) for folder in folders}
    assert len(counts) > 20
    assert {folder: count for folder, count in counts.items() if count > 26} == {}
