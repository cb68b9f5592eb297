"""Planes of a TIFF series, of which only the strips or tiles that cover a region are decoded."""

from __future__ import annotations

import contextlib
import math
import os
import struct
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.reading.lazy import check_unchanged, fingerprint
from napari_virtual_paint.reading.ome_xml import COMPANION
from napari_virtual_paint.reading.silence import mute_logs
from napari_virtual_paint.reading.tiff.imagej_counts import correct_counts
from napari_virtual_paint.reading.tiff.ome_set import first_tiff, read_companion, resolve
from napari_virtual_paint.reading.tiff.photometry import JPEG, Photometry, photometry_of
from napari_virtual_paint.runtime.extras import require
from napari_virtual_paint.runtime.file_kind import file_kind

_PROGRAMS = {"ome", "imagej", "lsm", "stk", "micromanager", "shaped", "fluoview", "scanimage", "nih", "sis"}
"""tifffile's flags of files by a known program or microscope, whose values are taken as they are stored."""
_LIBTIFF = (2, 3, 4, 6)
"""Fax compressions, which not every tifffile knows, and the JPEG of TIFF 6.0, which only libtiff decodes as its writers meant it."""
_GROWTH = 1100  # no deflate or LZW stream grows more than this many times when it is decoded
_LARGE = 256 * 2**20  # bytes that may be decoded at once, however small the file


