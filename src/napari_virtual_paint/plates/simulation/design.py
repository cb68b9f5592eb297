"""PlateDesign: contents and seeds of the wells of a simulated plate."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.plates import wells
from napari_virtual_paint.plates.plate import Field
from napari_virtual_paint.samples.settings import STANDARD, TREATMENTS, Batch, SimulationSettings
from napari_virtual_paint.samples.simulator import BRIGHTFIELD_CHANNELS

CONTROL = "control"
CHANNELS = (*BRIGHTFIELD_CHANNELS, *SimulationSettings().stains)  # channels of a field of a plate

COLUMNS = ("well", "treatment", "dose", "control", "batch", "seed")  # columns of the plate map

Controls = Literal["columns", "spread"]


@dataclass(frozen=True)
class PlateDesign:
    """A simulated plate; the same design gives the same pixels in every layout and with any number of processes.

    Raises
    ------
    InputError
        If there can't be such a plate.
    """

    shape: tuple[int, int] = (8, 12)  # rows and columns
    fields: int = 1  # fields of view per well
    treatments: tuple[str, ...] = tuple(name for name in TREATMENTS if name != CONTROL)
    """Names of treatments (see `napari_virtual_paint.samples.TREATMENTS`)."""
    doses: tuple[float, ...] = (0.5, 1.0, 2.0)  # doses of each treatment
    replicates: int | None = None
    """Wells per treatment and dose; None takes as many as fit and, if not even one of each fits, leaves out the lowest doses. Remaining
    wells are controls."""
    controls: Controls = "columns"
    """Untreated wells: whole columns at the sides of the plate, as in most screens, or as many wells spread over the plate."""
    batch: int | None = None  # number of the plate, from which its uneven light, gain and offset are drawn; None for none
    size: int = 1000  # side of a field in pixels
    seed: int = 0  # seed of all random choices, from which those of the wells are derived, and from these those of their fields
    pixel_size: float = 0.65  # micrometres along y and x
    cell_type: str = STANDARD
    """One of `napari_virtual_paint.samples.CELL_TYPES`; a type other than the standard one has a column in the plate map."""

    def __post_init__(self) -> None:
        rows, columns = self.shape
        checks = (
            (1 <= rows <= 32 and 1 <= columns <= 48, f"A plate of {rows} x {columns} wells is outside 1 x 1 to 32 x 48."),
            (1 <= self.fields <= 1000, f"{self.fields} fields per well is outside 1 to 1000; choose a number in between."),
            (self.replicates is None or self.replicates >= 1, f"{self.replicates} replicates can't be simulated; give 1 or more."),
            (self.controls in ("columns", "spread"), f"Controls lie in columns or are spread, not {self.controls!r}."),
            (self.batch is None or self.batch >= 0, f"Batch {self.batch} is negative; choose a whole number from 0 up."),
            (all(dose > 0 for dose in self.doses), "A dose of 0 is a control, of which the plate has some anyway; leave it out."),
        )
        for good, sentence in checks:
            if not good:
                raise InputError(sentence)
        for treatment, dose in itertools.product(self.treatments or (CONTROL,), self.doses or (1.0,)):
            SimulationSettings(self.size, 1, treatment, dose, self.seed, self.pixel_size, cell_type=self.cell_type)
        _ = self.treated  # raises an error now if the replicates don't fit

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the plate map."""
        return COLUMNS if self.cell_type == STANDARD else (*COLUMNS[:-1], "cell_type", COLUMNS[-1])

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters as plain values; the standard cell type is left out, as in designs from before there were several."""
        values = asdict(self)
        return {key: value for key, value in values.items() if (key, value) != ("cell_type", STANDARD)}

    @cached_property
    def conditions(self) -> tuple[tuple[str, float], ...]:
        """Treatment and dose of the conditions, the highest dose first."""
        names = [name for name in dict.fromkeys(self.treatments) if name != CONTROL]
        return tuple((name, dose) for dose in sorted(set(self.doses), reverse=True) for name in names)

    @cached_property
    def treated(self) -> Mapping[str, tuple[str, float]]:
        """Well -> treatment and dose, for all wells, by row and column."""
        rng = np.random.default_rng([self.seed, 0x91A7E])
        names = [wells.well_name(*place) for place in np.ndindex(self.shape)]
        free = [names[i] for i in rng.permutation(len(names)) if names[i] not in self._control_columns()]
        if self.controls == "spread":
            free = [names[i] for i in rng.permutation(len(names))][: len(free)]
        found = dict.fromkeys(names, (CONTROL, 0.0))
        found.update(zip(free, self._treatments_of(len(free)), strict=False))
        return found

    def _control_columns(self) -> set[str]:
        """Return the wells in the columns of controls: the outermost on both sides, or only the first one on small plates."""
        rows, columns = self.shape
        if not self.conditions or columns < 2:
            return set()
        width = max(1, columns // 12)
        controls = {0} if columns < 12 else {*range(width), *range(columns - width, columns)}
        return {wells.well_name(row, column) for row in range(rows) for column in controls}

    def _treatments_of(self, count: int) -> list[tuple[str, float]]:
        """Return the conditions of so many wells that are no controls."""
        if not self.conditions:
            return []
        replicates = self.replicates or max(1, count // len(self.conditions))
        conditions = list(self.conditions) * replicates
        if len(conditions) > count and self.replicates is not None:
            raise InputError(
                f"{len(self.conditions)} conditions x {replicates} replicates are {len(conditions)} wells, and beside the controls there is"
                f" room for {count}; use fewer, or a larger plate."
            )
        return conditions[:count]

    @cached_property
    def all_fields(self) -> tuple[Field, ...]:
        """All fields, named 0, 1 ... in each well, by row and column."""
        return tuple(Field(well, str(i)) for well in self.treated for i in range(self.fields))

    def well_seed(self, well: str) -> int:
        """Return the seed of a well, which does not depend on the size of the plate or on other wells."""
        return int(np.random.SeedSequence([self.seed, *wells.position(well)]).generate_state(1)[0])

    def settings(self, field: Field) -> SimulationSettings:
        """Return the settings by which a field is simulated."""
        treatment, dose = self.treated[field.well]
        seed = int(np.random.SeedSequence([self.well_seed(field.well), int(field.name)]).generate_state(1)[0])
        batch = Batch() if self.batch is None else Batch.drawn(self.batch)
        return SimulationSettings(self.size, 1, treatment, dose, seed, self.pixel_size, batch=batch, cell_type=self.cell_type)

    def metadata_of(self, well: str) -> dict[str, Any]:
        """Return the metadata of a well: treatment, dose, control (yes or no), seed and, if they are set, batch and cell type."""
        treatment, dose = self.treated[well]
        row = {"treatment": treatment, "dose": dose, "control": "yes" if treatment == CONTROL else "no"}
        row |= {} if self.batch is None else {"batch": self.batch}
        row |= {} if self.cell_type == STANDARD else {"cell_type": self.cell_type}
        return row | {"seed": self.well_seed(well)}

    @property
    def metadata(self) -> dict[str, dict[str, Any]]:
        """Well -> its metadata (see `metadata_of`)."""
        return {well: self.metadata_of(well) for well in self.treated}


def plate_name(path: Path) -> str:
    """Return the name of the plate at a path: that of the folder without .zarr."""
    return path.name.removesuffix(".zarr").removesuffix(".ome") or "plate"


def parse_shape(text: str) -> tuple[int, int]:
    """Return rows and columns of a plate, given by its number of wells (6 to 1536) or as ROWSxCOLS.

    Raises `InputError` if the text is neither.
    """
    if len(text) < 9 and text.isdecimal() and int(text) in wells.FORMATS:  # of thousands of digits Python makes no number
        return wells.FORMATS[int(text)]
    match = re.fullmatch(r"(\d{1,3})\s*[x×*]\s*(\d{1,3})", text.strip(), re.IGNORECASE)
    if match is None:
        raise InputError(f"{text!r} is no plate; give {', '.join(map(str, wells.FORMATS))} or rows x columns such as 4x6.")
    return int(match[1]), int(match[2])
