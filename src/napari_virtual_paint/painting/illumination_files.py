"""Read illumination functions from files: CellProfiler's ``.npy`` and TIFF, and the profiles in Harmony's index."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.errors import InputError, ReadError
from napari_virtual_paint.models.channel_names import find_names
from napari_virtual_paint.preprocessing.illumination import Floats, HarmonyProfile, checked_function, parse_harmony_profile
from napari_virtual_paint.reading import read

SUFFIXES = (".npy", ".tif", ".tiff")
_ILLUM = re.compile(r"(?:^|.*[\W_])?illum(?:ination)?(?:function)?[\W_]*(?P<channel>.*)$", re.IGNORECASE)
_PROFILE = re.compile(rb"<FlatfieldProfile>(.*?)</FlatfieldProfile>", re.DOTALL)
_CHUNK = 1 << 22  # bytes of an index that are read at once
_LONGEST = 1 << 16  # bytes of a profile
_SHOWN = 8  # names in an error


def functions_in(
    path: Path, channels: Sequence[str], shape: tuple[int, int], needed: Sequence[str], named: Mapping[str, str] | None = None
) -> dict[str, Floats]:
    """Return name of a channel -> its illumination function (Y, X) with the mean 1.

    Parameters
    ----------
    path
        A folder of functions, one a channel, whose names end with ``Illum`` and the channel or are the channel's; one such file; or
        Harmony's index, or a folder with it.
    channels
        Names of the images' channels.
    shape
        Pixels (Y, X) of the images.
    needed
        Those of the channels that must have one.
    named
        Name of a channel -> name of its file in the folder, where a table says so.

    Raises
    ------
    InputError
        If there is none for a channel that needs one, or one can't be used.
    """
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder of illumination functions.")
    index = path if path.suffix.casefold() == ".xml" else _index_in(path)
    if index is not None:
        return _of_profiles(index, channels, shape, needed)
    files = sorted(each for each in path.iterdir() if _is_function(each)) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path}: it holds no illumination function (.npy or TIFF, one a channel).")
    by_name = {file.name: file for file in files}
    chosen = {label: by_name[name] for label, name in (named or {}).items() if label in channels and name in by_name}
    rest = [label for label in channels if label not in chosen]
    places = find_names(rest, [channel_of(file) for file in files])
    chosen |= {label: files[place] for label, place in zip(rest, places, strict=True) if place is not None}
    if not chosen and len(files) == 1 and len(needed) == 1:
        chosen = {needed[0]: files[0]}
    missing = [label for label in needed if label not in chosen]
    if missing:
        listed = ", ".join(file.name for file in files[:_SHOWN])
        raise InputError(
            f"{path}: no illumination function is named for the channel {missing[0]} (as Illum{missing[0]}.npy); there are {listed}."
        )
    return {label: read_function(file, shape) for label, file in chosen.items()}


def read_function(file: Path, shape: tuple[int, int]) -> Floats:
    """Read the function of one channel. Raises `InputError` or `ReadError` if it can't be used."""
    if file.suffix.casefold() == ".npy":
        return checked_function(_read_npy(file), shape, str(file))
    stack = read(file)
    return checked_function(np.asarray(stack.data), shape, str(file))


def channel_of(file: Path) -> str:
    """Return the channel that a file's name is for: ``Plate1_IllumDNA.npy`` -> ``DNA``."""
    found = _ILLUM.fullmatch(file.stem)
    return found["channel"] if found is not None and found["channel"] else file.stem


def profiles_in(index: Path) -> dict[str, HarmonyProfile]:
    """Return name of a channel -> its flat-field profile in Harmony's index; flat ones have no coefficients.

    Raises `ReadError` if it can't be read.
    """
    try:
        texts = list(_profile_texts(index))
    except OSError as error:
        raise ReadError(index, f"it can't be read ({error.strerror or error})") from error
    profiles = [profile for text in texts if (profile := parse_harmony_profile(text)) is not None]
    return {profile.channel: profile for profile in reversed(profiles)}


def _profile_texts(index: Path) -> Iterator[str]:
    """Yield the texts of the profiles of an index, read part by part."""
    rest = b""
    with index.open("rb") as file:
        while chunk := file.read(_CHUNK):
            text = rest + chunk
            end = 0
            for match in _PROFILE.finditer(text):
                yield match[1][:_LONGEST].decode("utf-8", "replace")
                end = match.end()
            rest = text[max(end, len(text) - _LONGEST) :]


def _of_profiles(index: Path, channels: Sequence[str], shape: tuple[int, int], needed: Sequence[str]) -> dict[str, Floats]:
    """Return the functions of an index. A channel with a flat profile needs no correction, and has a function of ones."""
    profiles = profiles_in(index)
    names = list(profiles)
    places = find_names(list(channels), names)
    found = {label: profiles[names[place]] for label, place in zip(channels, places, strict=True) if place is not None}
    missing = [label for label in needed if label not in found]
    if missing:
        listed = ", ".join(names[:_SHOWN]) or "none"
        raise InputError(f"{index}: it has no flat-field profile of the channel {missing[0]}; those it has: {listed}.")
    return {label: profile.function(shape) if profile.coefficients else np.ones(shape, np.float32) for label, profile in found.items()}


def _index_in(folder: Path) -> Path | None:
    """Return Harmony's index in a folder or in ``Images`` below it."""
    if not folder.is_dir():
        return None
    for place in (folder, folder / "Images", folder / "images"):
        for name in ("Index.idx.xml", "Index.xml"):
            if (place / name).is_file():
                return place / name
    return None


def _is_function(file: Path) -> bool:
    return file.is_file() and file.suffix.casefold() in SUFFIXES and not file.name.startswith(".")


def _read_npy(file: Path) -> npt.NDArray[Any]:
    """Read an array. Raises `ReadError` if it is damaged or holds objects."""
    try:
        values = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ReadError(file, "it is no array of numbers that NumPy wrote, or it is damaged") from error
    if not isinstance(values, np.ndarray):
        raise ReadError(file, "it holds several arrays; give one array a file")
    return values
