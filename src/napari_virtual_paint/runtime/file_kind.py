"""Name what a file is by its contents, in words for an error: "a web page (HTML)", "a Keras model (HDF5)"."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

from napari_virtual_paint.runtime.safe_zip import UnsafeZipError, entries

HEAD = 1 << 16  # bytes from the start that are looked at
ZARR_FILES = ("zarr.json", ".zgroup", ".zattrs", ".zarray")  # a folder with one of these files is a Zarr store: one image or plate


@dataclass(frozen=True)
class FileKind:
    """What a file is."""

    key: str  # a short name for programs, such as ``html``
    words: str  # a noun phrase for a sentence, such as "a web page (HTML)"
    remedy: str = ""  # what to do about it, where that follows from the kind alone


Magic = tuple[int, bytes, str, str]
MAGICS: tuple[Magic, ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "png", "a PNG picture"),
    (0, b"\xff\xd8\xff", "jpeg", "a JPEG picture"),
    (0, b"GIF8", "gif", "a GIF picture"),
    (0, b"BM", "bmp", "a BMP picture"),
    (0, b"II*\0", "tiff", "a TIFF image"),
    (0, b"MM\0*", "tiff", "a TIFF image"),
    (0, b"II+\0", "tiff", "a BigTIFF image"),
    (0, b"MM\0+", "tiff", "a BigTIFF image"),
    (0, b"\0\0\0\x0cjP  ", "jpeg2000", "a JPEG 2000 picture"),
    (8, b"WEBP", "webp", "a WebP picture"),
    (8, b"AVI ", "avi", "an AVI film"),
    (4, b"ftyp", "mp4", "a film or picture (MP4, MOV, HEIF)"),
    (0, b"\x1aE\xdf\xa3", "matroska", "a film (MKV, WebM)"),
    (128, b"DICM", "dicom", "a DICOM image"),
    (344, b"n+1\0", "nifti", "a NIfTI image"),
    (208, b"MAP ", "mrc", "an MRC image"),
    (0, b"NRRD000", "nrrd", "an NRRD image"),
    (0, b"ics_version", "ics", "an ICS image"),
    (0, b"SIMPLE  =", "fits", "a FITS image"),
    (0, b"ZISRAWFILE", "czi", "a CZI image"),
    (0, b"\xda\xce\xbe\x0a", "nd2", "an ND2 image"),
    (0, b"p\0\0\0", "lif", "a LIF image"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ole", "a compound file of Windows (OIB, ZVI, or an old Office document)"),
    (0, b"\x93NUMPY", "npy", "a NumPy array (.npy)"),
    (0, b"PAR1", "parquet", "a Parquet table"),
    (0, b"ARROW1", "arrow", "an Arrow table"),
    (0, b"FEA1", "feather", "a Feather table"),
    (0, b"SQLite format 3\0", "sqlite", "an SQLite database"),
    (0, b"MATLAB 5.0 MAT-file", "mat", "a MATLAB file (.mat)"),
    (0, b"RDX", "rdata", "a file of R"),
    (4, b"TFL3", "tflite", "a TensorFlow Lite model"),
    (4, b"ET12", "executorch", "an ExecuTorch program (.pte)"),
    (0, b"GGUF", "gguf", "a GGUF file (weights of a language model)"),
    (0, b"\x1f\x8b", "gzip", "a gzip archive"),
    (0, b"BZh", "bzip2", "a bzip2 archive"),
    (0, b"\xfd7zXZ\0", "xz", "an xz archive"),
    (0, b"\x28\xb5\x2f\xfd", "zstd", "a Zstandard archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z", "a 7-Zip archive"),
    (0, b"Rar!\x1a\x07", "rar", "a RAR archive"),
    (257, b"ustar", "tar", "a tar archive"),
    (0, b"%PDF", "pdf", "a PDF document"),
    (0, b"{\\rtf", "rtf", "an RTF document"),
    (0, b"\0\x05\x16\x07", "appledouble", "the notes that macOS keeps beside a file (its name begins with ._)"),
    (0, b"\x7fELF", "program", "a program (ELF)"),
    (0, b"MZ", "program", "a program of Windows"),
    (0, b"\xcf\xfa\xed\xfe", "program", "a program of macOS"),
)
"""Offset, bytes that stand there, key and words. An offset above 0 is trusted as much as one at the start."""
PACKED = ("gzip", "bzip2", "xz", "zstd", "7z", "rar", "tar")
"""Archives in which the file that is wanted may lie."""
OFFICE = {"word/": "a Word document", "xl/": "an Excel workbook", "ppt/": "a PowerPoint presentation"}
AS_TEXT = ("bmp", "lif", "gif", "bzip2", "rdata", "program")
"""Kinds whose few first bytes a text may begin with, too."""
UNPACK = "unpack it and give what is inside"
LFS = FileKind("lfs", "a pointer of Git LFS, not the file itself", "fetch the file (git lfs pull) or download it by its own address")
ANNEX = FileKind("annex", "a pointer of git-annex, not the file itself", "fetch the file (git annex get)")
PAGE = FileKind("html", "a web page (HTML), not the file itself", "download the file by its own address")


def file_kind(path: Path) -> FileKind | None:
    """Return what a file is; None where it is of no kind known here, or can't be read.

    At most 64 kB are read, and of a .zip the names of its entries.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return None
    if head.startswith(b"PK") and (packed := _zip_kind(path)) is not None:
        return packed
    return kind_of_bytes(head, size)


