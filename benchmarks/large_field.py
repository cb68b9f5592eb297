"""A mosaic too large for memory: peak memory and time per pixel of `virtual-paint predict`, beside a field that is painted whole.

    python benchmarks/large_field.py [--size 12000] [--small 4096] [--model ID] [--suffix .ome.zarr] [--folder DIR] [--json]

Makes two images of noise and blobs (OME-Zarr, 16 bits), paints each in a process of its own, and prints per image: the process's peak
memory (VmHWM), seconds from its start to its end, and nanoseconds per pixel, of the whole process and of painting alone; then the ratio
of the two sizes. Last, squares of the large result are compared with one forward pass of the network over a crop with twice the reach
around it, normalized by statistics of the whole image in memory: the largest difference in SD of the stains.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BLOCK = 2048
SQUARE, AROUND = 512, 256  # sides in pixels of the squares that are compared, and of what is read around them; multiples of 32


def make(path: Path, size: int, channels: tuple[str, ...]) -> None:
    """Write an image block by block."""
    from scipy.ndimage import gaussian_filter

    from napari_virtual_paint.stack import PixelSize, Stack
    from napari_virtual_paint.writing.api import blockwise

    rng = np.random.default_rng(0)
    texture = [gaussian_filter(rng.normal(0, 1, (BLOCK, BLOCK)), sigma, mode="wrap") * sigma for sigma in (1, 4, 12)]
    shape = (1, len(channels), 1, size, size)
    with blockwise(path, shape, "uint16") as image:
        for top in range(0, size, BLOCK):
            for left in range(0, size, BLOCK):
                sides = min(BLOCK, size - top), min(BLOCK, size - left)
                for c in range(len(channels)):
                    block = sum(np.roll(each, rng.integers(0, BLOCK, 2), (0, 1)) for each in texture)
                    pixels = np.clip(3000 + 900 * block + 0.02 * top, 0, 65535).astype(np.uint16)[: sides[0], : sides[1]]
                    image[0, c, 0, top : top + sides[0], left : left + sides[1]] = pixels
        lazy = np.broadcast_to(np.uint16(0), shape)
        image.finish(Stack(lazy, channels, PixelSize(None, 0.65, 0.65)))


def paint(image: Path, output: Path, model: str) -> dict[str, float]:
    """Paint an image in a process of its own; return its peak memory and times."""
    command = [sys.executable, "-m", "napari_virtual_paint.cli", "predict", str(image), "-m", model, "-o", str(output), "--json"]
    started, before = time.perf_counter(), os.times()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    seconds, after = time.perf_counter() - started, os.times()
    report = json.loads(done.stdout)
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"peak_mb": report["peak_memory_mb"], "seconds": seconds, "painting": report["seconds"], "cpu": cpu}


def differences(image: Path, output: Path, name: str, size: int) -> float:
    """Return the largest difference of squares of a result from one forward pass, in SD of the stains."""
    import torch

    from napari_virtual_paint.models import match, open_model
    from napari_virtual_paint.normalize import fit
    from napari_virtual_paint.reading import read

    model, source, painted = open_model(name), read(image), read(output)
    found = match(model.info, source)
    raw = np.concatenate([np.asarray(source.data[0, [c], 0]) for c in found.channels])
    normalization = fit(raw, model.info.preprocessing)
    worst = 0.0
    corners = [0, (size // 2) // 512 * 512 - 256, (size - SQUARE) // 32 * 32]
    for y, x in ((y, x) for y in corners for x in corners):
        rows, columns = (slice(max(at - AROUND, 0), min(at + SQUARE + AROUND, size) // 32 * 32) for at in (y, x))
        with torch.inference_mode():
            whole = model.network(torch.from_numpy(normalization.apply(raw[:, rows, columns]))[None])[0].numpy()
        inner = (slice(None), slice(y - rows.start, y - rows.start + SQUARE), slice(x - columns.start, x - columns.start + SQUARE))
        if rows.stop < y + SQUARE or columns.stop < x + SQUARE or (size % 32 and max(y, x) + SQUARE + AROUND > size):
            continue  # the end of an image whose sides are no multiples of 32 is padded, which is not repeated here
        ours = np.asarray(painted.data[0, :, 0, y : y + SQUARE, x : x + SQUARE])
        worst = max(worst, float(np.abs(ours - whole[inner]).max() / whole[inner].std()))
    return worst


def main() -> None:
    """Paint both sizes and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=12_000)
    parser.add_argument("--small", type=int, default=4096)
    parser.add_argument("--model", default="cell-painting-brightfield")
    parser.add_argument("--suffix", default=".ome.zarr", choices=(".ome.zarr", ".ome.tif"))
    parser.add_argument("--folder", type=Path, help="folder with room for both images and results (default: the system's)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    from napari_virtual_paint.models import open_model

    channels = open_model(args.model).info.channels
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        for size in (args.small, args.size):
            image, output = Path(folder, f"{size}.ome.zarr"), Path(folder, f"{size}.stains{args.suffix}")
            make(image, size, channels)
            found[str(size)] = paint(image, output, args.model)
            found[str(size)]["ns_per_pixel"] = found[str(size)]["seconds"] * 1e9 / size**2
            found[str(size)]["painting_ns_per_pixel"] = found[str(size)]["painting"] * 1e9 / size**2
            found[str(size)]["cpu_ns_per_pixel"] = found[str(size)]["cpu"] * 1e9 / size**2
        error = differences(image, output, args.model, args.size)
    small, large = found[str(args.small)], found[str(args.size)]
    ratios = {key: large[key] / small[key] for key in ("ns_per_pixel", "painting_ns_per_pixel", "cpu_ns_per_pixel")}
    if args.json:
        print(json.dumps({"model": args.model, "sizes": found, "ratios": ratios, "error_sd": error}, indent=2))
        return
    for size, each in found.items():
        print(
            f"{size} x {size}: peak {each['peak_mb']:.0f} MB, {each['seconds']:.0f} s, {each['ns_per_pixel']:.0f} ns per pixel "
            f"({each['painting_ns_per_pixel']:.0f} painting alone, {each['cpu_ns_per_pixel']:.0f} of CPU time)"
        )
    print(f"ratios: {ratios['ns_per_pixel']:.2f} ({ratios['painting_ns_per_pixel']:.2f}, {ratios['cpu_ns_per_pixel']:.2f})")
    print(f"largest difference from one forward pass: {error:.1e} SD")


if __name__ == "__main__":
    main()
