"""Count the objects of a job's painted fields: with each field that is painted, or afterwards for those painted before."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_virtual_paint.counting.measurement import FLAGS, Column
from napari_virtual_paint.counting.outputs import joined, write_columns
from napari_virtual_paint.counting.run import by_kind, count_stack
from napari_virtual_paint.counting.settings import KINDS, CountSettings
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.plates.job.job import Kind, PlateJob
from napari_virtual_paint.plates.job.rows import file_stem
from napari_virtual_paint.plates.plate import Field
from napari_virtual_paint.runtime.extras import require
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.stack import Stack

PARTS = "objects"  # folder of a job with a table of objects per field
TABLE = f"{PARTS}.parquet"
LABELS = "labels"  # folder with the labels of a folder of OME-TIFFs


@dataclass(frozen=True, eq=False)
class PlateFieldCount:
    """The objects of one field."""

    columns: Mapping[str, Any]  # of the field's row
    objects: Mapping[str, Column]  # its table of objects
    labels: Stack  # label images of the painted stains


def digest_of(settings: CountSettings) -> str:
    """Return the settings of a count as text, by which a field that was counted otherwise is known."""
    return json.dumps(asdict(settings), sort_keys=True)


def count_field(field: Field, stains: Stack, truth: Stack | None, settings: CountSettings) -> Generator[Progress, None, PlateFieldCount]:
    """Count the painted stains of a field, and the true ones where it has them.

    Raises `InputError` if the stains can't be counted.
    """
    painted = yield from count_stack(stains, settings)
    columns: dict[str, Any] = {"counted": digest_of(settings), **painted.totals}
    columns |= {f"{kind}_{flag}": sum(int(row.get(f"{kind}_{flag}") or 0) for row in painted.summary) for kind in KINDS for flag in FLAGS}
    areas = painted.objects["area_um2"][painted.objects["object"] == "nucleus"]
    columns["nucleus_area_um2"] = float(areas.mean()) if len(areas) and np.isfinite(areas).all() else None
    tables = [_named(painted.objects, field, "painted")]
    if truth is not None:
        try:
            real = yield from count_stack(truth, settings)
        except InputError:  # the true stains of this field show no nuclei, by their names
            real = None
        if real is not None:
            columns |= {f"{kind}_real": count for kind, count in real.totals.items()}
            tables.append(_named(real.objects, field, "real"))
    return PlateFieldCount(columns, joined(tables), painted.labels)


def save_objects(folder: Path, field: Field, objects: Mapping[str, Column]) -> None:
    """Write the table of a field's objects into the folder of its job, atomically."""
    (folder / PARTS).mkdir(exist_ok=True)
    write_columns(folder / PARTS / f"{file_stem(field)}.parquet", objects)


def write_objects(folder: Path, fields: list[Field]) -> Path | None:
    """Join the tables of the fields that were counted to one; return its path, None without any."""
    parquet = require("pyarrow.parquet", extra="plates", purpose="A table of objects")
    tables = []
    for each in fields:
        part = folder / PARTS / f"{file_stem(each)}.parquet"
        if part.is_file():
            table = parquet.read_table(part)
            tables.append({name: np.asarray(table[name]) for name in table.column_names})
    if not tables:
        return None
    write_columns(folder / TABLE, joined(tables))
    return folder / TABLE


def write_labels_of(kind: Kind, output: Path, image: Path, field: Field, labels: Stack) -> None:
    """Write the labels of a field that is painted already: into its OME-Zarr image, or into the folder of labels."""
    if kind == "ome-tiff":
        from napari_virtual_paint.writing import write

        (output / LABELS).mkdir(exist_ok=True)
        write(labels, output / LABELS / f"{file_stem(field)}.ome.tif", overwrite=True)
        return
    from napari_virtual_paint.writing.ome_zarr import add_labels

    add_labels(by_kind(labels), image, overwrite=True)


def count_painted(
    job: PlateJob, folder: Path, output: Path, field: Field, row: Mapping[str, Any], truth: Stack | None, settings: CountSettings
) -> Generator[Progress, None, dict[str, Any]]:
    """Count a field that an earlier run painted, from its image; return its row with the counts.

    Raises
    ------
    ReadError
        If the image can't be read.
    InputError
        If its stains can't be counted.
    """
    from napari_virtual_paint.plates.job.rows import save_row
    from napari_virtual_paint.reading.formats import read_file

    image = output / str(row["image"])
    counted = yield from count_field(field, read_file(image), truth, settings)
    write_labels_of(job.kind, output, image, field, counted.labels)
    save_objects(folder, field, counted.objects)
    new = {**row, **counted.columns}
    save_row(folder, new)
    return new


def _named(objects: Mapping[str, Column], field: Field, source: str) -> dict[str, Column]:
    count = len(objects["label"])
    known = {"well": field.well, "field": field.name, "acquisition": field.acquisition, "source": source}
    return {**{name: np.full(count, value) for name, value in known.items()}, **objects}
