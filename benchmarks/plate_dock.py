"""How soon a click on the Plate dock's map shows pixels, and how long our own callbacks take meanwhile.

    xvfb-run -a python benchmarks/plate_dock.py [--json] [--wells 384] [--size 256] [--clicks 40] [--plate FOLDER]

A plate of fields with three brightfield planes and five stains is written to a local disk (the same simulated field, rolled by another
amount in each well). Then wells are clicked with real mouse events: far ones, of which nothing was read before (`cold`), and the
neighbour to the right after a moment of rest, which was read ahead (`next`). The time ends with the first drawing of the canvas that has
the pixels of every layer shown. Redrawing alone, without any plate, is told beside it: under software rendering it is most of the time.

Callbacks are timed as `benchmarks/gui.py` does. What the operating system still has in memory of a plate just written counts as local
disk; `--drop` asks it to forget the files first (posix_fadvise).
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from gui import LIMIT, callbacks, instrument, run_loop

PLANES = ("Brightfield -4 um", "Brightfield 0 um", "Brightfield +4 um")


def write_plate(path: Path, wells: int, size: int) -> None:
    """Write the plate."""
    from napari_virtual_paint.plates.ome_zarr import writer
    from napari_virtual_paint.plates.plate import Field
    from napari_virtual_paint.plates.wells import FORMATS, well_name
    from napari_virtual_paint.samples import demo_field
    from napari_virtual_paint.stack import PixelSize, Stack

    field = demo_field()
    parts = [np.asarray(stack.data, np.float32)[0] for stack in (field.brightfield, field.stains)]
    planes = np.concatenate([part.reshape(-1, *part.shape[-2:]) for part in parts])
    planes = (4000 * planes / planes.max(axis=(1, 2), keepdims=True)).astype(np.uint16)
    times = -(-size // planes.shape[-1])
    planes = np.tile(planes, (1, times, times))[:, :size, :size]
    rows, columns = FORMATS[wells]
    names = [well_name(row, column) for row in range(rows) for column in range(columns)]
    fields = [Field(name, "0") for name in names]
    metadata = {name: {"treatment": f"compound {index % 20}", "dose": 10.0 ** (index % 4)} for index, name in enumerate(names)}
    writer.create(path, path.stem, (rows, columns), fields, metadata=metadata)
    channels = (*PLANES, *(field_stains := field.stains.channels or ()))
    assert len(channels) == len(planes), field_stains
    for index, place in enumerate(fields):
        pixels = np.roll(planes, 7 * index, axis=2)[None, :, None]
        writer.write_field(path, place, Stack(pixels, channels, PixelSize(None, 0.65, 0.65)))
    writer.list_fields(path, fields)


def forget(path: Path) -> None:
    """Ask the system to keep none of a folder's files in memory."""
    for file in path.rglob("*"):
        if file.is_file():
            handle = os.open(file, os.O_RDONLY)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


