"""What the axes of an image's array mean: the letters that a user gives, and shapes that make a reading unlikely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from napari_virtual_paint.errors import InputError, ReadError
from napari_virtual_paint.stack import AXES, RGBA, Array, Stack

LETTERS = AXES + "S"
"""Letters that name an axis; S are the samples of a pixel, such as red, green and blue."""
FEW = 5  # an axis of this length or less, where the others are longer, may be one of channels
_NAMES = "T for time, C for channels, Z for planes, Y, X, and S for colors"


def parse_axes(text: str) -> str:
    """Return the letters of axes in capitals.

    Raises `InputError` if one is unknown or named twice, or Y or X is missing.
    """
    letters = text.strip().upper()
    unknown = sorted(set(letters) - set(LETTERS))
    if unknown or not letters:
        raise InputError(f"axes {text!r}: {', '.join(unknown) or 'nothing'} names no axis; use {_NAMES}, such as ZCYX.")
    twice = sorted(letter for letter in set(letters) if letters.count(letter) > 1)
    if twice:
        raise InputError(f"axes {text!r}: {', '.join(twice)} is named twice; name each axis once.")
    missing = [letter for letter in "YX" if letter not in letters]
    if missing:
        raise InputError(f"axes {text!r}: {' and '.join(missing)} is missing; an image has Y and X.")
    return letters


def agree(axes: str | None, stated: str, lengths: Sequence[int], path: object) -> None:
    """Check the axes that a user gives against those that a file states.

    Parameters
    ----------
    axes
        The user's letters (see `parse_axes`); None agrees with anything.
    stated, lengths
        Letters and lengths of the file's own axes, in its own order.

    Raises
    ------
    ReadError
        If they contradict; axes of length 1 may be named or left out.
    """
    if axes is None:
        return
    sizes = dict(zip(stated, lengths, strict=True))
    wanted = "".join(axis for axis in axes if sizes.get(axis, 1) > 1)
    own = "".join(axis for axis in stated if sizes[axis] > 1)
    in_order = "".join(sorted(own, key=LETTERS.index))
    if wanted not in (own, in_order):
        shape = ", ".join(f"{axis} {n}" for axis, n in sizes.items())
        raise ReadError(path, f"its metadata states its axes ({shape}), which contradicts {axes}; leave the axes out")


def to_tczyx(pixels: Array, axes: str) -> Array:
    """Return an array whose axes are these letters with the axes TCZYX; samples become channels, the fastest of them."""
    letters = axes
    if "S" in letters:
        if "C" in letters:
            order = [letters.index(axis) for axis in letters if axis not in "CS"]
            at = [letters.index("C"), letters.index("S")]
            pixels = pixels.transpose([*order, *at])
            pixels = pixels.reshape((*pixels.shape[:-2], pixels.shape[-2] * pixels.shape[-1]))
            letters = "".join(axis for axis in letters if axis not in "CS") + "C"
        else:
            letters = letters.replace("S", "C")
    order = [letters.index(axis) for axis in AXES if axis in letters]
    pixels = pixels.transpose(order)
    return pixels[tuple(slice(None) if axis in letters else None for axis in AXES)]


def named(stack: Stack, pixels: Array, axes: str) -> Stack:
    """Return a stack of a plain array whose axes a user names.

    Parameters
    ----------
    stack
        The array as it would be read without the user's letters; all but its channels is kept.
    pixels
        The array in the order in which it is stored.

    Raises
    ------
    ReadError
        If the letters are more or fewer than the array has axes.
    """
    check_count(axes, pixels.shape, stack.source)
    data = to_tczyx(pixels, axes)
    samples = int(pixels.shape[axes.index("S")]) if "S" in axes else 0
    rgb = samples in (3, 4) and data.shape[1] == samples
    return replace(stack, data=data, channels=RGBA[:samples] if rgb else None, rgb=rgb)


def check_count(axes: str, shape: Sequence[int], path: object) -> None:
    """Raise a `ReadError` if a user names more or fewer axes than an array has."""
    if len(axes) != len(shape):
        sizes = " x ".join(map(str, shape))
        raise ReadError(path, f"its array has {len(shape)} axes ({sizes}) and {axes} names {len(axes)}; name each of them once")


def check_samples(axes: str, stored: str, path: object) -> None:
    """Raise a `ReadError` if a user calls the colors that a file states rows or columns.

    Parameters
    ----------
    axes
        The user's letters, as many as the array has axes.
    stored
        Letters of the array's axes in the file. S are its colors, which may hold anything but rows and columns, such as three planes.
    """
    at = stored.find("S")
    if at >= 0 and axes[at] in "YX":
        raise ReadError(path, f"it states that its array is an image in color ({stored}), which contradicts {axes}; leave the axes out")


def likely(shape: Sequence[int], stored: str) -> tuple[str, str | None]:
    """Return what the axes of a plain array probably are, and a note where its shape makes that unlikely or another reading likelier.

    Parameters
    ----------
    shape
        Lengths of its axes, none of them colours.
    stored
        The letters by which it is read where nothing speaks against it; they end in YX.
    """
    if len(shape) < 3 or not 2 <= shape[-1] <= FEW or shape[-2] <= FEW:
        return stored, None
    last = shape[-3] > FEW
    taken = "TZYXC"[5 - len(shape) :] if last else stored
    what = f"its last axis was taken as {shape[-1]} channels" if last else f"it was taken as images of {shape[-1]} columns"
    other = stored if last else "TZYXC"[5 - len(shape) :]
    sizes = " x ".join(map(str, shape))
    return taken, (
        f"The array of {sizes} states no axes; {what} ({taken}). If that is wrong, name the axes, such as {other}"
        " (--axes on the command line, axes= in Python)."
    )
