"""How live the viewer stays while the Stain dock paints: the event loop's heartbeat, and how long our own callbacks take.

    xvfb-run -a python benchmarks/gui.py [--json] [--part painting|actions] [--size 2000] [--seconds 5] [--rounds 2] [--model ID]

One interleaved run in one viewer with both docks open and ten layers of size x size shown (five stains being painted, five true ones):
in every round the viewer is merely panned, then it paints untouched, then it paints while it is panned. A heartbeat is a timer of 5 ms on
the event loop; its gap is the time from one beat to the next, so a gap is about as long as the longest thing that kept the loop busy.
Merely panning already redraws ten layers per frame, which under software rendering takes 80 to 100 ms.

A callback is every entry from Qt or napari into our own code on the GUI thread, whatever it calls in turn (napari's own work included);
all methods of the classes in `_napari` are timed, but for those that Qt's table asks for each cell it draws. Where napari runs the event
loop inside a call, that time is left out: the loop is alive in it. So is napari's own work of adding our layers to its window and of
removing them, which is printed apart, beside what it takes in the same viewer for one plain layer of the same size.

At the end `benchmarks/gui_actions.py` prints what each action of a user costs the GUI thread, from opening a dock to a mosaic of wells.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import inspect
import json
import math
import os
import pkgutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

STAINS = ("DNA", "ER", "RNA", "AGP", "Mito")
PLANES = ("Brightfield -4 um", "Brightfield 0 um", "Brightfield +4 um")
BEAT = 5
"""Milliseconds between two beats."""
PAN = 40
"""Milliseconds between two moves of the camera."""
LIMIT = 15.0
"""Milliseconds that our callbacks should keep to at the 99th percentile."""
INSIDE: dict[str, list[float]] = defaultdict(list)
"""Milliseconds that napari took, within our callbacks, for each layer added and each removal."""
SKIPPED = {"compare.table", "shared.gui_timing"}
"""Modules of `_napari` left out: a table's `data` is asked for each cell drawn, and thousands of quick calls would flatter the
percentile."""


def instrument() -> None:
    """Time every method of our widgets, runs and watches that Qt or napari may call."""
    import napari_virtual_paint._napari as package
    from napari_virtual_paint._napari.shared.gui_timing import timed

    for entry in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if entry.name.removeprefix(f"{package.__name__}.") in SKIPPED:
            continue
        module = importlib.import_module(entry.name)
        for kind in vars(module).values():
            if not inspect.isclass(kind) or kind.__module__ != module.__name__:
                continue
            for name, function in list(vars(kind).items()):
                if inspect.isfunction(function) and not name.startswith("__") and name not in ("sizeHint", "minimumSizeHint"):
                    setattr(kind, name, timed(fitting(function)))
    set_aside()


def set_aside() -> None:
    """Leave out what napari does within our callbacks: run the event loop, add and remove layers; the latter is kept apart."""
    from napari.components import LayerList
    from qtpy.QtWidgets import QApplication

    from napari_virtual_paint._napari.shared.gui_timing import aside
    from napari_virtual_paint._napari.shared.viewer import layer_list

    def apart(function, costs=None):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            start = time.perf_counter()
            with aside():
                try:
                    return function(*args, **kwargs)
                finally:
                    if costs is not None:
                        costs.append(1000 * (time.perf_counter() - start))

        return wrapper

    QApplication.processEvents = apart(QApplication.processEvents)
    LayerList.insert = apart(LayerList.insert, INSIDE["add_a_layer"])
    remove = layer_list.remove_layers
    for module in list(sys.modules.values()):
        if getattr(module, "remove_layers", None) is remove:
            module.remove_layers = apart(remove, INSIDE["remove_layers"])


def fitting(function):
    """Return the function, called with as many arguments as it takes: PyQt drops a signal's surplus ones only for a bare function."""
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return function
    most = sum(parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD) for parameter in parameters)

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args[:most], **kwargs)

    return wrapper


