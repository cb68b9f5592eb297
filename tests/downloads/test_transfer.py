"""The settings of all downloads."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_virtual_paint.downloads.transfer import CACHE, OFFLINE, cache_folder, offline


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(CACHE, str(tmp_path / "elsewhere"))
    assert cache_folder() == tmp_path / "elsewhere"
    monkeypatch.delenv(CACHE)
    assert "napari-virtual-paint" in str(cache_folder())


@pytest.mark.parametrize(("value", "forbidden"), [("", False), ("0", False), ("no", False), ("False", False), ("1", True), ("yes", True)])
def test_the_offline_switch(monkeypatch: pytest.MonkeyPatch, value: str, forbidden: bool) -> None:
    monkeypatch.setenv(OFFLINE, value)
    assert offline() is forbidden
