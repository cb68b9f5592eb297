"""VisCy's virtual staining (Cytoland): UNeXt2 and the fully convolutional autoencoder, from Lightning checkpoints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from napari_virtual_paint.errors import ModelError
from napari_virtual_paint.models.importers.recipe import ImportRecipe, State, filled, named, numbered, numbers_in, part_of, shape
from napari_virtual_paint.normalize import MEDIAN_IQR

PLAIN, MASKED = "VisCy UNeXt2", "VisCy fully convolutional autoencoder"
OPENS = "VisCy's UNeXt2 and autoencoder"  # for the message that lists what can be imported
PLAIN_ANCHOR, MASKED_ANCHOR = "encoder_stages.stages_0.blocks.0.conv_dw.weight", "encoder.stem.conv3d.weight"
ANCHORS = (PLAIN_ANCHOR, MASKED_ANCHOR)
RENAMED = (
    (r"^encoder_stages\.stem_1\.", "stem_norm."),
    (r"^encoder_stages\.stages_(\d+)\.", r"encoder.\1."),
    (r"^stem\.conv\.", "stem."),
    (r"^encoder\.stem\.norm\.", "stem_norm."),
    (r"^encoder\.stem\.conv[23]d\.", "stem."),
    (r"^encoder\.stages\.", "encoder."),
    (r"\.dwconv\.", ".conv_dw."),
    (r"\.layernorm\.", ".norm."),
    (r"^decoder\.decoder_stages\.(\d+)\.conv\.", r"decoder.\1."),
    (r"^head\.conv\.0\.conv\.", "head.first."),
    (r"^head\.conv\.0\.adn\.A\.", "head.prelu."),
    (r"^head\.conv\.1\.", "head.last."),
)
"""Published name of a weight -> its name here."""
PRESETS = {
    (False, 5, "96,192,384,768", "3,3,9,3"): "VSCyto3D",
    (False, 21, "96,192,384,768", "3,3,9,3"): "VSNeuromast",
    (True, 1, "96,192,384,768", "3,3,9,3"): "VSCyto2D",
}
"""(autoencoder, planes, widths, blocks) -> the published model of this size."""


def recognise(path: Path, around: Mapping[str, Any], state: Mapping[str, Tensor]) -> ImportRecipe | None:
    """Return the recipe of a network of VisCy; None for another kind."""
    masked = (own := part_of(state, MASKED_ANCHOR)) is not None
    own = own if own is not None else part_of(state, PLAIN_ANCHOR)
    if own is None:
        return None
    kind = MASKED if masked else PLAIN
    config, ready = _config(path, own, around, kind, masked)
    cin, cout, planes = config["in_channels"], config["out_channels"], config["planes"]
    flat = config["out_planes"] == 1
    channels = named(cin, "Phase", "channel") if planes == 1 or not flat else tuple(f"Phase z{plane}" for plane in range(cin * planes))
    if flat and planes > 1 and cin > 1:
        raise ModelError(f"{path}: it paints one plane from {planes} planes of {cin} channels, which is not supported.")
    preset = PRESETS.get((masked, planes, config["widths"], config["blocks"]))
    return ImportRecipe(
        kind=f"{kind}, the size of {preset}" if preset else kind,
        network=filled(path, kind, "UNeXt2", config, ready),
        architecture="UNeXt2",
        config=config,
        dims=2 if flat else 3,
        channels=channels,
        stains=("Nuclei", "Membrane") if cout == 2 else numbered(cout),
        planes_as_channels=flat and planes > 1,
        preprocessing=MEDIAN_IQR,
        verified=True,
        facts=(
            "Each field to (x - median) / interquartile range.",
            *((f"A window of {planes} planes is slid by one plane and its predictions averaged.",) if not flat else ()),
            "Made for quantitative phase; the pixel size it was trained at is not in the file.",
        ),
    )


def _config(path: Path, own: State, around: Mapping[str, Any], kind: str, masked: bool) -> tuple[dict[str, Any], State]:
    """Infer the settings from keys and shapes, and give the weights their names here."""
    stem = own[MASKED_ANCHOR] if masked else own.get("stem.conv.weight")
    if stem is None or stem.ndim != 5:
        raise ModelError(f"{path}: it looks like {kind} but its stem is missing or has another form; this variant is not known.")
    if any(".upsample." in key for key in own):
        raise ModelError(f"{path}: its decoder goes up by convolutions; only those that shuffle pixels are opened.")
    share, cin, stem_planes, side, _ = stem.shape
    width = shape(path, own, "encoder.stem.norm.weight" if masked else "encoder_stages.stem_1.weight", kind, 1)[0]
    planes = width // share * stem_planes
    flat_stem = masked and planes == 1
    ready = _renamed(own, flat_stem)
    levels, stages = numbers_in(ready, r"encoder\.(\d+)\."), numbers_in(ready, r"decoder\.(\d+)\.")
    widths = [shape(path, ready, f"encoder.{level}.blocks.0.norm.weight", kind, 1)[0] for level in levels]
    blocks = [len(numbers_in(ready, rf"encoder\.{level}\.blocks\.(\d+)\.")) for level in levels]
    out = [shape(path, ready, f"decoder.{stage}.blocks.0.norm.weight", kind, 1)[0] for stage in stages]
    head = "conv" if "head.first.weight" in ready else "shuffle"
    if head == "conv":
        cout = shape(path, ready, "head.last.weight", kind, 5)[0] // 4
        out_planes = out[-1] // (4 * shape(path, ready, "head.first.weight", kind, 5)[1]) - 2
    else:
        cout, out_planes = out[-1] // (planes * side**2), planes
    config = {
        "in_channels": cin,
        "out_channels": cout,
        "planes": planes,
        "out_planes": out_planes,
        "stem_planes": stem_planes,
        "stem": side,
        "widths": ",".join(map(str, widths)),
        "blocks": ",".join(map(str, blocks)),
        "decoder_blocks": len(numbers_in(ready, r"decoder\.0\.blocks\.(\d+)\.")),
        "out_widths": ",".join(map(str, out)),
        "head": head,
        "pool": _pool(around),
        "flat_stem": flat_stem,
        "encoder_bias": "encoder.0.blocks.0.conv_dw.bias" in ready,
        "encoder_eps": 1e-5 if masked else 1e-6,
    }
    return config, ready


def _renamed(own: State, flat_stem: bool) -> State:
    """Return the weights under their names here, linear layers as the convolutions that they equal."""
    out: State = {}
    unused = "encoder.stem.conv3d." if flat_stem else "encoder.stem.conv2d."
    for key, tensor in own.items():
        if key.startswith(unused):
            continue
        for pattern, name in RENAMED:
            key = re.sub(pattern, name, key)
        if re.search(r"\.fc[12]\.weight$", key) and tensor.ndim == 2:
            tensor = tensor[:, :, None, None]
        if key.endswith((".grn.weight", ".grn.bias")):
            tensor = tensor.reshape(-1)
        out[key] = tensor
    return out


def _pool(around: Mapping[str, Any]) -> bool:
    """Return whether the head averages neighbours: as its settings say where the file has them, else as all published models do."""
    settings = around.get("hyper_parameters")
    inner = settings.get("model_config") if isinstance(settings, Mapping) else None
    for name in ("head_pool", "head_conv_pool"):
        if isinstance(inner, Mapping) and isinstance(inner.get(name), bool):
            return bool(inner[name])
    return True
