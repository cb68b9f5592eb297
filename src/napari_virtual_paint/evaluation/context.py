"""Input of the levels: the images of one field, and the request and metadata of all fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.choices import ScoreScale, Segmenter, values_of
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.evaluation.scale import TRUTH, IntensityScale
from napari_virtual_paint.plates.well_roles import ROLE_NAMES

__all__ = ["ROLES", "TRUTH", "Context", "EvaluationSettings", "FieldImages", "Planes"]

if TYPE_CHECKING:
    import pandas as pd

    from napari_virtual_paint.metrics import NoiseSource

ROLES = tuple(ROLE_NAMES)  # roles that a column of the plate map may have

Planes = npt.NDArray[np.float32]


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of an evaluation.

    Raises
    ------
    InputError
        If a value is invalid.
    """

    segmenter: Segmenter = "auto"  # segmentation method; ``auto`` is Cellpose if installed, else scikit-image
    nuclei: str | None = None
    cells: str | None = None  # `nuclei` and `cells`: stains in which nuclei and cells are segmented; by the usual names where None
    gamma: float = 0.3  # gamma applied to images before cells are segmented (Tonks 2024: 0.3).
    seed: int = 0
    workers: int = 0
    """Processes; 0 for one per core. The context given to a level says how many it may use itself: in `Level.field` 1 where several
    fields are processed at once, all where there is only one field."""
    bootstrap: int = 1000  # bootstrap samples of intervals
    scale: ScoreScale = "zscore"  # scaling of pixel scores (see `metrics.compare`).
    noise: NoiseSource | None = None  # source of the truth's noise, for the ceiling of PCC; None for no ceiling

    def __post_init__(self) -> None:
        if self.segmenter not in values_of(Segmenter):
            raise InputError(f"Segmenter {self.segmenter!r} is not known; choose one of {', '.join(values_of(Segmenter))}.")
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
    """One field of view (one time point), in the truth and in each prediction; the same stains in the same order, the same pixels."""

    key: str  # ``A01/0`` on a plate, else the file name without its suffix; with several time points ``KEY/t0`` ...
    well: str  # ``A01``; empty without a plate: such fields count as one well each
    stains: tuple[str, ...]
    pixel_size: float | None  # micrometers along y and x; None where unknown
    truth: Planes  # the true stains in the file's own units, axes CYX; for a volume CZYX
    predictions: Mapping[str, Planes]  # name of a prediction -> its predicted stains, same axes
    scale: IntensityScale  # maps each source to the truth's scale, as uint16
    memo: dict[Any, Any] = field(default_factory=dict)  # cache of results that several levels need of this field
    light: Planes | None = None  # the transmitted light, axes YX or ZYX, for illustrations; None where it is not stored beside the truth
    files: Mapping[str, str] = field(default_factory=dict)  # source -> its file or folder, for notes; empty where unknown
    _scaled: dict[str, npt.NDArray[np.uint16]] = field(default_factory=dict, init=False, repr=False)

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

    @property
    def scaled(self) -> Mapping[str, npt.NDArray[np.uint16]]:
        """Source -> its stains on the truth's scale, axes CYX; for a volume the maximum along z."""
        if not self._scaled:
            self._scale(self.scale.fitted(self._raw))
        return MappingProxyType(self._scaled)

    def scale_as_empty(self) -> None:
        """Scale predictions anew, since the truth shows no cell; see `IntensityScale.for_empty`."""
        if self.scale.moments:
            return
        scale = self.scale.for_empty(self._raw)
        if scale is None and not self.scale.alone:
            return
        if scale is None:
            self.add_note("The truth shows no cell, so the scale of the predictions is not known: cells that they show may not be counted.")
            return
        self._scale(scale)
        how = "were mapped by the mean and SD over all fields" if self.scale.pooled else "kept their own gray levels"
        self.add_note(f"The truth shows no cell, so that its SD is that of noise: predictions {how}.")

    @property
    def _raw(self) -> dict[str, Planes]:
        return {source: self.raw(source) for source in self.sources}

    def _scale(self, scale: IntensityScale) -> None:
        found = {source: scale.apply(source, self.raw(source)) for source in self.sources}
        self._scaled.update({source: each.max(axis=1) if self.is_volume else each for source, each in found.items()})

    def add_note(self, sentence: str) -> None:
        """Add a note on this field; equal notes of many fields are shown once."""
        self.memo.setdefault("notes", []).append(sentence)


@dataclass(frozen=True, eq=False)
class Context:
    """Request and metadata of all fields."""

    predictions: tuple[str, ...]  # names of the predictions; the first is the main one
    stains: tuple[str, ...]  # names of the evaluated stains
    wells: pd.DataFrame  # metadata of the wells: index ``well``, a column for each of the plate map's; empty without a plate
    roles: Mapping[str, str | None]  # each of `ROLES` -> its column in `wells`, or None
    negative: tuple[str, ...] = ()
    positive: tuple[str, ...] = ()  # `negative` and `positive`: wells of the negative and positive controls; empty where none is known
    settings: EvaluationSettings = EvaluationSettings()
    notes: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()  # keys of the fields, in order
    images: Callable[[str], FieldImages] | None = None
    """Read a field again by its key, for illustrations of the best and the worst in `Level.summary`; None where impossible, and in
    worker processes."""

    @property
    def sources(self) -> tuple[str, ...]:
        """``truth``, then the predictions in order."""
        return (TRUTH, *self.predictions)

    def role(self, name: str) -> str | None:
        """Return the column of a role, or None."""
        return self.roles.get(name)
