"""Read the files of a package, in a folder or a .zip, without trusting it: no path leads outside, sizes are limited, nothing unpacked."""

from __future__ import annotations

import hashlib
import io
import stat
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from napari_virtual_paint.errors import ModelError
from napari_virtual_paint.runtime.file_kind import file_kind
from napari_virtual_paint.runtime.safe_zip import UnsafeZipError, entries
from napari_virtual_paint.runtime.text import one_line

DESCRIPTION_NAMES = ("rdf.yaml", "bioimageio.yaml", "model.yaml")
IMPORTABLE = ("checkpoint", "torchscript", "safetensors", "onnx")
"""Kinds of files (see `file_kind`) that hold a model and are no package."""
MAX_FILES = 10_000
MAX_DESCRIPTION = 1_000_000
MAX_TENSOR = 512 * 2**20
MAX_WEIGHTS = 8 * 2**30
MAX_GROWTH = 20  # times its own size that a .zip may unpack to: numbers of networks and images hardly shrink
FREE_GROWTH = 64 * 2**20  # bytes that a package may unpack to in any case: test images of one value shrink a thousand times


class PackageFiles(ABC):
    """The files of one package, named relative to its description.

    Parameters
    ----------
    path
        The folder or the .zip.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.description = ""

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Return whether the package has this file."""

    @abstractmethod
    def size(self, name: str) -> int:
        """Return the size of a file in bytes, unpacked."""

    @abstractmethod
    def _read(self, name: str, limit: int) -> bytes:
        """Return at most limit + 1 bytes of a file that is there."""

    def fail(self, reason: str) -> ModelError:
        """Return an error about this package."""
        return ModelError(f"{self.path}: {reason.rstrip('.')}.")

    def read(self, source: object, limit: int) -> bytes:
        """Return a file's bytes.

        Raises `ModelError` if the source is an address or leads out of the package, or if the file is missing, unreadable or larger than
        the limit.
        """
        name = self.local(source)
        if not self.exists(name):
            raise self.fail(f"the file {name} that its description names is missing; download the package again")
        if self.size(name) > limit:
            raise self.fail(f"{name} is larger than the {limit // 2**20 or 1} MB that such a file may have")
        try:
            data = self._read(name, limit)
        except (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, MemoryError) as error:
            raise self.fail(f"{name} can't be read ({one_line(error)}); download the package again") from error
        if len(data) > limit:
            raise self.fail(f"{name} unpacks to more than the {limit // 2**20 or 1} MB that such a file may have")
        return data

    def local(self, source: object) -> str:
        """Return the plain relative name of a file that a description points to.

        Raises `ModelError` if it is an address on the network (never fetched), an absolute path or a path out of the package.
        """
        if isinstance(source, dict):
            source = source.get("source")
        if not isinstance(source, str) or not source.strip():
            raise self.fail("its description lacks the name of a file")
        if "://" in source or urlsplit(source).scheme in ("http", "https", "file", "ftp", "doi"):
            raise self.fail(f"it points to {source} on the network, which is never fetched; put that file into the package")
        if not is_local(source):
            raise self.fail(f"it points to {source}, outside of the package; a package must hold its own files")
        return str(PurePosixPath(source))


class PackageFolder(PackageFiles):
    """A package unpacked in a folder."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.description = find_description(self, [item.name for item in path.iterdir() if item.is_file()])

    def exists(self, name: str) -> bool:
        """Return whether the package has this file; a link that leads out of the folder doesn't count."""
        at = self.path / name
        return at.is_file() and at.resolve().is_relative_to(self.path.resolve())

    def size(self, name: str) -> int:
        """Return the size of a file in bytes."""
        return (self.path / name).stat().st_size

    def _read(self, name: str, limit: int) -> bytes:
        with (self.path / name).open("rb") as file:
            return file.read(limit + 1)


