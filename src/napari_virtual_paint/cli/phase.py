"""`virtual-paint phase`: reconstruct the phase from brightfield planes at different focus."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.choices import PhaseMode, values_of
from napari_virtual_paint.cli import COMMANDS
from napari_virtual_paint.cli._options import add_axes, add_json, add_overwrite, read_image
from napari_virtual_paint.cli._output import ProgressBar, print_notes, print_result
from napari_virtual_paint.cli._parser import number, whole_number
from napari_virtual_paint.cli.predict import check_output, write_image
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.runtime.outputs import output_path

if TYPE_CHECKING:
    from napari_virtual_paint.preprocessing import Microscope
    from napari_virtual_paint.stack import PixelSize, Stack

OPTICS = {"na": "--na", "condenser_na": "--condenser-na", "wavelength": "--wavelength", "index": "--index"}
"""Field of a microscope -> its option."""


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser of `virtual-paint`."""
    parser = subparsers.add_parser(
        "phase",
        help=COMMANDS["phase"],
        description="Reconstruct the phase of cells from brightfield planes at different focus, in 2D (a thin object) or in 3D. "
        "Models that were trained on phase take it as their image.",
    )
    parser.add_argument("stack", metavar="STACK", help="brightfield z-stack of any readable format")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="PHASE", help="file to write: .ome.tif or .ome.zarr")
    parser.add_argument("--na", type=number(above=0, most=2), metavar="NA", help="numerical aperture of the objective")
    parser.add_argument("--condenser-na", type=number(above=0, most=2), metavar="NA", help="numerical aperture of the illumination")
    parser.add_argument("--wavelength", type=number(above=0, most=2), metavar="UM", help="wavelength in micrometers (default: 0.532)")
    parser.add_argument(
        "--index",
        type=number(1, 2),
        metavar="N",
        help="refractive index in front of the objective: air 1.0, water 1.33, oil 1.515 (default: 1.33)",
    )
    parser.add_argument(
        "--microscope", metavar="NAME", help="keep these optics under a name; with the name alone, use those that were kept"
    )
    parser.add_argument("--pixel-size", type=_pixel_size, metavar="Z,Y,X", help="micrometers (default: the file's)")
    parser.add_argument(
        "--channel", metavar="NAME", help="channel of the brightfield, by name or position (default: the one called so, or the only one)"
    )
    parser.add_argument(
        "--mode", choices=values_of(PhaseMode), help="2d: one plane, for thin cells; 3d: all planes (default: 3d from eight planes on)"
    )
    parser.add_argument("--regularization", type=number(above=0), metavar="X", help="strength; more is smoother (default: 0.001)")
    parser.add_argument(
        "--z-padding",
        type=whole_number(0, 10_000),
        default=0,
        metavar="N",
        help="planes added at both ends in 3D, by reflection (default: %(default)s)",
    )
    parser.add_argument("--invert", action="store_true", help="the planes were taken in the opposite direction: change the sign")
    add_axes(parser)
    add_overwrite(parser, "replace an OME-Zarr image that another program wrote")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Read the stack, reconstruct, write the phase and print the report."""
    output = output_path(args.output)
    check_output(output, args.stack, overwrite=args.overwrite)
    microscope = _microscope(args)
    from napari_virtual_paint.preprocessing import PhaseSettings, reconstruct_phase, save_microscope

    stack = read_image(args.stack, args.axes)
    channel = _channel(stack, args.channel)
    settings = PhaseSettings(microscope, args.mode, args.regularization, args.z_padding, args.invert)
    with ProgressBar("Reconstructing phase") as progress:
        phase = run_to_end(reconstruct_phase(stack, settings, channel=channel, pixel_size=_complete(args.pixel_size, stack)), progress.show)
    print_notes(phase.notes)
    write_image(phase, output)
    if args.microscope is not None:
        save_microscope(args.microscope, microscope)
    used = dict(phase.provenance or {})["phase"]
    report = {
        "output": str(output),
        "mode": used["mode"],
        "shape": list(phase.shape),
        "channel": stack.channel_labels[channel],
        "phase": used,
    }
    print_result(
        report, f"The phase of {stack.channel_labels[channel]} ({used['mode'].upper()}) was written to {output}.", as_json=args.json
    )
    return 0


def _microscope(args: argparse.Namespace) -> Microscope:
    """Return the optics that the options give, or those kept under the microscope's name."""
    from napari_virtual_paint.preprocessing import Microscope, saved_microscopes

    given = {name: value for name in OPTICS if (value := getattr(args, name)) is not None}
    kept = saved_microscopes()
    if args.microscope in kept:
        return Microscope(**{**asdict(kept[args.microscope]), **given})
    missing = [OPTICS[name] for name in ("na", "condenser_na") if name not in given]
    if missing:
        known = f"; the microscopes kept are {', '.join(kept)}" if kept else ""
        unknown = "" if args.microscope is None else f"no microscope {args.microscope!r} was kept yet: "
        raise InputError(f"{unknown}give the optics of the images with {' and '.join(missing)}{known}.")
    return Microscope(**given)


def _channel(stack: Stack, name: str | None) -> int:
    """Return the position of the brightfield channel.

    Raises `InputError` if it is ambiguous.
    """
    if name is not None:
        try:
            return stack.channel_index(name)
        except KeyError as error:
            raise InputError(f"--channel: {stack.source} has {error.args[0]}.") from error
    labels = stack.channel_labels
    if len(labels) == 1:
        return 0
    from napari_virtual_paint.models.channel_names import light_of

    found = [index for index, label in enumerate(labels) if light_of(label) == "brightfield"]
    if len(found) != 1:
        raise InputError(f"{stack.source}: which channel is the brightfield? Name it with --channel; there are {', '.join(labels)}.")
    return found[0]


def _pixel_size(text: str) -> tuple[float, float, float]:
    """Convert ``Z,Y,X``."""
    parts = text.split(",")
    if len(parts) != 3:
        raise argparse.ArgumentTypeError(f"give the three sizes Z,Y,X in micrometers, such as 0.5,0.25,0.25, not {text!r}")
    z, y, x = map(number(above=0, most=10_000), parts)
    return z, y, x


def _complete(given: tuple[float, float, float] | None, stack: Stack) -> PixelSize | None:
    """Return the pixel size that the user gave; None for the stack's own."""
    from napari_virtual_paint.stack import PixelSize

    return None if given is None else PixelSize(*given)
