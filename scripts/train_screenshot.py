"""Take the picture of the Train dock for the documentation: one simulated field, the smallest recipe, some minutes of it.

Run it under a screen, or without one as ``xvfb-run -a -s "-screen 0 1600x1600x24" python scripts/train_screenshot.py``.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import napari
from qtpy.QtCore import Qt

from napari_virtual_paint._napari import commands, demo
from napari_virtual_paint._napari.shared.viewer.layers import layer_data_from_stack
from napari_virtual_paint.samples import SimulationSettings, simulate_field
from screens import dismiss, until

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
SEED = 5
AUTHOR = "Maria Keller"  # whoever runs the script is not named


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=IMAGES)
    parser.add_argument("--theme", default="dark", choices=("dark", "light"))
    parser.add_argument("--width", type=int, default=340, help="of the dock, in pixels")
    parser.add_argument("--size", type=int, default=512, help="edge of the field, in pixels")
    parser.add_argument("--steps", type=int, default=40, help="of the training")
    parser.add_argument("--at", type=float, default=0.7, help="share of the steps after which the picture is taken")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["VIRTUAL_PAINT_RUNS"] = str(Path(folder, "runs"))
        os.environ["VIRTUAL_PAINT_MODELS"] = str(Path(folder, "models"))
        take(options)


def take(options: argparse.Namespace) -> None:
    """Train, take the picture while that goes on, and end."""
    viewer = napari.Viewer(title="Virtual Paint")
    viewer.theme = options.theme
    viewer.window.resize(1400, 1440)
    field = simulate_field(SimulationSettings(size=options.size, seed=SEED))
    for stack in (field.brightfield, field.stains):
        for pixels, arguments, _ in layer_data_from_stack(stack):
            shown = arguments["name"] == "Brightfield 0 um"
            viewer.add_image(pixels, **{**arguments, "visible": shown})
    dock = commands.open_dock("Train")
    holder = dock
    while not holder.inherits("QDockWidget"):
        holder = holder.parentWidget()
    viewer.window._qt_window.resizeDocks([holder], [options.width], Qt.Orientation.Horizontal)
    until(lambda: dock.config.estimator.found is not None)
    dock.choose(name="My stains", author=AUTHOR, length="steps", amount=options.steps)
    dock.config.start()
    until(lambda: dock.monitor.state is not None and dock.monitor.state.step >= options.at * options.steps)
    dock.panel.preview.stain.setCurrentText("ER")
    dismiss(dock.window())
    demo.wait_until(lambda: False, time.monotonic() + 2)
    viewer.window.screenshot(str(options.output / "train-dock.png"), canvas_only=False, flash=False)
    dock.monitor.stop()
    until(lambda: not dock.monitor.state.alive)
    viewer.close()


if __name__ == "__main__":
    main()
