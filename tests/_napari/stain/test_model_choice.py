"""The Stain dock chooses the model that suits the image best until the user chooses one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_virtual_paint._napari.sample_data import layers_of
from napari_virtual_paint._napari.stain.dock import StainDock
from napari_virtual_paint.models import open_model
from napari_virtual_paint.models.applicability.check import summarize
from napari_virtual_paint.models.package.copying import add_domain
from napari_virtual_paint.painting import domain_check
from napari_virtual_paint.reading import read
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.samples import SimulationSettings, simulate_field
from napari_virtual_paint.stack import Stack

PATIENCE = 60_000
PLANES = ("Brightfield -4 um", "Brightfield 0 um", "Brightfield +4 um")


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def dock(viewer, qtbot, tmp_path, monkeypatch):
    """A dock that offers the bundled models alone; it is opened before there is an image."""
    monkeypatch.setenv("VIRTUAL_PAINT_MODELS", str(tmp_path))
    return opened(viewer, qtbot)


def opened(viewer, qtbot) -> StainDock:
    made = StainDock(viewer)
    qtbot.addWidget(made)
    return made


def pixels(place: Path) -> np.ndarray:
    """Return the middle of an image (C, Z, Y, X)."""
    data = np.asarray(read(place).data)[0]
    top, left = ((side - 320) // 2 for side in data.shape[-2:])
    return data[..., top : top + 320, left : left + 320]


def listed(dock: StainDock) -> dict[str, tuple[str, bool, str]]:
    """Return text, whether it can be chosen, and tooltip of each model in the list."""
    items = [dock.form.model.model().item(row) for row in range(dock.form.model.count())]
    keys = [dock.form.model.itemData(row) for row in range(dock.form.model.count())]
    return {key: (item.text(), item.isEnabled(), item.toolTip()) for key, item in zip(keys, items, strict=True)}


def checked(qtbot, dock: StainDock) -> None:
    qtbot.waitUntil(lambda: not dock._checks.running, timeout=PATIENCE)


def test_a_simulated_field_gets_the_best_of_the_models_made_for_it(viewer, dock, qtbot):
    field = simulate_field(SimulationSettings(size=256, seed=5))
    for data, arguments, _ in layers_of(field.brightfield, field.stains):
        viewer.add_image(data, **arguments)
    assert dock.value().model == "simulated-cell-painting", "not the GAN, whose scores are lower"
    checked(qtbot, dock)
    assert dock.value().model == "simulated-cell-painting"
    rows = listed(dock)
    assert list(rows)[:3] == ["simulated-cell-painting", "simulated-cell-painting-l1", "simulated-cell-painting-gan"]
    assert rows["simulated-cell-painting"][0] == "Simulated Cell Painting · inside · 0.92"
    text, enabled, tip = rows["neurons-phase"]
    assert (text, enabled) == ("Neurons from phase contrast", False)
    assert tip.startswith("This model needs 13 focal planes; your image has three.")
    assert list(rows)[-2:] == ["simulated-3d", "neurons-phase"], "what can't fit comes last"


def test_each_real_image_gets_its_own_model(viewer, dock, qtbot, shared_data):
    viewer.add_image(pixels(shared_data / "cell_painting" / "brightfield.ome.tif")[0, 0], name="Brightfield")
    assert dock.value().model == "cell-painting-brightfield", "the general one, before anything is known of the pixels"
    assert dock.panel.domain.text() == "Comparing the image with the training images…"
    checked(qtbot, dock)
    assert dock.value().model == "cell-painting-brightfield"
    assert dock.panel.domain.verdict.verdict == "inside"
    viewer.layers.clear()
    viewer.add_image(pixels(shared_data / "neurons" / "phase.ome.tif")[0], name="phase")
    assert dock.value().model == "neurons-phase"
    assert "for brightfield" in listed(dock)["cell-painting-brightfield"][0]


def test_a_plane_is_not_painted_as_thirteen(viewer, dock, shared_data):
    phase = pixels(shared_data / "neurons" / "phase.ome.tif")[0, 6]
    viewer.add_image(phase, name="Brightfield")
    dock.choose(model="neurons-phase")
    said = dock.panel.check.text()
    assert "This model needs 13 focal planes; your image has one. Models that fit:" in said
    assert "Cell Painting from brightfield" in said
    assert "Simulated Cell Painting" not in said, "it needs three"
    assert not dock.form.channels.boxes, "the one plane can't be given to each input"
    assert not dock.panel.button_paint.isEnabled()
    viewer.layers["Brightfield"].name = "phase"
    assert "No model in the list fits this image." in dock.panel.check.text(), "the others of one plane paint from brightfield"
    dock.choose(channels=(0,) * 13)
    assert not dock.panel.button_paint.isEnabled()


def test_what_the_user_chose_stays(viewer, dock, qtbot):
    viewer.add_image(np.random.default_rng(0).random((64, 64), dtype=np.float32), name="Brightfield")
    box = dock.form.model
    first = box.currentIndex()
    assert dock.value().model == "cell-painting-brightfield"
    box.activated.emit(first)  # the same one, picked by hand
    checked(qtbot, dock)
    viewer.layers.clear()
    for name in PLANES:
        viewer.add_image(np.random.default_rng(1).random((64, 64), dtype=np.float32), name=name)
    checked(qtbot, dock)
    assert dock.value().model == "cell-painting-brightfield"


def blobs(seed: int, sigma: float) -> np.ndarray:
    """Return three planes (C, Y, X) of structures of a size."""
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    image = ndimage.gaussian_filter(rng.normal(size=(3, 128, 128)), (0, sigma, sigma))
    return (image / image.std() * 90 + 1000 + rng.normal(0, 3, image.shape)).astype(np.float32)


@pytest.fixture
def two_sizes(small_models, tmp_path, monkeypatch) -> None:
    """Offer two models of three planes, one that learned fine structures and one that learned coarse ones; their scores are equal."""
    folder = tmp_path / "both"
    folder.mkdir()
    model = open_model(small_models / "small")
    for name, sigma in (("fine", 1.5), ("coarse", 5.0)):
        domain = run_to_end(summarize(model, [Stack(blobs(seed, sigma)[None, :, None], PLANES) for seed in range(3)]))
        package = add_domain(small_models / "small", domain, folder / f"{name}.zip")
        renamed(package, f"small-{name}")
    monkeypatch.setenv("VIRTUAL_PAINT_MODELS", str(folder))
    monkeypatch.setattr("napari_virtual_paint.models.catalogue.bundled_folder", lambda: tmp_path / "none")


def renamed(package: Path, name: str) -> None:
    """Give a package another id."""
    import zipfile

    with zipfile.ZipFile(package) as archive:
        files = {each: archive.read(each) for each in archive.namelist()}
    with zipfile.ZipFile(package, "w") as archive:
        for each, data in files.items():
            archive.writestr(each, data.replace(b"id: small\n", f"id: {name}\n".encode()) if each.endswith(".yaml") else data)


@pytest.mark.usefixtures("two_sizes")
def test_the_checks_improve_the_choice_and_are_remembered(viewer, qtbot, monkeypatch):
    asked = []
    check = domain_check.check_domain
    monkeypatch.setattr(
        domain_check, "check_domain", lambda model, *args, **kwargs: asked.append(model.info.id) or check(model, *args, **kwargs)
    )
    dock = opened(viewer, qtbot)
    for sigma, suffix in ((1.5, "fine"), (5.0, "coarse")):
        viewer.layers.clear()
        for name, plane in zip(PLANES, blobs(9, sigma), strict=True):
            viewer.add_image(plane, name=name)
        checked(qtbot, dock)
        assert dock.value().model == f"small-{suffix}"
        assert dock.panel.domain.verdict.verdict == "inside"
    assert sorted(asked) == ["small-coarse", "small-coarse", "small-fine", "small-fine"], "each image once with each model"
    dock.choose(tile=64)
    checked(qtbot, dock)
    assert len(asked) == 4
    dock.choose(model="small-fine")
    checked(qtbot, dock)
    assert dock.panel.domain.verdict.verdict == "outside", "known already"
    assert len(asked) == 4
    viewer.layers[0].data = viewer.layers[0].data * 1.01
    qtbot.waitUntil(lambda: len(asked) == 6 and not dock._checks.running, timeout=PATIENCE)
    assert dock.value().model == "small-fine", "the user chose it"
