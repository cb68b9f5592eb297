"""Write OME-TIFF: tiled, compressed and streamed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_virtual_paint.errors import WriteError
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.writing.blocks import BlockReader, Pixels
from napari_virtual_paint.writing.ome_xml import ome_xml

TILE = 512
_CLASSIC = 2**31  # pixels beyond this many bytes go into a BigTIFF; a classic TIFF ends at 4 GB
_NARROWER = {"int64": np.dtype(np.int32), "uint64": np.dtype(np.uint32)}


def write_tiff(stack: Stack, path: Path, name: str) -> None:
    """Write a stack as OME-TIFF.

    Parameters
    ----------
    stack
        The image. 64-bit integers are written with 32 bits if all fit, float16 as float32, since OME-TIFF has neither.
    path
        The file to write.

    Raises
    ------
    WriteError
        If OME-TIFF can't hold the pixels.
    """
    dtype = _writable(stack.dtype, path)
    t, c, z, y, x = stack.shape
    samples = c if stack.rgb and c in (3, 4) and dtype.kind != "b" else 1
    order = _order(stack)
    tile = (min(TILE, -(-y // 16) * 16), min(TILE, -(-x // 16) * 16))
    shape = (t * (c // samples) * z, y, x) + ((samples,) if samples > 1 else ())
    colours: dict[str, Any] = {"photometric": "rgb", "planarconfig": "contig"} if samples > 1 else {"photometric": "minisblack"}
    if samples == 4:
        colours["extrasamples"] = ("unassalpha",)
    xml = ome_xml(stack, dtype, name, order, samples)
    size = t * c * z * y * x * dtype.itemsize
    with tifffile.TiffWriter(path, bigtiff=size > _CLASSIC, ome=False) as tif:
        tif.write(
            _tiles(stack, dtype, order, samples, tile, path),
            shape=shape,
            dtype=dtype,
            tile=tile,
            # Not every tifffile packs or compresses bilevel tiles, so `_pad` packs them, eight pixels to a byte.
            compression=None if dtype.kind == "b" else "zlib",
            description=xml.encode("utf-8"),
            metadata=None,
            software="napari-virtual-paint",
            **colours,
        )


def _writable(dtype: np.dtype[Any], path: Path) -> np.dtype[Any]:
    """Return the type of the written pixels."""
    if dtype.kind == "b" or dtype.name in ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64"):
        return dtype.newbyteorder("=")
    if dtype.name == "float16":
        return np.dtype(np.float32)
    if dtype.name in _NARROWER:
        return _NARROWER[dtype.name]
    raise WriteError(path, f"OME-TIFF has no pixels of type {dtype}; convert them to float32")


def _order(stack: Stack) -> str:
    """Return the order of the planes in the file: channels first if a chunk of the lazy pixels has several of them but one z-plane."""
    chunks = getattr(stack.data, "chunks", None)
    together = chunks is not None and max(chunks[1]) > 1 and max(chunks[2]) == 1
    return "XYCZT" if together else "XYZCT"


def _tiles(stack: Stack, dtype: np.dtype[Any], order: str, samples: int, tile: tuple[int, int], path: Path) -> Iterator[Pixels | bytes]:
    """Yield the tiles of all planes in the file's order, each (rows, columns) or (rows, columns, samples)."""
    t, c, z, _, x = stack.shape
    reader = BlockReader(stack.data, TILE)
    groups = [slice(first, first + samples) for first in range(0, c, samples)]
    planes = ((k, g, s) for k in range(t) for g in groups for s in range(z))
    if order == "XYCZT":
        planes = ((k, g, s) for k in range(t) for s in range(z) for g in groups)
    for k, group, s in planes:
        for _, band in reader.rows(k, group, s):
            pixels = _convert(band, dtype, path)
            for row in range(0, pixels.shape[1], tile[0]):
                for column in range(0, x, tile[1]):
                    yield _pad(pixels[:, row : row + tile[0], column : column + tile[1]], tile, samples)


def _convert(pixels: Pixels, dtype: np.dtype[Any], path: Path) -> Pixels:
    """Return pixels with the type to write, if all values fit into it."""
    if pixels.dtype.name in _NARROWER and pixels.size:
        bounds = np.iinfo(dtype)
        if pixels.min() < bounds.min or pixels.max() > bounds.max:
            raise WriteError(
                path, f"OME-TIFF has no 64-bit integers and the values don't fit into {dtype}; write OME-Zarr instead (.ome.zarr)"
            )
    return pixels.astype(dtype, copy=False)


def _pad(pixels: Pixels, tile: tuple[int, int], samples: int) -> Pixels | bytes:
    """Return a tile of full size, padded with zeros; for 1-bit pixels, the bytes of the file."""
    out = np.zeros((pixels.shape[0], *tile), pixels.dtype)
    out[:, : pixels.shape[1], : pixels.shape[2]] = pixels
    if out.dtype.kind == "b":
        return np.packbits(out[0], axis=1).tobytes()
    return np.ascontiguousarray(np.moveaxis(out, 0, 2)) if samples > 1 else out[0]
