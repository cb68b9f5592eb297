"""What a simulated field is made from: frozen settings, treatments and batch effects."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from napari_virtual_paint.errors import InputError

STAINS = ("DNA", "ER", "RNA", "AGP", "Mito")  # names of the stains of Cell Painting, in the order of the simulated channels

MEMBRANE = "Membrane"  # name of the stain of the plasma membrane alone, which a simulated stack has besides `STAINS`

PLANES = (-4.0, 0.0, 4.0)  # focal planes of the brightfield channels in micrometres (Cross-Zamirski 2022, Imaging)

MAX_PIXELS = 8192 * 8192


@dataclass(frozen=True)
class Treatment:
    """How a compound changes cells at full effect; factors are 1 and shares are 0 where it does nothing."""

    name: str  # name in options and tables
    cells: float = 1.0  # factor on the number of cells
    nucleus_area: float = 1.0  # factor on the area of a nucleus
    nucleus_height: float = 1.0  # factor on its thickness
    nucleoli: float = 1.0  # factor on the number of nucleoli of a nucleus
    nucleolus_size: float = 1.0  # factor on the radius of a nucleolus
    spread: float = 1.0  # factor on the radius of a cell
    rounding: float = 0.0  # share by which the outline turns from polygonal to round
    fibres: float = 1.0  # factor on the stress fibres
    arborised: float = 0.0  # share by which the cytoplasm retracts to branches
    lobes: float = 0.0  # share of cells whose nucleus breaks into lobes
    mito_collapse: float = 0.0  # share by which mitochondria gather round the nucleus
    mitotic: float = 1.0  # factor on the share of mitotic cells
    dead: float = 0.0  # floating dead cells added for each hundred cells

    def at(self, effect: float) -> Treatment:
        """Return the treatment at a part of its full effect (0 to 1), every number drawn that far from control."""
        values = {}
        for key, neutral in _NEUTRAL.items():
            values[key] = neutral + effect * (getattr(self, key) - neutral)
        return Treatment(self.name, **values)


_NEUTRAL = MappingProxyType({key: getattr(Treatment("control"), key) for key in Treatment.__dataclass_fields__ if key != "name"})

TREATMENTS = MappingProxyType(
    {
        t.name: t
        for t in (
            Treatment("control"),
            Treatment(
                "mitoxantrone", cells=0.35, nucleus_area=2.1, nucleus_height=0.75, nucleoli=0.4, nucleolus_size=1.55,
                spread=1.35, mitotic=0.0, dead=4.0,
            ),
            Treatment("actin-disruptor", cells=0.85, spread=0.8, rounding=0.75, fibres=0.0, arborised=1.0, nucleus_area=0.9, mitotic=0.8),
            Treatment(
                "tubulin-disruptor", cells=0.65, lobes=0.85, mito_collapse=1.0, rounding=0.8, spread=0.82,
                mitotic=2.5, dead=2.0,
            ),
        )
    }
)  # fmt: skip
"""The treatments by name."""


def effect_of(dose: float) -> float:
    """Return the part of the full effect (0 to 1) at a dose: a Hill curve of slope 2, half its height at dose 0.5."""
    return float(dose**2 / (dose**2 + 0.25)) if dose > 0 else 0.0


@dataclass(frozen=True)
class CellType:
    """How one simulated type of cell differs from the standard one; factors are 1 and shares are 0 where it does not.

    No type is a model of a cell line: each stands for a way in which lines differ (Tonks 2024 compares lung, ovarian and breast cells, the
    last of which lie far sparser).
    """

    name: str  # name in options and tables
    cells: float = 1.0  # factor on the number of cells
    nucleus_area: float = 1.0
    nucleus_height: float = 1.0
    """`nucleus_area` and `nucleus_height`: factors on the area of a nucleus and on its thickness, which the cell's own height follows."""
    nucleoli: float = 1.0
    nucleolus_size: float = 1.0  # `nucleoli` and `nucleolus_size`: factors on the number of nucleoli of a nucleus and on their radius
    spread: float = 1.0  # factor on the radius of a cell
    rounding: float = 0.0  # share by which the outline turns from polygonal to round
    fibres: float = 1.0  # factor on the stress fibres

    def under(self, effect: Treatment) -> Treatment:
        """Return what a treatment makes of these cells: factors are multiplied, of the shares the larger one holds."""
        factors = ("cells", "nucleus_area", "nucleus_height", "nucleoli", "nucleolus_size", "spread", "fibres")
        both = {key: getattr(effect, key) * getattr(self, key) for key in factors}
        return replace(effect, rounding=max(effect.rounding, self.rounding), **both)


STANDARD = "simulated-standard"  # name of the type of cell that is simulated by default

