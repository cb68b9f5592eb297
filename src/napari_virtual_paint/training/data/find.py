"""Find pairs: in a folder, a table, plates, or the simulator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.plates import wells
from napari_virtual_paint.plates.opening import open_plate
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.runtime.delimited_text import DelimitedRow, read_rows
from napari_virtual_paint.runtime.hidden_files import is_hidden
from napari_virtual_paint.samples import Batch, SimulationSettings
from napari_virtual_paint.training.config.data import STAR, Between, Data, Plates, Simulated
from napari_virtual_paint.training.data.source import SUBSETS, PairSource, Subset


def find(data: Data) -> list[PairSource]:
    """List the pairs of a run, in order of their names.

    Raises `InputError` if there is none, a file is absent, or two pairs share a name.
    """
    sources = _listed(data)
    return sources if data.where is None else _chosen(sources, data.where)


def _listed(data: Data) -> list[PairSource]:
    """List all pairs."""
    if data.simulate is not None:
        return _simulated(data.simulate)
    if data.plate is not None:
        return from_plates(data.plate, data.input_axes)

    sources = from_csv(data.csv) if data.csv is not None else from_folder(data)
    sources = [replace(source, axes=(data.input_axes, data.target_axes)) for source in sources]
    for source in sources:
        for path in (source.input, source.target):
            if not Path(path).exists():
                raise InputError(f"{path}: there is no such file, though pair {source.name!r} needs it.")
    if len({source.name for source in sources}) < len(sources):
        # Files of one name in several folders go by their whole path.
        sources = [replace(source, name=Path(source.input).as_posix()) for source in sources]
        name, count = Counter(source.name for source in sources).most_common(1)[0]
        if count > 1:
            raise InputError(f"{data.csv or data.folder}: {name} is the input of {count} pairs; list it once.")
    return sorted(sources, key=lambda source: source.name)


def _chosen(sources: Sequence[PairSource], where: Mapping[str, tuple[str, ...] | Between]) -> list[PairSource]:
    """Return the pairs whose metadata meet all conditions."""
    for column, condition in where.items():
        key = column.casefold()
        values = {value: _meets(value, condition) for value in dict.fromkeys(source.metadata.get(key, "") for source in sources)}
        if not any(values):
            known = ", ".join(dict.fromkeys(name for source in sources for name in source.metadata)) or "nothing"
            raise InputError(f"data.where: no image has the column {column}; known are {known}.")
        if not any(values.values()):
            shown = ", ".join(value for value in values if value)
            raise InputError(f"data.where: no image has such a {column}; there are {shown}.")
        sources = [source for source in sources if values[source.metadata.get(key, "")]]
    return list(sources)


def _meets(value: str, condition: tuple[str, ...] | Between) -> bool:
    """Return whether a value equals one of several (numbers by value, words ignoring case), or lies in an interval."""
    number = _number(value)
    if isinstance(condition, Between):
        return number is not None and condition.min <= number <= condition.max
    return any(value.casefold() == each.casefold() or (number is not None and number == _number(each)) for each in condition)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _simulated(settings: Simulated) -> list[PairSource]:
    """List simulated fields: treatments in turn, the next dose after each round, every other field with a plate's light and gain."""
    sources = []
    for index in range(settings.fields):
        treatment = settings.treatments[index % len(settings.treatments)]
        dose = settings.doses[index // len(settings.treatments) % len(settings.doses)]
        seed = settings.seed + index
        uneven = settings.batches and index % 2 == 1
        one = SimulationSettings(
            size=settings.size,
            z=settings.z,
            treatment=treatment,
            dose=dose,
            seed=seed,
            batch=Batch.drawn(seed) if uneven else Batch(),
            cell_type=settings.cell_type,
        )
        name = f"field_{index:03d}"
        metadata = {"treatment": treatment, "dose": f"{dose:g}", "batch": "uneven" if uneven else "even", "cell_type": settings.cell_type}
        sources.append(PairSource(name, f"simulated {name}", f"simulated {name}", None, one, metadata=metadata))
    return sources


def from_plates(settings: Plates, axes: str | None = None) -> list[PairSource]:
    """List the fields of plates, plate by plate, by row and column; no pixel is read.

    Parameters
    ----------
    axes
        What the axes of the images' arrays are, where their files state none.

    Raises
    ------
    ReadError
        If a plate or its map is missing or damaged.
    InputError
        If a setting does not fit a plate.
    """
    plates = [_opened(settings, axes, *place) for place in settings.places()]
    counts = Counter(plate.name for plate in plates)
    (source, part), times = Counter((plate.source, plate.part) for plate in plates).most_common(1)[0]
    if times > 1:
        raise InputError(f"{source}: data.plate lists {f'the plate {part}' if part else 'this plate'} twice.")
    sources = []
    for plate in plates:
        name = plate.name if counts[plate.name] == 1 else f"{plate.source}/{plate.part}".rstrip("/")
        prefix = f"{name}/" if len(plates) > 1 else ""
        for field in plate.fields:
            known = {
                column.casefold(): str(value) for column, value in plate.metadata.get(field.well, {}).items() if value not in (None, "")
            }
            metadata = {**known, "plate": name, "well": field.well}
            label = f"{plate.source}: field {field.key}{f' of {plate.part}' if plate.part else ''}"
            sources.append(PairSource(prefix + field.key, label, label, place=(plate.reader, field), metadata=metadata))
    return sources


def _opened(settings: Plates, axes: str | None, path: str, name: str | None, plate_map: str | None) -> Plate:
    """Open one of the plates and select the wanted fields."""
    names = settings.names
    plate = open_plate(
        path,
        pattern=settings.pattern,
        layout=settings.layout,
        plate_map=plate_map,
        channels=list(names) if isinstance(names, tuple) else names,
        plate=name,
        axes=axes,
    )
    return plate.select(settings.wells, settings.fields)


PATHS = ("input", "target", "image")


def from_folder(data: Data) -> list[PairSource]:
    """Match the files of a folder by what ``*`` (or, for folders in folders, ``**``) stands for.

    Raises `InputError` if there is no such folder, or no file that matches.
    """
    folder = data.folder
    assert folder is not None
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder (data.folder).")
    first, second, label = (data.image, data.image, "image") if data.image is not None else (data.input, data.target, "input")
    if "*" not in first:
        return [PairSource(folder.resolve().name, str(folder / first), str(folder / second))]
    before, after = STAR.split(first)
    before_star, after_star = STAR.split(second)
    sources = []
    for path in sorted(folder.glob(first)):
        shown = path.relative_to(folder).as_posix()
        if is_hidden(shown):
            continue
        star = shown[len(before) : len(shown) - len(after)]
        sources.append(PairSource(star, str(path), str(folder / f"{before_star}{star}{after_star}")))
    if not sources:
        raise InputError(f"{folder}: no file matches {first!r} (data.{label}).")
    return sources


def from_csv(path: Path) -> list[PairSource]:
    """Read the table of pairs.

    Parameters
    ----------
    path
        A CSV file with the columns ``input`` and ``target``, or ``image`` for files that hold both; ``split``; and further metadata
        such as ``plate``, ``well``, ``batch`` and ``treatment``. Paths are relative to its folder. The case of column names and a
        ``Metadata_`` prefix don't matter.

    Raises
    ------
    InputError
        If it can't be read, or a line can't be used.
    """
    first, *rows = read_rows(path)
    header = [_key(name) for name in first.cells]
    if not rows or not ({"input", "target"} <= set(header) or "image" in header):
        raise InputError(
            f"{path}: the table needs a first line 'input,target' (or 'image', for files that hold both, and if wanted split, plate, well,"
            " batch, treatment), then a line for each pair."
        )
    return [_table_row(path, row.line, _named(path, row, header)) for row in rows]


def _named(path: Path, row: DelimitedRow, header: Sequence[str]) -> dict[str, str]:
    """Return the cells of a row by the names of the columns."""
    if more := [cell for cell in row.cells[len(header) :] if cell.strip()]:
        raise InputError(
            f"{path}: line {row.line} has {more[0]!r} beyond the {len(header)} columns; put a value with a comma in quotation marks."
        )
    cells = [cell.strip() for cell in row.cells] + [""] * (len(header) - len(row.cells))
    return {name: cell for name, cell in zip(header, cells, strict=False) if name}


def _key(name: str) -> str:
    return name.strip().casefold().removeprefix("metadata_")


def _table_row(path: Path, number: int, row: Mapping[str, str]) -> PairSource:
    """Return the pair of a line of the table."""
    split = row.get("split", "").lower()
    part: Subset | None = next((part for part in SUBSETS if part == split), None)
    if split and part is None:
        raise InputError(f"{path}: line {number}: split must be train, validation or test, not {split!r}.")
    first, second = (row.get(column, "") for column in (("image", "image") if row.get("image") else ("input", "target")))
    if not first or not second:
        raise InputError(f"{path}: line {number}: a pair needs both input and target.")
    source, target = path.parent / first, path.parent / second
    metadata = {key: value for key, value in row.items() if value and key not in (*PATHS, "split")}
    if "well" in metadata:
        metadata["well"] = _well(metadata["well"])
    return PairSource(source.name.split(".")[0], str(source), str(target), part, metadata=metadata)


def _well(name: str) -> str:
    """Return the canonical name of a well; other names stay as they are."""
    try:
        return wells.canonical(name)
    except InputError:
        return name
