"""OME-TIFF sets: copied, renamed, with companions, in folders, and with missing files; hostile counts."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.reading import can_read, read, scenes
from napari_virtual_paint.stack import PixelSize

DATA = (np.random.default_rng(0).random((2, 3, 16, 17)) * 4000).astype(np.uint16)  # C Z Y X
NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


def block(c: int, z: int, ifd: int, uuid: str | None = None, name: str | None = None) -> str:
    file = "" if name is None else f' FileName="{name}"'
    inner = "" if uuid is None else f"<UUID{file}>urn:uuid:{uuid}</UUID>"
    return f'<TiffData FirstC="{c}" FirstZ="{z}" FirstT="0" IFD="{ifd}" PlaneCount="1">{inner}</TiffData>'


def xml(blocks: list[str], uuid: str | None, *, images: int = 1, sizes: str = 'SizeC="2" SizeZ="3"') -> str:
    root = "" if uuid is None else f' UUID="urn:uuid:{uuid}"'
    body = "".join(
        f'<Image ID="Image:{i}" Name="image {i}"><Pixels ID="Pixels:{i}" DimensionOrder="XYZCT" Type="uint16" '
        f'SizeX="17" SizeY="16" {sizes} SizeT="1" '
        f'PhysicalSizeX="0.5" PhysicalSizeY="0.25" PhysicalSizeZ="2"><Channel ID="Channel:{i}:0" Name="BF" SamplesPerPixel="1"/>'
        f'<Channel ID="Channel:{i}:1" Name="DNA" SamplesPerPixel="1"/>{"".join(blocks[i::images])}</Pixels></Image>'
        for i in range(images)
    )
    return f'<?xml version="1.0"?><OME xmlns="{NAMESPACE}"{root}>{body}</OME>'


def save(path: Path, pixels: np.ndarray, description: str | None = None, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pixels, photometric="minisblack", description=description, metadata=None, **options)
    return path


def alone(uuid: str | None, name: str | None) -> list[str]:
    """Return the blocks of six planes of one file."""
    return [block(i // 3, i % 3, i, uuid, name) for i in range(6)]


def in_two(first: str, second: str, uuids: tuple[str, str] = ("a", "b")) -> list[str]:
    """Return the blocks of a file for each channel."""
    return [block(c, z, z, uuids[c], (first, second)[c]) for c in range(2) for z in range(3)]


def check(path: object, source: Path | None = None) -> None:
    stack = read(path)  # type: ignore[arg-type]
    assert np.array_equal(np.asarray(stack.data)[0], DATA)
    assert stack.channels == ("BF", "DNA")
    assert stack.pixel_size == PixelSize(2, 0.25, 0.5)
    assert np.array_equal(pickle.loads(pickle.dumps(stack.data)).compute()[0], DATA)
    assert stack.source == str(source or path)


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("root", ["own", None])
@pytest.mark.parametrize("name", ["old.ome.tif", "copied.ome.tif", "../elsewhere/old.ome.tif", "C:\\data\\old.ome.tif", None])
def test_copied_out_of_its_set(tmp_path: Path, name: str | None, root: str | None, bigtiff: bool) -> None:
    path = tmp_path / "copied.ome.tif"
    save(path, DATA.reshape(6, 16, 17), xml(alone("foreign", name), root), bigtiff=bigtiff)
    check(path)


def test_half_of_a_set_names_the_other_half(tmp_path: Path) -> None:
    description = xml(in_two("a.ome.tif", "b.ome.tif"), "a")
    save(tmp_path / "a.ome.tif", DATA[0], description)
    with pytest.raises(ReadError, match=r"it belongs to a set of 2 files, of which b\.ome\.tif is missing"):
        read(tmp_path / "a.ome.tif")
    save(tmp_path / "renamed.ome.tif", DATA[0], xml(in_two("a.ome.tif", "b.ome.tif"), None))
    (tmp_path / "a.ome.tif").unlink()
    with pytest.raises(ReadError, match=r"of which a\.ome\.tif, b\.ome\.tif are missing"):
        read(tmp_path / "renamed.ome.tif")


@pytest.mark.parametrize("names", [("a.ome.tif", "b.ome.tif"), ("x.ome.tif", "y.ome.tif"), ("A.OME.TIF", "B.OME.TIF")], ids=str)
def test_a_set_opens_by_each_file_and_by_its_folder(tmp_path: Path, names: tuple[str, str]) -> None:
    for c, uuid in enumerate("ab"):
        save(tmp_path / names[c], DATA[c], xml(in_two("a.ome.tif", "b.ome.tif"), uuid))
    check(tmp_path / names[0])
    check(tmp_path / names[1])
    check(tmp_path, tmp_path / min(names))
    check(str(tmp_path / "*.ome.tif") if names[0].islower() else tmp_path, tmp_path / min(names))
    check([tmp_path / name for name in names], tmp_path / names[0])


@pytest.mark.parametrize("binary_only", [True, False])
def test_companion_files(tmp_path: Path, binary_only: bool) -> None:
    companion = tmp_path / "set.companion.ome"
    companion.write_text(xml(in_two("a.ome.tif", "b.ome.tif"), "companion"), encoding="utf-8")
    for c, uuid in enumerate("ab"):
        inner = '<BinaryOnly MetadataFile="set.companion.ome" UUID="urn:uuid:companion"/>'
        pointer = f'<OME xmlns="{NAMESPACE}" UUID="urn:uuid:{uuid}">{inner}</OME>'
        save(tmp_path / f"{uuid}.ome.tif", DATA[c], pointer if binary_only else None)
    assert can_read(companion)
    check(companion)
    check(tmp_path, companion)
    if binary_only:
        check(tmp_path / "a.ome.tif")
        check(tmp_path / "b.ome.tif")
        companion.unlink()
        with pytest.raises(ReadError, match=r"its metadata is in 'set\.companion\.ome', which is missing"):
            read(tmp_path / "a.ome.tif")
    else:
        (tmp_path / "b.ome.tif").unlink()
        with pytest.raises(ReadError, match=r"of which b\.ome\.tif is missing"):
            read(companion)
        (tmp_path / "a.ome.tif").unlink()
        with pytest.raises(ReadError, match=r"of which a\.ome\.tif, b\.ome\.tif are missing"):
            read(companion)


def test_images_whose_files_are_missing_are_left_out(tmp_path: Path) -> None:
    blocks = [block(c, z, c * 3 + z, "ab"[i], f"{'ab'[i]}.ome.tif") for c in range(2) for z in range(3) for i in range(2)]
    save(tmp_path / "a.ome.tif", DATA.reshape(6, 16, 17), xml(blocks, "a", images=2))
    stack = read(tmp_path / "a.ome.tif")
    assert np.array_equal(np.asarray(stack.data)[0], DATA)
    assert stack.notes == ("a.ome.tif: 1 of the images of its set is left out, since files are missing (b.ome.tif).",)
    save(tmp_path / "b.ome.tif", DATA.reshape(6, 16, 17)[::-1], xml(blocks, "b", images=2))
    assert scenes(tmp_path / "a.ome.tif") == ["image 0", "image 1"]
    assert np.array_equal(
        np.asarray(read(tmp_path / "a.ome.tif", scene="image 1").data)[0].reshape(6, 16, 17), DATA.reshape(6, 16, 17)[::-1]
    )


def test_an_image_that_lies_wholly_in_another_file(tmp_path: Path) -> None:
    save(tmp_path / "a.ome.tif", DATA[0, 0], xml(alone("b", "b.ome.tif"), "a"))
    save(tmp_path / "b.ome.tif", DATA.reshape(6, 16, 17), xml(alone("b", "b.ome.tif"), "b"))
    check(tmp_path / "a.ome.tif")


def test_a_set_cannot_lead_out_of_its_folder(tmp_path: Path) -> None:
    save(tmp_path / "secret.ome.tif", DATA[1])
    save(tmp_path / "inside" / "a.ome.tif", DATA[0], xml(in_two("a.ome.tif", "../secret.ome.tif"), "a"))
    with pytest.raises(ReadError, match=r"secret\.ome\.tif is missing"):
        read(tmp_path / "inside" / "a.ome.tif")


def test_ome_tiffs_of_their_own_are_no_set(tmp_path: Path) -> None:
    for c, name in enumerate(("x_ch1", "x_ch2")):
        save(
            tmp_path / f"{name}.ome.tif",
            DATA[c],
            xml([block(0, z, z, name, f"{name}.ome.tif") for z in range(3)], name, sizes='SizeC="1" SizeZ="3"'),
        )
    assert np.array_equal(np.asarray(read(tmp_path).data)[0], DATA)


@pytest.mark.parametrize(
    "claim",
    [
        'SizeC="1000000000" SizeZ="1"',
        'SizeC="2" SizeZ="1000000000"',
        'SizeC="99999" SizeZ="99999"',
    ],
)
def test_more_planes_than_there_can_be(tmp_path: Path, claim: str) -> None:
    save(tmp_path / "a.ome.tif", DATA[0], xml([block(0, 0, 0)], "a", sizes=claim))
    with pytest.raises(ReadError, match=r"claims .* planes but the file has 3 pages"):
        read(tmp_path / "a.ome.tif")


@pytest.mark.parametrize("attributes", ['IFD="0" PlaneCount="1000000000"', 'IFD="0" FirstZ="1000000000"', 'PlaneCount="999999999999"'])
def test_blocks_of_more_planes_than_there_can_be(tmp_path: Path, attributes: str) -> None:
    save(tmp_path / "a.ome.tif", DATA[0], xml([f"<TiffData {attributes}/>"], "a"))
    with pytest.raises(ReadError, match=r"claims .* planes but the file has 3 pages"):
        read(tmp_path / "a.ome.tif")
