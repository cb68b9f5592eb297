"""Real fields that anyone may download: fetched from their own homes, checked by SHA-256 and kept in the user's cache."""

from __future__ import annotations

import csv
import os
import queue
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import platformdirs
import pooch

from napari_virtual_paint.errors import InputError, ReadError, VirtualPaintError
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.stack import Stack

CACHE_VARIABLE = "VIRTUAL_PAINT_CACHE"
"""Environment variable that names another cache folder than the user's own."""

TIMEOUT = 30.0
"""Seconds without a byte after which a server counts as gone."""

DEPTHS = 13
"""Focal planes of the neurons' phase contrast."""


class DownloadError(VirtualPaintError):
    """A sample could not be downloaded; nothing half-loaded was kept."""


@dataclass(frozen=True)
class SampleFile:
    """One file of a sample and where its public home is.

    Parameters
    ----------
    sample, member
        The sample it belongs to and what it shows (``neurons``, ``DAPI``).
    url
        Its home.
    sha256
        Of the file, in hexadecimal.
    size
        Bytes.
    """

    sample: str
    member: str
    url: str
    sha256: str
    size: int

    @property
    def filename(self) -> str:
        """Name in the cache."""
        return self.member.replace(" ", "_") + Path(urlsplit(self.url).path).suffix

    @property
    def host(self) -> str:
        """The server's name, for messages."""
        return urlsplit(self.url).netloc


@dataclass(frozen=True)
class PublicSample:
    """A public field: its layers, each a name, its channels and the files they come from.

    Parameters
    ----------
    title
        What it shows.
    licence
        Under which its authors give it away.
    layers
        A name for each layer, with its channels: a name and the members that are its z-planes.
    """

    title: str
    licence: str
    layers: tuple[tuple[str, tuple[tuple[str, tuple[str, ...]], ...]], ...]


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


def cache_folder() -> Path:
    """Return the folder that downloads are kept in: the variable `CACHE_VARIABLE`, else the user's cache."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named).expanduser() if named else platformdirs.user_cache_path("napari-virtual-paint", appauthor=False)


def load_public(
    name: str, *, files: Sequence[SampleFile] | None = None, cache: Path | None = None
) -> Generator[Progress, None, tuple[Stack, ...]]:
    """Download a public field where it is not in the cache yet, and return its images.

    Each `yield` is a place to cancel: closing the generator stops the download and leaves no partial file.

    Parameters
    ----------
    name
        One of `SAMPLES`.
    files
        Where the files are; by default their public homes.
    cache
        Folder to keep them in; by default `cache_folder`.

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
        yield from _fetch(source, folder, done, total)
        done += source.size
        yield Progress(done, total, source.member)
    by_member = {source.member: folder / source.filename for source in wanted}
    return tuple(_stack(channels, by_member) for _, channels in SAMPLES[name].layers)


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
        raise ReadError(path, f"a grey image is expected, not one of shape {pixels.shape}; remove it and download the sample again")
    # Older versions of Pillow give 16-bit PNGs as 32-bit integers.
    return pixels.astype(np.uint16) if pixels.dtype == np.int32 and pixels.min() >= 0 and pixels.max() < 2**16 else pixels


class _Meter:
    """What pooch tells of its progress, passed to another thread; raises in pooch's own once the download is cancelled.

    It has the methods of a tqdm bar, because that is what pooch calls.
    """

    def __init__(self) -> None:
        self.total = 0
        self.news: queue.Queue[int] = queue.Queue()
        self.cancelled = threading.Event()

    def update(self, count: int) -> None:
        """Count bytes that have arrived."""
        if self.cancelled.is_set():
            raise InterruptedError("cancelled")
        self.news.put(count)

    def reset(self) -> None:
        """Take no notice: pooch resets a bar to draw it full."""

    def close(self) -> None:
        """Take no notice: there is nothing to close."""


def _fetch(source: SampleFile, folder: Path, before: int, total: int) -> Generator[Progress, None, None]:
    """Download one file into a folder unless it is there already, yielding progress about ten times a second.

    Pooch writes to a temporary file beside and moves it once its hash is right. It runs in a thread of its own, so that a slow server holds
    up neither the progress nor the cancelling.
    """
    target = folder / source.filename
    if target.is_file() and pooch.file_hash(str(target)) == source.sha256:
        return
    yield Progress(before, total, source.member)
    meter, failures = _Meter(), list[BaseException]()
    worker = threading.Thread(target=_guarded(lambda: _retrieve(source, folder, meter), failures), name="download", daemon=True)
    worker.start()
    done = before
    try:
        while worker.is_alive() or not meter.news.empty():
            arrived = _next(meter.news)
            if arrived:
                done = min(done + arrived, before + source.size)
            yield Progress(done, total, source.member)
    finally:
        meter.cancelled.set()
        worker.join(timeout=1.0)
    if failures:
        raise _explained(source, failures[0]) from None


def _next(news: queue.Queue[int]) -> int:
    """Return the bytes that arrived since the last look, after a tenth of a second at most."""
    try:
        count = news.get(timeout=0.1)
        while not news.empty():
            count += news.get_nowait()
    except queue.Empty:
        return 0
    return count


def _guarded(work: Callable[[], None], failures: list[BaseException]) -> Callable[[], None]:
    """Return a function for a thread that keeps what went wrong instead of printing it."""

    def run() -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - it is raised again, explained, in the caller's thread
            failures.append(error)

    return run


def _retrieve(source: SampleFile, folder: Path, meter: _Meter) -> None:
    """Let pooch download one file and check it."""
    pooch.get_logger().setLevel("ERROR")
    downloader = pooch.HTTPDownloader(progressbar=meter, chunk_size=65536, timeout=TIMEOUT)
    folder.mkdir(parents=True, exist_ok=True)
    # A file with a wrong hash would stay if its name stood: pooch only moves over it, so it goes first.
    (folder / source.filename).unlink(missing_ok=True)
    pooch.retrieve(source.url, f"sha256:{source.sha256}", source.filename, folder, downloader=downloader)


def _explained(source: SampleFile, error: BaseException) -> DownloadError:
    """Return what went wrong as one sentence."""
    what = f"{source.sample}/{source.member}"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, ValueError) and "hash" in str(error):
        return DownloadError(f"{what}: what {source.host} sent is not the published file (its SHA-256 differs) and was removed; try again.")
    if status is not None:
        return DownloadError(f"{what}: {source.host} has no such file (HTTP {status}); look for a newer version of this package.")
    if type(error).__module__.startswith(("requests", "urllib3")):
        return DownloadError(f"{what}: {source.host} can't be reached or broke off; check the network connection and try again.")
    reason = getattr(error, "strerror", None) or error
    return DownloadError(f"{what}: it can't be kept ({reason}); set {CACHE_VARIABLE} to a writable folder with room.")
