"""How the docks keep up with thousands of layers in the viewer: the longest time of our own callbacks, napari's own time, and memory.

    xvfb-run -a python benchmarks/many_layers.py [--layers 2000] [--size 32] [--alone | --no-window] [--json]

Opens the Stain, Compare and Evaluate docks, adds small image layers one by one (ten of them visible), then renames one, selects one, hides
one, and removes the upper half together. A callback is every entry from Qt or napari into our own code on the thread that draws, as in
`benchmarks/gui.py`. All times are those of the processor, which a busy machine changes little; napari's own time is the rest of what
adding takes, and collecting Python's garbage, most of it napari's objects, is printed apart. With ``--alone`` no dock is open, which shows
what napari takes by itself. With ``--no-window`` the layers are in a viewer without a window, which takes a minute instead of an hour
without a graphics card: the docks follow its list of layers as they do in a window.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import psutil

from gui import instrument, run_loop

LIMIT = 0.3
"""Seconds that our own work should hold the viewer at most."""
SETTLED = 3.0
"""Seconds of the event loop after a change, in which the docks catch up."""
SHOWN = 10
"""Layers that are visible: without a graphics card drawing more of them takes longer than all that is measured."""
EACH = 25
"""Layers between two turns of the event loop."""
COLLECTOR = "_timer"
"""Name of the callback that collects garbage (`_napari.shared.collection`)."""
PART = 250
"""Layers after which a line is printed: the time of a layer grows with their number."""


def open_docks(viewer: Any) -> list[Any]:
    """Open the three docks beside each other, in the window if there is one."""
    from napari_virtual_paint._napari.compare.dock import CompareDock
    from napari_virtual_paint._napari.evaluate.dock import EvaluateDock
    from napari_virtual_paint._napari.stain.dock import StainDock

    docks = [StainDock(viewer), CompareDock(viewer), EvaluateDock(viewer)]
    for dock, name in zip(docks, ("Stain", "Compare", "Evaluate"), strict=True):
        if hasattr(viewer, "window"):
            viewer.window.add_dock_widget(dock, name=name, tabify=False)
        else:
            dock.show()
    return docks


def megabytes() -> float:
    """Return the memory of this process."""
    gc.collect()
    return round(float(psutil.Process().memory_info().rss) / 2**20, 1)


def add_layers(viewer: Any, first: int, count: int, size: int) -> None:
    """Add layers of noise; the event loop runs now and then."""
    rng = np.random.default_rng(first)
    for number in range(first, first + count):
        pixels = rng.integers(0, 4000, (size, size), np.uint16)
        viewer.add_image(pixels, name=f"layer {number}", contrast_limits=(0, 4000), visible=number < SHOWN)
        if number % EACH == EACH - 1:
            run_loop(0.01)


def phase(name: str, work: Callable[[], Any]) -> dict[str, Any]:
    """Do some work, let the docks catch up, and return the times."""
    from napari_virtual_paint._napari.shared.gui_timing import recording

    with recording() as entries:
        began = time.thread_time()
        work()
        run_loop(SETTLED)
        taken = time.thread_time() - began
        ours: Sequence[tuple[str, float, float]] = list(entries)
    collecting = sum(cpu for name, _, cpu in ours if name.startswith(COLLECTOR))
    ours = [entry for entry in ours if not entry[0].startswith(COLLECTOR)]
    longest = max(ours, key=lambda entry: entry[2], default=("none", 0.0, 0.0))
    own = sum(cpu for _, _, cpu in ours)
    values = {"napari_s": taken - own - collecting, "ours_s": own, "longest_s": longest[2], "collecting_s": collecting}
    found = {"phase": name, **{key: round(value, 3) for key, value in values.items()}, "callback": longest[0], "memory_mb": megabytes()}
    print(line(found), file=sys.stderr, flush=True)
    return found


def line(found: dict[str, Any]) -> str:
    """Return the times of a phase as text."""
    verdict = f"{'within' if found['longest_s'] <= LIMIT else 'OVER'} {LIMIT} s"
    return (
        f"{found['phase']:<12} napari {found['napari_s']:8.2f} s, ours {found['ours_s']:6.2f} s, the longest {found['longest_s']:.3f} s "
        f"({found['callback']}), {verdict}; collecting garbage {found['collecting_s']:.2f} s; {found['memory_mb']:.0f} MB"
    )


def measure(layers: int, size: int, *, alone: bool, window: bool) -> list[dict[str, Any]]:
    """Run all phases."""
    import napari
    from napari.components import ViewerModel
    from napari.qt import get_qapp

    get_qapp()
    viewer: Any = napari.Viewer() if window else ViewerModel()
    if window:
        viewer.window.resize(1500, 900)
    docks: list[Any] = []
    found = [phase("open", lambda: None if alone else docks.extend(open_docks(viewer)))]
    for first in range(0, layers, PART):
        count = min(PART, layers - first)
        found.append(phase(f"to {first + count}", lambda first=first, count=count: add_layers(viewer, first, count, size)))

    def remove() -> None:
        with viewer.layers.batched_update():
            del viewer.layers[layers // 2 :]

    rest: dict[str, Callable[[], Any]] = {
        "rename": lambda: setattr(viewer.layers[0], "name", "Brightfield"),
        "select": lambda: viewer.layers.selection.select_only(viewer.layers[1]),
        "hide": lambda: setattr(viewer.layers[2], "visible", False),
        "remove": remove,
    }
    found += [phase(name, work) for name, work in rest.items()]
    for dock in docks:
        dock.close()
    if window:
        viewer.close()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=2000)
    parser.add_argument("--size", type=int, default=32)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--alone", action="store_true", help="open no dock")
    mode.add_argument("--no-window", action="store_true", help="leave out napari's window")
    parser.add_argument("--json", action="store_true", help="print one JSON list; the lines go to stderr in any case")
    args = parser.parse_args()
    instrument()
    found = measure(args.layers, args.size, alone=args.alone, window=not args.no_window)
    if args.json:
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
