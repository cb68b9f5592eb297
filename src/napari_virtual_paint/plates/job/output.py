"""Outputs of a job: an OME-Zarr plate, the plate itself, or a folder of OME-TIFFs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from napari_virtual_paint.errors import WriteError
from napari_virtual_paint.plates.job.job import Kind
from napari_virtual_paint.plates.job.rows import file_stem
from napari_virtual_paint.plates.plate import Field, Plate
from napari_virtual_paint.stack import Stack


class Output:
    """Output of a job; this class is a folder with one OME-TIFF per field, others extend it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def is_foreign(self) -> bool:
        """Return whether something is there; without a job, it is not ours."""
        return self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir()))

    def prepare(self) -> None:
        """Create the plate or folder that fields are written into, unless it exists."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WriteError(self.path, f"this folder can't be created ({error.strerror or error}); choose another output") from error

    def list_fields(self, fields: Iterable[Field]) -> None:
        """Update the metadata, of which a folder has none: exactly these fields are complete."""

    def list_more(self, fields: Iterable[Field]) -> None:
        """List some more complete fields, of which a folder needs no list."""


class OmeZarrOutput(Output):
    """An OME-Zarr plate of stains, with the shape, names and metadata of the plate that is painted."""

    def __init__(self, path: Path, plate: Plate, model: str) -> None:
        super().__init__(path)
        self.plate, self.model = plate, model

    def prepare(self) -> None:
        """Create the plate, unless it exists."""
        from napari_virtual_paint.plates.ome_zarr import writer

        plate = self.plate
        if not self.path.exists():
            name = f"{plate.name} painted by {self.model}"
            writer.create(self.path, name, plate.shape, plate.fields, plate.acquisitions, metadata=plate.metadata)

    def list_fields(self, fields: Iterable[Field]) -> None:
        """List the complete images in the metadata of the plate and its wells."""
        from napari_virtual_paint.plates.ome_zarr import writer

        writer.list_fields(self.path, tuple(fields))

    def list_more(self, fields: Iterable[Field]) -> None:
        """List some more complete images."""
        from napari_virtual_paint.plates.ome_zarr import writer

        writer.list_more(self.path, tuple(fields))


class InPlace(OmeZarrOutput):
    """The plate itself: the stains are a second image of each field."""

    def is_foreign(self) -> bool:
        """Return False: the user asked to change this plate."""
        return False

    def prepare(self) -> None:
        """Do nothing: the plate exists."""

    def list_fields(self, fields: Iterable[Field]) -> None:
        """List the painted images in addition to those of the plate."""
        from napari_virtual_paint.plates.ome_zarr import writer

        writer.list_painted(self.path, tuple(fields), self.model)

    def list_more(self, fields: Iterable[Field]) -> None:
        """List some more painted images."""
        from napari_virtual_paint.plates.ome_zarr import writer

        writer.list_painted(self.path, tuple(fields), self.model, every_well=False)


def output_of(kind: Kind, path: Path, plate: Plate, model: str) -> Output:
    """Return the output of a kind."""
    if kind == "ome-tiff":
        return Output(path)
    return (InPlace if kind == "in-place" else OmeZarrOutput)(path, plate, model)


def write_stains(kind: Kind, output: Path, field: Field, stack: Stack, model: str, labels: Stack | None = None) -> Path:
    """Write a field's stains atomically, with label images if there are any, and return their path."""
    if kind == "ome-tiff":
        from napari_virtual_paint.writing import write

        image = write(stack, output / f"{file_stem(field)}.ome.tif", overwrite=True)
        if labels is not None:
            from napari_virtual_paint.plates.job.counts import write_labels_of

            write_labels_of(kind, output, image, field, labels)
        return image
    from napari_virtual_paint.plates.ome_zarr import writer

    found = {}
    if labels is not None:
        from napari_virtual_paint.counting.run import by_kind

        found = by_kind(labels)
    if kind == "in-place":
        return writer.add_painted(output, field, stack, model, labels=found)
    return writer.write_field(output, field, stack, labels=found)
