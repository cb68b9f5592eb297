"""`Evaluation`: the result, from which the JSON, the tables and the page are written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.evaluation.context import Context
from napari_virtual_paint.evaluation.level import Findings

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Result of an evaluation."""

    findings: Mapping[str, Findings]  # level -> findings, in the order of `LEVELS`
    context: Context
    predictions: Mapping[str, str]
    truth: str  # `predictions` and `truth`: name of a prediction -> its absolute path, and that of the truth
    fields: int
    failed: pd.DataFrame  # fields that failed: columns ``field``, ``well``, ``reason``
    request: Mapping[str, Any] = field(default_factory=dict)  # the request, as plain values
    versions: Mapping[str, str] = field(default_factory=dict)  # package -> version
    models: Mapping[str, str] = field(default_factory=dict)
    """Prediction -> the model that made it, by the provenance of its images, if known."""
    output: Path | None = None  # the report folder; None if nothing was stored
    created: str = ""  # time of creation, ISO
    seconds: float = 0.0

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes, one sentence each: on the whole, then on each level."""
        return tuple(dict.fromkeys((*self.context.notes, *(note for each in self.findings.values() for note in each.notes))))

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values; undefined is None.

        ``level`` (names, with commas), ``fields``, ``failed`` (numbers), ``predictions`` (names), ``notes``, and each level's section for
        the main prediction under the level's name. With other predictions ``also`` has the same sections by name, and ``deltas`` their
        differences from the main one, each with its ``level``.
        """
        main: dict[str, Any] = {
            "level": ",".join(self.findings),
            "fields": self.fields,
            "failed": len(self.failed),
            "predictions": list(self.predictions),
            "notes": list(self.notes),
            **{level: found.section for level, found in self.findings.items()},
        }
        others = list(self.predictions)[1:]
        if others:
            main["also"] = {name: {level: found.others.get(name) for level, found in self.findings.items()} for name in others}
            main["deltas"] = [
                {"level": level, **row}
                for level, found in self.findings.items()
                if found.deltas is not None
                for row in found.deltas.to_dict("records")
            ]
        plain: dict[str, Any] = to_plain(main)
        return plain


def to_plain(value: Any) -> Any:
    """Convert to JSON values: undefined or non-finite becomes None, NumPy numbers plain, paths text."""
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return to_plain(value.tolist())
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return None if type(value).__name__ in ("NAType", "NaTType") else str(value)
