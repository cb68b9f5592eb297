"""How long the Cells dock takes from a moved slider to finished pixels, with a large viewer behind.

    xvfb-run -a -s "-screen 0 1920x1200x24" python benchmarks/cells_panel.py [--json] [--model ID] [--drags 8] [--features 1000]

A viewer shows five layers of 1000 x 1000 (in the same window, as a user has it); mouse events drag sliders to and fro, 60 a second. A
move counts as finished when a picture of its vector, or of a newer one, has been painted and the window flushed (the next turn of the
event loop after the paint event). Frames that were skipped for newer ones are counted apart. Without a model's id a network of random
weights is used: the time does not depend on what the weights are. Also: the longest callback of ours on the GUI thread, and how long the
thread worked in the one that worked longest (on a busy machine it also waits); the same drags with the population followed, and the ratio
of the two p95, which tells what following costs on a busy machine, too. Python's own collections of garbage, 0.4 s for all of napari
every few minutes, are kept out.
"""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

CHANNELS = ("DNA", "ER", "RNA", "AGP", "Mito")
RATE = 60
"""Mouse moves a second, as most mice and screens have."""
MOVES = 60
"""Of one drag."""
SIZE = 1000
LIMIT = 50.0
"""Milliseconds that the 95th percentile should keep to."""


def random_model(folder: Path, features: int) -> str:
    """Save a cell model of random weights with a made population; return its path."""
    from napari_virtual_paint.cells.cp2image.model import build
    from napari_virtual_paint.cells.cp2image.package import CellPackageDraft, save_cell_model
    from napari_virtual_paint.cells.cp2image.sample import Sample
    from napari_virtual_paint.cells.transform import Transform

    rng = np.random.default_rng(0)
    names = [f"{part}_AreaShape_Zernike_{i}_{j}" for part in ("Nuclei", "Cells") for i in range(10) for j in range(3)]
    names += [f"{part}_Texture_Contrast_{c}_{i}_00_256" for part in ("Nuclei", "Cells", "Cytoplasm") for c in CHANNELS for i in range(200)]
    names = names[:features]
    values = (rng.normal(size=(300, 8)) @ rng.normal(size=(8, len(names))) + rng.normal(size=(300, len(names)))).astype(np.float32)
    config = {"width": 24, "max_width": 96, "style": 160}
    network = build("CellPainter", {**config, "features": len(names), "channels": len(CHANNELS), "size": 64})
    draft = CellPackageDraft(
        id="random",
        name="Random weights",
        version="0",
        description="For the benchmark of the Cells dock.",
        license="BSD-3-Clause",
        authors=["The developers"],
        card={},
        features=tuple(names),
        channels=CHANNELS,
        size=64,
        pixel_size=0.65,
        architecture="CellPainter",
        config=config,
        transform=Transform.fit(values),
        low=np.zeros(5, np.float32),
        high=np.full(5, 1000.0, np.float32),
        network=network.eval(),
        reader=None,
        sample=Sample(values, rng.uniform(0, 1000, (300, 5, 64, 64)).astype(np.float32), {"Metadata_Well": ("A", "B") * 150}),
    )
    return str(save_cell_model(folder / "random.zip", draft))


class Stopwatch:
    """Notes when each move was made, and when a picture of it, or of a newer one, was on the screen."""

    def __init__(self, dock: Any) -> None:
        from qtpy.QtCore import QTimer

        self._dock, self._timer = dock, QTimer
        self._asked: dict[int, float] = {}
        self.took: list[float] = []
        self.painted: list[float] = []
        self.frames = 0
        dock.view.picture.drawn.connect(self._drawn)

    def moved(self, began: float) -> None:
        """Note the vector that a mouse event has made."""
        self._asked[self._dock.editor.version] = began

    def _drawn(self, version: int) -> None:
        now = time.perf_counter()
        self.painted += [1000 * (now - began) for asked, began in self._asked.items() if asked <= version]
        self._timer.singleShot(0, lambda: self._finished(version))

    def _finished(self, version: int) -> None:
        now = time.perf_counter()
        done = [asked for asked in self._asked if asked <= version]
        self.frames += bool(done)
        self.took += [1000 * (now - self._asked.pop(asked)) for asked in done]

    @property
    def waiting(self) -> int:
        """Moves whose picture is not there yet."""
        return len(self._asked)


def drags(dock: Any, count: int) -> Iterator[tuple[int, list[int]]]:
    """Yield features that are in view, and the places in x that the mouse goes through on each."""
    from napari_virtual_paint._napari.cells.slider_row import track_rect

    sliders = dock.view.sliders
    shown = [i for i in range(len(dock.opened.model.features)) if sliders.visualRect(sliders.tree.index_of(i)).isValid()]
    inside = [i for i in shown if sliders.viewport().rect().contains(track_rect(sliders.visualRect(sliders.tree.index_of(i))))]
    for turn in range(count):
        feature = inside[turn % len(inside)]
        track = track_rect(sliders.visualRect(sliders.tree.index_of(feature)))
        share = 0.5 + 0.45 * np.sin(np.linspace(0, 2 * np.pi, MOVES))
        yield feature, [round(track.left() + s * track.width()) for s in share]