def random_model(folder: Path) -> str:
    """Save a U-Net of random weights (three planes to five stains), for a machine without bundled models; returns its ID."""
    import torch

    from napari_virtual_paint.models import Card, save_model
    from napari_virtual_paint.networks import build
    from napari_virtual_paint.stack import PixelSize

    torch.manual_seed(0)
    config = {"in_channels": 3, "out_channels": 5, "depth": 4, "width": 16}
    save_model(
        folder / "random",
        build("UNet", config).eval(),
        id="random",
        name="Random weights",
        description="For the benchmark of the GUI.",
        version="0",
        authors=["The developers"],
        card=Card("nothing: its weights are random", "nothing", {}, "anything but this benchmark"),
        architecture="UNet",
        config=config,
        channels=PLANES,
        stains=STAINS,
        dims=2,
        test_input=np.random.default_rng(0).random((3, 64, 64), np.float32),
        planes_as_channels=True,
        z_offsets=(-4, 0, 4),
        pixel_size=PixelSize(None, 0.65, 0.65),
    )
    return "random"


class Heart:
    """Beats on the event loop and keeps the gaps of each phase."""

    def __init__(self) -> None:
        from qtpy.QtCore import Qt, QTimer

        self.gaps: dict[str, list[float]] = defaultdict(list)
        self.phase = ""
        self._last = 0.0
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._beat)
        self._timer.start(BEAT)

    def begin(self, phase: str) -> None:
        """Keep gaps under another name from now on; none under an empty one."""
        self.phase, self._last = phase, 0.0

    def _beat(self) -> None:
        now = time.perf_counter()
        if self.phase and self._last:
            self.gaps[self.phase].append(1000 * (now - self._last))
        self._last = now


class Panner:
    """Moves the camera round and round, as a user who looks about."""

    def __init__(self, viewer) -> None:
        from qtpy.QtCore import QTimer

        self._camera, self._step = viewer.scene.camera, 0
        self._center = tuple(self._camera.center)
        self._timer = QTimer()
        self._timer.timeout.connect(self._move)

    def start(self) -> None:
        """Begin to move."""
        self._timer.start(PAN)

    def stop(self) -> None:
        """Stand still."""
        self._timer.stop()

    def _move(self) -> None:
        self._step += 1
        turn, radius = self._step / 15, 0.1 * (self._center[-1] + 1)
        y, x = self._center[-2] + radius * math.sin(turn), self._center[-1] + radius * math.cos(turn)
        self._camera.center = (*self._center[:-2], y, x)


def run_loop(seconds: float, until=lambda: False) -> None:
    """Run Qt's event loop for a time or until something holds."""
    from qtpy.QtCore import QEventLoop, QTimer

    loop = QEventLoop()
    QTimer.singleShot(round(1000 * seconds), loop.quit)
    poll = QTimer()
    poll.timeout.connect(lambda: loop.quit() if until() else None)
    poll.start(50)
    loop.exec()


def set_up(size: int, model: str):
    """Open a viewer with both docks, three planes to paint from and five true stains."""
    import napari

    from napari_virtual_paint._napari.compare.dock import CompareDock
    from napari_virtual_paint._napari.stain.dock import StainDock

    rng = np.random.default_rng(0)
    viewer = napari.Viewer()
    viewer.window.resize(1500, 900)
    for name in PLANES:
        viewer.add_image(rng.integers(0, 4000, (size, size), np.uint16), name=name, scale=(0.65, 0.65), units=("um", "um"))
    for name in STAINS:
        true = rng.integers(0, 4000, (size, size), np.uint16)
        viewer.add_image(true, name=name, scale=(0.65, 0.65), units=("um", "um"), blending="additive", contrast_limits=(0, 20000))
    stain, compare = StainDock(viewer), CompareDock(viewer)
    viewer.window.add_dock_widget(stain, name="Stain")
    viewer.window.add_dock_widget(compare, name="Compare", tabify=False)
    from dataclasses import replace

    stain.setValue(replace(stain.value(), layers=PLANES, model=model, keep=True))
    viewer.fit_to_view()
    run_loop(30, until=stain.panel.button_paint.isEnabled)
    if not stain.panel.button_paint.isEnabled():
        raise SystemExit(f"The Stain dock would not paint: {stain.panel.check.text()}")
    return viewer, stain


