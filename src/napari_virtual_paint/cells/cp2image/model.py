"""Cell models: a generator with everything a panel needs, and the packages that hold them."""

from __future__ import annotations

import importlib
import io
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.cells.cp2image.sample import OUR_FILE, Sample, read_part
from napari_virtual_paint.cells.populations.cohort import Cohort
from napari_virtual_paint.cells.rotation import Turning
from napari_virtual_paint.cells.tables.canonical_names import CanonicalNames
from napari_virtual_paint.cells.transform import Floats, Transform
from napari_virtual_paint.errors import InputError, ModelError
from napari_virtual_paint.models.package.files import PackageFiles, open_files
from napari_virtual_paint.runtime.text import one_line

if TYPE_CHECKING:
    from torch import nn


MAX_DESCRIPTION = 8 * 2**20
MAX_FEATURES = 20_000
BATCH = 64


@dataclass(frozen=True, eq=False)
class CellModel:
    """A model that generates the cell with given features."""

    id: str
    name: str
    version: str
    description: str
    card: Mapping[str, Any]  # plain values: ``trained_on``, ``held_out_on``, ``scores``, ``not_for``, ``made_with``
    features: tuple[str, ...]  # names of the features, in the network's order
    channels: tuple[str, ...]  # names of the generated channels
    size: int  # side of a crop, px
    pixel_size: float | None  # micrometers; None where unknown
    architecture: str
    config: Mapping[str, Any]  # `architecture` and `config`: the generator's name in `config.GENERATORS` and its settings.
    transform: Transform  # transform from features to the network's input
    low: Floats
    high: Floats  # `low` and `high`: (C,); gray levels that the network's 0 and 1 stand for
    files: PackageFiles
    parts: Mapping[str, Any]  # the package's entries: file names and digests
    alone: bool = False  # whether it generates each cell without neighbors; the crops of its sample show none either
    nuclei: str | None = None  # the nuclear channel; None where its name says so (DNA, DAPI, Hoechst)
    names: CanonicalNames = field(default_factory=CanonicalNames)  # what the table that it was trained on called otherwise
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    @property
    def source(self) -> Path:
        """The package's path."""
        return self.files.path

    @property
    def scale(self) -> Floats:
        """Gray levels (C, 2) that the network's 0 and 1 stand for."""
        return np.stack([self.low, self.high], axis=1)

    @property
    def takes_noise(self) -> bool:
        """Whether the same features give another cell with another seed."""
        from napari_virtual_paint.cells.cp2image.config import NOISY

        return self.architecture in NOISY

    @cached_property
    def network(self) -> nn.Module:
        """The generator: standardized features (N, p) -> (N, C, d, d) on the scale 0 to 1; loaded on first use.

        Raises `ModelError` if the weights are missing, damaged, or don't fit.
        """
        with self._lock:
            return load_part(self.files, self.parts["weights"], self.architecture, dict(self.config))

    @cached_property
    def reader(self) -> nn.Module | None:
        """The network of the Fréchet distance; None where the package has none."""
        part = self.parts.get("reader")
        if not part:
            return None
        settings = {"features": 0, "channels": len(self.channels), "size": self.size}
        with self._lock:
            return load_part(self.files, part, "CropReader", settings)

    @cached_property
    def reader_scale(self) -> tuple[Floats, Floats]:
        """Gray levels, (C,) each, that are 0 and 1 to the network of the Fréchet distance: its own, in older packages the model's.

        Raises `ModelError` if they are damaged.
        """
        part = self.parts.get("reader") or {}
        if "low" not in part:
            return self.low, self.high
        try:
            return _numbers(part["low"], len(self.channels)), _numbers(part["high"], len(self.channels))
        except (KeyError, TypeError, ValueError) as error:
            raise self.files.fail(f"the scale of its network of the Fréchet distance lacks or garbles {one_line(error)}") from error

    @cached_property
    def population(self) -> Sample:
        """Real cells of the training set.

        Raises `ModelError` if the package's sample is damaged.
        """
        from napari_virtual_paint.cells.cp2image.sample import read_sample

        with self._lock:
            return read_sample(self.files, self.parts, self.features, self.size)

    def __repr__(self) -> str:
        return f"<CellModel {self.id} {self.version}: {len(self.features)} features -> {', '.join(self.channels)}, {self.size} px>"


def generate(model: CellModel, values: npt.ArrayLike, *, seed: int | Sequence[int] = 0) -> Floats:
    """Generate cells with the given features, in the images' gray levels.

    Parameters
    ----------
    values
        (n, p) or (p,), in the features' own units and in the order of ``model.features``. NaN stands for the population's
        median.
    seed
        Of what the features leave open: the same features and seed give the same pixels, another seed another cell with these features.
        One for all cells, so that they differ by their features alone, or one for each (as for cells that are compared with real ones).
        Without effect if not ``model.takes_noise``.

    Returns
    -------
    ndarray
        float32 (n, C, d, d).

    Raises
    ------
    InputError
        If there are not p features, or not as many seeds as cells.
    """
    return to_grey_levels(model, _network_output(model, values, seed))


