"""Models of the user: renamed, duplicated, deleted and added; those of others stay as they are."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_virtual_paint.errors import InputError, ModelError, WriteError
from napari_virtual_paint.models import list_models, open_model
from napari_virtual_paint.models.own_models import (
    add_model,
    delete_model,
    duplicate_model,
    is_own,
    listed_models,
    rename_model,
)
from napari_virtual_paint.plates.job.job import model_digest
from small_models import write_toy


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A folder of bundled models, with one in it, and the user's, which does not exist yet."""
    monkeypatch.setenv("VIRTUAL_PAINT_MODELS", str(tmp_path / "own"))
    for module in ("catalogue", "own_models"):
        monkeypatch.setattr(f"napari_virtual_paint.models.{module}.bundled_folder", lambda: tmp_path / "bundled")
    write_toy(tmp_path / "bundled" / "toy.zip")
    return tmp_path / "bundled", tmp_path / "own"


def ids() -> list[str]:
    return [info.id for info in list_models()]


def test_a_bundled_model_is_duplicated_and_the_copy_renamed_and_deleted(folders: tuple[Path, Path]) -> None:
    bundled, own = folders
    before = hashlib.sha256((bundled / "toy.zip").read_bytes()).digest()
    path = duplicate_model(open_model("toy-planes").info, "My   toy (copy)")
    assert path == own / "my-toy-copy.zip"
    assert ids() == ["toy-planes", "my-toy-copy"]
    copy = open_model("my-toy-copy")
    assert (copy.info.name, copy.info.card, copy.info.license) == ("My toy (copy)", *_of("toy-planes"))
    digest = model_digest(copy)
    rename_model(copy.info, "Another toy")
    assert (open_model("my-toy-copy").info.name, ids()) == ("Another toy", ["toy-planes", "my-toy-copy"])
    assert model_digest(open_model("my-toy-copy")) == digest, "a plate that it was painting goes on"
    x = torch.randn(1, 3, 32, 32)
    np.testing.assert_array_equal(open_model("my-toy-copy").network(x), open_model("toy-planes").network(x))
    delete_model(open_model("my-toy-copy").info)
    assert (ids(), list(own.iterdir())) == (["toy-planes"], [])
    assert hashlib.sha256((bundled / "toy.zip").read_bytes()).digest() == before


def _of(model_id: str) -> tuple[object, str]:
    info = open_model(model_id).info
    return info.card, info.license


def test_models_of_others_are_left_alone(folders: tuple[Path, Path], tmp_path: Path) -> None:
    elsewhere = open_model(write_toy(tmp_path / "elsewhere" / "toy.zip", id="elsewhere")).info
    for info, where in ((open_model("toy-planes").info, "comes with the program"), (elsewhere, "is not in your folder of models")):
        assert not is_own(info)
        for call in (lambda info=info: rename_model(info, "A new name"), lambda info=info: delete_model(info)):
            with pytest.raises(InputError, match=where):
                call()
        assert info.source.exists()


@pytest.mark.parametrize("name", ["", "four", "a/b/c/d", "x" * 129, "-----"])
def test_a_name_that_the_specification_forbids_is_refused(folders: tuple[Path, Path], name: str) -> None:
    info = open_model("toy-planes").info
    with pytest.raises(InputError, match="A model's name has 5 to 128 letters"):
        duplicate_model(info, name)
    path = duplicate_model(info, "A good name")
    with pytest.raises(InputError, match="A model's name has 5 to 128 letters"):
        rename_model(open_model(path).info, name)


def test_names_that_are_taken_get_a_number(folders: tuple[Path, Path]) -> None:
    info = open_model("toy-planes").info
    assert [duplicate_model(info, "Toy planes").name for _ in range(2)] == ["toy-planes-2.zip", "toy-planes-3.zip"]
    assert [each.name for each in list_models()] == ["Toy planes", "Toy planes 2", "Toy planes 3"]


def test_a_package_is_added_under_its_name_and_its_size_listed(folders: tuple[Path, Path], tmp_path: Path) -> None:
    package = write_toy(tmp_path / "download.zip", name="Toy planes")
    added = add_model(package)
    assert (added.info.id, added.path) == ("toy-planes-2", folders[1] / "toy-planes-2.zip")
    unpacked = write_toy(folders[1] / "unpacked", id="unpacked")
    (folders[1] / "broken.zip").write_bytes(b"no archive")
    found, problems = listed_models()
    assert [(each.info.id, each.own) for each in found] == [("toy-planes", False), ("toy-planes-2", True), ("unpacked", True)]
    sizes = [(folders[0] / "toy.zip").stat().st_size, added.path.stat().st_size, sum(len(file.read_bytes()) for file in unpacked.iterdir())]
    assert [each.size for each in found] == sizes
    assert len(problems) == 1
    assert "broken.zip" in problems[0]
    for each in found[1:]:
        delete_model(each.info)
    assert [path.name for path in folders[1].iterdir()] == ["broken.zip"]


def test_what_is_no_model_is_not_added(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no model")
    with pytest.raises(ModelError, match=r"notes\.txt"):
        add_model(tmp_path / "notes.txt")
    assert ids() == ["toy-planes"]


def test_a_package_that_cannot_be_deleted_stays(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    info = open_model(duplicate_model(open_model("toy-planes").info, "My toy model")).info

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(WriteError, match="it can't be deleted"):
        delete_model(info)
    assert "my-toy-model" in ids()
