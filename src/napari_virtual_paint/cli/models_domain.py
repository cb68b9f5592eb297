"""``virtual-paint models domain``: a package gets the summary of its training inputs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from napari_virtual_paint.cli._output import Progress, emit, split_list
from napari_virtual_paint.errors import InputError


def add_domain_parser(actions: Any) -> argparse.ArgumentParser:
    """Add ``models domain``."""
    parser: argparse.ArgumentParser = actions.add_parser(
        "domain",
        help="summarise a model's training inputs",
        description="Summarise the images that a model was trained on and keep that in its package, so that `virtual-paint domain`, "
        "`predict` and the Stain dock can tell how far a new image is from them. Models trained here have it already.",
    )
    parser.add_argument("model", metavar="MODEL", help="the id of a model, or the path of a package")
    parser.add_argument("--images", nargs="+", required=True, metavar="FILE", help="the training inputs, each an image of its own")
    parser.add_argument("--channels", metavar="A,B", help="their channels, by name or position, in the model's order")
    parser.add_argument("-o", "--output", metavar="OUT", help="the new package; by default the summary is put into the old one")
    parser.add_argument("--overwrite", action="store_true", help="replace what is at OUT")
    return parser


def run_domain(args: argparse.Namespace) -> int:
    """Run ``models domain`` and return the exit code."""
    from napari_virtual_paint.models import open_model
    from napari_virtual_paint.models.applicability.check import run_summary, summarise
    from napari_virtual_paint.models.applicability.store import add_domain
    from napari_virtual_paint.models.catalogue import bundled_folder
    from napari_virtual_paint.reading import read

    model = open_model(args.model)
    if args.output is None and Path(model.info.source).resolve().parent == bundled_folder().resolve():
        raise InputError(f"{model.info.id}: a bundled model is not changed; name the new package with -o.")
    stacks = [read(path) for path in args.images]
    channels = split_list(args.channels) if args.channels else None
    with Progress("Looking at the training inputs") as progress:
        domain = run_summary(summarise(model, stacks, channels=channels), lambda stage: progress.update(stage.done, stage.total))
    path = add_domain(Path(model.info.source), domain, args.output, overwrite=args.overwrite)
    size = len(domain.to_bytes())
    report = {
        "model": model.info.id,
        "output": str(path),
        "images": domain.images,
        "patches": domain.patches,
        "calibrated": domain.calibrated,
        "bytes": size,
    }
    images = f"{domain.images} image{'s' * (domain.images != 1)}"
    emit(
        report, f"{path}: {domain.patches} patches of {images}, {size / 1e3:.0f} kB, limits taken on {domain.calibrated}", as_json=args.json
    )
    return 0