def measure(arguments: argparse.Namespace, model: str) -> dict:
    """Run all rounds; returns the result as JSON knows it."""
    from napari_virtual_paint._napari.shared.gui_timing import recording

    instrument()
    viewer, stain = set_up(arguments.size, model)
    heart, panner = Heart(), Panner(viewer)
    stain.paint()
    run_loop(120, until=lambda: stain.painting is None)  # loads the network and makes the layers, so that all phases have ten to draw
    paintings = 0

    def paint_on() -> bool:
        nonlocal paintings
        if stain.painting is None:
            stain.paint()
            paintings += 1
        return False

    running: list = []
    clicks: list = []
    for _ in range(arguments.rounds):
        for phase in ("panned", "painting", "painting_and_panned"):
            with recording() as records:
                if phase != "panned":
                    paint_on()
                if phase != "painting":
                    panner.start()
                run_loop(0.5)
            clicks += records
            with recording() as records:
                heart.begin(phase)
                run_loop(arguments.seconds, until=paint_on if phase != "panned" else lambda: False)
                heart.begin("")
            running += records
            with recording() as records:
                panner.stop()
                stain.cancel()
                run_loop(10, until=lambda: stain.painting is None)
            clicks += records
    within = {name: {"count": len(costs), "median": statistics.median(costs), "max": max(costs)} for name, costs in INSIDE.items()}
    paint_on()
    run_loop(120, until=lambda: stain.painting is None)  # so that all stains are whole
    views = view_clicks(viewer)
    own = napari_costs(viewer, arguments.size)
    shown = sum(layer.visible for layer in viewer.layers)
    viewer.close()
    return {
        "field": arguments.size,
        "model": model,
        "layers_shown": shown,
        "paintings": paintings,
        **heartbeats(heart.gaps),
        "callbacks": callbacks(running),
        "starting_and_stopping": callbacks(clicks),
        "view_clicks_cpu_ms": views,
        "napari_within_ours_ms": {name: {key: round(value, 1) for key, value in costs.items()} for name, costs in within.items()},
        "napari_alone_ms": own,
    }


def view_clicks(viewer) -> dict:
    """Return the CPU time of the GUI thread in our callbacks, in milliseconds, for each click that changes the view in the Compare dock.

    napari's own rebuilding of its scene counts; its adding and removing of layers does not (see `set_aside`).
    """
    from napari_virtual_paint._napari.commands import find_dock
    from napari_virtual_paint._napari.shared.gui_timing import recording

    dock, spent = find_dock(viewer, "Compare"), {}
    run_loop(60, until=lambda: not dock.updater.busy)
    buttons = {"side by side": dock.panel.side, "flicker": dock.panel.flicker, "error maps": dock.panel.errors}
    for turn in ("first", "again"):
        for name, button in buttons.items():
            for way in ("on", "off"):
                with recording() as records:
                    button.click()
                    run_loop(60, until=lambda: not dock.maps.busy)
                    run_loop(1)
                spent[f"{name} {way}, {turn}"] = round(1000 * sum(cpu for _name, _wall, cpu in records), 1)
    return spent


def napari_costs(viewer, size: int, times: int = 3) -> dict:
    """Return the milliseconds that napari itself takes to add and to remove one plain layer, the median of some."""
    costs = defaultdict(list)
    for _ in range(times):
        pixels = np.zeros((size, size), np.float32)
        run_loop(0.3)
        start = time.perf_counter()
        layer = viewer.add_image(pixels, contrast_limits=(0, 1), scale=(0.65, 0.65), units=("um", "um"))
        costs["add_a_layer"].append(1000 * (time.perf_counter() - start))
        run_loop(0.3)
        start = time.perf_counter()
        viewer.layers.remove(layer)
        costs["remove_layers"].append(1000 * (time.perf_counter() - start))
    return {name: round(statistics.median(values), 1) for name, values in costs.items()}


