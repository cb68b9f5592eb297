"""NVIDIA's pix2pixHD (Wang et al. 2018), as used by Tonks et al. 2024: a bare state of weights, with or without its opt.txt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from napari_virtual_paint.errors import ModelError
from napari_virtual_paint.models.importers.recipe import (
    ImportQuestion,
    ImportRecipe,
    State,
    filled,
    named,
    numbered,
    numbers_in,
    part_of,
    shape,
)
from napari_virtual_paint.normalize import MINUS_ONE_TO_ONE

KIND = "pix2pixHD"
OPENS = "pix2pixHD"  # for the message that lists what can be imported
ANCHOR = "model.1.weight"
ANCHORS = (ANCHOR,)
MOST_OPTIONS = 100_000  # largest opt.txt that is read, bytes.
SAID = (
    "name",
    "netG",
    "ngf",
    "n_downsample_global",
    "n_blocks_global",
    "n_local_enhancers",
    "n_blocks_local",
    "norm",
    "data_type",
    "loadSize",
)


def recognise(path: Path, around: Mapping[str, Any], state: Mapping[str, Tensor]) -> ImportRecipe | None:
    """Return the recipe of a pix2pixHD generator; None for another kind."""
    own = part_of(state, ANCHOR)
    if own is None or own[ANCHOR].ndim != 4 or tuple(own[ANCHOR].shape[2:]) != (7, 7):
        return None
    config = _config(path, own)
    if config["norm"] == "instance":  # torch before 0.4 kept running numbers of instance norms that it did not use
        own = {key: tensor for key, tensor in own.items() if ".running_" not in key and "num_batches" not in key}
    options = read_options(path.with_name("opt.txt"))
    differ = _differences(options, config)
    enhancers, cin, cout = config["enhancers"], config["in_channels"], config["out_channels"]
    return ImportRecipe(
        kind=f"{KIND} ({'local enhancer' if enhancers else 'global generator'})",
        network=filled(path, KIND, "Pix2PixHD", config, own),
        architecture="Pix2PixHD",
        config=config,
        dims=2,
        channels=named(cin, "Brightfield", "channel"),
        stains=numbered(cout),
        preprocessing=MINUS_ONE_TO_ONE,
        verified=config["norm"] == "instance",
        facts=(
            "Input and output in [-1, 1].",
            *((f"Its opt.txt says {', '.join(f'{name} {options[name]}' for name in SAID if name in options)}.",) if options else ()),
            *differ,
        ),
        question=ImportQuestion(
            "--range",
            "Which pixel values were black and white in training? (such as 0,255; nothing for each field's own)",
            "own",
        ),
    )


def _config(path: Path, own: State) -> dict[str, Any]:
    """Infer the settings from keys and shapes."""
    width, cin = shape(path, own, ANCHOR, KIND, 4)[:2]
    enhancers = numbers_in(own, r"model(\d+)_1\.")
    layers = numbers_in(own, r"model\.(\d+)\.weight")
    convolutions = [layer for layer in layers if own[f"model.{layer}.weight"].ndim == 4]
    blocks = len(numbers_in(own, r"model\.(\d+)\.conv_block\."))
    ends = 1 if enhancers else 2  # an enhanced generator has lost its last convolution
    downs = (len(convolutions) - ends) // 2
    local = 0
    last = f"model.{convolutions[-1]}.weight"
    if enhancers:
        if enhancers != list(range(1, len(enhancers) + 1)):
            raise ModelError(f"{path}: it looks like {KIND} but lacks some of its local enhancers; this variant is not known.")
        top = f"model{len(enhancers)}"
        width = shape(path, own, f"{top}_1.1.weight", KIND, 4)[0]
        local = len(numbers_in(own, rf"{top}_2\.(\d+)\.conv_block\."))
        end = numbers_in(own, top + r"_2\.(\d+)\.weight")[-1]
        last = f"{top}_2.{end}.weight"
    affine = [key for key in own if re.fullmatch(r"model\.2\.weight", key)]
    return {
        "in_channels": cin,
        "out_channels": shape(path, own, last, KIND, 4)[0],
        "width": width,
        "downs": downs,
        "blocks": blocks,
        "enhancers": len(enhancers),
        "local_blocks": local,
        "norm": "batch" if affine else "instance",
    }


def read_options(path: Path) -> dict[str, str]:
    """Return the options of an opt.txt; none where there is no such file."""
    if not path.is_file() or path.stat().st_size > MOST_OPTIONS:
        return {}
    pairs = (line.partition(":") for line in path.read_text("utf-8", errors="replace").splitlines())
    return {name.strip(): value.strip()[:80] for name, mark, value in pairs if mark and name.strip().isidentifier()}


def _differences(options: Mapping[str, str], config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a note where opt.txt contradicts the weights, which are followed."""
    names = {"ngf": "width", "n_blocks_global": "blocks", "norm": "norm"}
    if config["enhancers"]:
        names |= {"n_local_enhancers": "enhancers", "n_blocks_local": "local_blocks"}
    names["n_downsample_global"] = "downs"
    odd = [name for name, own in names.items() if name in options and options[name] != str(config[own])]
    return (f"Its opt.txt does not fit the weights in {', '.join(odd)}; the weights were followed.",) if odd else ()
