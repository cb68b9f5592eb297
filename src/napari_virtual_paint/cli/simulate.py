"""`virtual-paint simulate`: fields of simulated cells with their true stains and labels."""

from __future__ import annotations

import argparse
import csv
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.cli._common import emit
from napari_virtual_paint.errors import WriteError

if TYPE_CHECKING:
    from napari_virtual_paint.samples.settings import SimulationSettings
    from napari_virtual_paint.samples.simulator import SimulatedField

COLUMNS = ("field", "treatment", "dose", "seed", "cells", "brightfield", "stains", "labels")


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser of `virtual-paint`."""
    parser = subparsers.add_parser(
        "simulate",
        help="make fields of simulated cells with their true stains and labels",
        description="Makes OUTPUT/field_000/{brightfield,stains,labels}.ome.tif for each field, and OUTPUT/fields.csv that lists them.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("output", type=Path, help="folder to write to")
    parser.add_argument("--fields", type=int, default=1, metavar="N", help="fields to make")
    parser.add_argument("--size", type=int, default=1000, metavar="PX", help="edge of a field in pixels")
    parser.add_argument("--z", type=int, default=1, metavar="N", help="planes of a whole stack with 3D truth; 1 makes three focal planes")
    parser.add_argument("--treatment", default="control", metavar="NAME", help="control, mitoxantrone, actin-disruptor, tubulin-disruptor")
    parser.add_argument("--dose", type=float, default=1.0, metavar="X", help="0 does nothing, 0.5 has half the full effect")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the first field; each further field takes the next one")
    parser.add_argument("--pixel-size", type=float, default=0.65, metavar="UM", help="micrometres along y and x")
    parser.add_argument("--z-step", type=float, default=0.5, metavar="UM", help="micrometres between the planes of a stack")
    parser.add_argument("--batch", type=int, metavar="K", help="number of a plate, whose uneven light, gain and offset are added")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Make the fields and write them; print what was made."""
    from napari_virtual_paint.errors import InputError
    from napari_virtual_paint.samples.simulator import simulate_field

    if args.fields < 1:
        raise InputError(f"{args.fields} fields can't be made; ask for 1 or more.")
    settings = [_settings(args, args.seed + index) for index in range(args.fields)]
    start = time.perf_counter()
    rows = []
    for index, one in enumerate(settings):
        rows.append(_write_field(args.output, f"field_{index:03d}", simulate_field(one)))
        print(f"{rows[-1]['field']}: {rows[-1]['cells']} cells, {one.treatment}, seed {one.seed}", file=sys.stderr)
    table = _write_table(args.output, rows)
    report = {"output": str(args.output), "table": str(table), "fields": rows, "seconds": round(time.perf_counter() - start, 3)}
    emit(report, f"{len(rows)} fields in {args.output}, listed in {table}", as_json=args.json)
    return 0


def _settings(args: argparse.Namespace, seed: int) -> SimulationSettings:
    from napari_virtual_paint.samples.settings import Batch, SimulationSettings

    return SimulationSettings(
        size=args.size,
        z=args.z,
        treatment=args.treatment,
        dose=args.dose,
        seed=seed,
        pixel_size=args.pixel_size,
        z_step=args.z_step,
        batch=Batch() if args.batch is None else Batch.drawn(args.batch),
    )


def _write_field(output: Path, name: str, field: SimulatedField) -> dict[str, Any]:
    """Write one field's images and return its row of the table, paths from the output folder."""
    import numpy as np

    from napari_virtual_paint.stack import Stack
    from napari_virtual_paint.writing import write

    folder = output / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(folder, f"this folder can't be made ({error.strerror}); choose another output") from None
    masks = np.stack([field.labels["nucleus"], field.labels["cell"]])[None, :, None]
    labels = Stack(masks, ("nucleus", "cell"), field.stains.pixel_size._replace(z=None))
    row: dict[str, Any] = {"field": name, "treatment": field.treatment, "dose": field.dose, "seed": field.seed}
    row["cells"] = len(np.unique(field.labels["cell"])) - 1
    for kind, stack in (("brightfield", field.brightfield), ("stains", field.stains), ("labels", labels)):
        write(stack, folder / f"{kind}.ome.tif", overwrite=True)
        row[kind] = f"{name}/{kind}.ome.tif"
    return row


def _write_table(output: Path, rows: list[dict[str, Any]]) -> Path:
    """Write fields.csv beside the fields, whole or not at all."""
    table, partial = output / "fields.csv", output / ".fields.csv.partial"
    try:
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
        partial.replace(table)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise WriteError(table, f"this table can't be written ({error.strerror})") from None
    return table
