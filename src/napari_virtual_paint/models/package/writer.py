"""Write a package of the bioimage.io specification 0.5: checked, written beside its place, then renamed."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.errors import ModelError, WriteError
from napari_virtual_paint.models.info import Card, ModelInfo
from napari_virtual_paint.models.package.domain import DOMAIN_FILE
from napari_virtual_paint.models.package.files import DESCRIPTION_NAMES, InMemory, sha256
from napari_virtual_paint.models.package.processing_steps import late_statistics
from napari_virtual_paint.models.package.rdf import (
    PackageDraft,
    describe_domain,
    describe_head,
    describe_input,
    describe_ours,
    describe_output,
    describe_weights,
    stored,
)
from napari_virtual_paint.models.package.reader import OUR_PART, describe
from napari_virtual_paint.normalize import ZSCORE, Step, fit
from napari_virtual_paint.runtime.atomic_write import replacing
from napari_virtual_paint.runtime.text import one_line
from napari_virtual_paint.runtime.yaml_text import dump_yaml, load_yaml
from napari_virtual_paint.stack import UNKNOWN, PixelSize
from napari_virtual_paint.stain_names import numbered

if TYPE_CHECKING:
    from torch import Tensor, nn

    from napari_virtual_paint.models.package.domain import Domain


@dataclass(frozen=True)
class Program:
    """Weights that carry their own network."""

    format: str  # ``torchscript`` or ``onnx``
    file: str  # its name in the package
    data: bytes  # its bytes
    extra: Mapping[str, Any]  # entries that the specification needs for this format
    sides: tuple[tuple[int, int], ...]  # for each space axis the smallest size and the step; a step of 0 for that size alone


HALF_MAX = 65_504.0  # largest float16


def save_model(
    path: str | Path,
    network: nn.Module,
    *,
    id: str,
    name: str,
    description: str,
    version: str,
    architecture: str,
    config: Mapping[str, Any],
    channels: Sequence[str],
    stains: Sequence[str],
    dims: int,
    test_input: npt.NDArray[Any],
    card: Card,
    planes_as_channels: bool = False,
    z_offsets: Sequence[float] | None = None,
    pixel_size: PixelSize = UNKNOWN,
    preprocessing: Sequence[Step] = ZSCORE,
    postprocessing: Sequence[Step] = (),
    license: str | None = "BSD-3-Clause",
    authors: Sequence[str] = (),
    half: bool = True,
    covers: Sequence[str | Path] = (),
    overwrite: bool = False,
    program: Program | None = None,
    summarize: Callable[[ModelInfo, nn.Module], Domain | None] | None = None,
    warnings: Sequence[str] = (),
) -> Path:
    """Write a model as a package that opens here and in every program of bioimage.io.

    Parameters
    ----------
    path
        The package: a .zip by that suffix, else a folder.
    network
        The trained network; it is copied, not changed.
    id, name, description, version, license, authors
        Of the package. The name has 5 to 128 letters, digits, spaces or ``_+-()``; the version is like ``1.0.0``; the licence an SPDX id,
        None where it is not known.
    architecture, config
        A name in `networks.ARCHITECTURES` and the settings that build this network.
    channels, stains
        Names of the inputs and outputs in the network's order; repeated ones are numbered.
    dims
        2 for a network on planes, 3 for one on volumes.
    test_input
        A raw image (channels, [Z,] Y, X) whose sides suit the network; the test tensors are it and what the model makes of it. It
        should be small: it is stored as float32.
    planes_as_channels, z_offsets, pixel_size, preprocessing, postprocessing
        As in `ModelInfo`.
    half
        Store the weights as float16, half as large; the test tensors are made with the rounded weights.
    covers
        Pictures (PNG, JPEG, GIF, SVG) that show the model at work.
    overwrite
        Replace a package that is there.
    program
        Weights that carry their own network; `architecture`, `config` and `half` are then ignored.
    summarize
        Summarizes the training inputs for the domain check, from the model's info and its network as it is stored; None to leave it out.
    warnings
        What is wrong with the model, to be shown whenever it is opened; a package with warnings fails `check_model`.

    Raises
    ------
    ModelError
        If the parts don't fit each other or the specification.
    WriteError
        If the package can't be written; nothing half-written is left.
    """
    path = Path(path)
    refuse_existing(path, overwrite)
    if late_statistics(preprocessing):
        raise ModelError(f"{path}: statistics must be taken by the first step of the preprocessing; programs differ in the later ones.")
    network = network if program else _rounded(network, half)
    space = ("y", "x") if dims == 2 else ("z", "y", "x")
    test_input = np.ascontiguousarray(test_input, np.float32)
    _check_input(path, test_input, channels, space, z_offsets)
    test_output = _run(path, network, test_input, preprocessing, postprocessing, stains)
    if program:
        sides, reach = program.sides, 0
    else:
        from napari_virtual_paint.networks.sizes import radius_of, valid_sides

        sides, reach = valid_sides(network) or ((1, 1),) * len(space), radius_of(network)
    draft = PackageDraft(
        space=space,
        channels=numbered(channels),
        stains=numbered(stains),
        scales=tuple(getattr(pixel_size, axis) for axis in space),
        sides=sides,
        halo=tuple(max(0, min(reach, (side - 1) // 2)) for side in test_input.shape[1:]),
        preprocessing=tuple(preprocessing),
        postprocessing=tuple(postprocessing),
    )
    weights = program.file if program else "weights.pt"
    data = program.data if program else _state_bytes(network, half)
    if program is None:
        entry = {"pytorch_state_dict": describe_weights(architecture, config, sha256(data))}
    else:
        entry = {program.format: {"source": weights, "sha256": sha256(data), **program.extra}}
    contents = {
        weights: data,
        "test_input.npy": _npy_bytes(test_input[None]),
        "test_output.npy": _npy_bytes(test_output[None]),
        "README.md": card.to_markdown(name).encode(),
        **{f"cover_{index}{Path(cover).suffix.lower()}": Path(cover).read_bytes() for index, cover in enumerate(covers)},
    }
    content = {
        **describe_head(id, name, description, version, license, authors),
        "documentation": "README.md",
        "covers": [item for item in contents if item.startswith("cover_")],
        "inputs": [describe_input(draft, sha256(contents["test_input.npy"]))],
        "outputs": [describe_output(draft, sha256(contents["test_output.npy"]))],
        "weights": entry,
        "config": {OUR_PART: {**describe_ours(card, planes_as_channels, z_offsets, pixel_size, draft), **stored(warnings)}},
    }
    if summarize is not None:
        unfinished = InMemory(path, "rdf.yaml", {**contents, "rdf.yaml": dump_yaml(content).encode()})
        if (domain := summarize(describe(unfinished).info, network)) is not None:
            contents[DOMAIN_FILE] = domain.to_bytes()
            content |= describe_domain(content, DOMAIN_FILE, sha256(contents[DOMAIN_FILE]))
    contents["rdf.yaml"] = dump_yaml(content).encode()
    _write(path, contents, overwrite, True)
    return path


def _check_input(
    path: Path, test_input: npt.NDArray[Any], channels: Sequence[str], space: Sequence[str], z_offsets: Sequence[float] | None
) -> None:
    """Refuse a test image that is not (channels, [Z,] Y, X)."""
    if test_input.ndim != len(space) + 1 or len(test_input) != len(channels):
        wanted = f"({len(channels)}, {', '.join(axis.upper() for axis in space)})"
        raise ModelError(f"{path}: the test image has the shape {test_input.shape}; {wanted} is needed.")
    if z_offsets is not None and len(z_offsets) != len(channels):
        raise ModelError(f"{path}: there are {len(z_offsets)} z offsets for {len(channels)} channels.")


def _rounded(network: nn.Module, half: bool) -> nn.Module:
    """Return a copy of a network as it will be read back: float32 on the CPU, in eval mode, its weights rounded if they are halved."""
    import copy

    import torch

    copied = copy.deepcopy(network).cpu().float().eval().requires_grad_(False)
    with torch.no_grad():
        for tensor in copied.state_dict().values():
            tensor.copy_(_stored(tensor, half).to(tensor.dtype))
    return copied


def _stored(tensor: Tensor, half: bool) -> Tensor:
    """Return a weight as it is stored: kernels as float16 where their range allows, one number per channel as float32."""
    if not half or not tensor.is_floating_point() or tensor.ndim < 2 or bool(tensor.abs().max() > HALF_MAX):
        return tensor
    return tensor.half()


def _run(
    path: Path, network: nn.Module, raw: npt.NDArray[Any], before: Sequence[Step], behind: Sequence[Step], stains: Sequence[str]
) -> npt.NDArray[np.float32]:
    """Return what the model makes of a raw image, (stains, [Z,] Y, X)."""
    import torch

    with torch.inference_mode():
        try:
            out = network(torch.from_numpy(fit(raw, before).apply(raw))[None])[0].numpy()
        except RuntimeError as error:
            raise ModelError(f"{path}: the network can't run on the test image ({one_line(error)}).") from error
    out = fit(out, behind, reference=raw).apply(out) if behind else out
    if len(out) != len(stains):
        raise ModelError(f"{path}: the network gives {len(out)} images for {len(stains)} names of stains.")
    if not np.isfinite(out).all():
        raise ModelError(f"{path}: the network gives values that are not numbers; it is not worth keeping.")
    return np.ascontiguousarray(out, np.float32)


def _state_bytes(network: nn.Module, half: bool) -> bytes:
    """Return the weights as a file of tensors alone."""
    import torch

    state = {key: _stored(tensor, half).contiguous().clone() for key, tensor in network.state_dict().items()}
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def _npy_bytes(array: npt.NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(array, np.float32), allow_pickle=False)
    return file.getvalue()


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Refuse to replace anything unless `overwrite`, and never what is no package."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not overwrite:
        raise WriteError(path, "it is there already; choose another name or ask to overwrite it")
    if path.is_dir() and not any((path / name).is_file() for name in DESCRIPTION_NAMES):
        raise WriteError(path, "this folder holds no model package, so it is not replaced")


def write_package(path: Path, contents: Mapping[str, bytes], overwrite: bool, *, checked: bool = True) -> None:
    """Write a package from the bytes of its files, ``rdf.yaml`` among them: beside its place, checked, then renamed.

    Parameters
    ----------
    path
        The package: a .zip by that suffix, else a folder.
    contents
        Name of each file, relative to the package -> its bytes.
    overwrite
        Replace a package that is there.
    checked
        Check the description against the specification.

    Raises
    ------
    ModelError
        If the description breaks the specification.
    WriteError
        If it can't be written; nothing half-written is left.
    """
    refuse_existing(path, overwrite)
    _write(path, contents, overwrite, checked)


def _write(path: Path, contents: Mapping[str, bytes], overwrite: bool, checked: bool) -> None:
    """Write a package atomically, checked against the specification first."""
    if checked:
        _validate(path, contents)
    zipped = path.suffix.casefold() == ".zip"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()  # an empty folder that the user made for the package becomes it
        with replacing(path, overwrite=overwrite, folder=None if zipped else lambda _: True) as beside:
            if zipped:
                _zip(beside, contents)
            else:
                for name, data in contents.items():
                    (beside / name).parent.mkdir(parents=True, exist_ok=True)
                    (beside / name).write_bytes(data)
    except OSError as error:
        raise WriteError(path, f"the package can't be written ({one_line(error)})") from error


def _zip(archive: Path, contents: Mapping[str, bytes]) -> None:
    """Write a .zip that is the same for the same contents."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in contents.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            file.writestr(entry, data)


def _validate(path: Path, contents: Mapping[str, bytes]) -> None:
    """Have the specification's own library read the description."""
    from napari_virtual_paint.models.package.specification import spec_errors

    if errors := spec_errors(load_yaml(contents["rdf.yaml"])):
        raise ModelError(f"{path}: the description breaks the bioimage.io specification: {errors[0]}.")
