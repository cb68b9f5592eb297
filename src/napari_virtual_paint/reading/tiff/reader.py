"""TIFF, BigTIFF, ImageJ, OME-TIFF and the microscopes' dialects that tifffile knows."""

from __future__ import annotations

import contextlib
import xml.etree.ElementTree as ET
from contextlib import ExitStack
from typing import Any

import tifffile

from napari_virtual_paint.reading.lazy import lazy_array
from napari_virtual_paint.reading.ome_xml import ImageMetadata, parse_ome
from napari_virtual_paint.reading.tiff.photometry import channel_names
from napari_virtual_paint.reading.tiff.planes import open_tiff_file, planes_of
from napari_virtual_paint.reading.tiff.vendor_metadata import imagej_metadata, lsm_metadata, micromanager_metadata
from napari_virtual_paint.stack import PixelSize, Stack


class TiffImages:
    """The series of a TIFF file, which stays open until `files` is closed."""

    def __init__(self, path: str, files: ExitStack) -> None:
        self._tif, self._path = files.enter_context(open_tiff_file(path)), path

    def scenes(self) -> list[str]:
        """Return the names of the series, or their numbers where they have none."""
        names = [str(series.name or "") for series in self._tif.series]
        usable = all(names) and len(set(names)) == len(names)
        return names if usable else [str(i) for i in range(len(names))]

    def read(self, index: int) -> Stack:
        """Return one series, its pixels still in the file.

        Raises `ReadError` if it is damaged, or of a kind that can't be read.
        """
        planes = planes_of(self._tif, index)
        series = self._tif.series[index]
        metadata = _metadata(self._tif, series, index)
        sample_names, rgb = channel_names(series.keyframe)
        names, count, size = metadata.channels, planes.shape[1], metadata.pixel_size
        rgb = rgb and count == planes.samples
        if rgb or (names is None and count == planes.samples):
            names = sample_names
        if names is not None and len(names) != count:
            names = None
        return Stack(
            lazy_array(planes),
            channels=names,
            pixel_size=PixelSize(size.z, size.x, size.y) if planes.photometry.transpose else size,
            time_interval=metadata.time_interval,
            source=self._path,
            rgb=rgb,
            provenance=metadata.provenance,
        )


def _metadata(tif: tifffile.TiffFile, series: Any, index: int) -> ImageMetadata:
    """Return the metadata of a series; none where it can't be parsed."""
    if tif.is_ome:
        with contextlib.suppress(ET.ParseError):
            images = parse_ome(tif.ome_metadata or "")
            if len(images) == len(tif.series):
                return images[index]
            return next((image for image in images if image.name == series.name), ImageMetadata())
        return ImageMetadata()
    lead = len(series.shape) - len(series.keyframe.shape)
    if tif.is_imagej:
        return imagej_metadata(tif, series.axes[:lead], tuple(series.shape[:lead]))
    if tif.is_lsm:
        return lsm_metadata(tif)
    if tif.is_micromanager:
        return micromanager_metadata(tif)
    return ImageMetadata()
