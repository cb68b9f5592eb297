"""Cut the crops of a CellProfiler run: a table whose images have one file for each channel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.cells.measurement.crops import crop
from napari_virtual_paint.cells.measurement.placement import AGREEING, CORRELATED, CropPlacement, Spots, agreement, place
from napari_virtual_paint.cells.measurement.seeded import segment_at
from napari_virtual_paint.cells.tables.canonical_names import CanonicalNames, canonical_compartments, gray_levels
from napari_virtual_paint.cells.tables.channel_files import ChannelFiles, FileIndex, ImageSet, NamedFile
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.reading import read
from napari_virtual_paint.runtime.progress import Progress

if TYPE_CHECKING:
    from napari_virtual_paint.cells.tables.table import CellTable

Plane = npt.NDArray[Any]
Masks: TypeAlias = tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]
"""Pixels of nucleus and cell, (n, d, d) each."""
COLOURS = ("red", "green", "blue")
_TRIED = 3  # images by which the measured images are found
_SCALES = {"u1": 255.0, "u2": 65535.0}


@dataclass(frozen=True, eq=False)
class RunCrops:
    """Cells of a run with their crops."""

    rows: npt.NDArray[np.int64]  # row numbers in the table, ascending
    crops: npt.NDArray[np.float32]  # (n, C, d, d), in the pictures' gray levels
    files: npt.NDArray[np.object_]  # name of each cell's image
    scale: tuple[float, ...]  # gray level of each channel that is 1 in the table
    names: CanonicalNames
    masks: Masks | None  # the cell's own pixels; None where the nuclear channel is not known
    notes: tuple[str, ...] = ()


def names_channel_files(table: CellTable, channels: Sequence[str]) -> bool:
    """Return whether a table is that of a run: not of `measure_files`, and with a file for each channel."""
    if "Metadata_FileName" in table.metadata:
        return False
    named = ChannelFiles(table).channels
    # One file for a channel of several may be an image that holds them all.
    return len(named) > 1 or (len(named) == 1 and set(channels) <= {*named, *table.channels})


@dataclass
class _Run:
    """What is known of a run while its images are read."""

    table: CellTable
    files: ChannelFiles
    pictures: FileIndex
    channels: tuple[str, ...]
    compartments: Mapping[str, str]
    axes: str | None
    sources: dict[str, str] = field(default_factory=dict)  # wanted channel -> picture, ``OrigBlue`` or ``OrigColor.blue``
    placements: dict[str, CropPlacement] = field(default_factory=dict)  # measured image -> where it lies
    notes: Counter[str] = field(default_factory=Counter)
    absent: dict[str, None] = field(default_factory=dict)

    def path(self, file: NamedFile) -> Path | None:
        """Return where a file lies here."""
        found = self.pictures.find(file)
        if found is None:
            self.absent[f"{file}{' (an address in a network, which is never fetched)' if file.remote else ''}"] = None
        return found

    def planes(self, image: ImageSet, channels: Sequence[str]) -> dict[str, Plane] | None:
        """Read the pictures of an image by name, a colour picture as its mean and its colours; None where a file is not there."""
        paths = {name: self.path(image.files[name]) if name in image.files else None for name in channels}
        if None in paths.values():
            return None
        found: dict[str, Plane] = {}
        for name, path in paths.items():
            assert path is not None
            found |= self._read(name, path, image.files[name])
        shapes = {name: plane.shape for name, plane in found.items()}
        if len(set(shapes.values())) > 1:
            (one, a), (other, b) = next((x, y) for x in shapes.items() for y in shapes.items() if x[1] != y[1])
            raise InputError(
                f"{paths[one.split('.')[0]]}: it has {a[0]} x {a[1]} px, and {paths[other.split('.')[0]]} {b[0]} x {b[1]}; the channels of "
                "one image must have the same size."
            )
        return found

    def _read(self, channel: str, path: Path, file: NamedFile) -> dict[str, Plane]:
        """Return the planes of one file."""
        stack = read(path, scene=file.series or None, axes=self.axes).compute()
        self.notes.update(f"{path.name}: {note}" for note in stack.notes)
        data = np.asarray(stack.data)
        if stack.rgb or (data.shape[0] == data.shape[2] == 1 and tuple(name.casefold() for name in (stack.channels or ())[:3]) == COLOURS):
            colours = data[0, :3, 0]
            if all(np.array_equal(colours[0], other) for other in colours[1:]):
                return {channel: colours[0]}
            self.notes[
                f"{channel} names color pictures: {channel} is the mean of red, green and blue, and a channel that the pipeline split off "
                "is taken from their colors."
            ] += 1
            return {channel: colours.mean(axis=0, dtype=np.float32), **{f"{channel}.{c}": p for c, p in zip(COLOURS, colours, strict=True)}}
        flat = data.reshape(-1, *data.shape[-2:])
        if file.frame >= len(flat):
            raise InputError(f"{path}: the table names its plane {file.frame}, and it has {len(flat)} (counted from 0).")
        if len(flat) > 1 and not file.frame:
            self.notes[f"{channel}: the files hold {len(flat)} planes, and the table names none, so the first is taken."] += 1
        return {channel: flat[file.frame]}

    def spots(self, image: str, rows: npt.NDArray[np.int64]) -> Spots:
        """Return what the table states of the objects of one image in one measured image."""
        known = {*self.table.features, *self.table.metadata}
        nuclei = self.compartment("Nuclei")
        owners = dict.fromkeys([nuclei, *self.table.compartments])
        owner = next(
            (name for name in owners if {f"{name}_Location_MaxIntensity_Y_{image}", f"{name}_Intensity_MaxIntensity_{image}"} <= known),
            nuclei,
        )
        centre = place_columns(self.table, nuclei)
        wanted = {
            "y": f"{owner}_Location_MaxIntensity_Y_{image}",
            "x": f"{owner}_Location_MaxIntensity_X_{image}",
            "brightest": f"{owner}_Intensity_MaxIntensity_{image}",
            "mean": f"{nuclei}_Intensity_MeanIntensity_{image}",
            "area": f"{nuclei}_AreaShape_Area",
        }
        frame = self.table.frame([name for name in wanted.values() if name in known], rows)
        values = {key: frame[name].to_numpy(np.float64) if name in frame else np.full(len(rows), np.nan) for key, name in wanted.items()}
        area = values.pop("area")
        radius = float(np.sqrt(np.nanmedian(area) / np.pi)) if np.isfinite(area).any() else float("nan")
        y, x = centres(self.table, centre, rows).T
        return Spots(values["y"], values["x"], values["brightest"], y, x, values["mean"], radius)

    def compartment(self, usual: str) -> str:
        """Return what the table calls the nuclei, cells or cytoplasm."""
        return next((name for name, other in self.compartments.items() if other == usual), usual)

    @property
    def nuclei(self) -> str:
        """What the table calls the objects whose places are the crops' centers: the nuclei, or what it has instead."""
        wanted = self.compartment("Nuclei")
        return wanted if wanted in self.table.compartments or not self.table.compartments else self.table.compartments[0]

    @property
    def measured(self) -> tuple[str, ...]:
        """The images that features were measured in."""
        return self.table.channels


