"""Teach models on a few fields, train networks from scratch on the same fields, and print how well both paint other fields.

``python scripts/teach_table.py JSON [--rows simulated,ecoli] [--variants "taught 3,scratch 20"] [--steps 400] [--side 256]``

Each result is added to the JSON file as soon as it is there, and is not computed again; ``--print`` only prints the table. A training
from scratch has the same network, patches and batches, the rate of the recipe `quick`, and three times the steps, as many as a teaching
makes with its half and its refit. Rows: ``simulated`` (fields with dense small cells and a lens of 0.9 um a pixel); and of the real data
(``--data``, by default ``../shared/data``) ``ecoli`` (time points), ``saureus`` and ``phenix_live`` (halves of a field) and ``neurons``
(a half, with other intensities; the bundled model was trained on the whole field).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import yaml

from napari_virtual_paint.models import open_model
from napari_virtual_paint.painting import PaintSettings, paint
from napari_virtual_paint.reading import read
from napari_virtual_paint.runtime.atomic_write import write_text
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.runtime.running_stats import pearson
from napari_virtual_paint.samples import SimulationSettings, simulate_field
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.training import load_config, train
from napari_virtual_paint.training.pace import epoch_of
from napari_virtual_paint.training.teach import EPOCH, TeachRequest, plan_lesson, teach
from napari_virtual_paint.writing import write

Pair = tuple[Stack, Stack]
VARIANTS = ("before", "taught 1", "taught 3", "taught 10", "scratch 1", "scratch 3", "scratch 10", "scratch 20")
SCRATCH = {"name": "adamw", "lr": 2e-3, "weight_decay": 0.01, "schedule": "one_cycle", "clip": 1.0}
ROUNDS = 3  # trainings of a teaching: on half, on all but the held-out fields, on all
TESTS = 2  # simulated fields that are painted


@dataclass(frozen=True)
class Row:
    """A model, and the fields that it is taught and tested on."""

    model: str
    teaching: Callable[[Path, int, int], list[Pair]]  # folder of the data, number of fields and their side -> the fields
    testing: Callable[[Path, int], list[Pair]]
    most: int  # fields that there are


def simulated(first: int, count: int, side: int) -> list[Pair]:
    """Return simulated fields of another type of cell under another lens."""
    fields = [simulate_field(SimulationSettings(size=side, seed=first + i, cell_type=OTHER, pixel_size=0.9)) for i in range(count)]
    return [(field.brightfield, field.stains) for field in fields]


def part(data: Path, names: tuple[str, str], rows: slice, times: slice = slice(0, 1), change: float = 1.0) -> list[Pair]:
    """Return a part of a real set, its rows and time points; `change` is a power of the input's intensities."""
    one, other = (read(data / name) for name in names)
    if "transmitted" in names[0]:
        one = one.select([0])
    other = other.select([i for i, label in enumerate(other.channel_labels) if "empty" not in label])
    cut = [np.asarray(stack.data[times])[..., rows, :] for stack in (one, other)]
    if change != 1.0:
        top = float(cut[0].max())
        cut[0] = (top * (cut[0] / top) ** change).astype(np.float32)
    return [(replace(one, data=cut[0][[t]]), replace(other, data=cut[1][[t]])) for t in range(len(cut[0]))]


OTHER = "simulated-compact"
ECOLI = ("ecoli/ds1_brightfield.ome.tif", "ecoli/ds1_fluorescence.ome.tif")
SAUREUS = ("saureus/phase.ome.tif", "saureus/stains.ome.tif")
PHENIX = ("phenix_live/transmitted.ome.tif", "phenix_live/stains.ome.tif")
NEURONS = ("neurons/phase.ome.tif", "neurons/fluorescence.ome.tif")
ROWS = {
    "simulated": Row(
        "simulated-cell-painting",
        lambda _, count, side: simulated(1000, count, side),
        lambda _, side: simulated(5000, TESTS, side),
        20,
    ),
    "ecoli": Row(
        "cell-painting-brightfield",
        lambda data, count, _: part(data, ECOLI, slice(0, 384), slice(0, count)),
        lambda data, _: part(data, ECOLI, slice(384, 512), slice(0, 6)),
        6,
    ),
    "saureus": Row(
        "cell-painting-brightfield",
        lambda data, count, _: part(data, SAUREUS, slice(0, 466))[:count],
        lambda data, _: part(data, SAUREUS, slice(780, 1024)),
        1,
    ),
    "phenix_live": Row(
        "cell-painting-brightfield",
        lambda data, count, _: part(data, PHENIX, slice(0, 540))[:count],
        lambda data, _: part(data, PHENIX, slice(560, 1080)),
        1,
    ),
    "neurons": Row(
        "neurons-phase",
        lambda data, count, _: part(data, NEURONS, slice(0, 512), change=0.5)[:count],
        lambda data, _: part(data, NEURONS, slice(560, 1024), change=0.5),
        1,
    ),
}


