"""Fixtures of the whole suite."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

SHARED = (Path(__file__).resolve().parents[2] / "shared").resolve()
"""Real images and foreign files for tests; they lie beside the repository, never in it."""
HELPERS = Path(__file__).parent / "helpers"


def pytest_configure(config: pytest.Config) -> None:
    """Make the groups known where pytest-xdist, whose mark they are, is not installed; let Ctrl-C reach what tests start.

    A shell starts what runs behind it deaf to Ctrl-C, and every process of that process is deaf, too.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Processes that a test starts import helpers by name, too.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(HELPERS), os.environ.get("PYTHONPATH"))))
    config.addinivalue_line("markers", "xdist_group(name): tests that run one after another in one process")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file in one process, for their fixtures, and those of a dock in one, for napari's start."""
    here = Path(__file__).parent
    for item in items:
        place = item.path.relative_to(here)
        group = place.parent if place.parts[0] == "_napari" else place
        item.add_marker(pytest.mark.xdist_group(group.as_posix()))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real data; the test is skipped where it is absent."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("the folder of real data, ../shared/data beside the repository, is absent")
    return folder


@pytest.fixture(scope="session")
def shared_checkpoints() -> Path:
    """Return the folder of foreign checkpoints; the test is skipped where it is absent."""
    folder = SHARED / "checkpoints"
    if not folder.is_dir():
        pytest.skip("the folder of foreign checkpoints, ../shared/checkpoints beside the repository, is absent")
    return folder
