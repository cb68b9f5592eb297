"""What of a large table of cells is read: opening, one cell, some cells, one column, a group.

    python benchmarks/cell_tables.py [--cells 3000000] [--features 150] [--table TABLE.parquet] [--json]

Writes a Parquet table of so many cells in a temporary folder, a piece at a time, or takes one that is there. Every step runs three times
in a process of its own; told are the median time, the highest peak of memory beyond the imports, and how much was read from the system
(its cache included). What comes back is compared with the numbers that were written.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

PIECE = 100_000
"""Cells of a row group."""
STEPS = ("open", "one cell", "5,000 cells at random", "one feature", "a well's rows", "check")


def numbers(cells: np.ndarray, feature: int) -> np.ndarray:
    """Return what is written for cells and a feature, so that nothing need be kept to compare with."""
    return ((cells * 2654435761 + feature * 40503) % 1_000_003).astype(np.float32) / 1000


def write(path: Path, cells: int, features: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer = None
    for start in range(0, cells, PIECE):
        rows = np.arange(start, min(start + PIECE, cells))
        columns = {f"Nuclei_Texture_Contrast_C{i}_3_00_256": numbers(rows, i) for i in range(features)}
        table = pa.table({**columns, "Metadata_Well": np.char.mod("W%04d", rows // 2000)})
        writer = writer or pq.ParquetWriter(path, table.schema, use_dictionary=["Metadata_Well"])
        writer.write_table(table)
    assert writer is not None
    writer.close()


def step(path: Path, name: str, written: bool, results: multiprocessing.Queue) -> None:
    import duckdb
    import pandas
    import pyarrow.parquet  # noqa: F401 - imports are no part of what is measured

    from napari_virtual_paint.cells.tables.table import open_table

    del duckdb, pandas
    process = psutil.Process()
    before = process.memory_info().rss
    read = process.io_counters().read_chars if hasattr(process, "io_counters") else 0
    start = time.perf_counter()
    table = open_table(path)
    features, n = table.features, len(table)
    rows = np.sort(np.random.default_rng(0).choice(n, min(n, 5000), replace=False))
    if name == "one cell":
        rows = rows[len(rows) // 2 :][:1]
    if name in ("one cell", "5,000 cells at random"):
        got = table.values(None, rows)
        if written:
            np.testing.assert_array_equal(got[:, -1], numbers(rows, len(features) - 1))
    elif name == "one feature":
        got = table.values(features[:1])
        if written:
            np.testing.assert_array_equal(got[:, 0], numbers(np.arange(n), 0))
    elif name == "a well's rows":
        if "Metadata_Well" in table.metadata:
            table.where(Well="W0003")
    elif name == "check":
        table.check()
    seconds = time.perf_counter() - start
    read = process.io_counters().read_chars - read if hasattr(process, "io_counters") else 0
    results.put((seconds, peak() - before, read))


def peak() -> int:
    """Return the process's own highest memory in bytes; where the system tells none, what it has now."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    memory = psutil.Process().memory_info()
    return int(found[1]) * 1024 if found else getattr(memory, "peak_wset", memory.rss)


def measure(path: Path, written: bool) -> dict[str, dict[str, float]]:
    context = multiprocessing.get_context("spawn")
    told = {}
    for name in STEPS:
        runs = []
        for _ in range(3):
            results = context.Queue()
            process = context.Process(target=step, args=(path, name, written, results))
            process.start()
            runs.append(results.get())
            process.join()
        seconds, memory, read = zip(*runs, strict=True)
        told[name] = {"seconds": statistics.median(seconds), "memory_MB": max(memory) / 1e6, "read_MB": statistics.median(read) / 1e6}
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=3_000_000)
    parser.add_argument("--features", type=int, default=150)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = args.table or Path(folder, "cells.parquet")
        if args.table is None:
            write(path, args.cells, args.features)
        size = path.stat().st_size / 1e6
        told = measure(path, args.table is None)
    if args.json:
        print(json.dumps({"file_MB": size, "steps": told}))
        return
    print(f"file: {size:.0f} MB")
    for name, figures in told.items():
        print(f"{name:24} {figures['seconds']:7.3f} s  {figures['memory_MB']:8.0f} MB memory  {figures['read_MB']:8.0f} MB read")


if __name__ == "__main__":
    main()
