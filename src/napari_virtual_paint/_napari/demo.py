"""``python -m napari_virtual_paint._napari.demo``: the main job on a simulated field, driven through the real docks.

On a screen napari stays open. With ``--screenshot FILE`` or ``VIRTUAL_PAINT_DEMO=headless`` (as under Xvfb) the score table is
printed, a picture of the whole window is written and the demo ends.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import napari
from qtpy.QtCore import QEventLoop
from qtpy.QtWidgets import QApplication

from napari_virtual_paint._napari import commands
from napari_virtual_paint._napari.sample_data import layers_of
from napari_virtual_paint._napari.shared.viewer.layers import our_metadata
from napari_virtual_paint.errors import VirtualPaintError
from napari_virtual_paint.metrics.metric import METRICS
from napari_virtual_paint.models.catalogue import DEFAULT
from napari_virtual_paint.samples import demo_field

PATIENCE = 300.0  # seconds after which the demo gives up; it takes some twenty, but a cold disk or a busy machine is no reason to fail
SIZE = (1560, 940)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m napari_virtual_paint._napari.demo", description=__doc__.splitlines()[0])
    parser.add_argument("--screenshot", type=Path, metavar="FILE", help="write a picture of the whole window and end")
    parser.add_argument("--model", default=DEFAULT, help="the model to paint with (default: %(default)s)")
    options = parser.parse_args(arguments)
    headless = options.screenshot is not None or os.environ.get("VIRTUAL_PAINT_DEMO") == "headless"
    viewer = napari.Viewer(title="Virtual Paint: a demonstration")
    viewer.window.resize(*SIZE)
    try:
        compare = show(viewer, options.model)
    except VirtualPaintError as error:
        sys.stderr.write(f"{error}\n")
        if headless:
            viewer.close()
            return error.exit_code
        compare = None
    if compare is not None:
        sys.stdout.write(table(compare.table_rows()))
    if not headless:
        napari.run()
        return 0
    path = options.screenshot or Path("demo.png")
    viewer.window.screenshot(str(path), canvas_only=False, flash=False)
    sys.stdout.write(f"The window is in {path}\n")
    viewer.close()
    return 0


def show(viewer: napari.viewer.Viewer, model: str) -> Any:
    """Add the field, paint its stains through the Stain dock, and show them beside the true ones; return the Compare dock.

    Raises `VirtualPaintError` if there is no such model, or the painting did not come to its end.
    """
    until = time.monotonic() + PATIENCE
    field = demo_field()
    for data, arguments, _kind in layers_of(field.brightfield, field.stains):
        viewer.add_image(data, **arguments)
    stain = commands.stain_dock()
    if stain is None or model not in stain.model_list.models:
        raise VirtualPaintError(f"The model {model} is not here; `virtual-paint models list` lists the available ones.")
    stain.choose(model=model)
    stain.paint()
    if not wait_until(lambda: stain.painting is None, until) or not stains_of(viewer):
        raise VirtualPaintError("The painting did not come to its end; the notifications in the window tell why.")
    compare = commands.open_dock("Compare")
    beside(stain, compare)
    compare.pair_by_name()
    compare.wait(max(5.0, until - time.monotonic()))
    box = compare.panel.layout_choice
    box.setCurrentIndex(box.findData("overlaid"))  # one picture of all stains beside the other: what a biologist looks at first
    compare.show_side_by_side()
    wait_until(lambda: False, time.monotonic() + 1.0)
    compare.wait(max(5.0, until - time.monotonic()))
    return compare


def stains_of(viewer: Any) -> list[Any]:
    """Return the painted layers."""
    return [layer for layer in viewer.layers if our_metadata(layer).get("role") == "stain"]


def beside(one: Any, other: Any) -> None:
    """Put one dock in the place of another, as a tab in front."""
    window, docks = one.window(), []
    for widget in (one, other):
        dock = widget
        while dock is not None and not dock.inherits("QDockWidget"):
            dock = dock.parentWidget()
        docks.append(dock)
    window.tabifyDockWidget(*docks)
    docks[1].raise_()


def wait_until(ready: Callable[[], bool], until: float) -> bool:
    """Keep the screen alive until something is ready; return whether it was in time."""
    flags = QEventLoop.ProcessEventsFlag.AllEvents | QEventLoop.ProcessEventsFlag.WaitForMoreEvents
    while not ready():
        if time.monotonic() > until:
            return False
        QApplication.processEvents(flags, 50)
        time.sleep(0.005)
    return True


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the scores as plain text."""
    lines = ["".join(["stain".ljust(10), *(metric.label.rjust(10) for metric in METRICS.values())])]
    for row in rows:
        cells = ["undefined" if row[name] is None else f"{row[name]:.3f}" for name in METRICS]
        lines.append("".join([str(row["stain"]).ljust(10), *(cell.rjust(10) for cell in cells)]))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
