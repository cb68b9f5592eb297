"""Metadata of TIFF files outside OME-XML: ImageJ, Zeiss LSM and Micro-Manager."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import tifffile

from napari_virtual_paint.reading.ome_xml import ImageMetadata
from napari_virtual_paint.reading.units import micrometres, seconds
from napari_virtual_paint.stack import PixelSize

# Bio-Formats labels the planes of an ImageJ stack with their positions, "c:1/3 z:2/5 - title", which name no channel.
_POSITION = re.compile(r"^([ctz]:\d+/\d+\s*)+(- .*)?$")


def imagej_metadata(tif: tifffile.TiffFile, axes: str, shape: tuple[int, ...]) -> ImageMetadata:
    """Return the metadata that ImageJ wrote: channel labels, pixel size, slice spacing and frame interval.

    Parameters
    ----------
    axes, shape
        Letters and lengths of the axes that count pages.
    """
    values: Mapping[str, Any] = tif.imagej_metadata or {}
    unit = str(values.get("unit") or "")
    page = tif.pages[0]
    size = PixelSize(
        z=micrometres(values.get("spacing"), str(values.get("zunit") or unit)),
        y=micrometres(_resolution(page, "YResolution"), str(values.get("yunit") or unit)),
        x=micrometres(_resolution(page, "XResolution"), str(values.get("xunit") or unit)),
    )
    interval = seconds(values.get("finterval"), str(values.get("tunit") or "s"))
    return ImageMetadata(channels=_labels(values.get("Labels"), axes, shape), pixel_size=size, time_interval=interval)


def _resolution(page: Any, name: str) -> float | None:
    """Return the size of a pixel in the file's unit; ImageJ stores pixels per unit as a fraction."""
    tag = page.tags.get(name)
    if tag is None or not isinstance(tag.value, tuple) or len(tag.value) != 2:
        return None
    pixels, units = tag.value
    # ImageJ writes 1/1 where nothing was calibrated, but then it names no unit either.
    return units / pixels if pixels else None


def _labels(labels: Any, axes: str, shape: tuple[int, ...]) -> tuple[str, ...] | None:
    """Return the channels' names if every plane of a channel has the same label and the channels differ."""
    lead = [(axis, n) for axis, n in zip(axes, shape, strict=True) if axis in "TZC"]
    count = math.prod(n for _, n in lead)
    sizes = dict(lead)
    if not isinstance(labels, list) or len(labels) != count or "C" not in sizes:
        return None
    stride = math.prod(n for _, n in lead[[axis for axis, _ in lead].index("C") + 1 :])
    names: dict[int, set[str]] = {}
    for plane, label in enumerate(labels):
        names.setdefault(plane // stride % sizes["C"], set()).add(str(label).strip().split("\n")[0])
    unique = [next(iter(found)) for _, found in sorted(names.items()) if len(found) == 1]
    if len(unique) != sizes["C"] or len(set(unique)) != len(unique) or not all(unique) or any(map(_POSITION.match, unique)):
        return None
    return tuple(unique)


def lsm_metadata(tif: tifffile.TiffFile) -> ImageMetadata:
    """Return the metadata of a Zeiss LSM file, which has the voxel size in metres and the interval in seconds."""
    values: Mapping[str, Any] = tif.lsm_metadata or {}
    size = PixelSize(*(micrometres(values.get(f"VoxelSize{axis}"), "m") for axis in "ZYX"))
    names = tuple(str(name) for name in (values.get("ChannelColors") or {}).get("ColorNames") or ())
    return ImageMetadata(channels=names or None, pixel_size=size, time_interval=seconds(values.get("TimeIntervall"), "s"))


def micromanager_metadata(tif: tifffile.TiffFile) -> ImageMetadata:
    """Return the metadata of a Micro-Manager file, which has the pixel size and z-step in micrometres, the interval in milliseconds."""
    values: Mapping[str, Any] = tif.micromanager_metadata or {}
    summary = values.get("Summary") or {}
    names = summary.get("ChNames")
    pixel = micrometres(summary.get("PixelSize_um"), "um")
    return ImageMetadata(
        channels=tuple(str(name) for name in names) if isinstance(names, list) and names else None,
        pixel_size=PixelSize(micrometres(summary.get("z-step_um"), "um"), pixel, pixel),
        time_interval=seconds(summary.get("Interval_ms"), "ms"),
    )
