"""`virtual-paint domain`: check how far images are from a model's training images."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.cli import COMMANDS
from napari_virtual_paint.cli._options import MODEL, add_axes, add_channels, add_json, read_image
from napari_virtual_paint.cli._output import print_note, print_result, table
from napari_virtual_paint.errors import InputError

if TYPE_CHECKING:
    from napari_virtual_paint.models.applicability.check import DomainVerdict


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser of `virtual-paint`."""
    parser = subparsers.add_parser(
        "domain",
        help=COMMANDS["domain"],
        description="Compare images with the summary of the training images in a model's package: a distance (up to 1 is inside), a "
        "verdict (inside, edge, outside) and the reason. `virtual-paint models domain` adds such a summary to a package.",
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="images of any readable format")
    parser.add_argument("-m", "--model", required=True, metavar="MODEL", help=MODEL)
    add_channels(parser)
    add_axes(parser)
    parser.add_argument("--resample", action="store_true", help="check them as `predict --resample` would paint them")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Check every image and print the verdicts.

    Raises `InputError` if the model's package has no summary.
    """
    from napari_virtual_paint.models import open_model
    from napari_virtual_paint.models.applicability.check import check_domain

    model = open_model(args.model)
    domain = model.domain
    if domain is None:
        raise InputError(
            f"{model.info.id}: its package has no summary of its training images; "
            f"`virtual-paint models domain {args.model} --images FILE...` adds one."
        )
    verdicts: list[tuple[str, DomainVerdict | None]] = []
    for path in args.images:
        verdicts.append((path, check_domain(model, read_image(path, args.axes), channels=args.channels, resample=args.resample)))
        if verdicts[-1][1] is None:
            print_note(f"{path}: it is empty, so there is nothing to compare.")
    empty: dict[str, Any] = {"distance": None, "verdict": None, "reasons": ["The image is empty."], "parts": {}}
    rows = [{"image": path, **(empty if verdict is None else verdict.to_dict())} for path, verdict in verdicts]
    summary = {"images": domain.images, "patches": domain.patches, "calibrated": domain.calibrated}
    print_result({"model": model.info.id, "domain": summary, "images": rows}, _text(verdicts), as_json=args.json)
    return 0


def _text(verdicts: list[tuple[str, DomainVerdict | None]]) -> str:
    """Return a line for each image and, below it, its reasons."""
    lines = table(
        ("image", "distance", "verdict"),
        [(path, "", "empty") if verdict is None else (path, f"{verdict.distance:.2f}", verdict.verdict) for path, verdict in verdicts],
    ).split("\n")
    out = lines[:1]
    for line, (_, verdict) in zip(lines[1:], verdicts, strict=True):
        out += [line, *(f"    {reason}" for reason in (verdict.reasons if verdict is not None else ()))]
    return "\n".join(out)
