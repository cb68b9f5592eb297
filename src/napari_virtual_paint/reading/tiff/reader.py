"""TIFF, BigTIFF, ImageJ, OME-TIFF and the microscopes' dialects that tifffile knows."""

from __future__ import annotations

import contextlib
import xml.etree.ElementTree as ET
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import tifffile

from napari_virtual_paint.reading.axes import LETTERS, agree, check_count, check_samples, likely, named
from napari_virtual_paint.reading.lazy import lazy_array
from napari_virtual_paint.reading.ome_xml import ImageMetadata, parse_ome
from napari_virtual_paint.reading.tiff.photometry import channel_names
from napari_virtual_paint.reading.tiff.planes import TiffPlanes, has_copies, is_plain, open_tiff_file, planes_of
from napari_virtual_paint.reading.tiff.vendor_metadata import imagej_metadata, lsm_metadata, micromanager_metadata
from napari_virtual_paint.stack import AXES, Array, PixelSize, Stack


class TiffImages:
    """The series of a TIFF file, which stays open until `files` is closed."""

    def __init__(self, path: str, files: ExitStack) -> None:
        (self._tif, self._notes), self._path = files.enter_context(open_tiff_file(path)), path

    def scenes(self) -> list[str]:
        """Return the names of the series, or their numbers where they have none."""
        names = [str(series.name or "") for series in self._tif.series]
        usable = all(names) and len(set(names)) == len(names)
        return names if usable else [str(i) for i in range(len(names))]

    def read(self, index: int, axes: str | None = None) -> Stack:
        """Return one series, its pixels still in the file.

        Raises `ReadError` if it is damaged, of a kind that can't be read, or has other axes than the ones given.
        """
        series = self._tif.series[index]
        planes = planes_of(self._tif, index, self._path)
        stack = replace(self._stack(planes, series, index), notes=self._notes)
        stored, shape = planes.axes + series.keyframe.axes, tuple(series.shape)
        stated = _stated_axes(self._tif, series)
        if stated is not None:
            agree(axes, stated, shape, self._path)
            return stack if stated == stored else named(stack, _as_stored(stack.data, stored, planes.samples), stated)
        if axes is not None:
            axes = _without_ones(axes, series)
        elif _is_array(self._tif) and "S" not in stored:
            axes, note = likely(shape, stored)
            stack = stack if note is None else replace(stack, notes=(*stack.notes, note))
        lead = len(planes.axes)
        if axes is None or axes == stored:
            return stack
        check_count(axes, shape, self._path)
        check_samples(axes, stored, self._path)
        if len(axes) == len(stored) and axes[lead:] == stored[lead:] and set(axes[:lead]) <= set("TCZ"):
            return replace(self._stack(planes_of(self._tif, index, self._path, axes[:lead]), series, index), notes=stack.notes)
        return named(stack, _as_stored(stack.data, stored, planes.samples), axes)

    def coarser(self, index: int) -> tuple[Array, ...]:
        """Return the smaller copies of a series that its pyramid holds, TCZYX, the largest first; none where its axes are not certain."""
        series = self._tif.series[index]
        if not has_copies(self._tif, index):
            return ()
        whole = planes_of(self._tif, index, self._path)
        stored = whole.axes + series.keyframe.axes
        if (_stated_axes(self._tif, series) or stored) != stored:
            return ()
        found = [planes_of(self._tif, index, self._path, whole.axes, level) for level in range(1, len(series.levels))]
        alike = all(level.shape[:3] == whole.shape[:3] and level.dtype == whole.dtype for level in found)
        return tuple(map(lazy_array, found)) if alike else ()

    def _stack(self, planes: TiffPlanes, series: Any, index: int) -> Stack:
        """Return a series with its metadata."""
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


def _stated_axes(tif: tifffile.TiffFile, series: Any) -> str | None:
    """Return the axes that the file states, by its program or by what tifffile writes beside an array; None where it states none."""
    lead = len(series.shape) - len(series.keyframe.shape)
    letters = str(series.axes)
    if set(letters[:lead]) <= set("TCZ") and letters[lead:] == series.keyframe.axes:
        return letters if lead or not _is_array(tif) else None
    return letters if set("YX") <= set(letters) <= set(LETTERS) and series.kind == "shaped" else None


def _is_array(tif: tifffile.TiffFile) -> bool:
    """Return whether a file is by no microscope or program that says what its axes are."""
    return is_plain(tif) or bool(tif.is_shaped and not (tif.is_ome or tif.is_imagej))


def _without_ones(axes: str, series: Any) -> str:
    """Return a user's letters without those of axes of length 1, which tifffile leaves out."""
    whole = tuple(series.get_shape(False))
    if len(axes) == len(series.shape) or len(axes) != len(whole):
        return axes
    return "".join(letter for letter, n in zip(axes, whole, strict=True) if n > 1)


def _as_stored(pixels: Any, stored: str, samples: int) -> Any:
    """Return the pixels of a stack (TCZYX) with the axes in the order of the file, and only those that it has."""
    letters = AXES
    if "S" in stored:
        t, c, z, y, x = pixels.shape
        pixels, letters = pixels.reshape((t, c // samples, samples, z, y, x)), "TCSZYX"
    pixels = pixels[tuple(slice(None) if letter in stored else 0 for letter in letters)]
    kept = [letter for letter in letters if letter in stored]
    return pixels.transpose([kept.index(letter) for letter in stored])


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