CELL_TYPES = MappingProxyType(
    {
        t.name: t
        for t in (
            CellType(STANDARD),
            CellType(
                "simulated-compact", cells=2.4, nucleus_area=0.72, nucleus_height=1.35, nucleoli=0.7, nucleolus_size=0.9,
                spread=0.62, rounding=0.35, fibres=0.25,
            ),
            CellType(
                "simulated-spread", cells=0.5, nucleus_area=1.45, nucleus_height=0.7, nucleoli=1.4, nucleolus_size=1.1,
                spread=1.4, fibres=1.8,
            ),
        )
    }
)  # fmt: skip
"""The simulated types of cells by name: the standard one; small cells that lie dense, like an epithelium; large, flat, sparse ones."""


@dataclass(frozen=True)
class Batch:
    """Differences between plates that do not concern the cells."""

    illumination: float = 0.0  # fall of the light from the brightest place to the corners, as a share (0 is even light)
    centre: tuple[float, float] = (0.5, 0.5)  # the brightest place in y and x, as shares of the field
    gain: float = 1.0  # factor on every intensity
    offset: float = 0.0  # grey levels added to every intensity

    @classmethod
    def drawn(cls, seed: int) -> Batch:
        """Return the batch effects of one plate, drawn by its number."""
        rng = np.random.default_rng([seed, 0xBA7C])
        y, x = rng.uniform(0.35, 0.65, 2)
        return cls(float(rng.uniform(0.05, 0.3)), (float(y), float(x)), float(rng.uniform(0.7, 1.4)), float(rng.uniform(0, 200)))


@dataclass(frozen=True)
class SimulationSettings:
    """One simulated field of view; the same settings give the same pixels."""

    size: int = 1000  # edge of the square field in pixels
    z: int = 1  # number of planes of a whole brightfield stack with 3D truth; 1 gives the three brightfield planes and projected stains
    treatment: str = "control"  # one of `TREATMENTS`
    dose: float = 1.0  # 0 is control; half the full effect comes at 0.5, 80 % at 1.
    seed: int = 0  # of everything that is drawn by chance
    pixel_size: float = 0.65
    """Micrometres along y and x; 0.65 is a 20x image of 6.5 um camera pixels binned by two, as in Cross-Zamirski 2022."""
    z_step: float = 0.5  # micrometres between the planes of a stack
    density: float = 330.0  # cells a square millimetre in control
    mitotic: float = 0.04  # share of mitotic cells in control
    debris: float = 60.0  # specks a square millimetre
    batch: Batch = field(default_factory=Batch)  # illumination field, gain and offset; none by default
    cell_type: str = STANDARD  # one of `CELL_TYPES`; `density` and `mitotic` are those of the standard type

    def __post_init__(self) -> None:
        if self.treatment not in TREATMENTS:
            raise InputError(f"Treatment {self.treatment!r} is not known; choose one of {', '.join(TREATMENTS)}.")
        if self.cell_type not in CELL_TYPES:
            raise InputError(f"Cell type {self.cell_type!r} is not known; choose one of {', '.join(CELL_TYPES)}.")
        checks = (
            (self.size >= 32 and self.size**2 <= MAX_PIXELS, f"Field size {self.size} px is outside 32 to 8192; choose a size in between."),
            (1 <= self.z <= 512, f"{self.z} planes is outside 1 to 512; choose a number in between."),
            (np.isfinite(self.dose) and self.dose >= 0, f"Dose {self.dose} is not a number from 0 up; choose one that is."),
            (self.seed >= 0, f"Seed {self.seed} is negative; choose a whole number from 0 up."),
            (0.05 <= self.pixel_size <= 5, f"Pixel size {self.pixel_size} um is outside 0.05 to 5; choose a size in between."),
            (0.05 <= self.z_step <= 10, f"Step of {self.z_step} um along z is outside 0.05 to 10; choose one in between."),
            (0 <= self.density <= 3000, f"{self.density} cells a square millimetre is outside 0 to 3000; choose a density in between."),
            (0 <= self.mitotic <= 1, f"Share {self.mitotic} of mitotic cells is outside 0 to 1; choose a share in between."),
        )
        for good, sentence in checks:
            if not good:
                raise InputError(sentence)

    @property
    def effect(self) -> Treatment:
        """The treatment as strong as its dose makes it, on cells of this type."""
        return CELL_TYPES[self.cell_type].under(TREATMENTS[self.treatment].at(effect_of(self.dose)))

    @property
    def stains(self) -> tuple[str, ...]:
        """Names of the stains: the five of Cell Painting; a stack has the membrane too."""
        return STAINS if self.z == 1 else (*STAINS, MEMBRANE)

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels along y and x."""
        return self.size, self.size
