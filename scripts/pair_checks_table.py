"""How often the checks of pairs are right: faults put into simulated and real pairs, one pair in five at a time.

Run ``python scripts/pair_checks_table.py [--fields 40] [--data ../shared/data]``; docs/training-pairs.md has what it printed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_virtual_paint.reading import read
from napari_virtual_paint.samples import Batch, SimulationSettings, simulate_field
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.training.config.network import Augment
from napari_virtual_paint.training.pair_checks.faults import PairCheck, faults_of
from napari_virtual_paint.training.pair_checks.statistics import PairStatistics, measure_pair

MARGIN = 8
Image = npt.NDArray[np.generic]
Pair = tuple[Image, Image]  # input and stains, (C, Y, X), with MARGIN pixels more on each side
FOUND = {"shift": "shifted", "clipped": "saturated", "blank": "blank", "blurred": "blurred", "swapped": "unmatched"}


def simulated(count: int) -> Iterator[Pair]:
    """Fields of control cells and three treatments, half of them with the light and gain of another plate."""
    treatments = ("control", "mitoxantrone", "actin-disruptor", "tubulin-disruptor")
    for seed in range(count):
        batch = Batch.drawn(seed) if seed % 2 else Batch()
        field = simulate_field(SimulationSettings(size=512 + 2 * MARGIN, treatment=treatments[seed % 4], seed=40000 + seed, batch=batch))
        yield field.brightfield.data[0, :, 0], field.stains.data[0, :, 0]


def crops(images: list[tuple[Image, Image]], size: int, count: int) -> Iterator[Pair]:
    """Pieces of real fields at random places."""
    rng = np.random.default_rng(0)
    for index in range(count):
        x, y = images[index % len(images)]
        top, left = (int(rng.integers(side - size - 2 * MARGIN + 1)) for side in x.shape[-2:])
        at = (slice(None), slice(top, top + size + 2 * MARGIN), slice(left, left + size + 2 * MARGIN))
        yield x[at], y[at]


def real(data: Path, count: int) -> Iterator[tuple[str, list[Pair]]]:
    """Yield the real sets by name."""
    planes = read(data / "neurons/phase.ome.tif").compute().data[0].reshape(-1, 1024, 640)
    yield (
        "neurons, phase contrast, 448 px",
        list(crops([(planes, read(data / "neurons/fluorescence.ome.tif").compute().data[0, :, 0])], 448, count)),
    )
    field = [read(data / f"cell_painting/{name}.ome.tif").compute().data[0, :, 0] for name in ("brightfield", "stains")]
    yield "Cell Painting, brightfield, 400 px", list(crops([(field[0], field[1])], 400, count))
    montages = [read(path).compute().data[0, :, 0] for path in sorted((data / "jurkat_flow").glob("*.ome.tif"))]
    cells = [(each[:1, :800], each[1:2, :800]) for each in montages]
    yield "Jurkat cells, brightfield, 400 px", list(crops(cells, 400, count))
    bright = read(data / "hipsc_3d/brightfield.ome.tif").compute().data[0, :, 28]
    masks = read(data / "hipsc_3d/masks.ome.tif").compute().data[0, :, 28]
    yield "hiPSC, brightfield and masks, 180 px", list(crops([(bright, masks)], 180, count))


def inner(image: Image, y: int = 0, x: int = 0) -> Image:
    """Cut the margin off, so that what lies in the picture moves by y and x."""
    height, width = image.shape[-2:]
    return image[..., MARGIN - y : height - MARGIN - y, MARGIN - x : width - MARGIN - x]


def camera(image: npt.NDArray[np.float32], like: Image, rng: np.random.Generator) -> Image:
    """Give a picture without noise a camera's noise and type of pixel."""
    limit = np.iinfo(like.dtype).max if like.dtype.kind == "u" else np.inf
    grey = np.maximum(image, 0)
    return np.clip(np.round(grey + rng.normal(size=image.shape) * np.sqrt(grey / 4 + 9)), 0, limit).astype(like.dtype)


