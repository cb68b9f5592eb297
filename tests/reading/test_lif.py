"""Leica LIF: scans in x and z, lines, and tile scans, in files that are written here by the format's description."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.reading import read, scenes
from napari_virtual_paint.stack import PixelSize

liffile = pytest.importorskip("liffile", reason="LIF is read by liffile")
IDS = {"X": 1, "Y": 2, "Z": 3, "T": 4, "A": 6, "M": 10}
RNG = np.random.default_rng(0)


def save(path: Path, images: dict[str, tuple[str, np.ndarray]]) -> Path:
    """Write images, each with its axes from the slowest to the fastest; C are the channels of a LIF."""
    elements, blocks = [], []
    for number, (name, (axes, data)) in enumerate(images.items()):
        strides = dict(zip(axes, data.strides, strict=True))
        count = data.shape[axes.index("C")] if "C" in axes else 1
        channels = "".join(
            f'<ChannelDescription DataType="0" ChannelTag="0" Resolution="16" NameOfMeasuredQuantity="" Min="0" Max="1" Unit="" '
            f'LUTName="Gray" IsLUTInverted="0" BytesInc="{i * strides.get("C", 0)}" BitInc="0"/>'
            for i in range(count)
        )
        dimensions = "".join(
            f'<DimensionDescription DimID="{IDS[axis]}" NumberOfElements="{n}" Origin="0" Length="{(n - 1) * 1e-6}" Unit="m" '
            f'BytesInc="{strides[axis]}" BitInc="0"/>'
            for axis, n in zip(reversed(axes), reversed(data.shape), strict=True)
            if axis != "C"
        )
        elements.append(
            f'<Element Name="{name}" UniqueID="{number}"><Data><Image><ImageDescription><Channels>{channels}</Channels>'
            f'<Dimensions>{dimensions}</Dimensions></ImageDescription></Image></Data><Memory Size="{data.nbytes}" '
            f'MemoryBlockID="MemBlock_{number}"/></Element>'
        )
        blocks.append((f"MemBlock_{number}", data.tobytes()))
    header = f'<LMSDataContainerHeader Version="2"><Element Name="a" UniqueID="f"><Data><Experiment/></Data><Children>{"".join(elements)}'
    header += "</Children></Element></LMSDataContainerHeader>"
    with path.open("wb") as file:
        file.write(struct.pack("<IIBI", 0x70, 2 * len(header) + 5, 0x2A, len(header)) + header.encode("utf-16-le"))
        for name, content in blocks:
            file.write(struct.pack("<IIBQBI", 0x70, 0, 0x2A, len(content), 0x2A, len(name)) + name.encode("utf-16-le") + content)
    return path


def pixels(*shape: int) -> np.ndarray:
    return RNG.integers(0, 65535, shape).astype("<u2")


SCANS = [
    ("TCZX", (2, 3, 5, 7), "TCZX"),
    ("CZX", (3, 5, 7), "CZX"),
    ("ZX", (5, 7), "ZX"),
    ("TX", (5, 7), "TX"),
    ("CTX", (2, 5, 7), "CTX"),
    ("YZX", (4, 5, 7), "YZX"),
    ("TCYZX", (2, 3, 4, 5, 7), "TCYZX"),
    ("TCZYX", (2, 3, 4, 5, 7), "TCZYX"),
    ("ZCTYX", (2, 3, 4, 5, 7), "ZCTYX"),
    ("YX", (5, 7), "YX"),
]


@pytest.mark.parametrize(("axes", "shape", "order"), SCANS, ids=[scan[0] for scan in SCANS])
def test_scans_in_any_order(tmp_path: Path, axes: str, shape: tuple, order: str) -> None:
    data = pixels(*shape)
    path = save(tmp_path / "a.lif", {"scan": (axes, data)})
    stack = read(path)
    expected = data.transpose([order.index(axis) for axis in "TCZYX" if axis in order])
    expected = expected[tuple(slice(None) if axis in order else None for axis in "TCZYX")]
    assert stack.shape == expected.shape
    assert np.array_equal(np.asarray(stack.data), expected)
    assert np.array_equal(np.asarray(stack.data[..., 1:, 2:5]) if "Y" in axes else expected[..., 1:, 2:5], expected[..., 1:, 2:5])
    assert stack.pixel_size == pytest.approx(PixelSize(*(1.0 if axis in axes else None for axis in "ZYX")))
    assert np.array_equal(pickle.loads(pickle.dumps(stack.data)).compute(), expected)
    with liffile.LifFile(path) as lif:
        assert np.array_equal(lif.images[0].asarray(), data)


def test_tiles_are_images(tmp_path: Path) -> None:
    data, single = pixels(4, 2, 5, 7), pixels(5, 7)
    path = save(tmp_path / "a.lif", {"before": ("YX", single), "tiles": ("MCYX", data), "after": ("YX", single + 1)})
    assert scenes(path) == ["before", "tiles tile 1", "tiles tile 2", "tiles tile 3", "tiles tile 4", "after"]
    for tile in range(4):
        stack = read(path, scene=f"tiles tile {tile + 1}")
        assert np.array_equal(np.asarray(stack.data)[0, :, 0], data[tile])
        assert np.array_equal(pickle.loads(pickle.dumps(stack.data)).compute()[0, :, 0], data[tile])
    assert np.array_equal(np.asarray(read(path, scene="after").data)[0, 0, 0], single + 1)


def test_rotations_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.lif", {"turned": ("AYX", pixels(3, 5, 7))})
    with pytest.raises(ReadError, match=r"its image 'turned' has the axes A, Y, X, not those of") as error:
        read(path)
    assert "damaged" not in str(error.value)
