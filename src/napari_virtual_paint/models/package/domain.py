"""`Domain`: the summary of a model's training inputs that its package stores."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.errors import ModelError
from napari_virtual_paint.models.package.files import PackageFiles, sha256
from napari_virtual_paint.models.package.npy import read_npy
from napari_virtual_paint.runtime.text import one_line
from napari_virtual_paint.stack import UNKNOWN, PixelSize

DOMAIN_FILE = "domain.npz"  # name of the summary in a package
VERSION = 1
MAX_FILE, MAX_UNPACKED = 2_000_000, 8_000_000  # most bytes that are read, packed and unpacked


@dataclass(frozen=True)
class DeepPlan:
    """How a network's own features are taken."""

    side: int  # side of a patch, px; a multiple of what the network needs
    depth: int  # planes of a patch of a volume; 0 for planes
    count: int  # patches of a field
    channels: tuple[int, ...]  # channels of the deepest map that are kept


@dataclass(frozen=True, eq=False)
class DescriptorGroup:
    """The distribution of one kind of numbers over the training fields."""

    mean: npt.NDArray[np.float64]  # shape (numbers,)
    whiten: npt.NDArray[np.float64]
    """Shape (numbers, numbers): deviations from the mean times this have covariance 1 (shrunk, Ledoit and Wolf 2004)."""
    limit: float  # squared shift per number up to which a field of very many patches is inside
    noise: float  # addition to the limit for a single patch; 1/n of it for n patches


@dataclass(frozen=True, eq=False)
class Domain:
    """Summary of a model's training inputs."""

    parts: Mapping[str, DescriptorGroup]  # name -> what fields are compared with
    pixel_size: PixelSize = UNKNOWN  # micrometres of the training inputs; None where unknown
    channels: tuple[str, ...] = ()  # names of the model's inputs
    texture: float = 0.0  # log10 of the local SD above which a place counts as textured
    density: float = 0.0  # share of textured places in the training fields
    saturated: float = 0.0  # largest share of pixels at the largest value among the training fields
    levels: int = 0  # median over the training fields of the grey levels between the 5th and the 95th percentile
    deep: DeepPlan | None = None  # how the network's features are taken; None without
    centre: npt.NDArray[np.float64] | None = None
    project: npt.NDArray[np.float64] | None = None
    """`centre` and `project`: shapes (features,) and (features, components): ``(features - centre) @ project`` is the part "network"."""
    images: int = 0
    patches: int = 0  # `images` and `patches`: numbers of images and patches summarized
    calibrated: Literal["images", "parts"] = "parts"
    """Whether the limits were taken on left-out ``images``, or on ``parts`` of few images."""
    scale: float = 1.0  # divisor of the distances, so that held-out training fields stay within 1

    def to_bytes(self) -> bytes:
        """Return the bytes of an .npz file: arrays of numbers, and one of JSON; deterministic."""
        arrays: dict[str, npt.NDArray[Any]] = {}
        for name, part in self.parts.items():
            arrays[f"mean/{name}"] = part.mean.astype(np.float32)
            arrays[f"whiten/{name}"] = part.whiten.astype(np.float32)
        if self.centre is not None and self.project is not None:
            arrays["centre"], arrays["project"] = self.centre.astype(np.float32), self.project.astype(np.float32)
        plain = {
            "version": VERSION,
            "parts": {name: [part.limit, part.noise] for name, part in self.parts.items()},
            "pixel_size": list(self.pixel_size),
            "channels": list(self.channels),
            "deep": None if self.deep is None else asdict(self.deep),
        }
        for name in ("texture", "density", "saturated", "levels", "images", "patches", "calibrated", "scale"):
            plain[name] = getattr(self, name)
        arrays["about"] = np.frombuffer(json.dumps(plain, sort_keys=True).encode(), np.uint8)
        return _npz(arrays)

    @staticmethod
    def from_bytes(data: bytes, label: str) -> Domain:
        """Read a summary of unknown origin: only numbers, and no more of them than the header says.

        Raises
        ------
        ModelError
            If it is no such file, or is damaged.
        """
        try:
            arrays = _arrays(data)
            return _from_arrays(arrays)
        except (ValueError, KeyError, TypeError, EOFError, OSError, zipfile.BadZipFile, RecursionError, NotImplementedError) as error:
            raise ModelError(f"{label}: the summary of the training inputs is damaged ({one_line(error)}).") from error


