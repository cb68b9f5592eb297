"""Take the pictures of the Plate dock for the documentation: a simulated plate, one field of it damaged, half of it painted.

Run it under a screen, or without one as ``xvfb-run -a -s "-screen 0 1600x1000x24" python scripts/plate_screenshot.py``.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import napari
import numpy as np
from qtpy.QtCore import Qt
from skimage.filters import threshold_otsu

from napari_virtual_paint._napari import commands, demo
from napari_virtual_paint.plates.simulation.design import PlateDesign
from napari_virtual_paint.plates.simulation.simulate import simulate_plate
from screens import dismiss, until

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
SHAPE, SIZE, SEED = (8, 12), 384, 3
DAMAGED = "B/7/0"
PAINTED, PARTLY = "A01:C12,D01:D06", "A02:C04"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plate", type=Path, help="a simulated plate to copy, else one is simulated (two minutes)")
    parser.add_argument("--output", type=Path, default=IMAGES)
    parser.add_argument("--theme", default="dark", choices=("dark", "light"))
    parser.add_argument("--width", type=int, default=360, help="of the dock, in pixels")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as room:
        folder = Path(room, "screens")  # what the dock shows of a path is its end
        folder.mkdir()
        path = folder / "screen-7.zarr"
        if options.plate is not None:
            shutil.copytree(options.plate, path)
        else:
            for step in simulate_plate(PlateDesign(shape=SHAPE, fields=1, size=SIZE, seed=SEED), path):
                print(f"\r{step.done} of {step.total} fields simulated", end="", flush=True)
            print()
        for file in (path / DAMAGED).rglob("*"):
            if file.is_file() and file.name != "zarr.json" and not file.name.startswith(".z"):
                file.write_bytes(b"damaged")
        take(path, options)


def take(path: Path, options: argparse.Namespace) -> None:
    """Open the plate, paint half of it, and take both pictures."""
    viewer = napari.Viewer(title="Virtual Paint")
    viewer.theme = options.theme
    viewer.window.resize(*demo.SIZE)
    dock = commands.open_dock("Plate")
    holder = dock
    while not holder.inherits("QDockWidget"):
        holder = holder.parentWidget()
    dock.open_plate(path)
    until(lambda: dock.plate is not None and dock.session.models is not None and not dock.busy)
    dock.window().resizeDocks([holder], [options.width], Qt.Orientation.Horizontal)
    dock.view.paint_section.expand(animate=False)
    dock.view.map.set_selection(wells(dock, PAINTED))
    dock.choose(scope="selected")
    dock.painting.start()
    until(lambda: not dock.queue.busy)
    dock.choose(scope="all")
    dock.view.map.set_selection(())
    dock.browsing.go_to_well(fullest(dock))
    until(lambda: not dock.busy and not dock.browsing.fields.layers.waits)
    demo.wait_until(lambda: False, time.monotonic() + 2)
    dismiss(dock.window())
    viewer.window.screenshot(str(options.output / "plate-dock.png"), canvas_only=False, flash=False)
    dock.choose(column="pcc_DNA")
    chosen = wells(dock, PARTLY)
    dock.view.map.set_selection(chosen)
    dock.browsing.open_side_by_side(chosen)
    dock.view.paint_section.collapse(animate=False)
    until(lambda: not dock.busy)
    demo.wait_until(lambda: False, time.monotonic() + 2)
    viewer.window.screenshot(str(options.output / "plate-mosaic.png"), canvas_only=False, flash=False)
    viewer.close()


def fullest(dock: object) -> str:
    """Return the painted well with the most nuclei, by how much of the field is bright in DNA."""
    found = {}
    for well in wells(dock, PAINTED):
        field = dock.plate.by_well[well][0]
        if dock.session.painted.states.get(field.key) == "done":
            pixels = np.asarray(dock.plate.read(field).select(["DNA"]).data)
            found[well] = float((pixels > threshold_otsu(pixels)).mean())
    return max(found, key=found.__getitem__)


def wells(dock: object, text: str) -> tuple[str, ...]:
    """Return the wells of a rectangle."""
    from napari_virtual_paint.plates.wells import parse_wells

    return parse_wells(text, dock.plate.wells)


if __name__ == "__main__":
    main()
