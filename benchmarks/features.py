"""Time to measure a field's cells, beside cp_measure's own path in the same run.

``python benchmarks/features.py [--json] [--workers N] [--repeats N] [--cells sim|disks]`` measures 100 cells of five stains at
1000 x 1000 px: the compartment Cells alone, without Costes, cp_measure's accelerator on. It prints wall and processor time (the median of
the repeats), the load of the machine, what the first call took in a process of its own (which compiles where numba's cache is empty) and
how many times as fast that is as cp_measure's functions called one after the other on the same labels.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np

from napari_virtual_paint.cells.measurement import cp_measure
from napari_virtual_paint.cells.measurement.cp_measure import GROUPS
from napari_virtual_paint.cells.measurement.measure import measure
from napari_virtual_paint.counting.segmentation import Labels
from napari_virtual_paint.samples import SimulationSettings, simulate_field

STAINS = ("DNA", "ER", "RNA", "AGP", "Mito")
CELLS = 100
FULL = 65535.0


def field(kind: str) -> tuple[np.ndarray, Labels]:
    """Return planes and labels: the simulator's cells (28 % of the field), or disks of 84 px (55 %), both with its stains."""
    simulated = simulate_field(SimulationSettings(size=1000, seed=3))
    planes = simulated.stains.data[0, :, 0]
    nuclei, cells = simulated.labels["nucleus"], simulated.labels["cell"]
    if kind == "disks":
        y, x = np.mgrid[:1000, :1000]
        number, away = y // 100 * 10 + x // 100 + 1, np.hypot(y % 100 - 50, x % 100 - 50)
        nuclei, cells = np.where(away < 18, number, 0), np.where(away < 42, number, 0)
    kept = np.unique(nuclei)[1 : CELLS + 1]
    return planes, Labels.of(np.where(np.isin(nuclei, kept), nuclei, 0), np.where(np.isin(cells, kept), cells, 0))


def ours(planes: np.ndarray, labels: Labels, workers: int, compartments: tuple[str, ...] = ("Cells",), groups: Any = GROUPS) -> None:
    measure(planes, STAINS, labels, scale=FULL, compartments=compartments, groups=groups, workers=workers)


def theirs(planes: np.ndarray, labels: Labels) -> None:
    """Call cp_measure plainly: every measurement of each channel, then of each pair of channels, without Costes."""
    from cp_measure.core import measurecolocalization as colocalization

    numbers = np.unique(labels.cells, return_inverse=True)[1].reshape(labels.cells.shape)
    unit = planes / FULL
    functions = cp_measure.core()  # with its accelerator
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("sizeshape", "zernike", "feret"):
            functions.pop(name)(numbers, None)
        for plane in unit:
            for function in functions.values():
                function(numbers, plane)
        for first, second in combinations(unit, 2):
            for name in ("pearson", "overlap", "manders_fold", "rwc"):
                getattr(colocalization, f"get_correlation_{name}")(first, second, numbers)


def times(work: Callable[[], None], repeats: int) -> dict[str, float]:
    """Return the medians of wall and processor time after one call that warms up."""
    work()
    wall, processor = [], []
    for _ in range(repeats):
        began, used = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - began)
        processor.append(time.process_time() - used)
    return {"wall_s": float(np.median(wall)), "processor_s": float(np.median(processor))}


def first_call(workers: int, kind: str) -> dict[str, float]:
    """Return what the first and second call take in a process of its own, imports apart."""
    code = (
        "import json, sys, time; sys.path.insert(0, sys.argv[3]); import features; "
        "planes, labels = features.field(sys.argv[2]); clock = time.perf_counter; found = []\n"
        "for _ in range(2):\n    began = clock(); features.ours(planes, labels, int(sys.argv[1])); found.append(clock() - began)\n"
        "print(json.dumps(found))"
    )
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
    out = subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(workers), kind, here], capture_output=True, text=True, check=True)
    first, second = json.loads(out.stdout.splitlines()[-1])
    return {"first_s": first, "second_s": second}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cells", choices=("sim", "disks"), default="sim")
    parser.add_argument("--groups", action="store_true", help="also the time of each group of features")
    options = parser.parse_args()
    planes, labels = field(options.cells)
    found: dict[str, Any] = {
        "cells": len(np.unique(labels.cells)) - 1,
        "share": float((labels.cells > 0).mean()),
        "workers": options.workers,
    }
    found["ours"] = times(lambda: ours(planes, labels, options.workers), options.repeats)
    found["all_compartments"] = times(lambda: ours(planes, labels, options.workers, cp_measure.COMPARTMENTS), options.repeats)
    found["cp_measure"] = times(lambda: theirs(planes, labels), max(1, options.repeats // 2))
    found["times_as_fast"] = {key: found["cp_measure"][key] / found["ours"][key] for key in ("wall_s", "processor_s")}
    found["new_process"] = first_call(options.workers, options.cells)
    if options.groups:
        chosen = {group: (lambda group=group: ours(planes, labels, 1, groups=(group,))) for group in GROUPS}
        found["groups"] = {group: times(work, options.repeats)["processor_s"] for group, work in chosen.items()}
    found["load"] = os.getloadavg()[0]
    print(json.dumps(found, indent=None if options.json else 2))


if __name__ == "__main__":
    main()