def heartbeats(gaps: dict) -> dict:
    """Put the gaps of the heartbeat together."""
    p99 = {phase: round(float(np.percentile(values, 99)), 1) for phase, values in gaps.items()}
    return {
        "heartbeat_p99_ms": p99,
        "heartbeat_median_ms": {phase: round(statistics.median(values), 1) for phase, values in gaps.items()},
        "painting_to_panned": round(p99["painting"] / p99["panned"], 2),
        "painting_and_panned_to_panned": round(p99["painting_and_panned"] / p99["panned"], 2),
    }


def callbacks(entries: list) -> dict:
    """Put recorded callbacks together; the slowest with the thread's own work in them."""
    times = np.array([1000 * wall for _, wall, _ in entries] or [0.0])
    work = np.array([1000 * cpu for _, _, cpu in entries] or [0.0])
    worst: dict[str, tuple[float, float]] = {}
    for name, wall, cpu in entries:
        worst[name] = max(worst.get(name, (0.0, 0.0)), (round(1000 * wall, 1), round(1000 * cpu, 1)))
    return {
        "count": len(entries),
        "p99_ms": round(float(np.percentile(times, 99)), 2),
        "max_ms": round(float(times.max()), 1),
        "p99_cpu_ms": round(float(np.percentile(work, 99)), 2),
        f"over_{LIMIT:.0f}_ms": int((times > LIMIT).sum()),
        "slowest_ms": dict(sorted(worst.items(), key=lambda item: -item[1][0])[:10]),
    }


def show(result: dict) -> None:
    """Print the result for a reader."""
    print(f"{result['layers_shown']} layers of {result['field']} x {result['field']}, model {result['model']}")
    print("heartbeat, ms          median     p99")
    for phase, value in result["heartbeat_p99_ms"].items():
        print(f"  {phase.replace('_', ' '):20s} {result['heartbeat_median_ms'][phase]:7.1f} {value:7.1f}")
    print(f"painting against merely panned: {result['painting_to_panned']} (both at once: {result['painting_and_panned_to_panned']})")
    for key, title in (("callbacks", "our callbacks while it goes on"), ("starting_and_stopping", "when a painting is started or stopped")):
        calls = result[key]
        work, longest = calls["p99_cpu_ms"], calls["max_ms"]
        print(
            f"{title}: {calls['count']}, p99 {calls['p99_ms']} ms ({work} of work), longest {longest} ms; each one's longest and its work:"
        )
        for name, (wall, cpu) in calls["slowest_ms"].items():
            print(f"  {wall:7.1f} {cpu:7.1f}  {name}")
    clicks = "; ".join(f"{name} {cpu}" for name, cpu in result["view_clicks_cpu_ms"].items())
    print(f"clicks in the Compare dock, ms of work of ours: {clicks}")
    for name, costs in result["napari_within_ours_ms"].items():
        print(
            f"napari, to {name.replace('_', ' ')}: {costs['count']} times, median {costs['median']} ms, longest {costs['max']} ms;", end=" "
        )
        print(f"for one plain layer {result['napari_alone_ms'][name]} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--size", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each phase in each round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--model", help="ID of a model of three planes; without it simulated-cell-painting, or random weights")
    parser.add_argument("--part", choices=("painting", "actions"), help="print only this part")
    arguments = parser.parse_args()
    actions = [sys.executable, str(Path(__file__).with_name("gui_actions.py"))]
    if arguments.part == "actions":
        raise SystemExit(subprocess.run([*actions, *(["--json"] if arguments.json else [])]).returncode)
    with tempfile.TemporaryDirectory() as folder:
        from napari_virtual_paint.models import list_models

        model = arguments.model
        if model is None and any(info.id == "simulated-cell-painting" for info in list_models()):
            model = "simulated-cell-painting"
        if model is None:
            os.environ["VIRTUAL_PAINT_MODELS"] = folder
            model = random_model(Path(folder))
        result = measure(arguments, model)
    if arguments.json:
        if arguments.part is None:
            result["actions"] = json.loads(subprocess.run([*actions, "--json"], check=True, stdout=subprocess.PIPE).stdout)
        print(json.dumps(result))
        return
    show(result)
    if arguments.part is None:
        sys.stdout.flush()
        subprocess.run(actions, check=True)


if __name__ == "__main__":
    main()
