"""The Train dock, driven as a user drives it: real widgets, a real viewer, one training in a process of its own."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import get_args

import numpy as np
import psutil
import pytest
import yaml
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QComboBox, QPushButton

from napari_virtual_paint._napari.shared import cli_process
from napari_virtual_paint._napari.shared.widgets import DEVICES
from napari_virtual_paint._napari.train import config_controller, time_estimate
from napari_virtual_paint._napari.train import process as train_process
from napari_virtual_paint._napari.train.curve import MOST, CurveView, score_span, span, thinned
from napari_virtual_paint._napari.train.dock import _next_name
from napari_virtual_paint._napari.train.form import HELD_OUT, LENGTHS, SOURCES, TrainForm
from napari_virtual_paint._napari.train.prepare import PairVerdict, prepare
from napari_virtual_paint._napari.train.run_list import list_text, status_html
from napari_virtual_paint._napari.train.state import CONFIG, RUN, HeldOut, Length, SourceKind, TrainState
from napari_virtual_paint._napari.train.time_estimate import TrainingTime
from napari_virtual_paint._napari.train.watcher import pictures, tint, watch_changes
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.reading import read
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.samples import SimulationSettings, simulate_field
from napari_virtual_paint.training import load_config
from napari_virtual_paint.training.config.run import TrainConfig
from napari_virtual_paint.training.pace import TrainingPace
from napari_virtual_paint.training.run_folder.watch import CHECKPOINT, PROGRESS, EpochRecord, Preview, RunState, read_command, watch
from napari_virtual_paint.training.run_folder.writer import RunFolderWriter
from small_models import TOY_3D, write_toy

PATIENCE = 60_000
"""Milliseconds; far more than anything here takes on a machine with nothing else to do."""
SIDE = 64

pytestmark = pytest.mark.usefixtures("offered")


@pytest.fixture(scope="module")
def field():
    return simulate_field(SimulationSettings(size=SIDE, seed=1))


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Keep runs and models of these tests away from the user's own; no step is timed."""
    monkeypatch.setenv("VIRTUAL_PAINT_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("VIRTUAL_PAINT_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(train_process, "STARTED", {})
    monkeypatch.setattr(time_estimate, "PAUSE", 0)

    def time_steps(text, facts):
        yield None
        if "nowhere" in text:
            raise InputError("/nowhere: there is no such folder.")
        return TrainingTime("this CPU, 2 cores", TrainingPace(0.5, passes=0.02))

    monkeypatch.setattr(time_estimate, "time_steps", time_steps)
    (tmp_path / "models").mkdir()
    return tmp_path


@pytest.fixture
def dock(make_napari_viewer, qtbot, places, field, request):
    notification_manager.records.clear()
    viewer = make_napari_viewer(show=getattr(request, "param", False))
    for index, name in enumerate(("Brightfield -4 um", "Brightfield 0 um", "Brightfield +4 um")):
        viewer.add_image(np.asarray(field.brightfield.data[0, index, 0]), name=name, scale=(0.65, 0.65), units=("um", "um"))
    for name in ("DNA", "ER"):
        viewer.add_image(np.asarray(field.stains.select([name]).data[0, 0, 0]), name=name, scale=(0.65, 0.65), units=("um", "um"))
    _, widget = viewer.window.add_plugin_dock_widget("napari-virtual-paint", "Train")
    qtbot.waitUntil(lambda: bool(widget.config.recipes) and widget.config.estimator.found is not None, timeout=PATIENCE)
    yield widget
    for training in train_process.STARTED.values():
        if training.alive:
            training.process.kill()
        training.process.wait()


def messages():
    return [record.message for record in notification_manager.records]


def values(dock):
    return yaml.safe_load(dock.form.text.toPlainText())


def alive(folder: Path, **more):
    """Write the progress of a run that goes on in this process."""
    folder.mkdir(parents=True, exist_ok=True)
    own = {"state": "running", "phase": "training", "pid": os.getpid(), "born": psutil.Process().create_time(), "host": platform.node()}
    (folder / PROGRESS).write_text(json.dumps({**own, "step": 5, "steps": 20, "stains": ["DNA"], **more}))


# -- the form ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "choice",
    [
        TrainState(),
        TrainState(source="files", path="/a", input_pattern="x*.tif", target_pattern="y*.tif", input_channels="0", stain_channels="DNA,ER"),
        TrainState(source="plate", path="/p.zarr", wells="A1:B2", recipe="unet", held_out="images", length="minutes", amount=7),
        TrainState(start="some-model", length="minutes"),
        TrainState(author="", license="", not_for="Nothing yet.", length="3 h"),
        TrainState(
            name="Mine", stain_names="A,B", held_out="none", device="cpu", keep_running=True, length="steps", amount=99, text="id: x"
        ),
    ],
)
def test_the_form_shows_what_it_is_given(qtbot, choice):
    form = TrainForm()
    qtbot.addWidget(form)
    form.setRecipes([("quick", "Quick", ""), ("unet", "U-Net", "")])
    form.setModels([("some-model", "Some model", "")])
    form.setValue(choice)
    assert form.value() == choice
    form.finish()
    assert form.value() == choice
    form.setText("id: y")
    assert form.text.toPlainText() == (choice.text or "id: y")


