"""What happens to the layers when Paint, Preview and Cancel are pressed."""

from __future__ import annotations

import gc
import shutil
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel

from napari_virtual_paint import painting
from napari_virtual_paint._napari.shared import jobs
from napari_virtual_paint._napari.shared.viewer.layer_pairs import comparable, facts_of, key_of, pair_by_name
from napari_virtual_paint._napari.shared.viewer.layers import our_metadata
from napari_virtual_paint._napari.shared.viewer.redraw import RedrawPace, redraw_pace
from napari_virtual_paint._napari.stain.dock import StainDock
from napari_virtual_paint._napari.stain.painting import done_sentence
from napari_virtual_paint._napari.stain.saving import stack_to_save, stain_layers
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.models import open_model
from napari_virtual_paint.painting.results import PaintReport
from napari_virtual_paint.reading import read
from napari_virtual_paint.stack import Stack

CHANNELS = ("Brightfield -4 um", "Brightfield 0 um", "Brightfield +4 um")
STAINS = ("DNA", "ER", "RNA", "AGP", "Mito")
PATIENCE = 60_000  # milliseconds

pytestmark = pytest.mark.usefixtures("offered")


def planes(seed: int = 1, size: int = 64) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [rng.random((size, size + 16), dtype=np.float32) for _ in CHANNELS]


def expected(pixels: list[Any]) -> Any:
    stack = Stack(np.stack(pixels)[None, :, None], CHANNELS)
    return painting.run_to_end(painting.paint(open_model("small"), stack)).stack.data


@pytest.fixture
def dock(make_napari_viewer: Any) -> StainDock:
    viewer = make_napari_viewer()
    for data, name in zip(planes(), CHANNELS, strict=True):
        viewer.add_image(data, name=name)
    widget = StainDock(viewer)
    viewer.window.add_dock_widget(widget, name="Stain")
    return widget


