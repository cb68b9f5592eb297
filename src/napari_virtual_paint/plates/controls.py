"""What the wells of a plate got, and which of them are negative controls, by the plate map."""

from __future__ import annotations

from napari_virtual_paint.plates.doses import UNTREATED
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.plates.well_roles import NEGATIVE, column_of_role


def treatments(plate: Plate) -> tuple[dict[str, str], frozenset[str]]:
    """Return the treatment of each well and the negative controls, by the plate map; empty where it does not tell."""
    column, marked = (column_of_role(plate.columns, role) for role in ("treatment", "control"))
    groups = {well: str(plate.metadata.get(well, {}).get(column, "")).strip() for well in plate.wells} if column else {}
    groups = {well: name for well, name in groups.items() if name}
    controls = {well for well, name in groups.items() if name.casefold() in UNTREATED}
    if marked:
        controls |= {well for well in plate.wells if str(plate.metadata.get(well, {}).get(marked, "")).strip().casefold() in NEGATIVE}
    return groups, frozenset(controls)
