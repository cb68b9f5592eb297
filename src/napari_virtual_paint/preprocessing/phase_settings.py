"""`PhaseSettings`: how phase is reconstructed; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from napari_virtual_paint.choices import PhaseMode
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.preprocessing.microscope import Microscope

INVERT = "invert"
"""Last word of `PhaseSettings.to_text` where the planes were taken in the opposite direction."""


@dataclass(frozen=True)
class PhaseSettings:
    """How the phase is reconstructed."""

    microscope: Microscope
    """Optics of the images."""
    mode: PhaseMode | None = None
    """``2d``: one image, of a thin object in the middle plane; ``3d``: a plane for each plane; None: 3d from eight planes on."""
    regularization: float | None = None
    """Strength of the Tikhonov regularization; None: 0.001. Larger is smoother, with less noise and
    less of the slow changes from place to place."""
    z_padding: int = 0
    """Planes by which a 3D stack is extended at both ends, by reflection."""
    invert: bool = False
    """The planes were taken in the opposite direction, so that the sign of the phase changes."""

    def __post_init__(self) -> None:
        if self.regularization is not None and not self.regularization > 0:
            raise InputError(f"The regularization is {self.regularization:g}; give a number above 0, such as 0.001.")
        if self.z_padding < 0:
            raise InputError(f"The padding is {self.z_padding} planes; give 0 or more.")

    def to_text(self) -> str:
        """Return the optics as ``NA,CONDENSER_NA,WAVELENGTH,INDEX``, with ``,invert`` where the planes are in the opposite direction."""
        optics = self.microscope
        numbers = (optics.na, optics.condenser_na, optics.wavelength, optics.index)
        return ",".join([*(f"{number:g}" for number in numbers), *([INVERT] if self.invert else [])])

    @classmethod
    def from_text(cls, text: str) -> PhaseSettings:
        """Return the settings of a text as `to_text` writes it; wavelength and index may be left out.

        Raises
        ------
        InputError
            If it is no such text, or the optics are impossible.
        """
        parts = [part.strip() for part in text.split(",")]
        invert = len(parts) > 2 and parts[-1].casefold() == INVERT
        try:
            numbers = [float(part) for part in (parts[:-1] if invert else parts)]
        except ValueError:
            numbers = []
        if not 2 <= len(numbers) <= 4:
            raise InputError(
                f"The optics {text!r} can't be read; give NA,CONDENSER_NA,WAVELENGTH,INDEX, such as 0.75,0.4,0.532,1.0, "
                "or the name of a microscope that `virtual-paint phase --microscope NAME` kept."
            )
        return cls(Microscope(*numbers), invert=invert)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PhaseSettings:
        """Return the settings of plain values, as `dataclasses.asdict` makes them."""
        return cls(**{**values, "microscope": Microscope(**values["microscope"])})
