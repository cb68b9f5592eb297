"""``virtual-paint models import|export|download``: import models of other systems, export and download models."""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from typing import TYPE_CHECKING

from napari_virtual_paint.cli._options import MODEL, Subparsers, add_json, add_overwrite
from napari_virtual_paint.cli._output import ProgressBar, print_notes, print_result, split_list
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.runtime.outputs import check_outputs, output_path

if TYPE_CHECKING:
    from napari_virtual_paint.models.importers import ImportQuestion
    from napari_virtual_paint.models.published import Published
    from napari_virtual_paint.stack import PixelSize

PACKAGE = "package to write, a folder or a .zip (default: in the folder of your own models)"


def add_import(actions: Subparsers) -> None:
    """Add ``models import``."""
    parser = actions.add_parser(
        "import",
        help="import a model of another system",
        description="Import a model of another virtual-staining system: Allen fnet (.p), the Cell Painting U-Net, pix2pixHD (_net_G.pth), "
        "VisCy (.ckpt), also as safetensors; TorchScript, ONNX, bioimage.io packages. Its kind and sizes are found in the file. "
        "What is not in the file is asked on a terminal.",
    )
    parser.add_argument("file", metavar="FILE", help="the file, or a bioimage.io package")
    parser.add_argument("--name", required=True, metavar="N", help="name of the model, from which its id is made")
    parser.add_argument("-o", "--output", metavar="FOLDER", help=PACKAGE)
    parser.add_argument("--outputs", metavar="A,B", help="names of the stains in the network's order")
    parser.add_argument("--inputs", metavar="A,B", help="names of the input channels in the network's order")
    parser.add_argument("--normalise", metavar="HOW", help="zscore, range ([-1, 1]), median ((x - median) / IQR) or none")
    parser.add_argument("--weights", metavar="NAME", help="which weights, where a checkpoint holds several (such as model and ema)")
    parser.add_argument("--range", metavar="LOW,HIGH", help="the pixel values that become -1 and 1, such as 0,255")
    parser.add_argument("--pixel-size", metavar="UM", help="pixel size of the training images in micrometers: one for y and x, or z,y,x")
    parser.add_argument("--force", action="store_true", help="import a model that is not sound, too; the warning stays in the package")
    add_overwrite(parser)
    add_json(parser)
    parser.set_defaults(func=run_import)


def add_export(actions: Subparsers) -> None:
    """Add ``models export``."""
    parser = actions.add_parser(
        "export",
        help="export a model for other programs",
        description="Write a bioimage.io package (.zip or folder), TorchScript (.pt) or ONNX (.onnx), checked against the original.",
    )
    parser.add_argument("model", metavar="MODEL", help=MODEL)
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="OUT.zip, OUT.pt, OUT.onnx or a folder")
    add_overwrite(parser)
    add_json(parser)
    parser.set_defaults(func=run_export)


def add_download(actions: Subparsers) -> None:
    """Add ``models download``."""
    parser = actions.add_parser(
        "download",
        help="download a published model",
        description="Download a published model (see models list --online), check its SHA-256 and import it. If it is interrupted, the "
        "same command goes on.",
    )
    parser.add_argument("model", metavar="ID", help="id of a published model")
    parser.add_argument("-o", "--output", metavar="FOLDER", help=PACKAGE)
    parser.add_argument("--sha256", metavar="HEX", help="SHA-256 of the file, for a model whose home states none")
    add_overwrite(parser)
    add_json(parser)
    parser.set_defaults(func=run_download)


def run_import(args: argparse.Namespace) -> int:
    """Import a model and print what was found in it."""
    args.output = None if args.output is None else output_path(args.output)
    check_outputs([args.output], [args.file])
    from napari_virtual_paint.models.importers import Wishes, import_model, parse_range

    wishes = Wishes(
        outputs=_names(args.outputs, "--outputs"),
        inputs=_names(args.inputs, "--inputs"),
        normalise=args.normalise,
        value_range=None if args.range is None else parse_range(args.range),
        pixel_size=None if args.pixel_size is None else _pixel_size(args.pixel_size),
        weights=args.weights,
    )
    command = shlex.join(["virtual-paint", *sys.argv[1:]]) if sys.argv[1:2] == ["models"] else ""
    interactive = not args.json and sys.stdin is not None and sys.stdin.isatty()
    ask = _ask if interactive else None
    found = import_model(args.file, args.name, args.output, wishes, overwrite=args.overwrite, force=args.force, ask=ask, command=command)
    print_notes(found.notes)
    info = found.info
    lines = [f"{found.kind}: {', '.join(info.channels)} -> {', '.join(info.stains)}", f"{found.path}"]
    print_result(found.to_dict(), "\n".join(lines), as_json=args.json)
    return 0


def run_export(args: argparse.Namespace) -> int:
    """Export a model and print the error of its conversion."""
    from napari_virtual_paint.models.catalogue import locate

    args.output = output_path(args.output)
    check_outputs([args.output], [locate(args.model)])
    from napari_virtual_paint.models import open_model
    from napari_virtual_paint.models.export import export_model

    found = export_model(open_model(args.model), args.output, overwrite=args.overwrite)
    error = "nothing was converted" if found.error is None else f"max abs error {found.error:.2g} (output SD {found.deviation:.2g})"
    print_result(found.to_dict(), f"{found.path}: {found.format}, {error}", as_json=args.json)
    return 0


def run_online(args: argparse.Namespace) -> int:
    """Print the published models."""
    from napari_virtual_paint.models.published import published

    entries = published()
    lines = [f"{entry.id}  {_size(entry)}  {entry.licence}  {entry.title}\n    {entry.home}" for entry in entries]
    print_result({"models": [entry.to_dict() for entry in entries]}, "\n".join(lines), as_json=args.json)
    return 0


def run_download(args: argparse.Namespace) -> int:
    """Download a published model and import it."""
    from napari_virtual_paint.models.own_models import add_published
    from napari_virtual_paint.models.published import find, with_digest

    args.output = None if args.output is None else output_path(args.output)
    entry = find(args.model)
    if args.sha256 is not None:
        entry = with_digest(entry, args.sha256)
    with ProgressBar(f"fetching {entry.id}") as bar:
        found = run_to_end(add_published(entry, args.output, overwrite=args.overwrite), bar.show)
    text = f"{found.path}\n{found.kind}, {entry.licence}, {entry.home}"
    print_result({**found.to_dict(), "source": entry.to_dict()}, text, as_json=args.json)
    return 0


def _size(entry: Published) -> str:
    """Return the size of a published file, and whether --sha256 is needed."""
    size = "size not stated" if entry.megabytes is None else f"{entry.megabytes:g} MB"
    if entry.url is None:
        return "by hand"
    return size if entry.sha256 else f"{size}, needs --sha256"


def _ask(question: ImportQuestion) -> str:
    """Return the answer of the user on the terminal; the question goes to stderr, like everything that is no result."""
    print(f"{question.text} [{question.default}] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline()


def _names(text: str | None, option: str) -> tuple[str, ...] | None:
    """Return the names in ``A,B``."""
    if text is None:
        return None
    names = split_list(text)
    if not names:
        raise InputError(f"{option} needs at least one name.")
    return names


def _pixel_size(text: str) -> PixelSize:
    """Return a pixel size written as one number or three."""
    from napari_virtual_paint.stack import PixelSize

    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 3) or not all(math.isfinite(number) and number > 0 for number in numbers):
        raise InputError(f"--pixel-size is one number of micrometers, or z,y,x, not {text!r}.")
    return PixelSize(None, numbers[0], numbers[0]) if len(numbers) == 1 else PixelSize(*numbers)
