"""Odd, damaged and hostile files: the pixels of another decoder, or one `ReadError`."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import warnings
from pathlib import Path

import dask
import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.reading import read
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.writing import write

# Files that Pillow shows otherwise, and why ours is what the file holds. The rest that opens equals Pillow pixel by pixel.
NOT_AS_PILLOW = {
    "8bit.s.tif": "signed: Pillow takes the bytes as unsigned",
    "hopper_unknown_pixel_mode.tif": "32 bits a colour, which Pillow can't hold",
    "tiff_16bit_RGB.tiff": "Pillow keeps 8 of 16 bits",
    "tiff_strip_planar_16bit_RGB.tiff": "Pillow keeps 8 of 16 bits",
    "tiff_strip_cmyk_16l_jpeg.tif": "Pillow keeps 8 of 16 bits",
    "tiff_tiled_planar_16bit_RGBa.tiff": "Pillow keeps 8 of 16 bits and divides by them",
}
REFUSED = {
    "crash-0c7e0e8e11ce787078f00b5b0ca409a167f070e0.tif": "it ends before its pixels do",
    "crash-0e16d3bfb83be87356d026d66919deaefca44dac.tif": "it ends before its pixels do",
    "crash-1185209cf7655b5aed8ae5e77784dfdd18ab59e9.tif": "it ends before its pixels do",
    "crash-338516dbd2f0e83caddb8ce256c22db3bd6dc40f.tif": "it ends before its pixels do",
    "crash-63b1dffefc8c075ddc606c0a2f5fdc15ece78863.tif": "after 1 of its pages it ends",
    "crash-86214e58da443d2b80820cff9677a38a33dcbbca.tif": "it ends before its pixels do",
    "seek_too_large.tif": "a TIFF without any picture",
}


def _pillow(path: Path) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path) as picture:
            pixels = np.asarray(picture)
    return np.moveaxis(pixels.reshape(*pixels.shape[:2], -1), 2, 0)


def test_awkward_files_open_as_elsewhere_or_say_why_not(shared_data: Path) -> None:
    pytest.importorskip("imagecodecs", reason="their compressions need imagecodecs")
    files = sorted((shared_data / "awkward_files").glob("*.tif*"))
    assert len(files) == 54
    for file in files:
        if file.name in REFUSED:
            with pytest.raises(ReadError, match=REFUSED[file.name]) as error:
                read(file).data.compute()
            assert str(error.value).startswith(str(file))
            continue
        pixels = np.asarray(read(file).data)[0, :, 0]
        if file.name not in NOT_AS_PILLOW:
            assert np.array_equal(pixels, _pillow(file)), file.name


def test_awkward_files_that_pillow_cuts_down(shared_data: Path) -> None:
    decode = pytest.importorskip("imagecodecs", reason="the other decoder here is libtiff in imagecodecs").tiff_decode
    folder = shared_data / "awkward_files"
    for name in NOT_AS_PILLOW:
        pixels = np.asarray(read(folder / name).data)[0, :, 0]
        if "cmyk" in name:
            assert np.array_equal(pixels >> 8, _pillow(folder / name))
            continue
        expected = decode((folder / name).read_bytes())
        if expected.ndim == 3 and "planar" not in name:
            expected = np.moveaxis(expected, 2, 0)
        assert np.array_equal(pixels, expected.reshape(pixels.shape)), name


def test_awkward_files_need_little_memory_and_write_nothing(shared_data: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from napari_virtual_paint.device import peak_memory_mb\n"
        "from napari_virtual_paint.reading import read\n"
        "from napari_virtual_paint.errors import ReadError\n"
        "for file in sorted(Path(sys.argv[1]).glob('*.tif*')):\n"
        "    try: read(file).data.compute()\n"
        "    except ReadError: continue\n"
        "print(peak_memory_mb('cpu'))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(shared_data / "awkward_files")], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert float(done.stdout) < 1000


def _seeds(folder: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    data = (rng.random((2, 3, 24, 40)) * 1000).astype(np.uint16)
    colours = (np.moveaxis(data[0], 0, 2) // 4).astype(np.uint8)
    tifffile.imwrite(folder / "plain.tif", data[0, 0])
    tifffile.imwrite(folder / "large.tif", data, bigtiff=True, photometric="minisblack", byteorder=">")
    tifffile.imwrite(folder / "tiles.tif", data, tile=(16, 16), compression="zlib", photometric="minisblack")
    tifffile.imwrite(folder / "imagej.tif", data, imagej=True, resolution=(5, 5), metadata={"axes": "ZCYX", "unit": "um"})
    write(Stack(data[None], channels=("a", "b"), provenance={"model": "m"}), folder / "ours.ome.tif")
    iio.imwrite(folder / "picture.png", colours)
    iio.imwrite(folder / "picture.jpg", colours)
    return sorted(folder.iterdir())


def _damaged(content: bytes, rng: random.Random) -> bytes:
    """Return a file's content cut off, or with some bytes of it or of its head changed."""
    way = rng.random()
    if way < 0.2:
        return content[: rng.randrange(len(content))]
    out = bytearray(content)
    reach = len(out) if way < 0.6 else min(len(out), 300)
    for _ in range(rng.choice((1, 2, 5, 20))):
        out[rng.randrange(reach)] = rng.choice((0, 255, rng.randrange(256)))
    return bytes(out)


