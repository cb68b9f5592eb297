"""Sources of an evaluation: one field's file, a folder of fields, or a plate; `EvaluationSource` lists the fields and reads them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from napari_virtual_paint.errors import InputError, ReadError
from napari_virtual_paint.evaluation.inputs.folders import Files, fields_in, holds_painted_fields, stem_of
from napari_virtual_paint.plates.layouts import SeveralPlatesError
from napari_virtual_paint.plates.layouts.ome_zarr import ZarrFields
from napari_virtual_paint.plates.opening import is_plate, open_plate
from napari_virtual_paint.plates.plate import Field, FieldReader, Plate
from napari_virtual_paint.plates.plate_map import with_map
from napari_virtual_paint.plates.simulation.design import plate_name
from napari_virtual_paint.reading import can_read, scenes
from napari_virtual_paint.reading.axes import parse_axes
from napari_virtual_paint.reading.ome_zarr import is_zarr
from napari_virtual_paint.stack import Stack

Kind = Literal["file", "folder", "plate"]
TABLES = (".csv", ".tsv", ".parquet", ".pq", ".xml", ".htd", ".mlf", ".mrf", ".xdce", ".jdce")
"""Suffixes of files that list a plate's images."""


class FieldImageReader(Protocol):
    """Read fields by their keys. Sent to other processes, so it holds names and no open file."""

    def read(self, key: str) -> Stack:
        """Return a field's image, pixels unread."""

    def stamp(self, key: str) -> str:
        """Return a text that changes with the field's image; empty where that can't be determined."""


@dataclass(frozen=True)
class PlateSource:
    """Fields of a plate."""

    reader: FieldReader
    fields: Mapping[str, Field]

    def read(self, key: str) -> Stack:
        """Return a field's image."""
        return self.reader.read(self.fields[key])

    def stamp(self, key: str) -> str:
        """Return the modification time of an image with a file or an OME-Zarr of its own; empty for planes in many files."""
        if not isinstance(self.reader, ZarrFields | PlaceFiles):
            return ""
        return stamp_of(Path(self.reader.source, self.reader.images[self.fields[key]]))


@dataclass(frozen=True)
class PlaceFiles:
    """Read the fields of a plate with one file each."""

    source: str
    images: Mapping[Field, str]
    axes: str | None = None

    def read(self, field: Field) -> Stack:
        """Return a field's image."""
        from napari_virtual_paint.reading import read

        return read(self.images[field], axes=self.axes)


@dataclass(frozen=True)
class FileImages:
    """Fields in separate files."""

    files: Files
    axes: str | None = None

    def read(self, key: str) -> Stack:
        """Return a field's image."""
        from napari_virtual_paint.reading import read

        path, scene = self.files[key]
        return read(path, scene=scene, axes=self.axes)

    def stamp(self, key: str) -> str:
        """Return size and modification time of the file."""
        return stamp_of(Path(self.files[key][0]))


@dataclass(frozen=True, eq=False)
class EvaluationSource:
    """The truth, or a prediction."""

    path: str  # absolute
    kind: Kind
    name: str
    wells: Mapping[str, str]  # key of a field -> its well; empty where there are none. In the order of the fields.
    images: FieldImageReader  # reader of the fields
    metadata: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # well -> its metadata
    by_field: bool = False  # whether `metadata` describes the fields themselves: each is its own well
    notes: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """The fields, in order."""
        return tuple(self.wells)


def open_source(path: str | os.PathLike[str], plate: str | None = None, axes: str | None = None) -> EvaluationSource:
    """Open a path as a source; no pixel is read.

    Parameters
    ----------
    plate
        Which plate, where the path holds several.
    axes
        What the user says the axes of its images' arrays are.

    Raises
    ------
    ReadError
        If there is nothing readable.
    InputError
        If the axes are no axes.
    """
    axes = None if axes is None else parse_axes(axes)
    place = Path(path).expanduser().absolute()
    if not place.exists() and not any(letter in place.name for letter in "*?["):
        raise ReadError(place, "there is no such file or folder; check the path")
    if place.is_dir() and not is_zarr(place) and holds_painted_fields(place):
        return _of_folder(place, axes)
    if is_plate(place) or (place.is_file() and place.suffix.lower() in TABLES) or not place.exists():
        return of_plate(_with_map_beside(_open_one(place, plate, axes)))
    if place.is_dir() and not is_zarr(place):
        return _of_folder(place, axes)
    return _of_file(place, axes)


def _open_one(place: Path, plate: str | None, axes: str | None) -> Plate:
    """Return the plate at a path; the one of a name, where there are several."""
    try:
        return open_plate(place, axes=axes)
    except SeveralPlatesError:
        if plate is None:
            raise
        return open_plate(place, plate=plate, axes=axes)


