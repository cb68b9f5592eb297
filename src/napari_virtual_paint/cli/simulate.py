"""`virtual-paint simulate`: simulate fields of cells with their true stains and labels, or a whole plate of them."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.choices import PLATE_LAYOUTS
from napari_virtual_paint.cli import COMMANDS, INTERRUPTED
from napari_virtual_paint.cli._options import add_json, add_workers
from napari_virtual_paint.cli._output import ProgressBar, print_note, print_result, split_list
from napari_virtual_paint.errors import InputError, WriteError
from napari_virtual_paint.runtime.atomic_write import write_text
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.runtime.text import csv_text

if TYPE_CHECKING:
    from napari_virtual_paint.plates.simulation.design import PlateDesign
    from napari_virtual_paint.samples.settings import SimulationSettings
    from napari_virtual_paint.samples.simulator import SimulatedField

CELL_TYPES = "simulated-standard, simulated-compact (dense, like an epithelium), simulated-spread (large, flat and sparse)"
"""Types of cells, for the help."""

COLUMNS = ("field", "treatment", "dose", "seed", "cells", "brightfield", "stains", "labels")  # columns of fields.csv.


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser of `virtual-paint`."""
    parser = subparsers.add_parser(
        "simulate",
        help=COMMANDS["simulate"],
        description="Write OUTPUT/field_000/{brightfield,stains,labels}.ome.tif for each field, and OUTPUT/fields.csv that lists them; "
        "with --plate, write a whole plate instead. Running the same command for a plate again adds the missing fields.",
    )
    parser.add_argument("output", type=Path, help="folder to write to; with --plate, PLATE.zarr")
    parser.add_argument(
        "--fields", type=int, default=1, metavar="N", help="number of fields; with --plate, per well (default: %(default)s)"
    )
    parser.add_argument("--size", type=int, default=1000, metavar="PX", help="side of a field in pixels (default: %(default)s)")
    parser.add_argument(
        "--z", type=int, default=1, metavar="N", help="planes of a stack with 3D truth; 1 gives three focal planes (default: %(default)s)"
    )
    parser.add_argument(
        "--treatment",
        default="control",
        metavar="NAME",
        help="control, mitoxantrone, actin-disruptor or tubulin-disruptor (default: %(default)s)",
    )
    parser.add_argument("--cell-type", default="simulated-standard", metavar="NAME", help=f"{CELL_TYPES} (default: %(default)s)")
    parser.add_argument(
        "--dose", type=float, default=1.0, metavar="X", help="0 has no effect, 0.5 half of the full effect (default: %(default)s)"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="S",
        help="seed of the first field; each further field has the next one (default: %(default)s)",
    )
    parser.add_argument("--pixel-size", type=float, default=0.65, metavar="UM", help="micrometres along y and x (default: %(default)s)")
    parser.add_argument(
        "--z-step", type=float, default=0.5, metavar="UM", help="micrometres between the planes of a stack (default: %(default)s)"
    )
    parser.add_argument("--batch", type=int, metavar="K", help="number of the plate, which adds its uneven light, gain and offset")
    add_json(parser)
    plate = parser.add_argument_group("plates")
    plate.add_argument("--plate", metavar="WELLS", help="simulate a plate of 6, 12, 24, 48, 96, 384 or 1536 wells, or ROWSxCOLS")
    plate.add_argument(
        "--layout", default="ome-zarr", metavar="NAME", help=f"how it is stored: {', '.join(PLATE_LAYOUTS)} (default: %(default)s)"
    )
    plate.add_argument("--treatments", metavar="A,B", help="treatments on the plate (default: all)")
    plate.add_argument("--doses", metavar="X,Y", help="doses of each treatment (default: 0.5,1,2)")
    plate.add_argument("--replicates", type=int, metavar="N", help="wells per treatment and dose (default: as many as fit)")
    plate.add_argument(
        "--controls",
        default="columns",
        choices=("columns", "spread"),
        help="untreated wells: outer columns, or spread over the plate (default: %(default)s)",
    )
    add_workers(plate, "simulate and write")


