"""Roles of a plate map's columns (treatment, dose, control ...), by their usual names."""

from __future__ import annotations

import re
from collections.abc import Iterable

ROLE_NAMES: dict[str, tuple[str, ...]] = {
    "treatment": ("treatment", "compound", "compoundname", "drug", "pertiname", "perturbation", "compoundid", "broadsample", "name"),
    "dose": ("dose", "concentration", "conc", "mmolesperliter", "mgperml"),
    "control": ("control", "iscontrol", "controltype", "perttype", "role"),
    "moa": ("moa", "mechanism", "mechanismofaction", "target", "class"),
    "batch": ("batch", "batchid", "run", "experiment"),
    "plate": ("plate", "plateid", "barcode", "platename", "assayplatebarcode"),
}
"""Role -> names of its column, in lower case and without any other character than letters; the name of a dose may end in a unit."""

NEGATIVE = {"yes", "true", "1", "y", "negative", "negcon", "neg", "negativecontrol", "vehicle", "dmso", "control", "trt_ctrl", "untreated"}
"""What a well without treatment may be called, in lower case."""

_UNIT = re.compile(r"(?:in)?(?:[fpnum]?m|mol(?:ar)?|[pnum]?gp?e?r?ml|mgl|percent)?")
"""What may follow the name of a dose: ``dose_uM``, ``Conc [nM]``, ``concentration (ug/ml)``."""


def plain_name(column: str) -> str:
    """Return a column's name in lower case, letters alone: ``Metadata_Dose (µM)`` becomes ``doseum``."""
    text = re.sub(r"^(image_)?metadata_", "", column.strip().casefold())
    return re.sub(r"[^a-z]", "", text.replace("\u00b5", "u").replace("\u03bc", "u"))


def is_role(column: str, role: str) -> bool:
    """Return whether a column has a usual name of a role."""
    name = plain_name(column)
    if name in ROLE_NAMES[role]:
        return True
    return role == "dose" and any(name.startswith(word) and _UNIT.fullmatch(name, len(word)) for word in ("dose", "concentration", "conc"))


def column_of_role(columns: Iterable[str], role: str) -> str | None:
    """Return the column of a role: the one whose name comes first among the usual ones, or None."""
    known = [name for name in columns if is_role(name, role)]
    rank = {name: i for i, name in enumerate(ROLE_NAMES[role])}
    return min(known, key=lambda name: rank.get(plain_name(name), len(rank)), default=None)
