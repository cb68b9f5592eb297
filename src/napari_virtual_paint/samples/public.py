"""Real fields that anyone may download: fetched from their own homes, checked by SHA-256 and kept in the user's cache."""

from __future__ import annotations

import csv
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.downloads.transfer import cache_folder
from napari_virtual_paint.downloads.verified import fetch
from napari_virtual_paint.errors import InputError, ReadError
from napari_virtual_paint.runtime.generators import relay
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.stack import Stack

DEPTHS = 13  # focal planes of the neurons' phase contrast


@dataclass(frozen=True)
class SampleFile:
    """One file of a sample and where its public home is."""

    sample: str
    member: str  # `sample` and `member`: the sample it belongs to and what it shows (``neurons``, ``DAPI``)
    url: str  # its home
    sha256: str  # of the file, in hexadecimal
    size: int  # bytes

    @property
    def filename(self) -> str:
        """Name in the cache."""
        return self.member.replace(" ", "_") + Path(urlsplit(self.url).path).suffix


@dataclass(frozen=True)
class PublicSample:
    """A public field: its layers, each a name, its channels and the files they come from."""

    title: str  # what it shows
    licence: str  # under which its authors give it away
    layers: tuple[tuple[str, tuple[tuple[str, tuple[str, ...]], ...]], ...]
    """A name for each layer, with its channels: a name and the members that are its z-planes."""


def _one_plane(*names: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((name, (name,)) for name in names)


SAMPLES = MappingProxyType(
    {
        "neurons": PublicSample(
            "iPSC neurons: 13 planes of phase contrast with DAPI, MAP2 and NFH (Christiansen et al. 2018, in-silico-labeling)",
            "Apache-2.0",
            (
                ("neurons phase", (("Phase", tuple(f"phase z{z:02d}" for z in range(DEPTHS))),)),
                ("neurons stains", _one_plane("DAPI", "MAP2", "NFH")),
            ),
        ),
        "cell_painting": PublicSample(
            "A Cell Painting field: brightfield with DNA, ER, RNA, AGP and Mito (pediatric cancer atlas, CytoDataFrame)",
            "BSD-3-Clause",
            (
                ("cell painting brightfield", _one_plane("Brightfield")),
                ("cell painting stains", _one_plane("DNA", "ER", "RNA", "AGP", "Mito")),
            ),
        ),
    }
)
"""The public fields by name."""


def sources() -> tuple[SampleFile, ...]:
    """Return the files of all public samples, as the package's table lists them."""
    text = resources.files(__package__).joinpath("sources.tsv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines(), delimiter="\t")
    names = ((row, row["what"].partition("/")) for row in rows)
    return tuple(SampleFile(sample, member, row["url"], row["sha256"], int(row["bytes"])) for row, (sample, _, member) in names)


def load_public(
    name: str, *, files: Sequence[SampleFile] | None = None, cache: Path | None = None
) -> Generator[Progress, None, tuple[Stack, ...]]:
    """Download a public field where it is not in the cache yet, and return its images.

    Each `yield` is a place to cancel: closing the generator stops the download, which the next call resumes.

    Parameters
    ----------
    name
        One of `SAMPLES`.
    files
        Where the files are; by default their public homes.
    cache
        Folder to keep them in; by default `downloads.transfer.cache_folder`.

    Yields
    ------
    Progress
        Bytes done and in all.

    Returns
    -------
    tuple of Stack
        The unstained image first, then its stains; pixel sizes are None, since the files name none.

    Raises
    ------
    InputError
        If there is no such sample.
    DownloadError
        If a file can't be had or is not the published one.
    ReadError
        If a downloaded file can't be decoded.
    """
    if name not in SAMPLES:
        raise InputError(f"There is no public sample {name!r}; choose one of {', '.join(SAMPLES)}.")
    wanted = [source for source in (sources() if files is None else files) if source.sample == name]
    folder = (cache or cache_folder()) / "samples" / name
    total, done = sum(source.size for source in wanted), 0
    for source in wanted:
        steps = fetch(source.url, source.sha256, folder / source.filename, name=f"{name}/{source.member}", size=source.size)
        yield from relay(steps, partial(_of_all, done, total, source.member))
        done += source.size
        yield Progress(done, total, source.member)
    by_member = {source.member: folder / source.filename for source in wanted}
    return tuple(_stack(channels, by_member) for _, channels in SAMPLES[name].layers)


def _of_all(before: int, total: int, member: str, step: Progress) -> Progress:
    """Return the progress of one file as that of all."""
    return Progress(min(before + step.done, total), total, step.message or member)


def layer_names(name: str) -> tuple[str, ...]:
    """Return a name for each image that `load_public` returns, in its order."""
    return tuple(title for title, _ in SAMPLES[name].layers)


def _stack(channels: Sequence[tuple[str, tuple[str, ...]]], files: dict[str, Path]) -> Stack:
    """Return the image of some channels, each of the files that are its z-planes."""
    planes = [[_pixels(files[member]) for member in members] for _, members in channels]
    shapes = {plane.shape for channel in planes for plane in channel}
    if len(shapes) > 1:
        raise ReadError(files[channels[0][1][0]].parent, "its planes differ in size; remove this folder and download it again")
    return Stack(np.stack([np.stack(channel) for channel in planes])[None], tuple(title for title, _ in channels))


def _pixels(path: Path) -> npt.NDArray[Any]:
    """Return one grey plane of a PNG or TIFF, with Pillow, which decodes both without a plugin."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            pixels = np.asarray(image)
    except (OSError, ValueError, SyntaxError) as error:
        raise ReadError(path, f"this file can't be decoded ({error}); remove it and download the sample again") from None
    if pixels.ndim != 2:
        raise ReadError(path, f"a gray image is expected, not one of shape {pixels.shape}; remove it and download the sample again")
    # Older versions of Pillow give 16-bit PNGs as 32-bit integers.
    return pixels.astype(np.uint16) if pixels.dtype == np.int32 and pixels.min() >= 0 and pixels.max() < 2**16 else pixels
