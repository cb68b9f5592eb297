"""Input of the levels: the images of one field, and the request and metadata of all fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.evaluation.scale import TRUTH, IntensityScale

__all__ = ["ROLES", "TRUTH", "Context", "EvaluationSettings", "FieldImages", "Planes", "Segmenter", "counted"]

if TYPE_CHECKING:
    import pandas as pd

    from napari_virtual_paint.metrics import NoiseSource

ROLES = ("treatment", "dose", "control", "moa", "batch", "plate")
"""Roles that a column of the plate map may have."""

Segmenter = Literal["auto", "skimage", "cellpose"]
Planes = npt.NDArray[np.float32]


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of an evaluation.

    Parameters
    ----------
    segmenter
        Segmentation method; ``auto`` is Cellpose if installed, else scikit-image.
    nuclei, cells
        Stains in which nuclei and cells are segmented; by the usual names where None.
    gamma
        Gamma applied to images before cells are segmented (Tonks 2024: 0.3).
    seed
        Seed of all random draws.
    workers
        Processes; 0 for one per core. The context given to a level says how many it may use itself: in `Level.field` 1 where
        several fields are processed at once, all where there is only one field.
    bootstrap
        Bootstrap samples of intervals.
    scale
        Scaling of pixel scores (see `metrics.compare`).
    noise
        Source of the truth's noise, for the ceiling of PCC; None for no ceiling.

    Raises
    ------
    InputError
        If a value is invalid.
    """

    segmenter: Segmenter = "auto"
    nuclei: str | None = None
    cells: str | None = None
    gamma: float = 0.3
    seed: int = 0
    workers: int = 0
    bootstrap: int = 1000
    scale: Literal["zscore", "raw"] = "zscore"
    noise: NoiseSource | None = None

    def __post_init__(self) -> None:
        if self.segmenter not in ("auto", "skimage", "cellpose"):
            raise InputError(f"Segmenter {self.segmenter!r} is not known; choose auto, skimage or cellpose.")
        if not 0 < self.gamma <= 10:
            raise InputError(f"A gamma of {self.gamma:g} can't be used; choose one above 0 and up to 10, 0.3 as a rule.")
        if self.workers < 0:
            raise InputError(f"{self.workers} processes can't work; ask for 1 or more, or leave it out for as many as there are cores.")
        if self.seed < 0:
            raise InputError(f"Seed {self.seed} is below 0; choose a whole number from 0 up.")
        if self.bootstrap < 100:
            raise InputError(f"{self.bootstrap} bootstrap samples are too few for an interval; take 100 or more.")


@dataclass(frozen=True, eq=False)
class FieldImages:
    """One field of view (one time point), in the truth and in each prediction; the same stains in the same order, the same pixels.

    Parameters
    ----------
    key
        ``A01/0`` on a plate, else the file name without its suffix; with several time points ``KEY/t0`` ...
    well
        ``A01``; empty without a plate: such fields count as one well each.
    stains
        Names of the stains, as in the truth.
    pixel_size
        Micrometers along y and x; None where unknown.
    truth
        The true stains in the file's own units, axes CYX; for a volume CZYX.
    predictions
        Name of a prediction -> its predicted stains, same axes.
    scale
        Maps each source to the truth's scale, as uint16.
    memo
        Cache of results that several levels need of this field.
    light
        The transmitted light, axes YX or ZYX, for illustrations; None where it is not stored beside the truth.
    """

    key: str
    well: str
    stains: tuple[str, ...]
    pixel_size: float | None
    truth: Planes
    predictions: Mapping[str, Planes]
    scale: IntensityScale
    memo: dict[Any, Any] = field(default_factory=dict)
    light: Planes | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """``truth``, then the predictions in order."""
        return (TRUTH, *self.predictions)

    @property
    def is_volume(self) -> bool:
        """Whether the field has several z-planes."""
        return self.truth.ndim == 4

    def raw(self, source: str) -> Planes:
        """Return a source's stains as in the file, axes CYX or CZYX."""
        return self.truth if source == TRUTH else self.predictions[source]

    @cached_property
    def scaled(self) -> Mapping[str, npt.NDArray[np.uint16]]:
        """Source -> its stains on the truth's scale, axes CYX; for a volume the maximum along z."""
        own = self.scale.fitted({source: self.raw(source) for source in self.sources})
        found = {source: own.apply(source, self.raw(source)) for source in self.sources}
        return MappingProxyType({source: each.max(axis=1) if self.is_volume else each for source, each in found.items()})

    def add_note(self, sentence: str) -> None:
        """Add a note on this field; equal notes of many fields are shown once."""
        self.memo.setdefault("notes", []).append(sentence)


@dataclass(frozen=True, eq=False)
class Context:
    """Request and metadata of all fields.

    Parameters
    ----------
    predictions
        Names of the predictions; the first is the main one.
    stains
        Names of the evaluated stains.
    wells
        Metadata of the wells: index ``well``, a column for each of the plate map's; empty without a plate.
    roles
        Each of `ROLES` -> its column in `wells`, or None.
    negative, positive
        Wells of the negative and positive controls; empty where none is known.
    settings
        The settings.
    notes
        Notes for the reader, one sentence each.
    fields
        Keys of the fields, in order.
    images
        Read a field again by its key, for illustrations of the best and the worst in `Level.summary`; None where impossible, and in
        worker processes.
    """

    predictions: tuple[str, ...]
    stains: tuple[str, ...]
    wells: pd.DataFrame
    roles: Mapping[str, str | None]
    negative: tuple[str, ...] = ()
    positive: tuple[str, ...] = ()
    settings: EvaluationSettings = EvaluationSettings()
    notes: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    images: Callable[[str], FieldImages] | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """``truth``, then the predictions in order."""
        return (TRUTH, *self.predictions)

    def role(self, name: str) -> str | None:
        """Return the column of a role, or None."""
        return self.roles.get(name)


def counted(number: int, noun: str) -> str:
    """Format a count: ``1 field``, ``3 fields``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
