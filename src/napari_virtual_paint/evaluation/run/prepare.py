"""Prepare an evaluation: everything that is determined before the first field is evaluated."""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from napari_virtual_paint._version import __version__
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.evaluation.context import TRUTH, Context, EvaluationSettings
from napari_virtual_paint.evaluation.inputs.pairing import pair_fields, pair_stains
from napari_virtual_paint.evaluation.inputs.reader import Reader, first_stacks
from napari_virtual_paint.evaluation.inputs.sources import EvaluationSource, open_predictions, open_source, select
from napari_virtual_paint.evaluation.wells import ControlSelection, Wells, known_wells
from napari_virtual_paint.metrics import Controls, NoiseSource, Repeat
from napari_virtual_paint.runtime.extras import check_installed
from napari_virtual_paint.stain_names import Synonyms

PACKAGES = ("numpy", "scipy", "scikit-image", "scikit-learn", "umap-learn", "pandas", "cp-measure", "pycytominer", "copairs", "statsmodels")
"""Packages whose versions are in the report."""


@dataclass(frozen=True)
class EvaluationRequest:
    """The request (see `evaluate`)."""

    predictions: tuple[tuple[str, str], ...]
    truth: str
    plate_map: Path | None = None
    wells: str | None = None
    fields: tuple[str, ...] | None = None
    choice: ControlSelection = field(default_factory=ControlSelection)
    settings: EvaluationSettings = field(default_factory=EvaluationSettings)
    synonyms: Synonyms | None = None  # the names of stains; the default ones where None
    plate: str | None = None  # which plate, where a source holds several
    axes: tuple[str | None, str | None] = (None, None)  # of the predictions' arrays and the truth's, where they state none


@dataclass(frozen=True, eq=False)
class PreparedEvaluation:
    """The prepared evaluation."""

    truth: EvaluationSource
    predictions: Mapping[str, EvaluationSource]
    reader: Reader
    keys: tuple[str, ...]  # the truth's fields to evaluate
    context: Context
    gray_levels: bool  # whether the truth's data type shows that it holds gray levels of at most 16 bits
    versions: Mapping[str, str]  # package -> version
    field_bytes: int = 0  # bytes of the first field's images, in float32


def prepare(request: EvaluationRequest) -> PreparedEvaluation:
    """Open and pair all sources and collect metadata; only the first field's pixels are read.

    Raises `InputError` if an input is invalid, or nothing pairs.
    """
    _packages()
    truth = select(open_source(request.truth, request.plate, request.axes[1]), request.wells, request.fields)
    predictions = _predictions(request)
    pairing = pair_fields(truth, predictions, complete=request.wells is None and request.fields is None)
    images = {TRUTH: truth.images, **{name: source.images for name, source in predictions.items()}}
    first = first_stacks(images, pairing.partners)
    stains = pair_stains(first[TRUTH], {name: first[name] for name in predictions}, request.synonyms)
    wells = known_wells(truth, tuple(predictions.values()), pairing.keys, request.plate_map, request.choice)
    source_notes = [note for source in (truth, *predictions.values()) for note in source.notes]
    read_notes = [note for stack in first.values() for note in stack.notes]
    notes = tuple(dict.fromkeys((*source_notes, *read_notes, *pairing.notes, *stains.notes, *wells.notes)))
    return PreparedEvaluation(
        truth=truth,
        predictions=predictions,
        reader=Reader(images, pairing.partners, wells.of_field, stains.names, stains.channels, request.synonyms),
        keys=pairing.keys,
        context=_context(tuple(predictions), stains.names, wells, request.settings, notes, pairing.keys),
        gray_levels=first[TRUTH].dtype.kind == "b" or (first[TRUTH].dtype.kind == "u" and first[TRUTH].dtype.itemsize <= 2),
        versions=_versions(),
        field_bytes=4 * len(stains.names) * len(images) * math.prod((*first[TRUTH].shape[:1], *first[TRUTH].shape[2:])),
    )


def describe(request: EvaluationRequest, prepared: PreparedEvaluation) -> dict[str, Any]:
    """Return everything in the request that affects a result, as plain values; levels are stored separately."""
    settings = {name: value for name, value in vars(request.settings).items() if name not in ("workers", "noise")}
    return {
        "truth": prepared.truth.path,
        "predictions": {name: source.path for name, source in prepared.predictions.items()},
        "wells": request.wells,
        "fields": request.fields,
        "stains": prepared.context.stains,
        "plate map": None if request.plate_map is None else str(request.plate_map),
        **{f"choice of {name}": value for name, value in asdict(request.choice).items()},
        **settings,
        "noise": _noise(request.settings.noise),
        **({"plate": request.plate} if request.plate is not None else {}),
        # Without names of the user's own, reports begun before there were any go on.
        **({"axes": list(request.axes)} if any(request.axes) else {}),
        **({"synonyms": dict(request.synonyms.own)} if request.synonyms is not None and request.synonyms.own else {}),
    }


def _predictions(request: EvaluationRequest) -> dict[str, EvaluationSource]:
    """Open the predictions; raise an `InputError` where two have the same name, or a reserved one."""
    found: dict[str, EvaluationSource] = {}
    for name, path in request.predictions:
        for called, source in open_predictions(path, name, request.truth, request.plate, request.axes[0]).items():
            own = f"{called} (prediction)" if called.casefold() == TRUTH and not name else called
            if own.casefold() == TRUTH or own in found:
                raise InputError(f"{path}: a prediction can't be called {own!r}, which is taken; name it (--name, --also NAME=PATH).")
            found[own] = source
    if not found:
        raise InputError("There is no prediction to evaluate; give at least one.")
    return found


def _context(
    predictions: tuple[str, ...],
    stains: tuple[str, ...],
    wells: Wells,
    settings: EvaluationSettings,
    notes: tuple[str, ...],
    keys: tuple[str, ...],
) -> Context:
    in_memory = replace(settings, noise=_in_memory(settings.noise))
    return Context(predictions, stains, wells.table, wells.roles, wells.negative, wells.positive, in_memory, notes, keys)


def _in_memory(noise: NoiseSource | None) -> NoiseSource | None:
    """Return the noise source with its images read, since it is sent to other processes."""
    if isinstance(noise, Controls):
        return Controls([stack.compute() for stack in noise.stacks])
    return Repeat(noise.stack.compute()) if isinstance(noise, Repeat) else noise


def _noise(noise: NoiseSource | None) -> Any:
    """Describe the noise source in plain words."""
    if isinstance(noise, Controls):
        return ["controls", *(str(stack.source) for stack in noise.stacks)]
    if isinstance(noise, Repeat):
        return ["repeat", str(noise.stack.source)]
    return None if noise is None else repr(noise)


def _packages() -> None:
    """Raise an `InputError` where the packages for tables are missing."""
    check_installed("pandas", "pyarrow", extra="evaluate", purpose="An evaluation")


def _versions() -> dict[str, str]:
    found = {"napari-virtual-paint": __version__}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
