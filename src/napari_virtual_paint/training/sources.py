"""Where pairs come from: a folder, a table, or the simulator."""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.samples import Batch, SimulationSettings, simulate_field
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.training.config_data import Data, Simulated

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = get_args(Part)
STAR = re.compile(r"\*+")


@dataclass(frozen=True)
class Source:
    """A pair not yet read.

    Parameters
    ----------
    name
        What it goes by; no two of a run share one.
    input, target
        What an error calls the two images: their files, or the simulated field.
    split
        The part that a table gave it.
    settings
        Of a simulated field; None for files.
    """

    name: str
    input: str
    target: str
    split: Part | None = None
    settings: SimulationSettings | None = None

    def open(self) -> tuple[Stack, Stack]:
        """Return input and target; files are read lazily.

        Raises
        ------
        ReadError
            If a file can't be read.
        """
        if self.settings is not None:
            field = simulate_field(self.settings)
            return field.brightfield, field.stains
        from napari_virtual_paint.reading import read

        return read(self.input), read(self.target)


def find(data: Data) -> list[Source]:
    """List the pairs of a run, in order of their names.

    Raises
    ------
    InputError
        If there is none, a file is absent, or two pairs share a name.
    """
    if data.simulate is not None:
        return _simulated(data.simulate)
    sources = _from_csv(data.csv) if data.csv is not None else _from_folder(data)
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


def _from_folder(data: Data) -> list[Source]:
    """Match the files of a folder by what ``*`` (or, for folders in folders, ``**``) stands for."""
    folder = data.folder
    assert folder is not None
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder (data.folder).")
    if "*" not in data.input:
        return [Source(folder.resolve().name, str(folder / data.input), str(folder / data.target))]
    before, after = STAR.split(data.input)
    ahead, behind = STAR.split(data.target)
    sources = []
    for path in sorted(folder.glob(data.input)):
        shown = path.relative_to(folder).as_posix()
        star = shown[len(before) : len(shown) - len(after)]
        sources.append(Source(star, str(path), str(folder / f"{ahead}{star}{behind}")))
    if not sources:
        raise InputError(f"{folder}: no file matches {data.input!r} (data.input).")
    return sources


def _from_csv(path: Path) -> list[Source]:
    """Read the table of pairs."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: the table of pairs can't be read ({error}).") from error
    if not rows or not {"input", "target"} <= set(rows[0]):
        raise InputError(f"{path}: the table needs a first line 'input,target' (and ',split', if wanted), then a line for each pair.")
    sources = []
    for number, row in enumerate(rows, start=2):
        split = (row.get("split") or "").strip().lower()
        part = next((part for part in PARTS if part == split), None)
        if split and part is None:
            raise InputError(f"{path}: line {number}: split must be train, validation or test, not {split!r}.")
        if not row["input"] or not row["target"]:
            raise InputError(f"{path}: line {number}: a pair needs both input and target.")
        source, target = path.parent / row["input"].strip(), path.parent / row["target"].strip()
        sources.append(Source(source.name.split(".")[0], str(source), str(target), part))
    return sources


def _simulated(settings: Simulated) -> list[Source]:
    """List simulated fields: treatments in turn, a next dose at each round of them, every other field with a plate's light and gain."""
    sources = []
    for index in range(settings.fields):
        treatment = settings.treatments[index % len(settings.treatments)]
        dose = settings.doses[index // len(settings.treatments) % len(settings.doses)]
        seed = settings.seed + index
        one = SimulationSettings(
            size=settings.size,
            z=settings.z,
            treatment=treatment,
            dose=dose,
            seed=seed,
            batch=Batch.drawn(seed) if settings.batches and index % 2 else Batch(),
        )
        name = f"field_{index:03d}"
        sources.append(Source(name, f"simulated {name}", f"simulated {name}", None, one))
    return sources
