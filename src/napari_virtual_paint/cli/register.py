"""`virtual-paint register`: where an image lies in a stain of another modality, by the stain that a model paints of it."""

from __future__ import annotations

import argparse
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.cli._options import channel_list
from napari_virtual_paint.cli._output import ProgressBar, emit, jsonable, say
from napari_virtual_paint.cli.predict import check_output, write_whole
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.generators import run_to_end

if TYPE_CHECKING:
    from napari_virtual_paint.models import Model
    from napari_virtual_paint.registration import Registered, RegistrationSettings
    from napari_virtual_paint.stack import Stack

FAILED = 1
"""Exit code where the images match nowhere: the matrix is null then, and nothing is written."""


KINDS = ("translation", "rigid", "similarity")


class _ModelOrKind(argparse.Action):
    """Takes a model, or the name of a transform: to some, that is the model of a registration."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: str | None = None
    ) -> None:
        """Keep it where it belongs."""
        setattr(namespace, "kind" if values in KINDS else self.dest, values)


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser of `virtual-paint`."""
    parser = subparsers.add_parser(
        "register",
        help="find where an image lies in a stain of another modality",
        description="Paint the stain from IMAGE and find it in STAIN, a real stain of the same cells from another microscope "
        "(Ounkomol 2018, Fig. 2). The exit code is 1 where they match nowhere; nothing is written then.",
    )
    parser.add_argument("image", metavar="IMAGE", help="the image to register: a file or folder of any readable format")
    parser.add_argument("target", metavar="STAIN", help="the image to register it onto")
    parser.add_argument(
        "-m", "--model", action=_ModelOrKind, metavar="MODEL", help="paints the stain; without it IMAGE is registered as it is"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="OUT", help="write IMAGE on STAIN's grid (.ome.tif, .ome.zarr), and its JSON")
    parser.add_argument("--painted", action="store_true", help="write the painted stains in place of IMAGE")
    parser.add_argument("--channel", metavar="NAME", help="STAIN's channel, by name or position (default: the first that the model paints)")
    parser.add_argument("--stain", metavar="NAME", help="the model's stain, else IMAGE's channel (default: named as --channel)")
    parser.add_argument("--channels", type=channel_list, metavar="A,B", help="IMAGE's channels in the model's order")
    parser.add_argument(
        "--transform",
        "--fit",
        dest="kind",
        choices=KINDS,
        default="similarity",
        help="default: %(default)s",
    )
    parser.add_argument("--rotation", type=float, default=15.0, metavar="DEG", help="largest rotation, both ways (default: %(default)g)")
    parser.add_argument(
        "--scale", type=float, default=1.15, metavar="FACTOR", help="largest factor of size, both ways (default: %(default)g)"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="default: %(default)s, the fastest")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Read, paint, register, write, report."""
    output = None if args.output is None else args.output.expanduser()
    if output is not None:
        check_output(output, args.image)
        check_output(output, args.target)
    if args.painted and args.model is None:
        raise InputError("--painted writes the stains that a model paints; name one with -m.")
    from napari_virtual_paint.models import open_model
    from napari_virtual_paint.reading import read

    model = None if args.model is None else open_model(args.model)
    image, target = read(args.image), read(args.target)
    found = _register(args, image, target, model)
    for note in found.notes:
        say(note)
    report = found.to_json()
    if found.registration.converged and output is not None:
        report |= _write(found, image, target, output, painted=args.painted)
    emit(report, as_text(report), as_json=args.json)
    if not found.registration.converged:
        say(f"not registered. {found.registration.reason}")
        return FAILED
    return 0


def settings_of(args: argparse.Namespace) -> RegistrationSettings:
    """Return the options as one value."""
    from napari_virtual_paint.registration import RegistrationSettings

    return RegistrationSettings(args.kind, args.rotation, args.scale)


def _register(args: argparse.Namespace, image: Stack, target: Stack, model: Model | None) -> Registered:
    """Register under a progress bar on stderr."""
    from napari_virtual_paint.painting import PaintSettings
    from napari_virtual_paint.registration import register_images

    work: Generator[Any, None, Registered] = register_images(
        image,
        target,
        model,
        channel=args.channel,
        stain=args.stain,
        settings=settings_of(args),
        painting=PaintSettings(device=args.device, channels=args.channels),
    )
    with ProgressBar("Registering") as progress:
        return run_to_end(work, lambda step: progress.update(step.done, step.total))


def _write(found: Registered, image: Stack, target: Stack, output: Path, *, painted: bool) -> dict[str, str]:
    """Write the registered image and, beside it, the matrix."""
    import json

    from napari_virtual_paint.registration import resample
    from napari_virtual_paint.runtime.atomic_write import write_text

    source = found.painting.stack if painted and found.painting is not None else image
    written = write_whole(resample(source, target, found.registration), output)
    matrix = sidecar(output)
    write_text(matrix, json.dumps(jsonable(found.to_json()), allow_nan=False, indent=2) + "\n")
    return {"output": str(written), "sidecar": str(matrix)}


def sidecar(output: Path) -> Path:
    """Return the name of the matrix's file: the image's name with .json for its suffixes."""
    name = output.name
    for suffix in (".ome.tiff", ".ome.tif", ".ome.zarr", ".tiff", ".tif", ".zarr"):
        if name.casefold().endswith(suffix):
            name = name[: -len(suffix)]
            break
    return output.with_name(f"{name}.json")


def as_text(report: dict[str, Any]) -> str:
    """Return the report in a few lines for a person."""
    if not report["converged"]:
        return f"{report['moving']} was not found in {report['fixed']}."
    shift, unit = (report["shift_um"], "um") if report["shift_um"] is not None else (report["shift_px"], "px")
    lines = [
        f"{report['moving']} lies in {report['fixed']}: shifted by {shift[0]:.2f}, {shift[1]:.2f} {unit} (y, x), "
        f"turned by {report['rotation_deg']:.2f} degrees, scaled by {report['scale']:.4f}.",
        f"Correlation {report['correlation']:.3f}, {report['correlation_before'] or 0:.3f} before. {report['reason']}",
    ]
    lines += [f"Written: {report['output']} and {report['sidecar']}."] if "output" in report else []
    return "\n".join(lines)