def test_the_form_edits_every_field(qtbot):
    form = TrainForm()
    qtbot.addWidget(form)
    assert set(form._bindings) == {f.name for f in dataclasses.fields(TrainState)} - {"text"}
    for offered, kind in ((SOURCES, SourceKind), (HELD_OUT, HeldOut), (LENGTHS, Length)):
        assert {key for key, _ in offered} == set(get_args(kind))
    assert {key for key, _ in DEVICES} == set(get_args(TrainConfig.model_fields["device"].annotation))


def test_the_configuration_follows_the_form_and_what_is_missing_is_said(dock, qtbot, tmp_path):
    assert dock.value().inputs == ("Brightfield -4 um", "Brightfield 0 um", "Brightfield +4 um")
    assert set(dock.value().stains) == {"DNA", "ER"}
    assert dock.panel.start.isEnabled()
    found = values(dock)
    assert (found["recipe"], found["id"], found["patch"]) == ("quick", "my-stains", [64, 64])
    assert found["output"] == str(tmp_path / "models" / "my-stains")
    path = tmp_path / "x.yaml"
    path.write_text(dock.form.text.toPlainText())
    assert load_config(path).network.config["width"] == 16
    # Half a second a step, and a fiftieth of a pass over the images.
    assert dock.panel.time.text() == "600 steps (12 passes over the images) take about 5 min on this CPU, 2 cores."
    dock.choose(length="minutes", amount=2)
    assert (values(dock)["steps"], values(dock)["epoch"]) == (240, 24)
    others = " The recipe has 600 steps: about 5 min."
    assert dock.panel.time.text() == f"240 steps (4.8 passes over the images) take about 2 min on this CPU, 2 cores.{others}"
    dock.choose(length="1 h")
    assert (values(dock)["steps"], values(dock)["epoch"]) == (7200, 60)
    assert dock.panel.time.text().startswith("7,200 steps (144 passes over the images) take about 60 min")
    dock.choose(length="steps", amount=50)
    assert (values(dock)["steps"], values(dock)["epoch"]) == (50, 5)
    assert dock.panel.time.text() == "50 steps (1.0 passes over the images) take about 25 s on this CPU, 2 cores."
    rng = np.random.default_rng(0)
    for name in ("Phase", "MAP2"):
        dock.viewer.add_image(rng.random((5, SIDE, SIDE)), name=name, axis_labels=("z", "y", "x"))
    dock.choose(inputs=("Phase",), stains=("MAP2",))
    assert "planes_as_channels" not in values(dock)["data"]
    dock.choose(stains=("DNA",))
    assert values(dock)["data"]["planes_as_channels"] is True
    dock.choose(source="plate", path="/p.zarr", wells="A1")
    assert values(dock)["data"] == {"plate": {"path": "/p.zarr", "wells": "A1"}}
    assert dock.panel.start.isEnabled()
    for name in ("Phase", "MAP2"):
        dock.viewer.layers.remove(name)
    dock.choose(source="files", path="/nowhere")
    qtbot.waitUntil(lambda: "there is no such folder" in dock.panel.time.text(), timeout=PATIENCE)
    assert not any("nowhere" in message for message in messages()), "whoever is still choosing needs no notification"
    dock.choose(source="layers", path="", wells="", length="recipe", inputs=("Brightfield 0 um",))
    dock.choose(stains=())
    assert "Choose a layer of true stains" in dock.panel.problem.text()
    assert not dock.panel.start.isEnabled()
    dock.viewer.add_image(np.zeros((32, 32)), name="Other")
    dock.choose(stains=("Other",))
    assert "differ in size" in dock.panel.problem.text()
    dock.choose(stains=("DNA",), name="Zürich stains")
    assert "5 to 128 letters" in dock.panel.problem.text()
    dock.choose(name="Free one", not_for="")
    assert "what the model must not be used for" in dock.panel.problem.text()
    dock.choose(name="-----", not_for="Other stains.")
    assert "a letter or a digit" in dock.panel.problem.text()
    dock.choose(name="Free one", recipe="fnet-3d")
    assert "same planes" in dock.panel.problem.text()
    alive(tmp_path / "runs" / "taken" / RUN, state="stopped")
    dock.choose(name="Taken", recipe="quick")
    assert "There is a run named taken" in dock.panel.problem.text()
    (tmp_path / "models" / "have-it.zip").touch()
    dock.choose(name="Have it")
    assert "There is a model named have-it" in dock.panel.problem.text()
    dock.choose(source="plate", name="Free one")
    assert "Choose a plate" in dock.panel.problem.text()


