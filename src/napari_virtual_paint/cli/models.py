"""``virtual-paint models list|show|check|import|export|download|domain``: the models, their cards, and those of other systems."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari_virtual_paint.cli import models_convert as foreign
from napari_virtual_paint.cli._output import ProgressBar, emit, split_list
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.models import CheckReport, ModelInfo, check_model, open_model, scan, user_folder
from napari_virtual_paint.runtime.generators import run_to_end


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
    from napari_virtual_paint.models.applicability.check import summarise
    from napari_virtual_paint.models.catalogue import bundled_folder
    from napari_virtual_paint.models.package.copying import add_domain
    from napari_virtual_paint.reading import read

    model = open_model(args.model)
    if args.output is None and Path(model.info.source).resolve().parent == bundled_folder().resolve():
        raise InputError(f"{model.info.id}: a bundled model is not changed; name the new package with -o.")
    stacks = [read(path) for path in args.images]
    channels = split_list(args.channels) if args.channels else None
    with ProgressBar("Looking at the training inputs") as progress:
        domain = run_to_end(summarise(model, stacks, channels=channels), lambda stage: progress.update(stage.done, stage.total))
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


FAILED = 2
"""Exit code of a check that fails."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add the command to those of ``virtual-paint``; ``args.func(args)`` runs it and gives the exit code."""
    parser = subparsers.add_parser("models", help="list, show, check, import and export models", description="Models.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|show|check|import|export|download|domain")
    listing = actions.add_parser("list", help="which models there are", description="List the bundled models and your own.")
    showing = actions.add_parser("show", help="a model's card", description="Show what a model wants, what it gives, and its card.")
    showing.add_argument("model", metavar="ID", help="the id of a model, or the path of a package")
    checking = actions.add_parser(
        "check",
        help="whether a package is sound",
        description="Check a package: SHA-256, specification, weights, shapes, test output reproduced. Exit code 2 if it fails.",
    )
    checking.add_argument("model", metavar="PATH", help="a package (folder or .zip), or the id of a model")
    listing.add_argument("--online", action="store_true", help="the published models that can be downloaded; nothing is fetched")
    more = foreign.add_import(actions), foreign.add_export(actions), foreign.add_download(actions), add_domain_parser(actions)
    for action in (listing, showing, checking, *more):
        action.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.set_defaults(func=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Run ``virtual-paint models`` and return the exit code.

    Raises
    ------
    ModelError
        If the model to show does not exist or can't be used.
    """
    if args.action in foreign.ACTIONS:
        return foreign.ACTIONS[args.action](args)
    if args.action == "domain":
        return run_domain(args)
    if args.action == "list" and args.online:
        return foreign.run_online(args)
    if args.action == "list":
        return _list(args.json)
    if args.action == "show":
        return _show(args.model, args.json)
    return _check(args.model, args.json)


def _list(as_json: bool) -> int:
    models, problems = scan()
    for problem in problems:
        print(f"Left out: {problem}", file=sys.stderr)
    if as_json:
        _print_json({"models": [info.to_dict() for info in models], "problems": problems, "folder": str(user_folder())})
        return 0
    rows = [("ID", "VERSION", "FROM", "TO")]
    rows += [(info.id, info.version, _inputs(info), ", ".join(info.stains)) for info in models]
    print(_table(rows))
    print(f"Your own models are looked for in {user_folder()}", file=sys.stderr)
    return 0


def _inputs(info: ModelInfo) -> str:
    """Return what a model is given, short."""
    if info.planes_as_channels and len(info.channels) > 3:
        return f"{len(info.channels)} planes ({info.channels[0]} to {info.channels[-1]})"
    return ", ".join(info.channels) + (" (z-stack)" if info.dims == 3 else "")


def _show(model: str, as_json: bool) -> int:
    info = open_model(model).info
    if as_json:
        _print_json(info.to_dict())
        return 0
    sizes = [f"{axis} {size:g} um" for axis, size in zip("zyx", info.pixel_size, strict=True) if size is not None]
    rows = [
        ("id", info.id),
        ("version", info.version),
        ("licence", info.license),
        ("authors", ", ".join(info.authors) or "not stated"),
        ("from", _inputs(info)),
        ("to", ", ".join(info.stains)),
        ("works on", "volumes" if info.dims == 3 else "planes"),
        ("trained at", ", ".join(sizes) or "not stated"),
        ("weights", f"{info.weights} ({info.architecture or 'a program of its own'})"),
        ("package", str(info.source)),
        ("domain", "known" if info.domain is not None else "not known: no image can be compared with the training inputs"),
        *(("warning", warning) for warning in info.warnings),
    ]
    print(_table(rows), end="\n\n")
    print(info.description, end="\n\n")
    print(info.card.to_markdown(info.name), end="")
    return 0


def _check(model: str, as_json: bool) -> int:
    report = check_model(model)
    if as_json:
        _print_json(report.to_dict())
    else:
        print(_report(report))
    return 0 if report.ok else FAILED


def _report(report: CheckReport) -> str:
    """Return the rows of a report and the verdict."""
    rows = [("ok" if row.ok else "FAILED", row.name, row.detail) for row in report.checks]
    verdict = "sound" if report.ok else "not sound"
    return f"{_table(rows)}\n{report.path}: {verdict}"


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    """Return rows with their columns aligned; the last column is as long as it is."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return "\n".join("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in rows)


def _print_json(value: dict[str, Any]) -> None:
    emit(value, "", as_json=True)
