"""Tell what a file is by its first bytes, so that an error says so instead of calling a sound file damaged."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path

HEAD = 4096  # bytes that are looked at

TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_IMAGES = {
    b"\x89PNG\r\n\x1a\n": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"BM": "a BMP picture",
    **dict.fromkeys(TIFF_HEADS, "a TIFF"),
    b"ZISRAWFILE": "a Zeiss CZI",
    b"\xda\xce\xbe\n": "a Nikon ND2",
    b"\0\0\0\x0cjP  \r\n\x87\n": "a JPEG 2000 picture or an old Nikon ND2",
    b"p\0\0\0": "a Leica LIF",
}
"""First bytes of images -> what they are; other suffixes may be theirs."""
_OTHERS = {
    b"%PDF": "a PDF",
    b"%!PS": "a PostScript file",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array (.npy)",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ\0": "an xz archive",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive",
    b"SQLite format 3\0": "an SQLite database",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an OLE2 file (an old Office document, or an Olympus or Zeiss image of that kind)",
    b"MATLAB 5.0": "a MATLAB file",
    b"PAR1": "a Parquet table",
    b"ARROW1": "an Arrow table",
    b"RIFF": "a RIFF file (AVI, WebP or WAV)",
    b"\x1aE\xdf\xa3": "a Matroska or WebM film",
    b"OggS": "an Ogg file",
    b"ID3": "an MP3 file",
    b"\0\x05\x16\x07": "the notes that macOS keeps beside a file (AppleDouble); the image is the file without ._ in its name",
    b"\0\x05\x16\x00": "the notes of macOS on a file (AppleSingle)",
    b"\x7fELF": "a program",
    b"MZ": "a Windows program",
    b"\xcf\xfa\xed\xfe": "a program",
    b"SIMPLE  =": "a FITS file",
    b"v/1\x01": "an OpenEXR picture",
    b"\x80\x02": "a Python pickle (perhaps a PyTorch checkpoint)",
    b"\x80\x03": "a Python pickle",
    b"\x80\x04": "a Python pickle",
    b"\x80\x05": "a Python pickle",
}
"""First bytes of files that hold no image that is read here -> what they are."""
_LFS = b"version https://git-lfs.github.com/spec/"


def read_head(path: str | Path) -> bytes:
    """Return the first bytes of a file."""
    with Path(path).open("rb") as file:
        return file.read(HEAD)


def image_kind(head: bytes) -> str | None:
    """Return what image a file is that begins with these bytes; None if it is none that is known."""
    if head.startswith(b"p\0\0\0") and head[8:9] != b"*":
        return None
    if head.startswith(b"BM") and (len(head) < 18 or struct.unpack("<I", head[14:18])[0] not in (12, 16, 40, 52, 56, 64, 108, 124)):
        return None
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "a WebP picture"
    return next((kind for magic, kind in _IMAGES.items() if head.startswith(magic)), None)


def other_kind(path: str | Path, head: bytes) -> str | None:
    """Return what a file is that holds no image; None for an image, or where it can't be told.

    Parameters
    ----------
    head
        The file's first bytes, as `read_head` returns them.
    """
    if image_kind(head) is not None:
        return None
    if head.startswith(_LFS):
        return "a pointer of Git LFS, not the file itself (run `git lfs pull` where it came from)"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_kind(path)
    if head[128:132] == b"DICM":
        return "a DICOM file"
    if head[344:348] in (b"n+1\0", b"ni1\0"):
        return "a NIfTI file"
    if head[257:262] == b"ustar":
        return "a tar archive"
    if head[4:8] == b"ftyp":
        return "an AVIF or HEIC picture" if head[8:12] in (b"avif", b"heic", b"heix", b"mif1") else "an MP4 or QuickTime film"
    if _is_safetensors(head):
        return "a safetensors file (weights of a network)"
    known = next((kind for magic, kind in _OTHERS.items() if head.startswith(magic) and image_kind(head) is None), None)
    return known or _text_kind(head)


def _is_safetensors(head: bytes) -> bool:
    """Return whether a head is that of safetensors: the length of a header, then a header in JSON."""
    if len(head) < 10 or head[8:9] != b"{":
        return False
    length = struct.unpack("<Q", head[:8])[0]
    return 2 <= length < 100_000_000 and (b'"dtype"' in head or b'"__metadata__"' in head or head[8:10] == b"{}")


def _text_kind(head: bytes) -> str | None:
    """Return what text a file is; None if it is no text."""
    if not head or any(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in head):
        return None
    try:
        head[: len(head) - 4 if len(head) == HEAD else None].decode("utf-8")
    except UnicodeDecodeError:
        return None
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:512].lower()
    if start.startswith((b"<!doctype html", b"<html")) or b"<html" in start:
        return "a web page (HTML), as a failed download leaves it"
    if start.startswith(b"<?xml") or start.startswith(b"<ome"):
        return "an XML file"
    if start.startswith((b"{", b"[")):
        return "a JSON file"
    return "text"


def _zip_kind(path: str | Path) -> str:
    """Return what a ZIP archive holds."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/") and "__MACOSX" not in name]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "a ZIP archive that was cut off or is damaged"
    return _contents(names)


def _contents(names: Sequence[str]) -> str:
    """Return what a ZIP archive with these files is."""
    bases = {name.rsplit("/", 1)[-1] for name in names}
    if bases & {"rdf.yaml", "bioimageio.yaml", "model.yaml"}:
        return "a model package (bioimage.io), which paints images but is none"
    if "data.pkl" in bases:
        return "a PyTorch checkpoint (weights of a network)"
    if "[Content_Types].xml" in bases:
        return "an Office document"
    if names and all(name.endswith(".npy") for name in names):
        return "NumPy arrays (.npz)"
    if not names:
        return "an empty ZIP archive"
    shown = ", ".join(names[:2]) + (", ..." if len(names) > 2 else "")
    return f"a ZIP archive of {len(names)} file{'s' if len(names) > 1 else ''} ({shown}); unpack it and open what is in it"
