"""Garbage collection in napari: on the GUI thread alone."""

from __future__ import annotations

import gc
import threading
from typing import Any

import numpy as np

from napari_virtual_paint._napari.cells.generator_thread import GeneratorThread
from napari_virtual_paint._napari.shared import jobs
from napari_virtual_paint.device import free_cache


class Cycle:
    """What only a collection frees."""

    def __init__(self) -> None:
        self.itself = self


def test_no_worker_collects(qtbot, monkeypatch) -> None:
    seen: list[int] = []

    def note(phase: str, info: dict[str, Any]) -> None:
        seen.append(threading.get_ident())

    def work() -> Any:
        for step in range(20):
            for _ in range(1000):
                Cycle()
            yield step
        free_cache("cpu")

    thread = GeneratorThread()
    thread.open(lambda vectors: [[Cycle() for _ in range(5000)] and None], lambda vector, cell: None)  # type: ignore[arg-type, return-value]
    gc.callbacks.append(note)
    try:
        job = jobs.start(work, title="Littering")
        thread.request(1, np.zeros(3, np.float32))
        qtbot.waitUntil(lambda: job not in jobs.LIVE and thread.shown == 1, timeout=30_000)
        thread.stop()
        qtbot.waitUntil(gc.isenabled, timeout=30_000)
    finally:
        gc.callbacks.remove(note)
    assert seen, "the GUI thread did"
    assert set(seen) == {threading.get_ident()}
