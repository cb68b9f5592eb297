"""Allen's pytorch_fnet (Ounkomol et al. 2018), both layouts, 2D and 3D."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from napari_virtual_paint.models.importers.recipe import ImportQuestion, ImportRecipe, filled, named, numbered, part_of, shape
from napari_virtual_paint.normalize import ZSCORE
from napari_virtual_paint.stack import PixelSize

KIND = "Allen fnet"
OPENS = "Allen fnet"  # for the message that lists what can be imported
ANCHOR = "net_recurse.sub_2conv_more.conv1.weight"
ANCHORS = (ANCHOR,)
VOXEL = 0.29  # micrometres a side of a voxel that the published models were trained at (Ounkomol et al. 2018, Methods).


def recognise(path: Path, around: Mapping[str, Any], state: Mapping[str, Tensor]) -> ImportRecipe | None:
    """Return the recipe of an fnet; None for another kind."""
    own = part_of(state, ANCHOR)
    if own is None:
        return None
    width, cin, *kernel = shape(path, own, ANCHOR, KIND, (4, 5))
    cout = shape(path, own, "conv_out.weight", KIND, (4, 5))[0]
    dims = len(kernel)
    depth = 0
    while "net_recurse." + "sub_u." * (depth + 1) + "sub_2conv_more.conv1.weight" in own:
        depth += 1
    config = {"dims": dims, "in_channels": cin, "out_channels": cout, "depth": depth, "mult_chan": width}
    first = "nn_module" in around
    layout = "first release" if first else "bare weights" if "nn_state" not in around else "current"
    return ImportRecipe(
        kind=f"{KIND} {dims}D ({layout} layout)" if layout != "bare weights" else f"{KIND} {dims}D",
        network=filled(path, KIND, "FNet", config, own),
        architecture="FNet",
        config=config,
        dims=dims,
        channels=named(cin, "Transmitted light", "channel"),
        stains=numbered(cout),
        pixel_size=PixelSize(VOXEL if dims == 3 else None, VOXEL, VOXEL),
        preprocessing=ZSCORE,
        verified=dims == 3 and layout == "current",
        facts=(
            "Each stack z-scored as a whole.",
            f"Trained at {VOXEL} um per voxel where its images were prepared as the authors' (the file does not say).",
            "Its program is licensed for non-commercial use; its weights are yours to judge.",
        ),
        question=ImportQuestion("--outputs", "Which stain does it paint? (names with commas between them)", "stain 1"),
    )
