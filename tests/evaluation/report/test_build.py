"""The report is one file that says all, asks nothing from anywhere, and takes names for text."""

import base64
import dataclasses
import hashlib
import io
import json
import re
import urllib.parse
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from evaluation_report import HOSTILE, PREDICTIONS, STAINS, report
from napari_virtual_paint.errors import InputError, ReadError, WriteError
from napari_virtual_paint.evaluation.level import Figure, Findings, Headline
from napari_virtual_paint.evaluation.report.build import page_of, write_report
from napari_virtual_paint.evaluation.report.colours import of_sources
from napari_virtual_paint.evaluation.report.figures import draw
from napari_virtual_paint.evaluation.report.folder import painted_by
from napari_virtual_paint.evaluation.report.headline import rows_of
from napari_virtual_paint.evaluation.report.page import Page, Section, render, write_page
from napari_virtual_paint.evaluation.report.plot import UndrawableError
from napari_virtual_paint.evaluation.report.tables import INSIDE, csv_of, shown

pytest.importorskip("jinja2", reason="the extra evaluate is not installed")
pytest.importorskip("plotly", reason="the extra evaluate is not installed")

SOURCES = of_sources(PREDICTIONS)


class Elements(HTMLParser):
    """All tags with their attributes, and the text inside scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.texts: list[str] = []
        self._inside: dict[str, str | None] | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self._inside = dict(attrs)
            self.scripts.append((self._inside, ""))

    def handle_endtag(self, tag):
        if tag == "script":
            self._inside = None

    def handle_data(self, data):
        if self._inside is not None:
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        else:
            self.texts.append(data)

    def run(self) -> list[str]:
        """Return the scripts that a browser runs."""
        return [text for attributes, text in self.scripts if attributes.get("type") != "application/json"]

    def data(self) -> list[dict]:
        """Return what is drawn."""
        return [json.loads(text) for attributes, text in self.scripts if attributes.get("type") == "application/json"]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Write the report of all kinds of figures once."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(report(), path)
    return path


@pytest.fixture(scope="module")
def text(path):
    """Return the page."""
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text):
    """Return the page's elements."""
    return Elements(text)


def test_nothing_is_asked_from_anywhere(page, text):
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "poster", "data", "action", "xlink:href", "formaction", "background"):
            value = attributes.get(name)
            if value is not None:
                assert value.startswith(("#", "data:")), f"<{tag} {name}={value[:60]!r}> is not in the page"
        assert tag not in ("iframe", "object", "embed", "link", "base")
        assert "url(" not in (attributes.get("style") or "")
    style = re.search(r"<style>(.*?)</style>", text, re.S).group(1)
    assert "url(" not in style
    assert "@import" not in style
    policy = next(attributes["content"] for tag, attributes in page.tags if attributes.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")


def test_only_the_scripts_that_the_policy_names_can_run(page):
    policy = next(attributes["content"] for _, attributes in page.tags if attributes.get("http-equiv") == "Content-Security-Policy")
    allowed = re.findall(r"'sha256-([^']+)'", policy)
    ran = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in page.run()]
    assert ran == allowed
    assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_plotly_is_in_the_page_once(text):
    from plotly.offline import get_plotlyjs

    assert text.count(get_plotlyjs()[:2000].strip()) == 1
    assert len(text) < len(get_plotlyjs()) + 1_500_000


def test_names_are_text(page, text):
    assert "<script>alert" not in text
    assert not any(tag in ("b", "i") and attributes for tag, attributes in page.tags if attributes.get("onclick"))
    assert any(HOSTILE in part for part in page.texts)
    drawn = json.dumps(page.data(), ensure_ascii=False)
    assert "Mito &lt;script&gt;" in drawn  # plotly takes markup in labels: escaped once more
    labels = [
        trace[axis]
        for spec in page.data()
        for view in spec["views"]
        for panel in view["panels"]
        for trace in panel["traces"]
        for axis in ("x", "y")
        if axis in trace
    ]
    assert not any("<script" in str(label) for label in labels)


