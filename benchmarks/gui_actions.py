"""How long the GUI thread works for each action of a user: in our own code, in napari for us, and in all until it rests.

`benchmarks/gui.py` runs this, too, and in a process of its own, so that the docks' modules are imported as they are for a user.

    xvfb-run -a python benchmarks/gui_actions.py [--json] [--profile ACTION]

All times are CPU time of the GUI thread (`time.thread_time`), which a busy machine changes less than the wall clock. For each action:

- ours: what our callbacks and constructors take, imports among it, without what napari does within them;
- within: what napari does within our calls: its answers to a changed layer (slicing, textures, the layer list), adding and removing
  layers, and rebuilding its scene at the end of a batch;
- whole: all of the thread's work until nothing goes on any more: ours, napari's, Qt's layout and style, and drawing in software.

Collections of garbage are in the whole alone. The docks are first opened in an empty viewer, closed and opened again, and stay open as
tabs. Before the sample, one plain layer comes and goes: with the first layer, whoever adds it, napari loads its registry of units.
`--profile` prints what the thread does in one action, by cProfile, instead of the table, and ends; its times are longer than without.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import functools
import gc
import importlib
import inspect
import json
import pstats
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gui import SKIPPED, fitting, run_loop

DOCKS = ("Stain", "Compare", "Plate", "Cells", "Train", "Register", "Evaluate", "Profile")
LIMIT = 0.3
"""Seconds that an action should take in our own code at most."""
REST = 0.25
"""Seconds in which the thread works at most `IDLE` seconds when it is at rest."""
IDLE = 0.004
PATIENCE = 180.0
PACKAGE = "napari_virtual_paint._napari"

_within = 0.0  # seconds that napari has worked within our callbacks
_level = 0  # how deep in napari's answers to our calls
_timed: set[Any] = set()  # classes that are timed already
_records: list[tuple[str, float, float]] = []


def time_loaded() -> None:
    """Time the methods of all classes of ours that are loaded, and the constructors of widgets, where that is not done yet."""
    from qtpy.QtWidgets import QWidget

    from napari_virtual_paint._napari.shared.gui_timing import timed

    for name, module in list(sys.modules.items()):
        if not name.startswith(f"{PACKAGE}.") or name.removeprefix(f"{PACKAGE}.") in SKIPPED:
            continue
        for kind in list(vars(module).values()):
            if not inspect.isclass(kind) or kind.__module__ != name or kind in _timed:
                continue
            _timed.add(kind)
            for attribute, function in list(vars(kind).items()):
                if not inspect.isfunction(function) or attribute in ("sizeHint", "minimumSizeHint"):
                    continue
                if attribute == "__init__" and issubclass(kind, QWidget):
                    kind.__init__ = timed(function)
                elif not attribute.startswith("__"):
                    setattr(kind, attribute, timed(fitting(function)))


@contextlib.contextmanager
def apart(counted: bool = True):
    """Leave the block out of our callback around it; it counts as napari's, or as nobody's where `counted` is false."""
    from napari_virtual_paint._napari.shared import gui_timing

    global _within, _level
    if not gui_timing._depth or threading.current_thread() is not threading.main_thread():
        yield
        return
    began, before = time.thread_time(), len(_records)
    _level += 1
    try:
        with gui_timing.aside():
            yield
    finally:
        _level -= 1
        if _level == 0 and counted:
            _within += time.thread_time() - began - sum(cpu for _, _, cpu in _records[before:])


def leave_napari_out() -> Callable[[], None]:
    """Put what napari, Qt's event loop and the collector of garbage do within our callbacks apart; return what ends it for the latter."""
    from napari.components import LayerList
    from napari.layers import Layer
    from napari.utils.events import EventEmitter
    from qtpy.QtWidgets import QApplication

    def wrapped(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            with apart():
                return function(*args, **kwargs)

        return wrapper

    for owner, name in (
        (EventEmitter, "__call__"),
        (LayerList, "insert"),
        (LayerList, "__delitem__"),
        (Layer, "refresh"),
        (Layer, "__init__"),
        (QApplication, "processEvents"),
    ):
        setattr(owner, name, wrapped(getattr(owner, name)))
    update = LayerList.batched_update

    @contextlib.contextmanager
    def batched(self):
        with contextlib.ExitStack() as stack:
            batch = update(self)
            with apart():
                batch.__enter__()
            stack.push(wrapped(batch.__exit__))
            yield

    LayerList.batched_update = batched
    collecting: list[Any] = []

    def note(phase: str, _info: dict) -> None:
        if threading.current_thread() is threading.main_thread():
            if phase == "start":
                collecting.append(apart(counted=False))
                collecting[-1].__enter__()
            elif collecting:
                collecting.pop().__exit__(None, None, None)

    gc.callbacks.append(note)
    return lambda: gc.callbacks.remove(note)


class Actions:
    """Performs actions and keeps what each of them took; profiles one of them, where asked for."""

    def __init__(self, profiled: str, quiet: bool) -> None:
        self.rows: list[dict[str, Any]] = []
        self._profiled, self._quiet = profiled, quiet or bool(profiled)
        if not self._quiet:
            print(HEAD, flush=True)

    def perform(self, name: str, *steps: Callable[[], Any], until: Callable[[], bool] = lambda: True, seconds: float = PATIENCE) -> None:
        """Perform an action, and wait until something is so and the GUI thread rests, or for some seconds at most."""
        from napari_virtual_paint._napari.shared import gui_timing

        global _within, _records
        time_loaded()
        profile = cProfile.Profile(time.thread_time) if name == self._profiled else contextlib.nullcontext()
        whole, _within = 0.0, 0.0
        with gui_timing.recording() as _records, profile:
            for step in steps:
                began = time.thread_time()
                gui_timing.timed(step)() if step.__name__ == "bring_in" else step()
                whole += time.thread_time() - began
                time_loaded()
            whole += rest(until, seconds)
        ours = sum(cpu for _, _, cpu in _records)
        slowest = max(_records, key=lambda record: record[2], default=("", 0.0, 0.0))
        row = {"action": name, "ours_s": ours, "within_s": _within, "whole_s": whole, "longest_s": slowest[2], "longest": slowest[0]}
        self.rows.append({key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()})
        if not self._quiet:
            print(line(self.rows[-1]), flush=True)
        if isinstance(profile, cProfile.Profile):
            pstats.Stats(profile).sort_stats("cumulative").print_stats(90)
            raise SystemExit


def rest(until: Callable[[], bool], seconds: float) -> float:
    """Run the event loop until something is so and the thread rests; return the seconds that it worked."""
    from napari_virtual_paint._napari.shared import event_loop, jobs

    first, end = time.thread_time(), time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.thread_time()
        run_loop(REST)
        if time.thread_time() - began < IDLE and not jobs.LIVE and not event_loop._BUSY and until():
            break
    return time.thread_time() - first


def open_docks(viewer: Any, actions: Actions, names: tuple[str, ...], when: str) -> dict[str, Any]:
    """Open docks by napari's own way; return them by name."""
    from napari_virtual_paint._napari import commands

    docks = {}
    for name in names:

        def bring_in(name: str = name) -> None:
            importlib.import_module(f"{PACKAGE}.{name.casefold()}.dock")

        actions.perform(f"open {name}, {when}", bring_in, lambda name=name: docks.update({name: commands.open_dock(name)}))
    return docks


def close_docks(viewer: Any, names: tuple[str, ...]) -> None:
    """Close docks as napari's title bar does."""
    from napari_virtual_paint._napari import commands

    for name in names:
        viewer.window.remove_dock_widget(commands.find_dock(viewer, name))
    rest(lambda: True, 30)


def perform_all(actions: Actions, folder: Path) -> None:
    """Perform all actions in one viewer."""
    import napari
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    from napari_virtual_paint._napari import commands, sample_data
    from napari_virtual_paint._napari.shared.gui_timing import timed
    from napari_virtual_paint._napari.shared.viewer.stain_view import StainButtons
    from napari_virtual_paint.plates.simulation.design import PlateDesign
    from napari_virtual_paint.plates.simulation.simulate import simulate_plate
    from napari_virtual_paint.runtime.generators import run_to_end

    run_to_end(simulate_plate(PlateDesign(shape=(4, 6), size=256), folder / "plate.zarr"))
    sample_data.layers_of = timed(sample_data.layers_of)
    viewer = napari.Viewer()
    viewer.window.resize(1500, 900)
    rest(lambda: True, 30)
    open_docks(viewer, actions, DOCKS, "first")
    close_docks(viewer, DOCKS)
    docks = open_docks(viewer, actions, DOCKS, "again")
    stain, compare, plate, cells = (docks[name] for name in DOCKS[:4])
    stain_buttons = stain.findChild(StainButtons)

    def click(button: Any) -> Callable[[], Any]:
        return lambda: button.click()

    actions.perform("one plain layer", lambda: viewer.add_image(np.zeros((64, 64), np.float32), units=("um", "um")))
    viewer.layers.clear()
    rest(lambda: True, 30)
    actions.perform("sample of eight layers", lambda: commands.open_sample(viewer))
    commands.open_dock("Stain")
    rest(stain.panel.button_paint.isEnabled, 60)
    actions.perform("Preview", click(stain.panel.button_preview), until=lambda: stain.painting is None)
    actions.perform("Paint", click(stain.panel.button_paint), until=lambda: stain.painting is None)
    actions.perform("Paint again", click(stain.panel.button_paint), until=lambda: stain.painting is None)
    stain.paint()
    run_loop(0.5)
    actions.perform("Cancel", click(stain.panel.button_cancel), until=lambda: stain.painting is None)
    commands.open_dock("Compare")
    rest(lambda: not compare.updater.busy, 60)
    panel = compare.panel
    for time_ in ("", ", again"):
        actions.perform(f"Side by side on{time_}", click(panel.side))
        actions.perform(f"Side by side off{time_}", click(panel.side))
        actions.perform(f"Flicker on, 2 s of it{time_}", click(panel.flicker), seconds=2)
        actions.perform(f"Flicker off{time_}", click(panel.flicker))
    actions.perform("Error map on", click(panel.errors), until=lambda: not compare.maps.busy)
    actions.perform("Error map off", click(panel.errors))
    actions.perform("one stain", lambda: stain_buttons.buttons["DNA"].click())
    actions.perform("another stain", lambda: stain_buttons.buttons["ER"].click())
    actions.perform("All stains", click(stain_buttons.all))
    actions.perform("Manage models", lambda: docks.update(manager=commands.manage_models()))
    docks["manager"].close()
    close_docks(viewer, ("Train", "Evaluate"))
    open_docks(viewer, actions, ("Train", "Evaluate"), "with 13 layers")
    viewer.layers.clear()
    commands.open_dock("Plate")
    rest(lambda: True, 30)
    actions.perform("open a plate", lambda: plate.open_plate(folder / "plate.zarr"), until=lambda: plate.plate and not plate.busy)
    wells = plate.plate.wells
    for name, well in (("click on the first well", wells[0]), ("click on another well", wells[9])):
        place = plate.view.map.cell(well).center().toPoint()
        actions.perform(
            name, lambda place=place: QTest.mouseClick(plate.view.map, Qt.MouseButton.LeftButton, pos=place), until=lambda: not plate.busy
        )
    for time_ in ("", ", again"):
        actions.perform(f"mosaic of 12 wells on{time_}", lambda: plate.browsing.open_side_by_side(wells[:12]), until=lambda: not plate.busy)
        actions.perform(f"mosaic off{time_}", lambda: plate.browsing.leave_side_by_side(), until=lambda: not plate.busy)
    commands.open_dock("Cells")
    rest(lambda: cells.opened is not None and not cells.busy, 60)
    if cells.opened is not None:
        actions.perform("drag a feature, 20 moves", lambda: drag(cells), until=lambda: not cells.busy)
        actions.perform("Gallery", lambda: cells.show_gallery(), until=lambda: cells.gallery_dialog is not None)
        cells.gallery_dialog.close()
        cells.shut()
    rest(lambda: True, 30)
    viewer.close()


def drag(dock: Any, moves: int = 20) -> None:
    """Drag the slider of the first feature to and fro."""
    from qtpy.QtCore import QPoint, Qt
    from qtpy.QtTest import QTest

    from napari_virtual_paint._napari.cells.slider_row import track_rect

    sliders, view = dock.view.sliders, dock.view.sliders.viewport()
    inside = (track_rect(sliders.visualRect(sliders.tree.index_of(i))) for i in range(len(dock.opened.model.features)))
    track = next(each for each in inside if each.width() > 0 and view.rect().contains(each))
    places = [QPoint(track.left() + track.width() * (5 + step % 10) // 20, track.center().y()) for step in range(moves)]
    QTest.mousePress(view, Qt.MouseButton.LeftButton, pos=places[0])
    for place in places[1:]:
        QTest.mouseMove(view, place)
        run_loop(1 / 60)
    QTest.mouseRelease(view, Qt.MouseButton.LeftButton, pos=places[-1])


HEAD = f"{'s of CPU, GUI thread':30s} {'ours':>7s} {'within':>7s} {'whole':>7s}   our longest callback"


def line(row: dict[str, Any]) -> str:
    """Return a row of the table."""
    over = "OVER" if row["ours_s"] > LIMIT else ""
    return (
        f"{row['action']:30s} {row['ours_s']:7.3f} {row['within_s']:7.3f} {row['whole_s']:7.3f}   "
        f"{row['longest_s']:.3f} {row['longest'].replace('.<locals>', '')} {over}".rstrip()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    parser.add_argument("--profile", default="", metavar="ACTION", help="an action as the table names it")
    arguments = parser.parse_args()
    end = leave_napari_out()
    actions = Actions(arguments.profile, quiet=arguments.json)
    with tempfile.TemporaryDirectory() as folder:
        perform_all(actions, Path(folder))
    end()
    if arguments.json:
        print(json.dumps(actions.rows))


if __name__ == "__main__":
    main()
