"""Preview, Paint and Cancel in turn, in a viewer that draws: in a process of its own, since what is tested for ends it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ALTERNATE = """
import sys
import napari
import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from napari_virtual_paint._napari.shared import jobs
from napari_virtual_paint._napari.shared.viewer.layers import our_metadata
from napari_virtual_paint._napari.stain.dock import StainDock

rounds, sizes = int(sys.argv[1]), [int(size) for size in sys.argv[2:]]
viewer = napari.Viewer()
dock = StainDock(viewer)
viewer.window.add_dock_widget(dock, name="Stain")
viewer.window.resize(600, 400)
panel = dock.panel
ways = {
    "call": {"preview": dock.preview, "paint": dock.paint, "cancel": dock.cancel},
    "click": {
        name: lambda button=button: QTest.mouseClick(button, Qt.MouseButton.LeftButton)
        for name, button in (("preview", panel.button_preview), ("paint", panel.button_paint), ("cancel", panel.button_cancel))
    },
}


def until(condition):
    while not condition():
        QTest.qWait(5)


def run(press, name, pause):
    until(lambda: dock.painting is None and panel.button_paint.isEnabled())
    press[name]()
    assert dock.painting is not None, name
    QTest.qWait(pause)
    if pause:
        press["cancel"]()
    until(lambda: dock.painting is None)


for turn in range(rounds):
    size = sizes[turn % len(sizes)]
    viewer.layers.clear()
    rng = np.random.default_rng(turn)
    viewer.add_image(rng.random((2, size, size + 16), dtype=np.float32), name="Brightfield")
    dock.choose(model="small-3d")
    until(lambda: dock.fit.ready)
    press = ways["click" if turn // len(sizes) % 2 else "call"]
    run(press, "preview", 0)
    assert sum(our_metadata(layer).get("role") == "preview" for layer in viewer.layers) == 2
    run(press, "paint", (turn * 7) % 40)
run(press, "paint", 0)
assert [our_metadata(layer).get("role") for layer in viewer.layers] == [None, "stain", "stain"], list(viewer.layers)
until(lambda: not jobs.LIVE)
viewer.close()
print("alive")
"""


@pytest.mark.timeout(600)  # a window that draws, on a machine that may have other work
def test_preview_paint_and_cancel_in_turn(offered: Path) -> None:
    """Twenty-one presses on three sizes, by calls and by clicks; the first argument sets more rounds for a longer trial."""
    done = subprocess.run(
        [sys.executable, "-c", ALTERNATE, "7", "32", "48", "64"], capture_output=True, text=True, timeout=580, check=False
    )
    assert "alive" in done.stdout, done.stderr[-2000:]
