"""Write OME-Zarr 0.5 (zarr 3) or 0.4 (zarr 2): pyramids with names, sizes and provenance."""

from __future__ import annotations

import functools
import importlib.metadata
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np

from napari_virtual_paint._version import __version__
from napari_virtual_paint.channel_colors import GRAY, channel_color
from napari_virtual_paint.errors import WriteError
from napari_virtual_paint.reading.ome_zarr import group_attributes, is_zarr
from napari_virtual_paint.runtime.atomic_write import replacing, write_text
from napari_virtual_paint.runtime.scratch import release
from napari_virtual_paint.stack import Array, Stack
from napari_virtual_paint.writing.blocks import LARGEST, BlockReader, Pixels
from napari_virtual_paint.writing.ome_xml import provenance_json

Version = Literal["0.4", "0.5"]
CHUNK = 512
_SMALLEST = 256  # the pyramid ends where the longer side is at most this many pixels
SHARD = 4 * CHUNK  # longest side of a shard, a multiple of the chunk: a plane is one shard unless it is very large
OWN = "napari-virtual-paint"
_RGB = ("FF0000", "00FF00", "0000FF", "FFFFFF")  # colours of the channels of a colour picture


def write_zarr(stack: Stack, path: Path, name: str, version: Version | None = None, *, packed: bool = False, prefix: str = "") -> None:
    """Write a stack as OME-Zarr: axes TCZYX, chunks within one plane, each level half as large in y and x as the one before.

    Parameters
    ----------
    path
        The folder to write.
    version
        Version of OME-Zarr; by default the newest that the installed zarr writes.
    packed
        Whether to shuffle bytes before compressing them (with zstd, which makes them a sixth smaller; floating-point numbers with LZ4),
        and to put the chunks of a plane into one shard where the version has shards (0.5), so that a plate of thousands of images has
        few files.
    prefix
        Prefix of the levels' names, which are numbers.

    Raises
    ------
    WriteError
        If zarr is not installed, or too old for the requested version.
    """
    version = zarr_version(path, version)
    group, options = _open(path, version)
    levels, coarse = _write_pyramid(group, stack, _ArrayFormat(options, packed, prefix=prefix))
    group.attrs.update(_attributes(stack, levels, coarse, name, version))


