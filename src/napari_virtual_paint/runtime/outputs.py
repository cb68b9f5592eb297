"""Keep outputs apart from inputs: an output never replaces what a command reads, however either path is written."""

from __future__ import annotations

import contextlib
import fnmatch
import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from napari_virtual_paint.errors import InputError, WriteError
from napari_virtual_paint.runtime.file_kind import ZARR_FILES

LONGEST_SHOWN = 200  # characters of a path that a sentence shows

Input: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None


def output_path(path: str | os.PathLike[str]) -> Path:
    """Return the path of an output: ``~`` stands for the home, and ``nox/..`` for nothing where there is no folder ``nox``.

    Raises `InputError` if no file can have this name.
    """
    text = os.fspath(path)
    if not text or "\0" in text:
        raise InputError(f"{text!r} is no path of an output; give the name of a file or folder.")
    found = Path(_at_home(text))
    if found.name in ("", ".."):
        return Path(os.path.realpath(found))
    return Path(os.path.realpath(found.parent), found.name) if ".." in found.parts else found


def check_outputs(outputs: Iterable[str | os.PathLike[str] | None], inputs: Iterable[Input]) -> None:
    """Check that no output would replace an input, a part of it or a folder that holds it.

    Symbolic and hard links, the case of letters where the disk ignores it, and folders that are the same by another name are seen through.
    An image within a Zarr store stands for the whole store, since its other images may be read as well, and a folder or pattern of files
    for all that lies in it, since the next run would read the output.

    Parameters
    ----------
    outputs
        Files and folders that will be written, whether they exist or not; None is left out.
    inputs
        Files, folders, patterns and sequences of these that are read; None is left out.

    Raises
    ------
    InputError
        If an output would replace an input.
    """
    sources = [source for given in inputs for source in _each(given)]
    for output in outputs:
        if output is None:
            continue
        place = _place(output)
        for source in sources:
            if clash := _clash(place, source):
                raise InputError(
                    f"{shown_path(output)}: the output would replace the input or a part of it ({clash}); choose another name or folder."
                )


def check_own_folder(folder: Path, is_own: Callable[[Path], bool], *, overwrite: bool | None = None, what: str = "this command") -> None:
    """Check that a folder of outputs is new, empty, or was made by the same command.

    Parameters
    ----------
    folder
        The folder to write into.
    is_own
        Whether the command made a folder that holds something, judged by a file that it always writes.
    overwrite
        Whether any folder may be written into; None if the command has no such option.
    what
        The command, for the sentence.

    Raises
    ------
    InputError
        If it is a file, or a folder that something else made.
    """
    try:
        if not folder.exists():
            return
        if not folder.is_dir():
            raise InputError(f"{shown_path(folder)}: a file of this name is there; choose another output.")
        if overwrite or not any(folder.iterdir()) or is_own(folder):
            return
    except OSError as error:
        raise WriteError(shown_path(folder), f"this folder can't be looked into ({error.strerror or error})") from error
    remedy = "choose another folder or an empty one" + ("" if overwrite is None else ", or allow writing into it with --overwrite")
    raise InputError(f"{shown_path(folder)}: it holds files that {what} did not write; {remedy}.")


def shown_path(path: object) -> str:
    """Return a path as a sentence shows it: one of many hundred letters is shortened in its middle."""
    text = str(path)
    half = LONGEST_SHOWN // 2
    return text if len(text) <= LONGEST_SHOWN else f"{text[:half]}…{text[-half:]}"


def _each(given: Input) -> Iterator[str]:
    """Yield the paths of an input."""
    if given is None:
        return
    if isinstance(given, str | os.PathLike):
        text = os.fspath(given)
        if text and "\0" not in text and "://" not in text:
            yield text
        return
    for one in given:
        yield from _each(one)


def _at_home(text: str) -> str:
    with contextlib.suppress(RuntimeError):
        return str(Path(text).expanduser())
    return text


def _place(path: str | os.PathLike[str]) -> Path:
    """Return where a path leads, as far as it exists.

    Raises `InputError` if no file can have this name.
    """
    try:
        place = Path(os.path.realpath(_at_home(os.fspath(path))))
        place.exists()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{shown_path(path)}: it can't be the name of a file ({reason}); choose another.") from None
    return place


def _clash(output: Path, source: str) -> str:
    """Return what of an input an output would replace; empty if nothing."""
    try:
        place = _place(source)
    except InputError:
        return ""  # nothing can be read from there
    if not place.exists():
        return _clash_with_pattern(output, source)
    store = _store_of(place)
    if _same(output, place):
        return shown_path(source)
    if any(_same(output, parent) for parent in place.parents):
        return f"{shown_path(source)} lies in it"
    if store.is_dir() and any(_same(parent, store) for parent in output.parents):
        return f"it lies in {shown_path(source if store == place else store)}"
    return ""


def _clash_with_pattern(output: Path, source: str) -> str:
    """Return which file of a pattern an output would replace, or that the pattern would match it."""
    if not any(letter in source for letter in "*?["):
        return ""
    pattern = _at_home(source)
    with contextlib.suppress(OSError, ValueError):
        for found in glob.iglob(_literal(pattern), recursive=True):  # noqa: PTH207 - the folder may be a pattern too
            place = Path(os.path.realpath(found))
            if _same(output, place) or (place.is_dir() and any(_same(parent, place) for parent in output.parents)):
                return shown_path(found)
            if any(_same(output, parent) for parent in place.parents):
                return f"{shown_path(found)} lies in it"
            if _same(output.parent, place.parent) and fnmatch.fnmatch(output.name, Path(pattern).name):
                return f"{shown_path(source)} matches it"
    return ""


def _literal(pattern: str) -> str:
    """Return a pattern in which the folders that are there stand for themselves, whatever their names."""
    folder, *rest = Path(pattern).parts
    if not Path(folder).exists():
        folder, rest = "", [folder, *rest]
    while rest and (Path(folder) / rest[0]).exists():
        folder = str(Path(folder) / rest.pop(0))
    return str(Path(glob.escape(folder), *rest))


def _store_of(place: Path) -> Path:
    """Return the outermost Zarr store that a path lies in, or the path itself."""
    found = place
    for parent in place.parents:
        if any((parent / name).is_file() for name in ZARR_FILES):
            found = parent
    return found


def _same(one: Path, other: Path) -> bool:
    """Return whether two paths are one file or folder; one that does not exist is compared by its name alone."""
    if os.path.normcase(one) == os.path.normcase(other):
        return True
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        return False
