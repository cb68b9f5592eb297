"""What the user chose in the Evaluate dock: one frozen value, its command line, and what is known of it beforehand. No widget."""

from __future__ import annotations

import json
import shlex
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.evaluation.level import LEVELS
from napari_virtual_paint.evaluation.report_files import ABOUT, FOLDER, JOB, PAGE
from napari_virtual_paint.runtime.progress import Progress

FEW = 24
"""Different values of a column up to which each is offered as a choice of controls."""
ROLES = ("treatment", "moa", "batch")


@dataclass(frozen=True)
class EvaluateState:
    """One choice in the Evaluate dock.

    Parameters
    ----------
    source
        Whether paths are compared, or layers of the viewer.
    predictions
        Name (empty for its file's) and path of each; the first is the main one.
    truth
        Path of the true stains.
    levels
        Of `LEVELS`.
    plate_map
        A table of what is in the wells; empty for none.
    treatment, moa, batch
        Columns; empty where they are found by their names.
    controls, positive
        Which wells are controls, ``COLUMN=VALUE``; empty where they are found.
    segmenter
        What finds cells.
    workers
        Processes; 0 for as many as there are cores.
    output
        The report's folder.
    """

    source: Literal["paths", "layers"] = "paths"
    predictions: tuple[tuple[str, str], ...] = (("", ""),)
    truth: str = ""
    levels: tuple[str, ...] = LEVELS
    plate_map: str = ""
    treatment: str = ""
    moa: str = ""
    batch: str = ""
    controls: str = ""
    positive: str = ""
    segmenter: Literal["auto", "skimage", "cellpose"] = "auto"
    workers: int = 0
    output: str = ""

    @property
    def given(self) -> tuple[tuple[str, str], ...]:
        """The predictions that have a path."""
        return tuple((name.strip(), path.strip()) for name, path in self.predictions if path.strip())


@dataclass(frozen=True, eq=False)
class Known:
    """What is known before anything is judged.

    Parameters
    ----------
    said
        In words: how many fields and wells, which stains, how many controls; and what a user should know.
    columns
        Columns of what is known of the wells.
    values
        ``COLUMN=VALUE`` of columns with few values.
    found
        What was found by itself where nothing was chosen: ``treatment``, ``moa`` ... -> the column; ``controls``, ``positive`` -> how many.
    """

    said: str
    columns: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    found: Mapping[str, str] = field(default_factory=dict)


def missing(choice: EvaluateState) -> str:
    """Return what is still to be chosen, as a sentence; empty where nothing is."""
    if choice.source == "paths":
        if not choice.given:
            return "Choose a prediction: a field's file, a folder of fields, or a plate."
        if not choice.truth.strip():
            return "Choose the true stains; they may be the plate that was painted."
    if not choice.levels:
        return "Choose a level."
    if not choice.output.strip():
        return "Choose a folder for the report."
    return ""


def arguments(choice: EvaluateState) -> list[str]:
    """Return the arguments of ``virtual-paint`` that evaluate this."""
    (name, main), *others = choice.given or (("", "PREDICTION"),)
    parts = [
        "evaluate",
        main,
        choice.truth.strip() or "TRUTH",
        "--level",
        ",".join(choice.levels) or "all",
        "-o",
        choice.output or "REPORT",
    ]
    parts += ["--name", name] if name else []
    for called, path in others:
        parts += ["--also", f"{called}={path}" if called or "=" in path else path]
    options = {"--plate-map": choice.plate_map, "--controls": choice.controls, "--positive": choice.positive}
    options |= {f"--{role}": getattr(choice, role) for role in ROLES}
    for option, value in options.items():
        parts += [option, value.strip()] if value.strip() else []
    parts += ["--segmenter", choice.segmenter] if choice.segmenter != "auto" else []
    return parts + (["--workers", str(choice.workers)] if choice.workers else [])


def command(choice: EvaluateState) -> str:
    """Return the command line that evaluates this."""
    return shlex.join(["virtual-paint", *arguments(choice)])


def default_output(choice: EvaluateState) -> str:
    """Return where a report goes if nobody says: beside the prediction, named after it; empty without one."""
    if not choice.given:
        return ""
    path = Path(choice.given[0][1])
    name = path.name.split(".")[0] or "evaluation"
    return str(path.parent / f"{name}-report")


def look(choice: EvaluateState) -> Generator[Progress, None, Known]:
    """Find out what would be compared (on a worker): nothing is judged, and of the pixels the first field's alone are looked at.

    Raises
    ------
    InputError
        If something can't be used, or nothing pairs; the sentence says what.
    """
    from napari_virtual_paint.evaluation.run.prepare import EvaluationRequest, prepare
    from napari_virtual_paint.evaluation.wells import ControlSelection

    yield Progress(0, 1, "Looking at what is compared")
    wells = ControlSelection(
        treatment=choice.treatment.strip() or None,
        moa=choice.moa.strip() or None,
        batch=choice.batch.strip() or None,
        negative=choice.controls.strip() or None,
        positive=choice.positive.strip() or None,
    )
    table = Path(choice.plate_map.strip()).expanduser() if choice.plate_map.strip() else None
    context = prepare(EvaluationRequest(choice.given, choice.truth.strip(), table, choice=wells)).context
    frame = context.wells
    values = []
    for name in frame.columns:
        there = sorted({str(value) for value in frame[name] if value is not None and value == value}, key=str)
        values += [f"{name}={value}" for value in there] if len(there) <= FEW else []
    found = {role: str(context.role(role) or "none") for role in ROLES}
    found |= {"controls": _count(len(context.negative), "well"), "positive": _count(len(context.positive), "well")}
    return Known(_said(context), tuple(map(str, frame.columns)), tuple(values), found)


def _said(context: Any) -> str:
    """Return what would be compared, in words."""
    parts = [_count(len(context.fields), "field")]
    if len(context.wells):
        parts.append(_count(len(context.wells), "well"))
        parts.append(_count(len(context.negative), "negative control"))
        parts.append(_count(len(context.positive), "positive control"))
    parts += [", ".join(context.stains), " and ".join(context.predictions)]
    return " · ".join(parts)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("s" if number != 1 else "")


def asked_before(report: Path) -> EvaluateState:
    """Return what a report answers, finished or not, so that it can be gone on with.

    Raises
    ------
    InputError
        If the folder is no report.
    """
    job = _load(report / FOLDER / JOB)
    about = _load(report / ABOUT)
    asked = job or about.get("asked") or {}
    predictions, truth = asked.get("predictions"), asked.get("truth")
    if not isinstance(predictions, Mapping) or not isinstance(truth, str):
        raise InputError(f"{report}: it is no report; choose a folder that an evaluation wrote, or began to.")
    segmenter = asked.get("segmenter")
    found = EvaluateState(
        predictions=tuple((str(name), str(path)) for name, path in predictions.items()),
        truth=truth,
        levels=tuple(name for name in LEVELS if name in about.get("levels", LEVELS)),
        plate_map=_text(asked.get("plate map")),
        controls=_text(asked.get("choice of negative")),
        positive=_text(asked.get("choice of positive")),
        segmenter=segmenter if segmenter in ("skimage", "cellpose") else "auto",
        output=str(report),
    )
    return replace(found, **{role: _text(asked.get(f"choice of {role}")) for role in ROLES})  # type: ignore[arg-type]


def is_finished(report: Path) -> bool:
    """Whether a report's page is there."""
    return (report / PAGE).is_file()


def is_begun(report: Path) -> bool:
    """Whether a folder holds a report, finished or not."""
    return (report / FOLDER / JOB).is_file()


def _load(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