def mean_pcc(package: str | Path, fields: list[Pair]) -> float | None:
    """Return the mean PCC of a model's stains that the fields have, over all fields; None if it paints none of them."""
    model = open_model(package)
    found = []
    for source, truth in fields:
        painted = run_to_end(paint(model, source, PaintSettings(device="cpu"))).stack
        for place, stain in enumerate(truth.channel_labels):
            if stain in painted.channel_labels:
                at = painted.channel_labels.index(stain)
                found.append(pearson(np.asarray(painted.data)[0, at], np.asarray(truth.data)[0, place]))
    return float(np.nanmean(found)) if found else None


def run(row: Row, variant: str, args: argparse.Namespace) -> dict[str, float | None]:
    """Teach or train, and return the mean PCC on the other fields, and the seconds of processor time."""
    tests = row.testing(args.data, args.side)
    if variant == "before":
        return {"pcc": mean_pcc(row.model, tests), "seconds": 0.0}
    how, count = variant.split()
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name in ("input", "target"):
            (place / name).mkdir()
        for number, (source, truth) in enumerate(row.teaching(args.data, int(count), args.side)):
            write(source, place / "input" / f"f{number}.ome.tif")
            write(truth, place / "target" / f"f{number}.ome.tif")
        request = TeachRequest(row.model, (str(place),), place.with_name(f"{place.name}-new"), steps=args.steps)
        try:
            package = teach(request) if how == "taught" else train(scratch(request, args.steps))
            return {"pcc": mean_pcc(package, tests), "seconds": round(time.process_time() - began, 1)}
        finally:
            shutil.rmtree(request.run, ignore_errors=True)
            shutil.rmtree(request.output, ignore_errors=True)


def scratch(request: TeachRequest, steps: int):
    """Return the same training from drawn weights, at the usual rate."""
    lesson = plan_lesson(request)
    values = {key: value for key, value in lesson.values.items() if key not in ("start", "fine_tuning", "refit", "patience")}
    values |= {"steps": ROUNDS * steps, "epoch": epoch_of(ROUNDS * steps, EPOCH), "optimizer": SCRATCH}
    request.run.mkdir()
    (request.run / "pairs.csv").write_text(lesson.table)
    path = request.run / "teach.yaml"
    path.write_text(yaml.safe_dump(values))
    return load_config(path)


def table(found: dict[str, dict[str, dict[str, float | None]]]) -> str:
    """Return the results as Markdown."""
    lines = ["| row | " + " | ".join(VARIANTS) + " |", "|---" * (len(VARIANTS) + 1) + "|"]
    for row, values in found.items():
        cells = [("none" if values[name]["pcc"] is None else f"{values[name]['pcc']:.3f}") if name in values else "" for name in VARIANTS]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    """Compute what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("json", type=Path)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--print", action="store_true")
    args = parser.parse_args()
    found = json.loads(args.json.read_text()) if args.json.is_file() else {}
    for name in () if args.print else args.rows.split(","):
        for variant in args.variants.split(","):
            label = f"{name}, {args.steps} steps" + (f", {args.side} px" if name == "simulated" else "")
            fields = int(variant.split()[1]) if " " in variant else 0
            if variant in found.get(label, {}) or fields > ROWS[name].most:
                continue
            found.setdefault(label, {})[variant] = run(ROWS[name], variant, args)
            write_text(args.json, json.dumps(found, indent=1))
            print(label, variant, found[label][variant], file=sys.stderr, flush=True)
    print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
