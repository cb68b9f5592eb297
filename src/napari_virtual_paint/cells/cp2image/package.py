"""Write a cell model's package, with its sample of real cells."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.cells.cp2image.sample import COLUMNS, OUR_FILE, Sample
from napari_virtual_paint.cells.tables.canonical_names import CanonicalNames
from napari_virtual_paint.cells.transform import Floats, Transform
from napari_virtual_paint.errors import InputError, ModelError, WriteError
from napari_virtual_paint.models.package.files import sha256
from napari_virtual_paint.models.package.rdf import FORMAT_VERSION, describe_head
from napari_virtual_paint.runtime.text import one_line
from napari_virtual_paint.runtime.yaml_text import dump_yaml, load_yaml

if TYPE_CHECKING:
    from torch import Tensor, nn

MOST_TEXT = 64 * 2**20  # bytes of the description that are read
QUALITY = 90  # quality of the sample's JPEG mosaics


@dataclass(frozen=True, eq=False)
class CellPackageDraft:
    """Contents of a package; the fields are those of `CellModel`."""

    id: str
    name: str
    version: str
    description: str
    license: str | None
    authors: Sequence[str]
    card: Mapping[str, Any]
    features: tuple[str, ...]
    channels: tuple[str, ...]
    size: int
    pixel_size: float | None
    architecture: str
    config: Mapping[str, int]
    transform: Transform
    low: Floats
    high: Floats
    network: nn.Module
    reader: nn.Module | None  # `network` and `reader`: the generator, and the network of the Fréchet distance
    sample: Sample  # real cells for the panel
    reader_scale: Floats | None = None  # (C, 2), gray levels that are 0 and 1 to `reader`; those of the model where None
    alone: bool = False  # whether crops, including the sample's, show each cell without neighbors
    nuclei: str | None = None
    names: CanonicalNames = field(default_factory=CanonicalNames)


def check_replaced(path: Path, model_id: str) -> None:
    """Check before hours of training that its package replaces nothing but an earlier one of the same model.

    Raises `InputError` if another model or something else is there.
    """
    if not path.exists():
        return
    try:
        with zipfile.ZipFile(path) as archive, archive.open(OUR_FILE) as file:
            known = json.loads(file.read(MOST_TEXT)).get("id")
    except (OSError, ValueError, KeyError, AttributeError, RuntimeError, NotImplementedError, zipfile.BadZipFile):
        known = None
    if known != model_id:
        raise InputError(f"{path}: the package is to be written there, and something else exists; set another output, or the same id.")


def save_cell_model(path: str | Path, draft: CellPackageDraft, *, overwrite: bool = False) -> Path:
    """Write a package atomically: a .zip with a description by the bioimage.io specification 0.5.

    Weights are stored as float16, and the test tensors come from the rounded ones.

    Raises
    ------
    WriteError
        If it can't be written, or exists and may not be replaced.
    ModelError
        If the description violates the specification.
    """
    from napari_virtual_paint.runtime.atomic_write import replacing

    path = Path(path)
    contents = _contents(draft)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _validate(path, contents)
        with replacing(path, overwrite=overwrite) as temporary:
            _zip(temporary, contents)
    except OSError as error:
        raise WriteError(path, f"the package can't be written ({one_line(error)})") from error
    return path


def _contents(draft: CellPackageDraft) -> dict[str, bytes]:
    """Return the files of a package."""
    contents = {"weights.pt": _state_bytes(draft.network)}
    if draft.reader is not None:
        contents["reader.pt"] = _state_bytes(draft.reader, without="head.")
    contents["population.parquet"] = _table_bytes(draft)
    planes = np.moveaxis(draft.sample.crops, 1, 0)
    for index, plane in enumerate(planes):
        contents[f"crops_{index}.jpg"] = _mosaic(plane)
    values = np.nan_to_num(draft.transform.median[None])
    # The specification has no cosine step: with angles, the input of the package is the transformed vector.
    contents["test_input.npy"] = _npy_bytes(draft.transform.apply(values) if draft.transform.angles else values)
    contents["test_output.npy"] = _npy_bytes(_short(_rounded_output(draft, values)))
    contents["README.md"] = card_text(draft.name, draft.card).encode()
    parts = {name: {"source": name, "sha256": sha256(data)} for name, data in contents.items()}
    ours = {
        "id": draft.id,
        "name": draft.name,
        "version": draft.version,
        "description": draft.description,
        "architecture": draft.architecture,
        "config": {key: int(value) for key, value in draft.config.items()},
        "features": list(draft.features),
        "channels": list(draft.channels),
        "size": draft.size,
        "pixel_size": draft.pixel_size,
        "median": _plain(draft.transform.median),
        "spread": _plain(draft.transform.scale),
        "clip": float(draft.transform.clip),
        "angles": [list(pair) for pair in draft.transform.angles],
        "frame": draft.transform.frame,
        "alone": draft.alone,
        "nuclei": draft.nuclei,
        "names": draft.names.to_dict(),
        "low": _plain(draft.low),
        "high": _plain(draft.high),
        "card": dict(draft.card),
        "files": {
            "weights": parts["weights.pt"],
            "reader": _reader_part(draft, parts),
            "population": parts["population.parquet"],
            "crops": [
                {**parts[f"crops_{index}.jpg"], "low": float(plane.min()), "high": float(plane.max())} for index, plane in enumerate(planes)
            ],
        },
    }
    contents[OUR_FILE] = json.dumps(ours, ensure_ascii=False, indent=1).encode()
    contents["rdf.yaml"] = dump_yaml(_description(draft, parts, ours)).encode()
    return contents


def _reader_part(draft: CellPackageDraft, parts: Mapping[str, Mapping[str, str]]) -> dict[str, Any] | None:
    """Return the entry of the network of the Fréchet distance, with its scale."""
    if draft.reader is None:
        return None
    scale = {} if draft.reader_scale is None else {"low": _plain(draft.reader_scale[:, 0]), "high": _plain(draft.reader_scale[:, 1])}
    return {**parts["reader.pt"], **scale}


def _description(draft: CellPackageDraft, parts: Mapping[str, Mapping[str, str]], ours: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description: a vector in, an image out, standardization as the specification's steps."""
    import torch

    from napari_virtual_paint.cells.cp2image.config import GENERATORS

    gain = 1 / draft.transform.scale.astype(np.float64)
    span = (draft.high - draft.low).astype(np.float64)
    scale = {} if draft.pixel_size is None else {"scale": draft.pixel_size, "unit": "micrometer"}
    names = draft.transform.names(draft.features)
    linear = {"axis": "channel", "gain": _plain(gain), "offset": _plain(-draft.transform.median * gain)}
    limits = {"min": -float(draft.transform.clip), "max": float(draft.transform.clip)}
    steps = [{"id": "scale_linear", "kwargs": linear}, {"id": "clip", "kwargs": limits}]
    inputs = {
        "id": "features",
        "axes": [{"type": "batch"}, {"type": "channel", "channel_names": names}],
        "test_tensor": parts["test_input.npy"],
        "data": {"type": "float32"},
        "preprocessing": [] if draft.transform.angles else steps,
    }
    outputs = {
        "id": "cell",
        "axes": [
            {"type": "batch"},
            {"type": "channel", "channel_names": list(draft.channels)},
            *({"type": "space", "id": axis, "size": draft.size, **scale} for axis in "yx"),
        ],
        "test_tensor": parts["test_output.npy"],
        "data": {"type": "float32"},
        "postprocessing": [{"id": "scale_linear", "kwargs": {"axis": "channel", "gain": _plain(span), "offset": _plain(draft.low)}}],
    }
    head = describe_head(draft.id, draft.name, draft.description, draft.version, draft.license, draft.authors)
    kwargs = {**ours["config"], "features": draft.transform.width, "channels": len(draft.channels), "size": draft.size}
    weights = {
        **parts["weights.pt"],
        "pytorch_version": torch.__version__.split("+")[0],
        "architecture": {"callable": draft.architecture, "import_from": GENERATORS[draft.architecture], "kwargs": kwargs},
    }
    return {
        **head,
        "format_version": FORMAT_VERSION,
        "tags": ["cell-painting", "cellprofiler", "generative", "pytorch"],
        "documentation": "README.md",
        "inputs": [inputs],
        "outputs": [outputs],
        "weights": {"pytorch_state_dict": weights},
        "config": {"napari-virtual-paint-cells": {"description": OUR_FILE, "card": ours["card"]}},
    }