def open_predictions(
    path: str | os.PathLike[str], name: str, truth: str | os.PathLike[str], plate: str | None = None, axes: str | None = None
) -> dict[str, EvaluationSource]:
    """Open a prediction: one, or one per model that painted the truth's plate in place (``plate predict --in-place``).

    Parameters
    ----------
    path
        Path of the prediction.
    name
        Name; empty for that of its file, or of its model where it was painted into the plate.
    truth
        Path of the truth: only a plate that is both is searched for painted images.
    plate
        Which plate, where the path holds several.
    axes
        As for `open_source`.
    """
    place = Path(path).expanduser().absolute()
    if place == Path(truth).expanduser().absolute() and place.is_dir() and is_plate(place):
        opened = _open_one(place, plate, axes)
        if opened.painted:
            found = _painted(opened)
            return {name: next(iter(found.values()))} if name and len(found) == 1 else found
    source = open_source(place, plate, axes)
    return {name or source.name: source}


def of_plate(plate: Plate) -> EvaluationSource:
    """Return a plate as a source."""
    fields = {each.key: each for each in plate.fields}
    return EvaluationSource(
        path=plate.source,
        kind="plate",
        name=plate_name(Path(plate.source)),
        wells={key: each.well for key, each in fields.items()},
        images=PlateSource(plate.reader, fields),
        metadata=plate.metadata,
        notes=plate.notes,
    )


def select(source: EvaluationSource, wells: str | None, names: tuple[str, ...] | None) -> EvaluationSource:
    """Return a source restricted to some of its fields.

    Parameters
    ----------
    wells
        Such as ``A1:B12,C3``; None takes all.
    names
        Sites in the wells (names or numbers), or fields in a folder; None takes all.

    Raises
    ------
    InputError
        If nothing is left, or wells are requested where there are none.
    """
    if wells is None and names is None:
        return source
    if isinstance(source.images, PlateSource):
        plate = Plate("", source.path, "", tuple(source.images.fields.values()), source.images.reader).select(wells, names)
        selected = {each.key for each in plate.fields}
    elif wells is not None:
        raise InputError(f"{source.path}: it has no wells to choose from; choose its fields by their names (--fields).")
    else:
        selected = {key for number, key in enumerate(source.keys) if key in (names or ()) or str(number) in (names or ())}
    if not selected:
        raise InputError(f"{source.path}: it has no field {', '.join(names or ())}; there are {', '.join(source.keys[:12])}.")
    return replace(source, wells={key: well for key, well in source.wells.items() if key in selected})


def stamp_of(path: Path) -> str:
    """Return size and modification time of a file; of an OME-Zarr those of its metadata, which is written with the pixels."""
    found = []
    for each in (path, *(path / name for name in ("zarr.json", ".zattrs", ".zgroup"))):
        try:
            status = each.stat()
        except OSError:
            continue
        found.append(f"{status.st_size if each.is_file() else 0}:{status.st_mtime_ns}")
    return " ".join(found)


def _with_map_beside(plate: Plate) -> Plate:
    """Return a plate with the plate map of its name beside it, where it has no metadata of its own."""
    map_file = Path(plate.source).with_name(f"{plate_name(Path(plate.source))}.csv")
    if plate.metadata or not map_file.is_file():
        return plate
    try:
        mapped = with_map(plate, map_file)
    except ReadError:
        return plate
    return replace(mapped, notes=(*mapped.notes, f"What is in the wells is taken from {map_file.name}, which lies beside the plate."))


def _painted(plate: Plate) -> dict[str, EvaluationSource]:
    """Return model -> the images that it painted into a plate, by the keys of the source fields."""
    several: dict[str, dict[str, Field]] = {}
    models: dict[str, str] = {}
    for of, stains in plate.painted.items():
        for each in stains:
            kind = each.acquisition or each.name.removeprefix(of.name)
            if kind not in models:
                models[kind] = str((plate.read(each).provenance or {}).get("model") or f"painted {len(models) + 1}")
            several.setdefault(kind, {})[of.key] = each
    opened = of_plate(plate)
    return {
        models[kind]: replace(
            opened, name=models[kind], wells={key: each.well for key, each in fields.items()}, images=PlateSource(plate.reader, fields)
        )
        for kind, fields in several.items()
    }


def _of_file(path: Path, axes: str | None) -> EvaluationSource:
    """Return one image; in a file with several, each is a field."""
    if not can_read(path):
        raise ReadError(path, "it is neither an image nor a plate; give a field's file, a folder of fields or a plate")
    names = scenes(path)
    stem = stem_of(path)
    files: Files = {stem: (str(path), None)} if len(names) < 2 else {name: (str(path), name) for name in names}
    return EvaluationSource(str(path), "file", stem, dict.fromkeys(files, ""), FileImages(files, axes))


def _of_folder(path: Path, axes: str | None) -> EvaluationSource:
    """Return a folder of fields, or of files that form one field."""
    found = fields_in(path)
    if found.by_names:
        return of_plate(_with_map_beside(open_plate(path, layout="pattern", axes=axes)))
    if found.places:
        plate = Plate(path.name, str(path), "files", tuple(found.places), PlaceFiles(str(path), found.places, axes))
        return of_plate(_with_map_beside(plate))
    by_field = bool(found.metadata)
    wells = {key: key if by_field else "" for key in found.files}
    return EvaluationSource(str(path), "folder", path.name, wells, FileImages(found.files, axes), found.metadata, by_field, found.notes)
