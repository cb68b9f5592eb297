"""Memory and time of a pix2pixHD global generator on one large field: whole, and in pieces; one line of JSON each.

    python benchmarks/pieces.py [--side 1500] [--width 64]

Each way runs in a process of its own, whose resident memory is watched.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil


def measure(way: str, side: int, width: int, out: Path) -> dict[str, object]:
    import torch

    from napari_virtual_paint.networks.pix2pixhd import Pix2PixHD
    from napari_virtual_paint.painting.exact.global_norm import paint_stages

    torch.manual_seed(0)
    network = Pix2PixHD(in_channels=1, out_channels=1, width=width).eval().requires_grad_(False).to(memory_format=torch.channels_last)
    side = -(-side // network.multiple) * network.multiple
    x = torch.randn(1, 1, side, side)
    process, running = psutil.Process(), threading.Event()
    before = peak = process.memory_info().rss
    running.set()

    def watch() -> None:
        nonlocal peak
        while running.is_set():
            peak = max(peak, process.memory_info().rss)
            time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    with torch.inference_mode():
        stains = torch.empty_like(x)
        if way == "whole":
            stains = network(x)
        else:
            for _, box, part in paint_stages(network, x):
                if box is not None:
                    stains[..., box[0], box[1]] = part
    seconds = time.perf_counter() - started
    running.clear()
    watcher.join()
    torch.save(stains, out)
    return {"way": way, "side": side, "seconds": round(seconds, 1), "peak_mb": peak >> 20, "above_network_mb": (peak - before) >> 20}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=1500)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--way", choices=("whole", "pieces"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        print(json.dumps(measure(args.way, args.side, args.width, args.out)))
        return
    import torch

    with tempfile.TemporaryDirectory() as work:
        found = []
        for way in ("whole", "pieces"):
            out = Path(work, way)
            options = ["--way", way, "--out", str(out), "--side", str(args.side), "--width", str(args.width)]
            print(
                subprocess.run([sys.executable, __file__, *options], check=True, capture_output=True, text=True).stdout.strip(), flush=True
            )
            found.append(torch.load(out, weights_only=True))
        print(json.dumps({"largest_difference_sd": float((found[0] - found[1]).abs().max() / found[0].std())}))


if __name__ == "__main__":
    main()
