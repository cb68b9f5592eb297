"""`virtual-paint domain`: how far images are from what a model learned from."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.cli._output import emit, say, split_list, table
from napari_virtual_paint.errors import InputError

if TYPE_CHECKING:
    from napari_virtual_paint.models.applicability.check import DomainVerdict


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser of `virtual-paint`."""
    parser = subparsers.add_parser(
        "domain",
        help="how far images are from what a model learned from",
        description="Compare images with the summary of its training inputs that a model's package holds: a distance (up to 1 is inside), "
        "a verdict (inside, edge, outside) and the reason. `virtual-paint models domain` gives a package such a summary.",
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="images of any readable format")
    parser.add_argument("-m", "--model", required=True, metavar="MODEL", help="the id of a model, or a package")
    parser.add_argument("--channels", metavar="A,B", help="the images' channels, by name or position, in the model's order")
    parser.add_argument("--resample", action="store_true", help="judge them as `predict --resample` would paint them")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Check every image and print the verdicts.

    Raises
    ------
    InputError
        If the model's package holds no summary.
    """
    from napari_virtual_paint.models import open_model
    from napari_virtual_paint.models.applicability.check import check_domain
    from napari_virtual_paint.reading import read

    model = open_model(args.model)
    domain = model.domain
    if domain is None:
        raise InputError(
            f"{model.info.id}: its package holds no summary of its training inputs; "
            f"`virtual-paint models domain {args.model} --images FILE...` adds one."
        )
    channels = split_list(args.channels) if args.channels else None
    found: list[tuple[str, DomainVerdict | None]] = []
    for path in args.images:
        found.append((path, check_domain(model, read(path), channels=channels, resample=args.resample)))
        if found[-1][1] is None:
            say(f"{path}: it is empty, so there is nothing to compare.")
    rows = [{"image": path, **(_empty() if verdict is None else verdict.to_dict())} for path, verdict in found]
    summary = {"images": domain.images, "patches": domain.patches, "calibrated": domain.calibrated}
    emit({"model": model.info.id, "domain": summary, "images": rows}, _text(found), as_json=args.json)
    return 0


def _empty() -> dict[str, Any]:
    return {"distance": None, "verdict": None, "reasons": ["The image is empty."], "parts": {}}


def _text(found: list[tuple[str, DomainVerdict | None]]) -> str:
    """Return a line for each image and, below it, its reasons."""
    lines = table(
        ("image", "distance", "verdict"),
        [(path, "", "empty") if verdict is None else (path, f"{verdict.distance:.2f}", verdict.verdict) for path, verdict in found],
    ).split("\n")
    out = lines[:1]
    for line, (_, verdict) in zip(lines[1:], found, strict=True):
        out += [line, *(f"    {reason}" for reason in (verdict.reasons if verdict is not None else ()))]
    return "\n".join(out)
