"""The transmitted-light microscope that an image was taken with, as far as its optics matter."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path

import platformdirs

from napari_virtual_paint.errors import InputError, WriteError
from napari_virtual_paint.runtime.atomic_write import write_text
from napari_virtual_paint.runtime.json_file import read_object


@dataclass(frozen=True)
class Microscope:
    """Optics of a brightfield microscope."""

    na: float
    """Numerical aperture of the objective."""
    condenser_na: float
    """Numerical aperture of the illumination, as far as the condenser's diaphragm is open."""
    wavelength: float = 0.532
    """Wavelength of the light in vacuum, micrometres (the mean of white light or the filter's)."""
    index: float = 1.33
    """Refractive index of the medium between sample and objective: 1.0 in air, 1.33 in water, 1.515 in oil."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not (isfinite(value) and value > 0):
                raise InputError(f"The microscope's {WORDS[name]} is {value:g}; give a number above 0.")
        if not 0.2 <= self.wavelength <= 2:
            raise InputError(f"The wavelength is {self.wavelength:g} um; light has 0.2 to 2 um, and green light 0.53.")
        if not 1 <= self.index <= 2:
            raise InputError(f"The refractive index is {self.index:g}; give 1.0 for air, 1.33 for water or 1.515 for oil.")
        if self.na >= self.index:
            raise InputError(
                f"The NA {self.na:g} is not below the refractive index {self.index:g}; check both (air 1.0, water 1.33, oil 1.515)."
            )

    @property
    def coherence(self) -> float:
        """NA of the illumination, as a share of the objective's."""
        return self.condenser_na / self.na

    @property
    def cutoff(self) -> float:
        """Highest spatial frequency in an image, cycles per micrometre."""
        return (self.na + self.condenser_na) / self.wavelength


WORDS = {"na": "NA", "condenser_na": "condenser NA", "wavelength": "wavelength", "index": "refractive index"}
"""Field of `Microscope` -> its name in words."""


def microscopes_file() -> Path:
    """Return the file of the user's microscopes."""
    return platformdirs.user_config_path("napari-virtual-paint", appauthor=False) / "microscopes.json"


def saved_microscopes() -> dict[str, Microscope]:
    """Return the user's microscopes by name; entries that can't be used are left out."""
    found = {}
    for name, values in (read_object(microscopes_file()) or {}).items():
        with contextlib.suppress(TypeError, InputError):
            found[name] = Microscope(**values)
    return found


def save_microscope(name: str, microscope: Microscope) -> None:
    """Keep a microscope under a name, instead of an earlier one of that name.

    Raises `WriteError` if the file can't be written.
    """
    path = microscopes_file()
    entries = {**(read_object(path) or {}), name: asdict(microscope)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(path.parent, f"the folder can't be made ({error.strerror or error})") from error
    write_text(path, json.dumps(entries, indent=2, ensure_ascii=False) + "\n")
