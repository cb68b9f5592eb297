"""PlateJob: plate, model and settings of a job, resolved once and saved beside the output, so that later runs go on with the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.models import Model
from napari_virtual_paint.models.package.files import MAX_WEIGHTS, sha256
from napari_virtual_paint.painting.settings import PaintSettings
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.preprocessing.phase_settings import PhaseSettings
from napari_virtual_paint.runtime.atomic_write import write_text

Kind = Literal["ome-zarr", "in-place", "ome-tiff"]
KINDS: tuple[Kind, ...] = ("ome-zarr", "in-place", "ome-tiff")
FORM = 1  # version of job.json
NAME = "job.json"


@dataclass(frozen=True)
class PlateJob:
    """A plate, a model and settings, with "auto" as it was resolved on the first run."""

    model: str
    version: str
    """`model` and `version`: id and version of the model."""
    digest: str
    """SHA-256 over the weights and everything in the description that changes pixels."""
    package: str
    """Path of the model's package."""
    stains: tuple[str, ...]
    """Stains that it paints."""
    plate: str
    layout: str
    """`plate` and `layout`: source of the plate, and its layout."""
    kind: Kind
    """What is written: an OME-Zarr plate, a second image of each field in the plate itself, or OME-TIFFs."""
    asked: PaintSettings
    """The settings as the user gave them."""
    settings: PaintSettings
    """The settings with device and tile resolved. If memory runs out, the tile is halved for the rest of the job."""
    threads: int | None = None
    """Number of torch's threads if the last bits depend on it, else None (see `PaintSettings.steady`)."""
    made_with: Mapping[str, str] = field(default_factory=dict)
    """Versions that the last bits depend on."""
    part: str = ""
    """Name of the plate in its source, where that is a table of several plates."""
    axes: str = ""
    """What the user said the axes of the plate's images are; empty if nothing was said."""
    gray: Mapping[str, Any] = field(default_factory=dict)
    """``range`` of the gray levels of 16 bits, and once they are known the mapping (`painting.gray_levels`); empty for float32."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"A plate's stains can be written as {', '.join(KINDS)}, not as {self.kind!r}.")

    def to_json(self) -> dict[str, Any]:
        """Return the job as plain values."""
        return {"form": FORM, **asdict(self)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PlateJob:
        """Return a job from plain values.

        Raises
        ------
        ValueError, TypeError, KeyError
            If they are not those of a job.
        """
        if values.get("form") != FORM:
            raise ValueError(f"form {values.get('form')!r} is not known")
        later = ("part", "axes", "gray")  # jobs of version 0.1 have none of these
        known = {each.name: values[each.name] for each in fields(cls) if each.name not in later}
        known |= {name: str(values.get(name, "")) for name in ("part", "axes")} | {"gray": dict(values.get("gray", {}))}
        known |= {name: _settings(known[name]) for name in ("asked", "settings")}
        return cls(**{**known, "stains": tuple(known["stains"])})

    def difference(self, other: PlateJob) -> str:
        """Return the first difference of another job for the same output, in words; "" if that one can go on with this one.

        A setting is the same if it equals the one first given or the one it was resolved to, or leaves the choice: ``auto``.
        """
        if (self.model, self.version, self.digest) != (other.model, other.version, other.digest):
            changed = other.model if self.model != other.model else f"{other.model} {other.version} with other weights or description"
            return f"the model was {self.model} {self.version} and is now {changed}"
        for name in ("kind", "layout", "axes") if self.kind == "in-place" else ("kind", "plate", "part", "layout", "axes"):
            if getattr(self, name) != getattr(other, name):
                return f"the {_WORDS[name]} was {getattr(self, name) or 'none'} and is now {getattr(other, name) or 'none'}"
        was, now = (job.gray.get("range") or "none" for job in (self, other))
        if now not in (was, "none"):  # without an option a job goes on as it was begun
            return f"the gray levels (--dtype, --range) were {was} and are now {now}"
        for each in fields(PaintSettings):
            given, resolved, now = (getattr(settings, each.name) for settings in (self.asked, self.settings, other.asked))
            open_choice = "auto" if each.name in RESOLVED else given
            if now not in (given, resolved, open_choice) and each.name != "steady":
                return f"the setting {each.name} was {_text(given)} and is now {_text(now)}"
        return ""


RESOLVED = ("device", "tile")  # settings whose "auto" is resolved once for a job
_WORDS = {
    "kind": "kind of output",
    "plate": "plate",
    "part": "plate in its table",
    "layout": "plate's layout",
    "axes": "order of its images' axes",
}


def _text(value: Any) -> str:
    if isinstance(value, PhaseSettings):
        return value.to_text()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _settings(values: Mapping[str, Any]) -> PaintSettings:
    """Return settings from plain values."""
    region, channels, phase = values.get("region"), values.get("channels"), values.get("phase")
    return PaintSettings(
        **{
            **values,
            "phase": None if phase is None else PhaseSettings.from_dict(phase),
            "region": None if region is None else tuple((int(a), int(b)) for a, b in region),
            "channels": None if channels is None else tuple(channels),
        }
    )


def job_folder(output: Path | str, model: str = "") -> Path:
    """Return the folder of a job beside its output: ``OUTPUT.job``, or ``PLATE.MODEL.job`` for stains in the plate itself."""
    path = Path(output).expanduser().absolute()
    return path.with_name(f"{path.name}.{model}.job" if model else f"{path.name}.job")


def is_painted(path: Path | str) -> bool:
    """Return whether a path is a painted plate, or the folder of its job; only names of files are looked at."""
    return any((folder / NAME).is_file() for folder in _folders(path))


def find_job(path: Path | str) -> tuple[Path, PlateJob] | None:
    """Return the painted plate and its job, where a path is one of the two; None if it is neither, or the job can't be read."""
    for folder in _folders(path):
        try:
            job = load_job(folder) if (folder / NAME).is_file() else None
        except InputError:
            return None
        if job is not None:
            return Path(job.plate) if job.kind == "in-place" else folder.with_name(folder.name.removesuffix(".job")), job
    return None


