"""File > Open, Save Selected Layers, sample data and the manifest, through napari itself."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
from napari.utils.notifications import notification_manager
from npe2 import PluginManager, PluginManifest

import napari_virtual_paint
import vendor_plates
from count_entries import CountedEntries
from napari_virtual_paint._napari import sample_data
from napari_virtual_paint._napari.commands import open_dock
from napari_virtual_paint._napari.plate import state
from napari_virtual_paint._napari.reader import get_reader, read_layers, read_plate
from napari_virtual_paint._napari.shared.viewer.layers import KEY, our_metadata, stack_from_layers
from napari_virtual_paint.downloads.verified import DownloadError
from napari_virtual_paint.plates.simulation import sample
from napari_virtual_paint.plates.simulation.design import PlateDesign
from napari_virtual_paint.reading import read
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.samples import public
from napari_virtual_paint.stack import PixelSize, Stack
from napari_virtual_paint.writing import write

PLUGIN = "napari-virtual-paint"
DOCKS = ["Stain", "Compare", "Cells", "Plate", "Register", "Train", "Count", "Evaluate", "Profile"]
MANIFEST = Path(napari_virtual_paint.__file__).parent / "napari.yaml"


@pytest.fixture
def image(tmp_path):
    data = np.random.default_rng(0).integers(0, 60000, (1, 3, 1, 40, 50), np.uint16)
    stack = Stack(data, ("Brightfield", "DNA", "ER"), PixelSize(None, 0.5, 0.5))
    return stack, write(stack, tmp_path / "field.ome.tif")


def test_open_through_napari(make_napari_viewer, image):
    stack, path = image
    viewer = make_napari_viewer()
    viewer.open(str(path), plugin=PLUGIN)
    assert [layer.name for layer in viewer.layers] == ["Brightfield", "DNA", "ER"]
    assert [layer.colormap.name for layer in viewer.layers] == ["gray", "blue", "green"]
    for index, layer in enumerate(viewer.layers):
        np.testing.assert_array_equal(np.asarray(layer.data), stack.data[0, index, 0])
        assert tuple(layer.scale) == (0.5, 0.5)
        assert str(layer.units[0]) == "micrometer"
    source = stack_from_layers(list(viewer.layers))
    assert source.path == str(path)
    assert source.handles == ("Brightfield", "DNA", "ER")


def test_what_is_opened_is_lazy(tmp_path):
    path = write(Stack(np.zeros((4, 1, 5, 64, 64), np.uint16)), tmp_path / "stack.ome.tif")
    ((data, arguments, _),) = read_layers(str(path))
    assert type(data).__module__.startswith("dask")
    assert data.shape == (4, 5, 64, 64)
    assert arguments["axis_labels"] == ("t", "z", "y", "x")


def test_what_a_reader_assumed_is_shown(make_napari_viewer, tmp_path):
    data = np.random.default_rng(0).integers(0, 255, (30, 40, 2), np.uint8)
    tifffile.imwrite(tmp_path / "last.tif", data, photometric="minisblack")
    viewer = make_napari_viewer()
    viewer.open(str(tmp_path / "last.tif"), plugin=PLUGIN)
    assert [layer.data.shape for layer in viewer.layers] == [(30, 40)] * 2
    np.testing.assert_array_equal(np.asarray(viewer.layers[1].data), data[..., 1])
    assert [record.message for record in notification_manager.records if "taken as 2 channels" in record.message]
    tifffile.imwrite(tmp_path / "sure.ome.tif", data[..., 0], metadata={"axes": "YX"})
    before = len(notification_manager.records)
    viewer.open(str(tmp_path / "sure.ome.tif"), plugin=PLUGIN)
    assert len(notification_manager.records) == before


@pytest.mark.parametrize("suffix", [".ozx", ".zarr.zip"])
def test_zipped_stores_open_through_napari(make_napari_viewer, image, tmp_path, suffix):
    stack, _ = image
    store = write(stack, tmp_path / "field.ome.zarr")
    with zipfile.ZipFile(tmp_path / f"field{suffix}", "w") as archive:
        for file in store.rglob("*"):
            archive.write(file, str(file.relative_to(store)))
    viewer = make_napari_viewer()
    viewer.open(str(tmp_path / f"field{suffix}"), plugin=PLUGIN)
    assert [layer.name for layer in viewer.layers] == ["Brightfield", "DNA", "ER"]
    np.testing.assert_array_equal(np.asarray(viewer.layers[2].data), stack.data[0, 2, 0])


def test_colour_pictures_open_as_such(make_napari_viewer, tmp_path):
    tifffile.imwrite(tmp_path / "slide.tif", np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8), photometric="rgb")
    viewer = make_napari_viewer()
    viewer.open(str(tmp_path / "slide.tif"), plugin=PLUGIN)
    assert viewer.layers[0].rgb
    assert stack_from_layers([viewer.layers[0]]).stack.rgb


def test_a_file_that_can_not_be_read_is_one_sentence(make_napari_viewer, tmp_path):
    (tmp_path / "broken.tif").write_bytes(b"II*\x00 not a tiff at all")
    viewer = make_napari_viewer()
    viewer.open(str(tmp_path / "broken.tif"), plugin=PLUGIN)
    assert len(viewer.layers) == 0
    record = notification_manager.records[-1]
    assert "broken.tif" in record.message
    assert not hasattr(record, "exception")


def test_a_folder_of_unclear_names_says_what_to_do_in_napari(make_napari_viewer, tmp_path):
    for name in ("cells 1", "other", "plate3b_x"):
        tifffile.imwrite(tmp_path / f"{name}.tif", np.zeros((4, 4), np.uint16))
    viewer = make_napari_viewer()
    viewer.open(str(tmp_path), plugin=PLUGIN)
    said = notification_manager.records[-1].message
    assert said.endswith("don't show how they belong together; drop the files themselves, or the whole folder of a plate.")
    assert "pattern" not in said


def test_readers_take_what_reading_takes(image, tmp_path):
    assert get_reader(str(image[1])) is read_layers
    assert get_reader(str(tmp_path / "notes.txt")) is None
    (tmp_path / "notes.txt").write_text("no image")
    assert get_reader([str(image[1]), str(tmp_path / "notes.txt")]) is None


@pytest.mark.parametrize("layout", ["phenix", "pattern"])
def test_a_plate_opens_in_its_dock(make_napari_viewer, qtbot, tmp_path, layout, monkeypatch):
    monkeypatch.setattr(state, "remember", lambda path: None)
    folder = getattr(vendor_plates, layout)(tmp_path / "plate")
    viewer = make_napari_viewer()
    viewer.open(str(folder), plugin=PLUGIN)
    dock = open_dock("Plate")
    qtbot.waitUntil(lambda: dock.plate is not None and not dock.busy, timeout=30_000)
    assert dock.plate.wells == ("A01", "B03")
    assert len(viewer.layers) == 0
    assert "click a well" in notification_manager.records[-1].message
    assert get_reader(str(next(folder.rglob("*.tif*")))) is read_layers


def test_of_a_large_folder_only_the_first_entries_are_looked_at(tmp_path, monkeypatch):
    folder = tmp_path / "alone" / "images"  # the folder above is looked at, too
    folder.mkdir(parents=True)
    for number in range(2000):
        (folder / f"A01_s{number}_w1.tif").touch()
    looked = CountedEntries(monkeypatch)
    assert get_reader(str(folder)) is read_layers, "one well"
    (folder / "Index.idx.xml").touch()
    assert get_reader(str(folder)) is read_plate
    assert looked.count < 1000


def test_several_images_in_a_file_are_offered(shared_data):
    path = next((shared_data / "vendor_formats").glob("*.lif"))
    layers = read_layers(str(path))
    assert layers[0][0] is not None
    messages = [record for record in notification_manager.records if path.name in record.message]
    assert bool(messages) == (len(_scenes(path)) > 1)


def _scenes(path):
    from napari_virtual_paint.reading import scenes

    return scenes(str(path))


@pytest.mark.parametrize("name", ["out.ome.tif", "out.ome.zarr"])
def test_save_selected_layers(make_napari_viewer, tmp_path, name):
    viewer = make_napari_viewer()
    data = np.random.default_rng(0).random((2, 30, 40), dtype=np.float32)
    provenance = {"model": "m", "version": "1"}
    for plane, stain in zip(data, ("DNA", "ER"), strict=True):
        noted = {KEY: {"role": "stain", "channel": stain, "provenance": provenance}}
        viewer.add_image(plane, name=f"{stain} (predicted)", metadata=noted, scale=(0.65, 0.65), units=("um", "um"))
    path = tmp_path / name
    written = viewer.layers.save(str(path), plugin=PLUGIN)
    assert [Path(item) for item in written] == [path]
    back = read(path)
    assert back.channels == ("DNA", "ER")
    assert back.pixel_size.x == pytest.approx(0.65)
    np.testing.assert_array_equal(np.asarray(back.data)[0, :, 0], data)


def test_layers_that_do_not_fit_together_are_not_saved(make_napari_viewer, tmp_path):
    viewer = make_napari_viewer()
    viewer.add_image(np.zeros((4, 4)), name="a")
    viewer.add_image(np.zeros((5, 5)), name="b")
    viewer.layers.save(str(tmp_path / "out.ome.tif"), plugin=PLUGIN)
    assert not list(tmp_path.glob("out*"))
    assert "differ in size" in notification_manager.records[-1].message


def test_the_simulated_field_is_a_sample(make_napari_viewer, monkeypatch):
    whole = sample_data.simulated_field
    viewer = make_napari_viewer()
    made = whole(size=96)
    for data, arguments, _ in made:
        viewer.add_image(data, **arguments)
    assert [layer.name for layer in viewer.layers] == [
        "Brightfield -4 um", "Brightfield 0 um", "Brightfield +4 um", "DNA", "ER", "RNA", "AGP", "Mito",
    ]  # fmt: skip
    assert [layer.name for layer in viewer.layers if layer.visible] == ["Brightfield 0 um"]
    assert our_metadata(viewer.layers["DNA"])["role"] == "truth"
    assert tuple(viewer.layers["DNA"].scale) == (0.65, 0.65)


def test_the_simulated_stack_in_time(make_napari_viewer):
    make_napari_viewer()
    made = sample_data.simulated_time(size=64, frames=3)
    assert made[0][0].shape == (3, 64, 64)
    assert made[0][1]["axis_labels"] == ("t", "y", "x")
    assert not np.array_equal(made[0][0][0], made[0][0][2])


def test_downloaded_samples_become_layers(make_napari_viewer, monkeypatch):
    def load_public(name):
        yield Progress(1, 2, "phase z00")
        rng = np.random.default_rng(0)
        phase = Stack(rng.random((1, 1, 13, 20, 20)), ("Phase",))
        return phase, Stack(rng.random((1, 3, 1, 20, 20)), ("DAPI", "MAP2", "NFH"))

    monkeypatch.setattr(public, "load_public", load_public)
    make_napari_viewer()
    made = sample_data.neurons()
    assert [arguments["name"] for _, arguments, _ in made] == ["Phase", "DAPI", "MAP2", "NFH"]
    assert [arguments["colormap"] for _, arguments, _ in made] == ["gray", "blue", "green", "red"]
    assert made[0][0].shape == (13, 20, 20)


def test_a_download_that_fails_is_one_sentence(make_napari_viewer, monkeypatch):
    def load_public(name):
        yield Progress(0, 2, "AGP")
        raise DownloadError("cell_painting/AGP: the server can't be reached; check the network connection and try again.")

    monkeypatch.setattr(public, "load_public", load_public)
    viewer = make_napari_viewer()
    assert viewer.open_sample(PLUGIN, "cell_painting") == []
    assert "can't be reached" in notification_manager.records[-1].message


def test_a_sample_that_is_not_here_is_one_sentence_offline(make_napari_viewer, monkeypatch, tmp_path):
    monkeypatch.setenv("VIRTUAL_PAINT_OFFLINE", "1")
    monkeypatch.setenv("VIRTUAL_PAINT_CACHE", str(tmp_path))
    viewer = make_napari_viewer()
    before = len(notification_manager.records)
    assert viewer.open_sample(PLUGIN, "neurons") == []
    assert len(viewer.layers) == 0
    messages = [record.message for record in notification_manager.records[before:]]
    assert len(messages) == 1
    assert messages[0].endswith("and VIRTUAL_PAINT_OFFLINE forbids the network.")


def test_the_sample_plate_opens_in_its_dock(make_napari_viewer, qtbot, monkeypatch, tmp_path, small_models):
    make = partial(sample.make_sample_plate, tmp_path / "plate", PlateDesign(shape=(4, 6), size=32), small_models / "small")
    monkeypatch.setattr(sample, "make_sample_plate", make)
    monkeypatch.setattr(state, "remember", lambda path: None)
    viewer = make_napari_viewer()
    before = len(notification_manager.records)
    assert viewer.open_sample(PLUGIN, "simulated_plate") == []
    dock = open_dock("Plate")
    assert "Making the sample plate" in dock.view.title.text()
    qtbot.waitUntil(lambda: dock.plate is not None and not dock.busy, timeout=120_000)
    assert len(dock.plate.wells) == 24
    assert "treatment" in dock.plate.columns
    assert [text for text, _ in dock.view.legend.entries()] == ["11 done", "1 failed", "12 unpainted"]
    assert list(dock.session.painted.failures) == ["B04/0"]
    assert dock.value().output == str(tmp_path / "plate" / "sample-plate_small.zarr")
    assert len(viewer.layers) == 0
    assert len(notification_manager.records) == before


def test_every_command_of_the_manifest_is_there():
    manifest = PluginManifest.from_file(MANIFEST)
    manifest.validate_imports()
    commands = {command.id for command in manifest.contributions.commands}
    used = [item.command for group in ("readers", "writers", "sample_data", "widgets") for item in getattr(manifest.contributions, group)]
    assert set(used) <= commands
    titles = {command.id: command.title for command in manifest.contributions.commands}
    assert "Ctrl+Return" in titles[f"{PLUGIN}.paint"]


def test_the_top_level_manifest_is_the_packaged_one():
    top = Path(__file__).parents[2] / "napari.yaml"
    assert top.read_bytes() == MANIFEST.read_bytes()


def test_the_plugin_is_found_and_offers_its_docks():
    manager = PluginManager.instance()
    manager.discover()
    assert [widget.display_name for widget in manager.get_manifest(PLUGIN).contributions.widgets] == DOCKS


def test_widgets_are_listed_without_torch():
    code = (
        "import sys; from npe2 import PluginManager; m = PluginManager.instance(); m.discover();"
        "import napari_virtual_paint._napari.stain.dock, napari_virtual_paint._napari.cells.dock, napari_virtual_paint._napari.plate.dock;"
        "import napari_virtual_paint._napari.reader, napari_virtual_paint._napari.writer;"
        "import napari_virtual_paint._napari.commands, napari_virtual_paint._napari.sample_data;"
        "print([w.display_name for w in m.iter_widgets() if w.plugin_name == 'napari-virtual-paint'], 'torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip().splitlines()[-1] == f"{DOCKS} False"


def test_a_file_that_is_open_is_not_replaced(make_napari_viewer, image, tmp_path):
    _, path = image
    viewer = make_napari_viewer()
    viewer.open(str(path), plugin=PLUGIN)
    before = path.read_bytes()
    (tmp_path / "link.ome.tif").symlink_to(path)
    for name in (str(path), str(tmp_path / "nox" / ".." / path.name), str(tmp_path / "link.ome.tif")):
        notification_manager.records.clear()
        assert viewer.layers[:1].save(name, plugin=PLUGIN) == []
        assert "would replace the input" in notification_manager.records[-1].message
        assert path.read_bytes() == before
    assert not (tmp_path / "nox").exists()
    assert viewer.layers[:1].save(str(tmp_path / "other.ome.tif"), plugin=PLUGIN) == [str(tmp_path / "other.ome.tif")]
