"""`virtual-paint count`: find, measure and count the nuclei and cells of painted or real stains."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.cli import COMMANDS, FAILED_FIELDS
from napari_virtual_paint.cli._options import add_axes, add_counting, add_json, add_overwrite, add_selection, count_settings
from napari_virtual_paint.cli._output import ProgressBar, print_notes, print_result
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.outputs import check_outputs, output_path
from napari_virtual_paint.runtime.text import counted

if TYPE_CHECKING:
    from napari_virtual_paint.counting.agreement import Agreement
    from napari_virtual_paint.counting.fields import CountField, FieldCounts
    from napari_virtual_paint.counting.run import StackCount
    from napari_virtual_paint.evaluation.inputs.sources import EvaluationSource


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser of `virtual-paint`."""
    parser = subparsers.add_parser(
        "count",
        help=COMMANDS["count"],
        description="Find the nuclei and cells in painted or real stains, measure them, and write TABLE with a row per object; beside it "
        "TABLE.fields and TABLE.wells with the counts, and the labels. With --truth, painted and real counts stand side by side, with "
        "their agreement. Exit code 3: some images could not be counted.",
    )
    parser.add_argument("input", nargs="+", metavar="INPUT", help="images with stains, a folder of them, or a plate")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="TABLE", help="table to write: .csv or .parquet")
    parser.add_argument(
        "--truth", metavar="REAL", help="the real stains of the same fields: count them, too, and report how far the painted counts are off"
    )
    add_counting(parser)
    add_axes(parser)
    add_selection(parser)
    parser.add_argument("--tracks", action="store_true", help="link the objects of a time series to tracks (extra tracking)")
    labels = parser.add_mutually_exclusive_group()
    labels.add_argument(
        "--labels", type=Path, metavar="PATH", help="where the labels go: .ome.tif, or a folder for several images (default: beside TABLE)"
    )
    labels.add_argument("--in-place", action="store_true", help="write the labels into the OME-Zarr INPUT, as labels of its images")
    labels.add_argument("--no-labels", action="store_true", help="write no labels")
    add_overwrite(parser, "replace existing tables and labels")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Count the objects, write the tables and labels and print the totals."""
    start = time.perf_counter()
    table = output_path(args.output)
    settings = count_settings(args)
    _check_plain(args, table)
    from napari_virtual_paint.counting import outputs
    from napari_virtual_paint.counting.fields import agreements, count_fields, side_by_side
    from napari_virtual_paint.counting.tracking import check_tracking
    from napari_virtual_paint.runtime.generators import run_to_end

    outputs.check_table(table)
    written = [table, *(outputs.beside(table, part) for part in ("fields", "wells", "agreement"))]
    check_outputs([*written, args.labels], [*args.input, args.truth])
    if args.tracks:
        check_tracking()
    sources = _sources(args)
    fields = [each for source, name in sources for each in _fields(source, name)]
    labels = _labels_path(args, table, len(fields))
    check_outputs([None if args.in_place else labels], [*args.input, args.truth])
    _check_absent([*written, None if args.in_place else labels], overwrite=args.overwrite)
    keep = _keeper(args, sources, labels, several=len(fields) > 1)
    with ProgressBar("Counting") as progress:
        counts = run_to_end(count_fields(fields, settings, keep), progress.show)
    outputs.write_columns(table, counts.objects)
    outputs.write_rows(written[1], counts.fields)
    outputs.write_rows(written[2], outputs.by_well(counts.fields))
    agreement = agreements(counts)
    if agreement:
        outputs.write_rows(written[3], side_by_side(counts))
    print_notes(_notes(sources, counts))
    report = {
        "objects": counts.totals,
        "table": str(table),
        "labels": None if labels is None else str(labels),
        "fields": str(written[1]),
        "wells": str(written[2]),
        "images": len(sources[0][0].keys) if args.truth else len(fields),
        "failed": len(counts.failed),
        "flagged": counts.flagged,
        "segmenter": counts.segmenter,
        "version": counts.version,
        "agreement": {kind: each.to_json() for kind, each in agreement.items()} or None,
        "notes": list(counts.notes),
        "seconds": round(time.perf_counter() - start, 3),
    }
    print_result(report, _text(report, agreement), as_json=args.json)
    return FAILED_FIELDS if counts.failed else 0


def _check_plain(args: argparse.Namespace, table: Path) -> None:
    """Raise an `InputError` for options that contradict each other."""
    if args.truth is not None and len(args.input) > 1:
        raise InputError("--truth is compared with one INPUT: an image, a folder of fields or a plate.")
    if args.labels is not None and output_path(args.labels) == table:
        raise InputError(f"{table}: table and labels would be one file; give the labels another name (--labels).")


def _sources(args: argparse.Namespace) -> list[tuple[EvaluationSource, str]]:
    """Return the sources, and whether each is painted or real, empty where its images say so."""
    from napari_virtual_paint.evaluation.inputs.sources import open_source, select

    names = None if args.fields is None else tuple(args.fields)
    found = [(select(open_source(path, axes=args.axes), args.wells, names), "painted" if args.truth else "") for path in args.input]
    if args.truth is not None:
        found.append((select(open_source(args.truth, axes=args.axes), args.wells, names), "real"))
    return found


def _fields(source: EvaluationSource, name: str) -> list[CountField]:
    """Return the fields of a source."""
    from napari_virtual_paint.counting.fields import CountField

    single = name and len(source.keys) == 1 and source.kind == "file"  # two files are compared whatever they are called
    read = source.images.read
    return [CountField("image" if single else key, well, partial(read, key), name) for key, well in source.wells.items()]


def _labels_path(args: argparse.Namespace, table: Path, count: int) -> Path | None:
    """Return where the labels go; None where they are not written, or each into its image."""
    from napari_virtual_paint.counting.outputs import labels_beside

    if args.no_labels:
        return None
    if args.in_place:
        return Path(args.input[0])
    if args.labels is None:
        return labels_beside(table, several=count > 1)
    path = output_path(args.labels)
    is_file = path.name.casefold().endswith((".tif", ".tiff"))
    if is_file != (count == 1):
        how = "one image: its labels are an .ome.tif" if count == 1 else f"{count} images: their labels are a folder"
        raise InputError(f"{path}: there {'is' if count == 1 else 'are'} {how} (--labels).")
    return path


def _check_absent(paths: list[Path | None], *, overwrite: bool) -> None:
    """Raise an `InputError` if an output exists and must not be replaced."""
    for path in paths:
        if path is not None and path.exists() and not overwrite and not (path.is_dir() and not any(path.iterdir())):
            raise InputError(f"{path}: it exists already; choose another name, or replace it with --overwrite.")


def _keeper(
    args: argparse.Namespace, sources: list[tuple[EvaluationSource, str]], labels: Path | None, *, several: bool
) -> Callable[[CountField, StackCount], object] | None:
    """Return what writes the labels of a field."""
    from napari_virtual_paint.counting.run import by_kind
    from napari_virtual_paint.writing import write

    if labels is None:
        return None
    if args.in_place:
        from napari_virtual_paint.writing.ome_zarr import add_labels

        folders = _image_folders(sources)

        def keep_in_place(field: CountField, count: StackCount) -> None:
            add_labels(by_kind(count.labels), folders[field.key, field.source], overwrite=args.overwrite)

        return keep_in_place

    def keep(field: CountField, count: StackCount) -> None:
        source = "" if len(sources) < 2 or not field.source else f".{field.source}"
        name = f"{field.key.replace('/', '_')}{source}.ome.tif"
        write(count.labels, labels / name if several else labels, overwrite=True)

    if several:
        from napari_virtual_paint.runtime.atomic_write import make_folder

        make_folder(labels)
    return keep


def _image_folders(sources: list[tuple[EvaluationSource, str]]) -> dict[tuple[str, str], Path]:
    """Return the OME-Zarr of each field, by its key and whether it is painted or real.

    Raises `InputError` if a field has none of its own.
    """
    from napari_virtual_paint.evaluation.inputs.sources import FileImages, PlateSource
    from napari_virtual_paint.plates.layouts.ome_zarr import ZarrFields
    from napari_virtual_paint.reading.ome_zarr import is_zarr

    found: dict[tuple[str, str], Path] = {}
    for source, name in sources:
        images = source.images
        if isinstance(images, PlateSource) and isinstance(images.reader, ZarrFields):
            found |= {(key, name): images.reader.paths(field)[0] for key, field in images.fields.items()}
        elif isinstance(images, FileImages):
            paths = {key: Path(path) for key, (path, scene) in images.files.items() if scene is None}
            found |= {(key if len(source.keys) > 1 or not name else "image", name): path for key, path in paths.items()}
    wanted = [(each.key, name) for source, name in sources for each in _fields(source, name)]
    if any(key not in found or not is_zarr(found[key]) for key in wanted):
        raise InputError(f"{sources[0][0].path}: labels are written in place into OME-Zarr images only; leave out --in-place.")
    return found


def _notes(sources: list[tuple[EvaluationSource, str]], counts: FieldCounts) -> list[str]:
    return [*(note for source, _ in sources for note in source.notes), *counts.notes]


def _text(report: dict[str, Any], agreement: Mapping[str, Agreement]) -> str:
    """Return the report in some lines."""
    objects = report["objects"]
    flags = ", ".join(f"{number} {flag}" for flag, number in report["flagged"]["nuclei"].items() if number)
    of = counted(report["images"], "image") + (f", {report['failed']} of which failed" if report["failed"] else "")
    lines = [f"{_nuclei(objects)} in {of}, in {report['table']}."]
    lines += [f"Nuclei by flag: {flags}."] if flags else []
    lines += [f"{each.words(kind)}." for kind, each in agreement.items()]
    return "\n".join([*lines, f"Labels in {report['labels']}."] if report["labels"] else lines)


def _nuclei(objects: Mapping[str, int]) -> str:
    nuclei = objects["nuclei"]
    return f"{nuclei} {'nucleus' if nuclei == 1 else 'nuclei'} and {counted(objects['cells'], 'cell')}"
