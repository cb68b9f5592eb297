"""One page in one file: figures, tables and images inside, no external requests."""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.evaluation.report.colours import of_sources
from napari_virtual_paint.evaluation.report.figures import DRAWINGS, draw
from napari_virtual_paint.evaluation.report.headline import HeadlineRow
from napari_virtual_paint.evaluation.report.images import EmbeddedPicture, left_out, pictures
from napari_virtual_paint.evaluation.report.plot import Plot, UndrawableError
from napari_virtual_paint.evaluation.report.tables import BESIDE, SHOWN, Csv, Shown, csv_of, shown
from napari_virtual_paint.runtime.atomic_write import write_text
from napari_virtual_paint.runtime.extras import check_installed, require

if TYPE_CHECKING:
    import jinja2
    import pandas as pd

    from napari_virtual_paint.evaluation.level import Figure, Tables

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, eq=False)
class Section:
    """One section of the page."""

    name: str  # anchor for links
    title: str
    question: str = ""  # `title` and `question`: heading, and the question it answers
    figures: tuple[Figure, ...] = ()  # in order
    tables: Tables = field(default_factory=dict)  # tables that the figures are drawn from
    notes: tuple[str, ...] = ()
    head: tuple[HeadlineRow, ...] = ()  # its rows of the headline


@dataclass(frozen=True, eq=False)
class Page:
    """A whole page."""

    title: str
    lead: str  # `title` and `lead`: its title and the sentence below
    sections: tuple[Section, ...]  # in order
    facts: tuple[tuple[str, str], ...] = ()  # inputs and settings: name, text
    predictions: tuple[str, ...] = ()  # names of the predictions, which determine their colors; may be empty
    notes: tuple[str, ...] = ()
    verdict: str = ""  # the sentence above the headline table


@dataclass(frozen=True)
class FigureBlock:
    """A figure as the template takes it."""

    id: str
    kind: str
    title: str
    caption: str
    plot: Plot | None
    data: dict[str, Any] | None
    table: Shown | None
    csv: Csv | None
    csv_of: str
    pictures: tuple[EmbeddedPicture, ...]
    across: int
    notes: tuple[str, ...]


def write_page(page: Page, path: Path) -> None:
    """Write a page atomically as one self-contained HTML file. The same page gives the same bytes.

    Parameters
    ----------
    page
        The page. All names in it are treated as text, never as markup.
    path
        The file; an existing one is replaced.

    Raises
    ------
    InputError
        If jinja2 or plotly is not installed, or an image is invalid.
    WriteError
        If the file can't be written.
    """
    write_text(path, render(page))


def render(page: Page) -> str:
    """Return the page as HTML."""
    template = _environment().get_template("report.html.j2")
    stored: dict[str, str] = {}
    names = {"head", "facts", "main", "theme", "large", *(section.name for section in page.sections)}
    blocks = {section.name: tuple(_blocks(section, page, stored, names)) for section in page.sections}
    drawn = any(block.plot is not None for each in blocks.values() for block in each)
    scripts = [_plotly()] if drawn else []
    scripts.append(_own("report.js"))
    return template.render(
        page=page,
        blocks=blocks,
        colours=of_sources(page.predictions),
        head=any(section.head for section in page.sections),
        style=_own("report.css"),
        scripts=scripts,
        hashes=" ".join(f"'sha256-{_digest(each)}'" for each in scripts),
    )


@cache
def _environment() -> jinja2.Environment:
    """Return jinja's environment: everything is escaped, and an undefined name is an error."""
    check_installed("jinja2", extra="evaluate", purpose="The report")
    import jinja2

    loader = jinja2.FileSystemLoader(TEMPLATES)
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _plotly() -> str:
    """Return plotly's own script."""
    offline = require("plotly.offline", extra="evaluate", purpose="The report")
    return str(offline.get_plotlyjs()).replace("\r\n", "\n")


def _own(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    """Return the hash by which the page's content security policy allows a script; no other script can run."""
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")


def _blocks(section: Section, page: Page, stored: dict[str, str], names: set[str]) -> Iterator[FigureBlock]:
    """Yield a section's figures; `stored` holds the tables already in the page, by the figure that has them."""
    for figure in section.figures:
        frame = section.tables.get(figure.table) if figure.table else None
        name = _free(figure.name, names)
        notes: list[str] = []
        plot, data = None, None
        if figure.kind in DRAWINGS:
            plot, data = _drawn(figure, frame, of_sources(page.predictions), notes)
        csv = csv_of(figure.table, frame, _drawn_columns(figure)) if frame is not None and figure.table not in stored else None
        first = stored.get(figure.table, "")
        if csv is not None:
            stored[figure.table] = name
            notes.extend(filter(None, [csv.note]))
        table = None
        if frame is not None and not frame.empty:
            columns = figure.encode.get("columns", ()) if figure.kind == "table" else ()
            table = shown(frame, BESIDE if plot is not None else SHOWN, columns if isinstance(columns, (list, tuple)) else ())
        elif figure.kind == "table":
            notes.append("The table has no row.")
        shape = "table" if figure.kind in DRAWINGS and plot is None and table is not None else figure.kind
        drawn_images = tuple(pictures(figure.images)) if figure.kind == "images" else ()
        if figure.kind == "images":
            notes.extend(filter(None, [left_out(figure.images) if drawn_images else "There is no picture."]))
        across = figure.encode.get("columns", 0) if figure.kind == "images" else 0
        yield FigureBlock(
            name, shape, figure.title, figure.caption, plot, data, table, csv, first, drawn_images,
            across if isinstance(across, int) else 0, tuple(notes),
        )  # fmt: skip


def _drawn(
    figure: Figure, frame: pd.DataFrame | None, sources: Mapping[str, str], notes: list[str]
) -> tuple[Plot | None, dict[str, Any] | None]:
    """Return a figure's plot and the data of the page's script, or none with the reason."""
    try:
        if frame is None:
            raise UndrawableError("The table that it is drawn from was not found.")
        plot = draw(figure, frame, sources)
    except UndrawableError as reason:
        notes.append(str(reason))
        return None, None
    notes.extend(filter(None, [plot.note]))
    return plot, plot.to_json()


def _drawn_columns(figure: Figure) -> tuple[str, ...]:
    """Return the columns that a figure uses."""
    named = (value if isinstance(value, (list, tuple)) else (value,) for value in figure.encode.values())
    return tuple(name for name in itertools.chain.from_iterable(named) if isinstance(name, str))


def _free(name: str, names: set[str]) -> str:
    """Return a figure's name as a unique id."""
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name) or "figure"
    found = next(each for each in itertools.chain([plain], (f"{plain}-{count}" for count in itertools.count(2))) if each not in names)
    names.add(found)
    return found