@pytest.mark.parametrize(("name", "following"), [("Mine", "Mine 2"), ("Mine 2", "Mine 3"), ("Walk 8", "Walk 9"), ("9", "9 2")])
def test_the_next_training_gets_the_next_number(places, name, following):
    assert _next_name(name) == following


def test_a_layer_that_is_named_as_predicted_is_no_true_stain(dock, qtbot):
    assert dock.value().stains == ("DNA", "ER")
    dock.viewer.add_image(np.zeros((SIDE, SIDE), np.float32), name="ER (predicted)")
    dock.viewer.add_image(np.zeros((SIDE, SIDE), np.float32), name="AGP")
    qtbot.waitUntil(lambda: dock.value().stains == ("DNA", "ER", "AGP"), timeout=PATIENCE)


def test_author_license_and_limits_are_asked_and_nobody_is_invented(dock, tmp_path):
    dock.form.author.setText("Ada Lovelace, Charles Babbage")
    dock.form.author.editingFinished.emit()
    dock.form.license.setCurrentIndex(dock.form.license.findData("CC0-1.0"))
    dock.form.not_for.setText("Neurons.")
    dock.form.not_for.editingFinished.emit()
    found = values(dock)
    assert (found["authors"], found["license"], found["not_for"]) == (["Ada Lovelace", "Charles Babbage"], "CC0-1.0", "Neurons.")
    dock.choose(author="", license="")
    path = tmp_path / "nobody.yaml"
    path.write_text(dock.form.text.toPlainText())
    config = load_config(path)
    assert (config.authors, config.license) == ((), None)


def test_the_time_of_a_configuration_edited_by_hand_is_that_of_its_steps(dock):
    dock.form.text.setPlainText(dock.form.text.toPlainText() + "steps: 1200\nepoch: 100\n")
    assert dock.panel.time.text().startswith("1,200 steps (24 passes over the images) take about 10 min")


