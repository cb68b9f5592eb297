"""What the set-up rests on: pins for everything that is installed, and what the base must not ask for."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
BASE = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
GROUPS = [Requirement(text) for group in PROJECT["dependency-groups"].values() for text in group if isinstance(text, str)]


APART = {"aicsimageio", "cellpose", "instanseg"}
"""Extras that are installed neither by "all" nor for the tests."""


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    found = [re.match(r"([A-Za-z0-9._-]+)==(\S+)", line) for line in lines]
    return {canonicalize_name(match[1]): match[2] for match in found if match}


@pytest.mark.parametrize(
    "requirement",
    [*BASE, *GROUPS, *(Requirement(text) for name, extra in EXTRAS.items() if name not in APART for text in extra)],
    ids=str,
)
def test_everything_installed_is_pinned(requirement: Requirement) -> None:
    if canonicalize_name(requirement.name) == "napari-virtual-paint":
        assert requirement.extras <= set(EXTRAS)
        return
    version = pins("constraints.txt")[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(version, prereleases=True)


def test_all_is_every_extra_that_goes_together() -> None:
    (everything,) = map(Requirement, EXTRAS["all"])
    assert set(everything.extras) == set(EXTRAS) - {"all", "onnx"} - APART


@pytest.mark.parametrize(("name", "version"), [("tifffile", "2023.2.28"), ("zarr", "2.15.0"), ("fsspec", "2023.6.0")])
def test_the_base_allows_what_aicsimageio_wants(name: str, version: str) -> None:
    for requirement in BASE:
        if canonicalize_name(requirement.name) == name:
            assert requirement.specifier.contains(version)


def test_the_base_pulls_no_qt_and_nothing_that_needs_torchvision() -> None:
    named = {canonicalize_name(requirement.name) for requirement in BASE}
    assert not named & {"pyqt5", "pyqt6", "pyside2", "pyside6"}
    assert not [requirement for requirement in BASE if canonicalize_name(requirement.name) == "napari" and requirement.extras]
    everything = named | {canonicalize_name(Requirement(text).name) for extra in EXTRAS.values() for text in extra}
    assert not everything & {"torchvision", "timm", "piq", "torch-fidelity"}
    assert not {"torchvision", "timm", "piq", "torch-fidelity"} & set(pins("constraints.txt"))


def test_the_manifest_at_the_top_is_the_packaged_one() -> None:
    link = ROOT / "napari.yaml"
    packaged = ROOT / "src" / "napari_virtual_paint" / "napari.yaml"
    assert link.resolve() == packaged.resolve() or link.read_text(encoding="utf-8").strip() == "src/napari_virtual_paint/napari.yaml"


def test_no_registry_is_named() -> None:
    """Where packages come from is the user's choice, in their own pip's settings."""
    files = [
        ROOT / "Makefile",
        ROOT / ".ci" / "run",
        ROOT / "pyproject.toml",
        *(ROOT / "scripts").glob("*"),
        *ROOT.glob("constraints*.txt"),
    ]
    for path in files:
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        assert not re.search(r"index-url|find-links|trusted-host|//[^\s/]*pypi|download\.pytorch", text), path


@pytest.mark.parametrize("script", sorted([*(ROOT / "scripts").glob("*.sh"), ROOT / ".ci" / "run"]), ids=lambda path: path.name)
def test_scripts_stop_at_the_first_error(script: Path) -> None:
    assert "set -euo pipefail" in script.read_text(encoding="utf-8")
    assert script.stat().st_mode & 0o100
    assert subprocess.run(["bash", "-n", script], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("environment", "code"),
    [({}, 1), ({"DISPLAY": ":987"}, 1), ({"DISPLAY": ""}, 1), ({"DISPLAY": "other.host:0"}, 0), ({"WAYLAND_DISPLAY": "wayland-0"}, 0)],
    ids=str,
)
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="only Linux asks for a screen")
def test_a_display_that_is_left_over_is_no_screen(environment: dict[str, str], code: int) -> None:
    script = ROOT / "scripts" / "with-screen.sh"
    done = subprocess.run([script, "--have-screen"], env={"PATH": "/usr/bin:/bin", **environment}, check=False)
    assert done.returncode == code


def test_the_groups_of_tests_that_start_first_exist(request: pytest.FixtureRequest) -> None:
    conftest: Any = request.config.pluginmanager.get_plugin(str(ROOT / "tests" / "conftest.py"))
    assert not [group for group in conftest.LONGEST if not (ROOT / "tests" / group).exists()]