def kind_of_bytes(head: bytes, size: int | None = None) -> FileKind | None:
    """Return what a file is from its first bytes; None where it is of no kind known here.

    Parameters
    ----------
    head
        The first bytes, 64 kB or the whole file.
    size
        Size of the whole file; None where `head` is the whole.
    """
    size = len(head) if size is None else size
    if not head:
        return FileKind("empty", "empty", "download or copy it again")
    for tell in (_hdf5, _safetensors, _model_graph):
        if (found := tell(head, size)) is not None:
            return found
    for offset, magic, key, words in MAGICS:
        if head[offset : offset + len(magic)] == magic and (key not in AS_TEXT or _has_zeros(head)):
            return FileKind(key, words, UNPACK if key in PACKED else "")
    if head[0] == 0x80 and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return FileKind("pickle", "a pickle of Python")
    if not any(head):
        return FileKind("zeros", "nothing but zeros, as a copy leaves that was cut off", "download or copy it again")
    return _text(head)


def _hdf5(head: bytes, size: int) -> FileKind | None:
    """Tell HDF5, and Keras models in it."""
    if not any(head[at : at + 8] == b"\x89HDF\r\n\x1a\n" for at in (0, 512, 1024, 2048)):
        return None
    if b"keras_version" in head or b"model_weights" in head or b"layer_names" in head:
        return FileKind("keras", "a Keras model (HDF5)")
    return FileKind("hdf5", "an HDF5 file (.h5)")


def _safetensors(head: bytes, size: int) -> FileKind | None:
    """Tell safetensors: the length of a JSON header, then the header."""
    length = int.from_bytes(head[:8], "little")
    if 2 <= length <= size - 8 and head[8:9] == b"{" and head[9:10] in (b'"', b"}", b" ", b"\n"):
        return FileKind("safetensors", "a safetensors file")
    return None


def _model_graph(head: bytes, size: int) -> FileKind | None:
    """Tell the graphs that are protocol buffers: ONNX, TensorFlow's SavedModel and its frozen graphs."""
    if len(head) > 4 and head[0] == 0x08 and head[1] < 0x20:
        # Field 2 of an ONNX file is the name of the program that wrote it, of a SavedModel the graph.
        text = head[4 : 4 + head[3]] if head[2] == 0x12 and head[3] < 0x80 else b""
        if head[2] in (0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42) or (text.isascii() and text.decode("ascii", "replace").isprintable() and text):
            return FileKind("onnx", "an ONNX model")
        if head[1] == 1 and head[2] == 0x12:
            return FileKind("saved_model", "a TensorFlow SavedModel (.pb)")
    if head[0] == 0x0A and any(word in head[:4096] for word in (b"\x12\x0bPlaceholder", b"\x12\x05Const", b"\x12\x04NoOp")):
        return FileKind("graph_def", "a graph of TensorFlow (.pb)")
    return None


