"""Fixtures of the whole suite."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"
"""Real images and foreign files for tests; they lie beside the repository, never in it."""


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
