"""What the user chose in the Stain dock: one frozen value, and what follows from it without any widget."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from napari_virtual_paint._napari.layers import Source
    from napari_virtual_paint.models import ModelInfo
    from napari_virtual_paint.painting import PaintSettings
    from napari_virtual_paint.stack import Stack

Again = Literal["replace", "add"]


@dataclass(frozen=True)
class StainChoice:
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

    def settings(self, region: tuple[tuple[int, int], tuple[int, int]] | None = None) -> PaintSettings:
        """Return the engine's settings (this imports torch: call it in a worker)."""
        from napari_virtual_paint.painting import PaintSettings

        return PaintSettings(
            blend=self.blend,
            tile=self.tile or "auto",
            device=self.device,
            precision=self.precision,
            channels=self.channels,
            region=region,
            resample=self.resample,
        )


def command(choice: StainChoice, source: Source, info: ModelInfo, packaged: bool) -> str:
    """Return the command line that does the same.

    Parameters
    ----------
    choice
        What the user chose.
    source
        The image; the word INPUT stands for it if it is not one file or folder.
    info
        The model.
    packaged
        Whether the model is known by its id; else its package's path is given.
    """
    name = Path(source.path).name.split(".")[0] if source.path else "stains"
    parts = [source.path or "INPUT", "-m", info.id if packaged else str(info.source), "-o", f"{name}_{info.id}.ome.tif"]
    if choice.channels is not None:
        parts += ["--channels", ",".join(source.handles[index] for index in choice.channels)]
    for option, value, default in (
        ("--blend", choice.blend, "exact"),
        ("--tile", str(choice.tile or "auto"), "auto"),
        ("--device", choice.device, "auto"),
        ("--precision", choice.precision, "float32"),
    ):
        if value != default:
            parts += [option, value]
    if choice.resample:
        parts.append("--resample")
    return "virtual-paint predict " + " ".join(shlex.quote(part) for part in parts)


def output_shape(stack: Stack, window: bool, stains: int) -> tuple[int, int, int, int, int]:
    """Return the shape TCZYX of the stains of a stack; a window of planes is folded into one."""
    t, _, z, y, x = stack.shape
    return t, stains, 1 if window else z, y, x
