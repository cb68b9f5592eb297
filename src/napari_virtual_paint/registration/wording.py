"""What a registration did to the moving image, in one sentence."""

from __future__ import annotations

from napari_virtual_paint.registration.settings import Registration

TURNED = 0.05  # degrees below which a rotation is not mentioned: it moves the corner of an image of 1,000 pixels by less than a pixel
SHIFTED = 0.05  # pixels of the fixed image below which a shift is not mentioned
SCALED = 5e-4  # change of size below which it is not mentioned


def describe(found: Registration) -> str:
    """Return a sentence on how the moving image was turned, shifted and scaled, with the correlation before and after.

    Directions are those of the screen, y downwards. The shift is that of the image's middle, from where the first pixels of both images
    lie on each other, in pixels of the fixed image and, where the pixel sizes are known, in micrometers.
    """
    parts = [part for part in (_turned(found), _shifted(found), _scaled(found)) if part]
    moved = ", ".join(parts) if parts else "already in place"
    return f"{moved[0].upper()}{moved[1:]}; {_correlation(found)}."


def _turned(found: Registration) -> str:
    angle = found.rotation
    return "" if abs(angle) < TURNED else f"turned by {abs(angle):.1f}° {'clockwise' if angle > 0 else 'counterclockwise'}"


def _shifted(found: Registration) -> str:
    (y, x), (height, width) = found.shift, found.fixed_size
    known = found.unit == "um"
    along = _along(x, width, ("right", "left"), known), _along(y, height, ("down", "up"), known)
    parts = [part for part in along if part]
    return f"shifted by {' and '.join(parts)}" if parts else ""


def _along(shift: float, size: float, words: tuple[str, str], known: bool) -> str:
    """Return the shift along one axis, as ``14 px (9 µm) right``; empty where there is none."""
    pixels = abs(shift) / size
    if pixels < SHIFTED:
        return ""
    length = f" ({_number(abs(shift))} µm)" if known else ""
    return f"{_number(pixels)} px{length} {words[0] if shift > 0 else words[1]}"


def _scaled(found: Registration) -> str:
    return "" if found.kind != "similarity" or abs(found.scale - 1) < SCALED else f"scaled by {found.scale:.3f}"


def _correlation(found: Registration) -> str:
    after = "undefined" if found.correlation is None else f"{found.correlation:.2f}"
    return f"correlation {after}" if found.before is None else f"correlation {found.before:.2f} before, {after} after"


def _number(value: float) -> str:
    """Return a length with one decimal below 10, else whole."""
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}".removesuffix(".0")
