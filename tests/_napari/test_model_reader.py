"""A model dropped on napari is imported, without a layer."""

from __future__ import annotations

import pytest
import torch
from napari.utils.notifications import notification_manager

from napari_virtual_paint._napari.model_reader import get_model_reader
from napari_virtual_paint.models import list_models
from napari_virtual_paint.networks import build

PLUGIN = "napari-virtual-paint"


@pytest.fixture
def weights(tmp_path, monkeypatch):
    monkeypatch.setenv("VIRTUAL_PAINT_MODELS", str(tmp_path / "models"))
    torch.manual_seed(0)
    network = build("Pix2PixHD", {"in_channels": 1, "out_channels": 1, "width": 2, "downs": 1, "blocks": 1})
    torch.save(network.state_dict(), tmp_path / "latest_net_G.pth")
    return tmp_path / "latest_net_G.pth"


def own():
    return sorted(info.id for info in list_models() if info.id.startswith("latest"))


def said():
    return " ".join(str(notice.message) for notice in notification_manager.records)


def test_a_dropped_model_is_imported_and_no_layer_appears(make_napari_viewer, qtbot, weights):
    notification_manager.records.clear()
    viewer = make_napari_viewer()
    viewer.open(str(weights), plugin=PLUGIN)
    qtbot.waitUntil(lambda: own() == ["latest-net-g"], timeout=30_000)
    qtbot.waitUntil(lambda: "pix2pixHD (global generator) was imported" in said(), timeout=10_000)
    assert not viewer.layers
    viewer.open(str(weights), plugin=PLUGIN)
    qtbot.waitUntil(lambda: own() == ["latest-net-g", "latest-net-g-2"], timeout=30_000)


def test_what_is_no_model_is_told(make_napari_viewer, qtbot, weights):
    notification_manager.records.clear()
    weights.write_bytes(b"nothing of the kind")
    viewer = make_napari_viewer()
    viewer.open(str(weights), plugin=PLUGIN)
    qtbot.waitUntil(lambda: "it is a text file" in said(), timeout=30_000)
    assert not viewer.layers
    assert own() == []


def test_other_files_are_left_to_others():
    assert get_model_reader("image.tif") is None
    assert get_model_reader(["a.pth", "b.txt"]) is None
    assert get_model_reader("A.CKPT") is not None