class Eye:
    """Sees when the canvas was drawn with the pixels of a field."""

    def __init__(self, viewer, dock) -> None:
        self.viewer, self.dock = viewer, dock
        self.seen = 0.0
        self.wanted = ""
        viewer.window._qt_viewer.canvas._scene_canvas.events.draw.connect(self._drawn, position="last")

    def _drawn(self, _event=None) -> None:
        from napari_virtual_paint._napari.shared.viewer.layers import our_metadata

        shown = [layer for layer in self.viewer.layers if layer.visible]
        if not self.seen and shown and all(our_metadata(layer).get("field") == self.wanted for layer in shown):
            self.seen = time.perf_counter()

    def click(self, well: str, patience: float = 30.0) -> float:
        """Click a well; return the milliseconds until its pixels were drawn."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        self.seen, self.wanted = 0.0, f"{well}/0"
        place = self.dock.view.map.cell(well).center().toPoint()
        began = time.perf_counter()
        QTest.mouseClick(self.dock.view.map, Qt.MouseButton.LeftButton, pos=place)
        while not self.seen and time.perf_counter() - began < patience:
            spin()
        if not self.seen:
            raise SystemExit(f"{well} was not shown in {patience} s.")
        return 1000 * (self.seen - began)


def spin() -> None:
    """Let Qt work off what waits, and the worker its turn."""
    from qtpy.QtWidgets import QApplication

    QApplication.processEvents()
    time.sleep(0.001)


def redraws(viewer, times: int = 10) -> float:
    """Return the milliseconds that napari takes to draw the same layers with other pixels, the median of some."""
    costs = []
    canvas = viewer.window._qt_viewer.canvas._scene_canvas
    layers = [layer for layer in viewer.layers if layer.visible]
    for _ in range(times):
        began = time.perf_counter()
        for layer in layers:
            layer.data = layer.data[::-1].copy()
        canvas.native.repaint()
        costs.append(1000 * (time.perf_counter() - began))
        run_loop(0.1)
    return statistics.median(costs)


def watch_garbage() -> list[float]:
    """Return a list that gets the milliseconds of each of Python's collections of garbage on this thread from now on.

    They fall into whatever runs just then, our callbacks among it, and grow with all that napari and its libraries have made.
    """
    began, found, mine = [0.0], [], threading.get_ident()

    def note(phase: str, info: dict) -> None:
        if threading.get_ident() != mine:
            return
        if phase == "start":
            began[0] = time.perf_counter()
        else:
            found.append(1000 * (time.perf_counter() - began[0]))

    gc.callbacks.append(note)
    return found


def measure(path: Path, clicks: int, drop: bool) -> dict:
    """Click through the plate; returns the result as JSON knows it."""
    instrument()
    garbage = watch_garbage()
    import napari

    from napari_virtual_paint._napari.plate.dock import PlateDock
    from napari_virtual_paint._napari.shared.gui_timing import recording

    viewer = napari.Viewer()
    viewer.window.resize(1500, 950)
    dock = PlateDock(viewer)
    viewer.window.add_dock_widget(dock, name="Plate", area="right")
    run_loop(1)
    with recording() as opening:
        began = time.perf_counter()
        dock.open_plate(path)
        run_loop(60, until=lambda: dock.plate is not None and not dock.busy and dock.session.models is not None)
        opened = time.perf_counter() - began
        run_loop(1)
    eye = Eye(viewer, dock)
    with recording() as first:
        first_click = eye.click(dock.plate.wells[0])
        run_loop(3)
    wells = dock.plate.wells
    far = [wells[(17 + 53 * index) % len(wells)] for index in range(clicks)]
    records: list = []
    times: dict[str, list[float]] = {"cold": [], "next": []}
    for index, well in enumerate(dict.fromkeys(far)):
        dock.browsing.fields.store.cache.clear()
        if drop and index % 10 == 0:
            forget(path)
        with recording() as some:
            times["cold"].append(eye.click(well))
            run_loop(1.0)
        records += some
        place = wells.index(well) + 1
        if place < len(wells) and wells[place][0] == well[0]:
            run_loop(10, until=lambda: not dock.browsing.fields.ahead and not dock.browsing.fields.busy)
            with recording() as some:
                times["next"].append(eye.click(wells[place]))
                run_loop(0.5)
            records += some
    with recording() as boxed:
        dock.browsing.open_side_by_side(wells[:48])
        run_loop(60, until=lambda: not dock.browsing.mosaic.busy)
        run_loop(1)
    result = {
        "wells": len(wells),
        "layers_shown": sum(layer.visible for layer in viewer.layers),
        "opened_s": round(opened, 2),
        "first_click_ms": round(first_click),
        **{f"{name}_ms": summary(values) for name, values in times.items()},
        "callbacks": callbacks(records),
        "opening": callbacks(opening),
        "first_field": callbacks(first),
        "mosaic_of_48": callbacks(boxed),
        "garbage": {"count": len(garbage), "longest_ms": sorted((round(each, 1) for each in garbage), reverse=True)[:5]},
    }
    dock.browsing.go_to_well(wells[0])
    run_loop(3)
    result["redraw_ms"] = round(redraws(viewer), 1)
    viewer.close()
    return result


def summary(values: list[float]) -> dict:
    """Return median, 95th percentile and longest."""
    return {
        "clicks": len(values),
        "median": round(statistics.median(values), 1),
        "p95": round(float(np.percentile(values, 95)), 1),
        "max": round(max(values), 1),
    }


def show(result: dict) -> None:
    """Print the result for a reader."""
    print(f"{result['wells']} wells, {result['layers_shown']} layers shown; opened in {result['opened_s']} s")
    for name, title in (("cold_ms", "click to pixels, nothing read before"), ("next_ms", "click to pixels, read ahead")):
        row = result[name]
        print(f"{title}: median {row['median']} ms, p95 {row['p95']}, longest {row['max']} ({row['clicks']} clicks)")
    print(
        f"redrawing the same layers with other pixels alone: {result['redraw_ms']} ms; "
        f"the first click, which adds layers: {result['first_click_ms']} ms"
    )
    print(f"collections of garbage, whoever ran then: {result['garbage']['count']}, longest {result['garbage']['longest_ms']} ms")
    for key in ("callbacks", "opening", "first_field", "mosaic_of_48"):
        calls = result[key]
        over = calls[f"over_{LIMIT:.0f}_ms"]
        print(f"our callbacks, {key}: {calls['count']}, p99 {calls['p99_ms']} ms, longest {calls['max_ms']} ms, {over} over {LIMIT:.0f} ms")
        for name, (wall, cpu) in list(calls["slowest_ms"].items())[:5]:
            print(f"  {wall:7.1f} {cpu:7.1f}  {name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--wells", type=int, default=384, choices=(6, 12, 24, 48, 96, 384, 1536))
    parser.add_argument("--size", type=int, default=256, help="pixels of a field along a side")
    parser.add_argument("--clicks", type=int, default=40)
    parser.add_argument("--plate", type=Path, help="a plate that is there, with fields called 0; written and removed where not given")
    parser.add_argument("--drop", action="store_true", help="have the system forget the files before clicks")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.plate or Path(folder, "plate.zarr")
        if not path.exists():
            write_plate(path, arguments.wells, arguments.size)
        result = measure(path, arguments.clicks, arguments.drop)
    print(json.dumps(result)) if arguments.json else show(result)


if __name__ == "__main__":
    main()
