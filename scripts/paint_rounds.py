"""Preview, paint and cancel in turn in a napari that draws, by calls and by clicks: what ends the process shows itself here.

    scripts/with-screen.sh python scripts/paint_rounds.py [--rounds 20] [--images KIND:SIZE ...] [--model ID] [--painted]

Every image gets `--rounds` rounds, half of them by calls of the dock's methods and half by clicks on its buttons. A round is a preview, a
painting, and a painting of the same image again, each cancelled at a moment that a seed chooses: at once, while the network is loaded, or
once pixels are painted; with `--painted` none before that. In between the camera moves. It prints a line for each image and "alive".
"""

from __future__ import annotations

import argparse
import faulthandler
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil

KINDS = ("pyramid", "plane", "series", "volume")
MOMENTS = ("at once", "soon", "once painted")
PATIENCE = 300.0  # seconds after which a state that does not come is an error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, help="rounds for each image")
    parser.add_argument("--images", nargs="+", metavar="KIND:SIZE", default=["pyramid:8000", "plane:3000", "series:512"])
    parser.add_argument("--model", default="cell-painting-brightfield", metavar="ID")
    parser.add_argument("--longest", type=float, default=3.0, metavar="SECONDS", help="longest time before a cancel")
    parser.add_argument("--memory", type=float, default=8.0, metavar="GB", help="memory that the process may use between presses")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--painted", action="store_true", help="cancel only once pixels are painted, however long that takes")
    arguments = parser.parse_args()
    faulthandler.enable()
    rng = np.random.default_rng(arguments.seed)
    trial = Trial(arguments.model, arguments.longest, 1e9 * arguments.memory, rng, MOMENTS[-1:] if arguments.painted else MOMENTS)
    for name in arguments.images:
        kind, _, size = name.partition(":")
        if kind not in KINDS or not size.isdecimal():
            parser.error(f"{name}: an image is KIND:SIZE, and KIND one of {', '.join(KINDS)}")
        started = time.perf_counter()
        trial.open(kind, int(size))
        for number in range(arguments.rounds):
            trial.round("click" if number % 2 else "call")
            print(f"{name}: round {number + 1}, {trial.counts()}", file=sys.stderr, flush=True)
        print(f"{name}: {arguments.rounds} rounds in {time.perf_counter() - started:.0f} s, {trial.counts()}", flush=True)
    trial.close()
    print("alive")


def picture(kind: str, size: int, rng: np.random.Generator) -> Any:
    """Return pixels of an image, or the levels of a pyramid."""
    shape = {"pyramid": (size, size), "plane": (size, size + 16), "series": (4, size, size + 16), "volume": (12, size, size + 16)}[kind]
    tile = rng.normal(1000, 60, (256, 256)).astype(np.float32)
    spans = [range(-(-side // 256)) for side in shape[-2:]]
    plane = np.tile(tile, (len(spans[0]), len(spans[1])))[: shape[-2], : shape[-1]].astype(np.uint16)
    if kind == "pyramid":
        return [plane[::step, ::step] for step in (1, 2, 4, 8)]
    return np.broadcast_to(plane, shape).copy()


class Trial:
    """A napari with a Stain dock, and what is done to it."""

    def __init__(self, model: str, longest: float, memory: float, rng: np.random.Generator, moments: tuple[str, ...]) -> None:
        import napari

        from napari_virtual_paint._napari.stain.dock import StainDock

        self.model, self.longest, self.rng, self.moments = model, longest, rng, moments
        self.viewer = napari.Viewer()
        self.dock = StainDock(self.viewer)
        self.viewer.window.add_dock_widget(self.dock, name="Stain")
        self.viewer.window.resize(1000, 700)
        self.found: list[str] = []
        self.memory, self.most, self.painted = memory, 0, 0

    def open(self, kind: str, size: int) -> None:
        """Replace all layers by an image."""
        self.viewer.layers.clear()
        pixels = picture(kind, size, self.rng)
        self.viewer.add_image(pixels, name="Brightfield", multiscale=kind == "pyramid")
        self.dock.choose(model=self.model)
        self.until(lambda: self.dock.fit.ready, "the image fits")
        self.found, self.most, self.painted = [], 0, 0

    def round(self, way: str) -> None:
        """Preview, paint, and paint again, each cancelled after a while."""
        self.viewer.scene.camera.zoom = float(self.rng.choice([0.1, 0.5, 2.0]))
        for name in ("preview", "paint", "paint"):
            self.until(lambda: self.dock.painting is None and self.dock.panel.button_paint.isEnabled(), "Paint can be pressed")
            ended: list[Any] = []
            self.press(way, name)
            assert self.dock.painting is not None, f"{name} does nothing: {self.dock.panel.status.text()}"
            self.dock.painting.finished.connect(ended.append)
            moment = self.rng.choice(self.moments)
            if moment == "once painted":
                self.wait_for_pixels(ended)
            if moment != "at once":
                self.disturb(float(self.rng.uniform(0.05, self.longest)))
            if not ended:
                self.press(way, "cancel")
            self.until(lambda: self.dock.painting is None, "the painting ends")
            assert ended[0].how in ("done", "cancelled"), ended[0].sentence
            self.found.append(ended[0].how)
            size = psutil.Process().memory_info().rss
            self.most = max(self.most, size)
            assert size < self.memory, f"{size / 1e9:.1f} GB of memory are in use after {len(self.found)} presses"

    def press(self, way: str, name: str) -> None:
        """Call a method of the dock, or click its button."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        if way == "call":
            getattr(self.dock, name)()
        else:
            QTest.mouseClick(getattr(self.dock.panel, f"button_{name}"), Qt.MouseButton.LeftButton)

    def wait_for_pixels(self, ended: list[Any]) -> None:
        """Let time pass until something is painted, or for ten times the longest pause where cancels may come earlier."""
        end = time.monotonic() + (PATIENCE if len(self.moments) == 1 else 10 * self.longest)
        while not ended and time.monotonic() < end:
            self.wait(20)
            canvas = self.dock.painting.canvas if self.dock.painting is not None else None
            if canvas is not None and canvas.painted:
                self.painted += 1
                return

    def disturb(self, seconds: float) -> None:
        """Let time pass, with the camera moving."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.wait(50)
            self.viewer.scene.camera.zoom *= float(self.rng.uniform(0.9, 1.1))

    def until(self, condition: Callable[[], bool], words: str) -> None:
        """Let events run until a condition holds."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"{words}: not within {PATIENCE:.0f} s"
            self.wait(5)

    @staticmethod
    def wait(milliseconds: int) -> None:
        """Let events run for a time."""
        from qtpy.QtTest import QTest

        QTest.qWait(milliseconds)

    def counts(self) -> str:
        """Return how often each end came, and which layers are there."""
        ends = ", ".join(f"{self.found.count(how)} {how}" for how in ("done", "cancelled"))
        layers, most = len(self.viewer.layers), self.most / 1e9
        return f"{ends}; pixels were waited for {self.painted} times; {layers} layers, at most {most:.1f} GB of memory after a press"

    def close(self) -> None:
        """Close the viewer once no work is left."""
        from napari_virtual_paint._napari.shared import jobs

        self.until(lambda: not jobs.LIVE, "all work has ended")
        self.viewer.close()


if __name__ == "__main__":
    main()
