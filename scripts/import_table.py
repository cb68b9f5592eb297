"""Prints the table of docs/import.md: every importer, its file, its parameters and its error against the original.

    python scripts/import_table.py [--checkpoints ../shared/checkpoints]

Files that the original programs wrote, with what they gave for one input beside them, are imported and run. Kinds without such a file are
built at their published sizes and counted. TorchScript and ONNX are exported from a bundled model, imported again and compared with it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from napari_virtual_paint.models import open_model
from napari_virtual_paint.models.export import export_model
from napari_virtual_paint.models.importers import import_model
from napari_virtual_paint.networks import build

HERE = Path(__file__).resolve().parents[1]
BUNDLED = "jurkat-brightfield"
FLAT = {"planes": 1, "out_planes": 1, "stem_planes": 1, "stem": 2, "out_widths": "384,192,8", "head": "shuffle", "flat_stem": True}
DEEP = {"planes": 21, "out_planes": 21, "stem_planes": 7, "out_widths": "384,192,736"}
PUBLISHED = [
    ("Cell Painting U-Net / cWGAN-GP, 3 to 5 channels", "UNet", {"batch_norm": False}, "31.09 M, 56 tensors"),
    ("Allen fnet 3D, both layouts", "FNet", {"dims": 3}, "23,280,769"),
    ("Allen fnet 2D, both layouts", "FNet", {"dims": 2}, "8,116,225"),
    ("pix2pixHD global, 3 to 3 channels", "Pix2PixHD", {}, "182.44 M"),
    ("VisCy VSCyto2D", "UNeXt2", {**FLAT, "encoder_bias": False, "encoder_eps": 1e-5}, "31.16 M"),
    ("VisCy VSCyto3D", "UNeXt2", {}, "32.04 M"),
    ("VisCy VSNeuromast", "UNeXt2", DEEP, "not stated"),
]
Row = tuple[str, ...]


def files(folder: Path, work: Path) -> Iterator[Row]:
    """Import every file that an original program wrote."""
    for path in sorted(folder.glob("*")):
        if path.suffix == ".npz":
            continue
        found = import_model(path, path.stem, work / path.stem)
        count = sum(weight.numel() for weight in open_model(found.path).network.parameters())
        yield found.kind, f"`{path.name}`", f"{count:,}", "no example" if found.error is None else f"{found.error:.1e}"


def sizes() -> Iterator[Row]:
    """Count the weights of the published sizes, without memory for them."""
    for kind, architecture, config, published in PUBLISHED:
        with torch.device("meta"):
            network = build(architecture, config)
        count, tensors = sum(weight.numel() for weight in network.parameters()), len(network.state_dict())
        yield kind, f"{count:,} in {tensors} tensors", published


def programs(work: Path) -> Iterator[Row]:
    """Bring a bundled model out and in again."""
    model = open_model(BUNDLED)
    given = torch.from_numpy(np.random.default_rng(0).normal(size=(1, len(model.info.channels), 64, 96)).astype(np.float32))
    count = sum(weight.numel() for weight in model.network.parameters())
    for kind, name in (("TorchScript", "out.pt"), ("ONNX", "out.onnx"), ("bioimage.io 0.5", "out.zip")):
        path = export_model(model, work / name).path
        again = open_model(import_model(path, f"again {name}", work / f"again-{name}-package").path)
        with torch.inference_mode():
            error = float((again.network(given) - model.network(given)).abs().max())
        yield kind, f"`{BUNDLED}` exported as `{name}`", f"{count:,}", f"{error:.1e}"


def table(header: Row, rows: list[Row]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in (header, ("---",) * len(header), *rows)]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=Path, default=HERE.parent / "shared" / "checkpoints", help="files of the original programs")
    folder = parser.parse_args().checkpoints
    with tempfile.TemporaryDirectory() as work:
        if not folder.is_dir():
            sys.exit(f"{folder}: there is no such folder; name one with the original programs' files by --checkpoints.")
        rows = [*files(folder, Path(work)), *programs(Path(work))]
    print(table(("what", "file", "parameters", "max abs error"), rows), end="\n\n")
    print(table(("published size", "built here", "published"), list(sizes())))


if __name__ == "__main__":
    main()
