"""PlateJob: what is painted with what, resolved once and kept beside the output, so that every later run goes on with the same."""

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
from napari_virtual_paint.runtime.atomic_write import write_text

Kind = Literal["ome-zarr", "in-place", "ome-tiff"]
KINDS: tuple[Kind, ...] = ("ome-zarr", "in-place", "ome-tiff")
FORM = 1
"""Version of job.json."""
NAME = "job.json"


@dataclass(frozen=True)
class PlateJob:
    """A plate, a model and settings, with all that "auto" meant on the first run.

    Parameters
    ----------
    model, version
        Id and version of the model.
    digest
        SHA-256 over the weights and everything in the description that changes pixels.
    package
        Path of the model's package.
    stains
        What it paints.
    plate, layout
        Where the plate was opened from, and its layout.
    kind
        What is written: an OME-Zarr plate, a second image of each field in the plate itself, or OME-TIFFs.
    asked
        The settings as the user gave them.
    settings
        The settings with the device and tile that "auto" became. The tile shrinks where memory runs out, and stays so.
    threads
        Torch's threads, where the last bits depend on their number; None where they don't (see `PaintSettings.steady`).
    made_with
        Versions of what the bits also depend on.
    """

    model: str
    version: str
    digest: str
    package: str
    stains: tuple[str, ...]
    plate: str
    layout: str
    kind: Kind
    asked: PaintSettings
    settings: PaintSettings
    threads: int | None = None
    made_with: Mapping[str, str] = field(default_factory=dict)

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
            If they are no job.
        """
        if values.get("form") != FORM:
            raise ValueError(f"form {values.get('form')!r} is not known")
        known = {each.name: values[each.name] for each in fields(cls)}
        known |= {name: _settings(known[name]) for name in ("asked", "settings")}
        return cls(**{**known, "stains": tuple(known["stains"])})

    def difference(self, other: PlateJob) -> str:
        """Return what another job for the same output has changed, in words; empty where the two can go on together.

        A setting is unchanged where it is what was asked for at first, or what that became.
        """
        if (self.model, self.version, self.digest) != (other.model, other.version, other.digest):
            changed = other.model if self.model != other.model else f"{other.model} {other.version} with other weights or description"
            return f"the model was {self.model} {self.version} and is now {changed}"
        for name in ("kind", "layout") if self.kind == "in-place" else ("kind", "plate", "layout"):
            if getattr(self, name) != getattr(other, name):
                return f"the {_WORDS[name]} was {getattr(self, name)} and is now {getattr(other, name)}"
        for each in fields(PaintSettings):
            then, became, now = (getattr(part, each.name) for part in (self.asked, self.settings, other.asked))
            if now not in (then, became) and each.name != "steady":
                return f"the setting {each.name} was {_said(then)} and is now {_said(now)}"
        return ""


_WORDS = {"kind": "kind of output", "plate": "plate", "layout": "plate's layout"}


def _said(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _settings(values: Mapping[str, Any]) -> PaintSettings:
    """Return settings from plain values."""
    region, channels = values.get("region"), values.get("channels")
    return PaintSettings(
        **{
            **values,
            "region": None if region is None else tuple((int(a), int(b)) for a, b in region),
            "channels": None if channels is None else tuple(channels),
        }
    )


def job_folder(output: Path | str, model: str = "") -> Path:
    """Return the folder of a job beside its output: ``OUTPUT.job``; for stains in the plate itself, one a model: ``PLATE.MODEL.job``."""
    path = Path(output).expanduser().absolute()
    return path.with_name(f"{path.name}.{model}.job" if model else f"{path.name}.job")


def load_job(folder: Path) -> PlateJob | None:
    """Return the job of a folder; None where there is no such folder, or a run was stopped before it wrote its job.

    Raises
    ------
    InputError
        If the folder is none of ours, or its job can't be read.
    """
    begun = folder.is_dir() and all(each.name.startswith((".", "lock.", "rows")) for each in folder.iterdir())
    if begun or not folder.exists():
        return None
    try:
        return PlateJob.from_json(json.loads((folder / NAME).read_text("utf-8")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{folder}: it holds no job of `plate predict` that can be read ({reason}); choose another output.") from None


def save_job(folder: Path, job: PlateJob) -> None:
    """Write a job, whole or not at all."""
    write_text(folder / NAME, json.dumps(job.to_json(), indent=2, ensure_ascii=False))


def describe_job(plate: Plate, model: Model, settings: PaintSettings, kind: Kind) -> PlateJob:
    """Return the job that was asked for, nothing of it resolved yet; imports no torch."""
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
    )


def model_digest(model: Model) -> str:
    """Return a SHA-256 over all of a model that changes pixels; its card and its author's name do not."""
    info, entry = model.info, model.description.weights
    stated = str(entry.get("sha256") or "").casefold() or sha256(model.files.read(entry, MAX_WEIGHTS))
    steps = [[asdict(step) for step in part] for part in (info.preprocessing, info.postprocessing)]
    parts = (stated, info.architecture, dict(info.config), info.dims, info.channels, info.stains, info.planes_as_channels, info.z_offsets)
    text = json.dumps([*parts, info.pixel_size, info.min_size, info.step_size, steps], default=_plain, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)