def card_text(name: str, card: Mapping[str, Any]) -> str:
    """Return a card as Markdown documentation."""
    lines = [f"# {name}", ""]
    for heading, key in (("Trained on", "trained_on"), ("Not for", "not_for"), ("Held out", "held_out_on")):
        lines += [f"## {heading}", "", str(card.get(key) or "Not stated."), ""]
    scores = card.get("scores") or {}
    if scores:
        lines += ["| score | value |", "|---|---|"]
        lines += [f"| {key.replace('_', ' ')} | {value:.4g} |" for key, value in scores.items() if value is not None]
        lines.append("")
    if card.get("made_with"):
        lines += ["## Made with", "", "```", str(card["made_with"]), "```", ""]
    return "\n".join(lines).rstrip() + "\n"


def _mosaic(crops: Floats) -> bytes:
    """Return crops (n, d, d) as one grayscale JPEG, from smallest to largest value; the square root keeps dim detail."""
    from PIL import Image

    count, side = len(crops), crops.shape[-1]
    rows = -(-count // COLUMNS)
    eight = np.zeros((rows * COLUMNS, side, side), np.uint8)
    low, high = float(crops.min()), float(crops.max())
    eight[:count] = np.rint(255 * np.sqrt((crops - low) / max(high - low, 1e-9)))
    picture = eight.reshape(rows, COLUMNS, side, side).swapaxes(1, 2).reshape(rows * side, COLUMNS * side)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=QUALITY, optimize=True)
    return file.getvalue()


