"""`virtual-paint simulate`: simulate fields of cells with their true stains and labels, or a whole plate of them."""

from __future__ import annotations

import argparse
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.choices import PLATE_LAYOUTS
from napari_virtual_paint.cli import COMMANDS, INTERRUPTED
from napari_virtual_paint.cli._options import add_json, add_overwrite, add_workers
from napari_virtual_paint.cli._output import ProgressBar, print_line, print_note, print_result, split_list
from napari_virtual_paint.cli._parser import LARGEST_SEED, number, whole_number
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.atomic_write import make_folder, remove_leftovers, write_text
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.runtime.outputs import check_own_folder, output_path
from napari_virtual_paint.runtime.text import counted, csv_text

if TYPE_CHECKING:
    from napari_virtual_paint.plates.simulation.design import PlateDesign
    from napari_virtual_paint.samples.settings import SimulationSettings
    from napari_virtual_paint.samples.simulator import SimulatedField

CELL_TYPES = "simulated-standard, simulated-compact (dense, like an epithelium), simulated-spread (large, flat and sparse)"
"""Types of cells, for the help."""

COLUMNS = ("field", "treatment", "dose", "seed", "cells", "brightfield", "stains", "labels")  # columns of fields.csv
TABLE = "fields.csv"
RESUMES = "the finished fields are kept"


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser of `virtual-paint`."""
    parser = subparsers.add_parser(
        "simulate",
        help=COMMANDS["simulate"],
        description="Write OUTPUT/field_000/{brightfield,stains,labels}.ome.tif for each field, and OUTPUT/fields.csv that lists them; "
        "with --plate, write a whole plate instead. Running the same command for a plate again adds the missing fields. A folder that "
        "holds anything else is refused.",
    )
    parser.add_argument("output", type=Path, help="folder to write to; with --plate, PLATE.zarr")
    parser.add_argument(
        "--fields", type=whole_number(0), default=1, metavar="N", help="number of fields; with --plate, per well (default: %(default)s)"
    )
    parser.add_argument(
        "--size", type=whole_number(1, 65_536), default=1000, metavar="PX", help="side of a field in pixels (default: %(default)s)"
    )
    parser.add_argument(
        "--z",
        type=whole_number(1, 10_000),
        default=1,
        metavar="N",
        help="planes of a stack with 3D truth; 1 gives three focal planes (default: %(default)s)",
    )
    parser.add_argument(
        "--treatment",
        default="control",
        metavar="NAME",
        help="control, mitoxantrone, actin-disruptor or tubulin-disruptor (default: %(default)s)",
    )
    parser.add_argument("--cell-type", default="simulated-standard", metavar="NAME", help=f"{CELL_TYPES} (default: %(default)s)")
    parser.add_argument(
        "--dose", type=number(0, 1e6), default=1.0, metavar="X", help="0 has no effect, 0.5 half of the full effect (default: %(default)s)"
    )
    parser.add_argument(
        "--seed",
        type=whole_number(0, LARGEST_SEED),
        default=0,
        metavar="S",
        help="seed of the first field; each further field has the next one (default: %(default)s)",
    )
    parser.add_argument(
        "--pixel-size", type=number(above=0), default=0.65, metavar="UM", help="micrometers along y and x (default: %(default)s)"
    )
    parser.add_argument(
        "--z-step", type=number(above=0), default=0.5, metavar="UM", help="micrometers between the planes of a stack (default: %(default)s)"
    )
    add_overwrite(parser, "write into a folder that something else made, or replace a simulated plate of another design")
    parser.add_argument(
        "--batch", type=whole_number(0, LARGEST_SEED), metavar="K", help="number of the plate, which adds its uneven light, gain and offset"
    )
    add_json(parser)
    plate = parser.add_argument_group("plates")
    plate.add_argument("--plate", metavar="WELLS", help="simulate a plate of 6, 12, 24, 48, 96, 384 or 1536 wells, or ROWSxCOLS")
    plate.add_argument(
        "--layout", default="ome-zarr", metavar="NAME", help=f"how it is stored: {', '.join(PLATE_LAYOUTS)} (default: %(default)s)"
    )
    plate.add_argument("--treatments", metavar="A,B", help="treatments on the plate (default: all)")
    plate.add_argument("--doses", metavar="X,Y", help="doses of each treatment (default: 0.5,1,2)")
    plate.add_argument(
        "--replicates", type=whole_number(1, 10_000), metavar="N", help="wells per treatment and dose (default: as many as fit)"
    )
    plate.add_argument(
        "--controls",
        default="columns",
        choices=("columns", "spread"),
        help="untreated wells: outer columns, or spread over the plate (default: %(default)s)",
    )
    add_workers(plate, "simulate and write")


def run(args: argparse.Namespace) -> int:
    """Simulate the fields or the plate, write them and print their number."""
    args.output = output_path(args.output)
    if args.plate is not None:
        return _run_plate(args)
    from napari_virtual_paint.samples.simulator import simulate_field

    if args.fields < 1:
        raise InputError(f"{args.fields} fields can't be simulated; give 1 or more.")
    settings = [_settings(args, args.seed + index) for index in range(args.fields)]
    check_own_folder(args.output, is_simulation, overwrite=args.overwrite, what="`simulate`")
    start = time.perf_counter()
    rows: list[dict[str, Any]] = []
    table = args.output / TABLE
    try:
        for index, one in enumerate(settings):
            rows.append(_write_field(args.output, f"field_{index:03d}", simulate_field(one)))
            # After each field, so that the table lists what is complete, however the command ends.
            write_text(table, csv_text(rows, COLUMNS, lineterminator="\r\n"), durable=index == len(settings) - 1)
            print_line(f"{rows[-1]['field']}: {rows[-1]['cells']} cells, {one.treatment}, seed {one.seed}")
    except KeyboardInterrupt:
        if not rows:
            raise
        print_note(f"stopped; {counted(len(rows), 'finished field')} kept in {args.output} and listed in {TABLE}.")
        return INTERRUPTED
    report = {"output": str(args.output), "table": str(table), "fields": rows, "seconds": round(time.perf_counter() - start, 3)}
    print_result(report, f"{counted(len(rows), 'field')} in {args.output}, listed in {table}", as_json=args.json)
    return 0


def is_simulation(folder: Path) -> bool:
    """Return whether `simulate`, of whatever version, wrote a folder of fields."""
    try:
        with (folder / TABLE).open(encoding="utf-8") as file:
            return file.readline().strip() == ",".join(COLUMNS)
    except FileNotFoundError:
        # A run of version 0.1.0 that was stopped had no table yet.
        kinds = {f"{kind}.ome.tif" for kind in COLUMNS[-3:]}
        known = [each for each in folder.iterdir() if not each.name.startswith(".")]
        fields = all(re.fullmatch(r"field_\d{3,}", each.name) and each.is_dir() for each in known)
        return fields and all(file.name in kinds or file.name.startswith(".") for each in known for file in each.iterdir())
    except (OSError, ValueError):
        return False


def _run_plate(args: argparse.Namespace) -> int:
    """Simulate a plate, or the fields that are missing of it."""
    from napari_virtual_paint.plates.simulation.simulate import simulate_plate

    design = _design(args)
    steps = simulate_plate(design, args.output, args.layout, args.workers, overwrite=args.overwrite)
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
        f"{counted(len(design.treated), 'well')} with {counted(len(design.all_fields), 'field')} in {made.path}, "
        f"{made.simulated} of them simulated now; map in {made.plate_map}"
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
    make_folder(folder)
    remove_leftovers(folder)
    masks = np.stack([field.labels["nucleus"], field.labels["cell"]])[None, :, None]
    labels = Stack(masks, ("nucleus", "cell"), field.stains.pixel_size._replace(z=None))
    row: dict[str, Any] = {"field": name, "treatment": field.treatment, "dose": field.dose, "seed": field.seed}
    row["cells"] = len(np.unique(field.labels["cell"])) - 1
    for kind, stack in (("brightfield", field.brightfield), ("stains", field.stains), ("labels", labels)):
        write(stack, folder / f"{kind}.ome.tif", overwrite=True)
        row[kind] = f"{name}/{kind}.ome.tif"
    return row
