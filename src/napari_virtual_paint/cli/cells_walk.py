"""`virtual-paint cells walk`: walk from one cell or group to another through feature space, as a film."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.cli._options import CELL_MODEL, add_json, add_overwrite
from napari_virtual_paint.cli._output import print_notes, print_result, table
from napari_virtual_paint.cli._parser import number, whole_number
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.outputs import check_outputs, output_path

if TYPE_CHECKING:
    from napari_virtual_paint.cells.cp2image.model import CellModel
    from napari_virtual_paint.cells.populations.cohort import Cohort, LikeCells
    from napari_virtual_paint.cells.populations.population import Floats
    from napari_virtual_paint.cells.populations.walks import Walk


def add_parser(subparsers: Any) -> None:
    """Add the action to the parser of ``virtual-paint cells``."""
    parser = subparsers.add_parser(
        "walk",
        help="walk from a cell or group to another, as GIF, MP4 or TIFF",
        description="Walk through feature space (Ji 2024, 4.2.3): from cell or group A to B, the features that differ most first, "
        "or along the line between their means; each step is generated, with its cosine similarity to B, and a film shows the real cell "
        "that is most like each step above it.",
    )
    parser.add_argument("model", metavar="MODEL", help=CELL_MODEL)
    parser.add_argument("table", metavar="TABLE", nargs="?", help="table of cells (default: the cells in the model's package)")
    parser.add_argument(
        "--from",
        dest="start",
        required=True,
        metavar="A",
        help="start: number of a row, or a group such as Metadata_Treatment=DMSO, of which the real cell nearest to its mean is taken",
    )
    parser.add_argument("--to", dest="end", required=True, metavar="B", help="end, written like --from")
    parser.add_argument(
        "--along",
        choices=("stepwise", "line"),
        default="stepwise",
        help="stepwise: change the features that differ most, some at each step; line: a straight line, for groups between their means "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--step", type=whole_number(1, 100_000), default=50, metavar="N", help="stepwise: features per step (default: %(default)s)"
    )
    parser.add_argument(
        "--alone", action="store_true", help="stepwise: the other features stay those of A, as in the paper (default: they follow)"
    )
    parser.add_argument(
        "--frames", type=whole_number(2, 10_000), default=9, metavar="N", help="line: frames, including both ends (default: %(default)s)"
    )
    parser.add_argument(
        "--seed",
        type=whole_number(0, 2**32 - 1),
        default=0,
        metavar="N",
        help="of a model with noise: another seed, other cells (default: 0)",
    )
    parser.add_argument(
        "--rate", type=number(most=1000, above=0), default=4.0, metavar="N", help="frames per second of a film (default: %(default)g)"
    )
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="OUT.gif, OUT.mp4, or OUT.ome.tif with the intensities")
    add_overwrite(parser)
    add_json(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Walk, paint the steps, write the film and print the scores."""
    args.output = output_path(args.output)
    check_outputs([args.output], [args.model, args.table])
    from napari_virtual_paint.cells.cp2image.model import generate, open_cell_model, pictured_cells
    from napari_virtual_paint.cells.populations.walk_export import save_walk

    model = open_cell_model(args.model)
    cohort = _cohort(model, args.table)
    print_notes(cohort.notes)
    walk = make_walk(cohort, args.start, args.end, args.along, args.step, args.frames, follow=not args.alone)
    frames = generate(model, walk.values, seed=args.seed)
    pictured = pictured_cells(model, cohort)
    real = pictured.like(walk.values) if pictured is not None else None
    path = save_walk(
        args.output,
        walk,
        frames,
        model.channels,
        limits(model),
        real=None if real is None else real.crops[:, 0],
        pixel_size=model.pixel_size,
        rate=args.rate,
        provenance={"model": model.id, "version": model.version, "cells": cohort.name, "seed": args.seed, "walk": list(walk.ends)},
        overwrite=args.overwrite,
    )
    report = {
        "output": str(path),
        "model": model.id,
        "from": args.start,
        "to": args.end,
        "along": args.along,
        "frames": len(walk),
        "seed": args.seed,
        "features_taken": walk.taken,
        "cosine": walk.scores,
        "most_like": _most_like(real),
    }
    print_result(report, as_text(walk, str(path)), as_json=args.json)
    return 0


def _cohort(model: CellModel, path: str | None) -> Cohort:
    """Return the cells to walk among."""
    from napari_virtual_paint.cells.cp2image.model import cohort_of
    from napari_virtual_paint.cells.populations.cohort import cohort_from

    if path is None:
        return cohort_of(model)
    from napari_virtual_paint.cells.tables.table import open_table

    return cohort_from(open_table(path).renamed(model.names), model.features, path)


def make_walk(cohort: Cohort, start: str, end: str, along: str, step: int, frames: int, follow: bool = True) -> Walk:
    """Return the walk between two ends as written on the command line."""
    from napari_virtual_paint.cells.populations.walks import line, stepwise

    a, b = (_end(cohort, text, mean=along == "line") for text in (start, end))
    walk = line(cohort.population, a, b, frames) if along == "line" else stepwise(cohort.population, a, b, step, follow)
    return walk.named(*(text.partition("=")[2].strip() or f"#{text}" for text in (start, end)))


def _end(cohort: Cohort, text: str, mean: bool) -> Floats:
    """Return the vector of a row, or of a group: its mean, or the real cell nearest to it."""
    import numpy as np

    from napari_virtual_paint.cells.populations.cohort import parse_group
    from napari_virtual_paint.cells.populations.walks import mean_of, representative

    end = parse_group(text)
    population = cohort.population
    if isinstance(end, int):
        found = np.flatnonzero(cohort.rows == end)
        if not len(found):
            raise InputError(
                f"{cohort.name}: row {end} is not among the {len(cohort):,} cells (rows {cohort.rows[0]} to {cohort.rows[-1]})."
            )
        return np.asarray(population.values[found[0]])
    group = cohort.group(*end)
    return mean_of(population, group) if mean else np.asarray(population.values[representative(population, group)])


def _most_like(real: LikeCells | None) -> list[dict[str, Any]]:
    """Return row and distance of the real cell that is most like each step."""
    if real is None:
        return []
    return [{"row": row, "distance": distance} for row, distance in zip(real.rows[:, 0], real.distances[:, 0], strict=True)]


def limits(model: CellModel) -> list[tuple[float, float]]:
    """Return the contrast of each channel."""
    return [(float(low), float(high)) for low, high in model.scale]


def as_text(walk: Walk, path: str) -> str:
    """Return the scores as a table for a terminal."""
    rows = [[str(i), str(n), f"{score:.3f}"] for i, (n, score) in enumerate(zip(walk.taken, walk.scores, strict=True))]
    return table(["step", "features of B", "cosine"], rows) + f"\n{path}"
