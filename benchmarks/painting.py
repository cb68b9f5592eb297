"""Exact level-wise tiles beside the whole field, MONAI's sliding window and the paper's median of patches.

    python benchmarks/painting.py [--json] [--rounds 3] [--size 998] [--large 4096] [--no-memory] [--no-3d]

One interleaved run: in every round each way paints the same field once; a time is the median over rounds of its ratio to the whole
field's forward pass (channels-last, no gradients) in the same round. An error is the largest difference from the whole field in SD of the
whole field's stains. A peak is the memory held above what the network and the input take, each way in a process of its own, as a ratio to
the whole forward's: at --large x --large in 2D, at the 3D field's own size in 3D.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))

from napari_virtual_paint.painting import PaintSettings, paint, run_to_end
from napari_virtual_paint.stack import Stack
from random_models import model_of  # the networks with lively weights that the tests use

FIELD_3D = (64, 224, 240)
SETTINGS = {
    "exact": PaintSettings(device="cpu"),
    "median": PaintSettings(device="cpu", blend="median"),
}


def make(dims: int, shape: tuple[int, ...]):
    """Return the paper's network with random weights and a stack of random pixels."""
    model = model_of("UNet") if dims == 2 else model_of("FNet", dims=3)
    rng = np.random.default_rng(0)
    channels = 3 if dims == 2 else 1
    planes = 1 if dims == 2 else shape[0]
    data = rng.integers(0, 4000, (1, channels, planes, *shape[-2:]), dtype=np.uint16)
    layout = torch.channels_last if dims == 2 else torch.channels_last_3d
    model.network.to(memory_format=layout)
    return model, Stack(data), layout


def normalised(model, stack, layout) -> torch.Tensor:
    """Return the field as a batch of one, each channel at mean 0 and SD 1, padded by reflection."""
    field = stack.data[0] if model.info.dims == 3 else stack.data[0, :, 0]
    axes = tuple(range(1, field.ndim))
    mean, std = field.mean(axes, keepdims=True), field.std(axes, keepdims=True)
    x = ((field - mean) / (std + 1e-6)).astype(np.float32)
    multiple = 2 ** (model.network.depth - 1)
    x = np.pad(x, [(0, 0), *((0, -side % multiple) for side in field.shape[1:])], mode="reflect")
    return torch.from_numpy(x)[None].contiguous(memory_format=layout)


@torch.inference_mode()
def whole(model, stack, layout) -> np.ndarray:
    """Paint by one forward pass."""
    out = model.network(normalised(model, stack, layout))[0].numpy()
    sides = stack.shape[-2:] if model.info.dims == 2 else stack.shape[-3:]
    return out[(slice(None), *(slice(0, side) for side in sides))]


@torch.inference_mode()
def monai(model, stack, layout) -> np.ndarray:
    """Paint by MONAI's sliding window: 256 px, overlap 0.5, Gaussian."""
    from monai.inferers import sliding_window_inference

    x = normalised(model, stack, layout)
    out = sliding_window_inference(x, (256, 256), 1, model.network, overlap=0.5, mode="gaussian")
    return out[0, :, : stack.shape[-2], : stack.shape[-1]].numpy()


def ours(name: str) -> Callable[..., np.ndarray]:
    """Return one of our own ways."""

    def run(model, stack, layout) -> np.ndarray:
        painted = run_to_end(paint(model, stack, SETTINGS[name])).stack.data[0]
        return painted[:, 0] if model.info.dims == 2 else painted

    return run


WAYS = {"whole": whole, "exact": ours("exact"), "median": ours("median"), "monai": monai}


def compare(dims: int, shape: tuple[int, ...], ways: list[str], rounds: int) -> dict[str, dict[str, float]]:
    """Run the ways in turn, round by round."""
    case = make(dims, shape)
    ratios: dict[str, list[float]] = {way: [] for way in ways}
    errors: dict[str, float] = {}
    reference = None
    for number in range(rounds + 1):
        first = None
        for way in ways:
            start = time.perf_counter()
            painted = WAYS[way](*case)
            seconds = time.perf_counter() - start
            first = first or seconds
            if reference is None:
                reference = painted
            errors[way] = float(np.abs(painted - reference).max() / reference.std())
            if number:  # the first round warms up
                ratios[way].append(seconds / first)
            print(f"round {number} {dims}D {way}: {seconds:.2f} s, {seconds / first:.3f}", file=sys.stderr)
    return {way: {"time": statistics.median(ratios[way]), "error": errors[way]} for way in ways}


def peak_bytes(dims: int, way: str, side: int) -> int:
    """Measure one way in a process of its own."""
    run = subprocess.run([sys.executable, __file__, "--peak-of", way, str(dims), str(side)], capture_output=True, text=True, check=True)
    return int(run.stdout.strip())


def measure_peak(way: str, dims: int, side: int) -> int:
    """Return the most memory held above what was there before, sampled every 5 ms."""
    case = make(dims, (side, side) if dims == 2 else FIELD_3D)
    process = psutil.Process()
    before, most, stop = process.memory_info().rss, 0, threading.Event()

    def sample() -> None:
        nonlocal most
        while not stop.wait(0.005):
            most = max(most, process.memory_info().rss)

    watcher = threading.Thread(target=sample)
    watcher.start()
    WAYS[way](*case)
    stop.set()
    watcher.join()
    return max(most - before, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object alone")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=998)
    parser.add_argument("--large", type=int, default=4096, help="side of the field on which memory is measured")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--no-3d", action="store_true")
    parser.add_argument("--peak-of", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak_of:
        print(measure_peak(args.peak_of[0], int(args.peak_of[1]), int(args.peak_of[2])))
        return
    results = compare(2, (args.size, args.size), ["whole", "exact", "monai", "median"], args.rounds)
    if not args.no_3d:
        results["exact_3d"] = compare(3, FIELD_3D, ["whole", "exact"], args.rounds)["exact"]
    if not args.no_memory:
        results["whole"]["peak"] = 1.0
        results["exact"]["peak"] = peak_bytes(2, "exact", args.large) / peak_bytes(2, "whole", args.large)
        if not args.no_3d:
            results["exact_3d"]["peak"] = peak_bytes(3, "exact", 0) / peak_bytes(3, "whole", 0)
    if args.json:
        print(json.dumps(results))
        return
    print(f"{'':10}{'time':>10}{'error (SD)':>14}{'peak memory':>14}   (1 = the whole field's forward pass)")
    for name, row in results.items():
        peak = f"{row['peak']:.2f}" if "peak" in row else "-"
        print(f"{name:10}{row['time']:>10.3f}{row['error']:>14.1e}{peak:>14}")


if __name__ == "__main__":
    main()
