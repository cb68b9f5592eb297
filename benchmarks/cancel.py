"""How soon a cancelled painting has ended, in the plane and in volumes, while other programs keep all cores busy.

    python benchmarks/cancel.py [--busy 2] [--times 10] [--json]

Starts a painting on a thread with the priority that the docks give it, cancels it after a time that a seed chooses, and prints the longest
and the median seconds from the cancel until its generator is closed: nothing is computed any more then. The networks are those of the
bundled models, and an fnet of the published size with random weights.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np


def busy() -> None:
    """Keep a core busy."""
    while True:
        sum(range(10_000))


def fnet():
    """Return an fnet of the published size (Ounkomol et al. 2018) with random weights, as a model."""
    import torch

    from napari_virtual_paint.models import open_model
    from napari_virtual_paint.networks import build

    torch.manual_seed(0)
    config = {"dims": 3, "depth": 4, "mult_chan": 32}
    network = build("FNet", config).eval()
    return SimpleNamespace(info=replace(open_model("simulated-3d").info, id="fnet", stains=("DNA",), config=config), network=network)


def cancelled(model, stack, after: float) -> float:
    """Start to paint, cancel after some seconds, and return the seconds until it has ended; the first update comes before."""
    from napari_virtual_paint.painting import PaintSettings, paint

    stop, took = threading.Event(), []

    def work() -> None:
        if sys.platform == "linux":
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 5)
        painting = paint(model, stack, PaintSettings(device="cpu"))
        for _ in painting:
            if stop.is_set():
                break
        painting.close()
        took.append(time.perf_counter())

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(after)
    began = time.perf_counter()
    stop.set()
    thread.join()
    return max(took[0] - began, 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", type=int, default=os.cpu_count() or 2, help="processes that keep a core busy each")
    parser.add_argument("--times", type=int, default=10, help="paintings of each kind")
    parser.add_argument("--longest", type=float, default=12.0, help="longest time before a cancel, s")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    others = [multiprocessing.get_context("spawn").Process(target=busy, daemon=True) for _ in range(arguments.busy)]
    for each in others:
        each.start()
    from napari_virtual_paint.models import open_model
    from napari_virtual_paint.stack import Stack

    rng = np.random.default_rng(0)

    def noise(*shape: int) -> Stack:
        return Stack(rng.normal(1000, 60, shape).astype(np.float32))

    cases = {
        "2000 x 2000, Cell Painting U-Net": (open_model("cell-painting-brightfield"), noise(1, 1, 1, 2000, 2000)),
        "32 x 512 x 512, bundled fnet": (open_model("simulated-3d"), noise(1, 1, 32, 512, 512)),
        "64 x 256 x 256, published fnet": (fnet(), noise(1, 1, 64, 256, 256)),
    }
    found = {}
    for name, (model, stack) in cases.items():
        taken = [cancelled(model, stack, float(rng.uniform(0.2, arguments.longest))) for _ in range(arguments.times)]
        found[name] = {"longest_s": round(max(taken), 2), "median_s": round(statistics.median(taken), 2), "first_s": round(taken[0], 2)}
        if not arguments.json:
            print(f"{name:36s} longest {max(taken):.2f} s, median {statistics.median(taken):.2f} s, first {taken[0]:.2f} s", flush=True)
    if arguments.json:
        print(json.dumps({"busy": arguments.busy, "times": arguments.times, "cases": found}))


if __name__ == "__main__":
    main()
