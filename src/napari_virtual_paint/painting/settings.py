"""`PaintSettings`: how to paint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_origin, get_type_hints

from napari_virtual_paint.choices import Blend, DeviceChoice, Merge, NormalizeOver, Precision, TtaKind, values_of
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.preprocessing.phase_settings import PhaseSettings

Span = tuple[int, int]


@dataclass(frozen=True)
class PaintSettings:
    """How to paint."""

    blend: Blend = "exact"
    """``exact``: tiles whose stains equal the field painted whole. ``median``: patches of 256 px with stride 128 and the median of the
    four predictions (Cross-Zamirski 2022). ``gaussian``: the same patches weighted by a Gaussian."""
    tile: int | Literal["auto"] = "auto"  # most pixels a side of a tile, or ``auto``
    device: DeviceChoice = "auto"
    precision: Precision = "float32"
    """`device` and `precision`: ``auto`` takes the fastest device. bfloat16 is faster and deviates by about 0.1 SD."""
    channels: tuple[str | int, ...] | None = None
    """Channels of the image in the model's order, by name or position; None matches them by name."""
    region: tuple[Span, Span] | None = None
    """First and last + 1 pixel along y and along x to paint; None paints everything. Normalization still uses the whole field."""
    resample: bool = False  # bring the image to the pixel size the model was trained at, and the stains back
    steady: bool = False
    """Make the stains reproducible bit for bit, whatever the load of the machine: each operation on a 2D tile runs on one thread, only
    the field's size decides what is kept, and running out of memory is an error instead of a smaller tile. Volumes and networks of
    unknown structure still depend on the number of torch's threads."""
    tta: TtaKind = "none"
    """Test-time augmentation (Moshkov et al. 2020), a key of `tta.TTA`: the field is also painted flipped or rotated in the plane, each
    pass is transformed back, and all are merged."""
    merge: Merge = "mean"  # how several passes, or several models that make one stain, are merged: ``mean`` or ``median``
    normalize: NormalizeOver = "frame"
    """Over what the statistics of the normalization are taken: each time point (``frame``) or all of them (``series``), so that
    brightening over time is preserved in the network's input."""
    illumination: str = "none"
    """How uneven light is corrected before the normalization: ``none``; ``auto``: by what the plate's files say or an estimate from its
    fields (an image alone: from its planes); else the path of a folder of illumination functions (see `illumination_files`)."""
    phase: PhaseSettings | None = None  # optics by which phase is made from brightfield planes, for models that paint from phase
    focus: int | Literal["none", "auto", "middle"] = "none"
    """Which plane of a z-stack is in focus: ``auto`` finds it, ``middle`` takes the middle, a number that plane. Models of single planes
    paint that one, models of several the planes around it. ``none``: models of single planes paint all, the others take the middle."""

    def __post_init__(self) -> None:
        for name, choice in CHOICES.items():
            if getattr(self, name) not in values_of(choice):
                raise InputError(f"The setting {name} must be one of {', '.join(values_of(choice))}, not {getattr(self, name)!r}.")
        if self.tile != "auto" and (not isinstance(self.tile, int) or self.tile < 16):
            raise InputError(f"The tile must be 'auto' or 16 pixels or more, not {self.tile!r}.")
        if not isinstance(self.focus, int) and self.focus not in FOCUS:
            raise InputError(f"The focus must be one of {', '.join(FOCUS)} or the number of a plane from 0, not {self.focus!r}.")
        if isinstance(self.focus, int) and self.focus < 0:
            raise InputError(f"The plane in focus is {self.focus}; planes count from 0.")
        if not self.illumination:
            raise InputError("The illumination is an empty path; give none, auto or a folder.")
        if self.region is not None and any(start < 0 or stop <= start for start, stop in self.region):
            raise InputError(f"The region {self.region} is empty or begins before the image.")

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain values."""
        return asdict(self)

    def to_options(self) -> list[str]:
        """Return what differs from the defaults as options of ``virtual-paint predict``, without those that have no option."""
        options: list[str] = []
        for each in fields(self):
            value, option = getattr(self, each.name), f"--{each.name.replace('_', '-')}"
            if value == each.default or each.name in WITHOUT_OPTION:
                continue
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            text = value.to_text() if isinstance(value, PhaseSettings) else text
            options += [option] if value is True else [option, text]
        return options


FOCUS = ("none", "auto", "middle")  # values of the setting `focus` beside the number of a plane
WITHOUT_OPTION = ("region", "steady")  # settings that the command line does not have
CHOICES: dict[str, Any] = {name: kind for name, kind in get_type_hints(PaintSettings).items() if get_origin(kind) is Literal}
"""Setting -> the type that lists its values."""


def span_slices(region: Sequence[Span] | None, height: int, width: int) -> tuple[slice, slice]:
    """Return a region as slices along y and x, cut at the image's edge."""
    if region is None:
        return slice(0, height), slice(0, width)
    (y0, y1), (x0, x1) = region
    if y0 >= height or x0 >= width:
        raise InputError(f"The region {tuple(region)} lies outside the image of {height} x {width} pixels.")
    return slice(y0, min(y1, height)), slice(x0, min(x1, width))