def test_what_a_step_does_not_depend_on_does_not_have_it_timed_anew(dock, tmp_path):
    found = dock.config.estimator.found
    stains = ", ".join(f"a stain of a long name {number}" for number in range(9))  # the description takes several lines
    dock.choose(name="Another", author="Ada Lovelace", license="MIT", not_for="Neurons.", stain_names=stains, length="steps", amount=7)
    assert len(values(dock)["description"]) > 200
    dock.choose(stain_names="")
    assert dock.config.estimator.found is found
    dock.choose(held_out="none")
    assert dock.config.estimator.found is None


def test_what_is_edited_by_hand_counts_and_is_saved(dock, qtbot, tmp_path):
    dock.form.text.setPlainText("id: mine\nrecipe: nonsense\n")
    dock.choose(name="Another")
    assert dock.value().text == "id: mine\nrecipe: nonsense\n"
    dock.panel.start.click()
    qtbot.waitUntil(lambda: not dock.config.preparing, timeout=PATIENCE)
    assert any("there is no recipe 'nonsense'" in message for message in messages())
    assert not train_process.STARTED
    dock.form.back.click()
    assert dock.value().text is None
    assert values(dock)["name"] == "Another"
    (tmp_path / "there").mkdir()
    dock.config.save_to(tmp_path / "there" / "mine.yaml")
    qtbot.waitUntil(lambda: any("Saved" in message for message in messages()), timeout=PATIENCE)
    config = load_config(tmp_path / "there" / "mine.yaml")
    assert config.output == tmp_path / "there" / "another"
    stack = read(tmp_path / "there" / "mine-images" / "field_input.ome.tif")
    assert stack.channels == ("Brightfield -4 um", "Brightfield 0 um", "Brightfield +4 um")
    assert stack.pixel_size.y == pytest.approx(0.65)


# -- a run ------------------------------------------------------------------------------------------------------------


