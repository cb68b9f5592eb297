"""Training data of a cell model: simulated wells, measured images, or images with their table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.cells.cellprofiler_names import is_feature, is_morphological_feature, parse
from napari_virtual_paint.cells.cp2image.config import CellData, CellTrainConfig, Features
from napari_virtual_paint.cells.cp2image.pairs import Pairs, cut_crops, scale_columns
from napari_virtual_paint.cells.cp2image.run_crops import Masks, cut_run, names_channel_files
from napari_virtual_paint.cells.measurement.crops import crop
from napari_virtual_paint.cells.measurement.images import measure_files
from napari_virtual_paint.cells.measurement.measure import measure
from napari_virtual_paint.cells.tables.canonical_names import CanonicalNames
from napari_virtual_paint.cells.tables.table import CellTable, open_table
from napari_virtual_paint.counting.segmentation import segment
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.reading.file_series import matching
from napari_virtual_paint.runtime.atomic_write import make_folder, updating
from napari_virtual_paint.runtime.json_file import read_object
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.samples import STAINS, SimulationSettings, simulate_field

if TYPE_CHECKING:
    import pandas as pd

FULL_SCALE = 65535.0  # full scale of the simulator's camera
Pixels = npt.NDArray[np.uint16] | npt.NDArray[np.float32]
TABLE, CROPS, MASKS, NAMES = "cells.parquet", "crops.npy", "masks.npy", "names.json"


@dataclass(frozen=True, eq=False)
class CropSet:
    """Cells with their crops."""

    table: pd.DataFrame  # one row per cell: metadata, then features
    crops: Pixels  # (n, C, d, d), uint16 or float32, in the images' gray levels
    groups: npt.NDArray[np.object_]  # well, image or cell, which a split keeps together
    pixel_size: float | None  # micrometers; None where unknown
    masks: Masks | None = None  # each cell's pixels, where they are known from the whole image
    names: CanonicalNames = field(default_factory=CanonicalNames)  # what the table called otherwise
    kind: str = "well or montage"  # what a group is

    def __len__(self) -> int:
        return len(self.table)


def load_cells(config: CellTrainConfig) -> Iterator[Progress | CropSet]:
    """Measure and crop the cells of a run, or read them from the run folder if that was done before.

    Yields
    ------
    Progress
        On the way.
    Cells
        Last.

    Raises
    ------
    InputError
        If the data can't be used.
    """
    assert config.run is not None
    folder = config.run / f"cells-{config.data_fingerprint()[:12]}"
    found = _kept(folder)
    if found is None:
        for item in _simulated(config.data) if config.data.simulate is not None else _of_files(config.data, folder):
            if isinstance(item, Progress):
                yield item
            else:
                found = item
        assert found is not None
        _keep(folder, found)
    table = found.table
    if not len(table):
        raise InputError("data: no cell was found.")
    pixel = float(table["Metadata_PixelSize"].median()) if "Metadata_PixelSize" in table else float("nan")
    groups, kind = _groups(table, config.data.group, bool(found.names) or found.masks is not None)
    yield CropSet(table, found.crops, groups, pixel if np.isfinite(pixel) else None, found.masks, found.names, kind)


@dataclass(frozen=True, eq=False)
class _Found:
    """Cells as they are kept in the run folder; fields as those of `CropSet`."""

    table: pd.DataFrame
    crops: Pixels
    masks: Masks | None = None
    names: CanonicalNames = field(default_factory=CanonicalNames)


def _kept(folder: Path) -> _Found | None:
    """Return the cells that the run folder holds."""
    import pandas as pd

    if not ((folder / CROPS).is_file() and (folder / TABLE).is_file()):
        return None
    masks = np.load(folder / MASKS, allow_pickle=False) if (folder / MASKS).is_file() else None
    names = read_object(folder / NAMES) or {}
    pair = None if masks is None else (masks[0], masks[1])
    return _Found(pd.read_parquet(folder / TABLE), np.load(folder / CROPS, allow_pickle=False), pair, CanonicalNames(**names))


def _keep(folder: Path, found: _Found) -> None:
    """Store cells in the run folder, the crops last, since they show that it is complete."""
    make_folder(folder)
    if found.masks is not None:
        with updating(folder / MASKS) as temporary, temporary.open("wb") as file:
            np.save(file, np.stack(found.masks))
    if found.names:
        with updating(folder / NAMES) as temporary:
            temporary.write_text(json.dumps(found.names.to_dict()), encoding="utf-8")
    with updating(folder / TABLE) as temporary:
        found.table.to_parquet(temporary)
    with updating(folder / CROPS) as temporary, temporary.open("wb") as file:
        np.save(file, found.crops)


def _groups(table: pd.DataFrame, column: str, is_run: bool) -> tuple[npt.NDArray[np.object_], str]:
    """Return what a split keeps together, and what it is: wells, else images, else where there is one image each cell."""
    for name, kind in ((column, "well or montage"), ("Metadata_FileName", "image" if is_run else "well or montage")):
        if name in table and table[name].nunique() > 1:
            return table[name].astype(str).to_numpy(object), kind
    return np.array([f"cell {i}" for i in range(1, len(table) + 1)], object), "cell"


def wells(data: CellData) -> list[tuple[str, SimulationSettings]]:
    """Return the simulated wells: one per treatment, dose and seed."""
    settings = data.simulate
    assert settings is not None
    found: list[tuple[str, SimulationSettings]] = []
    for dose in settings.doses:
        for treatment in settings.treatments:
            for _ in range(settings.seeds):
                seed = settings.seed + len(found)
                one = SimulationSettings(size=settings.size, treatment=treatment, dose=0.0 if treatment == "control" else dose, seed=seed)
                found.append((f"{treatment}-{one.dose:g}-{seed}", one))
    return found


def _simulated(data: CellData) -> Iterator[Progress | _Found]:
    """Simulate, segment and measure the wells."""
    import pandas as pd

    tables, crops = [], []
    order = [STAINS.index(name) for name in _known_stains(data.channels)]
    every = wells(data)
    for number, (name, settings) in enumerate(every, start=1):
        field = simulate_field(settings)
        planes = np.asarray(field.stains.data[0, :, 0])[order]
        labels = segment(planes, data.channels, data.nuclei, settings.pixel_size, scale=FULL_SCALE)
        table = measure(planes, data.channels, labels, scale=FULL_SCALE)
        known = {
            "Metadata_FileName": f"{name}.ome.tif",
            "Metadata_Well": name,
            "Metadata_Treatment": settings.treatment,
            "Metadata_Dose": settings.dose,
            "Metadata_Seed": settings.seed,
            "Metadata_PixelSize": settings.pixel_size,
            "Metadata_Scale": FULL_SCALE,
            "Metadata_ThresholdNuclei": labels.thresholds[0].nuclei,
            "Metadata_ThresholdCells": labels.thresholds[0].cells,
        }
        table = pd.concat([pd.DataFrame(known, index=table.index), table.astype(np.float32)], axis=1)
        centres = table[["Nuclei_Location_Center_Y", "Nuclei_Location_Center_X"]].to_numpy()
        there = np.isfinite(centres).all(axis=1)
        tables.append(table[there])
        crops.append(crop(planes, centres[there], data.size).astype(np.uint16))
        yield Progress(number, len(every), f"{name}: {len(table)} cells." if number == len(every) else "")
    yield _Found(pd.concat(tables, ignore_index=True), np.concatenate(crops))


def _known_stains(channels: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [name for name in channels if name not in STAINS]
    if unknown:
        raise InputError(f"data.channels: the simulator has no stain {unknown[0]!r}; it has {', '.join(STAINS)}.")
    return channels


def _of_files(data: CellData, folder: Path) -> Iterator[Progress | _Found]:
    """Measure images, or read their table, and cut the crops."""
    assert data.images is not None
    path = data.table
    if path is not None:
        table = open_table(path)
        if names_channel_files(table, data.channels):
            yield from _of_run(data, table)
            return
    images = sorted({path for pattern in data.images for path in matching(Path(pattern), recursive=True)})
    if not images:
        raise InputError(f"{', '.join(data.images)}: no file matches (data.images).")
    if path is None:
        measured = yield from measure_files(images, nuclei=data.nuclei, channels=data.channels, axes=data.axes)
        make_folder(folder)
        path = folder / "measured.parquet"
        with updating(path) as temporary:
            measured.to_parquet(temporary)
        table = open_table(path)
    for item in cut_crops(table, images, data.channels, data.size, axes=data.axes):
        if isinstance(item, Pairs):
            if data.table is not None:  # else they were said while the images were measured
                yield Progress(len(images), len(images), " ".join(item.notes))
            yield _Found(table.frame([*table.metadata, *table.features], item.rows), _narrow(item.crops))


def _of_run(data: CellData, table: CellTable) -> Iterator[Progress | _Found]:
    """Cut the crops of a CellProfiler run, and name its columns as the model does."""
    import pandas as pd

    assert data.images is not None
    for item in cut_run(table, data.images, data.channels, data.size, nuclei=data.nuclei, axes=data.axes):
        if isinstance(item, Progress):
            yield item
            continue
        yield Progress(1, 1, " ".join(item.notes))
        metadata = [name for name in table.metadata if not name.startswith("Image_")]
        frame = table.frame([*metadata, *table.features], item.rows)
        frame = frame.rename(columns=item.names.renamed(frame.columns))
        known = {"Metadata_FileName": item.files, **scale_columns(data.channels, item.scale)}
        yield _Found(pd.concat([pd.DataFrame(known, index=frame.index), frame], axis=1), _narrow(item.crops), item.masks, item.names)


def _narrow(crops: npt.NDArray[np.float32]) -> Pixels:
    """Return crops as 16-bit integers where they are such."""
    integers = bool((crops == np.rint(crops)).all() and crops.min() >= 0 and crops.max() < 2**16)
    return crops.astype(np.uint16) if integers else crops


def choose_features(table: pd.DataFrame, channels: tuple[str, ...], rules: Features) -> tuple[str, ...]:
    """Return the columns to condition on: measured in the model's channels, known in most cells, not constant.

    Raises `InputError` if none is left.
    """
    chosen = []
    for name in table.columns:
        if (
            not is_feature(name)
            or not set(parse(name, channels).channels) <= set(channels)
            or not rules.takes(name, is_morphological_feature(name))
        ):
            continue
        values = table[name].to_numpy(np.float64)
        known = values[np.isfinite(values)]
        if len(known) > 1 and len(known) >= (1 - rules.missing) * len(values) and known.std() > 1e-9 * max(1.0, abs(known.mean())):
            chosen.append(name)
    if not chosen:
        raise InputError("features: no column of the table is left; check features.include, features.exclude and data.channels.")
    return tuple(chosen)


def split(groups: npt.NDArray[np.object_], held_out: float | tuple[str, ...], seed: int) -> npt.NDArray[np.bool_]:
    """Return which cells are held out: whole wells or montages, a share of them or those whose name matches a pattern.

    Raises `InputError` if nothing is left to train on, or nothing is held out.
    """
    names = sorted(set(groups))
    if isinstance(held_out, tuple):
        out = {name for name in names if any(fnmatchcase(name, pattern) for pattern in held_out)}
    else:
        order = np.random.default_rng([seed, 0x5117]).permutation(len(names))
        out = {names[i] for i in order[: max(1, round(held_out * len(names)))]}
    if not out or len(out) == len(names):
        raise InputError(
            f"held_out: {len(out)} of {len(names)} wells, images or cells would be held out ({', '.join(names[:4])}); some must, not all."
        )
    return np.array([name in out for name in groups])
