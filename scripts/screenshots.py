"""Take the pictures of the docks for the documentation, on the simulated field.

Run it under a screen, or without one as ``scripts/with-screen.sh python scripts/screenshots.py``. With ``--every FOLDER`` it takes a
picture of every dock at both sizes of window and in both themes instead, for looking at all of them; ``--only register-dock`` takes
that picture alone.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import napari
import numpy as np
from scipy import ndimage

from napari_virtual_paint._napari import commands, demo
from napari_virtual_paint._napari.sample_data import layers_of
from napari_virtual_paint.models.catalogue import DEFAULT
from napari_virtual_paint.plates.simulation.design import PlateDesign
from napari_virtual_paint.plates.simulation.simulate import simulate_plate
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.samples import SimulationSettings, demo_field, simulate_field
from screens import dismiss, until

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
PATIENCE = 600.0
DOCKS = ("Stain", "Compare", "Plate", "Cells", "Train", "Evaluate", "Profile", "Register", "Count")
SIZES = ((1280, 720), (1600, 1000))
THEMES = ("dark", "light")
REAL = "DNA (microscope 2)"
WHOLE, PART = 640, 320  # edges of the stain and of the image that is registered onto it, pixels
TURN, SCALE, CORNER = 9.0, 1.06, (150, 180)  # how the image was taken: degrees, pixels of the stain per pixel, its first pixel there


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=DEFAULT)
    parser.add_argument("--output", type=Path, default=IMAGES)
    parser.add_argument("--every", type=Path, metavar="FOLDER", help="every dock at both sizes and in both themes, into this folder")
    parser.add_argument("--only", choices=("register-dock",), help="this picture alone")
    options = parser.parse_args()
    if options.every is not None:
        every_dock(options.model, options.every)
        return
    options.output.mkdir(parents=True, exist_ok=True)
    register_dock(options.model, options.output / "register-dock.png")
    if options.only:
        return
    viewer = napari.Viewer(title="Virtual Paint")
    viewer.window.resize(*demo.SIZE)
    stain_dock(viewer, options.model, options.output / "stain-dock.png")
    compare_dock(viewer, options.output / "compare-dock.png")
    viewer.close()
    viewer = napari.Viewer(title="Virtual Paint")
    viewer.window.resize(*demo.SIZE)
    uncertainty(viewer, options.model, options.output / "uncertainty.png")
    viewer.close()


def every_dock(model: str, folder: Path) -> None:
    """Take all docks as tabs of one window, each with something to show; the Profile dock, which needs a report, is empty."""
    folder.mkdir(parents=True, exist_ok=True)
    viewer = napari.Viewer(title="Virtual Paint")
    viewer.window.resize(*SIZES[0])
    field = demo_field()
    for data, arguments, _kind in layers_of(field.brightfield, field.stains):
        viewer.add_image(data, **arguments)
    stain = commands.stain_dock()
    stain.choose(model=model)
    stain.paint()
    until(lambda: stain.painting is None)
    compare = commands.open_dock("Compare")
    compare.pair_by_name()
    compare.wait(PATIENCE)
    with tempfile.TemporaryDirectory() as room:
        path = Path(room, "screen-7.zarr")
        run_to_end(simulate_plate(PlateDesign(shape=(4, 6), size=96), path))
        plate = commands.open_dock("Plate")
        plate.open_plate(path)
        until(lambda: plate.plate is not None and not plate.busy)
        cells = commands.open_dock("Cells")
        until(lambda: cells.opened is not None and not cells.busy)
        for theme in THEMES:
            viewer.theme = theme
            for width, height in SIZES:
                viewer.window.resize(width, height)
                for name in DOCKS:
                    dock = commands.open_dock(name)
                    demo.wait_until(lambda: False, time.monotonic() + 1)
                    dismiss(dock.window())
                    picture = folder / f"{name.lower()}-{width}x{height}-{theme}.png"
                    viewer.window.screenshot(str(picture), canvas_only=False, flash=False)
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


def register_dock(model: str, path: Path) -> None:
    """Register a part of a simulated field, as a second microscope would have taken it, onto the DNA of the whole."""
    viewer = napari.Viewer(title="Virtual Paint")
    viewer.window.resize(*SIZES[0])
    field = simulate_field(SimulationSettings(size=WHOLE, seed=5))
    angle = np.deg2rad(TURN)
    matrix = SCALE * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    for data, arguments, _kind in layers_of(field.brightfield, field.stains):
        name = arguments["name"]
        if name == "DNA":
            viewer.add_image(data, **{**arguments, "name": REAL, "visible": True})
        elif name.startswith("Brightfield"):
            plane = np.asarray(data).astype(np.float32)
            part = ndimage.affine_transform(plane, matrix, CORNER, (PART, PART), order=1, mode="nearest")
            viewer.add_image(part, **{**arguments, "opacity": 0.7})
    viewer.reset_view()
    dock = commands.open_dock("Register")
    until(lambda: len(dock.model_list.models) > 0)
    names = tuple(layer.name for layer in viewer.layers if layer.name.startswith("Brightfield"))
    dock.setValue(replace(dock.value(), layers=names, model=model, stain="DNA", onto=REAL))
    dock.register()
    until(lambda: not dock.running)
    viewer.reset_view()
    demo.wait_until(lambda: False, time.monotonic() + 1)
    dismiss(dock.window())
    viewer.window.screenshot(str(path), canvas_only=False, flash=False)
    viewer.close()


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
