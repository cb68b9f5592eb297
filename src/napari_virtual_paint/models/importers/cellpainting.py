"""The U-Net of label-free Cell Painting, also the generator of its cWGAN-GP (Cross-Zamirski et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from napari_virtual_paint.errors import ModelError
from napari_virtual_paint.models.importers.recipe import ImportQuestion, ImportRecipe, filled, named, numbered, numbers_in, part_of, shape
from napari_virtual_paint.normalize import ZSCORE

KIND = "label-free Cell Painting U-Net"
OPENS = "the Cell Painting U-Net"  # for the message that lists what can be imported
ANCHOR = "down_path.0.block.0.weight"
ANCHORS = (ANCHOR,)
PLANES = ("Brightfield -4um", "Brightfield 0um", "Brightfield +4um")
OFFSETS = (-4.0, 0.0, 4.0)


def recognise(path: Path, around: Mapping[str, Any], state: Mapping[str, Tensor]) -> ImportRecipe | None:
    """Return the recipe of such a U-Net; None for another kind."""
    own = part_of(state, ANCHOR)
    if own is None:
        return None
    if around.get("padding") is False:
        raise ModelError(f"{path}: its U-Net was built without padding, which is not supported.")
    if "up_path.0.up.1.weight" in own:
        raise ModelError(f"{path}: its U-Net goes up by interpolation (up_mode upsample); only up-convolutions are opened.")
    width, cin = shape(path, own, ANCHOR, KIND, 4)[:2]
    cout = shape(path, own, "last.weight", KIND, 4)[0]
    levels = numbers_in(own, r"down_path\.(\d+)\.")
    widths = [shape(path, own, f"down_path.{level}.block.0.weight", KIND, 4)[0] for level in levels]
    norm = "down_path.0.block.2.running_mean" in own
    config = {
        "in_channels": cin,
        "out_channels": cout,
        "depth": len(levels),
        "width": width,
        "max_width": max(widths),
        "batch_norm": norm,
    }
    three = cin == len(PLANES)
    return ImportRecipe(
        kind=KIND,
        network=filled(path, KIND, "UNet", config, own),
        architecture="UNet",
        config=config,
        dims=2,
        channels=PLANES if three else named(cin, "Brightfield", "channel"),
        stains=numbered(cout),
        planes_as_channels=three,
        z_offsets=OFFSETS if three else None,
        preprocessing=ZSCORE,
        facts=(
            "Each channel of each image z-scored.",
            *(("Three planes of brightfield, taken to be 4 um below, in and 4 um above focus, in this order.",) if three else ()),
            "The authors painted in patches of 256 px and took the median of four (--blend median); here fields are painted whole.",
        ),
        question=ImportQuestion(
            "--outputs", f"Which {cout} stains does it paint, in order? (names with commas between them)", "stain 1, stain 2, ..."
        ),
    )
