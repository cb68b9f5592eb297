"""The demo and the palette's actions, through the real docks."""

from __future__ import annotations

import numpy as np
import pytest
from napari.utils.notifications import notification_manager

from napari_virtual_paint._napari import commands, demo
from napari_virtual_paint._napari.shared.viewer.layers import our_metadata
from napari_virtual_paint.errors import VirtualPaintError
from napari_virtual_paint.samples import SimulationSettings, simulate_field

pytestmark = pytest.mark.usefixtures("offered")


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(demo, "demo_field", lambda: simulate_field(SimulationSettings(size=96, seed=7)))


def test_the_demo_paints_and_scores(make_napari_viewer):
    viewer = make_napari_viewer(show=True)
    compare = demo.show(viewer, "small")
    rows = compare.table_rows()
    assert [row["stain"] for row in rows] == ["DNA", "ER", "RNA", "AGP", "Mito", "Mean"]
    assert all(row["pcc"] is not None for row in rows)
    assert viewer.canvas.grid.enabled, "predicted beside true"
    text = demo.table(rows).splitlines()
    assert text[0].split() == ["stain", "PCC", "SSIM", "PSNR", "MSE", "MAE"]
    assert len(text) == 7
    pictured = viewer.window.screenshot(canvas_only=False, flash=False)
    assert pictured.shape[1] > 800


def test_the_demo_without_its_model_says_so(make_napari_viewer):
    with pytest.raises(VirtualPaintError, match="absent is not here"):
        demo.show(make_napari_viewer(), "absent")


def test_undefined_scores_are_words():
    row = {"stain": "DNA", "pcc": None, "ssim": 0.5, "psnr": 20.0, "mse": 0.1, "mae": 0.2}
    assert demo.table([row]).splitlines()[1].split() == ["DNA", "undefined", "0.500", "20.000", "0.100", "0.200"]


def test_actions_open_the_dock_and_paint(make_napari_viewer, qtbot):
    viewer = make_napari_viewer()
    for name in ("Brightfield -4 um", "Brightfield 0 um", "Brightfield +4 um"):
        viewer.add_image(np.random.default_rng(0).random((48, 48), np.float32), name=name)
    commands.paint()
    dock = commands.stain_dock()
    qtbot.waitUntil(lambda: dock.painting is None, timeout=60_000)
    assert sum(our_metadata(layer).get("role") == "stain" for layer in viewer.layers) == 5
    commands.preview()
    qtbot.waitUntil(lambda: dock.painting is None, timeout=60_000)
    assert sum(our_metadata(layer).get("role") == "preview" for layer in viewer.layers) == 5
    commands.cancel()
    assert commands.stain_dock() is dock


def test_actions_are_in_the_command_palette(make_napari_viewer):
    make_napari_viewer()
    from napari._app_model import get_app_model

    app = get_app_model()
    there = {item.command.title for item in app.menus.get_menu(app.menus.COMMAND_PALETTE_ID) if hasattr(item, "command")}
    for title in ("Paint stains (Ctrl+Return)", "Preview stains in view (Ctrl+Shift+Return)", "Cancel painting (Ctrl+.)"):
        assert f"{title} (Virtual Paint)" in there


def test_actions_without_a_viewer_say_so(monkeypatch):
    monkeypatch.setattr(commands, "current_viewer", lambda: None)
    commands.paint()
    assert notification_manager.records[-1].message == "Open a napari viewer first."