class BlockwiseZarr:
    """An OME-Zarr image whose full resolution is written block by block, in any order; `finish` adds the rest.

    Parameters
    ----------
    path
        The folder to write.
    name
        The image's name.
    shape
        Of the full resolution, TCZYX.
    dtype
        Type of a pixel.
    version
        As in `write_zarr`.
    """

    def __init__(
        self, path: Path, name: str, shape: tuple[int, int, int, int, int], dtype: np.dtype[Any], version: Version | None = None
    ) -> None:
        self.version = zarr_version(path, version)
        self.name, self.shape, self.dtype = name, shape, np.dtype(dtype)
        self._group, options = _open(path, self.version)
        self._form = _ArrayFormat(options)
        self._levels = [_create(self._group, "0", shape, self.dtype, self._form)]

    def __setitem__(self, key: tuple[slice, ...], pixels: Pixels) -> None:
        self._levels[0][key] = pixels

    def __getitem__(self, key: Any) -> Pixels:
        """Return pixels that were written; 0 elsewhere."""
        return np.asarray(self._levels[0][key])

    def finish(self, stack: Stack) -> None:
        """Make the pyramid and write the metadata, those of a stack of this shape whatever its pixels."""
        for level, shape in enumerate(_level_shapes(self.shape)[1:], start=1):
            self._levels.append(_create(self._group, str(level), shape, self.dtype, self._form))
            _fill_level(*self._levels[-2:], nearest=False)
        coarse = np.asarray(self._levels[-1][self.shape[0] // 2, :, self.shape[2] // 2])
        self._group.attrs.update(_attributes(stack, self._levels, coarse, self.name, self.version))


def write_labels(labels: Mapping[str, Stack], image: Path, version: Version, *, packed: bool = False) -> None:
    """Write label images into the folder of an OME-Zarr image, as ``labels/NAME``.

    Parameters
    ----------
    labels
        Name -> image of one channel, integers with 0 as background.
    image
        Folder of the image.
    version
        Version of the image.
    packed
        As in `write_zarr`.
    """
    group, options = _open(image / "labels", version)
    group.attrs.update({"ome": {"version": version, "labels": list(labels)}} if version == "0.5" else {"labels": list(labels)})
    for name, stack in labels.items():
        _write_label(group.create_group(name), stack, name, version, _ArrayFormat(options, packed, nearest=True))


def _write_label(group: Any, stack: Stack, name: str, version: Version, form: _ArrayFormat) -> None:
    """Write one label image into its group."""
    levels, coarse = _write_pyramid(group, stack, form)
    attributes = _attributes(stack, levels, coarse, name, version)
    ome = attributes.get("ome", attributes)
    del ome["omero"]
    ome["multiscales"][0]["type"] = "nearest"
    ome["image-label"] = {"source": {"image": "../../"}} | ({} if version == "0.5" else {"version": version})
    group.attrs.update(attributes)


def add_labels(labels: Mapping[str, Stack], image: Path, *, overwrite: bool = False) -> None:
    """Add label images to an OME-Zarr image that is there, as ``labels/NAME``; its pixels and other labels stay as they are.

    Parameters
    ----------
    labels
        Name -> image of one channel, integers with 0 as background.
    image
        Folder of the image.
    overwrite
        Whether to replace labels of the same names.

    Raises
    ------
    WriteError
        If it is no OME-Zarr image, has such labels, or can't be written; whatever was there before is untouched.
    """
    version: Version = "0.5" if (image / "zarr.json").is_file() else "0.4"
    if not is_zarr(image) or "multiscales" not in group_attributes(image, str(image)):
        raise WriteError(image, "it is no OME-Zarr image, to which labels could be added")
    folder = image / "labels"
    known = _listed_labels(folder) if folder.is_dir() else []
    if not overwrite and (there := [name for name in labels if name in known]):
        raise WriteError(image, f"it has labels called {' and '.join(there)} already; they are replaced with --overwrite")
    folder.mkdir(exist_ok=True)
    for name, stack in labels.items():
        with replacing(folder / name, overwrite=True, folder=is_zarr, cached=False) as beside:
            group, options = _open(beside, version)
            _write_label(group, stack, name, version, _ArrayFormat(options, packed=True, nearest=True))
    listed = list(dict.fromkeys([*known, *labels]))
    attributes = {"ome": {"version": version, "labels": listed}} if version == "0.5" else {"labels": listed}
    if version == "0.5":
        write_text(folder / "zarr.json", json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes}))
    else:
        write_text(folder / ".zgroup", json.dumps({"zarr_format": 2}))
        write_text(folder / ".zattrs", json.dumps(attributes))


