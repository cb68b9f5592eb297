"""Puts the summary of its training inputs into every bundled model, from the recipe that made it. Weights stay as they are, byte for byte.

    python scripts/add_domains.py [ID ...] [--output FOLDER]

Simulated fields are made anew by the recipe; the images of the others are looked for where it says. What a recipe with `refit` was
trained on is everything; of the others it is the part `train`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import zipfile
from pathlib import Path

import torch

from napari_virtual_paint.models import check_model, open_model
from napari_virtual_paint.training import load_config
from napari_virtual_paint.training.data.pairs import load
from napari_virtual_paint.training.package import keep_domain

HERE = Path(__file__).resolve().parents[1]
BUNDLED = HERE / "src" / "napari_virtual_paint" / "models" / "bundled"
RECIPES = HERE / "docs" / "recipes"
LIMIT = 4_000_000


def add(name: str, target: Path) -> str:
    """Write the package of a model with its summary, and return what to print."""
    config = load_config(RECIPES / f"{name}.yaml")
    source = BUNDLED / f"{name}.zip"
    if target != source:
        shutil.copyfile(source, target)
    before = _bytes(target, "weights.pt")
    data = load(config)
    keep_domain(target, data.whole() if config.refit else data)
    domain = open_model(target).domain
    assert domain is not None, f"{name}: nothing to summarize"
    assert _bytes(target, "weights.pt") == before, f"{name}: the weights changed"
    assert check_model(target).ok, f"{name}: {check_model(target).checks}"
    assert target.stat().st_size <= LIMIT, f"{name}: {target.stat().st_size} bytes"
    size = len(domain.to_bytes())
    return f"{name}: {domain.images} images, {domain.patches} patches, by {domain.calibrated}, {size:,} bytes of {target.stat().st_size:,}"


def _bytes(path: Path, name: str) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read(name)


def main() -> None:
    parser = argparse.ArgumentParser(description="Put the summary of its training inputs into every bundled model.")
    parser.add_argument("models", nargs="*", metavar="ID", help="which; all by default")
    parser.add_argument("--output", type=Path, help="a folder for the packages; by default those in the repository are replaced")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in args.models or sorted(path.stem for path in BUNDLED.glob("*.zip")):
        target = BUNDLED / f"{name}.zip" if args.output is None else args.output / f"{name}.zip"
        target.parent.mkdir(parents=True, exist_ok=True)
        print(add(name, target))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
