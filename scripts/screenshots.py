"""Take the pictures of the docks for the documentation, on the simulated field.

Run it under a screen, or without one as ``xvfb-run -a -s "-screen 0 1600x1000x24" python scripts/screenshots.py``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import napari

from napari_virtual_paint._napari import commands, demo
from napari_virtual_paint._napari.sample_data import layers_of
from napari_virtual_paint.samples import demo_field

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
PATIENCE = 600.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=demo.MODEL)
    parser.add_argument("--output", type=Path, default=IMAGES)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    viewer = napari.Viewer(title="Virtual Paint")
    viewer.window.resize(*demo.SIZE)
    stain_dock(viewer, options.model, options.output / "stain-dock.png")
    compare_dock(viewer, options.output / "compare-dock.png")
    viewer.close()
    viewer = napari.Viewer(title="Virtual Paint")
    viewer.window.resize(*demo.SIZE)
    uncertainty(viewer, options.model, options.output / "uncertainty.png")
    viewer.close()


def stain_dock(viewer: napari.Viewer, model: str, path: Path) -> None:
    field = demo_field()
    for data, arguments, _kind in layers_of(field.brightfield, field.stains):
        viewer.add_image(data, **arguments)
    dock = commands.stain_dock()
    dock.choose(model=model)
    dock.paint()
    if not demo.wait_until(lambda: dock.painting is None, time.monotonic() + PATIENCE):
        raise SystemExit("The painting did not come to its end.")
    demo.wait_until(lambda: "memory" in dock.panel.check.text(), time.monotonic() + PATIENCE)
    demo.wait_until(lambda: False, time.monotonic() + 1)
    viewer.window.screenshot(str(path), canvas_only=False, flash=False)


def uncertainty(viewer: napari.Viewer, model: str, path: Path) -> None:
    """Paint with all turns and show how far they differ in the DNA."""
    field = demo_field()
    for data, arguments, _kind in layers_of(field.brightfield, field.stains):
        viewer.add_image(data, **arguments)
    dock = commands.stain_dock()
    dock.choose(model=model, tta="full")
    dock.paint()
    if not demo.wait_until(lambda: dock.painting is None and "DNA SD" in viewer.layers, time.monotonic() + PATIENCE):
        raise SystemExit("The painting did not come to its end.")
    for layer in viewer.layers:
        layer.visible = layer.name == "DNA SD"
    viewer.layers.selection = {viewer.layers["DNA SD"]}
    demo.wait_until(lambda: "memory" in dock.panel.check.text(), time.monotonic() + PATIENCE)
    demo.wait_until(lambda: False, time.monotonic() + 1)
    viewer.window.screenshot(str(path), canvas_only=False, flash=False)


def compare_dock(viewer: napari.Viewer, path: Path) -> None:
    dock = commands.open_dock("Compare")
    demo.beside(commands.stain_dock(), dock)
    dock.pair_by_name()
    dock.wait(PATIENCE)
    dock.show_side_by_side()
    demo.wait_until(lambda: False, time.monotonic() + 1)
    dock.wait(PATIENCE)
    viewer.window.screenshot(str(path), canvas_only=False, flash=False)


if __name__ == "__main__":
    main()
