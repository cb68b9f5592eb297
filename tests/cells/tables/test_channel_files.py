"""Files that tables name: parts of paths of any machine, URLs, and finding them here."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_virtual_paint.cells.tables.canonical_names import CanonicalNames, canonical_compartments, gray_levels
from napari_virtual_paint.cells.tables.channel_files import FileIndex, NamedFile
from napari_virtual_paint.errors import InputError


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (("a.tif", r"C:\data\run 1"), NamedFile("a.tif", ("data", "run 1"))),
        (("sub/a.tif", "/data"), NamedFile("a.tif", ("data", "sub"))),
        (("../../etc/a.tif", "/data/.."), NamedFile("a.tif", ("data", "etc"))),
        ((None, None, "file:///data/run%201/a.tif"), NamedFile("a.tif", ("data", "run 1"))),
        ((float("nan"), None, "https://host.org/x/a.tif?key=1"), NamedFile("a.tif", ("host.org", "x"), True)),
        (("a.tif", "s3://bucket/x", None, 2.0, 1), NamedFile("a.tif", ("bucket", "x"), True, 2, 1)),
        ((None, "/data", None), None),
        (("..", "/data", ""), None),
    ],
)
def test_what_a_table_says_of_a_file(said: tuple[object, ...], expected: NamedFile | None) -> None:
    assert NamedFile.of(*said) == expected


def test_a_file_is_found_by_the_deepest_folders_that_agree(tmp_path: Path) -> None:
    for folder in ("one/images", "two/images", "two/.hidden"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.tif").touch()
    (tmp_path / "two" / "images" / "B.TIF").touch()
    pictures = FileIndex([tmp_path, tmp_path / "one"])
    assert pictures.find(NamedFile("a.tif", ("x", "TWO", "images"))) == tmp_path / "two" / "images" / "a.tif"
    assert pictures.find(NamedFile("b.tif", ("elsewhere",))) == tmp_path / "two" / "images" / "B.TIF"
    assert pictures.find(NamedFile("c.tif")) is None
    with pytest.raises(InputError, match=r"both may be the images/a\.tif of the table"):
        pictures.find(NamedFile("a.tif", ("images",)))
    with pytest.raises(InputError, match="no such file or folder"):
        FileIndex([tmp_path / "absent"])


def test_names_of_objects_and_images() -> None:
    features = ["BlueNuclei_AreaShape_Area", "FilteredNuclei_AreaShape_Area", "GreenCells_AreaShape_Area", "Speckles_AreaShape_Area"]
    found = canonical_compartments(features, ["GreenCells_Parent_FilteredNuclei"])
    assert found == {"FilteredNuclei": "Nuclei", "GreenCells": "Cells"}
    names = CanonicalNames(found, {"CropBlue": "OrigBlue"})
    assert names.of("GreenCells_Texture_Contrast_CropBlue_3_00_256") == "Cells_Texture_Contrast_OrigBlue_3_00_256"
    assert names.of("FilteredNuclei_Correlation_K_CropBlue_CropGreen") == "Nuclei_Correlation_K_OrigBlue_CropGreen"
    assert names.of("FilteredNuclei_Parent_CropBlue") == "FilteredNuclei_Parent_CropBlue"
    assert CanonicalNames(levels="256").of("Nuclei_Texture_Contrast_DNA_3_00") == "Nuclei_Texture_Contrast_DNA_3_00_256"
    assert CanonicalNames(levels="256").of("Nuclei_Texture_Contrast_DNA_3_00_256") == "Nuclei_Texture_Contrast_DNA_3_00_256"
    assert gray_levels(features) == ""
    assert gray_levels(["Nuclei_Texture_Contrast_DNA_3_00"]) == "256"
    both = ["FilteredNuclei_AreaShape_Area", "Nuclei_AreaShape_Area"]
    assert names.renamed(both) == {}
