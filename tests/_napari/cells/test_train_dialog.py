"""Training on a table from the Cells dock: what is guessed, what is written, stop, resume, and the model that opens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from napari_virtual_paint._napari.cells import train_dialog, train_state
from napari_virtual_paint._napari.cells.train_dialog import STOPPED, CellTrainDialog
from napari_virtual_paint._napari.cells.train_state import CONFIG, CellTrainState, cell_runs, missing, unfinished
from napari_virtual_paint.cells.cp2image.config import load_config
from napari_virtual_paint.cells.cp2image.table_defaults import TableDefaults
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.progress import Progress

PATIENCE = 30_000
FOUND = TableDefaults(289, 300, ("DNA", "PH3", "Overlay"), ("DNA", "PH3"), "DNA", 48, "")


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """Runs and models of their own, and no bundled ones."""
    monkeypatch.setenv("VIRTUAL_PAINT_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("VIRTUAL_PAINT_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("napari_virtual_paint.cells.cp2image.model.list_cell_models", list)
    (tmp_path / "run").mkdir()
    return tmp_path


@pytest.fixture
def commands(monkeypatch):
    """The command line, played: an estimate of a second a step, and a training of three steps that can be told to wait or fail."""
    seen = {"calls": [], "wait": False, "fault": ""}

    def run(arguments, title, first=None):
        seen["calls"].append(list(arguments))
        config = yaml.safe_load(Path(arguments[2]).read_text())
        yield first
        if "--estimate" in arguments:
            return {"pace": {"step": 1.0, "validation": 0.0, "passes": 0.0, "rounds": 1}}
        step = 0
        while seen["wait"] or step < 3:
            step = min(step + 1, 2)
            yield Progress(step, 3, "step 1/3: pixel 0.1")
            if not seen["wait"]:
                break
        if seen["fault"]:
            raise InputError(seen["fault"])
        Path(config["output"]).parent.mkdir(exist_ok=True)
        Path(config["output"]).write_bytes(b"a package")
        return {"output": config["output"]}

    monkeypatch.setattr(train_state.cli_process, "run", run)
    return seen


@pytest.fixture
def dialog(qtbot, monkeypatch, places):
    monkeypatch.setattr("napari_virtual_paint.cells.tables.table.open_table", lambda path: path)
    monkeypatch.setattr("napari_virtual_paint.cells.cp2image.table_defaults.table_defaults", lambda table, path: FOUND)
    dialog = CellTrainDialog()
    qtbot.addWidget(dialog)
    dialog.show()
    dialog.open_table(str(places / "run"))
    qtbot.waitUntil(lambda: not dialog.busy, timeout=PATIENCE)
    yield dialog
    dialog.shut()


def chosen(dialog, places, **changes) -> None:
    dialog.setValue(replace(dialog.value(), images=str(places), author="Ada", **changes))


def test_a_table_fills_the_form_and_says_what_is_missing(dialog, places):
    value = dialog.value()
    assert (value.channels, value.nuclei, value.size, value.name) == (("DNA", "PH3"), "DNA", 48, "Cells of run")
    assert dialog.form.channels.count() == 3, "what the pipeline saved is offered, not ticked"
    assert "289 cells" in dialog.form.found.text()
    assert not dialog.train.isEnabled(), "the pictures' folder is not known"
    assert "pictures" in dialog.train.toolTip()
    chosen(dialog, places)
    assert dialog.train.isEnabled()
    assert missing(replace(dialog.value(), nuclei="Overlay")) == "The nuclear channel must be one of the ticked ones."
    assert "name" in missing(replace(dialog.value(), name="é"))
    assert missing(CellTrainState()).startswith("Choose the table")


def test_one_who_changes_nothing_trains_and_gets_the_model(dialog, places, commands, qtbot):
    chosen(dialog, places, length="10 min")
    trained = []
    dialog.trained.connect(trained.append)
    dialog.train.click()
    assert not dialog.form.isEnabled()
    qtbot.waitUntil(lambda: bool(trained), timeout=PATIENCE)
    assert trained == [str(places / "models" / "cells-of-run.zip")]
    assert [call[3:] for call in commands["calls"]] == [["--estimate"], []]
    config = load_config(cell_runs() / "cells-of-run" / CONFIG)
    assert config.steps == 600, "ten minutes at a second a step"
    assert config.epoch == 60
    assert (config.data.channels, config.data.nuclei, config.data.size) == (("DNA", "PH3"), "DNA", 48)
    assert config.data.table == places / "run"
    assert config.authors == ("Ada",)
    assert config.held_out == 0.1
    assert config.run == cell_runs() / "cells-of-run" / "run"
    assert "trained" in dialog.status.text()
    assert not unfinished()
    dialog.train.click()
    qtbot.waitUntil(lambda: not dialog.busy, timeout=PATIENCE)
    assert "There is a model named cells-of-run already" in dialog.status.text()


def test_a_training_is_stopped_and_resumed(dialog, places, commands, qtbot):
    chosen(dialog, places)
    commands["wait"] = True
    dialog.train.click()
    qtbot.waitUntil(lambda: len(commands["calls"]) == 2 and "Training" in dialog.status.text(), timeout=PATIENCE)
    assert dialog.bar.isVisible()
    dialog.cancel.click()
    qtbot.waitUntil(lambda: dialog.status.text() == STOPPED, timeout=PATIENCE)
    qtbot.waitUntil(lambda: dialog.resume.isVisible() and not dialog.busy, timeout=PATIENCE)
    assert not dialog.bar.isVisible()
    assert dialog.run.currentText() == "cells-of-run"
    written = (cell_runs() / "cells-of-run" / CONFIG).read_text()
    commands["wait"] = False
    trained = []
    dialog.trained.connect(trained.append)
    dialog.resume.click()
    qtbot.waitUntil(lambda: bool(trained), timeout=PATIENCE)
    assert (cell_runs() / "cells-of-run" / CONFIG).read_text() == written, "the same settings, by which the run goes on"
    assert commands["calls"][-1][:2] == ["cells", "train"]
    qtbot.waitUntil(lambda: not dialog.resume.isVisible(), timeout=PATIENCE)


def test_a_fault_is_a_sentence_and_closing_stops(dialog, places, commands, qtbot):
    chosen(dialog, places)
    commands["fault"] = "held_out: nothing is left to train on."
    dialog.train.click()
    qtbot.waitUntil(lambda: "nothing is left" in dialog.status.text(), timeout=PATIENCE)
    assert dialog.form.isEnabled()
    commands["wait"] = True
    dialog.setValue(replace(dialog.value(), name="Other cells"))
    dialog.train.click()
    qtbot.waitUntil(lambda: len(commands["calls"]) == 4, timeout=PATIENCE)
    dialog.close_button.click()
    assert not dialog.running
    assert [folder.name for folder in unfinished()] == ["other-cells", "cells-of-run"]


def test_a_table_that_can_not_be_read_is_said(qtbot, places):
    dialog = CellTrainDialog()
    qtbot.addWidget(dialog)
    dialog.open_table(str(places / "nothing"))
    qtbot.waitUntil(lambda: not dialog.busy, timeout=PATIENCE)
    assert "nothing" in dialog.form.found.text()
    assert not dialog.train.isEnabled()
    dialog.shut()
    assert train_dialog.MINUTES["10 min"] == 10