def test_from_layers_to_a_model_that_paints(dock, qtbot, tmp_path):
    dock.choose(length="steps", amount=3, name="Own model", device="cpu")
    QTest.mouseClick(dock.panel.start, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(
        lambda: dock.monitor.state is not None and dock.monitor.state.phase == "training" and len(dock.monitor.state.curve) >= 1,
        timeout=PATIENCE,
    )
    qtbot.waitUntil(lambda: dock.monitor.state.state == "finished", timeout=PATIENCE)
    assert [line.step for line in dock.monitor.state.curve] == [1, 2, 3]
    assert len(dock.panel.curve._lines) == 3
    qtbot.waitUntil(lambda: dock.panel.preview.pictures is not None, timeout=PATIENCE)
    dock.monitor.add_layers()
    qtbot.waitUntil(lambda: "ER (painted, preview)" in dock.viewer.layers, timeout=PATIENCE)
    both = [dock.viewer.layers[f"DNA ({what}, preview)"] for what in ("true", "painted")]
    assert both[0].contrast_limits == both[1].contrast_limits
    assert tuple(both[0].scale) == pytest.approx((0.65, 0.65))
    dock.panel.paint.click()
    stain = dock.viewer.window.add_plugin_dock_widget("napari-virtual-paint", "Stain")[1]
    qtbot.waitUntil(lambda: stain.value().model == "own-model", timeout=PATIENCE)
    assert stain.model_list.by_id("own-model")
    assert stain.model.info.pixel_size.y == pytest.approx(0.65)
    assert (tmp_path / "runs" / "own-model" / CONFIG).is_file()
    assert dock.value().name == "Own model 2"
    assert any("own-model is trained" in message for message in messages())


def test_a_model_is_taught_what_the_layers_show(dock, qtbot, tmp_path):
    write_toy(tmp_path / "models" / "toy-planes")
    dock.choose(start="toy-planes", name="Taught cells", length="steps", amount=3, author="Ada")
    dock.config.list_models()
    qtbot.waitUntil(lambda: dock.form.start.count() == 2, timeout=PATIENCE)
    assert dock.form.start.currentData() == "toy-planes"
    assert not dock.form.recipe.isEnabled()
    assert dock.panel.start.isEnabled()
    prepared = run_to_end(prepare(dock.config._request()))
    config = load_config(prepared.config)
    assert (config.start, config.steps, config.id) == ("toy-planes", 3, "taught-cells")
    assert config.fine_tuning is not None
    assert config.authors == ("Ada",)
    assert (config.output, config.run) == (tmp_path / "models" / "taught-cells", tmp_path / "runs" / "taught-cells" / RUN)
    assert prepared.report is not None
    assert not prepared.report.stops
    dock.choose(start="")
    assert dock.form.recipe.isEnabled()
    write_toy(tmp_path / "models" / "toy-volume", TOY_3D)
    dock.choose(start="toy-volume")
    with pytest.raises(InputError, match="toy-volume"):
        run_to_end(prepare(dock.config._request()))


def test_runs_of_elsewhere_and_of_before_are_watched_and_told(dock, qtbot, tmp_path):
    folder = tmp_path / "elsewhere"
    with RunFolderWriter(folder, "other", tmp_path / "other") as files:
        files.phase("training", 100)
        files.step(25, 60.0, 0.5)
        files._write()
        dock.monitor.open_folder(folder)
        qtbot.waitUntil(lambda: dock.monitor.state is not None and dock.monitor.state.step == 25, timeout=PATIENCE)
        assert "step 25 of 100, 1 min 0 s left" in dock.panel.status.text()
        assert dock.panel.bar.value() == 250
        for button, word in ((dock.panel.pause, "pause"), (dock.panel.finish, "finish"), (dock.panel.stop, "stop")):
            button.click()
            assert read_command(folder) == word
        assert not dock.panel.resume.isVisibleTo(dock)
    qtbot.waitUntil(lambda: dock.monitor.state.state == "finished", timeout=PATIENCE)
    dock.monitor.open_folder(tmp_path)
    assert "there is no training's progress.json" in messages()[-1]
    for name, state in (("one", "finished"), ("two", "failed")):
        alive(tmp_path / "runs" / name / RUN, state=state, message="It had no luck.")
        (tmp_path / "runs" / name / CONFIG).write_text("id: x")
    dock.monitor.list_runs()
    qtbot.waitUntil(lambda: dock.panel.runs.count() == 3, timeout=PATIENCE)
    lines = sorted(dock.panel.runs.item(row).text() for row in range(3))
    assert lines == ["elsewhere: finished after 25 of 100 steps", "one: finished after 5 of 20 steps", "two: failed"]
    item = next(dock.panel.runs.item(row) for row in range(3) if dock.panel.runs.item(row).text().startswith("two"))
    dock.panel.runs.itemClicked.emit(item)
    qtbot.waitUntil(lambda: "It had no luck." in dock.panel.status.text(), timeout=PATIENCE)
    assert dock.panel.resume.isEnabled()
    assert not dock.panel.paint.isEnabled()


@pytest.mark.parametrize(
    ("more", "resumable", "config", "words", "line"),
    [
        ({"step": 6, "message": "/r: training was stopped; its state after step 6 is kept, and the same command resumes it."}, True, True,
         "Stopped after step 6. Press Resume to continue.", "one: stopped after step 6"),
        ({"step": 6, "message": "training was stopped"}, True, False,
         "Stopped after step 6. The command that began it continues it.", "one: stopped after step 6"),
        ({"phase": "reading images", "step": 3, "message": "training was stopped"}, False, True,
         "Stopped before its first step was kept. Press Resume to continue.", "one: stopped"),
        ({"step": 6, "message": "Memory ran out."}, True, True,
         "Memory ran out. Stopped after step 6. Press Resume to continue.", "one: stopped after step 6"),
    ],
)  # fmt: skip
def test_a_stopped_run_says_after_which_step_and_how_it_goes_on(tmp_path, more, resumable, config, words, line):
    folder = tmp_path / "one"
    alive(folder / RUN, state="stopped", **more)
    if resumable:
        (folder / RUN / CHECKPOINT).touch()
    if config:
        (folder / CONFIG).write_text("id: x")
    location = train_process.RunLocation(folder, folder / RUN)
    state = watch(location.run)
    assert status_html(state, location) == words
    assert list_text(location, state) == line


def ready_again(request):
    """Prepare a run without looking at its pairs; they look wrong as long as they are to be looked at."""
    from napari_virtual_paint._napari.train.prepare import PreparedRun, write_text

    request.folder.mkdir(parents=True, exist_ok=True)
    yield None
    return PreparedRun(request, write_text(request.folder / CONFIG, request.text), report=not request.check)


def test_bad_pairs_are_asked_about_and_a_training_that_dies_says_why(dock, qtbot, monkeypatch):
    monkeypatch.setattr(cli_process, "command", lambda *_: [sys.executable, "-c", "import sys; sys.exit('virtual-paint: no luck today.')"])
    begun = []
    really = train_process.begin

    def begin(folder, config, *, keep):
        begun.append(config)
        return really(folder, config, keep=keep)

    monkeypatch.setattr(config_controller, "prepare", ready_again)
    monkeypatch.setattr(
        config_controller, "verdict", lambda report: PairVerdict(bool(begun) or report is True, True, "2 of 9 pairs look wrong")
    )
    monkeypatch.setattr(train_process, "begin", begin)
    dock.choose(length="minutes", amount=2)  # 240 steps of half a second
    dock.panel.start.click()
    qtbot.waitUntil(lambda: dock.panel.asking.isVisibleTo(dock), timeout=PATIENCE)
    assert "2 of 9 pairs look wrong" in dock.panel.report.text()
    assert not dock.panel.start.isEnabled()
    dock.panel.give_up.click()
    assert dock.panel.start.isEnabled()
    assert not begun
    dock.panel.start.click()
    qtbot.waitUntil(lambda: dock.panel.asking.isVisibleTo(dock), timeout=PATIENCE)
    dock.panel.leave_out.click()
    qtbot.waitUntil(lambda: bool(begun), timeout=PATIENCE)
    config = yaml.safe_load(begun[0].read_text())
    assert config["data"]["checks"] == "leave_out"
    assert (config["steps"], config["epoch"]) == (240, 24), "the steps that fit into the chosen time"
    qtbot.waitUntil(lambda: any("No luck today" in message for message in messages()), timeout=PATIENCE)
    assert dock.monitor.state.state == "failed"
    assert dock.panel.resume.isEnabled()


def test_trainings_end_with_napari_unless_they_are_kept(places, tmp_path):
    started = {}
    for name, keep in (("ends", False), ("stays", True)):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        process = psutil.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        started[name] = train_process.TrainingProcess(folder, process, keep)
        train_process.STARTED[folder] = started[name]
        alive(folder / RUN, pid=process.pid, born=process.create_time())
    train_process.stop_started()
    assert read_command(started["ends"].folder / RUN) == "stop"
    assert read_command(started["stays"].folder / RUN) is None
    (started["ends"].folder / RUN / PROGRESS).unlink()
    train_process.stop_started()
    assert started["ends"].process.wait(20) != 0, "what has not begun is ended"
    started["stays"].process.kill()
    started["stays"].process.wait()


def test_a_run_is_over_once_its_process_is_gone(places, tmp_path):
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    location = train_process.RunLocation(folder, folder / RUN)
    process = psutil.Popen([sys.executable, "-c", "input()"], stdin=-1)
    train_process.STARTED[folder] = train_process.TrainingProcess(folder, process)
    assert (train_process.state_of(location).state, train_process.state_of(location).phase) == (
        "running",
        "starting",
    )
    alive(folder / RUN, pid=process.pid, born=process.create_time())
    assert train_process.state_of(location).step == 5
    alive(folder / RUN, pid=process.pid, born=process.create_time(), state="stopped")
    assert train_process.state_of(location).phase == "ending"
    process.communicate(b"x\n", timeout=20)
    assert train_process.state_of(location).state == "stopped"


# -- pictures ---------------------------------------------------------------------------------------------------------


def test_a_watcher_tells_changes_until_the_end():
    states = [RunState(Path("x"), "running", step=1), RunState(Path("x"), "running", step=1), RunState(Path("x"), "finished", step=2)]
    left = iter(states)
    assert [each for each in watch_changes(lambda: next(left)) if each is not None] == [states[0], states[2]]


def test_true_and_painted_have_one_contrast():
    rng = np.random.default_rng(0)
    truth = rng.random((2, 20, 30), np.float32)
    shown = pictures(Preview(truth[:1], truth, truth / 2, ("Brightfield",), ("DNA", "ER"), "f", 3, True, (None, None)))
    assert shown.truth[0].shape == (20, 30, 4)
    assert np.array_equal(shown.painted[0], tint(truth[0] / 2, shown.limits[0], "DNA"))
    assert shown.truth[0].max(axis=(0, 1)).tolist() == [255, 140, 77, 255], "DNA is blue"
    assert shown.truth[1][..., 1].max() == 255, "ER is green"


def test_curves_keep_their_ends():
    lines = [EpochRecord(step, 1.0 / (step + 1), {"pcc": (0.5,)}) for step in range(5000)]
    few = thinned(lines)
    assert (len(few), few[0], few[-1]) == (MOST, lines[0], lines[-1])
    assert span([1.0, 2.0])[0] < 1 < 2 < span([1.0, 2.0])[1]
    assert score_span([0.55]) == (0.5, 1.0)
    assert score_span([-0.12]) == (-0.2, 1.0)
    assert score_span([18.0, 22.5]) == (0.9, 23.0)


def test_the_curve_is_drawn_with_and_without_numbers(qtbot):
    view = CurveView()
    qtbot.addWidget(view)
    view.resize(280, 190)
    empty = view.grab().toImage()
    view.set_state(
        RunState(
            Path("x"),
            "running",
            step=3,
            steps=9,
            stains=("DNA",),
            curve=(EpochRecord(3, 0.5, {"pcc": (float("nan"),)}), EpochRecord(6, 0.4, {"pcc": (0.8,)})),
        )
    )
    assert view.grab().toImage() != empty


@pytest.mark.parametrize("dock", [True], indirect=True)
def test_nothing_is_cut_in_a_narrow_dock(dock, qtbot, tmp_path):
    holder = dock
    while not holder.inherits("QDockWidget"):
        holder = holder.parentWidget()
    alive(tmp_path / "runs" / "long-name-of-a-model" / RUN)
    (tmp_path / "runs" / "long-name-of-a-model" / CONFIG).write_text("id: x")
    dock.monitor.list_runs()
    qtbot.waitUntil(lambda: dock.monitor.state is not None, timeout=PATIENCE)
    dock.form.advanced.expand(animate=False)
    dock.panel.asking.show()
    dock.viewer.window._qt_window.resizeDocks([holder], [300], Qt.Orientation.Horizontal)
    inner = dock.scroll.widget()
    qtbot.waitUntil(lambda: dock.width() <= 305 and inner.width() <= dock.scroll.viewport().width(), timeout=PATIENCE)
    for source in ("layers", "files", "plate"):
        dock.choose(source=source)
        time.sleep(0.05)
        qtbot.wait(20)
        for button in dock.findChildren(QPushButton):
            if button.isVisible():
                assert button.fontMetrics().horizontalAdvance(button.text()) + 4 <= button.width(), button.text()
        for widget in dock.findChildren((QPushButton, QComboBox)):
            if widget.isVisible():
                assert widget.mapTo(dock, widget.rect().topRight()).x() <= dock.width(), widget
