"""The choices of the Evaluate dock as one frozen value, its command line, and a summary of its inputs. No widget."""

from __future__ import annotations

import shlex
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from napari_virtual_paint.choices import LEVELS, Segmenter
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.evaluation.report_files import ABOUT, FOLDER, JOB, PAGE
from napari_virtual_paint.runtime.contention import slowdown
from napari_virtual_paint.runtime.json_file import read_object
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.runtime.text import counted

FEW = 24  # most different values that a column may have for its values to be offered as controls
COLUMNS = ("treatment", "moa", "batch")  # roles that a column of the plate map may have, and that the user may choose
WELLS = {**{name: name for name in COLUMNS}, "controls": "negative", "positive": "positive"}
"""Field of `EvaluateState` (and option of the command line) -> field of the engine's `ControlSelection`."""


@dataclass(frozen=True)
class EvaluateState:
    """What to compare, and how."""

    source: Literal["paths", "layers"] = "paths"  # whether files or layers of the viewer are compared
    predictions: tuple[tuple[str, str], ...] = (("", ""),)  # name (empty for its file's) and path of each; the first is the main one
    truth: str = ""  # path of the true stains
    levels: tuple[str, ...] = LEVELS  # some of `LEVELS`
    plate_map: str = ""  # A table of what is in the wells; empty for none
    treatment: str = ""
    moa: str = ""
    batch: str = ""  # `treatment`, `moa` and `batch`: columns; empty to find them by their names
    controls: str = ""
    positive: str = ""  # `controls` and `positive`: which wells are negative and positive controls, ``COLUMN=VALUE``; empty to find them
    segmenter: Segmenter = "auto"  # what finds cells
    workers: int = 0  # number of processes; 0 for as many as there are cores
    output: str = ""  # the report's folder

    @property
    def given(self) -> tuple[tuple[str, str], ...]:
        """The predictions that have a path."""
        return tuple((name.strip(), path.strip()) for name, path in self.predictions if path.strip())


@dataclass(frozen=True, eq=False)
class InputSummary:
    """What an evaluation would compare."""

    text: str  # how many fields and wells, which stains and predictions, how many controls; or what is wrong with the inputs
    columns: tuple[str, ...] = ()  # columns of the plate map
    values: tuple[str, ...] = ()  # ``COLUMN=VALUE`` of columns with few values
    found: Mapping[str, str] = field(default_factory=dict)
    """What is used where nothing is chosen: ``treatment``, ``moa`` ... -> the column; ``controls``, ``positive`` -> how many wells."""
    seconds: float | None = None  # estimate of how long the evaluation takes; None where the inputs can't be used


def missing(choice: EvaluateState) -> str:
    """Return a sentence on what is still to be chosen; empty where nothing is."""
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
    """Return the arguments of ``virtual-paint`` for this evaluation."""
    # Placeholders in capitals keep the copied command readable while something is still missing.
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
    for name in ("plate_map", *WELLS):
        value = getattr(choice, name).strip()
        parts += [f"--{name.replace('_', '-')}", value] if value else []
    parts += ["--segmenter", choice.segmenter] if choice.segmenter != "auto" else []
    return parts + (["--workers", str(choice.workers)] if choice.workers else [])


def command(choice: EvaluateState) -> str:
    """Return the command line of this evaluation."""
    return shlex.join(["virtual-paint", *arguments(choice)])


def default_output(choice: EvaluateState) -> str:
    """Return the default folder of the report: beside the first prediction, named after it; empty without one."""
    if not choice.given:
        return ""
    path = Path(choice.given[0][1])
    name = path.name.split(".")[0] or "evaluation"
    return str(path.parent / f"{name}-report")


def summarize_inputs(choice: EvaluateState) -> Generator[Progress, None, InputSummary]:
    """Find out what would be compared (on a worker); of the pixels only the first field's are read.

    Raises `InputError` if something can't be used, or nothing pairs; the sentence says what.
    """
    from napari_virtual_paint.evaluation.run.pace import estimate
    from napari_virtual_paint.evaluation.run.prepare import EvaluationRequest, prepare
    from napari_virtual_paint.evaluation.wells import ControlSelection

    yield Progress(0, 1, "Inspecting the inputs")
    wells = ControlSelection(**{other: getattr(choice, name).strip() or None for name, other in WELLS.items()})
    table = Path(choice.plate_map.strip()).expanduser() if choice.plate_map.strip() else None
    prepared = prepare(EvaluationRequest(choice.given, choice.truth.strip(), table, choice=wells))
    context = prepared.context
    values: list[str] = []
    for name, column in context.wells.items():
        different = sorted({str(value) for value in column if value is not None and value == value})  # NaN differs from itself
        values += [f"{name}={value}" for value in different] if len(different) <= FEW else []
    controls = {"controls": counted(len(context.negative), "well"), "positive": counted(len(context.positive), "well")}
    found = {role: str(context.role(role) or "none") for role in COLUMNS} | controls
    seconds = None
    if choice.levels:
        seconds = slowdown() * sum(estimate(len(prepared.keys), prepared.field_bytes, choice.levels, choice.workers).values())
    return InputSummary(_summary_text(context), tuple(map(str, context.wells.columns)), tuple(values), found, seconds)


def _summary_text(context: Any) -> str:
    parts = [counted(len(context.fields), "field")]
    if len(context.wells):
        parts.append(counted(len(context.wells), "well"))
        parts.append(counted(len(context.negative), "negative control"))
        parts.append(counted(len(context.positive), "positive control"))
    return " · ".join([*parts, ", ".join(context.stains), " and ".join(context.predictions)])


def state_of_report(report: Path) -> EvaluateState:
    """Return the choices that a report was made with, finished or not, so that it can be continued.

    Raises `InputError` if the folder is no report.
    """
    job, about = read_object(report / FOLDER / JOB) or {}, read_object(report / ABOUT) or {}
    request = job or about.get("asked") or {}
    predictions, truth = request.get("predictions"), request.get("truth")
    if not isinstance(predictions, Mapping) or not isinstance(truth, str):
        raise InputError(f"{report}: it is no report; choose a folder that an evaluation wrote, or began to.")
    segmenter = request.get("segmenter")
    others: dict[str, Any] = {name: _text(request.get(f"choice of {other}")) for name, other in WELLS.items()}
    others["segmenter"] = segmenter if segmenter in get_args(Segmenter) else "auto"
    return EvaluateState(
        predictions=tuple((str(name), str(path)) for name, path in predictions.items()),
        truth=truth,
        levels=tuple(name for name in LEVELS if name in about.get("levels", LEVELS)),
        plate_map=_text(request.get("plate map")),
        output=str(report),
        **others,
    )


def is_finished(report: Path) -> bool:
    """Return whether a report has been written."""
    return (report / PAGE).is_file()


def is_begun(report: Path) -> bool:
    """Return whether a folder holds an evaluation, finished or not."""
    return (report / FOLDER / JOB).is_file()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
