"""Build the report of an evaluation: inputs, headline, and each level's figures, in one HTML file."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.evaluation.level import Figure, Findings
from napari_virtual_paint.evaluation.report.headline import rows_of, summarize_wins
from napari_virtual_paint.evaluation.report.page import Page, Section, write_page
from napari_virtual_paint.evaluation.report.tables import text_of, words

if TYPE_CHECKING:
    import pandas as pd

    from napari_virtual_paint.evaluation.result import Evaluation

LEVELS: Mapping[str, tuple[str, str]] = {
    "pixels": ("Pixels", "How alike are the pictures, pixel by pixel, in the whole field and where cells are?"),
    "instances": (
        "Cells and nuclei",
        "Are the same nuclei and cells found in the prediction as in the truth, in the same places and shapes?",
    ),
    "features": (
        "Features of cells",
        "Do measurements of cells come out the same: which kinds of features can be read from a prediction, and which can't?",
    ),
    "profiles": ("Profiles of wells", "Would the same conclusions be drawn on treatments: toxicity, mechanism of action, hits?"),
}
"""Level -> heading, and the question it answers."""


SHOWN_ELSEWHERE = ("truth", "predictions", "stains", "gamma", "seed", "bootstrap", "scale", "segmenter", "levels")
"""Parts of the request that the page shows elsewhere."""


def write_report(report: Evaluation, path: Path) -> None:
    """Write a report atomically as one HTML file that opens offline and needs no other.

    The same report gives the same bytes.

    Parameters
    ----------
    path
        The file; an existing one is replaced.

    Raises
    ------
    InputError
        If jinja2 or plotly is not installed.
    WriteError
        If the file can't be written.
    """
    write_page(page_of(report), path)


def page_of(report: Evaluation) -> Page:
    """Return a report as a page."""
    predictions = tuple(report.context.predictions)
    sections = tuple(_section(level, found, predictions) for level, found in report.findings.items())
    if len(report.failed):
        sections = (*sections, _failures(report.failed))
    own = {note for section in sections for note in section.notes}
    return Page(
        title=f"{' and '.join(predictions) if len(predictions) < 3 else f'{len(predictions)} predictions'} against the truth",
        lead=_lead(report),
        sections=sections,
        facts=tuple((name, value) for name, value in _facts(report) if value),
        predictions=predictions,
        notes=tuple(note for note in report.notes if note not in own),
        verdict=summarize_wins((row for section in sections for row in section.head), predictions),
    )


def _section(level: str, found: Findings, predictions: tuple[str, ...]) -> Section:
    """Return a level as a section; differences between predictions come last."""
    title, question = LEVELS.get(level, (words(level).capitalize(), ""))
    figures, tables = found.figures, ChainMap[str, Any]({}, found.tables)  # type: ignore[arg-type]  # is not written to
    if found.deltas is not None and len(found.deltas):
        name = f"{level}_deltas"
        drawn = any(figure.table == name and figure.kind == "table" for figure in figures)
        tables.setdefault(name, found.deltas)
        if not drawn:
            figures = (*figures, _deltas_figure(name, title, predictions))
    return Section(level, title, question, figures, tables, found.notes, rows_of(found, predictions))


def _deltas_figure(name: str, title: str, predictions: tuple[str, ...]) -> Figure:
    caption = (
        f"Is {predictions[0]} better than the other{'s' if len(predictions) > 2 else ''}, or could it be chance? Each row is the mean of "
        f"{predictions[0]} less that of the prediction it is held against, over the same wells or fields, with its 95 % bootstrap interval "
        "and a paired test; p is also given corrected for the number of tests."
    )
    return Figure(name, f"{title}: differences between predictions", caption, "table", name)


def _failures(failed: pd.DataFrame) -> Section:
    caption = "Fields that could not be evaluated, and why. No figure above includes them."
    return Section("failed", "Fields left out", "", (Figure("failed", "Fields left out", caption, "table", "failed"),), {"failed": failed})


def _lead(report: Evaluation) -> str:
    """Return the sentence below the title."""
    context = report.context
    wells = len({key.rsplit("/", 1)[0] for key in context.fields}) if len(context.wells) else 0
    fields = f"{report.fields} {'field' if report.fields == 1 else 'fields'}"
    where = f" in {wells} {'well' if wells == 1 else 'wells'}" if wells else ""
    return f"{fields}{where}; stains: {', '.join(context.stains)}."


def _facts(report: Evaluation) -> Iterator[tuple[str, str]]:
    """Yield the inputs and settings."""
    context, settings = report.context, report.context.settings
    yield "Truth", report.truth
    for name, path in report.predictions.items():
        yield f"Prediction {name}", "; ".join(filter(None, [report.models.get(name, ""), path]))
    yield "Made", _moment(report.created)
    yield "Versions", ", ".join(f"{name} {version}" for name, version in report.versions.items())
    roles = ", ".join(f"{role}: {column}" for role, column in context.roles.items() if column)
    yield "Columns of the plate map", roles
    yield (
        "Controls",
        ", ".join(
            f"{len(wells)} {kind} ({_some(wells)})"
            for kind, wells in (("negative", context.negative), ("positive", context.positive))
            if wells
        ),
    )
    yield (
        "Settings",
        f"cells found by {settings.segmenter} after gamma {settings.gamma:g}; pixels scored as {settings.scale}; "
        f"{settings.bootstrap} bootstrap samples; seed {settings.seed}",
    )
    request = {name: value for name, value in report.request.items() if name not in SHOWN_ELSEWHERE and _telling(value)}
    yield "Other settings", ", ".join(f"{words(name)} {_plain(value)}" for name, value in request.items())


def _telling(value: Any) -> bool:
    return value not in (None, "", (), [], {}) and not isinstance(value, Mapping)


def _plain(value: Any) -> str:
    return ", ".join(map(text_of, value)) if isinstance(value, (list, tuple)) else text_of(value)


def _some(wells: tuple[str, ...], most: int = 6) -> str:
    return ", ".join(wells[:most]) + (" …" if len(wells) > most else "")


def _moment(created: str) -> str:
    """Return an ISO time for display."""
    return created.partition(".")[0][:19].replace("T", " ") + (" UTC" if created.endswith(("+00:00", "Z")) else "")
