"""The illumination functions of a plate: as its files state them, or estimated from its fields; kept in the job's folder for all runs."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_virtual_paint.errors import InputError, ReadError, VirtualPaintError
from napari_virtual_paint.models import ModelInfo
from napari_virtual_paint.painting.illumination_files import functions_in, profiles_in, read_function
from napari_virtual_paint.painting.image_preparation import channels_of_model
from napari_virtual_paint.painting.settings import PaintSettings
from napari_virtual_paint.plates.job.inputs import first_field, true_stain_places
from napari_virtual_paint.plates.layouts import OpenRequest, loaddata, phenix
from napari_virtual_paint.plates.layouts.index_search import find_index
from napari_virtual_paint.plates.plate import Field, Plate
from napari_virtual_paint.preprocessing.illumination import Floats, IlluminationEstimate
from napari_virtual_paint.runtime.atomic_write import make_folder, replacing, write_text
from napari_virtual_paint.runtime.json_file import read_object
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.runtime.text import counted

FOLDER = "illumination"  # in the folder of a job
RECORD = "illumination.json"  # written last: without it the functions are not complete
MOST_FIELDS = 48  # fields that the light is estimated from


def settle_functions(
    folder: Path, plate: Plate, info: ModelInfo, settings: PaintSettings, *, truth: bool
) -> Generator[Progress, None, None]:
    """Find the functions of a plate's channels and keep them in the folder of its job, unless an earlier run did.

    Parameters
    ----------
    folder
        Folder of the job.
    truth
        Whether the true stains among the channels are corrected too, as far as there are functions for them.

    Yields
    ------
    Progress
        After each field that the light is estimated from.

    Raises
    ------
    InputError
        If the functions can't be used or estimated.
    ModelError
        If the channels don't fit the model.
    """
    target = folder / FOLDER
    if settings.illumination == "none" or (target / RECORD).exists():
        return
    stack = first_field(plate.reader, plate.fields)
    if stack is None:
        return  # no field can be read, as each of them will say
    taken = channels_of_model(info, stack, settings)
    stains = [stack.channel_labels[place] for place in true_stain_places(stack, info.stains)] if truth and not stack.rgb else []
    wanted = list(dict.fromkeys((*taken, *stains)))
    shape = (stack.shape[3], stack.shape[4])
    if settings.illumination == "auto":
        functions, source = _stated(plate, stack.channel_labels, shape, wanted)
        missing = [name for name in wanted if name not in functions]
        if missing:
            estimates, count = yield from _estimated(plate, missing, shape, needed=taken)
            functions |= estimates
            source = " and ".join(filter(None, (source, f"an estimate from {counted(count, 'field')}")))
    else:
        functions, source = _of_folder(plate, Path(settings.illumination), stack.channel_labels, shape, taken), settings.illumination
    _save(target, {name: functions[name] for name in wanted if name in functions}, source)


def load_functions(folder: Path) -> tuple[dict[str, Floats], dict[str, Any]]:
    """Return the functions in the folder of a job, by channel, and what the provenance says of them.

    Raises `InputError` if they are gone or damaged.
    """
    target = folder / FOLDER
    record = read_object(target / RECORD)
    if record is None:
        return {}, {"from": "nothing"}
    try:
        shape = (int(record["shape"][0]), int(record["shape"][1]))
        functions = {str(name): read_function(target / str(file), shape) for name, file in record["files"].items()}
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        if isinstance(error, VirtualPaintError):
            raise
        raise InputError(f"{target / RECORD}: it is damaged; remove the folder {target}, so that the functions are found anew.") from None
    return functions, {"from": str(record.get("from", ""))}


def functions_for(folder: Path, settings: PaintSettings) -> tuple[dict[str, Floats], dict[str, Any]] | None:
    """Return the functions in the folder of a job (see `load_functions`), as `read_field` takes them; None where nothing is corrected."""
    return None if settings.illumination == "none" else load_functions(folder)


def _save(target: Path, functions: Mapping[str, Floats], source: str) -> None:
    """Write one file a channel, as CellProfiler does, and the record last."""
    make_folder(target)
    files: dict[str, str] = {}
    for number, (name, function) in enumerate(functions.items()):
        plain = re.sub(r"[^\w+.-]+", "_", name).strip("_.") or str(number)
        file = f"Illum{plain}.npy" if f"Illum{plain}.npy" not in files.values() else f"Illum{plain}_{number}.npy"
        with replacing(target / file, overwrite=True) as unfinished, unfinished.open("wb") as out:
            np.save(out, function)
        files[name] = file
    shape = next((function.shape for function in functions.values()), (0, 0))
    write_text(target / RECORD, json.dumps({"from": source, "shape": list(shape), "files": files}, indent=2, ensure_ascii=False))


def _stated(plate: Plate, channels: Sequence[str], shape: tuple[int, int], wanted: Sequence[str]) -> tuple[dict[str, Floats], str]:
    """Return the functions that the plate's own files hold or name, and where they come from; flat profiles are none."""
    request = OpenRequest(Path(plate.source), plate=plate.part or None)
    if plate.layout == "loaddata":
        named = {name: file for name, file in loaddata.illumination_files(request).items() if file.is_file()}
        found = {}
        for name in wanted:
            if name in named:
                found[name] = read_function(named[name], shape)
        return found, "the files that its table names" if found else ""
    if plate.layout == "opera-phenix" and (index := find_index(request, phenix.INDEX)) is not None:
        profiles = {name: profile for name, profile in profiles_in(index).items() if profile.coefficients}
        found = {name: profiles[name].function(shape) for name in wanted if name in profiles}
        return found, index.name if found else ""
    return {}, ""


def _of_folder(plate: Plate, folder: Path, channels: Sequence[str], shape: tuple[int, int], taken: Sequence[str]) -> dict[str, Floats]:
    """Return the functions in a folder, by the names that the plate's table has for them."""
    named = {}
    if plate.layout == "loaddata":
        request = OpenRequest(Path(plate.source), plate=plate.part or None)
        named = {name: file.name for name, file in loaddata.illumination_files(request).items()}
    return functions_in(folder, channels, shape, taken, named)


def _estimated(
    plate: Plate, channels: Sequence[str], shape: tuple[int, int], needed: Sequence[str]
) -> Generator[Progress, None, tuple[dict[str, Floats], int]]:
    """Estimate the functions of channels from fields all over the plate, and return from how many."""
    picks = sorted({round(place) for place in np.linspace(0, len(plate.fields) - 1, min(len(plate.fields), MOST_FIELDS))})
    estimates = {name: IlluminationEstimate(shape) for name in channels}
    used = 0
    for number, place in enumerate(picks):
        used += _add_field(plate, plate.fields[place], estimates)
        yield Progress(number + 1, len(picks), "Estimating the light from the plate's fields.")
    dark = next((name for name in needed if name in estimates and not estimates[name].fields), None)
    if dark is not None:
        raise InputError(f"{plate.source}: the light of its channel {dark} can't be estimated, as its fields are dark; paint it without.")
    return {name: estimate.function() for name, estimate in estimates.items() if estimate.fields}, used


def _add_field(plate: Plate, field: Field, estimates: Mapping[str, IlluminationEstimate]) -> bool:
    """Add the middle plane of a field at its first time point; one that can't be read is left out."""
    try:
        stack = plate.reader.read(field)
        labels = stack.channel_labels
        added = [
            estimate.add(np.asarray(stack.data[0, labels.index(name), stack.shape[2] // 2]))
            for name, estimate in estimates.items()
            if name in labels
        ]
    except (ReadError, OSError):
        return False
    return any(added)