def _folders(path: Path | str) -> tuple[Path, ...]:
    """Return the folders in which the job of a path may be."""
    path = Path(path).expanduser().absolute()
    return (path, job_folder(path)) if path.suffix == ".job" else (job_folder(path),)


def load_job(folder: Path) -> PlateJob | None:
    """Return the job of a folder; None if there is no folder, or a run was stopped before it saved its job.

    Raises
    ------
    InputError
        If it is not the folder of a job, or the job can't be read.
    """
    without_job = folder.is_dir() and all(each.name.startswith((".", "lock.", "rows", "illumination")) for each in folder.iterdir())
    if without_job or not folder.exists():
        return None
    try:
        return PlateJob.from_json(json.loads((folder / NAME).read_text("utf-8")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{folder}: it has no job of `plate predict` that can be read ({reason}); choose another output.") from None


def save_job(folder: Path, job: PlateJob) -> None:
    """Write a job atomically."""
    write_text(folder / NAME, json.dumps(job.to_json(), indent=2, ensure_ascii=False))


def describe_job(plate: Plate, model: Model, settings: PaintSettings, kind: Kind, gray: str = "") -> PlateJob:
    """Return the job as requested, with "auto" not resolved yet; imports no torch."""
    info = model.info
    steady = replace(settings, steady=True)
    return PlateJob(
        model=info.id,
        version=info.version,
        digest=model_digest(model),
        package=str(Path(info.source).absolute()),
        stains=info.stains,
        plate=plate.source,
        layout=plate.layout,
        kind=kind,
        asked=settings,
        settings=steady,
        part=plate.part,
        axes=plate.axes,
        gray={"range": gray} if gray else {},
    )


def model_digest(model: Model) -> str:
    """Return a SHA-256 over everything in a model that changes pixels; its card and authors don't."""
    info, entry = model.info, model.description.weights
    stated = str(entry.get("sha256") or "").casefold() or sha256(model.files.read(entry, MAX_WEIGHTS))
    steps = [[asdict(step) for step in part] for part in (info.preprocessing, info.postprocessing)]
    parts = (stated, info.architecture, dict(info.config), info.dims, info.channels, info.stains, info.planes_as_channels, info.z_offsets)
    text = json.dumps([*parts, info.pixel_size, info.min_size, info.step_size, steps], default=_plain, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)