def run(args: argparse.Namespace) -> int:
    """Simulate the fields or the plate, write them and print their number."""
    from napari_virtual_paint.samples.simulator import simulate_field

    if args.plate is not None:
        return _run_plate(args)
    if args.fields < 1:
        raise InputError(f"{args.fields} fields can't be simulated; give 1 or more.")
    settings = [_settings(args, args.seed + index) for index in range(args.fields)]
    start = time.perf_counter()
    rows = []
    for index, one in enumerate(settings):
        rows.append(_write_field(args.output, f"field_{index:03d}", simulate_field(one)))
        print(f"{rows[-1]['field']}: {rows[-1]['cells']} cells, {one.treatment}, seed {one.seed}", file=sys.stderr)
    table = _write_table(args.output, rows)
    report = {"output": str(args.output), "table": str(table), "fields": rows, "seconds": round(time.perf_counter() - start, 3)}
    print_result(report, f"{len(rows)} fields in {args.output}, listed in {table}", as_json=args.json)
    return 0


def _run_plate(args: argparse.Namespace) -> int:
    """Simulate a plate, or the fields that are missing of it."""
    from napari_virtual_paint.plates.simulation.simulate import simulate_plate

    design = _design(args)
    steps = simulate_plate(design, args.output, args.layout, args.workers)
    try:
        with ProgressBar("simulating") as progress:
            made = run_to_end(steps, progress.show)
    except KeyboardInterrupt:
        print_note(f"stopped; the finished fields are in {args.output}, and the same command adds the others.")
        return INTERRUPTED
    report = {
        "output": made.path,
        "layout": args.layout,
        "wells": len(design.treated),
        "fields": len(design.all_fields),
        "simulated": made.simulated,
        "skipped": made.skipped,
        "map": made.plate_map,
        "seconds": round(made.seconds, 3),
    }
    text = (
        f"{report['wells']} wells with {report['fields']} fields in {made.path}, {made.simulated} of them simulated now; "
        f"map in {made.plate_map}"
    )
    print_result(report, text, as_json=args.json)
    return 0


def _design(args: argparse.Namespace) -> PlateDesign:
    """Return the design of the plate."""
    from napari_virtual_paint.plates.simulation.design import PlateDesign, parse_shape

    if args.z != 1 or args.treatment != "control":
        raise InputError("A plate has z = 1 and its own --treatments; leave out --z and --treatment.")
    options: dict[str, Any] = {}
    if args.treatments is not None:
        options["treatments"] = split_list(args.treatments)
    if args.doses is not None:
        try:
            options["doses"] = tuple(float(dose) for dose in split_list(args.doses))
        except ValueError:
            raise InputError(f"--doses {args.doses!r} are no numbers; give them as 0.5,1,2.") from None
    return PlateDesign(
        parse_shape(args.plate),
        args.fields,
        replicates=args.replicates,
        controls=args.controls,
        batch=args.batch,
        size=args.size,
        seed=args.seed,
        pixel_size=args.pixel_size,
        cell_type=args.cell_type,
        **options,
    )


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
        cell_type=args.cell_type,
    )


def _write_field(output: Path, name: str, field: SimulatedField) -> dict[str, Any]:
    """Write the images of a field and return its row of the table, with paths relative to the output folder."""
    import numpy as np

    from napari_virtual_paint.stack import Stack
    from napari_virtual_paint.writing import write

    folder = output / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(folder, f"this folder can't be created ({error.strerror}); choose another output") from None
    masks = np.stack([field.labels["nucleus"], field.labels["cell"]])[None, :, None]
    labels = Stack(masks, ("nucleus", "cell"), field.stains.pixel_size._replace(z=None))
    row: dict[str, Any] = {"field": name, "treatment": field.treatment, "dose": field.dose, "seed": field.seed}
    row["cells"] = len(np.unique(field.labels["cell"])) - 1
    for kind, stack in (("brightfield", field.brightfield), ("stains", field.stains), ("labels", labels)):
        write(stack, folder / f"{kind}.ome.tif", overwrite=True)
        row[kind] = f"{name}/{kind}.ome.tif"
    return row


def _write_table(output: Path, rows: list[dict[str, Any]]) -> Path:
    """Write ``fields.csv`` beside the fields."""
    path = output / "fields.csv"
    try:
        write_text(path, csv_text(rows, COLUMNS, lineterminator="\r\n"))
    except OSError as error:
        raise WriteError(path, f"this table can't be written ({error.strerror})") from None
    return path
