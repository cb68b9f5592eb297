"""Take the pictures of the Cells dock for the documentation.

Run it under a screen, or without one as ``xvfb-run -a -s "-screen 0 1600x1000x24" python scripts/cells_screenshot.py``.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import napari

from napari_virtual_paint._napari import commands, demo
from napari_virtual_paint._napari.cells.dock import GROUP_TAB, WALK_TAB
from napari_virtual_paint._napari.cells.walk import WalkPlan

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
PATIENCE = 300.0
AREA, PERCENTILE = "Nuclei_AreaShape_Area", 90


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="jurkat-cells")
    parser.add_argument("--output", type=Path, default=IMAGES)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    viewer = napari.Viewer(title="Virtual Paint")
    viewer.window.resize(*demo.SIZE)
    dock = commands.open_dock("Cells")
    dock.choose(model=options.model)
    wait(lambda: dock.opened is not None and dock.opened.choice.model == options.model and dock.view.tabs.isEnabled())
    rest(dock)
    walk(viewer, dock)
    dock.shaping.pick_mean()
    rest(dock)
    dock.choose(follow=True)
    dock.shaping.set_feature(AREA, float(dock.opened.population.percentile(AREA, PERCENTILE)))
    dock.view.tabs.setCurrentIndex(0)
    rest(dock)
    viewer.window.screenshot(str(options.output / "cells.png"), canvas_only=False, flash=False)
    dock.view.tabs.setCurrentIndex(WALK_TAB)
    rest(dock)
    viewer.window.screenshot(str(options.output / "cells-walk.png"), canvas_only=False, flash=False)
    clear(viewer)
    group(viewer, dock)
    viewer.window.screenshot(str(options.output / "cells-group.png"), canvas_only=False, flash=False)
    clear(viewer)
    gallery(viewer, dock)
    viewer.window.screenshot(str(options.output / "cells-gallery-layers.png"), canvas_only=False, flash=False)
    viewer.close()


def clear(viewer: napari.Viewer) -> None:
    for layer in list(viewer.layers):
        viewer.layers.remove(layer)
        demo.wait_until(lambda: False, time.monotonic() + 0.1)


def group(viewer: napari.Viewer, dock) -> None:
    """Shift the nuclear area of a group, and add the cells to the viewer."""
    column = next(column for column in dock.opened.cohort.groupings if column != "Metadata_Well")
    dock.view.tabs.setCurrentIndex(GROUP_TAB)
    value = dock.opened.cohort.groupings[column][0]
    dock.group.set_shift(replace(dock.view.group.value(), column=column, values=(value,), feature=AREA, by=1.5))
    rest(dock)
    dock.view.group.send.click()
    wait(lambda: len(viewer.layers) == len(dock.opened.model.channels) + 1)
    rest(dock)


def gallery(viewer: napari.Viewer, dock) -> None:
    """Add the gallery to the viewer."""
    dock.view.tabs.setCurrentIndex(0)
    dock.editor.reset_all()
    rest(dock)
    dock.show_gallery()
    wait(lambda: dock.gallery_dialog is not None)
    dock.send_gallery()
    dock.gallery_dialog.close()
    wait(lambda: len(viewer.layers) == len(dock.opened.model.channels) + 1)
    rest(dock)


def walk(viewer: napari.Viewer, dock) -> None:
    """Walk between the first two groups, and stop half-way."""
    groups = [(column, values) for column, values in dock.opened.cohort.groupings.items() if column != "Metadata_Well"]
    column, values = groups[0]
    first = "control" if "control" in values else values[0]
    last = next(value for value in values if value != first)
    dock.walks.make(WalkPlan((column, first), (column, last), step=50))
    wait(lambda: dock.view.walk.walked is not None and viewer.canvas.overlays["text"].visible)
    viewer.dims.set_current_step(0, len(dock.view.walk.walked.walk) // 3)
    rest(dock)


def wait(ready) -> None:
    if not demo.wait_until(ready, time.monotonic() + PATIENCE):
        raise SystemExit("The dock did not come to rest.")


def rest(dock) -> None:
    demo.wait_until(lambda: False, time.monotonic() + 1)
    wait(lambda: not dock.busy)
    demo.wait_until(lambda: False, time.monotonic() + 0.5)


if __name__ == "__main__":
    main()
