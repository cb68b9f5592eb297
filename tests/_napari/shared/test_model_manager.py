"""The dialog of all models, with packages on disk."""

from __future__ import annotations

import zipfile

import pytest
import yaml
from napari.utils.notifications import notification_manager
from qtpy.QtWidgets import QFileDialog, QInputDialog, QMessageBox

from napari_virtual_paint._napari import commands
from napari_virtual_paint._napari.shared.model_manager import AS_IT_IS, ModelManager
from napari_virtual_paint._napari.stain.dock import StainDock
from napari_virtual_paint.models import open_model
from small_models import write_toy

PATIENCE = 30_000


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Give the list one bundled model and one of the user's."""
    monkeypatch.setenv("VIRTUAL_PAINT_MODELS", str(tmp_path / "own"))
    for module in ("catalogue", "own_models"):
        monkeypatch.setattr(f"napari_virtual_paint.models.{module}.bundled_folder", lambda: tmp_path / "bundled")
    write_toy(tmp_path / "bundled" / "toy.zip")
    write_toy(tmp_path / "own" / "mine.zip", id="mine", name="My model (2)", license="BSD-3-Clause")
    return tmp_path


@pytest.fixture
def manager(folders, qtbot):
    dialog = ModelManager()
    qtbot.addWidget(dialog)
    settle(qtbot, dialog)
    yield dialog
    dialog.close()


def settle(qtbot, dialog):
    qtbot.waitUntil(lambda: not dialog.busy, timeout=PATIENCE)


def rows(dialog):
    heads = [dialog.tree.topLevelItem(index) for index in range(dialog.tree.topLevelItemCount())]
    return {head.text(0): [head.child(i).text(0) for i in range(head.childCount())] for head in heads}


def choose(dialog, model_id):
    dialog._choose(model_id)
    assert dialog.chosen.info.id == model_id


def test_models_are_listed_with_card_and_size(manager, folders):
    assert rows(manager) == {"Your own": ["My model (2)"], "Bundled with the program": ["Toy planes"]}
    choose(manager, "mine")
    assert "My model (2)" in manager.card.text()
    assert "BSD-3-Clause" in manager.card.text()
    assert "Noise." in manager.card.text()
    assert manager.disk.text().startswith("1 model of your own, 0 MiB on disk, in ")
    assert all(button.isEnabled() for button in (manager.rename, manager.delete, manager.duplicate, manager.export))
    choose(manager, "toy-planes")
    assert not manager.rename.isEnabled()
    assert not manager.delete.isEnabled()
    assert manager.duplicate.isEnabled()
    assert manager.export.isEnabled()
    assert manager.rename.toolTip() == "This model comes with the program and can't be renamed; duplicate it to get a copy of your own."


def test_a_model_is_duplicated_renamed_and_deleted(manager, folders, qtbot, monkeypatch):
    choose(manager, "toy-planes")
    with monkeypatch.context() as patch:
        patch.setattr(QInputDialog, "getText", lambda *_: ("Toy of mine", True))
        manager.duplicate.click()
        settle(qtbot, manager)
    assert manager.chosen.info.id == "toy-of-mine"
    with monkeypatch.context() as patch:
        patch.setattr(QInputDialog, "getText", lambda *_: ("Another name", True))
        manager.rename.click()
        settle(qtbot, manager)
    assert rows(manager)["Your own"] == ["My model (2)", "Another name"]
    assert (manager.chosen.info.id, manager.status.text()) == ("toy-of-mine", "Toy of mine is now called Another name.")
    asked = []
    with monkeypatch.context() as patch:
        patch.setattr(QMessageBox, "question", lambda *args: asked.append(args[2]) or QMessageBox.StandardButton.No)
        manager.delete.click()
        assert asked[0].startswith("Delete Another name (0 MiB)? It can't be undone")
        assert open_model("toy-of-mine").info.name == "Another name"
        patch.setattr(QMessageBox, "question", lambda *_: QMessageBox.StandardButton.Yes)
        manager.delete.click()
        settle(qtbot, manager)
    assert rows(manager)["Your own"] == ["My model (2)"]
    assert not list((folders / "own").glob("toy-of-mine*"))


def test_a_name_that_cannot_be_used_is_a_sentence(manager, qtbot, monkeypatch):
    choose(manager, "mine")
    monkeypatch.setattr(QInputDialog, "getText", lambda *_: ("a/b", True))
    manager.rename.click()
    settle(qtbot, manager)
    assert manager.status.text() == "A model's name has 5 to 128 letters, digits, spaces and _+-(); 'a/b' can't be used."
    assert notification_manager.records[-1].message == manager.status.text()


def test_a_model_is_exported_as_it_is_and_added_again(manager, folders, qtbot, monkeypatch):
    choose(manager, "mine")
    target = folders / "out" / "exported.zip"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(target.with_suffix("")), AS_IT_IS))
    manager.export.click()
    settle(qtbot, manager)
    assert manager.status.text() == f"{target} was written."
    with zipfile.ZipFile(target) as archive:
        assert yaml.safe_load(archive.read("rdf.yaml"))["id"] == "mine"
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(target), ""))
    manager.add.click()
    settle(qtbot, manager)
    assert manager.status.text() == "exported.zip was added."
    assert len(rows(manager)["Your own"]) == 2
    assert manager.chosen.own


def test_published_models_say_what_they_are(manager):
    manager._fill_published()
    actions = {action.text().partition(":")[0]: action for action in manager.published.menu().actions()}
    assert actions["VSCyto2D"].text().endswith("374 MB · BSD-3-Clause")
    assert actions["VSCyto2D"].isEnabled()
    assert not actions["VSCyto3D"].isEnabled(), "its home states no SHA-256"
    assert "add it from file" in actions["VSCyto3D"].toolTip()


def test_an_offline_download_is_one_sentence(manager, qtbot, monkeypatch, tmp_path):
    from napari_virtual_paint.models.published import find

    monkeypatch.setenv("VIRTUAL_PAINT_OFFLINE", "1")
    monkeypatch.setenv("VIRTUAL_PAINT_CACHE", str(tmp_path / "cache"))
    before = len(notification_manager.records)
    manager.add_published(find("vscyto2d"))
    settle(qtbot, manager)
    assert [record.message for record in notification_manager.records[before:]] == [manager.status.text()]
    assert "VIRTUAL_PAINT_OFFLINE forbids the network" in manager.status.text()


def test_docks_follow_the_models(folders, make_napari_viewer, qtbot, monkeypatch):
    viewer = make_napari_viewer()
    dock = StainDock(viewer)
    viewer.window.add_dock_widget(dock, name="Stain")
    qtbot.waitUntil(lambda: not dock._listing.running, timeout=PATIENCE)
    assert "Manage models…" in [action.text() for action in dock.form.open.menu().actions()]
    manager = commands.manage_models()
    settle(qtbot, manager)
    choose(manager, "mine")
    dock.choose(model="mine")
    monkeypatch.setattr(QMessageBox, "question", lambda *_: QMessageBox.StandardButton.Yes)
    manager.delete.click()
    qtbot.waitUntil(lambda: list(dock.model_list.models) == ["toy-planes"], timeout=PATIENCE)
    qtbot.waitUntil(lambda: dock.value().model == "toy-planes", timeout=PATIENCE)
    settle(qtbot, manager)
    manager.close()
