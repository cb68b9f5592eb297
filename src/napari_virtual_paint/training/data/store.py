"""Store of scaled pairs: in memory or, beyond a limit, as memory-mapped files in the run folder."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import psutil

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.atomic_write import remove_leftovers, updating
from napari_virtual_paint.runtime.text import byte_size
from napari_virtual_paint.stack import PixelSize
from napari_virtual_paint.training.config.run import TrainConfig
from napari_virtual_paint.training.data.channel_order import ChannelOrder
from napari_virtual_paint.training.data.source import PairSource

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
FOLDER = "pairs"
INDEX = "index.json"
SHARE_OF_MEMORY = 0.4  # default share of the free memory for pairs; the network and the system need the rest
FORM = 2  # version of the stored format; files of another version are written again


@dataclass(frozen=True)
class Mapped:
    """Pixels in a file; indexing reads a part.

    The file is opened for each read: thousands of open maps would exceed the limit of a process.
    """

    path: Path
    shape: tuple[int, ...]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __getitem__(self, at: Any) -> Floats:
        """Return a part in memory."""
        return np.array(np.load(self.path, mmap_mode="r", allow_pickle=False)[at])

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Return the whole array in memory."""
        return self[...] if dtype is None else self[...].astype(dtype, copy=False)


Pixels: TypeAlias = Floats | Mapped


@dataclass(frozen=True, eq=False)
class Scaled:
    """One field of a source, ready for the network."""

    suffix: str  # suffix of the source's name: time point and plane, where there are several
    x: Pixels
    y: Pixels  # `x` and `y`: input and target (C, [Z,] Y, X), float32
    usable: Mask  # pixels (Y, X) that hold data


@dataclass(frozen=True, eq=False)
class TrainingData:
    """All fields of a source, with the names and pixel size that a package states."""

    channels: tuple[str, ...]
    stains: tuple[str, ...]
    pixel_size: PixelSize
    fields: tuple[Scaled, ...]
    order: ChannelOrder  # the channels of the files, in the order of `fields`
    notes: tuple[str, ...] = ()  # what the user should know of the source, one sentence each
    file_notes: tuple[tuple[str, str], ...] = ()  # files of the source, and what their readers want the user to know


class PairStore:
    """Store the fields of sources: in memory up to a limit, beyond it on disk.

    File names are digests of source and settings, so that a resumed run finds its own files and no others.

    Parameters
    ----------
    config
        Its run folder holds the files; without one everything stays in memory.
    count
        Number of sources in the run.
    """

    def __init__(self, config: TrainConfig, count: int) -> None:
        self.config, self.count = config, count
        limit = config.data.memory
        self.limit = int(limit * 2**30) if limit is not None else int(psutil.virtual_memory().available * SHARE_OF_MEMORY)
        self.held = 0
        self.on_disk = False
        # These settings leave the scaled pixels as they are, so changing them must not invalidate stored files.
        no_pixel = ("balance", "checks", "simulate", "input", "target", "image", "plate")
        data = {name: value for name, value in config.data.weighing().items() if name not in no_pixel}
        if config.run is not None:
            remove_leftovers(config.run / FOLDER)
        self._settings = json.dumps([FORM, data, config.normalize.model_dump(mode="json"), config.network.dims], sort_keys=True)

    def digest(self, item: PairSource) -> str:
        """Return a digest of a source and these settings; files count by path, size and modification time."""
        if item.settings is not None:
            identity: list[Any] = [asdict(item.settings)]
        elif item.place is not None:
            identity = [item.input]
        else:
            stats = [(Path(path).resolve(), Path(path).stat()) for path in (item.input, item.target)]
            identity = [(str(path), status.st_size, status.st_mtime_ns) for path, status in stats]
        return hashlib.sha256(json.dumps([self._settings, identity], sort_keys=True).encode()).hexdigest()[:24]

    def find(self, item: PairSource) -> TrainingData | None:
        """Return a source's fields from disk; None where there are none."""
        if self.config.run is None:
            return None
        folder = self.config.run / FOLDER / self.digest(item)
        try:
            index = json.loads((folder / INDEX).read_text("utf-8"))
            fields = tuple(_opened(folder, number, *field) for number, field in enumerate(index["fields"]))
            inputs, stains, named = index["order"]
            order = ChannelOrder(tuple(inputs), tuple(stains), (bool(named[0]), bool(named[1])))
            notes = tuple(str(note) for note in index["notes"])
            file_notes = tuple((str(file), str(note)) for file, note in index.get("file_notes", ()))
            pixel_size = PixelSize(*index["pixel_size"])
            found = TrainingData(tuple(index["channels"]), tuple(index["stains"]), pixel_size, fields, order, notes, file_notes)
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            return None
        self.on_disk = True
        return found

    def add(self, item: PairSource, prepared: TrainingData) -> TrainingData:
        """Store a source's fields and return them, in memory or mapped."""
        size = sum(4 * int(np.prod(pixels.shape)) for field in prepared.fields for pixels in (field.x, field.y))
        # If the first source shows that not all will fit, all go to disk, where a resumed run finds them.
        first = not self.held and not self.on_disk
        self.held += size
        if self.config.run is None or (self.held <= self.limit and not self.on_disk and not (first and size * self.count > self.limit)):
            return prepared
        if not self.on_disk:
            _check_disk_space(self.config.run, size * self.count)
        self.on_disk = True
        folder = self.config.run / FOLDER / self.digest(item)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with updating(folder) as temporary:
            temporary.mkdir()
            _write(temporary, prepared)
        return self.find(item) or prepared


