"""Images of the fields of a plate, as taken and as painted, and a cache of pixels."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from napari_virtual_paint.errors import VirtualPaintError
from napari_virtual_paint.plates import wells
from napari_virtual_paint.plates.plate import Field, Plate
from napari_virtual_paint.stack import Stack

Pixels = npt.NDArray[Any]
AGAIN = 1.0  # seconds after which an output is searched again for a field that it did not have: it may be painted meanwhile


class ByteCache:
    """Least-recently-used cache of arrays, safe for several threads.

    Parameters
    ----------
    limit
        Largest number of bytes kept; a larger array is not kept at all.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self._arrays: OrderedDict[Hashable, Pixels] = OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._arrays

    def __len__(self) -> int:
        return len(self._arrays)

    def get(self, key: Hashable) -> Pixels | None:
        """Return an array and mark it as used; None where it is not kept."""
        with self._lock:
            found = self._arrays.get(key)
            if found is not None:
                self._arrays.move_to_end(key)
            return found

    def put(self, key: Hashable, array: Pixels) -> None:
        """Keep an array, and drop the least recently used ones until all fit."""
        with self._lock:
            before = self._arrays.pop(key, None)
            self.size -= 0 if before is None else before.nbytes
            if array.nbytes > self.limit:
                return
            self._arrays[key] = array
            self.size += array.nbytes
            while self.size > self.limit:
                self.size -= self._arrays.popitem(last=False)[1].nbytes

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._arrays.clear()
            self.size = 0


class PlateImages:
    """The images of a plate's fields, as taken and as painted; safe for several threads.

    Parameters
    ----------
    output
        The painted plate: our own output, which may grow meanwhile, or any plate with the same wells and fields; None where there is none.
    model
        Id of the model that paints into the plate itself; empty where none does.
    """

    def __init__(self, plate: Plate, output: str | None = None, model: str = "") -> None:
        self.plate, self.output, self.model = plate, output, model
        self._painted: Plate | None = None
        self._looked = -math.inf
        self._lock = threading.Lock()

    def taken(self, field: Field) -> Stack:
        """Return a field as it was taken, lazily.

        Raises `ReadError` if a file of it is missing or damaged.
        """
        return self.plate.read(field)

    def painted(self, field: Field) -> Stack | None:
        """Return a field's painted stains, lazily; None as long as there are none.

        Raises `ReadError` if they are damaged.
        """
        from napari_virtual_paint.reading.formats import read_file

        own = next((path for path in self._own(field) if path.exists()), None)
        if own is not None:
            return read_file(own)  # also where it is not listed in the plate's metadata yet
        with self._lock:
            place = self._find(field)
            if place is None and self.output is not None and time.monotonic() - self._looked > AGAIN:
                self._look(self.output)
                place = self._find(field)
        return None if place is None else place[0].read(place[1])

    def _own(self, field: Field) -> Iterator[Path]:
        """Yield the places where our own output may have a field."""
        from napari_virtual_paint.plates.job.rows import file_stem
        from napari_virtual_paint.plates.ome_zarr.writer import image_path, painted_path

        if self.output is not None:
            yield Path(self.output, image_path(field))
            yield Path(self.output, f"{file_stem(field)}.ome.tif")
        if self.model and self.plate.layout == "ome-zarr":
            yield Path(self.plate.source, painted_path(image_path(field), self.model))

    def _find(self, field: Field) -> tuple[Plate, Field] | None:
        """Return plate and field of the stains: in the output, else in the plate itself."""
        if self._painted is not None and field.key in self._painted.by_key:
            return self._painted, self._painted.by_key[field.key]
        stains = self.plate.painted.get(field, ())
        return (self.plate, stains[-1]) if stains else None

    def _look(self, output: str) -> None:
        """Open an output that is a plate of another program; one that can't be opened counts as empty."""
        from napari_virtual_paint.plates.opening import open_plate

        self._looked = time.monotonic()
        self._painted = None
        if Path(output).is_dir() and not Path(f"{output}.job").exists():
            with contextlib.suppress(VirtualPaintError):
                self._painted = open_plate(output)


def neighbours(plate: Plate, field: Field) -> tuple[Field, ...]:
    """Return the fields likely to be opened next, likeliest first: the next of the well, then the same field of adjacent wells."""
    own = plate.by_well[field.well]
    index = own.index(field)
    found = [own[place] for place in (index + 1, index - 1) if 0 <= place < len(own)]
    for direction in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        well = next_well(plate, field.well, direction)
        if well != field.well:
            fields = plate.by_well[well]
            found.append(fields[min(index, len(fields) - 1)])
    return tuple(dict.fromkeys(found))


def next_well(plate: Plate, well: str, direction: tuple[int, int]) -> str:
    """Return the next well with an image in a direction; the well itself where there is none.

    Parameters
    ----------
    direction
        Rows and columns of one step.
    """
    row, column = wells.position(well)
    there: Mapping[str, Any] = plate.by_well
    while True:
        row, column = row + direction[0], column + direction[1]
        if not (0 <= row < plate.shape[0] and 0 <= column < plate.shape[1]):
            return well
        name = wells.well_name(row, column)
        if name in there:
            return name