def _listed_labels(folder: Path) -> list[str]:
    """Return the names of the labels that a ``labels`` group lists."""
    listed = group_attributes(folder, str(folder)).get("labels")
    return [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []


def zarr_version(path: Path, version: Version | None = None) -> Version:
    """Return the version of OME-Zarr to write: the requested one, or the newest that the installed zarr writes.

    Raises `WriteError` if zarr is not installed, or too old for the requested version.
    """
    major = _zarr_major(path)
    if version == "0.5" and major < 3:
        raise WriteError(path, "OME-Zarr 0.5 needs zarr 3, and zarr 2 is installed; ask for version 0.4")
    return version or ("0.5" if major >= 3 else "0.4")


@dataclass(frozen=True)
class _ArrayFormat:
    """How arrays are stored: ``zarr_format`` for zarr 3 (zarr 2 has only one); for the rest, see `write_zarr` and `write_labels`."""

    zarr: Mapping[str, int]
    packed: bool = False
    nearest: bool = False
    prefix: str = ""


def _open(path: Path, version: Version) -> tuple[Any, dict[str, int]]:
    """Create a group, and return it with the ``zarr_format`` for zarr 3."""
    import zarr

    options = {"zarr_format": 3 if version == "0.5" else 2} if _zarr_major(path) >= 3 else {}
    return zarr.open_group(str(path), mode="w", **options), options


def _write_pyramid(group: Any, stack: Stack, form: _ArrayFormat) -> tuple[list[Any], Any]:
    """Write all levels of an image into a group; return their arrays, and the middle plane (CYX) of the coarsest."""
    levels = [_create(group, f"{form.prefix}{level}", shape, stack.dtype, form) for level, shape in enumerate(_level_shapes(stack.shape))]
    middle, plane = stack.shape[0] // 2, stack.shape[2] // 2
    if isinstance(stack.data, np.ndarray) and stack.data[0].nbytes <= LARGEST:
        coarse = stack.data[middle, :, plane]
        for t, pixels in enumerate(stack.data):
            for array in levels:  # a time point at once, so that no level is read back to make the next one
                array[t] = pixels
                if array is not levels[-1]:
                    pixels = _downsample(pixels, nearest=form.nearest)
            coarse = np.array(pixels[:, plane]) if t == middle else coarse
            release(stack.data)
        return levels, coarse
    _fill(levels[0], stack.data)
    for fine, coarser in pairwise(levels):
        _fill_level(fine, coarser, nearest=form.nearest)
    return levels, np.asarray(levels[-1][middle, :, plane])


def _zarr_major(path: Path) -> int:
    """Return the major version of the installed zarr."""
    try:
        return int(_zarr_version().split(".")[0])
    except importlib.metadata.PackageNotFoundError as error:
        raise WriteError(path, "OME-Zarr needs the package zarr; install napari-virtual-paint[formats], or write .ome.tif") from error


@functools.cache
def _zarr_version() -> str:
    return importlib.metadata.version("zarr")


def _level_shapes(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the shapes of the pyramid's levels."""
    levels = [tuple(shape)]
    while max(levels[-1][3:]) > _SMALLEST and min(levels[-1][3:]) > 1:
        *lead, y, x = levels[-1]
        levels.append((*lead, -(-y // 2), -(-x // 2)))
    return levels


def _create(group: Any, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], form: _ArrayFormat) -> Any:
    """Create the array of one level."""
    chunks = (1, 1, 1, min(CHUNK, shape[3]), min(CHUNK, shape[4]))
    options: dict[str, Any] = {"shape": shape, "chunks": chunks, "dtype": dtype, "fill_value": 0}
    if form.zarr.get("zarr_format") == 3:
        if form.packed:
            from zarr.codecs import BloscCodec

            # The last digits of floating-point numbers are noise: zstd takes three times as long to save a fortieth of them.
            codec = {"cname": "lz4", "clevel": 5} if np.dtype(dtype).kind == "f" else {"cname": "zstd", "clevel": 3}
            options["compressors"] = [BloscCodec(**codec, shuffle="shuffle")]
            options["config"] = {"write_empty_chunks": True}  # saves comparing each chunk with zero; in a shard it adds no file
            shard = tuple(min(SHARD, -(-n // chunk) * chunk) for n, chunk in zip(shape[3:], chunks[3:], strict=True))
            if shard != chunks[3:]:  # a single chunk is one file anyway
                options["shards"] = (1, 1, 1, *shard)
        return group.create_array(name, **options, dimension_names=list("tczyx"))
    if form.packed:
        from numcodecs import Blosc  # type: ignore[import-untyped]

        blosc = Blosc(cname="zstd", clevel=3, shuffle=Blosc.SHUFFLE)
        options |= {"compressors": [blosc]} if form.zarr else {"compressor": blosc}
    if form.zarr:
        return group.create_array(name, **options, chunk_key_encoding={"name": "v2", "separator": "/"})
    return group.create_dataset(name, **options, dimension_separator="/")


def _fill(array: Any, data: Array) -> None:
    """Copy the pixels into the array of the full resolution, block by block."""
    shards = getattr(array, "shards", None)  # half a shard would be read again to write the other half
    reader = BlockReader(data, shards[3] if shards else CHUNK)
    for t, z, c in itertools.product(*(range(array.shape[axis]) for axis in (0, 2, 1))):
        for top, band in reader.rows(t, slice(c, c + 1), z):
            array[t, c, z, top : top + band.shape[1], :] = band[0]


def _fill_level(fine: Any, coarse: Any, *, nearest: bool = False) -> None:
    """Fill a level from the finer one, shard by shard."""
    spans: list[list[Any]] = [[slice(start, min(start + SHARD, n)) for start in range(0, n, SHARD)] for n in coarse.shape[3:]]
    for *plane, rows, columns in itertools.product(*(range(n) for n in coarse.shape[:3]), *spans):
        region = (slice(s.start * 2, min(s.stop * 2, n)) for s, n in zip((rows, columns), fine.shape[3:], strict=True))
        coarse[(*plane, rows, columns)] = _downsample(np.asarray(fine[(*plane, *region)]), nearest=nearest)


def _downsample(pixels: Pixels, *, nearest: bool) -> Pixels:
    """Return planes (..., Y, X) at half the size.

    A pixel is the mean of 2 x 2, an odd last row or column counting twice; for labels (`nearest`) and booleans it is the first of them.
    """
    if nearest or pixels.dtype.kind == "b":
        return pixels[..., ::2, ::2]
    if any(n % 2 for n in pixels.shape[-2:]):
        pixels = np.pad(pixels, [(0, 0)] * (pixels.ndim - 2) + [(0, n % 2) for n in pixels.shape[-2:]], mode="edge")
    exact = pixels.dtype.itemsize > (4 if pixels.dtype.kind == "f" else 2)
    wide: Pixels = pixels.astype(np.float64 if exact else np.float32, copy=False)
    rows = wide[..., ::2, :] + wide[..., 1::2, :]  # rows first, which are contiguous: this takes half the time
    means: Pixels = rows[..., ::2] + rows[..., 1::2]
    means *= 0.25
    return np.asarray(np.rint(means) if pixels.dtype.kind in "iu" else means).astype(pixels.dtype, copy=False)


def _attributes(stack: Stack, levels: list[Any], coarse: Any, name: str, version: Version) -> dict[str, Any]:
    """Return the attributes of a group: multiscales, omero (with contrast from the coarsest level) and our own."""
    multiscale: dict[str, Any] = {
        "name": name,
        "axes": _axes(stack),
        "datasets": [
            {"path": array.name.rpartition("/")[2], "coordinateTransformations": _transforms(stack, level)}
            for level, array in enumerate(levels)
        ],
        "type": "mean",
    }
    ome: dict[str, Any] = {"multiscales": [multiscale]}
    # Some readers require this part, so channels without names are in it, too, with an empty label.
    labels = stack.channels or ("",) * stack.shape[1]
    if stack.rgb:
        colors = [_RGB[index % len(_RGB)] for index in range(len(labels))]
    else:
        colors = [GRAY.hex] if len(labels) == 1 else [channel_color(label, index).hex for index, label in enumerate(labels)]
    ome["omero"] = {"channels": [_channel(*each, coarse[index]) for index, each in enumerate(zip(labels, colors, strict=True))]}
    own: dict[str, Any] = {"software": f"{OWN} {__version__}"}
    if stack.rgb:
        own["rgb"] = True
    if stack.provenance is not None:
        own["provenance"] = json.loads(provenance_json(stack.provenance))
    if version == "0.5":
        return {"ome": {"version": version, **ome}, OWN: own}
    multiscale["version"] = version
    return {**ome, OWN: own}


def _axes(stack: Stack) -> list[dict[str, str]]:
    """Return the axes; one of unknown size has no unit, so that its scale of 1 is not taken for a size."""
    axes = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}]
    axes += [{"name": letter, "type": "space"} for letter in "zyx"]
    if stack.time_interval is not None:
        axes[0]["unit"] = "second"
    for axis, size in zip(axes[2:], stack.pixel_size, strict=True):
        if size is not None:
            axis["unit"] = "micrometer"
    return axes


def _transforms(stack: Stack, level: int) -> list[dict[str, Any]]:
    """Return scale and translation of a level: its first pixel is centred between the pixels of which it is the mean."""
    sizes = [stack.time_interval or 1.0, 1.0, *(size or 1.0 for size in stack.pixel_size)]
    factor = 2**level
    scale = [*sizes[:3], sizes[3] * factor, sizes[4] * factor]
    if not level:
        return [{"type": "scale", "scale": scale}]
    shift = [0.0, 0.0, 0.0, sizes[3] * (factor - 1) / 2, sizes[4] * (factor - 1) / 2]
    return [{"type": "scale", "scale": scale}, {"type": "translation", "translation": shift}]


def _channel(label: str, color: str, coarse: Pixels) -> dict[str, Any]:
    """Return a channel of the ``omero`` metadata, with a contrast range from a plane of the coarsest level."""
    plane = coarse.astype(np.float64)
    finite = plane[np.isfinite(plane)]
    low, high = (float(v) for v in np.percentile(finite, (0.1, 99.9))) if finite.size else (0.0, 1.0)
    high = high if high > low else low + 1.0
    window = {"start": low, "end": high, "min": float(finite.min(initial=low)), "max": float(finite.max(initial=high))}
    return {"label": label, "color": color, "active": True, "window": window}
