"""Take the pictures of the Evaluate and Profile docks for the documentation.

Run it under a screen, or without one as
``xvfb-run -a -s "-screen 0 1600x1000x24" python scripts/profile_screenshot.py --report REPORT``, with the report that
``python examples/evaluate_plate.py --folder FOLDER`` wrote; without ``--report`` that is run first, which takes its time. The pictures in
the documentation show the report of ``--wells 3x4 --size 360 --steps 25``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import napari
import numpy as np
from PIL import Image
from qtpy.QtCore import Qt

from napari_virtual_paint._napari import commands, demo
from napari_virtual_paint._napari.evaluate.state import state_of_report
from screens import dismiss, until

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--report", type=Path, help="a report with profiles, of a plate that is still there; else the example is run")
    parser.add_argument("--output", type=Path, default=IMAGES)
    parser.add_argument("--theme", default="dark", choices=("dark", "light"))
    parser.add_argument("--width", type=int, default=380, help="of the docks, in pixels")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as room:
        report = options.report or prepare(Path(room, "screens", "example"))
        take(report, options)


def prepare(folder: Path) -> Path:
    """Run the example, which simulates two batches, paints them with two models and judges both; return its report."""
    script = Path(__file__).resolve().parents[1] / "examples" / "evaluate_plate.py"
    subprocess.run([sys.executable, str(script), "--folder", str(folder)], check=True)
    return folder / "report"


def take(report: Path, options: argparse.Namespace) -> None:
    """Open the report in both docks, and take the pictures."""
    viewer = napari.Viewer(title="Virtual Paint")
    viewer.theme = options.theme
    viewer.window.resize(*demo.SIZE)
    plates = commands.open_dock("Plate")
    evaluate = commands.open_dock("Evaluate")
    demo.beside(plates, evaluate)
    asked = state_of_report(report)
    plates.open_plate(asked.truth, output=asked.given[0][1])
    until(lambda: plates.plate is not None and plates.session.models is not None and not plates.busy)
    evaluate.open_report(report)
    widen(evaluate, options.width)
    until(lambda: not evaluate.busy and evaluate.head is not None)
    shoot(viewer, evaluate, options.output / "evaluate-dock.png")
    profile = evaluate.open_profile()
    until(lambda: profile.table is not None and not profile.busy)
    holder(evaluate).close()
    widen(profile, options.width)
    profile.go_to(profile.table.row(farthest(profile.table), "truth"))
    until(lambda: not profile.busy and not plates.busy and not plates.browsing.fields.layers.waits)
    plates.choose(column="treatment")
    until(lambda: not plates.busy and not profile.busy and not profile.link._group)
    shoot(viewer, profile, options.output / "profile-dock.png")
    profile.choose(map="pca", column="batch")
    near = [row for row, _ in profile.table.nearest(profile.here, "truth", 4)]
    profile.select([profile.table.wells[row] for row in (profile.here, *near)])
    until(lambda: not profile.busy and not plates.busy)
    profile.link.open_many(profile.wells)
    until(lambda: not plates.busy)
    shoot(viewer, profile, options.output / "profile-selection.png")
    viewer.close()


def farthest(table: Any) -> str:
    """Return the well of the truth that lies farthest from the others: one whose treatment shows."""
    places = next(iter(table.places.values()))[table.numbers == 0]
    away = np.hypot(*(places - np.nanmedian(places, axis=0)).T)
    return table.wells[int(np.nanargmax(away))]


def holder(widget: Any) -> Any:
    """Return the frame that a dock's widget lies in."""
    while not widget.inherits("QDockWidget"):
        widget = widget.parentWidget()
    return widget


def widen(dock: Any, width: int) -> None:
    """Give a dock its width."""
    dock.window().resizeDocks([holder(dock)], [width], Qt.Orientation.Horizontal)


def shoot(viewer: napari.Viewer, dock: Any, path: Path) -> None:
    """Take a picture of the window, in all its colors: with fewer those of small points and legends are no longer told apart."""
    demo.wait_until(lambda: False, time.monotonic() + 2)
    dismiss(dock.window())
    pixels = viewer.window.screenshot(canvas_only=False, flash=False)
    Image.fromarray(pixels[..., :3]).save(path, optimize=True)


if __name__ == "__main__":
    main()