def drag_all(dock: Any, watch: Stopwatch, count: int) -> int:
    """Drag sliders with the mouse, driven by a timer on Qt's own event loop; return how many moves there were."""
    from qtpy.QtCore import QEventLoop, QPoint, Qt, QTimer
    from qtpy.QtTest import QTest

    from napari_virtual_paint._napari.cells.slider_row import track_rect

    view, moves, loop, timer = dock.view.sliders.viewport(), 0, QEventLoop(), QTimer()
    timer.setTimerType(Qt.TimerType.PreciseTimer)
    none = Qt.KeyboardModifier.NoModifier
    for feature, places in drags(dock, count):
        y = track_rect(dock.view.sliders.visualRect(dock.view.sliders.tree.index_of(feature))).center().y()
        left = [QPoint(x, y) for x in reversed(places)]
        until = time.perf_counter() + 30

        def move(left: list[Any] = left, until: float = until) -> None:
            nonlocal moves
            if not left:
                if not watch.waiting or time.perf_counter() > until:
                    loop.quit()
                return
            before, began = dock.editor.version, time.perf_counter()
            QTest.mouseMove(view, left.pop())
            if dock.editor.version != before:
                watch.moved(began)
                moves += 1

        QTest.mousePress(view, Qt.MouseButton.LeftButton, none, QPoint(places[0], y))
        timer.timeout.connect(move)
        timer.start(round(1000 / RATE))
        loop.exec()
        timer.stop()
        timer.timeout.disconnect(move)
        QTest.mouseRelease(view, Qt.MouseButton.LeftButton, none, QPoint(places[-1], y))
    return moves


def open_dock(model: str) -> tuple[Any, Any]:
    """Open a viewer with five images, and the dock, ready to drag."""
    import napari

    from napari_virtual_paint._napari import commands, demo

    rng = np.random.default_rng(0)
    viewer = napari.Viewer()
    viewer.window.resize(1700, 1000)
    for name in CHANNELS:
        viewer.add_image(rng.integers(0, 4000, (SIZE, SIZE), np.uint16), name=name, blending="additive", scale=(0.65, 0.65))
    dock = commands.open_dock("Cells")
    dock.choose(model=model)
    if not demo.wait_until(lambda: dock.opened is not None and dock.view.tabs.isEnabled() and not dock.busy, time.monotonic() + 300):
        raise SystemExit("The Cells dock did not come to rest.")
    demo.wait_until(lambda: False, time.monotonic() + 1)
    return viewer, dock


def measure(model: str, count: int) -> dict[str, Any]:
    """Drag, with and without following; return the figures."""
    from napari_virtual_paint._napari.shared.gui_timing import recording

    viewer, dock = open_dock(model)
    gc.collect()
    gc.freeze()
    result: dict[str, Any] = {"model": dock.opened.model.id, "features": len(dock.opened.model.features)}
    for name, follow in (("drag", False), ("drag_and_follow", True)):
        dock.choose(follow=follow)
        dock.editor.reset_all()
        watch = Stopwatch(dock)
        with recording() as records:
            moves = drag_all(dock, watch, count)
        callbacks = [1000 * wall for _, wall, _ in records]
        slowest = max(records, key=lambda record: record[1])
        result[name] = {
            "moves": moves,
            "frames": watch.frames,
            "median_ms": round(float(np.median(watch.took)), 1),
            "p95_ms": round(float(np.percentile(watch.took, 95)), 1),
            "max_ms": round(max(watch.took), 1),
            "painted_p95_ms": round(float(np.percentile(watch.painted, 95)), 1),
            "callbacks_p99_ms": round(float(np.percentile(callbacks, 99)), 1),
            "callbacks_max_ms": round(max(callbacks), 1),
            "slowest_callback": slowest[0],
            "callbacks_worked_max_ms": round(1000 * max(worked for _, _, worked in records), 1),
        }
        dock.view.picture.drawn.disconnect(watch._drawn)
    result["follow_to_drag"] = round(result["drag_and_follow"]["p95_ms"] / result["drag"]["p95_ms"], 2)
    dock.shut()
    viewer.close()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--model", help="id or package of a cell model; random weights without one")
    parser.add_argument("--drags", type=int, default=8)
    parser.add_argument("--features", type=int, default=1000, help="features of the random model")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(options.model or random_model(Path(folder), options.features), options.drags)
    if options.json:
        print(json.dumps(result))
        return
    print(f"{result['model']}, {result['features']} features; slider to finished pixels, ms (p95 should be {LIMIT:.0f} or less)")
    for name in ("drag", "drag_and_follow"):
        row = result[name]
        print(
            f"  {name.replace('_', ' '):16s} median {row['median_ms']:6.1f}  p95 {row['p95_ms']:6.1f}  max {row['max_ms']:6.1f}  "
            f"({row['moves']} moves, {row['frames']} frames; p95 to the paint event alone {row['painted_p95_ms']})"
        )
        longest = f"{row['callbacks_max_ms']} ({row['slowest_callback']}), of work {row['callbacks_worked_max_ms']}"
        print(f"{'':18s} our callbacks: p99 {row['callbacks_p99_ms']}, longest {longest}")
    print(f"  following takes {result['follow_to_drag']:.2f} times as long as plain dragging (p95)")


if __name__ == "__main__":
    main()