def faults(pixels: float) -> dict[str, Callable[[int, list[Pair], np.random.Generator], Pair]]:
    """Return the faults by name; `pixels` is the SD of the blur."""

    def shift(length: float) -> Callable[[int, list[Pair], np.random.Generator], Pair]:
        def made(index: int, pairs: list[Pair], rng: np.random.Generator) -> Pair:
            x, y = pairs[index]
            turn = rng.uniform(0, 2 * np.pi)
            dy, dx = length * np.sin(turn), length * np.cos(turn)
            moved = np.stack([ndimage.shift(one.astype(np.float32), (dy, dx), order=3, mode="nearest") for one in y])
            return inner(x), inner(moved).round().astype(y.dtype)

        return made

    def clipped(index: int, pairs: list[Pair], rng: np.random.Generator) -> Pair:
        x, y = (inner(one) for one in pairs[index])
        tops = np.percentile(y, 98, axis=(1, 2), keepdims=True)
        return x, np.minimum(y, tops).astype(y.dtype)

    def blank(index: int, pairs: list[Pair], rng: np.random.Generator) -> Pair:
        x, y = (inner(one) for one in pairs[index])
        floor = np.percentile(y, 5, axis=(1, 2), keepdims=True).astype(np.float32) + 100
        return x, camera(np.broadcast_to(floor, y.shape).astype(np.float32), y, rng)

    def blurred(index: int, pairs: list[Pair], rng: np.random.Generator) -> Pair:
        x, y = (inner(one) for one in pairs[index])
        return x, camera(np.stack([ndimage.gaussian_filter(one.astype(np.float32), pixels) for one in y]), y, rng)

    def blurred_input(index: int, pairs: list[Pair], rng: np.random.Generator) -> Pair:
        x, y = (inner(one) for one in pairs[index])
        return camera(np.stack([ndimage.gaussian_filter(one.astype(np.float32), pixels) for one in x]), x, rng), y

    def swapped(index: int, pairs: list[Pair], rng: np.random.Generator) -> Pair:
        return inner(pairs[index][0]), inner(pairs[(index + len(pairs) // 2) % len(pairs)][1])

    found = {f"shift {length} px": shift(length) for length in (0.5, 1.5, 2.0, 3.0, 6.0)}
    return {**found, "clipped": clipped, "blank": blank, "blurred": blurred, "blurred input": blurred_input, "swapped": swapped}


def looks(name: str, pair: Pair, kind: str) -> PairStatistics:
    """Look at a pair."""
    x, y = (Stack(one[None, :, None], tuple(f"{kind} {i}" for i in range(len(one)))) for one in pair)
    return measure_pair(name, x, y)[0]


def has(check: PairCheck, kind: str) -> bool:
    """Tell whether a fault was found."""
    return any(fault.kind == kind for fault in check.faults)


def table(name: str, pairs: list[Pair]) -> None:
    """Print the rates of one set."""
    start, kind_of = time.perf_counter(), "mask" if "masks" in name else "channel"
    right = [looks(f"{i}", (inner(x), inner(y)), kind_of) for i, (x, y) in enumerate(pairs)]
    seconds = (time.perf_counter() - start) / len(pairs)
    checks, notes = faults_of(right, Augment())
    alarms = sum(bool(check.faults) for check in checks)
    print(f"\n{name}: {len(pairs)} pairs, {seconds:.2f} s each. False alarms {alarms}; sure of the shift {sum(c.sure for c in checks)}.")
    for check in checks:
        if check.faults:
            print("   ", check.name, "; ".join(fault.words for fault in check.faults))
    for note in notes:
        print("   ", note)
    rng = np.random.default_rng(1)
    for fault, make in faults(3.0).items():
        wrong = [looks(f"{i}", make(i, pairs, rng), kind_of) for i in range(len(pairs))]
        found = others = unsure = 0
        for group in range(5):
            mixed = [wrong[i] if i % 5 == group else right[i] for i in range(len(pairs))]
            for i, check in enumerate(faults_of(mixed, Augment())[0]):
                kind = next(value for key, value in FOUND.items() if fault.startswith(key))
                hit = has(check, kind) or (fault == "swapped" and has(check, "shifted"))
                found += hit and i % 5 == group
                unsure += i % 5 == group and not hit and not check.sure
                others += bool(check.faults) and i % 5 != group
        print(
            f"    {fault:14} found {found} of {len(pairs)} (not sure: {unsure}); false alarms on the others {others} of {4 * len(pairs)}",
            flush=True,
        )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fields", type=int, default=40)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared/data")
    parser.add_argument("--only", default="", help="of the sets, those whose names begin so")
    args = parser.parse_args()
    if "Simulated".startswith(args.only):
        table("Simulated Cell Painting, 512 px", list(simulated(args.fields)))
    if args.data.is_dir():
        for name, pairs in real(args.data, args.fields):
            if name.startswith(args.only):
                table(name, pairs)


if __name__ == "__main__":
    main()