def generate_scaled(model: CellModel, values: npt.ArrayLike, *, seed: int | Sequence[int] = 0) -> Floats:
    """Generate cells as `generate` does, on the display scale: 0 and 1 are ``model.low`` and ``model.high`` of each channel."""
    span = (model.high - model.low)[:, None, None]
    no_light = np.where(span > 0, -model.low[:, None, None] / np.where(span > 0, span, 1), 0)
    out = _network_output(model, values, seed)
    return np.maximum(out, no_light.astype(np.float32), out=out)


def to_grey_levels(model: CellModel, scaled: Floats) -> Floats:
    """Return cells (..., C, d, d) on the scale of 0 to 1 in grey levels, none of them negative."""
    out = scaled * (model.high - model.low)[:, None, None] + model.low[:, None, None]
    return np.maximum(out, 0, out=out)


def _network_output(model: CellModel, values: npt.ArrayLike, seed: int | Sequence[int]) -> Floats:
    """Return what the network draws, float32 (n, C, d, d), in batches."""
    import torch

    vectors = np.atleast_2d(np.asarray(values, np.float32))
    if vectors.shape[1] != len(model.features):
        raise InputError(f"{model.id} takes {len(model.features)} features per cell, not {vectors.shape[1]}.")
    seeds = [seed] * len(vectors) if isinstance(seed, int | np.integer) else [int(each) for each in seed]
    if len(seeds) != len(vectors):
        raise InputError(f"{len(vectors)} cells need one seed, or one each, not {len(seeds)}.")
    if any(each < 0 for each in seeds):
        raise InputError(f"A seed is a whole number of 0 or more, not {min(seeds)}.")
    standard = torch.from_numpy(model.transform.apply(vectors))
    network: Any = model.network
    out = np.empty((len(vectors), len(model.channels), model.size, model.size), np.float32)
    with torch.inference_mode():
        for start in range(0, len(vectors), BATCH):
            part = slice(start, start + BATCH)
            if model.takes_noise:
                drawn = network(standard[part], noise=torch.from_numpy(noise_of(seeds[part], network.noise)))
            else:
                drawn = network(standard[part])
            out[part] = drawn.numpy()
    return out


def noise_of(seeds: Sequence[int], length: int) -> Floats:
    """Return standard normal numbers (n, length), each row by its seed alone."""
    rows = [np.random.default_rng(seed).standard_normal(length, np.float32) for seed in seeds]
    return np.stack(rows) if rows else np.zeros((0, length), np.float32)


def open_cell_model(id_or_path: str | Path) -> CellModel:
    """Open a cell model by its id or by the path of its package.

    Raises `ModelError` if there is no such model, or its package is invalid.
    """
    path = Path(id_or_path)
    if isinstance(id_or_path, str) and "/" not in id_or_path and not path.exists():
        known = {model.id: model for model in list_cell_models()}
        if id_or_path in known:
            return known[id_or_path]
        raise ModelError(f"{id_or_path}: there is no cell model of this id and no such file; the models here are: {', '.join(known)}.")
    return describe_cell_model(open_files(path))


def list_cell_models() -> list[CellModel]:
    """Return the available cell models, bundled ones first, then those in the user's folder; weights are not loaded."""
    from napari_virtual_paint.models.catalogue import user_folder

    found: dict[str, CellModel] = {}
    for folder in (Path(__file__).parents[1] / "bundled", user_folder()):
        for path in sorted(folder.glob("*.zip")) if folder.is_dir() else ():
            try:
                model = describe_cell_model(open_files(path))
            except ModelError:
                continue  # packages of stains lie in the same folder
            found.setdefault(model.id, model)
    return list(found.values())


def describe_cell_model(files: PackageFiles) -> CellModel:
    """Read the description of a package.

    Raises `ModelError` if it is not a cell model, or is invalid.
    """
    if not files.exists(OUR_FILE):
        raise files.fail(f"this is no cell model: it has no {OUR_FILE}")
    try:
        return _described(files, json.loads(files.read(OUR_FILE, MAX_DESCRIPTION)))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError) as error:
        raise files.fail(f"its description lacks or garbles {one_line(error)}") from error


