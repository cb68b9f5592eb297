"""TIFF, BigTIFF, ImageJ, OME-TIFF and the microscopes' dialects that tifffile knows."""

from __future__ import annotations

import contextlib
import xml.etree.ElementTree as ET
from typing import Any

import tifffile

from napari_virtual_paint.reading.lazy import lazy_array
from napari_virtual_paint.reading.ome_xml import ImageMetadata, parse_ome
from napari_virtual_paint.reading.tiff.photometry import channel_names
from napari_virtual_paint.reading.tiff.planes import TiffPlanes, _opened, _planes
from napari_virtual_paint.reading.tiff.vendor_metadata import imagej_metadata, lsm_metadata, micromanager_metadata
from napari_virtual_paint.stack import PixelSize, Stack

SUFFIXES = (".tif", ".tiff", ".btf", ".tf2", ".tf8", ".stk", ".lsm", ".ome")


def scenes_tiff(path: str) -> list[str]:
    """Return the names of a file's images, or their numbers where they have none."""
    with _opened(path) as tif:
        names = [str(series.name or "") for series in tif.series]
    usable = all(names) and len(set(names)) == len(names)
    return names if usable else [str(i) for i in range(len(names))]


def read_tiff(path: str, scene: int = 0) -> Stack:
    """Return one image of a TIFF file, its pixels still in the file.

    Raises
    ------
    ReadError
        If it is no TIFF, or damaged, or of a kind that can't be read.
    """
    with _opened(path) as tif:
        planes = _planes(tif, scene)
        series = tif.series[scene]
        metadata = _metadata(tif, series, scene)
        colours, rgb = channel_names(series.keyframe)
    names = metadata.channels
    count = planes.shape[1]
    if (rgb and count == planes.samples) or (names is None and colours is not None and count == planes.samples):
        names = colours
    if names is not None and len(names) != count:
        names = None
    return Stack(
        lazy_array(planes),
        channels=names,
        pixel_size=_turned(metadata.pixel_size, planes),
        time_interval=metadata.time_interval,
        source=path,
        rgb=rgb and count == planes.samples,
        provenance=metadata.provenance,
    )


def _turned(size: PixelSize, planes: TiffPlanes) -> PixelSize:
    """Return the pixel size of a picture that was turned upright."""
    return PixelSize(size.z, size.x, size.y) if planes.look.transpose else size


def _metadata(tif: tifffile.TiffFile, series: Any, scene: int) -> ImageMetadata:
    """Return what the file tells about a series; metadata that can't be understood is as good as none."""
    if tif.is_ome:
        with contextlib.suppress(ET.ParseError):
            images = parse_ome(tif.ome_metadata or "")
            named = [image for image in images if image.name == series.name]
            if len(images) == len(tif.series):
                return images[scene]
            return named[0] if named else ImageMetadata()
        return ImageMetadata()
    lead = len(series.shape) - len(series.keyframe.shape)
    if tif.is_imagej:
        return imagej_metadata(tif, series.axes[:lead], tuple(series.shape[:lead]))
    if tif.is_lsm:
        return lsm_metadata(tif)
    if tif.is_micromanager:
        return micromanager_metadata(tif)
    return ImageMetadata()
