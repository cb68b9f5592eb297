"""The Evaluate dock, driven as a user drives it; the command that it runs is a short script that says what the real one says."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import psutil
import pytest
from napari.components import ViewerModel
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QRect, Qt
from qtpy.QtGui import QDesktopServices
from qtpy.QtTest import QTest

from napari_virtual_paint._napari.evaluate.dock import EvaluateDock, _evaluate
from napari_virtual_paint._napari.evaluate.form import LEVEL_TIPS, SEGMENTERS, WELL_FIELDS
from napari_virtual_paint._napari.evaluate.headline import ReportHead, best_prediction, read_head
from napari_virtual_paint._napari.evaluate.layers import images_of
from napari_virtual_paint._napari.evaluate.state import (
    WELLS,
    EvaluateState,
    arguments,
    command,
    default_output,
    state_of_report,
    summarize_inputs,
)
from napari_virtual_paint._napari.plate.dock import PlateDock
from napari_virtual_paint._napari.shared import cli_process
from napari_virtual_paint._napari.shared.viewer.layers import KEY
from napari_virtual_paint.choices import LEVELS, Segmenter
from napari_virtual_paint.cli import evaluate as evaluate_cli
from napari_virtual_paint.cli._output import ProgressBar
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.evaluation.level import Headline
from napari_virtual_paint.evaluation.wells import ControlSelection
from napari_virtual_paint.plates import opening
from napari_virtual_paint.plates.plate import Field, Plate
from napari_virtual_paint.reading import read
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.runtime.text import rough_duration
from napari_virtual_paint.stack import PixelSize, Stack
from napari_virtual_paint.writing import write

PATIENCE = 60_000
"""Milliseconds; far more than anything here takes on a machine with nothing else to do."""
STAINS = ("DNA", "ER")

COMMAND = """
import json, os, subprocess, sys, time
from pathlib import Path
arguments = sys.argv[1:]
report = Path(arguments[arguments.index("-o") + 1])
(report / ".fields").mkdir(parents=True, exist_ok=True)
(report / ".fields" / "job.json").write_text(json.dumps({"truth": arguments[2], "predictions": {"good": arguments[1]}, "plate map": None,
    "choice of treatment": "compound", "choice of negative": None, "segmenter": "auto"}))
def tell(done, message=""):
    assert os.environ["VIRTUAL_PAINT_PROGRESS"] == "json"
    print(json.dumps({"done": done, "total": 4, "message": message}), file=sys.stderr, flush=True)
tell(1, "A01/0")
if "slow" in arguments[1]:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (report / "pids").write_text(f"{os.getpid()} {child.pid}")
    time.sleep(600)
if "bad" in arguments[1]:
    print("virtual-paint: a note", file=sys.stderr)
    print("virtual-paint: bad.tif: it is damaged & more; copy it again", file=sys.stderr)
    sys.exit(2)
tell(4, "Writing the report")
(report / "report.html").write_text("<html>")
values = {"good": 0.75, "weak": 0.5}
head = [{"level": "pixels", "label": "Correlation of pixels (PCC)", "truth": None, "values": values, "good": "high", "unit": "",
    "about": "1 is perfect."},
    {"level": "features", "label": "Error of features", "truth": 12.0, "values": {"good": 3.0, "weak": None}, "good": "low", "unit": "SD"}]
about = {"levels": ["pixels", "profiles"], "predictions": dict.fromkeys(values, "x"), "headline": head,
    "fields": dict.fromkeys(map(str, range(12)), {}), "failed": 1, "seconds": 260.4}