class TiffPlanes:
    """A series of a TIFF file as planes; keeps no file open between reads.

    Parameters
    ----------
    scene
        Which of its series.
    axes
        Letters of the leading axes (those that count pages), out of T, C and Z.
    photometry
        How stored values become intensities.
    path
        The file that errors name: the TIFF, or its companion.
    level
        Which size of the image, from the largest, 0.
    """

    def __init__(
        self,
        tif: tifffile.TiffFile,
        scene: int,
        axes: str,
        lengths: tuple[int, ...],
        photometry: Photometry,
        path: str,
        level: int = 0,
    ) -> None:
        self.path = path
        self._file = str(tif.filehandle.path)
        self.photometry = photometry
        series = tif.series[scene].levels[level]
        self._tif, self._scene, self._level, self._series, self._page = tif, scene, level, series, series.keyframe
        self._lengths = dict(zip(axes, lengths, strict=True))
        self._strides = {axis: math.prod(lengths[i + 1 :]) for i, axis in enumerate(axes)}
        self.axes = axes
        self._lock = threading.RLock()
        self._fingerprint = fingerprint(self._file)
        page = self._page
        self._elsewhere = series.is_multifile or str(page.parent.filehandle.path) != self._file  # in other files of a set
        self._offset: int | None = None if self._elsewhere else series.dataoffset
        height, width = photometry.swap((int(page.imagelength), int(page.imagewidth)))
        self.samples = int(page.samplesperpixel)
        self.shape = (self._lengths.get("T", 1), self._lengths.get("C", 1) * self.samples, self._lengths.get("Z", 1), height, width)
        self.dtype = np.dtype(page.dtype)
        self.block = photometry.swap(_block(page, self._offset is not None))
        self._check_size()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the path and the series, which are opened again in the other process."""
        return open_planes, (self.path, self._scene, self.axes, self._level)

    def plane(self, t: int, c: int, z: int, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """Return (samples, rows, columns) of one plane, as intensities the right way up."""
        number = sum({"T": t, "C": c, "Z": z}[axis] * stride for axis, stride in self._strides.items())
        stored = self._stored(number, *self.photometry.stored_region(rows, columns, self.shape[3:]))
        return self.photometry.intensities(self.photometry.upright(stored))

    def _stored(self, number: int, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """Return (samples, rows, columns) of a page as stored."""
        if self._offset is not None:
            return self._contiguous(self._offset + number * int(self._page.nbytes), rows, columns)
        if self._page.compression in _LIBTIFF and not self._elsewhere and self._fingerprint[0] <= _LARGE:
            return self._by_libtiff(number)[:, rows, columns]
        segments = self._segments(rows, columns)
        keyframe, data, options = self._encoded(number, segments)
        out = np.full((self.samples, rows.stop - rows.start, columns.stop - columns.start), keyframe.nodata, keyframe.dtype)
        for index, encoded in zip(segments, data, strict=True):
            pixels, where, _ = keyframe.decode(encoded, index, **options)
            if pixels is not None:
                _paste(out, pixels, where, rows.start, columns.start, keyframe.planarconfig == 2)
        return out

    def _contiguous(self, offset: int, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """Return a region of an uncompressed page by reading its rows."""
        page = self._page
        dtype = np.dtype(self._tif.byteorder + page.dtype.char)
        planar = page.planarconfig == 2 and self.samples > 1
        contig = 1 if planar else self.samples
        row = int(page.imagewidth) * contig * dtype.itemsize
        bands = []
        check_unchanged(self._file, self._fingerprint)
        with Path(self._file).open("rb") as file:
            for sample in range(self.samples if planar else 1):
                file.seek(offset + (sample * int(page.imagelength) + rows.start) * row)
                count = (rows.stop - rows.start) * row
                data = file.read(count)
                if len(data) < count:
                    raise ReadError(self.path, "it ends before its pixels do; it was cut off, copy it again")
                band = np.frombuffer(data, dtype).reshape(rows.stop - rows.start, int(page.imagewidth), contig)
                bands.append(band[:, columns])
        return np.ascontiguousarray(np.moveaxis(np.concatenate(bands, axis=2), 2, 0)).astype(page.dtype, copy=False)

    def _by_libtiff(self, number: int) -> npt.NDArray[Any]:
        """Return a whole page (samples, rows, columns) decoded by libtiff."""
        with self._lock, _reopened(self._tif.filehandle):
            check_unchanged(self._file, self._fingerprint)
            index = self._series.pages[number].index
        codecs = require("imagecodecs", extra="formats", purpose="its compression", path=self.path)
        pixels = np.asarray(codecs.tiff_decode(Path(self._file).read_bytes(), index=index))
        size = self.photometry.swap((self.shape[3], self.shape[4]))
        if pixels.shape not in ((*size, self.samples), size) or pixels.dtype != self.dtype:
            raise ReadError(
                self.path, f"page {number} decodes to {pixels.dtype} {pixels.shape}, which differs from its header; it is damaged"
            )
        return np.moveaxis(pixels.reshape(*size, self.samples), 2, 0)

    def _encoded(self, number: int, segments: list[int]) -> tuple[Any, list[bytes | None], dict[str, Any]]:
        """Return a page's keyframe, its encoded segments and what decoding them needs; the file is open only here."""
        main = self._tif.filehandle
        with self._lock, _reopened(main):
            check_unchanged(self._file, self._fingerprint)
            page = self._series.pages[number]
            if page is None:
                raise ReadError(self.path, f"plane {number} is missing; keep all files of the set in one folder")
            handle, keyframe = page.parent.filehandle, page.keyframe
            with _reopened(handle), _reopened(keyframe.parent.filehandle):
                jpeg = keyframe.compression in JPEG
                options = {"jpegtables": page.jpegtables, "jpegheader": keyframe.jpegheader} if jpeg else {}
                # The decoder is made on first use, for which the file must be open.
                _ = keyframe.decode
                return keyframe, [self._segment(handle, page, index) for index in segments], options

    def _segment(self, handle: Any, page: Any, index: int) -> bytes | None:
        """Return one encoded strip or tile; None for one that the file leaves out on purpose (its offset is 0)."""
        offsets, counts = page.dataoffsets, page.databytecounts
        if index >= len(offsets) or index >= len(counts):
            raise ReadError(self.path, f"strip or tile {index} of {page.keyframe.chunked} is not in the file; it was cut off")
        if not counts[index] or not offsets[index]:
            return None
        handle.seek(offsets[index])
        data: bytes = handle.read(counts[index])
        if len(data) < counts[index]:
            raise ReadError(self.path, "it ends before its pixels do; it was cut off, copy it again")
        return data

    def _segments(self, rows: slice, columns: slice) -> list[int]:
        """Return the indices of the strips or tiles that cover a region."""
        page = self._page
        height, width = _block(page, False)
        down = math.ceil(page.imagelength / height)
        across = math.ceil(page.imagewidth / width)
        separate = self.samples if page.planarconfig == 2 else 1
        return [
            (sample * down + i) * across + j
            for sample in range(separate)
            for i in range(rows.start // height, math.ceil(rows.stop / height))
            for j in range(columns.start // width, math.ceil(columns.stop / width))
        ]

    def _check_size(self) -> None:
        """Raise a `ReadError` where the header claims more pixels than the file can hold."""
        size, page = self._fingerprint[0], self._page
        height, width = _block(page, False)
        separate = self.samples if page.planarconfig == 2 else 1
        pieces = math.ceil(page.imagelength / height) * math.ceil(page.imagewidth / width) * separate
        piece = height * width * page.dtype.itemsize * (self.samples if page.planarconfig == 1 else 1)
        end = (self._offset or 0) + int(page.nbytes) * (math.prod(self._lengths.values()) if self._offset is not None else 1)
        uncompressed = self._offset is not None or (page.compression == 1 and page.is_contiguous and page.bitspersample % 8 == 0)
        if uncompressed and end > size:
            raise ReadError(self.path, f"its pixels would end at byte {end:,} but it has {size:,}; it was cut off or is damaged")
        if not uncompressed and piece > max(_LARGE, _GROWTH * size):
            raise ReadError(self.path, f"it claims strips or tiles of {piece:,} bytes but has {size:,} in total; it is damaged")
        if self._offset is None and pieces > len(page.dataoffsets):
            listed = f"{pieces:,} strips or tiles per plane but lists {len(page.dataoffsets):,}"
            raise ReadError(self.path, f"it claims {listed}; it was cut off or is damaged")


@contextlib.contextmanager
def _reopened(handle: Any) -> Iterator[None]:
    """Open a file that may be closed, and leave it as it was."""
    closed = handle.closed
    if closed:
        handle.open()
    try:
        yield
    finally:
        if closed:
            handle.close()


def _block(page: Any, contiguous: bool) -> tuple[int, int]:
    """Return height and width of a strip or tile."""
    if contiguous:
        return 1, int(page.imagewidth)
    if page.is_tiled:
        return int(page.tilelength), int(page.tilewidth)
    return max(1, min(int(page.rowsperstrip), int(page.imagelength))), int(page.imagewidth)


def _paste(out: npt.NDArray[Any], pixels: npt.NDArray[Any], where: Any, top: int, left: int, planar: bool) -> None:
    """Copy a decoded segment (depth, rows, columns, samples) to its place in a region (samples, rows, columns)."""
    sample, _, row, column, _ = where
    piece = np.moveaxis(pixels[0], 2, 0)
    y0, x0 = max(row, top), max(column, left)
    y1, x1 = min(row + piece.shape[1], top + out.shape[1]), min(column + piece.shape[2], left + out.shape[2])
    if y1 <= y0 or x1 <= x0:
        return
    target = out[sample : sample + 1] if planar else out
    target[:, y0 - top : y1 - top, x0 - left : x1 - left] = piece[:, y0 - row : y1 - row, x0 - column : x1 - column]


def open_planes(path: str, scene: int, axes: str, level: int = 0) -> TiffPlanes:
    """Return the planes of one series (module-level, so that a pickled array can call it)."""
    with open_tiff_file(path) as (tif, _):
        return planes_of(tif, scene, path, axes, level)


@contextlib.contextmanager
def open_tiff_file(path: str) -> Iterator[tuple[tifffile.TiffFile, tuple[str, ...]]]:
    """Open a TIFF file, or the first of those that a companion file names; check that it has a page and was not cut off.

    Yields
    ------
    The file, its metadata as its writer meant it (see `ome_set` and `imagej_counts`), and what the user should know.

    Raises
    ------
    ReadError
        If it is no TIFF, has no page, ends before its last page, or belongs to a set of which files are missing.
    """
    companion = path.casefold().endswith(COMPANION)
    file = str(first_tiff(Path(path))) if companion else path
    with mute_logs():  # again, since importing tifffile has made new loggers
        try:
            tif = tifffile.TiffFile(file)
        except Exception:
            with Path(file).open("rb") as stream:
                _check_signature(file, stream)
            raise
        with contextlib.ExitStack() as files:
            files.enter_context(tif)
            _check_signature(file, tif.filehandle)
            if not len(tif.pages):
                raise ReadError(path, "it is a TIFF without any picture; it is damaged or was cut off")
            _check_last_page(tif, file)
            notes: tuple[str, ...] = ()
            if tif.is_ome or companion:
                with contextlib.suppress(ET.ParseError):
                    found = resolve(read_companion(Path(path)) if companion else tif.pages[0].description, Path(file), len(tif.pages))
                    notes = found.notes
                    xml = found.xml or (read_companion(Path(path)) if companion else None)
                    if xml is not None:
                        tif = files.enter_context(tifffile.TiffFile(file, omexml=xml))
            elif tif.is_imagej:
                notes = correct_counts(tif, path)
            yield tif, notes


def _check_last_page(tif: tifffile.TiffFile, path: str) -> None:
    """Raise a `ReadError` if pages would go missing silently: the last one found points beyond the end of the file, or back."""
    seen = {page.offset for page in (tif.pages[0], tif.pages[-1])}
    pointer = _next_page(tif, tif.pages[-1].offset)
    while pointer:
        if pointer >= tif.filehandle.size:
            raise ReadError(path, f"after {len(tif.pages)} of its pages it ends, though more should follow; it was cut off, copy it again")
        if pointer in seen:
            raise ReadError(path, "its list of pages leads back to an earlier page, so it has no end; it is damaged or hostile")
        seen.add(pointer)
        pointer = _next_page(tif, pointer)


def _next_page(tif: tifffile.TiffFile, offset: int) -> int:
    """Return where the page after the one at an offset is; 0 where there is none, or it is not known."""
    kind, file = tif.tiff, tif.filehandle
    file.seek(offset)
    head = file.read(kind.tagnosize)
    if len(head) < kind.tagnosize:
        return 0
    file.seek(struct.unpack(kind.tagnoformat, head)[0] * kind.tagsize, os.SEEK_CUR)
    pointer = file.read(kind.offsetsize)
    return int(struct.unpack(kind.offsetformat, pointer)[0]) if len(pointer) == kind.offsetsize else 0


def _check_signature(path: str, file: Any) -> None:
    """Raise a `ReadError` if an open file is no TIFF; it says what the file is instead."""
    file.seek(0)
    head = file.read(4)
    if not head:
        raise ReadError(path, "it is empty (0 bytes); copy it again")
    if head not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        kind = file_kind(Path(path))
        words, remedy = ("not one", "") if kind is None else (kind.words, kind.remedy)
        raise ReadError(path, f"it is called a TIFF but is {words}; {remedy or 'check its name and where it came from'}")


def planes_of(tif: tifffile.TiffFile, scene: int, path: str, axes: str | None = None, level: int = 0) -> TiffPlanes:
    """Return the planes of one series of an open file.

    Parameters
    ----------
    path
        The file that errors name.
    axes
        Letters of the leading axes, which count pages, out of T, C and Z; those of the file where None.
    level
        Which size of the image, from the largest, 0.

    Raises
    ------
    ReadError
        If its pixels are of a kind that can't be read, or its description contradicts its pages.
    """
    series = tif.series[scene].levels[level]
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
    lead = tuple(series.shape[:-depth])
    axes = axes or name_axes(series.axes[:-depth], lead, path)
    return TiffPlanes(tif, scene, axes, lead, photometry_of(page, is_plain(tif), path), path, level)


def has_copies(tif: tifffile.TiffFile, scene: int) -> bool:
    """Return whether a series has smaller copies that can be read (those decoded by libtiff can't, which finds pages by their number)."""
    levels = tif.series[scene].levels
    return len(levels) > 1 and all(level.keyframe.compression not in _LIBTIFF for level in levels)


def is_plain(tif: tifffile.TiffFile) -> bool:
    """Return whether a file is by no known microscope or program, and so a picture or an array."""
    return not _PROGRAMS & set(tif.flags)


def name_axes(axes: str, lengths: tuple[int, ...], path: str) -> str:
    """Return the leading axes in the letters T, C and Z; an unnamed one becomes the innermost of Z, C and T that is free."""
    free = [letter for letter in "ZCT" if letter not in axes]
    named = ""
    for axis in reversed(axes):
        if axis not in "TCZ" or axis in named:
            if not free:
                raise ReadError(
                    path, f"its axes {axes} ({lengths}) are more than time, channel and z; save each position or angle in a file of its own"
                )
            axis = free.pop(0)
        named = axis + named
    return named