def _table_bytes(draft: CellPackageDraft) -> bytes:
    """Return the sample's metadata and features as Parquet; features have 11 bits, which halves the compressed size."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {name: list(values) for name, values in draft.sample.metadata.items()}
    for index, name in enumerate(draft.features):
        columns[name] = _short(draft.sample.values[:, index])
    file = io.BytesIO()
    texts = {name: "PLAIN" for name in draft.sample.metadata}
    encodings = {**texts, **{name: "BYTE_STREAM_SPLIT" for name in draft.features}}
    pq.write_table(
        pa.table(columns),
        file,
        compression="zstd",
        compression_level=19,
        use_dictionary=False,
        column_encoding=encodings,
        write_statistics=False,
    )
    return file.getvalue()


def _short(values: npt.NDArray[np.floating]) -> Floats:
    """Return float32 rounded to 11 significant bits."""
    mantissa, exponent = np.frexp(np.asarray(values, np.float32))
    out: Floats = np.ldexp(np.rint(mantissa * 2**11) / 2**11, exponent).astype(np.float32)
    return out


def _stored(tensor: Tensor) -> Tensor:
    """Return a weight as stored: float16, except for per-channel vectors."""
    return tensor.half() if tensor.is_floating_point() and tensor.ndim >= 2 else tensor


def _state_bytes(network: nn.Module, without: str = "!") -> bytes:
    import torch

    file = io.BytesIO()
    torch.save(
        {key: _stored(tensor).contiguous().clone() for key, tensor in network.state_dict().items() if not key.startswith(without)}, file
    )
    return file.getvalue()


def _rounded_output(draft: CellPackageDraft, values: Floats) -> Floats:
    """Return the output of the rounded network for a test vector, in gray levels."""
    import copy

    import torch

    network = copy.deepcopy(draft.network).eval()
    network.load_state_dict({key: _stored(tensor).to(tensor.dtype) for key, tensor in network.state_dict().items()})
    with torch.inference_mode():
        drawn = network(torch.from_numpy(draft.transform.apply(values))).numpy()
    out: Floats = (drawn * (draft.high - draft.low)[:, None, None] + draft.low[:, None, None]).astype(np.float32)
    if not np.isfinite(out).all():
        raise ModelError(f"{draft.id}: the network gives values that are not numbers; it is not saved.")
    return out


def _plain(values: npt.NDArray[np.floating]) -> list[float]:
    """Return numbers for YAML, with 7 digits each."""
    return [float(f"{value:.7g}") for value in values]


def _npy_bytes(array: npt.NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(array, np.float32), allow_pickle=False)
    return file.getvalue()


def _zip(path: Path, contents: Mapping[str, bytes]) -> None:
    """Write a .zip that is identical for identical contents."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, data in contents.items():
            # ZipInfo's default date is constant, while writestr(name) would store the current time.
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)


def _validate(path: Path, contents: Mapping[str, bytes]) -> None:
    """Validate the description with the specification's own library."""
    from napari_virtual_paint.models.package.specification import spec_errors

    if errors := spec_errors(load_yaml(contents["rdf.yaml"])):
        raise ModelError(f"{path}: the description breaks the bioimage.io specification: {errors[0]}.")
