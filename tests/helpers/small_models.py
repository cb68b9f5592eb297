"""Small packages for the tests of `models`, and ways to spoil them."""

from __future__ import annotations

import gc
import hashlib
import io
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from napari_virtual_paint.models import Card, save_model
from napari_virtual_paint.networks import build
from napari_virtual_paint.stack import PixelSize

CONFIG_2D = {"in_channels": 3, "out_channels": 2, "depth": 3, "width": 4, "max_width": 8}
CONFIG_3D = {"dims": 3, "in_channels": 1, "out_channels": 2, "depth": 1, "mult_chan": 2}
CARD = Card(
    trained_on="Noise.",
    held_out_on="Other noise.",
    scores={"DNA": {"pcc": 0.75, "ssim": 0.5}, "ER": {"pcc": 0.25, "ssim": 0.125}},
    not_for="Cells.",
    made_with="virtual-paint train toy.yaml",
)
TOY_2D: dict[str, Any] = {
    "id": "toy-planes",
    "name": "Toy planes",
    "description": "A toy for tests.",
    "version": "1.2.3",
    "architecture": "UNet",
    "config": CONFIG_2D,
    "channels": ("Brightfield -4um", "Brightfield 0um", "Brightfield +4um"),
    "stains": ("DNA", "ER"),
    "dims": 2,
    "planes_as_channels": True,
    "z_offsets": (-4.0, 0.0, 4.0),
    "pixel_size": PixelSize(4.0, 0.325, 0.325),
    "card": CARD,
    "authors": ("A. Tester",),
}
TOY_3D: dict[str, Any] = {
    "id": "toy-volume",
    "name": "Toy volume",
    "description": "A toy for tests.",
    "version": "0.1.0",
    "architecture": "FNet",
    "config": CONFIG_3D,
    "channels": ("Brightfield",),
    "stains": ("DNA", "membrane"),
    "dims": 3,
    "pixel_size": PixelSize(0.29, 0.108, 0.108),
    "card": Card(),
}


def lively(architecture: str, config: Mapping[str, Any], seed: int = 0) -> torch.nn.Module:
    """Build a network whose batch normalisations have seen something."""
    torch.manual_seed(seed)
    network = build(architecture, dict(config))
    for module in network.modules():
        if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network


def raw_image(dims: int, channels: int) -> np.ndarray:
    """A raw image (C, [Z,] Y, X)."""
    shape = (channels, 32, 48) if dims == 2 else (channels, 8, 16, 20)
    return np.random.default_rng(0).normal(1000, 90, shape).astype(np.float32)


def write_toy(path: Path, toy: Mapping[str, Any] = TOY_2D, **changes: Any) -> Path:
    """Write a toy's package."""
    settings = {**toy, **changes}
    image = settings.pop("test_input", raw_image(settings["dims"], len(settings["channels"])))
    network = settings.pop("network", None) or lively(settings["architecture"], settings["config"])
    return save_model(path, network, test_input=image, **settings)


def spoil(package: Path, target: Path, change: Callable[[dict[str, Any]], Any] | None = None, **files: bytes | None) -> Path:
    """Copy a package's folder with its description changed and files replaced (None: left out; ``__`` in a name stands for a dot)."""
    shutil.copytree(package, target)
    for name, data in files.items():
        at = target / name.replace("__", ".")
        at.unlink(missing_ok=True)
        if data is not None:
            at.write_bytes(data)
    if change is not None:
        rdf = target / "rdf.yaml"
        content = yaml.safe_load(rdf.read_text("utf-8"))
        change(content)
        rdf.write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
    return target


def with_weights(package: Path, target: Path, data: bytes) -> Path:
    """Copy a package's folder with other weights and their SHA-256."""

    def change(content: dict[str, Any]) -> None:
        content["weights"]["pytorch_state_dict"]["sha256"] = hashlib.sha256(data).hexdigest()

    return spoil(package, target, change, weights__pt=data)


def saved(value: Any) -> bytes:
    """Return what torch.save writes."""
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def zipped(folder: Path, target: Path, prefix: str = "") -> Path:
    """Pack a package's folder."""
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, prefix + path.name)
    return target


def core_verdict(package: Path) -> tuple[str, list[str]]:
    """Return status and errors of bioimageio.core's own test of a package."""
    from bioimageio.core import test_model

    gc.freeze()  # the library collects garbage four times a test, which takes seconds in a large process
    summary = test_model(package)
    return summary.status, [error.msg for error in summary.errors]