def _has_zeros(head: bytes) -> bool:
    """Return whether there is a zero byte among the first ones, which text never has."""
    return b"\0" in head[:512]


def _text(head: bytes) -> FileKind | None:
    """Tell pages, pointers, documents and other text; None for other bytes."""
    try:
        # The last character may be cut in two.
        text = head.decode("utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", "strict" if len(head) < HEAD else "ignore")
    except UnicodeDecodeError:
        return None
    if any(ord(letter) < 32 and letter not in "\t\r\n\f" for letter in text[:4096]):
        return None
    start = text[:2048].lstrip().casefold()
    if start.startswith("version https://git-lfs"):
        return LFS
    if start.startswith(("/annex/objects/", "../.git/annex/", ".git/annex/")):
        return ANNEX
    if start.startswith(("<!doctype html", "<html", "<head", "<body")) or ("<html" in start and start.startswith(("<!--", "<?xml"))):
        return PAGE
    if start.startswith(("<svg", "<?xml")) and "<svg" in start:
        return FileKind("svg", "an SVG drawing")
    if start.startswith(("<?xml", "<ome")):
        return FileKind("xml", "OME-XML" if "<ome" in start else "an XML file")
    if start.startswith(("{", "[")):
        return FileKind("json", "a JSON file")
    if start.startswith("#!"):
        return FileKind("script", "a script")
    return FileKind("text", "a text file")


def _zip_kind(path: Path) -> FileKind | None:
    """Name what a .zip holds by the names of its entries; None if it is none that can be read."""
    try:
        names = [entry.filename for entry in entries(path) if not entry.is_dir()]
    except UnsafeZipError:
        return FileKind("zip", "a ZIP archive that is not safe to unpack")
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return None
    return kind_of_names(names)


def kind_of_names(names: list[str]) -> FileKind:
    """Return what a .zip is by the names in it."""
    ends = {name.rsplit("/", 1)[-1] for name in names}
    if "data.pkl" in ends and "constants.pkl" in ends and any("/code/" in name for name in names):
        return FileKind("torchscript", "a TorchScript program")
    if "data.pkl" in ends:
        return FileKind("checkpoint", "a PyTorch checkpoint")
    if any(end in ends or any(name.endswith("." + end) for name in ends) for end in ("rdf.yaml", "bioimageio.yaml")):
        return FileKind("package", "a bioimage.io package")
    if "archive_format" in ends:
        return FileKind("exported", "a program of torch.export (.pt2)")
    if "model.weights.h5" in ends:
        return FileKind("keras", "a Keras model (.keras)")
    if "saved_model.pb" in ends:
        return FileKind("saved_model", "a zipped TensorFlow SavedModel")
    if ends.intersection(ZARR_FILES):
        return FileKind("zarr", "a zipped Zarr")
    if "[Content_Types].xml" in ends:
        words = next((words for part, words in OFFICE.items() if any(name.startswith(part) for name in names)), "an Office document")
        return FileKind("office", words)
    if "MANIFEST.MF" in ends:
        return FileKind("jar", "a Java archive")
    if names and all(name.endswith(".npy") for name in names):
        return FileKind("npz", "a NumPy archive (.npz)")
    if not names:
        return FileKind("zip", "a ZIP archive without a file in it")
    shown = ", ".join(sorted(names)[:2]) + (", ..." if len(names) > 2 else "")
    return FileKind("zip", f"a ZIP archive of {len(names)} file{'s' * (len(names) > 1)} ({shown[:120]})", UNPACK)
