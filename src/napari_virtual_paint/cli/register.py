"""`virtual-paint register`: find the position of an image in a stain from another microscope, by the stain that a model paints of it."""

from __future__ import annotations

import argparse
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.choices import TransformKind, values_of
from napari_virtual_paint.cli import COMMANDS
from napari_virtual_paint.cli._options import (
    add_axes,
    add_channels,
    add_device,
    add_json,
    add_overwrite,
    add_synonyms,
    axes_of_two,
    read_image,
    synonyms_of,
)
from napari_virtual_paint.cli._output import ProgressBar, jsonable, print_note, print_notes, print_result
from napari_virtual_paint.cli._parser import number
from napari_virtual_paint.cli.predict import check_output, write_image
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.runtime.json_file import read_object
from napari_virtual_paint.runtime.outputs import check_outputs, output_path, shown_path

if TYPE_CHECKING:
    from napari_virtual_paint.models import Model
    from napari_virtual_paint.registration import Registered
    from napari_virtual_paint.stack import Stack

FAILED = 1  # exit code if the images match nowhere; the matrix is null then, and nothing is written


class _ModelOrKind(argparse.Action):
    """Stores a model, or the name of a transform, which some call the model of a registration."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: str | None = None
    ) -> None:
        """Store the value as what it is."""
        setattr(namespace, "kind" if values in values_of(TransformKind) else self.dest, values)


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser of `virtual-paint`."""
    parser = subparsers.add_parser(
        "register",
        help=COMMANDS["register"],
        description="Paint the stain from IMAGE and find it in STAIN, a real stain of the same cells from another microscope "
        "(Ounkomol 2018, Fig. 2). If they match nowhere, the exit code is 1 and nothing is written.",
    )
    parser.add_argument("image", metavar="IMAGE", help="image to register: a file or folder of any readable format")
    parser.add_argument("target", metavar="STAIN", help="image to register it onto")
    parser.add_argument(
        "-m", "--model", action=_ModelOrKind, metavar="MODEL", help="model that paints the stain; without one, IMAGE itself is registered"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="OUT", help="write IMAGE on STAIN's grid (.ome.tif, .ome.zarr), and its JSON")
    parser.add_argument("--painted", action="store_true", help="write the painted stains instead of IMAGE")
    parser.add_argument(
        "--channel", metavar="NAME", help="channel of STAIN, by name or position (default: the first that the model paints)"
    )
    parser.add_argument(
        "--stain", metavar="NAME", help="stain of the model, or channel of IMAGE without a model (default: the one called as --channel)"
    )
    add_channels(parser)
    add_axes(parser, roles="IMAGE,STAIN")
    add_synonyms(parser)
    parser.add_argument(
        "--transform", "--fit", dest="kind", choices=values_of(TransformKind), default="similarity", help="default: %(default)s"
    )
    parser.add_argument(
        "--rotation", type=number(0, 180), default=15.0, metavar="DEG", help="largest rotation, in both directions (default: %(default)g)"
    )
    parser.add_argument(
        "--scale", type=number(1, 4), default=1.15, metavar="FACTOR", help="largest scaling, up and down (default: %(default)g)"
    )
    add_device(parser)
    add_overwrite(parser, "replace an OME-Zarr image or a .json that another program wrote")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Read the images, paint, register, write the result and print it."""
    output = None if args.output is None else output_path(args.output)
    if output is not None:
        check_output(output, args.image, args.target, overwrite=args.overwrite)
        _check_sidecar(sidecar(output), args)
    if args.painted and args.model is None:
        raise InputError("--painted writes the stains that a model paints; name one with -m.")
    from napari_virtual_paint.models import open_model

    model = None if args.model is None else open_model(args.model)
    image, target = map(read_image, (args.image, args.target), axes_of_two(args))
    found = _register(args, image, target, model)
    print_notes(found.notes)
    report = found.to_json()
    if found.registration.converged and output is not None:
        report |= _write(found, image, target, output, painted=args.painted)
    print_result(report, as_text(found, report.get("output"), report.get("sidecar")), as_json=args.json)
    if not found.registration.converged:
        print_note(f"not registered. {found.registration.reason}")
        return FAILED
    return 0


def _register(args: argparse.Namespace, image: Stack, target: Stack, model: Model | None) -> Registered:
    """Register with a progress bar on stderr."""
    from napari_virtual_paint.painting import PaintSettings
    from napari_virtual_paint.registration import RegistrationSettings, register_images

    work: Generator[Any, None, Registered] = register_images(
        image,
        target,
        model,
        channel=args.channel,
        stain=args.stain,
        settings=RegistrationSettings(args.kind, args.rotation, args.scale),
        painting=PaintSettings(device=args.device, channels=args.channels),
        synonyms=synonyms_of(args),
    )
    with ProgressBar("Registering") as progress:
        return run_to_end(work, lambda step: progress.update(step.done, step.total))


def _write(found: Registered, image: Stack, target: Stack, output: Path, *, painted: bool) -> dict[str, str]:
    """Write the registered image and, beside it, the matrix."""
    import json

    from napari_virtual_paint.registration import resample
    from napari_virtual_paint.runtime.atomic_write import write_text

    source = found.painting.stack if painted and found.painting is not None else image
    written = write_image(resample(source, target, found.registration), output)
    matrix = sidecar(output)
    write_text(matrix, json.dumps(jsonable(found.to_json()), allow_nan=False, indent=2) + "\n")
    return {"output": str(written), "sidecar": str(matrix)}


def sidecar(output: Path) -> Path:
    """Return the path of the matrix: that of the image with .json instead of its suffixes."""
    from napari_virtual_paint.writing.api import SUFFIXES

    suffix = next((suffix for suffix in SUFFIXES if output.name.casefold().endswith(suffix)), "")
    return output.with_name(f"{output.name[: len(output.name) - len(suffix)]}.json")


def _check_sidecar(path: Path, args: argparse.Namespace) -> None:
    """Raise an `InputError` if the file of the matrix would replace an input, or a file that is no matrix of an earlier registration."""
    check_outputs([path], [args.image, args.target])
    ours = {"moving", "fixed", "converged"} <= (read_object(path) or {}).keys()
    if not args.overwrite and not ours and (path.exists() or path.is_symlink()):
        raise InputError(
            f"{shown_path(path)}: the matrix is written there, and a file that is none exists; choose another -o, or replace it with "
            "--overwrite."
        )


def as_text(found: Registered, *written: str | None) -> str:
    """Return the result in a few lines, with the files that were written."""
    from napari_virtual_paint.registration import describe

    if not found.registration.converged:
        return f"{found.moving} was not found in {found.fixed}."
    lines = [f"{found.moving} was found in {found.fixed}. {describe(found.registration)}", found.registration.reason]
    files = [path for path in written if path]
    return "\n".join([*lines, *([f"Written: {' and '.join(files)}."] if files else [])])
