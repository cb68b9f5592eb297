"""The options of `virtual-paint evaluate` by which the noise of the true image is known."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.cli._options import axes_of_two, read_image
from napari_virtual_paint.cli._output import split_list

if TYPE_CHECKING:
    from napari_virtual_paint.metrics import NoiseSource


def add_options(parser: Any) -> None:
    """Add the options, of which one may be given."""
    group = parser.add_argument_group(
        "ceiling of PCC", "C_max, the highest PCC that the noise of the true image allows (Ounkomol 2018), from one of these"
    )
    source = group.add_mutually_exclusive_group()
    source.add_argument("--noise-control", nargs="+", metavar="FILE", help="images of unstained cells under the same settings")
    source.add_argument("--noise-repeat", metavar="FILE", help="a second image of the same field under the same settings")
    source.add_argument(
        "--noise-sd", type=standard_deviations, metavar="DNA=12.3,…", help="standard deviation of the noise, by channel or one for all"
    )
    source.add_argument(
        "--noise-camera",
        type=camera,
        metavar="GAIN,OFFSET,READ",
        help="gray levels per electron, gray levels without light, read noise (SD)",
    )
    source.add_argument("--noise", choices=("estimate",), help="estimate: from the true image itself, with a note if that is unreliable")


def standard_deviations(text: str) -> dict[str, float]:
    """Return standard deviations by channel from ``DNA=12.3,ER=8``; a single number is for all channels, under ""."""
    out: dict[str, float] = {}
    for part in split_list(text):
        name, _, value = part.rpartition("=")
        out[name.strip()] = _number(value, part)
    if not out:
        raise argparse.ArgumentTypeError("no standard deviation is given; give DNA=12.3,ER=8 or one number")
    return out


def camera(text: str) -> tuple[float, float, float]:
    """Return gain, offset and read noise from ``GAIN,OFFSET,READ``; the last two may be left out."""
    values = [_number(part, part) for part in split_list(text)]
    if not 1 <= len(values) <= 3:
        raise argparse.ArgumentTypeError(f"a camera has a gain, an offset and a read noise, such as 0.5,100,3; not {text!r}")
    gain, offset, read = (*values, 0.0, 0.0)[:3]
    return gain, offset, read


def _number(text: str, whole: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{whole!r} has no number; give a noise as DNA=12.3 or 12.3") from None
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{whole!r} is negative or no number")
    return value


def source_of(args: argparse.Namespace) -> NoiseSource | None:
    """Return the source of the noise that the options name; None if none is given."""
    from napari_virtual_paint.metrics import Camera, Controls, Estimated, Given, Repeat

    _, axes = axes_of_two(args)
    if args.noise_control:
        return Controls([read_image(path, axes) for path in args.noise_control])
    if args.noise_repeat:
        return Repeat(read_image(args.noise_repeat, axes))
    if args.noise_sd:
        return Given(args.noise_sd)
    if args.noise_camera:
        return Camera(*args.noise_camera)
    return Estimated() if args.noise else None
