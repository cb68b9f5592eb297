"""What the user chose in the Stain dock: one frozen value, and what follows from it without any widget."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from napari_virtual_paint.models import match

if TYPE_CHECKING:
    from napari_virtual_paint._napari.shared.layers import LayerSource
    from napari_virtual_paint.painting import ModelSet, PaintSettings
    from napari_virtual_paint.stack import Stack

Again = Literal["replace", "add"]


@dataclass(frozen=True)
class StainState:
    """One choice in the Stain dock.

    Parameters
    ----------
    layers
        Names of the layers to paint from.
    model
        Id of a listed model, or the path of a package.
    channels
        Positions of the image's channels in the model's order; None matches them by name.
    axes
        Letters of the layers' axes (as in ``CYX``); None guesses them.
    device, precision, blend, tile, resample
        As in `painting.PaintSettings`.
    again
        Whether painting again replaces the stain layers of this image and model, or adds new ones.
    keep
        Whether a cancelled painting leaves what is painted.
    hide_input
        Whether the input layers are hidden while stains are shown.
    more
        Further models, by id or path; the layers come from all.
    ensemble
        Whether stains that several models make are combined into one.
    tta, merge, normalize
        As in `painting.PaintSettings`.
    """

    layers: tuple[str, ...] = ()
    model: str = ""
    channels: tuple[int, ...] | None = None
    axes: str | None = None
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    blend: Literal["exact", "median", "gaussian"] = "exact"
    tile: int = 0
    resample: bool = False
    again: Again = "replace"
    keep: bool = True
    hide_input: bool = True
    more: tuple[str, ...] = ()
    ensemble: bool = True
    tta: Literal["none", "flips", "full"] = "none"
    merge: Literal["mean", "median"] = "mean"
    normalize: Literal["frame", "series"] = "frame"

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of all chosen models."""
        return (self.model, *self.more)

    def settings(self, region: tuple[tuple[int, int], tuple[int, int]] | None = None) -> PaintSettings:
        """Return the engine's settings; the channels are each model's own."""
        from napari_virtual_paint.painting import PaintSettings

        return PaintSettings(
            blend=self.blend,
            tile=self.tile or "auto",
            device=self.device,
            precision=self.precision,
            region=region,
            resample=self.resample,
            tta=self.tta,
            merge=self.merge,
            normalize=self.normalize,
        )


def command(choice: StainState, source: LayerSource, many: ModelSet, packaged: Sequence[bool]) -> str:
    """Return the command line that does the same.

    Parameters
    ----------
    choice
        What the user chose.
    source
        The image; the word INPUT stands for it if it is not one file or folder.
    many
        The models with their channels.
    packaged
        Whether each model is known by its id; else its package's path is given.
    """
    name = Path(source.path).name.split(".")[0] if source.path else "stains"
    infos = [member.model.info for member in many.members]
    parts = [source.path or "INPUT"]
    for info, known in zip(infos, packaged, strict=True):
        parts += ["-m", info.id if known else str(info.source)]
    parts += ["-o", f"{name}_{'_'.join(info.id for info in infos)}.ome.tif"]
    if max(many.makers()) > 1:
        parts.append("--ensemble")
    parts += _channels(source, many)
    for option, value, default in (
        ("--blend", choice.blend, "exact"),
        ("--tile", str(choice.tile or "auto"), "auto"),
        ("--device", choice.device, "auto"),
        ("--precision", choice.precision, "float32"),
        ("--tta", choice.tta, "none"),
        ("--merge", choice.merge, "mean"),
        ("--normalize", choice.normalize, "frame"),
    ):
        if value != default:
            parts += [option, value]
    if choice.resample:
        parts.append("--resample")
    return "virtual-paint predict " + " ".join(shlex.quote(part) for part in parts)


def _channels(source: LayerSource, many: ModelSet) -> list[str]:
    """Return the channels of each model, where one of them is not found by names."""
    if all(member.channels is None for member in many.members):
        return []
    found = [member.channels if member.channels is not None else match(member.model.info, source.stack).channels for member in many.members]
    named = [",".join(source.handles[source.stack.channel_index(channel)] for channel in channels) for channels in found]
    return [part for text in named for part in ("--channels", text)]


def output_shape(stack: Stack, window: bool, stains: int) -> tuple[int, int, int, int, int]:
    """Return the shape TCZYX of the stains of a stack; a window of planes is folded into one."""
    t, _, z, y, x = stack.shape
    return t, stains, 1 if window else z, y, x