def load_domain(files: PackageFiles, entry: Mapping[str, Any]) -> Domain:
    """Read the summary of a package.

    Parameters
    ----------
    entry
        Its name (``source``) and ``sha256``.

    Raises
    ------
    ModelError
        If it is missing or damaged.
    """
    name = files.local(entry.get("source"))
    data = files.read(name, MAX_FILE)
    if sha256(data) != str(entry.get("sha256")).casefold():
        raise files.fail(f"{name} is damaged or was changed: its SHA-256 is not the one in {files.description}")
    return Domain.from_bytes(data, f"{files.path}: {name}")


def _npz(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return arrays as an .npz without time stamps."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            file = io.BytesIO()
            np.save(file, np.ascontiguousarray(array), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, file.getvalue())
    return out.getvalue()


def _arrays(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of an .npz; sizes are checked before anything is unpacked."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > MAX_UNPACKED:
            raise ValueError("it unpacks to more than such a file holds")
        found = {entry.filename.removesuffix(".npy"): read_npy(archive.read(entry), "fu") for entry in archive.infolist()}
    for name, array in found.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds something else than numbers")
    return found


def _from_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> Domain:
    """Build a summary from arrays, with every shape checked."""
    about = json.loads(arrays["about"].tobytes())
    if about["version"] != VERSION:
        raise ValueError(f"it has the form {about['version']}; form {VERSION} is read here, so update napari-virtual-paint")
    parts = {}
    for name, (limit, noise) in about["parts"].items():
        mean, whiten = arrays[f"mean/{name}"].astype(np.float64), arrays[f"whiten/{name}"].astype(np.float64)
        if mean.ndim != 1 or whiten.shape != (len(mean), len(mean)):
            raise ValueError(f"the shapes of {name} don't fit each other")
        parts[str(name)] = DescriptorGroup(mean, whiten, _positive(limit), _positive(noise))
    deep = None if about["deep"] is None else DeepPlan(**{**about["deep"], "channels": tuple(int(c) for c in about["deep"]["channels"])})
    centre, project = (arrays[name].astype(np.float64) if name in arrays else None for name in ("centre", "project"))
    if deep is not None:
        _check_deep(deep, centre, project, parts)
    return Domain(
        parts=MappingProxyType(parts),
        pixel_size=PixelSize(*(None if size is None else _positive(size) for size in about["pixel_size"])),
        channels=tuple(str(name) for name in about["channels"]),
        texture=float(about["texture"]),
        density=float(about["density"]),
        saturated=float(about["saturated"]),
        levels=int(about["levels"]),
        deep=deep,
        centre=centre,
        project=project,
        images=int(about["images"]),
        patches=int(about["patches"]),
        calibrated="images" if about["calibrated"] == "images" else "parts",
        scale=_positive(about["scale"]),
    )


def _check_deep(deep: DeepPlan, centre: Any, project: Any, parts: Mapping[str, DescriptorGroup]) -> None:
    """Refuse a plan that does not fit its arrays or is out of range."""
    count = 2 * len(deep.channels)
    sides = (deep.side, deep.depth, deep.count)
    if not all(isinstance(side, int) and 0 <= side <= 4096 for side in sides) or deep.side < 1 or deep.count < 1 or min(deep.channels) < 0:
        raise ValueError("its plan for the network's features is out of range")
    if centre is None or project is None or centre.shape != (count,) or project.shape[0] != count or "network" not in parts:
        raise ValueError("the shapes of the network's features don't fit each other")
    if project.shape[1] != len(parts["network"].mean):
        raise ValueError("the shapes of the network's features don't fit each other")


def _positive(value: Any) -> float:
    number = float(value)
    if not (math.isfinite(number) and number > 0):
        raise ValueError("a number that must be positive is not")
    return number
