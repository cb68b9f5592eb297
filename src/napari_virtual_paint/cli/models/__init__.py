"""``virtual-paint models ...``: list, show, check and describe models; see `rank` and `convert`, too."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_virtual_paint.cli import COMMANDS
from napari_virtual_paint.cli._options import MODEL, Subparsers, add_axes, add_channels, add_json, add_overwrite, read_image
from napari_virtual_paint.cli._output import ProgressBar, print_result
from napari_virtual_paint.cli.models import convert, rank
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.runtime.outputs import check_outputs, output_path
from napari_virtual_paint.runtime.text import counted

if TYPE_CHECKING:
    from napari_virtual_paint.models import CheckReport, ModelInfo

FAILED = 2  # exit code of a check that fails


def add_parser(subparsers: Subparsers) -> None:
    """Add the command and its actions to the parser of ``virtual-paint``."""
    parser = subparsers.add_parser(
        "models", help=COMMANDS["models"], description="Models: list, show, check, rank, import and export them."
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|show|check|rank|import|export|download|domain")
    _add_list(actions)
    show = actions.add_parser("show", help="show a model's card", description="Show the inputs and outputs of a model, and its card.")
    show.add_argument("model", metavar="ID", help=MODEL)
    add_json(show)
    show.set_defaults(func=run_show)
    check = actions.add_parser(
        "check",
        help="check a package",
        description="Check a package: SHA-256, specification, weights, shapes, test output reproduced. Exit code 2 if it fails.",
    )
    check.add_argument("model", metavar="PATH", help=MODEL)
    add_json(check)
    check.set_defaults(func=run_check)
    rank.add_rank(actions)
    convert.add_import(actions)
    convert.add_export(actions)
    convert.add_download(actions)
    _add_domain(actions)


def run(args: argparse.Namespace) -> int:
    """Run an action and return the exit code."""
    return int(args.func(args))


def _add_list(actions: Subparsers) -> None:
    """Add ``models list``."""
    parser = actions.add_parser("list", help="list the models", description="List the bundled models and your own.")
    parser.add_argument("--online", action="store_true", help="list the published models that can be downloaded; nothing is fetched")
    add_json(parser)
    parser.set_defaults(func=run_list)


def _add_domain(actions: Subparsers) -> None:
    """Add ``models domain``."""
    parser = actions.add_parser(
        "domain",
        help="summarize a model's training images",
        description="Summarize the images that a model was trained on and keep that in its package, so that `virtual-paint domain`, "
        "`predict` and the Stain dock can show how far a new image is from them. Models trained here have it already.",
    )
    parser.add_argument("model", metavar="MODEL", help=MODEL)
    parser.add_argument("--images", nargs="+", required=True, metavar="FILE", help="the training images (inputs only)")
    add_channels(parser)
    add_axes(parser)
    parser.add_argument("-o", "--output", metavar="OUT", help="the new package (default: add the summary to the existing one)")
    add_overwrite(parser)
    add_json(parser)
    parser.set_defaults(func=run_domain)


def run_domain(args: argparse.Namespace) -> int:
    """Summarise the training images and add the summary to the package."""
    args.output = None if args.output is None else output_path(args.output)
    from napari_virtual_paint.models.catalogue import locate

    check_outputs([args.output], [locate(args.model), *args.images])
    from napari_virtual_paint.models import open_model
    from napari_virtual_paint.models.applicability.check import summarize
    from napari_virtual_paint.models.catalogue import bundled_folder
    from napari_virtual_paint.models.package.copying import add_domain

    model = open_model(args.model)
    if args.output is None and Path(model.info.source).resolve().parent == bundled_folder().resolve():
        raise InputError(f"{model.info.id}: a bundled model is not changed; name the new package with -o.")
    stacks = [read_image(path, args.axes) for path in args.images]
    with ProgressBar("Reading the training images") as progress:
        domain = run_to_end(summarize(model, stacks, channels=args.channels), lambda stage: progress.update(stage.done, stage.total))
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
    images = counted(domain.images, "image")
    print_result(
        report, f"{path}: {domain.patches} patches of {images}, {size / 1e3:.0f} kB, limits taken on {domain.calibrated}", as_json=args.json
    )
    return 0


def run_list(args: argparse.Namespace) -> int:
    """Print the models, bundled and the user's own, or those that are published."""
    if args.online:
        return convert.run_online(args)
    from napari_virtual_paint.models import scan, user_folder

    models, problems = scan()
    for problem in problems:
        print(f"Left out: {problem}", file=sys.stderr)
    report = {"models": [info.to_dict() for info in models], "problems": problems, "folder": str(user_folder())}
    rows = [("ID", "VERSION", "FROM", "TO")]
    rows += [(info.id, info.version, _inputs(info), ", ".join(info.stains)) for info in models]
    print_result(report, _table(rows), as_json=args.json)
    if not args.json:
        print(f"Your own models are in {user_folder()}", file=sys.stderr)
    return 0


def _inputs(info: ModelInfo) -> str:
    """Return the inputs of a model, in short."""
    if info.planes_as_channels and len(info.channels) > 3:
        return f"{len(info.channels)} planes ({info.channels[0]} to {info.channels[-1]})"
    return ", ".join(info.channels) + (" (z-stack)" if info.dims == 3 else "")


def run_show(args: argparse.Namespace) -> int:
    """Print the description and the card of a model."""
    from napari_virtual_paint.models import open_model

    info = open_model(args.model).info
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
        ("domain", "known" if info.domain is not None else "not known: images can't be compared with the training images"),
        *(("warning", warning) for warning in info.warnings),
    ]
    text = "\n\n".join((_table(rows), info.description, info.card.to_markdown(info.name).removesuffix("\n")))
    print_result(info.to_dict(), text, as_json=args.json)
    return 0


def run_check(args: argparse.Namespace) -> int:
    """Check a package and print the report."""
    from napari_virtual_paint.models import check_model

    report = check_model(args.model)
    print_result(report.to_dict(), _report(report), as_json=args.json)
    return 0 if report.ok else FAILED


def _report(report: CheckReport) -> str:
    """Return the rows of a report and the verdict as text."""
    rows = [("ok" if row.ok else "FAILED", row.name, row.detail) for row in report.checks]
    verdict = "sound" if report.ok else "not sound"
    return f"{_table(rows)}\n{report.path}: {verdict}"


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    """Return rows with all columns aligned but the last one."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return "\n".join("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in rows)