class Archive(PackageFiles):
    """A package in a .zip, read in place."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._stamp = self._state()
        try:
            found = entries(path, most=MAX_FILES, growth=MAX_GROWTH, free=FREE_GROWTH)
        except UnsafeZipError as error:
            raise self.fail(f"it {error}; this .zip may be an attack") from error
        except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            kind = file_kind(path)
            what = one_line(error) if kind is None else f"it is {kind.words}"
            raise self.fail(f"this is no model package, which is a folder or a .zip ({what})") from error
        for entry in found:
            self._check(entry)
        self._entries = {str(PurePosixPath(entry.filename)): entry for entry in found if not entry.is_dir()}
        self._prefix = ""
        tops = {name.split("/")[0] for name in self._entries}
        if len(tops) == 1 and not any(name in tops for name in self._entries):
            self._prefix = tops.pop() + "/"
        skip = len(self._prefix)
        self.description = find_description(self, [name[skip:] for name in self._entries if "/" not in name[skip:]])

    def _check(self, entry: zipfile.ZipInfo) -> None:
        """Refuse an entry that leads out of the archive, or is a link."""
        if not is_local(entry.filename):
            raise self.fail(f"its entry {entry.filename!r} leads out of the archive; this .zip may be an attack")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise self.fail(f"its entry {entry.filename!r} is a link; a package must hold its own files")

    def exists(self, name: str) -> bool:
        """Return whether the package has this file."""
        return self._prefix + name in self._entries

    def size(self, name: str) -> int:
        """Return the size of a file in bytes, unpacked, as the archive claims."""
        return self._entries[self._prefix + name].file_size

    def _state(self) -> tuple[int, int, int]:
        """Return what changes when the file is replaced."""
        found = self.path.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns

    def _read(self, name: str, limit: int) -> bytes:
        if self._state() != self._stamp:
            raise self.fail("it was replaced since it was opened; open it again")
        with zipfile.ZipFile(self.path) as archive, archive.open(self._entries[self._prefix + name]) as file:
            return file.read(limit + 1)


def open_files(path: Path | str) -> PackageFiles:
    """Open the files of a package: its folder, its .zip, or the description in its folder.

    Raises `ModelError` if there is no such package.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return PackageFolder(path)
        if path.is_file() and path.suffix.casefold() in (".yaml", ".yml"):
            return PackageFolder(path.parent)
        if path.is_file():
            _refuse_importable(path)
            return Archive(path)
    except OSError as error:
        raise ModelError(f"{path}: it can't be read ({one_line(error)}).") from error
    raise ModelError(f"{path}: there is no such file or folder.")


def _refuse_importable(path: Path) -> None:
    """Refuse a model that is no package yet, and say what to do with it."""
    kind = file_kind(path)
    if kind is not None and kind.key in IMPORTABLE:
        advice = f"import it first: virtual-paint models import {path.name} --name NAME"
        raise ModelError(f"{path}: it is {kind.words}, and no model package; {advice}.")


def find_description(files: PackageFiles, names: list[str]) -> str:
    """Return the name of the description among the files at the top of a package."""
    for wanted in DESCRIPTION_NAMES:
        found = [name for name in names if name == wanted or name.endswith("." + wanted)]
        if found:
            return sorted(found, key=len)[0]
    raise files.fail("this is no model package: it has no rdf.yaml or bioimageio.yaml at its top")


def is_local(name: str) -> bool:
    """Return whether a name stays inside the package it is relative to, on every system."""
    if "\\" in name or "\0" in name or name.startswith("/") or (len(name) > 1 and name[1] == ":"):
        return False
    return ".." not in PurePosixPath(name).parts


def sha256(data: bytes) -> str:
    """Return the SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def as_file(data: bytes) -> io.BytesIO:
    """Return bytes as a file opened for reading."""
    return io.BytesIO(data)


class InMemory(PackageFiles):
    """A package that is not written yet.

    Parameters
    ----------
    description
        Name of its description.
    """

    def __init__(self, path: Path, description: str, contents: Mapping[str, bytes]) -> None:
        super().__init__(path)
        self.description, self.contents = description, contents

    def exists(self, name: str) -> bool:
        """Return whether the package has this file."""
        return name in self.contents

    def size(self, name: str) -> int:
        """Return the size of a file in bytes."""
        return len(self.contents[name])

    def _read(self, name: str, limit: int) -> bytes:
        return self.contents[name][: limit + 1]