def _described(files: PackageFiles, ours: Mapping[str, Any]) -> CellModel:
    """Parse a description; anything invalid raises."""
    from napari_virtual_paint.cells.cp2image.config import GENERATORS

    architecture = str(ours["architecture"])
    if architecture not in GENERATORS:
        raise files.fail(f"its network {architecture} is none of {', '.join(GENERATORS)}")
    features, channels = (tuple(str(name) for name in ours[key]) for key in ("features", "channels"))
    size = int(ours["size"])
    if not (0 < len(features) <= MAX_FEATURES and 0 < len(channels) <= 64 and 16 <= size <= 512):
        raise files.fail(f"{len(features)} features, {len(channels)} channels and crops of {size} px can't be")
    median, spread = (_numbers(ours[key], len(features)) for key in ("median", "spread"))
    low, high = (_numbers(ours[key], len(channels)) for key in ("low", "high"))
    config = {str(key): int(value) for key, value in ours["config"].items()}
    if any(not 0 < value <= 65_536 for value in config.values()):
        raise files.fail("a setting of its network is out of range")
    angles = tuple((int(angle), int(size)) for angle, size in ours.get("angles", ()))
    if len(angles) > len(features) or not all(0 <= a < len(features) and -1 <= b < len(features) for a, b in angles):
        raise files.fail("its angles are columns that are not there")
    frame = int(ours.get("frame", -1))
    if not -1 <= frame < len(features) or (frame >= 0 and not features[frame].endswith("Orientation")):
        raise files.fail("the orientation that it draws by is none of its features")
    transform = Transform(median, spread, float(ours["clip"]), angles, frame, Turning.of(features) if frame >= 0 else None)
    config |= {"features": transform.width, "channels": len(channels), "size": size}
    pixel_size = ours.get("pixel_size")
    return CellModel(
        id=str(ours["id"]),
        name=str(ours["name"]),
        version=str(ours.get("version", "")),
        description=str(ours.get("description", "")),
        card=MappingProxyType(dict(ours.get("card", {}))),
        features=features,
        channels=channels,
        size=size,
        pixel_size=None if pixel_size is None else float(pixel_size),
        architecture=architecture,
        config=MappingProxyType(config),
        transform=transform,
        low=low,
        high=high,
        files=files,
        parts=MappingProxyType(dict(ours["files"])),
        alone=bool(ours.get("alone", False)),
        nuclei=_nuclei(ours.get("nuclei"), channels),
        names=_names(ours.get("names") or {}),
    )


def _nuclei(name: Any, channels: tuple[str, ...]) -> str | None:
    if name is not None and name not in channels:
        raise ValueError("the nuclear channel")
    return None if name is None else str(name)


def _names(values: Mapping[str, Any]) -> CanonicalNames:
    """Parse what the table of the training called otherwise."""
    compartments, images = ({str(a): str(b) for a, b in values.get(key, {}).items()} for key in ("compartments", "images"))
    return CanonicalNames(compartments, images, str(values.get("levels", "")))


def _numbers(values: Any, count: int) -> Floats:
    """Return a list of finite numbers of a known length."""
    found = np.asarray(values, np.float32)
    if found.shape != (count,) or not np.isfinite(found).all():
        raise ValueError(f"a list of {count} numbers")
    return found


def load_part(files: PackageFiles, part: Mapping[str, Any], architecture: str, settings: dict[str, int]) -> nn.Module:
    """Build a network and load its weights: tensors only, every key and shape compared; float32, eval mode, gradients off."""
    import torch

    data, name = read_part(files, part), str(part.get("source"))
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        network = build(architecture, settings)
        filled = {key: state[key].to(tensor.dtype) for key, tensor in network.state_dict().items()}
        network.load_state_dict(filled, strict=True)
    except Exception as error:  # whatever torch raises on damaged bytes: the reader gets one sentence
        raise files.fail(f"{name} doesn't hold the weights of a {architecture} ({one_line(error)})") from error
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return network.eval()


def build(architecture: str, settings: Mapping[str, int]) -> nn.Module:
    """Build a generator, discriminator or reader with fresh weights.

    Raises
    ------
    TypeError, ValueError
        If a setting is unknown or out of range.
    """
    from napari_virtual_paint.cells.cp2image.config import CRITICS, GENERATORS

    places = {**GENERATORS, **CRITICS, "CropReader": "napari_virtual_paint.networks.cellpainter"}
    network: nn.Module = getattr(importlib.import_module(places[architecture]), architecture)(**settings)
    return network


def cohort_of(model: CellModel) -> Cohort:
    """Return the real cells in a model's own package.

    Raises `InputError` if the package holds none.
    """
    import pandas as pd

    cells = model.population
    if len(cells.values) < 3:
        raise InputError(f"The model {model.id} brings no cells of its own; choose a table of cells.")
    rows = np.arange(len(cells.values))
    metadata = pd.DataFrame({column: list(values) for column, values in cells.metadata.items()}, index=rows)
    return Cohort(model.name, model.features, cells.values, metadata, rows, cells.crops)


def pictured_cells(model: CellModel, cohort: Cohort) -> Cohort | None:
    """Return real cells with pictures to compare with: the cohort's where it has them, else the model's own; None where it has none."""
    if cohort.crops is not None:
        return cohort
    try:
        return cohort_of(model)
    except InputError:
        return None
