"""Two folders of images as pairs."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.training.data.folders import pair_folders, table_of


def folders(base: Path, first: tuple[str, ...], second: tuple[str, ...]) -> tuple[Path, Path]:
    for name, files in (("a", first), ("b", second)):
        (base / name).mkdir()
        for file in files:
            (base / name / file).touch()
    return base / "a", base / "b"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("f1.tif", "f2.tif"), ("f2.ome.tif", "f1.ome.tif")),
        (("f1_bf.tif", "f2_bf.tif", "f10_bf.tif"), ("stain_f1.tif", "stain_f2.tif", "stain_f10.tif")),
        (("one.tif", "notes.txt", ".hidden.tif"), ("other.tif",)),
    ],
)
def test_what_distinguishes_names_pairs_them(tmp_path: Path, first: tuple[str, ...], second: tuple[str, ...]) -> None:
    pairs = pair_folders(*folders(tmp_path, first, second))
    digits = ["".join(c for c in path.name if c.isdigit()) for pair in pairs for path in pair]
    assert digits[::2] == digits[1::2]
    assert len(pairs) == len([name for name in first if name.endswith(".tif") and not name.startswith(".")])


def test_an_image_without_partner_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"f3\.tif: no image in .*b has a name that goes with it"):
        pair_folders(*folders(tmp_path, ("f1.tif", "f3.tif"), ("f1.tif", "f2.tif")))


def test_two_images_are_a_pair_and_the_table_has_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (folder / "x.tif" for folder in folders(tmp_path, ("x.tif",), ("x.tif",)))
    assert pair_folders(one, other) == [(one, other)]
    monkeypatch.chdir(tmp_path)
    assert table_of([(Path("a/x.tif"), Path("b/x.tif"))]) == f"input,target\n{one},{other}\n"