def test_the_same_findings_give_the_same_bytes(path, tmp_path):
    write_report(report(), tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == path.read_bytes()
    write_report(report(seed=1), tmp_path / "other.html")
    assert (tmp_path / "other.html").read_bytes() != path.read_bytes()


def test_pandas_reads_every_table(path):
    tables = pd.read_html(path)
    assert len(tables) > 10
    head = next(table for table in tables if "measure" in table.columns)
    assert list(head["level"].unique()) == ["Pixels", "Cells and nuclei", "Features of cells", "Profiles of wells"]
    assert head.loc[head["measure"].str.startswith("DNA: PCC"), "truth"].item() in (1, "1")
    scores = next(table for table in tables if "PSNR SD" in table.columns)
    wanted = report().findings["pixels"].tables["pixels_scores"]
    assert list(scores["stain"].unique()) == list(STAINS)
    assert scores["PCC"].to_numpy() == pytest.approx(wanted["pcc"].to_numpy(), abs=5e-4)


def test_every_figure_has_its_data_in_the_page(page):
    links = [attributes for tag, attributes in page.tags if tag == "a" and "csv" in (attributes.get("class") or "")]
    ids = {attributes["id"] for _, attributes in page.tags if attributes.get("id")}
    found = report()
    tables = {**{name: frame for each in found.findings.values() for name, frame in each.tables.items()}, "failed": found.failed}
    told = {}
    for link in links:
        if "data-from" in link:
            assert link["data-from"] in ids
            continue
        head, _, body = link["href"].partition(",")
        assert head == "data:text/csv;charset=utf-8"
        told[link["download"].removesuffix(".csv")] = urllib.parse.unquote(body)
    for each in found.findings.values():
        if each.deltas is not None:
            tables[f"{each.level}_deltas"] = each.deltas
    assert set(told) == set(tables)
    for name, body in told.items():
        assert body == tables[name].to_csv(index=False, lineterminator="\n")
        pd.read_csv(io.StringIO(body))
    figures = sum(len(section.figures) for section in page_of(found).sections)
    assert len(links) == figures - 1  # pictures have no table


def test_ids_are_once_and_contents_lead_somewhere(page):
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    for _, attributes in page.tags:
        for name in ("href", "aria-labelledby"):
            target = attributes.get(name) or ""
            if name == "aria-labelledby" or target.startswith("#"):
                assert target.removeprefix("#") in {*ids, ""}


def test_pictures_have_words_and_are_small(page):
    pictures = [attributes for tag, attributes in page.tags if tag == "img" and attributes.get("src")]
    assert len(pictures) == 7
    for attributes in pictures:
        assert attributes["alt"]
        assert (attributes["width"], attributes["height"]) == ("448", "448")
        assert len(attributes["src"]) < 100_000


def test_plotly_takes_what_is_drawn():
    import plotly.graph_objects as go

    kinds = set()
    for findings in report().findings.values():
        for figure in findings.figures:
            if figure.kind in ("images", "table") or figure.name in ("features-none", "features-wrong"):
                continue
            plot = draw(figure, findings.tables[figure.table], SOURCES)
            json.dumps(plot.to_json(), allow_nan=False)
            for panel in (panel for view in plot.views for panel in view.panels):
                traces = [_told(trace, plot.columns) for trace in panel.traces]
                layout = json.loads(json.dumps(panel.layout).replace("@ink", "#000"))
                kinds |= {trace.type for trace in go.Figure({"data": traces, "layout": layout}).data}
    assert kinds == {"bar", "box", "scatter", "heatmap"}


def _told(trace, columns):
    """Return a trace as the page's script hands it to plotly."""
    made = json.loads(
        json.dumps({name: value for name, value in trace.items() if name not in ("rows", "meta")})
        .replace("@ink", "#000")
        .replace("@paper", "#fff")
    )
    for name in ("x", "y", "text") if "rows" in trace else ():
        made[name] = [columns[name][row] for row in trace["rows"]]
    colours = made.get("marker", {}).pop("colours", None)
    if colours:
        made["marker"]["color"] = [columns[colours][row] for row in trace["rows"]]
    return made


def test_a_prediction_has_one_colour_everywhere(page):
    for spec in page.data():
        for view in spec["views"]:
            for key in view["legend"]:
                if key["name"] in SOURCES:
                    assert key["colour"] == SOURCES[key["name"]]
    assert len(set(of_sources(f"p{place}" for place in range(12)).values())) == 13


def test_bars_reach_their_values_and_whiskers_their_ends():
    frame = pd.DataFrame({"stain": ["DNA", "ER"], "pcc": [0.5, 0.7], "low": [0.4, np.nan], "high": [0.65, np.nan]})
    plot = draw(Figure("f", "", "", "bar", "t", {"x": "stain", "y": "pcc", "low": "low", "high": "high"}), frame, SOURCES)
    trace = plot.views[0].panels[0].traces[0]
    assert trace["x"] == ["DNA", "ER"]
    assert trace["y"] == [0.5, 0.7]
    assert trace["error_y"]["array"] == [pytest.approx(0.15), None]
    assert trace["error_y"]["arrayminus"] == [pytest.approx(0.1), None]


def test_points_take_the_right_rows_in_each_view():
    frame = pd.DataFrame(
        {
            "x": [1.0, np.nan, 3.0, 4.0],
            "y": [1.0, 2.0, 3.0, 4.0],
            "source": ["truth", "truth", "good", "good"],
            "dose": [1.0, 2, np.nan, 1000],
        }
    )
    plot = draw(Figure("f", "", "", "scatter", "t", {"x": "x", "y": "y", "colour": ("source", "dose")}), frame, SOURCES)
    assert [view.label for view in plot.views] == ["by source", "by dose"]
    by_source = {trace["name"]: [plot.columns["x"][row] for row in trace["rows"]] for trace in plot.views[0].panels[0].traces}
    assert by_source == {"truth": [1.0], "good": [3.0, 4.0]}
    unknown, known = plot.views[1].panels[0].traces
    assert [plot.columns["x"][row] for row in unknown["rows"]] == [3.0]
    assert [plot.columns[known["marker"]["colours"]][row] for row in known["rows"]] == [0.0, 3.0]  # by the logarithm: they go far
    assert (plot.views[1].scale.low, plot.views[1].scale.high) == ("1", "1000")


def test_many_points_are_sampled_and_it_is_said():
    frame = pd.DataFrame({"x": np.arange(25_000.0), "y": 0.0})
    plot = draw(Figure("f", "", "", "scatter", "t", {"x": "x", "y": "y"}), frame, SOURCES)
    assert len(plot.columns["x"]) == 10_000
    assert plot.columns["x"][-1] > 24_990
    assert "10000 of 25000 points" in plot.note


def test_a_matrix_holds_values_counts_and_gaps():
    frame = pd.DataFrame({"group": ["a", "b", "a"], "channel": ["DNA", "DNA", "ER"], "r": [0.25, -0.5, np.nan], "n": [3, 4, 5]})
    figure = Figure("f", "", "", "heatmap", "t", {"x": "group", "y": "channel", "value": "r", "count": "n"})
    plot = draw(figure, frame, SOURCES)
    matrix, texts = plot.views[0].panels[0].traces
    assert matrix["z"] == [[0.25, -0.5], [None, None]]
    assert (matrix["zmin"], matrix["zmax"]) == (-0.5, 0.5)  # about 0
    assert texts["text"] == ["0.25<br>n 3", "−0.50<br>n 4", "–<br>n 5"]
    assert draw(figure, frame.assign(r=[0.2, 0.4, 0.6]), SOURCES).views[0].panels[0].traces[0]["zmin"] == 0.2
    with pytest.raises(UndrawableError, match="same group and channel"):
        draw(figure, pd.concat([frame, frame]), SOURCES)


def test_a_large_matrix_has_room(page):
    names = [f"t{place}" for place in range(150)]
    frame = pd.DataFrame([{"a": one, "b": other, "v": 0.5} for one in names for other in names])
    panel = draw(Figure("f", "", "", "heatmap", "t", {"x": "a", "y": "b", "value": "v"}), frame, SOURCES).views[0].panels[0]
    assert len(panel.traces) == 1  # no numbers, which would lie over each other
    assert panel.layout["height"] < 1500
    assert panel.least < 1200


def test_what_cannot_be_drawn_is_said_and_shown_as_a_table(page, path):
    said = "".join(page.texts)
    assert "the table has no row" in said
    assert "no column 'absent'" in said
    assert any(list(table.columns) == ["truth", "prediction"] for table in pd.read_html(path))


def test_headline_tells_the_fall_the_best_and_what_was_tested():
    good, weak = PREDICTIONS
    deltas = pd.DataFrame(
        [
            {
                "label": "mAP",
                "metric": "map",
                "prediction": good,
                "against": weak,
                "delta": 0.3,
                "low": 0.2,
                "high": 0.4,
                "p": 0.01,
                "p_corrected": 0.02,
                "n": 12,
                "unit": "well",
            }
        ]
    )
    lines = (
        Headline("mAP", 0.8, {good: 0.6, weak: 0.3}),
        Headline("N-MAE", 0.0, {good: 0.2, weak: 0.5}, good="low"),
        Headline("undefined", None, {good: None, weak: float("nan")}),
        Headline("found", None, {good: 50.0, weak: 50.0}, unit="%"),
    )
    first, second, third, fourth = rows_of(Findings("x", {}, deltas=deltas, headline=lines), PREDICTIONS)
    assert (first.truth, first.values[0].text, first.values[0].fall, first.values[0].best) == ("0.8", "0.6", "−0.2 (−25 %)", True)
    assert first.values[0].share == pytest.approx(0.75)
    assert first.differences[0] is not None
    assert dataclasses.astuple(first.differences[0]) == ("+0.3", "+0.2 to +0.4", "p = 0.02", "n = 12 wells", True)
    assert [value.best for value in second.values] == [True, False]
    assert second.values[0].share is None
    assert [value.text for value in third.values] == ["", ""]
    assert third.differences == (None,)
    assert [value.best for value in fourth.values] == [False, False]
    assert fourth.values[0].text == "50 %"


def test_a_report_of_one_prediction_without_figures_is_small(tmp_path):
    whole = report()
    context = dataclasses.replace(whole.context, predictions=("good",), wells=whole.context.wells.head(0))
    findings = {"pixels": Findings("pixels", {}, headline=(Headline("PCC", 1.0, {"good": 1.0}),))}
    lone = dataclasses.replace(whole, findings=findings, context=context, failed=whole.failed.head(0))
    write_report(lone, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert len(text) < 60_000  # no plotly where nothing is plotted
    assert "as the truth" in text
    assert "Differences" not in text


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("before")
    broken = Page("t", "", (Section("s", "S", figures=(Figure("f", "", "", "images", images=(("a", "", np.zeros((2, 2))),)),)),))
    with pytest.raises(InputError, match="can't be shown"):
        write_page(broken, path)
    assert path.read_text() == "before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(WriteError, match="no folder"):
        write_page(Page("t", "", ()), tmp_path / "absent" / "report.html")


def test_without_plotly_the_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    found = report().findings["pixels"]
    page = Page("t", "", (Section("s", "S", figures=found.figures[:1], tables=found.tables),))
    with pytest.raises(InputError, match=r"napari-virtual-paint\[evaluate\]"):
        render(page)


def test_a_table_too_large_for_the_page_lies_beside_it():
    frame = pd.DataFrame({"name": ["x" * 1000] * (INSIDE // 900), "value": 1.5})
    part = csv_of("big table", frame, ("value",))
    assert urllib.parse.unquote(part.href.partition(",")[2]).startswith("value\n1.5\n")
    assert "tables/big table.csv" in part.note
    assert csv_of("big table", frame).href == "tables/big%20table.csv"


def test_cells_are_written_for_reading_and_sorted_in_full():
    frame = pd.DataFrame(
        {"name": ["a", None], "pcc_sd": [0.12345, np.nan], "n": [3, 4], "p": [1e-7, 0.5], "ok": [True, False], "psnr": [31.26, np.inf]}
    )
    found = shown(frame, 10)
    assert found.columns == (("name", False), ("PCC SD", True), ("n", True), ("p", True), ("ok", False), ("PSNR", True))
    assert [cell.text for cell in found.rows[0]] == ["a", "0.123", "3", "1.0e-07", "yes", "31.26"]
    assert [cell.text for cell in found.rows[1]] == ["", "", "4", "0.5", "no", "∞"]
    assert found.rows[0][1].sort == "0.12345"
    assert shown(frame, 1, ("n", "absent")).columns == (("n", True),)
    assert shown(frame, 1).total == 2


def test_the_model_is_told_by_the_images_of_a_prediction():
    class Images:
        def read(self, key):
            if key == "damaged":
                raise ReadError("damaged.tif", "it is cut off")
            known = {"model": "jurkat", "version": "1.2", "software": "napari-virtual-paint 0.1.0"} if key == "painted" else None
            return SimpleNamespace(provenance=known)

    assert painted_by(Images(), ("damaged", "plain", "painted")) == "jurkat 1.2, painted by napari-virtual-paint 0.1.0"
    assert painted_by(Images(), ("damaged", "plain")) == ""
    page = page_of(dataclasses.replace(report(), models={PREDICTIONS[0]: "jurkat 1.2"}))
    assert dict(page.facts)[f"Prediction {PREDICTIONS[0]}"] == "jurkat 1.2; /data/0.zarr"


def test_views_and_panels_far_apart_have_their_own_scale():
    frame = pd.DataFrame(
        {"score": ["pcc", "pcc", "psnr", "psnr"], "side": ["a", "b"] * 2, "stain": "DNA", "value": [0.5, 0.4, 31.0, -2.0], "test": "t"}
    )
    bars = draw(Figure("f", "", "", "bar", "t", {"x": "stain", "y": "value", "switch": "score", "facet": "side"}), frame, SOURCES)
    first, second = bars.views
    assert (first.label, second.label) == ("PCC", "PSNR")
    assert first.panels[0].layout["yaxis"] == {"title": {"text": "PCC"}, "automargin": True, "range": [0.0, pytest.approx(0.525)]}
    assert [panel.layout["yaxis"]["range"] for panel in first.panels] == [first.panels[0].layout["yaxis"]["range"]] * 2
    assert [panel.layout["yaxis"]["range"][1] for panel in second.panels] == [pytest.approx(31 * 1.05), 0.0]  # 31 and −2 are far apart
    matrix = draw(Figure("f", "", "", "heatmap", "t", {"x": "test", "y": "side", "value": "value", "switch": "score"}), frame, SOURCES)
    assert [view.panels[0].traces[0]["zmax"] for view in matrix.views] == [0.5, 31.0]
    near = frame.assign(value=[0.5, 0.4, 0.6, 0.7])
    matrix = draw(Figure("f", "", "", "heatmap", "t", {"x": "test", "y": "side", "value": "value", "switch": "score"}), near, SOURCES)
    assert [view.panels[0].traces[0]["zmax"] for view in matrix.views] == [0.7, 0.7]


def test_a_panel_without_a_number_says_so():
    frame = pd.DataFrame({"score": ["map", "sensitivity"], "source": "good", "value": [0.5, np.nan]})
    plot = draw(Figure("f", "", "", "bar", "t", {"x": "source", "y": "value", "facet": "score"}), frame, SOURCES)
    known, unknown = plot.views[0].panels
    assert (known.title, unknown.title) == ("mAP", "sensitivity")
    assert unknown.traces == ()
    assert unknown.layout["annotations"][0]["text"] == "undefined"


def test_tables_hold_no_formulas() -> None:
    """A name that a spreadsheet would compute is escaped in the file and inside the page."""
    frame = pd.DataFrame({"well": ["A01", "=HYPERLINK(1)"], "@stain": ["-DMSO", "+1"], "pcc": [-0.5, 0.25]})
    text = urllib.parse.unquote(csv_of("table", frame).href.partition(",")[2])
    assert text == "well,'@stain,pcc\nA01,'-DMSO,-0.5\n'=HYPERLINK(1),+1,0.25\n"