@pytest.mark.parametrize("seed", range(4))
def test_random_damage_is_a_read_error_or_nothing(tmp_path: Path, seed: int) -> None:
    (tmp_path / "good").mkdir()
    seeds = _seeds(tmp_path / "good")
    rng = random.Random(seed)
    opened = whole = 0
    with dask.config.set(scheduler="synchronous"):
        for _ in range(60):
            source = rng.choice(seeds)
            path = tmp_path / f"bad{source.suffix}"
            path.write_bytes(_damaged(source.read_bytes(), rng))
            with contextlib.suppress(ReadError):
                opened += 1
                stack = read(path)
                (stack.data if stack.data.nbytes < 2**27 else stack.data[:1, :1, :1, :16, :16]).compute()
                whole += 1
    assert 0 < whole < opened


def test_damaged_vendor_files(tmp_path: Path, shared_data: Path) -> None:
    files = sorted((shared_data / "vendor_formats").iterdir())
    rng = random.Random(0)
    for source in files:
        path = tmp_path / source.name
        path.write_bytes(source.read_bytes()[: rng.randrange(2000, 20000)])
        with pytest.raises(ReadError, match=source.name):
            read(path).data.compute()
        path.write_bytes(b"")
        with pytest.raises(ReadError, match="empty"):
            read(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.tif")
    with pytest.raises(ReadError, match="neither a file nor a folder"):
        read(tmp_path / "a.tif")


def test_a_link_to_itself(tmp_path: Path) -> None:
    (tmp_path / "a.tif").symlink_to(tmp_path / "a.tif")
    with pytest.raises(ReadError, match="a symbolic link that leads back to itself"):
        read(tmp_path / "a.tif")


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.tif").write_bytes(b"II*\0")

    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ReadError, match="no permission"):
        read(tmp_path / "a.tif")


def test_no_such_file(tmp_path: Path) -> None:
    for name in ("absent.tif", "absent.ome.zarr", "absent.nd2"):
        with pytest.raises(ReadError, match="no such file"):
            read(tmp_path / name)


def test_a_format_nobody_knows(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_bytes(b"what is this")
    with pytest.raises(ReadError, match=r"a\.xyz"):
        read(tmp_path / "a.xyz")


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "1", "P", "LA", "I;16"])
def test_pictures(tmp_path: Path, mode: str) -> None:
    rng = np.random.default_rng(0)
    size = (20, 30, {"RGB": 3, "RGBA": 4, "LA": 2}.get(mode, 1))
    data = (rng.random(size) * (65535 if mode == "I;16" else 255)).astype(np.uint16 if mode == "I;16" else np.uint8).squeeze()
    picture = Image.fromarray(data) if mode not in ("1", "P") else Image.fromarray(data).convert(mode)
    picture.save(tmp_path / "a.png")
    stack = read(tmp_path / "a.png")
    expected = np.asarray(picture.convert("RGB") if mode == "P" else picture)
    assert np.array_equal(np.asarray(stack.data)[0, :, 0], np.moveaxis(expected.reshape(20, 30, -1), 2, 0))
    assert stack.rgb == (mode in ("RGB", "RGBA", "P"))
    assert stack.channels == {"RGB": ("Red", "Green", "Blue"), "P": ("Red", "Green", "Blue")}.get(
        mode, {"RGBA": ("Red", "Green", "Blue", "Alpha"), "LA": ("Grey", "Alpha")}.get(mode)
    )


def test_sixteen_bit_colours_keep_their_bits(tmp_path: Path) -> None:
    imagecodecs = pytest.importorskip("imagecodecs", reason="PNG with 16 bits a colour is read by imagecodecs")
    data = (np.random.default_rng(0).random((20, 30, 3)) * 65535).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(data))
    assert np.array_equal(np.moveaxis(np.asarray(read(tmp_path / "a.png").data)[0, :, 0], 0, 2), data)


def test_a_picture_too_large_to_decode(tmp_path: Path) -> None:
    Image.new("1", (8, 8)).save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[16:24] = (200000).to_bytes(4, "big") * 2
    (tmp_path / "a.png").write_bytes(bytes(content))
    with pytest.raises(ReadError, match=r"a\.png"):
        read(tmp_path / "a.png")