@pytest.fixture
def two_models(offered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offer, beside the small model, a second one of the same stains."""
    folder = tmp_path / "both"
    for name in ("small", "other"):
        shutil.copytree(offered / "small", folder / name)
    described = folder / "other" / "rdf.yaml"
    text = described.read_text("utf-8")
    assert "id: small\n" in text
    described.write_text(text.replace("id: small\n", "id: other\n"), "utf-8")
    monkeypatch.setenv("VIRTUAL_PAINT_MODELS", str(folder))


def stains_of(viewer: Any, role: str = "stain") -> list[Any]:
    return [layer for layer in viewer.layers if our_metadata(layer).get("role") == role]


def finish(qtbot: Any, dock: StainDock) -> None:
    qtbot.waitUntil(lambda: dock.painting is None, timeout=PATIENCE)


def status(dock: StainDock) -> str:
    return str(dock.panel.status.text())


def test_new_pixels_are_painted(dock: StainDock, qtbot: Any) -> None:
    changed = planes(seed=7)
    for layer, data in zip(list(dock.viewer.layers), changed, strict=True):
        layer.data = data
    dock.paint()
    finish(qtbot, dock)
    np.testing.assert_allclose(stains_of(dock.viewer)[0].data, expected(changed)[0, 0, 0], atol=1e-5)
    dock.viewer.layers[CHANNELS[1]].data = planes(seed=9)[1]
    dock.paint()
    finish(qtbot, dock)
    again = [changed[0], planes(seed=9)[1], changed[2]]
    np.testing.assert_allclose(stains_of(dock.viewer)[0].data, expected(again)[0, 0, 0], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "value"), [("translate", (5.0, 7.0)), ("rotate", 30.0), ("shear", (0.2,)), ("affine", np.diag([2.0, 2.0, 1.0]))]
)
def test_moved_layers_are_painted_where_they_are_now(dock: StainDock, qtbot: Any, name: str, value: Any) -> None:
    inputs = list(dock.viewer.layers)
    dock.paint()
    finish(qtbot, dock)
    for layer in inputs:
        setattr(layer, name, value)
    dock.paint()
    finish(qtbot, dock)
    for layer in stains_of(dock.viewer):
        for corner in ((0, 0), (63, 79)):
            np.testing.assert_allclose(layer.data_to_world(corner), inputs[0].data_to_world(corner))


def test_removing_the_input_cancels(dock: StainDock, qtbot: Any, held: threading.Event) -> None:
    dock.paint()
    canvas = dock.painting.canvas
    qtbot.waitUntil(lambda: canvas.painted, timeout=PATIENCE)
    del dock.viewer.layers[CHANNELS[1]]
    finish(qtbot, dock)
    assert status(dock) == "The input 'Brightfield 0 um' was removed. Cancelled. What is painted stays."
    qtbot.waitUntil(lambda: not dock.panel.button_paint.isEnabled(), timeout=PATIENCE)


@pytest.mark.parametrize("appeared", [False, True])
def test_nothing_is_added_to_a_viewer_that_was_emptied(dock: StainDock, qtbot: Any, held: threading.Event, appeared: bool) -> None:
    dock.paint()
    if appeared:
        qtbot.waitUntil(lambda: len(stains_of(dock.viewer)) == 5, timeout=PATIENCE)
    dock.viewer.layers.clear()
    finish(qtbot, dock)
    assert status(dock) == "The input 'Brightfield -4 um' was removed. Cancelled."
    qtbot.wait(50)
    assert len(dock.viewer.layers) == 0


def test_the_input_and_true_stains_are_hidden(dock: StainDock, qtbot: Any) -> None:
    viewer = dock.viewer
    truth = viewer.add_image(planes(seed=3)[0], name="DNA")
    binned = viewer.add_image(planes(seed=3, size=64)[0][::2, ::2], name="ER", scale=(2, 2), translate=(0.5, 0.5))
    elsewhere = viewer.add_image(planes(seed=3)[0], name="another field", translate=(0, 100))
    cells = viewer.add_labels(np.zeros((64, 80), int), name="cells")
    dock.paint()
    finish(qtbot, dock)
    hidden = [layer.name for layer in viewer.layers if not layer.visible]
    assert hidden == [*CHANNELS, truth.name, binned.name]
    assert elsewhere.visible
    assert cells.visible
    for layer in stains_of(viewer):
        viewer.layers.remove(layer)
    qtbot.waitUntil(lambda: truth.visible and binned.visible and all(viewer.layers[name].visible for name in CHANNELS), timeout=PATIENCE)


def test_nothing_is_hidden_where_the_user_does_not_want_it_or_in_a_grid(dock: StainDock, qtbot: Any) -> None:
    viewer = dock.viewer
    truth = viewer.add_image(planes(seed=3)[0], name="DNA")
    dock.choose(hide_input=False)
    dock.paint()
    finish(qtbot, dock)
    assert truth.visible
    dock.choose(hide_input=True)
    viewer.grid.enabled = True
    dock.paint()
    finish(qtbot, dock)
    assert truth.visible


def test_a_preview_hides_the_prediction_while_it_is_there(dock: StainDock, qtbot: Any) -> None:
    dock.paint()
    finish(qtbot, dock)
    predicted = stains_of(dock.viewer)
    dock.preview()
    finish(qtbot, dock)
    assert len(stains_of(dock.viewer, "preview")) == 5
    assert all(layer.visible for layer in stains_of(dock.viewer, "preview"))
    assert not any(layer.visible for layer in predicted)
    for layer in stains_of(dock.viewer, "preview"):
        dock.viewer.layers.remove(layer)
    qtbot.waitUntil(lambda: all(layer.visible for layer in predicted), timeout=PATIENCE)


@pytest.mark.usefixtures("two_models")
def test_names_have_the_model_where_two_painted_the_image(dock: StainDock, qtbot: Any) -> None:
    dock.choose(model="small", tta="flips")
    dock.paint()
    finish(qtbot, dock)
    first = stains_of(dock.viewer)
    spread = stains_of(dock.viewer, "uncertainty")
    assert [layer.name for layer in first] == [f"{stain} (predicted)" for stain in STAINS]
    assert [layer.name for layer in spread] == [f"{stain} SD" for stain in STAINS]
    first[1].name = "my ER"
    dock.choose(model="other")
    dock.paint()
    finish(qtbot, dock)
    second = [layer for layer in stains_of(dock.viewer) if layer not in first]
    assert [layer.name for layer in second] == [f"{stain} (predicted, other)" for stain in STAINS]
    assert [layer.name for layer in first] == ["DNA (predicted, small)", "my ER", *(f"{stain} (predicted, small)" for stain in STAINS[2:])]
    assert [layer.name for layer in spread] == [f"{stain} SD (small)" for stain in STAINS]
    others = [layer for layer in stains_of(dock.viewer, "uncertainty") if layer not in spread]
    assert [layer.name for layer in others] == [f"{stain} SD (other)" for stain in STAINS]
    assert not any(layer.visible for layer in first), "two models at once can't be told apart"


def test_the_sentence_at_the_end(dock: StainDock, qtbot: Any) -> None:
    lines: list[str] = []
    dock.paint()
    assert status(dock) == "Starting…"
    window = dock.viewer.window._qt_window
    dock.painting.job.ended.connect(lambda: lines.extend(label.text() for label in window.findChildren(QLabel)))
    finish(qtbot, dock)
    assert status(dock).startswith("Done in ")
    assert status(dock).endswith(" s (CPU).")
    assert f"Painting with A small model: {status(dock)}" in lines, "napari's activity dialog says the same, until the next job begins"
    report = {
        "model": "a",
        "version": "1",
        "precision": "float32",
        "blend": "exact",
        "exact": True,
        "tile": 64,
        "block": 0,
        "notes": (),
        "peak_memory_mb": 1.0,
    }
    one = PaintReport(device="cpu", seconds=9.43, **report)
    assert done_sentence(one) == "Done in 9.4 s (CPU)."
    several = PaintReport(device="cuda + cpu", seconds=75.0, passes=4, merge="mean", uncertainty={"DNA": 0.1234, "ER": 0.05}, **report)
    assert done_sentence(several) == "Done in 1 min 15 s (CUDA + CPU). Mean of 4 passes; mean SD DNA 0.12, ER 0.05."


@pytest.mark.parametrize(
    ("fail", "sentence"),
    [
        (lambda: MemoryError(), "Painting with A small model ran out of memory; close other programs, or choose a smaller image."),
        (
            lambda: FileNotFoundError(2, "No such file or directory", "/data/cells.tif"),
            "Painting with A small model stopped: /data/cells.tif is no longer there; put it back or open the image again.",
        ),
        (lambda: InputError("small: its weights are damaged; download it again."), "small: its weights are damaged; download it again."),
    ],
)
def test_failures_end_with_a_sentence(
    dock: StainDock, qtbot: Any, monkeypatch: pytest.MonkeyPatch, fail: Callable[[], Exception], sentence: str
) -> None:
    def paint(*_args: Any, **_kwargs: Any) -> Iterator[Any]:
        yield painting.PaintUpdate(0.0, 1.0)
        time.sleep(0.05)
        raise fail()

    monkeypatch.setattr(painting, "paint", paint)
    dock.paint()
    finish(qtbot, dock)
    assert status(dock) == sentence
    assert not stains_of(dock.viewer)


def test_a_preview_paints_all_that_is_in_view(dock: StainDock, qtbot: Any) -> None:
    dock.viewer.reset_view()
    dock.preview()
    finish(qtbot, dock)
    truth = expected(planes())
    for layer, stain in zip(stains_of(dock.viewer, "preview"), truth[0, :, 0], strict=True):
        np.testing.assert_allclose(layer.data, stain, atol=1e-5)


def test_there_is_no_preview_in_3d(dock: StainDock, qtbot: Any) -> None:
    sentence = "Preview is off in 3D; switch the view to 2D for it."
    dock.viewer.dims.ndisplay = 3
    assert not dock.panel.button_preview.isEnabled()
    assert dock.panel.button_paint.isEnabled()
    assert dock.panel.button_preview.toolTip() == sentence
    assert status(dock) == sentence
    dock.viewer.dims.ndisplay = 2
    assert dock.panel.button_preview.isEnabled()
    assert dock.panel.button_preview.toolTip().startswith("Paint all that is in view")
    assert status(dock) == ""


def test_a_status_line_goes_with_its_image(dock: StainDock, qtbot: Any) -> None:
    dock.paint()
    finish(qtbot, dock)
    dock.viewer.layers[0].name = "renamed"
    qtbot.wait(1)
    assert status(dock).startswith("Done in ")
    dock.form.layers.item(0).setCheckState(Qt.CheckState.Checked)
    assert status(dock) == ""


def test_the_canvas_is_drawn_no_more_often_than_it_can_be(make_napari_viewer: Any) -> None:
    pace = RedrawPace(make_napari_viewer())
    pace.cost, pace._ended = 0.0, time.perf_counter()
    assert pace.ready()
    pace.cost = 100.0  # a fifth of the time: next after 400 s
    assert pace.slow
    assert not pace.ready()
    pace._ended = time.perf_counter() - 390
    assert not pace.ready()
    pace._ended = time.perf_counter() - 401
    assert pace.ready()


def test_drawing_is_measured(make_napari_viewer: Any, qtbot: Any) -> None:
    viewer = make_napari_viewer(show=True)
    pace = redraw_pace(viewer)
    assert redraw_pace(viewer) is pace
    viewer.add_image(planes()[0])
    qtbot.waitUntil(lambda: pace.cost > 0, timeout=PATIENCE)


@pytest.mark.parametrize("name", ["mine.ome.tif", "mine.ome.zarr"])
def test_stains_are_saved_with_pixel_size_and_provenance(make_napari_viewer: Any, qtbot: Any, tmp_path: Path, name: str) -> None:
    viewer = make_napari_viewer()
    for data, channel in zip(planes(), CHANNELS, strict=True):
        viewer.add_image(data, name=channel, scale=(0.65, 0.65), units=("um", "um"))
    dock = StainDock(viewer)
    viewer.window.add_dock_widget(dock, name="Stain")
    assert not dock.panel.button_save.isEnabled()
    dock.paint()
    finish(qtbot, dock)
    qtbot.waitUntil(dock.panel.button_save.isEnabled, timeout=PATIENCE)
    dock.save_stains(tmp_path / name)
    qtbot.waitUntil(lambda: "to " in status(dock), timeout=PATIENCE)
    assert status(dock) == f"Saved 5 stains to {tmp_path / name}."
    saved = read(tmp_path / name)
    assert saved.channels == STAINS
    assert (saved.pixel_size.y, saved.pixel_size.x) == (0.65, 0.65)
    assert saved.provenance["model"] == "small"
    np.testing.assert_array_equal(saved.compute().data[0, :, 0], [layer.data for layer in stains_of(viewer)])
    qtbot.waitUntil(lambda: not jobs.LIVE, timeout=PATIENCE)


def test_saving_over_an_open_image_is_refused(dock: StainDock, qtbot: Any, tmp_path: Path) -> None:
    source = tmp_path / "input.tif"
    tifffile.imwrite(source, planes()[0])
    dock.viewer.open(str(source), plugin="napari-virtual-paint")
    dock.choose(layers=CHANNELS)
    dock.paint()
    finish(qtbot, dock)
    before = source.read_bytes()
    qtbot.waitUntil(dock.panel.button_save.isEnabled, timeout=PATIENCE)
    dock.save_stains(source)
    qtbot.waitUntil(lambda: "input.tif" in status(dock) and not dock._saving.running, timeout=PATIENCE)
    assert not status(dock).startswith("Saved")
    assert source.read_bytes() == before


@pytest.mark.usefixtures("two_models")
def test_the_chosen_models_stains_are_saved_and_those_of_all_where_it_has_none(dock: StainDock, qtbot: Any) -> None:
    for model in ("small", "other"):
        dock.choose(model=model)
        dock.paint()
        finish(qtbot, dock)
    mine = stain_layers(dock.viewer, CHANNELS, {"other"})
    assert [our_metadata(layer)["model"] for layer in mine] == ["other"] * 5
    every = stain_layers(dock.viewer, CHANNELS, {"another"})
    assert len(every) == 10
    stack = stack_to_save(every)
    assert stack.channels == tuple(layer.name for layer in every)
    assert len(set(stack.channels)) == 10
    assert stack.provenance["model"] == "small + other"
    assert [each["model"] for each in stack.provenance["members"]] == ["small", "other"]
    assert stack.provenance["members"][1]["stains"] == [f"{stain} (predicted, other)" for stain in STAINS]
    assert stain_layers(dock.viewer, CHANNELS[:2], {"other"}) == []


def apart_of(viewer: Any, role: str = "stain") -> dict[tuple[str, str], Any]:
    """Return the layers by model and stain."""
    return {(our_metadata(layer)["model"], our_metadata(layer)["channel"]): layer for layer in stains_of(viewer, role)}


def test_two_models_of_equal_stains_paint_layers_of_their_own(two_models: None, dock: StainDock, qtbot: Any) -> None:
    viewer = dock.viewer
    dock.choose(model="small", more=("other",), ensemble=False, tta="flips")
    assert dock.panel.button_paint.isEnabled(), dock.panel.check.text()
    assert "--ensemble" not in dock.copy_command()
    stack = Stack(np.stack(planes())[None, :, None], CHANNELS)
    settings = painting.PaintSettings(tta="flips")
    truth = {model: painting.run_to_end(painting.paint(open_model(model), stack, settings)) for model in ("small", "other")}
    dock.paint()
    finish(qtbot, dock)
    made = apart_of(viewer)
    assert list(made) == [(model, stain) for model in truth for stain in STAINS]
    for (model, stain), layer in made.items():
        np.testing.assert_allclose(layer.data, truth[model].stack.data[0, STAINS.index(stain), 0], atol=1e-5)
        assert (layer.name, layer.visible) == (f"{stain} (predicted, {model})", model == "small")
        noted = our_metadata(layer)
        assert (noted["provenance"]["model"], noted["version"]) == (model, "0.1.0")
        assert noted["uncertainty"] == pytest.approx(truth[model].report.uncertainty[stain], rel=1e-3)
    true = viewer.add_image(planes(seed=5)[0], name="DNA", visible=False)
    pairs = pair_by_name([facts_of(layer) for layer in comparable(viewer)])
    assert [pair.predicted for pair in pairs if pair.truth == key_of(true)] == [key_of(made[model, "DNA"]) for model in truth]
    spreads = apart_of(viewer, "uncertainty")
    assert {(key, layer.name) for key, layer in spreads.items()} == {
        ((model, f"{stain} SD"), f"{stain} SD ({model})") for model in truth for stain in STAINS
    }
    np.testing.assert_allclose(spreads["other", "ER SD"].data, truth["other"].uncertainty.data[0, 1, 0], atol=1e-5)
    # The combined stains are those of a third maker; the others stay, and are hidden.
    dock.choose(ensemble=True, tta="none")
    dock.paint()
    finish(qtbot, dock)
    assert set(apart_of(viewer)) == {*made, *(("small + other", stain) for stain in STAINS)}
    assert [layer.name for layer in stains_of(viewer) if layer.visible] == [f"{stain} (predicted, small + other)" for stain in STAINS]
    # One of the two again replaces its own layers alone, with its SDs.
    dock.choose(model="other", more=())
    dock.paint()
    finish(qtbot, dock)
    again = apart_of(viewer)
    assert [again[key] is layer for key, layer in made.items()] == [True] * len(made)
    assert all(layer.visible == (model == "other") for (model, _), layer in again.items())
    qtbot.waitUntil(lambda: {model for model, _ in apart_of(viewer, "uncertainty")} == {"small", "small + other"}, timeout=PATIENCE)
    saved = stack_to_save(stain_layers(viewer, CHANNELS, {"small", "other"}))
    assert saved.channels == tuple(f"{stain} (predicted, {model})" for model in truth for stain in STAINS)
    members = saved.provenance["members"]
    assert [(each["model"], each["stains"]) for each in members] == [
        (model, [f"{stain} (predicted, {model})" for stain in STAINS]) for model in truth
    ]


def test_a_preview_of_two_models_shows_the_first_ones_stains(two_models: None, dock: StainDock, qtbot: Any) -> None:
    dock.choose(model="small", more=("other",), ensemble=False)
    dock.preview()
    finish(qtbot, dock)
    made = apart_of(dock.viewer, "preview")
    assert {layer.name: layer.visible for layer in made.values()} == {
        f"{stain} (preview, {model})": model == "small" for model in ("small", "other") for stain in STAINS
    }


def test_one_model_twice_can_only_be_combined(two_models: None, dock: StainDock) -> None:
    dock.choose(model="small", more=("small",), ensemble=False)
    assert "DNA is made by small twice; choose the model once, or combine equal stains" in dock.panel.check.text()
    assert not dock.panel.button_paint.isEnabled()


def test_stains_that_nothing_shows_are_freed_at_once(dock: StainDock, qtbot: Any, held: threading.Event) -> None:
    gc.collect()
    gc.disable()
    try:
        gone = []
        for press in (dock.preview, dock.paint, dock.paint, dock.paint):
            press()
            qtbot.waitUntil(lambda: dock.painting.canvas is not None and dock.painting.canvas.painted, timeout=PATIENCE)
            gone += [weakref.ref(dock.painting.canvas), weakref.ref(dock.painting.canvas.array)]
            dock.cancel()
            finish(qtbot, dock)
            qtbot.waitUntil(lambda: not jobs.LIVE, timeout=PATIENCE)
            qtbot.wait(50)
        assert [each() is None for each in gone] == [True] * 7 + [False], "the last stains are in the layers"
    finally:
        gc.enable()