def _check_disk_space(run: Path, size: int) -> None:
    """Raise an `InputError` where the pairs would fill the disk."""
    run.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(run).free
    if size > 0.95 * free:
        raise InputError(
            f"{run}: all pairs take about {byte_size(size)}, more than data.memory allows and than the {byte_size(free)} that"
            " are free on this disk; set another run folder, a coarser data.resample, or fewer images."
        )


def _write(folder: Path, prepared: TrainingData) -> None:
    """Write a source's fields."""
    index = []
    for number, field in enumerate(prepared.fields):
        np.save(folder / f"{number}-x.npy", np.asarray(field.x))
        np.save(folder / f"{number}-y.npy", np.asarray(field.y))
        everything = bool(field.usable.all())
        if not everything:
            np.save(folder / f"{number}-usable.npy", field.usable)
        index.append([field.suffix, list(field.x.shape), list(field.y.shape), everything])
    head: dict[str, Any] = {"channels": prepared.channels, "stains": prepared.stains, "pixel_size": prepared.pixel_size, "fields": index}
    head |= {"order": [prepared.order.inputs, prepared.order.stains, prepared.order.named], "notes": prepared.notes}
    head |= {"file_notes": prepared.file_notes}
    (folder / INDEX).write_text(json.dumps(head), "utf-8")


def _opened(folder: Path, number: int, suffix: str, x: list[int], y: list[int], everything: bool) -> Scaled:
    """Return one stored field; its pixels stay on disk."""
    maps = [Mapped(folder / f"{number}-{kind}.npy", tuple(shape)) for kind, shape in (("x", x), ("y", y))]
    # A file cut off by a full disk would fail only when its missing part is read, in the middle of the training.
    for each in maps:
        if each.path.stat().st_size < 4 * int(np.prod(each.shape)):
            raise ValueError("cut off")
    usable = np.ones(maps[0].shape[-2:], bool) if everything else np.load(folder / f"{number}-usable.npy", allow_pickle=False)
    return Scaled(suffix, maps[0], maps[1], usable)


def forget(config: TrainConfig) -> None:
    """Remove the stored pairs of a run: nothing needs them once the package is written."""
    if config.run is not None:
        shutil.rmtree(config.run / FOLDER, ignore_errors=True)