PLACES = ("Location_Center_{}", "AreaShape_Center_{}")


def place_columns(table: CellTable, compartment: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the columns whose means are the y and the x of an object: its center, else its bounding box, else its center of mass.

    Raises `InputError` if the table has none.
    """
    known = {*table.features, *table.metadata}
    before = f"{compartment}_" if compartment else ""
    for form in PLACES:
        names = tuple(before + form.format(axis) for axis in "YX")
        if set(names) <= known:
            return (names[0],), (names[1],)
    boxes = tuple(tuple(f"{before}AreaShape_BoundingBox{end}_{axis}" for end in ("Minimum", "Maximum")) for axis in "YX")
    if set(boxes[0]) | set(boxes[1]) <= known:
        return boxes[0], boxes[1]
    for image in table.channels:
        names = tuple(f"{before}Location_CenterMassIntensity_{axis}_{image}" for axis in "YX")
        if set(names) <= known:
            return (names[0],), (names[1],)
    raise InputError(f"{table.name}: no column gives a cell's position; export {before}Location_Center_Y and {before}Location_Center_X.")


def centres(
    table: CellTable, columns: tuple[tuple[str, ...], tuple[str, ...]], rows: npt.NDArray[np.int64] | None = None
) -> npt.NDArray[np.float64]:
    """Return the places (n, 2) yx of objects."""
    frame = table.frame([*columns[0], *columns[1]], rows)
    # The maximum of a bounding box is the first pixel beyond it.
    whole = [0.5 * (len(names) - 1) for names in columns]
    return np.stack(
        [frame[list(names)].to_numpy(np.float64).mean(axis=1) - shift for names, shift in zip(columns, whole, strict=True)], axis=1
    )


def cut_run(
    table: CellTable,
    images: Sequence[str | Path],
    channels: Sequence[str],
    size: int,
    most: int | None = None,
    seed: int = 0,
    *,
    nuclei: str | None = None,
    axes: str | None = None,
) -> Iterator[Progress | RunCrops]:
    """Cut the crops of a run's cells; parameters and errors as those of `pairs.cut_crops`.

    Yields `Progress` after each image, and last `RunCrops`.
    """
    files = ChannelFiles(table)
    compartments = canonical_compartments(table.features, table.metadata)
    run = _Run(table, files, FileIndex(images), tuple(channels), compartments, axes)
    if nuclei is not None and nuclei not in channels:
        raise InputError(f"There is no channel {nuclei!r} for the nuclei; there are {', '.join(channels)}.")
    columns = place_columns(table, run.nuclei)
    where = centres(table, columns)
    placed: npt.NDArray[np.bool_] = np.asarray(np.isfinite(where).all(axis=1))
    if not placed.all():
        run.notes[f"{int((~placed).sum())} cells have no position and are left out."] += 1
    sets = [(image, image.rows[placed[image.rows]]) for image in files.image_sets]
    sets = [(image, rows) for image, rows in sets if len(rows)]
    if not sets:
        raise InputError(f"{table.name}: none of its cells has a position and a file; check the columns FileName_ of the Image table.")
    _find_sources(run, sets)
    chosen = np.concatenate([rows for _, rows in sets])
    if most is not None and len(chosen) > most:
        kept = np.zeros(len(table), bool)
        kept[np.random.default_rng(seed).permutation(np.sort(chosen))[:most]] = True
        sets = [(image, rows[kept[rows]]) for image, rows in sets]
        sets = [(image, rows) for image, rows in sets if len(rows)]
    parts: list[_Part] = []
    scales: dict[str, float] = {}
    needed = tuple(dict.fromkeys(run.sources[name].split(".")[0] for name in run.channels))
    doubtful, left_out = [], 0
    for number, (image, rows) in enumerate(sets, start=1):
        planes = run.planes(image, needed)
        if planes is None:
            left_out += len(rows)
        else:
            shift, agrees = _shift(run, image, planes)
            here = where + np.array(shift)
            doubtful += [] if agrees else [image.name]
            picked = [planes[run.sources[name]] for name in run.channels]
            for name, plane in zip(run.channels, picked, strict=True):
                scales.setdefault(name, _scale(run, name, plane))
            stack = np.stack(picked)
            masks = None
            if nuclei is not None:
                full = [scales[name] for name in run.channels]
                masks = _own_pixels(run, stack, image.rows[placed[image.rows]], rows, here, size, nuclei, full)
            parts.append(_Part(rows, crop(stack, here[rows], size), _label(image, run.sources), masks))
        yield Progress(number, len(sets))
    if not parts:
        raise InputError(_nothing_there(run))
    if left_out:
        shown = ", ".join(list(run.absent)[:3])
        run.notes[
            f"{left_out} cells are left out, since {len(run.absent)} of their files are not below the folder of the images ({shown})."
        ] += 1
    if doubtful:
        run.notes[
            f"In {len(doubtful)} of {len(sets)} images the positions and intensities of the table do not agree with the pictures "
            f"({', '.join(doubtful[:3])}); check that they are those that were measured."
        ] += 1
    rows = np.concatenate([part.rows for part in parts])
    order = np.argsort(rows, kind="stable")
    names = np.concatenate([np.full(len(part.rows), part.label, object) for part in parts])
    masked = [part.masks for part in parts if part.masks is not None]
    yield RunCrops(
        rows[order],
        np.concatenate([part.crops for part in parts])[order],
        names[order],
        tuple(scales[name] for name in run.channels),
        CanonicalNames(compartments, _aliases(run), gray_levels(table.features)),
        (np.concatenate([pair[0] for pair in masked])[order], np.concatenate([pair[1] for pair in masked])[order]) if masked else None,
        (*_said(run), *run.notes),
    )


@dataclass(frozen=True, eq=False)
class _Part:
    """The cells of one image; fields as those of `RunCrops`."""

    rows: npt.NDArray[np.int64]
    crops: npt.NDArray[np.float32]
    label: str
    masks: Masks | None


def _own_pixels(
    run: _Run,
    planes: Plane,
    every: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    where: npt.NDArray[np.float64],
    size: int,
    nuclei: str,
    scale: Sequence[float],
) -> Masks:
    """Return which pixels of each crop are its nucleus and its cell, segmented on the image from the places of all its cells (`every`)."""
    # Cells fill a part of the picture where the pipeline cropped it.
    first = np.maximum(np.floor(where[every].min(axis=0)).astype(int) - size, 0)
    last = np.ceil(where[every].max(axis=0)).astype(int) + size
    part = planes[:, first[0] : last[0], first[1] : last[1]]
    owners = [f"{run.compartment(name)}_AreaShape_Area" for name in ("Nuclei", "Cells")]
    known = [name if name in run.table.features else None for name in owners]
    frame = run.table.frame([name for name in known if name is not None], every)
    areas = [np.full(len(every), np.nan) if name is None else frame[name].to_numpy(np.float64) for name in known]
    labels = segment_at(part, run.channels, where[every] - first, areas[0], areas[1], nuclei, scale=scale)
    numbers = np.searchsorted(every, rows) + 1
    around = np.rint(crop(np.stack([labels.nuclei, labels.cells]), where[rows] - first, size))
    own = around == numbers[:, None, None, None]
    return own[:, 0], own[:, 1]


def _label(image: ImageSet, sources: Mapping[str, str]) -> str:
    """Return the name of an image: that of the file of its first channel, after its innermost folder."""
    file = image.files[next(iter(sources.values())).split(".")[0]]
    return "/".join((*file.folders[-1:], file.name))


def _nothing_there(run: _Run) -> str:
    places, names = ", ".join(run.pictures.places), list(run.absent)
    return f"{run.table.name}: none of its {len(names)} files is below {places} ({', '.join(names[:3])}); name the folder of the pictures."


def _find_sources(run: _Run, sets: Sequence[tuple[ImageSet, npt.NDArray[np.int64]]]) -> None:
    """Find the picture of each wanted channel, and where the measured images lie in them, by the images with most cells.

    Raises `InputError` if a channel is not there.
    """
    unknown = [name for name in run.channels if name not in run.files.channels]
    derived = [name for name in run.measured if name not in run.files.channels]
    # A channel that is no file's is made from one: a crop, a color, a corrected image.
    if not set(unknown) <= {*derived, *(name for name in unknown if _colour_of(name))}:
        raise InputError(_no_channel(run, next(name for name in unknown if name not in derived and not _colour_of(name))))
    largest = sorted(sets, key=lambda pair: -len(pair[1]))
    known: dict[str, Plane] = {}
    readable = _readable(run, largest, run.channels if not unknown else run.files.channels)
    tried = 0
    for image, rows in largest:
        planes = run.planes(image, readable)
        if planes is None:
            continue
        known = planes
        for name in run.measured:
            if name not in run.placements and (found := _placed(run, name, rows, planes)) is not None:
                run.placements[name] = found
        tried += 1
        if tried == _TRIED or all(name in run.placements for name in run.measured):
            break
    if not tried:
        raise InputError(_nothing_there(run))
    for name in run.channels:
        run.sources[name] = _source(run, name, known)
    run.absent.clear()
    for name in derived:
        if name not in run.placements and (like := _namesake(name, run.channels)) is not None:
            run.placements[name] = CropPlacement(run.sources[like], *_common_shift(run), None, float("nan"))
            run.notes[f"{name} is taken for {like} by its name: no measured intensity shows which picture it was made from."] += 1


def _readable(run: _Run, sets: Sequence[tuple[ImageSet, npt.NDArray[np.int64]]], channels: Sequence[str]) -> list[str]:
    """Return the channels whose files are there, by the first image that has any; wanted ones must be."""
    for image, _ in sets:
        there = [name for name in channels if name in image.files and run.path(image.files[name]) is not None]
        if there and set(there) >= {name for name in run.channels if name in run.files.channels}:
            return there
    raise InputError(_nothing_there(run))


def _placed(run: _Run, name: str, rows: npt.NDArray[np.int64], planes: Mapping[str, Plane]) -> CropPlacement | None:
    """Return where a measured image lies in the pictures of one image."""
    shifts = [(0, 0), *((found.y, found.x) for found in run.placements.values())]
    own = {name: planes[name]} if name in planes else None
    if name in run.files.channels and own is None:
        return None
    return place(run.spots(name, rows), own or dict(planes), dict.fromkeys(shifts))


def _source(run: _Run, name: str, planes: Mapping[str, Plane]) -> str:
    """Return the picture of a wanted channel."""
    if name in run.files.channels:
        return name
    if name in run.placements:
        return run.placements[name].source
    colour = _colour_of(name)
    fitting = [key for key in planes if colour and key.endswith(f".{colour}")]
    if len(fitting) == 1:
        return fitting[0]
    raise InputError(_no_channel(run, name))


def _no_channel(run: _Run, name: str) -> str:
    there = ", ".join(run.files.channels)
    made = [each for each in run.measured if each not in run.files.channels]
    more = f", and it has measurements in {', '.join(made)}" if made else ""
    return f"{run.table.name}: no file is named for the channel {name!r}; the Image table names files for {there}{more}."


def _colour_of(name: str) -> str | None:
    """Return the color in a channel's name."""
    return next((colour for colour in COLOURS if colour in name.casefold()), None)


def _namesake(name: str, channels: Sequence[str]) -> str | None:
    """Return the one channel that ends as a name does: ``CorrDNA`` and ``OrigDNA``."""

    def shared(other: str) -> int:
        count = 0
        for a, b in zip(reversed(name.casefold()), reversed(other.casefold()), strict=False):
            if a != b:
                break
            count += 1
        return count

    scores = {other: shared(other) for other in channels}
    best = max(scores.values(), default=0)
    fitting = [other for other, score in scores.items() if score == best]
    return fitting[0] if best >= 3 and len(fitting) == 1 else None


def _common_shift(run: _Run) -> tuple[int, int]:
    """Return the shift of the objects' positions: that of most measured images."""
    shifts = Counter((found.y, found.x) for found in run.placements.values() if np.isfinite(found.agreement))
    return shifts.most_common(1)[0][0] if shifts else (0, 0)


def _shift(run: _Run, image: ImageSet, planes: Mapping[str, Plane]) -> tuple[tuple[int, int], bool]:
    """Return the shift of one image's positions, and whether its intensities agree with it as far as they can tell."""
    common = _common_shift(run)
    for name, found in run.placements.items():
        if found.source not in planes or not np.isfinite(found.agreement):
            continue
        spots = run.spots(name, image.rows)
        share = agreement(spots, planes[found.source], found)
        if not np.isfinite(share):
            continue
        if share >= (AGREEING if found.scale is not None else 0.5 * CORRELATED):
            return (found.y, found.x), True
        other = place(spots, {found.source: planes[found.source]}, ())
        if other is not None and other.scale is not None:
            run.notes["The pipeline cropped each image at another place, which was found by the brightest pixels of the objects."] += 1
            return (other.y, other.x), True
        return common, False
    return common, True


def _scale(run: _Run, channel: str, plane: Plane) -> float:
    """Return the gray level of a channel that is 1 in the table: as its intensities show, else that of its pixels."""
    source = run.sources[channel]
    shown = [found.scale for found in run.placements.values() if found.scale is not None and found.source == source]
    if shown:
        return float(shown[0])
    return _SCALES.get(plane.dtype.str[1:], 1.0)


def _aliases(run: _Run) -> dict[str, str]:
    """Return measured image -> wanted channel, where it has another name; a channel that was measured itself stands for itself."""
    of = {source: name for name, source in run.sources.items()}
    found: dict[str, str] = {}
    for name, placement in run.placements.items():
        channel = of.get(placement.source)
        if channel is not None and channel != name and channel not in run.measured and channel not in found.values():
            found[name] = channel
    return found


def _said(run: _Run) -> list[str]:
    """Return sentences on how the measured images relate to the files."""
    notes = []
    for name, channel in _aliases(run).items():
        found = run.placements[name]
        notes.append(f"{name} is measured as {channel}, the channel whose file it was made from{_how(found)}.")
    shift = _common_shift(run)
    if shift != (0, 0):
        exact = any(found.scale is not None for found in run.placements.values())
        by = "brightest pixels" if exact else "mean intensities, so to some pixels"
        notes.append(
            f"The table's positions refer to a crop of the pictures, whose first pixel is row {shift[0]}, column {shift[1]} (found by the "
            f"objects' {by})."
        )
    if not any(np.isfinite(found.agreement) for found in run.placements.values()):
        notes.append("No intensity of the table shows whether its positions refer to whole pictures or to a crop; the former is assumed.")
    if run.compartments:
        notes.append(f"Read as {', '.join(f'{usual}: {name}' for name, usual in run.compartments.items())}.")
    return notes


def _how(found: CropPlacement) -> str:
    if not np.isfinite(found.agreement):
        return ""
    if found.scale is None:
        return f" (the mean intensities correlate at {found.agreement:.2f})"
    return f" ({found.agreement:.0%} of the objects have the same brightest pixel)"
