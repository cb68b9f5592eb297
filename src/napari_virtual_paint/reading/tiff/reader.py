"""TIFF, BigTIFF, ImageJ, OME-TIFF and the microscopes' dialects that tifffile knows."""

from __future__ import annotations

import contextlib
import os
import struct
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import tifffile

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.reading.lazy import lazy_array
from napari_virtual_paint.reading.ome_xml import ImageMetadata, parse_ome
from napari_virtual_paint.reading.silence import quiet
from napari_virtual_paint.reading.tiff.photometry import channel_names, look_of
from napari_virtual_paint.reading.tiff.planes import TiffPlanes
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


def open_planes(path: str, scene: int) -> TiffPlanes:
    """Return the planes of one image; what a pickled array opens in its new process."""
    with _opened(path) as tif:
        return _planes(tif, scene)


def _turned(size: PixelSize, planes: TiffPlanes) -> PixelSize:
    """Return the pixel size of a picture that was turned upright."""
    return PixelSize(size.z, size.x, size.y) if planes.look.transpose else size


@contextlib.contextmanager
def _opened(path: str) -> Any:
    """Open a TIFF file that has at least one page."""
    _check_signature(path)
    # Quiet once more, for the loggers that came with the import of tifffile.
    with quiet(), tifffile.TiffFile(path) as tif:
        if not len(tif.pages):
            raise ReadError(path, "it is a TIFF without any picture; it is damaged or was cut off")
        _check_chain(tif, path)
        yield tif


def _check_chain(tif: tifffile.TiffFile, path: str) -> None:
    """Raise a `ReadError` where the last page found points to another one that is not in the file, so that planes would go missing."""
    kind, file = tif.tiff, tif.filehandle
    file.seek(tif.pages[-1].offset)
    count = struct.unpack(kind.tagnoformat, file.read(kind.tagnosize))[0]
    file.seek(count * kind.tagsize, os.SEEK_CUR)
    pointer = file.read(kind.offsetsize)
    if len(pointer) == kind.offsetsize and struct.unpack(kind.offsetformat, pointer)[0] >= file.size:
        raise ReadError(path, f"after {len(tif.pages)} of its pages it ends, though more should follow; it was cut off, copy it again")


_KINDS = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"PK": "a ZIP archive",
    b"GIF8": "a GIF picture",
    b"%PDF": "a PDF",
}


def _check_signature(path: str) -> None:
    """Raise a `ReadError` that tells what a file is that is called a TIFF and is none."""
    with Path(path).open("rb") as file:
        head = file.read(64)
    if not head:
        raise ReadError(path, "it is empty (0 bytes); copy it again")
    if not is_tiff(head):
        known = [kind for mark, kind in _KINDS.items() if head.startswith(mark)]
        text = all(byte in b"\t\r\n" or byte >= 32 for byte in head)
        kind = known[0] if known else "text" if text else "not one"
        raise ReadError(path, f"it is called a TIFF but is {kind}; check its name and where it came from")


def is_tiff(head: bytes) -> bool:
    """Return whether a file that begins with these bytes is a TIFF or BigTIFF."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _planes(tif: tifffile.TiffFile, scene: int) -> TiffPlanes:
    """Return the planes of one series."""
    path = str(tif.filehandle.path)
    series = tif.series[scene]
    page = series.keyframe
    if page.dtype is None or not series.shape or 0 in series.shape:
        raise ReadError(path, f"its pixels ({page.bitspersample} bits, sample format {page.sampleformat}) are of a kind that can't be read")
    if page.imagedepth > 1:
        raise ReadError(path, "it stores volumes in one page (SGI depth), which can't be read; save it plane by plane")
    depth = len(page.shape)
    if tuple(series.shape[-depth:]) != tuple(page.shape):
        raise ReadError(
            path, f"its description says {series.shape} ({series.axes}) but its pages are {page.shape} ({page.axes}); it is damaged"
        )
    lead, axes = series.shape[:-depth], series.axes[:-depth]
    plain = not _is_microscope(tif)
    return TiffPlanes(tif, scene, _named(axes, tuple(lead), path), tuple(lead), look_of(page, plain, path))


def _is_microscope(tif: tifffile.TiffFile) -> bool:
    """Return whether a program or microscope that tifffile knows wrote the file; its values are then taken as they are stored."""
    return bool({"ome", "imagej", "lsm", "stk", "micromanager", "shaped", "fluoview", "scanimage", "nih", "sis"} & set(tif.flags))


def _named(axes: str, lead: tuple[int, ...], path: str) -> str:
    """Return the leading axes in the letters T, C and Z; a nameless one is the innermost of Z, C and T that is free."""
    free = [letter for letter in "ZCT" if letter not in axes]
    named = ""
    for axis in reversed(axes):
        if axis not in "TCZ" or axis in named:
            if not free:
                raise ReadError(path, f"its axes {axes} ({lead}) are more than time, channel and z; save one position or angle a file")
            axis = free.pop(0)
        named = axis + named
    return named


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