(report / "evaluation.json").write_text(json.dumps(about))
print(json.dumps({"level": "pixels"}))
sys.exit(3 if "partly" in arguments[1] else 0)
"""


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """Let the dock run a script in the place of the command line."""
    script = tmp_path / "command.py"
    script.write_text(COMMAND)
    monkeypatch.setattr(cli_process, "command", lambda *arguments: [sys.executable, "-I", str(script), *arguments])


@pytest.fixture
def dock(qtbot):
    notification_manager.records.clear()
    widget = EvaluateDock(ViewerModel())
    qtbot.addWidget(widget)
    widget.show()
    return widget


def fields(folder: Path, name: str, value: int = 0) -> str:
    """Write a field with two stains."""
    pixels = np.random.default_rng(0).integers(0, 1000, (1, 2, 1, 32, 32)).astype(np.uint16) + np.uint16(value)
    path = folder / f"{name}.ome.tif"
    write(Stack(pixels, STAINS, PixelSize(None, 0.5, 0.5)), path)
    return str(path)


def ended(qtbot, dock):
    qtbot.waitUntil(lambda: not dock.running and not dock.busy, timeout=PATIENCE)


def ask(dock, tmp_path, prediction="good"):
    dock.choose(
        predictions=(("good", f"/images/{prediction}.tif"), ("weak", "/images/weak.tif")),
        truth="/images/truth.tif",
        levels=("pixels", "profiles"),
        output=str(tmp_path / "report"),
    )


# -- what is asked ----------------------------------------------------------------------------------------------------


def test_the_command_line_takes_what_the_dock_asks():
    parser = argparse.ArgumentParser()
    evaluate_cli.add_parser(parser.add_subparsers(dest="command"))
    choice = EvaluateState(
        predictions=(("a model", "/p/one.zarr"), ("", "/p/two=2.zarr"), ("weak", "/p/three.zarr"), ("", " ")),
        truth="/p/truth.zarr",
        levels=("pixels", "instances"),
        plate_map="/p/map.csv",
        treatment="compound",
        moa="mechanism",
        batch="day",
        controls="control=yes",
        positive="compound=toxin",
        segmenter="skimage",
        workers=3,
        output="/p/my report",
    )
    args = parser.parse_args(arguments(choice))
    assert (args.prediction, args.truth, args.name) == ("/p/one.zarr", "/p/truth.zarr", "a model")
    assert args.also == [("", "/p/two=2.zarr"), ("weak", "/p/three.zarr")]
    assert args.level == ("pixels", "instances")
    assert (str(args.plate_map), str(args.output), args.workers) == ("/p/map.csv", "/p/my report", 3)
    assert (args.treatment, args.moa, args.batch) == ("compound", "mechanism", "day")
    assert (args.controls, args.positive, args.segmenter) == ("control=yes", "compound=toxin", "skimage")
    assert shlex.split(command(choice))[1:] == arguments(choice)
    assert default_output(choice) == "/p/one-report"
    assert len(arguments(EvaluateState(predictions=(("", "a"),), truth="b", output="c"))) == 7


def test_the_command_line_tells_its_progress_to_the_dock(monkeypatch, capsys):
    monkeypatch.setenv("VIRTUAL_PAINT_PROGRESS", "json")
    with ProgressBar("Evaluating") as progress:
        progress.update(1, 4, "A01/0 failed: it is damaged")
    told = capsys.readouterr().err.splitlines()
    assert cli_process.parse_progress(told[0], cli_process.Progress()) == cli_process.Progress(1, 4, "A01/0 failed: it is damaged")
    progress.update(1, 4, "Evaluating: 1 of 4 fields", 75.24)
    left = cli_process.parse_progress(capsys.readouterr().err, cli_process.Progress())
    assert left == cli_process.Progress(1, 4, "Evaluating: 1 of 4 fields", seconds_left=75.2)
    assert cli_process.parse_progress('{"done": 0, "total": 0, "message": "Opening"}', left).seconds_left == 75.2
    before = cli_process.Progress(2, 4, "before")
    assert cli_process.parse_progress("virtual-paint: warning: {", before) is before
    assert cli_process.parse_progress('{"done": "no number"}', before) is before


def test_what_is_chosen_is_looked_at_before_anything_is_judged(dock, qtbot, tmp_path):
    assert not dock.panel.start.isEnabled()
    truth, good = fields(tmp_path, "truth"), fields(tmp_path, "good", 5)
    dock.choose(predictions=(("", good),), truth=truth)
    ended(qtbot, dock)
    assert "1 field" in dock.panel.inputs.text()
    assert "DNA, ER" in dock.panel.inputs.text()
    assert dock.value().output == str(tmp_path / "good-report"), "a report has a name at once"
    assert dock.panel.start.isEnabled()
    dock.form.truth.setText(str(tmp_path / "nowhere.tif"))
    dock.form.truth.editingFinished.emit()
    ended(qtbot, dock)
    assert "nowhere.tif" in dock.panel.inputs.text()
    assert not notification_manager.records, "what is typed is no error yet"


def test_an_empty_dock_says_what_to_choose_first(dock, qtbot):
    qtbot.waitUntil(
        lambda: dock.panel.inputs.text() == "Choose a prediction: a field's file, a folder of fields, or a plate.", timeout=PATIENCE
    )


def test_columns_and_controls_of_the_plate_map_are_offered(dock, qtbot, tmp_path):
    folders = [tmp_path / name for name in ("truth", "painted")]
    for folder in folders:
        folder.mkdir()
        for name in ("a", "b"):
            fields(folder, name)
    (tmp_path / "map.csv").write_text("field,compound,control\na.ome.tif,water,yes\nb.ome.tif,toxin,no\n")
    dock.choose(predictions=(("", str(folders[1])),), truth=str(folders[0]), plate_map=str(tmp_path / "map.csv"))
    ended(qtbot, dock)
    roles = dock.form.well_fields
    assert "1 negative control " in dock.panel.inputs.text() + " "
    assert roles["treatment"].lineEdit().placeholderText() == "found: compound"
    assert [roles["moa"].itemText(i) for i in range(roles["moa"].count())] == ["", "compound", "control"]
    offered = [roles["positive"].itemText(i) for i in range(roles["positive"].count())]
    assert "compound=toxin" in offered
    roles["positive"].setCurrentIndex(offered.index("compound=toxin"))
    roles["positive"].activated.emit(offered.index("compound=toxin"))
    assert dock.value().positive == "compound=toxin"
    ended(qtbot, dock)
    assert "1 positive control" in dock.panel.inputs.text()


def test_predictions_are_added_and_taken_away(dock):
    dock.choose(predictions=(("one", "/a"),), output="/r")
    QTest.mouseClick(dock.form.predictions.add, Qt.MouseButton.LeftButton)
    assert len(dock.form.predictions.lines) == 2
    dock.form.predictions.lines[1].path.setText("/b")
    dock.form.predictions.lines[1].path.editingFinished.emit()
    assert dock.value().given == (("one", "/a"), ("", "/b"))
    dock.form.predictions.lines[0].remove.click()
    assert dock.value().given == (("", "/b"),)
    dock.form.levels["features"].click()
    assert dock.value().levels == ("pixels", "instances", "profiles")


def test_every_choice_of_the_engine_is_offered(dock):
    form = dock.form
    assert set(form.levels) == set(LEVELS) == set(LEVEL_TIPS)
    assert set(SEGMENTERS) == set(get_args(Segmenter))
    assert set(WELL_FIELDS) == set(WELLS)
    assert {f.name for f in dataclasses.fields(ControlSelection)} - set(WELLS.values()) == {"dose", "plate"}
    assert set(form._bindings) == {f.name for f in dataclasses.fields(EvaluateState)} - {"source"}


# -- the evaluation ---------------------------------------------------------------------------------------------------


def test_an_evaluation_ends_with_its_headline(dock, fake, qtbot, tmp_path, monkeypatch):
    ask(dock, tmp_path, "partly")
    dock.panel.start.click()
    assert dock.running
    assert not dock.form.isEnabled()
    ended(qtbot, dock)
    table = dock.panel.table
    assert [table.horizontalHeaderItem(i).text() for i in range(table.columnCount())] == ["Measure", "Truth", "good", "weak"]
    rows = [[table.item(row, column).text() for column in range(4)] for row in range(table.rowCount())]
    assert rows == [["Correlation of pixels (PCC)\xa0↑", "–", "0.75", "0.5"], ["Error of features, in SD\xa0↓", "12", "3", "–"]]
    assert table.item(0, 0).toolTip() == "Pixels: Correlation of pixels (PCC). 1 is perfect. Higher is better."
    assert table.item(1, 1).toolTip().endswith("Lower is better.")
    assert dock.panel.status.text() == "report: 12 fields evaluated in 4 min 20 s; 1 field failed, see failed.csv."
    assert table.item(0, 2).font().bold()
    assert not table.item(0, 3).font().bold()
    assert dock.panel.result.isVisibleTo(dock)
    assert not dock.panel.bar.isVisible()
    opened = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()))
    dock.panel.page.click()
    assert opened == [str(tmp_path / "report" / "report.html")]
    assert dock.panel.profile.isEnabled()
    assert dock.panel.start.text() == "Evaluate"


def test_long_names_wrap_and_nothing_is_cut(dock, qtbot, tmp_path):
    name, label = "simulated-cell-painting_adversarial", "Error of the 20 most informative features (N-MAE)"
    pixels = Headline("Correlation of pixels (PCC)", 1.0, {name: 0.9})
    lines = (("features", Headline(label, 0.0, {name: 0.213}, "low", "SD")), ("pixels", pixels))
    dock.resize(290, 700)
    dock.panel.table.set_head(ReportHead(tmp_path, (name,), lines, False))
    dock.panel.result.show()
    table = dock.panel.table
    qtbot.waitUntil(lambda: table.isVisible() and table.viewport().width() > 100, timeout=PATIENCE)
    assert table.horizontalHeaderItem(2).text() == "simulated-\ncell-\npainting_\nadversarial"
    assert table.horizontalHeaderItem(2).toolTip() == name
    for row, (_, line) in enumerate(lines):
        text = f"{line.label}{', in SD' if line.unit else ''}\xa0{'↓' if line.good == 'low' else '↑'}"
        assert table.item(row, 0).text() == text
        room = QRect(0, 0, table.columnWidth(0) - 8, 1000)
        assert table.rowHeight(row) >= table.fontMetrics().boundingRect(room, int(Qt.TextFlag.TextWordWrap), text).height()
    below = table.visualItemRect(table.item(1, 0)).bottom()
    assert table.viewport().height() >= below, "the table itself does not scroll"


def test_an_evaluation_says_how_long_it_takes_before_the_command_does(dock, fake, qtbot, tmp_path, monkeypatch):
    truth, good = fields(tmp_path, "truth"), fields(tmp_path, "good", 5)
    dock.choose(predictions=(("", good),), truth=truth, levels=("pixels",), output=str(tmp_path / "report"))
    ended(qtbot, dock)
    expected = dock.sources.seconds(dock.value())
    assert expected is not None
    assert dock.panel.inputs.text().endswith(f" · takes about {rough_duration(expected)}")
    dock.panel.start.click()
    assert dock.panel.status.text() == f"Starting · about {rough_duration(expected)} left"
    ended(qtbot, dock)
    dock.choose(levels=("pixels", "features"))
    assert dock.sources.seconds(dock.value()) is None, "it belongs to another choice"


def test_a_stop_before_the_first_field_says_so(dock, fake, qtbot, tmp_path, monkeypatch):
    monkeypatch.setattr(cli_process, "command", lambda *_arguments: [sys.executable, "-c", "import time; time.sleep(600)"])
    ask(dock, tmp_path)
    dock.panel.start.click()
    dock.panel.cancel.click()
    ended(qtbot, dock)
    assert dock.panel.status.text() == "Stopped before the first field; nothing was written."
    assert dock.panel.start.text() == "Evaluate"


def test_cancel_stops_the_process_and_all_that_it_started(dock, fake, qtbot, tmp_path):
    ask(dock, tmp_path, "slow")
    dock.panel.start.click()
    pids = tmp_path / "report" / "pids"
    qtbot.waitUntil(pids.exists, timeout=PATIENCE)
    qtbot.waitUntil(lambda: len(pids.read_text().split()) == 2, timeout=PATIENCE)
    qtbot.waitUntil(lambda: "A01/0" in dock.panel.status.text(), timeout=PATIENCE)
    dock.panel.cancel.click()
    ended(qtbot, dock)
    assert dock.panel.status.text() == "Stopped. Finished fields are kept; press Resume to evaluate the rest."
    assert dock.panel.start.text() == "Resume"
    assert dock.form.isEnabled()
    numbers = [int(pid) for pid in pids.read_text().split()]
    qtbot.waitUntil(
        lambda: not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in numbers), timeout=PATIENCE
    )
    ask(dock, tmp_path)
    dock.panel.start.click()
    ended(qtbot, dock)
    assert dock.head is not None, "and it goes on"


def test_an_error_is_one_sentence(dock, fake, qtbot, tmp_path):
    ask(dock, tmp_path, "bad")
    dock.panel.start.click()
    ended(qtbot, dock)
    assert [record.message for record in notification_manager.records] == ["bad.tif: it is damaged & more; copy it again"]
    assert "damaged &amp; more" in dock.panel.status.text()
    assert not dock.panel.result.isVisibleTo(dock)
    dock.choose(levels=())
    dock.evaluate()
    assert dock.panel.status.text() == "Choose a level."


def test_an_earlier_report_is_taken_up(dock, fake, qtbot, tmp_path):
    ask(dock, tmp_path)
    dock.panel.start.click()
    ended(qtbot, dock)
    dock.setValue(EvaluateState())
    report = tmp_path / "report"
    dock.open_report(report)
    ended(qtbot, dock)
    assert dock.value().truth == "/images/truth.tif"
    assert dock.value().treatment == "compound"
    assert dock.panel.table.rowCount() == 2
    (report / "report.html").unlink()
    dock.open_report(report)
    assert "was stopped" in dock.panel.status.text()
    assert dock.panel.start.text() == "Resume"
    with pytest.raises(InputError, match="it is no report"):
        state_of_report(tmp_path)
    (report / "evaluation.json").write_text("[]")
    with pytest.raises(Exception, match="can't be read"):
        read_head(report)


def test_the_best_is_marked_by_what_is_good():
    values = {"good": 0.5, "weak": 0.75}
    assert best_prediction(Headline("PCC", None, values)) == "weak"
    assert best_prediction(Headline("N-MAE", None, values, "low")) == "good"
    assert best_prediction(Headline("PCC", None, {"good": 0.5, "weak": 0.5})) is None
    assert best_prediction(Headline("PCC", None, {"good": 0.5, "weak": None})) is None


# -- what is offered --------------------------------------------------------------------------------------------------


def test_layers_are_written_with_the_true_names(dock, fake, qtbot, tmp_path):
    viewer = dock.viewer
    rng = np.random.default_rng(0)
    for stain in STAINS:
        viewer.add_image(rng.integers(0, 99, (24, 24)).astype(np.uint16), name=stain)
    for model in ("first", "second"):
        for stain in STAINS:
            noted = {KEY: {"role": "stain", "channel": stain, "axes": "YX", "provenance": {"model": model}}}
            viewer.add_image(rng.random((24, 24), np.float32), name=f"{stain} (predicted)", metadata=noted)
    qtbot.waitUntil(lambda: dock.form.source.count() == 2 and dock.value().source == "layers", timeout=PATIENCE)
    assert dock.form.source.currentText() == "Layers that are open: DNA, ER"
    images = images_of(viewer)
    assert list(images.predictions) == ["first", "second"]
    assert images.nbytes == 4 * 3 * 2 * 24 * 24  # two stains of the truth and two predictions
    dock.choose(output=str(tmp_path / "report"))
    steps = _evaluate(dock.value(), images, None)
    assert next(steps).message == "Starting"
    assert next(steps).seconds_left > 0
    steps.close()
    dock.panel.start.click()
    ended(qtbot, dock)
    assert dock.head is not None
    written = read(tmp_path / "report-images" / "2_second.ome.tif")
    assert written.channels == STAINS
    assert np.array_equal(np.asarray(written.data)[0, 1, 0], viewer.layers[5].data)
    asked = EvaluateState(
        predictions=tuple((name, str(tmp_path / "report-images" / f"{i + 1}_{name}.ome.tif")) for i, name in enumerate(images.predictions)),
        truth=str(tmp_path / "report-images" / "truth.ome.tif"),
    )
    assert run_to_end(summarize_inputs(asked)).text == "1 field · DNA, ER · first and second", "and the evaluation takes them"
    truth = tmp_path / "report-images" / "truth.ome.tif"
    before = truth.stat().st_mtime_ns
    dock.panel.start.click()
    ended(qtbot, dock)
    assert truth.stat().st_mtime_ns == before, "the same images are not written again: the report knows them by their time"


def test_what_is_compared_follows_the_layers(dock, qtbot):
    for stains in (STAINS, (*STAINS, "AGP")):
        for name in stains[-2:] if len(stains) == 2 else stains[-1:]:
            dock.viewer.add_image(np.zeros((8, 8), np.float32), name=name)
            dock.viewer.add_image(np.zeros((8, 8), np.float32), name=f"{name} (predicted)")
        sentence = f"Predicted and true: {', '.join(stains)}."
        qtbot.waitUntil(lambda sentence=sentence: dock.panel.inputs.text() == sentence, timeout=PATIENCE)


@pytest.mark.usefixtures("offered")
def test_the_open_plate_is_offered_first(make_napari_viewer, qtbot, tmp_path, monkeypatch):
    class Reader:
        def read(self, place):
            return Stack(np.zeros((1, 1, 1, 8, 8), np.uint16), ("DNA",))

    def open_plate(path, **_):
        return Plate("screen", str(path), "test", (Field("A01", "0"),), Reader(), (2, 3))

    monkeypatch.setattr(opening, "open_plate", open_plate)
    viewer = make_napari_viewer()
    plates = PlateDock(viewer)
    viewer.window.add_dock_widget(plates, name="Plate")
    qtbot.waitUntil(lambda: plates.session.models is not None, timeout=PATIENCE)
    plates.open_plate(tmp_path / "screen", output=tmp_path / "painted.zarr", plate_map="/maps/map.csv")
    qtbot.waitUntil(lambda: plates.plate is not None and not plates.busy, timeout=PATIENCE)
    dock = EvaluateDock(viewer)
    viewer.window.add_dock_widget(dock, name="Evaluate")
    choice = dock.value()
    assert dock.form.source.currentText() == "The plate that is open: screen"
    assert choice.given == (("", str(tmp_path / "painted.zarr")),)
    assert (choice.truth, choice.plate_map) == (str(tmp_path / "screen"), "/maps/map.csv")
    assert choice.output == str(tmp_path / "painted-report")
    qtbot.waitUntil(lambda: not dock.busy, timeout=PATIENCE)
    assert dock.panel.inputs.text() == "This plate is not painted yet. Paint it in the Plate dock first."
    plates.shut()
