"""What the levels are given: one field's images, and what was asked and is known of all of them."""

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
"""What a column of the plate map may stand for."""

Segmenter = Literal["auto", "skimage", "cellpose"]
Planes = npt.NDArray[np.float32]


@dataclass(frozen=True)
class EvaluationSettings:
    """How to evaluate.

    Parameters
    ----------
    segmenter
        What finds the cells; ``auto`` is Cellpose where it is installed, else scikit-image.
    nuclei, cells
        The stains that nuclei and cells are found in; by the usual names where None.
    gamma
        Exponent by which images are brightened before cells are found in them (Tonks 2024: 0.3).
    seed
        Of everything that is drawn by chance.
    workers
        Processes; 0 takes as many as there are cores. What a level is given tells how many it may use itself: in `Level.field` 1 where
        several fields are worked on at once, all of them where there is one field.
    bootstrap
        Samples that intervals are drawn from.
    scale
        How pixels are scored (see `metrics.compare`).
    noise
        Knows the truth's noise, for the ceiling of PCC; None where it was not asked for.

    Raises
    ------
    InputError
        If a value can't be used.
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
    """One field of view (one time point of it), in the truth and in each prediction; the same stains in the same order, the same pixels.

    Parameters
    ----------
    key
        ``A01/0`` on a plate, else the file's name without its ending; with several time points ``KEY/t0`` ...
    well
        ``A01``; empty where there is no plate. Such fields count as one well each.
    stains
        Names of the stains, as the truth calls them.
    pixel_size
        Micrometres along y and x; None where unknown.
    truth
        The true stains in the file's own units, axes CYX; of a volume CZYX.
    predictions
        Name of a prediction -> its stains as painted, the same axes.
    scale
        Brings each source onto the truth's scale, as uint16.
    memo
        What several levels need of this field and is worked out once.
    light
        The transmitted light, axes YX or ZYX, for pictures; None where it does not lie beside the truth.
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
        """Return a source's stains as they are in the file, axes CYX or CZYX."""
        return self.truth if source == TRUTH else self.predictions[source]

    @cached_property
    def scaled(self) -> Mapping[str, npt.NDArray[np.uint16]]:
        """Source -> its stains on the truth's scale, axes CYX; of a volume the maximum along z."""
        own = self.scale.fitted({source: self.raw(source) for source in self.sources})
        found = {source: own.apply(source, self.raw(source)) for source in self.sources}
        return MappingProxyType({source: each.max(axis=1) if self.is_volume else each for source, each in found.items()})

    def say(self, sentence: str) -> None:
        """Note what a reader should know of this field; what many fields say alike is told once."""
        self.memo.setdefault("notes", []).append(sentence)


@dataclass(frozen=True, eq=False)
class Context:
    """What was asked and is known of all fields.

    Parameters
    ----------
    predictions
        Names of the predictions; the first is the main one.
    stains
        Names of the stains that are judged.
    wells
        What is known of the wells: index ``well``, a column for each of the plate map's; no row where there is no plate.
    roles
        Each of `ROLES` -> its column in `wells`, or None.
    negative, positive
        Wells of the negative and positive controls; empty where none is known.
    settings
        How to evaluate.
    notes
        What a reader should know, one sentence each.
    fields
        Keys of the fields, in order.
    images
        Reads a field again by its key, for the pictures of the best and the worst in `Level.summary`; None where that can't be done, and in
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


def counted(number: int, what: str) -> str:
    """Return a number of things in words: ``1 field``, ``3 fields``."""
    return f"{number} {what}{'' if number == 1 else 's'}"
